//! Words of a command.

/// A program without its folders.
pub(in crate::engine_args) fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}
