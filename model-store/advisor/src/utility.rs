//! What a candidate is worth: value - cost - risk, in logarithms.
//!
//! The worth of a configuration is the output tokens that it is expected to serve for a unit of
//! price,
//!
//! ```text
//!          tokens/h x P(meets what was stated) x T / (T + wait) x T / (T + relaunches)
//! worth =  ---------------------------------------------------------------------------
//!                      (price of GPU-hours + price of energy) / h
//! ```
//!
//! times a factor for a KV cache beyond its knee, where `T` is the time that a job serves. Its
//! logarithm is a sum with one term a factor, and the weights are the factors' exponents:
//! `U = sum of weight x term`. So a difference of 0.1 in `U` is worth a tenth of the tokens. With
//! nothing but tokens and prices known, `U = ln(tokens per price)`.

use serde::{Deserialize, Serialize};

use super::economy::{Economy, Term, Weights};

/// Share of the KV cache above which engines preempt requests: the knee of the OmniPilot paper
/// (arXiv 2607.01579).
pub const KNEE: f64 = 0.85;

/// Smallest rate and largest chance that are reckoned with, so that no term is infinite.
const SMALLEST: f64 = 1e-3;

/// What the utility is made from; `None` = not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outlook {
    /// Output tokens that are served in an hour.
    pub tokens_per_hour: Option<f64>,
    /// Price of all GPUs for an hour.
    pub price_per_hour: f64,
    /// Average power of all GPUs, W.
    pub power_w: Option<f64>,
    /// Expected wait in the queue, h.
    pub wait_h: Option<f64>,
    /// Probability that a start succeeds.
    pub launch: Option<f64>,
    /// Seconds from start to ready.
    pub cold_start_s: Option<f64>,
    /// Probability of missing what was stated.
    pub miss: Option<f64>,
    /// Peak KV-cache usage, 0 to 1.
    pub kv_usage: Option<f64>,
}

/// The terms of one candidate without their weights, in the order of [`Term::ALL`]; `None` = not
/// known, or nothing was stated that it could be held against.
pub type Terms = [Option<f64>; 7];

/// Value of so many tokens in an hour: `ln`.
pub fn tokens(per_hour: f64) -> f64 {
    per_hour.max(SMALLEST).ln()
}

/// Cost of the GPU-hours of an hour: `-ln`.
pub fn price(per_hour: f64) -> f64 {
    -per_hour.max(SMALLEST).ln()
}

/// Cost of energy on top of the price of the GPUs: `-ln(1 + energy / price)`, energy = kW x price
/// of a kWh. Together with [`price`] it is `-ln(price + energy)`.
pub fn energy(power_w: f64, price_per_kwh: f64, price_per_hour: f64) -> f64 {
    let energy = power_w.max(0.0) / 1e3 * price_per_kwh;
    -(energy / price_per_hour.max(SMALLEST)).ln_1p()
}

/// Cost of waiting so many hours for a job that serves `job_hours`: `-ln(1 + wait / T)`.
pub fn wait(wait_h: f64, job_hours: f64) -> f64 {
    -(wait_h.max(0.0) / job_hours).ln_1p()
}

/// Risk of starts that fail: before one succeeds, `(1 - p) / p` fail on average (a geometric
/// distribution), each at a loss of `lost_h` hours: `-ln(1 + (1 - p) / p x lost / T)`.
pub fn relaunch(launch: f64, lost_h: f64, job_hours: f64) -> f64 {
    let p = launch.clamp(SMALLEST, 1.0);
    -((1.0 - p) / p * lost_h.max(0.0) / job_hours).ln_1p()
}

/// Risk of missing what was stated: an instance that misses it serves nothing of use, `ln(1 - P)`.
pub fn slo(miss: f64) -> f64 {
    (-miss.clamp(0.0, 1.0 - SMALLEST)).ln_1p()
}

/// Risk of a KV cache beyond its knee: 0 up to [`KNEE`], falling to -1 where it is full.
pub fn saturation(kv_usage: f64) -> f64 {
    -((kv_usage.clamp(0.0, 1.0) - KNEE) / (1.0 - KNEE)).max(0.0)
}

/// Chance of missing at least one of several limits, of which each is missed by itself with
/// these chances: `1 - product of (1 - p)`. Exact where they miss independently; where they miss
/// together, as a slow instance does, the true chance is lower.
pub fn any_of(chances: impl Iterator<Item = f64>) -> f64 {
    1.0 - chances.fold(1.0, |none, p| none * (1.0 - p.clamp(0.0, 1.0)))
}

/// The terms of a candidate.
pub fn terms(o: &Outlook, economy: &Economy) -> Terms {
    let lost_h =
        economy.relaunch_hours + o.cold_start_s.unwrap_or(0.0) / 3600.0 + o.wait_h.unwrap_or(0.0);
    let t = economy.job_hours;
    [
        o.tokens_per_hour.map(tokens),
        Some(price(o.price_per_hour)),
        o.power_w
            .zip(economy.price_per_kwh)
            .map(|(power, kwh)| energy(power, kwh, o.price_per_hour)),
        o.wait_h.map(|hours| wait(hours, t)),
        o.launch.map(|p| relaunch(p, lost_h, t)),
        o.miss.map(slo),
        o.kv_usage.map(saturation),
    ]
}

/// The utility over the terms that count; `None` where one of them is not known.
pub fn utility(terms: &Terms, counted: &[Term], weights: &Weights) -> Option<f64> {
    counted.iter().try_fold(0.0, |sum, term| {
        let value = terms.get(*term as usize).copied().flatten()?;
        Some(sum + weights.of(*term) * value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn outlook() -> impl Strategy<Value = Outlook> {
        (
            1.0..1e9f64,
            0.01..1e3f64,
            1.0..1e5f64,
            0.0..1e3f64,
            0.0..1.0f64,
            0.0..1e4f64,
            0.0..1.0f64,
            0.0..1.0f64,
        )
            .prop_map(
                |(tokens, price_per_hour, power, wait, launch, cold, miss, kv)| Outlook {
                    tokens_per_hour: Some(tokens),
                    price_per_hour,
                    power_w: Some(power),
                    wait_h: Some(wait),
                    launch: Some(launch),
                    cold_start_s: Some(cold),
                    miss: Some(miss),
                    kv_usage: Some(kv),
                },
            )
    }

    fn economy() -> impl Strategy<Value = Economy> {
        (
            prop::array::uniform6(0.0..5.0f64),
            0.1..1e3f64,
            0.0..10.0f64,
            0.001..10.0f64,
        )
            .prop_map(
                |([tokens, price, wait, relaunch, slo, saturation], job_hours, hours, kwh)| {
                    Economy {
                        job_hours,
                        relaunch_hours: hours,
                        price_per_kwh: Some(kwh),
                        weights: Weights {
                            tokens,
                            price,
                            wait,
                            relaunch,
                            slo,
                            saturation,
                        },
                        learn: false,
                    }
                },
            )
    }

    fn worth(o: &Outlook, e: &Economy) -> f64 {
        utility(&terms(o, e), &Term::ALL, &e.weights).unwrap()
    }

    /// One thing made worse by a factor or a share.
    fn worse(o: Outlook, which: usize, by: f64) -> Outlook {
        let (times, up) = (1.0 + by, |x: f64| x + by * (1.0 - x));
        let more = |x: Option<f64>| x.map(|x| x * times);
        match which {
            0 => Outlook {
                tokens_per_hour: o.tokens_per_hour.map(|x| x / times),
                ..o
            },
            1 => Outlook {
                price_per_hour: o.price_per_hour * times,
                ..o
            },
            2 => Outlook {
                power_w: more(o.power_w),
                ..o
            },
            3 => Outlook {
                wait_h: o.wait_h.map(|x| x + by),
                ..o
            },
            4 => Outlook {
                launch: o.launch.map(|x| x * (1.0 - by)),
                ..o
            },
            5 => Outlook {
                cold_start_s: more(o.cold_start_s),
                ..o
            },
            6 => Outlook {
                miss: o.miss.map(up),
                ..o
            },
            _ => Outlook {
                kv_usage: o.kv_usage.map(up),
                ..o
            },
        }
    }

    proptest! {
        #[test]
        fn nothing_ranks_higher_for_being_worse(o in outlook(), e in economy(), which in 0usize..8, by in 0.0..1.0f64) {
            let (before, after) = (worth(&o, &e), worth(&worse(o, which, by), &e));
            prop_assert!(after <= before + 1e-9 * before.abs().max(1.0), "{which}: {before} -> {after}");
            prop_assert!(before.is_finite() && after.is_finite());
        }

        #[test]
        fn with_nothing_else_known_it_is_tokens_for_the_price(t in 1.0..1e9f64, p in 0.01..1e3f64) {
            let o = Outlook { tokens_per_hour: Some(t), price_per_hour: p, ..Outlook::default() };
            let e = Economy::default();
            let u = utility(&terms(&o, &e), &[Term::Tokens, Term::Price], &e.weights).unwrap();
            prop_assert!((u - (t / p).ln()).abs() < 1e-9);
            prop_assert_eq!(utility(&terms(&o, &e), &Term::ALL, &e.weights), None);
        }

        #[test]
        fn a_weight_of_nothing_hides_its_term(o in outlook(), e in economy(), which in 2usize..8, by in 0.0..1.0f64) {
            let mut e = e;
            e.weights = Weights { tokens: 1.0, price: 0.0, wait: 0.0, relaunch: 0.0, slo: 0.0, saturation: 0.0 };
            prop_assert!((worth(&o, &e) - worth(&worse(o, which, by), &e)).abs() < 1e-12);
        }

        #[test]
        fn several_limits_are_missed_no_less_than_the_worst_of_them(a in 0.0..1.0f64, b in 0.0..1.0f64) {
            let either = any_of([a, b].into_iter());
            prop_assert!(either >= a.max(b) - 1e-12 && either <= 1.0);
        }
    }

    #[test]
    fn the_knee_lies_where_the_paper_puts_it() {
        assert_eq!([0.0, KNEE, 1.0].map(saturation), [0.0, 0.0, -1.0]);
    }
}
