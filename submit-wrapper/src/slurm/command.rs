//! Runs one of Slurm's commands with a time limit.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a command may take. A controller under load answers late; Slurm's own retries end
/// after a minute.
const LIMIT: Duration = Duration::from_secs(120);
/// Most bytes of output that are kept.
const MOST: u64 = 256 << 20;

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
    /// It failed, with its words.
    Failed(String),
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent(name) => write!(f, "Slurm's `{name}` is not on this machine's PATH"),
            Self::Late(name) => write!(f, "`{name}` gave no answer within {} s", LIMIT.as_secs()),
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
            Self::Late(_) | Self::Failed(_) => {
                "`scontrol ping` shows whether the controller answers"
            }
        }
    }
}

/// Runs a command and returns what it prints.
///
/// # Errors
/// [`CommandError`].
pub(crate) fn output(name: &'static str, args: &[&str]) -> Result<String, CommandError> {
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
    let mut child = command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => CommandError::Absent(name),
        _ => CommandError::Failed(format!("cannot start `{name}`: {e}")),
    })?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(name, &mut child)?;
    let (stdout, stderr) = (
        stdout.join().unwrap_or_default(),
        stderr.join().unwrap_or_default(),
    );
    if status.success() {
        return Ok(stdout);
    }
    let last = stderr
        .lines()
        .rev()
        .find(|l| !l.trim().is_empty())
        .unwrap_or("it said nothing");
    Err(CommandError::Failed(format!(
        "`{name}` failed ({status}): {}",
        last.trim()
    )))
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            // What was read before an error is still the answer; the exit status tells the rest.
            let _ = pipe.take(MOST).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(name: &'static str, child: &mut Child) -> Result<std::process::ExitStatus, CommandError> {
    let failed = |e: std::io::Error| CommandError::Failed(format!("cannot wait for `{name}`: {e}"));
    let end = Instant::now() + LIMIT;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        if Instant::now() >= end {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Err(CommandError::Late(name));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
