//! From requests to a list of probes within a budget.

use std::collections::{BTreeMap, BTreeSet};

use super::belief::{Beliefs, Option_, Tried};
use crate::advisor::physics::physics;
use crate::advisor::support::Envelope;
use crate::advisor::{Configuration, Knowledge, Origin, Request, setup_of};

/// Requests that are planned for: those with most votes.
const MOST_ASKED: usize = 200;
/// A probe that gains less than this over all requests is not worth its start.
const LEAST_GAIN: f64 = 1e-3;

/// A request that somebody made.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What tells it from others.
    pub key: String,
    /// The request.
    pub request: Request,
    /// Votes behind it.
    pub weight: f64,
}

/// What may be spent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// GPU-hours of all probes together.
    pub gpu_hours: f64,
    /// Probes.
    pub most: usize,
    /// Hours that one probe may take.
    pub hours_each: f64,
}

/// A probe that was submitted already.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// [`Asked::key`] that it was submitted for.
    pub key: String,
    /// Slurm GPU type.
    pub gres: String,
    /// Tensor-parallel degree.
    pub tp: u32,
    /// Weight format's name.
    pub precision: String,
}

impl Taken {
    fn of(key: &str, config: &Configuration) -> Self {
        Self {
            key: key.into(),
            gres: config.gres.clone(),
            tp: config.tp,
            precision: config.precision.name().into(),
        }
    }
}

/// A probe that is worth its GPU-hours.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedProbe {
    /// Index of the request whose model and load it measures.
    pub asked: usize,
    /// What it measures them on.
    pub config: Configuration,
    /// Output tokens/s that are expected of it.
    pub tokens_s: f64,
    /// Expected gain over all requests, in votes times the logarithm of tokens for the price.
    pub gain: f64,
    /// GPU-hours that it may take.
    pub gpu_hours: f64,
    /// Requests without an answer that it gives one, as indexes.
    pub opens: Vec<usize>,
}

/// What to measure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Probes, in the order in which they are worth most for a GPU-hour, each after those before it.
    pub probes: Vec<PlannedProbe>,
    /// Requests, as indexes, that have no answer and that no probe of one node can give one.
    pub hopeless: Vec<usize>,
    /// Requests, as indexes, that have no answer and that a submitted probe may give one.
    pub under_way: Vec<usize>,
}

/// Plans. `taken` are not planned again; those of them that are `under_way` count as if their outcome were there.
pub fn plan(
    known: Knowledge,
    asked: &[Asked],
    taken: &BTreeSet<Taken>,
    under_way: &BTreeSet<Taken>,
    budget: &Budget,
) -> Plan {
    let mut state = State::of(known, asked);
    let open = state.unanswered();
    state.take(under_way);
    let still_open = state.unanswered();
    let mut out = Plan {
        under_way: open.difference(&still_open).copied().collect(),
        hopeless: state.hopeless(&still_open),
        ..Plan::default()
    };
    let mut left = budget.gpu_hours;
    while out.probes.len() < budget.most {
        let Some(best) = state.best(left, budget.hours_each, taken) else {
            break;
        };
        left -= best.gpu_hours;
        state.learn(best.asked, &best.config);
        out.probes.push(best);
    }
    out
}

/// Everything believed while planning.
struct State<'a> {
    asked: &'a [Asked],
    beliefs: Vec<Beliefs>,
    /// What is or will have been measured, without the runs by name.
    envelope: Envelope,
    /// By request and option: what a probe of it was worth at most, for a GPU; values only fall as more is learnt.
    bounds: Vec<(f64, usize, usize)>,
}

impl<'a> State<'a> {
    fn of(known: Knowledge, asked: &'a [Asked]) -> Self {
        let most = asked.len().min(MOST_ASKED);
        let asked = asked.get(..most).unwrap_or_default();
        let beliefs: Vec<Beliefs> = asked
            .iter()
            .map(|a| Beliefs::of(known, &a.request, a.weight))
            .collect();
        let mut seen = BTreeSet::new();
        let mut bounds = Vec::new();
        for (r, b) in beliefs.iter().enumerate() {
            for (o, option) in b.options.iter().enumerate() {
                let load = &asked.get(r).map(|a| &a.request);
                let same = load.map(|l| {
                    format!(
                        "{}|{:?}|{}|{}|{}",
                        l.card.name,
                        l.load,
                        option.config.gres,
                        option.config.tp,
                        option.config.precision
                    )
                });
                if seen.insert(same) {
                    bounds.push((f64::INFINITY, r, o));
                }
            }
        }
        let full = &known.model.envelope;
        Self {
            asked,
            beliefs,
            envelope: Envelope {
                families: full.families.clone(),
                engines: full.engines.clone(),
                patches: full.patches.clone(),
                ..Envelope::default()
            },
            bounds,
        }
    }

    fn unanswered(&self) -> BTreeSet<usize> {
        let open = self.beliefs.iter().enumerate().filter(|(_, b)| !b.answered);
        open.map(|(r, _)| r).collect()
    }

    fn hopeless(&self, open: &BTreeSet<usize>) -> Vec<usize> {
        let none = |r: &&usize| self.beliefs.get(**r).is_none_or(|b| b.options.is_empty());
        open.iter().filter(none).copied().collect()
    }

    fn take(&mut self, taken: &BTreeSet<Taken>) {
        let by_key: BTreeMap<&str, usize> = self
            .asked
            .iter()
            .enumerate()
            .map(|(r, a)| (a.key.as_str(), r))
            .collect();
        for t in taken {
            let Some(r) = by_key.get(t.key.as_str()).copied() else {
                continue;
            };
            let found = self.beliefs.get(r).and_then(|b| {
                let same = |c: &&Configuration| Taken::of(&t.key, c) == *t;
                b.options.iter().map(|o| &o.config).find(same).cloned()
            });
            if let Some(config) = found {
                self.learn(r, &config);
            }
        }
    }

    fn learn(&mut self, r: usize, config: &Configuration) {
        let Some(tried) = self.tried(r, config) else {
            return;
        };
        self.envelope = self.reached(r, config);
        for (b, a) in self.beliefs.iter_mut().zip(self.asked) {
            b.learn(&a.request, &tried, &self.envelope);
        }
    }

    fn tried(&self, r: usize, config: &Configuration) -> Option<Tried> {
        let options = &self.beliefs.get(r)?.options;
        let option = options.iter().find(|o| o.config == *config)?;
        Some(option.tried())
    }

    /// The envelope with a probe's run in it.
    fn reached(&self, r: usize, config: &Configuration) -> Envelope {
        let mut out = self.envelope.clone();
        let setup = self.asked.get(r).and_then(|a| setup_of(&a.request, config));
        if let Some(s) = setup {
            out.add("", Origin::ThisCluster, &s, &physics(&s));
        }
        out.landmarks = Default::default();
        out.sources.clear();
        out
    }

    /// The probe that is worth most for a GPU-hour among those that the rest of the budget allows: the largest bound is looked at anew
    /// until it stays the largest (M. Minoux, Accelerated greedy algorithms for maximizing submodular set functions, 1978).
    fn best(
        &mut self,
        left: f64,
        hours_each: f64,
        taken: &BTreeSet<Taken>,
    ) -> Option<PlannedProbe> {
        self.bounds
            .sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
        let mut best: Option<PlannedProbe> = None;
        let mut fresh = self.bounds.clone();
        for (bound, r, o) in &mut fresh {
            let worth = |p: &PlannedProbe| p.gain / p.gpu_hours;
            if best.as_ref().is_some_and(|b| worth(b) >= *bound) {
                break;
            }
            let (Some(asked), Some(option)) = (
                self.asked.get(*r),
                self.beliefs.get(*r).and_then(|b| b.options.get(*o)),
            ) else {
                continue;
            };
            let config = &option.config;
            let gpu_hours = f64::from(config.gpus()) * hours_each;
            if gpu_hours > left + 1e-9 || taken.contains(&Taken::of(&asked.key, config)) {
                continue;
            }
            let found = self.assess(*r, option, gpu_hours);
            *bound = worth(&found);
            if found.gain >= LEAST_GAIN && best.as_ref().is_none_or(|b| worth(b) < *bound) {
                best = Some(found);
            }
        }
        self.bounds = fresh;
        best
    }

    fn assess(&self, r: usize, option: &Option_, gpu_hours: f64) -> PlannedProbe {
        let config = &option.config;
        let mut out = PlannedProbe {
            asked: r,
            config: config.clone(),
            tokens_s: option.tokens_s,
            gain: 0.0,
            gpu_hours,
            opens: Vec::new(),
        };
        let Some(tried) = self.tried(r, config) else {
            return out;
        };
        let reached = self.reached(r, config);
        for (i, (b, a)) in self.beliefs.iter().zip(self.asked).enumerate() {
            out.gain += b.gain(&a.request, &tried, &reached);
            if b.opens(&a.request, &tried, &reached) {
                out.opens.push(i);
            }
        }
        out
    }
}
