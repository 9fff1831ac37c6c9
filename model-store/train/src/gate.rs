//! The gate: a challenger against the champion on held-out cells that neither has seen.
//!
//! One fold of cells, the same at every training, is held out of a second fit that exists for the
//! gate alone. The champion's such fit is kept beside it. So both are scored on today's runs in
//! those cells, which neither was fitted to, and what differs is what they were trained on. What is
//! published is fitted to everything.
//!
//! What has come in since may be wrong, and in the held-out cells too. So on what was known before
//! a challenger may only be worse where it foretells what is new better by as much.

mod reasons;

use serde::Serialize;

use self::reasons::{mean, refuse};
use super::prepare::{Sample, is_served, prepare};
use super::train;
use crate::advisor::model::{Model, Step};
use crate::advisor::{Catalogue, Origin, Run, Target};
use crate::hashing::mix;

/// Targets that are judged. Requests/s follow from tokens/s, launch success has a table.
const JUDGED: [Target; 6] = [
    Target::OutputTokS,
    Target::TtftMs,
    Target::TpotMs,
    Target::KvUsage,
    Target::PowerW,
    Target::ColdStartS,
];
/// One cell of so many is held out.
const FOLDS: u64 = 5;
/// A log error counts up to this: a few hopeless rows must not decide.
const LARGEST_ERROR: f64 = 1.5;
/// The fit without the held-out cells, as it is kept for the next challenger.
pub fn fit_for_gate(runs: &[Run], catalogue: &Catalogue) -> Model {
    let (kept, _) = divide(runs, catalogue);
    train(&kept, catalogue, &|_, _| {}).0
}

/// Kept and held-out runs. Which cells are held out depends on their names alone; runs of those that
/// do not show what a configuration delivers are neither.
fn divide(runs: &[Run], catalogue: &Catalogue) -> (Vec<Run>, Vec<Run>) {
    let samples = prepare(runs, catalogue).samples;
    let (held, kept): (Vec<Sample>, Vec<Sample>) = samples
        .into_iter()
        .partition(|s| mix(s.cell, 0).is_multiple_of(FOLDS));
    let runs_of = |samples: &[Sample]| samples.iter().map(|s| s.run.clone()).collect();
    let shown: Vec<Sample> = held.into_iter().filter(is_served).collect();
    (runs_of(&kept), runs_of(&shown))
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
    model: String,
    /// Model and load, as people name the cell.
    place: String,
    /// Known when the champion was trained.
    old: bool,
    challenger: Option<Said>,
    champion: Option<Said>,
}

impl Point {
    /// Champion and challenger, where both answer.
    fn both(&self) -> Option<[Said; 2]> {
        Some([self.champion?, self.challenger?])
    }
}

/// Error and whether the interval holds the value.
#[derive(Clone, Copy)]
struct Said {
    error: f64,
    covered: bool,
}

impl Said {
    fn error(self) -> f64 {
        self.error
    }

    /// 1 where the interval holds the value, else 0.
    fn held(self) -> f64 {
        f64::from(u8::from(self.covered))
    }
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
        model: s.setup.card.name.clone(),
        place: place(s),
        old: is_old(s.run),
        challenger: said(challenger),
        champion: champion.and_then(said),
    })
}

/// `Llama-3.1-70B with 1000 + 1000 tokens, 64 in flight`.
fn place(s: &Sample) -> String {
    let load = s
        .setup
        .concurrency
        .map_or_else(String::new, |n| format!(", {n:.0} in flight"));
    format!(
        "{} with {:.0} + {:.0} tokens{load}",
        s.setup.card.name, s.setup.isl, s.setup.osl
    )
}

fn score(target: Target, points: &[Point]) -> Option<Score> {
    let own: Vec<Said> = points.iter().filter_map(|p| p.challenger).collect();
    let both: Vec<f64> = points
        .iter()
        .filter(|p| p.challenger.is_some())
        .filter_map(|p| p.champion.map(|c| c.error))
        .collect();
    let covered: Vec<f64> = own.iter().map(|s| s.held()).collect();
    Some(Score {
        target: target.name(),
        runs: own.len(),
        error: mean(&own.iter().map(|s| s.error).collect::<Vec<_>>())?,
        champion_error: mean(&both),
        coverage: mean(&covered)?,
    })
}
