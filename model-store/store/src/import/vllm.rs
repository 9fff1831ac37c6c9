//! `vllm bench serve --save-result`: times in ms, rates of the instance. TPOT leaves the first
//! token out, as here. Of `--metadata` pairs, `gpu`, `tp`, `precision` and `version` are understood.
//! `vllm bench sweep serve` writes the same with the settings of its server beside it, under the names of its options.

use serde_json::Value;

use super::bag::{Bag, rate};
use super::reuse::reuse;
use super::{Load, Reading};
use crate::advisor::{Measured, Variant};

/// How settings of the server are spelt: as options, as metadata.
pub(super) const TP: [&str; 6] = [
    "tp",
    "tp_size",
    "tensor_parallel_size",
    "tensor-parallel-size",
    "--tensor-parallel-size",
    "-tp",
];
pub(super) const PP: [&str; 5] = [
    "pp",
    "pp_size",
    "pipeline_parallel_size",
    "pipeline-parallel-size",
    "--pipeline-parallel-size",
];
pub(super) const DP: [&str; 6] = [
    "dp",
    "dp_size",
    "replicas",
    "data_parallel_size",
    "data-parallel-size",
    "--data-parallel-size",
];

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    if document["run_number"].as_i64().is_some_and(|n| n < 0) {
        return Err("it is a warm-up (`run_number` below 0)".into());
    }
    let mut bag = Bag::of(document);
    let [isl, osl] = lengths(&mut bag)?;
    let request_rate = rate(bag.take(&["request_rate"]));
    let at_once = document
        .get("max_concurrency")
        .and_then(super::bag::as_number);
    let at_once = at_once.filter(|x| *x > 0.0);
    let model = bag.text(&["model_id"]);
    let backend = bag.text(&["backend"]);
    let endpoint = bag.text(&["endpoint_type"]);
    let measured = Measured {
        total_tok_s: bag.positive(&["total_token_throughput"]),
        e2e_ms: bag.positive(&["mean_e2el_ms"]),
        e2e_p99_ms: bag.positive(&["p99_e2el_ms"]),
        ..measured(&mut bag)
    };
    let load = Load::asked(request_rate, at_once, None);
    if load.concurrency.is_some() {
        bag.take(&["max_concurrency"]);
    }
    let found = reuse(document, &[]);
    Ok(Reading {
        gpu: bag.text(&["gpu"]),
        tp: bag.count(&TP),
        pp: bag.count(&PP),
        dp: bag.count(&DP),
        precision: bag.text(&["precision", "quantization", "--quantization", "dtype"]),
        engine: engine(&backend, &endpoint),
        engine_version: bag.text(&["version", "vllm_version"]),
        model,
        isl,
        osl,
        load,
        measured,
        variant: Variant {
            speculative: speculative(document),
            prefix_cached: found.prefix,
            multi_turn: found.turns,
            ..Variant::default()
        },
        notes: bag.rest(),
        ..Reading::default()
    })
}

/// Keys that stand there only where a draft model or its like was at work.
fn speculative(document: &Value) -> bool {
    let mut keys = document.as_object().into_iter().flatten();
    keys.any(|(key, value)| {
        let key = key.trim_start_matches('-').replace('-', "_");
        let told = key.starts_with("spec_decode") || key.starts_with("speculative_");
        told && !matches!(value, Value::Null | Value::Bool(false)) && value != ""
    })
}

/// Mean input and output tokens of a completed request, here and in SGLang's client, which was made
/// after this one.
pub(super) fn lengths(bag: &mut Bag) -> Result<[Option<f64>; 2], String> {
    let completed = bag
        .number(&["completed", "successful_requests"])
        .unwrap_or(0.0);
    if completed == 0.0 {
        return Err("no request was completed".into());
    }
    Ok(["total_input_tokens", "total_output_tokens"].map(|key| {
        bag.number(&[key])
            .map(|t| t / completed)
            .filter(|x| *x > 0.0)
    }))
}

/// The figures that both clients give the same names.
pub(super) fn measured(bag: &mut Bag) -> Measured {
    Measured {
        output_tok_s: bag.positive(&["output_throughput"]),
        req_s: bag.positive(&["request_throughput"]),
        ttft_ms: bag.positive(&["mean_ttft_ms"]),
        ttft_p50_ms: bag.positive(&["median_ttft_ms"]),
        ttft_p99_ms: bag.positive(&["p99_ttft_ms"]),
        tpot_ms: bag.positive(&["mean_tpot_ms"]),
        tpot_p99_ms: bag.positive(&["p99_tpot_ms"]),
        ..Measured::default()
    }
}

/// The engine that the client's backend is made for; the API of OpenAI is everybody's.
fn engine(backend: &str, endpoint: &str) -> String {
    let name = if backend.is_empty() {
        endpoint
    } else {
        backend
    };
    match name {
        "tgi" | "sglang" | "lmdeploy" | "vllm" | "tensorrt-llm" => name.to_owned(),
        _ => String::new(),
    }
}
