//! What engines are called. One table: imports, tables of runs, ingestion and engine arguments read it.

/// An engine: the name under which its runs are pooled, other names of it, and how longer names of it begin.
struct EngineName {
    name: &'static str,
    aliases: &'static [&'static str],
    begins: &'static [&'static str],
}

const ENGINES: [EngineName; 7] = [
    EngineName {
        name: "tensorrt-llm",
        aliases: &["trt", "trt-llm", "trt_llm"],
        begins: &["trtllm"],
    },
    EngineName {
        name: "sglang",
        aliases: &["sgl"],
        begins: &["sglang"],
    },
    EngineName {
        name: "vllm",
        aliases: &["vllm-chat", "vllm-openai"],
        begins: &[],
    },
    EngineName {
        name: "tgi",
        aliases: &["text-generation-inference", "huggingface-tgi", "hf-tgi"],
        begins: &[],
    },
    EngineName {
        name: "lmdeploy",
        aliases: &["lmdeploy-chat"],
        begins: &[],
    },
    EngineName {
        name: "deepspeed",
        aliases: &[],
        begins: &["deepspeed"],
    },
    EngineName {
        name: "llama.cpp",
        aliases: &["llama-cpp", "llamacpp"],
        begins: &[],
    },
];

/// What stands in front of an engine and hands requests on: `dynamo-trt` is TensorRT-LLM served by Dynamo.
const FRONTS: [&str; 6] = ["dynamo", "llm-d", "llmd", "mori", "kserve", "triton"];

/// How a name tells that prefill and decode run apart.
const APART: [&str; 3] = ["disaggregated", "pd-disagg", "disagg"];

/// Lower-case engine name under which runs of one engine are pooled. A name that is not in the table stays what it is.
pub fn canonical_engine(text: &str) -> String {
    let t = text.trim().to_ascii_lowercase();
    if let Some(name) = known(&t) {
        return name.to_owned();
    }
    let inner = split_front(&t).map_or(t.as_str(), |(_, engine)| engine);
    let inner = APART
        .iter()
        .find_map(|word| Some(inner.strip_suffix(word)?.trim_end_matches(['-', '_', ' '])))
        .unwrap_or(inner);
    known(inner).map_or_else(|| t.clone(), str::to_owned)
}

/// What hands requests on to the engine, where its name tells: `dynamo` of `dynamo-sglang`.
pub fn served_by(text: &str) -> Option<&'static str> {
    split_front(&text.trim().to_ascii_lowercase()).map(|(front, _)| front)
}

/// True where the name itself tells of prefill and decode on separate instances.
pub fn named_disaggregated(text: &str) -> bool {
    text.to_ascii_lowercase().contains("disagg")
}

fn known(text: &str) -> Option<&'static str> {
    // Makers put their name before this one and a harness behind it.
    if text.contains("tensorrt") {
        return Some("tensorrt-llm");
    }
    let is = |e: &&EngineName| {
        e.name == text
            || e.aliases.contains(&text)
            || e.begins.iter().any(|begin| text.starts_with(begin))
    };
    ENGINES.iter().find(is).map(|e| e.name)
}

fn split_front(text: &str) -> Option<(&'static str, &str)> {
    FRONTS.iter().find_map(|front| {
        let rest = text
            .strip_prefix(front)?
            .strip_prefix(['-', '_', '/', ' '])?;
        (!rest.is_empty()).then_some((*front, rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_engine_has_one_name() {
        for (text, name) in [
            ("trt", "tensorrt-llm"),
            ("TRT-LLM", "tensorrt-llm"),
            ("TensorRT-LLM (MLPerf harness)", "tensorrt-llm"),
            ("trtllm", "tensorrt-llm"),
            ("dynamo-trt", "tensorrt-llm"),
            ("dynamo-trtllm", "tensorrt-llm"),
            ("dynamo-sglang", "sglang"),
            ("llmd-vllm", "vllm"),
            ("mori-sglang", "sglang"),
            ("SGLang PD-disagg", "sglang"),
            ("vllm-disagg", "vllm"),
            ("vLLM", "vllm"),
            (
                "vLLM (Splitwise authors' build)",
                "vllm (splitwise authors' build)",
            ),
            ("DeepSpeed-MII", "deepspeed"),
            ("TGIS", "tgis"),
            ("atom", "atom"),
            ("dynamo-atom", "dynamo-atom"),
            ("", ""),
        ] {
            assert_eq!(canonical_engine(text), name, "{text}");
        }
        assert_eq!(served_by("dynamo-sglang"), Some("dynamo"));
        assert_eq!((served_by("dynamo"), served_by("vllm")), (None, None));
        assert!(named_disaggregated("vllm-disagg") && !named_disaggregated("vllm"));
    }

    #[test]
    fn a_pooled_name_is_its_own() {
        for engine in &ENGINES {
            assert_eq!(canonical_engine(engine.name), engine.name);
            for alias in engine.aliases {
                assert_eq!(canonical_engine(alias), engine.name, "{alias}");
            }
        }
    }
}
