//! Jobs under an advice that did not start as others do: what advice costs.

use rusqlite::params;

use super::{Store, StoreError};

/// How an advised job did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnstartedKind {
    /// It waited for a limit, a node that is down or a reservation.
    Limited,
    /// It was cancelled while it waited.
    Cancelled,
    /// Its user submitted it again without a tag, minutes later.
    Resubmitted,
}

impl UnstartedKind {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 3] = [Self::Limited, Self::Cancelled, Self::Resubmitted];

    /// Name in the store and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limited => "limited",
            Self::Cancelled => "cancelled",
            Self::Resubmitted => "resubmitted",
        }
    }

    /// What is told of so many jobs.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Limited => "waited for a limit, a node that was down or a reservation",
            Self::Cancelled => "were cancelled while they waited",
            Self::Resubmitted => "were submitted again without a tag within minutes",
        }
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstarted {
    /// Job id.
    pub job_id: u64,
    /// How it did not start.
    pub kind: UnstartedKind,
    /// Slurm's reason, where it gave one.
    pub reason: String,
    /// Unix seconds.
    pub seen_at: i64,
}

impl Store {
    /// Keeps these, each job once a kind; says how many are new.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn save_unstarted(&mut self, all: &[Unstarted]) -> Result<usize, StoreError> {
        let path = self.path.clone();
        self.write(|tx| {
            let keep = || -> rusqlite::Result<usize> {
                let sql = "INSERT OR IGNORE INTO unstarted (job_id, kind, reason, seen_at) VALUES (?, ?, ?, ?)";
                let mut statement = tx.prepare_cached(sql)?;
                let mut new = 0;
                for job in all {
                    new += statement.execute(params![job.job_id, job.kind.name(), job.reason, job.seen_at])?;
                }
                Ok(new)
            };
            keep().map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// How many jobs there are of each kind.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn unstarted(&self) -> Result<[(UnstartedKind, u64); 3], StoreError> {
        let mut out = UnstartedKind::ALL.map(|kind| (kind, 0));
        for (kind, count) in &mut out {
            let sql = "SELECT count(*) FROM unstarted WHERE kind = ?";
            let found = self.db.query_row(sql, [kind.name()], |row| row.get(0));
            *count = found.map_err(|e| self.wrap(e))?;
        }
        Ok(out)
    }
}
