//! What is typed, by verb: the examples of the man pages.

/// Examples of one verb: what is typed, and what it does.
pub(super) type Examples = &'static [(&'static str, &'static str)];

/// Every verb that people type.
pub(super) const EXAMPLES: [(&str, Examples); 21] = [
    (
        "advise",
        &[
            (
                "omnipilot advise llama3.1:70b --gpus h100:8,a100:8x2 --users 30",
                "without a site: which of these GPUs serve thirty people who chat",
            ),
            (
                "omnipilot advise Qwen/Qwen3-32B --concurrency 64 --ttft 600ms --tpot 50ms",
                "at a site: with two latency targets",
            ),
            (
                "omnipilot advise /models/ours --rate 150/min --json",
                "of a folder with config.json, for a program",
            ),
        ],
    ),
    (
        "explain",
        &[
            (
                "omnipilot explain --job 4711",
                "why this job was given what it has, and why it waits",
            ),
            (
                "omnipilot explain --model Qwen/Qwen3-32B --concurrency 64",
                "by term, and what would have to change for another to win",
            ),
        ],
    ),
    (
        "submit",
        &[
            (
                "omnipilot submit --dry-run --model Qwen/Qwen3-32B -- --time=2:00:00 serve.sh",
                "show the sbatch line, submit nothing",
            ),
            (
                "omnipilot submit --model Qwen/Qwen3-32B --concurrency 64 -- serve.sh",
                "submit without the plugin",
            ),
        ],
    ),
    (
        "run",
        &[
            (
                "omnipilot run -- vllm serve Qwen/Qwen3-32B --port 8000",
                "in a batch script: start the engine as advised",
            ),
            (
                "omnipilot run --outcome try.json -- vllm serve Qwen/Qwen3-0.6B",
                "outside a job: keep the record in a file",
            ),
        ],
    ),
    (
        "status",
        &[(
            "omnipilot status",
            "my servers: where they answer, and how fast",
        )],
    ),
    (
        "stop",
        &[(
            "omnipilot stop 4711",
            "end this job once no request is in flight",
        )],
    ),
    (
        "setup",
        &[
            ("omnipilot setup --dry-run", "what would be done"),
            ("omnipilot setup --enable", "switch the plugin on"),
        ],
    ),
    (
        "doctor",
        &[("omnipilot doctor", "what is wrong, and what to do about it")],
    ),
    (
        "init",
        &[(
            "omnipilot --store try.db init",
            "a store of public runs in this folder",
        )],
    ),
    (
        "observe",
        &[
            (
                "omnipilot observe",
                "ask Slurm for nodes, limits and free GPUs, and publish",
            ),
            (
                "omnipilot --store try.db observe --gpus h100:8x4,a100:8",
                "state the GPUs where there is no Slurm",
            ),
        ],
    ),
    (
        "ingest",
        &[("omnipilot ingest", "take in outcome files and accounting")],
    ),
    (
        "import",
        &[
            (
                "omnipilot import results.json --gpu h100 --tp 2",
                "a result of a benchmark client; the file says the rest",
            ),
            (
                "omnipilot import --format runs-csv runs.csv",
                "a table of runs",
            ),
        ],
    ),
    (
        "train",
        &[(
            "omnipilot train --if-needed",
            "a new predictor where there are new runs",
        )],
    ),
    (
        "models",
        &[
            (
                "omnipilot models",
                "which predictors were trained, and which one is published",
            ),
            ("omnipilot models rollback", "publish the one before again"),
            (
                "omnipilot models cards llama",
                "which language models are known by name",
            ),
        ],
    ),
    (
        "predict",
        &[(
            "omnipilot predict --input cases.csv --output predictions.csv",
            "eight targets for each case",
        )],
    ),
    (
        "evaluate",
        &[(
            "omnipilot evaluate --only new-site",
            "how good predictions are at a place never seen",
        )],
    ),
    (
        "probe",
        &[
            (
                "omnipilot probe plan",
                "which short test jobs would teach most",
            ),
            ("omnipilot probe run", "submit them"),
        ],
    ),
    (
        "report",
        &[(
            "omnipilot report --output report.html",
            "what was advised, and what came of it",
        )],
    ),
    (
        "export",
        &[
            (
                "omnipilot export sbatch --model Qwen/Qwen3-32B --output serve.sh",
                "a batch script of an advice",
            ),
            (
                "omnipilot export runs --output runs.parquet",
                "all runs as a table",
            ),
        ],
    ),
    (
        "store",
        &[(
            "omnipilot store backup copy.db",
            "copy the store while it is in use",
        )],
    ),
    (
        "generate",
        &[("omnipilot generate out", "man pages and completions")],
    ),
];

/// The examples of a verb.
pub(super) fn of(verb: &str) -> Examples {
    EXAMPLES
        .iter()
        .find(|(name, _)| *name == verb)
        .map_or(&[], |(_, examples)| examples)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{EXAMPLES, of};

    #[test]
    fn every_verb_has_examples_that_are_understood() {
        for verb in crate::Cli::command().get_subcommands() {
            assert!(!of(verb.get_name()).is_empty(), "{}", verb.get_name());
        }
        for (verb, examples) in EXAMPLES {
            for (typed, _) in examples {
                let words: Vec<&str> = typed.split(' ').collect();
                assert!(words.contains(&verb), "{typed}");
                if let Err(error) = crate::Cli::command().try_get_matches_from(words) {
                    panic!("{typed}: {error}");
                }
            }
        }
    }
}
