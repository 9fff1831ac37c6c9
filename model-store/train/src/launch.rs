//! Launch success: a rate per GPU x TP x precision, shrunk to the pooled one.
//!
//! Launches of a configuration are binomial, and the rates of configurations come from one beta
//! distribution `Beta(m s, (1 - m) s)` about the pooled rate `m`; a configuration's posterior is then
//! `Beta(m s + ok, (1 - m) s + failed)`. The strength `s`, in launches, is the most probable one: by
//! the marginal likelihood of all groups (beta-binomial) with a log-normal prior about
//! [`USUAL_STRENGTH`]. Where configurations differ much it is small and each speaks for itself;
//! where they do not, it is large and they speak together. A configuration that was never launched
//! has the distribution itself, which is as wide as configurations differ.

use std::collections::{BTreeMap, BTreeSet};

use statrs::distribution::{Beta, ContinuousCDF};
use statrs::function::beta::ln_beta;

use crate::advisor::feasible::infeasible;
use crate::advisor::model::{LaunchTable, Rate, USUAL_LAUNCHES, USUAL_RATE};
use crate::advisor::{Origin, Precision, Run, RunOutcome};

use super::prepare::Sample;

/// Strength of the shrinkage where groups say nothing of it, in launches, and the deviation of
/// its logarithm.
const USUAL_STRENGTH: f64 = 4.0;
const STRENGTH_DEVIATION: f64 = 1.0;

/// Fewest launches from which anything is said.
const FEWEST: u32 = 9;

/// Launches of one configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Launches {
    ok: u32,
    /// Those that failed, by class, in the order of [`RunOutcome::ALL`] without the first.
    failures: [u32; 4],
}

impl Launches {
    fn all(&self) -> u32 {
        self.ok + self.failures.iter().sum::<u32>()
    }

    fn add(&mut self, outcome: RunOutcome) {
        let class = RunOutcome::ALL.iter().position(|o| *o == outcome);
        match class {
            Some(i) if i > 0 => self.failures[i - 1] += 1,
            _ => self.ok += 1,
        }
    }
}

/// What says something of a configuration. A wrong flag, a model that is not there or a port in
/// use end as crashes too, so crashes of this cluster's jobs do not count; and what the rules
/// forbid, memory before all, is refused without asking, so its failures are not held against what
/// they allow.
fn says_something(s: &Sample) -> bool {
    let crashed =
        s.run.origin == Origin::ThisCluster && s.run.measured.outcome == RunOutcome::Crash;
    let foreseen =
        s.run.measured.outcome != RunOutcome::Ok && infeasible(&s.setup, false).is_some();
    !crashed && !foreseen
}

/// The table over runs whose source records failures: this cluster, and sources that report at
/// least one. Benchmarks publish what ran, so their successes say nothing about launching.
pub(super) fn table(samples: &[Sample]) -> LaunchTable {
    let groups = launches(samples);
    let (ok, all) = groups
        .values()
        .fold((0, 0), |(ok, all), g| (ok + g.ok, all + g.all()));
    if all < FEWEST {
        return LaunchTable::default();
    }
    // Successes alone make nobody certain: with what public starts say before.
    let before = USUAL_RATE * USUAL_LAUNCHES;
    let pooled = (f64::from(ok) + before) / (f64::from(all) + USUAL_LAUNCHES);
    let each: Vec<Launches> = groups.values().copied().collect();
    let strength = strength(&each, pooled);
    let prior = [pooled * strength, (1.0 - pooled) * strength];
    // What was never launched here is only known where this cluster's own launches are.
    let home: BTreeSet<_> = samples
        .iter()
        .filter(|s| s.run.origin == Origin::ThisCluster && says_something(s))
        .map(|s| launch(s.run))
        .collect();
    let total = each.iter().fold(Launches::default(), |mut sum, g| {
        sum.ok += g.ok;
        for (all, one) in sum.failures.iter_mut().zip(g.failures) {
            *all += one;
        }
        sum
    });
    let anywhere = (home.len() >= FEWEST as usize)
        .then(|| rate(&Launches::default(), prior))
        .flatten()
        .map(|r| Rate {
            n: total.all(),
            failures: total.failures,
            ..r
        });
    LaunchTable {
        pooled: anywhere,
        groups: groups
            .into_iter()
            .filter_map(|(key, g)| Some((key, rate(&g, prior)?)))
            .collect(),
    }
}

type Key = (String, u32, Precision);

/// Launches by configuration, each launch once.
fn launches(samples: &[Sample]) -> BTreeMap<Key, Launches> {
    let failed = |s: &&Sample| s.run.measured.outcome != RunOutcome::Ok;
    let honest: BTreeSet<&str> = samples
        .iter()
        .filter(failed)
        .map(|s| s.run.source.as_str())
        .collect();
    let counts = |s: &&Sample| {
        says_something(s)
            && (s.run.origin == Origin::ThisCluster || honest.contains(s.run.source.as_str()))
    };
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut groups: BTreeMap<Key, Launches> = BTreeMap::new();
    for s in samples.iter().filter(counts) {
        if seen.insert(launch(s.run)) {
            let key = (
                s.setup.gpu.name.to_owned(),
                s.setup.tp,
                s.setup.precision.pooled(),
            );
            groups.entry(key).or_default().add(s.run.measured.outcome);
        }
    }
    groups
}

/// The launch that a run belongs to: a job of this cluster gives one run a window, all of one
/// launch (`job 4711 window 2`).
fn launch(run: &Run) -> (&str, &str) {
    let job = run.source_ref.split(" window ").next().unwrap_or_default();
    (
        &run.source,
        if run.origin == Origin::ThisCluster {
            job
        } else {
            &run.run_id
        },
    )
}

/// The most probable strength, over a grid by factors of the root of 2 from 1 to 128.
fn strength(groups: &[Launches], pooled: f64) -> f64 {
    let log_posterior = |s: f64| {
        let [a, b] = [pooled * s, (1.0 - pooled) * s];
        let of_group = |g: &Launches| {
            let (ok, failed) = (f64::from(g.ok), f64::from(g.all() - g.ok));
            ln_beta(a + ok, b + failed) - ln_beta(a, b)
        };
        let away = (s / USUAL_STRENGTH).ln() / STRENGTH_DEVIATION;
        groups.iter().map(of_group).sum::<f64>() - away * away / 2.0
    };
    let grid = (0..=14).map(|i| 2f64.powf(f64::from(i) / 2.0));
    grid.max_by(|a, b| log_posterior(*a).total_cmp(&log_posterior(*b)))
        .unwrap_or(USUAL_STRENGTH)
}

fn rate(g: &Launches, [a, b]: [f64; 2]) -> Option<Rate> {
    let failed = g.all() - g.ok;
    let posterior = Beta::new(f64::from(g.ok) + a, f64::from(failed) + b).ok()?;
    let mut quantiles = [0.1, 0.5, 0.9].map(|q| posterior.inverse_cdf(q).clamp(0.0, 1.0));
    // The inversion is good to ten digits: after thousands of launches without a failure all three lie
    // nearer to 1, and to each other, than that.
    quantiles.sort_by(f64::total_cmp);
    quantiles.iter().all(|q| q.is_finite()).then(|| Rate {
        n: g.all(),
        failures: g.failures,
        quantiles,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn launched(ok: u32, failed: u32) -> Launches {
        Launches {
            ok,
            failures: [failed, 0, 0, 0],
        }
    }

    #[test]
    fn groups_that_differ_speak_for_themselves_and_alike_ones_together() {
        let alike = vec![launched(18, 2); 8];
        let apart: Vec<Launches> = (0..8)
            .map(|i| {
                if i % 2 == 0 {
                    launched(20, 0)
                } else {
                    launched(2, 18)
                }
            })
            .collect();
        assert!(strength(&alike, 0.9) > 4.0 * strength(&apart, 0.55));
    }

    #[test]
    fn what_was_never_launched_is_less_certain_than_what_was() {
        let prior = [3.6, 0.4];
        let never = rate(&Launches::default(), prior).unwrap().quantiles;
        let often = rate(&launched(90, 10), prior).unwrap().quantiles;
        assert!(never[2] - never[0] > 2.0 * (often[2] - often[0]));
    }

    #[test]
    fn thousands_of_launches_without_a_failure_have_quantiles_in_order() {
        for all in [100u32, 5000, 40_000, 1_000_000] {
            let pooled = (f64::from(all) + 0.5) / (f64::from(all) + 1.0);
            for strength in [1.0, 4.0, 11.3, 128.0] {
                let prior = [pooled * strength, (1.0 - pooled) * strength];
                for ok in [0, all / 100, all / 10] {
                    let [q10, q50, q90] = rate(&launched(ok, 0), prior).unwrap().quantiles;
                    let ordered = 0.0 <= q10 && q10 <= q50 && q50 <= q90 && q90 <= 1.0;
                    assert!(ordered, "{all} {strength} {ok}: {q10} {q50} {q90}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_success_more_never_lowers_a_rate_and_a_failure_never_raises_it(
            ok in 0u32..200, failed in 0u32..200, m in 0.05..0.95f64, s in 1.0..128.0f64,
        ) {
            let prior = [m * s, (1.0 - m) * s];
            let q = |ok, failed| rate(&launched(ok, failed), prior).unwrap().quantiles;
            let (now, better, worse) = (q(ok, failed), q(ok + 1, failed), q(ok, failed + 1));
            for i in 0..3 {
                prop_assert!(better[i] >= now[i] - 1e-6 && worse[i] <= now[i] + 1e-6);
            }
            prop_assert!(now[0] <= now[1] && now[1] <= now[2]);
        }

        #[test]
        fn a_rate_lies_between_its_own_launches_and_the_pooled_one(
            ok in 5u32..200, failed in 5u32..200, m in 0.1..0.9f64, s in 4.0..128.0f64,
        ) {
            let own = f64::from(ok) / f64::from(ok + failed);
            let median = rate(&launched(ok, failed), [m * s, (1.0 - m) * s]).unwrap().quantiles[1];
            // The median of a beta lies within about 1 / (3 n) of its mean.
            let slack = 0.05;
            prop_assert!(median > own.min(m) - slack && median < own.max(m) + slack);
        }
    }
}
