//! How much of what the store holds: counts for dashboards.

use super::{Store, StoreError};

/// Counts by name, sorted.
pub type Counts = Vec<(String, u64)>;

/// What came of advice, and what had none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Ended jobs that were submitted under an advice, by Slurm's state.
    pub advised: Counts,
    /// Requests that had no advice or were not to follow one, by why.
    pub wishes: Counts,
    /// Starts of engines on this cluster, by outcome.
    pub starts: Counts,
    /// Jobs that served a model without a tag.
    pub untagged: u64,
    /// Files in the spool that were refused.
    pub quarantined: u64,
}

impl Store {
    /// Counts what is kept now: old wishes, untagged jobs and refused files have gone.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn tally(&self) -> Result<Tally, StoreError> {
        Ok(Tally {
            advised: self.counted(
                "SELECT state, count(*) FROM jobs WHERE advice_id IS NOT NULL GROUP BY 1 ORDER BY 1",
            )?,
            wishes: self.counted("SELECT why, sum(asked) FROM wishes GROUP BY 1 ORDER BY 1")?,
            starts: self.counted(
                "SELECT outcome, count(DISTINCT job) FROM runs WHERE job IS NOT NULL GROUP BY 1 ORDER BY 1",
            )?,
            untagged: self.one("SELECT count(*) FROM demand")?,
            quarantined: self.one("SELECT count(*) FROM quarantine")?,
        })
    }

    fn counted(&self, sql: &str) -> Result<Counts, StoreError> {
        let read = || -> rusqlite::Result<Counts> {
            let mut statement = self.db.prepare(sql)?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        };
        read().map_err(|e| self.wrap(e))
    }

    fn one(&self, sql: &str) -> Result<u64, StoreError> {
        self.db
            .query_row(sql, [], |row| row.get(0))
            .map_err(|e| self.wrap(e))
    }
}
