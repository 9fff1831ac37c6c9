//! From a choice (TP, stages, precision, checkpoint) to an engine's arguments.

use crate::advisor::{Configuration, Precision};

use super::flags::{EngineKind, Setting};

/// What an advice chose for one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Tensor-parallel degree.
    pub tp: u32,
    /// Pipeline stages (1 = none).
    pub pp: u32,
    /// Data-parallel replicas (1 = none).
    pub dp: u32,
    /// Weight format; `None` leaves it to the engine and the checkpoint.
    pub precision: Option<Precision>,
    /// Checkpoint that already is in that format; `None` = the model as the user named it,
    /// quantised at load where the format asks for it.
    pub checkpoint: Option<String>,
    /// Longest context to serve, tokens, where the model's own would not fit beside the weights.
    pub max_len: Option<u32>,
    /// Most requests in flight, where the stated latencies hold no longer.
    pub max_num_seqs: Option<u32>,
}

impl Choice {
    /// What a configuration chooses. A format that its checkpoint has is left to the engine.
    pub fn of(c: &Configuration) -> Self {
        Self {
            tp: c.tp,
            pp: c.pp,
            dp: c.dp,
            precision: c.quantise_at_load.then_some(c.precision),
            checkpoint: c.checkpoint.clone(),
            max_len: c.max_len,
            max_num_seqs: c.max_num_seqs,
        }
    }

    /// The arguments that carry the choice out, one word each. Joined by blanks they are the text
    /// of `SLURM_LLM_ENGINE_ARGS`; a checkpoint whose name has a blank in it cannot be told apart
    /// there and is left out of it by [`Self::line`].
    pub fn args(&self, kind: EngineKind) -> Vec<String> {
        let mut words = Vec::new();
        let mut push = |setting, value: &str| {
            if let Some(flag) = kind.spellings(setting).first() {
                words.extend([(*flag).to_owned(), value.to_owned()]);
            }
        };
        push(Setting::Tp, &self.tp.to_string());
        if self.pp > 1 {
            push(Setting::Pp, &self.pp.to_string());
        }
        if self.dp > 1 {
            push(Setting::Dp, &self.dp.to_string());
        }
        match (&self.checkpoint, self.precision) {
            (Some(checkpoint), _) => push(Setting::Model, checkpoint),
            (None, Some(precision)) => {
                if let Some((setting, value)) = at_load(kind, precision) {
                    push(setting, value);
                }
            }
            (None, None) => {}
        }
        if let Some(tokens) = self.max_len {
            push(Setting::MaxLen, &tokens.to_string());
        }
        if let Some(sequences) = self.max_num_seqs {
            push(Setting::MostSequences, &sequences.to_string());
        }
        words
    }

    /// [`Self::args`] as one line for `SLURM_LLM_ENGINE_ARGS`.
    pub fn line(&self, kind: EngineKind) -> String {
        let blank = |name: &String| name.chars().any(char::is_whitespace);
        let mut choice = self.clone();
        choice.checkpoint = choice.checkpoint.filter(|c| !blank(c));
        choice.args(kind).join(" ")
    }
}

/// True where the engine makes this format from an ordinary 16-bit checkpoint while it loads, so
/// that no checkpoint of its own is needed.
pub fn made_at_load(kind: EngineKind, precision: Precision) -> bool {
    at_load(kind, precision).is_some()
}

/// The setting that makes the format at load. TGI spells types as vLLM does but its NF4 by name;
/// TensorRT-LLM serves only what its checkpoint is.
fn at_load(kind: EngineKind, precision: Precision) -> Option<(Setting, &'static str)> {
    let cast = |dtype| Some((Setting::Dtype, dtype));
    let quantize = |method| Some((Setting::Quantization, method));
    match (kind, precision) {
        (EngineKind::TensorRtLlm, _) => None,
        (EngineKind::Vllm | EngineKind::Sglang, Precision::Fp32) => cast("float32"),
        (_, Precision::Fp16) => cast("float16"),
        (_, Precision::Bf16) => cast("bfloat16"),
        (_, Precision::Fp8) => quantize("fp8"),
        (EngineKind::Vllm, Precision::Nf4) => quantize("bitsandbytes"),
        (EngineKind::Tgi, Precision::Nf4) => quantize("bitsandbytes-nf4"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(precision: Precision, checkpoint: Option<&str>) -> Choice {
        Choice {
            tp: 4,
            pp: 1,
            dp: 1,
            precision: Some(precision),
            checkpoint: checkpoint.map(Into::into),
            max_len: None,
            max_num_seqs: None,
        }
    }

    #[test]
    fn quantisation_is_asked_for_only_where_it_happens_at_load() {
        let line = |p, c| choice(p, c).line(EngineKind::Vllm);
        assert_eq!(
            line(Precision::Fp8, None),
            "--tensor-parallel-size 4 --quantization fp8"
        );
        assert_eq!(
            line(Precision::Bf16, None),
            "--tensor-parallel-size 4 --dtype bfloat16"
        );
        assert_eq!(
            line(Precision::Int4, Some("/m/awq")),
            "--tensor-parallel-size 4 --model /m/awq"
        );
        assert_eq!(line(Precision::Int4, None), "--tensor-parallel-size 4");
        assert!(!made_at_load(EngineKind::Vllm, Precision::Int4));
    }

    #[test]
    fn stages_are_named_where_there_are_some_and_each_engine_has_its_words() {
        let two = Choice {
            pp: 2,
            ..choice(Precision::Fp8, None)
        };
        assert_eq!(
            two.line(EngineKind::Vllm),
            "--tensor-parallel-size 4 --pipeline-parallel-size 2 --quantization fp8"
        );
        assert_eq!(
            two.line(EngineKind::Sglang),
            "--tp 4 --pp-size 2 --quantization fp8"
        );
        assert_eq!(two.line(EngineKind::TensorRtLlm), "--tp_size 4 --pp_size 2");
        assert_eq!(two.line(EngineKind::Tgi), "--num-shard 4 --quantize fp8");
    }

    #[test]
    fn a_checkpoint_with_a_blank_never_tears_the_line() {
        let line = choice(Precision::Fp8, Some("/models/my model")).line(EngineKind::Vllm);
        assert_eq!(line, "--tensor-parallel-size 4 --quantization fp8");
    }
}
