//! The published snapshot.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a regular file of at most `most` bytes. Never waits: a FIFO or a device in its place is
/// an error, not a hang.
///
/// # Errors
/// The system's, or [`io::ErrorKind::InvalidData`] for something that is no regular file or is
/// larger than `most`.
pub fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    const NONBLOCK_CLOEXEC: i32 = 0o4000 | 0o2_000_000;
    let file: File = std::fs::OpenOptions::new().read(true).custom_flags(NONBLOCK_CLOEXEC).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    if meta.len() > most {
        let text = format!("{} bytes, the limit is {most}", meta.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("grew past {most} bytes")));
    }
    Ok(bytes)
}
