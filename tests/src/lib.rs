//! What the end-to-end tests stand on.
//!
//! [`Cluster`] starts a real Slurm for one test and ends it when it is dropped; [`artifacts`] finds the plugin and the command
//! that were built; [`standin`] is a stand-in for the serving engine; [`stats`] sums up the times of benchmarks.
//!
//! ```no_run
//! use e2e::{ALICE, Cluster};
//!
//! let cluster = Cluster::start()?;
//! let job = cluster.sbatch(ALICE, &["--gres=gpu:h100:2"], "echo $CUDA_VISIBLE_DEVICES")?;
//! assert_eq!(job.code, Some(0), "{job}");
//! cluster.completed(job.id()?)?;
//! # Ok::<(), e2e::Error>(())
//! ```
//!
//! A test that cannot run here is ignored with its reason, never passed: see `build.rs` for the conditions `e2e_slurm`,
//! `e2e_accounting` and `e2e_root`.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod artifacts;
mod cluster;
mod show;
pub mod standin;
pub mod stats;

pub use cluster::{ALICE, BOB, Cluster, OPERATOR, Setup, User};
pub use show::parse_job;

use std::fmt;
use std::path::Path;

/// Writes `omnipilot.toml` into a folder: store, snapshot and spool lie beside it as `s.db`, `s.snapshot` and `spool`.
///
/// # Errors
/// The system's.
pub fn configure(folder: &Path) -> std::io::Result<()> {
    let path = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "store = \"{}\"\nsnapshot = \"{}\"\nspool = \"{}\"\n",
        path("s.db"),
        path("s.snapshot"),
        path("spool")
    );
    std::fs::write(folder.join("omnipilot.toml"), text)
}

/// A failure of the harness, told in one or more lines.
#[derive(Debug)]
pub struct Error(String);

impl Error {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// What the harness's functions return.
pub type Result<T> = std::result::Result<T, Error>;

/// Names what was being done when an operation of the system failed.
pub(crate) fn doing<T>(what: impl fmt::Display, result: std::io::Result<T>) -> Result<T> {
    result.map_err(|error| Error(format!("cannot {what}: {error}")))
}

/// What a command wrote and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// The command line, for messages.
    pub command: String,
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output, byte for byte where it is UTF-8.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
}

impl Output {
    /// The job id that `sbatch` printed, as `Submitted batch job N` or, with `--parsable`, as `N`.
    pub fn id(&self) -> Result<u32> {
        let last = self
            .stdout
            .split_whitespace()
            .next_back()
            .unwrap_or_default();
        last.parse()
            .map_err(|_| Error(format!("no job was submitted by {self}")))
    }

    /// This output, or an error when the exit code is not 0.
    pub fn success(self) -> Result<Self> {
        if self.code == Some(0) {
            Ok(self)
        } else {
            Err(Error(format!("failed: {self}")))
        }
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self
            .code
            .map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        write!(
            f,
            "`{}` (exit {code})\nstdout: {}\nstderr: {}",
            self.command, self.stdout, self.stderr
        )
    }
}
