//! A model card from a Hugging Face `config.json`. Pure: text in, card out.

use serde_json::Value;

use super::card::{CardError, ModelCard};
use super::case::Precision;

/// Longest text that is parsed, bytes; real files are a few KB.
const LONGEST: usize = 1 << 20;

impl ModelCard {
    /// Makes a card from the text of a Hugging Face `config.json`, and the weight format that its
    /// `quantization_config` states, if any.
    ///
    /// # Errors
    /// [`CardError`] where the architecture cannot be known from it.
    pub fn from_hf_config(name: &str, text: &str) -> Result<(Self, Option<Precision>), CardError> {
        read(name, text)
    }

    /// Whether everything in a `config.json` is understood that size, memory and speed depend on.
    /// [`ModelCard::from_hf_config`] is not as strict: a user's own directory gets an advice with what
    /// is known, and support says how far that goes.
    ///
    /// # Errors
    /// [`CardError::NotUnderstood`] with the first key that is not, or as
    /// [`ModelCard::from_hf_config`].
    pub fn check_hf_config(text: &str) -> Result<(), CardError> {
        check(text)
    }
}

fn read(name: &str, text: &str) -> Result<(ModelCard, Option<Precision>), CardError> {
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

/// Whether all of it is understood that size, memory and speed depend on.
///
/// # Errors
/// [`CardError::NotUnderstood`] with the first key that is not, or as [`read`].
fn check(text: &str) -> Result<(), CardError> {
    read("", text)?;
    let whole: Value = serde_json::from_str(text).map_err(|e| CardError::NotJson(e.to_string()))?;
    for part in [Some(&whole), whole.get("text_config")]
        .into_iter()
        .flatten()
    {
        check_part(part)?;
    }
    Ok(())
}

/// Keys of layers that are no attention over a growing cache.
const OTHER_LAYERS: [&str; 9] = [
    "ssm_cfg",
    "state_size",
    "mamba_d_state",
    "mamba_num_heads",
    "layers_block_type",
    "hybrid_override_pattern",
    "linear_num_value_heads",
    "attn_layer_period",
    "block_configs",
];
/// Keys about experts that are counted, or that change neither size nor speed.
const KNOWN_OF_EXPERTS: [&str; 14] = [
    "num_local_experts",
    "num_experts",
    "n_routed_experts",
    "num_experts_per_tok",
    "experts_per_token",
    "moe_topk",
    "moe_intermediate_size",
    "n_shared_experts",
    "shared_expert_intermediate_size",
    "interleave_moe_layer_step",
    "moe_layer_freq",
    "moe_layers",
    "moe_router_enable_expert_bias",
    "pretraining_tp",
];

fn check_part(part: &Value) -> Result<(), CardError> {
    let not = |key: &str| Err(CardError::NotUnderstood(key.to_owned()));
    let Some(keys) = part.as_object() else {
        return Ok(());
    };
    for (key, value) in keys {
        let of_experts = key.contains("expert") || key.contains("moe") || key == "ffn_config";
        let says = value.is_object() || value.as_u64().is_some_and(|n| n > 1);
        let router = key.contains("router") || key.contains("aux") || key.contains("loss");
        if OTHER_LAYERS.contains(&key.as_str()) && !value.is_null()
            || of_experts && says && !router && !KNOWN_OF_EXPERTS.contains(&key.as_str())
        {
            return not(key);
        }
    }
    if part.get("is_encoder_decoder").and_then(Value::as_bool) == Some(true) {
        return not("is_encoder_decoder");
    }
    if count(part, &["moe_layer_freq"]).is_some_and(|n| n > 1) {
        return not("moe_layer_freq");
    }
    const KINDS: [&str; 3] = ["full_attention", "sliding_attention", "chunked_attention"];
    let kinds = part.get("layer_types").and_then(Value::as_array);
    let alien = |k: &Value| !k.as_str().is_some_and(|k| KINDS.contains(&k));
    if kinds.is_some_and(|kinds| kinds.iter().any(alien)) {
        return not("layer_types");
    }
    if part
        .get("quantization_config")
        .is_some_and(|q| !q.is_null())
        && quantisation(part).is_none()
    {
        return not("quantization_config.quant_method");
    }
    Ok(())
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
    // Every layer of Llama 4 has one that its file does not name.
    let unnamed = u32::from(config.get("interleave_moe_layer_step").is_some());
    card.shared_experts = count(config, &["n_shared_experts"]).unwrap_or(unnamed);
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
    // Gemma's files leave out what is the default there.
    let tied = config.get("tie_word_embeddings").and_then(Value::as_bool);
    let tied = tied.unwrap_or(card.family == "gemma");
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
    let sparse = sparse_layers(card, config);
    let expert = matrices * hidden * f(card.moe_intermediate);
    let dense = count(config, &["intermediate_size_mlp"]).unwrap_or(card.intermediate);
    let shared = count(config, &["shared_expert_intermediate_size"])
        .map_or(f(card.shared_experts) * expert, |width| {
            matrices * hidden * f(width)
        });
    let common = layers * attention
        + (layers - sparse) * matrices * hidden * f(dense)
        + sparse * (shared + hidden * f(card.experts))
        + embeddings;
    let routed = |n: u32| sparse * f(n) * expert;
    (
        common + routed(card.experts),
        common + routed(card.experts_per_token),
    )
}

/// Layers with experts: all but the leading dense ones, or each n-th, or all but those listed.
fn sparse_layers(card: &ModelCard, config: &Value) -> f64 {
    let step = count(
        config,
        &["interleave_moe_layer_step", "decoder_sparse_step"],
    )
    .unwrap_or(1);
    let listed = config.get("mlp_only_layers").and_then(Value::as_array);
    let listed = listed.map_or(0, |l| u32::try_from(l.len()).unwrap_or(u32::MAX));
    let sparse = (card.layers - card.dense_layers) / step.max(1);
    f64::from(sparse.saturating_sub(listed))
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

/// A positive whole number under any of these keys of a `config.json`.
fn count(config: &Value, keys: &[&str]) -> Option<u32> {
    keys.iter()
        .filter_map(|k| config.get(k))
        .find_map(Value::as_u64)
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n > 0)
}
