//! Scripts as people write them, made by chance: an engine, how its degree is spelled, how it is
//! launched, how often, on how many nodes.

use std::fmt::Write as _;

/// A small generator of numbers: the same scripts for the same seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d);
        dice.roll(2);
        dice
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn of_these<'a>(&mut self, all: &[&'a str]) -> &'a str {
        let at = usize::try_from(self.roll(all.len() as u64)).unwrap();
        all[at]
    }
}

/// A script with what it is submitted with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Made {
    pub(crate) text: String,
    pub(crate) arguments: Vec<String>,
    /// Files beside it.
    pub(crate) files: Vec<(String, String)>,
    /// Options of `sbatch`.
    pub(crate) options: Vec<(&'static str, String)>,
    /// GPUs that it asks for on a node.
    pub(crate) asks: u32,
    pub(crate) nodes: u32,
    pub(crate) tasks_on_node: u32,
    /// True where its second half runs in another component.
    pub(crate) het: bool,
}

/// An engine: its words up to its options, the spellings of its degree, and of its file of settings.
struct Engine {
    words: &'static str,
    flags: &'static [&'static str],
    file: Option<&'static str>,
}

const VLLM: &[&str] = &[
    "--tensor-parallel-size",
    "-tp",
    "--tensor-parallel",
    "--tensor_parallel_size",
];
const SGLANG: &[&str] = &["--tp", "--tp-size", "--tensor-parallel-size"];
const TRTLLM: &[&str] = &["--tp_size", "--tensor_parallel_size"];

const fn engine(
    words: &'static str,
    flags: &'static [&'static str],
    file: Option<&'static str>,
) -> Engine {
    Engine { words, flags, file }
}

const ENGINES: [Engine; 16] = [
    engine("vllm serve m", VLLM, Some("--config")),
    engine(
        "vllm serve m --port 8000 --max-model-len 4096",
        VLLM,
        Some("--config"),
    ),
    engine(
        "python -m vllm.entrypoints.openai.api_server --model m",
        VLLM,
        Some("--config"),
    ),
    engine(
        "python3 -u -m vllm.entrypoints.api_server --model=m",
        VLLM,
        None,
    ),
    engine("vllm bench throughput --model m", VLLM, None),
    engine("vllm run-batch -i a -o b --model m", VLLM, None),
    engine(
        "trl vllm-serve --model m",
        &["--tensor_parallel_size"],
        None,
    ),
    engine("python -m dynamo.vllm --model m", VLLM, None),
    engine(
        "python3 -m sglang.launch_server --model-path m",
        SGLANG,
        Some("--config"),
    ),
    engine(
        "sglang serve --model-path m --context-length 4096",
        SGLANG,
        None,
    ),
    engine("python -m dynamo.sglang --model-path m", SGLANG, None),
    engine("trtllm-serve m", TRTLLM, Some("--extra_llm_api_options")),
    engine(
        "trtllm-serve serve m --max_seq_len 4096",
        TRTLLM,
        Some("--config"),
    ),
    engine(
        "text-generation-launcher --model-id m",
        &["--num-shard"],
        None,
    ),
    engine("lmdeploy serve api_server m", &["--tp"], None),
    engine(
        "lmdeploy serve api_server m --session-len 4096",
        &["--tp"],
        None,
    ),
];

/// The command of an engine of a degree, and lines that come before it.
fn spelled(dice: &mut Dice, made: &mut Made, d: u64) -> (String, String) {
    let engine = &ENGINES[usize::try_from(dice.roll(16)).unwrap()];
    let (words, flag) = (engine.words, dice.of_these(engine.flags));
    // A value in the same word, or in the next.
    let join = if flag.starts_with("--") {
        dice.of_these(&[" ", " ", "="])
    } else {
        " "
    };
    let with = |value: &str| format!("{words} {flag}{join}{value}");
    let plain = |line: String, value: &str| (line, with(value));
    match dice.roll(36) {
        0..=2 => plain(String::new(), &d.to_string()),
        3 => plain(format!("TP={d}"), "$TP"),
        4 => (
            format!("N={d}\nARGS=\"{flag} $N\""),
            format!("{words} $ARGS"),
        ),
        5 => plain(format!("TP=${{TP:-{d}}}"), "\"$TP\""),
        6 => (
            format!("A=({flag})\nA+=({d})"),
            format!("{words} \"${{A[@]}}\""),
        ),
        7 => {
            made.arguments = vec!["x".into(), d.to_string()];
            plain(String::new(), "${2}")
        }
        8 => plain(format!("T=$(echo {d})"), "$T"),
        9 => plain(format!("H=$(({d} * 2))"), "$((H / 2))"),
        10 => plain(String::new(), "${SLURM_GPUS_ON_NODE}"),
        11 => plain(String::new(), "$(nvidia-smi -L | wc -l)"),
        12 => plain(format!("TP=9\nif [ 1 -eq 1 ]; then TP={d}; fi"), "$TP"),
        13 => plain(format!("case x$1 in y*) TP=8 ;; *) TP={d} ;; esac"), "$TP"),
        14 => plain(
            format!("TP=0\nwhile [ $TP -lt {d} ]; do TP=$((TP + 1)); done"),
            "$TP",
        ),
        15 => plain(format!("TP=1\n[ -e /etc/passwd ] && TP={d}"), "$TP"),
        16 => plain(format!("set -- {d}"), "$1"),
        17 => (
            format!("export DEGREE={d}"),
            format!("bash -c '{}'", with("$DEGREE")),
        ),
        18 => (
            format!("DEGREE={d}"),
            format!("bash -c \"{}\"", with("$DEGREE")),
        ),
        19 => plain(format!("read -r TP <<< {d}"), "$TP"),
        20 => {
            let text = format!("{}\n", with("\"$1\""));
            made.files.push(("child.sh".into(), text));
            (String::new(), format!("bash ./child.sh {d}"))
        }
        21 => {
            made.files.push(("vars.env".into(), format!("TP={d}\n")));
            plain(". ./vars.env".into(), "$TP")
        }
        22 => plain(
            format!(
                "N=$(nvidia-smi -L | wc -l)\nif [ $N -lt {} ]; then exit 1; fi",
                made.asks
            ),
            "$N",
        ),
        23 => plain(
            format!("(( SLURM_GPUS_ON_NODE == {} )) || exit 1", made.asks),
            "$SLURM_GPUS_ON_NODE",
        ),
        24 => plain(
            format!("[[ $SLURM_GPUS_ON_NODE -ge {} ]] || exit 1", made.asks),
            &d.to_string(),
        ),
        25 => plain(
            format!(
                "nvidia-smi --query-gpu=name --format=csv,noheader | grep H100 > /dev/null || exit 1\nTP={d}"
            ),
            "$TP",
        ),
        26 => plain(
            format!("K=$(nvidia-smi -L | sed -n 1p)\n[[ $K == *H100* ]] || exit 1\nTP={d}"),
            "$TP",
        ),
        27 => plain(
            "IFS=, read -ra G <<< \"$CUDA_VISIBLE_DEVICES\"".into(),
            "${#G[@]}",
        ),
        28 => plain(
            "N=$(echo $CUDA_VISIBLE_DEVICES | tr , '\\n' | wc -l)".into(),
            "$N",
        ),
        29 => plain(
            format!("TPS=({d} {d} {d})\nTP=${{TPS[$SLURM_ARRAY_TASK_ID]}}"),
            "$TP",
        ),
        30 => plain(
            format!("TP={d}\nfor a in \"$@\"; do case $a in --tp=*) TP=${{a#--tp=}} ;; esac; done"),
            "$TP",
        ),
        31 => plain(String::new(), "$SLURM_LLM_TP"),
        32 => (String::new(), format!("{words} $SLURM_LLM_ENGINE_ARGS")),
        33 => (String::new(), format!("omnipilot run -- {words}")),
        34 => (
            String::new(),
            format!("omnipilot run --interval 5 -- {}", with(&d.to_string())),
        ),
        _ => match engine.file {
            None => plain(String::new(), &d.to_string()),
            Some(option) => {
                let key = dice.of_these(&["tensor-parallel-size", "tensor_parallel_size"]);
                let key = if words.starts_with("trtllm") {
                    "tensor_parallel_size"
                } else {
                    key
                };
                let text = format!("# settings\n{key}: {d}\n");
                let write = if dice.roll(2) == 0 {
                    format!("cat > set.yaml <<EOF\n{text}EOF")
                } else {
                    made.files.push(("set.yaml".into(), text));
                    String::new()
                };
                (write, format!("{words} {option} set.yaml"))
            }
        },
    }
}

/// What stands before a command. The second value is true where nothing may follow on its line.
fn launched(dice: &mut Dice, made: &mut Made, command: &str) -> (String, bool) {
    let quoted = command.replace('\'', r"'\''");
    let single = !command.contains('\'') && !command.contains('"');
    let text = match dice.roll(34) {
        0 => format!("env A=b {command}"),
        1 => format!("timeout 100 {command}"),
        2 => format!("nohup {command}"),
        3 => format!("srun -n1 {command}"),
        4 => format!("srun --ntasks=1 --nodes=1 {command}"),
        5 => format!("numactl -N 0 {command}"),
        6 => format!("( {command} )"),
        7 => format!("eval '{quoted}'"),
        8 => return (format!("bash <<'END'\n{command}\nEND\n"), true),
        9 => format!("command {command}"),
        10 => format!("srun {command}"),
        11 => format!("srun --ntasks-per-node=1 {command}"),
        12 => format!("srun -N1 -n2 {command}"),
        13 => format!("srun -n1 --gpus={} {command}", made.asks),
        14 => format!("srun --overlap -N 1 -n 1 bash -c '{quoted}'"),
        15 => format!("apptainer exec --nv image.sif {command}"),
        16 => format!("singularity exec --nv --bind /a:/b docker://org/image {command}"),
        17 => format!("apptainer exec --nv --cleanenv image.sif bash -c '{quoted}'"),
        18 => format!("docker run --rm --gpus all -v /a:/b org/image {command}"),
        19 => format!("podman run --rm --device nvidia.com/gpu=all org/image:1 {command}"),
        20 => format!("enroot start --rw image {command}"),
        21 => format!("srun -n1 --container-image=org/image --container-mounts=/a:/b {command}"),
        22 if single => format!("tmux new-session -d -s a '{command}'\nsleep 0.1"),
        23 => format!("screen -dmS a {command}\nsleep 0.1"),
        24 => format!("setsid -f {command}\nsleep 0.1"),
        25 => format!("stdbuf -oL {command} 2>&1 | tee out.log"),
        26 => format!("conda run -n e --no-capture-output {command}"),
        27 => format!("uv run --with x {command}"),
        28 => format!("echo '{quoted}' | bash"),
        29 => format!("if ! {command}; then echo no; fi"),
        30 => {
            let text = format!("#!/bin/bash\n{command}\n");
            made.files.push(("made.sh".into(), text));
            "bash made.sh \"$@\"".into()
        }
        _ => command.to_owned(),
    };
    (text, false)
}

/// How often a command runs, and how many GPUs of a degree that is at the most.
fn often(dice: &mut Dice, command: &str, alone: bool, one: u32) -> (String, u32) {
    // What follows a here-document has to stand on a line of its own.
    let apart = if alone { "" } else { " &" };
    let count = 2 + dice.roll(3);
    let times = u32::try_from(count).unwrap();
    match dice.roll(18) {
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
        9 => (
            format!("go() {{\n{command}\n}}\nfor i in 0 1; do go \"$@\" & done\nwait"),
            2 * one,
        ),
        10 => (
            format!(
                "export CUDA_VISIBLE_DEVICES=0\n{command}{apart}\nexport CUDA_VISIBLE_DEVICES=1\n{command}{apart}\nwait"
            ),
            2 * one,
        ),
        11 => (
            format!("{command}{apart}\nfirst=$!\nwait $first\n{command}"),
            2 * one,
        ),
        12 => (
            format!("trap 'echo end' EXIT\n{command}{apart}\nwait $!"),
            one,
        ),
        _ => (command.to_owned(), one),
    }
}

/// The script of a seed.
pub(crate) fn make(seed: u64) -> Made {
    let mut dice = Dice::of(seed);
    let degree = 1 << dice.roll(3);
    let one = u32::try_from(degree).unwrap();
    let mut made = Made {
        nodes: 1,
        tasks_on_node: 1,
        asks: 4 * one,
        ..Made::default()
    };
    match dice.roll(8) {
        0 => made.nodes = 2,
        1 => made.tasks_on_node = 2,
        2 => (made.nodes, made.tasks_on_node) = (2, 2),
        _ => {}
    }
    made.het = made.nodes == 1 && dice.roll(12) == 0;
    let (before, command) = spelled(&mut dice, &mut made, degree);
    let (command, alone) = launched(&mut dice, &mut made, &command);
    let (body, _) = often(&mut dice, &command, alone, one);
    let second = match made.het {
        true => format!("srun --het-group=1 {} &\nwait\n", ENGINES[0].words),
        false => String::new(),
    };
    let shell = dice.of_these(&[
        "#!/bin/bash",
        "#!/bin/bash\nset -e",
        "#!/usr/bin/env bash\nset -euo pipefail",
    ]);
    let strict =
        shell.contains("-e") && (before.contains("${TP:-") || body.contains("wait $first"));
    let shell = if strict { "#!/bin/bash" } else { shell };
    let _ = write!(made.text, "{shell}\n{before}\n{body}\n{second}");
    asked(&mut dice, &mut made);
    made
}

/// The options of `sbatch`: one of the forms for GPUs, nodes and tasks.
fn asked(dice: &mut Dice, made: &mut Made) {
    let n = made.asks;
    made.options.push(match dice.roll(4) {
        0 => ("gpus-per-node", n.to_string()),
        1 => ("gres", format!("gpu:{n}")),
        2 if made.nodes == 1 => ("gpus", n.to_string()),
        _ => ("gres", format!("gpu:h100:{n}")),
    });
    if made.nodes > 1 {
        made.options.push(("nodes", made.nodes.to_string()));
    }
    if made.tasks_on_node > 1 {
        made.options
            .push(("ntasks-per-node", made.tasks_on_node.to_string()));
    }
}
