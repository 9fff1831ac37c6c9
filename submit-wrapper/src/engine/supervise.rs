//! Waits for the engine's end, relays signals to it, and escalates where it does not heed them.

use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::child::{kill_group, reap};
use super::verdict::Exit;

/// Signals that are relayed.
const RELAYED: [Signal; 5] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// How often the clock is looked at while nothing happens.
const TICK: Duration = Duration::from_millis(250);

/// vLLM in start-up does not heed a first SIGTERM; there is nothing to lose, so the second one
/// comes soon.
const SECOND_IN_START_UP: Duration = Duration::from_secs(2);

/// From the second SIGTERM to SIGKILL: vLLM in start-up needs 7.5 s to end after it.
const LAST: Duration = Duration::from_secs(10);

/// A stop that takes longer than this is recorded before it is over: Slurm may kill after 3 s.
const RECORD_AFTER: Duration = Duration::from_secs(1);

/// Blocks the signals for this and all later threads. Gives the mask from before, which is the
/// engine's, and the set that is blocked.
pub(crate) fn block() -> (SigSet, SigSet) {
    let set: SigSet = RELAYED.into_iter().chain([Signal::SIGCHLD]).collect();
    let before = SigSet::thread_get_mask().unwrap_or_else(|_| SigSet::empty());
    let _ = set.thread_block();
    (before, set)
}

/// Turns blocked signals into messages, in a thread.
pub(crate) fn listen(set: SigSet, signals: Sender<Signal>) {
    let work = move || {
        while let Ok(signal) = set.wait() {
            if signals.send(signal).is_err() {
                return;
            }
        }
    };
    let _ = thread::Builder::new()
        .name("signals".into())
        .stack_size(128 * 1024)
        .spawn(work);
}

/// How long the engine may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Until it is ready; `None` = as long as it takes.
    pub(crate) ready: Option<Duration>,
    /// From a stop to the second SIGTERM, once it was ready.
    pub(crate) grace: Duration,
}

/// What the supervisor asks of the rest.
pub(crate) trait Surroundings {
    /// True once the engine serves.
    fn is_ready(&self) -> bool;
    /// A stop was asked for: measuring ends.
    fn stopping(&mut self);
    /// The stop takes its time: leave a record now.
    fn record_early(&mut self, supervisor: &Supervisor);
}

/// One engine under supervision.
#[derive(Debug)]
pub(crate) struct Supervisor {
    engine: Pid,
    started: Instant,
    limits: Limits,
    /// When a stop was asked for from outside.
    asked: Option<Instant>,
    /// When the wait for readiness was given up.
    gave_up: Option<Instant>,
    step: Step,
    recorded: bool,
}

/// How far the escalation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Running,
    First(Instant),
    Second(Instant),
    Killed,
}

impl Supervisor {
    pub(crate) fn new(engine: Pid, started: Instant, limits: Limits) -> Self {
        Self {
            engine,
            started,
            limits,
            asked: None,
            gave_up: None,
            step: Step::Running,
            recorded: false,
        }
    }

    /// Seconds from start to the first request to stop from outside.
    pub(crate) fn asked_s(&self) -> Option<f64> {
        self.asked.map(|at| (at - self.started).as_secs_f64())
    }

    /// Seconds after which the wait for readiness was given up.
    pub(crate) fn gave_up_s(&self) -> Option<f64> {
        self.gave_up.map(|at| (at - self.started).as_secs_f64())
    }

    /// Waits for the engine's end.
    pub(crate) fn wait(
        &mut self,
        signals: &Receiver<Signal>,
        around: &mut impl Surroundings,
    ) -> Exit {
        loop {
            if let Ok(signal) = signals.recv_timeout(TICK)
                && signal != Signal::SIGCHLD
            {
                self.relay(signal, around);
            }
            if let Some(exit) = reap(self.engine) {
                return exit;
            }
            self.look_at_the_clock(around);
        }
    }

    fn relay(&mut self, signal: Signal, around: &mut impl Surroundings) {
        if !matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2) {
            let now = Instant::now();
            if self.asked.is_none() {
                self.asked = Some(now);
                around.stopping();
            }
            if self.step == Step::Running {
                self.step = Step::First(now);
            }
        }
        let _ = kill(self.engine, signal);
    }

    fn look_at_the_clock(&mut self, around: &mut impl Surroundings) {
        let ready = around.is_ready();
        match self.step {
            Step::Running
                if !ready
                    && self
                        .limits
                        .ready
                        .is_some_and(|limit| self.started.elapsed() >= limit) =>
            {
                self.gave_up = Some(Instant::now());
                self.step = Step::First(Instant::now());
                around.stopping();
                let _ = kill(self.engine, Signal::SIGTERM);
            }
            Step::First(at)
                if at.elapsed()
                    >= if ready {
                        self.limits.grace
                    } else {
                        SECOND_IN_START_UP.min(self.limits.grace)
                    } =>
            {
                self.step = Step::Second(Instant::now());
                let _ = kill(self.engine, Signal::SIGTERM);
            }
            Step::Second(at) if at.elapsed() >= LAST => {
                self.step = Step::Killed;
                kill_group(self.engine);
            }
            _ => {}
        }
        if !self.recorded && matches!(self.step, Step::First(at) if at.elapsed() >= RECORD_AFTER) {
            self.recorded = true;
            around.record_early(self);
        }
    }
}
