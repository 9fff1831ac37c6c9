//! `trtllm-bench --report_json`: times in ms, rates of the world of TP x PP GPUs. TPOT leaves the first token out.
//!
//! All requests are issued at once; how many were in flight on average was measured. A checkpoint that is not quantised has
//! `quantization` null, and then its `dtype` is its format.

use serde_json::Value;

use super::bag::{as_count, as_number, as_text};
use super::deployment::{Deployment, Engines};
use super::{Load, Reading};
use crate::advisor::{Measured, Variant};

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let (engine, world) = (&document["engine"], &document["world_info"]);
    let (asked, figures) = (&document["request_info"], &document["performance"]);
    let streaming = &document["streaming_metrics"];
    let positive = |v: &Value| as_number(v).filter(|x| *x > 0.0);
    let text = |name: &str| engine.get(name).and_then(as_text).unwrap_or_default();
    let count = |name: &str| world.get(name).and_then(as_count);
    if as_number(&asked["num_requests"]) == Some(0.0) {
        return Err("no request was completed".into());
    }
    let engines = Engines {
        tp: count("tp_size"),
        pp: count("pp_size"),
        // Attention alone may be data-parallel, over the GPUs of the TP group.
        dp: None,
        replicas: 1,
        gpus: count("world_size"),
        ..Engines::default()
    };
    let ep = count("ep_size").filter(|n| *n > 1);
    let reading = Reading {
        model: text("model"),
        precision: match text("quantization").as_str() {
            "" | "None" => text("dtype"),
            quantised => quantised.to_owned(),
        },
        kv_precision: text("kv_cache_dtype"),
        engine: "tensorrt-llm".to_owned(),
        engine_version: text("version"),
        isl: positive(&asked["avg_input_length"]),
        osl: positive(&asked["avg_output_length"]),
        load: Load::asked(
            Some(f64::INFINITY),
            None,
            positive(&asked["avg_num_concurrent_requests"]),
        ),
        measured: Measured {
            output_tok_s: positive(&figures["system_output_throughput_tok_s"]),
            total_tok_s: positive(&figures["system_total_throughput_tok_s"]),
            req_s: positive(&figures["request_throughput_req_s"]),
            ttft_ms: positive(&streaming["avg_ttft_ms"]),
            ttft_p50_ms: positive(&streaming["ttft_percentiles"]["p50"]),
            ttft_p99_ms: positive(&streaming["ttft_percentiles"]["p99"]),
            tpot_ms: positive(&streaming["avg_tpot_ms"]),
            tpot_p99_ms: positive(&streaming["tpot_percentiles"]["p99"]),
            e2e_ms: positive(&figures["avg_request_latency_ms"]),
            e2e_p99_ms: positive(&figures["request_latency_percentiles_ms"]["p99"]),
            ..Measured::default()
        },
        variant: Variant {
            speculative: document.get("decoding_stats").is_some_and(|v| !v.is_null()),
            moe_ep: ep.and_then(|n| u16::try_from(n).ok()).unwrap_or(0),
            ..Variant::default()
        },
        notes: [
            ("backend", engine),
            ("max_batch_size", world),
            ("scheduling_policy", world),
        ]
        .into_iter()
        .filter_map(|(name, of)| Some(format!("{name}={}", of.get(name).and_then(as_text)?)))
        .collect(),
        ..Reading::default()
    };
    Ok(reading.deployed(Deployment::of(&[engines])?))
}
