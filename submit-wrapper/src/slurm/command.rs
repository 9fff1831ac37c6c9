//! Runs one of Slurm's commands with a time limit.

use std::io::{BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a command may take. A controller under load answers late; Slurm's own retries end
/// after a minute.
const LIMIT: Duration = Duration::from_secs(120);
/// Most bytes of an answer that is kept whole. What users can make long is read by the line.
const MOST: usize = 64 << 20;
/// Most bytes of a line that are shown: accounting keeps 64 KiB of a submit line and of a comment each.
const LONGEST_LINE: usize = 1 << 20;

/// Variables that would change what the commands print.
const FOREIGN: [&str; 10] = [
    "SACCT_FORMAT",
    "SQUEUE_FORMAT",
    "SQUEUE_FORMAT2",
    "SQUEUE_STATES",
    "SQUEUE_USERS",
    "SQUEUE_PARTITION",
    "SQUEUE_ACCOUNT",
    "SQUEUE_SORT",
    "SINFO_FORMAT",
    "SLURM_CLUSTERS",
];

/// Why a command gave no answer.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// It is not on this machine.
    Absent(&'static str),
    /// It took too long.
    Late(&'static str),
    /// It told of more than is kept at once.
    TooLong(&'static str),
    /// It failed, with its words.
    Failed(String),
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent(name) => write!(f, "Slurm's `{name}` is not on this machine's PATH"),
            Self::Late(name) => write!(f, "`{name}` gave no answer within {} s", LIMIT.as_secs()),
            Self::TooLong(name) => write!(f, "`{name}` told of more than is kept at once"),
            Self::Failed(words) => f.write_str(words),
        }
    }
}

impl CommandError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Absent(_) => {
                "run it where Slurm's commands are installed, such as the controller or a login node"
            }
            Self::Failed(words) if words.contains("accounting storage is disabled") => {
                "outcomes are believed as far as accounting agrees: set `AccountingStorageType=accounting_storage/slurmdbd`"
            }
            Self::Failed(words) if words.contains("configuration source") => {
                "Slurm is installed here but not configured: run it on the controller or a login node"
            }
            // Before the database: slurmdbd is refused for the same reason, and is well.
            Self::Failed(words) if words.contains("authentication") => {
                "`munge -n | unmunge` shows whether munge runs here; its key and the clock must be those of the controller"
            }
            Self::Failed(words) if words.contains("the database") => {
                "`systemctl status slurmdbd` on the host that AccountingStorageHost in slurm.conf names"
            }
            Self::TooLong(_) => "`omnipilot ingest` goes on with less at a time",
            Self::Late(_) | Self::Failed(_) => {
                "`scontrol ping` shows whether the controller answers"
            }
        }
    }
}

/// Runs a command whose answer is small, and returns what it prints.
///
/// # Errors
/// [`CommandError`]; an answer of more than [`MOST`] bytes is one.
pub(crate) fn output(name: &'static str, args: &[&str]) -> Result<String, CommandError> {
    let mut text = String::new();
    let mut too_long = false;
    lines(name, args, |line| {
        too_long = text.len() + line.len() > MOST;
        if too_long {
            return ControlFlow::Break(());
        }
        text.push_str(line);
        text.push('\n');
        ControlFlow::Continue(())
    })?;
    if too_long {
        return Err(CommandError::TooLong(name));
    }
    Ok(text)
}

/// Runs a command and shows each line that it prints as it comes, without the line's end. However long the answer is, memory holds one line;
/// of a line only the first [`LONGEST_LINE`] bytes are shown. `each` ends the command by [`ControlFlow::Break`].
///
/// # Errors
/// [`CommandError`]; what was shown before it may be a part of the answer.
pub(crate) fn lines(
    name: &'static str,
    args: &[&str],
    each: impl FnMut(&str) -> ControlFlow<()>,
) -> Result<(), CommandError> {
    let mut child = start(name, args)?;
    let said = last_words(child.stderr.take());
    let stdout = child.stdout.take();
    let (over, watched) = channel::<()>();
    let pid = Pid::from_raw(child.id() as i32);
    // The child is waited for only after this thread has ended, so that its number is still its own.
    let watch = thread::spawn(move || {
        let late = watched.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout);
        if late {
            let _ = kill(pid, Signal::SIGKILL);
        }
        late
    });
    let ended = stdout.map_or(ControlFlow::Continue(()), |pipe| show(pipe, each));
    if ended.is_break() {
        let _ = child.kill();
    }
    // A command that has closed its output and goes on is waited for as long as the rest of the limit.
    let status = child.wait();
    drop(over);
    let late = watch.join().unwrap_or(false);
    let status =
        status.map_err(|e| CommandError::Failed(format!("cannot wait for `{name}`: {e}")))?;
    match (late, ended) {
        (true, _) => Err(CommandError::Late(name)),
        (false, ControlFlow::Break(())) => Ok(()),
        (false, ControlFlow::Continue(())) if status.success() => Ok(()),
        _ => {
            let words = said.join().unwrap_or_default();
            Err(CommandError::Failed(format!(
                "`{name}` failed ({status}): {words}"
            )))
        }
    }
}

fn start(name: &'static str, args: &[&str]) -> Result<Child, CommandError> {
    let mut command = Command::new(name);
    command
        .args(args)
        .env("LC_ALL", "C")
        .env("SLURM_TIME_FORMAT", "%s");
    FOREIGN.iter().for_each(|variable| {
        command.env_remove(variable);
    });
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => CommandError::Absent(name),
        _ => CommandError::Failed(format!("cannot start `{name}`: {e}")),
    })
}

/// Shows the lines of a stream until its end or until `each` has enough.
fn show(pipe: impl Read, mut each: impl FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut reader = BufReader::with_capacity(256 * 1024, pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut reader, &mut line) {
            // What was read before an error is still the answer; the exit status tells the rest.
            Ok(false) | Err(_) => return ControlFlow::Continue(()),
            Ok(true) => each(String::from_utf8_lossy(&line).trim_end_matches('\r'))?,
        }
    }
}

/// The next line, cut; false at the end.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut some = false;
    loop {
        let part = match reader.fill_buf() {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        if part.is_empty() {
            return Ok(some);
        }
        some = true;
        let end = part.iter().position(|b| *b == b'\n');
        let piece = &part[..end.unwrap_or(part.len())];
        let room = LONGEST_LINE.saturating_sub(line.len());
        line.extend_from_slice(&piece[..piece.len().min(room)]);
        let taken = end.map_or(part.len(), |at| at + 1);
        reader.consume(taken);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// The last line that is not empty of a stream of whatever length.
fn last_words(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut last = "it said nothing".to_owned();
        if let Some(pipe) = pipe {
            let _ = show(pipe, |line| {
                if !line.trim().is_empty() {
                    last = line.trim().to_owned();
                }
                ControlFlow::Continue(())
            });
        }
        last
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command printed by these words of a shell, each line of it cut to 40 bytes for the test's own sake.
    fn shown(script: &str, most: usize) -> (Vec<String>, Result<(), CommandError>) {
        let mut all = Vec::new();
        let result = lines("sh", &["-c", script], |line| {
            all.push(line[..line.len().min(40)].to_owned());
            match all.len() < most {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        (all, result)
    }

    #[test]
    fn an_answer_is_read_by_the_line_however_long_it_or_a_line_is() {
        let (all, result) = shown("printf 'a\\n\\nb'; printf '\\377c'", 9);
        assert!(result.is_ok());
        assert_eq!(all, ["a", "", "b\u{fffd}c"]);
        // One line of 64 MiB, then another.
        let (all, result) = shown("head -c 67108864 /dev/zero | tr '\\0' x; echo; echo end", 9);
        assert!(result.is_ok());
        assert_eq!((all.len(), all[1].as_str()), (2, "end"));
        // Enough is enough, and no failure; nor does a command that says much on standard error hang.
        let (all, result) = shown("yes", 3);
        assert!(result.is_ok() && all.len() == 3);
        let (_, result) = shown(
            "head -c 9000000 /dev/zero | tr '\\0' x >&2; echo >&2; echo why >&2; exit 3",
            9,
        );
        let told = result.unwrap_err().to_string();
        assert!(
            told.ends_with(": why") && told.contains("exit status: 3"),
            "{told}"
        );
    }

    #[test]
    fn an_answer_that_is_kept_whole_has_a_limit() {
        let error = output("yes", &["0123456789012345678901234567890123456789"]).unwrap_err();
        assert!(matches!(error, CommandError::TooLong("yes")), "{error}");
    }

    #[test]
    fn a_failure_names_the_daemon_that_is_down() {
        let failed = |words: &str| CommandError::Failed(words.into()).hint();
        for (words, daemon) in [
            (
                "Unable to contact slurm controller (connect failure)",
                "scontrol ping",
            ),
            (
                "Problem talking to the database: Connection refused",
                "slurmdbd",
            ),
            (
                "Problem talking to the database: Protocol authentication error",
                "munge",
            ),
            (
                "slurm_load_node error: Protocol authentication error",
                "munge",
            ),
        ] {
            assert!(failed(words).contains(daemon), "{words}");
        }
    }

    #[test]
    fn a_cluster_without_accounting_is_told_so() {
        let failed = |words: &str| CommandError::Failed(words.into()).hint();
        assert!(
            failed("`sacct` failed (exit status: 1): Slurm accounting storage is disabled")
                .contains("slurmdbd")
        );
        assert!(failed("`scontrol` failed (exit status: 1): x").contains("ping"));
    }
}
