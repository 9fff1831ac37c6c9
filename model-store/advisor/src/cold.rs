//! How long an engine takes from its start until it serves, before any start was seen here.
//!
//! The phases are those that engines log: their own start, reading the weights, compiling, the trial
//! run that measures memory, capturing CUDA graphs. Each has a median and a spread; the constants were
//! taken from public starts (`docs/model.md`, "Time to start"). What storage gives and whether anything
//! lies in a cache decides more than the GPU, so where neither is known the interval says so.

use serde::Serialize;

use super::advice::Prediction;
use super::setup::Setup;
use super::version::version;

/// Quantile 0.9 of the standard normal distribution.
const Z90: f64 = 1.281_551_565_544_600_5;
/// Slower hosts of older GPUs: by how much all but reading takes longer.
const OLD_HOST: f64 = 1.8;
/// The same for the start of the process, which waits for more than the processor.
const OLD_HOST_START: f64 = 1.4;

/// GB/s at which weights are read: from the page cache, by hosts of newer and of older GPUs, and for
/// the first time from storage that is not known.
const CACHED_GB_S: [f64; 2] = [5.5, 1.9];
const FIRST_GB_S: f64 = 2.0;
/// Spread of the logarithm of these rates: known storage, page cache, unknown storage.
const RATE_SPREAD: [f64; 3] = [0.35, 0.3, 1.6];
/// Spread of the logarithm that all phases of a host share.
const HOST_SPREAD: f64 = 0.12;

/// Storage by a word that names it, GB/s of one node.
const STORAGE: [(&str, f64); 8] = [
    ("page cache", 5.5),
    ("ssd", 4.2),
    ("nvme", 4.2),
    ("vast", 0.53),
    ("weka", 1.5),
    ("lustre", 0.33),
    ("gpfs", 0.5),
    ("nfs", 0.12),
];

/// Seconds of one phase and the spread of its logarithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Phase {
    /// Median, s.
    pub seconds: f64,
    /// Deviation of the logarithm.
    pub spread: f64,
}

/// One start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Start {
    /// Processes, imports and communication.
    pub init: Phase,
    /// Reading the weights.
    pub load: Phase,
    /// Compiling, or reading what was compiled.
    pub compile: Phase,
    /// The trial run that measures memory.
    pub profile: Phase,
    /// Capturing CUDA graphs, or tuning kernels.
    pub graphs: Phase,
    /// All together, s: an interval that holds four in five.
    pub seconds: Prediction,
}

/// GB/s of the storage that a text names; `None` where it names none that is known.
pub fn storage_rate(text: &str) -> Option<f64> {
    let t = text.to_ascii_lowercase();
    STORAGE
        .iter()
        .find(|(word, _)| t.contains(word))
        .map(|(_, rate)| *rate)
}

/// The start of a setup.
pub fn start(s: &Setup) -> Start {
    let old = s.gpu.capability <= 80;
    let host = if old { OLD_HOST } else { 1.0 };
    let layers = f64::from(s.card.layers.max(1));
    let vllm = s.engine == "vllm";
    let eager = s.limits.eager == Some(true);
    let own = match s.engine {
        "vllm" => 12.5,
        "sglang" => 15.0,
        _ => 30.0,
    };
    let nodes = if s.pp > 1 { 60.0 } else { 0.0 };
    let init = Phase {
        seconds: own * if old { OLD_HOST_START } else { 1.0 } + nodes,
        spread: if nodes > 0.0 { 0.6 } else { 0.25 },
    };
    let cached = s.limits.cached;
    let none = Phase::default();
    let (a_layer, spread) = match (cached, s.limits.read_gb_s) {
        (Some(true), _) => (0.26, 0.3),
        // Storage that was read says nothing of the cache of what is compiled.
        (_, Some(_)) => (0.45, 0.5),
        (Some(false), None) => (0.75, 0.3),
        (None, None) => (0.75, 0.6),
    };
    let compile = Phase {
        seconds: layers * host * a_layer,
        spread,
    };
    let profile = Phase {
        seconds: host * if cached == Some(true) { 1.5 } else { 3.5 },
        spread: 0.4,
    };
    let phases = [
        init,
        load(s, old),
        if vllm && !eager { compile } else { none },
        if vllm { profile } else { none },
        if eager { none } else { graphs(s, host) },
    ];
    let [init, load, compile, profile, graphs] = phases;
    Start {
        init,
        load,
        compile,
        profile,
        graphs,
        seconds: together(&phases),
    }
}

/// From the page cache every rank reads its own part; from storage the node reads the whole
/// checkpoint once.
fn load(s: &Setup, old: bool) -> Phase {
    let node = s.card.weight_bytes(s.precision) / f64::from(s.pp.max(1)) / 1e9;
    let rank = node / f64::from(s.tp.max(1));
    let warm = rank / CACHED_GB_S[usize::from(old)];
    let (seconds, spread) = match (s.limits.read_gb_s, s.limits.cached) {
        (_, Some(true)) => (warm, RATE_SPREAD[1]),
        (Some(rate), _) => ((node / rate).max(warm), RATE_SPREAD[0]),
        (None, _) => ((node / FIRST_GB_S).max(warm), RATE_SPREAD[2]),
    };
    Phase { seconds, spread }
}

/// vLLM captured 67 sizes up to 0.9, few in 0.10, and graphs of two kinds from 0.11 on. SGLang
/// captures up to 512 sequences, TensorRT-LLM tunes kernels first.
fn graphs(s: &Setup, host: f64) -> Phase {
    let layers = f64::from(s.card.layers.max(1));
    let stated = version(s.engine_version);
    let seconds = match s.engine {
        "vllm" if stated < 10.0 => (6.5 + 0.16 * layers) * host,
        "vllm" if stated < 11.0 => 1.4,
        "vllm" => 0.25 * layers * host,
        "sglang" => 15.0 * host,
        _ => 40.0,
    };
    let unsure = s.engine != "vllm" || !stated.is_finite();
    Phase {
        seconds,
        spread: if unsure { 0.7 } else { 0.45 },
    }
}

/// The sum of phases that go each its own way: above and below the sum of medians their distances to
/// their own quantiles add up in squares, so that one phase which may take ten times as long shows.
fn together(phases: &[Phase]) -> Prediction {
    let total: f64 = phases.iter().map(|p| p.seconds).sum();
    // What the host adds to all of them alike.
    let host = Phase {
        seconds: total,
        spread: HOST_SPREAD,
    };
    let away = |z: f64| {
        let of = |p: &Phase| (p.seconds * ((z * p.spread).exp() - 1.0)).powi(2);
        (phases.iter().map(of).sum::<f64>() + of(&host)).sqrt()
    };
    let (lo, hi) = ((total - away(-Z90)).max(0.2 * total), total + away(Z90));
    Prediction {
        q10: lo,
        q50: total,
        q90: hi,
        lo,
        hi,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Precision, Variant, Workload};
    use crate::{Catalogue, GPUS, Limits};
    use proptest::prelude::*;

    fn setup<'a>(card: &'a crate::ModelCard, gpu: usize, limits: Limits) -> Setup<'a> {
        Setup {
            card,
            gpu: &GPUS[gpu],
            tp: 1,
            pp: 1,
            dp: 1,
            precision: Precision::Bf16,
            kv_bytes: 2.0,
            isl: 100.0,
            osl: 100.0,
            workload: Workload::ClosedLoop,
            concurrency: Some(8.0),
            rate: None,
            engine: "vllm",
            engine_version: "",
            source: "",
            variant: Variant::default(),
            limits,
            starts: None,
            assumed: [false; 3],
        }
    }

    proptest! {
        #[test]
        fn a_start_from_caches_is_never_slower_nor_less_certain_than_a_first_one(
            model in any::<prop::sample::Index>(), gpu in 0..GPUS.len(), rate in prop::option::of(0.05..1.0f64),
        ) {
            let catalogue = Catalogue::built_in();
            let card = model.get(catalogue.cards());
            let of = |cached| {
                let limits = Limits { cached, read_gb_s: rate, ..Limits::default() };
                start(&setup(card, gpu, limits)).seconds
            };
            let (first, unknown, again) = (of(Some(false)), of(None), of(Some(true)));
            prop_assert!(again.q50 <= first.q50 && again.q50 <= unknown.q50);
            prop_assert!(again.hi <= first.hi && unknown.hi >= first.hi - 1e-9);
            prop_assert!(again.lo > 0.0 && again.lo <= again.q50 && again.q50 <= again.hi);
        }

        #[test]
        fn slower_storage_never_makes_a_start_faster(
            model in any::<prop::sample::Index>(), rate in 0.01..5.0f64, faster in 1.0..10.0f64,
        ) {
            let catalogue = Catalogue::built_in();
            let card = model.get(catalogue.cards());
            let of = |rate| {
                let limits = Limits { read_gb_s: Some(rate), ..Limits::default() };
                start(&setup(card, 2, limits)).seconds.q50
            };
            prop_assert!(of(rate * faster) <= of(rate));
        }
    }
}
