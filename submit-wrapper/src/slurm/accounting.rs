//! Jobs from Slurm's accounting, from `sacct`.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use model_store::job_request::advice_in_comment;
use model_store::store::AccountedJob;

use super::command::{self, CommandError};
use super::gres;

/// The fields that are asked for; every one exists since 22.05. The comment comes last: users
/// write it, and it may hold anything, line ends included.
const FIELDS: [&str; 13] = [
    "JobIDRaw",
    "Cluster",
    "User",
    "UID",
    "State",
    "ExitCode",
    "ElapsedRaw",
    "Submit",
    "Start",
    "End",
    "NodeList",
    "AllocTRES",
    "Comment",
];

/// Most of a comment that is kept, bytes.
const COMMENT: usize = 1024;
/// Longest advice id, bytes.
const ADVICE: usize = 64;

/// How far a run of a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It has no nodes yet.
    Waiting,
    /// It holds its nodes.
    Running,
    /// It is over.
    Over,
    /// It is over and never had nodes: a submission that was refused, or cancelled while it waited.
    NeverRan,
}

/// One run of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What accounting says; `start` is 0 where it never began.
    pub(crate) job: AccountedJob,
    /// How far it has come.
    pub(crate) stage: Stage,
}

/// Every run of the given jobs, requeued ones included.
///
/// # Errors
/// `sacct` is absent, late or fails.
pub(crate) fn jobs(ids: &[u64]) -> Result<Vec<Row>, CommandError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let list = ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    ask(&["-j", &list])
}

/// The runs that ended in the last `seconds`.
///
/// # Errors
/// As [`jobs`].
pub(crate) fn ended_within(seconds: i64) -> Result<Vec<Row>, CommandError> {
    let since = format!("now-{}seconds", seconds.max(1));
    ask(&["-S", &since, "-s", "CD,F,CA,TO,OOM,NF,PR,DL,BF,RQ"])
}

/// Without `-E` some releases print nothing for a window.
fn ask(which: &[&str]) -> Result<Vec<Row>, CommandError> {
    let delimiter = delimiter();
    let (option, format) = (
        format!("--delimiter={delimiter}"),
        format!("--format={}", FIELDS.join(",")),
    );
    let mut args = vec!["-a", "-X", "-P", "-n", "-D", "-E", "now", &option, &format];
    args.extend(which);
    Ok(parse(&command::output("sacct", &args)?, &delimiter))
}

/// A separator that nobody can guess: a comment may hold line ends, so whoever knew the separator
/// could write a comment that reads as the row of another job.
fn delimiter() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("@{:016x}{:016x}@", random(), random())
}

/// The rows of a capture with the given delimiter. A line that is no row belongs to the comment
/// before it.
pub(crate) fn parse(text: &str, delimiter: &str) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.splitn(FIELDS.len(), delimiter).collect();
        if let Ok(cells) = <[&str; FIELDS.len()]>::try_from(cells) {
            rows.extend(row(cells));
        } else if let Some(last) = rows.last_mut() {
            last.job.comment.push('\n');
            last.job.comment.push_str(line);
        }
    }
    for row in &mut rows {
        let advice = advice_in_comment(&row.job.comment).filter(|id| id.len() <= ADVICE);
        row.job.advice_id = advice.map(str::to_owned);
        truncate(&mut row.job.comment, COMMENT);
    }
    rows
}

fn row(cells: [&str; FIELDS.len()]) -> Option<Row> {
    let [
        job_id,
        cluster,
        user,
        uid,
        state,
        exit_code,
        elapsed,
        submit,
        start,
        end,
        nodes,
        tres,
        comment,
    ] = cells;
    let state = state.split_whitespace().next().unwrap_or_default();
    let start = start.parse::<i64>().ok();
    let ended = end.parse::<i64>().ok();
    let placed = !nodes.is_empty() && nodes != "None assigned" && start.is_some();
    let stage = match (placed, ended) {
        (true, None) => Stage::Running,
        (true, Some(_)) => Stage::Over,
        (false, None) => Stage::Waiting,
        (false, Some(_)) => Stage::NeverRan,
    };
    let job = AccountedJob {
        cluster: cluster.to_owned(),
        job_id: job_id.parse().ok()?,
        submit: submit.parse().ok()?,
        start: start.unwrap_or(0),
        ended,
        state: state.to_owned(),
        exit_code: exit_code.to_owned(),
        elapsed_s: elapsed.parse().unwrap_or(0),
        user: user.to_owned(),
        uid: uid.parse().ok(),
        nodes: nodes.to_owned(),
        gpus: gres::parse_tres(tres),
        advice_id: None,
        comment: comment.to_owned(),
    };
    Some(Row { job, stage })
}

fn truncate(text: &mut String, most: usize) {
    if text.len() > most {
        let end = (0..=most)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPTURE: &str = include_str!("captures/22.05/accounting.txt");

    #[test]
    fn rows_of_a_real_cluster_are_read() {
        let rows = parse(CAPTURE, "@X@");
        let brief: Vec<_> = rows
            .iter()
            .map(|r| (r.job.job_id, r.stage, r.job.state.as_str()))
            .collect();
        let expected = [
            (1, Stage::Over, "COMPLETED"),
            (2, Stage::Over, "FAILED"),
            (3, Stage::Over, "REQUEUED"),
            (4, Stage::NeverRan, "CANCELLED"),
            (5, Stage::Running, "RUNNING"),
            (6, Stage::Running, "RUNNING"),
            (8, Stage::NeverRan, "FAILED"),
            (11, Stage::Over, "CANCELLED"),
            (3, Stage::Waiting, "PENDING"),
        ];
        assert_eq!(brief, expected);
        let first = &rows[0].job;
        assert_eq!(
            (first.cluster.as_str(), first.user.as_str(), first.uid),
            ("omnipilot", "alice", Some(1001))
        );
        assert_eq!(
            (first.elapsed_s, first.submit, first.ended),
            (2, 1_795_412_495, Some(1_795_412_497))
        );
        assert_eq!(first.gpus, [("h100".to_owned(), 2)]);
        assert_eq!(first.advice_id.as_deref(), Some("7f3a91"));
        assert_eq!(rows[5].job.gpus.len(), 2);
    }

    #[test]
    fn a_comment_with_line_ends_stays_a_comment() {
        let rows = parse(CAPTURE, "@X@");
        assert_eq!(
            rows[1].job.comment,
            "two\nlines|pipe omnipilot:ab12cd\n77|77|forged"
        );
        assert_eq!(rows[1].job.advice_id.as_deref(), Some("ab12cd"));
        assert_eq!(rows[1].job.exit_code, "3:0");
    }

    #[test]
    fn delimiters_differ_from_call_to_call() {
        assert_ne!(delimiter(), delimiter());
        assert_eq!(delimiter().len(), 34);
    }
}
