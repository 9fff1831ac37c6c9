//! What can go wrong with a store, and what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file.
    #[error("there is no store at {}", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else, and was left as it is.
    #[error("{} is not a store of past runs: {what}", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        what: String,
    },
    /// A newer version of the program has written it.
    #[error("the store {} has schema {found}, this program knows schemas up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i32,
        /// The newest schema that this program knows.
        known: i32,
    },
    /// The schema could not be brought up to date; it is as it was.
    #[error("cannot bring the store {} up to date: {reason}", path.display())]
    Migration {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A row holds a word that this version does not know.
    #[error("the store {} holds an unknown {column} `{value}`", path.display())]
    Word {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// What it holds.
        value: String,
    },
    /// A run that cannot be kept.
    #[error("run `{run_id}`: {reason}")]
    Run {
        /// Name of the run.
        run_id: String,
        /// Why.
        reason: &'static str,
    },
    /// The file system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// SQLite said no.
    #[error("store {}: {source}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// SQLite's word for "not a database" becomes ours.
    pub(super) fn from_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotAStore {
                path: path.into(),
                what: "no SQLite database".into(),
            },
            _ => Self::Sqlite {
                path: path.into(),
                source,
            },
        }
    }

    /// The store, where another process keeps it locked.
    pub fn held(&self) -> Option<&Path> {
        match self {
            Self::Sqlite { path, source } => matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
            )
            .then_some(path),
            _ => None,
        }
    }

    /// What the reader of the message can do; empty where there is nothing to say.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Absent { .. } => "`omnipilot init` makes one",
            Self::NotAStore { .. } => "it was not touched; `--store DB` names another file",
            Self::Newer { .. } => "use the version of `omnipilot` that wrote it, or a newer one",
            Self::Migration { .. } => "the store is as it was before; keep a copy and report this",
            Self::Sqlite { path, source } => sqlite_hint(path, source.sqlite_error_code()),
            _ => "",
        }
    }
}

/// Whether the file lies on a file system that nobody can write to: SQLite says the same of that as of another's file.
fn on_read_only_file_system(path: &Path) -> bool {
    let opened = std::fs::OpenOptions::new().append(true).open(path);
    opened.is_err_and(|e| e.kind() == std::io::ErrorKind::ReadOnlyFilesystem)
}

fn sqlite_hint(path: &Path, code: Option<ErrorCode>) -> &'static str {
    match code {
        Some(ErrorCode::DatabaseCorrupt) => {
            "`omnipilot store restore FILE` puts a backup in its place; without one move it away, and `omnipilot init` makes a new store"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) if on_read_only_file_system(path) => {
            "its file system is mounted read-only, as after an error of its disk: `findmnt` shows it, `dmesg` says why"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another `omnipilot` is writing; try again when it has ended"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            "the store belongs to the service account; run the command as that user"
        }
        Some(ErrorCode::DiskFull) => "free some space; nothing of this call was kept",
        _ => "",
    }
}
