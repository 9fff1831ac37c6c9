//! What was or would be run: one configuration under one load. A [`Case`] carries inputs only,
//! so nothing that predicts from a case can see an outcome.

use serde::{Deserialize, Serialize};

pub use super::formats::Precision;

/// How load reached the engine; it decides what throughput means, so runs are never pooled
/// without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Workload {
    /// All requests at once, saturated.
    Offline,
    /// One batch: rate = batch x OSL / latency.
    Static,
    /// A fixed number of requests in flight.
    ClosedLoop,
    /// Arrivals at a stated rate, below saturation: the output rate follows the arrivals.
    Poisson,
}

impl Workload {
    /// Every kind, in a fixed order.
    pub const ALL: [Self; 4] = [Self::Offline, Self::Static, Self::ClosedLoop, Self::Poisson];

    /// The name used in files and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Static => "static",
            Self::ClosedLoop => "closed-loop",
            Self::Poisson => "poisson",
        }
    }

    /// Reads [`Self::name`]; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let t = text.trim().to_ascii_lowercase().replace('_', "-");
        Self::ALL.into_iter().find(|w| w.name() == t)
    }
}

/// Deployments that are measured but are not what advice is given for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Variant {
    /// Prefill and decode on separate instances.
    pub disaggregated: bool,
    /// Speculative decoding.
    pub speculative: bool,
    /// Requests share a prefix that the engine keeps: part of their prompts costs no prefill.
    pub prefix_cached: bool,
    /// Requests are turns of conversations, which come with what was said before.
    pub multi_turn: bool,
    /// GPUs held below their power limit: another GPU for all purposes.
    pub power_capped: bool,
    /// GPUs over which each expert's matrices are split; 0 where not recorded.
    pub moe_tp: u16,
    /// GPUs over which experts are spread; 0 where not recorded.
    pub moe_ep: u16,
    /// Decode steps that the scheduler plans at once; 0 where not recorded.
    pub sched_steps: u16,
    /// Prefill in chunks; `None` where not recorded.
    pub chunked: Option<bool>,
}

impl Variant {
    /// True where the run is plain aggregated serving at full power.
    pub const fn is_plain(self) -> bool {
        !(self.is_another_deployment() || self.power_capped)
    }

    /// True where what was measured is not one engine that serves requests of its own: such runs teach nothing about one.
    pub const fn is_another_deployment(self) -> bool {
        self.disaggregated || self.speculative || self.prefix_cached || self.multi_turn
    }
}

/// One configuration under one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The model as the source names it; resolved to a card by the catalogue.
    pub model: String,
    /// Total parameters in billions, where the source states them.
    pub params_b: Option<f64>,
    /// Parameters used per token in billions, where the source states them.
    pub active_params_b: Option<f64>,
    /// GPU name of the catalogue, such as `H100-SXM`.
    pub gpu: String,
    /// Memory of one GPU in GB, where the source states it.
    pub gpu_mem_gb: Option<f64>,
    /// Tensor-parallel degree of one instance; `None` where not recorded.
    pub tp: Option<u32>,
    /// Pipeline stages (1 = none).
    pub pp: u32,
    /// Data-parallel replicas inside the instance (1 = none).
    pub dp: u32,
    /// Weight format; `None` where not recorded.
    pub precision: Option<Precision>,
    /// KV-cache format; `None` where not recorded (then taken as 16-bit).
    pub kv_precision: Option<Precision>,
    /// Input sequence length: mean prompt tokens of a request.
    pub isl: Option<f64>,
    /// Output sequence length: mean generated tokens of a request.
    pub osl: Option<f64>,
    /// How load reached the engine.
    pub workload: Workload,
    /// Requests in flight, or the batch of a static run.
    pub concurrency: Option<f64>,
    /// Requests per second that arrive; infinite where all come at once.
    pub request_rate: Option<f64>,
    /// Engine name in lower case: `vllm`, `tensorrt-llm`, `sglang`, ...
    pub engine: String,
    /// Engine version as recorded; empty where not.
    pub engine_version: String,
    /// Deployments outside plain aggregated serving.
    pub variant: Variant,
}

impl Case {
    /// GPUs of the instance: TP x PP x DP; `None` where TP is not recorded.
    pub fn num_gpus(&self) -> Option<u32> {
        self.tp
            .map(|tp| tp.max(1) * self.pp.max(1) * self.dp.max(1))
    }
}
