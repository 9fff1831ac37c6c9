//! The serving engines: by which words each is started, how it spells its options, which file of
//! settings it reads, and what it does where it is told no degree. One table.

use super::flags::{EngineKind, Setting};

/// What an engine does that is told no degree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untold {
    /// It takes one GPU.
    One,
    /// It takes every GPU that it sees.
    All,
    /// It decides for itself.
    Itself,
}

/// The file of settings of an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct SettingsFile {
    /// Options that name it.
    pub(super) flags: &'static [&'static str],
    /// True where it overrules the command line.
    pub(super) wins: bool,
}

/// Words that start an engine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Program {
    /// The program, then the words that must follow it; `-m` and a Python module count so too.
    pub(super) words: &'static [&'static str],
    /// `omnipilot run` knows it, and can put an advice into its arguments.
    pub(super) by_run: bool,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Engine {
    /// As people call it.
    pub(super) name: &'static str,
    /// The engine as `omnipilot run` knows it.
    pub(super) kind: Option<EngineKind>,
    pub(super) programs: &'static [Program],
    /// Each setting with its spellings, the one that is written first.
    pub(super) spellings: &'static [(Setting, &'static [&'static str])],
    pub(super) file: Option<SettingsFile>,
    /// Variables that stand for options.
    pub(super) variables: &'static [(Setting, &'static str)],
    pub(super) untold: Untold,
    /// The model may stand without a flag.
    pub(super) model_by_place: bool,
    /// Its checkpoints are in a format that no option and no name tells.
    pub(super) own_files: bool,
}

const fn run(words: &'static [&'static str]) -> Program {
    Program {
        words,
        by_run: true,
    }
}

const fn seen(words: &'static [&'static str]) -> Program {
    Program {
        words,
        by_run: false,
    }
}

const YAML: &[&str] = &["--config"];

/// Every engine that is known.
pub(super) static ENGINES: [Engine; 8] = [
    Engine {
        name: "vLLM",
        kind: Some(EngineKind::Vllm),
        programs: &[
            run(&["vllm", "serve"]),
            run(&["-m", "vllm.entrypoints.openai.api_server"]),
            run(&["-m", "vllm.entrypoints.api_server"]),
            run(&["-m", "vllm.entrypoints.cli.main", "serve"]),
            run(&["-m", "vllm", "serve"]),
            seen(&["vllm", "run-batch"]),
            seen(&["vllm", "bench", "throughput"]),
            seen(&["vllm", "bench", "latency"]),
            seen(&["vllm", "bench", "startup"]),
            seen(&["-m", "vllm.entrypoints.openai.run_batch"]),
            seen(&["-m", "dynamo.vllm"]),
            seen(&["trl", "vllm-serve"]),
        ],
        spellings: &[
            (Setting::Model, &["--model"]),
            (Setting::ServedName, &["--served-model-name"]),
            // Argparse takes unambiguous beginnings; this one is met in the wild.
            (
                Setting::Tp,
                &["--tensor-parallel-size", "-tp", "--tensor-parallel"],
            ),
            (
                Setting::Pp,
                &["--pipeline-parallel-size", "-pp", "--pipeline-parallel"],
            ),
            (Setting::Dp, &["--data-parallel-size", "-dp"]),
            (Setting::Quantization, &["--quantization", "-q"]),
            (Setting::Dtype, &["--dtype"]),
            (Setting::Host, &["--host"]),
            (Setting::Port, &["--port"]),
            (Setting::MaxLen, &["--max-model-len"]),
            (Setting::MostSequences, &["--max-num-seqs"]),
            (Setting::Nodes, &["--nnodes", "-n"]),
        ],
        file: Some(SettingsFile {
            flags: YAML,
            wins: false,
        }),
        variables: &[(Setting::Dp, "VLLM_DP_SIZE")],
        untold: Untold::One,
        model_by_place: true,
        own_files: false,
    },
    Engine {
        name: "SGLang",
        kind: Some(EngineKind::Sglang),
        programs: &[
            run(&["sglang", "serve"]),
            run(&["-m", "sglang.launch_server"]),
            seen(&["-m", "sglang.bench_offline_throughput"]),
            seen(&["-m", "sglang.bench_one_batch"]),
            seen(&["-m", "sglang_router.launch_server"]),
            seen(&["-m", "dynamo.sglang"]),
        ],
        spellings: &[
            (Setting::Model, &["--model-path", "--model"]),
            (Setting::ServedName, &["--served-model-name"]),
            (
                Setting::Tp,
                &["--tp", "--tp-size", "--tensor-parallel-size"],
            ),
            (
                Setting::Pp,
                &["--pp-size", "--pp", "--pipeline-parallel-size"],
            ),
            (Setting::Dp, &["--dp", "--dp-size", "--data-parallel-size"]),
            (Setting::Quantization, &["--quantization"]),
            (Setting::Dtype, &["--dtype"]),
            (Setting::Host, &["--host"]),
            (Setting::Port, &["--port"]),
            (Setting::MaxLen, &["--context-length"]),
            (Setting::MostSequences, &["--max-running-requests"]),
            (Setting::Nodes, &["--nnodes"]),
        ],
        file: Some(SettingsFile {
            flags: YAML,
            wins: false,
        }),
        variables: &[],
        untold: Untold::One,
        model_by_place: false,
        own_files: false,
    },
    Engine {
        name: "TensorRT-LLM",
        kind: Some(EngineKind::TensorRtLlm),
        programs: &[
            // `trtllm-serve serve MODEL` and `trtllm-serve MODEL` are the same.
            run(&["trtllm-serve", "serve"]),
            run(&["trtllm-serve"]),
            seen(&["-m", "dynamo.trtllm"]),
        ],
        spellings: &[
            (Setting::Tp, &["--tp_size", "--tensor_parallel_size"]),
            (Setting::Pp, &["--pp_size", "--pipeline_parallel_size"]),
            (Setting::Host, &["--host"]),
            (Setting::Port, &["--port"]),
            (Setting::MaxLen, &["--max_seq_len"]),
            (Setting::MostSequences, &["--max_batch_size"]),
        ],
        // "overwrites the parameters specified by trtllm-serve", says its own help.
        file: Some(SettingsFile {
            flags: &["--config", "--extra_llm_api_options", "--extra-engine-args"],
            wins: true,
        }),
        variables: &[],
        untold: Untold::One,
        model_by_place: true,
        own_files: false,
    },
    Engine {
        name: "TGI",
        kind: Some(EngineKind::Tgi),
        programs: &[run(&["text-generation-launcher"])],
        spellings: &[
            (Setting::Model, &["--model-id"]),
            (Setting::ServedName, &["--served-model-name"]),
            (Setting::Tp, &["--num-shard"]),
            (Setting::Quantization, &["--quantize"]),
            (Setting::Dtype, &["--dtype"]),
            (Setting::Host, &["--hostname"]),
            (Setting::Port, &["--port"]),
            (Setting::MaxLen, &["--max-total-tokens"]),
            (Setting::MostSequences, &["--max-concurrent-requests"]),
        ],
        file: None,
        variables: &[
            (Setting::Model, "MODEL_ID"),
            (Setting::Tp, "NUM_SHARD"),
            (Setting::Quantization, "QUANTIZE"),
            (Setting::Dtype, "DTYPE"),
            (Setting::MaxLen, "MAX_TOTAL_TOKENS"),
        ],
        untold: Untold::All,
        model_by_place: false,
        own_files: false,
    },
    Engine {
        name: "LMDeploy",
        kind: None,
        programs: &[
            seen(&["lmdeploy", "serve", "api_server"]),
            seen(&["lmdeploy", "serve", "gradio"]),
            seen(&["lmdeploy", "chat"]),
        ],
        spellings: &[
            (Setting::Tp, &["--tp"]),
            (Setting::Dp, &["--dp"]),
            (Setting::Quantization, &["--model-format"]),
            (Setting::Dtype, &["--dtype"]),
            (Setting::MaxLen, &["--session-len"]),
            (Setting::Nodes, &["--nnodes"]),
        ],
        file: None,
        variables: &[],
        untold: Untold::One,
        model_by_place: true,
        own_files: false,
    },
    Engine {
        name: "llama.cpp",
        kind: None,
        programs: &[
            seen(&["llama-server"]),
            seen(&["llama-cli"]),
            seen(&["llama-bench"]),
            seen(&["-m", "llama_cpp.server"]),
        ],
        spellings: &[
            (Setting::Model, &["--model", "-m"]),
            (Setting::MaxLen, &["--ctx-size", "-c"]),
        ],
        file: None,
        variables: &[],
        untold: Untold::All,
        model_by_place: false,
        own_files: true,
    },
    Engine {
        name: "ollama",
        kind: None,
        programs: &[seen(&["ollama", "serve"])],
        spellings: &[],
        file: None,
        variables: &[],
        untold: Untold::Itself,
        model_by_place: false,
        own_files: true,
    },
    Engine {
        // Its older commands start what a file of services says.
        name: "Dynamo",
        kind: None,
        programs: &[seen(&["dynamo", "serve"]), seen(&["dynamo", "run"])],
        spellings: &[],
        file: None,
        variables: &[],
        untold: Untold::Itself,
        model_by_place: false,
        own_files: true,
    },
];

/// Options that change how much memory an engine has or needs, so that what fits cannot be told.
pub(super) const MEMORY: [&str; 12] = [
    "--cpu-offload-gb",
    "--speculative-config",
    "--speculative-model",
    "--speculative-algorithm",
    "--speculative-draft-model-path",
    "--enable-lora",
    "--lora-modules",
    "--lora-paths",
    "--kv-cache-memory-bytes",
    "--num-gpu-blocks-override",
    "--load-format",
    "--hf-overrides",
];

/// Options that say on which of the GPUs an engine begins, beside the variables for it.
pub(super) const PLACE: [&str; 3] = ["--base-gpu-id", "--gpu-id-step", "--main-gpu"];

/// Options and variables whose values may need features of newer GPUs.
pub(super) const OF_NEWER_GPUS: [&str; 9] = [
    "VLLM_FLASH_ATTN_VERSION",
    "VLLM_ATTENTION_BACKEND",
    "VLLM_USE_DEEP_GEMM",
    "VLLM_USE_FLASHINFER_MOE",
    "TORCH_CUDA_ARCH_LIST",
    "--attention-backend",
    "--moe-backend",
    "--prefill-attention-backend",
    "--decode-attention-backend",
];

/// Options that name the share of the memory an engine takes.
pub(super) const SHARE: [&str; 5] = [
    "--gpu-memory-utilization",
    "--mem-fraction-static",
    "--kv_cache_free_gpu_memory_fraction",
    "--cuda-memory-fraction",
    "--cache-max-entry-count",
];

/// A number that a start is given beside its settings, and the options that state it.
pub(super) const NUMBERS: [(&str, &[&str]); 3] = [
    (
        "max_num_seqs",
        &["--max-num-seqs", "--max-running-requests"],
    ),
    (
        "max_num_batched_tokens",
        &["--max-num-batched-tokens", "--chunked-prefill-size"],
    ),
    (
        "enforce_eager",
        &["--enforce-eager", "--disable-cuda-graph"],
    ),
];

/// The engine that words start at their beginning, and how many words that takes. `by_run` looks
/// for those alone that `omnipilot run` knows.
pub(super) fn at_start(words: &[&str], by_run: bool) -> Option<(&'static Engine, usize)> {
    ENGINES.iter().find_map(|engine| {
        let hit = engine
            .programs
            .iter()
            .find(|program| (program.by_run || !by_run) && starts_with(words, program.words))?;
        Some((engine, hit.words.len()))
    })
}

fn starts_with(words: &[&str], program: &[&str]) -> bool {
    let first = |w: &str| {
        if w == "-m" {
            w.to_owned()
        } else {
            super::words::base(w).to_owned()
        }
    };
    words.len() >= program.len()
        && words
            .iter()
            .zip(program)
            .enumerate()
            .all(|(n, (word, wanted))| {
                if n == 0 {
                    first(word) == *wanted
                } else {
                    word == wanted
                }
            })
}

/// The row of an engine that `omnipilot run` knows.
pub(super) fn of_kind(kind: EngineKind) -> Option<&'static Engine> {
    ENGINES.iter().find(|engine| engine.kind == Some(kind))
}

impl Engine {
    /// The setting that a flag means, a word without its `=value`.
    pub(super) fn setting(&self, flag: &str) -> Option<Setting> {
        let flag = plain(flag);
        let means = |(_, all): &&(Setting, &[&str])| all.iter().any(|s| plain(s) == flag);
        self.spellings
            .iter()
            .find(means)
            .map(|(setting, _)| *setting)
    }

    /// As [`Self::setting`], with the unambiguous beginnings of long flags that Python's own parser
    /// takes too.
    pub(super) fn setting_or_beginning(&self, flag: &str) -> Option<Setting> {
        if let Some(setting) = self.setting(flag) {
            return Some(setting);
        }
        let flag = plain(flag);
        if !flag.starts_with("--") || flag.len() < 7 {
            return None;
        }
        let begins = |(_, all): &&(Setting, &[&str])| {
            all.iter()
                .any(|s| s.starts_with("--") && plain(s).starts_with(&flag))
        };
        let mut found = self
            .spellings
            .iter()
            .filter(begins)
            .map(|(setting, _)| *setting);
        let first = found.next()?;
        found.all(|other| other == first).then_some(first)
    }

    pub(super) fn spellings(&self, setting: Setting) -> &'static [&'static str] {
        let row = self.spellings.iter().find(|(s, _)| *s == setting);
        row.map_or(&[], |(_, all)| *all)
    }
}

impl EngineKind {
    /// The spelling of a setting that advice is given in; `None` where the engine has no such flag.
    pub fn spelling(self, setting: Setting) -> Option<&'static str> {
        self.spellings(setting).first().copied()
    }

    /// Spellings of a setting, the one that is written first; empty where the engine has none.
    pub(super) fn spellings(self, setting: Setting) -> &'static [&'static str] {
        of_kind(self).map_or(&[], |engine| engine.spellings(setting))
    }

    /// The setting that a flag of this engine means. The flag is a word without its `=value`.
    pub(super) fn setting(self, flag: &str) -> Option<Setting> {
        of_kind(self)?.setting(flag)
    }
}

/// The setting that a flag means in any engine, vLLM first.
pub(super) fn setting_of_any(flag: &str) -> Option<Setting> {
    EngineKind::ALL.into_iter().find_map(|k| k.setting(flag))
}

/// A long flag with dashes for underscores: most engines take both.
pub(super) fn plain(flag: &str) -> String {
    if flag.starts_with("--") {
        flag.replace('_', "-")
    } else {
        flag.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_engine_has_one_flag_for_two_settings() {
        for engine in &ENGINES {
            for (setting, all) in engine.spellings {
                for spelling in *all {
                    assert_eq!(
                        engine.setting(spelling),
                        Some(*setting),
                        "{} {spelling}",
                        engine.name
                    );
                }
            }
        }
    }

    #[test]
    fn beginnings_of_flags_count_where_they_are_plain() {
        let vllm = &ENGINES[0];
        assert_eq!(vllm.setting_or_beginning("--tensor"), Some(Setting::Tp));
        assert_eq!(
            vllm.setting_or_beginning("--max-model"),
            Some(Setting::MaxLen)
        );
        assert_eq!(
            vllm.setting_or_beginning("--served"),
            Some(Setting::ServedName)
        );
        assert_eq!(vllm.setting_or_beginning("--api-key"), None);
    }

    #[test]
    fn underscores_and_short_flags_mean_the_same() {
        for flag in ["--tensor-parallel-size", "--tensor_parallel_size", "-tp"] {
            assert_eq!(EngineKind::Vllm.setting(flag), Some(Setting::Tp), "{flag}");
        }
        assert_eq!(EngineKind::Vllm.setting("--tp-nonsense"), None);
        assert_eq!(setting_of_any("--num-shard"), Some(Setting::Tp));
    }
}
