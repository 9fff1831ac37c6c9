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
    /// From the first answer on `/health` to the first answer to a request.
    pub warmup: Duration,
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
        let given = Given { options, env };
        let speed = given.speed(&model)?;
        Ok(Self {
            host: given
                .option("host")
                .unwrap_or_else(|| "127.0.0.1".to_owned()),
            port: number(given.option("port"), 8000.0, "--port")? as u16,
            concurrency: speed.concurrency,
            isl: given.load("STANDIN_ISL", "SLURM_LLM_ISL", 1000.0)?,
            osl: given.load("STANDIN_OSL", "SLURM_LLM_OSL", 200.0)?,
            tokens_per_second: given.variable("STANDIN_TOK_S", speed.tokens_per_second())?,
            ready_after: Duration::from_secs_f64(given.variable("STANDIN_READY_S", 0.5)?),
            warmup: Duration::from_secs_f64(given.variable("STANDIN_WARMUP_S", 0.0)?),
            stop_after: given.seconds("STANDIN_STOP_AFTER_S")?,
            failure: given
                .env("STANDIN_FAIL")
                .map(|text| Failure::parse(&text))
                .transpose()?,
            tensor_parallel: speed.tensor_parallel as u32,
            model,
        })
    }
}

/// The options and the environment of one start.
struct Given<Env> {
    options: Options,
    env: Env,
}

impl<Env: Fn(&str) -> Option<String>> Given<Env> {
    /// The last value of an option.
    fn option(&self, name: &str) -> Option<String> {
        let mut backwards = self.options.iter().rev();
        backwards
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    }

    /// A variable that is set to something.
    fn env(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|value| !value.is_empty())
    }

    fn variable(&self, name: &str, default: f64) -> Result<f64, UsageError> {
        number(self.env(name), default, name)
    }

    /// A property of the load: the stand-in's own variable, else what the job was submitted with.
    fn load(&self, own: &str, stated: &str, default: f64) -> Result<f64, UsageError> {
        let stated = self.variable(stated, default)?;
        self.variable(own, stated)
    }

    fn seconds(&self, name: &str) -> Result<Option<Duration>, UsageError> {
        let seconds = self.env(name).map(|text| number(Some(text), 0.0, name));
        Ok(seconds.transpose()?.map(Duration::from_secs_f64))
    }

    fn speed(&self, model: &str) -> Result<Speed, UsageError> {
        let tensor_parallel = self
            .option("tensor-parallel-size")
            .or_else(|| self.option("tp"));
        let precision = self.option("quantization").or_else(|| self.option("dtype"));
        let billions = self.variable("STANDIN_PARAMS_B", parameters_of(model) / 1e9)?;
        Ok(Speed {
            gpu: self
                .env("STANDIN_GPU")
                .or_else(|| self.env("SLURM_LLM_GPU"))
                .unwrap_or_default(),
            tensor_parallel: number(tensor_parallel, 1.0, "--tensor-parallel-size")?,
            precision: precision.unwrap_or_else(|| "auto".to_owned()),
            parameters: billions * 1e9,
            concurrency: self.load("STANDIN_CONCURRENCY", "SLURM_LLM_CONCURRENCY", 32.0)?,
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
