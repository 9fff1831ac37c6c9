//! `omnipilot init`: a working store from the built-in evidence, and the spool.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;

use model_store::advisor::Run;
use model_store::advisor::words::count_of;
use model_store::store::{EVIDENCE, Store, published_figures};

use crate::folders::{make_folders, make_parent};
use serde_json::{Value, json};

use crate::exit;
use crate::json;
use crate::shared_folder;
use crate::site::SiteArgs;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Start from the figures of product documentation alone, without the runs of laboratories
    #[arg(long, conflicts_with = "bare")]
    figures_only: bool,
    /// Start from an empty store
    #[arg(long)]
    bare: bool,
    /// Print what there is now as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    /// The built-in runs that were asked for.
    fn runs(&self) -> anyhow::Result<Vec<Run>> {
        let broken = |e| exit::fail(format!("built-in evidence: {e}"), "");
        if self.bare {
            return Ok(Vec::new());
        }
        let mut runs = published_figures().map_err(broken)?;
        if !self.figures_only {
            for table in EVIDENCE {
                runs.extend(table.runs().map_err(broken)?);
            }
        }
        Ok(runs)
    }
}

/// Makes what is missing, and says what it made.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let config = site.config()?;
    let mut out: Box<dyn Write> = match args.json {
        true => Box::new(std::io::sink()),
        false => Box::new(std::io::stdout().lock()),
    };
    let store = init_store(&config.store, args.runs()?, &mut out)?;
    make_parent(&config.snapshot)?;
    init_spool(&config.spool, &mut out)?;
    out.flush()?;
    drop(out);
    if args.json {
        json::print("init", store)?;
        return Ok(ExitCode::SUCCESS);
    }
    exit::hint(
        "`omnipilot observe` asks Slurm which GPUs the cluster has; without a Slurm, `omnipilot observe --gpus h100:8,a100:8` states them",
    );
    Ok(ExitCode::SUCCESS)
}

fn init_store(path: &Path, runs: Vec<Run>, out: &mut impl Write) -> anyhow::Result<Value> {
    make_parent(path)?;
    let existed = path.exists();
    let mut store = Store::create(path).map_err(exit::store)?;
    let report = store.insert_runs(runs.into_iter()).map_err(exit::store)?;
    let (shown, new, all) = (
        path.display(),
        report.new,
        store.count().map_err(exit::store)?,
    );
    if existed {
        writeln!(
            out,
            "the store {shown} was there: {} added, {} already known, {all} in all",
            count_of(new, "published run"),
            report.known
        )?;
    } else {
        writeln!(
            out,
            "made the store {shown} with {}",
            count_of(new, "published run")
        )?;
    }
    Ok(json!({
        "store": path.display().to_string(), "made": !existed, "runs_added": new, "runs": all,
    }))
}

fn init_spool(path: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let cannot = |e: std::io::Error| {
        exit::fail(
            format!("cannot make the spool {}: {e}", path.display()),
            "run it as a user who may, or set `spool`",
        )
    };
    match fs::symlink_metadata(path) {
        Ok(meta) => {
            // Told below where it could not be done.
            let _ = shared_folder::adopt_path(path);
            check_spool(path, &fs::symlink_metadata(path).unwrap_or(meta));
            return Ok(());
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(cannot(e)),
    }
    make_folders(path).map_err(cannot)?;
    fs::set_permissions(path, fs::Permissions::from_mode(shared_folder::MODE)).map_err(cannot)?;
    writeln!(
        out,
        "made the spool {} (mode {:o}: every job may leave its outcome there)",
        path.display(),
        shared_folder::MODE
    )?;
    Ok(())
}

/// An existing spool is left as it is, with a word where jobs could not write to it, or could
/// remove the files of others.
fn check_spool(path: &Path, meta: &fs::Metadata) {
    let mode = meta.permissions().mode() & 0o7777;
    if !meta.is_dir() {
        eprintln!(
            "warning: the spool {} is no directory, so no outcome comes back",
            path.display()
        );
    } else if let Some(wrong) = shared_folder::wrong(meta) {
        let (right, path) = (shared_folder::MODE, path.display());
        eprintln!("warning: the spool {path} has mode {mode:o}, not {right:o}: {wrong}");
        eprintln!(
            "hint: `chmod {right:o} {path}`, with the service account's group, lets every job leave its outcome, and none read or remove another's"
        );
    }
}
