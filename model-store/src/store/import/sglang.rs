//! `sglang.bench_serving --output-file`, one object a line: times in ms, end-to-end latency under a
//! name of its own (`e2e_latency`).

use serde_json::Value;

use super::Reading;
use super::bag::{Bag, rate};
use super::vllm::workload;
use crate::advisor::Measured;

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let mut bag = Bag::of(document);
    let completed = bag.number(&["completed"]).unwrap_or(0.0);
    if completed == 0.0 {
        return Err("no request was completed".into());
    }
    let per_request = |total: Option<f64>| total.map(|t| t / completed).filter(|x| *x > 0.0);
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
        isl: per_request(bag.number(&["total_input_tokens"])),
        osl: per_request(bag.number(&["total_output_tokens"])),
        workload: workload(request_rate, asked),
        concurrency: asked.or(reached),
        request_rate,
        measured: Measured {
            output_tok_s: bag.positive(&["output_throughput"]),
            total_tok_s: bag.positive(&["total_throughput"]),
            req_s: bag.positive(&["request_throughput"]),
            ttft_ms: bag.positive(&["mean_ttft_ms"]),
            ttft_p50_ms: bag.positive(&["median_ttft_ms"]),
            ttft_p99_ms: bag.positive(&["p99_ttft_ms"]),
            tpot_ms: bag.positive(&["mean_tpot_ms"]),
            tpot_p99_ms: bag.positive(&["p99_tpot_ms"]),
            e2e_ms: bag.positive(&["mean_e2e_latency_ms"]),
            e2e_p99_ms: bag.positive(&["p99_e2e_latency_ms"]),
            ..Measured::default()
        },
        notes: bag.rest(),
        ..Reading::default()
    })
}
