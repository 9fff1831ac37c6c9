//! What an outcome file may claim at all: numbers that some machine could measure.

use model_store::advisor::StartLog;
use model_store::options::is_hidden;
use model_store::outcome::{Outcome, Window};

/// Most windows of one file.
const MOST_WINDOWS: usize = 1024;
/// Longest name, bytes.
const LONGEST: usize = 512;
/// More output tokens/s than any GPU delivers.
const TOKENS_PER_GPU: f64 = 1e6;
/// More requests/s than any GPU answers.
const REQUESTS_PER_GPU: f64 = 1e5;
/// More watts than any GPU takes.
const WATTS_PER_GPU: f64 = 3000.0;
/// More memory than any GPU has, GB.
const MEMORY_GB: f64 = 4096.0;
/// A year, s.
const YEAR: f64 = 366.0 * 86_400.0;
/// Longer than any context, tokens.
const TOKENS: f64 = 1e8;
/// More requests in flight than any instance holds.
const IN_FLIGHT: f64 = 1e6;

/// Checks everything that needs no accounting.
///
/// # Errors
/// What is wrong, in one line.
pub(crate) fn check(outcome: &Outcome) -> Result<(), String> {
    check_texts(outcome)?;
    within("started_at", Some(outcome.started_at), 0.0, 1e11)?;
    within("elapsed_s", Some(outcome.elapsed_s), 0.0, YEAR)?;
    within(
        "cold_start_s",
        outcome.cold_start_s,
        0.0,
        outcome.elapsed_s.max(0.0) + 1.0,
    )?;
    let asked = &outcome.asked;
    within("asked.isl", asked.isl, 0.0, TOKENS)?;
    within("asked.osl", asked.osl, 0.0, TOKENS)?;
    within("asked.concurrency", asked.concurrency, 0.0, IN_FLIGHT)?;
    if asked.tp == Some(0) {
        return Err("`asked.tp` is 0".into());
    }
    if outcome.windows.len() > MOST_WINDOWS {
        return Err(format!("more than {MOST_WINDOWS} windows"));
    }
    outcome.windows.iter().try_for_each(check_window)?;
    if let Some(name) = outcome.start.as_ref().and_then(StartLog::unsound) {
        return Err(format!("`start.{name}` is out of range"));
    }
    let measured: f64 = outcome.windows.iter().map(|w| w.seconds).sum();
    if measured > outcome.elapsed_s + 1.0 {
        return Err("its windows together are longer than its engine ran".into());
    }
    Ok(())
}

fn check_texts(outcome: &Outcome) -> Result<(), String> {
    let asked = &outcome.asked;
    if asked.model.trim().is_empty() {
        return Err("it names no model".into());
    }
    let advice = outcome.advice_id.as_deref().unwrap_or_default();
    let texts = [
        &asked.model,
        &asked.gpu,
        &outcome.cluster,
        &outcome.engine,
        &outcome.engine_version,
        outcome
            .start
            .as_ref()
            .map_or(&outcome.engine_version, |s| &s.storage),
    ];
    for text in texts.into_iter().map(String::as_str).chain([advice]) {
        if text.len() > LONGEST || text.chars().any(is_hidden) {
            return Err(format!(
                "a name is longer than {LONGEST} bytes or has control characters or hidden ones"
            ));
        }
    }
    Ok(())
}

fn check_window(w: &Window) -> Result<(), String> {
    within("begins_at", Some(w.begins_at), 0.0, 1e11)?;
    within("seconds", Some(w.seconds), f64::MIN_POSITIVE, YEAR)?;
    within("requests", Some(w.requests), 0.0, 1e12)?;
    within("prefix_hits", w.prefix_hits, 0.0, 1.0)?;
    within("accepted", w.accepted, 0.0, 1.0)?;
    within("concurrency", w.concurrency, 0.0, IN_FLIGHT)?;
    within("isl", w.isl, 0.0, TOKENS)?;
    within("osl", w.osl, 0.0, TOKENS)?;
    for (name, ms) in [
        ("ttft_ms", w.ttft_ms),
        ("tpot_ms", w.tpot_ms),
        ("e2e_ms", w.e2e_ms),
    ] {
        within(name, ms, 0.0, YEAR * 1000.0)?;
    }
    within("kv_usage", w.kv_usage, 0.0, 1.0)?;
    within("memory_gb", w.memory_gb, 0.0, MEMORY_GB)?;
    within("preemptions", w.preemptions, 0.0, 1e12)
}

/// Checks the rates against the GPUs that the job held.
///
/// # Errors
/// What is wrong, in one line.
pub(crate) fn check_rates(outcome: &Outcome, gpus: u32) -> Result<(), String> {
    let gpus = f64::from(gpus);
    for w in &outcome.windows {
        within(
            "output_tok_s",
            Some(w.output_tok_s),
            0.0,
            gpus * TOKENS_PER_GPU,
        )?;
        within("req_s", Some(w.req_s), 0.0, gpus * REQUESTS_PER_GPU)?;
        within("power_w", w.power_w, 0.0, gpus * WATTS_PER_GPU)?;
    }
    Ok(())
}

/// False for what is no number, too.
fn within(name: &str, value: Option<f64>, least: f64, most: f64) -> Result<(), String> {
    match value {
        Some(v) if !(least..=most).contains(&v) => Err(format!(
            "implausible: `{name}` is {v}, possible are {least} to {most}"
        )),
        _ => Ok(()),
    }
}
