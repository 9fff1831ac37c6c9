//! `vllm bench throughput` and `vllm bench latency`: neither names the model, nor how long requests were.
//!
//! Throughput: all requests at once, tokens of prompts and answers counted together. Latency, in seconds, of one batch
//! after the other. What is missing is asked for.

use serde_json::Value;

use super::bag::{Bag, as_number};
use super::{Load, Reading, Stated};
use crate::advisor::{Measured, Workload};

/// Part by which stated lengths may differ from the tokens that were counted.
const TOLERANCE: f64 = 0.1;

pub(super) fn throughput(document: &Value, stated: &Stated) -> Result<Reading, String> {
    let mut bag = Bag::of(document);
    let requests = bag
        .positive(&["num_requests"])
        .ok_or("no request was completed")?;
    let tokens = bag.positive(&["total_num_tokens"]);
    let total = bag.positive(&["tokens_per_second"]);
    let each = tokens.map(|t| t / requests).ok_or("it counts no tokens")?;
    let osl = stated.osl.ok_or(
        "it counts tokens of prompts and answers together: `--osl` states how many a request puts out",
    )?;
    let isl = stated.isl.unwrap_or(each - osl);
    if isl <= 0.0 || (isl + osl - each).abs() > TOLERANCE * each {
        return Err(format!(
            "its requests have {each:.0} tokens each, not the {:.0} that `--isl` and `--osl` state",
            stated.isl.unwrap_or(0.0) + osl
        ));
    }
    let req_s = bag.positive(&["requests_per_second"]);
    Ok(Reading {
        engine: "vllm".to_owned(),
        isl: Some(isl),
        osl: Some(osl),
        load: Load::asked(Some(f64::INFINITY), None, None),
        measured: Measured {
            total_tok_s: total,
            output_tok_s: total.map(|t| t * osl / each),
            req_s,
            ..Measured::default()
        },
        notes: bag.rest(),
        ..Reading::default()
    })
}

pub(super) fn latency(document: &Value, stated: &Stated) -> Result<Reading, String> {
    let mut bag = Bag::of(document);
    let seconds = bag
        .positive(&["avg_latency"])
        .ok_or("it tells no latency")?;
    let p99 = bag.take(&["percentiles"]).and_then(|p| as_number(&p["99"]));
    let (Some(batch), Some(isl), Some(osl)) = (stated.concurrency, stated.isl, stated.osl) else {
        return Err(
            "it tells neither batch nor lengths: `--concurrency`, `--isl` and `--osl` state them"
                .into(),
        );
    };
    Ok(Reading {
        engine: "vllm".to_owned(),
        isl: Some(isl),
        osl: Some(osl),
        load: Load {
            kind: Some(Workload::Static),
            concurrency: Some(batch),
            request_rate: None,
        },
        measured: Measured {
            // One batch after the other: batch x OSL tokens in each latency.
            output_tok_s: Some(batch * osl / seconds),
            req_s: Some(batch / seconds),
            e2e_ms: Some(seconds * 1e3),
            e2e_p99_ms: p99.map(|s| s * 1e3),
            ..Measured::default()
        },
        notes: bag.rest(),
        ..Reading::default()
    })
}
