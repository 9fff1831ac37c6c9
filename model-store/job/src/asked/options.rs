//! What the `--llm-*` options mean. The one table of them is in `plugin_contract`, since the plugin, which
//! registers it, is built without std.

pub use crate::advisor::plain::{is_hidden, shorten};
use plugin_contract::environment::job;
use plugin_contract::options::{
    ADVICE, CONCURRENCY, COUNT, GPU, ISL, MODEL, OSL, PRECISION, RATE, SLO, TP,
};
pub use plugin_contract::options::{OPTIONS, OptionSpec};

use crate::advisor::{Pins, Precision, Slo};
use crate::quantity::{milliseconds, per_second};

/// What to do with the advice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AdviceMode {
    /// Rewrite the job, or refuse it out of support.
    #[default]
    Rewrite,
    /// Say what would be done; change nothing.
    Check,
    /// Submit as written and learn from the outcome.
    Explore,
    /// Do nothing.
    Off,
}

impl AdviceMode {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rewrite => "rewrite",
            Self::Check => "check",
            Self::Explore => "explore",
            Self::Off => "off",
        }
    }
}

/// The options of one submission as given, before any of them is resolved.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RawOptions {
    /// `--llm-model`
    pub model: Option<String>,
    /// `--llm-isl`, tokens
    pub isl: Option<f64>,
    /// `--llm-osl`, tokens
    pub osl: Option<f64>,
    /// `--llm-concurrency`
    pub concurrency: Option<f64>,
    /// `--llm-rate`, 1/s
    pub rate: Option<f64>,
    /// `--llm-slo`
    pub slo: Slo,
    /// `--llm-gpu`, `--llm-tp`, `--llm-precision`
    pub pins: Pins,
    /// `--llm-advice`
    pub mode: AdviceMode,
}

/// Why an option value was not taken: one line with the reason, and a hint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct OptionError {
    /// The reason, with the offending value.
    pub reason: String,
    /// What to type instead.
    pub hint: String,
}

impl OptionError {
    fn new(name: &str, value: &str, wanted: &str, hint: &str) -> Self {
        Self {
            reason: format!("--{name}={} is not {wanted}", shorten(value)),
            hint: hint.into(),
        }
    }
}

/// What an option of the table means, in one row.
#[derive(Clone, Copy)]
struct Row {
    /// What users see of it.
    spec: OptionSpec,
    /// Takes a value; the option keeps its former one where it is not taken.
    set: fn(&mut RawOptions, &'static str, &str) -> Result<(), OptionError>,
    /// Tells the value as it would be typed; `None` where none was given.
    told: fn(&RawOptions) -> Option<String>,
    /// The variable in which the job finds what was asked for.
    in_job: Option<&'static str>,
    /// Other names, as engines and their clients spell the same; of the command alone.
    also: &'static [&'static str],
}

const fn row(
    place: usize,
    also: &'static [&'static str],
    set: fn(&mut RawOptions, &'static str, &str) -> Result<(), OptionError>,
    told: fn(&RawOptions) -> Option<String>,
    in_job: Option<&'static str>,
) -> Row {
    Row {
        spec: OPTIONS[place],
        set,
        told,
        in_job,
        also,
    }
}

/// Every option, in the order of the table.
#[rustfmt::skip] // a row a line, as far as it goes
const ROWS: [Row; COUNT] = [
    row(MODEL, &["model", "model-id", "model-path", "model-name"], |o, _, v| model_name(v).map(|v| o.model = Some(v)), |o| o.model.clone(), Some(job::MODEL)),
    row(ISL, &["isl", "input-len", "input-tokens", "random-input-len"], |o, n, v| tokens(n, v, "--llm-isl=2000").map(|v| o.isl = Some(v)), |o| number(o.isl), Some(job::ISL)),
    row(OSL, &["osl", "output-len", "output-tokens", "random-output-len", "max-tokens"], |o, n, v| tokens(n, v, "--llm-osl=300").map(|v| o.osl = Some(v)), |o| number(o.osl), Some(job::OSL)),
    row(CONCURRENCY, &["concurrency", "max-concurrency", "in-flight"], |o, n, v| concurrency(n, v).map(|v| o.concurrency = Some(v)), |o| number(o.concurrency),
        Some(job::CONCURRENCY)),
    row(RATE, &["rate", "request-rate", "rps", "qps"], |o, n, v| rate(n, v).map(|v| o.rate = v), |o| number(o.rate), None),
    row(SLO, &["slo"], |o, _, v| slo(v).map(|v| o.slo = v), |o| told_slo(&o.slo), None),
    row(GPU, &["gpu", "gpu-type"], |o, _, v| gpu_names(v).map(|v| o.pins.gpu = Some(v)), |o| o.pins.gpu.clone(), None),
    row(TP, &["tp", "tp-size", "tensor-parallel-size"], |o, _, v| tensor_parallel(v).map(|v| o.pins.tp = Some(v)), |o| o.pins.tp.map(|n| n.to_string()), None),
    row(PRECISION, &["precision", "quantization", "dtype", "format"], |o, _, v| precision(v).map(|v| o.pins.precision = Some(v)),
        |o| o.pins.precision.map(|p| p.name().to_owned()), None),
    row(ADVICE, &["advice"], |o, _, v| mode(v).map(|v| o.mode = v),
        |o| Some(o.mode).filter(|m| *m != AdviceMode::default()).map(|m| m.name().to_owned()), None),
];

impl RawOptions {
    /// Takes one option by its long name. The last value of a repeated option wins.
    ///
    /// # Errors
    /// A value out of range or of the wrong form; the option keeps its former value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), OptionError> {
        let Some(row) = ROWS.iter().find(|row| row.spec.name == name) else {
            return Err(OptionError {
                reason: format!("unknown option --{}", shorten(name)),
                hint: "`sbatch --help` lists the options that start with --llm-".into(),
            });
        };
        (row.set)(self, row.spec.name, value.trim())
    }

    /// What was given, by long name, as it would be typed.
    pub fn told(&self) -> impl Iterator<Item = (&'static str, String)> {
        ROWS.iter()
            .filter_map(|row| Some((row.spec.name, (row.told)(self)?)))
    }

    /// What the job is told of it, by the names of its variables.
    pub fn in_job(&self) -> impl Iterator<Item = (&'static str, String)> {
        ROWS.iter()
            .filter_map(|row| Some((row.in_job?, (row.told)(self)?)))
    }
}

/// Other names by which the command takes an option of the table, without `llm-` first.
pub fn aliases(name: &str) -> &'static [&'static str] {
    ROWS.iter()
        .find(|row| row.spec.name == name)
        .map_or(&[], |row| row.also)
}

fn number(value: Option<f64>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn told_slo(slo: &Slo) -> Option<String> {
    let stated: Vec<String> = [
        ("ttft", slo.ttft_ms),
        ("tpot", slo.tpot_ms),
        ("e2e", slo.e2e_ms),
    ]
    .iter()
    .filter_map(|(name, ms)| ms.map(|ms| format!("{name}={ms}")))
    .collect();
    (!stated.is_empty()).then(|| stated.join(","))
}

fn concurrency(name: &'static str, value: &str) -> Result<f64, OptionError> {
    let wanted = "a number of requests in flight";
    positive(name, value, 1e6, wanted, "--llm-concurrency=64")
}

/// Requests per second; `None` for an endless rate: then all requests are there at once.
fn rate(name: &'static str, value: &str) -> Result<Option<f64>, OptionError> {
    if value.eq_ignore_ascii_case("inf") {
        return Ok(None);
    }
    let (wanted, hint) = (
        "a rate in requests per second",
        "--llm-rate=2.5, or 150/min",
    );
    let rate = per_second(value).filter(|rate| (1e-6..=1e6).contains(rate));
    rate.map(Some)
        .ok_or_else(|| OptionError::new(name, value, wanted, hint))
}

fn model_name(value: &str) -> Result<String, OptionError> {
    let fits = !value.is_empty() && value.len() <= 4096 && !value.chars().any(is_hidden);
    if fits {
        return Ok(value.to_owned());
    }
    Err(OptionError::new(
        "llm-model",
        value,
        "a model name or a directory",
        "--llm-model=meta-llama/Llama-3.1-8B-Instruct",
    ))
}

fn positive(
    name: &str,
    value: &str,
    most: f64,
    wanted: &str,
    hint: &str,
) -> Result<f64, OptionError> {
    value
        .parse::<f64>()
        .ok()
        .filter(|v| v.is_finite() && *v > 0.0 && *v <= most)
        .ok_or_else(|| OptionError::new(name, value, wanted, hint))
}

fn tokens(name: &str, value: &str, hint: &str) -> Result<f64, OptionError> {
    let number = crate::quantity::tokens(value).filter(|number| (1.0..=1e8).contains(number));
    number.ok_or_else(|| OptionError::new(name, value, "a number of tokens from 1 on", hint))
}

/// GPU types, separated by commas.
fn gpu_names(value: &str) -> Result<String, OptionError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    let is_type = |name: &str| {
        let counted = name.bytes().all(|b| b.is_ascii_digit());
        !counted && name.len() <= 64 && name.chars().all(plain)
    };
    let names: Vec<String> = value
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    if names.len() <= 16 && names.iter().all(|name| is_type(name)) {
        return Ok(names.join(","));
    }
    // `a100:4` is how Slurm writes a number of GPUs.
    let counted = value.strip_prefix("gpu:").unwrap_or(value).split_once(':');
    let hint = match counted {
        Some((name, count)) if is_type(name) && count.parse::<u32>().is_ok() => {
            format!("--llm-gpu={name} --llm-tp={count}")
        }
        _ => "--llm-gpu=h100, or h100,a100 for one of both".into(),
    };
    Err(OptionError::new("llm-gpu", value, "a GPU type", &hint))
}

fn tensor_parallel(value: &str) -> Result<u32, OptionError> {
    value
        .parse::<u32>()
        .ok()
        .filter(|n| (1..=64).contains(n))
        .ok_or_else(|| {
            OptionError::new(
                "llm-tp",
                value,
                "a tensor-parallel degree from 1 to 64",
                "--llm-tp=4; pipeline stages follow where one node is too small",
            )
        })
}

fn precision(value: &str) -> Result<Precision, OptionError> {
    Precision::parse(value).ok_or_else(|| {
        OptionError::new(
            "llm-precision",
            value,
            "a weight format",
            "--llm-precision=bf16, fp8 or int4",
        )
    })
}

fn mode(value: &str) -> Result<AdviceMode, OptionError> {
    match value {
        "rewrite" => Ok(AdviceMode::Rewrite),
        "check" => Ok(AdviceMode::Check),
        "explore" => Ok(AdviceMode::Explore),
        "off" => Ok(AdviceMode::Off),
        other => Err(OptionError::new(
            "llm-advice",
            other,
            "rewrite, check, explore or off",
            "--llm-advice=check shows the advice and changes nothing",
        )),
    }
}

fn slo(value: &str) -> Result<Slo, OptionError> {
    let mut out = Slo::default();
    let taken = value.split(',').all(|part| {
        let target = part.split_once(['=', ':', '<']);
        target.is_some_and(|(key, time)| target_of(&mut out, key, time).is_some())
    });
    if taken {
        return Ok(out);
    }
    // Times alone are meant in the order in which everybody names them.
    let times: Vec<&str> = value.split(',').map(str::trim).collect();
    let hint = match times.as_slice() {
        [ttft, tpot] if [ttft, tpot].iter().all(|t| milliseconds(t).is_some()) => {
            format!("--llm-slo=ttft={ttft},tpot={tpot}")
        }
        _ => "--llm-slo=ttft=500,tpot=50: means, in ms or with a unit as in 0.5s".into(),
    };
    let wanted = "a list of latency targets";
    Err(OptionError::new("llm-slo", value, wanted, &hint))
}

fn target_of(slo: &mut Slo, key: &str, time: &str) -> Option<()> {
    let time = milliseconds(time.trim_start_matches('=')).filter(|ms| *ms > 0.0 && *ms <= 1e8)?;
    match key.trim().to_ascii_lowercase().as_str() {
        "ttft" => slo.ttft_ms = Some(time),
        "tpot" | "itl" => slo.tpot_ms = Some(time),
        "e2e" => slo.e2e_ms = Some(time),
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_option_of_the_table_is_understood() {
        let good = [
            "m",
            "1",
            "1",
            "1",
            "1",
            "ttft=500,tpot=50ms",
            "h100",
            "4",
            "FP8",
            "check",
        ];
        for (spec, value) in OPTIONS.iter().zip(good) {
            let mut options = RawOptions::default();
            options
                .set(spec.name, value)
                .unwrap_or_else(|e| panic!("--{}: {e}", spec.name));
            assert_ne!(
                options,
                RawOptions::default(),
                "--{} changed nothing",
                spec.name
            );
        }
    }

    #[test]
    fn the_rows_stand_in_the_order_of_the_table() {
        let names = ROWS.map(|row| row.spec.name);
        assert_eq!(names, OPTIONS.map(|spec| spec.name));
    }

    #[test]
    fn a_refused_value_leaves_the_former_one() {
        let mut options = RawOptions::default();
        options.set("llm-tp", "4").unwrap();
        let error = options.set("llm-tp", "0").unwrap_err();
        assert_eq!(options.pins.tp, Some(4));
        assert_eq!(
            error.to_string(),
            "--llm-tp=0 is not a tensor-parallel degree from 1 to 64"
        );
        assert!(error.hint.starts_with("--llm-tp=4"));
    }

    #[test]
    fn values_are_taken_as_people_write_them() {
        let mut options = RawOptions::default();
        for (name, value) in [
            ("llm-isl", "128k"),
            ("llm-rate", "30/min"),
            ("llm-slo", "TTFT:0.6s,tpot<=50"),
            ("llm-gpu", "H100, a100"),
        ] {
            options.set(name, value).unwrap();
        }
        assert_eq!(
            (options.isl, options.rate),
            (Some(128_000.0), Some(0.5)),
            "a unit counts"
        );
        assert_eq!(told_slo(&options.slo).unwrap(), "ttft=600,tpot=50");
        assert!(options.pins.names_gpu("A100") && options.pins.names_gpu("h100"));
        options.set("llm-rate", "inf").unwrap();
        assert_eq!(options.rate, None, "all requests at once");
    }

    #[test]
    fn a_value_in_another_form_is_told_in_the_right_one() {
        for (name, value, hint) in [
            ("llm-gpu", "a100:4", "--llm-gpu=a100 --llm-tp=4"),
            ("llm-slo", "600,50", "--llm-slo=ttft=600,tpot=50"),
        ] {
            let error = RawOptions::default().set(name, value).unwrap_err();
            assert_eq!(error.hint, hint);
        }
        assert!(RawOptions::default().set("llm-gpu", "4").is_err());
    }

    #[test]
    fn no_two_options_share_a_name() {
        let mut names: Vec<&str> = ROWS.iter().flat_map(|row| row.also).copied().collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
    }

    proptest! {
        #[test]
        fn no_value_panics_or_breaks_a_message(name in 0..OPTIONS.len(), value in any::<String>()) {
            let mut options = RawOptions::default();
            if let Err(e) = options.set(OPTIONS[name].name, &value) {
                prop_assert!(!e.reason.contains('\n') && e.reason.len() < 700);
            }
        }

        #[test]
        fn numbers_that_are_no_quantity_are_refused(value in prop::sample::select(vec!["0", "-1", "nan", "1e300", "", "x", "1,5"])) {
            for name in ["llm-isl", "llm-osl", "llm-concurrency", "llm-rate", "llm-tp"] {
                prop_assert!(RawOptions::default().set(name, value).is_err(), "{} {}", name, value);
            }
        }
    }
}
