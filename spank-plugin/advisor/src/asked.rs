//! Slurmctld is asked whether it would take the changed job, where the site wants that: `sbatch --test-only` with the job's own
//! words and the changes before them. In the child alone, so within the time limit.

use std::process::{Command, Stdio};

use model_store::decision::Decision;
use model_store::options::OPTIONS;
use model_store::reading::{components, parts};
use model_store::sbatch_line::SbatchLine;

use crate::submission::Submission;

/// The decision, or that the job goes as written where slurmctld would not take the change and would take the job as it is.
pub(crate) fn last_word(
    decision: Decision,
    submission: &Submission,
    script: Option<&str>,
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
    if takes(line, &changes, &names) || !takes(line, &[], &[]) {
        return decision;
    }
    Decision::Left {
        reason: "Slurm would not take the advised form".into(),
    }
}

fn takes(line: &SbatchLine, changes: &[String], names: &[&str]) -> bool {
    let (own, tail) = line.split_without(names);
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["--test-only", "--quiet", "--llm-advice=off"])
        .args(changes)
        .args(own)
        .args(tail)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
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
    // Who cannot be asked forbids nothing.
    command.status().map_or(true, |status| status.success())
}
