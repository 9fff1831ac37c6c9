//! What a batch script fixes in the text of its engine commands.
//!
//! A literal in an engine command that is not under `omnipilot run` will be what the engine gets,
//! whatever the advice says; so it is an input to the advice, a pin. So is silence: an engine that
//! is told no degree takes its default. A variable that the script itself sets to one literal is
//! that literal; any other variable may follow the job's environment and fixes nothing.

use std::collections::BTreeMap;

use crate::advisor::{Layout, Pins, Precision};

use super::command::{EngineCommand, mentions, precision_of};
use super::flags::{EngineKind, Setting};
use super::shell::{Command, Part, Word, commands};

/// Deepest `bash -c "bash -c ..."` that is followed.
const DEEPEST: u32 = 3;

/// What a command says of one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed<T> {
    /// Written out.
    Literal(T),
    /// Left to a variable that may carry the advice.
    Open,
    /// Not mentioned, and no variable could bring it: the engine's default holds.
    Unsaid,
}

/// An engine command in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptEngine {
    /// Line on which the command begins, from 1 (inside `bash -c`, the outer command's).
    pub line: u32,
    /// Which engine.
    pub kind: EngineKind,
    /// True under `omnipilot run`, which puts the advice into the arguments itself.
    pub under_run: bool,
    /// Model as written; `None` where a variable names it.
    pub model: Option<String>,
    /// Tensor-parallel degree.
    pub tp: Fixed<u32>,
    /// Pipeline stages.
    pub pp: Fixed<u32>,
    /// Weight format; unsaid means the checkpoint's own.
    pub precision: Fixed<Precision>,
}

/// Every engine command of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptPins {
    /// In the order of the script.
    pub engines: Vec<ScriptEngine>,
}

impl ScriptPins {
    /// Engines that start with the arguments as the script has them.
    pub fn outside_run(&self) -> impl Iterator<Item = &ScriptEngine> {
        self.engines.iter().filter(|e| !e.under_run)
    }

    /// What the engines outside `omnipilot run` fix: a degree that is written, or 1 where the
    /// engine is told none; a format that is written. Where two engines differ nothing is pinned:
    /// see [`Self::differ`].
    pub fn pins(&self) -> Pins {
        let degrees: Vec<u32> = self.degrees().collect();
        let formats: Vec<Precision> = self.formats().collect();
        Pins {
            gpu: None,
            tp: single(&degrees),
            precision: single(&formats),
            layout: self.layout(),
        }
    }

    /// Replicas reach an engine through `omnipilot run` alone: one that is started otherwise, or
    /// that is not seen, stays one instance. Stages on other nodes need more than a batch script
    /// that starts one engine.
    fn layout(&self) -> Layout {
        if self.engines.is_empty() || self.outside_run().next().is_some() {
            Layout::OneInstance
        } else {
            Layout::OneNode
        }
    }

    /// True where engines outside `omnipilot run` fix different degrees or formats: no one choice
    /// fits the script, so the job is better left as it is written.
    pub fn differ(&self) -> bool {
        let more_than_one = |n: usize, one: bool| n > 0 && !one;
        let degrees: Vec<u32> = self.degrees().collect();
        let formats: Vec<Precision> = self.formats().collect();
        more_than_one(degrees.len(), single(&degrees).is_some())
            || more_than_one(formats.len(), single(&formats).is_some())
    }

    /// True where an engine outside `omnipilot run` will take its checkpoint's own format: an
    /// advice to quantise at load would not reach it.
    pub fn takes_checkpoint_format(&self) -> bool {
        self.outside_run().any(|e| e.precision == Fixed::Unsaid)
    }

    fn degrees(&self) -> impl Iterator<Item = u32> {
        self.outside_run().filter_map(|e| match e.tp {
            Fixed::Literal(tp) => Some(tp),
            // TGI shards over every GPU that it sees; the others take one.
            Fixed::Unsaid if e.kind != EngineKind::Tgi => Some(1),
            _ => None,
        })
    }

    fn formats(&self) -> impl Iterator<Item = Precision> {
        self.outside_run().filter_map(|e| match e.precision {
            Fixed::Literal(precision) => Some(precision),
            _ => None,
        })
    }
}

fn single<T: PartialEq + Copy>(values: &[T]) -> Option<T> {
    let first = *values.first()?;
    values.iter().all(|v| *v == first).then_some(first)
}

/// Reads a batch script.
pub fn scan_script(script: &str) -> ScriptPins {
    let mut engines = Vec::new();
    scan(script, None, 0, &mut engines);
    ScriptPins { engines }
}

fn scan(script: &str, line: Option<u32>, depth: u32, engines: &mut Vec<ScriptEngine>) {
    let commands = commands(script);
    let literals = assignments(&commands);
    for command in &commands {
        let line = line.unwrap_or(command.line);
        let words: Vec<Seen> = command
            .words
            .iter()
            .flat_map(|w| seen(w, &literals))
            .collect();
        if !starts_something(&words) {
            continue;
        }
        engines.extend(engine_in(&words, line));
        if let Some(inner) = inner_script(&words).filter(|_| depth < DEEPEST) {
            scan(inner, Some(line), depth + 1, engines);
        }
    }
}

/// A word after the script's own literals were put in.
struct Seen {
    text: String,
    /// Some of it is known to a shell only.
    open: bool,
    /// It may turn into several words.
    splits: bool,
}

/// Variables that the script sets, each to one literal only.
fn assignments(commands: &[Command]) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, Option<String>> = BTreeMap::new();
    for word in commands.iter().flat_map(|c| &c.words) {
        let Some((name, value)) = assignment(word) else {
            continue;
        };
        let entry = found.entry(name).or_insert_with(|| value.clone());
        if *entry != value {
            *entry = None;
        }
    }
    found
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

/// `NAME=value`; the value is `None` where it is not a literal.
fn assignment(word: &Word) -> Option<(String, Option<String>)> {
    let Some(Part::Text(text)) = word.parts.first() else {
        return None;
    };
    let (name, value) = text.split_once('=')?;
    let name = name.strip_suffix('+').unwrap_or(name);
    let plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(plain)
    {
        return None;
    }
    // `NAME=` may be the head of an array, and `NAME+=` adds: neither is one literal.
    let literal = word.parts.len() == 1 && !value.is_empty() && !text.contains("+=");
    Some((name.to_owned(), literal.then(|| value.to_owned())))
}

fn seen(word: &Word, literals: &BTreeMap<String, String>) -> Vec<Seen> {
    let (mut text, mut open) = (String::new(), false);
    for part in &word.parts {
        match part {
            Part::Text(t) => text.push_str(t),
            Part::Name(name) if literals.contains_key(name) => text.push_str(&literals[name]),
            Part::Name(name) => {
                open = true;
                text.push_str(&format!("${{{name}}}"));
            }
            Part::Other(raw) => {
                open = true;
                text.push_str(raw);
            }
        }
    }
    let array = text.contains("[@]") || text == "$@";
    if word.quoted || open {
        return vec![Seen {
            splits: open && (!word.quoted || array),
            text,
            open,
        }];
    }
    text.split_whitespace()
        .map(|t| Seen {
            text: t.to_owned(),
            open: false,
            splits: false,
        })
        .collect()
}

/// False for commands that only talk about an engine.
fn starts_something(words: &[Seen]) -> bool {
    const TALK: [&str; 16] = [
        "echo", "printf", "grep", "egrep", "pgrep", "pkill", "sed", "awk", "cat", "test", "[",
        "[[", "logger", "which", "pip", "alias",
    ];
    const BEFORE: [&str; 9] = [
        "if", "then", "else", "elif", "do", "while", "until", "!", "{",
    ];
    words
        .iter()
        .find(|w| !BEFORE.contains(&w.text.as_str()))
        .is_some_and(|w| !TALK.contains(&w.text.as_str()))
}

fn engine_in(words: &[Seen], line: u32) -> Option<ScriptEngine> {
    let texts: Vec<&str> = words.iter().map(|w| w.text.as_str()).collect();
    let engine = EngineCommand::parse(&texts)?;
    let args = Args {
        kind: engine.kind,
        words: words.get(engine.first..)?,
        texts: texts.get(engine.first..)?,
    };
    Some(ScriptEngine {
        line,
        kind: engine.kind,
        under_run: under_run(texts.get(..engine.first)?),
        model: engine.model.clone().filter(|m| !m.contains('$')),
        tp: args.number(Setting::Tp),
        pp: args.number(Setting::Pp),
        precision: args.precision(&engine),
    })
}

fn under_run(before: &[&str]) -> bool {
    let named = |w: &str| {
        w.rsplit('/')
            .next()
            .is_some_and(|b| b.to_ascii_lowercase().contains("omnipilot"))
    };
    let Some(at) = before.iter().position(|w| named(w)) else {
        return false;
    };
    before[at..].contains(&"run")
}

/// An engine's own arguments.
struct Args<'a> {
    kind: EngineKind,
    words: &'a [Seen],
    texts: &'a [&'a str],
}

impl Args<'_> {
    /// What the arguments say of a setting that is a number.
    fn number(&self, setting: Setting) -> Fixed<u32> {
        let last = mentions(self.kind, self.texts, setting).pop();
        let value = last.and_then(|m| m.value);
        match value.map(|v| v.parse()) {
            Some(Ok(n)) => Fixed::Literal(n),
            Some(Err(_)) => Fixed::Open,
            None => self.silence(),
        }
    }

    fn precision(&self, engine: &EngineCommand) -> Fixed<Precision> {
        let open = |text: &Option<String>| text.as_ref().is_some_and(|t| t.contains('$'));
        if open(&engine.quantization) || (engine.quantization.is_none() && open(&engine.dtype)) {
            return Fixed::Open;
        }
        let model = engine.model.as_deref();
        let stated = precision_of(
            engine.quantization.as_deref(),
            model,
            engine.dtype.as_deref(),
        );
        match (stated, self.silence::<Precision>()) {
            // A type alone leaves the quantisation to what a variable brings.
            (Some(_), Fixed::Open) if engine.quantization.is_none() => Fixed::Open,
            (Some(precision), _) => Fixed::Literal(precision),
            (None, silence) => silence,
        }
    }

    /// What it means that a setting is not mentioned: a variable among the arguments may bring it.
    fn silence<T>(&self) -> Fixed<T> {
        let value_of_flag = |i: usize| {
            i > 0 && self.texts[i - 1].starts_with('-') && !self.texts[i - 1].contains('=')
        };
        let loose = |(i, w): (usize, &Seen)| {
            let in_place_of_model = i == 0 && !w.text.contains("[@]") && !w.text.contains("ARGS");
            w.open
                && w.splits
                && !w.text.starts_with('-')
                && !value_of_flag(i)
                && !in_place_of_model
        };
        if self.words.iter().enumerate().any(loose) {
            Fixed::Open
        } else {
            Fixed::Unsaid
        }
    }
}

/// The text that a shell is given with `-c`.
fn inner_script(words: &[Seen]) -> Option<&str> {
    let shell = |w: &Seen| {
        matches!(
            w.text.rsplit('/').next(),
            Some("bash" | "sh" | "dash" | "zsh")
        )
    };
    let at = words.iter().position(shell)?;
    let after = words.get(at + 1..)?;
    let flag = after.iter().position(|w| {
        w.text.starts_with('-') && !w.text.starts_with("--") && w.text.contains('c')
    })?;
    after.get(flag + 1).map(|w| w.text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(script: &str) -> ScriptEngine {
        let found = scan_script(script).engines;
        assert_eq!(found.len(), 1, "{script}: {found:?}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn a_literal_degree_is_a_pin() {
        let script = "#!/bin/bash\n#SBATCH --gpus=4\nmodule load cuda # vllm serve x -tp 8\n\
                      srun vllm serve org/m \\\n  --tensor-parallel-size 4 \\\n  --quantization=fp8 &\nwait\n";
        let found = scan_script(script);
        assert_eq!(
            (found.engines[0].line, found.engines[0].model.as_deref()),
            (4, Some("org/m"))
        );
        assert_eq!(
            found.pins(),
            Pins {
                gpu: None,
                tp: Some(4),
                precision: Some(Precision::Fp8),
                layout: Layout::OneInstance,
            }
        );
        assert!(!found.differ() && !found.takes_checkpoint_format());
    }

    #[test]
    fn variables_fix_nothing_unless_the_script_sets_them() {
        for script in [
            "vllm serve m -tp $SLURM_LLM_TP",
            "vllm serve m --tensor-parallel-size=${SLURM_GPUS_ON_NODE}",
            "vllm serve m $SLURM_LLM_ENGINE_ARGS",
            "vllm serve m \"${ARGS[@]}\"",
            "vllm serve $MODEL \"$@\"",
            "TP=2\n[ x ] && TP=4\nvllm serve m -tp $TP",
            "TP=${SLURM_LLM_TP:-4}; vllm serve m -tp $TP",
            "vllm serve m -tp $(nvidia-smi -L | wc -l)",
        ] {
            assert_eq!(one(script).tp, Fixed::Open, "{script}");
            assert_eq!(scan_script(script).pins().tp, None, "{script}");
        }
        for script in [
            "TP=4\nvllm serve m -tp $TP",
            "export ARGS='-tp 4 --port 1'\nvllm serve m $ARGS",
            "vllm serve m -tp '4'",
        ] {
            assert_eq!(one(script).tp, Fixed::Literal(4), "{script}");
        }
    }

    #[test]
    fn an_engine_that_is_told_no_degree_takes_one_gpu() {
        for script in [
            "vllm serve m",
            "vllm serve $MODEL --port $PORT",
            "vllm serve \"$MODEL\" --host=$(hostname)",
        ] {
            assert_eq!(one(script).tp, Fixed::Unsaid, "{script}");
            assert_eq!(scan_script(script).pins().tp, Some(1), "{script}");
        }
        assert_eq!(
            scan_script("text-generation-launcher --model-id m")
                .pins()
                .tp,
            None
        );
        assert!(scan_script("vllm serve m -tp 2").takes_checkpoint_format());
    }

    #[test]
    fn under_run_nothing_is_pinned() {
        for script in [
            "omnipilot run -- vllm serve m -tp 4",
            "srun /opt/bin/omnipilot run --interval 2 -- vllm serve m -tp 4",
            "$OMNIPILOT run -- vllm serve m -tp 4",
        ] {
            assert!(one(script).under_run, "{script}");
            let nothing = Pins {
                layout: Layout::OneNode,
                ..Pins::default()
            };
            assert_eq!(scan_script(script).pins(), nothing, "{script}");
        }
        let inside = one("omnipilot run -- bash -c 'vllm serve m -tp 4'");
        assert!(
            !inside.under_run,
            "run cannot reach arguments inside another shell"
        );
    }

    #[test]
    fn text_about_engines_starts_none() {
        for script in [
            "# vllm serve m -tp 4",
            "echo vllm serve m -tp 4",
            "cat > go.sh <<EOF\nvllm serve m -tp 4\nEOF",
            "pip install vllm",
            "vllm bench serve --model m",
            "python -m lm_eval --model vllm",
        ] {
            assert_eq!(scan_script(script), ScriptPins::default(), "{script}");
        }
    }

    #[test]
    fn shells_in_shells_are_followed() {
        let found = one("srun bash -lc \"source env && exec vllm serve m -tp 4 --dtype $D\"");
        assert_eq!(
            (found.tp, found.precision),
            (Fixed::Literal(4), Fixed::Open)
        );
    }

    #[test]
    fn engines_that_differ_pin_nothing() {
        let found = scan_script("vllm serve a -tp 2 &\nvllm serve b -tp 4 &\nwait");
        assert_eq!(found.pins().tp, None);
        assert!(found.differ());
    }

    #[test]
    fn a_type_pins_a_format_only_where_no_variable_could_quantise() {
        assert_eq!(
            one("vllm serve m --dtype bfloat16").precision,
            Fixed::Literal(Precision::Bf16)
        );
        assert_eq!(
            one("vllm serve m --dtype bfloat16 $SLURM_LLM_ENGINE_ARGS").precision,
            Fixed::Open
        );
        assert_eq!(one("vllm serve m --dtype auto").precision, Fixed::Unsaid);
    }

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(vec![
                "vllm serve m ",
                "-tp 4",
                "<<E\n",
                "\nE\n",
                "'",
                "\"",
                "$(",
                ")",
                "${",
                "}",
                "`",
                "\\\n",
                "\\",
                "#",
                ";",
                "\n",
                "bash -c ",
                "TP=4 ",
                "$TP",
                "omnipilot run -- ",
                "&>",
                "2>&1",
                "((",
                "<<<"
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn no_script_panics(pieces in prop::collection::vec(piece(), 0..30)) {
            let script = pieces.concat();
            let lines = u32::try_from(script.lines().count()).unwrap() + 1;
            for engine in scan_script(&script).engines {
                prop_assert!(engine.line >= 1 && engine.line <= lines);
            }
        }
    }
}
