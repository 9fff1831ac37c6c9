//! Checks that no outcome reaches a prediction.

use serde::Serialize;

use super::foreseen::of_split;
use super::split::{Protocol, Split};
use super::{same_run_keys, score};
use crate::advisor::{Catalogue, Run, Target};

/// What the checks found.
#[derive(Clone, Debug, Serialize)]
pub struct Leakage {
    /// Held-out rows that a kept row is a copy of, over all splits. Must be 0.
    pub copies_on_both_sides: usize,
    /// Cells of which rows are kept and others held, over all splits by cell. Must be 0.
    pub cells_on_both_sides: usize,
    /// Log R2 of throughput on an unseen fold when outcomes were dealt out anew among the rows
    /// that were trained on. Near or below 0 by chance.
    pub permuted_log_r2: Option<f64>,
}

pub(super) fn check(runs: &[Run], catalogue: &Catalogue, splits: &[Split]) -> Leakage {
    let keys = same_run_keys(runs);
    let cells = super::split::cells(runs, catalogue);
    let both = |of: &dyn Fn(usize) -> u64, chosen: &dyn Fn(&Split) -> bool| {
        let count = |s: &Split| {
            let kept: std::collections::BTreeSet<u64> = s.kept.iter().map(|i| of(*i)).collect();
            s.held.iter().filter(|i| kept.contains(&of(**i))).count()
        };
        splits.iter().filter(|s| chosen(s)).map(count).sum()
    };
    Leakage {
        copies_on_both_sides: both(&|i| keys.get(i).copied().unwrap_or(0), &|_| true),
        cells_on_both_sides: both(&|i| cells.get(&i).copied().unwrap_or(0), &|s| {
            s.protocol == Protocol::Cells
        }),
        permuted_log_r2: splits
            .iter()
            .find(|s| s.protocol == Protocol::Cells)
            .and_then(|s| permuted(runs, catalogue, s)),
    }
}

fn permuted(runs: &[Run], catalogue: &Catalogue, split: &Split) -> Option<f64> {
    let mut dealt = runs.to_vec();
    let mut random = 42_u64;
    let with: Vec<usize> = split
        .kept
        .iter()
        .copied()
        .filter(|i| runs[*i].measured.output_tok_s.is_some())
        .collect();
    for i in 1..with.len() {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let j = ((random >> 33) % (i as u64 + 1)) as usize;
        let (a, b) = (
            dealt[with[i]].measured.clone(),
            dealt[with[j]].measured.clone(),
        );
        dealt[with[i]].measured = b;
        dealt[with[j]].measured = a;
    }
    let foreseen = of_split(&dealt, catalogue, split, false);
    let scores = score::targets(&foreseen);
    scores
        .iter()
        .find(|s| s.target == Target::OutputTokS.name())
        .map(|s| s.log_r2.value)
}
