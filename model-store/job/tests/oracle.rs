//! bash is the oracle: scripts are made by a generator, read, and run by a real bash whose programs
//! are stand-ins that record what they are given. Whatever was known is what they saw, and the GPUs
//! that they use together are never more than the job is left with.
//!
//! `ORACLE_SCRIPTS=20000` runs more of them.
#![allow(clippy::unwrap_used, reason = "a failed test is to stop")]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use job::decision::{Submission, may_change};
use job::engine_args::{Outside, Program, Stated, Variable, starts};
use job::job_request::Given;
use job::options::RawOptions;

/// A small generator of numbers: the same scripts for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A script with what it is submitted with.
struct Made {
    text: String,
    arguments: Vec<String>,
    /// Files beside it.
    files: Vec<(String, String)>,
    asks: u32,
}

/// An engine's command up to its degree: words, flag.
const ENGINES: [(&str, &str); 6] = [
    ("vllm serve m", "--tensor-parallel-size"),
    ("vllm serve m --port 8000", "-tp"),
    ("python3 -m sglang.launch_server --model-path m", "--tp"),
    ("trtllm-serve m", "--tp_size"),
    ("lmdeploy serve api_server m", "--tp"),
    (
        "python -m vllm.entrypoints.openai.api_server --model m",
        "--tensor-parallel-size",
    ),
];

/// The command of an engine of a degree, and lines that come before it.
fn spelled(dice: &mut Dice, made: &mut Made, degree: u64) -> (String, String) {
    let (engine, flag) = ENGINES[usize::try_from(dice.roll(6)).unwrap()];
    let d = degree;
    match dice.roll(20) {
        0 => (String::new(), format!("{engine} {flag} {d}")),
        1 => (format!("TP={d}"), format!("{engine} {flag} $TP")),
        2 => (
            format!("N={d}\nARGS=\"{flag} $N\""),
            format!("{engine} $ARGS"),
        ),
        3 => (
            format!("TP=${{TP:-{d}}}"),
            format!("{engine} {flag} \"$TP\""),
        ),
        4 => (
            format!("A=({flag})\nA+=({d})"),
            format!("{engine} \"${{A[@]}}\""),
        ),
        5 => {
            made.arguments = vec!["x".into(), d.to_string()];
            (String::new(), format!("{engine} {flag} ${{2}}"))
        }
        6 => (format!("T=$(echo {d})"), format!("{engine} {flag} $T")),
        7 => (
            format!("H=$(({d} * 2))"),
            format!("{engine} {flag} $((H / 2))"),
        ),
        8 => (
            String::new(),
            format!("{engine} {flag} ${{SLURM_GPUS_ON_NODE}}"),
        ),
        9 => (
            String::new(),
            format!("{engine} {flag} $(nvidia-smi -L | wc -l)"),
        ),
        10 => (
            format!("TP=9\nif [ 1 -eq 1 ]; then TP={d}; fi"),
            format!("{engine} {flag} $TP"),
        ),
        11 => (
            format!("case x$1 in y*) TP=8 ;; *) TP={d} ;; esac"),
            format!("{engine} {flag} $TP"),
        ),
        12 => (
            format!("TP=0\nwhile [ $TP -lt {d} ]; do TP=$((TP + 1)); done"),
            format!("{engine} {flag} $TP"),
        ),
        13 => (
            format!("TP=1\n[ -e /etc/passwd ] && TP={d}"),
            format!("{engine} {flag} $TP"),
        ),
        14 => (format!("set -- {d}"), format!("{engine} {flag} $1")),
        15 => (
            format!("export DEGREE={d}"),
            format!("bash -c '{engine} {flag} $DEGREE'"),
        ),
        16 => (
            format!("DEGREE={d}"),
            format!("bash -c \"{engine} {flag} $DEGREE\""),
        ),
        17 => (
            format!("read -r TP <<< {d}"),
            format!("{engine} {flag} $TP"),
        ),
        18 => {
            made.files
                .push(("child.sh".into(), format!("{engine} {flag} \"$1\"\n")));
            (String::new(), format!("bash ./child.sh {d}"))
        }
        _ => {
            made.files.push(("vars.env".into(), format!("TP={d}\n")));
            (". ./vars.env".into(), format!("{engine} {flag} $TP"))
        }
    }
}

fn launched(dice: &mut Dice, command: &str) -> String {
    match dice.roll(14) {
        0 => format!("env A=b {command}"),
        1 => format!("timeout 100 {command}"),
        2 => format!("nohup {command}"),
        3 => format!("srun -n1 {command}"),
        4 => format!("srun --ntasks=1 --gpus-per-task=1 {command}"),
        5 => format!("numactl -N 0 {command}"),
        6 => format!("( {command} )"),
        7 => format!("eval '{}'", command.replace('\'', r"'\''")),
        8 => format!("bash <<'END'\n{command}\nEND\n"),
        9 => format!("command {command}"),
        10 => format!("srun {command}"),
        _ => command.to_owned(),
    }
}

fn make(seed: u64) -> Made {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d);
    dice.roll(2);
    let mut made = Made {
        text: String::new(),
        arguments: Vec::new(),
        files: Vec::new(),
        asks: 1,
    };
    let degree = 1 << dice.roll(3);
    let (before, command) = spelled(&mut dice, &mut made, degree);
    let command = launched(&mut dice, &command);
    let one = u32::try_from(degree).unwrap();
    // What follows a here-document has to stand on a line of its own.
    let apart = if command.contains("<<'END'") {
        ""
    } else {
        " &"
    };
    let count = 2 + dice.roll(3);
    let times = u32::try_from(count).unwrap();
    let (body, asks) = match dice.roll(12) {
        0 => (format!("{command}{apart}\nwait"), one),
        1 => (format!("{command}{apart}\n{command}{apart}\nwait"), 2 * one),
        2 => (
            format!("for g in $(seq 1 {count}); do\n{command}{apart}\ndone\nwait"),
            times * one,
        ),
        3 => (
            format!("for ((i = 0; i < {count}; i++)); do\n{command}{apart}\ndone\nwait"),
            times * one,
        ),
        4 => (
            format!("i=0\nwhile ((i < {count})); do\n{command}{apart}\ni=$((i + 1))\ndone\nwait"),
            times * one,
        ),
        5 => (format!("{command}\n{command}"), one),
        6 => (
            format!("go() {{\n{command}{apart}\n}}\ngo \"$@\"\ngo \"$@\"\nwait"),
            2 * one,
        ),
        7 => (
            format!(
                "for g in {{0..1}}; do\nexport CUDA_VISIBLE_DEVICES=$g\n{command}{apart}\ndone\nwait"
            ),
            2 * one,
        ),
        8 => (
            format!("cat /etc/hostname | while read -r host; do\n{command}\ndone"),
            one,
        ),
        _ => (command.clone(), one),
    };
    made.asks = asks;
    let _ = write!(made.text, "#!/bin/bash\n{before}\n{body}\n");
    made
}

/// One engine that a stand-in saw: its degree, its own GPUs, and when it ran.
struct Ran {
    degree: u32,
    own: Option<u32>,
    from: usize,
    to: usize,
}

const STUB: &str = "#!/bin/sh\necho \"S $$ ${CUDA_VISIBLE_DEVICES:-all} $*\" >> \"$LOG\"\nsleep 0.02\necho \"E $$\" >> \"$LOG\"\n";

fn programs(folder: &Path) {
    let put = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    for name in ["vllm", "python", "python3", "trtllm-serve", "lmdeploy"] {
        put(name, STUB);
    }
    put(
        "srun",
        "#!/bin/bash\nwhile [[ $1 == -* ]]; do shift; done\nexec \"$@\"\n",
    );
    put("numactl", "#!/bin/bash\nshift 2\nexec \"$@\"\n");
    put("nvidia-smi", "#!/bin/sh\nseq 1 $SLURM_GPUS_ON_NODE\n");
}

fn run(folder: &Path, made: &Made, gpus: u32) -> Vec<Ran> {
    let log = folder.join("log");
    drop(fs::remove_file(&log));
    let path = format!("{}:/usr/bin:/bin", folder.join("bin").display());
    Command::new("bash")
        .arg("job.sh")
        .args(&made.arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("LOG", &log)
        .env("SLURM_GPUS_ON_NODE", gpus.to_string())
        .env("SLURM_LLM_TP", gpus.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let text = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Vec::new();
    for (from, line) in lines.iter().enumerate() {
        let words: Vec<&str> = line.split(' ').collect();
        if words[0] != "S" {
            continue;
        }
        let end = format!("E {}", words[1]);
        let to = lines
            .iter()
            .skip(from)
            .position(|l| *l == end)
            .map_or(usize::MAX, |n| from + n);
        let flag = |w: &&str| ["--tensor-parallel-size", "-tp", "--tp", "--tp_size"].contains(w);
        let at = words.iter().position(flag);
        let degree = at
            .and_then(|at| words.get(at + 1)?.parse().ok())
            .unwrap_or(1);
        out.push(Ran {
            degree,
            own: words[2].parse().ok(),
            from,
            to,
        });
    }
    out
}

/// The most GPUs that are in use at once.
fn together(all: &[Ran]) -> u32 {
    let at = |moment: usize| -> u32 {
        all.iter()
            .filter(|r| r.from <= moment && moment < r.to)
            .map(|r| r.degree)
            .sum()
    };
    all.iter().map(|r| at(r.from)).max().unwrap_or(0)
}

/// What is wrong with how a script was read; `None` for nothing.
fn fault(folder: &Path, made: &Made) -> Option<String> {
    fs::write(folder.join("job.sh"), &made.text).unwrap();
    for (name, text) in &made.files {
        fs::write(folder.join(name), text).unwrap();
    }
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let given = Given::of(|name| (name == "gres").then(|| format!("gpu:{}", made.asks)));
    let submission = Submission {
        options: &RawOptions::default(),
        given: &given,
        script: Some(&made.text),
        arguments: Some(&made.arguments),
        read: &read,
        environment: &|_| None,
        component: 0,
        who: &job::startable::Who::default(),
    };
    // A job that is left as it is keeps what it asks for; one that follows gets two.
    let left = match may_change(&submission) {
        Err(_) => made.asks,
        Ok(change) => change.number.unwrap_or(2),
    };
    let ran = run(folder, made, left);
    let used = together(&ran);
    let highest = ran.iter().filter_map(|r| r.own).max().map_or(0, |n| n + 1);
    // A job that keeps what it asks for is what it was untagged.
    if left < made.asks && used.max(highest) > left {
        return Some(format!("{used} GPUs are used, {left} are left"));
    }
    let outside = Outside {
        arguments: Some(&made.arguments),
        variable: &|_| Variable::Unset,
        read: &read,
    };
    let found = starts(&made.text, &outside).list;
    let sure = found
        .iter()
        .all(|s| matches!(s.program, Program::Engine { .. }));
    if ran.is_empty() || !sure {
        return None;
    }
    let fits = |r: &Ran| {
        found.iter().any(|s| match &s.tp {
            Stated::Known { value, .. } => *value == r.degree,
            Stated::Unsaid => r.degree == 1,
            Stated::Gpus | Stated::Advised => r.degree == left,
            Stated::Unknown => true,
        })
    };
    let odd = ran.iter().find(|r| !fits(r))?;
    Some(format!(
        "a degree of {} was seen, {found:?} was read",
        odd.degree
    ))
}

#[test]
fn bash_does_what_was_read() {
    let count: u64 = std::env::var("ORACLE_SCRIPTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(500);
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("bin")).unwrap();
    programs(&folder.path().join("bin"));
    let mut faults = Vec::new();
    for seed in 0..count {
        let made = make(seed);
        if let Some(fault) = fault(folder.path(), &made) {
            faults.push(format!("script {seed}: {fault}\n{}", made.text));
        }
    }
    assert!(
        faults.is_empty(),
        "{} of {count}\n{}",
        faults.len(),
        faults[..faults.len().min(5)].join("\n")
    );
}
