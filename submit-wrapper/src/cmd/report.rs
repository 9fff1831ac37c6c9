//! `omnipilot report`: what was advised and what came of it, as one HTML file that needs nothing else.

mod data;
mod page;
mod svg;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model_store::advisor::words::count_of;
use model_store::advisor::{Origin, Pins};
use model_store::config::Config;
use model_store::consult::{Consulted, consult_snapshot};
use model_store::options::RawOptions;
use model_store::snapshot::Snapshot;
use model_store::store::Store;
use serde_json::json;

use self::data::Data;
use self::page::About;
use crate::ask::AskArgs;
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::{clock, draft, exit, json, publish};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: AskArgs,
    /// The file
    #[arg(
        long,
        short,
        value_name = "FILE",
        default_value = "omnipilot-report.html"
    )]
    output: PathBuf,
    /// Print the most important figures as JSON too
    #[arg(long)]
    json: bool,
}

/// Writes the file.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let config = site.config()?;
    let store = Store::open(&config.store).map_err(exit::store)?;
    let snapshot = Snapshot::read(&config.snapshot)
        .map_err(|e| exit::fail(e.to_string(), "`omnipilot train` publishes one"))?;
    let progress = Progress::start("gathering what was measured");
    let data = data::gather(&store, &snapshot)?;
    let consulted = request(&config, &snapshot, &args.ask.options, &data);
    let about = About {
        made: crate::clock::utc(clock::now()),
        snapshot: snapshot.id.clone(),
        trained: trained(&store, &snapshot)?,
        gpus: snapshot.body.gpus.iter().map(|g| g.gpu.clone()).collect(),
    };
    let text = page::page(&about, &data, consulted.as_ref());
    write(&args.output, &text)?;
    drop(progress);
    tell(args, &data, text.len())?;
    Ok(ExitCode::SUCCESS)
}

fn trained(store: &Store, snapshot: &Snapshot) -> anyhow::Result<String> {
    let root = publish::root_of(store, &snapshot.id)?;
    let entry = store.model(&root).map_err(exit::store)?;
    Ok(crate::clock::utc(
        entry.map_or(snapshot.created_at, |m| m.created_at),
    ))
}

/// The request that was asked for, else the one that was served most here; `None` where nothing is
/// known of it.
fn request(
    config: &Config,
    snapshot: &Snapshot,
    options: &RawOptions,
    data: &Data,
) -> Option<Consulted> {
    let mut options = options.clone();
    if options.model.is_none() {
        let served = data::most_served(data);
        let usual = || "meta-llama/Llama-3.1-8B-Instruct".to_owned();
        options.model = Some(served.unwrap_or_else(usual));
    }
    let cluster = &snapshot.body.cluster;
    consult_snapshot(snapshot, cluster, config, &options, &Pins::default()).ok()
}

/// By a rename: a report that is read meanwhile is the old one or the new one.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    draft::replace(path, text, 0o644).map_err(|e| exit::cannot_write(path, &e))
}

fn tell(args: &Args, data: &Data, bytes: usize) -> std::io::Result<()> {
    let inside = |points: &[data::Point]| points.iter().filter(|p| p.covered()).count();
    let saved = data.saved.as_ref().ok();
    let hours = saved.map(|all| data::sums(all));
    let unstarted: std::collections::BTreeMap<&str, u64> = data
        .unstarted
        .iter()
        .map(|(kind, count)| (kind.name(), *count))
        .collect();
    if args.json {
        return json::print(
            "report",
            json!({
                "output": args.output, "bytes": bytes, "runs": data.in_store(&Origin::ALL),
                "here": { "predicted": data.here.len(), "inside": inside(&data.here), "without_model": data.without_model },
                "held_out": { "predicted": data.held_out.len(), "inside": inside(&data.held_out) },
                "saved": { "jobs": saved.map(Vec::len), "gpu_hours": hours },
                "unstarted": unstarted,
            }),
        );
    }
    println!(
        "{}: {} KB, {}, {} of them here with a prediction from before, {} inside their interval",
        args.output.display(),
        bytes / 1024,
        count_of(data.in_store(&Origin::ALL), "run"),
        data.here.len(),
        inside(&data.here)
    );
    Ok(())
}
