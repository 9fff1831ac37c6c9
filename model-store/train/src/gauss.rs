//! Fitting Gaussian processes: lengths by the marginal likelihood of a part of the rows, weights
//! from all of them, and what each row would have been taken for had it, its cell or its source
//! not been there (from blocks of one inverse, without another fit).

use std::sync::Mutex;

use super::lengths::{Found, Pairs};
use super::linalg::{Square, Triangle};
use crate::advisor::features::{Categories, Row};
use crate::advisor::kernel::{Process, Scale};
use crate::advisor::matern;

/// Most points of a process; more are thinned evenly.
pub(super) const MOST_POINTS: usize = 6500;

/// What is added to the diagonal, in variances of the process: the first that leaves a factor. The
/// covariance is good to six digits, which rows without noise can use up.
const JITTERS: [f64; 3] = [1e-6, 1e-5, 1e-4];

/// One factorisation at a time: each takes a few hundred MB.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A fitted process with what cross-validation needs of it.
pub(super) struct Fitted {
    pub(super) process: Process,
    /// Transpose of the inverse factor of the covariance.
    inverse: Triangle,
    /// Inverse covariance times the targets.
    pull: Vec<f64>,
    shape: Shape,
}

/// What is believed of a process apart from its points.
struct Shape {
    found: Found,
    /// Unit of the targets.
    unit: f64,
    level: Level,
}

/// What a process is fitted to.
pub(super) struct Rows<'a> {
    pub(super) rows: Vec<&'a Row>,
    pub(super) categories: Vec<Categories>,
    pub(super) y: Vec<f64>,
    /// The noise of a row is divided by its weight.
    pub(super) weights: Vec<f64>,
}

/// What is believed of the level of a process before its rows are seen: a normal distribution. The
/// rows then move it, and rows that are left out no longer do.
#[derive(Clone, Copy)]
pub(super) struct Level {
    /// Mean.
    pub(super) mean: f64,
    /// Variance.
    pub(super) variance: f64,
}

impl Level {
    /// About the middle of these targets, and little more than a place to start from: what is
    /// believed weighs a tenth of one row.
    pub(super) fn about(y: &[f64]) -> Self {
        let mean = median(y);
        let variance = 10.0 * variance_about(mean, y);
        Self { mean, variance }
    }
}

/// Mean square of the distances from a level.
fn variance_about(level: f64, y: &[f64]) -> f64 {
    y.iter().map(|v| (v - level).powi(2)).sum::<f64>() / y.len().max(1) as f64
}

/// Fits a process.
pub(super) fn fit(of: &Rows, level: Level) -> Option<Fitted> {
    let scale = Scale::of(&of.rows);
    let unit = variance_about(median(&of.y), &of.y).sqrt() + 1e-6;
    let step = level.variance / (unit * unit);
    let z = in_units(&of.y, unit, level);
    let found = Pairs::of(&of.rows, &of.categories, &z, &scale, step).most_likely();
    let mut process = Process::at(&of.rows, &of.categories, scale, &found.weights);
    let shape = Shape { found, unit, level };
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let inverse = shape.factor(&process, of)?.into_inverse_of_factor();
    let pull = inverse.inverse_times(&z);
    process.noise = (shape.found.noise / shape.found.variance) as f32;
    Some(Fitted {
        process: shape.pulled(&process, &pull),
        inverse,
        pull,
        shape,
    })
}

fn in_units(y: &[f64], unit: f64, level: Level) -> Vec<f64> {
    y.iter().map(|v| (v - level.mean) / unit).collect()
}

impl Shape {
    /// Factor of the covariance of these rows; `None` where it is not positive definite.
    fn factor(&self, process: &Process, of: &Rows) -> Option<Square> {
        let Found {
            variance, noise, ..
        } = self.found;
        let step = self.level.variance / (self.unit * self.unit);
        JITTERS.iter().find_map(|jitter| {
            let mut covariance = covariance(process, &of.rows, &of.categories, variance);
            covariance.at.iter_mut().for_each(|k| *k += step);
            for (i, w) in of.weights.iter().enumerate() {
                covariance.at[i * of.rows.len() + i] += noise / w + jitter * variance.max(1.0);
            }
            covariance.cholesky().then_some(covariance)
        })
    }

    /// The process with these pulls, in units of the targets.
    fn pulled(&self, process: &Process, pull: &[f64]) -> Process {
        // The part of the level that the rows show.
        let shown = self.level.variance / self.unit * pull.iter().sum::<f64>();
        let unit = self.found.variance * self.unit;
        let mut process = process.clone();
        process.mean = (self.level.mean + shown) as f32;
        process.pull = pull.iter().map(|p| (p * unit) as f32).collect();
        process
    }
}

impl Fitted {
    /// What remains of each of these rows about what the others say of them.
    pub(super) fn remains_without(&self, chosen: &[usize]) -> Vec<f64> {
        let mut block = self.inverse.inverse_block(chosen);
        let pull: Vec<f64> = chosen
            .iter()
            .map(|i| self.pull[*i] * self.shape.unit)
            .collect();
        if block.cholesky() {
            block.solve(&pull)
        } else {
            pull
        }
    }

    /// The process as it would be without these points, of which so much remains about it.
    pub(super) fn without(&self, chosen: &[usize], remains: &[f64]) -> Process {
        // The inverse of what is left is the inverse less its columns of the chosen, times what
        // remains of them; their own pull is then 0.
        let mut left_out = vec![0.0; self.pull.len()];
        for (i, r) in chosen.iter().zip(remains) {
            left_out[*i] = r / self.shape.unit;
        }
        let less = self.inverse.inverse_times(&left_out);
        let mut pull: Vec<f64> = self.pull.iter().zip(less).map(|(p, l)| p - l).collect();
        chosen.iter().for_each(|i| pull[*i] = 0.0);
        self.shape.pulled(&self.process, &pull)
    }

    /// How many points it has.
    pub(super) fn points(&self) -> usize {
        self.pull.len()
    }

    /// A process of other rows with the lengths of this one.
    pub(super) fn anew(&self, of: &Rows) -> Option<Process> {
        let Shape { found, unit, level } = &self.shape;
        let scale = self.process.scale.clone();
        let process = Process::at(&of.rows, &of.categories, scale, &found.weights);
        let factor = self.shape.factor(&process, of)?;
        let pull = factor.solve(&in_units(&of.y, *unit, *level));
        Some(self.shape.pulled(&process, &pull))
    }

    /// The published part.
    pub(super) fn into_process(self) -> Process {
        self.process
    }
}

fn median(y: &[f64]) -> f64 {
    let mut sorted = y.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// The lower triangle of the covariance of all points, row by row.
fn covariance(
    process: &Process,
    rows: &[&Row],
    categories: &[Categories],
    variance: f64,
) -> Square {
    let n = rows.len();
    let mut out = Square::zeros(n);
    for (i, (row, codes)) in rows.iter().zip(categories).enumerate() {
        let distances = process.distances(&process.place(row, *codes));
        for (k, d) in out.at[i * n..i * n + i + 1].iter_mut().zip(distances) {
            *k = variance * f64::from(matern(d));
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::advisor::features::{CATEGORIES, FEATURES};

    pub(crate) fn rows(n: usize) -> (Vec<Row>, Vec<Categories>, Vec<f64>) {
        let mut random = 5u64;
        let mut unit = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (random >> 40) as f32 / (1u64 << 24) as f32
        };
        let rows: Vec<Row> = (0..n)
            .map(|_| {
                let mut row = [0.0; FEATURES];
                row[crate::advisor::features::PLACE[0]] = unit();
                row[crate::advisor::features::PLACE[1]] = unit();
                row
            })
            .collect();
        let y = rows
            .iter()
            .map(|r| f64::from((r[crate::advisor::features::PLACE[0]] * 6.0).sin()))
            .collect();
        (rows, vec![[0; CATEGORIES]; n], y)
    }

    #[test]
    fn leaving_rows_out_by_blocks_is_leaving_them_out() {
        let (rows, categories, y) = rows(120);
        let all: Vec<&Row> = rows.iter().collect();
        let of = Rows {
            rows: all,
            categories: categories.clone(),
            y: y.clone(),
            weights: vec![1.0; 120],
        };
        let far = Level {
            mean: -1.0,
            variance: 2.0,
        };
        for level in [Level::about(&y), far] {
            let fitted = fit(&of, level).unwrap();
            let held: Vec<usize> = (0..20).collect();
            let remains = fitted.remains_without(&held);
            assert!(remains.iter().all(|r| r.abs() < 0.2), "{remains:?}");
            let without = fitted.without(&held, &remains);
            for i in 0..20 {
                let place = fitted.process.place(&rows[i], categories[i]);
                let mean = fitted.process.mean_at(&place);
                assert!((mean - y[i]).abs() < 0.05, "{mean} {}", y[i]);
                let unseen = without.mean_at(&place);
                assert!((y[i] - unseen - remains[i]).abs() < 1e-3, "{unseen}");
            }
            let left = Rows {
                rows: of.rows[20..].to_vec(),
                categories: categories[20..].to_vec(),
                y: y[20..].to_vec(),
                weights: vec![1.0; 100],
            };
            let anew = fitted.anew(&left).unwrap();
            for i in 0..20 {
                let place = anew.place(&rows[i], categories[i]);
                let mean = anew.mean_at(&place);
                assert!((y[i] - mean - remains[i]).abs() < 1e-3, "{mean}");
            }
        }
    }
}
