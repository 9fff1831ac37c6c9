//! Launch success of configurations: a rate per GPU, degree and format, with what memory says of the
//! start as its prior.

use serde::{Deserialize, Serialize};

use super::advice::Prediction;
use super::case::Precision;
use super::memory::room;
use super::setup::Setup;

/// Rate of starts that memory and rules allow, before any was seen here, and how many launches it is
/// worth: public starts, of which few failed for reasons that no rule foresees.
pub const USUAL_RATE: f64 = 0.95;
/// See [`USUAL_RATE`].
pub const USUAL_LAUNCHES: f64 = 6.0;

/// Launch success of configurations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaunchTable {
    /// Over all launches; `None` = too few.
    pub pooled: Option<Rate>,
    /// By GPU, TP and pooled format, sorted.
    pub groups: Vec<((String, u32, Precision), Rate)>,
}

/// A posterior rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Launches.
    pub n: u32,
    /// Those that failed: out of memory, incompatible, time-out, crash.
    pub failures: [u32; 4],
    /// Posterior quantiles 0.1, 0.5 and 0.9.
    pub quantiles: [f64; 3],
}

impl LaunchTable {
    /// True where every quantile is a share and none falls.
    pub(super) fn is_sound(&self) -> bool {
        let mut rates = self.groups.iter().map(|(_, rate)| rate).chain(&self.pooled);
        rates.all(|rate| {
            let [q10, q50, q90] = rate.quantiles;
            0.0 <= q10 && q10 <= q50 && q50 <= q90 && q90 <= 1.0
        })
    }

    /// The launches of a setup's own configuration; `None` where it was never launched.
    pub fn of(&self, s: &Setup) -> Option<&Rate> {
        let key = (s.gpu.name.to_owned(), s.tp, s.precision.pooled());
        let own = self.groups.binary_search_by(|(k, _)| k.cmp(&key)).ok()?;
        self.groups.get(own).map(|(_, rate)| rate)
    }

    /// The rate of a setup: a beta distribution about the pooled rate and the chance that memory lets
    /// it start, with the launches of its own configuration. The middle is the posterior mean.
    pub(super) fn prediction(&self, s: &Setup) -> Prediction {
        let rate = self.pooled.map_or(USUAL_RATE, |rate| rate.quantiles[1]);
        let mean = (rate * room(s).starts).clamp(0.001, 0.999);
        let (n, failed) = self.of(s).map_or((0, 0), |own| {
            (own.n, own.failures.iter().sum::<u32>().min(own.n))
        });
        let ok = mean * USUAL_LAUNCHES + f64::from(n - failed);
        let bad = (1.0 - mean) * USUAL_LAUNCHES + f64::from(failed);
        let [lo, hi] = beta_quantiles(ok, bad, [0.1, 0.9]);
        let middle = (ok / (ok + bad)).clamp(lo, hi);
        Prediction {
            q10: lo,
            q50: middle,
            q90: hi,
            lo,
            hi,
        }
    }
}

/// Quantiles of a beta distribution, by summing its density over the logit, where it has one peak
/// with tails that fall exponentially.
fn beta_quantiles<const N: usize>(a: f64, b: f64, at: [f64; N]) -> [f64; N] {
    const STEPS: usize = 400;
    let (centre, spread) = ((a / b).ln(), (1.0 / a + 1.0 / b).sqrt());
    let place = |i: usize| centre + spread * 9.0 * (2.0 * (i as f64 + 0.5) / STEPS as f64 - 1.0);
    let log_density = |t: f64| -a * (-t).exp().ln_1p() - b * t.exp().ln_1p();
    let top = log_density(centre);
    let density: Vec<f64> = (0..STEPS)
        .map(|i| (log_density(place(i)) - top).exp())
        .collect();
    let all: f64 = density.iter().sum();
    at.map(|q| {
        let mut left = q * all;
        let mut found = place(STEPS - 1);
        for (i, d) in density.iter().enumerate() {
            if left <= *d {
                let part = (left / d.max(1e-300) - 0.5) * spread * 18.0 / STEPS as f64;
                found = place(i) + part;
                break;
            }
            left -= d;
        }
        1.0 / (1.0 + (-found).exp())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_quantiles_of_the_beta_distribution() {
        // Beta(1, 1) is uniform; of Beta(n, 1) the quantile q is q^(1/n), of Beta(1, n) 1 - (1-q)^(1/n).
        for (a, b, q, expected) in [
            (1.0, 1.0, 0.1, 0.1),
            (20.0, 1.0, 0.1, 0.1f64.powf(1.0 / 20.0)),
            (1.0, 7.0, 0.9, 1.0 - 0.1f64.powf(1.0 / 7.0)),
        ] {
            let [found] = beta_quantiles(a, b, [q]);
            assert!(
                (found - expected).abs() < 2e-3,
                "{a} {b} {q}: {found} {expected}"
            );
        }
    }

    proptest! {
        #[test]
        fn quantiles_are_shares_in_order_and_rise_with_successes(
            a in 0.01..1e5f64, b in 0.01..1e5f64, more in 0.0..100.0f64,
        ) {
            let [lo, hi] = beta_quantiles(a, b, [0.1, 0.9]);
            prop_assert!(0.0 <= lo && lo <= hi && hi <= 1.0);
            let [later, _] = beta_quantiles(a + more, b, [0.1, 0.9]);
            prop_assert!(later >= lo - 1e-3);
        }
    }
}
