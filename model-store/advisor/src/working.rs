//! What an engine takes of a GPU beside weights and KV cache.
//!
//! vLLM measures its own peak when it starts: it runs one batch of `max_num_batched_tokens` through
//! the model, then samples for `max_num_seqs` sequences, and keeps free what the larger of the two
//! took. Both follow from the model's shape. The factors below were fitted to the engine's own logs
//! (`docs/model.md`, "Working memory").

use super::card::ModelCard;
use super::setup::Setup;
use super::version::version;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// By first version of vLLM, as [`version`] writes it: copies of the logits (32 bits for each word of
/// the vocabulary and sequence) that sampling holds at once; GiB of CUDA context and libraries; GiB
/// of both with the buffers to talk to peers.
const BY_VERSION: [(f64, f64, f64, f64); 3] = [
    (0.0, 1.27, 0.07, 0.5),
    (11.0, 9.7, 0.13, 0.55),
    (17.0, 3.85, 0.25, 2.1),
];

/// Residual, norms and attention of one token in units of the hidden size, 16 bits each.
const PER_HIDDEN: f64 = 7.2;
/// What latent attention keeps beside it to expand its prefix, GiB.
const LATENT_GIB: f64 = 0.45;

/// What SGLang finds taken before it loads weights, GiB: alone and with peers.
const SGLANG_TAKEN: [f64; 2] = [0.7, 1.8];

/// Memory that engines take which build their graphs ahead, GiB.
const BUILT_AHEAD_GIB: f64 = 1.0;

/// What one GPU of the instance needs beside weights and KV cache, GiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Working {
    /// Peak of the activations while the engine measures it.
    pub(crate) activation: f64,
    /// CUDA context, libraries and communication buffers.
    pub(crate) non_torch: f64,
}

impl Working {
    /// Both together, GiB.
    pub(crate) fn all(self) -> f64 {
        self.activation + self.non_torch
    }
}

/// What the engine of this setup takes. An unknown version is taken for a recent one. SGLang's peak
/// lies outside the share that it takes, so only what is taken before counts.
pub(crate) fn working(s: &Setup) -> Working {
    let peers = s.tp > 1;
    match s.engine {
        "vllm" => {}
        "sglang" => {
            return Working {
                activation: 0.0,
                non_torch: SGLANG_TAKEN[usize::from(peers)],
            };
        }
        _ => {
            return Working {
                activation: BUILT_AHEAD_GIB,
                non_torch: if peers { 0.6 } else { 0.15 },
            };
        }
    }
    let stated = version(s.engine_version);
    let holds = |first: f64| !stated.is_finite() || stated >= first;
    let row = BY_VERSION.iter().rev().find(|row| holds(row.0));
    let (_, copies, alone, together) = *row.unwrap_or(&BY_VERSION[0]);
    let sampling = copies * sequences(s) * f64::from(s.card.vocab) * 4.0 / GIB;
    Working {
        activation: sampling.max(forward(s.card, s.tp, batched_tokens(s))) + latent(s.card),
        non_torch: if peers { together } else { alone },
    }
}

/// True on GPUs for which vLLM's defaults are the larger ones: at least 70 GiB, newer than the A100.
fn is_large(s: &Setup) -> bool {
    s.gpu.memory_gib >= 70.0 && s.gpu.capability > 80
}

/// `max_num_batched_tokens`: as stated, or vLLM's default.
pub(crate) fn batched_tokens(s: &Setup) -> f64 {
    let usual = if is_large(s) { 8192 } else { 2048 };
    f64::from(s.limits.batched_tokens.unwrap_or(usual))
}

/// `max_num_seqs`: as stated, or vLLM's default.
fn sequences(s: &Setup) -> f64 {
    let usual = if is_large(s) { 1024 } else { 256 };
    f64::from(s.limits.sequences.unwrap_or(usual))
}

/// Activations of one pass with this many tokens, GiB: the widest layer counts.
fn forward(card: &ModelCard, tp: u32, tokens: f64) -> f64 {
    let tp = f64::from(tp.max(1));
    let hidden = f64::from(card.hidden);
    // Gate and up projection; a mixture of experts holds them, their product and the output for
    // each expert that a token goes to.
    let wide = match card.is_moe() {
        true => {
            let inner = 3.0 * f64::from(card.moe_intermediate) / tp;
            f64::from(card.experts_per_token) * (inner + hidden)
        }
        false => 2.0 * f64::from(card.intermediate) / tp,
    };
    tokens * 2.0 * (wide + PER_HIDDEN * hidden) / GIB
}

fn latent(card: &ModelCard) -> f64 {
    match card.kv_lora_rank > 0 {
        true => LATENT_GIB,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Precision, Variant, Workload};
    use crate::limits::Limits;
    use crate::{Catalogue, GPUS};

    /// Starts of vLLM on an H100 with 79.19 GiB: model, version, TP, GiB of activation and of the
    /// rest as the engine logged them, GiB of weights where it did (jgchn/llm-d-planner, accuracy
    /// sweep and capacity page).
    const STARTS: [(&str, &str, u32, f64, f64); 25] = [
        ("Qwen/Qwen3-14B", "0.15.0", 1, 5.64, 0.13),
        ("codellama/CodeLlama-7b-hf", "0.19.0", 1, 0.77, 0.25),
        ("deepseek-ai/DeepSeek-V2-Lite-Chat", "0.19.0", 1, 1.93, 0.26),
        ("google/gemma-2-27b-it", "0.19.0", 1, 3.66, 0.26),
        ("google/gemma-2-9b-it", "0.19.0", 1, 3.65, 0.25),
        ("google/gemma-3-27b-it", "0.19.0", 1, 3.99, 0.26),
        ("google/gemma-3-4b-it", "0.19.0", 1, 3.89, 0.25),
        (
            "ibm-granite/granite-3.3-8b-instruct",
            "0.19.0",
            1,
            0.85,
            0.46,
        ),
        ("meta-llama/Llama-3.1-8B-Instruct", "0.19.0", 1, 1.89, 0.25),
        ("meta-llama/Llama-3.1-8B-Instruct", "0.19.0", 2, 1.89, 2.07),
        ("meta-llama/Llama-3.1-8B-Instruct", "0.19.0", 4, 1.89, 2.13),
        ("microsoft/phi-4", "0.19.0", 1, 1.52, 0.25),
        (
            "mistralai/Mixtral-8x7B-Instruct-v0.1",
            "0.19.0",
            2,
            1.21,
            2.07,
        ),
        ("openai/gpt-oss-20b", "0.19.0", 2, 2.87, 2.07),
        (
            "meta-llama/Llama-4-Scout-17B-16E-Instruct",
            "0.19.0",
            4,
            3.19,
            2.17,
        ),
        ("Qwen/Qwen2.5-72B-Instruct", "0.19.0", 2, 2.29, 2.09),
        ("Qwen/Qwen2.5-7B-Instruct", "0.19.0", 1, 2.21, 0.24),
        ("Qwen/Qwen2.5-7B-Instruct", "0.19.0", 4, 2.21, 2.13),
        ("meta-llama/Llama-3.3-70B-Instruct", "0.19.0", 2, 1.96, 2.10),
        ("openai/gpt-oss-20b", "0.11.0", 1, 7.38, 0.13),
        ("meta-llama/Llama-3.3-70B-Instruct", "0.11.0", 2, 4.84, 0.55),
        ("meta-llama/Llama-3.1-8B-Instruct", "0.11.0", 1, 4.76, 0.13),
        ("Qwen/Qwen3-0.6B", "0.11.0", 1, 5.56, 0.13),
        ("Qwen/Qwen3-32B", "0.11.0", 1, 5.64, 0.14),
        ("Qwen/Qwen3-32B", "0.11.0", 2, 5.64, 0.54),
    ];

    #[test]
    fn what_the_engine_logged_is_reckoned_to_half_a_gibibyte() {
        let catalogue = Catalogue::built_in();
        let gpu = GPUS.iter().find(|g| g.name == "H100-SXM").unwrap();
        let mut errors = Vec::new();
        for (model, engine_version, tp, activation, non_torch) in STARTS {
            let Some(card) = catalogue.find(model) else {
                panic!("{model} is not in the catalogue");
            };
            let setup = Setup {
                card,
                gpu,
                tp,
                pp: 1,
                dp: 1,
                precision: Precision::Bf16,
                kv_bytes: 2.0,
                isl: 1000.0,
                osl: 100.0,
                workload: Workload::ClosedLoop,
                concurrency: Some(8.0),
                rate: None,
                engine: "vllm",
                engine_version,
                source: "",
                variant: Variant::default(),
                limits: Limits::default(),
                starts: None,
                assumed: [false; 3],
            };
            let w = working(&setup);
            let off = w.all() - (activation + non_torch);
            errors.push((off, model, engine_version, tp, w));
        }
        errors.sort_by(|a, b| b.0.abs().total_cmp(&a.0.abs()));
        assert!(errors[0].0.abs() < 0.5, "{:#?}", &errors[..6]);
        let median = errors[errors.len() / 2].0.abs();
        assert!(median < 0.1, "{median}");
    }
}
