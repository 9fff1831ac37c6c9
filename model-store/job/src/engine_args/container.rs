//! Engines that a container's image starts by itself: `docker run vllm/vllm-openai --model M` names
//! no engine's command.

use super::flags::EngineKind;

/// Programs that run containers.
const RUNNERS: [&str; 6] = [
    "docker",
    "podman",
    "nerdctl",
    "podman-hpc",
    "apptainer",
    "singularity",
];

/// The engine behind `RUNNER run ... IMAGE`, and where its own arguments begin.
pub(super) fn by_image(words: &[&str]) -> Option<(EngineKind, usize)> {
    let runner = words
        .iter()
        .position(|w| RUNNERS.contains(&super::words::base(w)))?;
    let run = runner + 1 + words.get(runner + 1..)?.iter().position(|w| *w == "run")?;
    let options = words.get(run + 1..)?;
    let (at, kind) = options
        .iter()
        .enumerate()
        .filter(|(i, _)| !is_name(options, *i))
        .find_map(|(i, word)| Some((i, kind_of(word)?)))?;
    let image = run + 1 + at;
    match entrypoint(options.get(..at)?) {
        None => Some((kind, image + 1)),
        // Another program of the image: an engine only where its words say so.
        Some(program) => {
            let serves = words.get(image + 1) == Some(&"serve");
            (super::words::base(program) == "vllm" && serves)
                .then_some((EngineKind::Vllm, image + 2))
        }
    }
}

/// A container may be called like its image.
fn is_name(options: &[&str], at: usize) -> bool {
    const NAMES: [&str; 4] = ["--name", "--hostname", "-h", "--network-alias"];
    let before = at.checked_sub(1).and_then(|i| options.get(i));
    options.get(at).is_some_and(|w| w.starts_with('-')) || before.is_some_and(|w| NAMES.contains(w))
}

fn entrypoint<'a>(options: &[&'a str]) -> Option<&'a str> {
    let at = options
        .iter()
        .position(|w| w.split('=').next() == Some("--entrypoint"))?;
    let word = options.get(at)?;
    word.split_once('=')
        .map(|(_, program)| program)
        .or(options.get(at + 1).copied())
}

/// What an image, or a file made of one, starts when it is told nothing else.
fn kind_of(image: &str) -> Option<EngineKind> {
    let name = super::words::base(image).to_ascii_lowercase();
    let file = [".sif", ".simg", ".sqsh"]
        .iter()
        .any(|end| name.ends_with(end));
    if name.starts_with("vllm-openai") || (file && name.contains("vllm")) {
        return Some(EngineKind::Vllm);
    }
    name.starts_with("text-generation-inference")
        .then_some(EngineKind::Tgi)
}

#[cfg(test)]
mod tests {
    use super::super::{EngineCommand, EngineKind};

    fn parse(line: &str) -> Option<EngineCommand> {
        EngineCommand::parse(&line.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn an_image_that_is_an_engine_gets_its_arguments() {
        for line in [
            "docker run --gpus all --rm -p 8000:8000 vllm/vllm-openai:v0.9.0 --model m --tensor-parallel-size 4",
            "srun podman run --name vllm-openai docker.io/vllm/vllm-openai@sha256:12 --model m -tp 4",
            "apptainer run --nv docker://vllm/vllm-openai:latest --model m -tp=4",
            "singularity run --nv /images/vllm_0.9.sif --model=m -tp 4",
            "docker run --entrypoint vllm vllm/vllm-openai serve m -tp 4",
            "docker run --entrypoint=python3 vllm/vllm-openai -m vllm.entrypoints.openai.api_server --model m -tp 4",
            "docker run lmsysorg/sglang python3 -m sglang.launch_server --model-path m --tp 4",
            "apptainer exec --nv vllm.sif vllm serve m --tensor-parallel-size 4",
            "docker run ghcr.io/huggingface/text-generation-inference:3 --model-id m --num-shard 4",
        ] {
            let read = parse(line).unwrap_or_else(|| panic!("{line}"));
            assert_eq!(
                (read.tp, read.model.as_deref()),
                (Some(4), Some("m")),
                "{line}"
            );
        }
        assert_eq!(
            parse("docker run ghcr.io/huggingface/text-generation-inference --model-id m")
                .map(|e| e.kind),
            Some(EngineKind::Tgi)
        );
    }

    #[test]
    fn other_uses_of_an_image_start_no_engine() {
        for line in [
            "docker pull vllm/vllm-openai:latest",
            "docker run --entrypoint bash vllm/vllm-openai -c true",
            "docker run --name vllm-openai ubuntu sleep 1",
            "apptainer build vllm.sif docker://vllm/vllm-openai",
            "apptainer exec vllm.sif nvidia-smi",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
