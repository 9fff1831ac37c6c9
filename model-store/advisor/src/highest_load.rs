//! The load as a variable: with a latency to hold and no load stated, each configuration is asked for
//! the load at which it is worth most.
//!
//! What a configuration is worth at a load is what the utility says: its tokens times the chance that
//! the stated latencies hold. More requests in flight bring more tokens and a lower chance. So there
//! is a best load, and never one at which a latency is more likely missed than held.

use super::advice::{Assessed, Configuration, Fallen};
use super::assess::assess;
use super::knowledge::Knowledge;
use super::rank::limits;
use super::request::{Load, Request};
use super::run::Target;
use super::utility;

/// Most requests in flight that are tried, as a power of two.
const MOST: u32 = 10;
/// Halvings of the step between the last load that holds and the first that does not.
const REFINEMENTS: u32 = 2;

/// The configuration at the load at which it is worth most. Where not even one request in flight
/// holds the latencies, it is the assessment of that one, with its reason.
pub(super) fn assess_at_best(
    known: Knowledge,
    request: &Request,
    config: &Configuration,
) -> Assessed {
    let at = |load: f64| assess_with(known, request, config, load);
    // Latencies grow with the load, so the last load that holds is found by halving.
    let (mut low, mut high) = (0, MOST + 1);
    let mut best = at(1.0);
    if best.fallen.is_some() {
        return best;
    }
    // What is not known holds nothing back: then the engine is taken as full, and the advice says so.
    if best.outlook.miss.is_none() {
        return assess(known, request, config.clone());
    }
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        let tried = at(f64::from(1 << middle));
        match holds(&tried) {
            true => low = middle,
            false => high = middle,
        }
        best = better(known, best, tried);
    }
    if high > MOST {
        return best;
    }
    let (mut holds_at, mut misses_at) = (f64::from(1 << low), f64::from(1 << high));
    for _ in 0..REFINEMENTS {
        let middle = (holds_at * misses_at).sqrt().round();
        let tried = at(middle);
        match holds(&tried) {
            true => holds_at = middle,
            false => misses_at = middle,
        }
        best = better(known, best, tried);
    }
    best
}

fn assess_with(known: Knowledge, request: &Request, config: &Configuration, load: f64) -> Assessed {
    let request = Request {
        load: Load {
            concurrency: Some(load),
            ..request.load
        },
        ..request.clone()
    };
    let mut out = assess(known, &request, config.clone());
    let chances: Option<Vec<f64>> = limits(&request).iter().map(|l| l.chance(&out)).collect();
    out.outlook.miss = chances.map(|c| utility::any_of(c.into_iter()));
    if out.prediction(Target::OutputTokS).is_some() {
        out.config.max_num_seqs = Some(load as u32);
    }
    out
}

fn holds(a: &Assessed) -> bool {
    !matches!(
        a.fallen,
        Some(Fallen::MissesTarget(_) | Fallen::Infeasible(_) | Fallen::OutOfSupport(_))
    )
}

/// The one that is worth more, by the operator's weights; one that falls is worth nothing.
fn better(known: Knowledge, a: Assessed, b: Assessed) -> Assessed {
    let weights = &known.economy.weights;
    let worth = |x: &Assessed| {
        let tokens = x.prediction(Target::OutputTokS).map_or(0.0, |p| p.q50);
        let holds = 1.0 - x.outlook.miss.unwrap_or(0.0);
        tokens.powf(weights.tokens) * holds.powf(weights.slo)
    };
    match b.fallen.is_none() && worth(&b) > worth(&a) {
        true => b,
        false => a,
    }
}
