//! What an engine's log tells about its end, taken from the stream line by line in bounded memory.
//!
//! The last lines of a failed start are general; the cause stands in the first error block, twenty
//! to eighty lines up. So each class keeps its first line, and nothing else is kept but the first
//! lines that look like a fault.
//!
//! A line decides only where the engine wrote it as a fault: at a level of its own for faults, or as an exception. A line that
//! may hold what a user wrote decides nothing at any level, nor do the lines in which such words go on. Of a chain of
//! exceptions the first is the cause: Python prints it first.

use model_store::advisor::{RunOutcome, StartLog};
use model_store::options::is_hidden;

use super::line::{
    Level, begins_a_request, goes_on, is_exception, is_of_a_request, line as parts, may_hold_words,
    plain,
};
use super::{rules, startup};

/// Longest line that is looked at, bytes; the rest of a longer one is passed over.
const LONGEST_LINE: usize = 4096;
/// Longest text that is kept of a line, characters.
const LONGEST_KEPT: usize = 300;

/// The classes of a cause: of several that are told, the first of this list decides. A worker that ran out of memory makes
/// the others fail in other ways, and which is first in the log is chance.
const CLASSES: [RunOutcome; 3] = [
    RunOutcome::OutOfMemory,
    RunOutcome::Incompatible,
    RunOutcome::Crash,
];

/// The texts of every rule, which may leave the job in the record: they are the engines' own.
pub(crate) fn rules() -> impl Iterator<Item = &'static str> {
    let causes = rules::RULES.iter().flat_map(|rule| rule.words);
    causes.chain(DEATHS).copied()
}

/// Texts of an engine that lost a part of itself.
const DEATHS: &[&str] = &[
    "died unexpectedly",
    FATAL,
    "engine core exited unexpectedly",
    "Engine background task failed",
    "Scheduler hit an exception",
];
/// The one of them that the exception follows.
const FATAL: &str = "EngineCore encountered a fatal error";
const FOLLOWED: &[&str] = &[FATAL, "Scheduler hit an exception"];

const TRACE: &str = "Traceback (most recent call last):";

/// Texts that announce a fault or repeat one that another process has told.
const GENERAL: &[&str] = &[
    TRACE,
    "failed to start",
    "hit an exception",
    "encountered a fatal error",
    "Engine core initialization failed",
    "initialization failed due to",
    "output_handler failed",
    "EngineDeadError",
    "encountered an issue",
    "Exception in worker",
    "Error when initializing model",
    "Received sigquit",
    "died unexpectedly",
    "RuntimeError: cancelled",
    "Shutting down shards",
];

/// The engine says that it was asked to stop. Errors after this are part of stopping: vLLM logs
/// `EngineDeadError` in about every second clean stop.
const STOPPING: &[&str] = &[
    "[shutdown] API server: shutdown triggered",
    "[shutdown] EngineCore: trigger received signal=SIGTERM",
];

/// The engine says that it serves.
const READY: &str = "Application startup complete.";
/// The same in SGLang's words.
const FIRED_UP: &str = "The server is fired up and ready to roll!";

/// What joins the exceptions of a chain.
const LINKS: &[&str] = &[
    "The above exception was the direct cause of",
    "During handling of the above exception",
];
/// Most processes whose chains are followed at once.
const MOST_PROCESSES: usize = 64;
/// Lines after an exception without a head of their own that still belong to it.
const DETAILS: u8 = 12;

/// The exceptions of one process.
#[derive(Clone, Debug, Default, PartialEq)]
struct Chain {
    process: String,
    /// A rule has fitted one of its exceptions.
    known: bool,
    /// A link was printed: the next traceback belongs to the same chain.
    linked: bool,
    /// Lines that may still belong to the last exception.
    details: u8,
    /// What a user wrote goes on.
    words: bool,
}

/// What was seen so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogNotes {
    /// First line of each kind of cause, in the order of [`CLASSES`].
    causes: [Option<String>; CLASSES.len()],
    /// First line that tells of a death, and when, in seconds since the start.
    pub(crate) death: Option<(String, f64)>,
    /// The next exception is that of which the engine died.
    dying: bool,
    /// When the engine said that it was asked to stop.
    pub(crate) stopping: Option<f64>,
    /// When it said that it serves.
    pub(crate) ready: Option<f64>,
    /// Version as the log has it.
    pub(crate) version: Option<String>,
    /// What it told of its start.
    pub(crate) start: StartLog,
    /// When it last said that it compiles, tunes or captures.
    pub(crate) settling: Option<f64>,
    serving: bool,
    chains: Vec<Chain>,
    /// First exception, first other fault, first general one.
    exception: Option<String>,
    fault: Option<String>,
    general: Option<String>,
}

impl LogNotes {
    /// Takes one line of the log, seen `at` seconds after the start.
    pub(crate) fn line(&mut self, raw: &str, at: f64) {
        let raw = plain(raw);
        let line = parts(&raw);
        let said = line.said();
        let serving = self.serving && self.death.is_none();
        if line.begins {
            // Words that went on behind no mark of a process are over, whoever speaks next.
            self.chain("").words = false;
        }
        let chain = self.chain(line.process);
        if chain.words && !line.begins {
            return;
        }
        chain.words = false;
        if may_hold_words(&said) || (serving && is_of_a_request(&raw)) {
            chain.details = 0;
            if goes_on(&said) || begins_a_request(&raw) {
                chain.words = true;
                self.chain("").words = true;
            }
            return;
        }
        if self.version.is_none() {
            self.version = version(line.text);
        }
        self.milestone(line.text, line.level, at);
        if startup::is_settling(line.text) {
            self.settling = Some(at);
        }
        if !self.serving {
            startup::take(&mut self.start, line.text);
        }
        if self.stopping.is_some() || line.level == Level::Quiet {
            self.chain(line.process).details = 0;
            return;
        }
        let chain = self.chain(line.process);
        if LINKS.iter().any(|link| line.text.starts_with(link)) {
            chain.linked = true;
            return;
        }
        if line.text.trim_end().ends_with(TRACE) {
            chain.known &= std::mem::take(&mut chain.linked);
            chain.details = 0;
        }
        let exception = is_exception(line.text);
        let counts = match line.level {
            Level::Fault => true,
            _ if line.begins => exception,
            _ => exception || chain.details > 0,
        };
        // What a traceback quotes of a program is no fault, whatever it says.
        let quoted = line.text.starts_with([' ', '\t']) && !exception;
        if counts && !quoted {
            self.fault(line.text, line.process, &said, exception);
        }
    }

    /// The words that tell of serving, stopping and dying.
    fn milestone(&mut self, text: &str, level: Level, at: f64) {
        let begins = |texts: &[&str]| texts.iter().any(|t| text.starts_with(t));
        if text.trim_end() == READY {
            self.ready.get_or_insert(at);
            self.serving = true;
        } else if text.starts_with(FIRED_UP) {
            self.serving = true;
        } else if begins(STOPPING) {
            self.stopping.get_or_insert(at);
        } else if self.stopping.is_none() {
            // vLLM warns of a lost core; everything else of the kind is a fault or has no level.
            let own = level != Level::Quiet || text.starts_with("[shutdown] ");
            if own && DEATHS.iter().any(|t| text.contains(t)) && self.death.is_none() {
                self.dying = FOLLOWED.iter().any(|t| text.contains(t));
                self.death = Some((kept(text), at));
            }
        }
    }

    /// Takes a line that the engine wrote as a fault.
    fn fault(&mut self, text: &str, process: &str, said: &str, exception: bool) {
        let serving = self.serving;
        let chain = self.chain(process);
        if exception {
            chain.details = DETAILS;
        }
        chain.details = chain.details.saturating_sub(1);
        // A later link of a chain says what came of the first.
        if chain.known && exception {
            return;
        }
        if let Some(rule) = rules::of(said, serving) {
            chain.known = true;
            let class = CLASSES.iter().position(|c| *c == rule.class);
            if let Some(cause) = class.and_then(|class| self.causes.get_mut(class)) {
                cause.get_or_insert_with(|| kept(text));
            }
        }
        if GENERAL.iter().any(|general| text.contains(general)) {
            self.general.get_or_insert_with(|| kept(text));
        } else if exception {
            self.exception.get_or_insert_with(|| kept(text));
            if std::mem::take(&mut self.dying)
                && let Some((line, _)) = &mut self.death
            {
                *line = kept(text);
            }
        } else if !said.trim().is_empty() {
            self.fault.get_or_insert_with(|| kept(text));
        }
    }

    fn chain(&mut self, process: &str) -> &mut Chain {
        let at = self.chains.iter().position(|c| c.process == process);
        let at = at.unwrap_or_else(|| {
            if self.chains.len() >= MOST_PROCESSES {
                self.chains.remove(0);
            }
            self.chains.push(Chain {
                process: process.to_owned(),
                ..Chain::default()
            });
            self.chains.len() - 1
        });
        &mut self.chains[at]
    }

    /// The cause that the log names, and its line.
    pub(crate) fn cause(&self) -> Option<(RunOutcome, &str)> {
        let found = CLASSES
            .iter()
            .zip(&self.causes)
            .find_map(|(outcome, line)| Some((*outcome, line.as_deref()?)));
        found.filter(|(_, line)| !line.is_empty())
    }

    /// The first exception, else the first line that tells of a fault, else one that only announces it.
    pub(crate) fn an_error(&self) -> Option<&str> {
        let all = [&self.exception, &self.fault, &self.general];
        all.into_iter().find_map(|line| line.as_deref())
    }
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

    fn notes(log: &str) -> LogNotes {
        let mut notes = LogNotes::default();
        log.lines().for_each(|line| notes.line(line, 1.0));
        notes
    }

    fn cause(log: &str) -> Option<(RunOutcome, String)> {
        notes(log)
            .cause()
            .map(|(class, line)| (class, line.to_owned()))
    }

    /// At every level, in every engine's form, on one line and on several.
    #[test]
    fn no_words_of_users_decide_or_are_kept() {
        const WORDS: &str = "torch.OutOfMemoryError: CUDA out of memory";
        for log in [
            "DEBUG 03-01 10:05:00 [logger.py:40] Request chatcmpl-1 details: prompt: 'WORDS'",
            "[2026-01-05 06:10:00] Receive: obj=GenerateReqInput(rid='1', text='WORDS')",
            "[2026-01-05 06:10:00] Finish: obj=GenerateReqInput(rid='1', text='x'), out={'text': 'WORDS'}",
            "(APIServer pid=1) ERROR 03-01 10:05:00 [serving.py:1] failed: messages=[{'content': 'WORDS'}]",
            "(APIServer pid=1) WARNING 03-01 10:05:00 [a.py:1] WORDS",
            "2025-12-16T09:36:23.280687Z  INFO router: inputs=WORDS",
            "{\"level\": \"ERROR\", \"message\": \"WORDS\"}",
            "(APIServer pid=1) DEBUG 03-01 10:05:00 [a.py:1] prompt: 'first\n(APIServer pid=1) WORDS'",
            "DEBUG 03-01 10:05:00 [a.py:1] prompt: 'first\nWORDS\nTraceback (most recent call last):\nWORDS'",
            "    raise RuntimeError(\"WORDS\")",
            "INFO:     Application startup complete.\nERROR 03-01 10:05:00 [serving_chat.py:257] ValueError: unknown role WORDS",
            "INFO:     Application startup complete.\nERROR:    Exception in ASGI application\nTraceback (most recent call last):\n  File \"a.py\"\nWORDS",
            "INFO 03-01 [a.py:1] prompt: 'Application startup complete.'",
            "INFO 03-01 [a.py:1] prompt: 'Worker proc died unexpectedly'",
        ] {
            let log = log.replace("WORDS", WORDS);
            let notes = notes(&log);
            assert_eq!((notes.cause(), notes.an_error()), (None, None), "{log}");
            let ready = log.starts_with("INFO:     App").then_some(1.0);
            assert_eq!((&notes.death, notes.ready), (&None, ready), "{log}");
        }
        // What comes after them counts again.
        let log = "DEBUG 1-1 [a.py:1] prompt: 'x\ny\nERROR 03-01 10:01:00 [core.py:7] RuntimeError: CUDA error: out of memory";
        assert_eq!(cause(log).unwrap().0, RunOutcome::OutOfMemory);
    }

    #[test]
    fn the_first_of_a_chain_is_the_cause() {
        let chain = |link: &str| {
            format!(
                "Traceback (most recent call last):\n  File \"a.py\", line 1\n\
                 ValueError: Total number of attention heads (28) must be divisible by tensor parallel size (8).\n\n\
                 {link} exception{}\n\nTraceback (most recent call last):\n  File \"b.py\", line 2\n\
                 RuntimeError: CUDA out of memory\n",
                if link.starts_with("The") {
                    " was the direct cause of the following exception:"
                } else {
                    ", another exception occurred:"
                }
            )
        };
        for link in ["The above", "During handling of the above"] {
            let (class, line) = cause(&chain(link)).unwrap();
            assert_eq!(class, RunOutcome::Incompatible, "{link}");
            assert!(line.contains("attention heads"), "{line}");
        }
        // Two tracebacks that no link joins are two faults.
        let apart =
            chain("During handling of the above").replace("During handling of", "Some time after");
        assert_eq!(cause(&apart).unwrap().0, RunOutcome::OutOfMemory);
    }

    #[test]
    fn a_refusal_after_the_start_is_of_one_request() {
        let refusal = "ERROR 03-01 10:01:00 [a.py:7] ValueError: dtype x is not supported";
        assert_eq!(cause(refusal).unwrap().0, RunOutcome::Incompatible);
        let served = format!("INFO:     Application startup complete.\n{refusal}");
        assert_eq!(cause(&served), None);
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
