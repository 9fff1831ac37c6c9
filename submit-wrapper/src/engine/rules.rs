//! What a fault in an engine's log means. Data: which engine writes it, in which versions it was seen, which words, what class
//! it is and why. [`super::log`] applies them to lines that an engine wrote as a fault, and to no others.

use model_store::advisor::RunOutcome;
use model_store::advisor::RunOutcome::{Crash, Incompatible, OutOfMemory};

/// When a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Until the engine serves: later such words are about a single request.
    Start,
    /// Always.
    Any,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// Who writes it: an engine, or what runs below several.
    #[cfg_attr(not(test), allow(dead_code, reason = "for those who add a rule"))]
    pub(super) writer: &'static str,
    /// Versions whose logs or sources it was taken from; empty where many have it.
    #[cfg_attr(not(test), allow(dead_code, reason = "for those who add a rule"))]
    pub(super) versions: &'static str,
    /// Words, in lower case, that all stand in the line.
    pub(super) words: &'static [&'static str],
    /// What the run came to.
    pub(super) class: RunOutcome,
    /// When it counts.
    pub(super) when: When,
    /// Why, in a few words; `docs/run.md` lists them.
    #[cfg_attr(not(test), allow(dead_code, reason = "for those who add a rule"))]
    pub(super) why: &'static str,
}

const MEMORY: &str = "GPU memory ran out";
const CACHE: &str = "too little room for the KV cache";
const HELD: &str = "GPU memory is held by others";
const HEADS: &str = "a size cannot be split over so many GPUs";
const FORMAT: &str = "the weight format does not run so";
const GPU: &str = "the GPU lacks what a kernel needs";
const CONTEXT: &str = "the context is longer than the model's";
const PAIR: &str = "two arguments exclude each other";
const COUNT: &str = "fewer GPUs than asked for";
const PLACE: &str = "the place is not as the command says";
const COMMAND: &str = "the command line is not one that the engine takes";
const NETWORK: &str = "communication between GPUs failed";
const KERNEL: &str = "a kernel failed";
const HOST: &str = "memory of the host ran out";

const fn rule(
    writer: &'static str,
    versions: &'static str,
    class: RunOutcome,
    why: &'static str,
    words: &'static [&'static str],
) -> Rule {
    Rule {
        writer,
        versions,
        words,
        class,
        when: match class {
            Incompatible => When::Start,
            _ => When::Any,
        },
        why,
    }
}

/// The rules. The first that fits a line wins, so the special ones come before the general.
pub(super) static RULES: &[Rule] = &[
    // Memory of the host, in words that others use for a GPU's.
    rule(
        "ray",
        "2",
        Crash,
        HOST,
        &["ray.exceptions.outofmemoryerror"],
    ),
    rule("ray", "2", Crash, HOST, &["node running low on memory"]),
    rule("pytorch", "2", Crash, HOST, &["defaultcpuallocator"]),
    // What a GPU's memory has no room for, whoever asks for it.
    rule("pytorch", "2", OutOfMemory, MEMORY, &["outofmemoryerror"]),
    rule(
        "pytorch",
        "2",
        OutOfMemory,
        MEMORY,
        &["out of memory. tried to allocate"],
    ),
    rule("pytorch", "2", OutOfMemory, MEMORY, &["hip out of memory"]),
    rule(
        "cuda",
        "11 to 13",
        OutOfMemory,
        MEMORY,
        &["cuda", "out of memory"],
    ),
    rule(
        "cuda",
        "11 to 13",
        OutOfMemory,
        MEMORY,
        &["cudaerrormemoryallocation"],
    ),
    rule(
        "cuda",
        "11 to 13",
        OutOfMemory,
        MEMORY,
        &["cublas_status_alloc_failed"],
    ),
    rule(
        "cuda",
        "11 to 13",
        OutOfMemory,
        MEMORY,
        &["cudnn_status_alloc_failed"],
    ),
    rule(
        "triton",
        "3",
        OutOfMemory,
        MEMORY,
        &["triton error", "out of memory"],
    ),
    rule(
        "nccl",
        "2",
        OutOfMemory,
        MEMORY,
        &["cuda failure", "out of memory"],
    ),
    rule(
        "nccl",
        "2",
        OutOfMemory,
        MEMORY,
        &["failed to cuda", "alloc"],
    ),
    rule(
        "tensorrt-llm",
        "0.5 to 1.1",
        OutOfMemory,
        MEMORY,
        &["insufficient gpu memory"],
    ),
    rule(
        "tensorrt-llm",
        "0.5 to 1.1",
        OutOfMemory,
        MEMORY,
        &["error code 2: outofmemory"],
    ),
    rule(
        "tensorrt-llm",
        "1.0",
        OutOfMemory,
        CACHE,
        &["kv cache", "free gpu memory", "insufficient"],
    ),
    // Too little is left for the cache.
    rule(
        "vllm",
        "0.6 to 0.33",
        OutOfMemory,
        CACHE,
        &["no available memory for the cache blocks"],
    ),
    rule(
        "vllm",
        "0.10 to 0.33",
        OutOfMemory,
        CACHE,
        &["larger than the available kv cache memory"],
    ),
    rule(
        "vllm",
        "0.3 to 0.9",
        OutOfMemory,
        CACHE,
        &["larger than the maximum number of tokens that can be stored in kv cache"],
    ),
    rule(
        "vllm",
        "0.32",
        OutOfMemory,
        CACHE,
        &["is less than requested memory for kv"],
    ),
    rule(
        "vllm",
        "0.7 to 0.33",
        OutOfMemory,
        HELD,
        &["is less than desired gpu memory utilization"],
    ),
    rule(
        "sglang",
        "0.2 to 0.5",
        OutOfMemory,
        CACHE,
        &["not enough memory", "mem-fraction-static"],
    ),
    rule(
        "sglang",
        "0.4",
        OutOfMemory,
        CACHE,
        &["prefill out of memory"],
    ),
    rule(
        "sglang",
        "0.4",
        OutOfMemory,
        CACHE,
        &["decode out of memory"],
    ),
    rule(
        "sglang",
        "0.4",
        OutOfMemory,
        CACHE,
        &["extend out of memory"],
    ),
    rule(
        "sglang",
        "0.4 to 0.5",
        OutOfMemory,
        HELD,
        &["memory capacity is unbalanced"],
    ),
    rule(
        "tgi",
        "1 to 3",
        OutOfMemory,
        CACHE,
        &["not enough memory to handle"],
    ),
    rule(
        "tensorrt-llm",
        "0.8 to 1.1",
        OutOfMemory,
        CACHE,
        &["impossible to fit any sequence in kvcache"],
    ),
    rule(
        "lmdeploy",
        "0.4 to 0.10",
        OutOfMemory,
        MEMORY,
        &["no enough gpu memory"],
    ),
    rule(
        "llama.cpp",
        "b3000 to b7000",
        OutOfMemory,
        MEMORY,
        &["unable to allocate cuda"],
    ),
    // Sizes that cannot be split.
    rule(
        "vllm, sglang, tgi, tensorrt-llm",
        "",
        Incompatible,
        HEADS,
        &["must be divisible by"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        HEADS,
        &["is not divisible by"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        HEADS,
        &["not divisible by"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        HEADS,
        &["should be divisible by"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        HEADS,
        &["must be a multiple of"],
    ),
    rule(
        "vllm, sglang",
        "0.2 to 0.33",
        Incompatible,
        HEADS,
        &["not aligned with the quantized weight shape"],
    ),
    rule(
        "vllm",
        "0.4 to 0.33",
        Incompatible,
        HEADS,
        &["min_thread_k"],
    ),
    rule(
        "vllm",
        "0.4 to 0.33",
        Incompatible,
        HEADS,
        &["min_thread_n"],
    ),
    rule(
        "vllm",
        "0.32",
        Incompatible,
        HEADS,
        &["not enough allowed numa nodes to bind threads"],
    ),
    // Formats.
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["quantization", "is not supported for the current gpu"],
    ),
    rule(
        "vllm",
        "0.2 to 0.33",
        Incompatible,
        FORMAT,
        &["is not supported for quantization method"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["does not match the quantization method"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["unknown quantization method"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["invalid quantization method"],
    ),
    rule(
        "vllm",
        "0.32",
        Incompatible,
        FORMAT,
        &["cannot find the config file for"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["quantization", "not supported"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["quantization", "unsupported"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["quant_method", "not supported"],
    ),
    rule(
        "tensorrt-llm",
        "1.0",
        Incompatible,
        FORMAT,
        &["quant", "not supported"],
    ),
    rule(
        "vllm",
        "0.6 to 0.33",
        Incompatible,
        FORMAT,
        &["weight_bits", "not supported"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["kv cache", "dtype", "not supported"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["kv_cache_dtype", "not supported"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["dtype", "not supported"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["dtypes", "supported"],
    ),
    rule(
        "vllm",
        "0.6 to 0.33",
        Incompatible,
        FORMAT,
        &["does not support", "quantization"],
    ),
    rule(
        "vllm",
        "0.2 to 0.33",
        Incompatible,
        FORMAT,
        &["weight quantization is supported for"],
    ),
    rule(
        "vllm",
        "0.5 to 0.33",
        Incompatible,
        FORMAT,
        &["no compressed-tensors compatible scheme"],
    ),
    rule(
        "vllm",
        "0.5 to 0.33",
        Incompatible,
        FORMAT,
        &["marlin does not support"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["kv cache is not supported"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        FORMAT,
        &["kv cache is only supported"],
    ),
    // What the GPU is too old or too small for.
    rule(
        "vllm",
        "0.2 to 0.33",
        Incompatible,
        GPU,
        &["minimum capability"],
    ),
    rule(
        "vllm",
        "0.2 to 0.33",
        Incompatible,
        GPU,
        &["min capability"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        GPU,
        &["compute capability"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        GPU,
        &["only supported on"],
    ),
    rule(
        "triton",
        "3",
        Incompatible,
        GPU,
        &["not supported on cuda arch"],
    ),
    rule("vllm, sglang", "", Incompatible, GPU, &["fp4", "requires"]),
    rule(
        "flash-attention",
        "2, 3",
        Incompatible,
        GPU,
        &["flashattention only supports"],
    ),
    rule(
        "vllm",
        "0.6 to 0.33",
        Incompatible,
        GPU,
        &["head size", "not supported"],
    ),
    rule(
        "vllm",
        "0.6 to 0.33",
        Incompatible,
        GPU,
        &["no valid attention backend"],
    ),
    rule(
        "triton",
        "3",
        Incompatible,
        GPU,
        &["not supported in this architecture"],
    ),
    rule(
        "triton",
        "3",
        Incompatible,
        GPU,
        &["outofresources", "shared memory"],
    ),
    rule(
        "triton",
        "3",
        Incompatible,
        GPU,
        &["out of resource: shared memory"],
    ),
    rule(
        "sglang",
        "0.4 to 0.5",
        Incompatible,
        GPU,
        &["backend requires sm"],
    ),
    rule(
        "tensorrt-llm",
        "0.10 to 1.1",
        Incompatible,
        GPU,
        &["unsupported on", "sm version"],
    ),
    rule(
        "vllm, sglang",
        "",
        Incompatible,
        GPU,
        &["only available on", "gpus"],
    ),
    rule(
        "vllm",
        "0.4 to 0.33",
        Incompatible,
        HEADS,
        &["tensor_parallel_size", "must divide"],
    ),
    rule(
        "vllm",
        "0.5 to 0.33",
        Incompatible,
        HEADS,
        &["pipeline parallelism is not supported for this model"],
    ),
    rule(
        "vllm",
        "0.2 to 0.33",
        Incompatible,
        PAIR,
        &["is smaller than max_model_len"],
    ),
    rule(
        "vllm",
        "0.2 to 0.33",
        Incompatible,
        PAIR,
        &["must be greater than or equal to max_num_seqs"],
    ),
    // Context and count.
    rule(
        "vllm",
        "0.2 to 0.33",
        Incompatible,
        CONTEXT,
        &["is greater than the derived max_model_len"],
    ),
    rule(
        "sglang",
        "0.4 to 0.5",
        Incompatible,
        CONTEXT,
        &["is greater than the derived context_length"],
    ),
    rule(
        "sglang",
        "0.2 to 0.5",
        Incompatible,
        CONTEXT,
        &["is greater than the derived context length"],
    ),
    rule(
        "vllm",
        "0.4 to 0.33",
        Incompatible,
        COUNT,
        &["is larger than the number of available gpus"],
    ),
    // What says nothing of the configuration, but names the cause.
    rule(
        "ray",
        "2",
        Crash,
        COUNT,
        &["number of required gpus exceeds"],
    ),
    rule("any", "", Crash, PLACE, &["address already in use"]),
    // Of argparse, clap and click: what they quote behind these words is a user's.
    rule("any", "", Crash, COMMAND, &["unrecognized arguments"]),
    rule("any", "", Crash, COMMAND, &["unexpected argument"]),
    rule("any", "", Crash, COMMAND, &["no such option"]),
    rule("any", "", Crash, COMMAND, &["ambiguous option"]),
    rule("any", "", Crash, COMMAND, &["invalid choice"]),
    rule("any", "", Crash, COMMAND, &["invalid value"]),
    rule("any", "", Crash, COMMAND, &["expected one argument"]),
    rule(
        "any",
        "",
        Crash,
        COMMAND,
        &["expected at least one argument"],
    ),
    rule(
        "any",
        "",
        Crash,
        COMMAND,
        &["following arguments are required"],
    ),
    rule("any", "", Crash, PLACE, &["no space left on device"]),
    rule(
        "huggingface_hub",
        "0.20 to 1",
        Crash,
        PLACE,
        &["hfvalidationerror"],
    ),
    rule(
        "huggingface_hub",
        "0.20 to 1",
        Crash,
        PLACE,
        &["localentrynotfounderror"],
    ),
    rule(
        "huggingface_hub",
        "0.20 to 1",
        Crash,
        PLACE,
        &["gatedrepoerror"],
    ),
    rule(
        "huggingface_hub",
        "0.20 to 1",
        Crash,
        PLACE,
        &["repositorynotfounderror"],
    ),
    rule(
        "vllm",
        "0.32",
        Crash,
        PLACE,
        &["cannot find any model weights"],
    ),
    rule(
        "vllm, sglang",
        "",
        Crash,
        PLACE,
        &["model architectures", "not supported"],
    ),
    rule(
        "cuda",
        "11 to 13",
        Crash,
        KERNEL,
        &["no kernel image is available"],
    ),
    rule(
        "cuda",
        "11 to 13",
        Crash,
        KERNEL,
        &["illegal memory access"],
    ),
    rule("cuda", "11 to 13", Crash, KERNEL, &["device-side assert"]),
    rule("slurm", "22 to 26", Crash, HOST, &["oom_kill event"]),
    rule("nccl", "2", Crash, NETWORK, &["nccl error"]),
    rule(
        "pytorch",
        "2",
        Crash,
        NETWORK,
        &["watchdog caught collective operation timeout"],
    ),
];

/// The first rule that fits this text in lower case, of those that count.
pub(super) fn of(text: &str, serving: bool) -> Option<&'static Rule> {
    let counts = |r: &&Rule| r.when == When::Any || !serving;
    RULES
        .iter()
        .filter(counts)
        .find(|r| r.words.iter().all(|word| text.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_in_lower_case_and_documented() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/run.md");
        let document = std::fs::read_to_string(document).unwrap();
        for r in RULES {
            assert!(!r.words.is_empty() && !r.writer.is_empty(), "{r:?}");
            assert!(
                r.words.iter().all(|w| w.to_ascii_lowercase() == *w),
                "{r:?}"
            );
            assert!(
                document.contains(&format!("| `{}` | {} |", r.class.name(), r.why)),
                "docs/run.md does not say: {} {}",
                r.class.name(),
                r.why
            );
            assert!(r.versions.len() < 40);
        }
    }

    /// A rule that an earlier one hides would never be seen.
    #[test]
    fn every_rule_can_win() {
        for r in RULES {
            let text = r.words.join(" ");
            let found = of(&text, false).unwrap();
            assert_eq!((found.class, found.why), (r.class, r.why), "{text}");
        }
    }
}
