//! What the documents say that tests show is shown by tests that are there.
#![allow(clippy::unwrap_used, reason = "a failed test is to stop")]

use std::fs;
use std::path::Path;

/// The documents whose tables name a test in every row, as `FILE: FUNCTION`; FILE counts from `tests/` or from the project.
const DOCUMENTS: [&str; 3] = [
    "docs/slurm-behaviour.md",
    "docs/robustness.md",
    "SECURITY.md",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The `FILE.rs: FUNCTION` references of a row.
fn references(row: &str) -> Vec<(&str, &str)> {
    let quoted = row.split('`').skip(1).step_by(2);
    quoted
        .filter_map(|text| {
            text.split_once(": ")
                .filter(|(file, _)| file.ends_with(".rs"))
        })
        .collect()
}

/// The rows of those tables whose head has a column "shown by".
fn rows(text: &str) -> Vec<&str> {
    let mut shown = false;
    let mut rows = Vec::new();
    for line in text.lines() {
        let head = line.ends_with("shown by |") || line.contains("| shown by |");
        shown = line.starts_with('|') && (shown || head);
        if shown && !head && !line.starts_with("|-") {
            rows.push(line);
        }
    }
    rows
}

fn is_there(file: &str, function: &str) -> bool {
    let places = [root().join("tests").join(file), root().join(file)];
    let wanted = format!("fn {function}(");
    places
        .iter()
        .any(|path| fs::read_to_string(path).is_ok_and(|text| text.contains(&wanted)))
}

#[test]
fn every_row_names_a_test_that_is_there() {
    for document in DOCUMENTS {
        let text = fs::read_to_string(root().join(document)).unwrap();
        let rows = rows(&text);
        assert!(rows.len() > 10, "{document}");
        for row in rows {
            let named = references(row);
            assert!(!named.is_empty(), "{document}: no test in {row}");
            for (file, function) in named {
                assert!(
                    is_there(file, function),
                    "{document}: {file} has no test {function}"
                );
            }
        }
    }
}
