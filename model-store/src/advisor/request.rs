//! What a user asks for.

use serde::{Deserialize, Serialize};

use super::case::Precision;

/// The load that the instance will serve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Mean input tokens of a request.
    pub isl: f64,
    /// Mean output tokens of a request.
    pub osl: f64,
    /// Requests in flight; `None` = as many as the engine takes (saturated).
    pub concurrency: Option<f64>,
    /// Requests per second that will arrive; `None` = not stated.
    pub rate: Option<f64>,
}

/// Latency targets, ms; `None` = not stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Slo {
    /// Mean time to first token.
    pub ttft_ms: Option<f64>,
    /// Mean time per output token.
    pub tpot_ms: Option<f64>,
    /// Mean end-to-end latency.
    pub e2e_ms: Option<f64>,
}

/// What the user or the script fixes. A pin is an input to the advice and never overwritten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pins {
    /// Slurm GPU type (gres), lower case.
    pub gpu: Option<String>,
    /// Tensor-parallel degree.
    pub tp: Option<u32>,
    /// Weight format.
    pub precision: Option<Precision>,
}
