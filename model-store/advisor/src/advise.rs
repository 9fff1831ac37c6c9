//! The advisor: from a request and a published snapshot to an advice.

use super::advice::{Advice, Assessed, AxisOut, Configuration, Evidence, Fallen, Verdict};
use super::assess::assess;
pub use super::assess::longest_context;
use super::candidates::{candidates, formats, setup};
use super::feasible::infeasible;
use super::gpu::{GpuSpec, gpu_name_of_gres};
use super::highest_load::assess_at_best;
use super::knowledge::{Knowledge, SiteGpu};
use super::memory::{agreed, room};
use super::model::Model;
use super::physics::physics;
use super::queue::QueueWaits;
use super::rank::{is_sought, rank};
use super::request::{Layout, Request};
use super::run::Target;
use super::startable::{Bars, Startable};
use crate::hashing::fnv1a;

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
    if is_sought(request) {
        return vec![assess_at_best(known, request, &config)];
    }
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
        return Verdict::Infeasible(format!("the best, {}, {reason}", a.config));
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
    let reason = largest_reason(assessed);
    Verdict::Infeasible(match next_that_runs(known, request) {
        Some(config) => format!("{reason}; {config} would hold it"),
        None => reason,
    })
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
    Some(format!("{config} could not be started: {reason}"))
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
        (Some(gpu), _) if out_of_reach(known, request) => {
            format!("no `{gpu}` GPUs here; the cluster has {has}")
        }
        (_, Some(tp)) => format!(
            "tp {tp} needs that many GPUs on one node, and no node of the types asked for has them"
        ),
        _ => format!("no configuration fits what was fixed; the cluster has {has}"),
    }
}

/// True where no GPU type that is pinned is one of the cluster's.
fn out_of_reach(known: Knowledge, request: &Request) -> bool {
    let is_here = |name| {
        known.cluster.pool(name).is_some()
            || gpu_name_of_gres(name).is_some_and(|gpu| known.gpus.iter().any(|g| g.gpu == gpu))
    };
    !request.pins.gpu_names().any(is_here)
}

/// Chance of a start from which on a configuration is said to hold a model.
const LIKELY: f64 = 0.5;

/// The smallest configuration that would run if nothing were fixed but the context;
/// `None` where nothing is fixed, or none would.
fn next_that_runs(known: Knowledge, request: &Request) -> Option<Configuration> {
    let mut free = request.clone();
    free.pins.gpu = None;
    free.pins.tp = None;
    free.pins.precision = None;
    if free.pins == request.pins {
        return None;
    }
    let runs = |c: &Configuration| {
        let Some(s) = setup(&free, c) else {
            return false;
        };
        let wanted = free.pins.context.unwrap_or(0);
        let bar = |at: &dyn Startable| at.bar(&c.gres, c.gpus_per_node(), c.nodes());
        room(&agreed(&s)).starts >= LIKELY
            && infeasible(&s, c.quantise_at_load).is_none()
            && longest_context(&s).is_none_or(|most| most >= wanted)
            && known.startable.and_then(bar).is_none()
    };
    let fitting = candidates(known, &free).into_iter().filter(runs);
    let size = |c: &Configuration| {
        let memory = GpuSpec::by_name(&c.gpu).map_or(0.0, |g| g.memory_gib);
        memory * f64::from(c.gpus())
    };
    fitting.min_by(|a, b| size(a).total_cmp(&size(b)))
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
            format!("even {}: {reason}", a.config)
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
    let prices = known.priced_here.then(|| prices_text(known.gpus));
    let text = text + barred + &prices.unwrap_or_default();
    id_of(known.snapshot_id, &reached, stale, &text)
}

/// The prices of a job's own place, as they count in an advice's id.
pub fn prices_text(gpus: &[SiteGpu]) -> String {
    let one = |gpu: &SiteGpu| format!("{}={};", gpu.gres, gpu.price_per_hour);
    gpus.iter().map(one).collect()
}

/// Eight hex digits of FNV-1a over the snapshot's name, the GPU types in reach, whether the queue
/// waits were too old, and the request as JSON; behind it what could not be started, and the prices where the job's place has its own. So any
/// advice can be recognised when it is made again, without the snapshot's content.
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
