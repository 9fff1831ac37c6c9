//! `omnipilot stop JOB`: ends a job of mine once its engine has no request in flight.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::status::{Job, boards, is_fresh, mine};
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
    let left = drain(job, Duration::from_secs(args.wait.into()));
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
fn drain(job: &Job, most: Duration) -> Option<f64> {
    let begun = Instant::now();
    loop {
        let left = in_flight(job.id);
        if left.is_none_or(|n| n <= 0.0) || begun.elapsed() >= most {
            return left;
        }
        thread::sleep(LOOK.min(most.saturating_sub(begun.elapsed())));
    }
}

/// Requests in flight in all engines of the job; `None` where no engine says so now.
fn in_flight(job: u64) -> Option<f64> {
    let now = clock::now() as f64;
    let all = boards();
    let own = all.iter().map(|f| &f.board);
    let own = own.filter(|b| b.job == job && is_fresh(b, now));
    own.filter_map(|b| b.in_flight).reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

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
