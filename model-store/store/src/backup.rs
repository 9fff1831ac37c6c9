//! A copy of the store while it is in use, and the way back.

use std::fs::File;
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use tempfile::NamedTempFile;

use super::{BUSY, Store, StoreError, check_identity, check_magic};

impl Store {
    /// Copies the store as it is at one moment to a new file, which is there whole or not at all. Commands that write wait until the copy is
    /// made (a second for 450 MB).
    ///
    /// # Errors
    /// [`StoreError::Io`] where the file is there already or cannot be made; SQLite's own; [`StoreError::NotAStore`] for a store that is damaged.
    pub fn backup(&self, to: &Path) -> Result<u64, StoreError> {
        let io = |source| StoreError::Io {
            path: to.into(),
            source,
        };
        if to.exists() {
            return Err(io(std::io::ErrorKind::AlreadyExists.into()));
        }
        let part = beside(to).map_err(io)?;
        let mut target = Connection::open_with_flags(part.path(), TARGET)
            .map_err(|e| StoreError::from_sqlite(part.path(), e))?;
        copy_all(&self.db, &mut target, &self.path)?;
        check(&target, part.path())?;
        drop(target);
        part.as_file().sync_all().map_err(io)?;
        // Not over a file that has come in between.
        let file = part.persist_noclobber(to).map_err(|e| io(e.error))?;
        sync_folder(to).map_err(io)?;
        Ok(file.metadata().map_err(io)?.len())
    }

    /// Puts a backup in the place of what the store holds, in one transaction: a command that is killed in between leaves the store as it was,
    /// and commands that use it meanwhile see the one or the other.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`] or [`StoreError::Newer`] for a file that is no sound backup, SQLite's own; the store is then as it was.
    pub fn restore(path: &Path, from: &Path) -> Result<Self, StoreError> {
        if !from.exists() {
            return Err(StoreError::Absent { path: from.into() });
        }
        check_magic(from)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let source = Connection::open_with_flags(from, flags)
            .map_err(|e| StoreError::from_sqlite(from, e))?;
        if check_identity(&source, from)? == 0 {
            return Err(StoreError::NotAStore {
                path: from.into(),
                what: "empty".into(),
            });
        }
        check(&source, from)?;
        let mut store = Self::create(path)?;
        copy_all(&source, &mut store.db, path)?;
        drop(store);
        // An older schema is brought up to date.
        Self::open(path)
    }
}

/// Copies every page in one step, so that no writer comes in between.
fn copy_all(from: &Connection, to: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let wrap = |e| StoreError::from_sqlite(path, e);
    let backup = Backup::new(from, to).map_err(wrap)?;
    let begun = std::time::Instant::now();
    loop {
        match backup.step(-1).map_err(wrap)? {
            StepResult::Done => return Ok(()),
            // The backup does not wait for locks by itself.
            _ if begun.elapsed() < BUSY => std::thread::sleep(std::time::Duration::from_millis(5)),
            _ => {
                let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
                return Err(wrap(rusqlite::Error::SqliteFailure(busy, None)));
            }
        }
    }
}

fn check(db: &Connection, path: &Path) -> Result<(), StoreError> {
    let told: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|e| StoreError::from_sqlite(path, e))?;
    if told == "ok" {
        return Ok(());
    }
    Err(StoreError::NotAStore {
        path: path.into(),
        what: format!("damaged: {told}"),
    })
}

/// How SQLite opens the copy, which was made before: through no link that somebody put in its place.
const TARGET: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE
    .union(OpenFlags::SQLITE_OPEN_NOFOLLOW)
    .union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// A new file under a name that nobody can guess, for its owner alone, in the folder of `path`; gone unless it is kept.
fn beside(path: &Path) -> std::io::Result<NamedTempFile> {
    // SQLite takes a link anywhere in the path for one.
    let folder = folder_of(path).canonicalize()?;
    let mut name = tempfile::Builder::new();
    name.prefix(".").suffix(".part").tempfile_in(folder)
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}
