//! Runs in and out.

use rusqlite::{Params, Row, params};

use super::insert::{Inserter, check_numbers};
use super::{Store, StoreError, hash, now, row};
use crate::advisor::{Origin, Run};

/// What became of the runs of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InsertReport {
    /// Runs that the store did not have.
    pub new: u64,
    /// Runs that it had, by content or as the same figure from another source.
    pub known: u64,
}

/// How many runs one source has of one origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceCount {
    /// Where they were measured.
    pub origin: Origin,
    /// Laboratory, document or cluster.
    pub source: String,
    /// Runs.
    pub runs: u64,
}

/// A run with what the store knows of where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRun {
    /// The run.
    pub run: Run,
    /// When it came in, Unix seconds.
    pub added_at: i64,
    /// Number of the user whose job measured it; `None` for imports and published figures.
    pub uid: Option<u32>,
    /// Name of that user.
    pub user: Option<String>,
    /// When that job ended, Unix seconds.
    pub ended: Option<i64>,
}

/// One file that was imported, for the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedFile {
    /// Name of the file, without its folder.
    pub file: String,
    /// Format it was read as.
    pub format: String,
    /// Origin that its runs were given.
    pub origin: Origin,
    /// Rows that were not taken.
    pub skipped: u64,
    /// SHA-256 of the file.
    pub hash: [u8; 32],
    /// What wrote it and in which version; empty where the file does not tell.
    pub tool: String,
}

impl Store {
    /// Adds runs, all or none. A run that is there already is counted and left alone, whatever
    /// the origin it comes under now.
    ///
    /// # Errors
    /// [`StoreError::Run`] for a figure that is no number, or SQLite's own; the store is then as
    /// it was before.
    pub fn insert_runs(
        &mut self,
        runs: impl Iterator<Item = Run>,
    ) -> Result<InsertReport, StoreError> {
        let path = self.path.clone();
        self.write(|tx| {
            let mut inserter = Inserter::new(tx).map_err(|e| StoreError::from_sqlite(&path, e))?;
            let mut report = InsertReport::default();
            for run in runs {
                check_numbers(&run)?;
                let new = inserter
                    .insert(&run)
                    .map_err(|e| StoreError::from_sqlite(&path, e))?;
                report.new += u64::from(new);
                report.known += u64::from(!new);
            }
            Ok(report)
        })
    }

    /// Every run, in an order that depends on the content of the store alone.
    ///
    /// # Errors
    /// [`StoreError::Word`] for a row of a newer version, or SQLite's own.
    pub fn runs(&self) -> Result<Vec<Run>, StoreError> {
        self.read_runs("", "", [], row::read)
    }

    /// Looks at every run with who measured it and when, one after the other, so that a large store is not held as a whole. The
    /// number is that of the run in this store, and the order says nothing.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub fn each_run(&self, mut look: impl FnMut(i64, StoredRun)) -> Result<(), StoreError> {
        let take = |id, _, run| look(id, run);
        self.each_row(STORED, "", [], read_stored, take)
    }

    /// The runs of these numbers, in the order of [`Store::runs`].
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub fn runs_of(&self, ids: &[i64]) -> Result<Vec<StoredRun>, StoreError> {
        let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
        let list = format!("[{}]", ids.join(","));
        self.read_stored("WHERE r.id IN (SELECT value FROM json_each(?))", [list])
    }

    /// How many runs came in since then (Unix seconds).
    ///
    /// # Errors
    /// SQLite's own.
    pub fn count_since(&self, since: i64) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM runs WHERE added_at >= ?";
        self.db
            .query_row(sql, [since], |row| row.get(0))
            .map_err(|e| self.wrap(e))
    }

    /// The last `most` of this cluster's runs that came in since then (Unix seconds), in the same order.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub fn stored_runs_here(&self, since: i64, most: u32) -> Result<Vec<StoredRun>, StoreError> {
        let here = Origin::ThisCluster.name();
        self.read_stored(
            "WHERE r.id IN (SELECT id FROM runs WHERE origin = ? AND added_at >= ? ORDER BY id DESC LIMIT ?)",
            params![here, since, most],
        )
    }

    /// The last `most` runs of this cluster that came in, and all others, in the same order.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub fn latest_runs(&self, most: u32) -> Result<Vec<StoredRun>, StoreError> {
        let here = Origin::ThisCluster.name();
        self.read_stored(
            "WHERE r.origin <> ?1 OR r.id IN (SELECT id FROM runs WHERE origin = ?1 ORDER BY id DESC LIMIT ?2)",
            params![here, most],
        )
    }

    fn read_stored(&self, only: &str, values: impl Params) -> Result<Vec<StoredRun>, StoreError> {
        self.read_runs(STORED, only, values, read_stored)
    }

    /// Rows by hash, which is the order that content alone gives. They are read as they lie and sorted here: read in that order,
    /// each of a million rows would lie on a page of its own.
    fn read_runs<T>(
        &self,
        more: &str,
        only: &str,
        values: impl Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<Result<T, row::UnknownWord>>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = Vec::new();
        self.each_row(more, only, values, read, |_, hash, value| {
            all.push((hash, value));
        })?;
        all.sort_unstable_by_key(|(hash, _)| *hash);
        Ok(all.into_iter().map(|(_, value)| value).collect())
    }

    /// Gives each row to `take`, with its number and hash, as they lie.
    fn each_row<T>(
        &self,
        more: &str,
        only: &str,
        values: impl Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<Result<T, row::UnknownWord>>,
        mut take: impl FnMut(i64, [u8; hash::LENGTH], T),
    ) -> Result<(), StoreError> {
        let columns = row::COLUMNS
            .split(',')
            .map(|c| format!("r.{}", c.trim()))
            .collect::<Vec<_>>()
            .join(", ");
        let sql = format!(
            "SELECT {columns}, s.name{more}, r.id, r.hash FROM runs r JOIN sources s ON s.id = r.source \
             LEFT JOIN jobs j ON j.id = r.job {only}"
        );
        let mut statement = self.db.prepare(&sql).map_err(|e| self.wrap(e))?;
        let last = statement.column_count() - 1;
        let mut rows = statement.query(values).map_err(|e| self.wrap(e))?;
        while let Some(row) = rows.next().map_err(|e| self.wrap(e))? {
            let all = |row: &Row<'_>| Ok((row.get(last - 1)?, row.get(last)?, read(row)?));
            let (id, hash, read) = all(row).map_err(|e| self.wrap(e))?;
            let value = read.map_err(|word| StoreError::Word {
                path: self.path.clone(),
                column: word.column,
                value: word.value,
            })?;
            take(id, hash, value);
        }
        Ok(())
    }

    /// How many runs there are.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn count(&self) -> Result<u64, StoreError> {
        self.db
            .query_row("SELECT count(*) FROM runs", [], |row| row.get(0))
            .map_err(|e| self.wrap(e))
    }

    /// Runs by origin and source, in that order.
    ///
    /// # Errors
    /// As [`Store::runs`].
    pub fn counts(&self) -> Result<Vec<SourceCount>, StoreError> {
        let sql = "SELECT r.origin, s.name, count(*) FROM runs r JOIN sources s ON s.id = r.source GROUP BY 1, 2";
        let mut statement = self.db.prepare(sql).map_err(|e| self.wrap(e))?;
        let rows = statement
            .query_map([], |row| {
                Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?))
            })
            .map_err(|e| self.wrap(e))?;
        let mut counts = rows
            .map(|row| {
                let (value, source, runs) = row.map_err(|e| self.wrap(e))?;
                let path = self.path.clone();
                let origin = Origin::parse(&value).ok_or(StoreError::Word {
                    path,
                    column: "origin",
                    value,
                })?;
                Ok(SourceCount {
                    origin,
                    source,
                    runs,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        counts.sort_by(|a, b| (a.origin, &a.source).cmp(&(b.origin, &b.source)));
        Ok(counts)
    }

    /// Runs that a file with this SHA-256 came to when it was imported; `None` if it never was.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn imported(&self, hash: &[u8; 32]) -> Result<Option<u64>, StoreError> {
        self.db
            .query_row(
                "SELECT max(added + known) FROM imports WHERE hash = ?",
                [hash],
                |row| row.get(0),
            )
            .map_err(|e| self.wrap(e))
    }

    /// True where a run of this name is there, whatever its source.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn has_run(&self, run_id: &str) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM runs WHERE run_id = ?)";
        let found = self.db.query_row(sql, [run_id], |row| row.get(0));
        found.map_err(|e| self.wrap(e))
    }

    /// Records that a file was imported.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn record_import(
        &mut self,
        file: &ImportedFile,
        report: InsertReport,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO imports (file, format, origin, imported_at, added, known, skipped, hash, tool) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let ImportedFile {
            file,
            format,
            origin,
            skipped,
            hash,
            tool,
        } = file;
        self.db
            .execute(
                sql,
                params![
                    file,
                    format,
                    origin.name(),
                    now(),
                    report.new,
                    report.known,
                    skipped,
                    hash,
                    tool
                ],
            )
            .map(|_| ())
            .map_err(|e| self.wrap(e))
    }
}

/// Columns of a [`StoredRun`] behind those of its run.
const STORED: &str = ", r.added_at, j.uid, j.user, j.ended";

fn read_stored(row: &Row<'_>) -> rusqlite::Result<Result<StoredRun, row::UnknownWord>> {
    let at = row::COUNT + 1;
    let rest = (
        row.get(at)?,
        row.get(at + 1)?,
        row.get(at + 2)?,
        row.get(at + 3)?,
    );
    let (added_at, uid, user, ended) = rest;
    Ok(row::read(row)?.map(|run| StoredRun {
        run,
        added_at,
        uid,
        user,
        ended,
    }))
}
