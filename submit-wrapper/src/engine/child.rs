//! The engine's processes: start, status, end.

use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::verdict::Exit;

/// Time that processes have to end by themselves after the engine did.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Starts a command in a process group of its own, its output piped to us. `mask` is the signal
/// mask it gets: ours is blocked for waiting.
///
/// # Errors
/// What the system says, of a program that is not there for instance.
pub(crate) fn spawn(command: &[String], mask: SigSet) -> io::Result<Child> {
    // Engines start processes of their own; when their parent is gone they become ours, not
    // process 1's, and are found and ended.
    let _ = prctl::set_child_subreaper(true);
    let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = Command::new(program);
    child
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if io::stdin().is_terminal() {
        // Outside the terminal's foreground group a read would stop the engine for good.
        child.stdin(Stdio::null());
    }
    let prepare = move || {
        mask.thread_set_mask()?;
        // Whoever kills the wrapper shall not leave a server behind.
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        Ok(())
    };
    // SAFETY: between fork and exec `prepare` calls sigprocmask and prctl alone, both safe to call
    // there, and touches no lock, no heap and no state of this process.
    unsafe { child.pre_exec(prepare) };
    child.spawn()
}

/// Collects ended children; the status of `engine` if it is among them.
pub(crate) fn reap(engine: Pid) -> Option<Exit> {
    let mut found = None;
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == engine => found = Some(Exit::Code(code)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == engine => {
                found = Some(Exit::Signal(signal as i32))
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return found,
            Ok(_) => {}
        }
    }
}

/// Ends what is left of the engine's group and of its children elsewhere: kill -9 of `vllm serve`
/// leaves its engine core and workers alive.
pub(crate) fn end_rest(engine: Pid) {
    let began = Instant::now();
    loop {
        reap(engine);
        let late = began.elapsed() > AFTERMATH;
        let group = kill(group(engine), late.then_some(Signal::SIGKILL)) != Err(Errno::ESRCH);
        let strays = children();
        if late {
            for pid in &strays {
                let _ = kill(*pid, Signal::SIGKILL);
            }
        }
        if (!group && strays.is_empty()) || began.elapsed() > 3 * AFTERMATH {
            return;
        }
        sleep(Duration::from_millis(20));
    }
}

/// Kills the engine's whole group.
pub(crate) fn kill_group(engine: Pid) {
    let _ = kill(group(engine), Signal::SIGKILL);
}

fn group(engine: Pid) -> Pid {
    Pid::from_raw(-engine.as_raw())
}

/// Our children as the kernel lists them, for each of our threads.
fn children() -> Vec<Pid> {
    let threads = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let lists = threads.filter_map(|t| std::fs::read_to_string(t.path().join("children")).ok());
    lists
        .flat_map(|l| {
            l.split_whitespace()
                .filter_map(|p| p.parse().ok())
                .map(Pid::from_raw)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Ends this process as the engine ended: with its code, or by its signal, which a shell shows as
/// 128 + signal and Slurm as the signal.
pub(crate) fn end_like(exit: Exit) -> ExitCode {
    match exit {
        Exit::Code(code) => ExitCode::from(code as u8),
        Exit::Signal(number) => {
            if let Ok(by) = Signal::try_from(number) {
                die_by(by);
            }
            ExitCode::from((128 + number) as u8)
        }
    }
}

/// Returns only if the signal does not end this process.
fn die_by(by: Signal) {
    // One core file, the engine's, is enough.
    let _ = prctl::set_dumpable(false);
    if !matches!(by, Signal::SIGKILL | Signal::SIGSTOP) {
        // SAFETY: it installs no handler, only the default action, and no other thread of ours
        // depends on this signal any more.
        let _ = unsafe { signal(by, SigHandler::SigDfl) };
    }
    let mut only = SigSet::empty();
    only.add(by);
    let _ = only.thread_unblock();
    let _ = nix::sys::signal::raise(by);
}
