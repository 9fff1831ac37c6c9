//! How far apart two setups count: the lengths of a process, the most likely ones by the marginal
//! likelihood of a part of its rows (C. Rasmussen, C. Williams, Gaussian Processes for Machine
//! Learning, 2006, chapter 5).

use super::linalg::Square;
use super::loops::{add_scaled, dot, materns, slopes};
use crate::advisor::features::{CATEGORIES, Categories, Row};
use crate::advisor::kernel::{NUMBERS, Scale};

/// Rows to which lengths are fitted. 900 of them gave the same errors on unseen cells.
const SUBSET: usize = 500;

/// Steps of the search for lengths.
const SEARCH: usize = 70;

/// Lengths, categories, level of the process, noise.
const PARAMETERS: usize = NUMBERS + CATEGORIES + 2;

/// Pairs that are worked on at a time: they stay in the processor's nearest memory.
const CHUNK: usize = 4096;

/// Logarithms of: weights of the numbers, of the categories, variance of the process, of the noise.
type Parameters = [f64; PARAMETERS];

/// What was found most likely.
pub(super) struct Found {
    /// Weights of the squared distances: of each number in standard deviations, of each category.
    pub(super) weights: Vec<f64>,
    /// Variance of the process, in units of the targets.
    pub(super) variance: f64,
    /// Variance of the noise, likewise.
    pub(super) noise: f64,
}

/// Pairs of a subset of the rows.
pub(super) struct Pairs {
    m: usize,
    /// The dimensions in which some pair differs, with the squared distances of all pairs.
    apart: Vec<(usize, Vec<f32>)>,
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
    /// Of these rows, with targets `z` in units of their spread; `step` is the variance of their level.
    pub(super) fn of(
        rows: &[&Row],
        categories: &[Categories],
        z: &[f64],
        scale: &Scale,
        step: f64,
    ) -> Self {
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
        let of_number = |d: usize| pair(&|a, b| (numbers[a][d] - numbers[b][d]).powi(2));
        let of_category = |d: usize| {
            let same = |a: usize, b: usize| codes[a][d] == codes[b][d] && codes[a][d] != u16::MAX;
            pair(&|a, b| if same(a, b) { 0.0 } else { 1.0 })
        };
        let apart = (0..NUMBERS)
            .map(of_number)
            .chain((0..CATEGORIES).map(of_category))
            .enumerate()
            .filter(|(_, apart)| apart.iter().any(|d| *d != 0.0));
        Self {
            m,
            apart: apart.collect(),
            z: order.iter().map(|i| z[*i]).collect(),
            step,
        }
    }

    /// The most likely parameters.
    pub(super) fn most_likely(&self) -> Found {
        let found = super::descent::minimise(prior(), SEARCH, |p| self.loss(p), bounds);
        let exp = |p: &f64| p.exp();
        Found {
            weights: found[..NUMBERS + CATEGORIES].iter().map(exp).collect(),
            variance: found[PARAMETERS - 2].exp(),
            noise: found[PARAMETERS - 1].exp(),
        }
    }

    /// Squared distances of the pairs.
    fn distances(&self, p: &Parameters) -> Vec<f32> {
        let mut out = vec![0.0f32; self.m * self.m.saturating_sub(1) / 2];
        for (at, sums) in out.chunks_mut(CHUNK).enumerate() {
            for (d, apart) in &self.apart {
                add_scaled(sums, p[*d].exp() as f32, &apart[at * CHUNK..]);
            }
        }
        out
    }

    /// Factor of the covariance, whose pairs are given as shares of the process's variance.
    fn factor(&self, pairs: &[f32], variance: f64, noise: f64) -> Option<Square> {
        let mut out = Square::zeros(self.m);
        let mut pair = pairs.iter();
        for (a, row) in out.at.chunks_exact_mut(self.m.max(1)).enumerate() {
            for (out, k) in row[..a].iter_mut().zip(&mut pair) {
                *out = self.step + variance * f64::from(*k);
            }
            row[a] = self.step + variance + noise + 1e-6;
        }
        out.cholesky().then_some(out)
    }

    /// Negative log posterior of the parameters, and its gradient.
    fn loss(&self, p: &Parameters) -> Option<(f64, Parameters)> {
        let m = self.m;
        let (variance, noise) = (p[PARAMETERS - 2].exp(), p[PARAMETERS - 1].exp());
        let distance = self.distances(p);
        let mut covariance = vec![0.0f32; distance.len()];
        materns(&mut covariance, &distance);
        let factor = self.factor(&covariance, variance, noise)?;
        let half_log_determinant: f64 = (0..m).map(|i| factor.at[i * m + i].ln()).sum();
        let upper = factor.into_inverse_of_factor();
        let a = upper.inverse_times(&self.z);
        let inverse = upper.inverse_block(&(0..m).collect::<Vec<_>>());
        let fit: f64 = self.z.iter().zip(&a).map(|(z, a)| z * a).sum();
        let mut loss = 0.5 * fit + half_log_determinant;
        let mut gradient = [0.0; PARAMETERS];
        // Twice the derivative by each pair's covariance, and that by its squared distance.
        let mut by_distance = vec![0.0f32; distance.len()];
        let mut by_variance = 0.0;
        let mut trace = 0.0;
        let mut pull = Vec::with_capacity(m);
        for i in 0..m {
            let of_row = i * i.saturating_sub(1) / 2..i * (i + 1) / 2;
            let row = inverse.row(i)[..i].iter().zip(&a);
            pull.clear();
            pull.extend(row.map(|(q, other)| q - a[i] * other));
            let (distance, covariance) = (&distance[of_row.clone()], &covariance[of_row.clone()]);
            slopes(
                &mut by_distance[of_row],
                &pull,
                variance,
                distance,
                covariance,
            );
            for (pull, k) in pull.iter().zip(covariance) {
                by_variance += pull * f64::from(*k);
            }
            trace += inverse.at[i * m + i] - a[i] * a[i];
        }
        for (d, apart) in &self.apart {
            let sum: f64 = apart
                .chunks(512)
                .zip(by_distance.chunks(512))
                .map(|(x, y)| f64::from(dot(x, y)))
                .sum();
            gradient[*d] = sum * p[*d].exp();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (rows, categories, y) = super::super::gauss::tests::rows(60);
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
}
