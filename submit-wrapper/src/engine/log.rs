//! What an engine's log tells about its end, taken from the stream line by line in bounded memory.
//!
//! The last lines of a failed start are general; the cause stands in the first error block, twenty
//! to eighty lines up. So each class keeps its first line, and nothing else is kept but the first
//! and the last line that look like an error.

use model_store::advisor::RunOutcome;
use model_store::options::is_hidden;

/// Longest line that is looked at, bytes; the rest of a longer one is passed over.
const LONGEST_LINE: usize = 4096;
/// Longest text that is kept of a line, characters.
const LONGEST_KEPT: usize = 300;

/// Texts that tell why an engine did not start or ended. Sources: vLLM 0.32.0 and 0.33.0, PyTorch,
/// NCCL, SGLang. First match wins, so the special ones come before the general.
const CAUSES: &[(RunOutcome, &[&str])] = &[
    (
        RunOutcome::OutOfMemory,
        &[
            "out of memory. Tried to allocate",
            "CUDA out of memory",
            "CUDA error: out of memory",
            "HIP out of memory",
            "OutOfMemoryError",
            "larger than the available KV cache memory",
            "larger than the maximum number of tokens that can be stored in KV cache",
            "No available memory for the cache blocks",
            "is less than requested memory for kv",
            "is less than desired GPU memory utilization",
            "Not enough memory. Please try to increase --mem-fraction-static",
        ],
    ),
    (
        RunOutcome::Incompatible,
        &[
            "must be divisible by tensor parallel size",
            "is not divisible by weight quantization",
            "is not supported for the current GPU",
            "Minimum capability",
            "Min capability",
            "is only supported on GPUs with compute capability",
            "Unknown quantization method",
            "Cannot find the config file for",
            "is greater than the derived max_model_len",
            "Not enough allowed NUMA nodes to bind threads",
            "is larger than the number of available GPUs",
        ],
    ),
    (
        RunOutcome::Crash,
        &[
            "Address already in use",
            "unrecognized arguments",
            "HFValidationError",
            "LocalEntryNotFoundError",
            "Cannot find any model weights",
            "NCCL error",
        ],
    ),
];

/// The texts of every rule, which may leave the job in the record: they are the engines' own.
pub(crate) fn rules() -> impl Iterator<Item = &'static str> {
    let causes = CAUSES.iter().flat_map(|(_, texts)| *texts);
    causes.chain(DEATHS).copied()
}

/// Texts of an engine that lost a part of itself.
const DEATHS: &[&str] = &[
    "died unexpectedly",
    "EngineCore encountered a fatal error",
    "engine core exited unexpectedly",
];

/// The engine says that it was asked to stop. Errors after this are part of stopping: vLLM logs
/// `EngineDeadError` in about every second clean stop.
const STOPPING: &[&str] = &[
    "[shutdown] API server: shutdown triggered",
    "EngineCore: trigger received signal=SIGTERM",
];

/// The engine says that it serves.
const READY: &str = "Application startup complete.";

/// What was seen so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogNotes {
    /// First line of each kind of cause, in the order of [`CAUSES`].
    causes: [Option<String>; CAUSES.len()],
    /// First line that tells of a death, and when, in seconds since the start.
    pub(crate) death: Option<(String, f64)>,
    /// When the engine said that it was asked to stop.
    pub(crate) stopping: Option<f64>,
    /// When it said that it serves.
    pub(crate) ready: Option<f64>,
    /// Version as the log has it.
    pub(crate) version: Option<String>,
    first_error: Option<String>,
    last_error: Option<String>,
}

impl LogNotes {
    /// Takes one line of the log, seen `at` seconds after the start.
    pub(crate) fn line(&mut self, line: &str, at: f64) {
        if self.version.is_none() {
            self.version = version(line);
        }
        let has = |texts: &[&str]| texts.iter().any(|t| line.contains(t));
        if line.contains(READY) {
            self.ready.get_or_insert(at);
        } else if has(STOPPING) {
            self.stopping.get_or_insert(at);
        } else if has(DEATHS) && self.stopping.is_none() {
            self.death.get_or_insert_with(|| (kept(line), at));
        }
        // Prompts of users are logged at INFO: their words decide nothing.
        if line.contains(" INFO ") || line.starts_with("INFO") || self.stopping.is_some() {
            return;
        }
        if let Some(class) = CAUSES.iter().position(|(_, texts)| has(texts))
            && !is_source(line)
        {
            self.causes[class].get_or_insert_with(|| kept(line));
        }
        if is_error(line) {
            self.first_error.get_or_insert_with(|| kept(line));
            self.last_error = Some(kept(line));
        }
    }

    /// The cause that the log names, and its line.
    pub(crate) fn cause(&self) -> Option<(RunOutcome, &str)> {
        let found = CAUSES
            .iter()
            .zip(&self.causes)
            .find_map(|((outcome, _), line)| Some((*outcome, line.as_deref()?)));
        found.filter(|(_, line)| !line.is_empty())
    }

    /// The first line that looks like an error, else the last one.
    pub(crate) fn an_error(&self) -> Option<&str> {
        self.first_error.as_deref().or(self.last_error.as_deref())
    }
}

fn is_error(line: &str) -> bool {
    // A traceback's last line begins with the exception's name.
    let head = line.split([':', ' ']).next().unwrap_or_default();
    let exception = head.ends_with("Error") || head.ends_with("Exception");
    (exception && !line.starts_with("RuntimeError: Engine core initialization failed"))
        || line.contains(" ERROR ")
}

/// A program's own line in a traceback: it names the exception, and not what this says.
fn is_source(line: &str) -> bool {
    let text = kept(line);
    let text = match text.split_once(") ") {
        Some((process, text)) if process.starts_with('(') => text,
        _ => &text,
    };
    text.trim_start().starts_with("raise ")
}

/// A line without its log prefix, on one line, cut.
fn kept(line: &str) -> String {
    let text = line
        .rsplit_once(".py:")
        .and_then(|(_, after)| after.split_once("] "))
        .map_or(line, |(_, text)| text);
    let text = text
        .trim()
        .strip_prefix("Value error, ")
        .unwrap_or(text.trim());
    let clean = |c: char| if is_hidden(c) { ' ' } else { c };
    text.chars().take(LONGEST_KEPT).map(clean).collect()
}

/// `version 0.32.0`, `(v0.32.0)` in the lines that name the engine.
fn version(line: &str) -> Option<String> {
    let after = ["LLM engine (v", "API server version ", "  version "]
        .iter()
        .find_map(|mark| line.split_once(mark).map(|(_, after)| after))?;
    let end = after
        .find(|c: char| !(c.is_ascii_alphanumeric() || ".+-".contains(c)))
        .unwrap_or(after.len());
    let text = &after[..end.min(64)];
    text.starts_with(|c: char| c.is_ascii_digit())
        .then(|| text.to_owned())
}

/// Cuts a stream of bytes into lines for [`LogNotes::line`].
#[derive(Debug, Default)]
pub(crate) struct Lines {
    part: Vec<u8>,
}

impl Lines {
    /// Gives each line that these bytes complete.
    pub(crate) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
            let room = LONGEST_LINE.saturating_sub(self.part.len());
            self.part.extend_from_slice(&piece[..piece.len().min(room)]);
            if matches!(piece.last(), Some(b'\n' | b'\r')) {
                self.flush(&mut each);
            }
        }
    }

    /// Gives what stands after the last line end.
    pub(crate) fn flush(&mut self, mut each: impl FnMut(&str)) {
        let line = std::mem::take(&mut self.part);
        let text = String::from_utf8_lossy(&line);
        if !text.trim().is_empty() {
            each(text.trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn users_words_decide_nothing() {
        let mut notes = LogNotes::default();
        notes.line(
            "(APIServer pid=1) INFO 11-23 [logger.py:1] prompt: 'CUDA out of memory'",
            1.0,
        );
        assert_eq!(notes.cause(), None);
    }

    #[test]
    fn evidence_is_the_text_without_its_prefix() {
        let mut notes = LogNotes::default();
        notes.line("(EngineCore pid=7) ERROR 11-23 04:40:00 [core.py:1510] torch.OutOfMemoryError: CUDA out of memory. Tried", 1.0);
        assert_eq!(
            notes.cause(),
            Some((
                RunOutcome::OutOfMemory,
                "torch.OutOfMemoryError: CUDA out of memory. Tried"
            ))
        );
    }

    #[test]
    fn versions_are_found() {
        let of = |line: &str| version(line);
        assert_eq!(
            of("INFO [api_utils.py:347]  x  version 0.32.0").as_deref(),
            Some("0.32.0")
        );
        assert_eq!(
            of("Initializing a V1 LLM engine (v0.33.1rc1+cu128) with config").as_deref(),
            Some("0.33.1rc1+cu128")
        );
        assert_eq!(of("no version here"), None);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_bytes_arrive(text in "[ab\n\r]{0,60}", cut in 0_usize..60) {
            let collect = |pieces: &[&[u8]]| {
                let (mut lines, mut out) = (Lines::default(), Vec::new());
                for piece in pieces {
                    lines.push(piece, |l| out.push(l.to_owned()));
                }
                lines.flush(|l| out.push(l.to_owned()));
                out
            };
            let bytes = text.as_bytes();
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(collect(&[a, b]), collect(&[bytes]));
        }

        #[test]
        fn no_log_panics_or_grows(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
            let (mut lines, mut notes) = (Lines::default(), LogNotes::default());
            lines.push(&bytes, |l| notes.line(l, 0.0));
            prop_assert!(lines.part.len() <= LONGEST_LINE);
            lines.flush(|l| notes.line(l, 0.0));
        }
    }
}
