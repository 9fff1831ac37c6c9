//! Which runs are held out, and which are scored.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::kin::maker;
use super::super::prepare::{Sample, prepare};
use crate::advisor::{Catalogue, Run, RunOutcome};
use crate::hashing::{fnv1a, mix};

/// GPUs whose rows are scored: those that the product advises on.
const SCORED_GPUS: [&str; 4] = ["A100-40GB", "A100-80GB", "H100-SXM", "H200"];

/// Fewest scored rows of a source, family or GPU that is left out.
const FEWEST_LEFT_OUT: usize = 10;

/// Folds of the cross-validation by cell.
const FOLDS: u64 = 5;

/// How rows are held out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Five-fold cross-validation by cell (model x context x concurrency).
    Cells,
    /// A tenth of the rows, scored where their cell is still seen.
    Rows,
    /// Each source in turn.
    Source,
    /// Each model family in turn.
    Family,
    /// Each GPU in turn.
    Gpu,
    /// No rows of its own: the checks against leakage.
    Leakage,
    /// No rows of its own: each learner alone, on the folds that training holds out.
    Learners,
    /// Each source in turn as a new site, of whose own runs some are known.
    NewSite,
}

impl Protocol {
    /// All, in the order in which they are reported.
    pub const ALL: [Self; 8] = [
        Self::Cells,
        Self::Rows,
        Self::Source,
        Self::Family,
        Self::Gpu,
        Self::Leakage,
        Self::Learners,
        Self::NewSite,
    ];

    /// Name in options and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cells => "cells",
            Self::Rows => "rows",
            Self::Source => "source",
            Self::Family => "family",
            Self::Gpu => "gpu",
            Self::Leakage => "leakage",
            Self::Learners => "learners",
            Self::NewSite => "new-site",
        }
    }

    /// Reads [`Self::name`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == text.trim())
    }
}

/// One division of the runs, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// How it was made.
    pub protocol: Protocol,
    /// Which one of its kind: a fold, or the name of what was left out.
    pub name: String,
    /// Runs that are trained on.
    pub kept: Vec<usize>,
    /// Runs that are predicted and scored.
    pub held: Vec<usize>,
}

/// What decides how a run may be held out.
struct Place<'a> {
    index: usize,
    cell: u64,
    source: &'a str,
    family: &'a str,
    gpu: &'a str,
    scored: bool,
}

/// All divisions. No run, nor a second copy of it, is on both sides of one.
pub fn splits(runs: &[Run], catalogue: &Catalogue, fold_seeds: u64, row_draws: u64) -> Vec<Split> {
    let prepared = prepare(runs, catalogue);
    let places: Vec<Place> = prepared.samples.iter().map(|s| place(runs, s)).collect();
    let keys = same_run_keys(runs);
    let divide = |protocol, name: String, out: &dyn Fn(&Place) -> bool| {
        let (held, mut kept): (Vec<&Place>, Vec<&Place>) = places.iter().partition(|p| out(p));
        if protocol == Protocol::Rows {
            // A copy of a held row gives it away as the row itself would.
            let held_keys: BTreeSet<u64> = held.iter().map(|p| keys[p.index]).collect();
            kept.retain(|p| !held_keys.contains(&keys[p.index]));
        }
        if protocol == Protocol::Source {
            kept.retain(|p| !are_kin(p.source, &name));
        }
        let seen: BTreeSet<u64> = kept.iter().map(|p| p.cell).collect();
        let counts =
            |p: &&&Place| p.scored && (protocol != Protocol::Rows || seen.contains(&p.cell));
        let mut held: Vec<usize> = held.iter().filter(counts).map(|p| p.index).collect();
        let mut kept: Vec<usize> = kept.iter().map(|p| p.index).collect();
        held.sort_unstable();
        kept.sort_unstable();
        Split {
            protocol,
            name,
            kept,
            held,
        }
    };
    let mut out = Vec::new();
    for seed in 0..fold_seeds {
        for fold in 0..FOLDS {
            out.push(divide(Protocol::Cells, format!("{seed}.{fold}"), &|p| {
                mix(p.cell, seed) % FOLDS == fold
            }));
        }
    }
    for draw in 0..row_draws {
        out.push(divide(Protocol::Rows, draw.to_string(), &|p| {
            mix(keys[p.index], 100 + draw).is_multiple_of(10)
        }));
    }
    type Pick = for<'p, 'a> fn(&'p Place<'a>) -> &'a str;
    let kinds: [(Protocol, Pick); 3] = [
        (Protocol::Source, |p| p.source),
        (Protocol::Family, |p| p.family),
        (Protocol::Gpu, |p| p.gpu),
    ];
    for (protocol, pick) in kinds {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for p in places.iter().filter(|p| p.scored) {
            *counts.entry(pick(p)).or_default() += 1;
        }
        let large = counts.iter().filter(|(_, n)| **n >= FEWEST_LEFT_OUT);
        out.extend(
            large.map(|(name, _)| divide(protocol, (*name).to_owned(), &|p| pick(p) == *name)),
        );
    }
    out
}

/// True for sources of one maker.
pub(super) fn are_kin(a: &str, b: &str) -> bool {
    maker(a) == maker(b)
}

fn place<'a>(runs: &[Run], s: &Sample<'a>) -> Place<'a> {
    Place {
        index: index_of(runs, s.run),
        cell: s.cell,
        source: &s.run.source,
        family: &s.setup.card.family,
        gpu: s.setup.gpu.name,
        scored: is_scored(s),
    }
}

/// Where a run lies in the slice that it was borrowed from.
fn index_of(runs: &[Run], run: &Run) -> usize {
    (std::ptr::from_ref(run).addr() - runs.as_ptr().addr()) / size_of::<Run>().max(1)
}

pub(super) fn is_scored(s: &Sample) -> bool {
    SCORED_GPUS.contains(&s.setup.gpu.name)
        && s.setup.variant.is_plain()
        && !s.contradicts
        && s.run.measured.outcome == RunOutcome::Ok
}

/// Indices of the rows that are scored.
pub(super) fn scored_rows(runs: &[Run], catalogue: &Catalogue) -> Vec<usize> {
    prepare(runs, catalogue)
        .samples
        .iter()
        .filter(|s| is_scored(s))
        .map(|s| index_of(runs, s.run))
        .collect()
}

/// Cell of every run that can be placed.
pub(super) fn cells(runs: &[Run], catalogue: &Catalogue) -> BTreeMap<usize, u64> {
    prepare(runs, catalogue)
        .samples
        .iter()
        .map(|s| (index_of(runs, s.run), s.cell))
        .collect()
}

/// Equal for two copies of one measurement, whatever they are called.
pub(super) fn same_run_keys(runs: &[Run]) -> Vec<u64> {
    let m = |r: &Run| format!("{:?}|{:?}", r.case, r.measured);
    runs.iter().map(|r| fnv1a(m(r).bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::published_figures;

    #[test]
    fn a_copy_of_a_held_row_is_never_kept() {
        let mut runs = published_figures().unwrap();
        let copies: Vec<Run> = runs
            .iter()
            .map(|r| Run {
                run_id: format!("copy of {}", r.run_id),
                ..r.clone()
            })
            .collect();
        runs.extend(copies);
        let keys = same_run_keys(&runs);
        let all = splits(&runs, &Catalogue::built_in(), 1, 2);
        assert!(
            all.iter()
                .any(|s| s.protocol == Protocol::Rows && !s.held.is_empty())
        );
        for split in all
            .iter()
            .filter(|s| matches!(s.protocol, Protocol::Rows | Protocol::Cells))
        {
            let kept: BTreeSet<u64> = split.kept.iter().map(|i| keys[*i]).collect();
            assert!(
                split.held.iter().all(|i| !kept.contains(&keys[*i])),
                "{}",
                split.name
            );
        }
    }

    #[test]
    fn a_fold_shares_no_cell_with_what_is_kept_and_every_row_is_held_once() {
        let runs = published_figures().unwrap();
        let catalogue = Catalogue::built_in();
        let cells = cells(&runs, &catalogue);
        let folds: Vec<Split> = splits(&runs, &catalogue, 1, 0)
            .into_iter()
            .filter(|s| s.protocol == Protocol::Cells)
            .collect();
        for fold in &folds {
            let kept: BTreeSet<u64> = fold.kept.iter().map(|i| cells[i]).collect();
            assert!(fold.held.iter().all(|i| !kept.contains(&cells[i])));
        }
        let held: usize = folds.iter().map(|s| s.held.len()).sum();
        assert_eq!(held, scored_rows(&runs, &catalogue).len());
    }
}
