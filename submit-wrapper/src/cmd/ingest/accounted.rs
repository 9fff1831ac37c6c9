//! What accounting alone tells: jobs under an advice that left no file, how long jobs waited, and
//! what was served without a tag.

use std::collections::BTreeMap;
use std::time::Instant;

use model_store::advisor::{
    Case, Configuration, Measured, Origin, Precision, Run, RunOutcome, Variant, Workload,
    canonical_engine,
};
use model_store::config::Config;
use model_store::options::RawOptions;
use model_store::store::{AccountedJob, AccountingGap, Demand, Store, Wait};

use super::Report;
use super::answers::Ledger;
use crate::cmd::explain::Advices;
use crate::slurm::accounting::{self, Row, Stage};
use crate::slurm::command::CommandError;
use crate::slurm::pending::is_for_resources;
use crate::slurm::serving;
use crate::slurm::submitted::request_of_line;
use crate::{clock, exit, prices};

/// Under this name the store remembers how far accounting has been read.
const WATERMARK: &str = "sacct";
/// And under this one when it was asked last.
const ASKED: &str = "sacct-asked";
/// How far back the first call reads, s.
const FIRST_LOOK: i64 = 24 * 3600;
/// A job may reach accounting late by this, s. Its outcome file has come by then, too.
const OVERLAP: i64 = 3600;
/// A serving job that ran for as long as this has been ready.
const SERVED_S: u64 = 3600;
/// A serving job that failed within this had not become ready.
const START_S: u64 = 1800;
/// Advices that one call makes again; what is beyond is met again as long as it lies in the overlap.
const MOST_REMADE: usize = 200;
/// And those of one user: nobody's jobs keep others' from being looked at.
const OF_ONE_USER: usize = 20;

/// Most of accounting that is asked for at once, s: sites bound how long a time may be asked for.
const STEP: i64 = FIRST_LOOK + OVERLAP;
/// Shortest stretch that is asked for, s; one that cannot be read is passed over.
const SHORTEST: i64 = 60;
/// By how much two questions overlap, s: `sacct` reckons from its own moment.
const SEAM: i64 = 60;

/// Reads what has ended since the last call, a day at a time; what was read counts from stretch to stretch. Users decide how long an answer
/// is: where one fails, half of its time is asked for, and what cannot be read even so is passed over and told.
///
/// # Errors
/// Accounting that answers nothing at all, or the store.
pub(super) fn read(config: &Config, store: &mut Store, report: &mut Report) -> anyhow::Result<()> {
    let now = clock::now();
    store.asked_accounting(ASKED, now).map_err(exit::store)?;
    let since = store
        .watermark(WATERMARK)
        .map_err(exit::store)?
        .unwrap_or(now - FIRST_LOOK);
    let mut from = since.min(now) - OVERLAP;
    let mut step = STEP;
    let waiting = super::unstarted::waiting(now);
    report.unstarted += store.save_unstarted(&waiting).map_err(exit::store)?;
    let mut remaking = Remaking::default();
    while from < now {
        let to = (from + step).min(now);
        match accounting::ended_between(now - from + SEAM, now - to) {
            Ok(rows) => {
                keep(config, store, &rows, (to, now), &mut remaking, report)?;
                step = (step * 2).min(STEP);
                from = to;
            }
            Err(error) => {
                in_vain(&error)?;
                step = (to - from) / 2;
                if step < SHORTEST {
                    pass_over(store, (from, to, now), &error, report)?;
                    (step, from) = (SHORTEST, to);
                }
            }
        }
    }
    Ok(())
}

/// Whether accounting answers at all, though not to this question.
///
/// # Errors
/// It does not: that is for an administrator to mend, and nothing is passed over meanwhile.
pub(super) fn in_vain(error: &CommandError) -> anyhow::Result<()> {
    let failed = |e: &CommandError| exit::fail(e.to_string(), e.hint());
    match error {
        CommandError::Absent(_) => Err(failed(error)),
        _ => accounting::answers().map_err(|_| failed(error)),
    }
}

/// Goes on behind a stretch, and says so.
fn pass_over(
    store: &mut Store,
    (since, until, now): (i64, i64, i64),
    error: &CommandError,
    report: &mut Report,
) -> anyhow::Result<()> {
    let gap = AccountingGap {
        since,
        until,
        reason: error.to_string(),
        noted_at: now,
    };
    store.passed_over(&gap).map_err(exit::store)?;
    store
        .save_accounting(&[], &[], &[], (WATERMARK, until))
        .map_err(exit::store)?;
    report.passed_over.push(gap);
    Ok(())
}

/// Keeps what these rows tell. That accounting is read up to there comes last: killed before, the next call reads it again.
fn keep(
    config: &Config,
    store: &mut Store,
    rows: &[Row],
    (to, now): (i64, i64),
    remaking: &mut Remaking,
    report: &mut Report,
) -> anyhow::Result<()> {
    let since = super::unstarted::again_of(rows, now);
    let given_up = super::unstarted::cancelled(rows, &since);
    report.unstarted += store.save_unstarted(&given_up).map_err(exit::store)?;
    let over: Vec<&Row> = rows.iter().filter(|r| r.stage == Stage::Over).collect();
    let advised: Vec<AccountedJob> = over
        .iter()
        .filter(|r| r.job.advice_id.is_some())
        .map(|r| r.job.clone())
        .collect();
    let mut backlogs = BTreeMap::new();
    let waits: Vec<Wait> = over
        .iter()
        .filter_map(|row| wait(store, row, &mut backlogs))
        .collect();
    let demand: Vec<Demand> = over.iter().filter_map(|row| demand(row)).collect();
    let explored: Vec<_> = over
        .iter()
        .filter_map(|row| super::wishes::explored(row))
        .collect();
    store.wish(&explored).map_err(exit::store)?;
    let launches = launches(config, store, &over, now, remaking)?;
    report.launches += store.add_launches(&launches).map_err(exit::store)?;
    store
        .save_accounting(&advised, &waits, &demand, (WATERMARK, to))
        .map_err(exit::store)?;
    report.jobs += advised.len();
    report.waits += waits.len();
    report.demand += demand.len();
    Ok(())
}

/// What one call has made of advice again.
#[derive(Default)]
struct Remaking {
    made: usize,
    /// Of each user, by number.
    of_users: BTreeMap<u32, usize>,
    time: Ledger,
}

impl Remaking {
    /// Makes the advice to a job again, where neither the call nor the job's user has had enough of that.
    fn of<T>(&mut self, job: &AccountedJob, make: impl FnOnce() -> Option<T>) -> Option<T> {
        let user = job.uid.unwrap_or(u32::MAX);
        let own = self.of_users.entry(user).or_default();
        if self.made >= MOST_REMADE || *own >= OF_ONE_USER || self.time.is_spent(user) {
            return None;
        }
        self.made += 1;
        *own += 1;
        let begun = Instant::now();
        let made = make();
        self.time.charge(user, begun.elapsed());
        made
    }
}

/// What jobs under an advice that left no file tell of their launch.
fn launches(
    config: &Config,
    store: &Store,
    over: &[&Row],
    now: i64,
    remaking: &mut Remaking,
) -> anyhow::Result<Vec<(AccountedJob, Run)>> {
    let advices = Advices::of(config, store);
    let mut behind = |row: &Row| {
        let (job, advices) = (&row.job, advices.as_ref()?);
        let id = job.advice_id.as_deref()?;
        let make = || advices.behind(job.job_id, &job.user, &row.submit_line, id);
        remaking.of(job, make)
    };
    // A file that has not come within the overlap will be preferred when it comes.
    let silent = |row: &Row| row.job.ended.is_some_and(|end| end < now - OVERLAP / 2);
    let mut out = Vec::new();
    for row in over.iter().filter(|row| silent(row)) {
        if row.job.advice_id.is_none() || store.has_run_of(&row.job).map_err(exit::store)? {
            continue;
        }
        let run = launched(row, &mut behind)
            .and_then(|known| launch(row, known, |gres| prices::gpu_of(config, gres)));
        out.extend(run.map(|run| (row.job.clone(), run)));
    }
    Ok(out)
}

/// How long a job with GPUs of one type waited for them. Requeued runs count from when they could begin
/// again. A job that stood at a limit of its user, account or QOS, or for anything else but GPUs, says nothing of them.
fn wait(
    store: &Store,
    row: &Row,
    backlogs: &mut BTreeMap<(String, i64), Option<u32>>,
) -> Option<Wait> {
    let job = &row.job;
    let [(gres, gpus)] = job.gpus.as_slice() else {
        return None;
    };
    let eligible = job.eligible.filter(|at| *at <= job.start)?;
    if gres.is_empty() || *gpus == 0 || !is_for_resources(&row.reason) {
        return None;
    }
    let backlog = *backlogs
        .entry((gres.clone(), eligible))
        .or_insert_with(|| store.backlog_at(gres, eligible).unwrap_or_default());
    // Whatever it waited for while all of them were idle, it was something else.
    let idle = store.idle_seconds(gres, eligible, job.start).unwrap_or(0);
    Some(Wait {
        cluster: job.cluster.clone(),
        job_id: job.job_id,
        eligible,
        wait_s: u64::try_from(job.start - eligible - idle).unwrap_or(0),
        gres: gres.clone(),
        gpus: *gpus,
        backlog,
        uid: job.uid,
    })
}

fn demand(row: &Row) -> Option<Demand> {
    if row.job.advice_id.is_some() || row.job.gpus.is_empty() {
        return None;
    }
    let serving = serving::recognise(&row.job.name, &row.submit_line)?;
    Some(Demand {
        job: row.job.clone(),
        engine: serving.engine.to_owned(),
        model: serving.model,
    })
}

/// What was started, as far as accounting tells.
#[derive(Debug)]
struct Launched {
    options: RawOptions,
    model: String,
    precision: Precision,
    tp: u32,
    pp: u32,
    dp: u32,
}

/// From the submit line where it pins the precision, else from the advice, which is made again.
fn launched(
    row: &Row,
    behind: &mut impl FnMut(&Row) -> Option<(String, Configuration)>,
) -> Option<Launched> {
    let job = &row.job;
    job.advice_id.as_ref()?;
    judged(&job.state, job.elapsed_s)?;
    let [(gres, count)] = job.gpus.as_slice() else {
        return None;
    };
    let options = request_of_line(&row.submit_line, None)?.ok()?.options;
    let model = options.model.clone()?;
    if let Some(precision) = options.pins.precision {
        return Some(Launched {
            model,
            precision,
            tp: options.pins.tp.unwrap_or(*count).max(1),
            pp: 1,
            dp: 1,
            options,
        });
    }
    let (model, advised) = behind(row)?;
    // The owner of a pending job may have changed what it asks for.
    let as_advised = advised.gres.eq_ignore_ascii_case(gres) && advised.gpus() == *count;
    as_advised.then_some(Launched {
        model,
        precision: advised.precision,
        tp: advised.tp,
        pp: advised.pp,
        dp: advised.dp,
        options,
    })
}

/// What a job under an advice tells that left no file: whether its engine started. Nothing else about it is known.
fn launch<'a>(row: &Row, known: Launched, gpu_of: impl Fn(&str) -> Option<&'a str>) -> Option<Run> {
    let job = &row.job;
    let (gres, _) = job.gpus.first()?;
    let outcome = judged(&job.state, job.elapsed_s)?;
    let most = match outcome {
        RunOutcome::Ok => format!(", cold start at most {} s", job.elapsed_s),
        _ => String::new(),
    };
    Some(Run {
        run_id: format!("{}-{}-accounting", job.job_id, job.start),
        origin: Origin::ThisCluster,
        source: format!("cluster:{}", job.cluster),
        source_ref: format!("job {} accounting", job.job_id),
        case: Case {
            model: known.model,
            params_b: None,
            active_params_b: None,
            gpu: gpu_of(gres)?.to_owned(),
            gpu_mem_gb: None,
            tp: Some(known.tp),
            pp: known.pp,
            dp: known.dp,
            precision: Some(known.precision),
            kv_precision: None,
            isl: known.options.isl,
            osl: known.options.osl,
            workload: Workload::ClosedLoop,
            concurrency: known.options.concurrency,
            request_rate: None,
            engine: canonical_engine("vllm"),
            engine_version: String::new(),
            variant: Variant::default(),
        },
        measured: Measured {
            outcome,
            ..Measured::default()
        },
        notes: format!("state {}, no outcome file{most}", job.state),
    })
}

/// What a state says of the launch; `None` where it says nothing: a job that was cancelled or
/// failed after a while may have served or not.
fn judged(state: &str, elapsed_s: u64) -> Option<RunOutcome> {
    match state {
        "COMPLETED" | "TIMEOUT" | "CANCELLED" | "PREEMPTED" if elapsed_s >= SERVED_S => {
            Some(RunOutcome::Ok)
        }
        "FAILED" if elapsed_s < START_S => Some(RunOutcome::Crash),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: &str, elapsed_s: u64, line: &str) -> Row {
        let job = AccountedJob {
            cluster: "c".into(),
            job_id: 7,
            start: 100,
            ended: Some(200),
            state: state.into(),
            elapsed_s,
            gpus: vec![("h100".into(), 2)],
            advice_id: Some("7f3a91".into()),
            ..AccountedJob::default()
        };
        Row {
            job,
            stage: Stage::Over,
            submit_line: line.into(),
            reason: "None".into(),
        }
    }

    #[test]
    fn one_user_takes_a_part_of_the_advice_that_a_call_makes_again() {
        let mut remaking = Remaking::default();
        let mut made_of = |uid: u32, jobs: usize| {
            let job = AccountedJob {
                uid: Some(uid),
                ..AccountedJob::default()
            };
            let made = (0..jobs).filter_map(|_| remaking.of(&job, || Some(())));
            made.count()
        };
        assert_eq!(made_of(1000, 300), OF_ONE_USER);
        assert_eq!(made_of(1001, 7), 7);
        let others: usize = (2000..2100).map(|uid| made_of(uid, 20)).sum();
        assert_eq!(others, MOST_REMADE - OF_ONE_USER - 7);
    }

    #[test]
    fn who_has_had_his_time_gets_no_advice_made_again() {
        let mut remaking = Remaking::default();
        let job = AccountedJob::default();
        assert_eq!(remaking.of(&job, || Some(1)), Some(1));
        remaking
            .time
            .charge(u32::MAX, std::time::Duration::from_secs(11));
        assert_eq!(remaking.of(&job, || Some(1)), None);
    }

    #[test]
    fn a_job_without_a_file_tells_of_its_launch_where_it_says_what_it_was() {
        let line = "sbatch --llm-model=m --llm-precision fp8 --llm-isl=1000 serve.sh";
        let of = |state, elapsed, line: &str| {
            let row = row(state, elapsed, line);
            let known = launched(&row, &mut |_| None)?;
            launch(&row, known, |_| Some("H100-SXM"))
        };
        let run = of("TIMEOUT", 7200, line).unwrap();
        assert_eq!(run.measured.outcome, RunOutcome::Ok);
        assert_eq!(
            (run.case.tp, run.case.precision, run.case.isl),
            (Some(2), Some(Precision::Fp8), Some(1000.0))
        );
        assert!(run.notes.ends_with("cold start at most 7200 s"));
        assert_eq!(
            of("FAILED", 60, line).unwrap().measured.outcome,
            RunOutcome::Crash
        );
        // Neither of these says whether the engine ever answered, or what it was.
        assert_eq!(of("CANCELLED", 60, line), None);
        assert_eq!(of("FAILED", 7200, line), None);
        assert_eq!(of("NODE_FAIL", 60, line), None);
        assert_eq!(of("TIMEOUT", 7200, "sbatch --llm-model=m serve.sh"), None);
    }
}
