//! Submits the arrays. Each is recorded before it is submitted, under a name by which it is found again: a command that is killed in between
//! neither submits a probe twice nor forgets one.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use model_store::store::Store;

use super::NOT_AGAIN;
use super::script::{Array, NAME};
use crate::slurm::command;
use crate::{clock, exit};

/// An array that Slurm took.
pub(super) struct Submitted {
    /// Its job id.
    pub(super) id: u64,
    /// Its tasks.
    pub(super) probes: usize,
    /// What they may take.
    pub(super) gpu_hours: f64,
}

/// Submits them, one after the other.
///
/// # Errors
/// A store that cannot be written, or what `sbatch` says; the arrays before it stay submitted.
pub(super) fn submit(store: &mut Store, arrays: &[Array]) -> anyhow::Result<Vec<Submitted>> {
    let mut out = Vec::new();
    for array in arrays {
        let since = clock::now() - NOT_AGAIN;
        let new = store
            .record_probes(&array.probes, since)
            .map_err(exit::store)?;
        if new.len() < array.probes.len() {
            store
                .settle_probes(&array.name, None)
                .map_err(exit::store)?;
            return Err(exit::fail(
                format!(
                    "{} of {} probes were just submitted by another command",
                    array.probes.len() - new.len(),
                    array.probes.len()
                ),
                "`omnipilot probe plan` shows what is left",
            ));
        }
        match sbatch(&array.script) {
            Ok(id) => {
                store
                    .settle_probes(&array.name, Some(id))
                    .map_err(exit::store)?;
                out.push(Submitted {
                    id,
                    probes: new.len(),
                    gpu_hours: new.iter().map(|p| p.gpu_hours).sum(),
                });
            }
            Err(reason) => {
                store
                    .settle_probes(&array.name, None)
                    .map_err(exit::store)?;
                return Err(exit::fail(
                    reason,
                    "`sbatch` of `[probe]` in the configuration says under which account and rules probes run",
                ));
            }
        }
    }
    Ok(out)
}

fn sbatch(script: &str) -> Result<u64, String> {
    let mut child = Command::new("sbatch")
        .arg("--parsable")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start sbatch: {e}"))?;
    let written = child
        .stdin
        .take()
        .map(|mut pipe| pipe.write_all(script.as_bytes()));
    let output = child
        .wait_with_output()
        .map_err(|e| format!("cannot wait for sbatch: {e}"))?;
    if !output.status.success() || !matches!(written, Some(Ok(()))) {
        let words = String::from_utf8_lossy(&output.stderr);
        let last = words.lines().rfind(|l| !l.trim().is_empty());
        return Err(format!(
            "sbatch failed ({}): {}",
            output.status,
            last.unwrap_or("it said nothing")
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let id = text.trim().split(';').next().unwrap_or_default();
    id.parse()
        .map_err(|_| format!("sbatch answered `{}` instead of a job id", text.trim()))
}

/// Finds out what became of arrays whose submission was cut short. What Slurm cannot tell stays recorded: a probe that was perhaps submitted is
/// not submitted again.
///
/// # Errors
/// A store that cannot be written.
pub(super) fn settle(store: &mut Store) -> anyhow::Result<()> {
    let open: BTreeSet<String> = store
        .probes(clock::now() - NOT_AGAIN)
        .map_err(exit::store)?
        .into_iter()
        .filter(|p| p.job.starts_with(NAME))
        .filter_map(|p| Some(p.job.rsplit_once('_')?.0.to_owned()))
        .collect();
    for name in open {
        if let Some(found) = find(&name) {
            store.settle_probes(&name, found).map_err(exit::store)?;
        }
    }
    Ok(())
}

/// The job of that name, of this account alone: anybody may give a job of his any name. `Some(None)` where there is none for certain, `None` where nobody can tell.
fn find(name: &str) -> Option<Option<u64>> {
    let first = |text: String| {
        text.lines()
            .next()
            .and_then(|l| l.trim().split(['_', '|']).next()?.parse().ok())
    };
    let me = nix::unistd::geteuid().to_string();
    let queue = ["-h", "-t", "all", "-u", &me, "-n", name, "-o", "%F"];
    let queued = command::output("squeue", &queue).ok()?;
    if let Some(id) = first(queued) {
        return Some(Some(id));
    }
    let past = [
        "-X",
        "-P",
        "-n",
        "-S",
        "now-31days",
        "-E",
        "now",
        "-u",
        &me,
        "--name",
        name,
        "-o",
        "JobID",
    ];
    let past = command::output("sacct", &past).ok()?;
    Some(first(past))
}
