//! From candidates with predictions to their order: what is known of each, which terms of the
//! utility count, and the utility itself.

use std::cmp::Ordering;

use super::advice::{Assessed, LeftOut, Prediction, Ranking};
use super::economy::Term;
use super::knowledge::Knowledge;
use super::queue::QueueWaits;
use super::request::Request;
use super::run::Target;
use super::utility;

/// Something that was stated and may be missed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit {
    /// How messages call it.
    pub(super) name: &'static str,
    /// The limit, in the unit of what is predicted.
    pub(super) at: f64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// At most so much of a target.
    Most(Target),
    /// At most so many ms from end to end, at so many output tokens.
    EndToEnd(f64),
    /// At least so many tokens/s.
    Least,
}

/// What a request states.
pub(super) fn limits(request: &Request) -> Vec<Limit> {
    let (slo, osl) = (&request.slo, request.load.osl);
    let limit = |name, at: Option<f64>, kind| at.map(|at| Limit { name, at, kind });
    [
        limit("TTFT", slo.ttft_ms, Kind::Most(Target::TtftMs)),
        limit("TPOT", slo.tpot_ms, Kind::Most(Target::TpotMs)),
        limit("end-to-end latency", slo.e2e_ms, Kind::EndToEnd(osl)),
        limit(
            "throughput",
            request.load.rate.map(|r| r * osl),
            Kind::Least,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl Limit {
    /// What is predicted of it; `None` = not known.
    pub(super) fn prediction(&self, a: &Assessed) -> Option<Prediction> {
        match self.kind {
            Kind::Most(target) => a.prediction(target).copied(),
            Kind::EndToEnd(osl) => end_to_end(a, osl),
            Kind::Least => a.prediction(Target::OutputTokS).copied(),
        }
    }

    /// Chance that a candidate misses it; `None` = not known.
    pub(super) fn chance(&self, a: &Assessed) -> Option<f64> {
        let p = self.prediction(a)?;
        Some(match self.kind {
            Kind::Least => p.chance_below(self.at),
            _ => p.chance_above(self.at),
        })
    }

    /// True for a latency.
    pub(super) fn is_latency(&self) -> bool {
        self.kind != Kind::Least
    }
}

/// True where the load is to be found: a latency is stated, and neither concurrency nor rate.
pub(super) fn is_sought(request: &Request) -> bool {
    let load = &request.load;
    let latency = limits(request).iter().any(Limit::is_latency);
    latency && load.concurrency.is_none() && load.rate.is_none()
}

/// Mean end-to-end latency, ms: TTFT and `OSL - 1` times TPOT. Their errors are taken to move
/// together, so that the quantiles add up: the widest that the sum can be.
pub(super) fn end_to_end(a: &Assessed, osl: f64) -> Option<Prediction> {
    let (first, each) = (a.prediction(Target::TtftMs)?, a.prediction(Target::TpotMs)?);
    let sum = |of: fn(&Prediction) -> f64| of(first) + (osl - 1.0).max(0.0) * of(each);
    Some(Prediction {
        q10: sum(|p| p.q10),
        q50: sum(|p| p.q50),
        q90: sum(|p| p.q90),
        lo: sum(|p| p.lo),
        hi: sum(|p| p.hi),
    })
}

/// Fills in outlook, terms and utility of every candidate, and orders them: those that can be
/// recommended first, best first.
pub(super) fn rank(known: Knowledge, request: &Request, assessed: &mut [Assessed]) -> Ranking {
    let mut left_out = Vec::new();
    let waits = waits(known, &mut left_out);
    for a in assessed.iter_mut() {
        let wait = waits.and_then(|w| w.of(&a.config.gres, a.config.gpus()));
        let o = &mut a.outlook;
        o.wait_h = wait.map(|w| w.mean_s() / 3600.0);
    }
    let limits = checkable(request, assessed, &mut left_out);
    let loaded = has_load(request);
    for a in assessed.iter_mut() {
        let chances: Option<Vec<f64>> = limits.iter().map(|l| l.chance(a)).collect();
        a.outlook.miss = chances
            .filter(|c| !c.is_empty())
            .map(|c| utility::any_of(c.into_iter()));
        // An engine that is to be kept saturated is meant to fill its cache.
        a.outlook.kv_usage = a.outlook.kv_usage.filter(|_| loaded);
    }
    side_conditions(assessed, &mut left_out);
    for a in assessed.iter_mut() {
        a.terms = utility::terms(&a.outlook, known.economy);
    }
    let counted = counted(known, request, assessed, &mut left_out);
    for a in assessed.iter_mut() {
        a.utility = utility::utility(&a.terms, &counted, &known.economy.weights);
    }
    assessed.sort_by(better_first);
    Ranking {
        counted,
        left_out,
        weights: known.economy.weights,
        wait_age_s: known
            .cluster
            .waits
            .as_ref()
            .zip(known.now)
            .map(|(w, now)| w.age_s(now)),
    }
}

/// True where the cache is not meant to be full: a load is stated, or found for the latencies.
fn has_load(request: &Request) -> bool {
    request.load.concurrency.is_some() || request.load.rate.is_some() || is_sought(request)
}

/// The queue waits where they are fresh enough.
fn waits<'a>(known: Knowledge<'a>, left_out: &mut Vec<LeftOut>) -> Option<&'a QueueWaits> {
    let mut say = |wanted, reason: String| {
        left_out.push(LeftOut {
            term: Term::Wait,
            wanted,
            reason,
        });
    };
    let Some(waits) = &known.cluster.waits else {
        say(false, "queue waits are not known".into());
        return None;
    };
    if known.now.is_some_and(|now| waits.is_too_old(now)) {
        let hours = known.now.map_or(0, |now| waits.age_s(now)) / 3600;
        let most = QueueWaits::LONGEST_AGE_S / 3600;
        say(
            true,
            format!("queue waits are {hours} h old, {most} h at most count"),
        );
        return None;
    }
    Some(waits)
}

fn recommendable(assessed: &[Assessed]) -> impl Iterator<Item = &Assessed> {
    assessed.iter().filter(|a| a.fallen.is_none())
}

/// The limits that every candidate can be held against.
fn checkable(request: &Request, all: &[Assessed], left_out: &mut Vec<LeftOut>) -> Vec<Limit> {
    let (known, unknown): (Vec<Limit>, Vec<Limit>) = limits(request)
        .into_iter()
        .partition(|l| recommendable(all).all(|a| l.prediction(a).is_some()));
    left_out.extend(unknown.iter().map(|l| LeftOut {
        term: Term::Slo,
        wanted: true,
        reason: format!("{} is not known of every configuration", l.name),
    }));
    known
}

/// Cold start and queue wait are parts of what a failed start costs: they count for all or none.
fn side_conditions(assessed: &mut [Assessed], left_out: &mut Vec<LeftOut>) {
    let all = |of: fn(&Assessed) -> Option<f64>| recommendable(assessed).all(|a| of(a).is_some());
    let (cold, wait) = (all(|a| a.outlook.cold_start_s), all(|a| a.outlook.wait_h));
    let launches = all(|a| a.outlook.launch);
    if launches && !cold {
        left_out.push(LeftOut {
            term: Term::Relaunch,
            wanted: false,
            reason: "the cold start that a failed start wastes is not known".into(),
        });
    }
    for a in assessed.iter_mut() {
        a.outlook.cold_start_s = a.outlook.cold_start_s.filter(|_| cold);
        a.outlook.wait_h = a.outlook.wait_h.filter(|_| wait);
    }
}

/// The terms that are known of every candidate which can be recommended.
fn counted(
    known: Knowledge,
    request: &Request,
    all: &[Assessed],
    left_out: &mut Vec<LeftOut>,
) -> Vec<Term> {
    let is_known = |term: Term| {
        recommendable(all).all(|a| a.terms.get(term as usize).copied().flatten().is_some())
    };
    if recommendable(all).next().is_none() {
        return vec![Term::Tokens, Term::Price];
    }
    let (counted, rest): (Vec<Term>, Vec<Term>) = Term::ALL.into_iter().partition(|t| is_known(*t));
    for term in rest {
        let said = left_out
            .iter()
            .any(|l| l.term == term && l.term != Term::Relaunch);
        if let Some((wanted, reason)) = why_not(known, request, term).filter(|_| !said) {
            left_out.push(LeftOut {
                term,
                wanted,
                reason: reason.into(),
            });
        }
    }
    left_out.sort_by_key(|l| l.term);
    counted
}

/// Why a term does not count, and whether somebody asked for it.
fn why_not(known: Knowledge, request: &Request, term: Term) -> Option<(bool, &'static str)> {
    let loaded = has_load(request);
    Some(match term {
        Term::Tokens | Term::Price => return None,
        Term::Energy if known.economy.price_per_kwh.is_none() => {
            (false, "no price of energy is configured")
        }
        Term::Energy => (true, "power is not known of every configuration"),
        Term::Wait => (true, "the queue wait is not known of every configuration"),
        Term::Relaunch => (false, "launch success is not known of every configuration"),
        Term::Slo if limits(request).is_empty() => (false, "no latency target or rate is stated"),
        Term::Slo => (true, "what was stated is not known of every configuration"),
        Term::Saturation if !loaded => {
            (false, "no load is stated, so the cache is meant to be full")
        }
        Term::Saturation => (false, "KV-cache usage is not known of every configuration"),
    })
}

/// Recommendable before fallen, then by utility; equal ones by fewer GPUs, then name.
fn better_first(a: &Assessed, b: &Assessed) -> Ordering {
    let key = |x: &Assessed| x.utility.unwrap_or(f64::NEG_INFINITY);
    a.fallen
        .is_some()
        .cmp(&b.fallen.is_some())
        .then_with(|| key(b).total_cmp(&key(a)))
        .then_with(|| a.config.gpus().cmp(&b.config.gpus()))
        .then_with(|| a.config.gres.cmp(&b.config.gres))
        .then_with(|| a.config.precision.cmp(&b.config.precision))
        .then_with(|| a.config.tp.cmp(&b.config.tp))
}
