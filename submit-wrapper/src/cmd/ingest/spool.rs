//! The spool, into which any user may write: read so that nothing in it can stop, fool or fill
//! the reader.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model_store::outcome::LARGEST;
use model_store::store::Quarantined;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use sha2::{Digest, Sha256};

use super::listing::{MOST_OF_A_USER, MOST_WISHES_OF_A_USER};

/// Why a file waits that its owner keeps from us: where the spool has the group of the service account, `omnipilot run` makes files for that group.
const PRIVATE: &str = "its owner alone may read it: his next `omnipilot run` hands it over";
/// After this nobody comes any more who could make a file readable.
const LOST: Duration = Duration::from_secs(7 * 24 * 3600);
/// A file that cannot be read as an outcome and is younger than this may still be being written.
pub(crate) const FRESH: Duration = Duration::from_secs(60);

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
    /// The file as a refused one. Whoever may read the store reads the reason: it quotes nothing of the file.
    pub(crate) fn refused(&self, reason: impl Into<String>) -> Quarantined {
        Quarantined {
            hash: self.hash,
            file: self.name.clone(),
            uid: Some(self.uid),
            bytes: self.bytes.len() as u64,
            reason: reason.into(),
        }
    }
}

/// The spool's folder, held open: whatever its path comes to name meanwhile, one call reads and removes in one folder.
#[derive(Debug)]
pub(crate) struct Spool {
    held: File,
    /// Names the folder that is held.
    path: PathBuf,
}

/// What became of names that were to be removed.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// How many are gone.
    pub(crate) gone: usize,
    /// Why one could not be removed, with that name fit to be printed.
    pub(crate) failed: Vec<(String, String)>,
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
        Ok(Self { held, path })
    }

    /// A path of the folder that is held, for its list of names.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder that is held.
    pub(super) const fn folder(&self) -> &File {
        &self.held
    }

    /// Removes names, or finds them gone. Those whose turn had not come `until` then stay.
    pub(crate) fn remove<N: AsRef<OsStr>>(
        &self,
        names: impl IntoIterator<Item = N, IntoIter: Send>,
        until: Option<Instant>,
    ) -> Removed {
        let in_time = |_: &N| until.is_none_or(|end| Instant::now() < end);
        let results = each(names.into_iter().take_while(in_time), |name| {
            let name = name.as_ref();
            Some(
                match unlinkat(&self.held, name, UnlinkatFlags::NoRemoveDir) {
                    Ok(()) | Err(Errno::ENOENT) => None,
                    Err(e) => Some((io::Error::from(e).to_string(), printable(name))),
                },
            )
        });
        let all = results.len();
        let failed: Vec<_> = results.into_iter().flatten().collect();
        Removed {
            gone: all - failed.len(),
            failed,
        }
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

/// Hidden names that are tried for one folder. Nobody can know them before and have something there.
const TRIES: u32 = 8;

/// Gets a directory out of the way: an empty one is removed, another one hidden, so that it is not
/// met again. What is in it is not looked at.
///
/// # Errors
/// The system's, where neither may be done.
pub(crate) fn clear_folder(spool: &Spool, name: &OsStr) -> io::Result<()> {
    match unlinkat(&spool.held, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(_) => {}
    }
    let mut result = Err(Errno::EEXIST);
    for _ in 0..TRIES {
        let hidden = format!(
            ".refused-{:016x}",
            RandomState::new().build_hasher().finish()
        );
        result = renameat(&spool.held, name, &spool.held, hidden.as_str());
        // Something is there under that name: of the kinds of errors that tell so, the file system chooses.
        if !matches!(
            result,
            Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR | Errno::EISDIR)
        ) {
            break;
        }
    }
    result.map_err(io::Error::from)
}

/// Reads what lies under a name. A link is not followed, a FIFO or a device not waited for.
pub(crate) fn read(spool: &Spool, name: &OsStr) -> Entry {
    let shown = printable(name);
    let flags = OFlag::O_RDONLY
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_NOCTTY
        | OFlag::O_CLOEXEC;
    let file = match openat(&spool.held, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(e) => return cannot_open(spool, name, shown, e),
    };
    match file.metadata() {
        Ok(meta) if meta.is_dir() => Entry::Folder,
        Ok(meta) if !meta.is_file() => Entry::Junk(junk(shown, Some(&meta), "not a regular file")),
        Ok(meta) => read_file(shown, file, &meta),
        Err(e) => Entry::Leave(e.to_string()),
    }
}

fn cannot_open(spool: &Spool, name: &OsStr, shown: String, error: Errno) -> Entry {
    match error {
        Errno::ELOOP => Entry::Junk(junk(shown, None, "a symbolic link")),
        Errno::ENXIO | Errno::ENODEV => Entry::Junk(junk(shown, None, "not a regular file")),
        Errno::ENOENT => Entry::Gone,
        Errno::EACCES => {
            let data = fstatat(&spool.held, name, AtFlags::AT_SYMLINK_NOFOLLOW);
            match data.is_ok_and(|data| since(data.st_ctime) > LOST) {
                true => Entry::Junk(junk(shown, None, "for 7 days its owner alone may read it")),
                false => Entry::Leave(PRIVATE.into()),
            }
        }
        _ => Entry::Leave(format!("cannot be read: {}", io::Error::from(error))),
    }
}

/// Time since a file was last changed, by the file system: users set the time of writing to what they like, this one they cannot set.
pub(super) fn since(changed: i64) -> Duration {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    Duration::from_secs(now.saturating_sub(u64::try_from(changed).unwrap_or(0)))
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
        return Entry::Junk(junk(name, Some(meta), &reason));
    }
    let hash = Sha256::digest(&bytes).into();
    Entry::File(SpoolFile {
        name,
        bytes,
        hash,
        uid: meta.uid(),
        age: since(meta.ctime()),
    })
}

fn junk(file: String, meta: Option<&fs::Metadata>, reason: &str) -> Quarantined {
    let bytes = meta.map_or(0, fs::Metadata::len);
    let hash = Sha256::new()
        .chain_update(reason)
        .chain_update(bytes.to_le_bytes())
        .finalize()
        .into();
    Quarantined {
        hash,
        file,
        uid: meta.map(MetadataExt::uid),
        bytes,
        reason: reason.into(),
    }
}

/// A name on one line, whatever bytes it has.
pub(crate) fn printable(name: &OsStr) -> String {
    name.to_string_lossy().escape_debug().collect()
}

/// What stands in for the files of a user that were removed unread.
pub(crate) fn flood(uid: u32, names: &[OsString], removed: usize) -> Quarantined {
    let first = names.first().map_or_else(String::new, |n| printable(n));
    Quarantined {
        hash: Sha256::digest(format!("{uid} {removed} {first}")).into(),
        file: first,
        uid: Some(uid),
        bytes: 0,
        reason: format!(
            "more than {MOST_OF_A_USER} files or {MOST_WISHES_OF_A_USER} wishes of user {uid}: {removed} removed unread"
        ),
    }
}
