//! Files that a user names to be read: regular ones, with lines of a sane length.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Longest line that is read, bytes.
const LONGEST_LINE: usize = 1 << 20;

/// Opens a regular file. Never waits: a FIFO or a device in its place is an error, not a hang.
///
/// # Errors
/// The system's, or [`io::ErrorKind::InvalidInput`] for something that is no regular file.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "not a regular file",
    ))
}

/// A regular file of lines, for a reader that keeps a line in memory.
///
/// # Errors
/// As [`open_regular`]; reading fails with [`io::ErrorKind::InvalidData`] in a line longer than
/// 1 MiB.
pub(crate) fn open_lines(path: &Path) -> io::Result<BufReader<ShortLines<File>>> {
    Ok(BufReader::new(ShortLines {
        inner: open_regular(path)?,
        line: 1,
        length: 0,
    }))
}

/// Passes bytes on as long as no line is longer than [`LONGEST_LINE`].
#[derive(Debug)]
pub(crate) struct ShortLines<R> {
    inner: R,
    line: u64,
    length: usize,
}

impl<R: Read> Read for ShortLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        for byte in buffer.iter().take(n) {
            self.length += 1;
            if *byte == b'\n' {
                self.line += 1;
                self.length = 0;
            } else if self.length > LONGEST_LINE {
                let text = format!("line {} is longer than 1 MiB", self.line);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> io::Result<usize> {
        let mut lines = ShortLines {
            inner: text,
            line: 1,
            length: 0,
        };
        io::copy(&mut lines, &mut io::sink()).map(|n| n as usize)
    }

    #[test]
    fn a_line_of_a_mebibyte_is_read_and_a_longer_one_is_named() {
        let longest = [b"a\n".as_slice(), &vec![b'x'; LONGEST_LINE], b"\nb"].concat();
        assert_eq!(read(&longest).unwrap(), longest.len());
        let longer = [b"a\n".as_slice(), &vec![b'x'; LONGEST_LINE + 1]].concat();
        assert_eq!(
            read(&longer).unwrap_err().to_string(),
            "line 2 is longer than 1 MiB"
        );
    }
}
