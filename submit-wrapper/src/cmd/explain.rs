//! `omnipilot explain`: why an advice is what it is, what it rests on, and what it would take for
//! another configuration to win. An advice that was given is made again, from the job that it was
//! given to or from what `omnipilot advise --json` printed.

mod again;
mod behind;
mod show;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use model_store::advisor::explain::explain;
use model_store::advisor::{
    Advice, Bars, ClusterState, Knowledge, Request, SiteGpu, Verdict, advise,
};
use model_store::config::Config;
use model_store::decision::{Submission, advice_on, bare, prices_of};
use model_store::job_request::JobRequest;
use model_store::snapshot::Snapshot;
use serde_json::Value;

use crate::ask::{AskArgs, PlaceArgs};
use crate::cmd::ingest::unstarted::is_limit;
use crate::exit;
use crate::site::SiteArgs;
use crate::slurm::{command, submitted};
use crate::who;

use again::{Again, Basis, made_again};
pub(crate) use behind::Advices;
pub(super) use show::preferences as preferences_in_words;

/// Arguments.
#[derive(Clone, clap::Args)]
pub(crate) struct Args {
    /// Advice to make again, as a job's comment and `SLURM_LLM_ADVICE` name it; its job is looked
    /// for in Slurm's accounting. The number of a job and a model will do too
    #[arg(value_name = "ADVICE")]
    advice: Option<String>,
    /// Job whose advice is to be made again
    #[arg(long, value_name = "JOBID")]
    job: Option<u64>,
    /// What `omnipilot advise --json` printed, or its `request`; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "job")]
    request: Option<PathBuf>,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    place: PlaceArgs,
    /// Show every candidate by term, not the first few
    #[arg(long)]
    all: bool,
    /// Print the explanation as JSON
    #[arg(long)]
    json: bool,
}

/// What is explained.
pub(super) struct Subject {
    pub(super) basis: Basis,
    pub(super) request: Request,
    pub(super) advice: Advice,
    /// The id that was asked for or found, and how it relates to the advice.
    pub(super) again: Option<(String, Again)>,
    /// Why its job waits, in Slurm's reason and ours; `None` where it does not.
    pub(super) waits: Option<String>,
}

/// Why a job waits that has not begun.
fn waits(job: u64, subject: &Subject) -> Option<String> {
    let words = ["-h", "-j", &job.to_string(), "-o", "%T|%r"];
    let text = command::output("squeue", &words).ok()?;
    let (state, reason) = text.lines().next()?.split_once('|')?;
    if state != "PENDING" {
        return None;
    }
    let ours = match &subject.advice.verdict {
        Verdict::Recommend(_) if is_limit(reason) => {
            "nothing that was observed stands against the advice: a limit of the user's own may, or something has changed since; `omnipilot observe` looks again".to_owned()
        }
        Verdict::Recommend(_) => {
            "nothing that was observed stands against the advice: it waits as any job does".to_owned()
        }
        Verdict::Infeasible(why) => why.clone(),
        Verdict::Abstain(_) => "there is no advice on it".to_owned(),
    };
    Some(format!("job {job} waits: {reason}, as Slurm says; {ours}"))
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let args = &understood(args)?;
    let config = site.config()?;
    let mut subject = subject(&config, args)?;
    subject.waits = args.job.and_then(|job| waits(job, &subject));
    let explanation = explain(subject.basis.knowledge(), &subject.request, &subject.advice);
    if args.json {
        crate::json::print("explain", show::as_json(&subject, &explanation)?)?;
    } else {
        show::print(&subject, &explanation, args.all)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What was asked, as far as it could be found.
struct Asked {
    request: Request,
    cluster: ClusterState,
    id: Option<String>,
    /// What the job could not be started on.
    bars: Bars,
    /// What GPU types cost where it may run.
    gpus: Option<Vec<SiteGpu>>,
    /// Snapshot that is known to have answered it.
    snapshot: Option<String>,
}

fn subject(config: &Config, args: &Args) -> anyhow::Result<Subject> {
    let published = Snapshot::read(&config.snapshot)
        .map_err(|e| exit::fail(e.to_string(), "`omnipilot train` publishes one"))?;
    let asked = asked_for(config, args, &published)?;
    let now = Basis {
        snapshot: published,
        cluster: asked.cluster,
        judged_at: None,
        bars: asked.bars,
        gpus: asked.gpus,
    };
    let Some(id) = id_of(args).or(asked.id) else {
        return Ok(answered(now, asked.request, None));
    };
    let named = asked.snapshot.as_deref();
    let (basis, again) = made_again(config, now, &asked.request, &id, named);
    Ok(answered(basis, asked.request, Some((id, again))))
}

fn answered(basis: Basis, mut request: Request, again: Option<(String, Again)>) -> Subject {
    request.starts = Some(Arc::new(basis.snapshot.body.model.starts.clone()));
    let advice = advise(basis.knowledge(), &request);
    Subject {
        advice,
        basis,
        request,
        again,
        waits: None,
    }
}

impl Basis {
    fn knowledge(&self) -> Knowledge<'_> {
        let known = self.snapshot.knowledge();
        Knowledge {
            cluster: &self.cluster,
            gpus: self.gpus.as_deref().unwrap_or(known.gpus),
            priced_here: self.gpus.is_some(),
            startable: Some(&self.bars),
            now: self.judged_at.or(known.now),
            ..known
        }
    }
}

/// Whether it can be an advice's id.
fn is_id(text: &str) -> bool {
    text.len() == 8 && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// The id without what a comment puts before it.
fn id_of(args: &Args) -> Option<String> {
    let text = args.advice.as_deref()?.trim();
    Some(text.strip_prefix("omnipilot:").unwrap_or(text).to_owned())
}

/// The same with what stands in the place of an advice: an id is eight digits and letters from a to f, a job is a number, and
/// anything else is a model.
fn understood(args: &Args) -> anyhow::Result<Args> {
    let mut args = args.clone();
    let Some(text) = id_of(&args).filter(|text| !is_id(text)) else {
        return Ok(args);
    };
    args.advice = None;
    match text.parse() {
        Ok(job) => args.job = args.job.or(Some(job)),
        Err(_) => args
            .ask
            .options
            .set("llm-model", &text)
            .map_err(|e| exit::with_code(exit::USAGE, e.to_string(), e.hint.to_string()))?,
    }
    Ok(args)
}

fn asked_for(config: &Config, args: &Args, published: &Snapshot) -> anyhow::Result<Asked> {
    if let Some(file) = &args.request {
        return from_json(config, args, file, published);
    }
    if args.ask.options.model.is_some() {
        return from_options(config, args, published);
    }
    let job = match (args.job, id_of(args)) {
        (Some(job), _) => job.to_string(),
        (None, Some(id)) => find_job(&id)?,
        (None, None) => {
            return Err(exit::with_code(
                exit::USAGE,
                "nothing is named to be explained",
                "an advice id, `--job JOBID`, `--request FILE`, or the options of `omnipilot advise`, such as --model=MODEL",
            ));
        }
    };
    from_job(config, &job, published)
}

fn from_options(config: &Config, args: &Args, published: &Snapshot) -> anyhow::Result<Asked> {
    let cluster = published.body.cluster.clone();
    let given = args.place.given();
    let who = who::me(config, Vec::new());
    let options = &args.ask.options;
    let advised = bare(published, &cluster, config, options, &given, &who)
        .map_err(|fault| exit::fail(fault.reason, fault.hint))?;
    // Of a model that is not known there is nothing to explain.
    if let (Err(refusal), true) = (
        &advised.consulted.answer,
        advised.consulted.advice.id.is_empty(),
    ) {
        let (hints, reason): (Vec<&String>, Vec<&String>) = refusal
            .message
            .iter()
            .partition(|line| line.starts_with("hint: "));
        let hint = hints
            .first()
            .map_or("", |line| line.trim_start_matches("hint: "));
        let reason: Vec<&str> = reason.iter().map(|line| line.as_str()).collect();
        return Err(exit::with_code(refusal.code, reason.join("; "), hint));
    }
    Ok(Asked {
        bars: Bars::of(&advised.consulted.advice.candidates),
        request: advised.consulted.request,
        cluster,
        id: None,
        gpus: prices_of(published, config, &given),
        snapshot: None,
    })
}

/// The configurations that `advise --json` says could not be started.
fn bars_of(value: &Value) -> Bars {
    let all = value.get("candidates").and_then(Value::as_array);
    let one = |candidate: &Value| {
        let number = |key: &str| u32::try_from(candidate.get(key)?.as_u64()?).ok();
        let reason = candidate.get("fallen")?.get("NotStartable")?.as_str()?;
        let gpu = candidate.get("gpu")?.as_str()?;
        let nodes = number("nodes")?;
        let per_node = number("gpus")?.checked_div(nodes)?;
        Some((gpu.to_owned(), per_node, nodes, reason.to_owned()))
    };
    Bars::listed(all.into_iter().flatten().filter_map(one))
}

/// Reads a request, alone or inside what `advise --json` prints.
fn from_json(
    config: &Config,
    args: &Args,
    file: &Path,
    published: &Snapshot,
) -> anyhow::Result<Asked> {
    const LARGEST: u64 = 8 << 20;
    let wrong = |reason: String| {
        exit::with_code(
            exit::USAGE,
            format!("{}: {reason}", file.display()),
            "`omnipilot advise --json` prints what is read here",
        )
    };
    let bytes = if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = std::io::stdin().take(LARGEST).read_to_end(&mut bytes);
        read.map(|_| bytes)
    } else {
        model_store::snapshot::read_regular(file, LARGEST)
    };
    let bytes = bytes.map_err(|e| wrong(e.to_string()))?;
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|e| wrong(format!("it is not JSON: {e}")))?;
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let request = value.get("request").unwrap_or(&value).clone();
    Ok(Asked {
        request: serde_json::from_value(request).map_err(|e| wrong(format!("no request: {e}")))?,
        cluster: published.body.cluster.clone(),
        id: text("advice").filter(|id| !id.is_empty()),
        bars: bars_of(&value),
        gpus: prices_of(published, config, &args.place.given()),
        snapshot: text("snapshot"),
    })
}

fn find_job(advice: &str) -> anyhow::Result<String> {
    let found = submitted::job_with_advice(advice)
        .map_err(|e| exit::fail(format!("advice {advice}: {e}"), e.hint()))?;
    found.ok_or_else(|| {
        exit::fail(
            format!("no job of the last 30 days that accounting shows you carries advice {advice}"),
            "`--job JOBID` names its job; `--request FILE` takes what `omnipilot advise --json` printed",
        )
    })
}

fn from_job(config: &Config, id: &str, published: &Snapshot) -> anyhow::Result<Asked> {
    let job = submitted::job(id)
        .map_err(|e| exit::fail(format!("job {id}: {e}"), e.hint()))?
        .ok_or_else(|| {
            exit::fail(
                format!("accounting does not know job {id}"),
                "`sacct -j` shows what it knows",
            )
        })?;
    let Some(asked) = job.asked else {
        return Err(exit::fail(
            format!("accounting does not say how job {id} was submitted"),
            "it may lag a few seconds behind the controller; else give the options of the request",
        ));
    };
    let asked = asked.map_err(|e| exit::with_code(exit::USAGE, e.reason, e.hint))?;
    if asked.options.model.is_none() {
        return Err(exit::fail(
            format!(
                "job {id} was submitted without a tag, or not by sbatch's own options: its request is not in its submit line"
            ),
            "give the options that it had, as for `omnipilot advise`",
        ));
    }
    let (consulted, cluster) = of_submission(
        config,
        &asked,
        job.script.as_deref(),
        &job.user,
        published,
    )
    .ok_or_else(|| {
        exit::fail(
            format!("no advice was behind job {id}: its script or options left nothing to choose"),
            "give the options of a request, as for `omnipilot advise`",
        )
    })?;
    let gpus = prices_of(published, config, &asked.given);
    Ok(Asked {
        request: consulted.request,
        cluster,
        id: job.advice,
        bars: Bars::of(&consulted.advice.candidates),
        gpus,
        snapshot: None,
    })
}

fn of_submission(
    config: &Config,
    asked: &JobRequest,
    script: Option<&str>,
    user: &str,
    published: &Snapshot,
) -> Option<(model_store::consult::Consulted, ClusterState)> {
    let submission = Submission {
        options: &asked.options,
        given: &asked.given,
        script,
        // Where the job's files lay, and whether they are as they were, is not known any more.
        arguments: None,
        read: &|_| None,
        environment: &|_| None,
        component: asked.component,
        who: &who::named(config, user),
    };
    advice_on(published, config, &submission)
}
