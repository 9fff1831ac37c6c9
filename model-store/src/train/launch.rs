//! Launch success: a rate per GPU x TP x precision, shrunk to the pooled one.

use std::collections::{BTreeMap, BTreeSet};

use statrs::distribution::{Beta, ContinuousCDF};

use crate::advisor::model::{LaunchTable, Rate};
use crate::advisor::{Origin, Precision, Run, RunOutcome};

use super::prepare::Sample;

/// Weight of the pooled rate in a group, in launches.
const PRIOR_LAUNCHES: f64 = 4.0;

/// Fewest launches from which anything is said.
const FEWEST: u32 = 9;

/// A wrong flag, a model that is not there or a port in use end as crashes too, and say nothing of
/// the configuration: only the other failures count.
fn says_something(run: &Run) -> bool {
    run.origin != Origin::ThisCluster || run.measured.outcome != RunOutcome::Crash
}

/// The table over runs whose source records failures: this cluster, and sources that report at
/// least one. Benchmarks publish what ran, so their successes say nothing about launching.
pub(super) fn table(samples: &[Sample]) -> LaunchTable {
    let failed = |s: &Sample| s.run.measured.outcome != RunOutcome::Ok;
    let honest: Vec<&str> = samples
        .iter()
        .filter(|s| failed(s))
        .map(|s| s.run.source.as_str())
        .collect();
    let counts = |s: &&Sample| {
        says_something(s.run)
            && (s.run.origin == Origin::ThisCluster || honest.contains(&s.run.source.as_str()))
    };
    let mut groups: BTreeMap<(String, u32, Precision), (u32, u32)> = BTreeMap::new();
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    for s in samples
        .iter()
        .filter(counts)
        .filter(|s| seen.insert(launch(s.run)))
    {
        let key = (
            s.setup.gpu.name.to_owned(),
            s.setup.tp,
            s.setup.precision.pooled(),
        );
        let (ok, all) = groups.entry(key).or_default();
        *ok += u32::from(!failed(s));
        *all += 1;
    }
    let (ok, all) = groups
        .values()
        .fold((0, 0), |(ok, all), (o, a)| (ok + o, all + a));
    if all < FEWEST {
        return LaunchTable::default();
    }
    // Half a success and half a failure more (Jeffreys), so that no rate is 0 or 1.
    let pooled = (f64::from(ok) + 0.5) / (f64::from(all) + 1.0);
    let of_group = |(key, (ok, n)): ((String, u32, Precision), (u32, u32))| {
        let prior = [pooled * PRIOR_LAUNCHES, (1.0 - pooled) * PRIOR_LAUNCHES];
        rate(ok, n, prior).map(|r| (key, r))
    };
    // What was never launched here is only known where this cluster's own launches are.
    let home = samples
        .iter()
        .filter(|s| s.run.origin == Origin::ThisCluster)
        .count();
    let anywhere = (home >= FEWEST as usize)
        .then(|| rate(ok, all, [0.5, 0.5]))
        .flatten();
    LaunchTable {
        pooled: anywhere,
        groups: groups.into_iter().filter_map(of_group).collect(),
    }
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

fn rate(ok: u32, n: u32, [a, b]: [f64; 2]) -> Option<Rate> {
    let posterior = Beta::new(f64::from(ok) + a, f64::from(n - ok) + b).ok()?;
    Some(Rate {
        n,
        quantiles: [0.1, 0.5, 0.9].map(|q| posterior.inverse_cdf(q)),
    })
}
