//! What a line of a log is: who wrote it, how loud, and whether it may hold what a user wrote.
//!
//! Engines write in the forms of Python's, Rust's, PyTorch's and NCCL's loggers, behind the names of their processes and of
//! `srun`; what Python prints itself has no head at all.

use std::borrow::Cow;

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// Debug, information, warnings.
    Quiet,
    /// The writer calls it a fault.
    Fault,
    /// The line does not say.
    Unsaid,
}

/// One line, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Process that the line is marked with; empty where it is not.
    pub(super) process: &'a str,
    pub(super) level: Level,
    /// It begins with what a logger puts in front: it goes on with nothing before it.
    pub(super) begins: bool,
    /// What it says, blanks in front kept.
    pub(super) text: &'a str,
}

/// Words that stand where requests are logged, in lower case: what follows may be anybody's.
const WORDS_OF_USERS: [&str; 28] = [
    "receive: obj=",
    "finish: obj=",
    "reqinfo(",
    "reqinput(",
    "reqinput ",
    "completionrequest(",
    "received request",
    "added request",
    "request details",
    "request body",
    "raw request",
    "generated response",
    "samplingparams(",
    "sampling_params",
    "prompt:",
    "prompt=",
    "prompt'",
    "prompt\"",
    "prompt_token",
    "prompts=",
    "messages=",
    "messages:",
    "messages'",
    "messages\"",
    "text='",
    "text=\"",
    "inputs=",
    "input_ids",
];

const QUIET: [&str; 10] = [
    "TRACE", "DEBUG", "INFO", "NOTICE", "WARNING", "WARN", "V", "D", "I", "W",
];
const FAULTS: [&str; 8] = [
    "ERROR",
    "CRITICAL",
    "FATAL",
    "EXCEPTION",
    "SEVERE",
    "PANIC",
    "E",
    "F",
];

/// Takes a line apart.
pub(super) fn line(raw: &str) -> Line<'_> {
    let (process, rest) = without_processes(raw);
    let head = head(rest);
    let (level, text) = head.unwrap_or((Level::Unsaid, rest));
    Line {
        process,
        level,
        begins: head.is_some(),
        text,
    }
}

/// A line without the codes that colour it.
pub(super) fn plain(raw: &str) -> Cow<'_, str> {
    if !raw.contains('\u{1b}') {
        return Cow::Borrowed(raw);
    }
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // `ESC [ ... letter`
            let _ = rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

impl Line<'_> {
    /// What it says in lower case, without what a validator quotes of its input.
    pub(super) fn said(&self) -> String {
        let text = self.text.split("[type=").next().unwrap_or_default();
        text.to_ascii_lowercase()
    }
}

/// True where what is said, in lower case, may hold what a user wrote.
pub(super) fn may_hold_words(said: &str) -> bool {
    WORDS_OF_USERS.iter().any(|words| said.contains(words)) || said.trim_start().starts_with('{')
}

/// Parts of a server that handle one request: what they complain of may quote it.
const OF_A_REQUEST: [&str; 7] = [
    "[serving",
    "/serving",
    "protocol.py:",
    "chat_utils.py:",
    "[preprocess.py:",
    "tool_parser",
    "reasoning_parser",
];
/// A web server says that an exception left a request's handler, and prints it below.
const IN_A_REQUEST: &str = "Exception in ASGI application";

/// True where a line of an engine that serves complains of one request.
pub(super) fn is_of_a_request(raw: &str) -> bool {
    let head = raw.split("] ").next().unwrap_or_default();
    OF_A_REQUEST.iter().any(|place| head.contains(place)) || begins_a_request(raw)
}

/// True where what is printed below is of one request.
pub(super) fn begins_a_request(raw: &str) -> bool {
    raw.trim_end().ends_with(IN_A_REQUEST)
}

/// True where such words go on in the next line: a quotation that was opened and not closed.
pub(super) fn goes_on(said: &str) -> bool {
    let Some(at) = WORDS_OF_USERS
        .iter()
        .filter_map(|w| Some(said.find(w)? + w.len() - 1))
        .min()
    else {
        return false;
    };
    let rest = said.get(at..).unwrap_or_default();
    let Some(open) = rest.find(['\'', '"']) else {
        return !rest.trim_end().ends_with([')', '}', ']', '.']);
    };
    let quote = rest[open..].chars().next().unwrap_or('"');
    let mut escaped = false;
    let closed = rest[open + 1..].chars().any(|c| {
        let here = std::mem::take(&mut escaped);
        escaped = c == '\\' && !here;
        c == quote && !here
    });
    !closed
}

/// True where a text is an exception as Python, C++ and Rust end with it: `Name: what it says`.
pub(super) fn is_exception(text: &str) -> bool {
    let whole = text.trim_start();
    if whole.starts_with("Value error, ") || whole.starts_with("what(): ") {
        return true;
    }
    if text.starts_with([' ', '\t']) {
        return false;
    }
    let name = text.split([':', ' ']).next().unwrap_or_default();
    let ends = text[name.len()..].trim_end();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    let last = name.rsplit('.').next().unwrap_or_default();
    let kinds = ["Error", "Exception", "OutOfResources"];
    (name.chars().all(plain)
        && ends.is_empty() | ends.starts_with(':')
        && kinds.iter().any(|kind| last.ends_with(kind)))
        || [
            "terminate called after throwing",
            "Fatal Python error",
            "Segmentation fault",
            "thread '",
        ]
        .iter()
        .any(|begin| text.starts_with(begin))
}

/// Leaves out `(EngineCore_DP0 pid=101) `, `[rank0]: `, and what `srun --label` and `mpirun` put in front.
fn without_processes(raw: &str) -> (&str, &str) {
    let (mut process, mut rest) = ("", raw);
    loop {
        let marked = [rest.strip_prefix('('), rest.strip_prefix('[')];
        let end = match marked {
            [Some(inside), _] => inside
                .find(')')
                .filter(|e| inside[..*e].contains("pid="))
                .map(|e| (inside, e)),
            [_, Some(inside)] => {
                let end = inside.find(']');
                end.filter(|e| {
                    let number = inside[..*e].strip_prefix("rank").unwrap_or_default();
                    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
                })
                .map(|e| (inside, e))
            }
            _ => None,
        };
        if let Some((inside, end)) = end {
            process = &inside[..end];
            let after = &inside[end + 1..];
            let after = after.strip_prefix(':').unwrap_or(after);
            rest = after.strip_prefix(' ').unwrap_or(after);
            continue;
        }
        let label = rest.bytes().take_while(u8::is_ascii_digit).count();
        match rest[label..].strip_prefix(": ") {
            Some(after) if (1..=5).contains(&label) => {
                (process, rest) = (&rest[..label], after);
            }
            _ => return (process, rest),
        }
    }
}

/// What stands in front of a logged line; `None` for a line without a head.
fn head(rest: &str) -> Option<(Level, &str)> {
    nccl(rest)
        .or_else(|| glog(rest))
        .or_else(|| program(rest))
        .or_else(|| llama_cpp(rest))
        .or_else(|| levelled(rest))
}

/// `LEVEL 11-23 04:40:00 [core.py:1] text`, `INFO:  text`, `2025-.. LEVEL name: text`, `[..] [TRT-LLM] [E] text`, `[2026-.. TP0] text`.
fn levelled(rest: &str) -> Option<(Level, &str)> {
    let (timed, after) = match without_time(rest) {
        Some(after) => (true, after),
        None => (false, rest),
    };
    if let Some((level, after)) = bracketed(after) {
        return Some((level, after));
    }
    let mut after = after.trim_start_matches([' ', '-', '|']);
    // `time - name - LEVEL - text`
    if timed
        && let Some((name, more)) = after.split_once(" - ")
        && !name.contains(' ')
        && level_of(name).is_none()
    {
        after = more;
    }
    let word = after.split([' ', ':', '|']).next().unwrap_or_default();
    // A letter alone is a level in brackets only.
    let level = level_of(word).filter(|_| word.len() > 1);
    let Some(level) = level else {
        return timed.then(|| (Level::Unsaid, after_name(rest)));
    };
    let said = after[word.len()..].trim_start_matches([' ', ':', '-', '|']);
    let begins = after[word.len()..].starts_with([' ', ':', '|']);
    begins.then(|| (level, after_place(said)))
}

/// The rest of a line whose time stands in brackets, `[2026-01-05 06:12:41 TP0] text`.
fn after_name(rest: &str) -> &str {
    without_time(rest).map_or(rest, |after| after.strip_prefix(' ').unwrap_or(after))
}

/// Text behind the place in the program, `11-23 04:40:00 [core.py:1510] ` or `engine.py:400] `.
fn after_place(said: &str) -> &str {
    let place = said
        .find(".py:")
        .and_then(|at| Some(at + said[at..].find(']')?));
    let place = place.filter(|end| said[..*end].len() < 120);
    match place.and_then(|end| said.get(end + 1..)) {
        Some(text) => text.strip_prefix(' ').unwrap_or(text),
        None => without_time(said).map_or(said, |t| t.strip_prefix(' ').unwrap_or(t)),
    }
}

/// `[TensorRT-LLM][ERROR] text`, `[TRT-LLM] [E] text`: brackets of which one holds a level.
fn bracketed(text: &str) -> Option<(Level, &str)> {
    let mut rest = text.trim_start();
    for _ in 0..4 {
        let (inside, after) = rest.strip_prefix('[')?.split_once(']')?;
        if let Some(level) = level_of(inside.trim()) {
            return Some((level, after.strip_prefix(' ').unwrap_or(after)));
        }
        rest = after.trim_start();
    }
    None
}

fn level_of(word: &str) -> Option<Level> {
    let word = word.trim();
    if QUIET.contains(&word) {
        Some(Level::Quiet)
    } else if FAULTS.contains(&word) {
        Some(Level::Fault)
    } else {
        None
    }
}

/// What stands behind a time, in brackets or not.
fn without_time(rest: &str) -> Option<&str> {
    if let Some((inside, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        let digits = inside.starts_with(|c: char| c.is_ascii_digit());
        return (digits && inside.contains(':')).then_some(after);
    }
    let is_time = |c: char| c.is_ascii_digit() || "-:.,/TZ+".contains(c);
    let mut after = rest;
    let mut seen = false;
    for _ in 0..2 {
        let token = after.split(' ').next().unwrap_or_default();
        if token.is_empty()
            || !token.starts_with(|c: char| c.is_ascii_digit())
            || !token.chars().all(is_time)
        {
            break;
        }
        seen |= token.matches(':').count() >= 2;
        after = after[token.len()..].trim_start_matches(' ');
    }
    seen.then_some(after)
}

/// `E1123 04:40:00.828000 6038 file.cc:29] text`, also in brackets.
fn glog(rest: &str) -> Option<(Level, &str)> {
    let inside = rest.strip_prefix('[').unwrap_or(rest);
    let (letter, more) = inside.split_at_checked(1)?;
    let digits = more.bytes().take_while(u8::is_ascii_digit).count();
    let level = match letter {
        "I" | "W" | "V" | "D" => Level::Quiet,
        "E" | "F" => Level::Fault,
        _ => return None,
    };
    let text = more.get(digits..)?.split_once("] ")?.1;
    ((3..=8).contains(&digits) && more[digits..].starts_with(' ')).then_some((level, text))
}

/// `node7:392:494 [2] enqueue.cc:43 NCCL WARN text`: its warnings are faults.
fn nccl(rest: &str) -> Option<(Level, &str)> {
    let place = rest.split(' ').next()?;
    let mut numbers = place.rsplit(':');
    let number =
        |n: Option<&str>| n.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if !(number(numbers.next()) && number(numbers.next())) {
        return None;
    }
    let (_, said) = rest.split_once(" NCCL ")?;
    let (level, text) = said.split_once(' ')?;
    match level {
        "WARN" | "ERROR" => Some((Level::Fault, text)),
        "INFO" | "TRACE" | "VERSION" => Some((Level::Quiet, text)),
        _ => None,
    }
}

/// `vllm serve: error: text`, `error: text` and `Error: text`, as programs say what is wrong with their
/// arguments. A program with verbs has a name of several words.
fn program(rest: &str) -> Option<(Level, &str)> {
    let bare = ["error: ", "Error: "];
    if let Some(said) = bare.iter().find_map(|head| rest.strip_prefix(head)) {
        return Some((Level::Fault, said));
    }
    let (name, said) = rest.split_once(": error: ")?;
    let part = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let is_word = |word: &str| !word.is_empty() && word.chars().all(part);
    let is_name = name.split(' ').count() <= 4 && name.split(' ').all(is_word);
    is_name.then_some((Level::Fault, said))
}

/// `ggml_backend_cuda_buffer_type_alloc_buffer: ... failed: out of memory`: llama.cpp puts the function's name in front, and no
/// level. Its functions that read requests begin with `srv` or `slot` and are left out.
fn llama_cpp(rest: &str) -> Option<(Level, &str)> {
    let (name, said) = rest.split_once(": ")?;
    let of_the_loader = ["ggml_", "llama_", "common_"];
    let is_name = of_the_loader.iter().any(|begin| name.starts_with(begin));
    let fails = said.contains("failed") || said.contains("error") || said.contains("unable");
    (is_name && !name.contains(' ') && fails).then_some((Level::Fault, said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(raw: &str) -> (Level, &str) {
        let line = line(raw);
        (line.level, line.text)
    }

    #[test]
    fn every_logger_is_understood() {
        use Level::{Fault, Quiet, Unsaid};
        for (raw, level, text) in [
            (
                "(EngineCore_DP0 pid=101) ERROR 03-01 10:01:00 [core.py:700] RuntimeError: x",
                Fault,
                "RuntimeError: x",
            ),
            (
                "ERROR 02-22 00:01:41 engine.py:400] The input",
                Fault,
                "The input",
            ),
            (
                "(APIServer pid=1) (EngineCore pid=2) INFO 02-09 07:59:08 [a.py:10] hello",
                Quiet,
                "hello",
            ),
            ("(APIServer pid=1) ValueError: no", Unsaid, "ValueError: no"),
            (
                "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
                Fault,
                "error loading model: unable to allocate CUDA0 buffer",
            ),
            (
                "INFO:     127.0.0.1:5 - \"POST\"",
                Quiet,
                "127.0.0.1:5 - \"POST\"",
            ),
            (
                "2025-12-16T09:36:23.280687Z  INFO text_generation_launcher: Starting",
                Quiet,
                "text_generation_launcher: Starting",
            ),
            (
                "2025-12-16T09:36:23.280687Z ERROR text_generation_launcher: Error when",
                Fault,
                "text_generation_launcher: Error when",
            ),
            (
                "[2026-01-05 06:12:41 TP0] Prefill batch. #new-seq: 1",
                Unsaid,
                "Prefill batch. #new-seq: 1",
            ),
            (
                "[TensorRT-LLM][ERROR] CUDA runtime error",
                Fault,
                "CUDA runtime error",
            ),
            (
                "[TensorRT-LLM] TensorRT-LLM version: 1.0.0",
                Unsaid,
                "[TensorRT-LLM] TensorRT-LLM version: 1.0.0",
            ),
            (
                "[01/05/2026-06:12:41] [TRT-LLM] [E] Failed",
                Fault,
                "Failed",
            ),
            (
                "2025-01-01 10:00:00,123 - vllm - ERROR - broken",
                Fault,
                "broken",
            ),
            (
                "2025-01-01 10:00:00.123 | WARNING  | m:f:12 - hm",
                Quiet,
                "m:f:12 - hm",
            ),
            ("E1123 04:40:00.828000 6038 a.cc:29] bad", Fault, "bad"),
            (
                "[rank0]:[E1123 04:40:00.8 P.cpp:616] [Rank 0] Watchdog",
                Fault,
                "[Rank 0] Watchdog",
            ),
            (
                "node7:392:494 [2] enqueue.cc:43 NCCL WARN Cuda failure",
                Fault,
                "Cuda failure",
            ),
            (
                "node7:392:494 [2] NCCL INFO cudaDriverVersion 12040",
                Quiet,
                "cudaDriverVersion 12040",
            ),
            (
                "vllm: error: unrecognized arguments: --x",
                Fault,
                "unrecognized arguments: --x",
            ),
            (
                "vllm serve: error: unrecognized arguments: --x",
                Fault,
                "unrecognized arguments: --x",
            ),
            ("Error: No such option: --x", Fault, "No such option: --x"),
            (
                "he said: it is: error: x",
                Unsaid,
                "he said: it is: error: x",
            ),
            (
                "[rank0]:     raise ValueError(x)",
                Unsaid,
                "    raise ValueError(x)",
            ),
            ("12: RuntimeError: x", Unsaid, "RuntimeError: x"),
            ("ValueError: x", Unsaid, "ValueError: x"),
            ("", Unsaid, ""),
        ] {
            assert_eq!(told(raw), (level, text), "{raw}");
        }
        assert_eq!(plain("\u{1b}[1;36m(A pid=1)\u{1b}[0;0m x"), "(A pid=1) x");
    }

    #[test]
    fn words_of_users_are_known_by_where_they_stand() {
        for said in [
            "receive: obj=generatereqinput(rid='1', text='hello')",
            "request chatcmpl-1 details: prompt: 'hello'",
            "{\"level\": \"error\", \"body\": \"hello\"}",
            "received request cmpl-1",
        ] {
            assert!(may_hold_words(said), "{said}");
        }
        assert!(!may_hold_words("cuda out of memory"));
        assert!(goes_on("prompt: 'first line") && !goes_on("prompt: 'one line', params"));
        assert!(!goes_on(
            "receive: obj=generatereqinput(rid='1', text='it is')"
        ));
    }

    #[test]
    fn exceptions_are_known_by_their_names() {
        for text in [
            "RuntimeError: x",
            "torch.OutOfMemoryError: x",
            "huggingface_hub.errors.GatedRepoError: 401",
            "AssertionError",
            "  Value error, x",
            "triton.runtime.errors.OutOfResources: out",
            "terminate called after throwing an instance of 'c10::Error'",
        ] {
            assert!(is_exception(text), "{text}");
        }
        for text in [
            "    raise ValueError(x)",
            "Error in that: x",
            "  File \"a.py\", line 1",
            "no",
            "",
        ] {
            assert!(!is_exception(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(raw in "\\PC{0,200}", head in prop::sample::select(vec!["", "(", "[", "[rank", "E11", "INFO", "12: ", "a:1:2 NCCL "])) {
            let raw = format!("{head}{raw}");
            let line = line(&raw);
            let said = line.said();
            let _ = (may_hold_words(&said), goes_on(&said), is_exception(line.text), plain(&raw));
        }
    }
}
