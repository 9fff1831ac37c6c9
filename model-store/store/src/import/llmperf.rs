//! LLMPerf `*_summary.json`: times in s, requests a minute. Its inter-token latency counts the first token and is no TPOT;
//! it stays in the notes under its own name.

use serde_json::Value;

use super::bag::{Bag, as_number};
use super::reuse::reuse;
use super::vllm::{DP, PP, TP};
use super::{Load, Reading};
use crate::advisor::{Measured, Variant};

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let mut bag = Bag::of(document);
    let completed = bag.number(&["results_num_completed_requests"]);
    if completed == Some(0.0) {
        return Err("no request was completed".into());
    }
    let at_once = bag.positive(&["num_concurrent_requests"]);
    let a_minute = bag.positive(&["results_num_completed_requests_per_min"]);
    let mut ms = |key: &str| bag.positive(&[key]).map(|s| s * 1e3);
    let measured = Measured {
        ttft_ms: ms("results_ttft_s_mean"),
        ttft_p50_ms: ms("results_ttft_s_quantiles_p50"),
        ttft_p99_ms: ms("results_ttft_s_quantiles_p99"),
        e2e_ms: ms("results_end_to_end_latency_s_mean"),
        e2e_p99_ms: ms("results_end_to_end_latency_s_quantiles_p99"),
        output_tok_s: bag.positive(&["results_mean_output_throughput_token_per_s"]),
        req_s: a_minute.map(|n| n / 60.0),
        ..Measured::default()
    };
    let found = reuse(document, &[]);
    let inter_token = document
        .get("results_inter_token_latency_s_mean")
        .and_then(as_number);
    Ok(Reading {
        model: bag.text(&["model"]),
        gpu: bag.text(&["gpu"]),
        tp: bag.count(&TP),
        pp: bag.count(&PP),
        dp: bag.count(&DP),
        precision: bag.text(&["precision", "quantization"]),
        engine: bag.text(&["engine"]),
        engine_version: bag.text(&["engine_version", "engineVersion"]),
        isl: bag.positive(&["results_number_input_tokens_mean"]),
        osl: bag.positive(&["results_number_output_tokens_mean"]),
        load: Load::asked(None, at_once, None),
        measured,
        variant: Variant {
            prefix_cached: found.prefix,
            multi_turn: found.turns,
            ..Variant::default()
        },
        notes: {
            let told = inter_token.map(|s| format!("results_inter_token_latency_s_mean={s}"));
            let others = bag.without(&["results_inter_token_latency_s_mean"]).rest();
            told.into_iter()
                .chain(others.into_iter().filter(|n| !n.starts_with("results_")))
                .collect()
        },
        ..Reading::default()
    })
}
