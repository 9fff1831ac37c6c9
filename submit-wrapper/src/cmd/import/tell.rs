//! What became of a file, in words and as JSON.

use std::io::Write;

use model_store::advisor::words::count_of;

use super::Report;
use crate::json::document;

/// Prints it.
pub(super) fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        return Ok(writeln!(out, "{}", document("import", as_json(report)))?);
    }
    let Report {
        file,
        format,
        rows,
        skipped,
        unknown_columns,
    } = report;
    let (word, place) = match *format {
        "runs-csv" => ("row", "line"),
        _ => ("run", "entry"),
    };
    writeln!(
        out,
        "{file}: {} taken, {} already known, {} skipped",
        count_of(rows.new, word),
        rows.known,
        skipped.rows
    )?;
    for (rows, first) in skipped.reasons.values() {
        writeln!(
            out,
            "  {rows} skipped: {}, first at {place} {}{}",
            first.reason,
            first.line,
            shown(&first.value)
        )?;
    }
    if !unknown_columns.is_empty() {
        let (count, names) = (
            count_of(unknown_columns.len(), "column"),
            unknown_columns.join("`, `").escape_debug().to_string(),
        );
        writeln!(out, "  {count} not known, kept in the notes: `{names}`")?;
    }
    Ok(())
}

fn shown(value: &str) -> String {
    if value.is_empty() {
        String::new()
    } else {
        format!(": `{}`", value.escape_debug())
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let skipped = report.skipped.reasons.values().map(|(rows, first)| {
        serde_json::json!({
            "reason": first.reason, "rows": rows, "first_line": first.line, "first_value": first.value,
        })
    });
    serde_json::json!({
        "file": report.file,
        "format": report.format,
        "taken": report.rows.new,
        "known": report.rows.known,
        "skipped": report.skipped.rows,
        "reasons": skipped.collect::<Vec<_>>(),
        "unknown_columns": report.unknown_columns,
    })
}
