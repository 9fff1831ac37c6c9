//! Each source in turn as a new site: some of its runs are its own, the rest is foretold as this
//! cluster.
//!
//! The model is trained once without the source; its own runs then move it as a site's own runs do
//! ([`settle`]). Cells are drawn rather than rows, and what is foretold lies in other cells, so that
//! no configuration beside a known one gives the answer away.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::super::fit::physics_alone;
use super::super::prepare::prepare;
use super::super::{settle, train};
use super::Plan;
use super::choice::Nearest;
use super::decide::{Policy, decisions};
use super::foreseen::{Foreseen, of_runs};
use super::split::{Protocol, are_kin, cells, scored_rows};
use super::statistics::{mean, median};
use crate::advisor::model::Model;
use crate::advisor::{Catalogue, Origin, Run, Target};
use crate::hashing::{fnv1a, mix};

/// How many runs of its own a site has.
pub const OWN_RUNS: [usize; 7] = [0, 5, 10, 20, 40, 80, 160];

/// Fewest rows that a source plays a site with, and that are left to be foretold.
const FEWEST_ROWS: usize = 20;

/// A relative error that a user would call wrong.
const WRONG: f64 = 0.25;

/// Targets that are told.
const TOLD: [Target; 4] = [
    Target::OutputTokS,
    Target::TtftMs,
    Target::TpotMs,
    Target::PowerW,
];

/// One site with so many runs of its own.
#[derive(Clone, Debug, Serialize)]
pub struct NewSite {
    /// The source that plays it.
    pub source: String,
    /// Its own runs.
    pub own: usize,
    /// Figures of each target that it measured.
    pub targets: Vec<SiteScore>,
    /// Cells in which it measured two configurations or more; `None` where it has none.
    pub decisions: Option<SiteDecisions>,
}

/// One target at one site.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SiteScore {
    /// Target name.
    pub target: &'static str,
    /// Predictions, over all draws.
    pub n: usize,
    /// Mean and median absolute percentage error, as shares.
    pub mape: f64,
    /// See [`Self::mape`].
    pub median: f64,
    /// Median of `ln(measured / predicted)`: above 0 where the prediction is too low.
    pub bias: f64,
    /// Share of intervals that hold what was measured.
    pub coverage: f64,
    /// Upper over lower end of the interval, median.
    pub width: f64,
    /// Share of rows that are answered.
    pub answered: f64,
    /// Of the rows that are wrong by more than a quarter, the share that is not answered.
    pub wrong_flagged: Option<f64>,
    /// Of the rows that are right to a quarter, the share that is answered.
    pub right_answered: Option<f64>,
}

/// Decisions at one site: tokens per price.
#[derive(Clone, Debug, Serialize)]
pub struct SiteDecisions {
    /// How many.
    pub n: usize,
    /// Policy, share of best choices, mean log regret.
    pub policies: Vec<(Policy, f64, f64)>,
}

/// Every source that has enough rows.
pub(super) fn each(
    runs: &[Run],
    catalogue: &Catalogue,
    plan: &Plan,
    progress: &dyn Fn(&str),
) -> Vec<NewSite> {
    let fit = |kept: &[Run]| {
        if plan.physics_alone {
            physics_alone(kept, catalogue)
        } else {
            train(kept, catalogue, &|_, _| {}).0
        }
    };
    let mut by_source: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for i in scored_rows(runs, catalogue) {
        let rows = by_source.entry(runs[i].source.as_str()).or_default();
        rows.push(i);
    }
    by_source.retain(|_, rows| rows.len() >= FEWEST_ROWS);
    let mut out = Vec::new();
    for (source, rows) in by_source {
        progress(&format!("new site {source}"));
        let kept: Vec<Run> = runs
            .iter()
            .filter(|r| !are_kin(&r.source, source))
            .cloned()
            .collect();
        let model = fit(&kept);
        out.extend(of_source(
            runs,
            &rows,
            &kept,
            catalogue,
            &model,
            plan.site_draws,
        ));
    }
    out
}

/// One source with each number of runs of its own, by a model that knows none of them.
pub fn of_source(
    runs: &[Run],
    rows: &[usize],
    kept: &[Run],
    catalogue: &Catalogue,
    model: &Model,
    draws: u64,
) -> Vec<NewSite> {
    let cell_of = cells(runs, catalogue);
    let near = Nearest::new(&prepare(kept, catalogue));
    let Some(source) = rows.first().map(|i| runs[*i].source.clone()) else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for own in OWN_RUNS {
        if rows.len() < own + FEWEST_ROWS {
            break;
        }
        let mut foreseen = Vec::new();
        for draw in 0..if own == 0 { 1 } else { draws.max(1) } {
            let (home, held) = drawn(runs, rows, &cell_of, own, draw);
            let mut model = model.clone();
            if own > 0 {
                settle(&mut model, &home, catalogue);
            }
            let name = draw.to_string();
            foreseen.extend(of_runs(
                &held,
                catalogue,
                &model,
                &near,
                (Protocol::NewSite, &name),
            ));
        }
        out.push(NewSite {
            source: source.clone(),
            own,
            targets: told(&foreseen.iter().collect::<Vec<_>>()),
            decisions: decided(&foreseen, Protocol::NewSite),
        });
    }
    out
}

/// The site's own runs, of as few cells as hold so many, and the runs of all other cells.
fn drawn(
    runs: &[Run],
    rows: &[usize],
    cell_of: &BTreeMap<usize, u64>,
    own: usize,
    draw: u64,
) -> (Vec<Run>, Vec<Run>) {
    let cell = |i: &usize| cell_of.get(i).copied().unwrap_or(0);
    // Rows in an order of the draw: by a hash of the run, so that neighbours in the file are apart.
    let mut order: Vec<usize> = rows.to_vec();
    order.sort_by_key(|i| mix(fnv1a(format!("{:?}", runs[*i].case).bytes()), 900 + draw));
    let known: Vec<usize> = order.into_iter().take(own).collect();
    let seen: BTreeSet<u64> = known.iter().map(cell).collect();
    let as_ours = |i: &usize| Run {
        origin: Origin::ThisCluster,
        ..runs[*i].clone()
    };
    let held = rows.iter().filter(|i| !seen.contains(&cell(i)));
    (
        known.iter().map(as_ours).collect(),
        held.map(|i| runs[*i].clone()).collect(),
    )
}

/// The figures of every target that is told.
pub(super) fn told(foreseen: &[&Foreseen]) -> Vec<SiteScore> {
    TOLD.iter().filter_map(|t| score(foreseen, *t)).collect()
}

/// The figures of one target over these rows; `None` where none states it.
pub(super) fn score(foreseen: &[&Foreseen], target: Target) -> Option<SiteScore> {
    let at = target as usize;
    let rows: Vec<(f64, crate::advisor::Prediction, bool)> = foreseen
        .iter()
        .filter_map(|f| {
            let truth = f.told(target)?;
            Some((truth, (*f.predicted.get(at)?)?, f.flagged))
        })
        .collect();
    if rows.is_empty() {
        return None;
    }
    let errors: Vec<f64> = rows
        .iter()
        .map(|(t, p, _)| (p.q50 / t - 1.0).abs())
        .collect();
    let share = |of: &dyn Fn(usize) -> bool, among: &dyn Fn(usize) -> bool| {
        let all: Vec<usize> = (0..rows.len()).filter(|i| among(*i)).collect();
        let hits = all.iter().filter(|i| of(**i)).count();
        (!all.is_empty()).then(|| hits as f64 / all.len() as f64)
    };
    let every = |_: usize| true;
    let wrong = |i: usize| errors[i] > WRONG;
    let flagged = |i: usize| rows[i].2;
    let held = |i: usize| rows[i].1.lo <= rows[i].0 && rows[i].0 <= rows[i].1.hi;
    let widths: Vec<f64> = rows.iter().map(|(_, p, _)| p.hi / p.lo).collect();
    Some(SiteScore {
        target: target.name(),
        n: rows.len(),
        mape: mean(&errors),
        median: median(&errors),
        bias: median(
            &rows
                .iter()
                .map(|(t, p, _)| (t / p.q50).ln())
                .collect::<Vec<_>>(),
        ),
        coverage: share(&held, &every)?,
        width: median(&widths),
        answered: share(&|i| !flagged(i), &every)?,
        wrong_flagged: share(&flagged, &wrong),
        right_answered: share(&|i| !flagged(i), &|i| !wrong(i)),
    })
}

/// Decisions among these rows.
pub(super) fn decided(foreseen: &[Foreseen], protocol: Protocol) -> Option<SiteDecisions> {
    let all = decisions(foreseen, protocol)?;
    let of = |p: &super::decide::PolicyScore| (p.policy, p.top1.value, p.log_regret.value);
    Some(SiteDecisions {
        n: all.n,
        policies: all.policies.iter().map(of).collect(),
    })
}
