//! GuideLLM `benchmarks.json`, 0.2 to 0.8: one entry a load. Request latency is in seconds,
//! the others in ms; its time per output token counts the first token, so inter-token latency is
//! what TPOT is here. Of each metric the successful requests count.
//!
//! The model stands in the worker of each entry (0.2), in `args` (0.3 to 0.6) or in `config` (0.7 and 0.8); what was asked
//! for stands in a strategy under `args`, `scheduler` or `config`.

use serde_json::Value;

use super::bag::{Bag, as_number, find, find_text};
use super::reuse::reuse;
use super::{Load, Reading};
use crate::advisor::{Measured, Variant, Workload};

/// Metrics that are read; of the others the means are kept.
const READ: [&str; 9] = [
    "inter_token_latency_ms",
    "output_token_count",
    "output_tokens_per_second",
    "prompt_token_count",
    "request_concurrency",
    "request_latency",
    "requests_per_second",
    "time_to_first_token_ms",
    "tokens_per_second",
];
/// Where requests themselves stand, with their texts.
const REQUESTS: [&str; 3] = ["requests", "request_samples", "metrics"];
/// Where the model is named, the surest place first.
const MODEL: [&[&str]; 4] = [
    &["backend_model"],
    &["backend", "model"],
    &["args", "model"],
    &["model"],
];

pub(super) fn read(document: &Value) -> Vec<Result<Reading, String>> {
    let benchmarks = document["benchmarks"].as_array();
    benchmarks
        .into_iter()
        .flatten()
        .map(|b| one(document, b))
        .collect()
}

fn one(document: &Value, benchmark: &Value) -> Result<Reading, String> {
    let metrics = &benchmark["metrics"];
    let of = |name: &str| &metrics[name]["successful"];
    let mean = |name: &str| as_number(&of(name)["mean"]).filter(|x| *x > 0.0);
    let p99 = |name: &str| as_number(&of(name)["percentiles"]["p99"]).filter(|x| *x > 0.0);
    let rest = Bag::of(metrics).without(&READ);
    let settings = without_requests(benchmark);
    let above = without_requests(document);
    let strategy = find(&settings, &["strategy"]).unwrap_or(&Value::Null);
    let kind = ["type_", "kind"].map(|key| strategy[key].as_str().unwrap_or_default());
    let kind = kind.into_iter().find(|k| !k.is_empty()).unwrap_or_default();
    let model = MODEL
        .iter()
        .flat_map(|path| [&settings, &above].map(|v| find_text(v, path)))
        .find(|m| !m.is_empty());
    let found = [reuse(&settings, &REQUESTS), reuse(&above, &["benchmarks"])];
    Ok(Reading {
        model: model.unwrap_or_default(),
        isl: mean("prompt_token_count"),
        osl: mean("output_token_count"),
        load: load(kind, strategy, mean("request_concurrency")),
        measured: Measured {
            output_tok_s: mean("output_tokens_per_second"),
            total_tok_s: mean("tokens_per_second"),
            req_s: mean("requests_per_second"),
            ttft_ms: mean("time_to_first_token_ms"),
            ttft_p50_ms: as_number(&of("time_to_first_token_ms")["median"]).filter(|x| *x > 0.0),
            ttft_p99_ms: p99("time_to_first_token_ms"),
            tpot_ms: mean("inter_token_latency_ms"),
            tpot_p99_ms: p99("inter_token_latency_ms"),
            e2e_ms: mean("request_latency").map(|s| s * 1e3),
            e2e_p99_ms: p99("request_latency").map(|s| s * 1e3),
            ..Measured::default()
        },
        variant: Variant {
            prefix_cached: found.iter().any(|f| f.prefix),
            multi_turn: found.iter().any(|f| f.turns),
            ..Variant::default()
        },
        notes: [vec![format!("strategy={kind}")], rest.rest()].concat(),
        ..Reading::default()
    })
}

/// What was asked for. A strategy that is not known here tells nothing.
fn load(kind: &str, strategy: &Value, reached: Option<f64>) -> Load {
    let number = |key: &str| strategy.get(key).and_then(as_number).filter(|x| *x > 0.0);
    match kind {
        "constant" | "poisson" | "async" => Load {
            kind: Some(Workload::Poisson),
            concurrency: reached,
            request_rate: number("rate"),
        },
        "throughput" => Load::asked(Some(f64::INFINITY), None, reached),
        "synchronous" => Load::asked(None, Some(1.0), None),
        "concurrent" => Load::asked(
            None,
            number("streams").or_else(|| number("rate")).or(reached),
            None,
        ),
        _ => Load {
            concurrency: reached,
            ..Load::default()
        },
    }
}

/// The same without what single requests said, which may be anything and long.
fn without_requests(value: &Value) -> Value {
    let map = value.as_object().into_iter().flatten();
    let kept = map.filter(|(key, _)| !REQUESTS.contains(&key.as_str()) && *key != "benchmarks");
    Value::Object(
        kept.map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}
