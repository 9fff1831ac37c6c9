//! `omnipilot observe`: the cluster's nodes, GPUs and load, from Slurm into the store and the
//! published snapshot; or as they are stated, where there is no Slurm.

use std::io::Write;
use std::process::ExitCode;

use model_store::advisor::ClusterState;
use model_store::advisor::words::count_of;
use model_store::config::Config;
use model_store::store::Store;
use serde_json::json;

use crate::json::document;
use crate::prices::Priced;
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::slurm::cluster::{self, Observed};
use crate::slurm::command::CommandError;
use crate::waits::waits;
use crate::{clock, exit, prices, publish, stated};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// State the GPUs instead of asking Slurm, to try it without one: TYPE:PER_NODE[xNODES], separated by commas, such as
    /// h100:8x4,a100:8
    #[allow(rustdoc::broken_intra_doc_links)] // brackets of a help text
    #[arg(long, value_name = "GPUS", value_parser = stated::cluster)]
    gpus: Option<ClusterState>,
    /// Print what was seen as JSON
    #[arg(long)]
    json: bool,
}

/// Asks Slurm, keeps the answer, and publishes the snapshot with it where there is one.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let config = site.config()?;
    let mut store = Store::open(&config.store).map_err(exit::store)?;
    let progress = Progress::start("asking Slurm for nodes and queue");
    let mut seen = match &args.gpus {
        Some(stated) => Observed {
            state: stated.clone(),
            ..Observed::default()
        },
        None => cluster::observe(clock::now()).map_err(no_slurm)?,
    };
    store.save_cluster(&seen.state).map_err(exit::store)?;
    store
        .save_slurm_view(seen.view.as_ref())
        .map_err(exit::store)?;
    seen.state.waits = waits(&store, &seen.state, seen.view.as_ref())?;
    progress.say("publishing what was seen");
    let published =
        publish::republish_cluster(&config, &seen.state, seen.view.as_ref(), &mut store)?;
    drop(progress);
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", document("observe", as_json(&seen, published)))?;
    } else {
        match &args.gpus {
            Some(stated) => print_stated(&mut out, stated)?,
            None => print(&mut out, &seen)?,
        }
        warn(&seen);
        warn_of_unknown(&config, &seen);
        Priced::of(&config, &seen.state, seen.view.as_ref()).warn();
        if !published {
            exit::hint("`omnipilot train` makes the snapshot that advice is read from");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Where Slurm's commands are not installed there is a way on without them.
fn no_slurm(error: CommandError) -> anyhow::Error {
    let hint = match &error {
        CommandError::Absent(_) | CommandError::Failed(_) => format!(
            "{}; without a Slurm, `omnipilot observe --gpus h100:8,a100:8` states what there is",
            error.hint()
        ),
        _ => error.hint().to_owned(),
    };
    exit::fail(error.to_string(), hint)
}

fn print_stated(out: &mut impl Write, cluster: &ClusterState) -> std::io::Result<()> {
    for pool in &cluster.pools {
        let of = nodes(pool.nodes);
        writeln!(
            out,
            "{}: {of} with {} each, as stated",
            pool.gres,
            gpus(pool.per_node)
        )?;
    }
    Ok(())
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
            "{}: {} with up to {} each, {} of {} free, {} asked for by pending jobs, partitions {partitions}",
            pool.gres,
            nodes(pool.nodes),
            gpus(pool.per_node),
            pool.free,
            gpus(pool.total),
            pool.pending,
        )?;
        let down = seen.down.iter().find(|d| d.gres == pool.gres);
        match down {
            Some(down) => writeln!(
                out,
                "; {} on {} down or drained",
                gpus(down.gpus),
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
    count_of(n, "node")
}

fn gpus(n: u32) -> String {
    count_of(n, "GPU")
}

fn warn(seen: &Observed) {
    if seen.untyped_nodes > 0 {
        eprintln!(
            "warning: GPUs without a type, which cannot be advised, on {}",
            count_of(seen.untyped_nodes, "node")
        );
        eprintln!("hint: give them one in gres.conf and slurm.conf, as in `Gres=gpu:h100:8`");
    }
    if seen.untyped_pending > 0 {
        eprintln!(
            "note: pending jobs ask for {} of any type; they count for none",
            count_of(seen.untyped_pending, "GPU")
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
