//! `omnipilot run -- COMMAND`: starts the engine as advised and reports its outcome.
//!
//! The engine's own life comes first: its output, its signals and its exit status pass through
//! as if it had been started alone; see the invariant in [`crate::engine`].

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use model_store::engine_args::EngineKind;
use model_store::outcome::env as names;

use crate::engine::plan::{Wishes, overruled, plan};
use crate::engine::power::meter;
use crate::engine::record::{Job, Place};
use crate::engine::say::warn;
use crate::engine::session::{Session, Times};
use crate::site::SiteArgs;
use crate::{exit, input};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Engine behind a command that is not recognised: vllm, sglang, tensorrt-llm or tgi
    #[arg(long, value_name = "NAME", value_parser = engine_kind)]
    engine: Option<EngineKind>,
    /// URL that answers once the engine serves [default: /health on the engine's own host and port]
    #[arg(long, value_name = "URL")]
    ready_url: Option<String>,
    /// URL of the metrics in Prometheus text [default: /metrics beside the readiness]
    #[arg(long, value_name = "URL")]
    metrics_url: Option<String>,
    /// Stop an engine that is not ready after so many seconds [default: wait as long as it takes]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    ready_timeout: Option<Duration>,
    /// Seconds between two readings of the metrics
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = interval, env = "OMNIPILOT_RUN_INTERVAL")]
    interval: Duration,
    /// Seconds of traffic that are not counted after the start
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds, env = "OMNIPILOT_RUN_WARMUP")]
    warmup: Duration,
    /// Send no request of its own when the engine says that it serves: it counts as ready once a
    /// user's request was answered
    #[arg(long)]
    no_first_request: bool,
    /// Seconds from a stop to the second SIGTERM; ten more and the engine is killed
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    stop_grace: Duration,
    /// Directory for outcome files [default: SLURM_LLM_SPOOL, else the configuration's spool]
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
    /// Write the outcome to this file, in a job or outside
    #[arg(long, value_name = "FILE")]
    outcome: Option<PathBuf>,
    /// The engine's command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

fn engine_kind(text: &str) -> Result<EngineKind, String> {
    EngineKind::parse(text).ok_or_else(|| "not one of vllm, sglang, tensorrt-llm, tgi".into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.parse::<f64>().ok().filter(|s| (0.0..=1e8).contains(s));
    number
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "not a number of seconds".into())
}

fn interval(text: &str) -> Result<Duration, String> {
    seconds(text).and_then(|d| {
        if d.as_millis() >= 50 {
            Ok(d)
        } else {
            Err("less than 0.05 s".into())
        }
    })
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let wishes = Wishes {
        engine: args.engine,
        ready_url: args.ready_url.clone(),
        metrics_url: args.metrics_url.clone(),
    };
    // A pipe is the engine's to read.
    let read = |name: &str| input::small_text(name.as_ref());
    if let Some(error) = overruled(&args.command, &wishes, &env, &read) {
        return Err(exit::with_code(
            exit::USAGE,
            error.to_string(),
            error.hint(),
        ));
    }
    let plan = plan(&args.command, &wishes, &env)
        .map_err(|e| exit::with_code(exit::USAGE, e.to_string(), e.hint()))?;
    if let Some(advice) = &plan.not_applied {
        warn(&format!(
            "the advice ({advice}) was not put into the command: no engine known here starts in it"
        ));
        warn("  hint: start the engine itself after `--`, or name it with `--engine`");
    }
    let job = Job::of(&env);
    let place = place(site, args, &job);
    let times = Times {
        ready: args.ready_timeout,
        interval: args.interval,
        warmup: args.warmup,
        first_request: !args.no_first_request,
        grace: args.stop_grace,
    };
    let meter = meter(&env, times.interval);
    Ok(Session::start(plan, job, place, &times, meter)?.see_out())
}

/// Where the outcome goes. The configuration is asked last, and only in a job.
fn place(site: &SiteArgs, args: &Args, job: &Job) -> Option<Place> {
    if let Some(file) = &args.outcome {
        return Some(Place::File(file.clone()));
    }
    if job.id.is_none() {
        if std::io::stderr().is_terminal() {
            warn("not in a Slurm job: nothing is recorded");
            warn("  hint: `--outcome FILE` keeps the record");
        }
        return None;
    }
    let told = args
        .spool
        .clone()
        .or_else(|| env(names::SPOOL).map(Into::into));
    let spool = told.or_else(|| site.config().ok().map(|c| c.spool));
    if spool.is_none() {
        warn("no spool is known: the outcome is not recorded");
        warn("  hint: `--spool DIR`, SLURM_LLM_SPOOL or a configuration names one");
    }
    spool.map(Place::Spool)
}

/// In a heterogeneous job, the variables of the component that runs on this node.
fn env(name: &str) -> Option<String> {
    model_store::component::look_up(name, &|name| {
        std::env::var(name).ok().filter(|v| !v.is_empty())
    })
}
