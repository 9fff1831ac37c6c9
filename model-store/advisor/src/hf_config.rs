//! A model card from a Hugging Face `config.json`. Pure: text in, card out. What shapes the layers is understood, or there is no card.

use serde_json::{Map, Value};

use super::architecture::{
    Architecture, HEAD_DIM, HEADS, HIDDEN, INTERMEDIATE, KV_HEADS, LAYERS, Mixers, VOCAB, may_shape,
};
use super::architectures::{ARCHITECTURES, OTHER_CLASSES, OTHERS};
use super::card::{CardError, ModelCard};
use super::config_keys::{Config, MOST_LAYERS, Shape};
use super::layers::Layer;
use super::mixers::mixers;
use super::python_json;

/// Longest text that is parsed, bytes; a list of quantised layers makes some of them 3 MB.
pub(super) const LONGEST: usize = 16 << 20;

/// Keys of the language model's own part, outermost first.
const NESTED: [&str; 5] = [
    "thinker_config",
    "text_config",
    "llm_config",
    "language_config",
    "language_model_config",
];

/// The file as JSON.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, CardError> {
    if text.len() > LONGEST {
        return Err(CardError::NotJson(format!(
            "{} bytes, the limit is {LONGEST}",
            text.len()
        )));
    }
    // Editors on Windows put a mark of the byte order in front.
    match python_json::parse(text.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(whole)) => Ok(whole),
        Ok(_) => Err(CardError::NotJson("another JSON value".into())),
        Err(e) => Err(CardError::NotJson(e.to_string())),
    }
}

/// The card of a file, its weights in 16 bits.
pub(super) fn read(name: &str, whole: &Map<String, Value>) -> Result<ModelCard, CardError> {
    let part = language_part(whole);
    let row = architecture(part, whole)?;
    generates(whole, row)?;
    let config = Config { part, whole, row };
    check(part, row, false)?;
    if !std::ptr::eq(part, whole) {
        check(whole, row, true)?;
    }
    let flat;
    let config = match flattened(&config)? {
        Some(map) => {
            flat = map;
            Config {
                part: &flat,
                ..config
            }
        }
        None => config,
    };
    let shape = shape(&config)?;
    let layers = mixers(&config, &shape)?;
    summary(name, &config, &shape, &layers)
}

/// The innermost part that describes the language model; the whole where there is none of its own.
pub(super) fn language_part(whole: &Map<String, Value>) -> &Map<String, Value> {
    let mut part = whole;
    loop {
        let next = NESTED
            .iter()
            .find_map(|k| part.get(*k).and_then(Value::as_object))
            .filter(|inner| !inner.is_empty());
        match next {
            Some(inner) => part = inner,
            None => return part,
        }
    }
}

fn text_of<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key)
        .and_then(Value::as_str)
        .filter(|t| !t.is_empty())
}

fn class_of(map: &Map<String, Value>) -> Option<&str> {
    map.get("architectures")?.as_array()?.first()?.as_str()
}

/// Letters and digits of a name in lower case, so that `DeepseekV3` is `deepseek_v3`.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

/// The row of a `model_type`.
fn row_of(kind: &str) -> Option<&'static Architecture> {
    ARCHITECTURES.iter().find(|row| row.types.contains(&kind))
}

/// The row of a class such as `LlamaForCausalLM`.
fn row_of_class(class: &str) -> Option<&'static Architecture> {
    let stem = ["ForCausalLM", "ForConditionalGeneration", "LMHeadModel"]
        .iter()
        .find_map(|end| class.strip_suffix(end))
        .unwrap_or(class);
    let stem = plain(stem);
    ARCHITECTURES.iter().find(|row| {
        row.classes.contains(&class) || row.types.iter().any(|kind| plain(kind) == stem)
    })
}

/// The architecture of a file: by `model_type` of the language model's part, by that of the whole, by the class.
fn architecture(
    part: &Map<String, Value>,
    whole: &Map<String, Value>,
) -> Result<&'static Architecture, CardError> {
    let kinds = [text_of(part, "model_type"), text_of(whole, "model_type")];
    let classes = [class_of(part), class_of(whole)];
    for kind in kinds.into_iter().flatten() {
        if let Some(row) = row_of(kind) {
            return Ok(row);
        }
        let other = OTHERS.iter().find(|(_, kinds)| kinds.contains(&kind));
        if let Some((what, _)) = other {
            return Err(CardError::NotGenerating(what));
        }
    }
    let named = kinds.iter().flatten().next().copied();
    let by_class = classes.into_iter().flatten().find_map(row_of_class);
    match (named, by_class) {
        (None, Some(row)) => Ok(row),
        (Some(kind), _) => Err(CardError::Unknown(format!("model_type `{}`", cut(kind)))),
        (None, None) => match classes.into_iter().flatten().next() {
            Some(class) => Err(CardError::Unknown(format!("architecture `{}`", cut(class)))),
            None => Err(CardError::Missing("model_type")),
        },
    }
}

/// A text of the file's for a message: at most 60 letters, none that is hidden.
pub(super) fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// The class, where the file names one, must be that of a model that generates text and of this architecture.
fn generates(whole: &Map<String, Value>, row: &Architecture) -> Result<(), CardError> {
    let Some(class) = class_of(whole) else {
        return Ok(());
    };
    if row.classes.contains(&class) {
        return Ok(());
    }
    let nested = !std::ptr::eq(language_part(whole), whole);
    // `InternVLChatModel` and its like hold a language model.
    let other = OTHER_CLASSES.iter().find(|(end, _)| class.ends_with(end));
    if let Some((_, what)) = other.filter(|(end, _)| *end != "Model" || !nested) {
        return Err(CardError::NotGenerating(what));
    }
    match row_of_class(class) {
        Some(found) if found.family == row.family || nested => Ok(()),
        None if nested => Ok(()),
        _ => Err(CardError::Unknown(format!("architecture `{}`", cut(class)))),
    }
}

/// Every key that may be about the layers is read for this architecture, or says nothing. Around the language model's own part
/// stand sizes of images and tiles; there a key has to name layers or what they are made of.
fn check(map: &Map<String, Value>, row: &Architecture, outside: bool) -> Result<(), CardError> {
    const OF_LAYERS: [&str; 8] = [
        "layer",
        "expert",
        "moe_",
        "mamba",
        "ssm",
        "hybrid",
        "block_type",
        "kv_",
    ];
    if map.get("is_encoder_decoder").and_then(Value::as_bool) == Some(true) {
        return Err(CardError::NotUnderstood("is_encoder_decoder".into()));
    }
    for (key, value) in map {
        let of_other_parts = key.ends_with("_config")
            && [
                "vision",
                "audio",
                "image",
                "talker",
                "code2wav",
                "token2wav",
                "speech",
            ]
            .iter()
            .any(|p| key.contains(p))
            || NESTED.contains(&key.as_str()) && value.is_object();
        let about_layers = match outside {
            true => OF_LAYERS.iter().any(|w| key.contains(w)),
            false => may_shape(key),
        };
        if !of_other_parts && says_something(value) && about_layers && !row.knows(key) {
            return Err(CardError::NotUnderstood(key.clone()));
        }
    }
    Ok(())
}

/// False for null, no, nothing and none.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Files that keep numbers one level down (DBRX, MPT), with these numbers where others have them.
fn flattened(config: &Config) -> Result<Option<Map<String, Value>>, CardError> {
    const MOVES: [(&str, &str, &str); 7] = [
        ("attn_config", "kv_n_heads", "num_key_value_heads"),
        ("attn_config", "clip_qkv", ""),
        ("attn_config", "rope_theta", ""),
        ("ffn_config", "ffn_hidden_size", "intermediate_size"),
        ("ffn_config", "moe_num_experts", "num_experts"),
        ("ffn_config", "moe_top_k", "num_experts_per_tok"),
        ("ffn_config", "hidden_size", ""),
    ];
    if !config.row.knows("attn_config") {
        return Ok(None);
    }
    let mut out = config.part.clone();
    for outer in ["attn_config", "ffn_config"] {
        let Some(inner) = config.get(outer).and_then(Value::as_object) else {
            continue;
        };
        for (key, value) in inner {
            let to = MOVES.iter().find(|(o, k, _)| *o == outer && k == key);
            match to {
                Some((_, _, "")) => {}
                Some((_, _, to)) => drop(out.insert((*to).to_owned(), value.clone())),
                None if says_something(value) && may_shape(key) && !config.row.knows(key) => {
                    let harmless = [
                        "attn_type",
                        "attn_impl",
                        "attn_uses_sequence_id",
                        "ffn_type",
                        "ffn_act_fn",
                        "softmax_scale",
                        "prefix_lm",
                        "qk_ln",
                        "moe_loss_weight",
                        "moe_jitter_eps",
                        "moe_normalize_expert_weights",
                    ];
                    if !harmless.contains(&key.as_str()) {
                        return Err(CardError::NotUnderstood(format!("{outer}.{key}")));
                    }
                }
                None => {}
            }
        }
    }
    Ok(Some(out))
}

fn shape(config: &Config) -> Result<Shape, CardError> {
    for keys in [HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM] {
        config.agree(keys)?;
    }
    let hidden = config.need(HIDDEN)?;
    let heads = config.need(HEADS)?;
    let layers = config.need(LAYERS)?;
    if layers > MOST_LAYERS {
        return Err(CardError::Missing("num_hidden_layers"));
    }
    let head_dim = match config.number(HEAD_DIM)?.filter(|d| *d > 0) {
        Some(dim) => dim,
        None if hidden % heads == 0 => hidden / heads,
        None => return Err(CardError::NotUnderstood("num_attention_heads".into())),
    };
    let latent = matches!(
        config.row.mixers,
        Mixers::Latent | Mixers::KimiDelta | Mixers::Compressed
    );
    let value_dim = if latent {
        0
    } else {
        config.or_zero(&["v_head_dim"])?
    };
    Ok(Shape {
        layers,
        hidden,
        heads,
        kv_heads: kv_heads(config, heads)?.min(heads),
        head_dim,
        value_dim: if value_dim > 0 { value_dim } else { head_dim },
        intermediate: intermediate(config, hidden)?,
        vocab: config.need(VOCAB)?,
    })
}

fn kv_heads(config: &Config, heads: u32) -> Result<u32, CardError> {
    // ChatGLM's number of groups, and the single head of Falcon-7B and StarCoder.
    if config.row.knows("multi_query_group_num")
        && config.flag("multi_query_attention")? == Some(true)
    {
        return config.need(&["multi_query_group_num"]);
    }
    if config.row.knows("multi_query") {
        let newer = config.flag("new_decoder_architecture")? == Some(true);
        let single = config.flag("multi_query")?.unwrap_or(true);
        if !newer {
            return Ok(if single { 1 } else { heads });
        }
    }
    Ok(config.number(KV_HEADS)?.filter(|n| *n > 0).unwrap_or(heads))
}

/// Width of the dense feed-forward layers.
fn intermediate(config: &Config, hidden: u32) -> Result<u32, CardError> {
    let ratio = config.or_zero(&["expansion_ratio"])?;
    let stated = match config.row.mixers {
        // Each DeepSeek-V4 layer has experts.
        // Nor has Qwen3.5 any other.
        Mixers::Compressed | Mixers::Delta
            if config.row.knows("moe_intermediate_size")
                && config.get("intermediate_size").is_none() =>
        {
            return config.need(&["moe_intermediate_size"]);
        }
        _ => config.number(INTERMEDIATE)?.filter(|n| *n > 0),
    };
    let width = match stated {
        Some(width) if config.row.types.contains(&"qwen") => width / 2,
        Some(width) => width,
        None if ratio > 0 => hidden.saturating_mul(ratio),
        // GPT-2 and its like say nothing where it is four times the width.
        None if !config.row.gated => hidden.saturating_mul(4),
        None => return Err(CardError::Missing("intermediate_size")),
    };
    let adjusted = config.flag("block_auto_adjust_ff_dim")? == Some(true);
    Ok(if adjusted {
        let of = config.or_zero(&["block_multiple_of"])?.max(1);
        let factor = config
            .get("block_ffn_dim_multiplier")
            .and_then(Value::as_f64)
            .unwrap_or(1.0);
        let two_thirds = (f64::from(width) * 2.0 / 3.0).floor() * factor;
        (two_thirds.clamp(1.0, 1e8) as u32).div_ceil(of) * of
    } else {
        width
    })
}

/// The card that layers add up to.
fn summary(
    name: &str,
    config: &Config,
    shape: &Shape,
    layers: &[Layer],
) -> Result<ModelCard, CardError> {
    let f = f64::from;
    let tied = tied(config)?;
    let table = f(shape.vocab) * f(shape.hidden);
    let around = table * if tied { 1.0 } else { 2.0 } + around_layers(config, shape)?;
    let sum = |of: fn(&Layer) -> f64| layers.iter().map(of).sum::<f64>();
    let mixing = sum(|l| l.mixer.params());
    let mut card = ModelCard {
        name: name.into(),
        family: config.row.family.into(),
        params: around + mixing + sum(|l| l.ffn.all()),
        active_params: around + mixing + sum(|l| l.ffn.active()),
        attention_params: mixing,
        layers: shape.layers,
        hidden: shape.hidden,
        heads: shape.heads,
        kv_heads: shape.kv_heads,
        head_dim: shape.head_dim,
        value_head_dim: if shape.value_dim == shape.head_dim {
            0
        } else {
            shape.value_dim
        },
        intermediate: shape.intermediate,
        vocab: shape.vocab,
        max_context: config.context()?,
        tied,
        plain_ffn: !config.row.gated,
        source: "config.json".into(),
        ..ModelCard::default()
    };
    latent(&mut card, config)?;
    experts(&mut card, config, layers)?;
    caches(&mut card, layers)?;
    if card.is_moe() && card.family == "qwen" {
        card.family = "qwen-moe".into();
    }
    images(&mut card, config.whole);
    Ok(card)
}

/// A tower for images takes memory beside the language model.
fn images(card: &mut ModelCard, whole: &Map<String, Value>) {
    let inside = whole.get("thinker_config").and_then(Value::as_object);
    let tower = inside
        .unwrap_or(whole)
        .get("vision_config")
        .and_then(Value::as_object);
    let Some(tower) = tower.filter(|t| !t.is_empty()) else {
        return;
    };
    match super::towers::vision(tower, card.hidden) {
        Some(params) => {
            card.params += params;
            card.tower_params = params;
        }
        None => card.source += ", without its part for images",
    }
}

/// Whether embedding and head are one: as the part says, or the whole, or the configuration class.
fn tied(config: &Config) -> Result<bool, CardError> {
    for key in ["tie_word_embeddings", "tie_embedding"] {
        if let Some(tied) = config.flag(key)? {
            return Ok(tied);
        }
    }
    let whole = config.whole.get("tie_word_embeddings");
    Ok(whole.and_then(Value::as_bool).unwrap_or(config.row.tied))
}

/// Parameters beside layers and embedding: learnt positions; embeddings for each layer (Gemma 3n, Gemma 4).
fn around_layers(config: &Config, shape: &Shape) -> Result<f64, CardError> {
    let f = f64::from;
    let hidden = f(shape.hidden);
    let positions = match config.row.positions {
        true => f(config.context()?) * hidden,
        false => 0.0,
    };
    let width = f(config.or_zero(&["hidden_size_per_layer_input"])?) * f(shape.layers);
    let vocab = f(config.or_zero(&["vocab_size_per_layer_input"])?);
    let inputs = f(config.or_zero(&["altup_num_inputs"])?);
    let streams = 2.0 * (inputs - 1.0).max(0.0) * hidden * hidden;
    Ok(positions + vocab * width + hidden * width + streams)
}

fn latent(card: &mut ModelCard, config: &Config) -> Result<(), CardError> {
    match config.row.mixers {
        Mixers::Latent | Mixers::KimiDelta => {
            card.kv_lora_rank = config.need(&["kv_lora_rank"])?;
            card.rope_head_dim = config.need(&["qk_rope_head_dim"])?;
            card.q_lora_rank = config.or_zero(&["q_lora_rank"])?;
            card.nope_head_dim = config.need(&["qk_nope_head_dim"])?;
            // One latent head is kept for all; what they attend to is as wide as a value.
            card.kv_heads = 1;
            card.head_dim = config.need(&["v_head_dim"])?;
            let own = super::mixers::indexers(config, card.layers)?;
            let own = own.map_or(0, |o| o.iter().filter(|has| **has).count());
            card.index_layers = u32::try_from(own).unwrap_or(0);
            card.index_head_dim = match config.row.knows("index_head_dim") {
                true => config.or_zero(&["index_head_dim"])?,
                false => 0,
            };
        }
        Mixers::Compressed => {
            card.rope_head_dim = config.need(&["qk_rope_head_dim"])?.min(card.head_dim);
            card.kv_lora_rank = card.head_dim - card.rope_head_dim;
            card.q_lora_rank = config.need(&["q_lora_rank"])?;
            card.kv_heads = 1;
        }
        _ => {}
    }
    Ok(())
}

fn experts(card: &mut ModelCard, config: &Config, layers: &[Layer]) -> Result<(), CardError> {
    let Some(first) = layers.iter().find(|l| l.ffn.experts > 0) else {
        return Ok(());
    };
    let with = layers.iter().filter(|l| l.ffn.experts > 0).count();
    card.experts = first.ffn.experts;
    card.experts_per_token = first.ffn.used;
    card.moe_intermediate = super::experts::width(config, card.intermediate)?;
    let shared = super::experts::shared_width(config, card.moe_intermediate)?;
    card.shared_intermediate = shared;
    card.shared_experts = shared.div_ceil(card.moe_intermediate.max(1));
    card.dense_layers = card.layers.saturating_sub(u32::try_from(with).unwrap_or(0));
    card.expert_params = layers
        .iter()
        .map(|l| f64::from(l.ffn.experts) * l.ffn.expert)
        .sum();
    Ok(())
}

/// What the layers keep of a sequence. Windowed layers are alike, and so are the others; else nothing is known.
fn caches(card: &mut ModelCard, layers: &[Layer]) -> Result<(), CardError> {
    let not = || CardError::NotUnderstood("layer_types".into());
    let mut full: Option<u32> = None;
    let mut windowed: Option<(u32, u32)> = None;
    let mut keep = 0;
    for layer in layers {
        if let Some(state) = layer.mixer.state {
            card.state_layers += 1;
            card.state_bytes += state.bytes;
        }
        let Some(a) = layer.mixer.attention.filter(|a| a.kv_values > 0) else {
            continue;
        };
        keep += 1;
        if a.window > 0 {
            card.sliding_layers += 1;
            if *windowed.get_or_insert((a.window, a.kv_values)) != (a.window, a.kv_values) {
                return Err(not());
            }
        } else if *full.get_or_insert(a.kv_values) != a.kv_values {
            return Err(not());
        }
        if a.compress > 0 {
            card.compressed_values += f64::from(a.compressed_values) / f64::from(a.compress);
        }
    }
    card.cacheless_layers = card.layers.saturating_sub(keep);
    let usual = card.usual_kv_values();
    let other = |values: u32| if values == usual { 0 } else { values };
    card.kv_values = full.map_or(0, other);
    if let Some((window, values)) = windowed {
        card.sliding_window = window;
        card.window_kv_values = other(values);
    }
    card.ffnless_layers =
        u32::try_from(layers.iter().filter(|l| l.ffn.all() == 0.0).count()).unwrap_or(0);
    Ok(())
}
