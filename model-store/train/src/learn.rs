//! Learners of the log residual, behind one trait: what cross-validation asks of each.

use super::bins::Binned;
use super::boost::{Loss, Plan, fit};
use super::gauss::Fitted;
use super::table::Table;
use crate::advisor::features::Row;
use crate::advisor::forest::Forest;
use crate::advisor::kernel::Process;

/// How the trees of the centre are grown.
pub(super) const CENTRE: Plan = Plan {
    loss: Loss::Huber(1.0),
    trees: 300,
    rate: 0.08,
    leaves: 24,
    least_in_leaf: 3.0,
    ridge: 1.0,
    columns: 0.5,
};

/// How the trees of the spread are grown: the median of the log of what remains.
pub(super) const SPREAD: Plan = Plan {
    loss: Loss::Quantile(0.5),
    trees: 120,
    rate: 0.05,
    leaves: 15,
    least_in_leaf: 15.0,
    ridge: 1.0,
    columns: 0.5,
};

/// How each tree of a quantile forest is grown: deep, to medians, and each on other rows.
pub(super) const FOREST: Plan = Plan {
    loss: Loss::Quantile(0.5),
    trees: 1,
    rate: 1.0,
    leaves: 256,
    least_in_leaf: 2.0,
    ridge: 0.0,
    columns: 1.0,
};

/// Trees of a quantile forest.
const FOREST_TREES: u64 = 40;

/// A way to learn a residual. Rows are named by their place among those of the target.
pub(super) trait Learner {
    /// What remains of the held rows about a fit to all the others.
    fn remains_without(&self, held: &[usize]) -> Vec<f64>;
}

/// The Gaussian process, which answers from its one inverse.
pub(super) struct Gaussian<'a> {
    pub(super) fitted: &'a Fitted,
    pub(super) table: Table<'a>,
}

impl Learner for Gaussian<'_> {
    fn remains_without(&self, held: &[usize]) -> Vec<f64> {
        remains_about(self.fitted, &self.table, self.table.points, |_| true, held)
    }
}

/// Points from which it counts whether what is left out or what is left is worked with.
const MANY_POINTS: usize = 2000;

/// What remains of rows about a process that has seen none of them, points or not. `places` says
/// which of its points each row is, where it `is_own`.
pub(super) fn remains_about(
    fitted: &Fitted,
    table: &Table,
    places: &[Option<usize>],
    is_own: impl Fn(usize) -> bool,
    held: &[usize],
) -> Vec<f64> {
    let about = |process: &Process, i: usize| {
        let place = process.place(&table.rows[i], table.categories[i]);
        table.y[i] - process.mean_at(&place)
    };
    let points: Vec<usize> = held.iter().filter_map(|i| places[*i]).collect();
    if points.len() > MANY_POINTS && 2 * points.len() > fitted.points() {
        // The block of what is left out would be nearly all of the inverse.
        let mut left = vec![true; table.y.len()];
        held.iter().for_each(|i| left[*i] = false);
        if let Some(process) = fitted.anew(&table.chosen(|i| left[i] && is_own(i))) {
            return held.iter().map(|i| about(&process, *i)).collect();
        }
    }
    let remains = fitted.remains_without(&points);
    if points.len() == held.len() {
        return remains;
    }
    let process = fitted.without(&points, &remains);
    let mut of_points = remains.into_iter();
    let one = |i: &usize| {
        let point = places[*i].and_then(|_| of_points.next());
        point.unwrap_or_else(|| about(&process, *i))
    };
    held.iter().map(one).collect()
}

/// Boosted trees, which are grown anew.
pub(super) struct Trees<'a> {
    pub(super) data: &'a Binned,
    pub(super) rows: &'a [Row],
    pub(super) y: &'a [f64],
    pub(super) weights: &'a [f64],
    pub(super) plan: Plan,
}

impl Trees<'_> {
    /// Grown on all rows but those held.
    pub(super) fn without(&self, held: &[usize]) -> Forest {
        self.grown_on(&self.all_but(held))
    }

    fn grown_on(&self, rows: &[u32]) -> Forest {
        fit(self.data, rows, self.y, self.weights, self.plan)
    }

    fn all_but(&self, held: &[usize]) -> Vec<u32> {
        let mut out = vec![false; self.rows.len()];
        held.iter().for_each(|i| out[*i] = true);
        (0u32..)
            .zip(&out)
            .filter(|(_, out)| !**out)
            .map(|(i, _)| i)
            .collect()
    }
}

impl Learner for Trees<'_> {
    fn remains_without(&self, held: &[usize]) -> Vec<f64> {
        let forest = self.without(held);
        held.iter()
            .map(|i| self.y[*i] - forest.value(&self.rows[*i]))
            .collect()
    }
}

/// A quantile forest: the mean of the medians that deep trees give, each grown on as many rows
/// drawn with replacement (N. Meinshausen, Quantile Regression Forests, 2006). It serves the
/// comparison of learners and is not published.
pub(super) struct QuantileForest<'a>(pub(super) Trees<'a>);

impl Learner for QuantileForest<'_> {
    fn remains_without(&self, held: &[usize]) -> Vec<f64> {
        let trees = &self.0;
        let kept = trees.all_but(held);
        let grow = |n: u64| {
            let mut random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut draw = |_: &u32| {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                kept[(random >> 33) as usize % kept.len()]
            };
            let drawn: Vec<u32> = kept.iter().map(&mut draw).collect();
            trees.grown_on(&drawn)
        };
        let forest: Vec<_> = (1..=FOREST_TREES).map(grow).collect();
        let mean = |i: usize| {
            let values = forest.iter().map(|tree| tree.value(&trees.rows[i]));
            values.sum::<f64>() / FOREST_TREES as f64
        };
        held.iter().map(|i| trees.y[*i] - mean(*i)).collect()
    }
}
