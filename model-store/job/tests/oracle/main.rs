//! bash is the oracle: scripts are made by a generator, read, and run by a real bash whose programs
//! are stand-ins that record what they are given. Whatever was known is what they saw; the GPUs
//! that they use together are never more than the job is left with; and a job that is changed
//! starts as many engines as before.
//!
//! `ORACLE_SCRIPTS=20000` runs more of them, `ORACLE_FROM=n` begins with another one.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed test is to stop"
)]

mod made;
mod stand_ins;

use std::fs;
use std::path::Path;

use job::decision::rules::Cell;
use job::decision::{Submission, may_change};
use job::engine_args::{Outside, Program, Start, Stated, Variable, starts};
use job::job_request::Given;
use job::options::RawOptions;
use made::{Made, make};
use stand_ins::{Given as Left, Ran, programs, run};

/// As many workers as let stand-ins sleep while others run.
const WORKERS: u64 = 4;

/// The most GPUs of a node that are in use at once.
fn together(all: &[Ran]) -> u32 {
    let at = |moment: usize, node: u32| -> u32 {
        all.iter()
            .filter(|r| r.node == node && r.from <= moment && moment < r.to)
            .map(|r| r.degree)
            .sum()
    };
    all.iter().map(|r| at(r.from, r.node)).max().unwrap_or(0)
}

/// What may become of a script, as an advice of this degree would have it.
struct Fate {
    left: Left,
    /// Nothing of the job is changed.
    as_written: bool,
}

fn fate(folder: &Path, made: &Made, component: u32, advised: u32) -> Fate {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let option = |name: &str| {
        let found = made.options.iter().find(|(n, _)| *n == name);
        found.map(|(_, value)| value.clone())
    };
    let submission = Submission {
        options: &RawOptions::default(),
        given: &Given::of(option),
        script: Some(&made.text),
        arguments: Some(&made.arguments),
        read: &read,
        environment: &|_| None,
        component,
        who: &job::startable::Who::default(),
    };
    let as_asked = Left {
        gpus: made.asks,
        nodes: made.nodes,
        told: false,
        kind: "H100",
    };
    let Ok(change) = may_change(&submission) else {
        return Fate {
            left: as_asked,
            as_written: true,
        };
    };
    let spread = made.tasks_on_node > 1
        || starts(&made.text, &outside(made, &read))
            .of_component(component)
            .may_use_all_nodes();
    let kept = change.rule.nodes == Cell::Asked || spread;
    Fate {
        left: Left {
            gpus: change.number.unwrap_or(advised),
            nodes: if kept { made.nodes } else { 1 },
            told: change.rule.variables == Cell::All,
            kind: if change.rule.kind == Cell::Asked {
                "H100"
            } else {
                "H200"
            },
        },
        as_written: false,
    }
}

fn outside<'a>(made: &'a Made, read: &'a dyn Fn(&str) -> Option<String>) -> Outside<'a> {
    Outside {
        arguments: Some(&made.arguments),
        variable: &|name| match name {
            "SLURM_NNODES" | "SLURM_NTASKS" | "SLURM_ARRAY_TASK_ID" | "PATH" => Variable::Unknown,
            _ => Variable::Unset,
        },
        read,
    }
}

/// What is wrong with how a script was read; `None` for nothing.
fn fault(folder: &Path, made: &Made) -> Option<String> {
    fs::write(folder.join("job.sh"), &made.text).unwrap();
    for (name, text) in &made.files {
        fs::write(folder.join(name), text).unwrap();
    }
    // The same job is advised fewer GPUs, or more.
    let advised = if made.text.len().is_multiple_of(2) {
        2
    } else {
        8
    };
    let fate = fate(folder, made, 0, advised);
    let before = run(
        folder,
        made,
        Left {
            gpus: made.asks,
            nodes: made.nodes,
            told: false,
            kind: "H100",
        },
    );
    if fate.as_written {
        return None;
    }
    let left = fate.left;
    let after = run(folder, made, left);
    let own = |all: &[Ran]| -> Vec<Ran> {
        let first = |r: &&Ran| r.component == 0;
        all.iter().filter(first).cloned().collect()
    };
    let (before, after) = (own(&before), own(&after));
    // Some wait for the variables of an advice.
    if after.len() < before.len() {
        let (was, is) = (before.len(), after.len());
        return Some(format!("{was} engines ran, {is} do with {left:?}"));
    }
    let highest = |all: &[Ran]| {
        all.iter()
            .filter_map(|r| r.own.as_ref()?.iter().max().copied())
            .max()
    };
    let used = together(&after).max(highest(&after).map_or(0, |n| n + 1));
    let needed = together(&before).max(highest(&before).map_or(0, |n| n + 1));
    // A job that asked for too few GPUs fails as it did.
    if left.gpus != made.asks && used > left.gpus && needed <= made.asks {
        return Some(format!("{used} GPUs are used, {left:?} is left"));
    }
    unseen(folder, made, &after, left)
}

/// A degree that was seen, and that no start which was read allows.
fn unseen(folder: &Path, made: &Made, after: &[Ran], left: Left) -> Option<String> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let found = starts(&made.text, &outside(made, &read))
        .of_component(0)
        .list;
    let sure = |s: &Start| matches!(s.program, Program::Engine { .. });
    if after.is_empty() || !found.iter().all(sure) {
        return None;
    }
    let fits = |ran: &Ran| {
        found.iter().any(|s| match &s.tp {
            Stated::Known { value, .. } => *value == ran.degree,
            Stated::Unsaid => ran.degree == 1,
            Stated::Gpus => ran.degree == left.gpus,
            Stated::Advised => {
                ran.degree
                    == if left.told || s.takes_all() {
                        left.gpus
                    } else {
                        1
                    }
            }
            Stated::Unknown => true,
        })
    };
    let odd = after.iter().find(|ran| !fits(ran))?;
    let (seen, read): (u32, Vec<_>) = (odd.degree, found.iter().map(|s| &s.tp).collect());
    Some(format!(
        "a degree of {seen} was seen with {left:?}, {read:?} was read"
    ))
}

#[test]
fn bash_does_what_was_read() {
    let number = |name: &str, other: u64| {
        std::env::var(name)
            .ok()
            .and_then(|n| n.parse().ok())
            .unwrap_or(other)
    };
    let (count, first) = (number("ORACLE_SCRIPTS", 500), number("ORACLE_FROM", 0));
    let worker = |n: u64| {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("bin")).unwrap();
        programs(&folder.path().join("bin"));
        let mut faults = Vec::new();
        for seed in (first..first + count).filter(|seed| seed % WORKERS == n) {
            let made = make(seed);
            if let Some(fault) = fault(folder.path(), &made) {
                faults.push(format!(
                    "script {seed}: {fault}\n{:?}\n{}",
                    made.options, made.text
                ));
            }
        }
        faults
    };
    let faults: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..WORKERS)
            .map(|n| scope.spawn(move || worker(n)))
            .collect();
        all.into_iter().flat_map(|w| w.join().unwrap()).collect()
    });
    assert!(
        faults.is_empty(),
        "{} of {count}\n{}",
        faults.len(),
        faults[..faults.len().min(12)].join("\n")
    );
}
