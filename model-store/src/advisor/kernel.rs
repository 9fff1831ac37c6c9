//! Gaussian processes as they are published: the points that were measured, how far apart two
//! setups count, and the weight of each point. Fitting lives in the training module.
//!
//! The covariance is Matern 3/2 over one squared distance, in which every number has a length of
//! its own and every category counts a constant where it differs (C. Rasmussen, C. Williams,
//! Gaussian Processes for Machine Learning, 2006, chapters 2 and 4).

use serde::{Deserialize, Serialize};

use super::features::{CATEGORIES, Categories, PLACE, Row};

/// Dimensions that are numbers.
pub const NUMBERS: usize = PLACE.len();

/// Steps of a stored number in one standard deviation.
const STEPS: f32 = 2048.0;

/// Measured points that the local uncertainty looks at.
const NEIGHBOURS: usize = 16;

/// Where a setup lies: numbers in steps about the mean, categories as codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// Numbers, in steps.
    pub numbers: [i16; NUMBERS],
    /// Category codes; [`u16::MAX`] differs from everything.
    pub categories: Categories,
}

/// Mean and spread of each number over the points.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Means.
    pub mean: Vec<f32>,
    /// Standard deviations; 0 for a number that does not vary.
    pub spread: Vec<f32>,
}

impl Scale {
    /// Mean and spread over rows; what is not known (not a number) does not count.
    pub fn of(rows: &[&Row]) -> Self {
        let column = |at: usize| {
            let known: Vec<f64> = rows
                .iter()
                .map(|r| f64::from(r[at]))
                .filter(|x| x.is_finite())
                .collect();
            let n = known.len().max(1) as f64;
            let mean = known.iter().sum::<f64>() / n;
            (
                mean as f32,
                (known.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt() as f32,
            )
        };
        let (mean, spread) = PLACE.iter().map(|at| column(*at)).unzip();
        Self { mean, spread }
    }

    /// The place of a row; what is not known lies at the mean.
    pub fn place(&self, row: &Row, categories: Categories) -> Place {
        let mut numbers = [0i16; NUMBERS];
        for (i, out) in numbers.iter_mut().enumerate() {
            let at = PLACE
                .get(i)
                .and_then(|at| row.get(*at))
                .copied()
                .unwrap_or(0.0);
            let (mean, spread) = (
                self.mean.get(i).copied().unwrap_or(0.0),
                self.spread.get(i).copied().unwrap_or(0.0),
            );
            let z = if spread > 1e-6 && at.is_finite() {
                (at - mean) / spread
            } else {
                0.0
            };
            *out = (z * STEPS).round().clamp(-32_000.0, 32_000.0) as i16;
        }
        Place {
            numbers,
            categories,
        }
    }
}

/// A fitted process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Mean and spread of the numbers.
    pub scale: Scale,
    /// Weight of each number's squared distance, in standard deviations.
    pub numbers: Vec<f32>,
    /// Weight of each category that differs.
    pub categories: Vec<f32>,
    /// Variance of the noise over that of the process.
    pub noise: f32,
    /// Level far from every point.
    pub mean: f32,
    /// Points, number by number: all first numbers, then all second ones, ...
    pub points: Vec<i16>,
    /// Category codes of the points, in the same order.
    pub codes: Vec<u16>,
    /// What each point adds per unit of covariance.
    pub pull: Vec<f32>,
}

/// What a process says of one place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// Expected value.
    pub mean: f64,
    /// Uncertainty as a share of not knowing anything, 0 to 1.
    pub doubt: f64,
}

/// Matern 3/2 of a squared distance. The exponential is our own: the same on every machine, and
/// fit for vector units.
#[inline]
pub fn matern(squared: f32) -> f32 {
    let r = (3.0 * squared).sqrt();
    (1.0 + r) * exp_of_minus(r)
}

/// `exp(-r)` for `r >= 0` to seven digits: a power of two, and a polynomial for the rest.
#[inline]
fn exp_of_minus(r: f32) -> f32 {
    let t = r.min(80.0) * -std::f32::consts::LOG2_E;
    // Cut off and one less: at or below the floor, without a call that SSE2 has no instruction for.
    let whole = t as i32 - 1;
    let x = (t - whole as f32) * std::f32::consts::LN_2;
    let p = 1.0
        + x * (1.0
            + x * (0.5
                + x * (1.666_666_6e-1 + x * (4.166_666e-2 + x * (8.333_3e-3 + x * 1.39e-3)))));
    p * f32::from_bits(((whole + 127) as u32) << 23)
}

impl Process {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.pull.len()
    }

    /// True for a process that was never fitted.
    pub fn is_empty(&self) -> bool {
        self.pull.is_empty()
    }

    /// Squared distances from a place to every point.
    pub fn distances(&self, place: &Place) -> Vec<f32> {
        let n = self.len();
        let mut out = vec![0.0f32; n];
        for (i, x) in place.numbers.iter().enumerate() {
            let w = self.numbers.get(i).copied().unwrap_or(0.0) / (STEPS * STEPS);
            let Some(column) = self.points.get(i * n..(i + 1) * n).filter(|_| w > 0.0) else {
                continue;
            };
            let x = f32::from(*x);
            for (sum, p) in out.iter_mut().zip(column) {
                let gap = f32::from(*p) - x;
                *sum += w * gap * gap;
            }
        }
        for (i, code) in place.categories.iter().enumerate() {
            let w = self.categories.get(i).copied().unwrap_or(0.0);
            let Some(column) = self.codes.get(i * n..(i + 1) * n).filter(|_| w > 0.0) else {
                continue;
            };
            for (sum, c) in out.iter_mut().zip(column) {
                *sum += if *c == *code && *code != u16::MAX {
                    0.0
                } else {
                    w
                };
            }
        }
        out
    }

    /// What the process says of a place.
    pub fn guess(&self, place: &Place) -> Guess {
        let near = self.distances(place);
        let sum: f64 = near
            .chunks(256)
            .zip(self.pull.chunks(256))
            .map(|(d, p)| f64::from(d.iter().zip(p).map(|(d, p)| matern(*d) * p).sum::<f32>()))
            .sum();
        Guess {
            mean: f64::from(self.mean) + sum,
            doubt: self.doubt_of(&near, |_| false),
        }
    }

    /// The doubt at a place.
    pub fn doubt(&self, place: &Place) -> f64 {
        self.doubt_of(&self.distances(place), |_| false)
    }

    /// Predictive standard deviation given the nearest points alone, over that given none: an upper
    /// bound of the full one, and near it. Points that `hidden` names do not count.
    pub fn doubt_of(&self, distances: &[f32], hidden: impl Fn(usize) -> bool) -> f64 {
        let mut near: Vec<(f32, usize)> = Vec::with_capacity(NEIGHBOURS + 1);
        let mut bound = f32::INFINITY;
        for (i, d) in distances.iter().enumerate() {
            if *d >= bound || hidden(i) {
                continue;
            }
            let at = near.partition_point(|(other, _)| other <= d);
            near.insert(at, (*d, i));
            if near.len() > NEIGHBOURS {
                near.pop();
                bound = near.last().map_or(bound, |(d, _)| *d);
            }
        }
        self.variance(&near).clamp(1e-8, 1.0).sqrt()
    }

    /// `1 - kt (K + noise)^-1 k` over these points, by a small Cholesky factor.
    fn variance(&self, near: &[(f32, usize)]) -> f64 {
        let mut factor = [[0.0f64; NEIGHBOURS]; NEIGHBOURS];
        let mut explained = 0.0;
        let mut z = [0.0f64; NEIGHBOURS];
        for (a, (distance, i)) in near.iter().enumerate() {
            let mut rest = f64::from(matern(*distance));
            for b in 0..=a {
                let Some((_, j)) = near.get(b) else { continue };
                let mut value = if a == b {
                    1.0 + f64::from(self.noise) + 1e-6
                } else {
                    f64::from(matern(self.between(*i, *j)))
                };
                for c in 0..b {
                    value -= entry(&factor, a, c) * entry(&factor, b, c);
                }
                let own = if a == b {
                    value.max(1e-9).sqrt()
                } else {
                    value / entry(&factor, b, b)
                };
                if let Some(x) = factor.get_mut(a).and_then(|row| row.get_mut(b)) {
                    *x = own;
                }
            }
            for c in 0..a {
                rest -= entry(&factor, a, c) * z.get(c).copied().unwrap_or(0.0);
            }
            let own = rest / entry(&factor, a, a);
            if let Some(x) = z.get_mut(a) {
                *x = own;
            }
            explained += own * own;
        }
        1.0 - explained
    }

    /// Squared distance between two points.
    fn between(&self, i: usize, j: usize) -> f32 {
        let n = self.len();
        let mut out = 0.0;
        for (d, w) in self.numbers.iter().enumerate() {
            let (Some(a), Some(b)) = (self.points.get(d * n + i), self.points.get(d * n + j))
            else {
                continue;
            };
            let gap = (f32::from(*a) - f32::from(*b)) / STEPS;
            out += w * gap * gap;
        }
        for (d, w) in self.categories.iter().enumerate() {
            let (a, b) = (self.codes.get(d * n + i), self.codes.get(d * n + j));
            out += if a == b && a != Some(&u16::MAX) {
                0.0
            } else {
                *w
            };
        }
        out
    }

    /// True where every table has its length and every number is finite.
    pub fn is_sound(&self) -> bool {
        let n = self.len();
        let finite = |v: &[f32]| v.iter().all(|x| x.is_finite());
        let tables = self.points.len() == n * NUMBERS && self.codes.len() == n * CATEGORIES;
        tables
            && finite(&self.pull)
            && finite(&self.numbers)
            && finite(&self.categories)
            && self.noise.is_finite()
            && self.mean.is_finite()
    }
}

fn entry(m: &[[f64; NEIGHBOURS]; NEIGHBOURS], i: usize, j: usize) -> f64 {
    m.get(i).and_then(|row| row.get(j)).copied().unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_covariance_is_that_of_the_formula(squared in 0.0..400.0f32) {
            let r = (3.0 * f64::from(squared)).sqrt();
            let exact = (1.0 + r) * (-r).exp();
            prop_assert!((f64::from(matern(squared)) - exact).abs() < 3e-6, "{squared}");
        }
    }
}
