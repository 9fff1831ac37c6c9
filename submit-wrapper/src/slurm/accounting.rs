//! Jobs from Slurm's accounting, from `sacct`.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use model_store::job_request::advice_in_comment;
use model_store::store::AccountedJob;

use super::command::{self, CommandError};
use super::gres;

/// The fields that are asked for; every one exists since 22.05. What users write, and what may
/// hold anything, line ends included, comes last.
const FIELDS: [&str; 17] = [
    "JobIDRaw",
    "Cluster",
    "User",
    "UID",
    "State",
    "ExitCode",
    "ElapsedRaw",
    "Submit",
    "Eligible",
    "Start",
    "End",
    "NodeList",
    "AllocTRES",
    "Partition",
    "JobName",
    "SubmitLine",
    "Comment",
];

/// Most of a comment, a name or a submit line that is kept, bytes.
const TEXT: usize = 1024;
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
    /// The command line that submitted it; users write it.
    pub(crate) submit_line: String,
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
    ask(&["-j", &list, "-E", "now"])
}

/// The runs that ended between so many seconds ago.
///
/// # Errors
/// As [`jobs`].
pub(crate) fn ended_between(from: i64, to: i64) -> Result<Vec<Row>, CommandError> {
    let ago = |seconds: i64| match seconds.max(0) {
        0 => "now".to_owned(),
        seconds => format!("now-{seconds}seconds"),
    };
    let (from, to) = (ago(from), ago(to));
    let states = "CD,F,CA,TO,OOM,NF,PR,DL,BF,RQ";
    ask(&["-S", &from, "-E", &to, "-s", states])
}

/// Without `-E` some releases print nothing for a window.
fn ask(which: &[&str]) -> Result<Vec<Row>, CommandError> {
    let delimiter = delimiter();
    let (option, format) = (
        format!("--delimiter={delimiter}"),
        format!("--format={}", FIELDS.join(",")),
    );
    let mut args = vec!["-a", "-X", "-P", "-n", "-D", &option, &format];
    args.extend(which);
    Ok(parse(&command::output("sacct", &args)?, &delimiter))
}

/// A separator that nobody can guess: a comment may hold line ends, so whoever knew the separator
/// could write a comment that reads as the row of another job.
fn delimiter() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("@{:016x}{:016x}@", random(), random())
}

/// The rows of a capture with the given delimiter. Line ends stand in what users write: a line
/// goes on with the cell before it as long as its row is not whole, and, where it has no delimiter,
/// behind a whole row too.
pub(crate) fn parse(text: &str, delimiter: &str) -> Vec<Row> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in text.lines() {
        let mut cells = line.split(delimiter);
        let open = rows
            .last_mut()
            .filter(|row| row.len() < FIELDS.len() || !line.contains(delimiter));
        match (open, cells.next()) {
            (Some(row), Some(first)) => {
                if let Some(last) = row.last_mut() {
                    last.push('\n');
                    last.push_str(first);
                }
                row.extend(cells.map(str::to_owned));
            }
            (None, Some(first)) if line.contains(delimiter) => {
                let all = std::iter::once(first).chain(cells);
                rows.push(all.map(str::to_owned).collect());
            }
            _ => {}
        }
    }
    rows.into_iter().filter_map(row).collect()
}

fn row(cells: Vec<String>) -> Option<Row> {
    let cells = <[String; FIELDS.len()]>::try_from(cells).ok()?;
    let [
        job_id,
        cluster,
        user,
        uid,
        state,
        exit_code,
        elapsed,
        submit,
        eligible,
        start,
        end,
        nodes,
        tres,
        partition,
        name,
        submit_line,
        comment,
    ] = cells;
    // The end of a short job may arrive before its start: for seconds its row is root's, without a partition.
    if partition.is_empty() {
        return None;
    }
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
    let advice = advice_in_comment(&comment).filter(|id| id.len() <= ADVICE);
    let job = AccountedJob {
        cluster,
        job_id: job_id.parse().ok()?,
        submit: submit.parse().ok()?,
        eligible: eligible.parse().ok(),
        start: start.unwrap_or(0),
        ended,
        state: state.to_owned(),
        exit_code,
        elapsed_s: elapsed.parse().unwrap_or(0),
        user,
        uid: uid.parse().ok(),
        nodes,
        gpus: in_lower_case(gres::parse_tres(&tres)),
        advice_id: advice.map(str::to_owned),
        partition,
        name: truncate(name),
        comment: truncate(comment),
    };
    Some(Row {
        job,
        stage,
        submit_line: truncate(submit_line),
    })
}

/// The store names types so, whatever a site's spelling was at the time.
fn in_lower_case(spelled: gres::Gpus) -> gres::Gpus {
    let mut gpus = gres::Gpus::new();
    for (gres, count) in spelled {
        gres::add(&mut gpus, &gres.to_ascii_lowercase(), count);
    }
    gpus
}

fn truncate(mut text: String) -> String {
    if text.len() > TEXT {
        let end = (0..=TEXT)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
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
            (5, Stage::NeverRan, "FAILED"),
            (6, Stage::NeverRan, "CANCELLED"),
            (7, Stage::Over, "CANCELLED"),
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
            (2, 1_795_422_651, Some(1_795_422_653))
        );
        assert_eq!(first.gpus, [("h100".to_owned(), 2)]);
        assert_eq!(first.advice_id.as_deref(), Some("7f3a91"));
        assert_eq!(
            (first.partition.as_str(), first.name.as_str()),
            ("serve", "tagged")
        );
        // Held until it was cancelled; requeued, and not before two minutes have passed.
        assert_eq!(
            [&rows[5], &rows[7]].map(|r| r.job.eligible),
            [None, Some(1_795_422_778)]
        );
        assert!(rows[7].submit_line.ends_with("--port 8000"));
    }

    #[test]
    fn a_name_or_comment_with_line_ends_stays_one() {
        let rows = parse(CAPTURE, "@X@");
        assert_eq!(rows[1].job.name, "na\nme");
        assert!(rows[1].submit_line.ends_with("--wrap sleep 1; exit 3"));
        assert_eq!(
            rows[1].job.comment,
            "two\nlines|pipe omnipilot:ab12cd\n77|77|forged"
        );
        assert_eq!(rows[1].job.advice_id.as_deref(), Some("ab12cd"));
        assert_eq!(rows[1].job.exit_code, "3:0");
    }

    #[test]
    fn a_row_whose_start_has_not_arrived_is_none_yet() {
        let first = CAPTURE.lines().next().unwrap();
        assert_eq!(parse(first, "@X@").len(), 1);
        let early = first
            .replace("@X@alice@X@1001@X@", "@X@root@X@0@X@")
            .replace("@X@serve@X@tagged@X@", "@X@@X@allocation@X@");
        assert_eq!(parse(&early, "@X@"), []);
    }

    #[test]
    fn delimiters_differ_from_call_to_call() {
        assert_ne!(delimiter(), delimiter());
        assert_eq!(delimiter().len(), 34);
    }
}
