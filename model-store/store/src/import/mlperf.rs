//! MLPerf `mlperf_log_summary.txt`: lines of `name : value`, times in ns, tokens those that were put out. It names neither
//! model nor GPU nor how many engines its system has, so all of them are asked for.
//!
//! Output tokens of a request are tokens/s by samples/s, which the same seconds divide. Time to output token leaves the first
//! token out. Only valid performance runs are runs.

use serde_json::{Map, Value};

use super::bag::as_number;
use super::{Load, Reading, Stated};
use crate::advisor::{Measured, Workload};

/// Key of the document that the lines become.
pub(super) const KEY: &str = "mlperf_log_summary";
const TITLE: &str = "MLPerf Results Summary";
/// How far into the text the title stands.
const HEAD: usize = 64 << 10;

/// True for the text of a summary.
pub(super) fn is(text: &str) -> bool {
    let mut end = text.len().min(HEAD);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].lines().any(|line| line.trim() == TITLE)
}

/// The lines as a document, names without blanks around them; of two with one name the first.
pub(super) fn document(text: &str) -> Value {
    let mut lines = Map::new();
    for (name, value) in text
        .lines()
        .filter_map(|line| line.split_once(" : ").or(line.split_once(": ")))
    {
        let value = Value::String(value.trim().to_owned());
        lines.entry(name.trim().to_owned()).or_insert(value);
    }
    let mut document = Map::new();
    document.insert(KEY.to_owned(), Value::Object(lines));
    Value::Object(document)
}

pub(super) fn read(document: &Value, stated: &Stated) -> Result<Reading, String> {
    let lines = &document[KEY];
    let text = |name: &str| lines[name].as_str().unwrap_or_default();
    let number = |names: &[&str]| {
        let found = names.iter().find_map(|name| as_number(&lines[*name]));
        found.filter(|x| *x > 0.0)
    };
    if !text("Mode").starts_with("Performance") {
        return Err(format!(
            "its mode is `{}`, not a performance run",
            crate::advisor::plain::shorten(text("Mode"))
        ));
    }
    if text("Result is") != "VALID" {
        return Err(format!(
            "its result is `{}`",
            crate::advisor::plain::shorten(text("Result is"))
        ));
    }
    let ms = |names: &[&str]| number(names).map(|ns| ns / 1e6);
    let samples = number(&["Samples per second", "Completed samples per second"]);
    let output = number(&[
        "Tokens per second",
        "Completed tokens per second",
        "Tokens per second (inferred)",
        "Completed tokens per second (inferred)",
    ]);
    let scenario = text("Scenario");
    let load = match scenario {
        "Offline" => Load::asked(Some(f64::INFINITY), None, None),
        "Server" | "Interactive" => Load {
            kind: Some(Workload::Poisson),
            concurrency: None,
            request_rate: number(&["target_qps", "Scheduled samples per second"]),
        },
        "SingleStream" | "Single Stream" => Load::asked(None, Some(1.0), None),
        "MultiStream" | "Multi Stream" => Load::asked(None, number(&["samples_per_query"]), None),
        other => {
            return Err(format!(
                "its scenario `{}` is not known",
                crate::advisor::plain::shorten(other)
            ));
        }
    };
    Ok(Reading {
        is_of_a_system: true,
        isl: stated.isl,
        osl: output
            .zip(samples)
            .map(|(tokens, samples)| tokens / samples),
        load,
        measured: Measured {
            output_tok_s: output,
            req_s: samples,
            ttft_ms: ms(&["Mean First Token latency (ns)"]),
            ttft_p50_ms: ms(&["50.00 percentile first token latency (ns)"]),
            ttft_p99_ms: ms(&["99.00 percentile first token latency (ns)"]),
            tpot_ms: ms(&["Mean Time to Output Token (ns)"]),
            tpot_p99_ms: ms(&["99.00 percentile time to output token (ns)"]),
            e2e_ms: ms(&["Mean latency (ns)"]),
            e2e_p99_ms: ms(&["99.00 percentile latency (ns)"]),
            ..Measured::default()
        },
        notes: vec![
            format!("scenario={scenario}"),
            format!("sut={}", text("SUT name")),
        ],
        ..Reading::default()
    })
}
