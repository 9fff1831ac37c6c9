//! A prediction as a distribution: the chance that a target ends above or below a limit.
//!
//! Between and beyond the three calibrated points (lower end, median, upper end of the 80 %
//! interval) the logarithm of the target is taken to be normal on either side of the median, with
//! a spread of its own on each: `P(Y > y) = 1 - Phi((ln y - ln q50) / s)`, where `s = (ln hi -
//! ln q50) / z` above the median and `(ln q50 - ln lo) / z` below it, and `z = Phi^-1(0.9)`. So
//! the interval keeps its 80 % and the median its half, and there is no jump between.

use super::advice::Prediction;

/// Quantile 0.9 of the standard normal distribution.
const Z90: f64 = 1.281_551_565_544_600_5;

impl Prediction {
    /// Probability that the target ends above `limit`, by its calibrated interval; `limit` in the
    /// target's unit.
    pub fn chance_above(&self, limit: f64) -> f64 {
        1.0 - self.chance_below(limit)
    }

    /// Probability that the target ends below `limit`, by its calibrated interval.
    pub fn chance_below(&self, limit: f64) -> f64 {
        let from_median = (limit.max(f64::MIN_POSITIVE) / self.q50).ln();
        if from_median.is_nan() {
            return 0.5;
        }
        let side = if from_median > 0.0 {
            self.hi / self.q50
        } else {
            self.q50 / self.lo
        };
        let spread = side.ln().max(0.0) / Z90;
        if spread > 0.0 {
            normal(from_median / spread)
        } else {
            // Known to the digit: 0, one half or 1.
            0.5 + 0.5
                * from_median
                    .partial_cmp(&0.0)
                    .map_or(0.0, |o| f64::from(o as i8))
        }
    }
}

/// Distribution function of the standard normal (M. Abramowitz and I. Stegun, Handbook of
/// Mathematical Functions, 26.2.17); absolute error below 7.5e-8.
pub(super) fn normal(z: f64) -> f64 {
    let x = z.abs();
    let t = 1.0 / (1.0 + 0.231_641_9 * x);
    let series = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ]
    .iter()
    .rev()
    .fold(0.0, |sum, c| (sum + c) * t);
    let tail = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * series;
    let tail = tail.clamp(0.0, 0.5);
    if z > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prediction(q50: f64, down: f64, up: f64) -> Prediction {
        Prediction {
            q10: q50 / down,
            q50,
            q90: q50 * up,
            lo: q50 / down,
            hi: q50 * up,
        }
    }

    #[test]
    fn the_interval_keeps_its_eighty_per_cent_and_the_median_its_half() {
        let p = prediction(200.0, 1.1, 3.0);
        for (limit, below) in [(p.lo, 0.1), (p.q50, 0.5), (p.hi, 0.9)] {
            assert!((p.chance_below(limit) - below).abs() < 1e-6, "{limit}");
        }
    }

    #[test]
    fn an_interval_of_no_width_is_certain() {
        let p = prediction(200.0, 1.0, 1.0);
        assert_eq!(
            [199.0, 200.0, 201.0].map(|l| p.chance_below(l)),
            [0.0, 0.5, 1.0]
        );
    }

    #[test]
    fn known_values_of_the_normal_distribution() {
        for (z, p) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746),
            (-1.959_963_985, 0.025),
            (3.0, 0.998_650_102),
        ] {
            assert!((normal(z) - p).abs() < 1e-7, "{z}");
        }
    }

    proptest! {
        #[test]
        fn a_higher_limit_is_never_likelier_to_be_passed(
            q50 in 1e-3..1e6f64, down in 1.0..100.0f64, up in 1.0..100.0f64,
            a in 1e-6..1e9f64, b in 1e-6..1e9f64,
        ) {
            let p = prediction(q50, down, up);
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(p.chance_above(low) >= p.chance_above(high) - 2e-7);
            prop_assert!((0.0..=1.0).contains(&p.chance_above(a)));
        }
    }
}
