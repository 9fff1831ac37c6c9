//! Outcome files that were taken, the accounting of their jobs, and what was refused.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use super::insert::{Inserter, check_numbers};
use super::{Store, StoreError, now};
use crate::advisor::Run;

/// Pages that an ingest may keep in memory, KiB: it writes to pages anywhere in four indexes, and what does not fit is written
/// more than once.
const CACHE: i64 = 256 << 10;
/// Most outcome files of one run of a job: one for each engine that the job starts.
const MOST_FILES: i64 = 64;
/// Most refused files that are remembered; the oldest go first.
const MOST_QUARANTINED: i64 = 10_000;

/// One run of a job as Slurm's accounting has it. Times are Unix seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountedJob {
    /// Name of the cluster.
    pub cluster: String,
    /// Job id; for an array task its own.
    pub job_id: u64,
    /// When it was submitted.
    pub submit: i64,
    /// From when on it could have begun; `None` where it never could, or was not told.
    pub eligible: Option<i64>,
    /// When this run of it began.
    pub start: i64,
    /// When this run of it ended.
    pub ended: Option<i64>,
    /// State, first word: `COMPLETED`, `FAILED`, `CANCELLED`, ...
    pub state: String,
    /// Exit code and signal, as in `0:9`.
    pub exit_code: String,
    /// Seconds that it ran.
    pub elapsed_s: u64,
    /// User's name.
    pub user: String,
    /// User's number.
    pub uid: Option<u32>,
    /// Its nodes, as Slurm writes lists of nodes.
    pub nodes: String,
    /// GPUs by Slurm type, lower case; the type is empty where accounting does not tell it.
    pub gpus: Vec<(String, u32)>,
    /// Advice id in its comment.
    pub advice_id: Option<String>,
    /// Its partition.
    pub partition: String,
    /// Its name; users write it.
    pub name: String,
    /// Its comment; users can change it.
    pub comment: String,
}

/// An outcome file that may be taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Ingested {
    /// SHA-256 of the file.
    pub hash: [u8; 32],
    /// Name of the file, without its folder.
    pub file: String,
    /// When the engine was started, Unix milliseconds.
    pub started_at_ms: i64,
    /// Advice id that the file names.
    pub advice_id: Option<String>,
    /// What accounting says of the job.
    pub job: AccountedJob,
    /// The runs that the file comes to; may be none.
    pub runs: Vec<Run>,
}

/// A file that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// SHA-256 of what was read of it.
    pub hash: [u8; 32],
    /// Name of the file, without its folder.
    pub file: String,
    /// Owner; `None` where it could not be learnt.
    pub uid: Option<u32>,
    /// Size, bytes.
    pub bytes: u64,
    /// Why, in one line that quotes nothing of it: whoever may read the store reads this.
    pub reason: String,
}

/// What became of one outcome file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFate {
    /// Taken, with so many new runs.
    Added(u64),
    /// The same file had been taken before.
    Known,
    /// Refused: another file speaks for the same start of an engine in the same job.
    Contradicted,
    /// Refused: the job has more outcome files than engines could have been started.
    TooMany,
}

impl Store {
    /// Takes outcome files with the accounting of their jobs and their runs, all in one
    /// transaction; the fates are in the order of the files. Once it has returned, the files may
    /// be deleted.
    ///
    /// # Errors
    /// As [`Store::insert_runs`]; nothing is taken then.
    pub fn ingest(&mut self, files: &[Ingested]) -> Result<Vec<FileFate>, StoreError> {
        let path = self.path.clone();
        let wrap = |e| StoreError::from_sqlite(&path, e);
        self.db
            .pragma_update(None, "cache_size", -CACHE)
            .map_err(wrap)?;
        self.write(|tx| {
            let mut inserter = Inserter::new(tx).map_err(wrap)?;
            let mut fates = Vec::with_capacity(files.len());
            for file in files {
                file.runs.iter().try_for_each(check_numbers)?;
                fates.push(ingest_one(tx, &mut inserter, file).map_err(wrap)?);
            }
            Ok(fates)
        })
    }

    /// Adds runs that accounting alone tells of, each for a job that has left no outcome file.
    /// Returns how many were new. They go when a file of their job comes.
    ///
    /// # Errors
    /// As [`Store::insert_runs`]; nothing is taken then.
    pub fn add_launches(&mut self, launches: &[(AccountedJob, Run)]) -> Result<u64, StoreError> {
        let path = self.path.clone();
        let wrap = |e| StoreError::from_sqlite(&path, e);
        self.write(|tx| {
            let mut inserter = Inserter::new(tx).map_err(wrap)?;
            let mut added = 0;
            for (job, run) in launches {
                check_numbers(run)?;
                let mut add = || -> rusqlite::Result<bool> {
                    let job = save_job(tx, job)?;
                    let mut files =
                        tx.prepare_cached("SELECT 1 FROM outcome_files WHERE job = ?")?;
                    Ok(!files.exists([job])? && inserter.insert_of(run, Some(job))?)
                };
                added += u64::from(add().map_err(wrap)?);
            }
            Ok(added)
        })
    }

    /// Which of these SHA-256 are of outcome files that were taken.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn known_outcome_files(
        &self,
        hashes: impl Iterator<Item = [u8; 32]>,
    ) -> Result<HashSet<[u8; 32]>, StoreError> {
        let known = || -> rusqlite::Result<HashSet<[u8; 32]>> {
            // One for all: each statement of its own would lock and unlock the file.
            let reading = Transaction::new_unchecked(&self.db, TransactionBehavior::Deferred)?;
            let mut statement =
                reading.prepare_cached("SELECT 1 FROM outcome_files WHERE hash = ?")?;
            let mut known = HashSet::new();
            for hash in hashes {
                if statement.exists([hash])? {
                    known.insert(hash);
                }
            }
            Ok(known)
        };
        known().map_err(|e| self.wrap(e))
    }

    /// Whether there is a run of this run of a job, from a file of it or from accounting alone.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn has_run_of(&self, job: &AccountedJob) -> Result<bool, StoreError> {
        let sql = "SELECT 1 FROM jobs j JOIN runs r ON r.job = j.id \
                   WHERE j.cluster = ? AND j.job_id = ? AND j.submit = ? AND j.start = ?";
        let values = params![job.cluster, job.job_id, job.submit, job.start];
        let found = || self.db.prepare_cached(sql)?.exists(values);
        found().map_err(|e| self.wrap(e))
    }

    /// Remembers refused files, in one transaction. Once it has returned, they may be deleted.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn quarantine(&mut self, files: &[Quarantined]) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.write(|tx| {
            let keep = || -> rusqlite::Result<()> {
                files.iter().try_for_each(|file| quarantine_one(tx, file))?;
                let sql = "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?";
                tx.execute(sql, [MOST_QUARANTINED]).map(|_| ())
            };
            keep().map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// The refused files that are remembered, oldest first: name and reason.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn quarantined(&self) -> Result<Vec<(String, String)>, StoreError> {
        let read = || -> rusqlite::Result<Vec<(String, String)>> {
            let mut statement = self
                .db
                .prepare("SELECT file, reason FROM quarantine ORDER BY id")?;
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        read().map_err(|e| self.wrap(e))
    }

    /// How far accounting has been read under `name`, Unix seconds.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn watermark(&self, name: &str) -> Result<Option<i64>, StoreError> {
        self.db
            .query_row("SELECT at FROM watermarks WHERE name = ?", [name], |row| {
                row.get(0)
            })
            .optional()
            .map_err(|e| self.wrap(e))
    }
}

fn ingest_one(
    tx: &Transaction<'_>,
    inserter: &mut Inserter<'_>,
    file: &Ingested,
) -> rusqlite::Result<FileFate> {
    let mut known = tx.prepare_cached("SELECT 1 FROM outcome_files WHERE hash = ?")?;
    if known.exists([file.hash])? {
        return Ok(FileFate::Known);
    }
    let job = save_job(tx, &file.job)?;
    let sql =
        "SELECT count(*), count(*) FILTER (WHERE started_at = ?) FROM outcome_files WHERE job = ?";
    let (files, same): (i64, i64) = tx
        .prepare_cached(sql)?
        .query_row(params![file.started_at_ms, job], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    match (files, same) {
        (_, 1..) => return Ok(FileFate::Contradicted),
        (MOST_FILES.., _) => return Ok(FileFate::TooMany),
        _ => {}
    }
    // What the job itself tells stands before what accounting alone told.
    tx.prepare_cached("DELETE FROM runs WHERE job = ? AND source_ref LIKE 'job % accounting'")?
        .execute([job])?;
    let mut added = 0u64;
    for run in &file.runs {
        added += u64::from(inserter.insert_of(run, Some(job))?);
    }
    let sql = "INSERT INTO outcome_files (hash, job, started_at, advice_id, file, runs, ingested_at) \
               VALUES (?, ?, ?, ?, ?, ?, ?)";
    let values = params![
        file.hash,
        job,
        file.started_at_ms,
        file.advice_id,
        file.file,
        added,
        now()
    ];
    tx.prepare_cached(sql)?.execute(values)?;
    Ok(FileFate::Added(added))
}

/// Inserts or updates a job, and returns its row.
pub(super) fn save_job(tx: &Transaction<'_>, job: &AccountedJob) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO jobs (cluster, job_id, submit, start, ended, state, exit_code, elapsed_s, user, uid, \
               nodes, advice_id, comment, eligible, partition, name) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
               ON CONFLICT (cluster, job_id, submit, start) DO UPDATE SET ended = excluded.ended, \
               state = excluded.state, exit_code = excluded.exit_code, elapsed_s = excluded.elapsed_s, \
               advice_id = coalesce(excluded.advice_id, advice_id), comment = excluded.comment, \
               eligible = excluded.eligible, partition = excluded.partition, name = excluded.name RETURNING id";
    let j = job;
    let values = params![
        j.cluster,
        j.job_id,
        j.submit,
        j.start,
        j.ended,
        j.state,
        j.exit_code,
        j.elapsed_s,
        j.user,
        j.uid,
        j.nodes,
        j.advice_id,
        j.comment,
        j.eligible,
        j.partition,
        j.name
    ];
    let id: i64 = tx
        .prepare_cached(sql)?
        .query_row(values, |row| row.get(0))?;
    let sql = "INSERT INTO job_gpus (job, gres, count) VALUES (?, ?, ?) \
               ON CONFLICT (job, gres) DO UPDATE SET count = excluded.count";
    let mut statement = tx.prepare_cached(sql)?;
    for (gres, count) in j.gpus.iter().filter(|(_, count)| *count > 0) {
        statement.execute(params![id, gres, count])?;
    }
    Ok(id)
}

fn quarantine_one(tx: &Transaction<'_>, file: &Quarantined) -> rusqlite::Result<()> {
    let sql = "INSERT INTO quarantine (hash, file, uid, bytes, reason, head, quarantined_at) \
               VALUES (?, ?, ?, ?, ?, x'', ?) ON CONFLICT (file, hash) DO NOTHING";
    let values = params![
        file.hash,
        file.file,
        file.uid,
        file.bytes,
        file.reason,
        now()
    ];
    tx.prepare_cached(sql)?.execute(values).map(|_| ())
}
