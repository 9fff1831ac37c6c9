//! `omnipilot train`: from the store to a published snapshot.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use model_store::advisor::Catalogue;
use model_store::advisor::words::grouped;
use model_store::store::{PublishedModel, Store};
use model_store::train::{Report, TargetReport, train};

use crate::exit;
use crate::publish::publish;
use crate::site::SiteArgs;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let config = site.config()?;
    let mut store = Store::open(&config.store).map_err(exit::store)?;
    let runs = store.runs().map_err(exit::store)?;
    if runs.is_empty() {
        return Err(exit::fail(
            format!("{} holds no runs", config.store.display()),
            "`omnipilot init` adds the published figures, `omnipilot import` measured runs",
        ));
    }
    let (model, report) = train(&runs, &Catalogue::built_in(), &show_progress);
    let snapshot = publish(&config, model, &store)?;
    let bytes = snapshot.encode();
    let entry = PublishedModel {
        id: snapshot.id.clone(),
        created_at: snapshot.created_at,
        runs: runs.len() as u64,
        path: config.snapshot.display().to_string(),
        bytes: bytes.len() as u64,
        metrics: serde_json::to_string(&report)?,
        state: model_store::store::ModelState::Published,
    };
    store
        .record_model(&entry, Some(&bytes), None)
        .map_err(exit::store)?;
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "schema": 1, "snapshot": entry.id, "path": entry.path, "bytes": entry.bytes, "report": report, "preferences": snapshot.body.preferences })
        );
    } else {
        print(&report, &entry)?;
        for line in super::explain::preferences_in_words(&snapshot.body.preferences) {
            println!("{line}");
        }
        if snapshot.body.gpus.is_empty() {
            eprintln!("hint: no GPUs are known yet; `omnipilot observe` asks Slurm for them");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line that rewrites itself, on a terminal alone.
fn show_progress(done: usize, of: usize) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let end = if done == of { "\r\x1b[K" } else { "" };
        let _ = write!(stderr, "\rtraining: {done} of {of} targets{end}");
    }
}

fn print(report: &Report, entry: &PublishedModel) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let e = &report.evidence;
    writeln!(
        out,
        "{} runs: {} of this cluster, {} from elsewhere, {} published",
        entry.runs, e.this_cluster, e.other_cluster, e.published
    )?;
    for (reason, n) in &report.left_out {
        writeln!(out, "  {n} left out: {reason}")?;
    }
    writeln!(
        out,
        "{:<16} {:>6} {:>8} {:>7} {:>7}  interval",
        "target", "runs", "MAPE", "median", "log R2"
    )?;
    for target in &report.targets {
        writeln!(out, "{}", line(target))?;
    }
    writeln!(
        out,
        "published {} ({} KB) as {}",
        entry.path,
        entry.bytes / 1024,
        entry.id
    )
}

fn line(t: &TargetReport) -> String {
    let percent = |x: Option<f64>| x.map_or_else(|| "-".into(), |x| format!("{:.1} %", x * 100.0));
    let interval = match (t.calibrated, t.calibrated_elsewhere) {
        (false, false) => "not known: too few runs",
        (true, false) => "known sources only",
        (_, true) => "known and unknown sources",
    };
    format!(
        "{:<16} {:>6} {:>8} {:>7} {:>7}  {interval}",
        t.target,
        grouped_count(t.runs),
        percent(t.mape),
        percent(t.median_ape),
        t.log_r2.map_or_else(|| "-".into(), |r| format!("{r:.3}")),
    )
}

fn grouped_count(n: u32) -> String {
    if n < 1000 {
        n.to_string()
    } else {
        grouped(f64::from(n))
    }
}
