//! The one form of every JSON document that a verb prints; `docs/json.md` describes each.

use std::io::Write;

use serde_json::Value;

/// Number of the form of all documents. It grows when a key goes away or changes its meaning;
/// further keys do not change it.
pub(crate) const SCHEMA: u32 = 1;

/// A document of that kind: the object with `schema` and `kind` in it.
pub(crate) fn document(kind: &str, mut object: Value) -> Value {
    if let Some(keys) = object.as_object_mut() {
        keys.insert("schema".into(), SCHEMA.into());
        keys.insert("kind".into(), kind.into());
    }
    object
}

/// Prints a document on standard output, on one line.
///
/// # Errors
/// The system's; a closed pipe among them.
pub(crate) fn print(kind: &str, object: Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", document(kind, object))?;
    out.flush()
}
