//! `omnipilot observe`: the cluster's nodes, GPUs and load, from Slurm into the store and the
//! published snapshot.

use std::io::Write;
use std::process::ExitCode;

use model_store::advisor::{ClusterState, QueueWaits};
use model_store::config::Config;
use model_store::store::{Store, Wait};
use model_store::train::queue::{PastWait, queue_waits};
use serde_json::json;

use crate::json::document;
use crate::prices::Priced;
use crate::site::SiteArgs;
use crate::slurm::cluster::{self, Observed};
use crate::{exit, prices, publish};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print what was seen as JSON
    #[arg(long)]
    json: bool,
}

/// Asks Slurm, keeps the answer, and publishes the snapshot with it where there is one.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let config = site.config()?;
    let mut store = Store::open(&config.store).map_err(exit::store)?;
    let mut seen =
        cluster::observe(publish::now()).map_err(|e| exit::fail(e.to_string(), e.hint()))?;
    store.save_cluster(&seen.state).map_err(exit::store)?;
    seen.state.waits = waits(&store, &seen.state)?;
    let published = publish::republish_cluster(&config, &seen.state, &mut store)?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", document("observe", as_json(&seen, published)))?;
    } else {
        print(&mut out, &seen)?;
        warn(&seen);
        warn_of_unknown(&config, &seen);
        Priced::of(&config, &seen.state).warn();
        if !published {
            eprintln!("hint: `omnipilot train` makes the snapshot that advice is read from");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits older than this, s, say nothing of the queue of now.
const LONGEST_MEMORY: i64 = 60 * 86_400;

/// How long jobs wait, from what `ingest` read of accounting; `None` before it did.
pub(crate) fn waits(store: &Store, cluster: &ClusterState) -> anyhow::Result<Option<QueueWaits>> {
    let Some(as_of) = store.watermark("sacct").map_err(exit::store)? else {
        return Ok(None);
    };
    let now = publish::now();
    let past = store.waits(now - LONGEST_MEMORY).map_err(exit::store)?;
    let past: Vec<PastWait> = past.iter().map(past_wait).collect();
    let waits = queue_waits(&past, cluster, now, as_of);
    Ok((!waits.waits.is_empty()).then_some(waits))
}

/// How long jobs waited as it looked at a moment of the past: from the latest jobs that had begun
/// by then. `recorded` is in the order in which jobs became eligible.
pub(crate) fn waits_then(recorded: &[Wait], cluster: &ClusterState, at: i64) -> Option<QueueWaits> {
    /// Enough for every size; a choice is reconstructed in milliseconds.
    const MOST: usize = 2000;
    let begun = |w: &&Wait| w.eligible.saturating_add_unsigned(w.wait_s) <= at;
    let recent = |w: &&Wait| w.eligible > at - LONGEST_MEMORY;
    let known = recorded.iter().rev().filter(begun).take_while(recent);
    let past: Vec<PastWait> = known.take(MOST).map(past_wait).collect();
    let waits = queue_waits(&past, cluster, at, at);
    (!waits.waits.is_empty()).then_some(waits)
}

#[allow(clippy::cast_precision_loss)] // seconds
fn past_wait(w: &Wait) -> PastWait {
    PastWait {
        gres: w.gres.clone(),
        gpus: w.gpus,
        eligible: w.eligible,
        wait_s: w.wait_s as f64,
        backlog: w.backlog,
    }
}

fn print(out: &mut impl Write, seen: &Observed) -> std::io::Result<()> {
    if seen.state.pools.is_empty() {
        writeln!(out, "no node has GPUs with a type")?;
    }
    for pool in &seen.state.pools {
        let partitions = if pool.partitions.is_empty() {
            "none".into()
        } else {
            pool.partitions.join(", ")
        };
        write!(
            out,
            "{}: {} with up to {} GPUs each, {} of {} GPUs free, {} asked for by pending jobs, partitions {partitions}",
            pool.gres,
            nodes(pool.nodes),
            pool.per_node,
            pool.free,
            pool.total,
            pool.pending,
        )?;
        let down = seen.down.iter().find(|d| d.gres == pool.gres);
        match down {
            Some(down) => writeln!(
                out,
                "; {} GPUs on {} down or drained",
                down.gpus,
                nodes(down.nodes)
            )?,
            None => writeln!(out)?,
        }
    }
    for wait in seen.state.waits.iter().flat_map(|w| &w.waits) {
        let [low, middle, high] = wait.quantiles_s.map(minutes);
        writeln!(
            out,
            "{} x {}: jobs wait {middle} [{low} to {high}], from {} like it",
            wait.gres, wait.gpus, wait.jobs
        )?;
    }
    match &seen.state.default_partition {
        Some(name) => writeln!(out, "default partition: {name}"),
        None => writeln!(out, "no default partition"),
    }
}

fn minutes(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn nodes(n: u32) -> String {
    format!("{n} node{}", if n == 1 { "" } else { "s" })
}

fn warn(seen: &Observed) {
    if seen.untyped_nodes > 0 {
        eprintln!(
            "warning: {} nodes have GPUs without a type, which cannot be advised",
            seen.untyped_nodes
        );
        eprintln!("hint: give them one in gres.conf and slurm.conf, as in `Gres=gpu:h100:8`");
    }
    if seen.untyped_pending > 0 {
        eprintln!(
            "note: pending jobs ask for {} GPUs of any type; they count for none",
            seen.untyped_pending
        );
    }
}

/// A type that means no known GPU is never advised.
fn warn_of_unknown(config: &Config, seen: &Observed) {
    for gres in seen.state.pools.iter().map(|pool| pool.gres.as_str()) {
        if prices::gpu_of(config, gres).is_none() {
            eprintln!("warning: GPU type `{gres}` has no meaning here, so it is never advised");
            eprintln!(
                "hint: `[gpu.\"{gres}\"]` with `is = \"A100-80GB\"` or another name of the catalogue in the configuration gives it one"
            );
        }
    }
}

fn as_json(seen: &Observed, published: bool) -> serde_json::Value {
    let down: Vec<_> = seen
        .down
        .iter()
        .map(|d| json!({ "gres": d.gres, "nodes": d.nodes, "gpus": d.gpus }))
        .collect();
    json!({
        "observed_at": seen.state.observed_at,
        "default_partition": seen.state.default_partition,
        "pools": seen.state.pools,
        "waits": seen.state.waits,
        "down": down,
        "untyped_nodes": seen.untyped_nodes,
        "untyped_pending": seen.untyped_pending,
        "published": published,
    })
}
