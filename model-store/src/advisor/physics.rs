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

/// Sequences in flight where a saturated benchmark names none, and where another load names none.
const SATURATED_SEQUENCES: f64 = 2048.0;
const UNNAMED_SEQUENCES: f64 = 512.0;

/// Most sequences that a finite rate of arrivals is taken to keep in flight.
const MOST_AT_A_RATE: f64 = 1024.0;

/// Arrivals above this rate (1/s) come all at once.
const ALL_AT_ONCE: f64 = 500.0;

/// Seconds that each layer of a step takes beside its arithmetic: launches and synchronisation.
const LAYER_OVERHEAD_S: f64 = 12e-6;

/// Shares of the peak rates that real kernels reach: reading memory, decode and prefill arithmetic.
const BANDWIDTH_SHARE: f64 = 0.8;
const DECODE_SHARE: f64 = 0.7;
const PREFILL_SHARE: f64 = 0.55;

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
    let weights = s.card.weight_bytes(s.precision) / shards / GIB;
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
    Memory {
        usable,
        weights,
        working,
        one_request: per_token * s.context() + s.card.state_bytes / shards / GIB,
        kv_tokens: left / per_token.max(1e-12),
    }
}

fn kv_bytes_per_gpu(s: &Setup) -> f64 {
    s.card.kv_bytes_per_token(s.kv_bytes, s.context()) / f64::from(s.card.kv_shards(s.tp) * s.pp)
}

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

/// Operations of one request's prefill: two a weight and token, and attention over half the square.
fn prefill_work(s: &Setup) -> f64 {
    let c = s.card;
    let width = f64::from(c.heads) * f64::from(c.head_dim);
    let windowed = c.sliding_window > 0 && f64::from(c.sliding_layers) > 0.9 * f64::from(c.layers);
    let reach = if windowed {
        s.isl.min(f64::from(c.sliding_window))
    } else {
        s.isl
    };
    2.0 * c.active_params * s.isl + 2.0 * f64::from(c.layers) * width * s.isl * reach
}

/// Sequences that the load asks for, per replica: as stated; else by Little's law from a finite
/// rate of arrivals; else as many as such benchmarks keep in flight.
fn asked(s: &Setup, m: &Machine, shared_prefill_s: f64, kv_mean: f64) -> f64 {
    if let Some(stated) = s.concurrency {
        return (stated / m.replicas).max(1.0);
    }
    let Some(rate) = s.rate.filter(|r| *r < ALL_AT_ONCE) else {
        let saturated = s.workload == super::case::Workload::Offline;
        return (if saturated {
            SATURATED_SEQUENCES
        } else {
            UNNAMED_SEQUENCES
        } / m.replicas)
            .max(1.0);
    };
    let tokens_s = rate / m.replicas * s.osl;
    let fixed =
        s.card.params * m.weight_bytes / (m.tp * m.pp * m.replicas * m.bandwidth) + m.layers * 2e-5;
    let each = kv_mean / m.pp / m.bandwidth
        + 2.0 * s.card.active_params / (m.tp * m.peak * DECODE_SHARE)
        + shared_prefill_s / s.osl;
    let spare = 1.0 - tokens_s * each;
    if spare > 0.02 {
        (tokens_s * fixed / spare).clamp(1.0, MOST_AT_A_RATE)
    } else {
        MOST_AT_A_RATE
    }
}

/// Computes the roofline.
pub fn physics(s: &Setup) -> Physics {
    let m = Machine::of(s);
    let memory = s.gpu.memory_gib * GIB;
    let weights = weights_of_one_gpu(s, &m, memory);
    let kv_mean = kv_of_sequence(s, s.isl + s.osl / 2.0);
    let capacity =
        (free_bytes(weights, memory) * m.pp / kv_of_sequence(s, s.context()).max(1.0)).max(0.25);
    let arithmetic = prefill_work(s) / (m.tp * m.peak * PREFILL_SHARE);
    let asked = asked(s, &m, arithmetic, kv_mean);
    let in_flight = asked.min(capacity).max(1.0);
    let embeddings = f64::from(s.card.vocab) * m.hidden * 2.0;
    let touched = s.card.params_touched(in_flight);
    let read = (touched - embeddings).max(touched * 0.3) * m.weight_bytes + embeddings;
    let weights_s = read / (m.tp * m.bandwidth);
    let kv_s = in_flight * kv_mean / m.pp / m.bandwidth;
    let compute_s = 2.0 * s.card.active_params * in_flight / (m.tp * m.peak * DECODE_SHARE);
    let link_s = m.all_reduce(in_flight, 6e-6 + 2e-6 * m.tp.log2());
    let step_s = (weights_s + kv_s).max(compute_s) + link_s + m.layers * LAYER_OVERHEAD_S;
    let streamed = s.card.params_touched(s.isl) * m.weight_bytes / (m.tp * m.bandwidth);
    let shared_prefill_s = arithmetic + m.all_reduce(s.isl, 0.0);
    Physics {
        asked,
        capacity,
        in_flight,
        weight_share: weights / memory,
        kv_token_bytes: s.card.kv_bytes_per_token(s.kv_bytes, 1.0),
        prefill_s: arithmetic.max(streamed)
            + m.all_reduce(s.isl, 8e-6)
            + m.layers * LAYER_OVERHEAD_S,
        shared_prefill_s,
        weights_s,
        kv_s,
        compute_s,
        link_s,
        step_s,
        replicas: m.replicas,
        saturated_tok_s: m.replicas * in_flight * s.osl
            / (in_flight * shared_prefill_s + s.osl * step_s),
    }
}

impl Physics {
    /// The estimate of one target, in its unit; always finite and positive.
    pub fn estimate(&self, s: &Setup, target: Target) -> f64 {
        let value = match target {
            Target::OutputTokS => self.tok_s(s),
            Target::ReqS => self.tok_s(s) / s.osl,
            Target::TtftMs => self.ttft_s(s) * 1e3,
            Target::TpotMs => self.step_s * 1e3,
            Target::KvUsage => (self.asked / self.capacity).clamp(1e-3, 1.0),
            Target::PowerW => s.gpu.tdp_w * f64::from(s.num_gpus()) * 0.7,
            Target::ColdStartS => 40.0 + s.card.params * s.precision.bits() / 8.0 / 2e9,
            Target::LaunchSuccess => 0.9,
        };
        if value.is_finite() {
            value.max(1e-9)
        } else {
            1e-9
        }
    }

    fn tok_s(&self, s: &Setup) -> f64 {
        match s.rate {
            Some(rate) => self.saturated_tok_s.min(rate * s.osl),
            None => self.saturated_tok_s,
        }
    }

    /// A static batch prefills together; a request among others is prefilled alone.
    fn ttft_s(&self, s: &Setup) -> f64 {
        match s.workload {
            super::case::Workload::Static => {
                (self.shared_prefill_s * self.in_flight).max(self.prefill_s)
            }
            _ => self.prefill_s,
        }
    }

    /// Seconds that a request waits for sequences before it that do not fit.
    pub fn queue_s(&self, s: &Setup) -> f64 {
        (self.asked - self.in_flight).max(0.0) * s.osl
            / (self.saturated_tok_s / self.replicas).max(1e-9)
    }
}
