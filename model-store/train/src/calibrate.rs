//! Held-out residuals: by cell within the sources, by source, and by cell on this cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::advisor::Target;
use crate::advisor::conformal::{Bands, Calibration, GroupKey, score};

use super::krige::Kriging;
use super::learn::Learner;
use super::prepare::Sample;

/// Folds of the cross-validation by cell.
pub(super) const FOLDS: u64 = 5;

/// Fewest scores of this cluster from which its own interval is made.
const FEWEST_HOME_SCORES: u32 = 9;

/// Fewest cells of this cluster from which its own interval is made.
const FEWEST_HOME_CELLS: usize = 9;

/// Fewest laboratories from which the step between them is measured.
const FEWEST_LABORATORIES: usize = 3;

/// Rows of one target, in the order of the samples.
pub(super) struct Held<'a> {
    pub(super) samples: &'a [&'a Sample<'a>],
}

impl Held<'_> {
    /// The rows of each fold; rows of one cell are in one fold.
    pub(super) fn folds(&self) -> Vec<Vec<usize>> {
        let mut out = vec![Vec::new(); FOLDS as usize];
        for (i, s) in self.samples.iter().enumerate() {
            out[self.fold_of(s)].push(i);
        }
        out.retain(|fold| !fold.is_empty());
        out
    }

    /// The fold of a sample: the high bits of its cell, for the low ones of FNV-1a follow the last
    /// letter.
    pub(super) fn fold_of(&self, s: &Sample) -> usize {
        ((s.cell >> 33) % FOLDS) as usize
    }

    fn group(&self, i: usize) -> GroupKey {
        self.samples[i].group
    }

    /// What remains of every row about a learner that never saw its fold.
    pub(super) fn out_of_fold(&self, learner: &dyn Learner) -> Vec<f64> {
        let mut remains = vec![0.0; self.samples.len()];
        for fold in self.folds() {
            for (i, r) in fold.iter().zip(learner.remains_without(&fold)) {
                remains[*i] = r;
            }
        }
        remains
    }

    /// Bands from residuals over the spread predicted for each.
    pub(super) fn bands(&self, remains: &[f64], spread: &[f64]) -> Bands {
        let scored = |i: usize| (self.group(i), remains[i] / spread[i]);
        Bands::from_scores(&(0..self.samples.len()).map(scored).collect::<Vec<_>>())
    }

    /// Calibration of this cluster's rows where they were fitted with the others.
    pub(super) fn at_home(&self, remains: &[f64], ends: &dyn Fn(usize) -> [f64; 2]) -> Calibration {
        let home = (0..self.samples.len()).filter(|i| self.samples[*i].is_home());
        let scored = home.map(|i| {
            let [lower, upper] = ends(i);
            (self.group(i), score(lower, upper, remains[i]))
        });
        let calibration = Calibration::from_scores(&scored.collect::<Vec<_>>());
        if calibration.n < FEWEST_HOME_SCORES {
            Calibration::default()
        } else {
            calibration
        }
    }

    /// The rows of each source. Where fewer than three laboratories are known, each engine version
    /// of each counts as one: the nearest thing to another laboratory that there is.
    pub(super) fn campaigns(&self) -> Vec<Vec<usize>> {
        let few = self.laboratories() < FEWEST_LABORATORIES;
        let mut campaigns: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        for (i, s) in self.samples.iter().enumerate() {
            campaigns.entry(campaign(s, few)).or_default().push(i);
        }
        campaigns
            .into_values()
            .filter(|c| c.len() < self.samples.len())
            .collect()
    }

    /// Calibration for a source that was never seen, from what remained of each when it was left
    /// out.
    pub(super) fn elsewhere(
        &self,
        target: Target,
        left_out: &[(Vec<f64>, Vec<usize>)],
        ends: &dyn Fn(usize) -> [f64; 2],
    ) -> Calibration {
        let scored = |(i, r): (&usize, &f64)| {
            let [lower, upper] = ends(*i);
            score(lower, upper, *r)
        };
        let scores: Vec<Vec<f64>> = left_out
            .iter()
            .map(|(r, rows)| rows.iter().zip(r).map(scored).collect())
            .collect();
        let mut calibration = Calibration::from_sources(&scores);
        if self.laboratories() < FEWEST_LABORATORIES {
            calibration.pooled = calibration
                .pooled
                .zip(between_laboratories(target))
                .map(|(own, least)| own.max(least));
        }
        calibration
    }

    /// Distinct sources.
    pub(super) fn laboratories(&self) -> usize {
        self.samples
            .iter()
            .map(|s| campaign(s, false))
            .collect::<BTreeSet<_>>()
            .len()
    }
}

fn campaign<'a>(s: &'a Sample, by_version: bool) -> (&'a str, &'a str) {
    (
        &s.run.source,
        if by_version {
            &s.run.case.engine_version
        } else {
            ""
        },
    )
}

/// Least widening (log) of a step between laboratories while too few are known to measure it:
/// the largest that leaving out each of eight to eleven public laboratories in turn gave over the
/// learners that were tried (`docs/accuracy.md`).
fn between_laboratories(target: Target) -> Option<f64> {
    match target {
        Target::OutputTokS | Target::ReqS => Some(0.74),
        Target::TtftMs => Some(1.80),
        Target::TpotMs => Some(1.25),
        _ => None,
    }
}

/// This cluster's calibration from its own few runs: each cell is scored under the shift that the
/// other cells call for.
pub(super) fn home_calibration(
    home: &[&Sample],
    kriging: &Kriging,
    ends: &dyn Fn(usize) -> [f64; 2],
) -> Calibration {
    let mut cells: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (i, sample) in home.iter().enumerate() {
        cells.entry(sample.cell).or_default().push(i);
    }
    let mut scored: Vec<(GroupKey, f64)> = Vec::new();
    for cell in cells.values() {
        for (i, remains) in cell.iter().zip(kriging.remains_without(cell)) {
            let [lower, upper] = ends(*i);
            scored.push((home[*i].group, score(lower, upper, remains)));
        }
    }
    // Runs of one cell all count in the quantile; that there are enough cells is asked beside it.
    let calibration = Calibration::from_scores(&scored);
    if cells.len() < FEWEST_HOME_CELLS {
        Calibration {
            n: calibration.n,
            ..Calibration::default()
        }
    } else {
        calibration
    }
}
