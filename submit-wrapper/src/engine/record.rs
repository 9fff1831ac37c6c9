//! The record of one engine's life: what becomes the outcome file.

use std::path::PathBuf;
use std::time::Duration;

use model_store::advisor::{RunOutcome, StartLog};
use model_store::consult::without_number;
use model_store::outcome::{Asked, Outcome, SCHEMA, Window, env as names};

use super::evidence;
use super::log::{self, LogNotes};
use super::plan::{Env, Plan};
use super::say::warn;
use super::scribe::Scribe;
use super::spool::{self, Readers};
use super::supervise::Supervisor;
use super::verdict::{End, Exit, verdict};
use super::watch::Watch;

/// The job as Slurm tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Job {
    /// Job id; `None` outside a job.
    pub(crate) id: Option<u64>,
    cluster: String,
    advice_id: Option<String>,
}

impl Job {
    /// From the environment.
    pub(crate) fn of(env: Env) -> Self {
        Self {
            id: env("SLURM_JOB_ID").and_then(|t| t.trim().parse().ok()),
            cluster: env("SLURM_CLUSTER_NAME").unwrap_or_default(),
            advice_id: env(names::ADVICE),
        }
    }
}

/// Makes and leaves the record.
pub(crate) struct Recorder {
    job: Job,
    engine: String,
    is_server: bool,
    asked: Asked,
    started_at: f64,
    /// Where the file goes; `None` = nowhere.
    file: Option<(PathBuf, Scribe)>,
    /// The spool that it goes to.
    spool: Option<PathBuf>,
    warned: bool,
}

/// How the engine ended, for the file and for people.
pub(crate) struct Ended {
    /// Seconds from start to end, or to now.
    pub(crate) elapsed_s: f64,
    /// `None` while it is still stopping.
    pub(crate) exit: Option<Exit>,
    /// From the supervisor.
    pub(crate) asked_s: Option<f64>,
    /// From the supervisor.
    pub(crate) gave_up_s: Option<f64>,
}

impl Ended {
    /// From the supervisor's view.
    pub(crate) fn of(supervisor: &Supervisor, elapsed_s: f64, exit: Option<Exit>) -> Self {
        Self {
            elapsed_s,
            exit,
            asked_s: supervisor.asked_s(),
            gave_up_s: supervisor.gave_up_s(),
        }
    }
}

/// Where an outcome goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// To this file.
    File(PathBuf),
    /// Into this directory, under the job's name.
    Spool(PathBuf),
}

impl Recorder {
    /// A recorder of one engine; without a place it leaves nothing.
    pub(crate) fn new(job: Job, plan: &Plan, started_at: f64, place: Option<Place>) -> Self {
        let name = || {
            spool::file_name(
                &job.cluster,
                job.id.unwrap_or(0),
                started_at,
                std::process::id(),
            )
        };
        let spool = match &place {
            Some(Place::Spool(dir)) => Some(dir.clone()),
            _ => None,
        };
        let file = place.map(|place| file(place, name));
        let (engine, asked) = (plan.engine.clone(), plan.asked.clone());
        Self {
            job,
            engine,
            is_server: plan.urls.is_some(),
            asked,
            started_at,
            file,
            spool,
            warned: false,
        }
    }

    /// The record as of now.
    pub(crate) fn outcome(&self, ended: &Ended, notes: &LogNotes, watch: &Watch) -> Outcome {
        let ready_s = watch.ready_s().or(notes.ready);
        let end = End {
            exit: ended.exit,
            elapsed_s: ended.elapsed_s,
            ready_s,
            asked_s: ended.asked_s,
            gave_up_s: ended.gave_up_s,
            is_server: self.is_server,
        };
        let (outcome, evidence) = verdict(&end, notes);
        let (exit_code, signal) = match ended.exit {
            Some(Exit::Code(code)) => (Some(code), None),
            Some(Exit::Signal(signal)) => (None, Some(signal)),
            None => (None, None),
        };
        Outcome {
            schema: SCHEMA,
            job_id: self.job.id.unwrap_or(0),
            cluster: self.job.cluster.clone(),
            advice_id: self.job.advice_id.clone(),
            uid: nix::unistd::geteuid().as_raw(),
            asked: Asked {
                card: watch.card(),
                model: evidence::plain_name(&self.asked.model),
                ..self.asked.clone()
            },
            engine: self.engine.clone(),
            engine_version: watch
                .version()
                .or_else(|| notes.version.clone())
                .unwrap_or_default(),
            started_at: self.started_at,
            cold_start_s: ready_s,
            elapsed_s: ended.elapsed_s,
            exit_code,
            signal,
            outcome,
            // The one place at which words of the log leave the job: what they quote stays.
            evidence: evidence::masked(&evidence, log::rules()),
            start: self.start(notes, watch),
            windows: self.windows(notes, watch),
        }
    }

    /// What log and metrics told of the start.
    fn start(&self, notes: &LogNotes, watch: &Watch) -> Option<StartLog> {
        let mut start = notes.start.clone();
        let [tokens, blocks, share] = watch.cache();
        start.kv_tokens = start.kv_tokens.or(tokens);
        start.gpu_blocks = start.gpu_blocks.or(blocks);
        start.memory_share = start.memory_share.or(share);
        if start.is_empty() || start.unsound().is_some() {
            return None;
        }
        start.storage = watch.storage();
        Some(start)
    }

    /// Windows that began while the engine still said that it compiles or tunes have not settled.
    fn windows(&self, notes: &LogNotes, watch: &Watch) -> Vec<Window> {
        let settled = notes.settling.map_or(f64::MIN, |at| self.started_at + at);
        let mut all = watch.windows();
        for window in &mut all {
            window.unsettled |= window.begins_at < settled;
        }
        all
    }

    /// Hands over what earlier runs could leave for their user alone.
    pub(crate) fn hand_over(&self) {
        if let Some(spool) = &self.spool {
            spool::hand_over(spool);
        }
    }

    /// Leaves the record in its place; true once it is there. A place that takes none costs `patience` and one warning, nothing else.
    pub(crate) fn leave(&mut self, outcome: &Outcome, patience: Duration) -> bool {
        let Some((path, scribe)) = &mut self.file else {
            return false;
        };
        let error = match scribe.write(outcome, patience) {
            Some(Ok(())) => return true,
            Some(Err(error)) => error.to_string(),
            // The first of two records is not missed yet.
            None if outcome.exit_code.is_none() && outcome.signal.is_none() => return false,
            None => format!("no answer within {} s", patience.as_secs()),
        };
        if !std::mem::replace(&mut self.warned, true) {
            warn(&without_number(&format!(
                "the outcome was not recorded in {}: {error}",
                path.display()
            )));
        }
        false
    }
}

/// The file of a place, with the one who writes it. `name` is that of a file in a spool.
fn file(place: Place, name: impl Fn() -> String) -> (PathBuf, Scribe) {
    let (path, readers) = match place {
        Place::File(file) => (file, Readers::Nobody),
        Place::Spool(dir) => (dir.join(name()), Readers::Service),
    };
    let to = path.clone();
    let scribe = Scribe::new(move |outcome| spool::write(&to, readers, outcome));
    (path, scribe)
}

/// What to tell people of an engine that did not end well: the reason, then a hint.
pub(crate) fn told(outcome: &Outcome) -> Option<[String; 2]> {
    let (what, hint) = match outcome.outcome {
        RunOutcome::Ok => return None,
        RunOutcome::OutOfMemory => (
            "had too little GPU memory",
            "more GPUs, a smaller weight format or a shorter `--max-model-len` need less on each GPU",
        ),
        RunOutcome::Incompatible => (
            "refused the configuration",
            "`--llm-tp` and `--llm-precision` at submission choose another one",
        ),
        RunOutcome::TimeOut => (
            "was not ready in time",
            "`--ready-timeout` sets how long `omnipilot run` waits",
        ),
        RunOutcome::Crash => ("died", "the cause stands in the engine's log above"),
    };
    let status = match (outcome.exit_code, outcome.outcome) {
        (Some(0), RunOutcome::Crash) => ", its exit status 0 is passed on",
        _ => "",
    };
    let reason = format!(
        "the engine {what} after {:.1} s{status}: {}",
        outcome.elapsed_s, outcome.evidence
    );
    Some([reason, format!("  hint: {hint}")])
}
