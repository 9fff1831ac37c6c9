//! What a container starts, on which GPUs, and whether variables of the job reach it.

use super::super::engines::{self, Engine};
use super::super::words::base;
use super::super::{container, tools};
use super::Own;
use super::wrappers::runs_engine;

/// A container's command line, read.
pub(super) struct Contained {
    /// The GPUs that it is given for itself; `None` for all.
    pub(super) own: Option<Own>,
    /// No variable of the job reaches it.
    pub(super) apart: bool,
    /// Those of the advice do all the same.
    pub(super) passes_advice: bool,
    /// It runs beside the script.
    pub(super) detached: bool,
    pub(super) starts: Inside,
}

/// What runs in it.
pub(super) enum Inside {
    /// An engine that the image is, and where its arguments begin.
    Engine(&'static Engine, usize),
    /// A command that begins there.
    Command(usize),
    /// A program that uses no GPU.
    Tool,
    Unknown,
}

/// Reads the words of `docker run`, `apptainer exec` and their like.
pub(super) fn contained(texts: &[&str]) -> Contained {
    const CLEAN: [&str; 5] = ["-e", "--cleanenv", "-C", "--contain-all", "--containall"];
    const BEHIND: [&str; 5] = ["-d", "--detach", "-dit", "-itd", "-td"];
    let has = |all: &[&str]| texts.iter().any(|w| all.contains(w));
    let inherits = matches!(base(texts[0]), "apptainer" | "singularity");
    Contained {
        own: container_gpus(texts),
        apart: !inherits || has(&CLEAN),
        passes_advice: has(&["--env-host"]) || texts.iter().any(|w| w.contains("SLURM_LLM_")),
        detached: has(&BEHIND),
        starts: inside(texts),
    }
}

fn inside(texts: &[&str]) -> Inside {
    // An image may as well run the command behind it.
    let image = container::by_image(texts).filter(|(_, first)| !begins(texts, *first));
    if let Some((engine, first)) =
        image.and_then(|(kind, first)| Some((engines::of_kind(kind)?, first)))
    {
        return Inside::Engine(engine, first);
    }
    match (2..texts.len()).find(|at| begins(texts, *at)) {
        Some(at) => Inside::Command(at),
        None if only_a_tool(texts) => Inside::Tool,
        None => Inside::Unknown,
    }
}

/// True where the command in a container begins at a word.
fn begins(texts: &[&str], at: usize) -> bool {
    const PROGRAMS: [&str; 9] = [
        "bash",
        "sh",
        "python",
        "python3",
        "env",
        "trtllm-llmapi-launch",
        "mpirun",
        "torchrun",
        "ray",
    ];
    let (Some(rest), Some(before)) = (texts.get(at..), texts.get(at - 1)) else {
        return false;
    };
    if TAKES_VALUE.contains(before) {
        return false;
    }
    let word = texts[at];
    engines::at_start(rest, false).is_some()
        || PROGRAMS.contains(&base(word))
        || base(word).starts_with("python3.")
        || runs_engine(rest)
        || (word.ends_with(".sh") && !word.contains(':'))
}

/// Options of containers that take a program's name or a path as their value.
const TAKES_VALUE: [&str; 6] = [
    "--entrypoint",
    "--name",
    "--hostname",
    "--env",
    "--volume",
    "--bind",
];

/// True where the last words are a tool in a container, such as `apptainer exec x.sif nvidia-smi`.
fn only_a_tool(texts: &[&str]) -> bool {
    let image = texts
        .iter()
        .position(|w| w.ends_with(".sif") || w.contains("://"));
    let program = image.and_then(|at| texts.get(at + 1));
    program.is_some_and(|w| tools::is_tool(base(w)))
}

/// The GPUs that a container is given for itself.
fn container_gpus(texts: &[&str]) -> Option<Own> {
    let value = |flag: &str| {
        texts
            .iter()
            .enumerate()
            .find_map(|(i, w)| match w.strip_prefix(flag) {
                Some("") => texts.get(i + 1).copied(),
                Some(rest) => rest.strip_prefix('='),
                None => None,
            })
    };
    if let Some(gpus) = value("--gpus") {
        return match gpus.trim_matches('"') {
            "all" => None,
            n => Some(n.parse().map_or(Own::Unknown, Own::Count)),
        };
    }
    let named = texts.iter().any(|w| {
        w.contains("CUDA_VISIBLE_DEVICES=")
            || w.contains("NVIDIA_VISIBLE_DEVICES=")
            || w.contains("nvidia.com/gpu=")
    });
    let all = texts
        .iter()
        .any(|w| w.contains("VISIBLE_DEVICES=all") || w.contains("nvidia.com/gpu=all"));
    (named && !all).then_some(Own::Unknown)
}
