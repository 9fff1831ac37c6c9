//! Gaussian processes as they are published: the points that were measured, how far apart two
//! setups count, and the weight of each point. Fitting lives in the training module.
//!
//! The covariance is Matern 3/2 over one squared distance, in which every number has a length of
//! its own and every category counts a constant where it differs (C. Rasmussen, C. Williams,
//! Gaussian Processes for Machine Learning, 2006, chapters 2 and 4).
//!
//! Points are kept in units of that distance, as 16-bit steps: the sum over all points is the
//! inmost loop of every advice, and whole numbers add up to the same on every machine.

use serde::{Deserialize, Serialize};

use super::features::{CATEGORIES, Categories, PLACE, Row};
use super::packed;
pub use super::units::NUMBERS;
use super::units::{self, LANES, STEPS, UNKNOWN, between, matern};

/// Largest coordinate, steps: the squared distance of any two places then fits into 32 bits.
const FARTHEST: f32 = 15.0 * STEPS;

/// Largest weight of a category, squared distance.
const HEAVIEST: f64 = 60.0;

/// Below this weight a number does not count: six standard deviations make a squared distance of
/// one hundredth.
const LIGHTEST: f64 = 3e-4;

/// Measured points that the local uncertainty looks at.
const NEIGHBOURS: usize = 16;

/// Where a setup lies among the points of one process: every number over its length, in steps,
/// then the category codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place([i16; LANES]);

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

    /// The numbers of a row in standard deviations about the mean; what is not known lies at the
    /// mean.
    pub fn standard(&self, row: &Row) -> [f32; NUMBERS] {
        let mut out = [0.0; NUMBERS];
        let known = PLACE.iter().zip(self.mean.iter().zip(&self.spread));
        for (out, (at, (mean, spread))) in out.iter_mut().zip(known) {
            let x = row.get(*at).copied().unwrap_or(f32::NAN);
            if *spread > 1e-6 && x.is_finite() {
                *out = (x - mean) / spread;
            }
        }
        out
    }
}

/// A fitted process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Mean and spread of the numbers.
    pub scale: Scale,
    /// Units of distance that one standard deviation of each number makes; 0 = does not count.
    pub numbers: Vec<f32>,
    /// Squared distance that each category makes where it differs, in steps.
    pub categories: [i16; CATEGORIES],
    /// Variance of the noise over that of the process.
    pub noise: f32,
    /// Level far from every point.
    pub mean: f32,
    /// Measured points, [`LANES`] of each.
    #[serde(with = "packed::halves")]
    points: Vec<i16>,
    /// What each point adds per unit of covariance.
    #[serde(with = "packed::floats")]
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

impl Process {
    /// A process without pulls: the points of these rows, under these weights of squared
    /// distances (of each number in standard deviations, and of each category).
    pub fn at(rows: &[&Row], codes: &[Categories], scale: Scale, weights: &[f64]) -> Self {
        let (numbers, categories) = weights.split_at(NUMBERS.min(weights.len()));
        let unit = |(w, spread): (&f64, &f32)| {
            if *w < LIGHTEST || *spread <= 1e-6 {
                0.0
            } else {
                w.sqrt() as f32
            }
        };
        let mut out = Self {
            numbers: numbers.iter().zip(&scale.spread).map(unit).collect(),
            scale,
            ..Self::default()
        };
        for (step, w) in out.categories.iter_mut().zip(categories) {
            *step = (w.min(HEAVIEST) * f64::from(STEPS)).round() as i16;
        }
        out.points = rows
            .iter()
            .zip(codes)
            .flat_map(|(row, codes)| out.place(row, *codes).0)
            .collect();
        out.pull = vec![0.0; rows.len()];
        out
    }

    /// Number of points.
    pub fn len(&self) -> usize {
        self.pull.len()
    }

    /// True for a process that was never fitted.
    pub fn is_empty(&self) -> bool {
        self.pull.is_empty()
    }

    /// The place of a row.
    pub fn place(&self, row: &Row, categories: Categories) -> Place {
        let mut out = [UNKNOWN; LANES];
        let (numbers, codes) = out.split_at_mut(NUMBERS);
        let standard = self.scale.standard(row);
        for ((out, z), unit) in numbers.iter_mut().zip(standard).zip(&self.numbers) {
            *out = (z * unit * STEPS).round().clamp(-FARTHEST, FARTHEST) as i16;
        }
        for (out, code) in codes.iter_mut().zip(categories) {
            *out = code as i16;
        }
        Place(out)
    }

    /// Squared distances from a place to every point.
    pub fn distances(&self, place: &Place) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        units::distances(&place.0, &self.points, &self.categories, &mut out);
        out
    }

    fn points(&self) -> impl Iterator<Item = &[i16; LANES]> {
        self.points
            .chunks_exact(LANES)
            .filter_map(|p| p.try_into().ok())
    }

    fn point(&self, i: usize) -> Option<&[i16; LANES]> {
        self.points.get(i * LANES..(i + 1) * LANES)?.try_into().ok()
    }

    /// What the process says of a place.
    pub fn guess(&self, place: &Place) -> Guess {
        let near = self.distances(place);
        Guess {
            mean: f64::from(self.mean) + units::pulled(&near, &self.pull),
            doubt: self.doubt_of(&near, |_| false),
        }
    }

    /// The expected value at a place.
    pub fn mean_at(&self, place: &Place) -> f64 {
        f64::from(self.mean) + units::pulled(&self.distances(place), &self.pull)
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
                    self.covariance(*i, *j)
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

    /// Covariance of two points, as a share of that of one with itself.
    fn covariance(&self, i: usize, j: usize) -> f64 {
        let pair = self.point(i).zip(self.point(j));
        pair.map_or(0.0, |(a, b)| {
            f64::from(matern(between(a, b, &self.categories)))
        })
    }

    /// True where every table has its length and every number is finite.
    pub fn is_sound(&self) -> bool {
        let finite = |v: &[f32]| v.iter().all(|x| x.is_finite());
        let Scale { mean, spread } = &self.scale;
        // Coordinates and weights that could overflow a sum of squares are nobody's.
        let near = |p: &[i16; LANES]| {
            let farthest = p.iter().take(NUMBERS).map(|x| x.unsigned_abs()).max();
            farthest.is_none_or(|x| x <= FARTHEST as u16)
        };
        self.points.len() == self.len() * LANES
            && self.points().all(near)
            && self.categories.iter().all(|w| *w >= 0)
            && finite(&self.pull)
            && finite(&self.numbers)
            && finite(mean)
            && finite(spread)
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
