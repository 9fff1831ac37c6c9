//! Exit codes and the one form in which errors are told.

use std::process::ExitCode;

use anyhow::Error;
use model_store::consult::exit_code;
use model_store::store::StoreError;

/// An error that carries a hint and its own exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The reason, in numbers where there are any.
    pub(crate) reason: String,
    /// What to do about it; empty where there is nothing to say.
    pub(crate) hint: String,
    /// Exit code.
    pub(crate) code: u8,
}

/// The command line or a file was wrong.
pub(crate) const USAGE: u8 = 2;
/// Something failed.
pub(crate) const FAILED: u8 = 1;

/// Every exit code of the command, for the man page and the documentation.
pub(crate) const CODES: [(u8, &str); 7] = [
    (0, "it worked; an advice was given"),
    (
        FAILED,
        "something failed: the reason and a hint are on standard error; doctor found something that does not work",
    ),
    (
        USAGE,
        "a wrong option, argument, input file or configuration",
    ),
    (
        exit_code::OUT_OF_SUPPORT,
        "no advice: the request lies outside of what was measured, or there are too few runs",
    ),
    (
        exit_code::INFEASIBLE,
        "no advice: no configuration in reach can run the model, or meet the latency targets",
    ),
    (
        exit_code::FAULT,
        "no advice because something is broken, at a site whose on_fault is \"refuse\"",
    ),
    (
        exit_code::POLICY,
        "the site enforces advice, and the job would get round it",
    ),
];

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Failure {}

/// An error with a hint, exit code [`FAILED`].
pub(crate) fn fail(reason: impl Into<String>, hint: impl Into<String>) -> Error {
    with_code(FAILED, reason, hint)
}

/// An error with a hint and an exit code of its own.
pub(crate) fn with_code(code: u8, reason: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::new(Failure {
        reason: reason.into(),
        hint: hint.into(),
        code,
    })
}

/// Prints the error, if any, and turns the result into an exit code. A closed pipe is no error.
pub(crate) fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    if is_broken_pipe(&error) {
        return ExitCode::SUCCESS;
    }
    tell(&error);
    ExitCode::from(error.downcast_ref::<Failure>().map_or(FAILED, |f| f.code))
}

/// Prints an error and its hint.
pub(crate) fn tell(error: &Error) {
    eprintln!("omnipilot: {}", without_number(&format!("{error:#}")));
    if let Some(hint) = error
        .downcast_ref::<Failure>()
        .map(|f| &f.hint)
        .filter(|h| !h.is_empty())
    {
        eprintln!("omnipilot:   hint: {hint}");
    }
}

/// The system's words without the number that Rust puts behind them.
pub(crate) fn without_number(text: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once(" (os error ") {
        let digits = after.trim_start_matches(|c: char| c.is_ascii_digit());
        out.push_str(before);
        rest = digits.strip_prefix(')').unwrap_or(digits);
    }
    out + rest
}

/// An error of the store, with the store's own hint.
pub(crate) fn store(error: StoreError) -> Error {
    fail(error.to_string(), error.hint())
}

fn is_broken_pipe(error: &Error) -> bool {
    error
        .chain()
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
