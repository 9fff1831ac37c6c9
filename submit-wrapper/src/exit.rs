//! Exit codes and the one form in which errors are told.

use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::Error;
use model_store::consult::{exit_code, without_number};
use model_store::store::StoreError;

use crate::holder;

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

/// The options by which this call names its site, such as ` --store try/store.db`. What a hint names is typed
/// again as it stands, and must not work on another site's files.
static SITE: OnceLock<String> = OnceLock::new();

/// Says once by which options this call names its site.
pub(crate) fn on_site(options: String) {
    let _ = SITE.set(options); // one call, one site
}

/// Prints a hint that belongs to no error.
pub(crate) fn hint(text: &str) {
    eprintln!("hint: {}", here(text));
}

/// A text whose commands can be typed as they stand: with the options by which this call names its site.
pub(crate) fn here(text: &str) -> String {
    with_site(text, SITE.get().map_or("", String::as_str))
}

/// The commands of a text with the options of the site.
fn with_site(text: &str, options: &str) -> String {
    const COMMAND: &str = "`omnipilot ";
    let mut parts = text.split(COMMAND);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for rest in parts {
        // `--help` asks of no site, and what names one already is as it should be.
        let command = rest.split('`').next().unwrap_or_default();
        let plain = command.contains("--help") || command.starts_with("VERB");
        out.push_str(COMMAND.trim_end());
        out.push_str(if plain { "" } else { options });
        out.push(' ');
        out.push_str(rest);
    }
    out
}

/// Prints an error and its hint.
pub(crate) fn tell(error: &Error) {
    eprintln!("omnipilot: {}", without_number(&format!("{error:#}")));
    if let Some(hint) = error
        .downcast_ref::<Failure>()
        .map(|f| &f.hint)
        .filter(|h| !h.is_empty())
    {
        eprintln!("omnipilot:   hint: {}", here(hint));
    }
}

/// A file that `--output` named and that could not be written.
pub(crate) fn cannot_write(path: &std::path::Path, error: &std::io::Error) -> Error {
    use std::io::ErrorKind;
    // Without the name of the draft, which nobody asked for.
    let reason = match error.kind() {
        ErrorKind::NotFound => "its folder is not there".to_owned(),
        ErrorKind::PermissionDenied => "its folder may not be written to".to_owned(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "no space is left".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "its file system is read-only".to_owned(),
        ErrorKind::IsADirectory => "it is a folder".to_owned(),
        kind => kind.to_string(),
    };
    let hint = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space there, or name a file on another disk with `--output`"
        }
        _ => "`--output` names a file in a folder that you may write to",
    };
    fail(format!("cannot write {}: {reason}", path.display()), hint)
}

/// An error of the store, with the store's own hint, or with who keeps it locked.
pub(crate) fn store(error: StoreError) -> Error {
    match error.held().and_then(holder::of) {
        Some(holder) => fail(
            format!("{error} by {holder}"),
            "wait for it, or end it; whoever may read the store may keep it locked: its folder can be the service account's alone (SECURITY.md)",
        ),
        None => fail(error.to_string(), error.hint()),
    }
}

fn is_broken_pipe(error: &Error) -> bool {
    error
        .chain()
        .filter_map(|e| e.downcast_ref::<std::io::Error>())
        .any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::with_site;

    #[test]
    fn a_command_of_a_hint_is_of_the_site_that_was_named() {
        let text = "`omnipilot train` makes one; `omnipilot --help` lists all, `omnipilot VERB --help` one";
        assert_eq!(with_site(text, ""), text);
        assert_eq!(
            with_site(text, " --store a.db"),
            "`omnipilot --store a.db train` makes one; `omnipilot --help` lists all, `omnipilot VERB --help` one"
        );
    }
}
