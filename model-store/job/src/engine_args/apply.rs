//! Puts an advice into a command: replaces, never adds twice, never overrules a literal.

use crate::advisor::Precision;

use super::command::{EngineCommand, Mention, mentions, positional, precision_of, split};
use super::engines::setting_of_any;
use super::flags::{EngineKind, Setting};

/// An advice as the job's environment carries it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advised {
    /// Tensor-parallel degree.
    pub tp: Option<u32>,
    /// Weight format.
    pub precision: Option<Precision>,
    /// Engine arguments, one word each.
    pub args: Vec<String>,
}

/// Why an advice was not put into a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The command starts no engine that is known, so its arguments are not.
    #[error("the command starts no engine that is known here")]
    UnknownEngine,
    /// The command ends in a flag that lacks its value: what is added would be taken for it.
    #[error("`{flag}` at the end of the command has no value")]
    NoValue {
        /// The flag.
        flag: String,
    },
    /// A literal of the command differs from the advice. It is a pin: nothing overrules it.
    #[error(
        "`{flag} {asked}` in the command contradicts the advice {advised} that the job's GPUs were chosen for"
    )]
    Contradiction {
        /// The flag, as the command spells it.
        flag: String,
        /// Its value in the command.
        asked: String,
        /// What the advice says.
        advised: String,
    },
}

impl ApplyError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnknownEngine => {
                "start the engine itself after `--`, or read $SLURM_LLM_ENGINE_ARGS in your own script"
            }
            Self::NoValue { .. } => "give the flag its value or leave it out",
            Self::Contradiction { .. } => {
                "leave the flag out of the command, or fix it at submission with `--llm-tp` or `--llm-precision`"
            }
        }
    }
}

impl Advised {
    /// From the texts of `SLURM_LLM_TP`, `SLURM_LLM_PRECISION` and `SLURM_LLM_ENGINE_ARGS`. Text
    /// that is no number or no format counts as absent.
    pub fn from_texts(tp: Option<&str>, precision: Option<&str>, args: Option<&str>) -> Self {
        Self {
            tp: tp.and_then(|t| t.trim().parse().ok()).filter(|n| *n > 0),
            precision: precision.and_then(Precision::parse),
            args: args
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        }
    }

    /// True where there is nothing to apply.
    pub fn is_empty(&self) -> bool {
        self.tp.is_none() && self.precision.is_none() && self.args.is_empty()
    }

    /// The advised settings in order, each once; the degree is among them even where the arguments
    /// lack it, and the stages are 1 where nothing else is said: the GPUs were counted so.
    fn settings(&self) -> Vec<Wanted> {
        let mut wanted: Vec<Wanted> = Vec::new();
        for next in words_to_settings(&self.args) {
            wanted.retain(|w| !w.same_flag(&next));
            wanted.push(next);
        }
        let mut imply = |setting, value: u32, write| {
            if !wanted.iter().any(|w| w.setting == Some(setting)) {
                wanted.push(Wanted {
                    setting: Some(setting),
                    flag: String::new(),
                    value: Some(value.to_string()),
                    write,
                });
            }
        };
        if let Some(tp) = self.tp {
            imply(Setting::Tp, tp, true);
            imply(Setting::Pp, 1, false);
            imply(Setting::Dp, 1, false);
        }
        wanted
    }
}

/// One advised flag.
#[derive(Clone, Debug)]
struct Wanted {
    setting: Option<Setting>,
    /// The flag as advised, for settings outside the table.
    flag: String,
    value: Option<String>,
    /// False where it is only checked, being the engine's default.
    write: bool,
}

impl Wanted {
    fn same_flag(&self, other: &Self) -> bool {
        match (self.setting, other.setting) {
            (None, None) => self.flag == other.flag,
            (a, b) => a == b,
        }
    }
}

fn words_to_settings(words: &[String]) -> Vec<Wanted> {
    let mut out = Vec::new();
    let mut rest = words.iter().peekable();
    while let Some(word) = rest.next() {
        if !word.starts_with('-') {
            continue;
        }
        let (flag, inline) = split(word);
        let value = match inline {
            Some(value) => Some(value.to_owned()),
            None => rest.next_if(|w| !w.starts_with('-')).cloned(),
        };
        out.push(Wanted {
            setting: setting_of_any(flag),
            flag: flag.to_owned(),
            value,
            write: true,
        });
    }
    out
}

/// The command with the advice in it: each advised flag stands once. An equal literal stays as it
/// was written, `auto` is replaced, a model is replaced by the advised checkpoint and keeps the
/// name that clients know.
///
/// # Errors
/// [`ApplyError`]; the command is then not to be started under this advice.
pub fn apply<S: AsRef<str>>(command: &[S], advised: &Advised) -> Result<Vec<String>, ApplyError> {
    let words: Vec<String> = command.iter().map(|w| w.as_ref().to_owned()).collect();
    if advised.is_empty() {
        return Ok(words);
    }
    let engine = EngineCommand::parse(&words).ok_or(ApplyError::UnknownEngine)?;
    apply_to(&engine, &words, advised)
}

/// [`apply`] for a command that was read already, by [`EngineCommand::parse_as`] for instance.
///
/// # Errors
/// [`ApplyError::NoValue`] or [`ApplyError::Contradiction`].
pub fn apply_to<S: AsRef<str>>(
    engine: &EngineCommand,
    command: &[S],
    advised: &Advised,
) -> Result<Vec<String>, ApplyError> {
    let words: Vec<String> = command.iter().map(|w| w.as_ref().to_owned()).collect();
    if let Some(flag) = words.last().filter(|w| engine.kind.setting(w).is_some()) {
        return Err(ApplyError::NoValue { flag: flag.clone() });
    }
    check_precision(engine, advised)?;
    let mut edit = Edit {
        kind: engine.kind,
        first: engine.first,
        words,
    };
    for wanted in advised.settings() {
        match wanted.setting {
            Some(Setting::Model) => edit.model(&wanted),
            Some(setting) => edit.setting(setting, &wanted)?,
            None => edit.other(&wanted)?,
        }
    }
    Ok(edit.words)
}

/// A quantisation method in the command must be the advised format.
fn check_precision(engine: &EngineCommand, advised: &Advised) -> Result<(), ApplyError> {
    let (Some(method), Some(precision)) = (&engine.quantization, advised.precision) else {
        return Ok(());
    };
    match precision_of(Some(method), None, None) {
        Some(asked) if asked.pooled() != precision.pooled() => Err(ApplyError::Contradiction {
            flag: "--quantization".into(),
            asked: method.clone(),
            advised: precision.name().into(),
        }),
        _ => Ok(()),
    }
}

/// A command that is being changed.
struct Edit {
    kind: EngineKind,
    first: usize,
    words: Vec<String>,
}

impl Edit {
    fn args(&self) -> Vec<&str> {
        self.words
            .iter()
            .skip(self.first)
            .map(String::as_str)
            .collect()
    }

    /// Every mention of a setting but the last is dead text to the engine: away with it.
    fn only_mention(&mut self, setting: Setting) -> Option<Mention> {
        let mut found = mentions(self.kind, &self.args(), setting);
        let last = found.pop();
        for old in found.iter().rev() {
            let at = self.first + old.at;
            self.words.drain(at..at + old.len);
        }
        let removed: usize = found.iter().map(|m| m.len).sum();
        last.map(|m| Mention {
            at: self.first + m.at - removed,
            ..m
        })
    }

    fn setting(&mut self, setting: Setting, wanted: &Wanted) -> Result<(), ApplyError> {
        let value = wanted.value.clone().unwrap_or_default();
        let Some(mention) = self.only_mention(setting) else {
            if let (Some(flag), true) = (self.kind.spellings(setting).first(), wanted.write) {
                self.words.extend([(*flag).to_owned(), value]);
            }
            return Ok(());
        };
        let asked = mention.value.clone().unwrap_or_default();
        if agree(setting, &asked, &value) {
            return Ok(());
        }
        if !matches!(asked.as_str(), "" | "auto" | "None") {
            let flag = split(&self.words[mention.at]).0.to_owned();
            return Err(ApplyError::Contradiction {
                flag,
                asked,
                advised: value,
            });
        }
        let flag = split(&self.words[mention.at]).0.to_owned();
        self.words
            .splice(mention.at..mention.at + mention.len, [flag, value]);
        Ok(())
    }

    /// The checkpoint takes the model's place; clients go on using the model's name.
    fn model(&mut self, wanted: &Wanted) {
        let Some(checkpoint) = wanted.value.clone() else {
            return;
        };
        let by_flag = self.only_mention(Setting::Model);
        let by_place = positional(
            self.kind,
            &self.words.iter().map(String::as_str).collect::<Vec<_>>(),
            self.first,
        );
        let former = match (by_flag, by_place) {
            (Some(mention), _) => {
                let flag = split(&self.words[mention.at]).0.to_owned();
                self.words.splice(
                    mention.at..mention.at + mention.len,
                    [flag, checkpoint.clone()],
                );
                mention.value
            }
            (None, Some(at)) => Some(std::mem::replace(&mut self.words[at], checkpoint.clone())),
            (None, None) => {
                self.words.insert(self.first, checkpoint.clone());
                if let (Some(flag), true) = (
                    self.kind.spellings(Setting::Model).first(),
                    self.kind != EngineKind::Vllm,
                ) {
                    self.words.insert(self.first, (*flag).to_owned());
                }
                None
            }
        };
        self.keep_name(former.filter(|f| *f != checkpoint));
    }

    fn keep_name(&mut self, name: Option<String>) {
        let named = !mentions(self.kind, &self.args(), Setting::ServedName).is_empty();
        let flag = self.kind.spellings(Setting::ServedName).first();
        if let (Some(name), Some(flag), false) = (name, flag, named) {
            self.words.extend([(*flag).to_owned(), name]);
        }
    }

    /// A flag outside the table: there once, or added as advised.
    fn other(&mut self, wanted: &Wanted) -> Result<(), ApplyError> {
        let same = |w: &str| split(w).0 == wanted.flag;
        let args = self.args();
        let Some(at) = args.iter().rposition(|w| same(w)) else {
            self.words.push(wanted.flag.clone());
            self.words.extend(wanted.value.clone());
            return Ok(());
        };
        let next = args.get(at + 1).copied().filter(|w| !w.starts_with("--"));
        let asked = split(args[at]).1.or(next);
        match &wanted.value {
            Some(value) if Some(value.as_str()) != asked => Err(ApplyError::Contradiction {
                flag: wanted.flag.clone(),
                asked: asked.unwrap_or_default().to_owned(),
                advised: value.clone(),
            }),
            _ => Ok(()),
        }
    }
}

/// True where two values of a setting mean the same. fp16 and bf16 run at one rate and in one
/// memory, so a user's choice between them is left alone.
fn agree(setting: Setting, asked: &str, advised: &str) -> bool {
    let pooled = |text: &str, quantised: bool| {
        let (method, dtype) = if quantised {
            (Some(text), None)
        } else {
            (None, Some(text))
        };
        precision_of(method, None, dtype).map(Precision::pooled)
    };
    let number = |text: &str| text.trim().parse::<u64>().ok();
    match setting {
        // The advised length is only there so that the engine starts, and how many requests it holds is a
        // measure of its own; the user's own word counts.
        Setting::MaxLen | Setting::MostSequences => !asked.is_empty(),
        Setting::Dtype => asked == advised || same(pooled(asked, false), pooled(advised, false)),
        Setting::Quantization => {
            asked == advised || same(pooled(asked, true), pooled(advised, true))
        }
        _ => asked == advised || same(number(asked), number(advised)),
    }
}

fn same<T: PartialEq>(a: Option<T>, b: Option<T>) -> bool {
    a.is_some() && a == b
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn applied(line: &str, tp: u32, precision: &str, args: &str) -> Result<String, ApplyError> {
        let advised = Advised::from_texts(Some(&tp.to_string()), Some(precision), Some(args));
        apply(&words(line), &advised).map(|w| w.join(" "))
    }

    const FP8: &str = "--tensor-parallel-size 4 --quantization fp8";

    #[test]
    fn a_context_length_of_the_users_own_stays() {
        let advised = Advised::from_texts(
            Some("1"),
            None,
            Some("--tensor-parallel-size 1 --max-model-len 65536"),
        );
        let own = apply(&words("vllm serve m --max-model-len 4096"), &advised).unwrap();
        assert_eq!(
            own.join(" "),
            "vllm serve m --max-model-len 4096 --tensor-parallel-size 1"
        );
        let none = apply(&words("vllm serve m"), &advised).unwrap();
        assert_eq!(
            none.join(" "),
            "vllm serve m --tensor-parallel-size 1 --max-model-len 65536"
        );
    }

    #[test]
    fn advised_flags_are_added_where_there_are_none() {
        assert_eq!(
            applied("vllm serve m", 4, "fp8", FP8).unwrap(),
            format!("vllm serve m {FP8}")
        );
        assert_eq!(
            applied("vllm serve m", 4, "fp8", "").unwrap(),
            "vllm serve m --tensor-parallel-size 4"
        );
        assert_eq!(
            applied(
                "python -m sglang.launch_server --model-path m",
                4,
                "fp8",
                FP8
            )
            .unwrap(),
            "python -m sglang.launch_server --model-path m --tp 4 --quantization fp8"
        );
    }

    #[test]
    fn an_equal_literal_stays_and_auto_is_replaced() {
        assert_eq!(
            applied("vllm serve m -tp=4", 4, "fp8", FP8).unwrap(),
            "vllm serve m -tp=4 --quantization fp8"
        );
        assert_eq!(
            applied(
                "vllm serve m --dtype=auto -tp 4",
                4,
                "bf16",
                "--dtype bfloat16"
            )
            .unwrap(),
            "vllm serve m --dtype bfloat16 -tp 4"
        );
        assert_eq!(
            applied(
                "vllm serve m --dtype half -tp 2 -tp 4",
                4,
                "bf16",
                "--dtype bfloat16"
            )
            .unwrap(),
            "vllm serve m --dtype half -tp 4"
        );
    }

    #[test]
    fn a_literal_that_differs_is_a_contradiction() {
        for line in [
            "vllm serve m -tp 8",
            "vllm serve m --tensor_parallel_size=8",
            "vllm serve m --quantization awq",
            "vllm serve m -tp 4 --pipeline-parallel-size 2",
            "vllm serve m -tp 4 -dp 2",
        ] {
            let error = applied(line, 4, "fp8", FP8).unwrap_err();
            assert!(
                matches!(error, ApplyError::Contradiction { .. }),
                "{line}: {error}"
            );
        }
        let error = applied("vllm serve m -q fp8", 4, "bf16", "--dtype bfloat16").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`--quantization fp8` in the command contradicts the advice bf16 that the job's GPUs were chosen for"
        );
    }

    #[test]
    fn a_checkpoint_takes_the_models_place_and_keeps_its_name() {
        let args = "--tensor-parallel-size 4 --model /models/m-fp8";
        let expected =
            "vllm serve /models/m-fp8 --port 1 --tensor-parallel-size 4 --served-model-name org/m";
        let once = applied(
            "vllm serve org/m --port 1 --tensor-parallel-size 4",
            4,
            "fp8",
            args,
        )
        .unwrap();
        assert_eq!(once, expected);
        assert_eq!(applied(&once, 4, "fp8", args).unwrap(), expected);
        assert_eq!(
            applied("vllm serve org/m --served-model-name x", 4, "fp8", args).unwrap(),
            "vllm serve /models/m-fp8 --served-model-name x --tensor-parallel-size 4"
        );
    }

    #[test]
    fn without_advice_any_command_stays() {
        let line = words("anything -tp 3 -tp 4");
        assert_eq!(apply(&line, &Advised::default()).unwrap(), line);
        let advised = Advised::from_texts(Some("2"), None, None);
        assert_eq!(apply(&line, &advised), Err(ApplyError::UnknownEngine));
    }

    fn word() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(vec![
                "vllm",
                "serve",
                "-tp",
                "-tp=4",
                "--tensor-parallel-size",
                "--tensor_parallel_size=2",
                "4",
                "m",
                "--model",
                "--dtype",
                "auto",
                "bfloat16",
                "--quantization",
                "fp8",
                "--served-model-name",
                "-m",
                "sglang.launch_server",
                "--tp",
                "trtllm-serve",
                "text-generation-launcher",
                "--num-shard",
                "=",
                "-",
                "--"
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn applying_twice_is_applying_once(
            tail in prop::collection::vec(word(), 0..10),
            advice in prop::collection::vec(word(), 0..6),
            tp in 1_u32..9,
        ) {
            let command: Vec<String> = ["vllm".into(), "serve".into(), "m".into()].into_iter().chain(tail).collect();
            let advised = Advised { tp: Some(tp), precision: None, args: advice };
            if let Ok(once) = apply(&command, &advised) {
                prop_assert_eq!(apply(&once, &advised), Ok(once));
            }
        }

        #[test]
        fn a_degree_stands_once_after_applying(tail in prop::collection::vec(word(), 0..10), tp in 1_u32..9) {
            let command: Vec<String> = ["vllm".into(), "serve".into(), "m".into()].into_iter().chain(tail).collect();
            let advised = Advised { tp: Some(tp), ..Advised::default() };
            if let Ok(done) = apply(&command, &advised) {
                let args: Vec<&str> = done[2..].iter().map(String::as_str).collect();
                let found = mentions(EngineKind::Vllm, &args, Setting::Tp);
                prop_assert_eq!(found.len(), 1);
                prop_assert_eq!(found[0].value.as_deref().and_then(|v| v.parse().ok()), Some(tp));
            }
        }

        #[test]
        fn no_words_panic(command in prop::collection::vec(word(), 0..12), advice in prop::collection::vec(word(), 0..6)) {
            let advised = Advised { tp: Some(2), precision: Some(Precision::Bf16), args: advice };
            let _ = apply(&command, &advised);
        }
    }
}
