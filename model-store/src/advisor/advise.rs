//! The advisor: from a request and a published snapshot to an advice.

use super::advice::{
    Advice, Assessed, AxisOut, Configuration, Evidence, Fallen, Prediction, Verdict,
};
use super::candidates::{candidates, formats, setup};
use super::case::Workload;
use super::cluster::ClusterState;
use super::economy::Economy;
use super::feasible::infeasible;
use super::gpu::GpuSpec;
use super::model::{Model, Step};
use super::physics::{memory, physics};
use super::queue::QueueWaits;
use super::rank::{Limit, limits, rank};
use super::request::{Layout, Request};
use super::run::Target;
use super::setup::Setup;
use super::startable::{Bars, Startable};
use super::utility::{self, Outlook, Terms};
use crate::hashing::fnv1a;

/// One Slurm GPU type of the site.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SiteGpu {
    /// Slurm GPU type (gres), as Slurm spells it.
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
    /// What the operator values.
    pub economy: &'a Economy,
    /// Unix seconds now, by which ages are judged; `None` = nothing is too old.
    pub now: Option<i64>,
    /// Whether the job at hand could be started; `None` where no job is, or nothing is known.
    pub startable: Option<&'a dyn Startable>,
}

/// Advises on a request. Pure: the same knowledge and request give the same advice.
pub fn advise(known: Knowledge, request: &Request) -> Advice {
    let mut assessed: Vec<Assessed> = candidates(known, request)
        .into_iter()
        .flat_map(|c| assess_all(known, request, c))
        .collect();
    let ranking = rank(known, request, &mut assessed);
    let verdict = decide(known, request, &assessed);
    Advice {
        id: identify(known, request, &Bars::of(&assessed).text()),
        snapshot_id: known.snapshot_id.into(),
        model: request.card.name.clone(),
        nearest_run: nearest(known, request, &assessed),
        evidence: evidence(known.model, &verdict, &assessed),
        verdict,
        candidates: assessed,
        ranking,
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

/// Forgets how far the instance may be spread where it makes no difference, so that one question
/// has one id whether it comes from a script or from `omnipilot advise`.
pub fn settle_layout(known: Knowledge, request: &mut Request) {
    let replicas = request.load.rate.is_some() && has_replicas(&request.engine);
    let layout = std::mem::take(&mut request.pins.layout);
    if replicas || candidates(known, request).iter().any(|c| c.pp > 1) {
        request.pins.layout = layout;
    }
}

/// GPUs of the largest node that replicas are counted for.
const MOST_GPUS: u32 = 64;

/// A candidate and, where a stated rate asks for more than one instance, its replicas inside the
/// node: as many as serve the rate at the lower end of the interval, and all fewer.
fn assess_all(known: Knowledge, request: &Request, config: Configuration) -> Vec<Assessed> {
    let per_node = known.cluster.pool(&config.gres).map_or(0, |p| p.per_node);
    let most = match (request.load.rate, request.pins.layout) {
        (None, _) | (_, Layout::OneInstance) => 1,
        _ if config.pp > 1 || !has_replicas(&request.engine) => 1,
        // What a snapshot says of a node bounds the work, so it is bounded itself.
        _ => per_node.min(MOST_GPUS) / config.tp.max(1),
    };
    let demand = request.load.rate.unwrap_or(0.0) * request.load.osl;
    let mut out = vec![assess(known, request, config)];
    for dp in 2..=most {
        let Some(last) = out.last() else { break };
        let serves = last.prediction(Target::OutputTokS).map(|p| p.lo >= demand);
        if serves != Some(false) {
            break;
        }
        let config = Configuration {
            dp,
            ..last.config.clone()
        };
        out.push(assess(known, request, config));
    }
    out
}

/// Engines that keep several replicas behind one address.
fn has_replicas(engine: &str) -> bool {
    matches!(engine, "vllm" | "sglang")
}

fn assess(known: Knowledge, request: &Request, mut config: Configuration) -> Assessed {
    let site = known.gpus.iter().find(|g| g.gres == config.gres);
    let price = site.map_or(1.0, |g| g.price_per_hour) * f64::from(config.gpus());
    let blank = |config: Configuration, fallen: Fallen| Assessed {
        config,
        predictions: vec![None; Target::ALL.len()],
        tokens_per_gpu_hour: None,
        tokens_per_price: None,
        price_per_hour: price,
        outlook: Outlook {
            price_per_hour: price,
            ..Outlook::default()
        },
        terms: Terms::default(),
        utility: None,
        fallen: Some(fallen),
    };
    let Some(s) = setup(request, &config) else {
        let reason = format!("{} is not in the GPU catalogue", config.gpu);
        return blank(config, Fallen::Infeasible(reason));
    };
    if let Some(reason) = infeasible(&s, config.quantise_at_load) {
        return blank(config, Fallen::Infeasible(reason));
    }
    let bar = |at: &dyn Startable| at.bar(&config.gres, config.gpus_per_node(), config.nodes());
    if let Some(reason) = known.startable.and_then(bar) {
        return blank(config, Fallen::NotStartable(reason));
    }
    let axes = known.model.axes_out(&s, &physics(&s));
    if !axes.is_empty() {
        return blank(config, Fallen::OutOfSupport(axes));
    }
    let predictions = predict(known.model, request, &config, &s);
    config.max_len = longest_context(&s);
    valued(request, config, price, predictions)
}

/// Predictions of the whole configuration. Throughput is what the instance can do; where a rate
/// is stated and no concurrency, the other targets are those at the concurrency that the rate
/// keeps in flight, by Little's law.
fn predict(
    model: &Model,
    request: &Request,
    c: &Configuration,
    s: &Setup,
) -> Vec<Option<Prediction>> {
    let mut out = model.predict(s, step(model));
    if let (Some(rate), None) = (request.load.rate, request.load.concurrency) {
        let loaded = at_rate(s, rate / f64::from(c.dp));
        let at_load = if model.axes_out(&loaded, &physics(&loaded)).is_empty() {
            model.predict(&loaded, step(model))
        } else {
            vec![None; Target::ALL.len()]
        };
        let of_load = [
            Target::TtftMs,
            Target::TpotMs,
            Target::KvUsage,
            Target::PowerW,
        ];
        for target in of_load.map(|t| t as usize) {
            if let (Some(slot), Some(p)) = (out.get_mut(target), at_load.get(target)) {
                *slot = *p;
            }
        }
    }
    of_replicas(&mut out, c.dp);
    out
}

/// The setup with as many requests in flight as such a rate of arrivals keeps there.
fn at_rate<'a>(s: &Setup<'a>, rate: f64) -> Setup<'a> {
    let arriving = Setup {
        workload: Workload::Poisson,
        rate: Some(rate),
        ..s.clone()
    };
    Setup {
        workload: Workload::ClosedLoop,
        concurrency: Some(physics(&arriving).asked),
        ..s.clone()
    }
}

/// Replicas work side by side, each under its share of the load: throughput and power add up,
/// with errors that move together, and the instance has started when each of them has.
fn of_replicas(predictions: &mut [Option<Prediction>], dp: u32) {
    let n = f64::from(dp.max(1));
    for target in [Target::OutputTokS, Target::ReqS, Target::PowerW] {
        if let Some(slot) = predictions.get_mut(target as usize) {
            *slot = slot.map(|p| p.times(n));
        }
    }
    // Starts that fail for one cause fail together, so the upper end stays that of one.
    if let Some(slot) = predictions.get_mut(Target::LaunchSuccess as usize) {
        *slot = slot.map(|p| Prediction {
            q10: p.q10.powf(n),
            q50: p.q50.powf(n),
            lo: p.lo.powf(n),
            ..p
        });
    }
}

/// What a feasible candidate in support delivers for its price, and whether it misses what was
/// stated. Above the stated arrivals an instance earns nothing.
fn valued(
    request: &Request,
    config: Configuration,
    price_per_hour: f64,
    predictions: Vec<Option<Prediction>>,
) -> Assessed {
    let median = |t: Target| {
        let p = predictions.get(t as usize).and_then(Option::as_ref);
        p.map(|p| p.q50)
    };
    let demand = request
        .load
        .rate
        .map_or(f64::INFINITY, |rate| rate * request.load.osl);
    let per_hour = median(Target::OutputTokS).map(|t| t.min(demand) * 3600.0);
    let mut out = Assessed {
        tokens_per_gpu_hour: per_hour.map(|t| t / f64::from(config.gpus())),
        tokens_per_price: per_hour.map(|t| t / price_per_hour.max(1e-9)),
        outlook: Outlook {
            tokens_per_hour: per_hour,
            price_per_hour,
            power_w: median(Target::PowerW),
            launch: median(Target::LaunchSuccess),
            cold_start_s: median(Target::ColdStartS),
            kv_usage: median(Target::KvUsage),
            ..Outlook::default()
        },
        config,
        predictions,
        price_per_hour,
        terms: Terms::default(),
        utility: None,
        fallen: None,
    };
    out.fallen = fallen(request, &out);
    out
}

fn fallen(request: &Request, a: &Assessed) -> Option<Fallen> {
    let Some(throughput) = a.prediction(Target::OutputTokS) else {
        return Some(Fallen::NotKnown);
    };
    let serves = throughput.q50 / request.load.osl;
    if let Some(rate) = request.load.rate.filter(|rate| serves < *rate) {
        return Some(Fallen::MissesTarget(format!(
            "serves {serves:.2} requests/s, {rate} will arrive"
        )));
    }
    let latencies = limits(request).into_iter().filter(Limit::is_latency);
    latencies.into_iter().find_map(|limit| {
        let p = limit.prediction(a).filter(|p| p.q50 > limit.at)?;
        Some(Fallen::MissesTarget(format!(
            "has a {} of {:.0} ms [{:.0}-{:.0}], {:.0} ms were asked for",
            limit.name, p.q50, p.lo, p.hi, limit.at
        )))
    })
}

/// The context that fits in thousands of tokens, where the model's own does not. vLLM checks at its
/// start that one request of full length fits into the KV cache.
pub(crate) fn longest_context(s: &Setup) -> Option<u32> {
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
    if let Some(reason) = not_startable(assessed) {
        return Verdict::Infeasible(reason);
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

/// Why the first configuration that would run could not be started, by its name where others fell for
/// other reasons; `None` where none fell for that.
fn not_startable(assessed: &[Assessed]) -> Option<String> {
    let mut all = assessed.iter().filter_map(|a| match &a.fallen {
        Some(Fallen::NotStartable(reason)) => Some((&a.config, reason)),
        _ => None,
    });
    let (config, reason) = all.next()?;
    if all.all(|(_, other)| other == reason) {
        return Some(reason.clone());
    }
    Some(format!(
        "{} could not be started: {reason}",
        utility::name(config)
    ))
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
            "tp {tp} needs that many GPUs on one node, and no node of the types asked for has them"
        ),
        _ => format!("no configuration fits what was fixed; the cluster has {has}"),
    }
}

/// The reason of the configuration with most memory: where that one fails, all do.
fn largest_reason(assessed: &[Assessed]) -> String {
    let memory = |a: &&Assessed| {
        GpuSpec::by_name(&a.config.gpu).map_or(0.0, |g| {
            g.memory_gib * f64::from(a.config.gpus()) / a.config.precision.bits()
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
        .map(|l| envelope.describe(&l))
}

/// The id of the advice that this knowledge gives on a request; see [`id_of`].
fn identify(known: Knowledge, request: &Request, barred: &str) -> String {
    let reached: Vec<&str> = known
        .cluster
        .pools
        .iter()
        .map(|p| p.gres.as_str())
        .collect();
    let too_old = |w: &QueueWaits| known.now.is_some_and(|now| w.is_too_old(now));
    let stale = known.cluster.waits.as_ref().is_some_and(too_old);
    let text = serde_json::to_string(request).unwrap_or_default();
    id_of(known.snapshot_id, &reached, stale, &(text + barred))
}

/// Eight hex digits of FNV-1a over the snapshot's name, the GPU types in reach, whether the queue
/// waits were too old, and the request as JSON with what could not be started behind it. So any advice can be recognised when it is made
/// again, without the snapshot's content.
pub fn id_of(snapshot_id: &str, reached: &[&str], stale_waits: bool, request: &str) -> String {
    let types = reached.iter().flat_map(|gres| gres.bytes().chain([b' ']));
    let stale = [u8::from(stale_waits)];
    let hash = fnv1a(
        snapshot_id
            .bytes()
            .chain(types)
            .chain(stale)
            .chain(request.bytes()),
    );
    format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}
