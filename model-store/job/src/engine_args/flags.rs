//! Engines and settings by name. How each engine spells its settings stands in `engines`.

use super::engines;

/// A serving engine that `omnipilot run` recognises by its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EngineKind {
    /// vLLM: `vllm serve`, or its API server as a Python module.
    Vllm,
    /// SGLang: `python -m sglang.launch_server`, `sglang serve`.
    Sglang,
    /// TensorRT-LLM: `trtllm-serve`.
    TensorRtLlm,
    /// Text Generation Inference: `text-generation-launcher`.
    Tgi,
}

/// A setting of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Setting {
    /// Model or checkpoint; vLLM and TensorRT-LLM take it without a flag too.
    Model,
    /// Name under which clients ask for the model.
    ServedName,
    /// Tensor-parallel degree.
    Tp,
    /// Pipeline stages.
    Pp,
    /// Data-parallel replicas.
    Dp,
    /// Quantisation method.
    Quantization,
    /// Type of weights and activations that are not quantised.
    Dtype,
    /// Address that the server listens on.
    Host,
    /// Port that the server listens on.
    Port,
    /// Longest context of a request, tokens.
    MaxLen,
    /// Most requests in flight.
    MostSequences,
    /// Nodes over which one engine runs.
    Nodes,
}

impl EngineKind {
    /// Every kind; vLLM first.
    pub const ALL: [Self; 4] = [Self::Vllm, Self::Sglang, Self::TensorRtLlm, Self::Tgi];

    /// Name under which runs of the engine are kept.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::TensorRtLlm => "tensorrt-llm",
            Self::Tgi => "tgi",
        }
    }

    /// Reads [`Self::name`], and the names that people use for it.
    pub fn parse(text: &str) -> Option<Self> {
        let name = crate::advisor::canonical_engine(text);
        Self::ALL.into_iter().find(|k| k.name() == name)
    }

    /// Port that the engine listens on when it is told none.
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Vllm | Self::TensorRtLlm => 8000,
            Self::Sglang => 30000,
            Self::Tgi => 3000,
        }
    }

    /// Path that answers 200 once the engine serves.
    pub const fn ready_path(self) -> &'static str {
        "/health"
    }

    /// Path of the metrics in Prometheus text.
    pub const fn metrics_path(self) -> &'static str {
        match self {
            Self::TensorRtLlm => "/prometheus/metrics",
            _ => "/metrics",
        }
    }

    /// The spelling of a setting that advice is given in; `None` where the engine has no such flag.
    pub fn spelling(self, setting: Setting) -> Option<&'static str> {
        self.spellings(setting).first().copied()
    }

    /// Spellings of a setting, the one that is written first; empty where the engine has none.
    pub(super) fn spellings(self, setting: Setting) -> &'static [&'static str] {
        engines::of_kind(self).map_or(&[], |engine| engine.spellings(setting))
    }

    /// The setting that a flag of this engine means. The flag is a word without its `=value`.
    pub(super) fn setting(self, flag: &str) -> Option<Setting> {
        engines::of_kind(self)?.setting(flag)
    }
}

/// The setting that a flag means in any engine, vLLM first.
pub(super) fn setting_of_any(flag: &str) -> Option<Setting> {
    EngineKind::ALL.into_iter().find_map(|k| k.setting(flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_and_short_flags_mean_the_same() {
        for flag in ["--tensor-parallel-size", "--tensor_parallel_size", "-tp"] {
            assert_eq!(EngineKind::Vllm.setting(flag), Some(Setting::Tp), "{flag}");
        }
        assert_eq!(EngineKind::Vllm.setting("--tp-nonsense"), None);
        assert_eq!(setting_of_any("--num-shard"), Some(Setting::Tp));
    }
}
