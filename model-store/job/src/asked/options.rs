//! What the `--llm-*` options mean. The one table of them is in `plugin_contract`, since the plugin, which
//! registers it, is built without std.

pub use crate::advisor::plain::{is_hidden, shorten};
use plugin_contract::environment::job;
use plugin_contract::options::{
    ADVICE, CONCURRENCY, COUNT, GPU, ISL, MODEL, OSL, PRECISION, RATE, REQUESTS, SLO, TP,
};
pub use plugin_contract::options::{OPTIONS, OptionSpec};

use crate::advisor::{Pins, Precision, Slo};

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
    /// `--llm-requests`
    pub requests: Option<f64>,
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
}

const fn row(
    place: usize,
    set: fn(&mut RawOptions, &'static str, &str) -> Result<(), OptionError>,
    told: fn(&RawOptions) -> Option<String>,
    in_job: Option<&'static str>,
) -> Row {
    Row {
        spec: OPTIONS[place],
        set,
        told,
        in_job,
    }
}

/// Every option, in the order of the table.
#[rustfmt::skip] // a row a line, as far as it goes
const ROWS: [Row; COUNT] = [
    row(MODEL, |o, _, v| model_name(v).map(|v| o.model = Some(v)), |o| o.model.clone(), Some(job::MODEL)),
    row(ISL, |o, n, v| tokens(n, v, "--llm-isl=2000").map(|v| o.isl = Some(v)), |o| number(o.isl), Some(job::ISL)),
    row(OSL, |o, n, v| tokens(n, v, "--llm-osl=300").map(|v| o.osl = Some(v)), |o| number(o.osl), Some(job::OSL)),
    row(CONCURRENCY, |o, n, v| concurrency(n, v).map(|v| o.concurrency = Some(v)), |o| number(o.concurrency),
        Some(job::CONCURRENCY)),
    row(RATE, |o, n, v| rate(n, v).map(|v| o.rate = Some(v)), |o| number(o.rate), None),
    row(REQUESTS, |o, n, v| requests(n, v).map(|v| o.requests = Some(v)), |o| number(o.requests), None),
    row(SLO, |o, _, v| slo(v).map(|v| o.slo = v), |o| told_slo(&o.slo), None),
    row(GPU, |o, _, v| gpu_name(v).map(|v| o.pins.gpu = Some(v)), |o| o.pins.gpu.clone(), None),
    row(TP, |o, _, v| tensor_parallel(v).map(|v| o.pins.tp = Some(v)), |o| o.pins.tp.map(|n| n.to_string()), None),
    row(PRECISION, |o, _, v| precision(v).map(|v| o.pins.precision = Some(v)),
        |o| o.pins.precision.map(|p| p.name().to_owned()), None),
    row(ADVICE, |o, _, v| mode(v).map(|v| o.mode = v),
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

fn requests(name: &'static str, value: &str) -> Result<f64, OptionError> {
    let (wanted, hint) = ("a number of requests", "--llm-requests=1000000");
    let number = positive(name, value, 1e12, wanted, hint)?;
    match number < 1.0 {
        true => Err(OptionError::new(name, value, wanted, hint)),
        false => Ok(number),
    }
}

fn rate(name: &'static str, value: &str) -> Result<f64, OptionError> {
    let (wanted, hint) = ("a rate in requests per second", "--llm-rate=2.5");
    let rate = positive(name, value, 1e6, wanted, hint)?;
    match rate < 1e-6 {
        true => Err(OptionError::new(name, value, wanted, hint)),
        false => Ok(rate),
    }
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
    let number = positive(name, value, 1e8, "a number of tokens", hint)?;
    if number >= 1.0 {
        Ok(number)
    } else {
        Err(OptionError::new(name, value, "at least one token", hint))
    }
}

fn gpu_name(value: &str) -> Result<String, OptionError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !value.is_empty() && value.len() <= 64 && value.chars().all(plain) {
        return Ok(value.to_ascii_lowercase());
    }
    Err(OptionError::new(
        "llm-gpu",
        value,
        "a GPU type",
        "--llm-gpu=h100",
    ))
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
                "--llm-tp=4",
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
    let wrong = || {
        OptionError::new(
            "llm-slo",
            value,
            "a list of latency targets",
            "--llm-slo=ttft=500,tpot=50 (ms)",
        )
    };
    let mut out = Slo::default();
    for part in value.split(',') {
        let (key, ms) = part.split_once('=').ok_or_else(wrong)?;
        let ms = ms.trim().trim_end_matches("ms");
        let ms = positive("llm-slo", ms, 1e8, "", "").map_err(|_| wrong())?;
        match key.trim() {
            "ttft" => out.ttft_ms = Some(ms),
            "tpot" => out.tpot_ms = Some(ms),
            "e2e" => out.e2e_ms = Some(ms),
            _ => return Err(wrong()),
        }
    }
    Ok(out)
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
        assert_eq!(error.hint, "--llm-tp=4");
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
        fn numbers_that_are_no_quantity_are_refused(value in prop::sample::select(vec!["0", "-1", "nan", "inf", "1e300", "", "x", "1,5"])) {
            for name in ["llm-isl", "llm-osl", "llm-concurrency", "llm-rate", "llm-tp"] {
                prop_assert!(RawOptions::default().set(name, value).is_err(), "{} {}", name, value);
            }
        }
    }
}
