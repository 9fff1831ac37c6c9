//! `vllm bench serve --save-result`: times in ms, rates of the instance. TPOT leaves the first
//! token out, as here. Of `--metadata` pairs, `gpu`, `tp`, `precision` and `version` are understood.

use serde_json::Value;

use super::Reading;
use super::bag::{Bag, rate};
use crate::advisor::{Measured, Variant, Workload};

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let mut bag = Bag::of(document);
    let [isl, osl] = lengths(&mut bag)?;
    let request_rate = rate(bag.take(&["request_rate"]));
    let concurrency = bag.positive(&["max_concurrency"]);
    let model = bag.text(&["model_id"]);
    let backend = bag.text(&["backend"]);
    let endpoint = bag.text(&["endpoint_type"]);
    let measured = Measured {
        total_tok_s: bag.positive(&["total_token_throughput"]),
        e2e_ms: bag.positive(&["mean_e2el_ms"]),
        e2e_p99_ms: bag.positive(&["p99_e2el_ms"]),
        ..measured(&mut bag)
    };
    Ok(Reading {
        gpu: bag.text(&["gpu"]),
        tp: bag.count(&["tp", "tensor_parallel_size"]),
        precision: bag.text(&["precision", "dtype"]),
        engine: engine(&backend, &endpoint),
        engine_version: bag.text(&["version", "vllm_version"]),
        model,
        isl,
        osl,
        workload: workload(request_rate, concurrency),
        concurrency,
        request_rate,
        measured,
        variant: Variant {
            speculative: speculative(document),
            ..Variant::default()
        },
        notes: bag.rest(),
        ..Reading::default()
    })
}

/// Mean input and output tokens of a completed request, here and in SGLang's client, which was made
/// after this one.
/// Keys that stand there only where a draft model or its like was at work.
fn speculative(document: &Value) -> bool {
    let mut keys = document.as_object().into_iter().flatten();
    keys.any(|(key, value)| key.starts_with("spec_decode") && !value.is_null())
}

pub(super) fn lengths(bag: &mut Bag) -> Result<[Option<f64>; 2], String> {
    let completed = bag.number(&["completed"]).unwrap_or(0.0);
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

/// How load reached the engine: at a rate below saturation, so many at once, or all at once.
pub(super) fn workload(request_rate: Option<f64>, concurrency: Option<f64>) -> Option<Workload> {
    Some(
        match (request_rate.filter(|r| r.is_finite()), concurrency) {
            (Some(_), _) => Workload::Poisson,
            (None, Some(_)) => Workload::ClosedLoop,
            (None, None) => Workload::Offline,
        },
    )
}

/// The engine that the client's backend is made for; the API of OpenAI is everybody's.
fn engine(backend: &str, endpoint: &str) -> String {
    let name = if backend.is_empty() {
        endpoint
    } else {
        backend
    };
    match name {
        "tgi" | "sglang" | "lmdeploy" | "vllm" => name.to_owned(),
        "tensorrt-llm" => "trtllm".to_owned(),
        _ => String::new(),
    }
}
