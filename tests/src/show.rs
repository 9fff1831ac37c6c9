//! Reads what `scontrol show job` prints.

use std::collections::BTreeMap;

/// Fields that hold free text and end their line.
const FREE_TEXT: [&str; 10] = [
    "JobName",
    "Comment",
    "AdminComment",
    "SystemComment",
    "Extra",
    "Command",
    "WorkDir",
    "StdErr",
    "StdIn",
    "StdOut",
];

/// The fields of one job, from the text of `scontrol show job N`.
///
/// ```
/// let job = e2e::parse_job("JobId=7 JobName=a b\n   JobState=RUNNING Reason=None\n   Comment=x y=z\n");
/// assert_eq!(job["JobName"], "a b");
/// assert_eq!(job["Reason"], "None");
/// assert_eq!(job["Comment"], "x y=z");
/// ```
pub fn parse_job(text: &str) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    for line in text.lines() {
        parse_line(line.trim(), &mut fields);
    }
    fields
}

fn parse_line(mut rest: &str, fields: &mut BTreeMap<String, String>) {
    while let Some((key, tail)) = rest.split_once('=') {
        let (value, next) = if FREE_TEXT.contains(&key) {
            (tail, "")
        } else {
            tail.split_once(' ').unwrap_or((tail, ""))
        };
        fields.insert(key.to_owned(), value.to_owned());
        rest = next.trim_start();
    }
}
