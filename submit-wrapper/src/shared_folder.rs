//! The spool as a folder: every user's jobs write into it, and what they write is read by its owner's group alone.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use nix::unistd::{Gid, Uid, User, getegid, geteuid};

/// Everyone may add a file, only its owner and the folder's may remove it, and each gets the folder's group: so `omnipilot run` can leave a
/// file that the service account reads and other users do not.
pub(crate) const MODE: u32 = 0o3777;
/// The bits without which jobs cannot write, or can take away what is another's.
const OPEN: u32 = 0o1003;
/// The bit that gives files the folder's group.
const GROUP: u32 = 0o2000;

/// What is wrong with a spool of this mode, in numbers; `None` where nothing is.
pub(crate) fn wrong(data: &Metadata) -> Option<&'static str> {
    match data.permissions().mode() {
        mode if mode & OPEN != OPEN => {
            Some("jobs cannot leave outcomes in it, or take away those of others")
        }
        mode if mode & GROUP == 0 => {
            Some("files in it do not get its group, so each outcome can be read by its owner alone")
        }
        _ => None,
    }
}

/// Gives a spool that jobs can write to the group of its owner, where it gives its files none: as the first releases made it. A group that an
/// administrator chose stays. Where it may not be done nothing is: `omnipilot doctor` tells.
///
/// # Errors
/// The system's.
pub(crate) fn adopt(folder: &File) -> io::Result<()> {
    let data = folder.metadata()?;
    let mode = data.permissions().mode() & 0o7777;
    if mode & OPEN != OPEN || mode & GROUP != 0 {
        return Ok(());
    }
    let (owner, me) = (Uid::from_raw(data.uid()), geteuid());
    let group: Option<Gid> = match () {
        () if owner == me => Some(getegid()),
        () if me.is_root() => User::from_uid(owner)?.map(|user| user.gid),
        () => None,
    };
    let Some(group) = group else { return Ok(()) };
    fchown(folder, None, Some(group.as_raw()))?;
    folder.set_permissions(fs::Permissions::from_mode(mode | GROUP))
}

/// As [`adopt`], of a folder by its path, which belongs to root or the service account.
///
/// # Errors
/// The system's.
pub(crate) fn adopt_path(path: &Path) -> io::Result<()> {
    adopt(&File::open(path)?)
}
