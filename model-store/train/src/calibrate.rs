//! Held-out residuals: by cell within the sources, by source, and by cell on this cluster.

use std::collections::{BTreeMap, BTreeSet};

use crate::advisor::Target;
use crate::advisor::conformal::{Bands, Calibration, GroupKey, score};
use crate::advisor::elsewhere::{Elsewhere, Kind, is_old, kind};

use super::kin::maker;
use super::learn::Learner;
use super::prepare::Sample;

/// Folds of the cross-validation by cell.
pub(super) const FOLDS: u64 = 5;

/// Fewest scores of this cluster from which its own interval is made.
const FEWEST_HOME_SCORES: u32 = 9;

/// Share of the error that a larger share of what was learnt has to take away.
const LEAST_GAIN: f64 = 0.01;

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

    /// The rows of each maker's sources. Where fewer than three laboratories are known, each engine version
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

    /// What is said of places never seen: the share of what was learnt that is carried there, for
    /// recent stacks and for old ones, and the bands about it. `left_out` holds what remained of each
    /// campaign's rows about a centre that had not seen them. At the share 0 the physics alone is said.
    pub(super) fn elsewhere(
        &self,
        target: Target,
        y: &[f64],
        left_out: &[(Vec<f64>, Vec<usize>)],
    ) -> ([f32; 2], Elsewhere) {
        let carry = [false, true].map(|old| self.carried(y, left_out, old));
        let mut campaigns: BTreeMap<(&str, &str), Vec<(Kind, f64)>> = BTreeMap::new();
        for (remains, rows) in left_out {
            for (r, i) in remains.iter().zip(rows) {
                let s = self.samples[*i];
                let kind = kind(&s.setup);
                let about = y[*i] - f64::from(carry[usize::from(is_old(kind))]) * (y[*i] - r);
                let campaign = campaigns.entry((&s.run.source, &s.run.case.engine));
                campaign.or_default().push((kind, about));
            }
        }
        let campaigns: Vec<Vec<(Kind, f64)>> = campaigns.into_values().collect();
        let known = Elsewhere::from_campaigns(&campaigns);
        let few = self.laboratories() < FEWEST_LABORATORIES || known.is_empty();
        let public = Elsewhere::of_public_sources(target).filter(|_| few);
        (carry, public.unwrap_or(known))
    }

    /// The share of what was learnt at which left-out campaigns err least: the mean over campaigns of
    /// the mean absolute residual against that of the physics alone. What is learnt has to show in
    /// three campaigns or more that it carries, and a larger share that it is worth it.
    fn carried(&self, y: &[f64], left_out: &[(Vec<f64>, Vec<usize>)], old: bool) -> f32 {
        let of_age = |(remains, rows): &(Vec<f64>, Vec<usize>)| -> Vec<[f64; 2]> {
            let rows = remains.iter().zip(rows);
            let own = rows.filter(|(_, i)| is_old(kind(&self.samples[**i].setup)) == old);
            own.map(|(r, i)| [y[*i], y[*i] - r]).collect()
        };
        let campaigns: Vec<Vec<[f64; 2]>> = left_out
            .iter()
            .map(of_age)
            .filter(|c| !c.is_empty())
            .collect();
        if campaigns.len() < FEWEST_LABORATORIES {
            return 0.0;
        }
        let loss = |share: f64| -> f64 {
            let off = |rows: &[[f64; 2]], share: f64| -> f64 {
                rows.iter()
                    .map(|[y, learnt]| (y - share * learnt).abs())
                    .sum()
            };
            let ratio = |rows: &Vec<[f64; 2]>| off(rows, share) / off(rows, 0.0).max(1e-9);
            campaigns.iter().map(ratio).sum::<f64>() / campaigns.len() as f64
        };
        let shares = (0..=10).map(|tenths| f64::from(tenths) / 10.0);
        let best =
            shares
                .map(|share| (share, loss(share)))
                .fold((0.0, f64::INFINITY), |best, next| {
                    if next.1 < best.1 - LEAST_GAIN {
                        next
                    } else {
                        best
                    }
                });
        best.0 as f32
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
        maker(&s.run.source),
        if by_version {
            &s.run.case.engine_version
        } else {
            ""
        },
    )
}
