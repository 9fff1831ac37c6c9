//! Jobs that serve a model, recognised by what their submit line and name say. Pure.

use model_store::options::is_hidden;

/// What a job seems to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Serving {
    /// Engine, lower case.
    pub(crate) engine: &'static str,
    /// Model, where the submit line names it; else empty.
    pub(crate) model: String,
}

/// Words of a command that starts an engine: the engine, the words in a row, and the option that
/// names the model (empty: the word that follows).
const COMMANDS: [(&str, &[&str], &str); 7] = [
    ("vllm", &["vllm", "serve"], ""),
    ("vllm", &["vllm.entrypoints.openai.api_server"], "--model"),
    ("sglang", &["sglang.launch_server"], "--model-path"),
    ("trtllm", &["trtllm-serve"], ""),
    ("tgi", &["text-generation-launcher"], "--model-id"),
    ("lmdeploy", &["lmdeploy", "serve", "api_server"], ""),
    ("vllm", &["vec-inf", "launch"], ""),
];

/// Words in a job's name that tell of an engine.
const NAMES: [(&str, &str); 6] = [
    ("vllm", "vllm"),
    ("sglang", "sglang"),
    ("trtllm", "trtllm"),
    ("tgi", "tgi"),
    ("lmdeploy", "lmdeploy"),
    ("vecinf", "vllm"),
];

/// Longest model name that is kept, bytes.
const LONGEST: usize = 256;

/// What a job with this name and submit line serves; `None` where nothing tells of it.
pub(crate) fn recognise(name: &str, submit_line: &str) -> Option<Serving> {
    let words: Vec<&str> = submit_line.split_whitespace().map(unquote).collect();
    let by_command = COMMANDS.iter().find_map(|(engine, command, option)| {
        let at = words.windows(command.len()).position(|row| {
            let first = row[0].rsplit('/').next().unwrap_or(row[0]);
            first == command[0] && row[1..] == command[1..]
        })?;
        let rest = &words[at + command.len()..];
        Some(Serving {
            engine,
            model: model_in(rest, option),
        })
    });
    by_command.or_else(|| {
        let name = name.to_ascii_lowercase();
        let mut parts = name.split(|c: char| !c.is_ascii_alphanumeric());
        let engine = parts.find_map(|part| {
            NAMES
                .iter()
                .find_map(|(word, engine)| (*word == part).then_some(*engine))
        })?;
        Some(Serving {
            engine,
            model: String::new(),
        })
    })
}

fn model_in(rest: &[&str], option: &str) -> String {
    let found = if option.is_empty() {
        rest.first()
            .copied()
            .filter(|w| !w.starts_with('-'))
            .or_else(|| value_of(rest, "--model"))
    } else {
        value_of(rest, option)
    };
    found
        .filter(|m| m.len() <= LONGEST && !m.contains('$') && !m.chars().any(is_hidden))
        .unwrap_or_default()
        .to_owned()
}

/// The value of `--name value` or `--name=value`.
fn value_of<'a>(words: &[&'a str], option: &str) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(at, word)| {
        let rest = word.strip_prefix(option)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(unquote(value)),
            None if rest.is_empty() => words.get(at + 1).map(|w| unquote(w)),
            None => None,
        }
    })
}

fn unquote(word: &str) -> &str {
    word.trim_matches(['"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, line: &str) -> Option<(&'static str, String)> {
        recognise(name, line).map(|s| (s.engine, s.model))
    }

    #[test]
    fn serving_jobs_are_known_by_their_command_or_their_name() {
        let some = |engine, model: &str| Some((engine, model.to_owned()));
        let cases = [
            (
                "x",
                "sbatch --wrap vllm serve meta-llama/Llama-3.1-8B --port 1",
                some("vllm", "meta-llama/Llama-3.1-8B"),
            ),
            (
                "x",
                "sbatch --wrap \"/opt/v/bin/vllm serve 'a/b'\"",
                some("vllm", "a/b"),
            ),
            (
                "x",
                "srun python -m sglang.launch_server --model-path=Qwen/Qwen3-8B",
                some("sglang", "Qwen/Qwen3-8B"),
            ),
            (
                "x",
                "srun text-generation-launcher --model-id bigscience/bloom",
                some("tgi", "bigscience/bloom"),
            ),
            (
                "x",
                "srun python -m vllm.entrypoints.openai.api_server --model m",
                some("vllm", "m"),
            ),
            ("my-vLLM-server", "sbatch serve.sh", some("vllm", "")),
            (
                "x",
                "sbatch --wrap vllm serve $MODEL --port 1",
                some("vllm", ""),
            ),
            ("vllmish", "sbatch serve.sh", None),
            ("train", "sbatch --wrap python train.py --about vllm", None),
            ("", "", None),
        ];
        for (name, line, expected) in cases {
            assert_eq!(told(name, line), expected, "{name} {line}");
        }
    }
}
