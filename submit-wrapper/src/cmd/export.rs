//! `omnipilot export`: an advice in the form that other launchers read, and past runs as a table.

mod launchers;
mod metrics;
mod runs;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model_store::advisor::words::count_of;
use model_store::advisor::{Configuration, Pins};
use model_store::consult::{Consulted, Fault, Rewrite, consult_snapshot};
use model_store::engine_args::EngineKind;
use model_store::snapshot::Snapshot;
use serde_json::json;

use crate::ask::AskArgs;
use crate::draft::Draft;
use crate::site::SiteArgs;
use crate::{exit, json};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    /// Print what was written as JSON; needs `--output`
    #[arg(long, global = true)]
    json: bool,
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
    let output = args.what.output();
    if args.json && output.is_none() {
        return Err(exit::with_code(
            exit::USAGE,
            "`--json` says what was written to a file, and none is named",
            "`--output FILE` names one; without `--json` the export itself goes to standard output",
        ));
    }
    let written = match &args.what {
        What::Sbatch(launch) => of_advice(site, launch, "sbatch", launchers::sbatch)?,
        What::VecInf(launch) => of_advice(site, launch, "vec-inf", launchers::vec_inf)?,
        What::Srtctl(launch) => of_advice(site, launch, "srtctl", launchers::srtctl)?,
        What::Runs(args) => Ok(runs::run(site, args)?),
        What::Metrics(args) => Ok(metrics::run(site, args)?),
    };
    let (written, output) = match (written, output) {
        (Err(refused), _) => return Ok(refused),
        (Ok(_), None) => return Ok(ExitCode::SUCCESS),
        (Ok(written), Some(output)) => (written, output),
    };
    if args.json {
        let bytes = std::fs::metadata(output)?.len();
        let done = json!({
            "output": output, "bytes": bytes, "form": written.form, "advice": written.advice, "runs": written.runs,
        });
        json::print("export", done)?;
    } else if let Some(runs) = written.runs {
        println!("{} in {}", count_of(runs, "run"), output.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// What was written, for who asks.
struct Written {
    /// As the command names it; of runs their encoding.
    form: &'static str,
    /// Id of the advice that it holds.
    advice: Option<String>,
    /// Runs that it holds.
    runs: Option<usize>,
}

impl What {
    fn output(&self) -> Option<&Path> {
        match self {
            Self::Sbatch(launch) | Self::VecInf(launch) | Self::Srtctl(launch) => {
                launch.output.as_deref()
            }
            Self::Runs(args) => args.output.as_deref(),
            Self::Metrics(args) => args.output.as_deref(),
        }
    }
}

/// The exit code instead where there is no advice.
fn of_advice(
    site: &SiteArgs,
    launch: &Launch,
    name: &'static str,
    form: fn(&Advised) -> anyhow::Result<String>,
) -> anyhow::Result<Result<Written, ExitCode>> {
    if launch.ask.options.model.is_none() {
        return Err(crate::ask::no_model());
    }
    let config = site.config()?;
    let published = Snapshot::read(&config.snapshot)
        .map_err(Fault::from)
        .map_err(told)?;
    let cluster = &published.body.cluster;
    let options = &launch.ask.options;
    let consulted =
        consult_snapshot(&published, cluster, &config, options, &Pins::default()).map_err(told)?;
    let (rewrite, best) = match (&consulted.answer, consulted.advice.recommended()) {
        (Ok(rewrite), Some(best)) => (rewrite, best),
        (Err(refusal), _) => {
            for line in &refusal.message {
                eprintln!("omnipilot: {line}");
            }
            return Ok(Err(ExitCode::from(refusal.code)));
        }
        (Ok(_), None) => return Ok(Err(ExitCode::from(exit::FAILED))),
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
    Ok(Ok(Written {
        form: name,
        advice: Some(consulted.advice.id.clone()),
        runs: None,
    }))
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
    let written = || -> io::Result<()> {
        let dir = path.parent().filter(|d| !d.as_os_str().is_empty());
        std::fs::metadata(dir.unwrap_or(Path::new(".")))?;
        let mut out = io::BufWriter::new(Draft::beside(path)?);
        write(&mut out)?;
        let draft = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        draft.finish(path, usual_mode())
    };
    written().map_err(|e| exit::cannot_write(path, &e))
}

/// The mode that a file made by any other command would have.
fn usual_mode() -> u32 {
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    nix::sys::stat::umask(mask);
    0o666 & !mask.bits()
}
