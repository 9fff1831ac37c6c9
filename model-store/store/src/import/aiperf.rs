//! AIPerf and GenAI-Perf: each metric is an object with its `unit`, which is obeyed. Inter-token
//! latency is (end to end - first token) / (tokens - 1), which is TPOT here.
//!
//! What was asked for lies in `input_config`: since 0.13 by phase, of which the one named `profiling` was measured, before under
//! `endpoint` and `loadgen`.

use serde_json::Value;

use super::Reading;
use super::bag::{Bag, as_number, find, find_text};
use super::vllm::workload;
use crate::advisor::Measured;

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let mut bag = Bag::of(document);
    let mut metric = |name: &'static str| bag.take(&[name]).unwrap_or(&Value::Null);
    let (ttft, itl) = (metric("time_to_first_token"), metric("inter_token_latency"));
    let latency = metric("request_latency");
    let measured = Measured {
        output_tok_s: plain(metric("output_token_throughput"), "avg"),
        total_tok_s: plain(metric("total_token_throughput"), "avg"),
        req_s: plain(metric("request_throughput"), "avg"),
        ttft_ms: ms(ttft, "avg"),
        ttft_p50_ms: ms(ttft, "p50"),
        ttft_p99_ms: ms(ttft, "p99"),
        tpot_ms: ms(itl, "avg"),
        tpot_p99_ms: ms(itl, "p99"),
        e2e_ms: ms(latency, "avg"),
        e2e_p99_ms: ms(latency, "p99"),
        ..Measured::default()
    };
    let (isl, osl) = (
        plain(metric("input_sequence_length"), "avg"),
        plain(metric("output_sequence_length"), "avg"),
    );
    let in_flight = plain(metric("effective_concurrency"), "avg");
    let config = bag.take(&["input_config"]).unwrap_or(&Value::Null);
    let phases = config["phases"].as_array();
    let measured_phase = phases.and_then(|all| all.iter().find(|p| p["kind"] == "profiling"));
    let load = measured_phase.unwrap_or(config);
    let number = |key: &str| find(load, &[key]).and_then(as_number).filter(|x| *x > 0.0);
    let request_rate = number("request_rate").or_else(|| number("rate"));
    // Requests that come at a rate are as many at once as the server's speed makes them.
    let concurrency = number("concurrency").or(in_flight.filter(|_| request_rate.is_some()));
    let listed = find(config, &["models"]).map_or_else(String::new, |m| find_text(m, &["name"]));
    let model = ["model_names", "models", "model"]
        .map(|key| find_text(config, &[key]))
        .into_iter()
        .chain([listed])
        .find(|m| !m.is_empty());
    Ok(Reading {
        model: model.unwrap_or_default(),
        isl,
        osl,
        workload: workload(request_rate, concurrency),
        concurrency,
        request_rate,
        measured,
        notes: bag.rest(),
        ..Reading::default()
    })
}

fn plain(metric: &Value, statistic: &str) -> Option<f64> {
    as_number(&metric[statistic]).filter(|x| *x > 0.0)
}

/// A time in ms, whatever its unit; `None` for a unit that is not one of time.
fn ms(metric: &Value, statistic: &str) -> Option<f64> {
    let factor = match metric["unit"].as_str().unwrap_or("ms") {
        "ms" | "milliseconds" => 1.0,
        "s" | "sec" | "seconds" => 1e3,
        "us" | "microseconds" => 1e-3,
        "ns" | "nanoseconds" => 1e-6,
        _ => return None,
    };
    plain(metric, statistic).map(|x| x * factor)
}
