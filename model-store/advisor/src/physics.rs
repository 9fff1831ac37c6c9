//! What is known of a setup before any run is looked at: the engine's state under the load
//! (measured operations put together, see [`super::steady`]), and the terms of a roofline. Memory is
//! in `memory`.
//!
//! The learnt model predicts the residual of measured runs against these estimates. The roofline
//! follows S. Williams et al., CACM 52(4), 2009; the split into prefill and decode, R. Pope et al.,
//! arXiv 2211.05102.

use super::cold::start;
use super::first_day::kv_usage;
pub use super::memory::{Memory, memory};
use super::power::power;
use super::run::Target;
use super::setup::Setup;
use super::steady::{State, state};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Shares of the peak rates that real kernels reach: reading memory, decode arithmetic.
const BANDWIDTH_SHARE: f64 = 0.8;
const DECODE_SHARE: f64 = 0.7;

/// The roofline's terms and its estimate of each target. Times in seconds, of one replica.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Physics {
    /// Sequences that the load asks to be in flight, per replica.
    pub asked: f64,
    /// Sequences whose KV values fit into memory, per replica.
    pub capacity: f64,
    /// Sequences in flight that load and memory allow, per replica.
    pub in_flight: f64,
    /// Weights of one GPU over its memory.
    pub weight_share: f64,
    /// KV-cache bytes of one token over the whole model.
    pub kv_token_bytes: f64,
    /// Prefill of one request that comes alone, s.
    pub prefill_s: f64,
    /// Prefill of one request among many, s.
    pub shared_prefill_s: f64,
    /// Decode step: reading weights, s.
    pub weights_s: f64,
    /// Decode step: reading the KV cache, s.
    pub kv_s: f64,
    /// Decode step: arithmetic, s.
    pub compute_s: f64,
    /// Decode step: communication, s.
    pub link_s: f64,
    /// Decode step altogether, s.
    pub step_s: f64,
    /// Replicas inside the instance, those included that expert parallelism makes of attention.
    pub replicas: f64,
    /// Output tokens/s of the instance if arrivals do not limit it.
    pub saturated_tok_s: f64,
    /// The engine under this load.
    pub state: State,
}

/// What one step of a setup is made of, before the load is known.
struct Machine {
    tp: f64,
    pp: f64,
    replicas: f64,
    weight_bytes: f64,
    bandwidth: f64,
    peak: f64,
    link: f64,
    layers: f64,
    hidden: f64,
}

impl Machine {
    fn of(s: &Setup) -> Self {
        let (tp, pp) = (f64::from(s.tp), f64::from(s.pp));
        Self {
            tp,
            pp,
            replicas: f64::from(s.dp).max(experts_spread(s) / (tp * pp)),
            weight_bytes: s.precision.bits() / 8.0,
            bandwidth: s.gpu.bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE,
            peak: s.gpu.tflops(s.precision) * 1e12,
            link: s.gpu.link_gb_s.max(1.0) * 1e9 / 2.0,
            layers: f64::from(s.card.layers),
            hidden: f64::from(s.card.hidden),
        }
    }

    /// Two all-reduces a layer over the tensor-parallel group, each moving `2 (tp - 1) / tp` times
    /// the activations (ring), and a latency each.
    fn all_reduce(&self, tokens: f64, latency: f64) -> f64 {
        if self.tp <= 1.0 {
            return 0.0;
        }
        let bytes = tokens * self.hidden * 2.0 * 2.0 * (self.tp - 1.0) / self.tp;
        2.0 * self.layers * (bytes / self.link + latency)
    }
}

/// GPUs that the experts are spread over, where the deployment says so; 1 otherwise.
fn experts_spread(s: &Setup) -> f64 {
    let spread = u32::from(s.variant.moe_tp) * u32::from(s.variant.moe_ep);
    if s.card.is_moe() && spread > s.num_gpus() {
        f64::from(spread)
    } else {
        1.0
    }
}

/// Weights of one GPU, bytes: embeddings at 16 bits, experts over all GPUs that share them.
fn weights_of_one_gpu(s: &Setup, m: &Machine, memory: f64) -> f64 {
    let c = s.card;
    let embeddings = f64::from(c.vocab) * m.hidden * 2.0;
    let all = (c.params - embeddings).max(c.params * 0.5) * m.weight_bytes + embeddings * 2.0;
    let expert_layers = f64::from(c.layers.saturating_sub(c.dense_layers));
    let routed = 3.0
        * m.hidden
        * f64::from(c.moe_intermediate)
        * expert_layers
        * f64::from(c.experts)
        * m.weight_bytes;
    let spread = if experts_spread(s) > 1.0 {
        m.tp * m.pp * m.replicas
    } else {
        m.tp * m.pp
    };
    let one = (all - routed).max(0.0) / (m.tp * m.pp) + routed / spread;
    // It ran, so what looks too large was spread further than the record says.
    if one > memory * 0.97 {
        one / (one / (memory * 0.8)).log2().ceil().exp2().min(8.0)
    } else {
        one
    }
}

/// What is left for the KV cache on one GPU, bytes; never negative, and smooth where it gets
/// scarce.
fn free_bytes(weights: f64, memory: f64) -> f64 {
    let scale = memory * 0.02;
    let left = (memory * 0.9 - weights - 2e9) / scale;
    let smooth = if left > 30.0 {
        left
    } else {
        left.exp().ln_1p()
    };
    scale * smooth.max(0.05)
}

/// KV bytes of one sequence of `tokens` on one GPU, over all stages.
fn kv_of_sequence(s: &Setup, tokens: f64) -> f64 {
    s.card.kv_bytes_per_token(s.kv_bytes, tokens) * tokens / f64::from(s.card.kv_shards(s.tp))
        + s.card.state_bytes / f64::from(s.tp)
}

/// Computes memory, the roofline's terms and the state of the engine.
pub fn physics(s: &Setup) -> Physics {
    let m = Machine::of(s);
    let memory = s.gpu.memory_gib * GIB;
    let weights = weights_of_one_gpu(s, &m, memory);
    let mean_length = s.isl + s.osl / 2.0;
    let kv_mean = kv_of_sequence(s, mean_length);
    // Sequences of a steady load are of all ages: on average half of their output is in the cache.
    let capacity = (free_bytes(weights, memory) * m.pp / kv_mean.max(1.0)).max(0.25);
    let state = state(s, m.replicas, capacity);
    let in_flight = state.running;
    let embeddings = f64::from(s.card.vocab) * m.hidden * 2.0;
    let touched = s.card.params_touched(in_flight);
    let read = (touched - embeddings).max(touched * 0.3) * m.weight_bytes + embeddings;
    Physics {
        asked: state.asked,
        capacity,
        in_flight,
        weight_share: weights / memory,
        kv_token_bytes: s.card.kv_bytes_per_token(s.kv_bytes, 1.0),
        prefill_s: state.alone_s,
        shared_prefill_s: state.prefill_s,
        weights_s: read / (m.tp * m.bandwidth),
        kv_s: in_flight * kv_mean / m.pp / m.bandwidth,
        compute_s: 2.0 * s.card.active_params * in_flight / (m.tp * m.peak * DECODE_SHARE),
        link_s: m.all_reduce(in_flight, 6e-6 + 2e-6 * m.tp.log2()),
        step_s: state.step_s,
        replicas: m.replicas,
        saturated_tok_s: m.replicas * state.most_req_s * s.osl,
        state,
    }
}

impl Physics {
    /// The estimate of one target, in its unit; always finite and positive.
    pub fn estimate(&self, s: &Setup, target: Target) -> f64 {
        let value = match target {
            Target::OutputTokS => self.tok_s(s),
            Target::ReqS => self.tok_s(s) / s.osl,
            Target::TtftMs => self.state.ttft_s * 1e3,
            Target::TpotMs => self.state.tpot_s * 1e3,
            Target::KvUsage => kv_usage(s, self).q50,
            Target::PowerW => power(s, self).q50,
            Target::ColdStartS => start(s).seconds.q50,
            Target::LaunchSuccess => 0.9,
        };
        if value.is_finite() {
            value.max(1e-9)
        } else {
            1e-9
        }
    }

    fn tok_s(&self, s: &Setup) -> f64 {
        self.replicas * self.state.req_s * s.osl
    }

    /// Seconds that a request waits for sequences before it that do not fit.
    pub const fn queue_s(&self) -> f64 {
        self.state.queue_s
    }
}
