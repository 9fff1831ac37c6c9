//! How each engine spells the settings that an advice touches or a measurement needs: one table.

/// A serving engine that is recognised by its command.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
}

impl Setting {
    const ALL: [Self; 10] = [
        Self::Model,
        Self::ServedName,
        Self::Tp,
        Self::Pp,
        Self::Dp,
        Self::Quantization,
        Self::Dtype,
        Self::Host,
        Self::Port,
        Self::MaxLen,
    ];
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

    /// Spellings of a setting, the one that is written first; empty where the engine has none.
    /// The spelling of a setting that advice is given in; `None` where the engine has no such flag.
    pub fn spelling(self, setting: Setting) -> Option<&'static str> {
        self.spellings(setting).first().copied()
    }

    pub(super) const fn spellings(self, setting: Setting) -> &'static [&'static str] {
        match self {
            Self::Vllm => vllm(setting),
            Self::Sglang => sglang(setting),
            Self::TensorRtLlm => trtllm(setting),
            Self::Tgi => tgi(setting),
        }
    }

    /// The setting that a flag of this engine means. The flag is a word without its `=value`.
    pub(super) fn setting(self, flag: &str) -> Option<Setting> {
        let flag = plain(flag);
        Setting::ALL.into_iter().find(|s| {
            self.spellings(*s)
                .iter()
                .any(|spelling| plain(spelling) == flag)
        })
    }
}

/// The setting that a flag means in any engine, vLLM first.
pub(super) fn setting_of_any(flag: &str) -> Option<Setting> {
    EngineKind::ALL.into_iter().find_map(|k| k.setting(flag))
}

/// A long flag with dashes for underscores: vLLM takes both.
fn plain(flag: &str) -> String {
    if flag.starts_with("--") {
        flag.replace('_', "-")
    } else {
        flag.to_owned()
    }
}

const fn vllm(setting: Setting) -> &'static [&'static str] {
    match setting {
        Setting::Model => &["--model"],
        Setting::ServedName => &["--served-model-name"],
        // Argparse takes unambiguous beginnings; this one is met in the wild.
        Setting::Tp => &["--tensor-parallel-size", "-tp", "--tensor-parallel"],
        Setting::Pp => &["--pipeline-parallel-size", "-pp", "--pipeline-parallel"],
        Setting::Dp => &["--data-parallel-size", "-dp"],
        Setting::Quantization => &["--quantization", "-q"],
        Setting::Dtype => &["--dtype"],
        Setting::Host => &["--host"],
        Setting::Port => &["--port"],
        Setting::MaxLen => &["--max-model-len"],
    }
}

const fn sglang(setting: Setting) -> &'static [&'static str] {
    match setting {
        Setting::Model => &["--model-path", "--model"],
        Setting::ServedName => &["--served-model-name"],
        Setting::Tp => &["--tp", "--tp-size", "--tensor-parallel-size"],
        Setting::Pp => &["--pp-size", "--pipeline-parallel-size"],
        Setting::Dp => &["--dp", "--dp-size", "--data-parallel-size"],
        Setting::Quantization => &["--quantization"],
        Setting::Dtype => &["--dtype"],
        Setting::Host => &["--host"],
        Setting::Port => &["--port"],
        Setting::MaxLen => &["--context-length"],
    }
}

const fn trtllm(setting: Setting) -> &'static [&'static str] {
    match setting {
        Setting::Tp => &["--tp_size"],
        Setting::Pp => &["--pp_size"],
        Setting::Host => &["--host"],
        Setting::Port => &["--port"],
        Setting::MaxLen => &["--max_seq_len"],
        _ => &[],
    }
}

const fn tgi(setting: Setting) -> &'static [&'static str] {
    match setting {
        Setting::Model => &["--model-id"],
        Setting::ServedName => &["--served-model-name"],
        Setting::Tp => &["--num-shard"],
        Setting::Quantization => &["--quantize"],
        Setting::Dtype => &["--dtype"],
        Setting::Host => &["--hostname"],
        Setting::Port => &["--port"],
        Setting::MaxLen => &["--max-total-tokens"],
        Setting::Pp | Setting::Dp => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_engine_has_one_flag_for_two_settings() {
        for kind in EngineKind::ALL {
            for setting in Setting::ALL {
                for spelling in kind.spellings(setting) {
                    assert_eq!(kind.setting(spelling), Some(setting), "{kind:?} {spelling}");
                }
            }
        }
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
