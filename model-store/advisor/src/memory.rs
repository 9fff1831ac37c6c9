//! Memory of one GPU when an engine starts: what weights and working memory leave for the KV cache,
//! how many tokens that holds, the longest context, and the chance that the engine starts at all.
//!
//! Every engine divides the memory in its own way. vLLM takes a share of the whole, and what weights
//! and its measured peak leave of that is the cache. SGLang takes a share of what was free before the
//! weights, and keeps its peak outside of it. TensorRT-LLM takes a share of what is free after both.
//! How far these sums miss measured starts is in `docs/model.md`, "Memory at the start".

use super::case::Precision;
use super::chance::normal;
use super::numbers::grouped_count;
use super::setup::Setup;
use super::stack::inner;
use super::starts::{PoolShift, Starts};
use super::version::version;
use super::working::{batched_tokens, working};

pub(crate) const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// Quantile 0.9 of the standard normal distribution.
const Z90: f64 = 1.281_551_565_544_600_5;

/// vLLM's share where none is stated: up to 0.19, and from there on.
const VLLM_SHARES: [f64; 2] = [0.90, 0.92];
const VLLM_LARGER_SHARE: f64 = 20.0;
/// SGLang's shares by degree (1, 2, 4, 8, more) before it reckoned them from its own limits.
const SGLANG_SHARES: [f64; 5] = [0.88, 0.87, 0.85, 0.81, 0.79];
const SGLANG_RECKONS: f64 = 5.0;
/// GPUs below so many GiB: tokens of one of SGLang's steps, and sequences of its graphs up to TP 2 and
/// from 4 on.
const SGLANG_LIMITS: [(f64, f64, [f64; 2]); 4] = [
    (35.0, 2048.0, [24.0, 80.0]),
    (60.0, 4096.0, [32.0, 160.0]),
    (90.0, 8192.0, [256.0, 512.0]),
    (f64::INFINITY, 8192.0, [512.0, 512.0]),
];
/// TensorRT-LLM's share of what is free.
const FREE_SHARE: f64 = 0.9;
/// SGLang's own share of tokens for layers with a window, against those without.
const WINDOW_SHARE: f64 = 0.8;
/// First version of vLLM that keeps layers of several kinds in one pool, in groups of equal size.
const GROUPS: f64 = 10.0;
/// Deviation of the pool where everything is stated, GiB, and of each part.
const SPREAD_GIB: f64 = 0.25;
const WEIGHTS_SPREAD: f64 = 0.008;
const WORKING_SPREAD: f64 = 0.1;
/// Deviation of a share that is not stated.
const SHARE_SPREAD: [f64; 2] = [0.008, 0.02];
/// Deviation of working memory between versions, as a part of the activation.
const VERSION_SPREAD: f64 = 0.35;
/// What has to stay free outside the share for CUDA graphs and the first steps, GiB: mean and
/// deviation; the second for mixtures in mxfp4, whose start needs more.
const OUTSIDE_GIB: [[f64; 2]; 2] = [[0.9, 0.4], [5.5, 1.2]];

/// Memory of one GPU of the instance, GiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// What the engine may use.
    pub usable: f64,
    /// Weights.
    pub weights: f64,
    /// Activations, CUDA graphs, communication buffers, less what starts here left beyond that; negative
    /// where they left more than all of it.
    pub working: f64,
    /// KV cache of one request at full length.
    pub one_request: f64,
    /// Longest context of which one request fits into what is left, tokens.
    pub kv_tokens: f64,
    /// Deviation of what is left, GiB.
    pub spread: f64,
}

impl Memory {
    /// What weights, working memory and one request need together, GiB.
    pub fn needed(&self) -> f64 {
        self.weights + self.working + self.one_request
    }

    /// What is left for the KV cache, GiB; negative where something is missing.
    pub fn left(&self) -> f64 {
        self.usable - self.weights - self.working
    }
}

/// What a configuration has room for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Room {
    /// Tokens of the KV cache of one replica as the engine prints them: lower end, median and upper
    /// end of an interval that holds four in five.
    pub kv_tokens: [f64; 3],
    /// Longest context that fits, tokens, at most the model's own: the lower end and the median.
    pub longest: [f64; 2],
    /// Chance that memory lets it start with the stated context, 0 to 1.
    pub starts: f64,
}

/// Memory of one GPU at its median.
pub fn memory(s: &Setup) -> Memory {
    let weights = weights_gib(s, s.precision);
    let work = working(s);
    let total = s.gpu.memory_gib;
    let share = share(s);
    let (usable, working) = match engine(s) {
        "sglang" => (share * (total - work.non_torch), 0.0),
        "tensorrt-llm" => {
            let taken = weights + work.all();
            (taken + share * (total - taken).max(0.0), work.all())
        }
        _ => (share * total, work.all()),
    };
    let of_weights = WEIGHTS_SPREAD * weights + 0.05;
    let of_work = WORKING_SPREAD * work.activation + unsure(s) * work.activation;
    let of_share = match s.limits.memory_share {
        Some(_) => 0.002 * total,
        None => SHARE_SPREAD[usize::from(engine(s) != "vllm")] * total,
    };
    let squares = [SPREAD_GIB, of_weights, of_work, of_share].map(|x| x * x);
    let cache = Cache::of(s);
    let reckoned = squares.iter().sum::<f64>().sqrt();
    let (shift, spread) = match s.starts.and_then(|x| x.pool(s)) {
        Some(said) if said.is_agreed() => (said.shift_gib, said.spread_gib),
        Some(said) => (said.shift_gib.clamp(-reckoned, reckoned), reckoned),
        None => (0.0, reckoned),
    };
    // What the engine may use is as stated: the cache is larger where the engine works in less.
    let working = working - shift;
    Memory {
        usable,
        weights,
        working,
        one_request: cache.request(s.limits.context.map_or(s.context(), f64::from)) / GIB,
        kv_tokens: cache.longest((usable - weights - working).max(0.0) * GIB),
        spread,
    }
}

/// The setup without what too few users say of memory: what is refused, and which context is told to an
/// engine, follows it. One user's claim moves neither.
pub(super) fn agreed<'a>(s: &Setup<'a>) -> Setup<'a> {
    let said = |starts: &&Starts| starts.pool(s).is_some_and(PoolShift::is_agreed);
    Setup {
        starts: s.starts.filter(said),
        ..s.clone()
    }
}

/// What a configuration has room for. Where a context is stated to the engine, the start is for
/// that one.
pub fn room(s: &Setup) -> Room {
    let (m, cache) = (memory(s), Cache::of(s));
    let at = |z: f64| (m.left() + z * m.spread).max(0.0) * GIB;
    let own = f64::from(s.card.max_context.max(1));
    Room {
        kv_tokens: [-Z90, 0.0, Z90].map(|z| cache.printed(at(z))),
        longest: [-Z90, 0.0].map(|z| cache.longest(at(z)).min(own).floor()),
        starts: normal((m.left() - m.one_request) / m.spread) * outside(s, &m),
    }
}

/// What stays outside the share has to hold CUDA graphs and first steps.
fn outside(s: &Setup, m: &Memory) -> f64 {
    if engine(s) != "vllm" {
        return 1.0;
    }
    let heavy = s.precision == Precision::Mxfp4 && s.card.is_moe() && s.gpu.capability >= 90;
    let recent = since(s, 17.0);
    let [mean, spread] = OUTSIDE_GIB[usize::from(heavy && recent)];
    let eager = if s.limits.eager == Some(true) {
        0.3
    } else {
        1.0
    };
    normal((s.gpu.memory_gib - m.usable - mean * eager) / spread)
}

/// The engine inside what serves it.
fn engine<'a>(s: &Setup<'a>) -> &'a str {
    inner(s.engine, s.engine_version)
}

/// True where the version is at least this one, or not known: an unknown version is a recent one.
fn since(s: &Setup, first: f64) -> bool {
    let stated = version(s.engine_version);
    !stated.is_finite() || stated >= first
}

/// How far activation may be off for a version that is not known.
fn unsure(s: &Setup) -> f64 {
    let stated = engine(s) != "vllm" || version(s.engine_version).is_finite();
    if stated { 0.0 } else { VERSION_SPREAD }
}

/// The share of the memory that the engine takes.
fn share(s: &Setup) -> f64 {
    if let Some(stated) = s.limits.memory_share {
        return stated;
    }
    match engine(s) {
        "sglang" => sglang_share(s),
        "vllm" => VLLM_SHARES[usize::from(since(s, VLLM_LARGER_SHARE))],
        _ => FREE_SHARE,
    }
}

/// SGLang keeps half a GiB, 1.5 MiB for each token of a step and 2 MiB for each sequence that its
/// graphs hold.
fn sglang_share(s: &Setup) -> f64 {
    if !since(s, SGLANG_RECKONS) {
        let at = (s.tp.max(1).ilog2() as usize).min(SGLANG_SHARES.len() - 1);
        return SGLANG_SHARES[at];
    }
    let total = s.gpu.memory_gib;
    let wide = usize::from(s.tp >= 4);
    // What is left of a larger GPU is never less than of the largest one in a lower row.
    let mut usable = 0.0f64;
    for (below, tokens, batch) in SGLANG_LIMITS {
        let tokens = s
            .limits
            .batched_tokens
            .map_or(tokens, f64::from)
            .max(2048.0);
        let kept = (512.0 + 1.5 * tokens + 2.0 * batch[wide]) / 1024.0;
        usable = usable.max(total.min(below) - kept);
        if total < below {
            break;
        }
    }
    (usable / total).max(0.3)
}

/// Weights on one GPU in this format, GiB.
pub(crate) fn weights_gib(s: &Setup, format: Precision) -> f64 {
    let stored = s.card.weight_bytes(format) / f64::from(s.tp * s.pp) / GIB;
    stored + padding_gib(s, format)
}

/// vLLM's kernels for experts in mxfp4 pad the width of each to a multiple of 256.
fn padding_gib(s: &Setup, format: Precision) -> f64 {
    let width = s.card.moe_intermediate.div_ceil(s.tp.max(1));
    if engine(s) != "vllm" || format != Precision::Mxfp4 || width == 0 {
        return 0.0;
    }
    let padded = f64::from(width.next_multiple_of(256)) / f64::from(width) - 1.0;
    let experts = s.card.expert_params * format.bits() / 8.0;
    padded * experts / f64::from(s.tp * s.pp) / GIB
}

/// GiB on each GPU of a KV cache of which the engine prints so many tokens.
pub fn kv_gib_of_tokens(s: &Setup, tokens: f64) -> f64 {
    tokens * Cache::of(s).printed / GIB
}

/// Bytes that one request of so many tokens keeps on each GPU.
pub(super) fn request_bytes(s: &Setup, tokens: f64) -> f64 {
    Cache::of(s).request(tokens)
}

/// What the KV cache of one GPU keeps.
struct Cache {
    /// Bytes of a token in all layers that keep every token, and in all layers with a window.
    full: f64,
    near: f64,
    /// Tokens that a layer with a window keeps of one request at most.
    window: f64,
    /// Bytes of the states of one request.
    state: f64,
    /// Bytes of a token by which the engine counts the tokens that it prints.
    printed: f64,
}

impl Cache {
    fn of(s: &Setup) -> Self {
        let c = s.card;
        let shards = f64::from(c.kv_shards(s.tp) * s.pp.max(1));
        // As long as no window has passed, every layer keeps every token.
        let all = c.kv_bytes_per_token(s.kv_bytes, 1.0) / shards;
        let far = c.kv_bytes_per_token(s.kv_bytes, 1e15) / shards;
        let (full, near) = (far, (all - far).max(0.0));
        let ahead = if engine(s) == "vllm" {
            batched_tokens(s) - 1.0
        } else {
            0.0
        };
        Self {
            full,
            near,
            window: f64::from(c.sliding_window) + ahead,
            state: c.state_bytes / f64::from(s.tp * s.pp.max(1)),
            printed: match engine(s) {
                "sglang" => full + WINDOW_SHARE * near,
                "vllm" if since(s, GROUPS) => all * grouped_layers(s),
                _ => all,
            },
        }
    }

    /// Bytes of one request of so many tokens.
    fn request(&self, tokens: f64) -> f64 {
        self.full * tokens + self.near * tokens.min(self.window) + self.state
    }

    /// Longest request that so many bytes hold, tokens.
    fn longest(&self, bytes: f64) -> f64 {
        let left = (bytes - self.state).max(0.0);
        let within = left / (self.full + self.near).max(1e-12);
        if within <= self.window || self.near <= 0.0 {
            return within;
        }
        (left - self.near * self.window) / self.full.max(1e-12)
    }

    fn printed(&self, bytes: f64) -> f64 {
        bytes / self.printed.max(1e-12)
    }
}

/// Layers that vLLM reckons with for each one that keeps something: it puts layers of one kind into
/// groups as large as the rarest kind, and fills the last group of each kind up.
fn grouped_layers(s: &Setup) -> f64 {
    let c = s.card;
    let keeping = c.layers.saturating_sub(c.cacheless_layers);
    let windowed = c.sliding_layers.min(keeping);
    let kinds = [keeping - windowed, windowed, c.state_layers];
    let some = kinds.iter().copied().filter(|n| *n > 0);
    let (least, most) = (
        some.clone().min().unwrap_or(1),
        some.clone().max().unwrap_or(1),
    );
    // Kinds of nearly one size are filled up to the larger.
    let size = if f64::from(most) < 1.25 * f64::from(least) {
        most
    } else {
        least
    };
    let groups: u32 = some.map(|n| n.div_ceil(size)).sum();
    f64::from(groups * size) / f64::from(keeping.max(1))
}

/// Why the memory of one GPU does not hold a setup, in numbers.
pub(super) fn too_small(s: &Setup) -> String {
    let (m, room) = (memory(s), room(s));
    if m.needed() <= m.usable {
        let free = s.gpu.memory_gib - m.usable;
        return format!(
            "{free:.1} GiB of each GPU stay free beside the share that the engine takes, too few for its start with {}",
            s.precision
        );
    }
    let fits = match room.longest[1] {
        n if n >= 1024.0 => format!("; a context of {} tokens fits", grouped_count(n as u64)),
        _ => String::new(),
    };
    format!(
        "{:.1} GiB of weights, {:.1} GiB working memory and {:.1} GiB for one request on each GPU, {:.1} GiB usable{fits}",
        m.weights,
        m.working.max(0.0),
        m.one_request,
        m.usable
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Variant, Workload};
    use crate::{Catalogue, GPUS, GpuSpec, Limits, ModelCard};
    use proptest::prelude::*;

    fn setup<'a>(card: &'a ModelCard, gpu: &'static GpuSpec, limits: Limits) -> Setup<'a> {
        Setup {
            card,
            gpu,
            tp: 1,
            pp: 1,
            dp: 1,
            precision: Precision::Bf16,
            kv_bytes: 2.0,
            isl: 1000.0,
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

    /// Model, version, TP, share, sequences, bytes of a KV value, and the tokens that vLLM printed on an
    /// H100 (jgchn/llm-d-planner, inference-sim/inference-sim).
    type Printed = (&'static str, &'static str, u32, f64, Option<u32>, f64, f64);
    const PRINTED: [Printed; 7] = [
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            "0.19.0",
            1,
            0.95,
            None,
            2.0,
            476_016.0,
        ),
        (
            "meta-llama/Llama-3.1-8B-Instruct",
            "0.19.0",
            1,
            0.95,
            None,
            1.0,
            952_032.0,
        ),
        (
            "Qwen/Qwen2.5-7B-Instruct",
            "0.19.0",
            1,
            0.95,
            None,
            2.0,
            1_096_000.0,
        ),
        (
            "meta-llama/Llama-2-7b-hf",
            "0.15.1",
            1,
            0.90,
            Some(128),
            2.0,
            119_408.0,
        ),
        (
            "meta-llama/Llama-3.1-70B-Instruct",
            "0.15.1",
            4,
            0.90,
            Some(128),
            2.0,
            486_800.0,
        ),
        (
            "Qwen/Qwen2.5-7B-Instruct",
            "0.15.1",
            1,
            0.90,
            Some(128),
            2.0,
            1_045_888.0,
        ),
        ("01-ai/Yi-34B", "0.15.1", 2, 0.90, Some(128), 2.0, 332_688.0),
    ];

    #[test]
    fn tokens_that_engines_printed_are_foretold_to_two_per_cent_and_lie_in_the_interval() {
        let catalogue = Catalogue::built_in();
        let gpu = GpuSpec::by_name("H100-SXM").unwrap();
        for (model, engine_version, tp, share, sequences, kv_bytes, printed) in PRINTED {
            let limits = Limits {
                memory_share: Some(share),
                sequences,
                batched_tokens: sequences.map(|_| 2048),
                ..Limits::default()
            };
            let card = catalogue.find(model).unwrap();
            let s = Setup {
                tp,
                kv_bytes,
                engine_version,
                ..setup(card, gpu, limits)
            };
            let [lo, q50, hi] = room(&s).kv_tokens;
            assert!(
                (q50 / printed - 1.0).abs() < 0.02,
                "{model}: {q50} {printed}"
            );
            assert!(
                lo <= printed && printed <= hi,
                "{model}: {lo} {printed} {hi}"
            );
        }
    }

    #[test]
    fn a_context_that_does_not_fit_is_refused_with_the_one_that_does() {
        let catalogue = Catalogue::built_in();
        let card = catalogue.find("Qwen/Qwen3-32B").unwrap();
        let of = |context| {
            let limits = Limits {
                memory_share: Some(0.9),
                context: Some(context),
                ..Limits::default()
            };
            Setup {
                engine_version: "0.11.0",
                ..setup(card, GpuSpec::by_name("H100-SXM").unwrap(), limits)
            }
        };
        assert!(room(&of(16_000)).starts > 0.5 && room(&of(32_000)).starts < 0.01);
        let reason = too_small(&of(32_000));
        assert!(reason.contains("7.8 GiB for one request"), "{reason}");
        assert!(reason.contains("; a context of 18,"), "{reason}");
    }

    /// Starts of so many users that left so much more for the cache of any configuration of vLLM.
    fn starts(users: u32, shift_gib: f64) -> Starts {
        let pool = PoolShift {
            engine: "vllm".into(),
            model: String::new(),
            gpu: String::new(),
            tp: 0,
            precision: Precision::Bf16,
            users,
            shift_gib,
            spread_gib: 0.5,
        };
        Starts {
            pools: vec![pool],
            rates: Vec::new(),
        }
    }

    #[test]
    fn an_engine_that_has_more_room_than_reckoned_is_not_refused_for_it() {
        let catalogue = Catalogue::built_in();
        let card = catalogue.find("google/gemma-2-27b-it").unwrap();
        let limits = Limits {
            sequences: Some(64),
            ..Limits::default()
        };
        let reckoned = Setup {
            engine_version: "0.11.0",
            ..setup(card, GpuSpec::by_name("H100-SXM").unwrap(), limits)
        };
        let mut before = room(&reckoned).starts;
        assert!(before > 0.5, "{before}");
        for shift in [0.5, 2.0, 4.0, 8.4] {
            let starts = starts(5, shift);
            let found = Setup {
                starts: Some(&starts),
                ..reckoned.clone()
            };
            let (m, room) = (memory(&found), room(&found));
            assert_eq!(m.usable, memory(&reckoned).usable);
            assert!((m.left() - memory(&reckoned).left() - shift).abs() < 1e-9);
            assert!(room.starts >= before - 1e-9, "{shift}: {}", room.starts);
            before = room.starts;
        }
    }

    #[test]
    fn what_two_users_say_moves_memory_by_its_deviation_at_most_and_decides_nothing() {
        let catalogue = Catalogue::built_in();
        let card = catalogue.find("Qwen/Qwen3-32B").unwrap();
        let reckoned = setup(
            card,
            GpuSpec::by_name("H100-SXM").unwrap(),
            Limits::default(),
        );
        let at_first = memory(&reckoned);
        for (users, shift) in [(1, -9.0), (2, -9.0), (2, 9.0), (3, 9.0)] {
            let starts = starts(users, shift);
            let said = Setup {
                starts: Some(&starts),
                ..reckoned.clone()
            };
            let moved = memory(&said).left() - at_first.left();
            if users < 3 {
                assert!((moved.abs() - at_first.spread).abs() < 1e-9, "{moved}");
                assert_eq!(memory(&agreed(&said)), at_first);
            } else {
                assert!((moved - shift).abs() < 1e-9, "{moved}");
                assert_eq!(memory(&agreed(&said)), memory(&said));
            }
        }
    }

    proptest! {
        #[test]
        fn a_longer_context_never_starts_more_surely_and_a_larger_share_never_holds_fewer_tokens(
            model in any::<prop::sample::Index>(), gpu in 0..GPUS.len(), engine in prop::sample::select(vec!["vllm", "sglang", "tensorrt-llm"]),
            context in 1u32..200_000, more in 0u32..200_000, share in 0.3..0.95f64, larger in 0.0..0.05f64,
        ) {
            let catalogue = Catalogue::built_in();
            let card = model.get(catalogue.cards());
            let of = |context, share| {
                let limits = Limits { context: Some(context), memory_share: Some(share), ..Limits::default() };
                room(&Setup { engine, ..setup(card, &GPUS[gpu], limits) })
            };
            let (short, long) = (of(context, share), of(context + more, share));
            prop_assert!(long.starts <= short.starts + 1e-9);
            prop_assert!(short.longest[0] <= short.longest[1]);
            let [lo, q50, hi] = short.kv_tokens;
            prop_assert!(0.0 <= lo && lo <= q50 && q50 <= hi && hi.is_finite());
            prop_assert!(of(context, share + larger).kv_tokens[1] >= q50 - 1e-6);
        }
    }
}
