//! What the data sheets alone say: memory, and a roofline of prefill, decode and communication.
//!
//! The learnt model predicts the residual of measured runs against these estimates, so they need
//! the right shape rather than the right level. The roofline follows S. Williams et al., CACM
//! 52(4), 2009; the split into prefill and decode, R. Pope et al., arXiv 2211.05102.

use super::run::Target;
use super::setup::Setup;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Share of GPU memory that an engine takes (vLLM's default from 0.10 on).
const MEMORY_SHARE: f64 = 0.92;

/// Most sequences in flight that an engine schedules by default.
const MOST_SEQUENCES: f64 = 1024.0;

/// Seconds that one all-reduce takes beside its bytes.
const ALL_REDUCE_LATENCY_S: f64 = 12e-6;

/// Seconds of one decode step that no data sheet explains: launches, sampling, scheduling.
const STEP_OVERHEAD_S: f64 = 1.5e-3;

/// Shares of the peak rates that real kernels reach.
const COMPUTE_SHARE: f64 = 0.55;
const BANDWIDTH_SHARE: f64 = 0.75;

/// Memory of one GPU of the instance, GiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// What the engine may use.
    pub usable: f64,
    /// Weights.
    pub weights: f64,
    /// Activations, CUDA graphs, communication buffers.
    pub working: f64,
    /// KV cache of one request at full length.
    pub one_request: f64,
    /// Tokens whose KV values fit into what is left.
    pub kv_tokens: f64,
}

impl Memory {
    /// What weights, working memory and one request need together, GiB.
    pub fn needed(&self) -> f64 {
        self.weights + self.working + self.one_request
    }
}

/// Memory of one GPU. Working memory: 4.8 to 5.6 GiB for dense models and 7.4 for mixtures of
/// experts under vLLM, nearly independent of size (llm-d capacity planner, measured on H100);
/// engines that build their graphs ahead take less, and so does a small GPU's smaller batch.
pub fn memory(s: &Setup) -> Memory {
    let shards = f64::from(s.tp * s.pp);
    let embedding = f64::from(s.card.vocab) * f64::from(s.card.hidden);
    let body = (s.card.params - embedding).max(0.0);
    let weights = (body * s.precision.bits() / 8.0 + embedding * 2.0) / shards / GIB;
    let lean = s.engine != "vllm" && s.engine != "sglang";
    let working = match (lean, s.card.is_moe()) {
        (true, _) => 1.0,
        (false, false) => 4.8_f64.min(s.gpu.memory_gib * 0.08),
        (false, true) => 7.4_f64.min(s.gpu.memory_gib * 0.10),
    } + if s.tp > 1 { 0.6 } else { 0.15 };
    let share = if lean { 0.97 } else { MEMORY_SHARE };
    let usable = s.gpu.memory_gib * share;
    let per_token = kv_bytes_per_gpu(s) / GIB;
    let left = (usable - weights - working).max(0.0);
    Memory { usable, weights, working, one_request: per_token * s.context(), kv_tokens: left / per_token.max(1e-12) }
}

fn kv_bytes_per_gpu(s: &Setup) -> f64 {
    s.card.kv_bytes_per_token(s.kv_bytes, s.context()) / f64::from(s.card.kv_shards(s.tp) * s.pp)
}

/// The roofline's terms and its estimate of each target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Physics {
    /// Sequences in flight that load and memory allow, per replica.
    pub in_flight: f64,
    /// KV cache asked for over KV cache that fits.
    pub kv_pressure: f64,
    /// Prefill of one request, s.
    pub prefill_s: f64,
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
    /// Output tokens/s of the instance if arrivals do not limit it.
    pub saturated_tok_s: f64,
}

/// Computes the roofline.
pub fn physics(s: &Setup) -> Physics {
    let memory = memory(s);
    let replicas = f64::from(s.dp);
    let mean_context = s.isl + s.osl / 2.0;
    let fits = (memory.kv_tokens / mean_context).max(1.0);
    let asked = s.concurrency.map_or(MOST_SEQUENCES, |c| (c / replicas).max(1.0));
    let in_flight = asked.min(fits).min(MOST_SEQUENCES * 2.0);
    let prefill_s = prefill(s);
    let shards = f64::from(s.tp * s.pp);
    let bandwidth = s.gpu.bandwidth_gb_s * 1e9 * BANDWIDTH_SHARE;
    let weights_s = s.card.params_touched(in_flight) * s.precision.bits() / 8.0 / shards / bandwidth;
    let kv_s = in_flight * mean_context * kv_bytes_per_gpu(s) / bandwidth;
    let compute_s = 2.0 * s.card.active_params * in_flight / shards / flops(s);
    let link_s = all_reduce(s, in_flight);
    let step_s = (weights_s + kv_s).max(compute_s) + link_s + STEP_OVERHEAD_S;
    let per_token_s = step_s + in_flight * prefill_s / s.osl;
    Physics {
        in_flight,
        kv_pressure: asked * mean_context / memory.kv_tokens.max(1.0),
        prefill_s,
        weights_s,
        kv_s,
        compute_s,
        link_s,
        step_s,
        saturated_tok_s: replicas * in_flight / per_token_s,
    }
}

fn flops(s: &Setup) -> f64 {
    s.gpu.tflops(s.precision) * 1e12 * COMPUTE_SHARE
}

/// Prefill of one request: two operations a weight and token, and attention over half the square.
fn prefill(s: &Setup) -> f64 {
    let width = f64::from(s.card.heads) * f64::from(s.card.head_dim);
    let attention = 2.0 * f64::from(s.card.layers) * width * s.isl * s.isl;
    let work = 2.0 * s.card.active_params * s.isl + attention;
    work / f64::from(s.tp * s.pp) / flops(s) + all_reduce(s, s.isl)
}

/// Two all-reduces a layer over the tensor-parallel group, each moving `2 (tp - 1) / tp` times the
/// activations (ring).
fn all_reduce(s: &Setup, tokens: f64) -> f64 {
    if s.tp <= 1 {
        return 0.0;
    }
    let tp = f64::from(s.tp);
    let bytes = tokens * f64::from(s.card.hidden) * 2.0 * 2.0 * (tp - 1.0) / tp;
    let link = s.gpu.link_gb_s.max(1.0) * 1e9 / 2.0 * 0.7;
    2.0 * f64::from(s.card.layers) / f64::from(s.pp) * (bytes / link + ALL_REDUCE_LATENCY_S)
}

impl Physics {
    /// The estimate of one target, in its unit; always finite and positive.
    pub fn estimate(&self, s: &Setup, target: Target) -> f64 {
        let value = match target {
            Target::OutputTokS => self.tok_s(s),
            Target::ReqS => self.tok_s(s) / s.osl,
            Target::TtftMs => self.ttft_s(s) * 1e3,
            Target::TpotMs => self.tpot_s(s) * 1e3,
            Target::KvUsage => self.kv_pressure.clamp(1e-3, 1.0),
            Target::PowerW => s.gpu.tdp_w * f64::from(s.num_gpus()) * 0.7,
            Target::ColdStartS => 40.0 + s.card.params * s.precision.bits() / 8.0 / 2e9,
            Target::LaunchSuccess => 0.9,
        };
        if value.is_finite() { value.max(1e-9) } else { 1e-9 }
    }

    fn tok_s(&self, s: &Setup) -> f64 {
        match s.rate {
            Some(rate) => self.saturated_tok_s.min(rate * s.osl),
            None => self.saturated_tok_s,
        }
    }

    /// A static batch prefills together; arrivals of their own find the engine decoding.
    fn ttft_s(&self, s: &Setup) -> f64 {
        let waiting = match s.workload {
            super::case::Workload::Static | super::case::Workload::Offline => self.in_flight,
            super::case::Workload::ClosedLoop => 1.0 + self.in_flight.sqrt() / 2.0,
            super::case::Workload::Poisson => 1.0,
        };
        self.prefill_s * waiting + self.step_s
    }

    fn tpot_s(&self, s: &Setup) -> f64 {
        let mixed = matches!(s.workload, super::case::Workload::Static);
        let interference = if mixed { 0.0 } else { self.in_flight * self.prefill_s / s.osl };
        self.step_s + interference
    }
}
