//! `omnipilot store`: a copy of the store while it is in use, and the way back.

use std::path::PathBuf;
use std::process::ExitCode;

use model_store::store::Store;

use crate::exit;
use crate::site::SiteArgs;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
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
            let bytes = store.backup(file).map_err(exit::store)?;
            println!(
                "copied {} to {} ({} KB)",
                config.store.display(),
                file.display(),
                bytes / 1024
            );
        }
        What::Restore { file } => {
            super::import::make_parent(&config.store)?;
            let store = Store::restore(&config.store, file).map_err(exit::store)?;
            let runs = store.count().map_err(exit::store)?;
            println!(
                "{} holds what {} held: {runs} runs",
                config.store.display(),
                file.display()
            );
            eprintln!("hint: `{}` publishes a model of it", site.command("train"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
