//! The outcome file: what one job leaves in the spool, written by `omnipilot run`, read by
//! `omnipilot ingest`. One JSON object a file, version in `schema`. Unknown keys are ignored by
//! readers, so that writers may be newer; a claim is believed only as far as Slurm's own
//! accounting agrees.

use serde::{Deserialize, Serialize};

use crate::advisor::{ModelCard, RunOutcome, StartLog};

/// Version of the form below.
pub const SCHEMA: u32 = 1;

/// Largest outcome file that is read, bytes.
pub const LARGEST: u64 = 256 * 1024;

/// What one job reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// Slurm job id; for an array task its own id (`SLURM_JOB_ID`).
    pub job_id: u64,
    /// Slurm cluster name (`SLURM_CLUSTER_NAME`).
    pub cluster: String,
    /// Advice id that the job was submitted under; `None` without advice.
    pub advice_id: Option<String>,
    /// Numeric user id of the writer.
    pub uid: u32,
    /// What was asked and what ran.
    pub asked: Asked,
    /// Engine name in lower case (`vllm`) and version; empty where not learnt.
    pub engine: String,
    /// Engine version; empty where not learnt.
    pub engine_version: String,
    /// Unix seconds at which the engine was started.
    pub started_at: f64,
    /// Seconds from start to ready; `None` if it never became ready.
    pub cold_start_s: Option<f64>,
    /// Seconds from start to end.
    pub elapsed_s: f64,
    /// Exit code; `None` when ended by a signal.
    pub exit_code: Option<i32>,
    /// Signal that ended the engine.
    pub signal: Option<i32>,
    /// How it ended, judged from exit status and log.
    pub outcome: RunOutcome,
    /// The engine's own words that the judgement rests on, without what they quote; empty where none.
    pub evidence: String,
    /// What the engine's log told of its start; `None` where nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartLog>,
    /// Steady windows of load; empty where the engine stayed idle.
    pub windows: Vec<Window>,
}

/// What the job was to serve and on what, from `SLURM_LLM_*`, Slurm's environment and the
/// engine's arguments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Model as the user named it to OmniPilot, or as the engine was given it.
    pub model: String,
    /// Slurm GPU type (gres), such as `h100`; empty where not known.
    pub gpu: String,
    /// GPUs the job holds.
    pub num_gpus: Option<u32>,
    /// Tensor-parallel degree the engine was given.
    pub tp: Option<u32>,
    /// Pipeline stages the engine was given; `None` = one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pp: Option<u32>,
    /// Data-parallel replicas the engine was given; `None` = one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dp: Option<u32>,
    /// Weight format the engine was given.
    pub precision: Option<String>,
    /// Input length that the request stated, tokens.
    pub isl: Option<f64>,
    /// Output length that the request stated, tokens.
    pub osl: Option<f64>,
    /// Requests in flight that the request stated.
    pub concurrency: Option<f64>,
    /// Architecture of the model, from the `config.json` that the engine was given; `None` where there was none to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<ModelCard>,
    /// True where the job had an advice and went as its user wrote it: the configuration is the
    /// user's choice.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_written: bool,
}

/// One steady window of load, from differences of the engine's counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Unix seconds at which the window begins.
    pub begins_at: f64,
    /// Length, s.
    pub seconds: f64,
    /// Requests finished.
    pub requests: f64,
    /// Output tokens/s.
    pub output_tok_s: f64,
    /// Requests/s.
    pub req_s: f64,
    /// Mean requests in flight (running plus waiting).
    pub concurrency: Option<f64>,
    /// Mean prompt tokens of a finished request.
    pub isl: Option<f64>,
    /// Mean generated tokens of a finished request.
    pub osl: Option<f64>,
    /// Mean time to first token, ms.
    pub ttft_ms: Option<f64>,
    /// Mean time per output token, ms.
    pub tpot_ms: Option<f64>,
    /// Mean end-to-end latency, ms.
    pub e2e_ms: Option<f64>,
    /// Peak KV-cache usage, 0 to 1.
    pub kv_usage: Option<f64>,
    /// Preemptions in the window.
    pub preemptions: Option<f64>,
    /// Average power of the job's GPUs, W.
    pub power_w: Option<f64>,
    /// Most memory in use on one of them, by whatever process, GB (10^9 bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_gb: Option<f64>,
    /// Share of the prompts' tokens that a prefix cache had, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_hits: Option<f64>,
    /// Share of drafted tokens that were accepted; `None` without speculative decoding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<f64>,
    /// True before the engine had settled: it still compiled, or its slowest first tokens were far
    /// slower than the usual ones. Nothing is learnt from such a window.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unsettled: bool,
}

/// Environment of a job that was submitted under an advice. The plugin and `omnipilot submit`
/// set these; `omnipilot run` and users' scripts read them.
pub use plugin_contract::environment::job as env;
