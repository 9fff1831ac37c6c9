//! What an expansion gives.

/// What a value takes its text from, where that is the advice or the job's own GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Follows {
    /// The number of the job's GPUs on this node.
    Gpus,
    /// A list of them, one entry each.
    GpuList,
    /// A list of them, one entry each, that says what they are.
    GpuNames,
    /// The advised degree.
    Degree,
    /// The advised format.
    Format,
    /// The advised engine arguments, any number of words.
    Args,
}

impl Follows {
    /// Each with the variables that carry it. No variable has names: one stands for what
    /// `nvidia-smi` prints.
    pub(in super::super) const VARIABLES: [(Self, &'static str); 8] = [
        (Self::Gpus, "SLURM_GPUS_ON_NODE"),
        (Self::GpuList, "CUDA_VISIBLE_DEVICES"),
        (Self::GpuList, "SLURM_JOB_GPUS"),
        (Self::GpuList, "SLURM_STEP_GPUS"),
        (Self::GpuNames, "__names_of_gpus"),
        (Self::Degree, "SLURM_LLM_TP"),
        (Self::Format, "SLURM_LLM_PRECISION"),
        (Self::Args, "SLURM_LLM_ENGINE_ARGS"),
    ];

    /// True for a list with one entry for each GPU.
    pub(in super::super) const fn lists(self) -> bool {
        matches!(self, Self::GpuList | Self::GpuNames)
    }

    fn variable(self) -> &'static str {
        let row = Self::VARIABLES.iter().find(|(f, _)| *f == self);
        row.map_or("", |(_, name)| name)
    }
}

/// Most pieces of a text.
const MOST_PIECES: usize = 256;

/// Longest text that is kept, bytes.
const LONGEST: usize = 1 << 20;

/// Part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Piece {
    /// Text that is known.
    Known(String),
    /// Text that follows.
    Follows(Follows),
    /// Text that only a running shell knows; the name says whose, to tell two apart.
    Unknown(String),
}

/// A text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Text(pub(in super::super) Vec<Piece>);

impl Text {
    pub(in super::super) fn known(text: impl Into<String>) -> Self {
        Self(vec![Piece::Known(text.into())])
    }

    pub(in super::super) fn unknown(name: &str) -> Self {
        Self(vec![Piece::Unknown(name.into())])
    }

    pub(in super::super) fn push(&mut self, piece: Piece) {
        // A text that a loop doubles would fill the memory.
        if self.0.len() >= MOST_PIECES || self.len() >= LONGEST {
            self.0 = vec![Piece::Unknown("long".into())];
        }
        match (self.0.last_mut(), piece) {
            (Some(Piece::Known(text)), Piece::Known(more)) => text.push_str(&more),
            (_, Piece::Known(more)) if more.is_empty() => {}
            (_, piece) => self.0.push(piece),
        }
    }

    pub(in super::super) fn append(&mut self, more: Self) {
        more.0.into_iter().for_each(|piece| self.push(piece));
    }

    fn len(&self) -> usize {
        let known = |p: &Piece| match p {
            Piece::Known(text) => text.len(),
            Piece::Follows(_) | Piece::Unknown(_) => 0,
        };
        self.0.iter().map(known).sum()
    }

    /// The text, where all of it is known.
    pub(in super::super) fn text(&self) -> Option<String> {
        let mut out = String::new();
        for piece in &self.0 {
            let Piece::Known(text) = piece else {
                return None;
            };
            out.push_str(text);
        }
        Some(out)
    }

    /// What it follows, where that is all of it.
    pub(in super::super) fn follows(&self) -> Option<Follows> {
        match self.0.as_slice() {
            [Piece::Follows(what)] => Some(*what),
            _ => None,
        }
    }

    /// True where the number of the job's GPUs is part of it.
    pub(in super::super) fn counts(&self) -> bool {
        self.has(|f| matches!(f, Follows::Gpus | Follows::GpuList))
    }

    /// True where it says what the job's GPUs are.
    pub(in super::super) fn tells_type(&self) -> bool {
        let told = |p: &Piece| matches!(p, Piece::Unknown(name) if name == OF_GPUS);
        self.has(|f| f == Follows::GpuNames) || self.0.iter().any(told)
    }

    fn has(&self, wanted: impl Fn(Follows) -> bool) -> bool {
        let hit = |p: &Piece| matches!(p, Piece::Follows(f) if wanted(*f));
        self.0.iter().any(hit)
    }

    pub(in super::super) fn has_unknown(&self) -> bool {
        self.0.iter().any(|p| matches!(p, Piece::Unknown(_)))
    }

    /// As shell text that gives the same again. What is unknown stays so.
    pub(in super::super) fn code(&self) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Known(text) => out.push_str(text),
                Piece::Follows(what) => out.push_str(&format!("${{{}}}", what.variable())),
                Piece::Unknown(name) => out.push_str(&format!("${{{UNKNOWN}{}}}", named(name))),
            }
        }
        out
    }
}

/// The name of unknown text that says what the job's GPUs are.
pub(super) const OF_GPUS: &str = "of_gpus";

/// Beginning of the names under which unknown text stands in [`Text::code`].
pub(super) const UNKNOWN: &str = "__unknown_";

fn named(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    name.chars().map(plain).collect()
}

/// A word as a program would get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Field {
    pub(in super::super) text: Text,
    /// It may turn out to be any number of words.
    pub(in super::super) splits: bool,
}

impl Field {
    pub(in super::super) fn known(text: impl Into<String>) -> Self {
        Self {
            text: Text::known(text),
            splits: false,
        }
    }

    /// The text, where all of it is known.
    pub(in super::super) fn word(&self) -> Option<String> {
        self.text.text()
    }
}
