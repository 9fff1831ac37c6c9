//! InferenceX (InferenceMAX) aggregates: times in seconds, throughput of one GPU, input and output
//! together; output alone under a name of its own in newer ones.

use serde_json::Value;

use super::Reading;
use super::bag::Bag;
use crate::advisor::{Measured, Variant, Workload};

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let mut bag = Bag::of(document);
    let tp = bag.count(&["tp", "decode_tp"]).unwrap_or(1);
    let ep = bag.count(&["ep"]).unwrap_or(1);
    let gpus = bag.count(&["num_gpus", "gpus"]).unwrap_or(tp);
    let hw = bag.text(&["hw", "hardware"]);
    let (isl, osl) = (bag.positive(&["isl"]), bag.positive(&["osl"]));
    let of_all = |per_gpu: Option<f64>| per_gpu.map(|x| x * f64::from(gpus));
    let total = of_all(bag.positive(&["tput_per_gpu"]));
    let output = of_all(bag.positive(&["output_tput_per_gpu"]));
    let mut ms = |key: &'static str| bag.positive(&[key]).map(|s| s * 1e3);
    let measured = Measured {
        total_tok_s: total,
        // Where only the sum is told, the lengths tell its parts.
        output_tok_s: output.or_else(|| Some(total? * osl? / (isl? + osl?))),
        ttft_ms: ms("mean_ttft"),
        ttft_p50_ms: ms("median_ttft"),
        ttft_p99_ms: ms("p99_ttft"),
        tpot_ms: ms("mean_tpot"),
        tpot_p99_ms: ms("p99_tpot"),
        e2e_ms: ms("mean_e2el"),
        e2e_p99_ms: ms("p99_e2el"),
        ..Measured::default()
    };
    let disaggregated = bag.take(&["disagg"]).is_some_and(|v| v == true);
    let speculative = !matches!(
        bag.text(&["spec_method", "spec_decoding"]).as_str(),
        "" | "none"
    );
    Ok(Reading {
        model: bag.text(&["model", "infmax_model_prefix"]),
        gpu: hw.split(['-', '_']).next().unwrap_or_default().to_owned(),
        tp: Some(tp),
        precision: bag.text(&["precision"]),
        engine: bag.text(&["framework"]),
        engine_version: bag.text(&["version", "image"]),
        isl,
        osl,
        workload: Some(Workload::ClosedLoop),
        concurrency: bag.positive(&["conc", "concurrency"]),
        variant: Variant {
            disaggregated,
            speculative,
            moe_ep: u16::try_from(ep)
                .unwrap_or(0)
                .saturating_sub(u16::from(ep == 1)),
            ..Variant::default()
        },
        measured,
        notes: bag.rest(),
        ..Reading::default()
    })
}
