//! What an engine is started with beside its configuration, as far as it is stated.

use serde::{Deserialize, Serialize};

use super::cold::storage_rate;

/// Settings of one start; `None` = not stated, so the engine's own default holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Share of the GPU's memory that the engine takes: `--gpu-memory-utilization` of vLLM,
    /// `--mem-fraction-static` of SGLang, the free share of TensorRT-LLM.
    pub memory_share: Option<f64>,
    /// Longest context, tokens.
    pub context: Option<u32>,
    /// Sequences in flight at once.
    pub sequences: Option<u32>,
    /// Tokens of one step.
    pub batched_tokens: Option<u32>,
    /// True without CUDA graphs and compilation.
    pub eager: Option<bool>,
    /// True where the weights were read on this node before and what is compiled lies in a cache.
    pub cached: Option<bool>,
    /// Rate at which a node reads its weights from storage, GB/s.
    pub read_gb_s: Option<f64>,
}

impl Limits {
    /// True where nothing is stated.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads `name=value` pairs as tables of starts and notes hold them; names are those of the
    /// engines. What is no number in range is not stated.
    pub fn in_notes(notes: &str) -> Self {
        let mut out = Self::default();
        let pairs = notes.split(';').filter_map(|p| p.split_once('='));
        for (name, value) in pairs {
            let (name, value) = (name.trim().replace('-', "_"), value.trim());
            let count = || value.parse::<u32>().ok().filter(|n| *n > 0);
            match name.as_str() {
                "gpu_memory_utilization" | "mem_fraction_static" => {
                    let share = value.parse().ok();
                    out.memory_share = share.filter(|s| (0.01..=1.0).contains(s));
                }
                "max_model_len" | "context_length" => out.context = count(),
                "max_num_seqs" | "max_running_requests" => out.sequences = count(),
                "max_num_batched_tokens" | "chunked_prefill_size" => out.batched_tokens = count(),
                "enforce_eager" => out.eager = yes_or_no(value),
                "storage" => out.read_gb_s = storage_rate(value),
                "cached" => out.cached = yes_or_no(value),
                _ => {}
            }
        }
        out
    }
}

fn yes_or_no(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" | "True" | "1" => Some(true),
        "no" | "false" | "False" | "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_of_a_table_of_starts_are_read_and_what_is_out_of_range_is_not() {
        let limits = Limits::in_notes(
            "a start; max_model_len=8192; gpu_memory_utilization=0.95; enforce_eager=no; cached=unknown",
        );
        let expected = Limits {
            memory_share: Some(0.95),
            context: Some(8192),
            eager: Some(false),
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        assert!(Limits::in_notes("gpu_memory_utilization=95; max_num_seqs=-1").is_empty());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_share_outside_its_range(text in ".{0,80}", share in any::<f64>()) {
            let notes = format!("{text};gpu_memory_utilization={share}");
            let read = Limits::in_notes(&notes).memory_share;
            prop_assert!(read.is_none_or(|s| (0.01..=1.0).contains(&s)));
        }
    }
}
