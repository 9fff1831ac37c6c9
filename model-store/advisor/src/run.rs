//! A past run: a [`Case`], what came out of it, and where it was measured.

use serde::{Deserialize, Serialize};

use super::case::{Case, Workload};

/// The eight serving targets, in the order in which they are stored and printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// Output throughput of the instance, tokens/s.
    OutputTokS,
    /// Request throughput of the instance, 1/s.
    ReqS,
    /// Mean time to first token, ms.
    TtftMs,
    /// Mean time per output token after the first, ms.
    TpotMs,
    /// Peak KV-cache usage, 0 to 1.
    KvUsage,
    /// Average power over the instance's GPUs, W.
    PowerW,
    /// Seconds from launch to ready.
    ColdStartS,
    /// Probability that the launch succeeds, 0 to 1.
    LaunchSuccess,
}

impl Target {
    /// True for throughput and latencies, which Little's law ties to each other.
    pub const fn is_of_load(self) -> bool {
        matches!(
            self,
            Self::OutputTokS | Self::ReqS | Self::TtftMs | Self::TpotMs
        )
    }

    /// All eight, in order; `target as usize` indexes into it.
    pub const ALL: [Self; 8] = [
        Self::OutputTokS,
        Self::ReqS,
        Self::TtftMs,
        Self::TpotMs,
        Self::KvUsage,
        Self::PowerW,
        Self::ColdStartS,
        Self::LaunchSuccess,
    ];

    /// Column prefix in prediction files and key in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OutputTokS => "output_tok_s",
            Self::ReqS => "req_s",
            Self::TtftMs => "ttft_ms",
            Self::TpotMs => "tpot_ms",
            Self::KvUsage => "kv_usage",
            Self::PowerW => "power_w",
            Self::ColdStartS => "cold_start_s",
            Self::LaunchSuccess => "launch_success",
        }
    }

    /// Unit as printed for people; empty for a ratio.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::OutputTokS => "tok/s",
            Self::ReqS => "req/s",
            Self::TtftMs | Self::TpotMs => "ms",
            Self::PowerW => "W",
            Self::ColdStartS => "s",
            Self::KvUsage | Self::LaunchSuccess => "",
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Served, and ended as asked.
    #[default]
    Ok,
    /// Ran out of GPU memory, or had too little for the KV cache.
    OutOfMemory,
    /// The engine refused the configuration (heads, precision, context).
    Incompatible,
    /// Did not become ready in time, or hung.
    TimeOut,
    /// Died for another reason.
    Crash,
}

impl RunOutcome {
    /// Every outcome, in a fixed order.
    pub const ALL: [Self; 5] = [
        Self::Ok,
        Self::OutOfMemory,
        Self::Incompatible,
        Self::TimeOut,
        Self::Crash,
    ];

    /// Name in files and the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::OutOfMemory => "out-of-memory",
            Self::Incompatible => "incompatible",
            Self::TimeOut => "time-out",
            Self::Crash => "crash",
        }
    }

    /// Reads [`Self::name`], and `oom` and `fail` as benchmark files write them.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim() {
            "oom" => Some(Self::OutOfMemory),
            "fail" => Some(Self::Crash),
            t => Self::ALL.into_iter().find(|o| o.name() == t),
        }
    }
}

/// What a run measured; `None` = not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// How it ended.
    pub outcome: RunOutcome,
    /// Output tokens/s of the instance.
    pub output_tok_s: Option<f64>,
    /// Input plus output tokens/s of the instance.
    pub total_tok_s: Option<f64>,
    /// Requests/s of the instance.
    pub req_s: Option<f64>,
    /// Mean time to first token, ms.
    pub ttft_ms: Option<f64>,
    /// Median time to first token, ms.
    pub ttft_p50_ms: Option<f64>,
    /// 99th percentile of the time to first token, ms.
    pub ttft_p99_ms: Option<f64>,
    /// Mean time per output token, ms.
    pub tpot_ms: Option<f64>,
    /// 99th percentile of the time per output token, ms.
    pub tpot_p99_ms: Option<f64>,
    /// Mean end-to-end latency, ms.
    pub e2e_ms: Option<f64>,
    /// 99th percentile of the end-to-end latency, ms.
    pub e2e_p99_ms: Option<f64>,
    /// Peak KV-cache usage, 0 to 1.
    pub kv_usage: Option<f64>,
    /// Average power over the instance's GPUs, W.
    pub power_w: Option<f64>,
    /// Peak memory of one GPU, GB.
    pub peak_mem_gb: Option<f64>,
    /// Energy per output token, J.
    pub energy_j_per_tok: Option<f64>,
    /// Seconds from launch to ready.
    pub cold_start_s: Option<f64>,
}

impl Measured {
    /// The measured value of one target; launch success is 1 or 0 from the outcome.
    pub fn target(&self, target: Target) -> Option<f64> {
        match target {
            Target::OutputTokS => self.output_tok_s,
            Target::ReqS => self.req_s,
            Target::TtftMs => self.ttft_ms,
            Target::TpotMs => self.tpot_ms,
            Target::KvUsage => self.kv_usage,
            Target::PowerW => self.power_w,
            Target::ColdStartS => self.cold_start_s,
            Target::LaunchSuccess => Some(f64::from(u8::from(self.outcome == RunOutcome::Ok))),
        }
    }
}

/// Where a run was measured. Evidence keeps its origin (an invariant of the project).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// On this cluster, by a job that Slurm accounted for.
    ThisCluster,
    /// On another cluster, imported from its export or from benchmark files.
    OtherCluster,
    /// Typed in from a published document.
    Published,
}

impl Origin {
    /// Every origin, nearest first.
    pub const ALL: [Self; 3] = [Self::ThisCluster, Self::OtherCluster, Self::Published];

    /// Name in the store and in options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ThisCluster => "this-cluster",
            Self::OtherCluster => "other-cluster",
            Self::Published => "published",
        }
    }

    /// Reads [`Self::name`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == text.trim())
    }
}

/// One past run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Name of the run within its source.
    pub run_id: String,
    /// Where it was measured.
    pub origin: Origin,
    /// Laboratory, document or cluster; errors are correlated within one source.
    pub source: String,
    /// Place within the source: a document with its version, a file and row, a job id.
    pub source_ref: String,
    /// What was run.
    pub case: Case,
    /// What came out.
    pub measured: Measured,
    /// What the source says beside it.
    pub notes: String,
}

/// Factor by which the two counts of requests in flight may differ. Of 1,221 public runs that state
/// all four figures, 1,201 agree to within a quarter.
const LARGEST_CONTRADICTION: f64 = 2.0;

impl Run {
    /// True where a run states a concurrency, and throughput x latency (J. Little, A Proof for the
    /// Queuing Formula L = lambda W, 1961) gives quite another one: most of its requests waited
    /// where its latencies did not look, or its figures come from different moments. Its figures of
    /// load ([`Target::is_of_load`]) then say nothing; its launch and its power still do.
    pub fn contradicts_itself(&self) -> bool {
        let (case, m) = (&self.case, &self.measured);
        let fixed_load = matches!(case.workload, Workload::Static | Workload::ClosedLoop);
        let (Some(tokens_s), Some(ttft), Some(tpot), Some(osl), Some(stated)) = (
            m.output_tok_s,
            m.ttft_ms,
            m.tpot_ms,
            case.osl,
            case.concurrency.filter(|_| fixed_load),
        ) else {
            return false;
        };
        let latency_s = (ttft + (osl - 1.0).max(0.0) * tpot) / 1e3;
        let in_flight = tokens_s / osl.max(1.0) * latency_s;
        in_flight / stated > LARGEST_CONTRADICTION || stated / in_flight > LARGEST_CONTRADICTION
    }
}
