//! Programs that stand in for engines, launchers and containers, and what they saw.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::made::Made;

/// One engine that a stand-in saw: its degree, its own GPUs, its node, and when it ran.
#[derive(Clone, Debug)]
pub(crate) struct Ran {
    pub(crate) degree: u32,
    pub(crate) own: Option<Vec<u32>>,
    pub(crate) node: u32,
    pub(crate) component: u32,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// What a job is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) gpus: u32,
    pub(crate) nodes: u32,
    /// The variables of the advice are set.
    pub(crate) told: bool,
    /// As `nvidia-smi` names its GPUs.
    pub(crate) kind: &'static str,
}

const STUB: &str = r#"#!/bin/sh
echo "S $$ ${CUDA_VISIBLE_DEVICES:-all} ${NODE:-0} ${HET:-0} ${RUN_TP:-0} ${0##*/} $*" >> "$LOG"
sleep 0.02
echo "E $$" >> "$LOG"
"#;

/// As `srun` starts tasks: of the job, so many, or so many on a node.
const SRUN: &str = r#"#!/bin/bash
n='' N='' per='' het=0 gpus=0
while [[ ${1:-} == -* ]]; do
  case $1 in
    -n1|--ntasks=1) n=1 ;; -n2) n=2 ;; -n) n=$2; shift ;;
    -N1|--nodes=1) N=1 ;; -N) N=$2; shift ;;
    --ntasks-per-node=*) per=${1#*=} ;;
    --het-group=*) het=${1#*=} ;;
    --gpus=*) gpus=${1#*=} ;;
  esac
  shift
done
[ "$gpus" -le "$SLURM_GPUS_ON_NODE" ] || exit 1
nodes=${N:-$SLURM_NNODES}
[ "$nodes" -le "$SLURM_NNODES" ] || exit 1
[ "$het" = 0 ] || { n=1 nodes=1; }
if [ -z "$n" ]; then n=$(( nodes * ${per:-$TASKS_ON_NODE} )); fi
[ "$n" -ge "$nodes" ] || nodes=$n
for ((i = 0; i < n; i++)); do
  NODE=$(( i * nodes / n )) HET=$het SLURM_PROCID=$i SLURM_LOCALID=$(( i % (n / nodes) )) "$@" <&0 &
done
code=0
for job in $(jobs -p); do wait "$job" || code=1; done
exit $code
"#;

/// A container: what is behind the image, and without the job's variables where `clean`.
const CONTAINER: &str = r#"#!/bin/bash
clean=CLEAN
while [ $# -gt 0 ]; do
  case $1 in
    --cleanenv) clean=1 ;;
    *.sif|docker://*|org/*|image) shift; break ;;
  esac
  shift
done
if [ "$clean" = 1 ]; then
  exec env -i PATH="$PATH" LOG="$LOG" CUDA_VISIBLE_DEVICES="$CUDA_VISIBLE_DEVICES" \
    NODE="${NODE:-0}" HET="${HET:-0}" RUN_TP="${RUN_TP:-0}" SLURM_GPUS_ON_NODE="$SLURM_GPUS_ON_NODE" "$@"
fi
exec "$@"
"#;

/// Puts the programs into a folder.
pub(crate) fn programs(folder: &Path) {
    let put = |name: &str, text: &str| {
        fs::write(folder.join(name), text).unwrap();
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    for name in [
        "vllm",
        "python",
        "python3",
        "trtllm-serve",
        "lmdeploy",
        "sglang",
        "trl",
        "text-generation-launcher",
    ] {
        put(name, STUB);
    }
    put("srun", SRUN);
    for (name, clean) in [
        ("apptainer", "0"),
        ("singularity", "0"),
        ("docker", "1"),
        ("podman", "1"),
        ("enroot", "1"),
    ] {
        put(name, &CONTAINER.replace("CLEAN", clean));
    }
    put("numactl", "#!/bin/bash\nshift 2\nexec \"$@\"\n");
    put("conda", "#!/bin/bash\nshift 4\nexec \"$@\"\n");
    put("uv", "#!/bin/bash\nshift 3\nexec \"$@\"\n");
    put(
        "omnipilot",
        "#!/bin/bash\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nRUN_TP=${SLURM_LLM_TP:-0} exec \"$@\"\n",
    );
    put(
        "tmux",
        "#!/bin/bash\nshift 4\nsetsid -f bash -c \"$1\" </dev/null >/dev/null 2>&1\n",
    );
    put(
        "screen",
        "#!/bin/bash\nshift 2\nsetsid -f \"$@\" </dev/null >/dev/null 2>&1\n",
    );
    put(
        "nvidia-smi",
        "#!/bin/bash\nall=$(for ((i = 0; i < SLURM_GPUS_ON_NODE; i++)); do echo \"GPU $i: $KIND\"; done)\necho \"$all\"\n",
    );
}

/// Runs a script; gives every engine that it started.
pub(crate) fn run(folder: &Path, made: &Made, given: Given) -> Vec<Ran> {
    let log = folder.join("log");
    drop(fs::remove_file(&log));
    let path = format!("{}:/usr/bin:/bin", folder.join("bin").display());
    let all: Vec<String> = (0..given.gpus).map(|n| n.to_string()).collect();
    let all = all.join(",");
    let mut command = Command::new("timeout");
    command
        .args(["20", "bash", "job.sh"])
        .args(&made.arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", path)
        .env("LOG", &log)
        .env("KIND", given.kind)
        .env("CUDA_VISIBLE_DEVICES", &all)
        .env("SLURM_JOB_GPUS", &all)
        .env("SLURM_NNODES", given.nodes.to_string())
        .env("SLURM_ARRAY_TASK_ID", "1")
        .env("TASKS_ON_NODE", made.tasks_on_node.to_string())
        .env("SLURM_GPUS_ON_NODE", given.gpus.to_string());
    if given.told {
        let args = format!("--tensor-parallel-size {}", given.gpus);
        command
            .env("SLURM_LLM_TP", given.gpus.to_string())
            .env("SLURM_LLM_ENGINE_ARGS", args);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    let text = fs::read_to_string(&log).unwrap_or_default();
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split(' ').collect()).collect();
    let started = lines
        .iter()
        .enumerate()
        .filter(|(_, words)| words[0] == "S");
    started
        .map(|(from, words)| {
            let ends = |l: &Vec<&str>| l[0] == "E" && l[1] == words[1];
            let to = lines.iter().skip(from).position(ends);
            let own = (words[2] != all && words[2] != "all")
                .then(|| words[2].split(',').filter_map(|n| n.parse().ok()).collect());
            Ran {
                degree: degree(folder, words, given.gpus),
                own,
                node: words[3].parse().unwrap(),
                component: words[4].parse().unwrap(),
                from,
                to: to.map_or(usize::MAX, |n| from + n),
            }
        })
        .collect()
}

/// The degree of an engine with these words: its file wins, its own option, `omnipilot run`, one.
fn degree(folder: &Path, words: &[&str], gpus: u32) -> u32 {
    let flag = |w: &str| {
        [
            "--tensor-parallel-size",
            "--tensor-parallel",
            "-tp",
            "--tp",
            "--tp-size",
            "--num-shard",
        ]
        .contains(&w.replace('_', "-").as_str())
    };
    let value = |wanted: &dyn Fn(&str) -> bool| {
        words.iter().enumerate().rev().find_map(|(at, word)| {
            let (name, inline) = word
                .split_once('=')
                .map_or((*word, None), |(n, v)| (n, Some(v)));
            let value = inline.or_else(|| words.get(at + 1).copied());
            wanted(name).then_some(value)?
        })
    };
    let file = value(&|w| w == "--config" || w == "--extra_llm_api_options");
    let filed = file.and_then(|name| {
        let text = fs::read_to_string(folder.join(name)).ok()?;
        text.lines()
            .find_map(|l| l.strip_prefix("tensor")?.split(": ").nth(1)?.parse().ok())
    });
    let written = value(&flag).and_then(|v| v.parse().ok());
    let advised = words[5].parse().ok().filter(|n| *n > 0);
    let all = (words[6] == "text-generation-launcher").then_some(gpus);
    let wins = words[6] == "trtllm-serve";
    let first = if wins {
        filed.or(written)
    } else {
        written.or(filed)
    };
    first.or(advised).or(all).unwrap_or(1)
}
