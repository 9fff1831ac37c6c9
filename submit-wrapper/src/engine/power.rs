//! Power and memory of the job's GPUs, while an engine serves.
//!
//! The meter has a thread of its own: a driver that hangs costs the figures and nothing else. Where there is no NVIDIA driver, it is one
//! library that is not found, once.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::nvml::{Gpu, Nvml, Which};
use super::plan::Env;

/// What a meter says at a reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Power {
    /// Sum over the job's GPUs since the last reading, W; `None` where it cannot be measured.
    pub(crate) watts: Option<f64>,
    /// Memory in use on the fullest of them, GB (10^9 bytes).
    pub(crate) memory_gb: Option<f64>,
}

/// Measures the GPUs that the job holds.
pub(crate) trait PowerMeter: Send {
    /// What has been seen since the last call.
    fn read(&mut self) -> Power;
}

/// No meter: power stays not known.
pub(crate) struct NoMeter;

impl PowerMeter for NoMeter {
    fn read(&mut self) -> Power {
        Power::default()
    }
}

/// The meter for a job's GPUs. It looks at the driver no sooner than the first engine answers, so an engine that never
/// serves is never measured.
pub(crate) fn meter(env: Env, interval: Duration) -> Box<dyn PowerMeter> {
    match Which::of(env) {
        Some(which) => Box::new(GpuMeter {
            which: Some(which),
            interval,
            seen: Arc::default(),
            last: Sums::default(),
            stop: None,
        }),
        None => Box::new(NoMeter),
    }
}

/// Energy and time since the meter began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    joules: f64,
    seconds: f64,
    memory_gb: Option<f64>,
}

/// A meter with its thread; that ends when this is dropped.
struct GpuMeter {
    /// Taken when the thread begins.
    which: Option<Which>,
    interval: Duration,
    seen: Arc<Mutex<Sums>>,
    last: Sums,
    stop: Option<Sender<()>>,
}

impl PowerMeter for GpuMeter {
    fn read(&mut self) -> Power {
        if let Some(which) = self.which.take() {
            self.begin(which);
        }
        let now = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.seconds - self.last.seconds;
        let watts = (seconds > 0.0).then(|| (now.joules - self.last.joules) / seconds);
        self.last = now;
        Power {
            watts,
            memory_gb: now.memory_gb,
        }
    }
}

impl GpuMeter {
    fn begin(&mut self, which: Which) {
        let (stop, stopped) = channel();
        let (seen, interval) = (self.seen.clone(), self.interval);
        let work = move || {
            let loaded = Nvml::load();
            let gpus = loaded.as_ref().and_then(|nvml| nvml.gpus(&which));
            if let Some((nvml, gpus)) = loaded.zip(gpus) {
                sample(&nvml, &gpus, interval, &stopped, &seen);
            }
        };
        let thread = thread::Builder::new()
            .name("power".into())
            .stack_size(256 * 1024);
        if thread.spawn(work).is_ok() {
            self.stop = Some(stop);
        }
    }
}

/// Adds up until it is told to end.
fn sample(
    nvml: &Nvml,
    gpus: &[Gpu],
    interval: Duration,
    stopped: &Receiver<()>,
    seen: &Mutex<Sums>,
) {
    let mut before: Option<(Instant, Vec<Option<f64>>)> = None;
    loop {
        let (at, energies) = (
            Instant::now(),
            gpus.iter().map(|g| nvml.joules(g)).collect::<Vec<_>>(),
        );
        if let Some((then, earlier)) = before.replace((at, energies.clone())) {
            let seconds = (at - then).as_secs_f64();
            // The driver's own count of energy where it has one, else the power of this moment for the time since the last.
            let used: Option<f64> = gpus
                .iter()
                .zip(earlier.iter().zip(&energies))
                .map(|(gpu, pair)| match pair {
                    (Some(a), Some(b)) if b >= a => Some(b - a),
                    _ => nvml.watts(gpu).map(|w| w * seconds),
                })
                .sum();
            let memory = gpus
                .iter()
                .filter_map(|g| nvml.memory_gb(g))
                .reduce(f64::max);
            let mut sums = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(joules) = used.filter(|j| j.is_finite()) {
                sums.joules += joules;
                sums.seconds += seconds;
            }
            sums.memory_gb = memory;
        }
        if !matches!(
            stopped.recv_timeout(interval),
            Err(RecvTimeoutError::Timeout)
        ) {
            return;
        }
    }
}
