//! Slurmctld is asked whether it would take the changed job, and when it would start, where the site wants that: `sbatch
//! --test-only` with the job's own words and the changes before them. In the child alone, so within the time limit.

use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use model_store::decision::Decision;
use model_store::options::OPTIONS;
use model_store::reading::{components, parts};
use model_store::sbatch_line::SbatchLine;
use model_store::test_only::{Word, against, ask};

use crate::submission::Submission;

/// The decision, or that the job goes as written where slurmctld would take the job as it is, and the change not at all or by more
/// than `patience_s` later.
pub(crate) fn last_word(
    decision: Decision,
    submission: &Submission,
    script: Option<&str>,
    patience_s: impl FnOnce() -> f64,
) -> Decision {
    let Decision::Rewrite { edits, .. } = &decision else {
        return decision;
    };
    let words = parts(&submission.words);
    let [line] = words.as_slice() else {
        return decision;
    };
    let directives = components(words.clone(), script);
    // What stands in a directive can be replaced from the command line and not taken away: then nothing can be shown.
    let stuck = |name: &str| directives.iter().any(|c| c.directives.has(name));
    let can_show = !edits.iter().any(|e| e.value.is_none() && stuck(&e.name));
    if edits.is_empty() || line.script.is_none() && line.wrap.is_none() || !can_show {
        return decision;
    }
    let changes: Vec<String> = edits
        .iter()
        .filter_map(|e| Some(format!("--{}={}", e.name, e.value.as_ref()?)))
        .collect();
    let names: Vec<&str> = edits.iter().map(|e| e.name.as_str()).collect();
    let changed = said(line, &changes, &names);
    let patience_s = match changed {
        Word::Takes(Some(_)) => patience_s(),
        _ => 0.0,
    };
    match against(&changed, || said(line, &[], &[]), patience_s, now()) {
        Some(reason) => Decision::Left { reason },
        None => decision,
    }
}

/// Unix seconds; 0 on a clock before 1970, on which the second question is always asked.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX))
}

fn said(line: &SbatchLine, changes: &[String], names: &[&str]) -> Word {
    let (own, tail) = line.split_without(names);
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--test-only", "--llm-advice=off"])
        .args(changes)
        .args(own)
        .args(tail)
        .stdin(Stdio::null());
    // The words above are the job's own; a variable would ask for advice again, or undo a change.
    for spec in &OPTIONS {
        command.env_remove(spec.variable);
    }
    for name in names {
        command.env_remove(format!(
            "SBATCH_{}",
            name.replace('-', "_").to_ascii_uppercase()
        ));
    }
    ask(&mut command)
}
