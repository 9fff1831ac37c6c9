//! `vllm serve --config FILE`: the settings of such a file as arguments. vLLM and SGLang read YAML
//! whose keys are their long flags, and let the command line overrule it.
//!
//! Only plain `key: value` lines at the left margin are taken. Of a setting that is a list, a map or
//! a text of several lines it is said that it is there, with the value `{}`.

/// Most settings that are taken from a file.
const MOST: usize = 1000;

/// The file's settings as words, `--key=value` each.
pub(super) fn arguments(yaml: &str) -> Vec<String> {
    yaml.lines().filter_map(setting).take(MOST).collect()
}

fn setting(line: &str) -> Option<String> {
    let (key, value) = line.trim_end().split_once(':')?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !(value.is_empty() || value.starts_with([' ', '\t'])) {
        return None;
    }
    let value = scalar(value).unwrap_or_else(|| "{}".into());
    (!key.is_empty() && key.chars().all(plain)).then(|| format!("--{key}={value}"))
}

/// A scalar without its quotes and the comment behind it; `None` for anything else.
fn scalar(text: &str) -> Option<String> {
    if !text.starts_with([' ', '\t']) {
        return None;
    }
    let text = text.trim();
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let inner = text.get(1..)?;
        return inner.split(quote).next().map(str::to_owned);
    }
    let text = text.split(" #").next().unwrap_or_default().trim_end();
    let scalar = !text.is_empty() && !text.starts_with(['[', '{', '#', '|', '>', '&', '*']);
    scalar.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_settings_become_flags() {
        let text = "# a comment\nmodel: 'org/m' # here too\nport: 12312\ntensor-parallel-size: 4\n\
                    quantization: \"fp8\"\nlora-modules:\n  - a: b\nuvicorn: {log: x}\nurl: http://x#y\n";
        assert_eq!(
            arguments(text),
            [
                "--model=org/m",
                "--port=12312",
                "--tensor-parallel-size=4",
                "--quantization=fp8",
                "--lora-modules={}",
                "--uvicorn={}",
                "--url=http://x#y"
            ]
        );
    }

    proptest! {
        #[test]
        fn no_file_panics(text in any::<String>()) {
            for word in arguments(&text) {
                prop_assert!(word.starts_with("--") && word.contains('=') && !word.contains('\n'));
            }
        }
    }
}
