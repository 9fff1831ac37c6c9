//! Not written yet.

use std::process::ExitCode;

use crate::site::SiteArgs;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the verb.
pub(crate) fn run(_site: &SiteArgs, _args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not written yet")
}
