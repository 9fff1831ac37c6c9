//! The child process in which the advisor runs.
//!
//! A process and not a thread: a snapshot on a hung file system, a crash, an `abort` for want of memory or a stack that
//! overflows then cost the user an advice and never the submission. The child has nothing of its parent's open but the
//! pipe, so that a launcher which waits for the end of `sbatch`'s output does not wait for it.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use crate::guard;

/// Longest wait for a child that was told to end.
const LAST_WAIT: Duration = Duration::from_millis(10);

/// A child process; ended when dropped.
pub(crate) struct Child {
    pid: libc::pid_t,
    /// What it writes.
    pub(crate) pipe: File,
}

impl Child {
    /// Starts one that runs the body, which writes into the pipe, and ends.
    ///
    /// # Errors
    /// The system's: no pipe, or no process.
    pub(crate) fn start(body: impl FnOnce(&mut File)) -> std::io::Result<Self> {
        let (ours, theirs) = pipe()?;
        // SAFETY: takes and touches nothing.
        let parent = unsafe { libc::getpid() };
        // SAFETY: a submitting command has one thread, so the child has no lock that nobody would release; it leaves
        // through `_exit` alone.
        match unsafe { libc::fork() } {
            -1 => Err(std::io::Error::last_os_error()),
            0 => in_child(&theirs, parent, body),
            pid => Ok(Self {
                pid,
                pipe: File::from(ours),
            }),
        }
    }
}

impl Drop for Child {
    /// Ends the child and takes its status; a process that hangs in the kernel is left to it.
    fn drop(&mut self) {
        // SAFETY: a child of this process that nobody else waits for.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
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
        // SAFETY: as above; a null pointer for a status that is not wanted.
        unsafe { libc::waitpid(self.pid, std::ptr::null_mut(), libc::WNOHANG) != 0 }
    }

    /// A descriptor that becomes readable when the child ends; kernels before 5.3 have none.
    fn watched(&self) -> Option<OwnedFd> {
        // SAFETY: takes numbers; no status was taken, so the number is still this child's.
        let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, self.pid, 0) };
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

fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let mut ends: [RawFd; 2] = [-1; 2];
    // SAFETY: room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    // SAFETY: just opened, and owned by nobody else.
    Ok(ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) }).into())
}

/// Runs the body and ends the process, without any of the parent's exit handlers.
fn in_child(pipe: &OwnedFd, parent: libc::pid_t, body: impl FnOnce(&mut File)) -> ! {
    guard::quietly(|| withdraw(pipe.as_raw_fd(), parent).map(|mut pipe| body(&mut pipe)));
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(0) }
}

/// Lets go of everything of the parent's: no descriptor but the pipe, no output, no core file, no life of its own.
fn withdraw(pipe: RawFd, parent: libc::pid_t) -> Option<File> {
    // SAFETY: these calls take numbers, and a limit and a path that live through them; the duplicate belongs to the
    // `File` alone.
    unsafe {
        let no_core = libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        };
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // A parent that was killed before the call sends no signal any more, and keeps no time limit.
        if libc::getppid() != parent {
            return None;
        }
        let kept = libc::fcntl(pipe, libc::F_DUPFD_CLOEXEC, 3);
        if kept < 3 {
            return None;
        }
        close_all_from_3_but(kept);
        let nothing = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        for standard in 0..3 {
            libc::dup2(nothing, standard);
        }
        Some(File::from_raw_fd(kept))
    }
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
pub(crate) fn wait_readable(source: &impl AsRawFd, left: Duration) -> bool {
    let until = Instant::now() + left;
    loop {
        let ms = until.saturating_duration_since(Instant::now()).as_millis();
        let ms = libc::c_int::try_from(ms).unwrap_or(libc::c_int::MAX);
        let mut wanted = libc::pollfd {
            fd: source.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one entry, valid through the call.
        match unsafe { libc::poll(&raw mut wanted, 1, ms) } {
            0 => return false,
            n if n > 0 => return true,
            _ if std::io::Error::last_os_error().kind() != std::io::ErrorKind::Interrupted => {
                return false;
            }
            _ => {}
        }
    }
}
