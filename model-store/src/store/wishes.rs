//! Requests that had no answer, and the probes that were submitted for them.

use rusqlite::params;

use super::{Store, StoreError};

/// Most wishes of one user that are kept.
const MOST_OF_A_USER: i64 = 200;

/// Why there was no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WishWhy {
    /// Refused: outside what was measured.
    Refused,
    /// Submitted as written, to be learnt from.
    Explored,
}

impl WishWhy {
    /// Name in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Explored => "explored",
        }
    }
}

/// One request that had no answer, over all users who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What makes two wishes one: a hash of the request.
    pub key: String,
    /// The request, JSON.
    pub request: String,
    /// Users who made it.
    pub users: u32,
    /// How often it was made.
    pub asked: u32,
    /// When it was made last, Unix seconds.
    pub last_at: i64,
}

/// A probe that was submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// [`Wish::key`] that it is to answer.
    pub key: String,
    /// Slurm GPU type.
    pub gres: String,
    /// Tensor-parallel degree.
    pub tp: u32,
    /// Weight format.
    pub precision: String,
    /// GPU-hours that it may take.
    pub gpu_hours: f64,
    /// Job id, or array task as in `4711_2`.
    pub job: String,
    /// When it was submitted, Unix seconds.
    pub submitted_at: i64,
}

impl Store {
    /// Keeps a wish of a user; made again, it counts again. Of one user the latest 200 are kept.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn wish(
        &mut self,
        key: &str,
        uid: u32,
        request: &str,
        why: WishWhy,
        at: i64,
    ) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.write(|tx| {
            let keep = || -> rusqlite::Result<()> {
                let sql = "INSERT INTO wishes (key, uid, request, why, asked, first_at, last_at) \
                           VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5) ON CONFLICT (key, uid) DO UPDATE \
                           SET asked = asked + (?5 > last_at), why = excluded.why, last_at = max(last_at, ?5)";
                tx.execute(sql, params![key, uid, request, why.name(), at])?;
                let sql = "DELETE FROM wishes WHERE uid = ?1 AND key NOT IN (SELECT key FROM wishes \
                           WHERE uid = ?1 ORDER BY last_at DESC, key LIMIT ?2)";
                tx.execute(sql, params![uid, MOST_OF_A_USER]).map(|_| ())
            };
            keep().map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// The wishes since then (Unix seconds), by how many users made them, then how often.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn wishes(&self, since: i64) -> Result<Vec<Wish>, StoreError> {
        let sql = "SELECT key, max(request), count(*), sum(asked), max(last_at) FROM wishes \
                   WHERE last_at >= ? GROUP BY key ORDER BY 3 DESC, 4 DESC, key";
        let read = || -> rusqlite::Result<Vec<Wish>> {
            let mut statement = self.db.prepare(sql)?;
            let rows = statement.query_map([since], |row| {
                Ok(Wish {
                    key: row.get(0)?,
                    request: row.get(1)?,
                    users: row.get(2)?,
                    asked: row.get(3)?,
                    last_at: row.get(4)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.wrap(e))
    }

    /// Records probes that were submitted.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn record_probes(&mut self, probes: &[Probe]) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.write(|tx| {
            let sql = "INSERT INTO probes (key, gres, tp, precision, gpu_hours, job, submitted_at) \
                       VALUES (?, ?, ?, ?, ?, ?, ?)";
            let keep = |p: &Probe| -> rusqlite::Result<()> {
                let values = params![
                    p.key,
                    p.gres,
                    p.tp,
                    p.precision,
                    p.gpu_hours,
                    p.job,
                    p.submitted_at
                ];
                tx.prepare_cached(sql)?.execute(values).map(|_| ())
            };
            probes
                .iter()
                .try_for_each(keep)
                .map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// The probes that were submitted since then (Unix seconds), oldest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn probes(&self, since: i64) -> Result<Vec<Probe>, StoreError> {
        let sql = "SELECT key, gres, tp, precision, gpu_hours, job, submitted_at FROM probes \
                   WHERE submitted_at >= ? ORDER BY id";
        let read = || -> rusqlite::Result<Vec<Probe>> {
            let mut statement = self.db.prepare(sql)?;
            let rows = statement.query_map([since], |row| {
                Ok(Probe {
                    key: row.get(0)?,
                    gres: row.get(1)?,
                    tp: row.get(2)?,
                    precision: row.get(3)?,
                    gpu_hours: row.get(4)?,
                    job: row.get(5)?,
                    submitted_at: row.get(6)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.wrap(e))
    }
}
