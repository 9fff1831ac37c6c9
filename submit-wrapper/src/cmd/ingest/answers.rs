//! What accounting says of the jobs that outcome files name. Whoever writes files decides which jobs are asked for, and so how long an answer
//! takes: what one owner's files ask for may cost his own files the answer, and nobody else's.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::accounted::in_vain;
use crate::slurm::accounting::{self, Row};
use crate::slurm::command::CommandError;

/// Jobs of one question: `sacct` keeps an answer in memory, each row with a submit line and a comment of up to 64 KiB.
const QUESTION: usize = 512;
/// How long reading the files of one owner and asking for their jobs may take in one call; the rest waits for the next one.
const SECONDS: Duration = Duration::from_secs(10);

/// How much of a call's time each owner has had.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<BTreeMap<u32, Duration>>);

impl Ledger {
    /// Puts time down to an owner.
    pub(super) fn charge(&self, uid: u32, time: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let had = all.entry(uid).or_default();
        *had = had.saturating_add(time);
    }

    /// Whether an owner has had his share.
    pub(super) fn is_spent(&self, uid: u32) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&uid).is_some_and(|had| *had > SECONDS)
    }
}

/// What accounting said.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Rows of the jobs, in the order of their numbers.
    pub(super) rows: Vec<Row>,
    /// Whose jobs it said nothing of, because their answer was too long or took too long.
    pub(super) unanswered: HashSet<(u32, u64)>,
}

/// Asks for jobs, each with the owner of the file that names it.
///
/// # Errors
/// Accounting that answers nothing at all.
pub(super) fn of_jobs(mut asked: Vec<(u32, u64)>, ledger: &Ledger) -> anyhow::Result<Answers> {
    // By owner: the jobs that one of them names stand in few questions.
    asked.sort_unstable();
    asked.dedup();
    let mut answers = Answers::default();
    let accounting = Accounting {
        jobs: &accounting::jobs,
        in_vain: &in_vain,
    };
    for part in asked.chunks(QUESTION) {
        accounting.ask(part, ledger, &mut answers)?;
    }
    answers.rows.sort_by_key(|row| row.job.job_id);
    // Two owners may have named one job.
    answers.rows.dedup();
    Ok(answers)
}

/// Asks for these jobs.
type Question<'a> = &'a dyn Fn(&[u64]) -> Result<Vec<Row>, CommandError>;

/// Who is asked.
struct Accounting<'a> {
    jobs: Question<'a>,
    /// An error where nothing is answered at all.
    in_vain: &'a dyn Fn(&CommandError) -> anyhow::Result<()>,
}

impl Accounting<'_> {
    /// Asks for all of these at once; where that fails, for halves, of owners first and then of one owner's.
    fn ask(
        &self,
        part: &[(u32, u64)],
        ledger: &Ledger,
        answers: &mut Answers,
    ) -> anyhow::Result<()> {
        let (late, in_time): (Vec<_>, Vec<_>) =
            part.iter().partition(|(uid, _)| ledger.is_spent(*uid));
        answers.unanswered.extend(late);
        let (Some((first, _)), Some((last, _))) = (in_time.first(), in_time.last()) else {
            return Ok(());
        };
        let ids: Vec<u64> = in_time.iter().map(|(_, id)| *id).collect();
        let begun = Instant::now();
        let answer = (self.jobs)(&ids);
        if first == last {
            ledger.charge(*first, begun.elapsed());
        }
        let error = match answer {
            Ok(rows) => {
                answers.rows.extend(rows);
                return Ok(());
            }
            Err(error) => error,
        };
        (self.in_vain)(&error)?;
        if in_time.len() == 1 {
            answers.unanswered.extend(in_time);
            return Ok(());
        }
        let half = in_time.len() / 2;
        // Between two owners where there are two.
        let borders = in_time.windows(2).enumerate();
        let between = borders
            .filter(|(_, pair)| pair[0].0 != pair[1].0)
            .map(|(at, _)| at + 1)
            .min_by_key(|at| at.abs_diff(half));
        let (a, b) = in_time.split_at(between.unwrap_or(half));
        self.ask(a, ledger, answers)?;
        self.ask(b, ledger, answers)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn row(id: u64) -> Row {
        let job = model_store::store::AccountedJob {
            job_id: id,
            ..Default::default()
        };
        Row {
            job,
            stage: accounting::Stage::Over,
            submit_line: String::new(),
            reason: String::new(),
        }
    }

    #[test]
    fn a_job_whose_answer_is_too_long_costs_its_own_answer_alone() {
        let questions = RefCell::new(0);
        let jobs = |ids: &[u64]| {
            *questions.borrow_mut() += 1;
            match ids.contains(&13) {
                true => Err(CommandError::TooLong("sacct")),
                false => Ok(ids.iter().map(|id| row(*id)).collect()),
            }
        };
        let accounting = Accounting {
            jobs: &jobs,
            in_vain: &|_| Ok(()),
        };
        let asked: Vec<(u32, u64)> = (0..256).map(|id| (u32::from(id > 99), id)).collect();
        let mut answers = Answers::default();
        accounting
            .ask(&asked, &Ledger::default(), &mut answers)
            .unwrap();
        assert_eq!(answers.unanswered, HashSet::from([(0, 13)]));
        assert_eq!(answers.rows.len(), 255);
        assert!(*questions.borrow() < 20, "{questions:?}");
        // Where nothing is answered at all, nothing is taken for too long.
        let down = Accounting {
            jobs: &jobs,
            in_vain: &|error| Err(anyhow::anyhow!("{error}")),
        };
        let result = down.ask(&[(0, 13)], &Ledger::default(), &mut Answers::default());
        assert!(result.is_err());
    }

    #[test]
    fn an_owner_who_has_had_his_time_waits() {
        let ledger = Ledger::default();
        ledger.charge(1, SECONDS);
        assert!(!ledger.is_spent(1));
        ledger.charge(1, Duration::from_secs(1));
        assert!(ledger.is_spent(1) && !ledger.is_spent(2));
        let mut answers = Answers::default();
        let jobs = |ids: &[u64]| Ok(ids.iter().map(|id| row(*id)).collect());
        let accounting = Accounting {
            jobs: &jobs,
            in_vain: &|_| Ok(()),
        };
        accounting
            .ask(&[(1, 5), (2, 6)], &ledger, &mut answers)
            .unwrap();
        assert_eq!(answers.unanswered, HashSet::from([(1, 5)]));
        assert_eq!(answers.rows, [row(6)]);
    }
}
