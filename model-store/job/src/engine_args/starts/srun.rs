//! What `srun` and `mpirun` do with the command behind their options.

use super::super::bash::{Field, Follows};
use super::super::launcher;
use super::way::{Way, assignment};
use super::{Own, Times};

/// Short options of `srun` whose value may be the next word.
const SHORT: &str = "AabBcCdDeGgiJlLmMnNopPqrRsStTUwxZ";

/// Long options of `srun` that take none, so that the next word is none of theirs.
const SWITCHES: [&str; 22] = [
    "--exclusive",
    "--overlap",
    "--exact",
    "--label",
    "--unbuffered",
    "--pty",
    "--no-kill",
    "--overcommit",
    "--oversubscribe",
    "--kill-on-bad-exit",
    "--quiet",
    "--verbose",
    "--contiguous",
    "--disable-status",
    "--preserve-env",
    "--container-mount-home",
    "--no-container-mount-home",
    "--container-writable",
    "--container-remap-root",
    "--no-container-entrypoint",
    "--container-entrypoint",
    "--spread-job",
];

/// Short options of `srun` that take no value.
const SHORT_SWITCHES: &str = "EHIKOQsuvVXhkl";

/// Options of `mpirun` that take no value.
const MPI_SWITCHES: [&str; 10] = [
    "--allow-run-as-root",
    "--oversubscribe",
    "-oversubscribe",
    "--report-bindings",
    "--tag-output",
    "-l",
    "-v",
    "--verbose",
    "--bind-to-core",
    "--use-hwthread-cpus",
];

/// A launcher's options.
pub(super) struct Launched {
    /// Words before the command.
    pub(super) taken: usize,
    pub(super) way: Way,
}

/// Reads them.
pub(super) fn read(name: &str, words: &[Field], way: &Way) -> Launched {
    let slurm = name == "srun";
    let mut options: Vec<(String, Option<Field>)> = Vec::new();
    let (mut at, mut lost) = (1, false);
    while let Some(field) = words.get(at) {
        let code = field.text.code();
        if code == "--" {
            at += 1;
            break;
        }
        // A variable that may bring any options.
        if field.splits && field.word().is_none() && !code.starts_with('-') {
            lost = true;
            at += 1;
            continue;
        }
        if !code.starts_with('-') {
            break;
        }
        let (flag, value, taken) = option(words, at, &code, slurm);
        options.push((flag, value));
        at += taken;
    }
    let mut way = way.clone();
    let inner = if lost {
        Times::Unknown
    } else {
        times(&options, slurm)
    };
    way.times = way.times.times(inner);
    if let Some(own) = own(&options, slurm) {
        way.own = own;
    }
    let texts: Vec<String> = words.iter().take(at).map(|w| w.text.code()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    if slurm {
        way.het_groups = launcher::het_groups(&texts);
    }
    if lost {
        way.own = Own::Unknown;
    }
    Launched { taken: at, way }
}

/// An option, its value, and how many words they are.
fn option(words: &[Field], at: usize, code: &str, slurm: bool) -> (String, Option<Field>, usize) {
    let next = || words.get(at + 1).cloned();
    if let Some((flag, _)) = code.split_once('=').filter(|_| code.starts_with("--")) {
        let value = words.get(at).and_then(|f| assignment(&without_dashes(f)));
        let value = value.map(|(_, text)| Field {
            text,
            splits: false,
        });
        return (flag.to_owned(), value, 1);
    }
    if !slurm {
        let alone = MPI_SWITCHES.contains(&code);
        // `-x NAME`, `-np N`, `--map-by ppr:8:node`, `--mca KEY VALUE`.
        let taken = match code {
            _ if alone => 1,
            "--mca" | "-mca" | "--prtemca" | "-genv" => 3,
            _ => 2,
        };
        return (code.to_owned(), next().filter(|_| !alone), taken);
    }
    if code.starts_with("--") {
        let alone = SWITCHES.contains(&code);
        return (
            code.to_owned(),
            next().filter(|_| !alone),
            2 - usize::from(alone),
        );
    }
    let letter = code.chars().nth(1).unwrap_or(' ');
    let flag = format!("-{letter}");
    let rest = code.get(1 + letter.len_utf8()..).unwrap_or_default();
    if SHORT_SWITCHES.contains(letter) || !SHORT.contains(letter) {
        return (flag, None, 1);
    }
    if rest.is_empty() {
        return (flag, next(), 2);
    }
    (flag, Some(Field::known(rest)), 1)
}

/// `--ntasks-per-node=4` as an assignment, whose name may have dashes.
fn without_dashes(field: &Field) -> super::super::bash::Text {
    let mut text = field.text.clone();
    if let Some(super::super::bash::Piece::Known(first)) = text.0.first_mut()
        && let Some((name, value)) = first.split_once('=')
    {
        *first = format!("{}={value}", name.trim_start_matches('-').replace('-', "_"));
    }
    text
}

/// The last value of an option.
fn value<'a>(options: &'a [(String, Option<Field>)], names: &[&str]) -> Option<&'a Option<Field>> {
    options
        .iter()
        .rev()
        .find(|(flag, _)| names.contains(&flag.as_str()))
        .map(|(_, v)| v)
}

/// A number: `Some(None)` where it is given and not known.
fn number(options: &[(String, Option<Field>)], names: &[&str]) -> Option<Option<u32>> {
    let field = value(options, names)?;
    Some(
        field
            .as_ref()
            .and_then(|f| f.word()?.split(['-', ',']).next()?.parse().ok()),
    )
}

fn times(options: &[(String, Option<Field>)], slurm: bool) -> Times {
    if !slurm {
        return match number(options, &["-np", "-n", "--np", "-c"]) {
            Some(Some(1)) => Times::Once,
            Some(Some(n)) => Times::Known(n),
            Some(None) => Times::Unknown,
            None => Times::EachTask,
        };
    }
    if value(options, &["--ntasks-per-gpu", "--multi-prog"]).is_some() {
        return Times::Unknown;
    }
    let tasks = number(options, &["-n", "--ntasks"]);
    let nodes = number(options, &["-N", "--nodes"]);
    let on_node = number(options, &["--ntasks-per-node"]);
    match (tasks, nodes, on_node) {
        (Some(Some(1)), ..) => Times::Once,
        (Some(Some(n)), Some(Some(nodes)), _) if n == nodes => Times::EachNode,
        (Some(Some(n)), ..) => Times::Known(n),
        (Some(None), ..) | (None, Some(None), _) | (None, _, Some(None)) => Times::Unknown,
        (None, Some(Some(1)), Some(Some(1))) => Times::Once,
        (None, _, Some(Some(1))) => Times::EachNode,
        (None, Some(Some(1)), Some(Some(n))) => Times::Known(n),
        (None, Some(Some(1)), None) => Times::EachTaskOfANode,
        (None, _, Some(Some(_))) => Times::Unknown,
        (None, _, None) => Times::EachTask,
    }
}

/// The GPUs that a step asks for; `None` where it has those of the job.
fn own(options: &[(String, Option<Field>)], slurm: bool) -> Option<Own> {
    const ASKS: [&str; 6] = [
        "-G",
        "--gpus",
        "--gres",
        "--gpus-per-node",
        "--gpus-per-task",
        "--tres-per-task",
    ];
    if !slurm {
        return None;
    }
    if value(options, &["--gpu-bind", "--gpus-per-socket"]).is_some() {
        return Some(Own::Unknown);
    }
    let field = value(options, &ASKS)?;
    let Some(field) = field else {
        return Some(Own::Unknown);
    };
    if field.text.follows() == Some(Follows::Gpus) {
        return None;
    }
    let Some(text) = field.word() else {
        // `--gres=gpu:$SLURM_GPUS_ON_NODE`
        let all = field.text.0.last() == Some(&super::super::bash::Piece::Follows(Follows::Gpus));
        return if all && !field.text.has_unknown() {
            None
        } else {
            Some(Own::Unknown)
        };
    };
    let count = text.rsplit([':', '=']).next().and_then(|n| n.parse().ok());
    // A type that is named there stays the job's: the step would not start on another.
    let typed = text.matches(':').count()
        > usize::from(text.starts_with("gpu") || text.starts_with("gres"));
    Some(match count {
        Some(n) if !typed => Own::Count(n),
        _ => Own::Unknown,
    })
}
