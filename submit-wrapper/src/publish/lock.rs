//! One command at a time publishes.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

use model_store::config::Config;
use nix::fcntl::{Flock, FlockArg};

use super::cannot_publish;

/// Waits until no other command publishes.
pub(super) fn lock(config: &Config) -> anyhow::Result<Flock<File>> {
    let file = lock_file(&config.snapshot).map_err(|e| cannot_publish(config, &e))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| cannot_publish(config, &e.into()))
}

/// The file beside the snapshot that is locked. Who may write the directory may open it, nobody
/// else: a user who could, could keep the site from publishing.
fn lock_file(snapshot: &Path) -> io::Result<File> {
    let dir = snapshot
        .parent()
        .filter(|d| !d.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let name = snapshot
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let path = dir.join(format!(".{name}.lock"));
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC);
    match options.clone().create_new(true).open(&path) {
        Ok(file) => {
            let dir = std::fs::metadata(dir)?;
            // Made by root, it is still for the account that owns the directory.
            let _ = fchown(&file, Some(dir.uid()), Some(dir.gid()));
            let writers = dir.mode() & 0o222;
            file.set_permissions(Permissions::from_mode(writers | writers << 1))?;
            Ok(file)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => options.open(&path),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_may_write_the_directory_may_hold_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, lock) in [(0o755, 0o600), (0o775, 0o660)] {
            let folder_path = dir.path().join(format!("{folder:o}"));
            std::fs::create_dir(&folder_path).unwrap();
            std::fs::set_permissions(&folder_path, Permissions::from_mode(folder)).unwrap();
            let file = lock_file(&folder_path.join("s")).unwrap();
            assert_eq!(file.metadata().unwrap().mode() & 0o777, lock);
        }
    }
}
