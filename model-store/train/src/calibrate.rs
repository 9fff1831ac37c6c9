//! Held-out residuals: by cell within the sources, by source, and by cell on this cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::advisor::Target;
use crate::advisor::conformal::{Bands, Calibration, GroupKey, score};
use crate::advisor::elsewhere::{Elsewhere, Kind, kind};

use super::learn::Learner;
use super::prepare::Sample;

/// Folds of the cross-validation by cell.
pub(super) const FOLDS: u64 = 5;

/// Fewest scores of this cluster from which its own interval is made.
const FEWEST_HOME_SCORES: u32 = 9;

/// How much more a campaign of a recent stack weighs than one of an old stack.
const WEIGHT_OF_RECENT: f64 = 3.0;

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

    /// What is said of places never seen: the share of what was learnt that is carried there, and the
    /// bands about it. `left_out` holds what remained of each campaign's rows about a centre that had
    /// not seen them. At the share 0 the physics alone is said.
    pub(super) fn elsewhere(
        &self,
        target: Target,
        y: &[f64],
        left_out: &[(Vec<f64>, Vec<usize>)],
    ) -> (f64, Elsewhere) {
        let carried = self.carried(y, left_out);
        let mut campaigns: BTreeMap<(&str, &str), Vec<(Kind, f64)>> = BTreeMap::new();
        for (remains, rows) in left_out {
            for (r, i) in remains.iter().zip(rows) {
                let s = self.samples[*i];
                let about = y[*i] - carried * (y[*i] - r);
                let campaign = campaigns.entry((&s.run.source, &s.run.case.engine));
                campaign.or_default().push((kind(&s.setup), about));
            }
        }
        let campaigns: Vec<Vec<(Kind, f64)>> = campaigns.into_values().collect();
        let known = Elsewhere::from_campaigns(&campaigns);
        let few = self.laboratories() < FEWEST_LABORATORIES || known.is_empty();
        let public = Elsewhere::of_public_sources(target).filter(|_| few);
        (carried, public.unwrap_or(known))
    }

    /// The share of what was learnt at which left-out campaigns err least: mean absolute residual,
    /// each campaign weighing the same and recent ones more, since a new site's stack is recent.
    fn carried(&self, y: &[f64], left_out: &[(Vec<f64>, Vec<usize>)]) -> f64 {
        let loss = |share: f64| -> f64 {
            let of = |(remains, rows): &(Vec<f64>, Vec<usize>)| {
                let mut sums = [[0.0; 2]; 2];
                for (r, i) in remains.iter().zip(rows) {
                    let [_, old, _] = kind(&self.samples[*i].setup);
                    let sum = &mut sums[usize::from(old.min(1))];
                    sum[0] += (y[*i] - share * (y[*i] - r)).abs();
                    sum[1] += 1.0;
                }
                let mean = |[sum, n]: [f64; 2]| if n > 0.0 { sum / n } else { 0.0 };
                WEIGHT_OF_RECENT * mean(sums[0]) + mean(sums[1])
            };
            left_out.iter().map(of).sum()
        };
        let shares = (0..=10).map(|tenths| f64::from(tenths) / 10.0);
        // Of equals the least: what is learnt has to show that it carries.
        shares
            .map(|share| (share, loss(share)))
            .fold((0.0, f64::INFINITY), |best, next| {
                if next.1 < best.1 * 0.995 { next } else { best }
            })
            .0
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
