//! The spool, into which any user may write: read so that nothing in it can stop, fool or fill
//! the reader.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model_store::outcome::LARGEST;
use model_store::store::Quarantined;
use model_store::wish;
use sha2::{Digest, Sha256};

/// Most names that one call keeps to look at; the rest is for the next one.
const MOST_NAMES: usize = 200_000;
/// Most names beyond the users' shares that one call removes. A flood of a thousand files a second for half an hour is less.
const MOST_SURPLUS: usize = 2_000_000;
/// Most files of one user that may lie in the spool; what is beyond is removed unread, so that a
/// flood neither fills the disk nor keeps the files of others waiting.
pub(crate) const MOST_OF_A_USER: usize = 50_000;
/// Most wishes of one user that may lie there; a fifth of them is kept in any case.
pub(crate) const MOST_WISHES_OF_A_USER: usize = 1_000;
/// Why a file is not even read that its owner keeps from others: somebody else may have linked it here, and the head of a refused file can be
/// read by all who may read the store.
const PRIVATE: &str = "not readable for everybody, as what `omnipilot run` leaves is";
/// A file that cannot be read as an outcome and is younger than this may still be being written.
pub(crate) const FRESH: Duration = Duration::from_secs(60);
/// Most bytes of a refused file that are kept.
const HEAD: usize = 4096;

/// Threads that open, read and remove files: behind a network each of these is an answer to wait for, on a disk often a write.
const AT_ONCE: usize = 4;

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

/// The spool's folder, held open: whatever its path comes to name meanwhile, one call reads and removes in one folder.
#[derive(Debug)]
pub(crate) struct Spool {
    _held: File,
    /// Names the folder that is held.
    path: PathBuf,
}

impl Spool {
    /// Opens the folder.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let held = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC)
            .open(path)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", held.as_raw_fd()));
        Ok(Self { _held: held, path })
    }

    fn at(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// Removes names, or finds them gone. Returns why one could not be removed, with that name fit to be printed.
    pub(crate) fn remove<N: AsRef<OsStr>>(
        &self,
        names: impl IntoIterator<Item = N, IntoIter: Send>,
    ) -> Vec<(String, String)> {
        each(names.into_iter(), |name| {
            let error = fs::remove_file(self.at(name.as_ref())).err()?;
            (error.kind() != io::ErrorKind::NotFound)
                .then(|| (error.to_string(), printable(name.as_ref())))
        })
    }
}

/// What `work` makes of each item, some at once and in no order.
pub(crate) fn each<I, T: Send>(
    items: impl Iterator<Item = I> + Send,
    work: impl Fn(I) -> Option<T> + Sync,
) -> Vec<T> {
    let items = Mutex::new(items);
    let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || -> Vec<T> { std::iter::from_fn(next).filter_map(&work).collect() };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|worker| worker.join());
        joined
            .flat_map(|part| part.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

/// What lies in the spool, as far as one call looks at it.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Names of outcome files, in order.
    pub(crate) names: Vec<OsString>,
    /// Names of wishes, in order.
    pub(crate) wishes: Vec<OsString>,
    /// Names of folders in the way.
    pub(crate) folders: Vec<OsString>,
    /// Names beyond what one user may leave, by owner.
    pub(crate) surplus: BTreeMap<u32, Vec<OsString>>,
    /// There is more for the next call.
    pub(crate) more: bool,
}

/// How many names one call takes.
#[derive(Clone, Copy, Debug)]
struct Shares {
    names: usize,
    surplus: usize,
    files_of_a_user: usize,
    wishes_of_a_user: usize,
}

/// The names of outcome files, which end in `.json`, and of wishes, which end in `.wish`; neither is hidden. Files that are being
/// written have other names.
///
/// # Errors
/// The system's.
pub(crate) fn list(spool: &Spool) -> io::Result<Listing> {
    list_within(
        spool,
        Shares {
            names: MOST_NAMES,
            surplus: MOST_SURPLUS,
            files_of_a_user: MOST_OF_A_USER,
            wishes_of_a_user: MOST_WISHES_OF_A_USER,
        },
    )
}

fn list_within(spool: &Spool, most: Shares) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut counts: BTreeMap<(u32, bool), usize> = BTreeMap::new();
    let (mut kept, mut surplus) = (0, 0);
    for entry in fs::read_dir(&spool.path)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.as_encoded_bytes();
        let is_wish = text.ends_with(wish::SUFFIX.as_bytes());
        if !(is_wish || text.ends_with(b".json")) || text.starts_with(b".") {
            continue;
        }
        if kept == most.names || surplus == most.surplus {
            listing.more = true;
            break;
        }
        // The folder's own word, which asks no file system that may be mounted there and hang.
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            kept += 1;
            listing.folders.push(name);
            continue;
        }
        // Of the name itself, not of what it points to; without an answer it is nobody's.
        let owner = entry.metadata().map_or(u32::MAX, |meta| meta.uid());
        let count = counts.entry((owner, is_wish)).or_default();
        *count += 1;
        let (share, names) = if is_wish {
            (most.wishes_of_a_user, &mut listing.wishes)
        } else {
            (most.files_of_a_user, &mut listing.names)
        };
        if *count <= share {
            kept += 1;
            names.push(name);
        } else {
            surplus += 1;
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

/// Hidden names that are tried for one folder, where others of its name were hidden before.
const MOST_HIDDEN: u32 = 100;

/// Gets a directory out of the way: an empty one is removed, another one hidden, so that it is not
/// met again. What is in it is not looked at.
///
/// # Errors
/// The system's, where neither may be done.
pub(crate) fn clear_folder(spool: &Spool, name: &OsStr) -> io::Result<()> {
    let path = spool.at(name);
    if fs::remove_dir(&path).is_ok() {
        return Ok(());
    }
    let hash = Sha256::digest(name.as_encoded_bytes());
    let short: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let hide = |n| fs::rename(&path, spool.path.join(format!(".refused-{short}-{n}")));
    let taken = |result: &io::Result<()>| {
        result
            .as_ref()
            .is_err_and(|e| e.kind() == io::ErrorKind::DirectoryNotEmpty)
    };
    (1..MOST_HIDDEN)
        .map(hide)
        .find(|result| !taken(result))
        .unwrap_or_else(|| hide(MOST_HIDDEN))
}

/// Reads what lies under a name. A link is not followed, a FIFO or a device not waited for.
pub(crate) fn read(spool: &Spool, name: &OsStr) -> Entry {
    let shown = printable(name);
    let opened = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(spool.at(name));
    let file = match opened {
        Ok(file) => file,
        Err(e) => return cannot_open(shown, &e),
    };
    match file.metadata() {
        Ok(meta) if meta.is_dir() => Entry::Folder,
        Ok(meta) if !meta.is_file() => {
            Entry::Junk(junk(shown, Some(&meta), "not a regular file", Vec::new()))
        }
        Ok(meta) if meta.mode() & 0o004 == 0 => {
            Entry::Junk(junk(shown, Some(&meta), PRIVATE, Vec::new()))
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
        Some(libc::EACCES) => Entry::Junk(junk(name, None, PRIVATE, Vec::new())),
        _ => Entry::Leave(format!("cannot be read: {error}")),
    }
}

fn read_file(name: String, file: File, meta: &fs::Metadata) -> Entry {
    // As large as it says that it is: a file of unknown size would be read in small pieces.
    let size = meta.len().min(LARGEST) as usize;
    let mut bytes = Vec::with_capacity(size + 1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_keeps_nobody_elses_files_back_and_a_call_has_an_end() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..40 {
            fs::write(dir.path().join(format!("{n}.json")), "").unwrap();
            fs::write(dir.path().join(format!("{n}.wish")), "").unwrap();
        }
        fs::create_dir(dir.path().join("folder.json")).unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let most = Shares {
            names: 20,
            surplus: 1000,
            files_of_a_user: 5,
            wishes_of_a_user: 3,
        };
        // Many more names than one call keeps, and still it comes to the end of the folder.
        let all = list_within(&spool, most).unwrap();
        let brief = |l: &Listing| (l.names.len(), l.wishes.len(), l.folders.len(), l.more);
        assert_eq!(brief(&all), (5, 3, 1, false));
        assert_eq!(all.surplus.values().map(Vec::len).sum::<usize>(), 72);
        let bounded = list_within(
            &spool,
            Shares {
                surplus: 10,
                ..most
            },
        )
        .unwrap();
        assert_eq!(bounded.surplus.values().map(Vec::len).sum::<usize>(), 10);
        assert!(bounded.more);
        let few = list_within(&spool, Shares { names: 2, ..most }).unwrap();
        assert!(few.more);
    }
}
