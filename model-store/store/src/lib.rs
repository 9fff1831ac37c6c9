//! The SQLite store of past runs: one file, written by one service account on one machine.
//!
//! From [`Run`]s (imported, ingested, built in) to the same runs in an order that does not depend
//! on how they came in, so that training on one content gives one model. `docs/store.md` says what
//! each table holds; [`runs_csv`] reads and writes benchmark tables.
//!
//! Three properties that callers rely on:
//!
//! * A call that writes is one transaction. When it has returned, its rows survive a power cut;
//!   when it has not, none of them is there.
//! * A run counts once, however often it comes in ([`content_hash`]).
//! * A file that is not a store of ours is reported and left as it was.

#![forbid(unsafe_code)]

extern crate advisor; // so that `crate::advisor` names it

mod backup;
mod choices;
mod cluster;
mod error;
mod evidence;
mod figures;
mod hash;
pub mod import;
mod ingest;
mod insert;
mod models;
mod queue;
mod row;
mod runs;
pub mod runs_csv;
mod tally;
mod unstarted;
mod wishes;

pub use choices::SubmittedJob;
pub use error::StoreError;
pub use evidence::{EVIDENCE, Evidence};
pub use figures::published_figures;
pub use hash::content_hash;
pub use ingest::{AccountedJob, FileFate, Ingested, Quarantined};
pub use models::{ModelState, PublishedModel};
pub use queue::{AccountingGap, Demand, Wait};
pub use runs::{ImportedFile, InsertReport, SourceCount, StoredRun};
pub use tally::{Counts, Tally};
pub use unstarted::{Unstarted, UnstartedKind};
pub use wishes::{NewWish, PastRequest, Probe, Wish};

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rusqlite_migration::{M, Migrations};

#[cfg(doc)]
use crate::advisor::Run;

/// `PRAGMA application_id` of a store: "OMNP".
const APPLICATION_ID: i32 = 0x4f4d_4e50;
/// `PRAGMA user_version` of the newest schema.
const SCHEMA_VERSION: i32 = 8;
/// From this schema on nothing of refused files is kept.
const CLEANED: i32 = 8;
/// How long a writer waits for another one.
const BUSY: Duration = Duration::from_secs(30);
/// First bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// An open store.
#[derive(Debug)]
pub struct Store {
    db: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens a store that exists, and brings an older schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Absent`], [`StoreError::NotAStore`] (the file stays as it is),
    /// [`StoreError::Newer`], or SQLite's own.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Absent { path: path.into() });
        }
        Self::open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    /// Opens the store, and makes an empty one (mode 0644) where there is none.
    ///
    /// # Errors
    /// As [`Store::open`], but for [`StoreError::Absent`]; [`StoreError::Io`] where the file
    /// cannot be made.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        let absent = !path.exists();
        let store = Self::open_with(
            path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        )?;
        if absent {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).map_err(
                |source| StoreError::Io {
                    path: path.into(),
                    source,
                },
            )?;
        }
        Ok(store)
    }

    /// Where the store lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open_with(path: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        check_magic(path)?;
        let wrap = |source| StoreError::from_sqlite(path, source);
        let mut db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(wrap)?;
        db.busy_timeout(BUSY).map_err(wrap)?;
        let version = check_identity(&db, path)?;
        set_pragmas(&db).map_err(wrap)?;
        if (1..CLEANED).contains(&version) {
            forget_refused(&db).map_err(wrap)?;
        }
        if version < SCHEMA_VERSION {
            migrate(&mut db, path)?;
        }
        db.set_transaction_behavior(TransactionBehavior::Immediate);
        Ok(Self {
            db,
            path: path.into(),
        })
    }

    /// Wraps an error of SQLite with the path.
    fn wrap(&self, source: rusqlite::Error) -> StoreError {
        StoreError::from_sqlite(&self.path, source)
    }

    /// Runs `work` in one transaction that takes the write lock at once.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let wrap = |source| StoreError::from_sqlite(&path, source);
        let tx = self.db.transaction().map_err(wrap)?;
        let value = work(&tx)?;
        tx.commit().map_err(wrap)?;
        Ok(value)
    }
}

/// Seconds since 1970 by this machine's clock; 0 before.
fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A file with content that does not begin as SQLite's do is somebody else's: SQLite is not even
/// shown it. An empty or absent one is fine.
fn check_magic(path: &Path) -> Result<(), StoreError> {
    let io = |source| StoreError::Io {
        path: path.into(),
        source,
    };
    let meta = match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(io)?,
    };
    if !meta.is_file() {
        return Err(StoreError::NotAStore {
            path: path.into(),
            what: "no regular file".into(),
        });
    }
    let mut head = Vec::with_capacity(MAGIC.len());
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(MAGIC.len() as u64)
        .read_to_end(&mut head)
        .map_err(io)?;
    if head.is_empty() || head == MAGIC {
        return Ok(());
    }
    Err(StoreError::NotAStore {
        path: path.into(),
        what: "no SQLite database".into(),
    })
}

/// The schema version of a database that is ours, or empty (version 0).
fn check_identity(db: &Connection, path: &Path) -> Result<i32, StoreError> {
    let wrap = |source| StoreError::from_sqlite(path, source);
    // In one statement: another command may be making the store right now, and its tables must not
    // be seen without its mark.
    let (id, version, tables): (i32, i32, i64) = db
        .query_row(
            "SELECT (SELECT application_id FROM pragma_application_id),
                    (SELECT user_version FROM pragma_user_version),
                    (SELECT count(*) FROM sqlite_schema)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .map_err(wrap)?;
    if id == APPLICATION_ID && version > SCHEMA_VERSION {
        return Err(StoreError::Newer {
            path: path.into(),
            found: version,
            known: SCHEMA_VERSION,
        });
    }
    if id != APPLICATION_ID && (id != 0 || version != 0 || tables > 0) {
        let what =
            format!("an SQLite database of another program, with {tables} tables and indexes");
        return Err(StoreError::NotAStore {
            path: path.into(),
            what,
        });
    }
    Ok(version)
}

/// A rollback journal rather than a write-ahead log: users other than the service account may
/// read the store, and a log can be read only by who may write beside it. `EXTRA` rather than
/// `FULL`: ingestion deletes a spool file once its rows are committed, so a commit has to survive
/// a power cut at that very moment, the deletion of the journal included.
fn set_pragmas(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "synchronous", "EXTRA")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cache_size", -65_536)?; // KiB
    db.pragma_update(None, "temp_store", "MEMORY")
}

/// Older releases kept how a refused file begins, in rows and, once these were replaced, in pages that are free and can still be read. The
/// schema changes only after both are gone, so that a call that breaks off, for want of disk space say, begins again.
fn forget_refused(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update(None, "secure_delete", true)?;
    db.execute("UPDATE quarantine SET head = x'' WHERE head <> x''", [])?;
    // It is as large as the store: not in memory.
    db.pragma_update(None, "temp_store", "FILE")?;
    db.execute_batch("VACUUM")?;
    db.pragma_update(None, "temp_store", "MEMORY")
}

/// Brings the schema up to date. Two commands may do so at once: the one that comes second finds
/// it done.
fn migrate(db: &mut Connection, path: &Path) -> Result<(), StoreError> {
    db.set_transaction_behavior(TransactionBehavior::Immediate);
    let migrations = Migrations::new(vec![
        M::up(include_str!("schema/001-first.sql")),
        M::up(include_str!("schema/002-settings.sql")),
        M::up(include_str!("schema/003-default-partition.sql")),
        M::up(include_str!("schema/004-learning-loop.sql")),
        M::up(include_str!("schema/005-probes.sql")),
        M::up(include_str!("schema/006-other-deployments.sql")),
        M::up(include_str!("schema/007-slurm-view.sql")),
        M::up(include_str!("schema/008-of-each-user.sql")),
    ]);
    let mut result = migrations.to_latest(db);
    for _ in 0..3 {
        if result.is_ok() || check_identity(db, path)? == SCHEMA_VERSION {
            return Ok(());
        }
        result = migrations.to_latest(db);
    }
    result.map_err(|e| StoreError::Migration {
        path: path.into(),
        reason: e.to_string(),
    })
}
