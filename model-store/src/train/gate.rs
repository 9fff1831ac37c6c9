//! The gate: a challenger against the champion on held-out cells that neither has seen.
//!
//! One fold of cells, the same at every training, is held out of a second fit that exists for the
//! gate alone. The champion's such fit is kept beside it. So both are scored on today's runs in
//! those cells, which neither was fitted to, and what differs is what they were trained on. What is
//! published is fitted to everything.
//!
//! What has come in since may be wrong, and in the held-out cells too. So on what was known before
//! a challenger may only be worse where it foretells what is new better by as much.

use std::collections::BTreeMap;

use serde::Serialize;

use super::evaluate::{Protocol, splits};
use super::prepare::{Sample, prepare};
use super::train;
use crate::advisor::model::{Model, Step};
use crate::advisor::{Catalogue, Origin, Run, Target};

/// Targets that are judged. Requests/s follow from tokens/s, launch success has a table.
const JUDGED: [Target; 6] = [
    Target::OutputTokS,
    Target::TtftMs,
    Target::TpotMs,
    Target::KvUsage,
    Target::PowerW,
    Target::ColdStartS,
];
/// Fewest held-out cells of a group from which it is judged.
const FEWEST_CELLS: usize = 5;
/// Standard errors beyond which a difference over all groups is no noise: one side, 1 %.
const BEYOND_NOISE: f64 = 2.3;
/// The same for one of some fifty groups.
const BEYOND_NOISE_IN_ONE: f64 = 3.5;
/// Log error that no user would notice; a smaller rise is none, however certain.
const LEAST_RISE: f64 = 0.01;
/// A log error counts up to this: a few hopeless rows must not decide.
const LARGEST_ERROR: f64 = 1.5;
/// Coverage of the intervals, nominally 0.8, below which they do not hold, beyond noise.
const LEAST_COVERAGE: f64 = 0.7;
/// Share of held-out rows that a challenger may leave without an answer that the champion gave.
const MOST_LOST: f64 = 0.1;

/// The fit without the held-out cells, as it is kept for the next challenger.
pub fn fit_for_gate(runs: &[Run], catalogue: &Catalogue) -> Model {
    let (kept, _) = divide(runs, catalogue);
    train(&kept, catalogue, &|_, _| {}).0
}

/// Kept and held-out runs. Which cells are held out depends on their names alone.
fn divide(runs: &[Run], catalogue: &Catalogue) -> (Vec<Run>, Vec<Run>) {
    let pick = |of: &[usize]| of.iter().filter_map(|i| runs.get(*i)).cloned().collect();
    splits(runs, catalogue, 1, 0)
        .into_iter()
        .find(|s| s.protocol == Protocol::Cells)
        .map_or_else(
            || (runs.to_vec(), Vec::new()),
            |s| (pick(&s.kept), pick(&s.held)),
        )
}

/// What the gate found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Judgement {
    /// Held-out runs and their cells.
    pub runs: usize,
    /// See [`Self::runs`].
    pub cells: usize,
    /// Mean absolute log error and coverage by target, over all groups.
    pub targets: Vec<Score>,
    /// Why the challenger is refused; empty = it passes.
    pub reasons: Vec<String>,
}

/// One target on the held-out cells.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Target name.
    pub target: &'static str,
    /// Held-out runs with a value and an answer of the challenger.
    pub runs: usize,
    /// Mean absolute log error of the challenger.
    pub error: f64,
    /// The same of the champion, on the runs that both answer.
    pub champion_error: Option<f64>,
    /// Share of the challenger's intervals that hold the value.
    pub coverage: f64,
}

impl Judgement {
    /// True where the challenger may be published.
    pub fn passes(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// What both said of one value.
struct Point {
    cell: u64,
    group: String,
    /// Known when the champion was trained.
    old: bool,
    challenger: Option<Said>,
    champion: Option<Said>,
}

/// Error and whether the interval holds the value.
#[derive(Clone, Copy)]
struct Said {
    error: f64,
    covered: bool,
}

/// Judges a challenger by its fit for the gate, against the champion's where there is one.
/// `is_old` tells of a run whether the champion could have been trained on it.
pub fn judge(
    runs: &[Run],
    catalogue: &Catalogue,
    challenger: &Model,
    champion: Option<&Model>,
    is_old: &dyn Fn(&Run) -> bool,
) -> Judgement {
    let (_, held) = divide(runs, catalogue);
    let prepared = prepare(&held, catalogue);
    let mut cells: Vec<u64> = prepared.samples.iter().map(|s| s.cell).collect();
    cells.sort_unstable();
    cells.dedup();
    let mut out = Judgement {
        runs: prepared.samples.len(),
        cells: cells.len(),
        ..Judgement::default()
    };
    for target in JUDGED {
        let points: Vec<Point> = prepared
            .samples
            .iter()
            .filter_map(|s| point(s, target, challenger, champion, is_old))
            .collect();
        out.targets.extend(score(target, &points));
        refuse(target, &points, &mut out.reasons);
    }
    out
}

fn point(
    s: &Sample,
    target: Target,
    challenger: &Model,
    champion: Option<&Model>,
    is_old: &dyn Fn(&Run) -> bool,
) -> Option<Point> {
    let value = s
        .run
        .measured
        .target(target)
        .filter(|v| v.is_finite() && *v > 0.0)?;
    let said = |model: &Model| {
        let step = match s.run.origin {
            Origin::ThisCluster => Step::ThisCluster,
            _ => model.step_to(&s.run.source),
        };
        let p = (*model.predict(&s.setup, step).get(target as usize)?)?;
        Some(Said {
            error: (p.q50 / value).ln().abs().min(LARGEST_ERROR),
            covered: p.lo <= value && value <= p.hi,
        })
    };
    Some(Point {
        cell: s.cell,
        group: format!("{} {}", s.setup.gpu.name, s.setup.precision.pooled()),
        old: is_old(s.run),
        challenger: said(challenger),
        champion: champion.and_then(said),
    })
}

fn score(target: Target, points: &[Point]) -> Option<Score> {
    let own: Vec<Said> = points.iter().filter_map(|p| p.challenger).collect();
    let both: Vec<f64> = points
        .iter()
        .filter(|p| p.challenger.is_some())
        .filter_map(|p| p.champion.map(|c| c.error))
        .collect();
    let covered: Vec<f64> = own.iter().map(|s| f64::from(u8::from(s.covered))).collect();
    Some(Score {
        target: target.name(),
        runs: own.len(),
        error: mean(&own.iter().map(|s| s.error).collect::<Vec<_>>())?,
        champion_error: mean(&both),
        coverage: mean(&covered)?,
    })
}

fn refuse(target: Target, points: &[Point], reasons: &mut Vec<String>) {
    let all = "all groups".to_owned();
    let mut groups: BTreeMap<&str, Vec<&Point>> = BTreeMap::new();
    for p in points {
        groups.entry(&p.group).or_default().push(p);
    }
    groups.insert(&all, points.iter().collect());
    for (name, group) in groups {
        let (old, new): (Vec<&Point>, Vec<&Point>) = group.iter().copied().partition(|p| p.old);
        let paid_for = |(from, to): &(f64, f64)| {
            let gain = change(&new).map_or(0.0, |(from, to)| from - to);
            gain >= to - from
        };
        let noise = if name == all {
            BEYOND_NOISE
        } else {
            BEYOND_NOISE_IN_ONE
        };
        let found = worse(&group, noise)
            .map(|change| (change, ""))
            .or_else(|| Some((worse(&old, noise).filter(|c| !paid_for(c))?, "known ")));
        reasons.extend(found.map(|((from, to), which)| {
            format!(
                "{} of {name}: {:.1} % off on {which}held-out cells, the champion {:.1} %",
                target.name(),
                (to.exp() - 1.0) * 100.0,
                (from.exp() - 1.0) * 100.0
            )
        }));
        if name == all {
            reasons.extend(uncovered(&group).map(|share| {
                format!(
                    "{}: intervals hold {:.0} % of held-out values, nominal are 80 %",
                    target.name(),
                    share * 100.0
                )
            }));
            reasons.extend(lost(&group).map(|share| {
                format!(
                    "{}: no answer for {:.0} % of what the champion answers",
                    target.name(),
                    share * 100.0
                )
            }));
        }
    }
}

/// Champion's and challenger's error where the latter's is larger beyond noise.
fn worse(points: &[&Point], noise: f64) -> Option<(f64, f64)> {
    let cells = by_cell(points);
    let rises: Vec<f64> = cells.iter().map(|[champion, own]| own - champion).collect();
    let (rise, error) = mean_and_error(&rises)?;
    let beyond = rise - noise * error > LEAST_RISE;
    beyond.then(|| change(points)).flatten()
}

/// Champion's and challenger's error, means over cells.
fn change(points: &[&Point]) -> Option<(f64, f64)> {
    let cells = by_cell(points);
    let of = |k: usize| mean(&cells.iter().map(|c| c[k]).collect::<Vec<_>>());
    of(0).zip(of(1))
}

/// Champion's and challenger's mean error in each cell that both answer. Cells are what is
/// independent.
fn by_cell(points: &[&Point]) -> Vec<[f64; 2]> {
    let mut cells: BTreeMap<u64, Vec<[f64; 2]>> = BTreeMap::new();
    for p in points {
        if let (Some(own), Some(champion)) = (p.challenger, p.champion) {
            let both = [champion.error, own.error];
            cells.entry(p.cell).or_default().push(both);
        }
    }
    let mean_of = |rows: &[[f64; 2]], k: usize| {
        rows.iter().map(|r| r[k]).sum::<f64>() / rows.len().max(1) as f64
    };
    cells
        .values()
        .map(|rows| [mean_of(rows, 0), mean_of(rows, 1)])
        .collect()
}

/// Coverage where it is too low beyond noise.
fn uncovered(points: &[&Point]) -> Option<f64> {
    let mut cells: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for p in points {
        if let Some(own) = p.challenger {
            let covered = f64::from(u8::from(own.covered));
            cells.entry(p.cell).or_default().push(covered);
        }
    }
    let shares: Vec<f64> = cells.values().filter_map(|c| mean(c)).collect();
    let (share, error) = mean_and_error(&shares)?;
    (share + 2.0 * error < LEAST_COVERAGE).then_some(share)
}

/// Share of the champion's answers that the challenger does not give, where it is too large.
fn lost(points: &[&Point]) -> Option<f64> {
    let answered: Vec<f64> = points
        .iter()
        .filter(|p| p.champion.is_some())
        .map(|p| f64::from(u8::from(p.challenger.is_none())))
        .collect();
    mean(&answered).filter(|share| answered.len() >= FEWEST_CELLS && *share > MOST_LOST)
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Mean over cells and its standard error; `None` below [`FEWEST_CELLS`].
fn mean_and_error(values: &[f64]) -> Option<(f64, f64)> {
    let (n, mean) = (values.len() as f64, mean(values)?);
    let about: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (values.len() >= FEWEST_CELLS).then(|| (mean, (about / (n - 1.0) / n).sqrt()))
}
