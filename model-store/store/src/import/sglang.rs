//! `sglang.bench_serving --output-file`, one object a line: times in ms, end-to-end latency under a
//! name of its own (`e2e_latency`).
//!
//! `server_info` holds the settings of the engine, or of each engine where a router stands before prefill and decode.
//! With `enable_dp_attention` the data-parallel ranks share the GPUs of `tp_size`; without it each has its own.

use serde_json::Value;

use super::bag::{Bag, as_count, as_flag, as_number, as_text, rate};
use super::deployment::{Deployment, Engines, Role};
use super::reuse::reuse;
use super::vllm::{lengths, measured};
use super::{Load, Reading};
use crate::advisor::{Measured, Variant};

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let mut bag = Bag::of(document);
    let [isl, osl] = lengths(&mut bag)?;
    let request_rate = rate(bag.take(&["request_rate"]));
    let asked = document.get("max_concurrency").and_then(as_number);
    let load = Load::asked(request_rate, asked.filter(|x| *x > 0.0), None);
    if load.concurrency.is_some() {
        bag.take(&["max_concurrency"]);
    }
    let reached = bag.positive(&["concurrency"]);
    let infos = servers(document);
    let own = |keys: [&str; 2]| {
        let of = |info: &Value| keys.iter().find_map(|key| info.get(*key).and_then(as_text));
        infos
            .iter()
            .find_map(|(_, info)| of(info))
            .unwrap_or_default()
    };
    let first = |text: String, keys| if text.is_empty() { own(keys) } else { text };
    let found = reuse(document, &["server_info"]);
    let reading = Reading {
        model: first(
            bag.text(&["model", "model_id"]),
            ["model_path", "served_model_name"],
        ),
        gpu: bag.text(&["gpu"]),
        precision: first(
            bag.text(&["precision", "quantization"]),
            ["quantization", "quantization"],
        ),
        kv_precision: own(["kv_cache_dtype", "kv_cache_dtype"]),
        engine: match bag.text(&["backend"]).as_str() {
            backend if backend.starts_with("sglang") => "sglang".to_owned(),
            backend @ ("vllm" | "vllm-chat" | "lmdeploy" | "trt") => backend.to_owned(),
            _ => String::new(),
        },
        engine_version: own(["version", "sglang_version"]),
        isl,
        osl,
        load: Load {
            // What was reached stands in where no number was asked for.
            concurrency: load.concurrency.or(reached),
            ..load
        },
        measured: Measured {
            total_tok_s: bag.positive(&["total_throughput"]),
            e2e_ms: bag.positive(&["mean_e2e_latency_ms"]),
            e2e_p99_ms: bag.positive(&["p99_e2e_latency_ms"]),
            ..measured(&mut bag)
        },
        variant: Variant {
            // Tokens accepted a step: more than one only with speculation.
            speculative: bag.number(&["accept_length"]).is_some_and(|n| n > 1.0)
                || infos.iter().any(|(_, info)| speculates(info)),
            prefix_cached: found.prefix,
            multi_turn: found.turns,
            moe_ep: infos
                .iter()
                .find_map(|(_, info)| expert_parallel(info))
                .unwrap_or(0),
            ..Variant::default()
        },
        ..Reading::default()
    };
    let stated = [
        bag.count(&["tp", "tp_size"]),
        bag.count(&["pp"]),
        bag.count(&["dp"]),
    ];
    let notes = bag.without(&["server_info"]).rest();
    let reading = Reading { notes, ..reading };
    if infos.is_empty() || stated[0].is_some() {
        let [tp, pp, dp] = stated;
        return Ok(Reading {
            tp,
            pp,
            dp,
            ..reading
        });
    }
    let engines = infos.iter().map(|(role, info)| engines(*role, info));
    Ok(reading.deployed(Deployment::of(&engines.collect::<Result<Vec<_>, _>>()?)?))
}

/// Settings of each engine: a router tells those of prefill and decode in two lists.
fn servers(document: &Value) -> Vec<(Role, &Value)> {
    let info = &document["server_info"];
    let of = |key: &str, role: Role| {
        let all = info[key].as_array().into_iter().flatten();
        all.map(move |info| (role, info)).collect::<Vec<_>>()
    };
    let apart = [of("prefill", Role::Prefill), of("decode", Role::Decode)].concat();
    if !apart.is_empty() {
        return apart;
    }
    let role = info["disaggregation_mode"].as_str().and_then(Role::parse);
    info.as_object()
        .map(|_| (role.unwrap_or_default(), info))
        .into_iter()
        .collect()
}

fn engines(role: Role, info: &Value) -> Result<Engines, String> {
    let count = |key: &str| info.get(key).and_then(as_count);
    let dp = count("dp_size");
    let shares = info.get("enable_dp_attention").and_then(as_flag);
    if dp.is_some_and(|n| n > 1) && shares.is_none() {
        return Err(
            "it does not tell whether data-parallel ranks share the GPUs (`enable_dp_attention`): `tp` and `dp` in the file state it"
                .into(),
        );
    }
    Ok(Engines {
        role,
        tp: count("tp_size"),
        pp: count("pp_size"),
        dp,
        dp_shares_gpus: shares == Some(true),
        replicas: Some(1),
        gpus: None,
        gpu: String::new(),
    })
}

fn speculates(info: &Value) -> bool {
    let algorithm = info
        .get("speculative_algorithm")
        .and_then(Value::as_str)
        .unwrap_or_default();
    !matches!(
        algorithm.to_ascii_lowercase().as_str(),
        "" | "none" | "null"
    )
}

fn expert_parallel(info: &Value) -> Option<u16> {
    let ep = info.get("ep_size").and_then(as_count).filter(|n| *n > 1)?;
    u16::try_from(ep).ok()
}
