//! Jobs under an advice that did not start: those that wait for a limit now, and those that were
//! cancelled before they began. The honest price of advice.

use std::collections::{BTreeMap, BTreeSet};

use model_store::job_request::advice_in_comment;
use model_store::store::{AccountedJob, Unstarted, UnstartedKind};

use crate::slurm::accounting::{self, Row, Stage, delimiter};
use crate::slurm::command;

/// Beginnings of Slurm's reasons for which a job waits although GPUs may be free.
const LIMITS: [&str; 7] = [
    "Assoc",
    "QOS",
    "ReqNodeNotAvail",
    "Reservation",
    "Partition",
    "BadConstraints",
    "NodeDown",
];

/// A job that is submitted again within this, s, stands for the one that was cancelled.
const AGAIN_S: i64 = 900;

/// True for a reason that has nothing to do with who else waits.
pub(crate) fn is_limit(reason: &str) -> bool {
    let bare = reason.trim_start_matches('(');
    LIMITS.iter().any(|limit| bare.starts_with(limit))
}

/// The advised jobs that wait for a limit now. A queue that cannot be asked tells of none.
pub(super) fn waiting(now: i64) -> Vec<Unstarted> {
    // A comment may hold line ends, and what stands behind one is no row.
    let mark = delimiter();
    let format = format!("{mark}%A|%r|%k");
    let all = ["-a", "-h", "-t", "PENDING", "-o", &format];
    let text = command::output("squeue", &all).unwrap_or_default();
    limited(&text, &mark, now)
}

fn limited(text: &str, mark: &str, now: i64) -> Vec<Unstarted> {
    let one = |line: &str| {
        let mut cells = line.strip_prefix(mark)?.splitn(3, '|');
        let (id, reason, comment) = (cells.next()?, cells.next()?, cells.next()?);
        advice_in_comment(comment)?;
        is_limit(reason).then_some(Unstarted {
            job_id: id.trim().parse().ok()?,
            kind: UnstartedKind::Limited,
            reason: reason.to_owned(),
            seen_at: now,
        })
    };
    text.lines().filter_map(one).collect()
}

/// Most users in a call whose later jobs are asked for.
const MOST_USERS: usize = 32;

/// When an advised job was given up before it began.
fn given_up(row: &Row) -> Option<i64> {
    let is_given_up = row.stage == Stage::NeverRan && row.job.state == "CANCELLED";
    let is_advised = row.job.advice_id.is_some();
    row.job.ended.filter(|_| is_given_up && is_advised)
}

/// What those who gave up an advised job have submitted without one since: it may wait or run yet. An
/// answer that fails tells of nothing.
pub(super) fn again_of(rows: &[Row], now: i64) -> Vec<Row> {
    let mut users: BTreeMap<&str, i64> = BTreeMap::new();
    for row in rows.iter().filter(|row| given_up(row).is_some()) {
        let first = users.entry(&row.job.user).or_insert(row.job.submit);
        *first = row.job.submit.min(*first);
    }
    let recent = |(user, first): (&str, i64)| {
        let asked = accounting::unadvised_of(user, now.saturating_sub(first));
        asked.unwrap_or_default()
    };
    users
        .into_iter()
        .take(MOST_USERS)
        .flat_map(recent)
        .collect()
}

/// The advised jobs of these rows that were cancelled while they waited, and which of them came again
/// without a tag: the same user's next job of that name, among these rows or those of `since`.
pub(super) fn cancelled(rows: &[Row], since: &[Row]) -> Vec<Unstarted> {
    let plain = Plain::of(rows.iter().chain(since));
    let mut out = Vec::new();
    for row in rows {
        let job = &row.job;
        let Some(ended) = given_up(row) else {
            continue;
        };
        let of = |kind| Unstarted {
            job_id: job.job_id,
            kind,
            reason: String::new(),
            seen_at: ended,
        };
        out.push(of(UnstartedKind::Cancelled));
        if plain.has_within(job, ended.saturating_add(AGAIN_S)) {
            out.push(of(UnstartedKind::Resubmitted));
        }
    }
    out
}

/// When jobs without an advice were submitted, and their numbers, by user and name.
struct Plain<'a>(BTreeMap<(&'a str, &'a str), BTreeSet<(i64, u64)>>);

impl<'a> Plain<'a> {
    fn of(rows: impl Iterator<Item = &'a Row>) -> Self {
        let mut all: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for job in rows.map(|row| &row.job).filter(|j| j.advice_id.is_none()) {
            let of_name = all.entry((job.user.as_str(), job.name.as_str()));
            of_name.or_default().insert((job.submit, job.job_id));
        }
        Self(all)
    }

    /// Whether one of the same user and name was submitted after `job` and no later than `until`.
    fn has_within(&self, job: &AccountedJob, until: i64) -> bool {
        let of_name = self.0.get(&(job.user.as_str(), job.name.as_str()));
        let begin = (job.submit, 0);
        let later = of_name.into_iter().flat_map(|all| all.range(begin..));
        let mut soon = later.take_while(|(submit, _)| *submit <= until);
        soon.any(|(_, id)| *id != job.job_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_that_wait_the_limited_ones_count() {
        let text = "@7|QOSMaxGRESPerUser|omnipilot:7f3a91aa\n@8|Priority|omnipilot:7f3a91aa\n@9|QOSMaxGRESPerUser|mine\nx\n\
                    11|QOSMaxGRESPerUser|omnipilot:7f3a91aa\n@10|(ReqNodeNotAvail, UnavailableNodes:h2)|a|b omnipilot:7f3a91aa\n";
        let ids: Vec<u64> = limited(text, "@", 5).iter().map(|u| u.job_id).collect();
        assert_eq!(ids, [7, 10]);
    }

    #[test]
    fn a_job_that_was_given_up_and_came_again_counts_as_both() {
        let row = |job_id, advice: Option<&str>, submit, stage, state: &str| Row {
            job: AccountedJob {
                job_id,
                user: "alice".into(),
                name: "serve".into(),
                advice_id: advice.map(str::to_owned),
                submit,
                ended: Some(submit + 100),
                state: state.into(),
                ..AccountedJob::default()
            },
            stage,
            submit_line: String::new(),
            reason: String::new(),
        };
        let given_up = row(1, Some("7f3a91aa"), 1000, Stage::NeverRan, "CANCELLED");
        let told = |rows: &[Row], since: &[Row]| {
            let all = cancelled(rows, since);
            all.iter().map(|u| u.kind).collect::<Vec<_>>()
        };
        let kinds = |rows: &[Row]| told(rows, &[]);
        let runs = row(2, None, 1200, Stage::Running, "RUNNING");
        let soon = row(2, None, 1200, Stage::Over, "COMPLETED");
        let late = row(2, None, 9000, Stage::Over, "COMPLETED");
        assert_eq!(
            kinds(&[given_up.clone(), soon]),
            [UnstartedKind::Cancelled, UnstartedKind::Resubmitted]
        );
        assert_eq!(
            told(std::slice::from_ref(&given_up), &[runs]),
            [UnstartedKind::Cancelled, UnstartedKind::Resubmitted]
        );
        assert_eq!(kinds(&[given_up, late]), [UnstartedKind::Cancelled]);
        let ran = row(1, Some("7f3a91aa"), 1000, Stage::Over, "CANCELLED");
        assert_eq!(kinds(&[ran]), []);
    }
}
