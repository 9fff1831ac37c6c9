//! What a batch script fixes in the text of its engine commands.
//!
//! A literal in an engine command that is not under `omnipilot run` will be what the engine gets,
//! whatever the advice says; so it is an input to the advice, a pin. So is silence: an engine that
//! is told no degree takes its default. A variable that the script itself sets to one literal is
//! that literal; any other variable may follow the job's environment and fixes nothing.
//!
//! Two things outside of the script are looked at, through a function that the caller gives: the
//! file of `--config`, whose settings count like arguments, and shell scripts that it starts.

use std::collections::BTreeMap;

use crate::advisor::{Layout, Pins, Precision};

use super::command::{EngineCommand, mentions, precision_of};
use super::flags::{EngineKind, Setting};
use super::shell::{Command, Part, Word, commands};
use super::{config_file, launcher};

/// Deepest `bash -c "bash -c ..."` that is followed.
const DEEPEST: u32 = 3;

/// Most files that are looked at for one script.
const MOST_FILES: u32 = 8;

/// What a command says of one setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fixed<T> {
    /// Written out.
    Literal(T),
    /// Left to a variable that may carry the advice.
    Open,
    /// Not mentioned, and no variable could bring it: the engine's default holds.
    Unsaid,
    /// Not mentioned, but the command names a file of settings that could not be read.
    Hidden,
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
    /// Data-parallel replicas.
    pub dp: Fixed<u32>,
    /// Components of a heterogeneous job in which it runs; `[0]` where nothing is said.
    pub het_groups: Vec<u32>,
    /// True where it may run on more than one node: `srun` starts it once for each task.
    pub spread: bool,
    /// Weight format; unsaid means the checkpoint's own.
    pub precision: Fixed<Precision>,
}

/// Every engine command of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScriptPins {
    /// In the order of the script.
    pub engines: Vec<ScriptEngine>,
    /// True where the script joins its nodes by Ray: one engine may have stages on several.
    pub joins_nodes: bool,
    /// True where it starts something that is no known engine once for each task.
    pub spread: bool,
}

impl ScriptPins {
    /// The engines in one component of a heterogeneous job.
    pub fn of_component(mut self, component: u32) -> Self {
        self.engines.retain(|e| e.het_groups.contains(&component));
        self
    }

    /// True where the job may need as many nodes as it asks for: an engine on each.
    pub fn is_spread(&self) -> bool {
        let outside = self.joins_nodes && self.outside_run().next().is_some();
        outside || self.spread || self.engines.iter().any(|e| e.spread)
    }

    /// True where an engine outside `omnipilot run` may get its degree from a file that could not
    /// be read.
    pub fn hides_degree(&self) -> bool {
        self.outside_run().any(|e| e.tp == Fixed::Hidden)
    }

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
    /// that is not seen, stays one instance. Stages on other nodes need a script that joins its
    /// nodes, and starts its engine on one of them.
    fn layout(&self) -> Layout {
        if self.engines.is_empty() || self.outside_run().next().is_some() {
            Layout::OneInstance
        } else if self.joins_nodes && !self.is_spread() {
            Layout::Any
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

/// Reads a batch script, and nothing beside it.
pub fn scan_script(script: &str) -> ScriptPins {
    scan_script_with(script, &|_| None)
}

/// Reads a batch script. `read` gives the text of a file that the script names, as it names it;
/// `None` where it cannot be read.
pub fn scan_script_with(script: &str, read: &dyn Fn(&str) -> Option<String>) -> ScriptPins {
    let mut scan = Scan {
        read,
        files_left: MOST_FILES,
        moved: false,
        found: ScriptPins::default(),
        spread_others: false,
    };
    scan.script(script, None, 0);
    scan.found.spread |= scan.spread_others && scan.found.engines.is_empty();
    scan.found
}

/// A script that is being read.
struct Scan<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    files_left: u32,
    /// True after a `cd`: names of files no longer count from the job's folder.
    moved: bool,
    found: ScriptPins,
    /// True where something that is no engine runs once for each task.
    spread_others: bool,
}

impl Scan<'_> {
    fn script(&mut self, script: &str, line: Option<u32>, depth: u32) {
        let commands = commands(script);
        let literals = assignments(&commands);
        for command in &commands {
            let line = line.unwrap_or(command.line);
            let words: Vec<Seen> = command
                .words
                .iter()
                .flat_map(|w| seen(w, &literals))
                .collect();
            if starts_something(&words) {
                self.command(words, line, depth);
            }
        }
    }

    fn command(&mut self, mut words: Vec<Seen>, line: u32, depth: u32) {
        let texts: Vec<&str> = words.iter().map(|w| w.text.as_str()).collect();
        self.moved |= matches!(texts.first(), Some(&("cd" | "pushd")));
        self.found.joins_nodes |= texts.windows(2).any(|w| {
            w.first().is_some_and(|w| super::command::base(w) == "ray")
                && w.last() == Some(&"start")
        });
        if depth < DEEPEST {
            if let Some(inner) = inner_script(&words) {
                let inner = inner.to_owned();
                self.script(&inner, Some(line), depth + 1);
            } else if let Some(text) = script_file(&texts)
                .map(str::to_owned)
                .and_then(|f| self.file(&f))
            {
                self.script(&text, Some(line), depth + 1);
            }
        }
        let hidden = self.put_config_file_in(&mut words);
        match engine_in(&words, line, hidden) {
            Some(engine) => self.found.engines.push(engine),
            None => {
                let texts: Vec<&str> = words.iter().map(|w| w.text.as_str()).collect();
                self.spread_others |= launcher::is_spread(&texts);
            }
        }
    }

    /// The text of a file that the script names.
    fn file(&mut self, name: &str) -> Option<String> {
        let lost = name.contains('$') || (self.moved && !name.starts_with('/'));
        if lost || self.files_left == 0 {
            return None;
        }
        self.files_left -= 1;
        (self.read)(name)
    }

    /// Puts the settings of `--config FILE` before the other arguments, which overrule them. True
    /// where there is such a file and it cannot be read.
    fn put_config_file_in(&mut self, words: &mut Vec<Seen>) -> bool {
        let texts: Vec<&str> = words.iter().map(|w| w.text.as_str()).collect();
        let Some(engine) = EngineCommand::parse(&texts) else {
            return false;
        };
        let args = texts.get(engine.first..).unwrap_or_default();
        let Some((at, taken, file)) = config_of(args) else {
            return false;
        };
        let open = words
            .get(engine.first + at..engine.first + at + taken)
            .is_none_or(|w| w.iter().any(|w| w.open));
        // A model by place comes first in its engine's own reading too.
        let by_place = at > 0 && !args.first().is_none_or(|w| w.starts_with('-'));
        let after_model = engine.first + usize::from(by_place);
        let file = file.to_owned();
        let Some(text) = self.file(&file).filter(|_| !open) else {
            return true;
        };
        let settings = config_file::arguments(&text).into_iter().map(Seen::literal);
        words.drain(engine.first + at..engine.first + at + taken);
        words.splice(after_model..after_model, settings);
        false
    }
}

/// Where `--config` stands among an engine's arguments, how many words it takes, and its file.
fn config_of<'a>(args: &[&'a str]) -> Option<(usize, usize, &'a str)> {
    const FLAGS: [&str; 2] = ["--config", "--extra_llm_api_options"];
    args.iter().enumerate().find_map(|(i, word)| {
        let (flag, inline) = super::command::split(word);
        if !FLAGS.contains(&flag) {
            return None;
        }
        match inline {
            Some(file) => Some((i, 1, file)),
            None => Some((i, 2, *args.get(i + 1)?)),
        }
    })
}

/// The file of a shell script that a command starts: `bash serve.sh`, `./serve.sh`, `srun serve.sh`.
fn script_file<'a>(words: &[&'a str]) -> Option<&'a str> {
    words
        .iter()
        .copied()
        .find(|w| w.ends_with(".sh") && !w.starts_with('-') && !w.contains('='))
}

/// A word after the script's own literals were put in.
struct Seen {
    text: String,
    /// Some of it is known to a shell only.
    open: bool,
    /// It may turn into several words.
    splits: bool,
}

impl Seen {
    fn literal(text: String) -> Self {
        Self {
            text,
            open: false,
            splits: false,
        }
    }
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

/// `hidden` is true where the engine's file of settings could not be read.
fn engine_in(words: &[Seen], line: u32, hidden: bool) -> Option<ScriptEngine> {
    let texts: Vec<&str> = words.iter().map(|w| w.text.as_str()).collect();
    let engine = EngineCommand::parse(&texts)?;
    let before = texts.get(..engine.first)?;
    let args = Args {
        kind: engine.kind,
        words: words.get(engine.first..)?,
        texts: texts.get(engine.first..)?,
        hidden,
    };
    Some(ScriptEngine {
        line,
        kind: engine.kind,
        under_run: launcher::under_run(before),
        model: engine.model.clone().filter(|m| !m.contains('$')),
        tp: args.number(Setting::Tp),
        pp: args.number(Setting::Pp),
        dp: args.number(Setting::Dp),
        het_groups: launcher::het_groups(before),
        spread: launcher::is_spread(before),
        precision: args.precision(&engine),
    })
}

/// An engine's own arguments.
struct Args<'a> {
    kind: EngineKind,
    words: &'a [Seen],
    texts: &'a [&'a str],
    hidden: bool,
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
            // A method that is not known is a format that is not known.
            (None, _) if says_a_method(engine.quantization.as_deref()) => Fixed::Open,
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
        } else if self.hidden {
            Fixed::Hidden
        } else {
            Fixed::Unsaid
        }
    }
}

/// True for a word that asks for a quantisation.
fn says_a_method(quantization: Option<&str>) -> bool {
    quantization.is_some_and(|q| !matches!(q.to_ascii_lowercase().as_str(), "" | "none" | "auto"))
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

    fn read(name: &str) -> Option<String> {
        let text = match name {
            "serve.yaml" | "/etc/serve.yaml" => {
                "model: org/m\ntensor-parallel-size: 4\ndtype: bfloat16\n"
            }
            "./serve.sh" => "exec vllm serve m -tp 2 --port $1\n",
            _ => return None,
        };
        Some(text.to_owned())
    }

    #[test]
    fn a_file_of_settings_counts_like_arguments() {
        for (script, tp) in [
            ("vllm serve --config serve.yaml", Fixed::Literal(4)),
            (
                "vllm serve --config=/etc/serve.yaml --port 1",
                Fixed::Literal(4),
            ),
            (
                "cd x\nvllm serve --config /etc/serve.yaml",
                Fixed::Literal(4),
            ),
            ("vllm serve m --config serve.yaml -tp 8", Fixed::Literal(8)),
            ("vllm serve m --config serve.yaml -tp $TP", Fixed::Open),
            ("vllm serve m --config other.yaml -tp 8", Fixed::Literal(8)),
            ("vllm serve m --config other.yaml", Fixed::Hidden),
            ("cd x\nvllm serve m --config serve.yaml", Fixed::Hidden),
            ("vllm serve m --config $FILE", Fixed::Hidden),
            (
                "python -m sglang.launch_server --config serve.yaml",
                Fixed::Literal(4),
            ),
        ] {
            let found = scan_script_with(script, &read);
            assert_eq!(found.engines[0].tp, tp, "{script}");
            assert_eq!(found.hides_degree(), tp == Fixed::Hidden, "{script}");
        }
        let found = scan_script_with("vllm serve --config serve.yaml", &read);
        assert_eq!(found.engines[0].model.as_deref(), Some("org/m"));
        assert_eq!(found.pins().precision, Some(Precision::Bf16));
    }

    #[test]
    fn a_script_that_the_script_starts_is_read() {
        for script in [
            "./serve.sh 8000",
            "bash -e ./serve.sh",
            "srun -n1 ./serve.sh",
            "source ./serve.sh",
        ] {
            assert_eq!(
                scan_script_with(script, &read).pins().tp,
                Some(2),
                "{script}"
            );
        }
        assert_eq!(scan_script_with("./other.sh", &read), ScriptPins::default());
        let again = |_: &str| Some("./serve.sh; ./serve.sh".to_owned());
        assert_eq!(
            scan_script_with("./serve.sh", &again),
            ScriptPins::default()
        );
    }

    #[test]
    fn replicas_and_nodes_are_seen() {
        assert_eq!(one("vllm serve m -tp 2 -dp 2").dp, Fixed::Literal(2));
        assert!(scan_script("srun vllm serve m").is_spread());
        assert!(!scan_script("srun -N1 -n1 vllm serve m\nsrun hostname").is_spread());
        assert!(scan_script("ray start --head\nvllm serve m").is_spread());
        let joined = scan_script("srun -N2 ray start --block &\nomnipilot run -- vllm serve m");
        assert_eq!(
            (joined.is_spread(), joined.pins().layout),
            (false, Layout::Any)
        );
        assert!(scan_script("srun python serve.py").is_spread());
        assert!(!scan_script("python serve.py").is_spread());
    }

    #[test]
    fn engines_of_components_are_told_apart() {
        let script = "srun --het-group=0 vllm serve a -tp 2 &\nsrun --het-group=1 vllm serve b -tp 4 &\nwait";
        let found = scan_script(script);
        assert!(found.differ());
        for (component, tp) in [(0, Some(2)), (1, Some(4)), (2, None)] {
            let of = found.clone().of_component(component);
            assert_eq!((of.pins().tp, of.differ()), (tp, false), "{component}");
        }
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
                "--config x.yaml ",
                "docker run vllm/vllm-openai ",
                "./x.sh ",
                "srun --het-group=1 ",
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
            drop(scan_script_with(&script, &|_| Some(script.clone())));
            for engine in scan_script(&script).engines {
                prop_assert!(engine.line >= 1 && engine.line <= lines);
            }
        }
    }
}
