//! From a command line to what it says of the engine.

use crate::advisor::{Precision, precision_in_name};

use super::flags::{EngineKind, Setting};

/// An engine's command, read. Numbers that are no numbers are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineCommand {
    /// Which engine.
    pub kind: EngineKind,
    /// Index of the first word that belongs to the engine's own arguments.
    pub first: usize,
    /// Model, by flag or by place.
    pub model: Option<String>,
    /// Tensor-parallel degree.
    pub tp: Option<u32>,
    /// Pipeline stages.
    pub pp: Option<u32>,
    /// Data-parallel replicas.
    pub dp: Option<u32>,
    /// Quantisation method as written.
    pub quantization: Option<String>,
    /// Type as written.
    pub dtype: Option<String>,
    /// Address to listen on.
    pub host: Option<String>,
    /// Port to listen on.
    pub port: Option<u16>,
    /// Longest context, tokens.
    pub max_len: Option<u64>,
}

impl EngineCommand {
    /// Reads a command; `None` where it starts no engine that is known. Words before the engine
    /// (`env`, `srun`, `numactl`, a container's launcher) are passed over.
    pub fn parse<S: AsRef<str>>(command: &[S]) -> Option<Self> {
        let words: Vec<&str> = command.iter().map(AsRef::as_ref).collect();
        let (kind, first) = recognise(&words)?;
        Some(Self::read(kind, first, &words))
    }

    /// Reads a command that starts this engine under another name: a script or a container's
    /// launcher that hands its arguments on. They begin after a word `serve`, else after the first.
    pub fn parse_as<S: AsRef<str>>(kind: EngineKind, command: &[S]) -> Self {
        let words: Vec<&str> = command.iter().map(AsRef::as_ref).collect();
        let serve = words.iter().position(|w| *w == "serve").unwrap_or(0);
        let (kind, first) = recognise(&words).unwrap_or((kind, words.len().min(serve + 1)));
        Self::read(kind, first, &words)
    }

    fn read(kind: EngineKind, first: usize, words: &[&str]) -> Self {
        let last = |setting| last_value(kind, words.get(first..).unwrap_or_default(), setting);
        Self {
            kind,
            first,
            model: last(Setting::Model)
                .or_else(|| positional(kind, words, first).map(|i| words[i].to_owned())),
            tp: last(Setting::Tp).and_then(|v| v.parse().ok()),
            pp: last(Setting::Pp).and_then(|v| v.parse().ok()),
            dp: last(Setting::Dp).and_then(|v| v.parse().ok()),
            quantization: last(Setting::Quantization),
            dtype: last(Setting::Dtype),
            host: last(Setting::Host),
            port: last(Setting::Port).and_then(|v| v.parse().ok()),
            max_len: last(Setting::MaxLen).and_then(|v| v.parse().ok()),
        }
    }

    /// The file of settings that the command names, where the engine lets it overrule the command.
    pub fn file_that_wins<S: AsRef<str>>(&self, command: &[S]) -> Option<String> {
        let file = super::engines::of_kind(self.kind)?
            .file
            .filter(|f| f.wins)?;
        let words: Vec<&str> = command.iter().skip(self.first).map(AsRef::as_ref).collect();
        words.iter().enumerate().find_map(|(i, word)| {
            let (flag, inline) = split(word);
            let next = words.get(i + 1).copied();
            let named = file.flags.contains(&flag).then(|| inline.or(next));
            named.flatten().map(str::to_owned)
        })
    }

    /// What the text of a file of settings says.
    pub fn of_settings(kind: EngineKind, text: &str) -> Self {
        let words = super::config_file::arguments(text);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Self::read(kind, 0, &words)
    }

    /// Weight format that the command states, by method, by the checkpoint's name or by type.
    pub fn precision(&self) -> Option<Precision> {
        precision_of(
            self.quantization.as_deref(),
            self.model.as_deref(),
            self.dtype.as_deref(),
        )
    }
}

/// Weight format from a quantisation method, a checkpoint's name and a type, in this order: the
/// type says nothing of a quantised checkpoint. `None` where none of them tells.
pub fn precision_of(
    quantization: Option<&str>,
    model: Option<&str>,
    dtype: Option<&str>,
) -> Option<Precision> {
    match quantization.filter(|q| !matches!(q.to_ascii_lowercase().as_str(), "none" | "auto")) {
        Some(method) => of_method(method, model),
        None => model
            .and_then(precision_in_name)
            .or_else(|| dtype.filter(|d| *d != "auto").and_then(Precision::parse)),
    }
}

/// Weight format of a quantisation method; where the method has several, that of the model's name.
fn of_method(method: &str, model: Option<&str>) -> Option<Precision> {
    const OF_SEVERAL: [&str; 5] = [
        "modelopt",
        "compressed-tensors",
        "quark",
        "moe-wna16",
        "inc",
    ];
    let named = model.and_then(precision_in_name);
    let plain = method.to_ascii_lowercase().replace('_', "-");
    match Precision::parse(method) {
        None if OF_SEVERAL.contains(&plain.as_str()) => named,
        // `gptq` may be of eight bits.
        Some(Precision::Int4) if named == Some(Precision::Int8) => named,
        found => found,
    }
}

/// The engine that a command starts, and where its own arguments begin.
fn recognise(words: &[&str]) -> Option<(EngineKind, usize)> {
    by_words(words).or_else(|| super::container::by_image(words))
}

fn by_words(words: &[&str]) -> Option<(EngineKind, usize)> {
    for at in 0..words.len() {
        let rest = words.get(at..)?;
        if let Some((engine, taken)) = super::engines::at_start(rest, true) {
            return engine.kind.map(|kind| (kind, at + taken));
        }
        // Another module of Python's: what follows are its own words.
        if rest.first() == Some(&"-m") {
            return None;
        }
    }
    None
}

/// One mention of a flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mention {
    /// Index of the flag's word.
    pub(super) at: usize,
    /// Words it takes: 1 (`--flag=value`, or a flag at the end) or 2.
    pub(super) len: usize,
    /// Its value; `None` where the command ends before it.
    pub(super) value: Option<String>,
}

/// Every mention of a setting in an engine's own arguments, in order.
pub(super) fn mentions(kind: EngineKind, args: &[&str], setting: Setting) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < args.len() {
        let (flag, inline) = split(args[at]);
        if kind.setting(flag) != Some(setting) {
            at += 1;
            continue;
        }
        // As engines' own parsers have it, a word that begins a flag is nobody's value.
        let value = inline.or_else(|| args.get(at + 1).copied().filter(|w| !w.starts_with("--")));
        let len = if inline.is_none() && value.is_some() {
            2
        } else {
            1
        };
        found.push(Mention {
            at,
            len,
            value: value.map(str::to_owned),
        });
        at += len;
    }
    found
}

/// `--flag=value` in its two parts.
pub(super) fn split(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        Some((flag, value)) if word.starts_with('-') => (flag, Some(value)),
        _ => (word, None),
    }
}

fn last_value(kind: EngineKind, args: &[&str], setting: Setting) -> Option<String> {
    mentions(kind, args, setting).pop().and_then(|m| m.value)
}

/// Index of a model that is given by place: the first word that is neither a flag nor, as far as
/// one can tell without the engine's own parser, the value of one.
pub(super) fn positional(kind: EngineKind, words: &[&str], first: usize) -> Option<usize> {
    if !matches!(kind, EngineKind::Vllm | EngineKind::TensorRtLlm) {
        return None;
    }
    let mut taken = 0;
    for (i, word) in words.iter().enumerate().skip(first) {
        if word.starts_with('-') {
            taken = values_of(word);
        } else if taken == 0 {
            return Some(i);
        } else {
            taken -= 1;
        }
    }
    None
}

/// How many words that follow a flag are its values.
pub(super) fn values_of(flag: &str) -> usize {
    const MANY: [&str; 6] = [
        "--served-model-name",
        "--lora-modules",
        "--middleware",
        "--allowed-origins",
        "--api-key",
        "--cudagraph-capture-sizes",
    ];
    const NONE: [&str; 5] = [
        "--enforce-eager",
        "--trust-remote-code",
        "--headless",
        "--language-model-only",
        "--async-scheduling",
    ];
    let (name, inline) = split(flag);
    let name = name.replace('_', "-");
    let switch = ["--enable-", "--disable-", "--no-", "--skip-", "--use-"]
        .iter()
        .any(|p| name.starts_with(p));
    match name.as_str() {
        _ if inline.is_some() || switch => 0,
        n if NONE.contains(&n) => 0,
        n if MANY.contains(&n) => usize::MAX,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<EngineCommand> {
        EngineCommand::parse(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn every_spelling_of_a_tensor_parallel_degree_is_read() {
        for tp in [
            "--tensor-parallel-size 4",
            "--tensor-parallel-size=4",
            "--tensor_parallel_size 4",
            "-tp 4",
            "-tp=4",
        ] {
            let read = parse(&format!("vllm serve org/model {tp} --port 8123")).unwrap();
            assert_eq!(
                (read.tp, read.port, read.model.as_deref()),
                (Some(4), Some(8123), Some("org/model")),
                "{tp}"
            );
        }
    }

    #[test]
    fn engines_are_found_behind_other_programs() {
        let cases = [
            ("/opt/venv/bin/vllm serve m", EngineKind::Vllm, "m"),
            (
                "python3 -u -m vllm.entrypoints.openai.api_server --model m",
                EngineKind::Vllm,
                "m",
            ),
            (
                "srun --gpus=4 numactl -N 0 apptainer exec x.sif vllm serve m",
                EngineKind::Vllm,
                "m",
            ),
            (
                "python -m sglang.launch_server --model-path m --tp 2",
                EngineKind::Sglang,
                "m",
            ),
            ("trtllm-serve m --tp_size 4", EngineKind::TensorRtLlm, "m"),
            (
                "trtllm-serve serve m --tp_size 4",
                EngineKind::TensorRtLlm,
                "m",
            ),
            (
                "text-generation-launcher --model-id m --num-shard 2",
                EngineKind::Tgi,
                "m",
            ),
        ];
        for (line, kind, model) in cases {
            let read = parse(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(
                (read.kind, read.model.as_deref()),
                (kind, Some(model)),
                "{line}"
            );
        }
        for line in [
            "vllm bench serve --model m",
            "python serve.py",
            "sleep 100",
            "vllm",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn an_engine_under_another_name_is_read_when_named() {
        let words = ["./start.sh", "serve", "m", "-tp", "2"];
        assert_eq!(EngineCommand::parse(&words), None);
        let read = EngineCommand::parse_as(EngineKind::Vllm, &words);
        assert_eq!(
            (read.first, read.model.as_deref(), read.tp),
            (2, Some("m"), Some(2))
        );
        assert_eq!(
            EngineCommand::parse_as(EngineKind::Vllm, &[] as &[&str]).model,
            None
        );
    }

    #[test]
    fn a_model_by_place_is_found_among_flags() {
        let model = |line: &str| parse(line).unwrap().model;
        assert_eq!(
            model("vllm serve --enforce-eager --port 8000 m").as_deref(),
            Some("m")
        );
        assert_eq!(
            model("vllm serve m --served-model-name a b c").as_deref(),
            Some("m")
        );
        assert_eq!(model("vllm serve --served-model-name a b c"), None);
        assert_eq!(model("vllm serve --config serve.yaml"), None);
    }

    #[test]
    fn the_last_mention_counts_as_argparse_has_it() {
        assert_eq!(
            parse("vllm serve m -tp 2 --tensor-parallel-size 8")
                .unwrap()
                .tp,
            Some(8)
        );
        assert_eq!(parse("vllm serve m -tp").unwrap().tp, None);
        assert_eq!(parse("vllm serve m -tp many").unwrap().tp, None);
    }

    #[test]
    fn precision_comes_from_method_then_name_then_type() {
        let of = |line: &str| parse(line).unwrap().precision();
        assert_eq!(
            of("vllm serve m --quantization fp8 --dtype bfloat16"),
            Some(Precision::Fp8)
        );
        assert_eq!(
            of("vllm serve org/Llama-3.1-8B-FP8 --dtype bfloat16"),
            Some(Precision::Fp8)
        );
        assert_eq!(of("vllm serve m --dtype half"), Some(Precision::Fp16));
        assert_eq!(of("vllm serve m -q awq_marlin"), Some(Precision::Int4));
        assert_eq!(of("vllm serve m --dtype auto"), None);
        assert_eq!(of("vllm serve m"), None);
    }
}
