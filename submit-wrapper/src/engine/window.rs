//! From readings to steady windows of load.
//!
//! Only time between two readings that both saw requests in flight counts, so an idle engine gives
//! no window and its edges slow none down. The first seconds of traffic are warm-up. A load that
//! moves by more than a quarter and stays there ends one window and begins another; a single
//! reading that strays belongs to the window it strays from. Works on a stream in bounded memory.

use model_store::outcome::Window;

use super::front::Front;
use super::reading::{Reading, Total};

/// Part by which a load must differ from a window's mean to end it.
const CHANGE: f64 = 0.25;
/// Readings in a row after which a changed load has stayed.
const STAYS: usize = 3;
/// Slowest first tokens over the usual ones from which on an engine has not settled, and the fewest
/// requests of which that is said.
const UNSETTLED: f64 = 8.0;
const FEWEST: f64 = 20.0;
/// Windows kept; the shortest go first.
const MOST: usize = 200;

/// How readings are cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// Seconds of traffic that are not counted, after start or restart.
    pub(crate) warmup_s: f64,
    /// Shortest window, s.
    pub(crate) shortest_s: f64,
    /// Unix seconds of the engine's start.
    pub(crate) started_at: f64,
}

/// Windows of one engine's life so far.
#[derive(Debug)]
pub(crate) struct Windows {
    cut: Cut,
    last: Option<Reading>,
    /// When traffic was first seen since start or restart.
    busy_since: Option<f64>,
    open: Option<Segment>,
    /// Readings that stray from the open segment and may be the begin of the next.
    astray: Vec<Reading>,
    done: Vec<Window>,
}

impl Windows {
    pub(crate) fn new(cut: Cut) -> Self {
        Self {
            cut,
            last: None,
            busy_since: None,
            open: None,
            astray: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Takes the next reading, which is later than all before it.
    pub(crate) fn push(&mut self, reading: Reading) {
        let Some(before) = self.last.replace(reading.clone()) else {
            return;
        };
        if reading.restarted_since(&before) {
            self.close();
            self.busy_since = None;
            return;
        }
        if !(busy(&before) && busy(&reading)) {
            self.close();
            return;
        }
        let since = *self.busy_since.get_or_insert(before.at);
        if before.at >= since + self.cut.warmup_s {
            self.count(before, reading);
        }
    }

    /// The windows so far, the one still open among them, in order of time.
    pub(crate) fn so_far(&self) -> Vec<Window> {
        let open = self.open.as_ref().and_then(|s| s.window(&self.cut));
        self.done.iter().cloned().chain(open).collect()
    }

    fn count(&mut self, before: Reading, reading: Reading) {
        let Some(segment) = &mut self.open else {
            self.open = Some(Segment::of(before, [reading]));
            return;
        };
        if !strays(segment.mean_load(), load(&reading)) {
            for reading in self.astray.drain(..).chain([reading]) {
                segment.extend(reading);
            }
            return;
        }
        self.astray.push(reading);
        if self.astray.len() >= STAYS {
            self.settle();
        }
    }

    /// Enough readings strayed: to one side they are a new load, to both sides they are noise.
    fn settle(&mut self) {
        let astray = std::mem::take(&mut self.astray);
        let Some(segment) = &mut self.open else {
            return;
        };
        let mean = segment.mean_load();
        let above = astray.iter().filter(|r| load(r) > mean).count();
        if above != 0 && above != astray.len() {
            astray.into_iter().for_each(|r| segment.extend(r));
            return;
        }
        self.close();
        let mut readings = astray.into_iter();
        self.open = readings.next().map(|first| Segment::of(first, readings));
    }

    fn close(&mut self) {
        self.astray.clear();
        let window = self.open.take().and_then(|s| s.window(&self.cut));
        self.done.extend(window);
        if self.done.len() > MOST {
            let shortest = (0..self.done.len())
                .min_by(|a, b| self.done[*a].seconds.total_cmp(&self.done[*b].seconds));
            self.done.remove(shortest.unwrap_or(0));
        }
    }
}

fn load(reading: &Reading) -> f64 {
    reading.load.unwrap_or(0.0)
}

fn busy(reading: &Reading) -> bool {
    load(reading) > 0.0
}

/// A change counts from one request up, so that a load of two may flicker to one and back no less
/// than a load of fifty to forty.
fn strays(mean: f64, now: f64) -> bool {
    let change = (now - mean).abs();
    change > CHANGE * mean && change >= 0.9
}

/// Readings of one load.
#[derive(Clone, Debug)]
struct Segment {
    first: Reading,
    last: Reading,
    /// Integral of the load over time.
    area: f64,
    kv_peak: Option<f64>,
    /// Sum and number of the power readings, each since the one before.
    power: (f64, u32),
    memory_peak_gb: Option<f64>,
    front: Front,
}

impl Segment {
    fn of(first: Reading, rest: impl IntoIterator<Item = Reading>) -> Self {
        let (kv_peak, memory_peak_gb) = (first.kv_usage, first.memory_gb);
        let mut front = Front::default();
        front.push(&first);
        let mut segment = Self {
            last: first.clone(),
            first,
            area: 0.0,
            kv_peak,
            power: (0.0, 0),
            memory_peak_gb,
            front,
        };
        rest.into_iter().for_each(|r| segment.extend(r));
        segment
    }

    fn extend(&mut self, reading: Reading) {
        self.area += 0.5 * (load(&self.last) + load(&reading)) * (reading.at - self.last.at);
        self.kv_peak = [self.kv_peak, reading.kv_usage]
            .into_iter()
            .flatten()
            .reduce(f64::max);
        self.memory_peak_gb = [self.memory_peak_gb, reading.memory_gb]
            .into_iter()
            .flatten()
            .reduce(f64::max);
        if let Some(watts) = reading.power_w {
            self.power = (self.power.0 + watts, self.power.1 + 1);
        }
        self.front.push(&reading);
        self.last = reading;
    }

    fn seconds(&self) -> f64 {
        self.last.at - self.first.at
    }

    fn mean_load(&self) -> f64 {
        let seconds = self.seconds();
        if seconds > 0.0 {
            self.area / seconds
        } else {
            load(&self.first)
        }
    }

    /// The window, unless it is too short or the engine put nothing out.
    fn window(&self, cut: &Cut) -> Option<Window> {
        let seconds = self.seconds();
        let grown = |of: fn(&Reading) -> Option<f64>| Some(of(&self.last)? - of(&self.first)?);
        let tokens = grown(|r| r.output_tokens).filter(|t| *t > 0.0)?;
        if seconds < cut.shortest_s || seconds <= 0.0 {
            return None;
        }
        let requests = grown(|r| r.requests).unwrap_or(0.0);
        let mean =
            |of: fn(&Reading) -> Option<Total>| mean_between(of(&self.first), of(&self.last));
        let ms = |of| mean(of).map(|s| s * 1000.0);
        // As a client sees them, like the figures of benchmark clients beside which they will stand.
        let front = self.front.seconds().unwrap_or(0.0) * 1000.0;
        let each = |tokens: Option<f64>| tokens.filter(|_| requests > 0.0).map(|t| t / requests);
        Some(Window {
            begins_at: cut.started_at + self.first.at,
            seconds,
            requests,
            output_tok_s: tokens / seconds,
            req_s: requests / seconds,
            concurrency: Some(self.mean_load()),
            // Without histograms of the lengths the counters give them, less exactly.
            isl: mean(|r| r.isl).or_else(|| each(grown(|r| r.prompt_tokens))),
            osl: mean(|r| r.osl).or_else(|| each(Some(tokens))),
            ttft_ms: ms(|r| r.ttft).map(|t| t + front),
            tpot_ms: ms(|r| r.tpot),
            e2e_ms: ms(|r| r.e2e).map(|t| t + front),
            kv_usage: self.kv_peak,
            preemptions: grown(|r| r.preemptions),
            power_w: (self.power.1 > 0).then(|| self.power.0 / f64::from(self.power.1)),
            memory_gb: self.memory_peak_gb,
            prefix_hits: share(grown(|r| r.prefix_hits), grown(|r| r.prefix_queries)),
            accepted: share(grown(|r| r.accepted), grown(|r| r.drafted)),
            unsettled: spread_of_first_tokens(&self.first, &self.last)
                .is_some_and(|ratio| ratio >= UNSETTLED),
        })
    }
}

/// A part of a whole that is not nothing, 0 to 1.
fn share(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    let (part, whole) = (part?, whole?);
    (whole > 0.0 && part >= 0.0).then(|| (part / whole).min(1.0))
}

/// The 99th percentile of the time to the first token over its median, from what a histogram took up
/// between two readings; `None` where there were too few.
fn spread_of_first_tokens(first: &Reading, last: &Reading) -> Option<f64> {
    let before = |end: f64| {
        let found = first.ttft_buckets.iter().find(|(e, _)| *e == end);
        found.map_or(0.0, |(_, count)| *count)
    };
    let grown = last
        .ttft_buckets
        .iter()
        .map(|(end, count)| (*end, count - before(*end)));
    let all = grown.clone().next_back().map(|(_, count)| count)?;
    let by = |share: f64| grown.clone().find(|(_, count)| *count >= share * all);
    let (middle, most) = (by(0.5)?.0, by(0.99)?.0);
    (all >= FEWEST && middle > 0.0 && most.is_finite()).then(|| most / middle)
}

/// Mean of the values that a histogram took up between two readings.
fn mean_between(first: Option<Total>, last: Option<Total>) -> Option<f64> {
    let (first, last) = (first?, last?);
    let (sum, count) = (last.sum - first.sum, last.count - first.count);
    (count > 0.0 && sum >= 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CUT: Cut = Cut {
        warmup_s: 10.0,
        shortest_s: 15.0,
        started_at: 1000.0,
    };

    /// An engine that gives each request in flight 10 tokens/s; a request has 100 tokens.
    fn readings(loads: &[f64]) -> Vec<Reading> {
        let mut tokens = 0.0;
        let reading = |(n, load): (usize, &f64)| {
            tokens += load * 10.0 * 5.0;
            let done = (tokens / 100.0_f64).floor();
            let total = |each: f64| {
                Some(Total {
                    sum: done * each,
                    count: done,
                })
            };
            Reading {
                at: 5.0 * n as f64,
                load: Some(*load),
                kv_usage: Some(load / 100.0),
                output_tokens: Some(tokens),
                prompt_tokens: Some(done * 300.0),
                requests: Some(done),
                preemptions: Some(0.0),
                isl: total(300.0),
                osl: total(100.0),
                ttft: total(0.05),
                tpot: total(0.1),
                e2e: total(10.0),
                http: None,
                power_w: None,
                memory_gb: None,
                ..Reading::default()
            }
        };
        loads.iter().enumerate().map(reading).collect()
    }

    fn windows(loads: &[f64]) -> Vec<Window> {
        let mut windows = Windows::new(CUT);
        readings(loads).into_iter().for_each(|r| windows.push(r));
        windows.so_far()
    }

    #[test]
    fn an_idle_engine_gives_no_window() {
        assert_eq!(windows(&[0.0; 50]), []);
        assert_eq!(windows(&[0.0, 4.0, 0.0, 0.0, 4.0, 0.0]), []);
    }

    #[test]
    fn a_steady_load_is_one_window_without_its_edges() {
        let loads: Vec<f64> = [vec![0.0; 4], vec![20.0; 20], vec![0.0; 4]].concat();
        let found = windows(&loads);
        assert_eq!(found.len(), 1);
        let w = &found[0];
        // Traffic is first seen at 20 s; 10 s of warm-up; the last busy reading is at 115 s.
        assert_eq!((w.begins_at, w.seconds), (1030.0, 85.0));
        assert!((w.output_tok_s - 200.0).abs() < 1e-9 && (w.req_s - 2.0).abs() < 0.03);
        assert_eq!((w.concurrency, w.kv_usage), (Some(20.0), Some(0.2)));
        assert_eq!((w.isl, w.osl), (Some(300.0), Some(100.0)));
        assert!(
            (w.ttft_ms.unwrap() - 50.0).abs() < 1e-6 && (w.tpot_ms.unwrap() - 100.0).abs() < 1e-6
        );
    }

    #[test]
    fn a_load_that_changes_and_stays_is_split_and_a_stray_reading_is_not() {
        let loads: Vec<f64> = [vec![16.0; 10], vec![64.0; 10]].concat();
        let found = windows(&loads);
        let means: Vec<f64> = found.iter().filter_map(|w| w.concurrency).collect();
        assert_eq!(means, [16.0, 64.0]);
        assert!((found[1].output_tok_s - 640.0).abs() < 1e-9);
        let mut stray = vec![16.0; 20];
        stray[9] = 24.0;
        assert_eq!(windows(&stray).len(), 1);
    }

    #[test]
    fn a_restart_begins_anew_and_warms_up_again() {
        let mut windows = Windows::new(CUT);
        let mut both = readings(&[8.0; 12]);
        let again = readings(&[8.0; 12]);
        both.extend(again.into_iter().map(|r| Reading {
            at: r.at + 60.0,
            ..r
        }));
        both.into_iter().for_each(|r| windows.push(r));
        let found = windows.so_far();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].begins_at, 1070.0);
        assert!(
            found.iter().all(|w| (w.output_tok_s - 80.0).abs() < 1e-9),
            "{found:?}"
        );
    }

    #[test]
    fn windows_are_bounded_and_the_shortest_go() {
        let mut loads = Vec::new();
        for n in 0..MOST + 50 {
            loads.extend([0.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0]);
            loads.extend(vec![4.0; n % 7]);
        }
        let found = windows(&loads);
        assert_eq!(found.len(), MOST + 1, "and the one still open");
        assert!(found.windows(2).all(|w| w[0].begins_at < w[1].begins_at));
    }

    #[test]
    fn two_captures_of_a_real_engine_make_a_window() {
        let page = |name: &str| {
            let path = format!(
                "{}/../tests/fixtures/engine/vllm/0.32.0/{name}.txt",
                env!("CARGO_MANIFEST_DIR")
            );
            std::fs::read_to_string(path).unwrap()
        };
        let idle = Reading {
            load: Some(16.0),
            ..Reading::of_page(&page("m-idle"), 0.0)
        };
        let loaded = Reading::of_page(&page("m-load"), 2.5);
        let mut windows = Windows::new(Cut {
            warmup_s: 0.0,
            shortest_s: 2.0,
            started_at: 0.0,
        });
        windows.push(idle);
        windows.push(loaded);
        let w = windows.so_far().remove(0);
        assert!((w.output_tok_s - 3961.0 / 2.5).abs() < 1e-9 && (w.req_s - 12.0).abs() < 1e-9);
        assert!((w.isl.unwrap() - 65.1).abs() < 1e-9 && (w.osl.unwrap() - 128.8).abs() < 1e-9);
        assert!((w.ttft_ms.unwrap() - 201.023).abs() < 0.001, "{w:?}");
        assert!((w.e2e_ms.unwrap() - 295.872).abs() < 0.001, "{w:?}");
    }

    proptest! {
        #[test]
        fn no_load_makes_a_window_slow(loads in prop::collection::vec(prop::sample::select(vec![0.0, 1.0, 2.0, 8.0, 10.0, 64.0]), 0..200)) {
            for w in windows(&loads) {
                prop_assert!(w.seconds >= CUT.shortest_s);
                // Ten tokens/s for each request in flight, whatever the load did; the trapezoid
                // between two readings is the tolerance.
                let rate = w.output_tok_s / w.concurrency.unwrap();
                prop_assert!((5.0..=20.0).contains(&rate), "{} tok/s a request in {:?}", rate, w);
            }
        }
    }
}
