//! A file that takes the place of an older one once it is whole.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

/// What is written beside a file, to be renamed over it; gone if it is never finished.
pub(crate) struct Draft(NamedTempFile);

impl Draft {
    /// An empty draft in the folder of `path`.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn beside(path: &Path) -> io::Result<Self> {
        NamedTempFile::new_in(folder_of(path)).map(Self)
    }

    /// Puts it into the place of `path`, with these permission bits: whoever reads meanwhile, and whoever reads after a power cut, has the old
    /// file or the new one whole.
    ///
    /// # Errors
    /// The system's; the old file is then as it was.
    pub(crate) fn finish(self, path: &Path, mode: u32) -> io::Result<()> {
        self.0.as_file().sync_all()?;
        self.put(path, mode)?;
        // A folder that may not be read cannot be synced: a power cut may then bring the old file back.
        let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
        Ok(())
    }

    /// As [`Self::finish`], for what a power cut may take: it waits for no disk.
    ///
    /// # Errors
    /// The system's; the old file is then as it was.
    pub(crate) fn put(self, path: &Path, mode: u32) -> io::Result<()> {
        let file = self.0.as_file();
        file.set_permissions(Permissions::from_mode(mode))?;
        self.0.persist(path).map_err(|e| e.error)?;
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|d| !d.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Writes a text into the place of `path`.
///
/// # Errors
/// As for [`Draft`].
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut draft = Draft::beside(path)?;
    draft.write_all(text.as_bytes())?;
    draft.finish(path, mode)
}

/// The permission bits of a file.
pub(crate) fn mode_of(file: &Metadata) -> u32 {
    file.permissions().mode()
}
