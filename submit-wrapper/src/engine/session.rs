//! One engine's life from start to record: puts the parts together.

use std::os::fd::OwnedFd;
use std::process::{Child, ExitCode};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use model_store::outcome::Outcome;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::child::{end_like, end_rest, spawn};
use super::evidence::plain_name;
use super::notice::Unposted;
use super::plan::Plan;
use super::power::PowerMeter;
use super::record::{Ended, Job, Place, Recorder, told};
use super::say::warn;
use super::supervise::{Limits, Supervisor, Surroundings, block, listen};
use super::tee::{SharedLog, locked, pump};
use super::watch::{Watch, answers};
use super::window::Cut;
use crate::clock::exactly_now;
use crate::exit;

/// Exit status where the engine was not ready in time and was stopped, as `timeout` has it.
const NOT_READY: u8 = 124;

/// Exit status where the command is not there, as shells have it.
const NOT_FOUND: u8 = 127;

/// Longest time for which a record is waited for: one that is left early, while signals wait, and the last.
const EARLY_RECORD: Duration = Duration::from_secs(1);
const LAST_RECORD: Duration = Duration::from_secs(30);

/// Times that the user sets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Until the engine must be ready; `None` = as long as it takes.
    pub(crate) ready: Option<Duration>,
    /// Between two readings.
    pub(crate) interval: Duration,
    /// Traffic that is not counted.
    pub(crate) warmup: Duration,
    /// One request of its own tells when the engine is ready.
    pub(crate) first_request: bool,
    /// From a stop to the second SIGTERM.
    pub(crate) grace: Duration,
}

/// One engine's life.
pub(crate) struct Session {
    engine: Pid,
    supervisor: Supervisor,
    around: Around,
    signals: Receiver<Signal>,
    /// A word for each stream that ended.
    streams: Receiver<()>,
}

/// What the supervisor's decisions touch.
struct Around {
    log: SharedLog,
    watch: Watch,
    recorder: Recorder,
    started: Instant,
}

impl Session {
    /// Starts the engine.
    ///
    /// # Errors
    /// The command cannot be started.
    pub(crate) fn start(
        plan: Plan,
        job: Job,
        place: Option<Place>,
        times: &Times,
        meter: Box<dyn PowerMeter>,
    ) -> anyhow::Result<Self> {
        let (mask, blocked) = block();
        // Another server on the same port would be taken for ours.
        let foreign = plan.urls.as_ref().is_some_and(answers);
        let started_at = exactly_now();
        let started = Instant::now();
        let mut child = spawn(&plan.command, mask).map_err(|e| not_started(&plan.command, &e))?;
        let engine = Pid::from_raw(child.id() as i32);
        let (log, (ended, streams)) = (SharedLog::default(), channel());
        pass_on(&mut child, &log, started, &ended);
        let (sender, signals) = channel();
        listen(blocked, sender);
        let notice = Unposted::of(job.id, &plan, times.interval);
        let mut watch = Watch::new(cut(times, started_at), notice);
        if let Some(weights) = plan.weights.clone() {
            watch.look_at_storage(weights);
        }
        match &plan.urls {
            Some(urls) if foreign => warn(&format!(
                "{} answers already: the engine is not measured",
                plain_name(&urls.ready)
            )),
            Some(urls) => {
                let (urls, weights, log) = (urls.clone(), plan.weights.clone(), log.clone());
                let how = (times.interval, times.first_request);
                watch.begin(urls, weights, started, how, log, meter);
            }
            None => {}
        }
        let ready = times.ready.filter(|_| plan.urls.is_some());
        let supervisor = Supervisor::new(
            engine,
            started,
            Limits {
                ready,
                grace: times.grace,
            },
        );
        let recorder = Recorder::new(job, &plan, started_at, place);
        Ok(Self {
            engine,
            supervisor,
            around: Around {
                log,
                watch,
                recorder,
                started,
            },
            signals,
            streams,
        })
    }

    /// Waits for its end, leaves the record, and gives the exit status; returns only where the
    /// engine was not ended by a signal.
    pub(crate) fn see_out(mut self) -> ExitCode {
        let exit = self.supervisor.wait(&self.signals, &mut self.around);
        let elapsed_s = self.around.started.elapsed().as_secs_f64();
        self.around.watch.stop();
        end_rest(self.engine);
        self.wait_for_streams();
        let ended = Ended::of(&self.supervisor, elapsed_s, Some(exit));
        let (outcome, left) = self.around.record(&ended, LAST_RECORD);
        for line in told(&outcome).iter().flatten() {
            warn(line);
        }
        if left {
            self.around.recorder.hand_over();
        }
        if ended.gave_up_s.is_some() {
            ExitCode::from(NOT_READY)
        } else {
            end_like(exit)
        }
    }

    /// The last lines tell the cause; a process that escaped must not hold us by its stream.
    fn wait_for_streams(&self) {
        let deadline = Instant::now() + Duration::from_secs(1);
        for _ in 0..2 {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.streams.recv_timeout(left).is_err() {
                return;
            }
        }
    }
}

impl Around {
    /// The record as of now, and whether it lies in its place.
    fn record(&mut self, ended: &Ended, patience: Duration) -> (Outcome, bool) {
        // A copy: who passes the engine's output on waits for the log.
        let notes = locked(&self.log).clone();
        let outcome = self.recorder.outcome(ended, &notes, &self.watch);
        let left = self.recorder.leave(&outcome, patience);
        (outcome, left)
    }
}

impl Surroundings for Around {
    fn is_ready(&self) -> bool {
        self.watch.is_healthy() || locked(&self.log).ready.is_some()
    }

    fn stopping(&mut self) {
        self.watch.stop();
    }

    fn record_early(&mut self, supervisor: &Supervisor) {
        let elapsed_s = self.started.elapsed().as_secs_f64();
        let _ = self.record(&Ended::of(supervisor, elapsed_s, None), EARLY_RECORD);
    }
}

fn cut(times: &Times, started_at: f64) -> Cut {
    let interval_s = times.interval.as_secs_f64();
    // Three readings apart, less the jitter of reading.
    Cut {
        warmup_s: times.warmup.as_secs_f64(),
        shortest_s: 2.8 * interval_s,
        started_at,
    }
}

fn pass_on(child: &mut Child, log: &SharedLog, started: Instant, ended: &Sender<()>) {
    let out: Option<OwnedFd> = child.stdout.take().map(Into::into);
    let err: Option<OwnedFd> = child.stderr.take().map(Into::into);
    if let Some(out) = out {
        pump(out, &std::io::stdout(), log.clone(), started, ended.clone());
    }
    if let Some(err) = err {
        pump(err, &std::io::stderr(), log.clone(), started, ended.clone());
    }
}

fn not_started(command: &[String], error: &std::io::Error) -> anyhow::Error {
    let name = command.first().map_or("", String::as_str);
    exit::with_code(
        NOT_FOUND,
        format!(
            "cannot start `{}`: {error}",
            model_store::options::shorten(name)
        ),
        "the command after `--` is looked for in PATH, without a shell",
    )
}
