//! Evaluation: what a model trained on one part of the runs says about the rest of them.
//!
//! From runs to an [`Evaluation`]: five-fold cross-validation by cell, unseen rows of seen cells,
//! and leaving out each source, family and GPU in turn. Every split is fitted by the product's own
//! [`train`](super::train) and predicted by the product's own
//! [`Model::predict`](crate::advisor::model::Model::predict), so nothing is judged that would not
//! be published. Predictions are made from a [`Case`](crate::advisor::Case), which holds no
//! outcome.

mod choice;
mod decide;
mod foreseen;
mod leakage;
mod learners;
pub mod new_site;
mod score;
mod split;
mod statistics;
mod strangers;

use serde::Serialize;

use crate::advisor::{Catalogue, Run};

pub use decide::{Decisions, Policy};
pub use foreseen::Foreseen;
pub use leakage::Leakage;
pub use learners::LearnerScore;
pub use new_site::NewSite;
pub use score::{Answered, GroupScore, LeftOut, TargetScore};
pub use split::{Protocol, Split, splits};
pub use statistics::Figure;
pub use strangers::Stranger;

use split::same_run_keys;

/// What to evaluate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Protocols; all where empty.
    pub protocols: Vec<Protocol>,
    /// How many assignments of cells to folds are tried.
    pub fold_seeds: u64,
    /// How many draws of unseen rows are made.
    pub row_draws: u64,
    /// How many draws of a new site's own runs are made.
    pub site_draws: u64,
    /// Nothing is learnt from the kept runs but how far the physics is off.
    pub physics_alone: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            protocols: Protocol::ALL.to_vec(),
            fold_seeds: 1,
            row_draws: 2,
            site_draws: 2,
            physics_alone: false,
        }
    }
}

/// What one evaluation found.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Rows that are scored, and how many runs there are in all.
    pub scored_rows: usize,
    /// See [`Self::scored_rows`].
    pub runs: usize,
    /// Figures of each target on unseen cells and unseen rows.
    pub targets: Vec<TargetScore>,
    /// Decisions on unseen cells.
    pub decisions: Option<Decisions>,
    /// Share of unseen rows of seen cells that are called out of support.
    pub false_abstention: Option<Figure>,
    /// Leaving out each source, family and GPU.
    pub left_out: Vec<LeftOut>,
    /// Checks that no outcome leaks into a prediction.
    pub leakage: Option<Leakage>,
    /// Each learner alone beside their mixture.
    pub learners: Vec<LearnerScore>,
    /// Each source as a new site, by how many of its own runs are known.
    pub new_site: Vec<NewSite>,
    /// Each source as a stranger, by kind of load.
    pub strangers: Vec<Stranger>,
    /// Every prediction that was judged.
    #[serde(skip)]
    pub foreseen: Vec<Foreseen>,
}

/// Evaluates. `progress` is told the name of each split before it is fitted.
pub fn evaluate(
    runs: &[Run],
    catalogue: &Catalogue,
    plan: &Plan,
    progress: &dyn Fn(&str),
) -> Evaluation {
    let wanted = |p: Protocol| plan.protocols.is_empty() || plan.protocols.contains(&p);
    let chosen: Vec<Split> = splits(runs, catalogue, plan.fold_seeds, plan.row_draws)
        .into_iter()
        .filter(|s| wanted(s.protocol))
        .collect();
    let mut foreseen: Vec<Foreseen> = Vec::new();
    for split in &chosen {
        progress(&format!("{} {}", split.protocol.name(), split.name));
        foreseen.extend(foreseen::of_split(
            runs,
            catalogue,
            split,
            plan.physics_alone,
        ));
    }
    let leakage = wanted(Protocol::Leakage).then(|| {
        progress("leakage");
        leakage::check(runs, catalogue, &chosen)
    });
    let learners = if wanted(Protocol::Learners) {
        learners::compare(runs, catalogue, progress)
    } else {
        Vec::new()
    };
    let new_site = if wanted(Protocol::NewSite) {
        new_site::each(runs, catalogue, plan, progress)
    } else {
        Vec::new()
    };
    Evaluation {
        learners,
        new_site,
        scored_rows: split::scored_rows(runs, catalogue).len(),
        runs: runs.len(),
        targets: score::targets(&foreseen),
        decisions: decide::decisions(&foreseen, Protocol::Cells),
        false_abstention: score::false_abstention(&foreseen),
        left_out: score::left_out(&foreseen),
        leakage,
        strangers: strangers::each(&foreseen),
        foreseen,
    }
}
