//! GuideLLM `benchmarks.json`, versions 1 and 2: one entry a load. Request latency is in seconds,
//! the others in ms; its time per output token counts the first token, so inter-token latency is
//! what TPOT is here. Of each metric the successful requests count.

use serde_json::Value;

use super::Reading;
use super::bag::{Bag, as_number, find, find_text};
use crate::advisor::{Measured, Workload};

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
    let strategy = find(benchmark, &["strategy"]).unwrap_or(&Value::Null);
    let kind = find_text(strategy, &["type_"]);
    let streams = find(strategy, &["streams"]).and_then(as_number);
    let asked_rate = find(strategy, &["rate"]).and_then(as_number);
    let (workload, concurrency, request_rate) = match kind.as_str() {
        "constant" | "poisson" | "async" => (Workload::Poisson, None, asked_rate),
        "throughput" => (Workload::Offline, None, Some(f64::INFINITY)),
        "synchronous" => (Workload::ClosedLoop, Some(1.0), None),
        _ => (Workload::ClosedLoop, streams.or(asked_rate), None),
    };
    let model = [&["backend", "model"][..], &["model"]]
        .iter()
        .flat_map(|path| [benchmark, document].map(|v| find_text(v, path)))
        .find(|m| !m.is_empty());
    Ok(Reading {
        model: model.unwrap_or_default(),
        isl: mean("prompt_token_count"),
        osl: mean("output_token_count"),
        workload: Some(workload),
        concurrency: concurrency.or_else(|| mean("request_concurrency")),
        request_rate,
        measured: Measured {
            output_tok_s: mean("output_tokens_per_second"),
            total_tok_s: mean("tokens_per_second"),
            req_s: mean("requests_per_second"),
            ttft_ms: mean("time_to_first_token_ms"),
            ttft_p50_ms: as_number(&of("time_to_first_token_ms")["median"]),
            ttft_p99_ms: p99("time_to_first_token_ms"),
            tpot_ms: mean("inter_token_latency_ms"),
            tpot_p99_ms: p99("inter_token_latency_ms"),
            e2e_ms: mean("request_latency").map(|s| s * 1e3),
            e2e_p99_ms: p99("request_latency").map(|s| s * 1e3),
            ..Measured::default()
        },
        notes: [vec![format!("strategy={kind}")], rest.rest()].concat(),
        ..Reading::default()
    })
}
