//! Words of a shell.

/// A word as a shell reads it back.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:/.,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    in_quotes(word)
}

/// A word in quotes, whether or not it needs them.
pub fn in_quotes(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
