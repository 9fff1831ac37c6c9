//! JSON lines: one object a run, `{"model": "...", "tp": 4, ...}`. What is not known is absent.
//! JSON has no infinite number: an unlimited rate is the word `"inf"`.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use model_store::advisor::Run;
use serde_json::{Map, Value};

use super::{Rows, WORDS, cells, invalid};
use crate::input::open_lines;

/// Runs that are written at a time.
const AT_A_TIME: usize = 1000;

pub(super) fn write(mut out: impl Write, runs: &[Run]) -> io::Result<()> {
    for some in runs.chunks(AT_A_TIME) {
        let mut table = cells(some)?;
        let names = table.headers()?.clone();
        for row in table.records() {
            let row = row?;
            let known = names.iter().zip(&row).filter(|(_, cell)| !cell.is_empty());
            let object: Map<String, Value> = known
                .map(|(name, cell)| (name.to_owned(), value(name, cell)))
                .collect();
            serde_json::to_writer(&mut out, &object)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()
}

fn value(name: &str, cell: &str) -> Value {
    let number = || {
        Some(Value::Number(serde_json::Number::from_f64(
            cell.parse().ok()?,
        )?))
    };
    let whole = || Some(Value::from(cell.parse::<u64>().ok()?));
    if WORDS.contains(&name) {
        return cell.into();
    }
    whole().or_else(number).unwrap_or_else(|| cell.into())
}

/// Reads a file twice: the names of its columns are the keys of all its objects.
pub(super) fn read(path: &Path) -> io::Result<impl Read + use<>> {
    let mut keys = BTreeSet::new();
    for line in open_lines(path)?.lines() {
        // A line that is no object is told of once the rows before it have been read.
        if let Ok(Value::Object(object)) = serde_json::from_str(&line?) {
            keys.extend(object.into_iter().map(|(key, _)| key));
        }
    }
    if keys.is_empty() {
        return Err(invalid(
            "it holds no JSON object, where each line is to be one",
        ));
    }
    let header: Vec<String> = keys.into_iter().collect();
    let names = header.clone();
    let mut lines = open_lines(path)?.lines();
    let mut at = 0;
    Rows::new(&header, move || {
        loop {
            let Some(line) = lines.next() else {
                return Ok(None);
            };
            let line = line?;
            at += 1;
            if line.trim().is_empty() {
                continue;
            }
            let Ok(Value::Object(object)) = serde_json::from_str(&line) else {
                return Err(invalid(format!("line {at} is no JSON object")));
            };
            return Ok(Some(names.iter().map(|n| cell(object.get(n))).collect()));
        }
    })
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}
