//! Folders of files that are to be made.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::exit;

/// Makes the folder of a file that is to be made.
pub(crate) fn make_parent(file: &Path) -> anyhow::Result<()> {
    let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) else {
        return Ok(());
    };
    make_folders(dir).map_err(|e| {
        exit::fail(
            format!("cannot make {}: {e}", dir.display()),
            "run it as a user who may",
        )
    })
}

/// Makes a folder and those above it. Those that are new can be entered by every user, whatever
/// the umask: jobs read the snapshot and write to the spool below them.
pub(crate) fn make_folders(dir: &Path) -> std::io::Result<()> {
    let new: Vec<&Path> = dir
        .ancestors()
        .take_while(|d| !d.as_os_str().is_empty() && !d.exists())
        .collect();
    std::fs::create_dir_all(dir)?;
    new.into_iter()
        .try_for_each(|d| std::fs::set_permissions(d, std::fs::Permissions::from_mode(0o755)))
}
