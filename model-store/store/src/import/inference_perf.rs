//! inference-perf `stage_*_lifecycle_metrics.json`: times in s, rates of the deployment. TPOT leaves the first token out;
//! `normalized_time_per_output_token` does not and is not used. Lengths are those that the client counted.
//!
//! The file names neither model nor engine. A summary over stages of several rates tells no rate, and is asked for one.

use serde_json::Value;

use super::bag::{Bag, as_number};
use super::reuse::reuse;
use super::{Load, Reading};
use crate::advisor::{Measured, Variant};

/// Share of prompt tokens from the cache from which a run is marked.
const CACHED: f64 = 0.01;

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let done = &document["successes"];
    if as_number(&done["count"]) == Some(0.0) {
        return Err("no request was completed".into());
    }
    let through = &done["throughput"];
    let positive = |v: &Value| as_number(v).filter(|x| *x > 0.0);
    let rate = |name: &str| positive(&through[name]);
    let ms = |name: &str, which: &str| positive(&done["latency"][name][which]).map(|s| s * 1e3);
    let length = |names: [&str; 2]| names.iter().find_map(|name| positive(&done[*name]["mean"]));
    let summary = &document["load_summary"];
    let asked = |names: &[&str]| names.iter().find_map(|name| positive(&summary[*name]));
    let tokens = &done["prompt_tokens"];
    let cached = as_number(&tokens["cached"]).zip(positive(&tokens["total"]));
    let found = reuse(document, &["successes", "failures"]);
    Ok(Reading {
        isl: length(["prompt_len", "prompt_tokens"]),
        osl: length(["output_len", "output_tokens"]),
        load: Load::asked(
            asked(&["requested_rate"]),
            asked(&["concurrency", "requested_concurrency", "concurrency_level"]),
            None,
        ),
        measured: Measured {
            output_tok_s: rate("output_tokens_per_sec"),
            total_tok_s: rate("total_tokens_per_sec"),
            req_s: rate("requests_per_sec"),
            ttft_ms: ms("time_to_first_token", "mean"),
            ttft_p50_ms: ms("time_to_first_token", "median"),
            ttft_p99_ms: ms("time_to_first_token", "p99"),
            tpot_ms: ms("time_per_output_token", "mean"),
            tpot_p99_ms: ms("time_per_output_token", "p99"),
            e2e_ms: ms("request_latency", "mean"),
            e2e_p99_ms: ms("request_latency", "p99"),
            ..Measured::default()
        },
        variant: Variant {
            prefix_cached: found.prefix || cached.is_some_and(|(hit, all)| hit / all >= CACHED),
            multi_turn: found.turns,
            ..Variant::default()
        },
        notes: {
            let mut bag = Bag::of(summary);
            bag.take(&["requested_rate"]);
            let failed = as_number(&document["failures"]["count"]);
            let failed = failed.filter(|n| *n > 0.0).map(|n| format!("failures={n}"));
            failed.into_iter().chain(bag.rest()).collect()
        },
        ..Reading::default()
    })
}
