//! Which configurations there are to choose from: GPU type x TP x precision, with pipeline stages
//! over nodes where one node is too small. Replicas follow from the predicted throughput and are
//! made by [`advise`](mod@super::advise).

use super::advice::Configuration;
use super::case::{Precision, Variant, Workload};
use super::cluster::{ClusterState, GpuPool};
use super::feasible::infeasible;
use super::gpu::{GpuSpec, gpu_name_of_gres};
use super::knowledge::{Knowledge, SiteGpu};
use super::memory::{agreed, memory};
use super::request::{Layout, Request};
use super::setup::Setup;

/// Most nodes over which an instance is spread.
const MOST_NODES: u32 = 16;

/// Every configuration that the cluster offers and the pins allow.
pub(super) fn candidates(known: Knowledge, request: &Request) -> Vec<Configuration> {
    let mut out = Vec::new();
    for pool in &known.cluster.pools {
        let site = known.gpus.iter().find(|g| g.gres == pool.gres);
        let wanted = |site: &&SiteGpu| {
            let mut names = request.pins.gpu_names().peekable();
            names.peek().is_none() || names.any(|name| means(known.cluster, name, site))
        };
        if let Some(site) = site.filter(wanted) {
            for format in formats(request) {
                of_format(request, pool, site, format, &mut out);
            }
        }
    }
    out
}

/// True where a name means this GPU type: Slurm's own word, or else the catalogue's in any spelling.
fn means(cluster: &ClusterState, name: &str, site: &SiteGpu) -> bool {
    match cluster.pool(name) {
        Some(pool) => pool.gres == site.gres,
        None => gpu_name_of_gres(name) == Some(site.gpu.as_str()),
    }
}

/// All degrees of one format on one GPU type, on one node or else on as few as hold it.
fn of_format(
    request: &Request,
    pool: &GpuPool,
    site: &SiteGpu,
    (precision, checkpoint, quantise_at_load): Format,
    out: &mut Vec<Configuration>,
) {
    let configuration = |tp, pp| Configuration {
        gres: pool.gres.clone(),
        gpu: site.gpu.clone(),
        tp,
        pp,
        dp: 1,
        precision,
        checkpoint: checkpoint.clone(),
        quantise_at_load,
        max_len: None,
        max_num_seqs: None,
    };
    let degrees = degrees(pool.per_node, request.pins.tp);
    let one_node = degrees.iter().map(|tp| configuration(*tp, 1));
    let one_node: Vec<Configuration> = one_node.collect();
    let too_small = one_node.iter().all(|c| !fits(request, c));
    out.extend(one_node);
    if too_small && request.pins.layout == Layout::Any {
        let most = pool.nodes.min(MOST_NODES).min(request.card.layers);
        // The widest degree that heads and blocks allow: stages then are as few as can be.
        let widest_first = degrees.iter().rev();
        let spread = widest_first.flat_map(|tp| (2..=most).map(|pp| (*tp, pp)));
        out.extend(
            spread
                .map(|(tp, pp)| configuration(tp, pp))
                .find(|c| runs(request, c)),
        );
    }
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

fn fits(request: &Request, c: &Configuration) -> bool {
    setup(request, c).is_some_and(|s| {
        let m = memory(&agreed(&s));
        m.needed() <= m.usable
    })
}

fn runs(request: &Request, c: &Configuration) -> bool {
    setup(request, c).is_some_and(|s| infeasible(&s, c.quantise_at_load).is_none())
}

/// Weight format, checkpoint to name instead of the model, quantised at load.
type Format = (Precision, Option<String>, bool);

/// Formats for which there is a checkpoint, or which the engine makes at load.
pub(super) fn formats(request: &Request) -> Vec<Format> {
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

/// One instance of a configuration under its share of the load, as the physics and the model see
/// it; its replicas are alike. `None` for a GPU outside the catalogue.
pub fn setup<'a>(request: &'a Request, c: &Configuration) -> Option<Setup<'a>> {
    let share = f64::from(c.dp.max(1));
    Some(Setup {
        card: &request.card,
        gpu: GpuSpec::by_name(&c.gpu)?,
        tp: c.tp,
        pp: c.pp,
        dp: 1,
        precision: c.precision,
        kv_bytes: match c.precision {
            Precision::Fp32 => 4.0,
            _ => 2.0,
        },
        isl: request.load.isl,
        osl: request.load.osl,
        workload: if request.load.concurrency.is_some() {
            Workload::ClosedLoop
        } else {
            Workload::Offline
        },
        concurrency: request.load.concurrency.map(|c| (c / share).max(1.0)),
        rate: None,
        engine: &request.engine,
        engine_version: "",
        source: "",
        variant: Variant::default(),
        limits: request.pins.limits,
        starts: request.starts.as_deref(),
        assumed: [false; 3],
    })
}
