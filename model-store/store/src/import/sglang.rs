//! `sglang.bench_serving --output-file`, one object a line: times in ms, end-to-end latency under a
//! name of its own (`e2e_latency`).

use serde_json::Value;

use super::Reading;
use super::bag::{Bag, rate};
use super::vllm::{lengths, measured, workload};
use crate::advisor::{Measured, Variant};

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let mut bag = Bag::of(document);
    let [isl, osl] = lengths(&mut bag)?;
    let request_rate = rate(bag.take(&["request_rate"]));
    let asked = bag.positive(&["max_concurrency"]);
    // What was reached stands in where nothing was asked for.
    let reached = bag.positive(&["concurrency"]);
    let server = document.get("server_info").unwrap_or(&Value::Null);
    let mut info = Bag::of(server);
    let model = bag.text(&["model", "model_id"]);
    Ok(Reading {
        model: if model.is_empty() {
            info.text(&["model_path"])
        } else {
            model
        },
        gpu: bag.text(&["gpu"]),
        tp: bag
            .count(&["tp", "tp_size"])
            .or_else(|| info.count(&["tp_size"])),
        dp: info.count(&["dp_size"]).unwrap_or(1),
        precision: {
            let own = bag.text(&["precision", "quantization"]);
            if own.is_empty() {
                info.text(&["quantization"])
            } else {
                own
            }
        },
        engine: match bag.text(&["backend"]).as_str() {
            backend if backend.starts_with("sglang") => "sglang".to_owned(),
            "vllm" | "vllm-chat" => "vllm".to_owned(),
            "lmdeploy" => "lmdeploy".to_owned(),
            "trt" => "trtllm".to_owned(),
            _ => String::new(),
        },
        engine_version: info.text(&["version"]),
        isl,
        osl,
        workload: workload(request_rate, asked),
        concurrency: asked.or(reached),
        request_rate,
        measured: Measured {
            total_tok_s: bag.positive(&["total_throughput"]),
            e2e_ms: bag.positive(&["mean_e2e_latency_ms"]),
            e2e_p99_ms: bag.positive(&["p99_e2e_latency_ms"]),
            ..measured(&mut bag)
        },
        variant: Variant {
            // Tokens accepted a step: more than one only with speculation.
            speculative: bag.number(&["accept_length"]).is_some_and(|n| n > 1.0),
            ..Variant::default()
        },
        notes: bag.rest(),
        ..Reading::default()
    })
}
