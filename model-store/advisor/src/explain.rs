//! Why an advice is what it is: the utility by term, the measured runs that it rests on, and what
//! it would take for another candidate to win.

use serde::Serialize;

use super::advice::{Advice, Assessed, Configuration, Fallen};
use super::candidates::setup;
use super::case::Case;
use super::contest::{Contest, Lever, Rival, What};
use super::economy::{Economy, Term};
use super::formats::precision_in_name;
use super::knowledge::Knowledge;
use super::model::Rate;
use super::physics::physics;
use super::rank::limits;
use super::request::Request;
use super::run::Origin;

/// Measured runs that are named for a candidate.
const NEAREST: usize = 3;

/// Why an advice is what it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// One entry a candidate, in the order of the advice.
    pub candidates: Vec<Explained>,
    /// Measured runs nearest to the advised configuration, or to the first candidate where none
    /// is advised.
    pub rests_on: Vec<NearRun>,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// Weight times term, in the order of [`Term::ALL`]; `None` where the term does not count or
    /// is not known.
    pub contributions: [Option<f64>; 7],
    /// Utility of the advised candidate less this one's.
    pub behind: Option<f64>,
    /// What it would take, with all else as it is.
    pub to_win: Vec<Lever>,
    /// True where all of `to_win` are needed together; false where each is enough by itself.
    pub together: bool,
    /// Launches of this GPU type, degree and format; `None` where there were none.
    pub launches: Option<Rate>,
}

/// A measured run near a configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearRun {
    /// Name of the run within its source.
    pub run_id: String,
    /// Laboratory, document or cluster.
    pub source: String,
    /// Where it was measured.
    pub origin: Option<Origin>,
    /// Model, GPU, degree and format in words.
    pub what: String,
    /// Input plus output tokens.
    pub context: f64,
    /// Sequences in flight that load and memory allowed.
    pub in_flight: f64,
    /// Distance from the configuration: 1 is a factor of e in parameters, context or load, or
    /// another family; 0 the same place.
    pub distance: f64,
}

/// Explains an advice; `known` and `request` are those that it was made from.
pub fn explain(known: Knowledge, request: &Request, advice: &Advice) -> Explanation {
    let best = advice.recommended();
    let explained = |a: &Assessed| Explained {
        contributions: contributions(advice, a),
        behind: best.and_then(|b| Some(b.utility? - a.utility?)),
        to_win: to_win(known.economy, request, advice, a),
        together: matches!(a.fallen, Some(Fallen::MissesTarget(_))),
        launches: setup(request, &a.config).and_then(|s| known.model.launch.of(&s).copied()),
    };
    let about = best.or_else(|| advice.candidates.first());
    Explanation {
        candidates: advice.candidates.iter().map(explained).collect(),
        rests_on: about.map_or_else(Vec::new, |a| near_runs(known, request, a)),
    }
}

/// True where a past case ran in this configuration; 16-bit formats count as one.
pub fn same_configuration(c: &Configuration, case: &Case) -> bool {
    let precision = case.precision.or_else(|| precision_in_name(&case.model));
    c.gpu == case.gpu
        && Some(c.tp) == case.tp
        && (c.pp, c.dp) == (case.pp.max(1), case.dp.max(1))
        && match precision {
            Some(p) => p.pooled() == c.precision.pooled(),
            // What names no format runs in the checkpoint's own.
            None => c.checkpoint.is_none() && !c.quantise_at_load,
        }
}

fn contributions(advice: &Advice, a: &Assessed) -> [Option<f64>; 7] {
    let ranking = &advice.ranking;
    Term::ALL.map(|term| {
        let value = a.terms.get(term as usize).copied().flatten();
        value
            .filter(|_| ranking.counted.contains(&term))
            .map(|x| ranking.weights.of(term) * x)
    })
}

/// The measured runs nearest to a candidate.
pub fn near_runs(known: Knowledge, request: &Request, a: &Assessed) -> Vec<NearRun> {
    let Some(s) = setup(request, &a.config) else {
        return Vec::new();
    };
    let envelope = &known.model.envelope;
    let near = envelope.nearest_runs(&s, &physics(&s), NEAREST);
    near.into_iter()
        .map(|(l, squared)| NearRun {
            run_id: envelope.landmarks.run_id(&l).to_owned(),
            source: envelope.source(&l).map_or("", |(name, _)| name).to_owned(),
            origin: envelope.source(&l).map(|(_, origin)| origin),
            what: envelope.describe(&l),
            context: f64::from(l.at[1]).exp().round(),
            in_flight: f64::from(l.at[2]).exp(),
            distance: f64::from(squared).max(0.0).sqrt(),
        })
        .collect()
}

/// What it would take for a candidate to be advised. Nothing for the advised one, nor for what is
/// infeasible or out of support: there no number but a run decides.
fn to_win(economy: &Economy, request: &Request, advice: &Advice, a: &Assessed) -> Vec<Lever> {
    let best = advice.recommended();
    if best.is_some_and(|b| b.config == a.config) {
        return Vec::new();
    }
    match (&a.fallen, best) {
        (None, Some(best)) => {
            let open = advice.candidates.iter().filter(|c| c.fallen.is_none());
            let rivals = open.filter(|c| c.config != a.config).map(Rival::of);
            Contest {
                economy,
                counted: &advice.ranking.counted,
                demand: request.load.rate.map(|r| r * request.load.osl * 3600.0),
                own: Rival::of(a),
                best: Rival::of(best),
                rivals: rivals.collect(),
            }
            .levers()
        }
        (Some(Fallen::MissesTarget(_)), _) => admitting(request, a),
        _ => Vec::new(),
    }
}

/// What would have to be stated instead for a candidate to be admitted: its medians.
fn admitting(request: &Request, a: &Assessed) -> Vec<Lever> {
    let mut out = Vec::new();
    for limit in limits(request) {
        let Some(p) = limit.prediction(a) else {
            continue;
        };
        let missed = limit.chance(a).is_some_and(|c| c > 0.5);
        let (what, now, needed) = match limit.name {
            "TTFT" => (What::TtftLimit, limit.at, p.q50),
            "TPOT" => (What::TpotLimit, limit.at, p.q50),
            "throughput" => {
                let osl = request.load.osl;
                (What::Rate, limit.at / osl, p.q50 / osl)
            }
            _ => (What::EndToEndLimit, limit.at, p.q50),
        };
        if missed {
            out.push(Lever {
                what,
                now: Some(now),
                needed,
            });
        }
    }
    out
}
