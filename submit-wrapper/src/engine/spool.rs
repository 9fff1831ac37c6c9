//! Leaves the outcome file. Readers never see half of one: it is written beside its place under
//! another name, synced, and renamed.

use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use model_store::outcome::{LARGEST, Outcome};
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// The bit of a folder that gives its group to the files in it.
const GIVES_GROUP: u32 = 0o2000;
/// How long earlier files are looked for. The engine has ended, and its job waits.
const HAND_OVER: Duration = Duration::from_secs(1);

/// Name of a job's outcome file. The process id keeps two wrappers of one job apart, the time two
/// jobs of one id.
pub(crate) fn file_name(cluster: &str, job_id: u64, started_at: f64, pid: u32) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let cluster: String = cluster
        .trim_start_matches('.')
        .chars()
        .take(64)
        .map(plain)
        .collect();
    let cluster = if cluster.is_empty() {
        "cluster".into()
    } else {
        cluster
    };
    let ms = (started_at * 1000.0) as u64;
    format!("{cluster}-{job_id}-{ms}-{pid}.json")
}

/// Who may read an outcome beside its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Nobody.
    Nobody,
    /// The group that the folder gives to its files, which is the service account's; nobody where it gives none.
    Service,
}

/// Writes the outcome to `path`, whole or not at all; an older file of this name is replaced. Others may write to the folder: it is opened
/// once, and the file is made under a name that was not there, whatever links or FIFOs lie beside it.
///
/// # Errors
/// What the file system says; nothing is left behind then.
pub(crate) fn write(path: &Path, readers: Readers, outcome: &Outcome) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = open_folder(parent.unwrap_or(Path::new(".")))?;
    put(&folder, name, readers, &fitting(outcome)?)
}

/// A folder to make files in; reading its names may not be allowed.
fn open_folder(path: &Path) -> io::Result<File> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

fn put(folder: &File, name: &OsStr, readers: Readers, text: &[u8]) -> io::Result<()> {
    // Hidden, so that no reader takes it for an outcome, and of a name that nobody can take before.
    let random = RandomState::new().build_hasher().finish();
    let draft = format!(".{}.{random:016x}.part", name.to_string_lossy());
    let result = write_new(folder, &draft, readers, text)
        .and_then(|()| renameat(folder, draft.as_str(), folder, name).map_err(io::Error::from));
    if result.is_err() {
        let _ = unlinkat(folder, draft.as_str(), UnlinkatFlags::NoRemoveDir);
    }
    result
}

fn write_new(folder: &File, name: &str, readers: Readers, text: &[u8]) -> io::Result<()> {
    let flags = OFlag::O_WRONLY
        | OFlag::O_CREAT
        | OFlag::O_EXCL
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK
        | OFlag::O_CLOEXEC;
    let owner = Mode::S_IRUSR | Mode::S_IWUSR;
    let mut file = File::from(openat(folder, name, flags, owner)?);
    // Whatever the job's umask says.
    let mode = match readers == Readers::Service && has_group_of(folder, &file)? {
        true => 0o640,
        false => 0o600,
    };
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text)?;
    file.sync_all()
}

/// Whether the folder gives its group to files, and gave it to this one.
fn has_group_of(folder: &File, file: &File) -> io::Result<bool> {
    let (folder, file) = (folder.metadata()?, file.metadata()?);
    Ok(folder.mode() & GIVES_GROUP != 0 && folder.gid() == file.gid())
}

/// Hands over what earlier runs of this user could leave for himself alone, now that the folder has the group of the service account: the
/// records of engines that have ended, each made anew under its name. It looks at so many names for so long; whatever fails stays as it is.
pub(crate) fn hand_over(path: &Path) {
    let Ok(folder) = open_folder(path) else {
        return;
    };
    if !folder.metadata().is_ok_and(|d| d.mode() & GIVES_GROUP != 0) {
        return;
    }
    let end = Instant::now() + HAND_OVER;
    let me = nix::unistd::geteuid().as_raw();
    let names = std::fs::read_dir(path).into_iter().flatten().flatten();
    let own = names.take_while(|_| Instant::now() < end).filter(|entry| {
        let name = entry.file_name();
        let is_outcome = name.as_encoded_bytes().ends_with(b".json")
            && !name.as_encoded_bytes().starts_with(b".");
        let is_private = |d: Metadata| d.is_file() && d.uid() == me && d.mode() & 0o077 == 0;
        is_outcome && entry.metadata().is_ok_and(is_private)
    });
    for entry in own {
        let name = entry.file_name();
        if let Some(text) = finished(&folder, &name) {
            let _ = put(&folder, &name, Readers::Service, &text);
        }
    }
}

/// The content of a record that nobody writes any more: its engine has ended.
fn finished(folder: &File, name: &OsStr) -> Option<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let file = File::from(openat(folder, name, flags, Mode::empty()).ok()?);
    let mut text = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut text).ok()?;
    let outcome: Outcome = serde_json::from_slice(&text).ok()?;
    (outcome.exit_code.is_some() || outcome.signal.is_some()).then_some(text)
}

/// The JSON, with fewer windows where it would be larger than readers take.
fn fitting(outcome: &Outcome) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(outcome)?;
    let mut smaller = outcome.clone();
    while text.len() as u64 > LARGEST && !smaller.windows.is_empty() {
        let half = smaller.windows.len() / 2;
        smaller.windows.truncate(half);
        text = serde_json::to_vec(&smaller)?;
    }
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            schema: model_store::outcome::SCHEMA,
            job_id: 7,
            cluster: "c".into(),
            advice_id: None,
            uid: 1,
            asked: Default::default(),
            engine: "vllm".into(),
            engine_version: String::new(),
            started_at: 1.5,
            cold_start_s: None,
            elapsed_s: 1.0,
            exit_code: Some(0),
            signal: None,
            outcome: Default::default(),
            evidence: String::new(),
            start: None,
            windows: Vec::new(),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn open(folder: &Path, mode: u32) {
        fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_is_whole_its_owners_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file_name("c", 7, 1.5, 42));
        write(&path, Readers::Service, &outcome()).unwrap();
        let later = Outcome {
            elapsed_s: 2.0,
            ..outcome()
        };
        write(&path, Readers::Service, &later).unwrap();
        let read: Outcome = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read.elapsed_s, 2.0);
        assert_eq!(mode(&path), 0o600, "there is no group that it is for");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(path.file_name().unwrap(), "c-7-1500-42.json");
    }

    #[test]
    fn where_the_folder_gives_its_group_that_group_reads_and_what_was_left_before_is_handed_over() {
        let dir = tempfile::tempdir().unwrap();
        let place = |name: &str| dir.path().join(name);
        let running = Outcome {
            exit_code: None,
            ..outcome()
        };
        write(&place("before.json"), Readers::Service, &outcome()).unwrap();
        write(&place("running.json"), Readers::Service, &running).unwrap();
        fs::write(place("other.json"), "{}").unwrap();
        open(&place("other.json"), 0o600);
        std::os::unix::fs::symlink("before.json", place("link.json")).unwrap();
        hand_over(dir.path());
        assert_eq!(mode(&place("before.json")), 0o600, "there is no group yet");
        open(dir.path(), 0o3777);
        write(&place("now.json"), Readers::Service, &outcome()).unwrap();
        write(&place("own.json"), Readers::Nobody, &outcome()).unwrap();
        hand_over(dir.path());
        let modes = ["before", "running", "other", "now", "own"]
            .map(|n| mode(&place(&format!("{n}.json"))));
        // A record of the user's own place is none of the spool's; it is an outcome like any other if it lies there.
        assert_eq!(modes, [0o640, 0o600, 0o600, 0o640, 0o640]);
        assert!(
            fs::symlink_metadata(place("link.json"))
                .unwrap()
                .is_symlink()
        );
        let read: Outcome =
            serde_json::from_slice(&fs::read(place("before.json")).unwrap()).unwrap();
        assert_eq!(read, outcome());
    }

    /// What somebody else may have put there before, in a folder where everybody may.
    #[test]
    fn links_fifos_and_folders_under_its_names_cost_the_record_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        fs::write(&precious, "precious").unwrap();
        let place = |name: &str| dir.path().join(name);
        std::os::unix::fs::symlink(&precious, place("link.json")).unwrap();
        fs::hard_link(&precious, place("second-name.json")).unwrap();
        nix::unistd::mkfifo(&place("fifo.json"), Mode::from_bits_truncate(0o666)).unwrap();
        for name in ["link.json", "second-name.json", "fifo.json"] {
            write(&place(name), Readers::Nobody, &outcome()).unwrap();
            assert!(
                fs::symlink_metadata(place(name)).unwrap().is_file(),
                "{name}"
            );
        }
        fs::create_dir(place("folder.json")).unwrap();
        assert!(write(&place("folder.json"), Readers::Nobody, &outcome()).is_err());
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        let left = fs::read_dir(dir.path()).unwrap().flatten();
        assert_eq!(
            left.filter(|e| e.file_name().to_string_lossy().ends_with(".part"))
                .count(),
            0
        );
    }

    #[test]
    fn names_from_outside_stay_names() {
        assert_eq!(file_name("../a b\n", 1, 0.0, 2), "_a_b_-1-0-2.json");
        assert_eq!(file_name("", 1, 0.0, 2), "cluster-1-0-2.json");
    }

    #[test]
    fn a_missing_spool_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(
            write(
                &dir.path().join("none/x.json"),
                Readers::Service,
                &outcome()
            )
            .is_err()
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_never_larger_than_readers_take() {
        let window = model_store::outcome::Window {
            power_w: Some(1.0 / 3.0),
            memory_gb: None,
            seconds: 1.0 / 3.0,
            ..Default::default()
        };
        let many = Outcome {
            windows: vec![window; 5000],
            ..outcome()
        };
        let text = fitting(&many).unwrap();
        assert!(text.len() as u64 <= LARGEST + 1 && text.len() > 1000);
    }
}
