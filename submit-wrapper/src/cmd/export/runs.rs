//! `omnipilot export runs`: the store's runs as CSV, JSON lines or Parquet.

use std::path::PathBuf;

use clap::ValueEnum;
use model_store::advisor::Run;
use model_store::advisor::words::count_of;
use model_store::store::Store;

use super::{Written, write_to};
use crate::cmd::import::OriginArg;
use crate::exit;
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::tables::Encoding;

/// Arguments.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Encoding [default: told by the name of the file, else jsonl]
    #[arg(long, value_enum)]
    format: Option<Encoding>,
    /// Only runs of this origin
    #[arg(long, value_enum)]
    origin: Option<OriginArg>,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
}

pub(super) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<Written> {
    let progress = Progress::start("reading the store's runs");
    let store = Store::open(&site.config()?.store).map_err(exit::store)?;
    let mut runs = store.runs().map_err(exit::store)?;
    if let Some(origin) = args.origin {
        runs.retain(|r: &Run| r.origin == origin.into());
    }
    let ending = args.output.as_ref().and_then(|p| p.extension());
    let by_name = ending.and_then(|e| Encoding::from_str(&e.to_string_lossy(), true).ok());
    let encoding = args.format.or(by_name).unwrap_or(Encoding::Jsonl);
    match &args.output {
        Some(path) => progress.say(format!(
            "writing {} to {}",
            count_of(runs.len(), "run"),
            path.display()
        )),
        // A terminal that shows the runs themselves needs no word.
        None => drop(progress),
    }
    write_to(args.output.as_deref(), |out| encoding.write(out, &runs))?;
    Ok(Written {
        form: encoding.name(),
        advice: None,
        runs: Some(runs.len()),
    })
}
