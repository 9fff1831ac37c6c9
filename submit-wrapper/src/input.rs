//! Files that a user names to be read: regular ones, with lines of a sane length.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Longest line that is read, bytes.
const LONGEST_LINE: usize = 1 << 20;

/// Largest small file, bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// Opens a regular file. Never waits: a FIFO or a device in its place is an error, not a hang. It is not opened either: who writes into a FIFO
/// would take it for its reader.
///
/// # Errors
/// The system's, or [`io::ErrorKind::InvalidInput`] for something that is no regular file.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let other = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    if !std::fs::metadata(path)?.is_file() {
        return Err(other());
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)?;
    // Something else may have come into its place.
    file.metadata()?.is_file().then_some(file).ok_or_else(other)
}

/// Text of a small regular file; `None` for anything else, and for one of more than 1 MiB.
pub(crate) fn small_text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = open_regular(path).ok()?;
    file.take(LONGEST_FILE + 1).read_to_string(&mut text).ok()?;
    (text.len() as u64 <= LONGEST_FILE).then_some(text)
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
    fn a_small_file_is_read_and_nothing_that_has_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        std::fs::write(place("small"), "a: 1").unwrap();
        assert_eq!(small_text(&place("small")).as_deref(), Some("a: 1"));
        std::fs::write(place("large"), vec![b'x'; (1 << 20) + 1]).unwrap();
        assert_eq!(small_text(&place("large")), None);
        assert_eq!(small_text(Path::new("/dev/zero")), None);
        nix::unistd::mkfifo(&place("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(small_text(&place("fifo")), None, "nobody writes into it");
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
