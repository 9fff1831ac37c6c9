//! What the stand-in is to pretend: from its arguments and its environment.

use std::time::Duration;

use super::{Failure, Speed, parameters_of};

/// Everything that shapes one run of the stand-in.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Model, the word after `serve`; also the name in the metrics.
    pub model: String,
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one and prints it.
    pub port: u16,
    /// Requests in flight.
    pub concurrency: f64,
    /// Prompt tokens of each request.
    pub isl: f64,
    /// Output tokens of each request.
    pub osl: f64,
    /// Output tokens a second over all requests.
    pub tokens_per_second: f64,
    /// From launch to the first answer on `/health`.
    pub ready_after: Duration,
    /// From readiness to an end of its own, as if it had been asked to stop.
    pub stop_after: Option<Duration>,
    /// How to fail, if at all.
    pub failure: Option<Failure>,
    /// Tensor-parallel degree, for the messages.
    pub tensor_parallel: u32,
}

/// Arguments or variables that make no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageError(pub String);

impl Settings {
    /// Reads `serve MODEL [--option VALUE]...` and the variables, which `env` looks up.
    ///
    /// Options that do not matter here are accepted, as are `--option=value` and values of unknown options.
    pub fn read(
        arguments: &[String],
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, UsageError> {
        let (model, options) = split(arguments)?;
        let option = |name: &str| {
            options
                .iter()
                .rev()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        let tensor_parallel = number(
            option("tensor-parallel-size").or_else(|| option("tp")),
            1.0,
            "--tensor-parallel-size",
        )?;
        let variable = |name: &str, default: f64| number(env(name), default, name);
        let precision = option("quantization")
            .or_else(|| option("dtype"))
            .unwrap_or_else(|| "auto".to_owned());
        let concurrency = variable("STANDIN_CONCURRENCY", 32.0)?;
        let speed = Speed {
            gpu: env("STANDIN_GPU")
                .or_else(|| env("SLURM_LLM_GPU"))
                .unwrap_or_default(),
            tensor_parallel,
            precision,
            parameters: variable("STANDIN_PARAMS_B", 0.0).map(|billions| {
                if billions > 0.0 {
                    billions * 1e9
                } else {
                    parameters_of(&model)
                }
            })?,
            concurrency,
        };
        Ok(Self {
            host: option("host").unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: number(option("port"), 8000.0, "--port")? as u16,
            concurrency,
            isl: variable("STANDIN_ISL", 1000.0)?,
            osl: variable("STANDIN_OSL", 200.0)?,
            tokens_per_second: variable("STANDIN_TOK_S", speed.tokens_per_second())?,
            ready_after: Duration::from_secs_f64(variable("STANDIN_READY_S", 0.5)?),
            stop_after: env("STANDIN_STOP_AFTER_S")
                .map(|text| {
                    number(Some(text), 0.0, "STANDIN_STOP_AFTER_S").map(Duration::from_secs_f64)
                })
                .transpose()?,
            failure: env("STANDIN_FAIL")
                .map(|text| Failure::parse(&text))
                .transpose()?,
            tensor_parallel: tensor_parallel as u32,
            model,
        })
    }
}

type Options = Vec<(String, String)>;

/// The model, and all options as name and value (empty for a flag).
fn split(arguments: &[String]) -> Result<(String, Options), UsageError> {
    let mut words = arguments.iter().peekable();
    if words.next().map(String::as_str) != Some("serve") {
        return Err(UsageError(
            "usage: standin-engine serve MODEL [options of `vllm serve`]".to_owned(),
        ));
    }
    let (mut model, mut options) = (None, Options::new());
    while let Some(word) = words.next() {
        match word.strip_prefix("--").or_else(|| word.strip_prefix('-')) {
            Some("no-such-flag") => {
                return Err(UsageError(
                    "vllm: error: unrecognized arguments: --no-such-flag".to_owned(),
                ));
            }
            Some(option) => options.push(named(option, || {
                words.next_if(|next| !next.starts_with('-'))
            })),
            None => model = model.or(Some(word.clone())),
        }
    }
    let from_option = options
        .iter()
        .find(|(name, _)| name == "model")
        .map(|(_, value)| value.clone());
    let model = model
        .or(from_option)
        .ok_or_else(|| UsageError("no model: serve MODEL".to_owned()))?;
    Ok((model, options))
}

fn named<'a>(option: &str, next: impl FnOnce() -> Option<&'a String>) -> (String, String) {
    match option.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (option.to_owned(), next().cloned().unwrap_or_default()),
    }
}

/// A number that is not negative, or the default.
fn number(text: Option<String>, default: f64, name: &str) -> Result<f64, UsageError> {
    let Some(text) = text else { return Ok(default) };
    let value = text
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite() && *value >= 0.0);
    value.ok_or_else(|| UsageError(format!("{name}: not a number: {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, env: &[(&str, &str)]) -> Result<Settings, UsageError> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        Settings::read(&words, |name| {
            env.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn options_in_both_forms() {
        let settings = read(
            "serve --enforce-eager --port=81 m --tensor-parallel-size 4 --dtype bfloat16",
            &[],
        )
        .unwrap();
        assert_eq!(
            (
                settings.model.as_str(),
                settings.port,
                settings.tensor_parallel
            ),
            ("m", 81, 4)
        );
    }

    #[test]
    fn the_environment_beats_the_formula() {
        assert_eq!(
            read("serve m", &[("STANDIN_TOK_S", "123")])
                .unwrap()
                .tokens_per_second,
            123.0
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert!(read("serve", &[]).unwrap_err().0.contains("no model"));
        assert!(
            read("serve m --port x", &[])
                .unwrap_err()
                .0
                .contains("--port: not a number: x")
        );
        assert!(
            read("serve m --no-such-flag", &[])
                .unwrap_err()
                .0
                .contains("unrecognized arguments")
        );
    }
}
