//! Processes of single stacks (engine and workload): a stack with many runs has lengths of its own,
//! and its rows say more of each other than another stack's do.

use std::collections::BTreeMap;

use super::gauss::{Fitted, Level, fit};
use super::learn::{Learner, remains_about};
use super::table::Table;
use crate::advisor::features::stack;
use crate::advisor::model::{Local, Shares};

/// Fewest points of a stack from which it gets a process of its own.
const FEWEST_ROWS: usize = 100;

/// Of all rows in one stack, its process would be the common one again.
const LARGEST_SHARE: f64 = 0.9;

/// Largest relative error that counts when shares are compared: a few hopeless rows must not
/// decide.
const LARGEST_ERROR: f64 = 3.0;

/// Rows at which a stack's own errors weigh as much as those of all stacks when its shares are
/// chosen.
const SHRINKAGE: f64 = 30.0;

/// Steps of a share that are tried.
const STEPS: u32 = 10;

/// The fitted processes of all stacks that have one.
pub(super) struct Locals<'a> {
    table: Table<'a>,
    stacks: Vec<([u16; 2], Fitted)>,
    /// Stack of each row whose stack has a process.
    stack_of: Vec<Option<usize>>,
    /// Place of each row among the points of its stack, where it is one.
    place_of: Vec<Option<usize>>,
}

impl<'a> Locals<'a> {
    /// Fits one process a stack that has enough points.
    pub(super) fn fit(table: Table<'a>) -> Self {
        let stacks: Vec<[u16; 2]> = table.categories.iter().map(|c| stack(*c)).collect();
        let mut counts: BTreeMap<[u16; 2], usize> = BTreeMap::new();
        for (stack, _) in stacks.iter().zip(table.points).filter(|(_, p)| p.is_some()) {
            *counts.entry(*stack).or_default() += 1;
        }
        let all: usize = counts.values().sum();
        counts.retain(|_, n| *n >= FEWEST_ROWS && (*n as f64) < LARGEST_SHARE * all as f64);
        let level = level_of_all(&table);
        let fitted: Vec<([u16; 2], Fitted)> = counts
            .into_keys()
            .filter_map(|s| Some((s, fit(&table.chosen(|i| stacks[i] == s), level)?)))
            .collect();
        let stack_of: Vec<Option<usize>> = stacks
            .iter()
            .map(|s| fitted.binary_search_by_key(s, |(own, _)| *own).ok())
            .collect();
        Self {
            place_of: places(&stack_of, table.points, fitted.len()),
            table,
            stacks: fitted,
            stack_of,
        }
    }

    /// True where a row's stack has a process of its own.
    pub(super) fn has(&self, row: usize) -> bool {
        self.stack_of[row].is_some()
    }

    /// True for each stack that would have a process without these rows too.
    pub(super) fn remaining(&self, held: &[usize]) -> Vec<bool> {
        let mut points = vec![0; self.stacks.len()];
        for (stack, _) in self
            .stack_of
            .iter()
            .zip(&self.place_of)
            .filter(|(_, p)| p.is_some())
        {
            stack.iter().for_each(|s| points[*s] += 1);
        }
        for i in held.iter().filter(|i| self.place_of[**i].is_some()) {
            self.stack_of[*i].iter().for_each(|s| points[*s] -= 1);
        }
        points.iter().map(|n| *n >= FEWEST_ROWS).collect()
    }

    /// What `per_stack` says of a row's stack; `otherwise` where it has no process of its own.
    pub(super) fn of<T: Copy>(&self, per_stack: &[T], row: usize, otherwise: T) -> T {
        self.stack_of[row].map_or(otherwise, |s| per_stack[s])
    }

    /// The shares of each stack at which its held-out rows err least: residuals about the common
    /// process, the stack's own and the trees. A stack with few rows follows all stacks.
    pub(super) fn shares(&self, remains: [&[f64]; 3]) -> Vec<Shares> {
        let tried = every_mixture();
        let mut losses = vec![vec![0.0; tried.len()]; self.stacks.len()];
        let mut rows = vec![0.0; self.stacks.len()];
        for (i, s) in self.stack_of.iter().enumerate() {
            let Some(s) = *s else { continue };
            rows[s] += 1.0;
            for (loss, shares) in losses[s].iter_mut().zip(&tried) {
                *loss += relative_error(shares.mix(remains[0][i], remains[1][i], remains[2][i]));
            }
        }
        let all: f64 = rows.iter().sum::<f64>().max(1.0);
        let of_all = |k: usize| losses.iter().map(|l| l[k]).sum::<f64>() / all;
        let best = |own: &Vec<f64>| {
            let loss = |k: &usize| own[*k] + SHRINKAGE * of_all(*k);
            let best = (0..tried.len()).min_by(|a, b| loss(a).total_cmp(&loss(b)));
            best.map_or_else(Shares::default, |k| tried[k])
        };
        losses.iter().map(best).collect()
    }

    /// The published part.
    pub(super) fn publish(self, shares: &[Shares]) -> Vec<Local> {
        let publish = |((stack, fitted), shares): (([u16; 2], Fitted), &Shares)| Local {
            stack,
            process: fitted.into_process(),
            shares: *shares,
        };
        self.stacks.into_iter().zip(shares).map(publish).collect()
    }
}

impl Learner for Locals<'_> {
    /// Zero for a row whose stack has no process of its own.
    fn remains_without(&self, held: &[usize]) -> Vec<f64> {
        let mut out = vec![0.0; held.len()];
        for (s, (_, fitted)) in self.stacks.iter().enumerate() {
            let is_own = |i: usize| self.stack_of[i] == Some(s);
            let places: Vec<usize> = (0..held.len()).filter(|at| is_own(held[*at])).collect();
            let rows: Vec<usize> = places.iter().map(|at| held[*at]).collect();
            let remains = remains_about(fitted, &self.table, &self.place_of, is_own, &rows);
            for (at, r) in places.iter().zip(remains) {
                out[*at] = r;
            }
        }
        out
    }
}

/// The place of each row among the points of its stack.
fn places(
    stack_of: &[Option<usize>],
    points: &[Option<usize>],
    stacks: usize,
) -> Vec<Option<usize>> {
    let mut next = vec![0; stacks];
    let mut place = |(stack, point): (&Option<usize>, &Option<usize>)| {
        let s = point.and(*stack)?;
        next[s] += 1;
        Some(next[s] - 1)
    };
    stack_of.iter().zip(points).map(&mut place).collect()
}

/// Mean and variance of all rows: what a stack's level is believed to be before its rows are seen.
fn level_of_all(table: &Table) -> Level {
    let n = table.y.len().max(1) as f64;
    let mean = table.y.iter().sum::<f64>() / n;
    let variance = table.y.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / n;
    Level { mean, variance }
}

/// Shares in steps of a tenth.
fn every_mixture() -> Vec<Shares> {
    let share = |tenths: u32| tenths as f32 / STEPS as f32;
    let of = |process: u32, local: u32| Shares {
        process: share(process),
        local: share(local),
        trees: share(STEPS - process - local),
    };
    (0..=STEPS)
        .flat_map(|p| (0..=STEPS - p).map(move |l| of(p, l)))
        .collect()
}

/// The share of the first residuals in their sum with the second at which held-out rows err least.
pub(super) fn common_shares(process: &[f64], trees: &[f64]) -> Shares {
    let loss = |shares: &Shares| -> f64 {
        let both = process.iter().zip(trees);
        both.map(|(p, t)| relative_error(shares.mix(*p, 0.0, *t)))
            .sum()
    };
    every_mixture()
        .into_iter()
        .filter(|shares| shares.local == 0.0)
        .min_by(|a, b| loss(a).total_cmp(&loss(b)))
        .unwrap_or_default()
}

/// Relative error of a prediction that is off by this much in logarithms.
fn relative_error(log: f64) -> f64 {
    ((-log.clamp(-3.0, 3.0)).exp() - 1.0)
        .abs()
        .min(LARGEST_ERROR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advisor::features::{CATEGORIES, FEATURES, PLACE};
    use crate::advisor::features::{Categories, Row};

    /// Rows of one target, each of weight 1.
    struct Data {
        rows: Vec<Row>,
        categories: Vec<Categories>,
        y: Vec<f64>,
        points: Vec<Option<usize>>,
    }

    impl Data {
        fn locals(&self) -> Locals<'_> {
            Locals::fit(Table {
                rows: &self.rows,
                categories: &self.categories,
                y: &self.y,
                weights: &[1.0; 600][..self.y.len()],
                points: &self.points,
            })
        }
    }

    /// Two stacks whose rows follow different curves at different levels.
    fn two_stacks() -> Data {
        let one = |i: usize| {
            let x = (i / 2) as f32 / 150.0;
            let own = (i % 2) as u16;
            let mut row = [0.0; FEATURES];
            row[PLACE[0]] = x;
            let mut categories = [0; CATEGORIES];
            categories[6] = own;
            let y = f64::from(own) * 5.0 + f64::from((x * (3.0 + 20.0 * f32::from(own))).sin());
            (row, categories, y)
        };
        let all: Vec<_> = (0..300).map(one).collect();
        Data {
            rows: all.iter().map(|a| a.0).collect(),
            categories: all.iter().map(|a| a.1).collect(),
            y: all.iter().map(|a| a.2).collect(),
            points: (0..300).map(Some).collect(),
        }
    }

    #[test]
    fn a_stack_that_is_left_out_does_not_keep_its_level() {
        let data = two_stacks();
        let locals = data.locals();
        assert_eq!(locals.stacks.len(), 2);
        let beside: Vec<usize> = (101..140).step_by(2).collect();
        let near = locals.remains_without(&beside);
        assert!(near.iter().all(|r| r.abs() < 0.2), "{near:?}");
        // All of it gone, what is left is the level of everything: 2.5 here, not 5.
        let all: Vec<usize> = (1..300).step_by(2).collect();
        let far = locals.remains_without(&all);
        let mean = far.iter().sum::<f64>() / far.len() as f64;
        assert!((2.0..3.2).contains(&mean), "{mean}");
    }

    #[test]
    fn a_row_that_is_no_point_is_judged_without_its_cell_too() {
        let once = two_stacks();
        let twice = |i: usize| i % 300;
        let mut data = Data {
            rows: (0..600).map(|i| once.rows[twice(i)]).collect(),
            categories: (0..600).map(|i| once.categories[twice(i)]).collect(),
            y: (0..600).map(|i| once.y[twice(i)]).collect(),
            points: (0..600).map(|i| (i < 300).then_some(i)).collect(),
        };
        // Those that are no points repeat a point, whose own wrong value must not speak for them.
        for wrong in [40, 41, 340, 341] {
            data.y[wrong] += 3.0;
        }
        let locals = data.locals();
        let remains = locals.remains_without(&[40, 340, 41, 341]);
        for pair in remains.chunks_exact(2) {
            assert!(pair[0] > 2.0, "{remains:?}");
            assert!((pair[0] - pair[1]).abs() < 1e-2, "{remains:?}");
        }
    }

    #[test]
    fn a_stack_that_is_left_out_has_no_process() {
        let data = two_stacks();
        let locals = data.locals();
        let most: Vec<usize> = (1..200).step_by(2).collect();
        assert_eq!(locals.remaining(&[]), [true, true]);
        assert_eq!(locals.remaining(&most), [true, false]);
    }

    #[test]
    fn shares_go_to_the_learner_that_is_right() {
        let data = two_stacks();
        let locals = data.locals();
        let (bad, good) = (vec![0.5; 300], vec![0.0; 300]);
        let shares = locals.shares([&bad, &good, &bad]);
        assert_eq!(shares.len(), 2);
        assert!(shares.iter().all(|s| s.local == 1.0), "{shares:?}");
        assert_eq!(common_shares(&good, &bad).process, 1.0);
    }
}
