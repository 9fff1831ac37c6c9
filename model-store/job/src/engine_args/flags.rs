//! Engines and settings by name. How each engine spells its settings stands in `engines`.

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
}
