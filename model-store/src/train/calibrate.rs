//! Held-out residuals: by cell within the sources, by source, and by cell on this cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::advisor::Target;
use crate::advisor::conformal::{Calibration, GroupKey, score};

use super::boost::{Binned, Loss, Plan, fit};
use super::krige::Kriging;
use super::prepare::Sample;

/// Folds of the cross-validation by cell.
pub(super) const FOLDS: u64 = 5;

/// Fewest scores of this cluster from which its own interval is made.
const FEWEST_HOME_SCORES: u32 = 9;

/// Fewest cells of this cluster behind them.
const FEWEST_HOME_CELLS: usize = 9;

/// Fewest laboratories from which the step between them is measured.
const FEWEST_LABORATORIES: usize = 3;

/// How the centre is grown.
pub(super) const CENTRE: Plan =
    Plan { loss: Loss::Huber(0.4), trees: 500, rate: 0.06, leaves: 24, least_in_leaf: 3.0, ridge: 1.0, columns: 0.5 };

/// How a quantile about the centre is grown.
pub(super) const fn spread(level: f64) -> Plan {
    Plan { loss: Loss::Quantile(level), trees: 40, rate: 0.15, leaves: 6, least_in_leaf: 25.0, ridge: 1.0, columns: 0.7 }
}

/// One target's rows: indices into the samples, and the log residual by sample index.
pub(super) struct Task<'a> {
    pub(super) samples: &'a [Sample<'a>],
    pub(super) data: &'a Binned,
    pub(super) rows: &'a [crate::advisor::features::Row],
    pub(super) chosen: Vec<u32>,
    pub(super) y: Vec<f64>,
    pub(super) weights: Vec<f64>,
}

impl Task<'_> {
    fn fold(&self, i: u32) -> u64 {
        // The high bits: the low ones of FNV-1a follow the last letter.
        (self.samples[i as usize].cell >> 33) % FOLDS
    }

    fn group(&self, i: u32) -> GroupKey {
        self.samples[i as usize].group
    }

    /// What remains of each chosen row about a centre that never saw its cell.
    pub(super) fn out_of_fold(&self) -> Vec<f64> {
        let mut remains = vec![0.0; self.y.len()];
        for fold in 0..FOLDS {
            let (held, kept): (Vec<u32>, Vec<u32>) = self.chosen.iter().partition(|i| self.fold(**i) == fold);
            if held.is_empty() || kept.is_empty() {
                continue;
            }
            let centre = fit(self.data, &kept, &self.y, &self.weights, CENTRE);
            for i in held {
                remains[i as usize] = self.y[i as usize] - centre.value(&self.rows[i as usize]);
            }
        }
        remains
    }

    /// Scores of cells that neither the centre nor the quantiles about it have seen.
    pub(super) fn cell_scores(&self, remains: &[f64]) -> Vec<(u32, f64)> {
        let mut out = Vec::new();
        for fold in 0..FOLDS {
            let (held, kept): (Vec<u32>, Vec<u32>) = self.chosen.iter().partition(|i| self.fold(**i) == fold);
            if held.is_empty() || kept.is_empty() {
                continue;
            }
            let [lower, upper] = [0.1, 0.9].map(|q| fit(self.data, &kept, remains, &self.weights, spread(q)));
            for i in held {
                let row = &self.rows[i as usize];
                out.push((i, score(lower.value(row).min(0.0), upper.value(row).max(0.0), remains[i as usize])));
            }
        }
        out.sort_by_key(|(i, _)| *i);
        out
    }

    /// Calibration from the scores of these rows.
    pub(super) fn by_group(&self, scores: &[(u32, f64)], home: bool) -> Calibration {
        let of = |i: u32| !home || self.samples[i as usize].is_home();
        let scored: Vec<(GroupKey, f64)> =
            scores.iter().filter(|(i, _)| of(*i)).map(|(i, s)| (self.group(*i), *s)).collect();
        enough_at_home(Calibration::from_scores(&scored), home)
    }

    /// For each source in turn, the scores of its rows under a centre that never saw the source.
    /// The quantiles about the centre are the final ones: their share of the width is small.
    ///
    /// Where fewer than three laboratories are known, each engine version of each counts as one:
    /// the nearest thing to another laboratory that there is.
    pub(super) fn source_scores(&self, quantiles: &dyn Fn(u32) -> [f64; 2]) -> Vec<Vec<f64>> {
        let by_version = self.laboratories() < FEWEST_LABORATORIES;
        let name = |i: &u32| self.campaign(*i, by_version);
        let names: BTreeSet<(&str, &str)> = self.chosen.iter().map(name).collect();
        let left_out = |left: (&str, &str)| {
            let (held, kept): (Vec<u32>, Vec<u32>) = self.chosen.iter().partition(|i| name(i) == left);
            if kept.is_empty() {
                return Vec::new();
            }
            let centre = fit(self.data, &kept, &self.y, &self.weights, CENTRE);
            let scored = |i: u32| {
                let remains = self.y[i as usize] - centre.value(&self.rows[i as usize]);
                let [lower, upper] = quantiles(i);
                score(lower, upper, remains)
            };
            held.into_iter().map(scored).collect()
        };
        names.into_iter().map(left_out).collect()
    }

    /// Calibration for a source that was never seen.
    pub(super) fn elsewhere(&self, target: Target, quantiles: &dyn Fn(u32) -> [f64; 2]) -> Calibration {
        let mut calibration = Calibration::from_sources(&self.source_scores(quantiles));
        if self.laboratories() < FEWEST_LABORATORIES {
            calibration.pooled = calibration.pooled.zip(between_laboratories(target)).map(|(own, least)| own.max(least));
        }
        calibration
    }

    /// Distinct sources among the chosen rows.
    pub(super) fn laboratories(&self) -> usize {
        self.chosen.iter().map(|i| self.campaign(*i, false)).collect::<BTreeSet<_>>().len()
    }

    fn campaign(&self, i: u32, by_version: bool) -> (&str, &str) {
        let run = self.samples[i as usize].run;
        (&run.source, if by_version { &run.case.engine_version } else { "" })
    }
}

/// Least widening (log) of a step between laboratories while too few are known to measure it:
/// what leaving out each of eight to ten public laboratories in turn gave (`docs/accuracy.md`).
fn between_laboratories(target: Target) -> Option<f64> {
    match target {
        Target::OutputTokS | Target::ReqS => Some(0.74),
        Target::TtftMs => Some(1.53),
        Target::TpotMs => Some(1.25),
        _ => None,
    }
}

/// This cluster's calibration from its own few runs: each cell is scored under the shift that the
/// other cells call for.
pub(super) fn home_calibration(
    home: &[&Sample],
    kriging: &Kriging,
    quantiles: &dyn Fn(usize) -> [f64; 2],
) -> Calibration {
    let mut cells: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (i, sample) in home.iter().enumerate() {
        cells.entry(sample.cell).or_default().push(i);
    }
    let mut scored: Vec<(GroupKey, f64)> = Vec::new();
    for cell in cells.values() {
        for (i, remains) in cell.iter().zip(kriging.remains_without(cell)) {
            let [lower, upper] = quantiles(*i);
            scored.push((home[*i].group, score(lower, upper, remains)));
        }
    }
    // Runs of one cell are one piece of evidence, however often it was repeated.
    let calibration = Calibration::from_scores(&scored);
    if cells.len() < FEWEST_HOME_CELLS { Calibration { n: calibration.n, ..Calibration::default() } } else { calibration }
}

fn enough_at_home(mut calibration: Calibration, home: bool) -> Calibration {
    if home && calibration.n < FEWEST_HOME_SCORES {
        calibration.pooled = None;
        calibration.groups.clear();
    }
    calibration
}
