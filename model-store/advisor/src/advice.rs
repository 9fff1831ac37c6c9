//! The answer: what to run, or why there is no advice.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::case::Precision;
use super::economy::{Term, Weights};
use super::run::Target;
use super::utility::{Outlook, Terms};

/// A prediction of one target, in its unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// Quantile 0.1 of the model.
    pub q10: f64,
    /// Median of the model.
    pub q50: f64,
    /// Quantile 0.9 of the model.
    pub q90: f64,
    /// Lower end of the conformal interval.
    pub lo: f64,
    /// Upper end of the conformal interval.
    pub hi: f64,
}

/// One configuration of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Slurm GPU type (gres), as Slurm spells it.
    pub gres: String,
    /// GPU of the catalogue that it means.
    pub gpu: String,
    /// Tensor-parallel degree.
    pub tp: u32,
    /// Pipeline stages, one a node (1 = none).
    #[serde(default = "one")]
    pub pp: u32,
    /// Data-parallel replicas inside the node (1 = none).
    #[serde(default = "one")]
    pub dp: u32,
    /// Weight format.
    pub precision: Precision,
    /// Checkpoint to give the engine; `None` = the model as the user named it.
    pub checkpoint: Option<String>,
    /// True where the engine quantises at load (there is no checkpoint of that format).
    pub quantise_at_load: bool,
    /// Longest context that fits, tokens, where the model's own does not: an engine that is not
    /// told so refuses to start.
    pub max_len: Option<u32>,
    /// Requests in flight at which the stated latencies hold, where no load was stated: the engine
    /// is told to take no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_num_seqs: Option<u32>,
}

/// In words: `h100 x 4, fp8`; `h100 x 2, fp8, 3 replicas`; `h100 x 8, fp8 on 2 nodes`.
impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = match self.pp {
            0 | 1 => String::new(),
            pp => format!(" on {pp} nodes"),
        };
        let replicas = match self.dp {
            0 | 1 => String::new(),
            dp => format!(", {dp} replicas"),
        };
        f.pad(&format!(
            "{} x {}, {}{nodes}{replicas}",
            self.gres, self.tp, self.precision
        ))
    }
}

const fn one() -> u32 {
    1
}

impl Configuration {
    /// GPUs on each of its nodes.
    pub const fn gpus_per_node(&self) -> u32 {
        self.tp * self.dp
    }

    /// Nodes that it takes: one a pipeline stage.
    pub const fn nodes(&self) -> u32 {
        self.pp
    }

    /// GPUs altogether.
    pub const fn gpus(&self) -> u32 {
        self.tp * self.pp * self.dp
    }
}

/// Why a configuration is not offered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fallen {
    /// A hard rule forbids it; the reason in numbers.
    Infeasible(String),
    /// Outside what was measured, on these axes.
    OutOfSupport(Vec<AxisOut>),
    /// Throughput is not known: too few runs to calibrate.
    NotKnown,
    /// Slurm would not start the job on it: limits, nodes, reservations; the reason in numbers.
    NotStartable(String),
    /// Misses a stated latency target or rate; the reason in numbers.
    MissesTarget(String),
}

/// One axis of the support envelope that a request leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AxisOut {
    /// Which axis: family, parameters, context, concurrency, gpu, tp, precision.
    pub axis: String,
    /// What was asked, as people read it (`141 B`).
    pub asked: String,
    /// What was measured, as people read it (`0.5 to 72 B`).
    pub measured: String,
    /// How far outside: logarithm of the factor for a number, 3 for a name that was never measured.
    pub gap: f64,
}

/// A candidate with everything known of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Assessed {
    /// The configuration.
    pub config: Configuration,
    /// One prediction a target, in the order of [`Target::ALL`]; `None` = not known.
    pub predictions: Vec<Option<Prediction>>,
    /// Output tokens per GPU-hour at the stated load (median).
    pub tokens_per_gpu_hour: Option<f64>,
    /// Output tokens per unit of price (median): what the ranking goes by where nothing else is
    /// known.
    pub tokens_per_price: Option<f64>,
    /// Price of all its GPUs for an hour.
    pub price_per_hour: f64,
    /// What the utility is made from.
    pub outlook: Outlook,
    /// The utility's terms without their weights, in the order of [`Term::ALL`].
    pub terms: Terms,
    /// The utility over the terms that count; `None` where one of them is not known.
    pub utility: Option<f64>,
    /// `None` for a candidate that can be recommended.
    pub fallen: Option<Fallen>,
}

impl Assessed {
    /// The prediction of one target.
    pub fn prediction(&self, target: Target) -> Option<&Prediction> {
        self.predictions
            .get(target as usize)
            .and_then(Option::as_ref)
    }
}

/// What the evidence behind an advice is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Runs of this cluster behind the model; in an advice, those on the advised GPU type.
    pub this_cluster: u32,
    /// In an advice: runs of this cluster on other GPU types.
    pub on_other_gpus: u32,
    /// Runs imported from elsewhere.
    pub other_cluster: u32,
    /// Published figures.
    pub published: u32,
}

impl Evidence {
    /// From this many of its own runs on, a cluster's runs are fitted with the others; below, they
    /// shift what was fitted elsewhere.
    pub const LEADS_FROM: u32 = 400;

    /// True where this cluster's own runs lead, and some are on the advised GPU type.
    pub const fn leads(&self) -> bool {
        self.this_cluster > 0 && self.this_cluster + self.on_other_gpus >= Self::LEADS_FROM
    }

    /// True where nothing was measured on this cluster or another.
    pub const fn published_alone(&self) -> bool {
        self.this_cluster == 0 && self.other_cluster == 0 && self.published > 0
    }
}

/// What the candidates of an advice were ranked by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// Terms that count: those that are known of every candidate which can be recommended. A term
    /// that is known of some alone would reward the others for it.
    pub counted: Vec<Term>,
    /// Terms, or parts of one, that do not.
    pub left_out: Vec<LeftOut>,
    /// The weights.
    pub weights: Weights,
    /// Age of the queue waits, s; `None` where none are known.
    pub wait_age_s: Option<i64>,
}

/// Something that does not count in a ranking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The term.
    pub term: Term,
    /// True where it was asked for, or is configured, and is not known: then the advice says so.
    pub wanted: bool,
    /// Why.
    pub reason: String,
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Verdict {
    /// Run this: index into [`Advice::candidates`].
    Recommend(usize),
    /// The request lies outside what was measured, on these axes.
    Abstain(Vec<AxisOut>),
    /// Nothing that the cluster has can run it; the nearest reason in numbers.
    Infeasible(String),
}

/// An advice and everything it rests on, so that it can be made again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Advice {
    /// Eight hex digits of a hash over snapshot id and request.
    pub id: String,
    /// Snapshot that it was made from.
    pub snapshot_id: String,
    /// Model name of the card.
    pub model: String,
    /// The decision.
    pub verdict: Verdict,
    /// All candidates: recommendable ones first, best first.
    pub candidates: Vec<Assessed>,
    /// What they were ranked by.
    pub ranking: Ranking,
    /// What it rests on.
    pub evidence: Evidence,
    /// The measured run nearest to the request, in words (`Mixtral-8x7B on h100 x 2`).
    pub nearest_run: Option<String>,
}

impl Advice {
    /// The recommended candidate, if there is one.
    pub fn recommended(&self) -> Option<&Assessed> {
        match self.verdict {
            Verdict::Recommend(i) => self.candidates.get(i),
            Verdict::Abstain(_) | Verdict::Infeasible(_) => None,
        }
    }
}
