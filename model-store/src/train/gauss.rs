//! Fitting Gaussian processes: lengths by the marginal likelihood of a part of the rows, weights
//! from all of them, and what each row would have been taken for had it, its cell or its source
//! not been there (from blocks of one inverse, without another fit).

use std::sync::Mutex;

use super::linalg::Square;
use crate::advisor::features::{CATEGORIES, Categories, Row};
use crate::advisor::kernel::{NUMBERS, Process, Scale};
use crate::advisor::matern;

/// Rows to which lengths are fitted. 900 of them gave the same errors on unseen cells.
const SUBSET: usize = 500;

/// Most points of a process; more are thinned evenly.
pub(super) const MOST_POINTS: usize = 6500;

/// Steps of the search for lengths.
const SEARCH: usize = 70;

/// What is added to the diagonal, in variances of the process: the first that leaves a factor. The
/// covariance is good to six digits, which rows without noise can use up.
const JITTERS: [f64; 3] = [1e-6, 1e-5, 1e-4];

/// Lengths, categories, level of the process, noise.
const PARAMETERS: usize = NUMBERS + CATEGORIES + 2;

/// One factorisation at a time: each takes a few hundred MB.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Logarithms of: weights of the numbers, of the categories, variance of the process, of the noise.
type Parameters = [f64; PARAMETERS];

/// A fitted process with what cross-validation needs of it.
pub(super) struct Fitted {
    pub(super) process: Process,
    /// Transpose of the inverse factor of the covariance.
    inverse: Square,
    /// Inverse covariance times the targets.
    pull: Vec<f64>,
    /// Unit of the targets.
    unit: f64,
    /// Variance of the process, in units of the targets.
    variance: f64,
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
    let Rows {
        rows,
        categories,
        y,
        weights,
    } = of;
    let scale = Scale::of(rows);
    let unit = variance_about(median(y), y).sqrt() + 1e-6;
    let step = level.variance / (unit * unit);
    let z: Vec<f64> = y.iter().map(|v| (v - level.mean) / unit).collect();
    let pairs = Pairs::of(rows, categories, &z, &scale, step);
    let parameters = super::descent::minimise(prior(), SEARCH, |p| pairs.loss(p), bounds);
    let weight: Vec<f64> = parameters[..NUMBERS + CATEGORIES]
        .iter()
        .map(|p| p.exp())
        .collect();
    let mut process = Process::at(rows, categories, scale, &weight);
    let _turn = ONE_AT_A_TIME
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let variance = parameters[PARAMETERS - 2].exp();
    let noise = parameters[PARAMETERS - 1].exp();
    let factor = JITTERS.iter().find_map(|jitter| {
        let mut covariance = covariance(&process, rows, categories, variance);
        covariance.at.iter_mut().for_each(|k| *k += step);
        for (i, w) in weights.iter().enumerate() {
            covariance.at[i * rows.len() + i] += noise / w + jitter * variance.max(1.0);
        }
        covariance.cholesky().then_some(covariance)
    })?;
    let inverse = factor.inverse_of_factor();
    drop(factor);
    let pull = inverse.inverse_times(&z);
    process.noise = (noise / variance) as f32;
    let mut fitted = Fitted {
        process,
        inverse,
        pull: Vec::new(),
        unit,
        variance,
        level,
    };
    fitted.process = fitted.pulled(&pull);
    fitted.pull = pull;
    Some(fitted)
}

impl Fitted {
    /// What remains of each of these rows about what the others say of them.
    pub(super) fn remains_without(&self, chosen: &[usize]) -> Vec<f64> {
        let mut block = self.inverse.inverse_block(chosen);
        let pull: Vec<f64> = chosen.iter().map(|i| self.pull[*i] * self.unit).collect();
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
            left_out[*i] = r / self.unit;
        }
        let less = self.inverse.inverse_times(&left_out);
        let mut pull: Vec<f64> = self.pull.iter().zip(less).map(|(p, l)| p - l).collect();
        chosen.iter().for_each(|i| pull[*i] = 0.0);
        self.pulled(&pull)
    }

    /// The process with these pulls, in units of the targets.
    fn pulled(&self, pull: &[f64]) -> Process {
        // The part of the level that the rows show.
        let shown = self.level.variance / self.unit * pull.iter().sum::<f64>();
        let unit = self.variance * self.unit;
        let mut process = self.process.clone();
        process.mean = (self.level.mean + shown) as f32;
        process.pull = pull.iter().map(|p| (p * unit) as f32).collect();
        process
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

/// Squared distances of the pairs of a subset in each dimension, dimension by dimension.
struct Pairs {
    m: usize,
    apart: Vec<Vec<f32>>,
    z: Vec<f64>,
    /// Variance of the level that all share.
    step: f64,
}

/// Where the search starts and what it believes: every length long, little noise.
fn prior() -> Parameters {
    let mut out = [0.15_f64.ln(); PARAMETERS];
    out[NUMBERS..NUMBERS + CATEGORIES].fill(0.3_f64.ln());
    out[PARAMETERS - 2] = 0.0;
    out[PARAMETERS - 1] = 0.01_f64.ln();
    out
}

/// Variances of the belief.
fn belief(i: usize) -> f64 {
    if i == PARAMETERS - 1 { 9.0 } else { 4.0 }
}

fn bounds(i: usize) -> (f64, f64) {
    match i {
        _ if i == PARAMETERS - 1 => (-12.0, 0.0),
        _ if i == PARAMETERS - 2 => (-4.0, 5.0),
        _ => (-9.0, 4.0),
    }
}

impl Pairs {
    fn of(rows: &[&Row], categories: &[Categories], z: &[f64], scale: &Scale, step: f64) -> Self {
        // Spread over the rows by a fixed shuffle: rows are sorted by source.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|i| {
            (*i as u64 + 1)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(23)
                .wrapping_mul(0xbf58_476d_1ce4_e5b9)
        });
        order.truncate(SUBSET);
        let m = order.len();
        let numbers: Vec<[f32; NUMBERS]> = order.iter().map(|i| scale.standard(rows[*i])).collect();
        let codes: Vec<Categories> = order.iter().map(|i| categories[*i]).collect();
        let pair = |of: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
            (0..m)
                .flat_map(|a| (0..a).map(move |b| (a, b)))
                .map(|(a, b)| of(a, b))
                .collect()
        };
        let mut apart = Vec::with_capacity(NUMBERS + CATEGORIES);
        apart.extend((0..NUMBERS).map(|d| pair(&|a, b| (numbers[a][d] - numbers[b][d]).powi(2))));
        apart.extend((0..CATEGORIES).map(|d| {
            let same = |a: usize, b: usize| codes[a][d] == codes[b][d] && codes[a][d] != u16::MAX;
            pair(&|a, b| if same(a, b) { 0.0 } else { 1.0 })
        }));
        Self {
            m,
            apart,
            z: order.iter().map(|i| z[*i]).collect(),
            step,
        }
    }

    /// Negative log posterior of the parameters, and its gradient.
    fn loss(&self, p: &Parameters) -> Option<(f64, Parameters)> {
        let m = self.m;
        let (variance, noise) = (p[PARAMETERS - 2].exp(), p[PARAMETERS - 1].exp());
        let mut distance = vec![0.0f32; m * m.saturating_sub(1) / 2];
        for (apart, p) in self.apart.iter().zip(p) {
            let w = p.exp() as f32;
            distance
                .iter_mut()
                .zip(apart)
                .for_each(|(sum, d)| *sum += w * d);
        }
        let mut factor = Square::zeros(m);
        let mut pair = distance.iter();
        for a in 0..m {
            for (b, k) in factor.at[a * m..a * m + a + 1].iter_mut().enumerate() {
                *k = if a == b {
                    self.step + variance + noise + 1e-6
                } else {
                    let covariance = pair.next().map_or(0.0, |d| f64::from(matern(*d)));
                    self.step + variance * covariance
                };
            }
        }
        if !factor.cholesky() {
            return None;
        }
        let half_log_determinant: f64 = (0..m).map(|i| factor.at[i * m + i].ln()).sum();
        let upper = factor.inverse_of_factor();
        let a = upper.inverse_times(&self.z);
        let inverse = upper.inverse_block(&(0..m).collect::<Vec<_>>());
        let fit: f64 = self.z.iter().zip(&a).map(|(z, a)| z * a).sum();
        let mut loss = 0.5 * fit + half_log_determinant;
        let mut gradient = [0.0; PARAMETERS];
        // Twice the derivative by each pair's covariance, and that by its squared distance.
        let mut by_distance = vec![0.0f32; distance.len()];
        let mut by_variance = 0.0;
        let mut trace = 0.0;
        let mut at = 0;
        for i in 0..m {
            for j in 0..i {
                let d = distance[at];
                let pull = inverse.at[i * m + j] - a[i] * a[j];
                let r = (3.0 * d).sqrt();
                let k = matern(d);
                by_variance += pull * f64::from(k);
                by_distance[at] = (pull * variance) as f32 * -1.5 * k / (1.0 + r);
                at += 1;
            }
            trace += inverse.at[i * m + i] - a[i] * a[i];
        }
        for ((g, apart), p) in gradient.iter_mut().zip(&self.apart).zip(p) {
            let sum: f64 = apart
                .chunks(512)
                .zip(by_distance.chunks(512))
                .map(|(x, y)| f64::from(dot(x, y)))
                .sum();
            *g = sum * p.exp();
        }
        gradient[PARAMETERS - 2] = (by_variance + 0.5 * trace) * variance;
        gradient[PARAMETERS - 1] = 0.5 * trace * noise;
        for (i, (q, g)) in prior().iter().zip(gradient.iter_mut()).enumerate() {
            loss += 0.5 * (p[i] - q).powi(2) / belief(i);
            *g += (p[i] - q) / belief(i);
        }
        Some((loss, gradient))
    }
}

/// Sum of products, in eight lanes so that it can be vectorised without changing its order.
fn dot(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    for (x, y) in x.chunks_exact(8).zip(y.chunks_exact(8)) {
        for (sum, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    let rest: f32 = x
        .chunks_exact(8)
        .remainder()
        .iter()
        .zip(y.chunks_exact(8).remainder())
        .map(|(x, y)| x * y)
        .sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advisor::features::FEATURES;

    fn rows(n: usize) -> (Vec<Row>, Vec<Categories>, Vec<f64>) {
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
    fn the_gradient_is_that_of_the_loss() {
        let (rows, categories, y) = rows(60);
        let all: Vec<&Row> = rows.iter().collect();
        let scale = Scale::of(&all);
        let pairs = Pairs::of(&all, &categories, &y, &scale, 0.3);
        let p = prior();
        let (_, gradient) = pairs.loss(&p).unwrap();
        for i in [0, 1, PARAMETERS - 2, PARAMETERS - 1] {
            let step = |h: f64| {
                let mut q = p;
                q[i] += h;
                pairs.loss(&q).unwrap().0
            };
            let numeric = (step(1e-3) - step(-1e-3)) / 2e-3;
            assert!(
                (numeric - gradient[i]).abs() < 1e-2 * (1.0 + numeric.abs()),
                "{i}: {numeric} {}",
                gradient[i]
            );
        }
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
        }
    }
}
