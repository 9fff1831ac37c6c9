//! What an engine's log tells of its start: memory by part, tokens of the KV cache, seconds by phase.
//!
//! One table of the engines' words by figure. Where processes tell the same, the slowest counts of
//! seconds, the smallest of what is left for the cache, the largest of what is taken.

use model_store::advisor::StartLog;

/// Which of several values counts.
#[derive(Clone, Copy)]
enum Of {
    Least,
    Most,
}

/// Words that stand before a figure, all of them in this order, and where it goes.
type Figure = (
    &'static [&'static str],
    Of,
    fn(&mut StartLog) -> &mut Option<f64>,
);

const FIGURES: [Figure; 22] = [
    // vLLM. The first worded so up to 0.9.
    (&["model weights take "], Of::Most, |s| &mut s.weights_gib),
    (&["Model loading took "], Of::Most, |s| &mut s.weights_gib),
    (&["Loading weights took "], Of::Most, |s| &mut s.load_s),
    (&["activation peak memory takes "], Of::Most, |s| {
        &mut s.activation_gib
    }),
    (&["torch peak memory increase: "], Of::Most, |s| {
        &mut s.activation_gib
    }),
    (&["non_torch_memory takes "], Of::Most, |s| {
        &mut s.non_torch_gib
    }),
    (&["non-torch forward increase memory: "], Of::Most, |s| {
        &mut s.non_torch_gib
    }),
    (&["Available KV cache memory: "], Of::Least, |s| {
        &mut s.kv_gib
    }),
    (&["reserved for KV Cache is "], Of::Least, |s| &mut s.kv_gib),
    (&["KV cache size: "], Of::Least, |s| &mut s.kv_tokens),
    (&["# GPU blocks: "], Of::Least, |s| &mut s.gpu_blocks),
    (&["# cuda blocks: "], Of::Least, |s| &mut s.gpu_blocks),
    (&["torch.compile takes "], Of::Most, |s| &mut s.compile_s),
    (&["torch.compile took "], Of::Most, |s| &mut s.compile_s),
    (&["Graph capturing finished in "], Of::Most, |s| {
        &mut s.graph_s
    }),
    (&["Graph capturing finished in ", "took "], Of::Most, |s| {
        &mut s.graph_gib
    }),
    // SGLang.
    (&["Load weight end", "mem usage="], Of::Most, |s| {
        &mut s.weights_gib
    }),
    (&["max_total_num_tokens="], Of::Least, |s| &mut s.kv_tokens),
    (&["Capture cuda graph end", "elapsed: "], Of::Most, |s| {
        &mut s.graph_s
    }),
    (&["Capture cuda graph end", "mem usage="], Of::Most, |s| {
        &mut s.graph_gib
    }),
    // TensorRT-LLM.
    (&["Max tokens in paged KV cache: "], Of::Least, |s| {
        &mut s.kv_tokens
    }),
    (&["max tokens in paged KV cache "], Of::Least, |s| {
        &mut s.kv_tokens
    }),
];

/// Words of an engine that still compiles, tunes or captures.
const SETTLING: [&str; 8] = [
    "Compiling a graph",
    "torch.compile take",
    "Dynamo bytecode transform",
    "Capturing CUDA graph",
    "Capture cuda graph",
    "Graph capturing",
    "utotuning",
    "arming up",
];

/// Takes a line of the log.
pub(super) fn take(start: &mut StartLog, text: &str) {
    for (words, of, place) in FIGURES {
        let Some(value) = number_behind(text, words).filter(|x| (-1e4..=1e11).contains(x)) else {
            continue;
        };
        let slot = place(start);
        *slot = Some(match (*slot, of) {
            (None, _) => value,
            (Some(before), Of::Least) => before.min(value),
            (Some(before), Of::Most) => before.max(value),
        });
    }
}

/// True where a line says that the engine is not settled.
pub(super) fn is_settling(text: &str) -> bool {
    SETTLING.iter().any(|words| text.contains(words))
}

/// The number behind all of these words.
fn number_behind(text: &str, words: &[&str]) -> Option<f64> {
    let mut rest = text;
    for word in words {
        rest = rest.split_once(word)?.1;
    }
    let end = rest
        .find(|c: char| !(c.is_ascii_digit() || ",.-".contains(c)))
        .unwrap_or(rest.len());
    let digits = rest.get(..end)?.trim_end_matches(['.', ',']);
    digits.replace(',', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(lines: &[&str]) -> StartLog {
        let mut start = StartLog::default();
        lines.iter().for_each(|line| take(&mut start, line));
        start
    }

    #[test]
    fn lines_of_three_engines_and_several_versions() {
        let vllm = read(&[
            "Loading weights took 2.41 seconds",
            "Model loading took 14.9889 GiB memory and 2.904185 seconds",
            "torch.compile takes 20.92 s in total",
            "Available KV cache memory: 58.11 GiB",
            "Available KV cache memory: 57.90 GiB",
            "GPU KV cache size: 474,288 tokens",
            "Graph capturing finished in 5 secs, took 0.35 GiB",
        ]);
        assert_eq!(
            (vllm.weights_gib, vllm.load_s, vllm.compile_s, vllm.kv_gib),
            (Some(14.9889), Some(2.41), Some(20.92), Some(57.9))
        );
        assert_eq!(
            (vllm.kv_tokens, vllm.graph_s, vllm.graph_gib),
            (Some(474_288.0), Some(5.0), Some(0.35))
        );
        let sglang = read(&[
            "Load weight end. type=LlamaForCausalLM, dtype=torch.bfloat16, avail mem=61.80 GB, mem usage=15.08 GB.",
            "Capture cuda graph end. Time elapsed: 12.31 s. mem usage=1.29 GB. avail mem=6.1 GB.",
            "max_total_num_tokens=402311, chunked_prefill_size=8192, max_running_requests=2048",
        ]);
        assert_eq!(
            (
                sglang.weights_gib,
                sglang.kv_tokens,
                sglang.graph_s,
                sglang.graph_gib
            ),
            (Some(15.08), Some(402_311.0), Some(12.31), Some(1.29))
        );
        let trt = read(&["[TensorRT-LLM][INFO] Max tokens in paged KV cache: 88064."]);
        assert_eq!(trt.kv_tokens, Some(88_064.0));
    }

    proptest! {
        #[test]
        fn no_line_makes_a_start_unsound(words in prop::sample::select(FIGURES.iter().map(|f| f.0).collect::<Vec<_>>()), value in any::<f64>(), tail in ".{0,30}") {
            let start = read(&[&format!("{}{value}{tail}", words.join(" x "))]);
            prop_assert!(start.kv_tokens.is_none_or(f64::is_finite));
            let _ = is_settling(&tail);
        }
    }
}
