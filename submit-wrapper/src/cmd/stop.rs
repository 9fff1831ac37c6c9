//! `omnipilot stop JOB`: ends a job of mine once its engine has no request in flight.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::status::{boards, is_fresh, mine};
use crate::slurm::command;
use crate::{clock, exit};

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Job to end
    #[arg(value_name = "JOBID")]
    job: u64,
    /// Most seconds to wait until no request is in flight; 0 ends it at once
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u32).range(0..=86_400))]
    wait: u32,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let job = args.job;
    if mine(Some(job)).map_or(true, |jobs| jobs.is_empty()) {
        return Err(exit::with_code(
            exit::USAGE,
            format!("job {job} is no job of yours that waits or runs"),
            "`omnipilot status` lists your jobs that serve a model",
        ));
    }
    let left = drain(job, Duration::from_secs(args.wait.into()));
    let number = job.to_string();
    command::output("scancel", &[&number]).map_err(|e| exit::fail(e.to_string(), e.hint()))?;
    if args.json {
        crate::json::print("stop", json!({ "job": job, "in_flight": left }))?;
    } else {
        match left {
            Some(n) if n > 0.0 => println!("job {job} was stopped with {n} in flight"),
            _ => println!("job {job} was stopped"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits until the job's engines have no request in flight; how many they had in the end, `None` where that is not known.
fn drain(job: u64, most: Duration) -> Option<f64> {
    let begun = Instant::now();
    loop {
        let left = in_flight(job);
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
