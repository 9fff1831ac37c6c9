//! Times and counts for `demo/bench.sh`, each printed as one line of its table.
//!
//! ```text
//! bench spread UNIT NAME FILE            median and quarters of a column of numbers
//! bench added UNIT NAME WITH WITHOUT     the differences line by line, their 99th percentile, and the 95 % interval of their median
//! bench cost COMMAND...                  kilobytes of resident memory at most, of the command or of a child of its, and
//!                                        milliseconds of processor time of both together
//! bench advise CONFIG N OPTION...        one advice in this process, N times; OPTION as `llm-model=MODEL`
//! bench measure NAME COMMAND...          seconds, processor time and peak memory of one command; its output is dropped
//! ```

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use e2e::stats::{interval_of_median, quantile_of, spread};
use model_store::advisor::Pins;
use model_store::config::Config;
use model_store::consult::{consult, consult_snapshot};
use model_store::options::RawOptions;
use model_store::snapshot::Snapshot;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What a part of this program gives, errors as one line.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        ["spread", unit, name, file] => column(file).map(|numbers| tell(unit, name, &numbers)),
        ["added", unit, name, with, without] => added(unit, name, with, without),
        ["cost", program, ref rest @ ..] => cost(program, rest),
        ["advise", config, rounds, ref options @ ..] => advise(config, rounds, options),
        ["measure", name, program, ref rest @ ..] => measure(name, program, rest),
        _ => Err("usage: bench spread | added | cost | advise | measure ...".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn column(file: &str) -> Result<Vec<f64>> {
    let text = fs::read_to_string(file)?;
    Ok(text
        .lines()
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?)
}

fn tell(unit: &str, name: &str, numbers: &[f64]) {
    if let Some(s) = spread(numbers) {
        let middle = format!("{:.3} to {:.3}", s.low, s.high);
        println!(
            "{name:<52} {:>9.3} {unit}   {middle:<20} n = {}",
            s.median,
            numbers.len()
        );
    }
}

fn added(unit: &str, name: &str, with: &str, without: &str) -> Result<()> {
    let (with, without) = (column(with)?, column(without)?);
    if with.len() != without.len() {
        return Err("the two columns are not of one length".into());
    }
    let differences: Vec<f64> = with.iter().zip(&without).map(|(a, b)| a - b).collect();
    tell(unit, name, &differences);
    if let Some((low, high)) = interval_of_median(&differences) {
        println!(
            "{:<52} {:>9}      {low:.3} to {high:.3}",
            "    95 % interval of that median", ""
        );
    }
    let p99 = quantile_of(&differences, 0.99);
    println!("{:<52} {p99:>9.3} {unit}", "    99th percentile");
    Ok(())
}

fn advise(config: &str, rounds: &str, options: &[&str]) -> Result<()> {
    let config = Config::read(Path::new(config))?;
    let mut asked = RawOptions::default();
    for (name, value) in options.iter().filter_map(|option| option.split_once('=')) {
        asked.set(name, value)?;
    }
    let (snapshot, pins, rounds) = (
        Snapshot::read(&config.snapshot)?,
        Pins::default(),
        rounds.parse()?,
    );
    let told = consult_snapshot(&snapshot, &snapshot.body.cluster, &config, &asked, &pins)?;
    let all = told.advice.candidates.len();
    let alone = timed(rounds, || {
        consult_snapshot(&snapshot, &snapshot.body.cluster, &config, &asked, &pins).is_ok()
    });
    let whole = timed(rounds, || consult(&config, &asked, &pins).is_ok());
    tell(
        "ms",
        &format!("advice over all {all} candidates, snapshot in memory"),
        &alone,
    );
    tell("ms", "the same with reading the snapshot", &whole);
    Ok(())
}

/// Milliseconds of each round.
fn timed(rounds: usize, mut work: impl FnMut() -> bool) -> Vec<f64> {
    let mut once = |_| {
        let begun = Instant::now();
        let done = std::hint::black_box(work());
        assert!(done, "what was timed failed");
        begun.elapsed().as_secs_f64() * 1e3
    };
    (0..rounds).map(&mut once).collect()
}

fn cost(program: &str, arguments: &[&str]) -> Result<()> {
    run(program, arguments)?;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    println!("{} {}", usage.max_rss(), us as f64 / 1e3);
    Ok(())
}

fn measure(name: &str, program: &str, arguments: &[&str]) -> Result<()> {
    let begun = Instant::now();
    run(program, arguments)?;
    let seconds = begun.elapsed().as_secs_f64();
    // Kilobytes on Linux, of the largest child; there was one.
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let peak = usage.max_rss() / 1024;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    println!(
        "{name:<62} {seconds:>9.2} s    processor {:>8.2} s    peak {peak} MB",
        us as f64 / 1e6
    );
    Ok(())
}

/// Runs a command to its success; what it writes is dropped.
fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} failed: {told}").into())
}
