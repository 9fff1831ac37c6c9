//! What the plugin says, always on stderr: stdout is the command's own.

use crate::host::{self, JobOptions, Level};
use crate::inherit;

/// Most lines of one message.
const MOST_LINES: usize = 4;

/// True where the outcome of a successful submission is to be told: on a terminal, or when asked for. A launcher that
/// reads stderr through a pipe sees nothing.
pub(crate) fn is_wanted(job: &impl JobOptions) -> bool {
    host::stderr_is_terminal()
        || job.is_set(c"verbose")
        || inherit::get("OMNIPILOT_VERBOSE").is_some_and(|v| !v.is_empty())
}

/// Says a message of several lines.
pub(crate) fn lines(level: Level, lines: &[String]) {
    for line in lines.iter().take(MOST_LINES) {
        host::log(level, &format!("omnipilot: {line}"));
    }
}

/// Says why there is no advice though one was asked for; the job goes as it was written.
pub(crate) fn fault(reason: &str) {
    host::log(
        Level::Info,
        &format!("omnipilot: no advice: {reason}; the job goes as written"),
    );
}
