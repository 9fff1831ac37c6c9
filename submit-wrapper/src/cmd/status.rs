//! `omnipilot status`: jobs of mine that serve a model, where they answer, and how fast against what was predicted.

use std::process::ExitCode;

use model_store::advisor::words::grouped;
use model_store::advisor::{Pins, Precision, Prediction, Target};
use model_store::consult::consult_snapshot;
use model_store::job_request::advice_in_comment;
use model_store::options::RawOptions;
use model_store::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::board::{self, Board, Found, State};
use crate::site::SiteArgs;
use crate::slurm::{command, conf};
use crate::{clock, exit};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print the jobs as JSON
    #[arg(long)]
    json: bool,
}

/// A job of the user's that Slurm knows of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Job {
    /// Its number, and how Slurm shows it where it is one of an array.
    pub(crate) id: u64,
    pub(crate) shown: String,
    /// Slurm's word for its state, such as `RUNNING`.
    pub(crate) state: String,
    /// Why it waits, or where it runs.
    place: String,
    /// When its time limit ends, as Slurm writes it.
    ends: String,
    /// Id of the advice that it was submitted under.
    advice: Option<String>,
}

impl Job {
    /// Its name for `scancel`: of an array this task alone, else all that the number stands for.
    pub(crate) fn to_cancel(&self) -> String {
        match self.shown.contains('_') {
            true => self.shown.clone(),
            false => self.id.to_string(),
        }
    }
}

/// What is shown of one engine, or of a job without one.
struct Row<'a> {
    job: &'a Job,
    board: Option<&'a Board>,
    expected: Option<Prediction>,
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let jobs = mine(false)?;
    let cluster = cluster();
    let cluster = cluster.as_deref();
    let found = boards(cluster);
    // A job that was killed takes its board down no more.
    let (here, gone): (Vec<Found>, Vec<Found>) = found
        .into_iter()
        .partition(|f| jobs.iter().any(|j| j.id == f.board.job));
    for old in gone.into_iter().filter(|old| old.is_of(cluster)) {
        let _ = std::fs::remove_file(old.file); // the next call tries again
    }
    // Only of a server that is up something is expected.
    let config = site.config().ok().filter(|_| !here.is_empty());
    let snapshot = config.and_then(|config| {
        let snapshot = Snapshot::read(&config.snapshot).ok()?;
        Some((config, snapshot))
    });
    let expected = |board: &Board| {
        let (config, snapshot) = snapshot.as_ref()?;
        expected(config, snapshot, board)
    };
    let rows: Vec<Row> = jobs
        .iter()
        .flat_map(|job| rows(job, &here, &expected))
        .collect();
    if args.json {
        let jobs: Vec<Value> = rows.iter().map(as_json).collect();
        crate::json::print("status", json!({ "jobs": jobs }))?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&rows);
    Ok(ExitCode::SUCCESS)
}

/// Jobs of this user's. Tasks of an array that wait are one job, or with `each` a job each.
///
/// # Errors
/// What Slurm says.
pub(crate) fn mine(each: bool) -> anyhow::Result<Vec<Job>> {
    let mut words = vec!["-h", "--me", "-o", "%A|%i|%T|%R|%e|%k"];
    if each {
        words.push("-r");
    }
    let text = command::output("squeue", &words);
    let text = text.map_err(|e| exit::fail(e.to_string(), e.hint()))?;
    Ok(text.lines().filter_map(job).collect())
}

/// One line of `squeue`. The comment comes last: it may hold anything.
pub(super) fn job(line: &str) -> Option<Job> {
    let mut parts = line.splitn(6, '|').map(str::trim);
    let mut next = || parts.next().map(str::to_owned);
    Some(Job {
        id: next()?.parse().ok()?,
        shown: next()?,
        state: next()?,
        place: next()?,
        ends: next()?,
        advice: advice_in_comment(&next()?).map(str::to_owned),
    })
}

/// Name of this cluster; `None` where Slurm does not say.
pub(super) fn cluster() -> Option<String> {
    Some(conf::ask().ok()?.get("ClusterName")?.to_owned())
}

/// Boards of this user's engines, without those of another cluster than this one.
pub(super) fn boards(cluster: Option<&str>) -> Vec<Found> {
    let env = |name: &str| std::env::var(name).ok();
    let all = board::folder(env).map_or_else(Vec::new, |folder| board::all(&folder));
    let near = all.into_iter().filter(|found| found.may_be_of(cluster));
    near.collect()
}

/// A row for each engine of a job; one for a job under an advice whose engine has not started.
fn rows<'a>(
    job: &'a Job,
    boards: &'a [Found],
    expected: &dyn Fn(&Board) -> Option<Prediction>,
) -> Vec<Row<'a>> {
    let own = boards.iter().map(|f| &f.board).filter(|b| b.job == job.id);
    let rows: Vec<Row> = own
        .map(|board| Row {
            job,
            board: Some(board),
            expected: expected(board),
        })
        .collect();
    if rows.is_empty() && job.advice.is_some() {
        return vec![Row {
            job,
            board: None,
            expected: None,
        }];
    }
    rows
}

/// What the predictor expects of this engine under the load that it has now.
fn expected(
    config: &model_store::config::Config,
    snapshot: &Snapshot,
    board: &Board,
) -> Option<Prediction> {
    let asked = &board.asked;
    let options = RawOptions {
        model: Some(asked.model.clone()).filter(|m| !m.is_empty()),
        isl: asked.isl,
        osl: asked.osl,
        concurrency: Some(board.in_flight.filter(|n| *n >= 1.0)?),
        ..RawOptions::default()
    };
    let pins = Pins {
        gpu: Some(asked.gpu.clone()).filter(|gpu| !gpu.is_empty()),
        tp: asked.tp,
        precision: asked.precision.as_deref().and_then(Precision::parse),
        ..Pins::default()
    };
    let cluster = &snapshot.body.cluster;
    let consulted = consult_snapshot(snapshot, cluster, config, &options, &pins).ok()?;
    let one = consulted.advice.candidates.first()?;
    one.prediction(Target::OutputTokS).copied()
}

fn state(row: &Row) -> String {
    match (row.job.state.as_str(), row.board.map(|b| b.state)) {
        ("RUNNING", Some(State::Ready)) => "ready".into(),
        ("RUNNING", Some(State::Starting)) => "starting".into(),
        (state, _) => state.to_ascii_lowercase(),
    }
}

fn as_json(row: &Row) -> Value {
    let board = row.board;
    json!({
        "job": row.job.id,
        "shown": row.job.shown,
        "slurm_state": row.job.state,
        "state": state(row),
        "place": row.job.place,
        "ends": row.job.ends,
        "advice": row.job.advice,
        "model": board.map(|b| b.asked.model.as_str()),
        "engine": board.map(|b| b.engine.as_str()),
        "node": board.map(|b| b.node.as_str()),
        "address": board.and_then(|b| b.address.as_deref()),
        "since": board.map(|b| b.since),
        "read_at": board.and_then(|b| b.read_at),
        "in_flight": board.and_then(|b| b.in_flight),
        "output_tok_s": board.and_then(|b| b.output_tok_s),
        "expected": row.expected.map(|p| json!({"q50": p.q50, "lo": p.lo, "hi": p.hi})),
    })
}

fn print(rows: &[Row]) {
    if rows.is_empty() {
        println!("no job of yours serves a model under OmniPilot");
        return;
    }
    let head = [
        "job",
        "state",
        "model",
        "address",
        "in flight",
        "tok/s now",
        "expected",
        "ends",
    ];
    let mut table = vec![head.map(str::to_owned)];
    table.extend(rows.iter().map(cells));
    let width = |at: usize| table.iter().map(|row| row[at].chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).filter_map(width).collect();
    for row in &table {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("{}", line.join("  ").trim_end());
    }
}

fn cells(row: &Row) -> [String; 8] {
    let board = row.board;
    let now = clock::now() as f64;
    let fresh = board.filter(|b| b.is_fresh(now));
    let number = |x: Option<f64>| x.map_or_else(|| "-".into(), grouped);
    let address = board.and_then(|b| b.address.clone());
    [
        row.job.shown.clone(),
        match board {
            Some(board) => format!("{} for {}", state(row), time(now - board.since)),
            None => state(row),
        },
        board.map_or_else(|| "-".into(), |b| b.asked.model.clone()),
        address.unwrap_or_else(|| row.job.place.clone()),
        number(fresh.and_then(|b| b.in_flight)),
        number(fresh.and_then(|b| b.output_tok_s)),
        row.expected.map_or_else(
            || "-".into(),
            |p| format!("{} [{}-{}]", grouped(p.q50), grouped(p.lo), grouped(p.hi)),
        ),
        row.job.ends.clone(),
    ]
}

/// A time in words, to the minute.
fn time(seconds: f64) -> String {
    let minutes = (seconds.max(0.0) / 60.0).floor();
    match (minutes / 60.0).floor() {
        0.0 => format!("{minutes} min"),
        hours => format!("{hours} h {} min", minutes - 60.0 * hours),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_squeue_is_read_whatever_the_comment_holds() {
        let read =
            job("12|10_2|RUNNING|gpu3|2026-01-02T03:04:05|mine|x omnipilot:abc12345").unwrap();
        assert_eq!(
            (read.id, &*read.shown, &*read.state),
            (12, "10_2", "RUNNING")
        );
        assert_eq!(read.advice.as_deref(), Some("abc12345"));
        let waiting = job("13|13|PENDING|(Resources)|N/A|(null)").unwrap();
        assert_eq!((waiting.advice, &*waiting.place), (None, "(Resources)"));
        assert_eq!(job(""), None);
    }

    #[test]
    fn times_are_told_in_hours_and_minutes() {
        assert_eq!(
            [59.0, 61.0, 7500.0].map(time),
            ["0 min", "1 min", "2 h 5 min"]
        );
    }
}
