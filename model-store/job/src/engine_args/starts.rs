//! What a batch script starts: engines and programs that may hold one, how often, on which GPUs,
//! over how many nodes, and what each is told.
//!
//! Seen nothing is not the same as free. Each setting is known, follows the advice or the job's
//! GPUs, or is unknown; and a program that is neither an engine nor a tool is an unknown start.

mod contained;
mod launch;
mod python;
mod reading;
mod srun;
mod way;
mod wrappers;

use std::cell::Cell;

use crate::advisor::{Limits, Precision};

use super::bash::{Call, Field, Follows, Host, Shell, State, Text};
use super::engines::{self, Engine};
use super::flags::EngineKind;

/// Most files that are looked at for one script.
const MOST_FILES: u32 = 16;

/// Most starts that are kept; a script with more is not understood.
const MOST_STARTS: usize = 512;

/// What is said of a setting of an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stated<T> {
    /// The text says so, on this line.
    Known {
        /// What it says.
        value: T,
        /// Line, from 1; inside a text that another command is given, that command's.
        line: u32,
    },
    /// Nothing is said: the engine's own default holds.
    Unsaid,
    /// It takes what the advice sets.
    Advised,
    /// It takes the number of the job's GPUs.
    Gpus,
    /// Only a running shell could tell.
    Unknown,
}

impl<T: Clone> Stated<T> {
    /// The value, where the text says it.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known { value, .. } => Some(value.clone()),
            _ => None,
        }
    }

    /// True where it follows the advice or the job's GPUs.
    pub fn follows(&self) -> bool {
        matches!(self, Self::Advised | Self::Gpus)
    }
}

/// How often something is started at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Once.
    Once,
    /// So often, by one command.
    Known(u32),
    /// Once for each task of the job.
    EachTask,
    /// Once for each task of the job that is on one node.
    EachTaskOfANode,
    /// Once on each node.
    EachNode,
    /// Any number of times.
    Unknown,
}

impl Times {
    /// Started so often by something that is itself started so often.
    pub(super) fn times(self, inner: Self) -> Self {
        match (self, inner) {
            (Self::Once, other) | (other, Self::Once) => other,
            _ => Self::Unknown,
        }
    }
}

/// The GPUs that a start is given for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Own {
    /// All that the job has on the node.
    All,
    /// Those of a list, by number.
    Devices(Vec<u32>),
    /// So many.
    Count(u32),
    /// Some.
    Unknown,
}

/// The program of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// An engine that is known.
    Engine {
        /// As people call it.
        name: &'static str,
        /// The engine as `omnipilot run` knows it.
        kind: Option<EngineKind>,
        /// It takes every GPU that it sees where it is told no degree.
        takes_all: bool,
    },
    /// A program that may hold one, as it is written.
    Unknown(String),
}

/// Something that a script starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// Line on which its command begins, from 1.
    pub line: u32,
    /// Program.
    pub program: Program,
    /// How often.
    pub times: Times,
    /// On which GPUs of the node.
    pub own: Own,
    /// It may run while another start of the script runs.
    pub together: bool,
    /// Components of a heterogeneous job in which it runs; `[0]` where nothing is said.
    pub het_groups: Vec<u32>,
    /// True under `omnipilot run`, which puts the advice into its arguments.
    pub under_run: bool,
    /// Tensor-parallel degree.
    pub tp: Stated<u32>,
    /// Pipeline stages.
    pub pp: Stated<u32>,
    /// Data-parallel replicas.
    pub dp: Stated<u32>,
    /// Nodes over which one engine runs.
    pub nodes: Stated<u32>,
    /// Weight format.
    pub format: Stated<Precision>,
    /// True where the format is the script's own checkpoint's.
    pub own_checkpoint: bool,
    /// Longest context, tokens.
    pub context: Stated<u64>,
    /// What else it is started with, where that is known.
    pub limits: Limits,
    /// Model as written.
    pub model: Stated<String>,
}

impl Start {
    /// `omnipilot run` hears of no advice there, so what it would have set is not known.
    fn lose_advice(&mut self) {
        self.under_run = false;
        if self.tp == Stated::Advised {
            self.tp = Stated::Unknown;
        }
        if self.format == Stated::Advised {
            self.format = Stated::Unknown;
        }
        if self.context == Stated::Advised {
            self.context = Stated::Unknown;
        }
    }

    /// The engine takes every GPU that it sees where nobody states a degree.
    pub fn takes_all(&self) -> bool {
        matches!(self.program, Program::Engine { takes_all, .. } if takes_all)
    }
}

/// All that a script starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Starts {
    /// In the order of the script.
    pub list: Vec<Start>,
    /// The script joins its nodes by Ray: one engine may run on several.
    pub joins_nodes: bool,
    /// The script reads which or how many nodes it has.
    pub reads_nodes: bool,
    /// The script reads how many GPUs each of its tasks was given.
    pub reads_task_gpus: bool,
    /// The script names variables of the advice.
    pub reads_advice: bool,
    /// The script compares the number of its GPUs with another, or counts with it.
    pub counts_gpus: bool,
    /// The script looks at what its GPUs are.
    pub looks_at_gpus: bool,
    /// The script has a setting that older GPUs do not know.
    pub needs_features: bool,
}

impl Starts {
    /// Those in one component of a heterogeneous job.
    #[must_use]
    pub fn of_component(mut self, component: u32) -> Self {
        self.list
            .retain(|start| start.het_groups.contains(&component));
        self
    }

    /// True where every engine is started by `omnipilot run`, once, on nodes that Ray joins: one
    /// engine may have stages on several.
    pub fn may_have_stages(&self) -> bool {
        let once = |s: &Start| s.under_run && s.times == Times::Once;
        self.joins_nodes && !self.list.is_empty() && self.list.iter().all(once)
    }

    /// True where the job may need as many nodes as it asks for.
    pub fn may_use_all_nodes(&self) -> bool {
        let spread = |s: &Start| s.times != Times::Once || matches!(s.program, Program::Unknown(_));
        !self.may_have_stages()
            && (self.joins_nodes || self.reads_nodes || self.list.iter().any(spread))
    }
}

/// A variable that a job begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// It has this text.
    Is(String),
    /// It has the number of the job's GPUs on a node.
    Gpus,
    /// It is not there.
    Unset,
    /// Not known.
    Unknown,
}

/// What is known outside of a script.
#[derive(Clone, Copy)]
pub struct Outside<'a> {
    /// The script's arguments; `None` where they are not known.
    pub arguments: Option<&'a [String]>,
    /// Looks a variable up.
    pub variable: &'a dyn Fn(&str) -> Variable,
    /// The text of a file that the script names, as it names it; `None` where it cannot be read.
    pub read: &'a dyn Fn(&str) -> Option<String>,
}

impl Outside<'_> {
    /// Nothing is known.
    pub const NOTHING: Outside<'static> = Outside {
        arguments: None,
        variable: &|_| Variable::Unknown,
        read: &|_| None,
    };
}

/// Reads what a script starts.
pub fn starts(script: &str, outside: &Outside) -> Starts {
    let reader = Reader {
        outside,
        found: Starts::default(),
        files_left: MOST_FILES,
        reads_nodes: Cell::new(false),
        reads_task_gpus: Cell::new(false),
    };
    let arguments = outside
        .arguments
        .map(|all| all.iter().map(|a| Text::known(a.as_str())).collect());
    let mut state = State::new(arguments);
    let mut shell = Shell::new(reader);
    match interpreter(script) {
        Interpreter::Shell => shell.run(&mut state, script),
        Interpreter::Python => python::script(&mut shell, &state, script, &way::Way::plain(1)),
        Interpreter::Other => shell.host.not_understood(1),
    }
    let mut found = shell.host.found;
    found.reads_nodes |= shell.host.reads_nodes.get();
    found.reads_task_gpus |= shell.host.reads_task_gpus.get();
    found.reads_advice = script.contains("SLURM_LLM_");
    found.needs_features |= engines::OF_NEWER_GPUS.iter().any(|w| script.contains(w));
    found
}

/// What reads a script, by its first line.
enum Interpreter {
    Shell,
    Python,
    Other,
}

fn interpreter(script: &str) -> Interpreter {
    let Some(first) = script.strip_prefix("#!").and_then(|s| s.lines().next()) else {
        return Interpreter::Shell;
    };
    let has = |name: &str| first.split([' ', '/', '\t']).any(|w| w == name);
    if ["bash", "sh", "zsh", "dash", "ksh"].into_iter().any(has) {
        Interpreter::Shell
    } else if first.contains("python") {
        Interpreter::Python
    } else {
        Interpreter::Other
    }
}

/// The host of the walk: it keeps what is started.
pub(super) struct Reader<'a> {
    outside: &'a Outside<'a>,
    found: Starts,
    files_left: u32,
    reads_nodes: Cell<bool>,
    reads_task_gpus: Cell<bool>,
}

impl Reader<'_> {
    /// Keeps a start, and with which others it may run.
    fn keep(&mut self, state: &State, mut start: Start) {
        if self.found.list.len() >= MOST_STARTS {
            return;
        }
        for n in &state.running {
            // What runs in another component of the job has GPUs of its own.
            let shares = |other: &&mut Start| {
                other
                    .het_groups
                    .iter()
                    .any(|n| start.het_groups.contains(n))
            };
            if let Some(other) = self.found.list.get_mut(*n).filter(shares) {
                start.together = true;
                other.together = true;
            }
        }
        self.found.list.push(start);
    }

    fn keep_unknown(&mut self, state: &State, program: String, way: &way::Way) {
        let start = way.start(Program::Unknown(program));
        self.keep(state, start);
    }

    /// As [`Self::keep_unknown`], for a program whose words are known: what it is told of the advice
    /// it follows, whatever it is.
    fn keep_told(&mut self, state: &State, words: &[Field], way: &way::Way) {
        let told = |what| {
            words
                .iter()
                .any(|w| w.text.0.contains(&super::bash::Piece::Follows(what)))
        };
        let shown: Vec<String> = words.iter().take(2).map(|w| w.text.code()).collect();
        let mut start = way.start(Program::Unknown(shown.join(" ")));
        if told(Follows::Args) {
            (start.format, start.context) = (Stated::Advised, Stated::Advised);
        }
        if told(Follows::Degree) || told(Follows::Args) {
            (start.tp, start.pp) = (Stated::Advised, Stated::Unsaid);
            (start.dp, start.nodes) = (Stated::Unsaid, Stated::Unsaid);
            if start.format == Stated::Unknown {
                start.format = Stated::Unsaid;
                start.context = Stated::Unsaid;
            }
        }
        self.keep(state, start);
    }
}

/// Variables that tell of the job's nodes.
const NODES: [&str; 7] = [
    "SLURM_NNODES",
    "SLURM_JOB_NUM_NODES",
    "SLURM_JOB_NODELIST",
    "SLURM_NODELIST",
    "SLURM_NODEID",
    "SLURM_STEP_NODELIST",
    "SLURM_STEP_NUM_NODES",
];

impl Host for Reader<'_> {
    fn variable(&self, name: &str) -> Option<Option<Text>> {
        if NODES.contains(&name) {
            self.reads_nodes.set(true);
        }
        if name == "SLURM_GPUS_PER_TASK" {
            self.reads_task_gpus.set(true);
        }
        if let Some((follows, _)) = Follows::VARIABLES.iter().find(|(_, n)| *n == name) {
            return Some(Some(follows_text(*follows)));
        }
        match (self.outside.variable)(name) {
            Variable::Is(text) => Some(Some(Text::known(text))),
            Variable::Gpus => Some(Some(follows_text(Follows::Gpus))),
            Variable::Unset => Some(None),
            Variable::Unknown => None,
        }
    }

    fn read(&mut self, name: &str) -> Option<String> {
        self.files_left = self.files_left.checked_sub(1)?;
        (self.outside.read)(name)
    }

    fn command(shell: &mut Shell<Self>, state: &mut State, call: &Call) -> Option<bool> {
        let way = way::Way::plain(call.line);
        launch::command(shell, state, &call.words, call.input.as_ref(), &way);
        None
    }

    fn is_known(&self, words: &[Field]) -> bool {
        let texts: Vec<String> = words.iter().map(|w| w.text.code()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        engines::at_start(&texts, false).is_some()
    }

    fn starts(&self) -> usize {
        self.found.list.len()
    }

    fn forget(&mut self, len: usize) {
        self.found.list.truncate(len);
    }

    fn repeated(&mut self, from: usize, running: &[usize]) {
        for (n, start) in self.found.list.iter_mut().enumerate().skip(from) {
            if running.contains(&n) {
                start.times = Times::Unknown;
                start.together = true;
            }
        }
    }

    fn source_unread(&mut self, name: &Text, line: u32) -> bool {
        let code = name.code();
        if super::tools::is_environment(&code) {
            return false;
        }
        let way = way::Way::plain(line);
        self.keep_unknown(&State::default(), code, &way);
        true
    }

    fn counts_gpus(&mut self) {
        self.found.counts_gpus = true;
    }

    fn looks_at_gpus(&mut self) {
        self.found.looks_at_gpus = true;
    }

    fn not_understood(&mut self, line: u32) {
        let way = way::Way::plain(line);
        self.keep_unknown(&State::default(), String::new(), &way);
    }
}

fn follows_text(what: Follows) -> Text {
    Text(vec![super::bash::Piece::Follows(what)])
}

impl Program {
    /// As it is named to people.
    pub fn shown(&self) -> String {
        match self {
            Self::Engine { name, .. } => (*name).to_owned(),
            Self::Unknown(words) if words.is_empty() => "text that is not understood".into(),
            Self::Unknown(words) => format!("`{}`", crate::options::shorten(words)),
        }
    }

    fn of(engine: &Engine) -> Self {
        Self::Engine {
            name: engine.name,
            kind: engine.kind,
            takes_all: engine.untold == engines::Untold::All,
        }
    }
}

#[cfg(test)]
mod tests;
