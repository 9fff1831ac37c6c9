//! The batch script of a submission, where it can be read: a file, `--wrap`, or standard input.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use model_store::sbatch_line::SbatchLine;
use model_store::snapshot::read_regular;

use crate::exit;

/// Largest batch script that is read for what it fixes, bytes.
const LARGEST: u64 = 4 << 20;

/// Largest file that is read because a script names it, bytes.
const LARGEST_NAMED: u64 = 1 << 20;

/// Where a script came from.
#[derive(Clone)]
pub(super) enum Script {
    /// Out of sight.
    Unseen,
    /// The text of `--wrap`.
    Wrap(String),
    /// A file's.
    File(String),
    /// Standard input, read to its end: `sbatch` is to be given it again.
    Stdin(String),
}

impl Script {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Unseen => None,
            Self::Wrap(text) | Self::File(text) | Self::Stdin(text) => Some(text),
        }
    }
}

/// Reads it.
///
/// # Errors
/// Standard input cannot be read, or is longer than any script.
pub(super) fn find(line: &SbatchLine) -> anyhow::Result<Script> {
    if let Some(text) = &line.wrap {
        return Ok(Script::Wrap(text.clone()));
    }
    let Some(name) = &line.script else {
        return from_stdin();
    };
    let bytes = read_regular(&place(name), LARGEST).ok();
    Ok(bytes.map_or(Script::Unseen, |bytes| {
        Script::File(String::from_utf8_lossy(&bytes).into_owned())
    }))
}

/// On a terminal `sbatch` itself asks for the script.
fn from_stdin() -> anyhow::Result<Script> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return Ok(Script::Unseen);
    }
    let mut bytes = Vec::new();
    stdin.lock().take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(exit::with_code(
            exit::USAGE,
            format!("the script on standard input is longer than {LARGEST} bytes"),
            "submit it as a file",
        ));
    }
    Ok(String::from_utf8(bytes).map_or_else(
        |error| Script::Stdin(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        Script::Stdin,
    ))
}

/// Where `sbatch` looks for a script: along `PATH`, unless its name is a path.
pub(super) fn place(name: &str) -> PathBuf {
    let plain = !name.starts_with(['/', '.']);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .filter(|folder| plain && folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|file| file.exists())
        .unwrap_or_else(|| name.into())
}

/// Reads a file as the job's script names it.
pub(super) fn read_named(name: &str, folder: Option<&str>) -> Option<String> {
    if name.starts_with('~') {
        return None;
    }
    let path = Path::new(folder.unwrap_or_default()).join(name);
    let bytes = read_regular(&path, LARGEST_NAMED).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
