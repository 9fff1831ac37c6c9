//! `omnipilot export`: an advice in the form that other launchers read, and past runs as a table.

mod launchers;
mod metrics;
mod runs;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model_store::advisor::{Configuration, Pins};
use model_store::consult::{Action, Consulted, Fault, Rewrite, consult_snapshot};
use model_store::engine_args::EngineKind;
use model_store::snapshot::Snapshot;

use crate::ask::AskArgs;
use crate::draft::Draft;
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
    /// An advised batch script for plain sbatch, with no plugin needed
    Sbatch(Launch),
    /// An advised model for vec-inf: the file that VEC_INF_MODEL_CONFIG names
    VecInf(Launch),
    /// An advised recipe for srtctl (schema 2, one aggregated role)
    Srtctl(Launch),
    /// Past runs as a table that `omnipilot import` and others read
    Runs(runs::Args),
    /// The state of the site for Prometheus: snapshot, advice, coverage
    Metrics(metrics::Args),
}

/// A request, and where its advice goes.
#[derive(clap::Args)]
struct Launch {
    #[command(flatten)]
    ask: AskArgs,
    /// File to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What was advised, as launchers ask for it.
struct Advised<'a> {
    /// Model as the user named it.
    model: &'a str,
    consulted: &'a Consulted,
    rewrite: &'a Rewrite,
    config: &'a Configuration,
    engine: EngineKind,
    /// GPUs of the type on a node of the cluster.
    per_node: u32,
}

/// Runs the verb. An advice that abstains or refuses writes nothing; its exit code is the plugin's.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.what {
        What::Sbatch(launch) => of_advice(site, launch, launchers::sbatch),
        What::VecInf(launch) => of_advice(site, launch, launchers::vec_inf),
        What::Srtctl(launch) => of_advice(site, launch, launchers::srtctl),
        What::Runs(args) => runs::run(site, args),
        What::Metrics(args) => metrics::run(site, args),
    }
}

fn of_advice(
    site: &SiteArgs,
    launch: &Launch,
    form: fn(&Advised) -> anyhow::Result<String>,
) -> anyhow::Result<ExitCode> {
    let config = site.config()?;
    let published = Snapshot::read(&config.snapshot)
        .map_err(Fault::from)
        .map_err(told)?;
    let cluster = &published.body.cluster;
    let options = &launch.ask.options;
    let consulted =
        consult_snapshot(&published, cluster, &config, options, &Pins::default()).map_err(told)?;
    let (rewrite, best) = match (&consulted.action, consulted.advice.recommended()) {
        (Action::Rewrite(rewrite), Some(best)) => (rewrite, best),
        (Action::Refuse(refusal), _) => {
            for line in &refusal.message {
                eprintln!("omnipilot: {line}");
            }
            return Ok(ExitCode::from(refusal.code));
        }
        (Action::Rewrite(_), None) => return Ok(ExitCode::from(exit::FAILED)),
    };
    let pool = cluster.pool(&best.config.gres);
    let per_node = pool.map_or(best.config.gpus_per_node(), |p| p.per_node);
    let engine = EngineKind::parse(&config.engine).unwrap_or(EngineKind::Vllm);
    let text = form(&Advised {
        model: options.model.as_deref().unwrap_or_default(),
        consulted: &consulted,
        rewrite,
        config: &best.config,
        engine,
        per_node,
    })?;
    write_to(launch.output.as_deref(), |out| {
        out.write_all(text.as_bytes())
    })?;
    Ok(ExitCode::SUCCESS)
}

fn told(fault: Fault) -> anyhow::Error {
    exit::fail(fault.reason, fault.hint)
}

/// Writes to a file, which takes the place of an older one once it is whole, or to standard
/// output.
fn write_to(
    file: Option<&Path>,
    write: impl FnOnce(&mut (dyn Write + Send)) -> io::Result<()>,
) -> anyhow::Result<()> {
    let Some(path) = file else {
        // Standard output as a file of its own: its lock is no writer for several threads.
        let mut out = io::BufWriter::new(io::stdout());
        write(&mut out)?;
        return Ok(out.flush()?);
    };
    let cannot = |e: io::Error| {
        let reason = format!("cannot write {}: {e}", path.display());
        exit::fail(
            reason,
            "`--output` takes a file in a folder that you may write to",
        )
    };
    let written = || -> io::Result<()> {
        let dir = path.parent().filter(|d| !d.as_os_str().is_empty());
        std::fs::metadata(dir.unwrap_or(Path::new(".")))?;
        let mut out = io::BufWriter::new(Draft::beside(path)?);
        write(&mut out)?;
        let draft = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        draft.finish(path, usual_mode())
    };
    written().map_err(cannot)
}

/// The mode that a file made by any other command would have.
fn usual_mode() -> u32 {
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    nix::sys::stat::umask(mask);
    0o666 & !mask.bits()
}
