//! `omnipilot observe`: the cluster's nodes, GPUs and load, from Slurm into the store and the
//! published snapshot.

use std::io::Write;
use std::process::ExitCode;

use model_store::advisor::GpuPool;
use model_store::store::Store;
use serde_json::json;

use crate::site::SiteArgs;
use crate::slurm::cluster::{self, Down, Observed};
use crate::{exit, publish};

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
    let seen = cluster::observe(publish::now()).map_err(|e| exit::fail(e.to_string(), e.hint()))?;
    store.save_cluster(&seen.state).map_err(exit::store)?;
    let published = publish::republish_cluster(&config, &seen.state)?.is_some();
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", as_json(&seen, published))?;
    } else {
        print(&mut out, &seen)?;
        warn(&seen);
        if !published {
            eprintln!(
                "hint: `{}` makes the snapshot that advice is read from",
                site.command("train")
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, seen: &Observed) -> std::io::Result<()> {
    if seen.state.pools.is_empty() {
        writeln!(out, "no node has GPUs with a type")?;
    }
    for pool in &seen.state.pools {
        let down = seen.down.iter().find(|d| d.gres == pool.gres);
        writeln!(out, "{}", line(pool, down))?;
    }
    Ok(())
}

fn line(pool: &GpuPool, down: Option<&Down>) -> String {
    let GpuPool {
        gres,
        nodes,
        per_node,
        total,
        free,
        pending,
        partitions,
    } = pool;
    let mut line = match nodes {
        0 => format!("{gres}: no node can run jobs, pending jobs ask for {pending}"),
        _ => format!(
            "{gres}: {}, {per_node} GPUs a node, {free} of {total} free, pending jobs ask for {pending}, partition {}",
            counted(*nodes, "node"),
            partitions.join(", ")
        ),
    };
    if let Some(Down { nodes, gpus, .. }) = down {
        let (gpus, nodes) = (counted(*gpus, "GPU"), counted(*nodes, "node"));
        line.push_str(&format!("; {gpus} on {nodes} down or drained"));
    }
    line
}

fn counted(n: u32, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
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

fn as_json(seen: &Observed, published: bool) -> serde_json::Value {
    let down: Vec<_> = seen
        .down
        .iter()
        .map(|d| json!({ "gres": d.gres, "nodes": d.nodes, "gpus": d.gpus }))
        .collect();
    json!({
        "observed_at": seen.state.observed_at,
        "pools": seen.state.pools,
        "down": down,
        "untyped_nodes": seen.untyped_nodes,
        "untyped_pending": seen.untyped_pending,
        "published": published,
    })
}
