//! What the wrapper says beside the engine.

/// One line on standard error; a standard error that is gone is no reason to end.
pub(crate) fn warn(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "omnipilot: {text}");
}
