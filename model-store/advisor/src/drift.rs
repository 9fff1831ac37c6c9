//! Drift: recent runs that leave their intervals, and by how much these must be wider at once.
//!
//! Adaptive conformal inference (I. Gibbs, E. Candes, arXiv 2106.00170): the share of misses that
//! is aimed at moves after every run, down after a miss and up after a hit, so that the coverage
//! over time comes back to the nominal one whatever has shifted. One stream for each target and
//! group (GPU x precision), in the order in which jobs ended.

use std::collections::BTreeMap;

use super::card::Catalogue;
use super::conformal::{GroupKey, LEVEL, quantile};
use super::model::{Model, Step, group_key};
use super::run::{Run, RunOutcome, Target};
use super::setup::Setup;

/// How far the aim moves after one run.
const GAMMA: f64 = 0.05;
/// Latest scores that count.
const WINDOW: usize = 40;
/// Latest runs of a group that are looked at; the aim has long forgotten what was before them.
const LATEST: usize = 200;
/// Fewest runs of a stream from which its intervals are widened.
const FEWEST: usize = 5;
/// Widening (log) that is not worth a new snapshot.
const LEAST: f64 = 0.02;
/// Standard errors by which hits must fall short before drift is told: some forty streams are looked at after every ingest.
const BEYOND_NOISE: f64 = 3.0;

/// One stream of scores: logarithms of the factors by which values lie beyond their intervals,
/// negative inside.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracker {
    misses: f64,
    scores: Vec<f64>,
}

impl Default for Tracker {
    fn default() -> Self {
        Self {
            misses: 1.0 - LEVEL,
            scores: Vec::new(),
        }
    }
}

impl Tracker {
    /// Log factor by which both ends have to move out now; 0 while there are too few runs.
    pub fn widening(&self) -> f64 {
        let mut recent: Vec<f64> = self.scores.iter().rev().take(WINDOW).copied().collect();
        if recent.len() < FEWEST {
            return 0.0;
        }
        let largest = recent.iter().copied().fold(0.0, f64::max);
        let level = 1.0 - self.misses.clamp(0.0, 1.0);
        // Nothing seen reaches that far: half as much again as the worst.
        let by = quantile(&mut recent, level).unwrap_or(1.5 * largest);
        by.max(0.0)
    }

    /// Takes a score; true where the widened interval held the value.
    pub fn push(&mut self, score: f64) -> bool {
        let held = score <= self.widening();
        let miss = f64::from(u8::from(!held));
        // Intervals are never narrowed here, so good times earn no credit against bad ones.
        self.misses = (self.misses + GAMMA * (1.0 - LEVEL - miss)).min(1.0 - LEVEL);
        self.scores.push(score);
        held
    }

    /// Share of the latest values that the published interval held, and how many they are.
    fn held(&self) -> (f64, usize) {
        let recent = self.scores.iter().rev().take(WINDOW);
        let (n, held) = recent.fold((0usize, 0usize), |(n, held), s| {
            (n + 1, held + usize::from(*s <= 0.0))
        });
        (held as f64 / n.max(1) as f64, n)
    }
}

/// What recent runs say of one target in one group.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Drift {
    /// Target.
    pub target: &'static str,
    /// GPU and pooled precision.
    pub group: String,
    /// Recent runs.
    pub runs: usize,
    /// Share of them inside the interval as it was published.
    pub coverage: f64,
    /// Log factor by which its ends have to move out.
    pub widening: f64,
    /// True where the coverage is too low for chance.
    pub drifted: bool,
    #[serde(skip)]
    place: (Target, GroupKey),
}

/// Compares runs of this cluster, oldest first, with what a model that was not trained on them
/// says.
pub fn drifts<'a>(
    model: &Model,
    catalogue: &'a Catalogue,
    runs: impl IntoIterator<Item = &'a Run>,
) -> Vec<Drift> {
    let mut streams: BTreeMap<(Target, GroupKey), (String, Tracker)> = BTreeMap::new();
    for (key, setup, run) in latest(catalogue, runs) {
        let predictions = model.predict(&setup, Step::ThisCluster);
        let contradicts = run.contradicts_itself();
        let tells = |t: &Target| is_followed(*t) && !(contradicts && t.is_of_load());
        for target in Target::ALL.into_iter().filter(tells) {
            let said = predictions.get(target as usize).copied().flatten();
            let value = run
                .measured
                .target(target)
                .filter(|v| v.is_finite() && *v > 0.0);
            let Some((p, value)) = said.zip(value).filter(|(p, _)| p.lo > 0.0) else {
                continue;
            };
            let score = (p.lo / value).ln().max((value / p.hi).ln());
            let group = format!("{} {}", setup.gpu.name, setup.precision.pooled());
            let stream = streams
                .entry((target, key))
                .or_insert((group, Tracker::default()));
            stream.1.push(score);
        }
    }
    let told = streams.into_iter().map(|(place, (group, tracker))| {
        let (coverage, runs) = tracker.held();
        let noise = (LEVEL * (1.0 - LEVEL) / runs.max(1) as f64).sqrt();
        Drift {
            target: place.0.name(),
            group,
            runs,
            coverage,
            widening: tracker.widening(),
            drifted: runs >= FEWEST && coverage < LEVEL - BEYOND_NOISE * noise,
            place,
        }
    });
    told.collect()
}

/// The latest runs of each group that served, oldest first: a prediction costs a good part of a millisecond, and a site may
/// have a hundred thousand runs since its last training.
fn latest<'a>(
    catalogue: &'a Catalogue,
    runs: impl IntoIterator<Item = &'a Run>,
) -> Vec<(GroupKey, Setup<'a>, &'a Run)> {
    let mut left: BTreeMap<GroupKey, usize> = BTreeMap::new();
    let told = |run: &'a Run| {
        let served = run.measured.outcome == RunOutcome::Ok;
        let setup = served.then(|| Setup::of_case(&run.case, "", catalogue).ok())??;
        Some((group_key(&setup), setup, run))
    };
    let mut all: Vec<_> = runs.into_iter().filter_map(told).collect();
    for (key, ..) in &all {
        *left.entry(*key).or_default() += 1;
    }
    all.retain(|(key, ..)| {
        let after = left.get_mut(key).map_or(0, |n| {
            *n -= 1;
            *n
        });
        after < LATEST
    });
    all
}

/// Requests/s follow from tokens/s; launch success has no interval that one run could leave.
const fn is_followed(target: Target) -> bool {
    !matches!(target, Target::ReqS | Target::LaunchSuccess)
}

/// Widens the intervals of every group that has drifted; false where none had.
pub fn widen(model: &mut Model, drifts: &[Drift]) -> bool {
    let mut any = false;
    for drift in drifts.iter().filter(|d| d.drifted && d.widening > LEAST) {
        let (target, key) = drift.place;
        let Some(target) = model.targets.get_mut(target as usize) else {
            continue;
        };
        if let Some(before) = target.this_cluster.widening(key) {
            target.this_cluster.set(key, before + drift.widening);
        }
        let before = target.drifted.widening(key).unwrap_or(0.0);
        target.drifted.set(key, before + drift.widening);
        any = true;
    }
    any
}
