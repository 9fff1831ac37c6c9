//! What this cluster's own starts say: how far the KV cache that engines report is from what is
//! reckoned, and how fast its file systems give weights.
//!
//! A start may be one user's claim, so no single one moves an engine as a whole: configurations count
//! alike, by their median, and no shift exceeds [`MOST`] of a GPU's memory.

use std::collections::{BTreeMap, BTreeSet};

use crate::advisor::memory::{kv_gib_of_tokens, memory};
use crate::advisor::{
    Limits, Origin, PoolShift, Precision, ReadRate, RunOutcome, StartLog, Starts,
};

use super::prepare::Sample;

/// Largest shift, as a share of a GPU's memory.
const MOST: f64 = 0.15;
/// Starts that what is reckoned is worth against those of one configuration, and configurations
/// against those of an engine.
const WORTH: f64 = 1.0;
/// Deviation between two starts of one configuration, GiB, and what the median of an engine leaves
/// at least.
const REPEATED_GIB: f64 = 0.15;
const OTHERS_GIB: f64 = 0.4;
/// Weights that come faster than this, GB/s, lay in a cache.
const CACHED_GB_S: f64 = 3.0;

type Key = (String, String, String, u32, Precision);

/// Learns from the runs of this cluster; a start with many windows counts once.
pub(super) fn learn(samples: &[Sample]) -> Starts {
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    let mut pools: BTreeMap<Key, Vec<f64>> = BTreeMap::new();
    let mut rates: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let home = |s: &&Sample| {
        s.run.origin == Origin::ThisCluster && s.run.measured.outcome == RunOutcome::Ok
    };
    for s in samples.iter().filter(home) {
        let log = StartLog::in_notes(&s.run.notes);
        let job = s
            .run
            .source_ref
            .split(" window ")
            .next()
            .unwrap_or_default();
        if log.is_empty() || !seen.insert((&s.run.source, job)) {
            continue;
        }
        if let Some(off) = off_by(s, &log) {
            pools.entry(key(s)).or_default().push(off);
        }
        if let Some(rate) = read_rate(s, &log) {
            rates.entry(log.storage.clone()).or_default().push(rate);
        }
    }
    Starts {
        pools: shifts(&pools),
        rates: rates
            .into_iter()
            .filter_map(|(storage, mut all)| {
                let n = u32::try_from(all.len()).unwrap_or(u32::MAX);
                let gb_s = first_load(&mut all)?;
                Some(ReadRate { storage, n, gb_s })
            })
            .collect(),
    }
}

fn key(s: &Sample) -> Key {
    (
        s.setup.engine.to_owned(),
        s.setup.card.name.clone(),
        s.setup.gpu.name.to_owned(),
        s.setup.tp,
        s.setup.precision.pooled(),
    )
}

/// GiB of one GPU by which the KV cache of a start is larger than what is reckoned for it.
fn off_by(s: &Sample, log: &StartLog) -> Option<f64> {
    let mut setup = s.setup.clone();
    setup.starts = None;
    setup.limits = Limits::in_notes(&s.run.notes);
    let measured = match (log.kv_gib, log.kv_tokens) {
        (Some(gib), _) => gib,
        (None, Some(tokens)) => kv_gib_of_tokens(&setup, tokens),
        (None, None) => return None,
    };
    let most = MOST * setup.gpu.memory_gib;
    let off = measured - memory(&setup).left();
    (off.is_finite() && measured > 0.0).then(|| off.clamp(-most, most))
}

/// GB/s at which a node read the weights of a start.
fn read_rate(s: &Sample, log: &StartLog) -> Option<f64> {
    let seconds = log.load_s.filter(|t| *t > 0.05)?;
    let bytes = s.setup.card.weight_bytes(s.setup.precision) / f64::from(s.setup.pp.max(1));
    (!log.storage.is_empty()).then(|| (bytes / 1e9 / seconds).clamp(1e-3, 100.0))
}

/// The median of first loads: of those that did not come out of a cache, where there were any.
fn first_load(all: &mut Vec<f64>) -> Option<f64> {
    if all.iter().any(|rate| *rate < CACHED_GB_S) {
        all.retain(|rate| *rate < CACHED_GB_S);
    }
    median(all)
}

fn shifts(pools: &BTreeMap<Key, Vec<f64>>) -> Vec<PoolShift> {
    let mut out = Vec::new();
    let mut engines: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for ((engine, model, gpu, tp, precision), all) in pools {
        let n = all.len() as f64;
        let Some(middle) = median(&mut all.clone()) else {
            continue;
        };
        engines.entry(engine).or_default().push(middle);
        out.push(PoolShift {
            engine: engine.clone(),
            model: model.clone(),
            gpu: gpu.clone(),
            tp: *tp,
            precision: *precision,
            n: all.len() as u32,
            shift_gib: middle * n / (n + WORTH * REPEATED_GIB),
            spread_gib: REPEATED_GIB + spread(all, middle) + REPEATED_GIB / n,
        });
    }
    for (engine, mut all) in engines {
        let n = all.len() as f64;
        let Some(middle) = median(&mut all) else {
            continue;
        };
        out.push(PoolShift {
            engine: engine.to_owned(),
            model: String::new(),
            gpu: String::new(),
            tp: 0,
            precision: Precision::Bf16,
            n: all.len() as u32,
            shift_gib: middle * (n - 1.0).max(0.0) / (n + WORTH),
            spread_gib: OTHERS_GIB + spread(&all, middle) + 1.0 / n,
        });
    }
    out
}

/// Median distance from the middle, as the deviation of a normal distribution.
fn spread(all: &[f64], middle: f64) -> f64 {
    let mut away: Vec<f64> = all.iter().map(|x| (x - middle).abs()).collect();
    median(&mut away).unwrap_or(0.0) * 1.4826
}

fn median(all: &mut [f64]) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    let (low, high) = (
        all.get(all.len().saturating_sub(1) / 2)?,
        all.get(all.len() / 2)?,
    );
    Some((low + high) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pools(offs: &[(&str, &[f64])]) -> BTreeMap<Key, Vec<f64>> {
        let key = |model: &str| {
            (
                "vllm".into(),
                model.into(),
                "H200".into(),
                1,
                Precision::Bf16,
            )
        };
        offs.iter()
            .map(|(model, all)| (key(model), all.to_vec()))
            .collect()
    }

    fn of<'a>(all: &'a [PoolShift], model: &str) -> &'a PoolShift {
        all.iter().find(|p| p.model == model).unwrap()
    }

    #[test]
    fn one_configuration_corrects_itself_and_several_their_engine() {
        let one = shifts(&pools(&[("a", &[-2.0, -2.1, -1.9])]));
        assert!((of(&one, "a").shift_gib + 2.0).abs() < 0.15);
        assert_eq!(of(&one, "").shift_gib, 0.0, "one says nothing of others");
        let more = shifts(&pools(&[("a", &[-2.0]), ("b", &[-1.8]), ("c", &[-2.2])]));
        assert!(of(&more, "").shift_gib < -0.9);
    }

    proptest! {
        /// Of five configurations one that somebody made up moves the engine by no more than honest ones do.
        #[test]
        fn a_single_claim_moves_no_engine_beyond_what_others_say(
            honest in prop::collection::vec(-1.0..1.0f64, 4), made_up in -12.0..12.0f64,
        ) {
            let names = ["a", "b", "c", "d"];
            let singles: Vec<[f64; 1]> = honest.iter().map(|x| [*x]).collect();
            let mut all: Vec<(&str, &[f64])> =
                names.iter().copied().zip(singles.iter().map(|s| s.as_slice())).collect();
            let last = [made_up];
            all.push(("e", &last));
            let found = shifts(&pools(&all));
            let most = honest.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            prop_assert!(of(&found, "").shift_gib.abs() <= most + 1e-9);
        }
    }
}
