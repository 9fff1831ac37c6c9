//! AIPerf and GenAI-Perf: each metric is an object with its `unit`, which is obeyed. Inter-token
//! latency is (end to end - first token) / (tokens - 1), which is TPOT here.
//!
//! What was asked for lies in `input_config`: since 0.10 by phase, of which the one named `profiling` was measured (0.13 says
//! `kind` too); before under `endpoint` and `loadgen`. A phase that is left out of the results is never the run.

use serde_json::Value;

use super::bag::{Bag, as_flag, as_number, find, find_text};
use super::reuse::reuse;
use super::{Load, Reading};
use crate::advisor::{Measured, Variant};

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    if document["metadata"].get("aggregation_type").is_some() {
        return Err(
            "it sums up several runs: import the `profile_export_aiperf.json` of each".into(),
        );
    }
    let mut bag = Bag::of(document);
    let mut metric = |name: &'static str| bag.take(&[name]).unwrap_or(&Value::Null);
    let (ttft, itl) = (metric("time_to_first_token"), metric("inter_token_latency"));
    let latency = metric("request_latency");
    let measured = Measured {
        output_tok_s: rate(metric("output_token_throughput")),
        total_tok_s: rate(metric("total_token_throughput")),
        req_s: rate(metric("request_throughput")),
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
    let found = reuse(config, &[]);
    Ok(Reading {
        model: model(config),
        isl,
        osl,
        load: load(config, in_flight)?,
        measured,
        variant: Variant {
            prefix_cached: found.prefix || has_prefixes(config),
            multi_turn: found.turns,
            ..Variant::default()
        },
        notes: bag.rest(),
        ..Reading::default()
    })
}

/// What the measured phase asked for.
fn load(config: &Value, in_flight: Option<f64>) -> Result<Load, String> {
    let phase = match &config["phases"] {
        Value::Null => config.get("loadgen").unwrap_or(config),
        phases => measured_phase(phases)?,
    };
    let number = |key: &str| phase.get(key).and_then(as_number).filter(|x| *x > 0.0);
    let rate = number("request_rate").or_else(|| number("rate"));
    // GenAI-Perf has them one level down, under the name of what made the load.
    let below = |key: &str| find(phase, &[key]).and_then(as_number).filter(|x| *x > 0.0);
    let no_phases = config["phases"].is_null();
    let rate = rate.or_else(|| below("request_rate").filter(|_| no_phases));
    let at_once = number("concurrency").or_else(|| below("concurrency").filter(|_| no_phases));
    // Requests that come at a rate are as many at once as the server's speed makes them.
    let reached = in_flight.filter(|_| rate.is_some());
    Ok(Load::asked(rate, at_once, reached))
}

/// The one phase whose requests are in the results.
fn measured_phase(phases: &Value) -> Result<&Value, String> {
    let named: Vec<(&str, &Value)> = match phases {
        Value::Array(all) => all
            .iter()
            .map(|p| (p["name"].as_str().unwrap_or_default(), p))
            .collect(),
        Value::Object(map) => map.iter().map(|(name, p)| (name.as_str(), p)).collect(),
        _ => Vec::new(),
    };
    let counts = |(name, phase): &&(&str, &Value)| {
        let excluded = phase.get("exclude_from_results").and_then(as_flag);
        let kind = phase["kind"].as_str().unwrap_or(name);
        !(excluded.unwrap_or(false) || kind.contains("warmup") || name.contains("warmup"))
    };
    let mut left = named.iter().filter(counts);
    match (left.next(), left.next()) {
        (Some((_, phase)), None) => Ok(phase),
        (None, _) => Err("none of its phases is in the results".into()),
        (Some(_), Some(_)) => {
            Err("several of its phases are in the results, with one set of figures".into())
        }
    }
}

fn model(config: &Value) -> String {
    let listed = find(config, &["models"]).map_or_else(String::new, |m| find_text(m, &["name"]));
    let named = ["model_names", "models", "model"].map(|key| find_text(config, &[key]));
    let all = named.into_iter().chain([listed]);
    all.into_iter().find(|m| !m.is_empty()).unwrap_or_default()
}

/// True where prompts begin with texts from a pool.
fn has_prefixes(config: &Value) -> bool {
    let pools = ["prefix_prompt", "prefix_prompts"].map(|key| find(config, &[key]));
    let long = |pool: &Value| {
        find(pool, &["length"])
            .and_then(as_number)
            .is_some_and(|n| n > 0.0)
    };
    pools.into_iter().flatten().any(long)
}

fn plain(metric: &Value, statistic: &str) -> Option<f64> {
    as_number(&metric[statistic]).filter(|x| *x > 0.0)
}

/// The mean of what happens in a second; `None` for another unit.
fn rate(metric: &Value) -> Option<f64> {
    let unit = metric["unit"].as_str().unwrap_or("1/s");
    let a_second = unit.ends_with("/sec") || unit.ends_with("/s") || unit.ends_with("/second");
    plain(metric, "avg").filter(|_| a_second)
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
