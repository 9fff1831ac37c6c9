//! A file that takes the place of an older one once it is whole.

use std::fs::{Metadata, Permissions};
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
        let folder = path.parent().filter(|d| !d.as_os_str().is_empty());
        NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map(Self)
    }

    /// Puts it into the place of `path`, with these permission bits: whoever reads meanwhile has the
    /// old file or the new one.
    ///
    /// # Errors
    /// The system's; the old file is then as it was.
    pub(crate) fn finish(self, path: &Path, mode: u32) -> io::Result<()> {
        let file = self.0.as_file();
        file.set_permissions(Permissions::from_mode(mode))?;
        self.0.persist(path).map_err(|e| e.error)?;
        Ok(())
    }
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
