//! Waits until the engine serves and then reads its metrics, in one thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use model_store::advisor::ModelCard;
use model_store::outcome::Window;

use super::card::card_of;
use super::first::{self, First};
use super::http::{Client, Refusal};
use super::notice::{Notice, Unposted};
use super::plan::Urls;
use super::port::{Other, local_port, other};
use super::power::PowerMeter;
use super::reading::Reading;
use super::say::warn;
use super::storage::storage_of;
use super::tee::{SharedLog, locked};
use super::window::{Cut, Windows};

/// Time for which readiness is asked often, and the pauses then and later. The pause is the error
/// of a cold start.
const OFTEN_S: f64 = 120.0;
const OFTEN: Duration = Duration::from_millis(200);
const SELDOM: Duration = Duration::from_secs(1);

/// Seconds after the log's word of readiness for which an answer is still waited for: an engine
/// on a Unix socket or behind TLS never answers here.
const WORD_COUNTS_AFTER_S: f64 = 10.0;

/// What was seen of the engine so far.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Seconds from start until it said that it serves.
    healthy_s: Option<f64>,
    /// Seconds from start until a request was answered.
    answered_s: Option<f64>,
    /// What it says of its cache.
    cache: [Option<f64>; 3],
    /// Version that it told.
    pub(crate) version: Option<String>,
    /// Architecture of what is served.
    card: Option<ModelCard>,
    /// Kind and mount of the file system of the weights; empty until it is known.
    storage: String,
    windows: Windows,
}

/// A running watch. It ends when this is dropped or told to.
pub(crate) struct Watch {
    seen: Arc<Mutex<Seen>>,
    /// What the user is shown, until the thread has it.
    notice: Option<Unposted>,
    /// Dropped to stop the thread.
    stop: Option<Sender<()>>,
}

impl Watch {
    /// A watch that sees nothing yet.
    pub(crate) fn new(cut: Cut, notice: Option<Unposted>) -> Self {
        let seen = Seen {
            healthy_s: None,
            answered_s: None,
            cache: [None; 3],
            version: None,
            card: None,
            storage: String::new(),
            windows: Windows::new(cut),
        };
        Self {
            seen: Arc::new(Mutex::new(seen)),
            notice,
            stop: None,
        }
    }

    /// Finds out what the weights lie on, in a thread of its own: their file system may hang.
    pub(crate) fn look_at_storage(&self, weights: String) {
        let seen = self.seen.clone();
        let work = move || {
            let storage = storage_of(&weights);
            locked(&seen).storage = storage;
        };
        let thread = thread::Builder::new().name("storage".into());
        let _ = thread.stack_size(256 * 1024).spawn(work); // costs a note of the record
    }

    /// Begins to watch an engine that was started at `started` with this folder or name.
    pub(crate) fn begin(
        &mut self,
        urls: Urls,
        weights: Option<String>,
        started: Instant,
        (interval, first_request): (Duration, bool),
        log: SharedLog,
        meter: Box<dyn PowerMeter>,
    ) {
        let (stop, stopped) = channel();
        let mut watcher = Watcher {
            urls,
            weights,
            started,
            interval,
            first_request,
            log,
            meter,
            stopped,
            seen: self.seen.clone(),
            unposted: self.notice.take(),
            notice: None,
            client: Client::new(),
            patience: Patience::default(),
        };
        let thread = thread::Builder::new()
            .name("watch".into())
            .stack_size(512 * 1024);
        if thread.spawn(move || watcher.work()).is_ok() {
            self.stop = Some(stop);
        }
    }

    /// Stops reading: what the engine does while it stops is no load.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }

    /// True once the engine said that it serves.
    pub(crate) fn is_healthy(&self) -> bool {
        locked(&self.seen).healthy_s.is_some()
    }

    /// Seconds from start until a request was answered; where none was, until it said that it serves.
    pub(crate) fn ready_s(&self) -> Option<f64> {
        let seen = locked(&self.seen);
        seen.answered_s.or(seen.healthy_s)
    }

    /// What the engine says of its cache: tokens, blocks, share of the memory.
    pub(crate) fn cache(&self) -> [Option<f64>; 3] {
        locked(&self.seen).cache
    }

    /// Version that the engine told.
    pub(crate) fn version(&self) -> Option<String> {
        locked(&self.seen).version.clone()
    }

    /// Architecture of what is served.
    pub(crate) fn card(&self) -> Option<ModelCard> {
        locked(&self.seen).card.clone()
    }

    /// Kind and mount of the file system of the weights; empty where it is not known.
    pub(crate) fn storage(&self) -> String {
        locked(&self.seen).storage.clone()
    }

    /// Steady windows so far.
    pub(crate) fn windows(&self) -> Vec<Window> {
        locked(&self.seen).windows.so_far()
    }
}

/// True where something answers before the engine was started.
pub(crate) fn answers(urls: &Urls) -> bool {
    Client::new().is_up(&urls.ready)
}

struct Watcher {
    urls: Urls,
    weights: Option<String>,
    started: Instant,
    interval: Duration,
    first_request: bool,
    log: SharedLog,
    meter: Box<dyn PowerMeter>,
    stopped: Receiver<()>,
    seen: Arc<Mutex<Seen>>,
    unposted: Option<Unposted>,
    notice: Option<Notice>,
    client: Client,
    patience: Patience,
}

/// How often metrics that do not come are asked for, and what is said of it: one line, once.
#[derive(Debug, Default, PartialEq)]
struct Patience {
    /// Answers in a row that were none.
    missed: u32,
    told: bool,
    /// Nobody asks any more.
    over: bool,
}

/// Answers in a row that may be missing before it is said: an engine under load may be slow.
const MAY_MISS: u32 = 6;

impl Patience {
    fn answered(&mut self) {
        self.missed = 0;
    }

    /// Whether this is to be said.
    fn refused(&mut self, refusal: Refusal) -> bool {
        self.missed += 1;
        self.over |= refusal.lasts();
        let say = !self.told && (self.over || self.missed >= MAY_MISS);
        self.told |= say;
        say
    }
}

impl Watcher {
    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// False once the watch is to end.
    fn pause(&self, time: Duration) -> bool {
        matches!(
            self.stopped.recv_timeout(time),
            Err(RecvTimeoutError::Timeout)
        )
    }

    fn work(&mut self) {
        self.notice = self.unposted.take().and_then(Unposted::put_up);
        if !self.wait_until_ready() || !self.wait_for_an_answer() {
            return;
        }
        self.notice.iter_mut().for_each(Notice::ready);
        locked(&self.seen).version = self.client.version(&self.urls.version);
        let served = self.weights.as_deref();
        let card = served.and_then(|model| card_of(model, &|name| std::env::var(name).ok()));
        locked(&self.seen).card = card;
        let mut next = Instant::now();
        loop {
            self.read();
            // A slow answer shifts no later reading; readings that it swallowed are left out.
            while next <= Instant::now() {
                next += self.interval;
            }
            if !self.pause(next.saturating_duration_since(Instant::now())) {
                return;
            }
        }
    }

    /// Whether it is somebody else's engine that answers.
    fn another_has_the_port(&self) -> bool {
        let own = std::env::var("SLURM_JOB_ID").ok();
        let port = local_port(&self.urls.ready);
        let other = own
            .zip(port)
            .and_then(|(own, port)| Some((port, other(port, &own)?)));
        let Some((port, other)) = other else {
            return false;
        };
        let whose = match other {
            Other::Job(job) => format!("an engine of your job {job}"),
            Other::User(uid) => format!("a server of user {uid}"),
        };
        warn(&format!(
            "port {port} of this node is that of {whose}, which gets what is meant for this engine: this one is not measured"
        ));
        warn("  hint: `--port $((20000 + SLURM_JOB_ID % 10000))` gives each job a port of its own");
        true
    }

    fn wait_until_ready(&self) -> bool {
        loop {
            if self.client.is_up(&self.urls.ready) {
                if self.another_has_the_port() {
                    return false;
                }
                locked(&self.seen).healthy_s = Some(self.now());
                return true;
            }
            let word = locked(&self.log).ready;
            if let Some(at) = word.filter(|at| self.now() > at + WORD_COUNTS_AFTER_S) {
                locked(&self.seen).healthy_s = Some(at);
                return true;
            }
            let pause = if self.now() < OFTEN_S { OFTEN } else { SELDOM };
            if !self.pause(pause) {
                return false;
            }
        }
    }

    /// Waits until a request was answered, its own or a user's. Where the engine takes none of its
    /// own, a user's is seen later.
    fn wait_for_an_answer(&self) -> bool {
        if !self.first_request {
            return true;
        }
        let answer = first::send(self.urls.origin.clone());
        loop {
            match answer.try_recv() {
                Ok(First::Answered) => {
                    locked(&self.seen).answered_s = Some(self.now());
                    return true;
                }
                Ok(First::NotTaken) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => {}
            }
            let pause = if self.now() < OFTEN_S { OFTEN } else { SELDOM };
            if !self.pause(pause) {
                return false;
            }
            if self.has_answered_a_user() {
                locked(&self.seen).answered_s = Some(self.now());
                return true;
            }
        }
    }

    fn has_answered_a_user(&self) -> bool {
        let page = self.client.page(&self.urls.metrics).ok();
        let requests = page.and_then(|page| Reading::of_page(&page, 0.0).requests);
        requests.is_some_and(|n| n > 0.0)
    }

    fn read(&mut self) {
        if self.patience.over {
            return;
        }
        let asked = self.now();
        let page = match self.client.page(&self.urls.metrics) {
            Ok(page) => page,
            Err(refusal) => {
                if self.patience.refused(refusal) {
                    warn(&format!(
                        "no metrics from {}: {refusal}; the engine goes on and is not measured",
                        without_password(&self.urls.metrics)
                    ));
                }
                return;
            }
        };
        self.patience.answered();
        // The engine looked at its counters somewhere between question and answer.
        let at = 0.5 * (asked + self.now());
        let power = self.meter.read();
        let reading = Reading {
            power_w: power.watts,
            memory_gb: power.memory_gb,
            ..Reading::of_page(&page, at)
        };
        self.notice.iter_mut().for_each(|n| n.read(&reading));
        let mut seen = locked(&self.seen);
        if reading.requests.is_some_and(|n| n > 0.0) {
            seen.answered_s.get_or_insert(at);
        }
        for (slot, new) in seen.cache.iter_mut().zip(reading.cache) {
            *slot = new.or(*slot);
        }
        seen.windows.push(reading);
    }
}

/// An address without the name and password that may stand in it.
fn without_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or(host);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_that_do_not_come_are_told_once() {
        let mut patience = Patience::default();
        assert!(patience.refused(Refusal::Status(401)) && patience.over);
        assert!(!patience.refused(Refusal::Status(401)));
        let mut patience = Patience::default();
        let told: Vec<bool> = (0..20).map(|_| patience.refused(Refusal::Silent)).collect();
        assert_eq!(told.iter().filter(|t| **t).count(), 1);
        assert!(!patience.over, "a slow engine is asked on");
        let mut patience = Patience::default();
        for _ in 0..20 {
            assert!(!patience.refused(Refusal::Silent));
            patience.answered();
        }
    }

    #[test]
    fn no_password_is_told() {
        assert_eq!(
            without_password("http://me:secret@h:1/metrics?token=x"),
            "http://h:1/metrics"
        );
        assert_eq!(without_password("http://h:1"), "http://h:1");
    }
}
