//! When two runs are the same run.

use sha2::{Digest, Sha256};

use crate::advisor::{Case, Measured, Precision, Run, Variant};

/// Length of a run's hash in bytes: half of SHA-256, ample for a million runs.
pub(super) const LENGTH: usize = 16;

/// The identity of a run: its name within its source, what was run and what came out. Two runs
/// with the same hash are one run that came in twice. Origin, place and notes do not count: the
/// same run may be told with other words.
pub fn content_hash(run: &Run) -> [u8; LENGTH] {
    let mut feed = Feed::new("omnipilot-run-1");
    feed.text(&run.source);
    feed.text(&run.run_id);
    case(&mut feed, &run.case);
    measured(&mut feed, &run.measured);
    feed.finish()
}

/// What two sources that report one measurement agree on, whatever they call it: the case, and the
/// figures that are measured rather than derived. `None` without any such figure (two failures
/// with the same configuration are two failures). Within one source equal figures are repeats.
pub(super) fn figure_hash(run: &Run) -> Option<[u8; LENGTH]> {
    let m = &run.measured;
    let figures = [m.output_tok_s, m.ttft_ms, m.tpot_ms, m.e2e_ms];
    if figures.iter().all(Option::is_none) {
        return None;
    }
    let mut feed = Feed::new("omnipilot-figure-1");
    case(&mut feed, &run.case);
    figures.iter().for_each(|f| feed.number(*f));
    Some(feed.finish())
}

// Every field is named, so that a new one cannot be forgotten here.
fn case(feed: &mut Feed, case: &Case) {
    let Case {
        model,
        params_b,
        active_params_b,
        gpu,
        gpu_mem_gb,
        tp,
        pp,
        dp,
        precision,
        kv_precision,
        isl,
        osl,
        workload,
        concurrency,
        request_rate,
        engine,
        engine_version,
        variant:
            Variant {
                disaggregated,
                speculative,
                power_capped,
                prefix_cached,
                multi_turn,
                moe_tp,
                moe_ep,
                sched_steps,
                chunked,
            },
    } = case;
    for text in [model, gpu, workload.name(), engine, engine_version] {
        feed.text(text);
    }
    for precision in [precision, kv_precision] {
        feed.text(precision.map_or("", Precision::name));
    }
    for number in [
        params_b,
        active_params_b,
        gpu_mem_gb,
        isl,
        osl,
        concurrency,
        request_rate,
    ] {
        feed.number(*number);
    }
    for count in [tp.unwrap_or(0), *pp, *dp] {
        feed.bytes(&count.to_le_bytes());
    }
    feed.bytes(&[
        u8::from(*disaggregated),
        u8::from(*speculative),
        u8::from(*power_capped),
    ]);
    // Settings that older versions did not record count only where they are there, so that a run
    // that was stored before keeps its hash.
    let settings = [
        *moe_tp,
        *moe_ep,
        *sched_steps,
        chunked.map_or(0, |on| 1 + u16::from(on)),
    ];
    if settings.iter().any(|n| *n > 0) {
        settings.iter().for_each(|n| feed.bytes(&n.to_le_bytes()));
    }
    if *prefix_cached || *multi_turn {
        feed.text("reuse");
        feed.bytes(&[u8::from(*prefix_cached), u8::from(*multi_turn)]);
    }
}

fn measured(feed: &mut Feed, measured: &Measured) {
    let Measured {
        outcome,
        output_tok_s,
        total_tok_s,
        req_s,
        ttft_ms,
        ttft_p50_ms,
        ttft_p99_ms,
        tpot_ms,
        tpot_p99_ms,
        e2e_ms,
        e2e_p99_ms,
        kv_usage,
        power_w,
        peak_mem_gb,
        energy_j_per_tok,
        cold_start_s,
    } = measured;
    feed.text(outcome.name());
    for number in [
        output_tok_s,
        total_tok_s,
        req_s,
        ttft_ms,
        ttft_p50_ms,
        ttft_p99_ms,
        tpot_ms,
        tpot_p99_ms,
        e2e_ms,
        e2e_p99_ms,
        kv_usage,
        power_w,
        peak_mem_gb,
        energy_j_per_tok,
        cold_start_s,
    ] {
        feed.number(*number);
    }
}

/// Feeds values into the hash so that no two sequences of values give the same bytes.
struct Feed(Sha256);

impl Feed {
    fn new(tag: &str) -> Self {
        let mut feed = Self(Sha256::new());
        feed.text(tag);
        feed
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn text(&mut self, text: impl AsRef<str>) {
        let text = text.as_ref();
        self.bytes(&(text.len() as u64).to_le_bytes());
        self.bytes(text.as_bytes());
    }

    /// Zero has two signs and one meaning.
    fn number(&mut self, value: Option<f64>) {
        self.bytes(&[u8::from(value.is_some())]);
        let value = value.unwrap_or(0.0);
        let value = if value == 0.0 { 0.0 } else { value };
        self.bytes(&value.to_bits().to_le_bytes());
    }

    fn finish(self) -> [u8; LENGTH] {
        let digest = self.0.finalize();
        let mut short = [0; LENGTH];
        short.copy_from_slice(&digest[..LENGTH]);
        short
    }
}
