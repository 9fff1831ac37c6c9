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

/// Most words of a sentence ([STYLE.md]).
const MOST_WORDS: usize = 30;

/// Documents with sentences that are longer, and how many: the numbers may only fall.
const STILL_LONG: [(&str, usize); 5] = [
    ("docs/accuracy.md", 19),
    ("docs/benchmarks.md", 25),
    ("docs/model.md", 11),
    ("docs/plugin.md", 17),
    ("docs/run.md", 15),
];

/// The texts of a page: paragraphs, items of lists and cells of tables; no code and no headings.
fn texts(page: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut code = false;
    for line in page.lines() {
        if line.starts_with("```") {
            code = !code;
        }
        let item = line.trim_start();
        let begins = item.starts_with("* ") || item.starts_with("- ") || item.is_empty();
        if code || line.starts_with("```") || line.starts_with("    ") || line.starts_with('#') {
            out.push(String::new());
        } else if line.starts_with('|') {
            out.extend(line.split('|').map(str::to_owned));
            out.push(String::new());
        } else if let Some(last) = out.last_mut().filter(|_| !begins) {
            last.push(' ');
            last.push_str(line);
        } else {
            out.push(line.to_owned());
        }
    }
    out
}

/// Sentences of a text: they end with a mark behind which a new one begins.
fn sentences(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut out = vec![Vec::new()];
    for (at, word) in words.iter().enumerate() {
        if let Some(last) = out.last_mut() {
            last.push(*word);
        }
        let next = words.get(at + 1).and_then(|w| w.chars().next());
        let begins = next.is_some_and(|c| c.is_uppercase() || "`[*".contains(c));
        if word.ends_with(['.', '!', '?', ':']) && begins {
            out.push(Vec::new());
        }
    }
    out.iter().map(|words| words.join(" ")).collect()
}

#[test]
fn sentences_are_short() {
    let mut pages: Vec<String> = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "STYLE.md",
    ]
    .map(str::to_owned)
    .into();
    let docs = fs::read_dir(root().join("docs")).unwrap().flatten();
    pages.extend(docs.map(|e| format!("docs/{}", e.file_name().to_str().unwrap())));
    let mut wrong = Vec::new();
    for page in pages {
        let text = fs::read_to_string(root().join(&page)).unwrap();
        let all = texts(&text);
        let long: Vec<String> = all
            .iter()
            .flat_map(|text| sentences(text))
            .filter(|s| s.split_whitespace().count() > MOST_WORDS)
            .collect();
        let allowed = STILL_LONG.iter().find(|(name, _)| *name == page);
        if long.len() > allowed.map_or(0, |(_, n)| *n) {
            wrong.push(format!(
                "{page}: {} of more than {MOST_WORDS} words: {long:#?}",
                long.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
