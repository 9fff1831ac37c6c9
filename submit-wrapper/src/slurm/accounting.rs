//! Jobs from Slurm's accounting, from `sacct`.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::ops::ControlFlow;

use model_store::job_request::advice_in_comment;
use model_store::store::AccountedJob;

use super::command::{self, CommandError};
use super::gres;

/// The fields that are asked for; every one exists since 22.05. What users write, and what may
/// hold anything, line ends included, comes late. (`-P` prints each whole: a width as in `SubmitLine%1024` counts without it alone.)
const FIELDS: [&str; 18] = [
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
    "Reason",
];

/// Most rows of one answer that are kept. Users decide how many there are: whoever asks goes on with less at a time.
const MOST_ROWS: usize = 50_000;
/// Most of a cell that is read, bytes: accounting keeps 64 KiB of a comment, and an advice's id may stand at its end.
const LONGEST_CELL: usize = 64 << 10;

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
    /// The last reason that kept it from starting, other than priority and resources; `None` in words where there was none.
    pub(crate) reason: String,
}

/// Every run of the given jobs, requeued ones included. `sacct` answers an array's id with all of its tasks: those that were not asked for
/// are passed over.
///
/// # Errors
/// `sacct` is absent, late or fails, or has more rows of these jobs than are kept.
pub(crate) fn jobs(ids: &[u64]) -> Result<Vec<Row>, CommandError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let list = ids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    let wanted: HashSet<u64> = ids.iter().copied().collect();
    ask(&["-j", &list, "-E", "now"], |row| {
        wanted.contains(&row.job.job_id)
    })
}

/// The runs that ended between so many seconds ago, as far as something is learnt from them: they held GPUs, carry an advice or were
/// submitted with an option of ours. Beside them the advised jobs that ended before they began.
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
    ask(&["-S", &from, "-E", &to, "-s", states], |row| {
        let is_advised = row.job.advice_id.is_some();
        let is_ours = is_advised || row.submit_line.contains("--llm-");
        match row.stage {
            Stage::Over => is_ours || !row.job.gpus.is_empty(),
            Stage::NeverRan => is_advised,
            Stage::Waiting | Stage::Running => false,
        }
    })
}

/// The jobs without an advice that a user has had since so many seconds ago, in whatever state.
///
/// # Errors
/// As [`jobs`].
pub(crate) fn unadvised_of(user: &str, since: i64) -> Result<Vec<Row>, CommandError> {
    let since = format!("now-{}seconds", since.max(1));
    ask(&["-S", &since, "-E", "now", "-u", user], |row| {
        row.job.advice_id.is_none()
    })
}

/// Asks for the jobs that end in this very second: a question that is answered at once wherever accounting answers at all.
///
/// # Errors
/// As [`jobs`].
pub(crate) fn answers() -> Result<(), CommandError> {
    let question = [
        "-a", "-X", "-P", "-n", "-S", "now", "-E", "now", "-o", "JobID",
    ];
    command::lines("sacct", &question, |_| ControlFlow::Break(()))
}

/// The rows of an answer that are wanted. Without `-E` some releases print nothing for a window.
fn ask(which: &[&str], wanted: impl Fn(&Row) -> bool) -> Result<Vec<Row>, CommandError> {
    let delimiter = delimiter();
    let (option, format) = (
        format!("--delimiter={delimiter}"),
        format!("--format={}", FIELDS.join(",")),
    );
    let mut args = vec!["-a", "-X", "-P", "-n", "-D", &option, &format];
    args.extend(which);
    let mut reader = Reader::new(&delimiter);
    let mut rows = Vec::new();
    command::lines("sacct", &args, |line| {
        rows.extend(reader.line(line).and_then(row).filter(&wanted));
        match rows.len() > MOST_ROWS {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    })?;
    rows.extend(reader.end().and_then(row).filter(&wanted));
    match rows.len() > MOST_ROWS {
        true => Err(CommandError::TooLong("sacct")),
        false => Ok(rows),
    }
}

/// A separator that nobody can guess: a comment may hold line ends, so whoever knew the separator
/// could write a comment that reads as the row of another job.
pub(crate) fn delimiter() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("@{:016x}{:016x}@", random(), random())
}

/// Makes rows of lines. Line ends stand in what users write: a line goes on with the cell before it as long as its row is not whole, and,
/// where it has no delimiter, behind a whole row too.
struct Reader<'a> {
    delimiter: &'a str,
    cells: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(delimiter: &'a str) -> Self {
        Self {
            delimiter,
            cells: Vec::new(),
        }
    }

    /// Takes a line, and gives the row before where this one begins another.
    fn line(&mut self, line: &str) -> Option<Vec<String>> {
        let has = line.contains(self.delimiter);
        let open = !self.cells.is_empty() && (self.cells.len() < FIELDS.len() || !has);
        let mut parts = line.split(self.delimiter);
        if open {
            if let (Some(last), Some(first)) = (self.cells.last_mut(), parts.next()) {
                add(last, "\n");
                add(last, first);
            }
            self.take(parts);
            return None;
        }
        let before = std::mem::take(&mut self.cells);
        if has {
            self.take(parts);
        }
        (!before.is_empty()).then_some(before)
    }

    fn take<'t>(&mut self, parts: impl Iterator<Item = &'t str>) {
        for part in parts {
            let mut cell = String::new();
            add(&mut cell, part);
            self.cells.push(cell);
        }
    }

    /// The last row.
    fn end(self) -> Option<Vec<String>> {
        (!self.cells.is_empty()).then_some(self.cells)
    }
}

/// Puts text behind a cell, as far as cells are read.
fn add(cell: &mut String, text: &str) {
    let room = LONGEST_CELL.saturating_sub(cell.len());
    let end = (0..=room.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at));
    cell.push_str(&text[..end.unwrap_or(0)]);
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
        reason,
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
        reason: truncate(reason),
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
    /// Three jobs of a user who may run one at a time.
    const REASONS: &str = include_str!("captures/22.05/reasons.txt");

    /// The first capture is of before the reason was asked for: each of its rows gets an empty one.
    fn captured() -> String {
        let begins = |line: &str| {
            line.split_once("@X@")
                .is_some_and(|(id, _)| id.parse::<u64>().is_ok())
        };
        let mut text = String::new();
        for (n, line) in CAPTURE.lines().enumerate() {
            text.push_str(match (n, begins(line)) {
                (0, _) => "",
                (_, true) => "@X@\n",
                (_, false) => "\n",
            });
            text.push_str(line);
        }
        text + "@X@\n"
    }

    fn parse(text: &str, delimiter: &str) -> Vec<Row> {
        let mut reader = Reader::new(delimiter);
        let mut rows: Vec<Vec<String>> = text.lines().filter_map(|l| reader.line(l)).collect();
        rows.extend(reader.end());
        rows.into_iter().filter_map(row).collect()
    }

    #[test]
    fn the_reason_of_a_wait_is_told() {
        let rows = parse(REASONS, "@X@");
        let brief: Vec<_> = rows
            .iter()
            .map(|r| (r.job.start - r.job.submit, r.reason.as_str()))
            .collect();
        let expected = [
            (1, "None"),
            (4, "AssocMaxJobsLimit"),
            (8, "AssocMaxJobsLimit"),
        ];
        assert_eq!(brief, expected);
    }

    #[test]
    fn a_cell_of_a_megabyte_costs_its_own_row_no_more_than_its_end() {
        let captured = captured();
        let first = captured.lines().next().unwrap();
        let long = first.replace("tagged", &"x".repeat(1 << 20));
        let rows = parse(&format!("{long}\n{first}\n"), "@X@");
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].job.name.len(), rows[1].job.name.as_str()),
            (TEXT, "tagged")
        );
    }

    #[test]
    fn rows_of_a_real_cluster_are_read() {
        let rows = parse(&captured(), "@X@");
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
        let rows = parse(&captured(), "@X@");
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
        let captured = captured();
        let first = captured.lines().next().unwrap();
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
