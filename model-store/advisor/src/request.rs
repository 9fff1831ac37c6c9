//! What a user asks for.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::card::ModelCard;
use super::case::Precision;
use super::limits::Limits;
use super::starts::Starts;

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
    /// GPU types of Slurm (gres) or the catalogue, in any case, of which one is to be used: separated by commas.
    pub gpu: Option<String>,
    /// Tensor-parallel degree.
    pub tp: Option<u32>,
    /// Weight format.
    pub precision: Option<Precision>,
    /// How far the instance may be spread or repeated.
    #[serde(default)]
    pub layout: Layout,
    /// Context that an engine will ask for whatever is advised, tokens, at most the model's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// What else a script starts its engine with.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

impl Pins {
    /// True where the pin on the GPU type names this Slurm type; false where there is no pin.
    pub fn names_gpu(&self, gres: &str) -> bool {
        self.gpu_names().any(|name| name.eq_ignore_ascii_case(gres))
    }

    /// The GPU types that are pinned, as they were typed; none where any may be used.
    pub fn gpu_names(&self) -> impl Iterator<Item = &str> {
        let names = self.gpu.as_deref().unwrap_or_default().split(',');
        names.map(str::trim).filter(|name| !name.is_empty())
    }
}

/// How far an instance may be spread or repeated by what starts the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Replicas inside a node, and pipeline stages over several nodes.
    #[default]
    Any,
    /// Replicas, on one node.
    OneNode,
    /// One instance on one node: the engine's command is written out, or cannot be read.
    OneInstance,
}

/// A whole request: what the advisor is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The model.
    pub card: ModelCard,
    /// Weight format of the checkpoint that the user named, where its name or `config.json` says
    /// so; then no other format is a candidate unless the site has a checkpoint for it.
    pub checkpoint_precision: Option<Precision>,
    /// Further checkpoints of the site: format and name to give the engine.
    pub checkpoints: Vec<(Precision, String)>,
    /// The load.
    pub load: Load,
    /// Latency targets.
    pub slo: Slo,
    /// What is fixed.
    pub pins: Pins,
    /// Engine that will run, lower case.
    pub engine: String,
    /// What this cluster's own starts say; the snapshot keeps them, so a request does not.
    #[serde(skip)]
    pub starts: Option<Arc<Starts>>,
}
