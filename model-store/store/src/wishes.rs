//! Requests that had no answer, and the probes that were submitted for them.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::params;

use super::{Store, StoreError};
use crate::advisor::WishWhy;

/// Most wishes of one user that are kept.
const MOST_OF_A_USER: i64 = 200;
/// A wish within so many seconds of the last one is the same: a file and accounting may both tell of it.
const SAME_S: i64 = 60;

/// Past requests that are given.
const MOST_PAST: usize = 2000;

/// Loads to half an octave: what a window measured never is the same number twice.
#[allow(clippy::cast_possible_truncation)] // at most 2 x 1024
fn half_octaves(x: Option<f64>) -> Option<i32> {
    x.map(|x| (2.0 * x.max(1.0).log2()).round() as i32)
}

/// A wish that comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewWish {
    /// What makes two wishes one: a hash of the request.
    pub key: String,
    /// Numeric id of the user who made it.
    pub uid: u32,
    /// The request: `--llm-*` options as a JSON object.
    pub request: String,
    /// Why it had no answer.
    pub why: WishWhy,
    /// When, Unix seconds.
    pub at: i64,
}

/// One request that had no answer, over all users who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// [`NewWish::key`].
    pub key: String,
    /// The request: `--llm-*` options as a JSON object.
    pub request: String,
    /// How often each user made it, by numeric id.
    pub asked: BTreeMap<u32, u32>,
    /// When it was made last, Unix seconds.
    pub last_at: i64,
}

/// A probe that was submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Key of the request that it is to answer first.
    pub key: String,
    /// That request: `--llm-*` options as a JSON object.
    pub request: String,
    /// Slurm GPU type.
    pub gres: String,
    /// Tensor-parallel degree.
    pub tp: u32,
    /// Weight format.
    pub precision: String,
    /// GPU-hours that it may take.
    pub gpu_hours: f64,
    /// Array task as in `4711_2`; `NAME_2` with the array's name while Slurm has not said which job it became.
    pub job: String,
    /// When it was submitted, Unix seconds.
    pub submitted_at: i64,
}

/// A load that jobs of one user served.
#[derive(Clone, Debug, PartialEq)]
pub struct PastRequest {
    /// Model as the user named it.
    pub model: String,
    /// Input tokens of a request; this and the next two to half an octave.
    pub isl: Option<f64>,
    /// Output tokens of a request.
    pub osl: Option<f64>,
    /// Requests in flight.
    pub concurrency: Option<f64>,
    /// The user's numeric id.
    pub uid: u32,
    /// How many jobs.
    pub jobs: u32,
}

impl Store {
    /// Keeps wishes, all or none; one that is made again counts again. Of one user the latest 200 are kept.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn wish(&mut self, wishes: &[NewWish]) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.write(|tx| {
            let keep = || -> rusqlite::Result<()> {
                let sql = "INSERT INTO wishes (key, uid, request, why, asked, first_at, last_at) \
                           VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5) ON CONFLICT (key, uid) DO UPDATE \
                           SET asked = asked + (?5 > last_at + ?6), why = excluded.why, last_at = max(last_at, ?5)";
                let mut insert = tx.prepare_cached(sql)?;
                for w in wishes {
                    insert.execute(params![w.key, w.uid, w.request, w.why.name(), w.at, SAME_S])?;
                }
                let sql = "DELETE FROM wishes WHERE uid = ?1 AND key NOT IN (SELECT key FROM wishes \
                           WHERE uid = ?1 ORDER BY last_at DESC, key LIMIT ?2)";
                let mut prune = tx.prepare_cached(sql)?;
                let users: std::collections::BTreeSet<u32> = wishes.iter().map(|w| w.uid).collect();
                for uid in users {
                    prune.execute(params![uid, MOST_OF_A_USER])?;
                }
                Ok(())
            };
            keep().map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// The wishes since then (Unix seconds), by key.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn wishes(&self, since: i64) -> Result<Vec<Wish>, StoreError> {
        let sql = "SELECT key, request, last_at, uid, asked FROM wishes WHERE last_at >= ? ORDER BY key, uid";
        let read = || -> rusqlite::Result<Vec<Wish>> {
            let mut statement = self.db.prepare(sql)?;
            let mut rows = statement.query([since])?;
            let mut out: Vec<Wish> = Vec::new();
            while let Some(row) = rows.next()? {
                let (key, last_at, of): (String, i64, (u32, u32)) =
                    (row.get(0)?, row.get(2)?, (row.get(3)?, row.get(4)?));
                match out.last_mut().filter(|w| w.key == key) {
                    Some(wish) => {
                        wish.asked.extend([of]);
                        wish.last_at = wish.last_at.max(last_at);
                    }
                    None => out.push(Wish {
                        key,
                        request: row.get(1)?,
                        asked: BTreeMap::from([of]),
                        last_at,
                    }),
                }
            }
            Ok(out)
        };
        read().map_err(|e| self.wrap(e))
    }

    /// Records probes that are about to be submitted, but for those that were submitted since `since` (Unix seconds), by another command
    /// a moment ago perhaps. Gives those that were recorded.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn record_probes(
        &mut self,
        probes: &[Probe],
        since: i64,
    ) -> Result<Vec<Probe>, StoreError> {
        let path = self.path.clone();
        self.write(|tx| {
            let sql = "INSERT INTO probes (key, request, gres, tp, precision, gpu_hours, job, submitted_at) \
                       SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE NOT EXISTS (SELECT 1 FROM probes \
                       WHERE key = ?1 AND gres = ?3 AND tp = ?4 AND precision = ?5 AND submitted_at >= ?9)";
            let keep = |p: &Probe| -> rusqlite::Result<bool> {
                let values = params![
                    p.key,
                    p.request,
                    p.gres,
                    p.tp,
                    p.precision,
                    p.gpu_hours,
                    p.job,
                    p.submitted_at,
                    since
                ];
                tx.prepare_cached(sql)?.execute(values).map(|rows| rows > 0)
            };
            let mut kept = Vec::new();
            for probe in probes {
                if keep(probe).map_err(|e| StoreError::from_sqlite(&path, e))? {
                    kept.push(probe.clone());
                }
            }
            Ok(kept)
        })
    }

    /// The array that was recorded under a name has become this job; without a job it was not submitted, and is forgotten.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn settle_probes(&mut self, name: &str, job: Option<u64>) -> Result<(), StoreError> {
        let path = self.path.clone();
        let of_array = "job GLOB ?1 || '_[0-9]*'";
        self.write(|tx| {
            let done = match job {
                Some(id) => tx.execute(
                    &format!(
                        "UPDATE probes SET job = ?2 || substr(job, length(?1) + 1) WHERE {of_array}"
                    ),
                    params![name, id.to_string()],
                ),
                None => tx.execute(
                    &format!("DELETE FROM probes WHERE {of_array}"),
                    params![name],
                ),
            };
            done.map(|_| ())
                .map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// What this cluster's jobs served since then (Unix seconds): each load of each user's with the number of his jobs, the most frequent 2,000.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn past_requests(&self, since: i64) -> Result<Vec<PastRequest>, StoreError> {
        type Key = (String, [Option<i32>; 3], u32);
        let sql = "SELECT r.model, r.isl, r.osl, r.concurrency, j.uid, j.id FROM runs r \
                   JOIN jobs j ON j.id = r.job WHERE j.ended >= ? AND j.uid IS NOT NULL";
        let read = || -> rusqlite::Result<HashMap<Key, HashSet<i64>>> {
            let mut jobs: HashMap<Key, HashSet<i64>> = HashMap::new();
            let mut statement = self.db.prepare(sql)?;
            let mut rows = statement.query([since])?;
            while let Some(row) = rows.next()? {
                let load = [row.get(1)?, row.get(2)?, row.get(3)?].map(half_octaves);
                let key = (row.get(0)?, load, row.get(4)?);
                jobs.entry(key).or_default().insert(row.get(5)?);
            }
            Ok(jobs)
        };
        let jobs = read().map_err(|e| self.wrap(e))?;
        let mut all: Vec<(Key, u32)> = jobs
            .into_iter()
            .map(|(key, jobs)| (key, u32::try_from(jobs.len()).unwrap_or(u32::MAX)))
            .collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(MOST_PAST);
        let one = |((model, load, uid), jobs): (Key, u32)| {
            let [isl, osl, concurrency] =
                load.map(|x| x.map(|x| (f64::from(x) / 2.0).exp2().round()));
            PastRequest {
                model,
                isl,
                osl,
                concurrency,
                uid,
                jobs,
            }
        };
        Ok(all.into_iter().map(one).collect())
    }

    /// The probes that were submitted since then (Unix seconds), oldest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn probes(&self, since: i64) -> Result<Vec<Probe>, StoreError> {
        let sql = "SELECT key, request, gres, tp, precision, gpu_hours, job, submitted_at FROM probes \
                   WHERE submitted_at >= ? ORDER BY id";
        let read = || -> rusqlite::Result<Vec<Probe>> {
            let mut statement = self.db.prepare(sql)?;
            let rows = statement.query_map([since], |row| {
                Ok(Probe {
                    key: row.get(0)?,
                    request: row.get(1)?,
                    gres: row.get(2)?,
                    tp: row.get(3)?,
                    precision: row.get(4)?,
                    gpu_hours: row.get(5)?,
                    job: row.get(6)?,
                    submitted_at: row.get(7)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(|e| self.wrap(e))
    }
}
