//! One outcome file against Slurm's accounting: taken, left for the next time, or refused. Pure.
//!
//! The file is written by the job's user and proves nothing by itself. GPU type and count, user,
//! state and the bounds in time come from accounting; what the file claims beside them has to fit.

use model_store::advisor::words::count_of;
use model_store::advisor::{
    Case, Measured, Precision, Run, RunOutcome, Variant, Workload, canonical_engine,
};
use model_store::outcome::{Outcome, SCHEMA, Window};
use model_store::store::{AccountedJob, Ingested};

use super::claims;
use super::spool::SpoolFile;
use crate::slurm::accounting::{Row, Stage};

/// Clocks of node and controller may differ by this, s.
const SKEW: f64 = 120.0;
/// After this a job that accounting does not know will not come any more, s.
const LOST: u64 = 7 * 24 * 3600;

/// What to do with a file.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Take it.
    Take(Box<Ingested>),
    /// Leave it for the next time, with the reason.
    Wait(String),
    /// Refuse it, with the reason.
    Refuse(String),
}

/// Judges a file by the runs of its job, and by what a Slurm GPU type means.
pub(crate) fn judge(
    file: &SpoolFile,
    outcome: &Outcome,
    rows: &[Row],
    gpu_of: impl Fn(&str) -> Option<String>,
) -> Verdict {
    match examine(file, outcome, rows, gpu_of) {
        Ok(ingested) => Verdict::Take(Box::new(ingested)),
        Err(verdict) => verdict,
    }
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Verdict> {
    Err(Verdict::Refuse(reason.into()))
}

fn wait<T>(reason: impl Into<String>) -> Result<T, Verdict> {
    Err(Verdict::Wait(reason.into()))
}

fn examine(
    file: &SpoolFile,
    outcome: &Outcome,
    rows: &[Row],
    gpu_of: impl Fn(&str) -> Option<String>,
) -> Result<Ingested, Verdict> {
    if outcome.schema > SCHEMA {
        return wait(format!(
            "written in form {}, this version reads up to {SCHEMA}",
            outcome.schema
        ));
    }
    claims::check(outcome).map_err(Verdict::Refuse)?;
    let job = run_of_job(file, outcome, rows)?;
    check_identity(file, outcome, job)?;
    let (gres, count) = held_gpus(outcome, job)?;
    check_times(outcome, job)?;
    claims::check_rates(outcome, count).map_err(Verdict::Refuse)?;
    let Some(gpu) = gpu_of(gres) else {
        return wait(format!(
            "GPU type `{gres}` has no meaning here: say `[gpu.{gres}] is = \"...\"` in the configuration"
        ));
    };
    Ok(Ingested {
        hash: file.hash,
        file: file.name.clone(),
        started_at_ms: milliseconds(outcome.started_at),
        advice_id: outcome.advice_id.clone(),
        job: job.clone(),
        runs: runs(outcome, job, &gpu, count),
    })
}

/// The run of the job in which the engine was started.
fn run_of_job<'a>(
    file: &SpoolFile,
    outcome: &Outcome,
    rows: &'a [Row],
) -> Result<&'a AccountedJob, Verdict> {
    let here = |r: &&Row| {
        r.job.job_id == outcome.job_id
            && (outcome.cluster.is_empty() || r.job.cluster == outcome.cluster)
    };
    let runs: Vec<&Row> = rows.iter().filter(here).collect();
    let fits = |row: &&&Row| {
        let end = row.job.ended.map_or(f64::INFINITY, seconds);
        matches!(row.stage, Stage::Running | Stage::Over)
            && outcome.started_at >= seconds(row.job.start) - SKEW
            && outcome.started_at <= end + SKEW
    };
    // Runs of a requeued job may follow one another within the skew: the one that began nearest.
    let apart = |row: &&&Row| (outcome.started_at - seconds(row.job.start)).abs();
    match runs
        .iter()
        .filter(fits)
        .min_by(|a, b| apart(a).total_cmp(&apart(b)))
    {
        Some(row) if row.stage == Stage::Over => return Ok(&row.job),
        Some(_) => return wait("its job is still running"),
        None => {}
    }
    if runs.is_empty() {
        if file.age.as_secs() > LOST {
            return refuse("its job is not in accounting after 7 days");
        }
        return wait("its job is not in accounting yet");
    }
    if runs.iter().all(|r| r.stage == Stage::NeverRan) {
        return refuse("its job never ran");
    }
    if runs.iter().any(|r| r.stage == Stage::Waiting) {
        return wait("its job has not begun");
    }
    refuse("its engine was started outside the job's time")
}

fn check_identity(file: &SpoolFile, outcome: &Outcome, job: &AccountedJob) -> Result<(), Verdict> {
    let Some(uid) = job.uid else {
        return wait("accounting does not tell the job's user");
    };
    if file.uid != uid {
        return refuse(format!(
            "the file belongs to user {}, the job to {uid}",
            file.uid
        ));
    }
    if outcome.uid != uid {
        return refuse(format!(
            "it names user {}, the job belongs to {uid}",
            outcome.uid
        ));
    }
    match (&outcome.advice_id, &job.advice_id) {
        (Some(claimed), Some(accounted)) if claimed != accounted => {
            refuse("its advice id is not the one in the job's comment")
        }
        _ => Ok(()),
    }
}

/// The one GPU type of the job and how many it held.
fn held_gpus<'a>(outcome: &Outcome, job: &'a AccountedJob) -> Result<(&'a str, u32), Verdict> {
    let (gres, count) = match job.gpus.as_slice() {
        [] => return refuse("its job held no GPUs"),
        [(gres, _)] if gres.is_empty() => {
            return wait(
                "accounting tells no GPU types: add `gres/gpu:TYPE` to `AccountingStorageTRES`",
            );
        }
        [(gres, count)] => (gres.as_str(), *count),
        types => return refuse(format!("its job held GPUs of {} types", types.len())),
    };
    let asked = &outcome.asked;
    if !asked.gpu.is_empty() && !asked.gpu.eq_ignore_ascii_case(gres) {
        return refuse(format!("it claims another GPU type than the job's {gres}"));
    }
    if asked.num_gpus.is_some_and(|n| n != count) {
        return refuse(format!(
            "it claims another number of GPUs than the job's {count}"
        ));
    }
    if asked.tp.is_some_and(|tp| tp > count) {
        return refuse(format!(
            "it claims more tensor parallel than the job's {}",
            count_of(count, "GPU")
        ));
    }
    let parts = [asked.tp, asked.pp, asked.dp].map(|n| n.unwrap_or(1).max(1));
    if parts.iter().fold(1, |all: u32, n| all.saturating_mul(*n)) > count {
        return refuse(format!(
            "it claims more stages and replicas than fit the job's {}",
            count_of(count, "GPU")
        ));
    }
    Ok((gres, count))
}

fn check_times(outcome: &Outcome, job: &AccountedJob) -> Result<(), Verdict> {
    // Accounting's own count leaves out the time for which the job was suspended.
    #[allow(clippy::cast_precision_loss)] // far below 2^53 s
    let counted = job.elapsed_s as f64;
    let elapsed = job
        .ended
        .map_or(counted, |e| counted.max(seconds(e) - seconds(job.start)));
    if outcome.elapsed_s > elapsed + SKEW {
        return refuse("its engine ran longer than its job");
    }
    let (from, to) = (
        seconds(job.start) - SKEW,
        seconds(job.start) + elapsed + SKEW,
    );
    let outside = |w: &Window| w.begins_at < from || w.begins_at + w.seconds > to;
    if outcome.windows.iter().any(outside) {
        return refuse("a window lies outside the job's time");
    }
    Ok(())
}

/// Seconds below which a window shows no steady state.
const SHORTEST_WINDOW_S: f64 = 5.0;
/// Windows of one job that become runs.
const MOST_WINDOWS: usize = 8;

/// One run for each window under load; without any, one for the launch alone, if the launch says
/// something about the configuration.
fn runs(outcome: &Outcome, job: &AccountedJob, gpu: &str, count: u32) -> Vec<Run> {
    let mut busy: Vec<&Window> = outcome
        .windows
        .iter()
        .filter(|w| w.output_tok_s > 0.0 && w.seconds >= SHORTEST_WINDOW_S && !w.unsettled)
        .collect();
    // The longest say most; a job with many says no more than one with a few.
    busy.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    busy.truncate(MOST_WINDOWS);
    let mut runs: Vec<Run> = busy
        .into_iter()
        .enumerate()
        .map(|(k, window)| {
            run(
                outcome,
                job,
                gpu,
                count,
                &format!("window {k}"),
                measured_in(window),
                Some(window),
            )
        })
        .collect();
    if let Some(first) = runs.first_mut() {
        // A start happened once, however many windows followed it.
        first.measured.cold_start_s = outcome.cold_start_s;
    } else if let Some(launch) = launch(outcome, job) {
        runs.push(run(outcome, job, gpu, count, "launch", launch, None));
    }
    runs
}

fn measured_in(w: &Window) -> Measured {
    Measured {
        // It served: what ended it later is no failure to launch.
        outcome: RunOutcome::Ok,
        output_tok_s: Some(w.output_tok_s),
        req_s: Some(w.req_s).filter(|r| *r > 0.0),
        ttft_ms: w.ttft_ms,
        tpot_ms: w.tpot_ms,
        e2e_ms: w.e2e_ms,
        kv_usage: w.kv_usage,
        power_w: w.power_w,
        energy_j_per_tok: w.power_w.map(|watts| watts / w.output_tok_s),
        peak_mem_gb: w.memory_gb,
        ..Measured::default()
    }
}

/// What the launch measured; `None` where it tells nothing of the configuration: the engine was
/// ended from outside before it was ready, or the node failed.
fn launch(outcome: &Outcome, job: &AccountedJob) -> Option<Measured> {
    let cold_start_s = outcome.cold_start_s;
    let judged = match (outcome.outcome, cold_start_s) {
        (RunOutcome::Ok, None) => return None,
        (RunOutcome::Crash | RunOutcome::TimeOut, Some(_)) => RunOutcome::Ok,
        (RunOutcome::Crash | RunOutcome::TimeOut, None) if ended_from_outside(&job.state) => {
            return None;
        }
        (other, _) => other,
    };
    Some(Measured {
        outcome: judged,
        cold_start_s,
        ..Measured::default()
    })
}

fn ended_from_outside(state: &str) -> bool {
    [
        "CANCELLED",
        "NODE_FAIL",
        "PREEMPTED",
        "BOOT_FAIL",
        "REQUEUED",
    ]
    .contains(&state)
}

fn run(
    outcome: &Outcome,
    job: &AccountedJob,
    gpu: &str,
    count: u32,
    part: &str,
    measured: Measured,
    window: Option<&Window>,
) -> Run {
    Run {
        // A job id may come again after a requeue, or after the controller's state was lost.
        run_id: format!(
            "{}-{}-{}",
            job.job_id,
            milliseconds(outcome.started_at),
            part.replace(' ', "-")
        ),
        origin: model_store::advisor::Origin::ThisCluster,
        source: format!("cluster:{}", job.cluster),
        source_ref: format!("job {} {part}", job.job_id),
        case: case(outcome, gpu, count, window),
        measured,
        notes: notes(outcome, job, count, window),
    }
}

fn case(outcome: &Outcome, gpu: &str, count: u32, window: Option<&Window>) -> Case {
    let asked = &outcome.asked;
    let in_window = |value: fn(&Window) -> Option<f64>| window.and_then(value).filter(|v| *v > 0.0);
    Case {
        model: asked.model.trim().to_owned(),
        params_b: None,
        active_params_b: None,
        gpu: gpu.to_owned(),
        gpu_mem_gb: None,
        // One GPU leaves no choice.
        tp: asked.tp.or((count == 1).then_some(1)),
        pp: asked.pp.unwrap_or(1).max(1),
        dp: asked.dp.unwrap_or(1).max(1),
        precision: asked.precision.as_deref().and_then(Precision::parse),
        kv_precision: None,
        isl: in_window(computed).or(asked.isl),
        osl: in_window(|w| w.osl).or(asked.osl),
        workload: Workload::ClosedLoop,
        concurrency: in_window(|w| w.concurrency).or(asked.concurrency),
        request_rate: None,
        engine: canonical_engine(&outcome.engine),
        engine_version: outcome.engine_version.trim().to_owned(),
        variant: Variant {
            // Drafted tokens are another way to serve: it teaches nothing of plain decoding.
            speculative: window.is_some_and(|w| w.accepted.is_some()),
            ..Variant::default()
        },
    }
}

fn notes(outcome: &Outcome, job: &AccountedJob, count: u32, window: Option<&Window>) -> String {
    let mut notes = format!(
        "state {}, {} held, engine ended: {}",
        job.state,
        count_of(count, "GPU"),
        outcome.outcome.name()
    );
    if let Some(advice) = &outcome.advice_id {
        let followed = if outcome.asked.as_written {
            "as written under"
        } else {
            "advice"
        };
        notes.push_str(&format!(", {followed} {advice}"));
    }
    let whole = window.and_then(|w| w.isl);
    if let (Some(hits), Some(isl)) = (window.and_then(cached), whole) {
        notes.push_str(&format!("; prefix_hits={hits:.3}; prompt_tokens={isl:.0}"));
    }
    if let Some(accepted) = window.and_then(|w| w.accepted) {
        notes.push_str(&format!("; accepted={accepted:.3}"));
    }
    if let Some(start) = outcome.start.as_ref().filter(|s| !s.is_empty()) {
        notes.push_str(&format!("; {}", start.in_words()));
    }
    notes
}

/// Share of a prompt from which on a prefix cache counts.
const COUNTS: f64 = 0.02;

/// The share of the prompts that a prefix cache had, where it counts; never all of them: the last
/// token is always computed.
fn cached(w: &Window) -> Option<f64> {
    w.prefix_hits.filter(|h| *h >= COUNTS).map(|h| h.min(0.99))
}

/// Prompt tokens of a request that were computed: what a run teaches of prefill.
fn computed(w: &Window) -> Option<f64> {
    let isl = w.isl?;
    Some((isl * (1.0 - cached(w).unwrap_or(0.0))).max(1.0))
}

#[allow(clippy::cast_precision_loss)] // Unix seconds are far below 2^53
fn seconds(unix: i64) -> f64 {
    unix as f64
}

#[allow(clippy::cast_possible_truncation)] // the claims were checked
fn milliseconds(unix: f64) -> i64 {
    (unix * 1000.0) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_for_which_a_job_was_suspended_is_time_of_its_engine() {
        let job = AccountedJob {
            start: 1000,
            ended: Some(2000),
            // 600 s of them suspended.
            elapsed_s: 400,
            ..AccountedJob::default()
        };
        let ran = |elapsed_s, begins_at| Outcome {
            schema: SCHEMA,
            job_id: 7,
            cluster: "c".into(),
            advice_id: None,
            uid: 1,
            asked: Default::default(),
            engine: "vllm".into(),
            engine_version: String::new(),
            started_at: 1000.0,
            cold_start_s: None,
            elapsed_s,
            exit_code: Some(0),
            signal: None,
            outcome: Default::default(),
            evidence: String::new(),
            start: None,
            windows: vec![Window {
                begins_at,
                seconds: 100.0,
                ..Window::default()
            }],
        };
        assert!(check_times(&ran(990.0, 1800.0), &job).is_ok());
        assert!(check_times(&ran(1130.0, 1800.0), &job).is_err());
        assert!(check_times(&ran(990.0, 2050.0), &job).is_err());
    }
}
