//! The llm-d benchmark report 0.1, 0.2 and 0.2.1, as YAML or JSON: every statistic has its `units`, which
//! are obeyed. TPOT leaves the first token out; `normalized_time_per_output_token` does not and is
//! not used.

use serde_json::Value;

use super::Reading;
use super::bag::{Bag, as_number, find, find_text};
use super::vllm::workload;
use crate::advisor::Measured;

/// Latencies and rates that are read; of the others the means are kept.
const READ: [&str; 9] = [
    "output_token_rate",
    "output_tokens_per_sec",
    "request_latency",
    "request_rate",
    "requests_per_sec",
    "time_per_output_token",
    "time_to_first_token",
    "total_token_rate",
    "total_tokens_per_sec",
];

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let scenario = &document["scenario"];
    // 0.2 and later; 0.1.
    let aggregate = &document["results"]["request_performance"]["aggregate"];
    let figures = if aggregate.is_object() {
        aggregate
    } else {
        &document["metrics"]
    };
    let (latency, through) = (&figures["latency"], &figures["throughput"]);
    let tpot = [
        &latency["time_per_output_token"],
        &latency["inter_token_latency"],
    ]
    .into_iter()
    .find(|v| v.is_object())
    .unwrap_or(&Value::Null);
    let (ttft, e2e) = (&latency["time_to_first_token"], &latency["request_latency"]);
    let number = |path: &[&str]| find(scenario, path).and_then(as_number);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // filtered
    let count = |path: &[&str]| {
        number(path)
            .filter(|x| *x >= 1.0 && *x <= 65_536.0)
            .map(|x| x as u32)
    };
    let request_rate = number(&["rate_qps"]).or_else(|| number(&["qps"]));
    let concurrency = number(&["concurrency"]).or_else(|| number(&["max_concurrency"]));
    Ok(Reading {
        model: find_text(scenario, &["model", "name"]),
        gpu: {
            let in_list = find(scenario, &["accelerator"]).and_then(|a| a.get(0));
            let listed = in_list.map_or_else(String::new, |a| find_text(a, &["model"]));
            if listed.is_empty() {
                find_text(scenario, &["accelerator", "model"])
            } else {
                listed
            }
        },
        tp: count(&["parallelism", "tp"]),
        pp: count(&["parallelism", "pp"]).unwrap_or(1),
        dp: count(&["parallelism", "dp"]).unwrap_or(1),
        precision: find_text(scenario, &["model", "quantization"]),
        engine: {
            let tool = find_text(scenario, &["engine", "name"]);
            let listed = find(scenario, &["engine"]).and_then(|e| e[0]["name"].as_str());
            match listed {
                Some(name) => name.to_owned(),
                None if tool.is_empty() => engine_of_stack(scenario, "tool"),
                None => tool,
            }
        },
        engine_version: engine_of_stack(scenario, "tool_version"),
        isl: plain(&figures["requests"]["input_length"]),
        osl: plain(&figures["requests"]["output_length"]),
        workload: workload(request_rate, concurrency),
        concurrency,
        request_rate,
        measured: Measured {
            output_tok_s: either(through, "output_token_rate", "output_tokens_per_sec"),
            total_tok_s: either(through, "total_token_rate", "total_tokens_per_sec"),
            req_s: either(through, "request_rate", "requests_per_sec"),
            ttft_ms: ms(ttft, "mean"),
            ttft_p50_ms: ms(ttft, "p50"),
            ttft_p99_ms: ms(ttft, "p99"),
            tpot_ms: ms(tpot, "mean"),
            tpot_p99_ms: ms(tpot, "p99"),
            e2e_ms: ms(e2e, "mean"),
            e2e_p99_ms: ms(e2e, "p99"),
            kv_usage: kv_usage(document),
            ..Measured::default()
        },
        notes: {
            let harness = vec![format!("harness={}", harness(scenario))];
            let others = [latency, through].map(|of| Bag::of(of).without(&READ).rest());
            [harness, others.concat()].concat()
        },
        ..Reading::default()
    })
}

/// A field of the component that is an engine.
fn engine_of_stack(scenario: &Value, field: &str) -> String {
    let stack = scenario["stack"].as_array().into_iter().flatten();
    let mut engines = stack
        .map(|c| &c["standardized"])
        .filter(|s| s["kind"] == "inference_engine");
    let found = engines.find_map(|s| s[field].as_str());
    found.unwrap_or_default().to_owned()
}

fn harness(scenario: &Value) -> String {
    let load = &scenario["load"];
    let name = load["name"]
        .as_str()
        .or_else(|| load["standardized"]["tool"].as_str());
    name.unwrap_or("?").to_owned()
}

fn plain(statistic: &Value) -> Option<f64> {
    as_number(&statistic["mean"]).filter(|x| *x > 0.0)
}

/// A rate as a statistic (0.2) or as a number (0.1).
fn either(through: &Value, statistic: &str, number: &str) -> Option<f64> {
    plain(&through[statistic]).or_else(|| as_number(&through[number]).filter(|x| *x > 0.0))
}

fn ms(statistic: &Value, which: &str) -> Option<f64> {
    let factor = match statistic["units"].as_str().unwrap_or_default() {
        "ms" | "ms/token" => 1.0,
        "s" | "s/token" => 1e3,
        _ => return None,
    };
    as_number(&statistic[which])
        .filter(|x| *x > 0.0)
        .map(|x| x * factor)
}

/// Mean KV usage, 0 to 1; told in percent by some versions.
fn kv_usage(document: &Value) -> Option<f64> {
    let usage = find(&document["results"], &["kv_cache_usage"])?;
    let mean = as_number(&usage["mean"])?;
    let share = match usage["units"].as_str().unwrap_or_default() {
        "percent" | "%" => mean / 100.0,
        _ => mean,
    };
    Some(share).filter(|s| (0.0..=1.0).contains(s))
}
