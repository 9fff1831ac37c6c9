//! The spool, into which any user may write: read so that nothing in it can stop, fool or fill
//! the reader.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model_store::outcome::LARGEST;
use model_store::store::Quarantined;
use model_store::wish;
use sha2::{Digest, Sha256};

/// Most names that one call looks at; the rest is for the next one.
const MOST_NAMES: usize = 200_000;
/// Most files of one user that may lie in the spool; what is beyond is removed unread, so that a
/// flood neither fills the disk nor keeps the files of others waiting.
pub(crate) const MOST_OF_A_USER: usize = 50_000;
/// Most wishes of one user that may lie there; a fifth of them is kept in any case.
pub(crate) const MOST_WISHES_OF_A_USER: usize = 1_000;
/// Most bytes of a refused file that are kept.
const HEAD: usize = 4096;

/// What lies under one name.
#[derive(Debug)]
pub(crate) enum Entry {
    /// A regular file of bearable size.
    File(SpoolFile),
    /// Something else, to be refused.
    Junk(Quarantined),
    /// A directory, to be got out of the way.
    Folder,
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
    /// Time since it was last changed, by the clock of the machine that keeps the spool.
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

/// What lies in the spool, as far as one call looks at it.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Names of outcome files, in order.
    pub(crate) names: Vec<OsString>,
    /// Names of wishes, in order.
    pub(crate) wishes: Vec<OsString>,
    /// Names beyond what one user may leave, by owner.
    pub(crate) surplus: BTreeMap<u32, Vec<OsString>>,
    /// There is more for the next call.
    pub(crate) more: bool,
}

/// The names of outcome files, which end in `.json`, and of wishes, which end in `.wish`; neither is hidden. Files that are being
/// written have other names.
///
/// # Errors
/// The system's.
pub(crate) fn list(spool: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut counts: BTreeMap<(u32, bool), usize> = BTreeMap::new();
    let mut seen = 0;
    for entry in fs::read_dir(spool)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.as_encoded_bytes();
        let is_wish = text.ends_with(wish::SUFFIX.as_bytes());
        if !(is_wish || text.ends_with(b".json")) || text.starts_with(b".") {
            continue;
        }
        if seen == MOST_NAMES {
            listing.more = true;
            break;
        }
        seen += 1;
        // Of the name itself, not of what it points to; without an answer it is nobody's.
        let owner = entry.metadata().map_or(u32::MAX, |meta| meta.uid());
        let count = counts.entry((owner, is_wish)).or_default();
        *count += 1;
        let most = if is_wish {
            MOST_WISHES_OF_A_USER
        } else {
            MOST_OF_A_USER
        };
        if *count <= most && is_wish {
            listing.wishes.push(name);
        } else if *count <= most {
            listing.names.push(name);
        } else {
            listing.surplus.entry(owner).or_default().push(name);
        }
    }
    listing.names.sort();
    listing.wishes.sort();
    Ok(listing)
}

/// What stands in for the files of a user that were removed unread.
pub(crate) fn flood(uid: u32, names: &[OsString]) -> Quarantined {
    let first = names.first().map_or_else(String::new, |n| printable(n));
    Quarantined {
        hash: Sha256::digest(format!("{uid} {} {first}", names.len())).into(),
        file: first,
        uid: Some(uid),
        bytes: 0,
        reason: format!(
            "more than {MOST_OF_A_USER} files or {MOST_WISHES_OF_A_USER} wishes of user {uid}: {} removed unread",
            names.len()
        ),
        head: Vec::new(),
    }
}

/// Gets a directory out of the way: an empty one is removed, another one hidden, so that it is not
/// met again.
///
/// # Errors
/// The system's, where neither may be done.
pub(crate) fn clear_folder(spool: &Path, name: &OsStr) -> io::Result<()> {
    let path = spool.join(name);
    if fs::remove_dir(&path).is_ok() {
        return Ok(());
    }
    let hash = Sha256::digest(name.as_encoded_bytes());
    let short: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
    fs::rename(&path, spool.join(format!(".refused-{short}")))
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
        Ok(meta) if meta.is_dir() => Entry::Folder,
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
    // Users set the time of writing to what they like, that of the last change they cannot set.
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let changed = u64::try_from(meta.ctime()).unwrap_or(0);
    let hash = Sha256::digest(&bytes).into();
    Entry::File(SpoolFile {
        name,
        bytes,
        hash,
        uid: meta.uid(),
        age: Duration::from_secs(now.saturating_sub(changed)),
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
