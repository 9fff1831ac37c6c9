//! Passes a stream on, byte for byte, and shows its lines to the log.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, mpsc::Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::log::{Lines, LogNotes};

/// The log's notes, shared by the two streams.
pub(crate) type SharedLog = Arc<Mutex<LogNotes>>;

/// Takes the lock whether or not a thread died with it: the notes are plain values.
pub(crate) fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts a thread that pumps `from` to `to` until the end, then sends a word through `ended`.
/// Output that nobody takes any more (a full disk, a closed pipe) is dropped: the engine must
/// never wait for it or die of it.
pub(crate) fn pump(
    from: OwnedFd,
    to: &impl AsFd,
    log: SharedLog,
    started: Instant,
    ended: Sender<()>,
) {
    let from = File::from(from);
    let to = to.as_fd().try_clone_to_owned().ok().map(File::from);
    let work = move || {
        copy(from, to, |line| {
            locked(&log).line(line, started.elapsed().as_secs_f64())
        });
        let _ = ended.send(());
    };
    let _ = thread::Builder::new()
        .name("tee".into())
        .stack_size(256 * 1024)
        .spawn(work);
}

fn copy(mut from: File, mut to: Option<File>, mut each: impl FnMut(&str)) {
    let (mut buffer, mut lines) = ([0_u8; 16 * 1024], Lines::default());
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        if let Some(to) = &mut to {
            pass_on(to, &buffer[..n]);
        }
        lines.push(&buffer[..n], &mut each);
    }
    lines.flush(each);
}

/// Writes all of it, or drops what is not taken.
fn pass_on(to: &mut File, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(n) if n > 0 => bytes = &bytes[n..],
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            // Somebody else made our output non-blocking.
            Err(e) if e.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(5)),
            _ => return,
        }
    }
}
