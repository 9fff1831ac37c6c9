//! What a candidate is worth: tokens per GPU-hour and per price at the stated load, and whether
//! it meets what was stated.

use std::cmp::Ordering;

use super::advice::{Assessed, Configuration, Fallen, Prediction};
use super::request::Request;
use super::run::Target;

/// A configuration in words: `h100 x 4, fp8`.
pub fn name(c: &Configuration) -> String {
    format!("{} x {}, {}", c.gres, c.tp, c.precision)
}

/// Values a candidate that is feasible and in support.
pub(super) fn value(
    request: &Request,
    config: Configuration,
    price_per_hour: f64,
    predictions: Vec<Option<Prediction>>,
) -> Assessed {
    let throughput = predictions
        .get(Target::OutputTokS as usize)
        .and_then(Option::as_ref)
        .map(|p| p.q50);
    // Above the stated arrivals an instance earns nothing.
    let demand = request
        .load
        .rate
        .map_or(f64::INFINITY, |rate| rate * request.load.osl);
    let per_hour = throughput.map(|t| t.min(demand) * 3600.0);
    let mut out = Assessed {
        tokens_per_gpu_hour: per_hour.map(|t| t / f64::from(config.tp)),
        tokens_per_price: per_hour.map(|t| t / price_per_hour.max(1e-9)),
        config,
        predictions,
        price_per_hour,
        fallen: None,
    };
    out.fallen = fallen(request, &out);
    out
}

fn fallen(request: &Request, a: &Assessed) -> Option<Fallen> {
    let Some(throughput) = a.prediction(Target::OutputTokS) else {
        return Some(Fallen::NotKnown);
    };
    let serves = throughput.q50 / request.load.osl;
    if let Some(rate) = request.load.rate.filter(|rate| serves < *rate) {
        return Some(Fallen::MissesTarget(format!(
            "serves {serves:.2} requests/s, {rate} will arrive"
        )));
    }
    let limits = [
        (Target::TtftMs, request.slo.ttft_ms, "TTFT"),
        (Target::TpotMs, request.slo.tpot_ms, "TPOT"),
    ];
    limits.into_iter().find_map(|(target, limit, what)| {
        let limit = limit?;
        let p = a.prediction(target).filter(|p| p.exceeds(limit))?;
        Some(Fallen::MissesTarget(format!(
            "has a {what} of {:.0} ms [{:.0}-{:.0}], {limit:.0} ms were asked for",
            p.q50, p.lo, p.hi
        )))
    })
}

/// Recommendable before fallen, then by tokens per price; equal ones by fewer GPUs, then name.
pub(super) fn better_first(a: &Assessed, b: &Assessed) -> Ordering {
    let key = |x: &Assessed| x.tokens_per_price.unwrap_or(0.0);
    a.fallen
        .is_some()
        .cmp(&b.fallen.is_some())
        .then_with(|| key(b).total_cmp(&key(a)))
        .then_with(|| a.config.tp.cmp(&b.config.tp))
        .then_with(|| a.config.gres.cmp(&b.config.gres))
        .then_with(|| a.config.precision.cmp(&b.config.precision))
}
