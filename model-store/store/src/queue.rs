//! How long jobs with GPUs waited, and what was served without a tag.

use rusqlite::{Row, Transaction, params};

use super::ingest::save_job;
use super::{AccountedJob, Store, StoreError};

/// Waits that are kept: the latest so many.
const MOST_WAITS: i64 = 200_000;
/// Untagged serving jobs that are kept: the latest so many.
const MOST_DEMAND: i64 = 200_000;

/// Stretches of accounting that could not be read: the latest so many.
const MOST_GAPS: i64 = 1000;

/// A stretch of accounting that could not be read. Times are Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountingGap {
    /// From when.
    pub since: i64,
    /// To when.
    pub until: i64,
    /// Why, in one line.
    pub reason: String,
    /// When it was given up.
    pub noted_at: i64,
}

/// How long one job waited from when it could have begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// Name of the cluster.
    pub cluster: String,
    /// Job id; for an array task its own.
    pub job_id: u64,
    /// From when on it could have begun, Unix seconds.
    pub eligible: i64,
    /// Seconds until it began.
    pub wait_s: u64,
    /// GPU type, lower case.
    pub gres: String,
    /// GPUs.
    pub gpus: u32,
    /// GPUs of the type that other jobs waited for at the last observation before it; `None`
    /// where the cluster had not been observed within an hour.
    pub backlog: Option<u32>,
    /// Whose job it was; `None` where the store was written before this was kept.
    pub uid: Option<u32>,
}

/// A job that served a model without a tag: demand, but no measurement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// What accounting says of it.
    pub job: AccountedJob,
    /// Engine that its name or submit line tells of.
    pub engine: String,
    /// Model as the submit line names it; empty where it does not.
    pub model: String,
}

impl Store {
    /// Keeps what one look at accounting brought, and how far it went, in one transaction. What is
    /// there already is brought up to date.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn save_accounting(
        &mut self,
        jobs: &[AccountedJob],
        waits: &[Wait],
        demand: &[Demand],
        (name, read_to): (&str, i64),
    ) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.write(|tx| {
            let keep = || -> rusqlite::Result<()> {
                for job in jobs {
                    save_job(tx, job)?;
                }
                waits.iter().try_for_each(|wait| save_wait(tx, wait))?;
                demand.iter().try_for_each(|d| save_demand(tx, d))?;
                prune(tx, "waits", "eligible", MOST_WAITS)?;
                prune(tx, "demand", "submit", MOST_DEMAND)?;
                // Two calls at once leave the later moment; one of a clock that was wrong is no later one.
                let sql = "INSERT INTO watermarks (name, at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE \
                           SET at = CASE WHEN at > unixepoch() + 300 THEN excluded.at ELSE max(at, excluded.at) END";
                tx.execute(sql, params![name, read_to]).map(|_| ())
            };
            keep().map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// Remembers when accounting was asked last, whether or not it answered.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn asked_accounting(&mut self, name: &str, at: i64) -> Result<(), StoreError> {
        let sql = "INSERT INTO watermarks (name, at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at";
        let path = self.path.clone();
        self.write(|tx| {
            tx.execute(sql, params![name, at])
                .map(|_| ())
                .map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// Remembers a stretch of accounting that could not be read and is not asked for again.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn passed_over(&mut self, gap: &AccountingGap) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.write(|tx| {
            let keep = || -> rusqlite::Result<()> {
                let sql = "INSERT INTO accounting_gaps (since, until, reason, noted_at) VALUES (?, ?, ?, ?)";
                tx.execute(
                    sql,
                    params![gap.since, gap.until, gap.reason, gap.noted_at],
                )?;
                prune(tx, "accounting_gaps", "noted_at", MOST_GAPS)
            };
            keep().map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// The stretches of accounting that were passed over, oldest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn accounting_gaps(&self) -> Result<Vec<AccountingGap>, StoreError> {
        let sql = "SELECT since, until, reason, noted_at FROM accounting_gaps \
                   WHERE noted_at >= ? ORDER BY noted_at, since";
        self.list(sql, i64::MIN, |row| {
            Ok(AccountingGap {
                since: row.get(0)?,
                until: row.get(1)?,
                reason: row.get(2)?,
                noted_at: row.get(3)?,
            })
        })
    }

    /// The waits of jobs that could have begun since then (Unix seconds), oldest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn waits(&self, since: i64) -> Result<Vec<Wait>, StoreError> {
        let sql = "SELECT cluster, job_id, eligible, wait_s, gres, gpus, backlog, uid FROM waits \
                   WHERE eligible >= ? ORDER BY eligible, cluster, job_id";
        self.list(sql, since, read_wait)
    }

    /// Untagged serving jobs that were submitted since then (Unix seconds), oldest first. Of the
    /// job only what demand is made of is filled in.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn demand(&self, since: i64) -> Result<Vec<Demand>, StoreError> {
        let sql = "SELECT engine, model, gres, gpus, elapsed_s, cluster, job_id, submit, ended, uid, state \
                   FROM demand WHERE submit >= ? ORDER BY submit, cluster, job_id";
        self.list(sql, since, |row| {
            let job = AccountedJob {
                gpus: vec![(row.get(2)?, row.get(3)?)],
                elapsed_s: row.get(4)?,
                cluster: row.get(5)?,
                job_id: row.get(6)?,
                submit: row.get(7)?,
                ended: row.get(8)?,
                uid: row.get(9)?,
                state: row.get(10)?,
                ..AccountedJob::default()
            };
            Ok(Demand {
                job,
                engine: row.get(0)?,
                model: row.get(1)?,
            })
        })
    }

    /// GPUs of this type that jobs waited for at the last observation in the hour before.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn backlog_at(&self, gres: &str, at: i64) -> Result<Option<u32>, StoreError> {
        let sql = "SELECT p.pending FROM observations o JOIN pools p ON p.observation = o.id \
                   WHERE o.observed_at BETWEEN ?1 - 3600 AND ?1 AND p.gres = ?2 COLLATE NOCASE \
                   ORDER BY o.observed_at DESC LIMIT 1";
        let read = || -> rusqlite::Result<Option<u32>> {
            let mut statement = self.db.prepare_cached(sql)?;
            let mut rows = statement.query(params![at, gres])?;
            rows.next()?.map(|row| row.get(0)).transpose()
        };
        read().map_err(|e| self.wrap(e))
    }

    /// The latest moment in this time (Unix seconds) at which all GPUs of the type were seen idle: whatever a job waited for then, it was
    /// not for one of them.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn all_idle_in(&self, gres: &str, from: i64, to: i64) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT max(o.observed_at) FROM observations o JOIN pools p ON p.observation = o.id \
                   WHERE o.observed_at BETWEEN ? AND ? AND p.gres = ? AND p.total > 0 AND p.free = p.total";
        let read = || {
            self.db
                .prepare_cached(sql)?
                .query_row(params![from, to, gres], |row| row.get(0))
        };
        read().map_err(|e| self.wrap(e))
    }

    fn list<T>(
        &self,
        sql: &str,
        since: i64,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.db.prepare_cached(sql).map_err(|e| self.wrap(e))?;
        let rows = statement
            .query_map([since], read)
            .map_err(|e| self.wrap(e))?;
        rows.collect::<rusqlite::Result<_>>()
            .map_err(|e| self.wrap(e))
    }
}

fn read_wait(row: &Row<'_>) -> rusqlite::Result<Wait> {
    Ok(Wait {
        cluster: row.get(0)?,
        job_id: row.get(1)?,
        eligible: row.get(2)?,
        wait_s: row.get(3)?,
        gres: row.get(4)?,
        gpus: row.get(5)?,
        backlog: row.get(6)?,
        uid: row.get(7)?,
    })
}

fn save_wait(tx: &Transaction<'_>, wait: &Wait) -> rusqlite::Result<()> {
    let sql = "INSERT INTO waits (cluster, job_id, eligible, wait_s, gres, gpus, backlog, uid) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (cluster, job_id, eligible) DO NOTHING";
    let Wait {
        cluster,
        job_id,
        eligible,
        wait_s,
        gres,
        gpus,
        backlog,
        uid,
    } = wait;
    tx.prepare_cached(sql)?
        .execute(params![
            cluster, job_id, eligible, wait_s, gres, gpus, backlog, uid
        ])
        .map(|_| ())
}

fn save_demand(tx: &Transaction<'_>, demand: &Demand) -> rusqlite::Result<()> {
    let sql = "INSERT INTO demand (cluster, job_id, submit, ended, uid, engine, model, gres, gpus, \
               elapsed_s, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
               ON CONFLICT (cluster, job_id, submit) DO UPDATE SET ended = excluded.ended, \
               elapsed_s = excluded.elapsed_s, state = excluded.state";
    let j = &demand.job;
    let (gres, gpus) = j
        .gpus
        .first()
        .map_or(("", 0), |(gres, count)| (gres.as_str(), *count));
    let values = params![
        j.cluster,
        j.job_id,
        j.submit,
        j.ended.unwrap_or(j.start),
        j.uid,
        demand.engine,
        demand.model,
        gres,
        gpus,
        j.elapsed_s,
        j.state
    ];
    tx.prepare_cached(sql)?.execute(values).map(|_| ())
}

/// Drops the oldest rows beyond the latest `most`.
fn prune(tx: &Transaction<'_>, table: &str, time: &str, most: i64) -> rusqlite::Result<()> {
    let sql = format!(
        "DELETE FROM {table} WHERE {time} < (SELECT {time} FROM {table} ORDER BY {time} DESC LIMIT 1 OFFSET ?)"
    );
    tx.execute(&sql, [most]).map(|_| ())
}
