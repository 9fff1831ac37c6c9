//! The spool, into which any user may write: read so that nothing in it can stop, fool or fill
//! the reader.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use model_store::outcome::LARGEST;
use model_store::store::Quarantined;
use sha2::{Digest, Sha256};

/// Most names that one call looks at.
const MOST_NAMES: usize = 100_000;
/// Most bytes of a refused file that are kept.
const HEAD: usize = 4096;

/// What lies under one name.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A regular file of bearable size.
    File(SpoolFile),
    /// Something else, to be refused.
    Junk(Quarantined),
    /// To be left alone, with the reason.
    Leave(String),
    /// Gone since the names were read.
    Gone,
}

/// A file with its content and what the system says of it.
#[derive(Debug)]
pub(crate) struct SpoolFile {
    /// Its name, fit to be printed.
    pub(crate) name: String,
    /// Its content.
    pub(crate) bytes: Vec<u8>,
    /// SHA-256 of the content.
    pub(crate) hash: [u8; 32],
    /// Its owner.
    pub(crate) uid: u32,
    /// Time since it was last written to.
    pub(crate) age: Duration,
}

impl SpoolFile {
    /// The file as a refused one.
    pub(crate) fn refused(&self, reason: impl Into<String>) -> Quarantined {
        Quarantined {
            hash: self.hash,
            file: self.name.clone(),
            uid: Some(self.uid),
            bytes: self.bytes.len() as u64,
            reason: reason.into(),
            head: self.bytes[..self.bytes.len().min(HEAD)].to_vec(),
        }
    }
}

/// The names of outcome files, in order: those that end in `.json` and are not hidden. Files that
/// are being written have other names.
///
/// # Errors
/// The system's.
pub(crate) fn names(spool: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(spool)? {
        let name = entry?.file_name();
        let text = name.as_encoded_bytes();
        if text.ends_with(b".json") && !text.starts_with(b".") {
            names.push(name);
            if names.len() == MOST_NAMES {
                break;
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Reads what lies under a name. A link is not followed, a FIFO or a device not waited for.
pub(crate) fn read(spool: &Path, name: &OsStr) -> Entry {
    let shown = printable(name);
    let opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(spool.join(name));
    let file = match opened {
        Ok(file) => file,
        Err(e) => return cannot_open(shown, &e),
    };
    match file.metadata() {
        Ok(meta) if meta.is_dir() => Entry::Leave("a directory, which is not removed".into()),
        Ok(meta) if !meta.is_file() => {
            Entry::Junk(junk(shown, Some(&meta), "not a regular file", Vec::new()))
        }
        Ok(meta) => read_file(shown, file, &meta),
        Err(e) => Entry::Leave(e.to_string()),
    }
}

fn cannot_open(name: String, error: &io::Error) -> Entry {
    match error.raw_os_error() {
        Some(libc::ELOOP) => Entry::Junk(junk(name, None, "a symbolic link", Vec::new())),
        Some(libc::ENXIO | libc::ENODEV) => {
            Entry::Junk(junk(name, None, "not a regular file", Vec::new()))
        }
        Some(libc::ENOENT) => Entry::Gone,
        _ => Entry::Leave(format!("cannot be read: {error}")),
    }
}

fn read_file(name: String, file: File, meta: &fs::Metadata) -> Entry {
    let mut bytes = Vec::new();
    if let Err(e) = file.take(LARGEST + 1).read_to_end(&mut bytes) {
        return Entry::Leave(format!("cannot be read: {e}"));
    }
    if meta.len() > LARGEST || bytes.len() as u64 > LARGEST {
        let reason = format!("larger than {LARGEST} bytes");
        bytes.truncate(HEAD);
        return Entry::Junk(junk(name, Some(meta), &reason, bytes));
    }
    let age = meta
        .modified()
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    let hash = Sha256::digest(&bytes).into();
    Entry::File(SpoolFile {
        name,
        bytes,
        hash,
        uid: meta.uid(),
        age: age.unwrap_or_default(),
    })
}

fn junk(file: String, meta: Option<&fs::Metadata>, reason: &str, head: Vec<u8>) -> Quarantined {
    let bytes = meta.map_or(0, fs::Metadata::len);
    let hash = Sha256::new()
        .chain_update(&head)
        .chain_update(bytes.to_le_bytes())
        .finalize()
        .into();
    Quarantined {
        hash,
        file,
        uid: meta.map(MetadataExt::uid),
        bytes,
        reason: reason.into(),
        head,
    }
}

/// A name on one line, whatever bytes it has.
pub(crate) fn printable(name: &OsStr) -> String {
    name.to_string_lossy().escape_debug().collect()
}
