//! `omnipilot store`: a copy of the store while it is in use, and the way back.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model_store::advisor::words::count_of;
use model_store::store::{Store, StoreError};
use serde_json::json;

use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::{exit, json};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Print what was done as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// Copy the store, as it is at one moment, to a new file
    Backup {
        /// File that is not there yet
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Put a backup in the place of what the store holds
    Restore {
        /// File that `backup` made
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let config = site.config()?;
    match &args.what {
        What::Backup { file } => {
            let store = Store::open(&config.store).map_err(exit::store)?;
            let progress = Progress::start("copying the store");
            let bytes = store.backup(file).map_err(|e| not_copied(file, e))?;
            drop(progress);
            if args.json {
                let done = json!({ "store": config.store, "file": file, "bytes": bytes });
                json::print("store.backup", done)?;
                return Ok(ExitCode::SUCCESS);
            }
            println!(
                "copied {} to {} ({} KB)",
                config.store.display(),
                file.display(),
                bytes / 1024
            );
        }
        What::Restore { file } => {
            crate::folders::make_parent(&config.store)?;
            let progress = Progress::start("putting the backup in place");
            let store = Store::restore(&config.store, file).map_err(|e| not_restored(file, e))?;
            let runs = store.count().map_err(exit::store)?;
            drop(progress);
            if args.json {
                let done = json!({ "store": config.store, "file": file, "runs": runs });
                json::print("store.restore", done)?;
                return Ok(ExitCode::SUCCESS);
            }
            println!(
                "{} holds what {} held: {}",
                config.store.display(),
                file.display(),
                count_of(runs, "run")
            );
            exit::hint("`omnipilot train` publishes a model of it");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn not_copied(file: &Path, error: StoreError) -> anyhow::Error {
    match &error {
        StoreError::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists => exit::fail(
            format!(
                "{} is there already, and no copy replaces another",
                file.display()
            ),
            "name a file that is not there yet, such as one with today's date",
        ),
        StoreError::Io { source, .. } => exit::fail(
            format!("cannot write {}: {source}", file.display()),
            "name a file in a folder that you may write to",
        ),
        _ => exit::store(error),
    }
}

/// The store is as it was: the hints of a store that cannot be used are not for a backup.
fn not_restored(file: &Path, error: StoreError) -> anyhow::Error {
    let reason = match &error {
        StoreError::Absent { path } if path == file => {
            format!("there is no backup at {}", file.display())
        }
        StoreError::NotAStore { path, .. } if path == file => error.to_string(),
        _ => return exit::store(error),
    };
    exit::fail(
        reason,
        "the store was not touched; `omnipilot store backup FILE` makes what is read here",
    )
}
