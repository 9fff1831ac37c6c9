//! A dry submission: what a user's `sbatch` does, without a job.

use std::process::{Command, Stdio};
use std::time::Instant;

use model_store::carry_out::AS_WRITTEN;

use super::Seen;

/// A model and a load that the published figures cover.
const REQUEST: [&str; 4] = [
    "--llm-model=meta-llama/Llama-3.1-8B-Instruct",
    "--llm-isl=1000",
    "--llm-osl=500",
    "--llm-concurrency=32",
];
/// Exit codes with which an advice refuses: it works, and says no.
const REFUSALS: [i32; 3] = [64, 65, 67];

pub(super) fn check(seen: &mut Seen) {
    if seen.slurm.is_none() {
        return seen.skipped("submission", "Slurm does not answer");
    }
    if !seen.loaded {
        return seen.skipped("submission", "the plugin is not loaded");
    }
    let begun = Instant::now();
    let mut command = Command::new("sbatch");
    command.args(["--test-only", "--llm-advice=check"]);
    command.args(REQUEST).args(["--wrap", "true"]);
    command.env("LC_ALL", "C").stdin(Stdio::null());
    let output = match command.output() {
        Ok(output) => output,
        Err(e) => {
            let hint = "run it on a machine where jobs are submitted";
            return seen.error("submission", format!("cannot start `sbatch`: {e}"), hint);
        }
    };
    let took = begun.elapsed().as_millis();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let ours: Vec<&str> = words.lines().filter_map(ours).collect();
    let code = output.status.code();
    match ours.first() {
        Some(line) if is_fault(&ours) => seen.error(
            "submission",
            (*line).to_owned(),
            hint_of(&ours),
        ),
        Some(line) if code.is_some_and(|c| c == 0 || c == 1 || REFUSALS.contains(&c)) => {
            seen.ok("submission", format!("`sbatch --test-only` in {took} ms: {line}"));
        }
        _ => seen.error(
            "submission",
            format!(
                "`sbatch --test-only` with `--llm-model` said nothing of an advice (exit {}): {}",
                code.map_or_else(|| "by a signal".into(), |c| c.to_string()),
                words.lines().last().unwrap_or("no words at all").trim()
            ),
            "a policy may switch advice off here; `sbatch --help` lists the options of plugins that loaded",
        ),
    }
}

/// The plugin's own hint; where the snapshot has a form that it does not read, what that comes from.
fn hint_of<'a>(lines: &[&'a str]) -> &'a str {
    let own = lines.iter().find_map(|l| l.strip_prefix("hint: "));
    let alien = lines.iter().any(|l| l.contains("has format"));
    match (own, alien) {
        (Some(hint), _) => hint,
        (None, true) => {
            "plugin and command are of different releases: install both from the same one"
        }
        (None, false) => "the checks above say what is missing",
    }
}

/// What the plugin said: the line behind `omnipilot: `.
fn ours(line: &str) -> Option<&str> {
    line.split_once("omnipilot: ")
        .map(|(_, words)| words.trim())
}

/// Whether it submitted as written because something is broken.
fn is_fault(lines: &[&str]) -> bool {
    lines.iter().any(|l| l.contains(AS_WRITTEN))
}
