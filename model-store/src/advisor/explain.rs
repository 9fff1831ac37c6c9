//! Why an advice is what it is: the utility by term, the measured runs that it rests on, and what
//! it would take for another candidate to win.

use serde::Serialize;

use super::advice::{Advice, Assessed, Configuration, Fallen};
use super::advise::Knowledge;
use super::candidates::setup;
use super::card::precision_in_name;
use super::case::Case;
use super::economy::{Economy, Term};
use super::model::Rate;
use super::physics::physics;
use super::rank::limits;
use super::request::Request;
use super::run::Origin;
use super::utility::{Outlook, terms, utility};

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
    /// Each would be enough by itself, with all else as it is.
    pub to_win: Vec<Lever>,
    /// Launches of this GPU type, degree and format; `None` where there were none.
    pub launches: Option<Rate>,
}

/// A change that would be enough.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lever {
    /// What changes.
    pub what: What,
    /// What it is now; `None` = not known.
    pub now: Option<f64>,
    /// What it has to pass.
    pub needed: f64,
}

/// What could change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Price of one GPU of the candidate for an hour: below.
    PricePerGpuHour,
    /// Output throughput of the candidate, tokens/s: above.
    Throughput,
    /// Expected queue wait of the candidate, h: below.
    Wait,
    /// Expected queue wait of the advised one, h: above.
    WaitOfAdvised,
    /// Launch success of the candidate: above.
    LaunchSuccess,
    /// The stated TTFT limit, ms: above.
    TtftLimit,
    /// The stated TPOT limit, ms: above.
    TpotLimit,
    /// The stated end-to-end limit, ms: above.
    EndToEndLimit,
    /// The stated rate, requests/s: below.
    Rate,
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
        (None, Some(best)) => Contest {
            economy,
            counted: &advice.ranking.counted,
            best,
            a,
        }
        .levers(request),
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

/// One candidate against the advised one.
struct Contest<'a> {
    economy: &'a Economy,
    counted: &'a [Term],
    best: &'a Assessed,
    a: &'a Assessed,
}

impl Contest<'_> {
    fn worth(&self, o: &Outlook) -> f64 {
        let all = terms(o, self.economy);
        utility(&all, self.counted, &self.economy.weights).unwrap_or(f64::NEG_INFINITY)
    }

    /// How far ahead the candidate is with these outlooks; it wins from 0 on.
    fn lead(&self, ours: &Outlook, theirs: &Outlook) -> f64 {
        self.worth(ours) - self.worth(theirs)
    }

    fn counts(&self, term: Term) -> bool {
        self.counted.contains(&term) && self.economy.weights.of(term) > 0.0
    }

    fn levers(&self, request: &Request) -> Vec<Lever> {
        let (o, b) = (self.a.outlook, self.best.outlook);
        let other_type = self.a.config.gres != self.best.config.gres;
        let gpus = f64::from(self.a.config.gpus());
        let mut out = Vec::new();
        let mut push = |what, now: Option<f64>, needed: Option<f64>| {
            out.extend(needed.map(|needed| Lever { what, now, needed }));
        };
        // One type has one price: where the advised one is of it too, both would become cheaper.
        if other_type && self.counts(Term::Price) {
            let with = |price: f64| Outlook {
                price_per_hour: price,
                ..o
            };
            let price = solve(o.price_per_hour, o.price_per_hour * 1e-3, |x| {
                self.lead(&with(x), &b)
            });
            push(
                What::PricePerGpuHour,
                Some(o.price_per_hour / gpus),
                price.map(|p| p / gpus),
            );
        }
        if let Some(tokens) = o.tokens_per_hour.filter(|_| self.counts(Term::Tokens)) {
            // What the stated rate lets it serve is the most that counts.
            let demand = request.load.rate.map(|r| r * request.load.osl * 3600.0);
            let most = demand.unwrap_or(tokens * 1e3).max(tokens);
            let with = |x| Outlook {
                tokens_per_hour: Some(x),
                ..o
            };
            let needed = solve(tokens, most, |x| self.lead(&with(x), &b));
            push(
                What::Throughput,
                Some(tokens / 3600.0),
                needed.map(|x| x / 3600.0),
            );
        }
        self.by_waiting(&mut push, other_type);
        if let Some(launch) = o.launch.filter(|_| self.counts(Term::Relaunch)) {
            let with = |p| Outlook {
                launch: Some(p),
                ..o
            };
            let needed = solve(launch, 1.0, |x| self.lead(&with(x), &b));
            push(What::LaunchSuccess, Some(launch), needed);
        }
        out
    }

    fn by_waiting(&self, push: &mut impl FnMut(What, Option<f64>, Option<f64>), other_type: bool) {
        let (o, b) = (self.a.outlook, self.best.outlook);
        let other_wait = other_type || self.a.config.gpus() != self.best.config.gpus();
        if !(self.counts(Term::Wait) && other_wait) {
            return;
        }
        let waiting = |of: Outlook, h| Outlook {
            wait_h: Some(h),
            ..of
        };
        if let Some(wait) = o.wait_h {
            let needed = solve(wait, 0.0, |h| self.lead(&waiting(o, h), &b));
            push(What::Wait, Some(wait), needed);
        }
        if let Some(wait) = b.wait_h {
            let most = (wait + self.economy.job_hours) * 1e3;
            let needed = solve(wait, most, |h| self.lead(&o, &waiting(b, h)));
            push(What::WaitOfAdvised, Some(wait), needed);
        }
    }
}

/// Where `lead` reaches 0 on the way from `now`, where it is below, to `extreme`; `None` where it
/// does not. `lead` never falls on that way. Bisection, to a part in 1e9 of the way.
fn solve(now: f64, extreme: f64, lead: impl Fn(f64) -> f64) -> Option<f64> {
    if lead(now) >= 0.0 {
        return Some(now);
    }
    if lead(extreme).is_nan() || lead(extreme) < 0.0 {
        return None;
    }
    let (mut below, mut above) = (now, extreme);
    for _ in 0..60 {
        let middle = f64::midpoint(below, above);
        if lead(middle) >= 0.0 {
            above = middle;
        } else {
            below = middle;
        }
    }
    Some(above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_needed_is_just_enough(now in 0.1..10.0f64, extreme in 20.0..1e6f64, at in 0.0..2.0f64) {
            let aim = now + (extreme - now) * at;
            let found = solve(now, extreme, |x| x - aim);
            if aim > extreme {
                prop_assert_eq!(found, None);
            } else {
                let x = found.unwrap();
                prop_assert!((x - aim).abs() <= 1e-9 * extreme, "{} {}", x, aim);
            }
        }
    }

    #[test]
    fn a_way_down_is_searched_as_well() {
        let found = solve(8.0, 0.0, |x| 3.0 - x).unwrap();
        assert!((found - 3.0).abs() < 1e-9);
    }
}
