//! `omnipilot stop JOB`: ends a job of mine once its engine has no request in flight.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::status::{Job, boards, cluster, mine};
use crate::board::{Board, State};
use crate::slurm::command;
use crate::{clock, exit};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Job to end, as `omnipilot status` shows it: 4711, or 4711_3 for a task of an array
    #[arg(value_name = "JOBID")]
    job: String,
    /// Most seconds to wait until no request is in flight; 0 ends it at once
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    wait: u32,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    // Tasks that wait together are one row unless Slurm is told to list each.
    let jobs = mine(!args.job.contains('['))?;
    let job = the_one(&jobs, &args.job)?;
    let left = drain(job.id, Duration::from_secs(args.wait.into()));
    let name = job.to_cancel();
    command::output("scancel", &[&name]).map_err(|e| exit::fail(e.to_string(), e.hint()))?;
    if args.json {
        let done = json!({ "job": job.id, "shown": job.shown, "in_flight": left });
        crate::json::print("stop", done)?;
    } else {
        match left {
            Some(n) if n > 0.0 => println!("job {name} was stopped with {n} in flight"),
            _ => println!("job {name} was stopped"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The job that is meant: the one that is shown so, else the one of this number.
///
/// # Errors
/// There is none, or the number is that of an array with several tasks.
fn the_one<'a>(jobs: &'a [Job], text: &str) -> anyhow::Result<&'a Job> {
    if let Some(job) = jobs.iter().find(|job| job.shown == text) {
        return Ok(job);
    }
    let begin = format!("{text}_");
    let of_array = jobs.iter().filter(|job| job.shown.starts_with(&begin));
    let tasks: Vec<&Job> = of_array.collect();
    if let [first, _, ..] = tasks.as_slice() {
        let first = &first.shown;
        return Err(exit::with_code(
            exit::USAGE,
            format!("job {text} is an array with {} tasks left", tasks.len()),
            format!("`omnipilot stop {first}` stops one, `scancel {text}` ends all at once"),
        ));
    }
    let by_number = || jobs.iter().find(|job| job.id.to_string() == text);
    let found = tasks.first().copied().or_else(by_number);
    found.ok_or_else(|| {
        exit::with_code(
            exit::USAGE,
            format!("job {text} is no job of yours that waits or runs"),
            "`omnipilot status` lists your jobs that serve a model",
        )
    })
}

/// Waits until the job's engines have no request in flight; how many they had in the end, `None` where that is not known.
fn drain(job: u64, most: Duration) -> Option<f64> {
    let (begun, cluster) = (Instant::now(), cluster());
    loop {
        let found = boards(cluster.as_deref());
        let own = found.iter().map(|f| &f.board).filter(|b| b.job == job);
        let load = load(own, clock::now() as f64);
        if load.is_idle() || begun.elapsed() >= most {
            return load.known();
        }
        thread::sleep(LOOK.min(most.saturating_sub(begun.elapsed())));
    }
}

/// What the engines of a job are at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Load {
    /// Requests in flight in those that say so.
    in_flight: Option<f64>,
    /// One of them answers, and what it was last read to have in flight says nothing of now.
    hidden: bool,
}

impl Load {
    fn is_idle(self) -> bool {
        !self.hidden && self.in_flight.is_none_or(|n| n <= 0.0)
    }

    fn known(self) -> Option<f64> {
        self.in_flight.filter(|_| !self.hidden)
    }
}

/// Adds up what the boards say at `now`. An engine that starts has no request in flight.
fn load<'a>(boards: impl Iterator<Item = &'a Board>, now: f64) -> Load {
    let mut all = Load::default();
    for board in boards.filter(|b| b.state == State::Ready) {
        match board.in_flight.filter(|_| board.is_fresh(now)) {
            Some(n) => all.in_flight = Some(all.in_flight.unwrap_or(0.0) + n),
            None => all.hidden = true,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_was_not_read_of_late_is_not_taken_for_idle() {
        let asked = model_store::outcome::Asked::default();
        let starting = Board::starting(7, "gpu1".into(), "vllm".into(), asked, 1000.0);
        let ready = |in_flight| {
            let mut board = starting.clone();
            board.state = State::Ready;
            (board.read_at, board.in_flight) = (Some(1000.0), Some(in_flight));
            board
        };
        let of = |boards: &[Board], now| load(boards.iter(), now);
        assert!(of(&[], 1000.0).is_idle(), "nothing is known of it");
        assert!(of(std::slice::from_ref(&starting), 1000.0).is_idle());
        let idle = of(&[ready(0.0), starting.clone()], 1001.0);
        assert!(idle.is_idle() && idle.known() == Some(0.0));
        let both = of(&[ready(3.0), ready(4.0)], 1001.0);
        assert!(!both.is_idle() && both.known() == Some(7.0));
        let stale = of(&[ready(0.0)], 2000.0);
        assert!(!stale.is_idle() && stale.known().is_none());
    }

    #[test]
    fn a_task_of_an_array_is_meant_alone() {
        let line = |line: &str| super::super::status::job(line).unwrap();
        let jobs = [
            line("12|10_2|RUNNING|gpu3|N/A|(null)"),
            line("10|10_3|RUNNING|gpu3|N/A|(null)"),
            line("14|14_0|PENDING|(Resources)|N/A|(null)"),
            line("20|20+0|RUNNING|gpu4|N/A|(null)"),
        ];
        let told = |text: &str| {
            let job = the_one(&jobs, text).map_err(|e| e.to_string())?;
            Ok((job.id, job.to_cancel()))
        };
        let task = |id, shown: &str| Ok::<_, String>((id, shown.to_owned()));
        assert_eq!(told("10_2"), task(12, "10_2"));
        assert_eq!(told("12"), task(12, "10_2"), "by the task's own number");
        assert_eq!(told("14"), task(14, "14_0"), "the only task that is left");
        assert_eq!(told("20"), task(20, "20"), "with all its components");
        // The last task has the array's number.
        let array = told("10").unwrap_err();
        assert!(array.contains("an array with 2 tasks"), "{array}");
        assert!(told("1").unwrap_err().contains("no job of yours"));
    }
}
