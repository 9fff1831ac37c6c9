//! The advisor: from a request and a published snapshot to an advice.

use super::advice::{
    Advice, Assessed, AxisOut, Configuration, Evidence, Fallen, Prediction, Verdict,
};
use super::case::{Precision, Variant, Workload};
use super::cluster::ClusterState;
use super::feasible::infeasible;
use super::gpu::GpuSpec;
use super::model::{Model, Step};
use super::physics::{memory, physics};
use super::request::Request;
use super::run::Target;
use super::setup::Setup;
use super::utility;
use crate::hashing::fnv1a;

/// One Slurm GPU type of the site.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SiteGpu {
    /// Slurm GPU type (gres), lower case.
    pub gres: String,
    /// GPU of the catalogue.
    pub gpu: String,
    /// Price of one GPU for an hour.
    pub price_per_hour: f64,
}

/// What the advisor knows: the published part of the site.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a> {
    /// Name of the snapshot.
    pub snapshot_id: &'a str,
    /// The learnt model.
    pub model: &'a Model,
    /// What the cluster has.
    pub cluster: &'a ClusterState,
    /// What its GPU types are and cost.
    pub gpus: &'a [SiteGpu],
}

/// Advises on a request. Pure: the same knowledge and request give the same advice.
pub fn advise(known: Knowledge, request: &Request) -> Advice {
    let configurations = candidates(known, request);
    let mut assessed: Vec<Assessed> = configurations
        .into_iter()
        .map(|c| assess(known, request, c))
        .collect();
    assessed.sort_by(utility::better_first);
    let verdict = decide(known, request, &assessed);
    Advice {
        id: identify(known.snapshot_id, request),
        snapshot_id: known.snapshot_id.into(),
        model: request.card.name.clone(),
        nearest_run: nearest(known, request, &assessed),
        evidence: evidence(known.model, &verdict, &assessed),
        verdict,
        candidates: assessed,
    }
}

/// What an advice rests on: of this cluster's runs, those on the advised GPU type and the others.
fn evidence(model: &Model, verdict: &Verdict, assessed: &[Assessed]) -> Evidence {
    let mut out = model.evidence;
    let advised = match verdict {
        Verdict::Recommend(i) => assessed.get(*i),
        _ => None,
    };
    if let Some(best) = advised {
        let on_gpu = model.runs_here_on(&best.config.gpu);
        out.on_other_gpus = out.this_cluster.saturating_sub(on_gpu);
        out.this_cluster = on_gpu;
    }
    out
}

/// Every configuration that the cluster offers and the pins allow: GPU type x TP x precision.
fn candidates(known: Knowledge, request: &Request) -> Vec<Configuration> {
    let pins = &request.pins;
    let mut out = Vec::new();
    for pool in &known.cluster.pools {
        let wanted = pins
            .gpu
            .as_ref()
            .is_none_or(|g| g.eq_ignore_ascii_case(&pool.gres));
        let Some(site) = known
            .gpus
            .iter()
            .find(|g| g.gres == pool.gres)
            .filter(|_| wanted)
        else {
            continue;
        };
        for tp in degrees(pool.per_node, pins.tp) {
            for (precision, checkpoint, quantise_at_load) in formats(request) {
                out.push(Configuration {
                    gres: pool.gres.clone(),
                    gpu: site.gpu.clone(),
                    tp,
                    precision,
                    checkpoint,
                    quantise_at_load,
                    max_len: None,
                });
            }
        }
    }
    out
}

/// Powers of two up to what one node has; a pinned degree alone.
fn degrees(per_node: u32, pin: Option<u32>) -> Vec<u32> {
    match pin {
        Some(tp) => Vec::from_iter((tp <= per_node).then_some(tp)),
        None => (0..7)
            .map(|i| 1 << i)
            .filter(|tp| *tp <= per_node)
            .collect(),
    }
}

/// Formats for which there is a checkpoint, or which the engine makes at load: weight format,
/// checkpoint to name instead of the model, quantised at load.
fn formats(request: &Request) -> Vec<(Precision, Option<String>, bool)> {
    let own = request.checkpoint_precision.unwrap_or(Precision::Bf16);
    let mut out = vec![(own, None, false)];
    for (precision, name) in &request.checkpoints {
        out.push((*precision, Some(name.clone()), false));
    }
    let has_fp8 = out.iter().any(|(p, ..)| *p == Precision::Fp8);
    let wide = matches!(own, Precision::Bf16 | Precision::Fp16 | Precision::Fp32);
    if wide && !has_fp8 && request.engine == "vllm" {
        out.push((Precision::Fp8, None, true));
    }
    let pin = request.pins.precision.map(Precision::pooled);
    out.retain(|(p, ..)| pin.is_none_or(|pin| pin == p.pooled()));
    out
}

fn setup<'a>(request: &'a Request, c: &Configuration) -> Option<Setup<'a>> {
    Some(Setup {
        card: &request.card,
        gpu: GpuSpec::by_name(&c.gpu)?,
        tp: c.tp,
        pp: 1,
        dp: 1,
        precision: c.precision,
        kv_bytes: 2.0,
        isl: request.load.isl,
        osl: request.load.osl,
        workload: if request.load.concurrency.is_some() {
            Workload::ClosedLoop
        } else {
            Workload::Offline
        },
        concurrency: request.load.concurrency,
        rate: None,
        engine: &request.engine,
        engine_version: "",
        source: "",
        variant: Variant::default(),
        assumed: [false; 3],
    })
}

fn assess(known: Knowledge, request: &Request, mut config: Configuration) -> Assessed {
    let site = known.gpus.iter().find(|g| g.gres == config.gres);
    let price = site.map_or(1.0, |g| g.price_per_hour) * f64::from(config.tp);
    let blank = |config: Configuration, fallen: Fallen| Assessed {
        config,
        predictions: vec![None; Target::ALL.len()],
        tokens_per_gpu_hour: None,
        tokens_per_price: None,
        price_per_hour: price,
        fallen: Some(fallen),
    };
    let Some(s) = setup(request, &config) else {
        let reason = format!("{} is not in the GPU catalogue", config.gpu);
        return blank(config, Fallen::Infeasible(reason));
    };
    if let Some(reason) = infeasible(&s, config.quantise_at_load) {
        return blank(config, Fallen::Infeasible(reason));
    }
    let max_len = longest_context(&s);
    let axes = known.model.axes_out(&s, &physics(&s));
    if !axes.is_empty() {
        return blank(config, Fallen::OutOfSupport(axes));
    }
    let predictions = known.model.predict(&s, step(known.model));
    config.max_len = max_len;
    utility::value(request, config, price, predictions)
}

/// The context that fits in thousands of tokens, where the model's own does not. vLLM checks at its
/// start that one request of full length fits into the KV cache.
fn longest_context(s: &Setup) -> Option<u32> {
    const GRAIN: f64 = 1024.0;
    let fits = memory(s).kv_tokens * 0.9;
    let short = fits < f64::from(s.card.max_context);
    short.then(|| ((fits / GRAIN).floor() * GRAIN).max(s.context().ceil()) as u32)
}

fn step(model: &Model) -> Step {
    if model.evidence.this_cluster > 0 {
        Step::ThisCluster
    } else {
        Step::Elsewhere
    }
}

fn decide(known: Knowledge, request: &Request, assessed: &[Assessed]) -> Verdict {
    if assessed.is_empty() {
        return Verdict::Infeasible(no_candidate(known, request));
    }
    if let Some(best) = assessed.iter().position(|a| a.fallen.is_none()) {
        return Verdict::Recommend(best);
    }
    let nearest = nearest_support(assessed);
    let missed = assessed.iter().find_map(|a| match &a.fallen {
        Some(Fallen::MissesTarget(reason)) => Some((a, reason)),
        _ => None,
    });
    if let Some((a, reason)) = missed {
        return Verdict::Infeasible(format!("the best, {}, {reason}", utility::name(&a.config)));
    }
    if let Some(axes) = nearest {
        return Verdict::Abstain(axes);
    }
    if assessed.iter().any(|a| a.fallen == Some(Fallen::NotKnown)) {
        return Verdict::Abstain(vec![AxisOut {
            axis: "throughput".into(),
            asked: "an interval".into(),
            measured: "too few runs or sources to calibrate one".into(),
            gap: 0.0,
        }]);
    }
    Verdict::Infeasible(largest_reason(assessed))
}

/// The axes of the candidate that comes nearest to what was measured.
fn nearest_support(assessed: &[Assessed]) -> Option<Vec<AxisOut>> {
    let out = assessed.iter().filter_map(|a| match &a.fallen {
        Some(Fallen::OutOfSupport(axes)) => Some(axes),
        _ => None,
    });
    let gap = |axes: &[AxisOut]| axes.iter().map(|a| a.gap).sum::<f64>();
    out.min_by(|a, b| gap(a).total_cmp(&gap(b))).cloned()
}

fn no_candidate(known: Knowledge, request: &Request) -> String {
    let mut types: Vec<&str> = known
        .cluster
        .pools
        .iter()
        .map(|p| p.gres.as_str())
        .collect();
    types.sort_unstable();
    let has = if types.is_empty() {
        "no GPUs that OmniPilot knows of".into()
    } else {
        types.join(", ")
    };
    if let Some(format) = request
        .pins
        .precision
        .filter(|_| formats(request).is_empty())
    {
        return format!(
            "no checkpoint of {} in {format} is known here, and the engine does not make one",
            request.card.name
        );
    }
    match (&request.pins.gpu, request.pins.tp) {
        (Some(gpu), _) if known.cluster.pool(gpu).is_none() => {
            format!("no `{gpu}` GPUs here; the cluster has {has}")
        }
        (_, Some(tp)) => format!(
            "tp {tp} needs {tp} GPUs on one node, and no node of the types asked for has them"
        ),
        _ => format!("no configuration fits what was fixed; the cluster has {has}"),
    }
}

/// The reason of the configuration with most memory: where that one fails, all do.
fn largest_reason(assessed: &[Assessed]) -> String {
    let memory = |a: &&Assessed| {
        GpuSpec::by_name(&a.config.gpu).map_or(0.0, |g| {
            g.memory_gib * f64::from(a.config.tp) / a.config.precision.bits()
        })
    };
    let largest = assessed
        .iter()
        .max_by(|a, b| memory(a).total_cmp(&memory(b)));
    match largest.map(|a| (a, &a.fallen)) {
        Some((a, Some(Fallen::Infeasible(reason)))) => {
            format!("even {}: {reason}", utility::name(&a.config))
        }
        _ => "no configuration can run it".into(),
    }
}

fn nearest(known: Knowledge, request: &Request, assessed: &[Assessed]) -> Option<String> {
    let config = assessed.first().map(|a| &a.config)?;
    let s = setup(request, config)?;
    let envelope = &known.model.envelope;
    envelope
        .nearest(&s, &physics(&s))
        .map(|l| envelope.describe(l))
}

/// Eight hex digits of FNV-1a over the snapshot's name and the request: the same request under
/// the same snapshot has the same name, so any advice can be made again and recognised.
fn identify(snapshot_id: &str, request: &Request) -> String {
    let text = serde_json::to_string(request).unwrap_or_default();
    let hash = fnv1a(snapshot_id.bytes().chain(text.bytes()));
    format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}

impl Prediction {
    /// True where a stated limit lies below the median.
    pub(super) fn exceeds(&self, limit: f64) -> bool {
        self.q50 > limit
    }
}
