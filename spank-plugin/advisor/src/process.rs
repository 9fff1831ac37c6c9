//! The child process in which the advisor runs.
//!
//! A process and not a thread: a snapshot on a hung file system, a crash, an `abort` for want of memory or a stack that
//! overflows then cost the user an advice and never the submission. The child has nothing of its parent's open but the
//! pipe, so that a launcher which waits for the end of `sbatch`'s output does not wait for it.

use std::fs::{File, OpenOptions};
use std::io::PipeWriter;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork};

use crate::guard;

/// Longest wait for a child that was told to end.
const LAST_WAIT: Duration = Duration::from_millis(10);

/// A child process; ended when dropped.
pub(crate) struct Child {
    pid: Pid,
    /// What it writes.
    pub(crate) pipe: File,
}

impl Child {
    /// Starts one that runs the body, which writes into the pipe, and ends.
    ///
    /// # Errors
    /// The system's: no pipe, or no process.
    pub(crate) fn start(body: impl FnOnce(&mut File)) -> std::io::Result<Self> {
        let (ours, theirs) = std::io::pipe()?;
        let parent = std::process::id();
        // SAFETY: a submitting command has one thread, so the child has no lock that nobody would release; it leaves
        // through `_exit` alone.
        match unsafe { fork() }? {
            ForkResult::Child => in_child(&theirs, parent, body),
            ForkResult::Parent { child } => Ok(Self {
                pid: child,
                pipe: File::from(OwnedFd::from(ours)),
            }),
        }
    }
}

impl Drop for Child {
    /// Ends the child and takes its status; a process that hangs in the kernel is left to it.
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL); // a child of this process that nobody else waits for
        if self.has_ended() {
            return;
        }
        match self.watched() {
            Some(end) => {
                wait_readable(&end, LAST_WAIT);
                self.has_ended();
            }
            None => self.look_often(),
        }
    }
}

impl Child {
    /// Takes its status if it has one.
    fn has_ended(&self) -> bool {
        let status = waitpid(self.pid, Some(WaitPidFlag::WNOHANG));
        status != Ok(WaitStatus::StillAlive)
    }

    /// A descriptor that becomes readable when the child ends; kernels before 5.3 have none.
    fn watched(&self) -> Option<OwnedFd> {
        // SAFETY: takes numbers; no status was taken, so the number is still this child's.
        let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid.as_raw(), 0) };
        let opened = RawFd::try_from(opened).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: just opened, and owned by nobody else.
        Some(unsafe { OwnedFd::from_raw_fd(opened) })
    }

    fn look_often(&self) {
        let until = Instant::now() + LAST_WAIT;
        while !self.has_ended() && Instant::now() < until {
            std::thread::sleep(Duration::from_micros(250));
        }
    }
}

/// Runs the body and ends the process, without any of the parent's exit handlers.
fn in_child(pipe: &PipeWriter, parent: u32, body: impl FnOnce(&mut File)) -> ! {
    guard::quietly(|| withdraw(pipe, parent).map(|mut pipe| body(&mut pipe)));
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(0) }
}

/// Lets go of everything of the parent's: no descriptor but the pipe, no output, no core file, no life of its own.
fn withdraw(pipe: &PipeWriter, parent: u32) -> Option<File> {
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = set_pdeathsig(Signal::SIGKILL);
    // A parent that was killed before the call sends no signal any more, and keeps no time limit.
    if parent_id() != parent {
        return None;
    }
    // A duplicate is never one of the standard three, which are about to be replaced.
    let kept = File::from(pipe.as_fd().try_clone_to_owned().ok()?);
    if kept.as_raw_fd() < 3 {
        return None;
    }
    close_all_from_3_but(kept.as_raw_fd());
    let nothing = OpenOptions::new().read(true).write(true).open("/dev/null");
    if let Ok(nothing) = nothing {
        let _ = dup2_stdin(&nothing);
        let _ = dup2_stdout(&nothing);
        let _ = dup2_stderr(&nothing);
    }
    Some(kept)
}

fn close_all_from_3_but(kept: RawFd) {
    close_range(3, kept - 1);
    close_range(kept + 1, RawFd::MAX);
}

/// Kernels before 5.9 do not know the call; there the first thousand descriptors are closed one by one.
fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    // SAFETY: the child uses none of these descriptors.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, last, 0) != 0 {
            for descriptor in first..=last.min(1024) {
                libc::close(descriptor);
            }
        }
    }
}

/// Waits until there is something to read (or its end); false when the time is up.
pub(crate) fn wait_readable(source: &impl AsFd, left: Duration) -> bool {
    let until = Instant::now() + left;
    loop {
        let ms = until.saturating_duration_since(Instant::now()).as_millis();
        let most = PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX);
        let mut wanted = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wanted, most) {
            Ok(ready) => return ready > 0,
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
}
