//! What a choice of the past is put together from: who submitted a job when, and what the cluster
//! was then.

use rusqlite::{OptionalExtension, params};

use super::{Store, StoreError};
use crate::advisor::ClusterState;

/// Who submitted a job, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedJob {
    /// Name of the cluster.
    pub cluster: String,
    /// Job id.
    pub job_id: u64,
    /// Unix seconds at which it was submitted.
    pub submit: i64,
    /// User's name.
    pub user: String,
}

impl Store {
    /// The jobs whose outcomes are here, by cluster, id and time.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn submitted_jobs(&self) -> Result<Vec<SubmittedJob>, StoreError> {
        let read = || -> rusqlite::Result<Vec<SubmittedJob>> {
            let sql = "SELECT cluster, job_id, min(submit), user FROM jobs GROUP BY cluster, job_id ORDER BY 1, 2";
            let mut statement = self.db.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(SubmittedJob {
                    cluster: row.get(0)?,
                    job_id: row.get(1)?,
                    submit: row.get(2)?,
                    user: row.get(3)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.wrap(e))
    }

    /// The last observation of the cluster that was made at or before a time; `None` where there
    /// is none.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn cluster_before(&self, at: i64) -> Result<Option<ClusterState>, StoreError> {
        let sql = "SELECT id FROM observations WHERE observed_at <= ? ORDER BY observed_at DESC, id DESC LIMIT 1";
        let id: Option<i64> = self
            .db
            .query_row(sql, params![at], |row| row.get(0))
            .optional()
            .map_err(|e| self.wrap(e))?;
        id.map_or(Ok(None), |id| {
            self.observation(Some(id)).map_err(|e| self.wrap(e))
        })
    }
}
