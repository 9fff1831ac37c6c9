//! What the plugin says, always on stderr: stdout is the command's own.

use model_store::carry_out::{MOST_LINES, Tone, VERBOSE, no_advice};
use model_store::options::is_hidden;

use crate::environment;
use crate::host::{self, JobOptions, Level};

/// Longest line, characters: names and reasons come from files that anybody may have written.
const LONGEST_LINE: usize = 600;

/// True where somebody sees what is said: on a terminal, or with `-v`. A launcher that reads stderr through a pipe does not.
pub(crate) fn is_watched(job: &impl JobOptions) -> bool {
    host::stderr_is_terminal() || job.is_set(c"verbose")
}

/// Whether a message of this tone is said.
pub(crate) fn is_heard(tone: Tone, watched: bool) -> bool {
    let verbose = environment::get(VERBOSE);
    tone.is_heard(watched, verbose.as_deref().and_then(|v| v.to_str().ok()))
}

/// Says a message of several lines.
pub(crate) fn lines(level: Level, lines: &[String]) {
    for line in lines.iter().take(MOST_LINES) {
        host::log(level, &printable(&format!("omnipilot: {line}")));
    }
}

/// Says why there is no advice though one was asked for; the job goes as it was written.
pub(crate) fn fault(reason: &str) {
    if is_heard(Tone::Info, false) {
        lines(Level::Info, &[no_advice(reason)]);
    }
}

/// On one line, without what a terminal would obey: control characters, and those that turn the direction of writing.
fn printable(text: &str) -> String {
    let shown = |c: char| if is_hidden(c) { '?' } else { c };
    let mut line: String = text.chars().take(LONGEST_LINE).map(shown).collect();
    if text.chars().nth(LONGEST_LINE).is_some() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_and_moves_no_cursor() {
        let hostile = "family \u{1b}[31mred\u{7}\r\nsbatch: fake \u{202e}x\u{9b}2J";
        assert_eq!(printable(hostile), "family ?[31mred???sbatch: fake ?x?2J");
        let long = printable(&"z".repeat(900_000));
        assert_eq!(long.len(), LONGEST_LINE + 3);
        assert_eq!(printable("tp 4, é"), "tp 4, é");
    }
}
