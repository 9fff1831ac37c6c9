//! A model card from a Hugging Face `config.json`. Pure: text in, card out.

use serde_json::Value;

use super::card::{CardError, ModelCard, count};
use super::case::Precision;

/// Longest text that is parsed, bytes; real files are a few KB.
const LONGEST: usize = 1 << 20;

pub(super) fn read(name: &str, text: &str) -> Result<(ModelCard, Option<Precision>), CardError> {
    if text.len() > LONGEST {
        return Err(CardError::NotJson(format!(
            "{} bytes, the limit is {LONGEST}",
            text.len()
        )));
    }
    let whole: Value = serde_json::from_str(text).map_err(|e| CardError::NotJson(e.to_string()))?;
    if !whole.is_object() {
        return Err(CardError::NotJson("another JSON value".into()));
    }
    // Multimodal models keep the language model's numbers one level down.
    let config = ["text_config", "llm_config", "language_config"]
        .iter()
        .find_map(|k| {
            whole
                .get(k)
                .filter(|v| v.get("num_hidden_layers").is_some())
        })
        .unwrap_or(&whole);
    let mut card = shape(name, config)?;
    experts(&mut card, config);
    window(&mut card, config);
    card.family = family(config, &whole, card.is_moe());
    let (all, active) = parameters(&card, config);
    card.params = all;
    card.active_params = active;
    card.source = "config.json".into();
    let format = quantisation(&whole).or_else(|| quantisation(config));
    Ok((card, format))
}

fn shape(name: &str, config: &Value) -> Result<ModelCard, CardError> {
    let need =
        |keys: &[&str], what: &'static str| count(config, keys).ok_or(CardError::Missing(what));
    let hidden = need(&["hidden_size", "n_embd", "d_model"], "hidden_size")?;
    let heads = need(
        &["num_attention_heads", "n_head", "num_heads"],
        "num_attention_heads",
    )?;
    let layers = need(
        &["num_hidden_layers", "n_layer", "num_layers"],
        "num_hidden_layers",
    )?;
    let multi_query = config.get("multi_query").and_then(Value::as_bool) == Some(true);
    let kv_heads = count(
        config,
        &["num_key_value_heads", "num_kv_heads", "n_head_kv"],
    )
    .unwrap_or(if multi_query { 1 } else { heads });
    Ok(ModelCard {
        name: name.into(),
        layers,
        hidden,
        heads,
        kv_heads: kv_heads.min(heads),
        head_dim: count(config, &["head_dim"]).unwrap_or((hidden / heads).max(1)),
        intermediate: count(config, &["intermediate_size", "ffn_dim", "n_inner", "d_ff"])
            .unwrap_or(hidden.saturating_mul(4)),
        vocab: need(&["vocab_size"], "vocab_size")?,
        max_context: count(
            config,
            &[
                "max_position_embeddings",
                "n_positions",
                "seq_length",
                "max_seq_len",
            ],
        )
        .unwrap_or(2048),
        kv_lora_rank: count(config, &["kv_lora_rank"]).unwrap_or(0),
        rope_head_dim: count(config, &["qk_rope_head_dim"]).unwrap_or(0),
        ..ModelCard::default()
    })
}

fn experts(card: &mut ModelCard, config: &Value) {
    card.experts = count(
        config,
        &["num_local_experts", "num_experts", "n_routed_experts"],
    )
    .unwrap_or(0);
    if !card.is_moe() {
        card.experts = 0;
        return;
    }
    card.experts_per_token = count(
        config,
        &["num_experts_per_tok", "experts_per_token", "moe_topk"],
    )
    .unwrap_or(1)
    .min(card.experts);
    card.moe_intermediate = count(config, &["moe_intermediate_size"]).unwrap_or(card.intermediate);
    card.shared_experts = count(config, &["n_shared_experts"]).unwrap_or(0);
    card.dense_layers = count(config, &["first_k_dense_replace"])
        .unwrap_or(0)
        .min(card.layers);
}

fn window(card: &mut ModelCard, config: &Value) {
    let used = config.get("use_sliding_window").and_then(Value::as_bool) != Some(false);
    let Some(window) = count(config, &["sliding_window"]).filter(|_| used) else {
        return;
    };
    let by_list = config
        .get("layer_types")
        .and_then(Value::as_array)
        .map(|kinds| {
            let sliding = kinds
                .iter()
                .filter(|k| k.as_str() == Some("sliding_attention"))
                .count();
            u32::try_from(sliding).unwrap_or(u32::MAX)
        });
    let by_pattern =
        count(config, &["sliding_window_pattern"]).map(|n| card.layers - card.layers / n);
    card.sliding_window = window;
    card.sliding_layers = by_list
        .or(by_pattern)
        .unwrap_or(card.layers)
        .min(card.layers);
}

/// Lineage: the `model_type` without its version and variant.
fn family(config: &Value, whole: &Value, moe: bool) -> String {
    let text = |v: &Value| {
        v.get("model_type")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_ascii_lowercase()
    };
    let kind = match text(config) {
        t if t.is_empty() => text(whole),
        t => t,
    };
    // The same words as the built-in cards use, or a directory would be out of support where the
    // model's name is not.
    match kind.as_str() {
        k if k.starts_with("qwen") && moe => return "qwen-moe".into(),
        k if k.starts_with("llama4") => return "llama4".into(),
        k if k.starts_with("gptj") => return "gpt-j".into(),
        _ => {}
    }
    const LINEAGES: [&str; 17] = [
        "llama",
        "qwen",
        "mixtral",
        "mistral",
        "deepseek",
        "gpt_oss",
        "gemma",
        "phi",
        "falcon",
        "bloom",
        "glm",
        "kimi",
        "minimax",
        "starcoder",
        "gpt_neox",
        "opt",
        "t5",
    ];
    let found = LINEAGES
        .iter()
        .find(|l| kind.starts_with(*l) || kind.contains(*l));
    found.map_or_else(|| other_family(&kind), |l| l.replace('_', "-"))
}

/// A lineage that is not known by name: its own word, as far as it is one.
fn other_family(kind: &str) -> String {
    let word: String = kind
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(32)
        .collect();
    if word.is_empty() {
        "unknown".into()
    } else {
        word
    }
}

/// Parameters in all and per token, counted from the shape.
fn parameters(card: &ModelCard, config: &Value) -> (f64, f64) {
    let f = f64::from;
    let (hidden, layers) = (f(card.hidden), f(card.layers));
    let tied = config.get("tie_word_embeddings").and_then(Value::as_bool) == Some(true);
    let embeddings = f(card.vocab) * hidden * if tied { 1.0 } else { 2.0 };
    // Gated feed-forward layers have three matrices; those of GPT-2, OPT, BLOOM and NeoX have two.
    let gated = config.get("n_embd").is_none()
        && config.get("ffn_dim").is_none()
        && card.family != "gpt-neox";
    let matrices = if gated { 3.0 } else { 2.0 };
    let attention = attention_parameters(card, config);
    if !card.is_moe() {
        let all = layers * (attention + matrices * hidden * f(card.intermediate)) + embeddings;
        return (all, all);
    }
    let dense_layers = f(card.dense_layers);
    let expert = matrices * hidden * f(card.moe_intermediate);
    let common = layers * attention
        + dense_layers * matrices * hidden * f(card.intermediate)
        + (layers - dense_layers) * (f(card.shared_experts) * expert + hidden * f(card.experts))
        + embeddings;
    let routed = |n: u32| (layers - dense_layers) * f(n) * expert;
    (
        common + routed(card.experts),
        common + routed(card.experts_per_token),
    )
}

fn attention_parameters(card: &ModelCard, config: &Value) -> f64 {
    let f = f64::from;
    let (hidden, heads) = (f(card.hidden), f(card.heads));
    if card.kv_lora_rank == 0 {
        return hidden * f(card.head_dim) * (2.0 * heads + 2.0 * f(card.kv_heads));
    }
    let rank = f(card.kv_lora_rank);
    let nope = count(config, &["qk_nope_head_dim"]).map_or(128.0, f);
    let value = count(config, &["v_head_dim"]).map_or(128.0, f);
    let query_width = heads * (nope + f(card.rope_head_dim));
    let query = count(config, &["q_lora_rank"])
        .map_or(hidden * query_width, |q| hidden * f(q) + f(q) * query_width);
    query
        + hidden * (rank + f(card.rope_head_dim))
        + rank * heads * (nope + value)
        + heads * value * hidden
}

fn quantisation(config: &Value) -> Option<Precision> {
    let q = config.get("quantization_config")?;
    let method = q
        .get("quant_method")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_ascii_lowercase();
    let bits = count(q, &["bits", "w_bit"]);
    match method.as_str() {
        "fp8" | "fbgemm_fp8" => Some(Precision::Fp8),
        "mxfp4" => Some(Precision::Mxfp4),
        "awq" | "gptq" => Some(if bits == Some(8) {
            Precision::Int8
        } else {
            Precision::Int4
        }),
        "bitsandbytes" => {
            let four = q.get("load_in_4bit").and_then(Value::as_bool) == Some(true);
            Some(if four {
                Precision::Nf4
            } else {
                Precision::Int8
            })
        }
        "modelopt" => q
            .get("quant_algo")
            .and_then(Value::as_str)
            .and_then(Precision::parse),
        "compressed-tensors" => compressed_tensors(q),
        _ => None,
    }
}

/// compressed-tensors states a format per group of layers; the first group's weights decide.
fn compressed_tensors(q: &Value) -> Option<Precision> {
    let group = q.get("config_groups")?.as_object()?.values().next()?;
    let weights = group.get("weights")?;
    let bits = count(weights, &["num_bits"])?;
    let float = weights.get("type").and_then(Value::as_str) == Some("float");
    let activations = group.get("input_activations").is_some_and(|a| !a.is_null());
    match (bits, float, activations) {
        (8, true, _) => Some(Precision::Fp8),
        (8, false, true) => Some(Precision::W8a8),
        (8, false, false) => Some(Precision::Int8),
        (4, true, _) => Some(Precision::Nvfp4),
        (4, false, false) => Some(Precision::Int4),
        (4, false, true) => Some(Precision::W4a8),
        _ => None,
    }
}
