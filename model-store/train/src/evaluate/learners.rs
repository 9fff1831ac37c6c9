//! Each learner alone beside their mixture, on cells that it did not see.

use serde::Serialize;

use super::super::centre::{Centre, Learners};
use super::super::fit::{Ready, Table};
use super::super::learn::{FOREST, QuantileForest};
use super::super::prepare::prepare;
use super::split::is_scored;
use super::statistics::{Figure, median};
use crate::advisor::{Catalogue, Run, Target};

/// One learner on one target.
#[derive(Clone, Debug, Serialize)]
pub struct LearnerScore {
    /// Target name.
    pub target: &'static str,
    /// Learner.
    pub learner: &'static str,
    /// Mean absolute percentage error, as a share.
    pub mape: Figure,
    /// Median absolute percentage error, as a share.
    pub median: Figure,
}

/// Scores each learner on the folds by cell that training itself holds out. Lengths of processes
/// and shares of the mixture have seen these rows; what a fold's rows are predicted from has not.
pub(super) fn compare(
    runs: &[Run],
    catalogue: &Catalogue,
    progress: &dyn Fn(&str),
) -> Vec<LearnerScore> {
    let prepared = prepare(runs, catalogue);
    let codes = prepared.codes();
    let (rows, categories) = (prepared.rows(&codes), prepared.categories(&codes));
    let table = Table {
        samples: &prepared.samples,
        rows: &rows,
        categories: &categories,
    };
    let mut out = Vec::new();
    for target in [
        Target::OutputTokS,
        Target::TtftMs,
        Target::TpotMs,
        Target::PowerW,
    ] {
        progress(&format!("learners {}", target.name()));
        out.extend(of_target(&table, target));
    }
    out
}

fn of_target(table: &Table, target: Target) -> Vec<LearnerScore> {
    let task = table.task(target, |_| true);
    let Some(ready) = Ready::new(&task) else {
        return Vec::new();
    };
    let held = ready.held();
    let score = |learner, remains: &[f64]| {
        let scored = task.samples.iter().zip(remains);
        let errors: Vec<(u64, f64)> = scored
            .filter(|(s, _)| is_scored(s))
            .map(|(s, r)| (s.cell, ((-r).exp() - 1.0).abs()))
            .collect();
        Some(LearnerScore {
            target: target.name(),
            learner,
            mape: Figure::mean(&errors)?,
            median: Figure::of(&errors, median)?,
        })
    };
    let Learners {
        common,
        locals,
        trees,
    } = ready.learners();
    let by_common = held.out_of_fold(&common);
    let by_local: Vec<f64> = held
        .out_of_fold(locals)
        .iter()
        .enumerate()
        .map(|(i, r)| if locals.has(i) { *r } else { by_common[i] })
        .collect();
    let forest = QuantileForest(ready.trees(FOREST));
    let learners: [(&str, Vec<f64>); 4] = [
        ("process", by_common),
        ("stack processes", by_local),
        ("boosted trees", held.out_of_fold(&trees)),
        ("quantile forest", held.out_of_fold(&forest)),
    ];
    let mut out: Vec<LearnerScore> = learners
        .iter()
        .filter_map(|(name, remains)| score(*name, remains))
        .collect();
    let centre = Centre::choose(ready.learners(), &held);
    out.extend(score("their mixture", &centre.remains));
    out.extend(score("physics alone", ready.targets()));
    out
}
