//! The layers of a model, one by one, as each architecture's code builds them.

use serde_json::Value;

use super::architecture::{Mixers, Windows};
use super::card::CardError;
use super::config_keys::{Config, Shape};
use super::experts::{ffns, kinds};
use super::layers::{
    Attention, Ffn, Grouped, Latent, Layer, Mamba2, Mixer, State, convolution, delta, kimi_delta,
    lightning, mamba1,
};

fn not(key: &str) -> CardError {
    CardError::NotUnderstood(key.to_owned())
}

/// Every layer.
pub(super) fn mixers(config: &Config, shape: &Shape) -> Result<Vec<Layer>, CardError> {
    let mixers = match config.row.mixers {
        Mixers::Grouped => grouped_layers(config, shape)?,
        Mixers::Latent => latent_layers(config, shape)?,
        Mixers::Compressed => compressed_layers(config, shape)?,
        Mixers::Delta => delta_layers(config, shape)?,
        Mixers::Pattern => return pattern_layers(config, shape),
        Mixers::MambaOrAttention => mamba_or_attention(config, shape)?,
        Mixers::Jamba => jamba_layers(config, shape)?,
        Mixers::Both => both(config, shape)?,
        Mixers::Lightning => lightning_layers(config, shape)?,
        Mixers::Convolutions => convolution_layers(config, shape)?,
        Mixers::KimiDelta => kimi_layers(config, shape)?,
        Mixers::Cross => cross_layers(config, shape)?,
        Mixers::Shared => return shared_layers(config, shape),
    };
    let ffns = ffns(config, shape)?;
    let both = mixers.into_iter().zip(ffns);
    Ok(both.map(|(mixer, ffn)| Layer { mixer, ffn }).collect())
}

fn grouped(shape: &Shape) -> Grouped {
    Grouped {
        hidden: f64::from(shape.hidden),
        heads: f64::from(shape.heads),
        kv_heads: shape.kv_heads,
        head_dim: shape.head_dim,
        value_dim: shape.value_dim,
        gate: false,
    }
}

/// Bytes of one value of a state: as the file says, else as wide as the model's own numbers, as vLLM has it.
fn state_bytes(config: &Config, usual: f64) -> Result<f64, CardError> {
    for key in ["mamba_ssm_cache_dtype", "mamba_ssm_dtype"] {
        match config.get(key).map(|v| v.as_str().unwrap_or_default()) {
            None => {}
            Some("float32") => return Ok(4.0),
            Some("bfloat16" | "float16" | "auto") => return Ok(2.0),
            Some(_) => return Err(not(key)),
        }
    }
    Ok(usual)
}

/// The window of each layer, 0 for none.
fn windows(config: &Config, shape: &Shape) -> Result<Vec<u32>, CardError> {
    let layers = shape.layers;
    let none = vec![0; layers as usize];
    let window = match config.row.windows {
        Windows::No => {
            return match config.words("layer_types", layers)? {
                Some(kinds) if kinds.iter().any(|k| *k != "full_attention") => {
                    Err(not("layer_types"))
                }
                _ => Ok(none),
            };
        }
        Windows::Chunks => config.or_zero(&["attention_chunk_size"])?,
        _ => config.or_zero(&["sliding_window"])?,
    };
    let kinds = config.words("layer_types", layers)?;
    let late = config.row.windows == Windows::Late;
    // A window longer than any text is none.
    if window == 0
        || late && config.flag("use_sliding_window")? != Some(true)
        || kinds.is_none() && window >= config.context()?
    {
        return match kinds {
            Some(kinds) if !late && kinds.iter().any(|k| *k != "full_attention") => {
                Err(not("sliding_window"))
            }
            _ => Ok(none),
        };
    }
    if let Some(kinds) = kinds {
        let of = |kind: &&str| match *kind {
            "full_attention" => Ok(0),
            "sliding_attention" | "chunked_attention" => Ok(window),
            _ => Err(not("layer_types")),
        };
        return kinds.iter().map(of).collect();
    }
    let near = by_rule(config, layers)?;
    Ok(near
        .into_iter()
        .map(|n| if n { window } else { 0 })
        .collect())
}

/// Which layers have the window, where no list names each layer's kind.
fn by_rule(config: &Config, layers: u32) -> Result<Vec<bool>, CardError> {
    let all = |of: &dyn Fn(u32) -> bool| (0..layers).map(of).collect();
    let but_each = |n: u32| all(&|at| !(at + 1).is_multiple_of(n.max(1)));
    let flags = |list: Vec<u32>| list.into_iter().map(|f| f > 0).collect();
    Ok(match config.row.windows {
        Windows::No => all(&|_| false),
        Windows::All => all(&|_| true),
        Windows::Late => {
            let from = config.or_zero(&["max_window_layers"])?;
            all(&|at| at >= from)
        }
        Windows::Pattern(n) => but_each(pattern(config)?.unwrap_or(n)),
        Windows::Chunks => match config.numbers("no_rope_layers")? {
            Some(rope) if rope.len() == layers as usize => flags(rope),
            Some(rope) if !rope.is_empty() => return Err(not("no_rope_layers")),
            _ => but_each(config.need(&["no_rope_layer_interval"])?),
        },
        Windows::Flags => {
            let list = config.numbers_of_layers("hybrid_layer_pattern", layers)?;
            flags(list.ok_or(CardError::Missing("hybrid_layer_pattern"))?)
        }
    })
}

/// Each how-manieth layer has no window: a number, or letters such as `LLLG`.
fn pattern(config: &Config) -> Result<Option<u32>, CardError> {
    let Some(text) = config.get("sliding_window_pattern").and_then(Value::as_str) else {
        return config.number(&["sliding_window_pattern"]);
    };
    let local = text.strip_suffix('G').unwrap_or_default();
    match !local.is_empty() && local.bytes().all(|b| b == b'L') {
        true => Ok(u32::try_from(text.len()).ok()),
        false => Err(not("sliding_window_pattern")),
    }
}

fn grouped_layers(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let full = grouped(shape);
    let flags = config.row.windows == Windows::Flags;
    // MiMo's windowed layers have heads of their own.
    let near = match flags {
        true => Grouped {
            heads: f64::from(
                config
                    .number(&["swa_num_attention_heads"])?
                    .unwrap_or(shape.heads),
            ),
            kv_heads: config
                .number(&["swa_num_key_value_heads"])?
                .unwrap_or(shape.kv_heads),
            head_dim: config.number(&["swa_head_dim"])?.unwrap_or(shape.head_dim),
            value_dim: config
                .number(&["swa_v_head_dim"])?
                .unwrap_or(shape.value_dim),
            ..full
        },
        false => full,
    };
    // MiniMax-M2 keeps the list of its forerunner: all of its layers are attention.
    if let Some(kinds) = config
        .row
        .knows("attn_type_list")
        .then(|| config.numbers_of_layers("attn_type_list", shape.layers))
        .transpose()?
        .flatten()
        && kinds.iter().any(|k| *k != 1)
    {
        return Err(not("attn_type_list"));
    }
    let windows = windows(config, shape)?;
    let of = |window: u32| if window > 0 { near } else { full }.attention(window);
    Ok(windows
        .into_iter()
        .map(|w| Mixer::attention(of(w)))
        .collect())
}

/// Latent attention; of the indexers some layers may read another one's choice.
fn latent_layers(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let own = latent(config, shape)?;
    let Some(indexers) = indexers(config, shape.layers)? else {
        return Ok(vec![Mixer::attention(own); shape.layers as usize]);
    };
    let f = f64::from;
    let (heads, dim) = (
        f(config.or_zero(&["index_n_heads"])?),
        f(config.or_zero(&["index_head_dim"])?),
    );
    let indexer =
        f(config.or_zero(&["q_lora_rank"])?) * heads * dim + f(shape.hidden) * (heads + dim);
    let without = Attention {
        params: own.params - indexer,
        ..own
    };
    let of = |has: &bool| Mixer::attention(if *has { own } else { without });
    Ok(indexers.iter().map(of).collect())
}

/// Which layers have an indexer of their own, where the file has a list of them.
pub(super) fn indexers(config: &Config, layers: u32) -> Result<Option<Vec<bool>>, CardError> {
    if !config.row.knows("indexer_types") {
        return Ok(None);
    }
    let Some(kinds) = config.words("indexer_types", layers)? else {
        let every = config.number(&["index_topk_freq"])?.is_none_or(|n| n == 1);
        return if every {
            Ok(None)
        } else {
            Err(not("index_topk_freq"))
        };
    };
    let of = |kind: &&str| match *kind {
        "full" => Ok(true),
        "shared" => Ok(false),
        _ => Err(not("indexer_types")),
    };
    kinds.iter().map(of).collect::<Result<_, _>>().map(Some)
}

fn latent(config: &Config, shape: &Shape) -> Result<Attention, CardError> {
    let f = f64::from;
    let index = match config.row.knows("index_n_heads") {
        true => [
            f(config.or_zero(&["index_n_heads"])?),
            f(config.or_zero(&["index_head_dim"])?),
        ],
        false => [0.0; 2],
    };
    let widths = Latent {
        hidden: f(shape.hidden),
        heads: f(shape.heads),
        q_rank: f(config.or_zero(&["q_lora_rank"])?),
        kv_rank: config.need(&["kv_lora_rank"])?,
        nope: config.real(&["qk_nope_head_dim"])?,
        rope: config.need(&["qk_rope_head_dim"])?,
        value: config.real(&["v_head_dim"])?,
        index,
    };
    Ok(widths.attention())
}

/// DeepSeek-V4: one key for all heads, which is the value too; the output projection in groups; beside a window, entries for
/// 4 or 128 tokens, and where it is 4 an indexer with keys of its own.
fn compressed_layers(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let f = f64::from;
    let (hidden, heads, dim) = (f(shape.hidden), f(shape.heads), f(shape.head_dim));
    let q_rank = config.real(&["q_lora_rank"])?;
    let (groups, o_rank) = (config.real(&["o_groups"])?, config.real(&["o_lora_rank"])?);
    let index_dim = config.need(&["index_head_dim"])?;
    let index = q_rank * config.real(&["index_n_heads"])? * f(index_dim);
    let window = config.need(&["sliding_window"])?;
    let plain = hidden * q_rank
        + q_rank * heads * dim
        + hidden * dim
        + heads * dim * o_rank
        + groups * o_rank * hidden;
    let ratios = compress_ratios(config, shape.layers)?;
    let of = |ratio: &u32| {
        let (more, values) = match ratio {
            0 => (0.0, 0),
            // Two overlapping halves, each with its gate; the indexer compresses for itself.
            4 => (
                4.0 * hidden * dim + index + 4.0 * hidden * f(index_dim),
                shape.head_dim.saturating_add(index_dim),
            ),
            _ => (2.0 * hidden * dim, shape.head_dim),
        };
        Mixer::attention(Attention {
            params: plain + more,
            kv_values: shape.head_dim,
            window,
            compress: *ratio,
            compressed_values: values,
        })
    };
    Ok(ratios.iter().map(of).collect())
}

/// How many tokens an entry stands for, by layer. The list of a published file has one more for what predicts ahead.
fn compress_ratios(config: &Config, layers: u32) -> Result<Vec<u32>, CardError> {
    if let Some(kinds) = config.words("layer_types", layers)? {
        let of = |kind: &&str| match *kind {
            "sliding_attention" => Ok(0),
            "compressed_sparse_attention" => Ok(4),
            "heavily_compressed_attention" => Ok(128),
            _ => Err(not("layer_types")),
        };
        return kinds.iter().map(of).collect();
    }
    let mut ratios = config
        .numbers("compress_ratios")?
        .ok_or(CardError::Missing("compress_ratios"))?;
    let known = ratios.iter().all(|r| [0, 4, 128].contains(r));
    if ratios.len() < layers as usize || !known {
        return Err(not("compress_ratios"));
    }
    ratios.truncate(layers as usize);
    Ok(ratios)
}

fn delta_layers(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let real = |key: &'static str| config.real(&[key]);
    let linear = delta(
        f64::from(shape.hidden),
        [real("linear_num_key_heads")?, real("linear_key_head_dim")?],
        [
            real("linear_num_value_heads")?,
            real("linear_value_head_dim")?,
        ],
        real("linear_conv_kernel_dim")?,
        state_bytes(config, 2.0)?,
    );
    let gate = config.flag("attn_output_gate")? != Some(false);
    let full = Grouped {
        gate,
        ..grouped(shape)
    }
    .attention(0);
    let linear_at = match config.words("layer_types", shape.layers)? {
        Some(kinds) => listed(&kinds, &["linear_attention"], &["full_attention"])?,
        None => {
            let n = config.need(&["full_attention_interval"])?;
            (0..shape.layers)
                .map(|at| !(at + 1).is_multiple_of(n))
                .collect()
        }
    };
    Ok(either(
        &linear_at,
        Mixer::state(linear),
        Mixer::attention(full),
    ))
}

/// True for each word of the one list; every other must be in the other.
fn listed(kinds: &[&str], one: &[&str], other: &[&str]) -> Result<Vec<bool>, CardError> {
    let of = |kind: &&str| match (one.contains(kind), other.contains(kind)) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(not("layer_types")),
    };
    kinds.iter().map(of).collect()
}

fn either(flags: &[bool], one: Mixer, other: Mixer) -> Vec<Mixer> {
    flags.iter().map(|f| if *f { one } else { other }).collect()
}

/// Nemotron-H: each layer is a mixer, a dense feed-forward part, or experts.
fn pattern_layers(config: &Config, shape: &Shape) -> Result<Vec<Layer>, CardError> {
    let real = |keys: &[&'static str]| config.real(keys);
    let mamba = Mamba2 {
        hidden: f64::from(shape.hidden),
        heads: [real(&["mamba_num_heads"])?, real(&["mamba_head_dim"])?],
        groups: [
            real(&["mamba_n_groups", "n_groups"])?,
            real(&["ssm_state_size"])?,
        ],
        taps: real(&["mamba_d_conv", "conv_kernel"])?,
        bytes: state_bytes(config, 4.0)?,
    };
    let (dense, sparse) = kinds(config, shape)?;
    let of = |kind: &str| {
        let (mixer, ffn) = match kind {
            "M" | "mamba" | "linear_attention" => (Mixer::state(mamba.state()), Ffn::default()),
            "*" | "attention" | "full_attention" => (
                Mixer::attention(grouped(shape).attention(0)),
                Ffn::default(),
            ),
            "-" | "mlp" => (Mixer::default(), dense),
            "E" | "moe" => (
                Mixer::default(),
                sparse.ok_or(CardError::Missing("n_routed_experts"))?,
            ),
            _ => return Err(not("hybrid_override_pattern")),
        };
        Ok(Layer { mixer, ffn })
    };
    if let Some(kinds) = config.words("layers_block_type", shape.layers)? {
        return kinds.into_iter().map(of).collect();
    }
    let pattern = config
        .get("hybrid_override_pattern")
        .and_then(Value::as_str);
    let pattern = pattern.ok_or(CardError::Missing("hybrid_override_pattern"))?;
    if pattern.chars().count() != shape.layers as usize {
        return Err(not("hybrid_override_pattern"));
    }
    pattern
        .chars()
        .map(|c| of(c.encode_utf8(&mut [0; 4])))
        .collect()
}

/// Mamba-2 as Granite, Bamba and Falcon-H1 name it.
fn mamba2(config: &Config, shape: &Shape) -> Result<State, CardError> {
    let real = |key: &'static str| config.real(&[key]);
    let hidden = f64::from(shape.hidden);
    let heads = real("mamba_n_heads")?;
    let inner = match config.number(&["mamba_d_ssm"])?.filter(|n| *n > 0) {
        Some(width) => f64::from(width),
        None => hidden * real("mamba_expand")?,
    };
    // `auto`, or as many as it takes.
    let stated = match super::experts::is_text(config, "mamba_d_head") {
        true => None,
        false => config.number(&["mamba_d_head"])?,
    };
    if stated.is_some_and(|dim| (f64::from(dim) * heads - inner).abs() > 0.5) {
        return Err(not("mamba_d_head"));
    }
    Ok(Mamba2 {
        hidden,
        heads: [heads, inner / heads],
        groups: [real("mamba_n_groups")?, real("mamba_d_state")?],
        taps: real("mamba_d_conv")?,
        bytes: state_bytes(config, 2.0)?,
    }
    .state())
}

fn mamba_or_attention(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let kinds = match config.words("layer_types", shape.layers)? {
        Some(kinds) => Some(kinds),
        None => config.words("layers_block_type", shape.layers)?,
    };
    let mamba_at: Vec<bool> = match kinds {
        Some(kinds) => listed(
            &kinds,
            &["mamba", "linear_attention"],
            &["attention", "full_attention"],
        )?,
        None if config.row.knows("attn_layer_indices") => {
            let attention = config
                .layers("attn_layer_indices", shape.layers)?
                .unwrap_or_default();
            (0..shape.layers)
                .map(|at| !attention.contains(&at))
                .collect()
        }
        None => return Err(CardError::Missing("layer_types")),
    };
    let attention = Mixer::attention(grouped(shape).attention(0));
    if !mamba_at.contains(&true) {
        return Ok(vec![attention; shape.layers as usize]);
    }
    Ok(either(
        &mamba_at,
        Mixer::state(mamba2(config, shape)?),
        attention,
    ))
}

fn jamba_layers(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let hidden = f64::from(shape.hidden);
    let rank = match super::experts::is_text(config, "mamba_dt_rank") {
        true => None,
        false => config.number(&["mamba_dt_rank"])?,
    };
    let mamba = mamba1([
        hidden,
        hidden * config.real(&["mamba_expand"])?,
        config.real(&["mamba_d_state"])?,
        rank.map_or((hidden / 16.0).ceil(), f64::from),
        config.real(&["mamba_d_conv"])?,
        state_bytes(config, 2.0)?,
    ]);
    let period = config.need(&["attn_layer_period"])?;
    let offset = config.or_zero(&["attn_layer_offset"])?;
    let mamba_at: Vec<bool> = (0..shape.layers).map(|at| at % period != offset).collect();
    let attention = grouped(shape).attention(0);
    Ok(either(
        &mamba_at,
        Mixer::state(mamba),
        Mixer::attention(attention),
    ))
}

fn both(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let one = Mixer {
        attention: Some(grouped(shape).attention(0)),
        state: Some(mamba2(config, shape)?),
    };
    Ok(vec![one; shape.layers as usize])
}

fn lightning_layers(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let linear_at: Vec<bool> = match config.words("layer_types", shape.layers)? {
        Some(kinds) => listed(&kinds, &["linear_attention"], &["full_attention"])?,
        None => {
            let kinds = config.numbers_of_layers("attn_type_list", shape.layers)?;
            let kinds = kinds.ok_or(CardError::Missing("attn_type_list"))?;
            kinds.iter().map(|k| *k == 0).collect()
        }
    };
    let f = f64::from;
    let state = lightning([
        f(shape.hidden),
        f(shape.heads),
        f(shape.head_dim),
        state_bytes(config, 2.0)?,
    ]);
    let attention = grouped(shape).attention(0);
    Ok(either(
        &linear_at,
        Mixer::state(state),
        Mixer::attention(attention),
    ))
}

fn convolution_layers(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let short: Vec<bool> = match config.words("layer_types", shape.layers)? {
        Some(kinds) => listed(&kinds, &["conv"], &["full_attention"])?,
        None => {
            let full = config.layers("full_attn_idxs", shape.layers)?;
            let full = full.ok_or(CardError::Missing("full_attn_idxs"))?;
            (0..shape.layers).map(|at| !full.contains(&at)).collect()
        }
    };
    let state = convolution([f64::from(shape.hidden), config.real(&["conv_L_cache"])?]);
    let attention = grouped(shape).attention(0);
    Ok(either(
        &short,
        Mixer::state(state),
        Mixer::attention(attention),
    ))
}

fn kimi_layers(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let key = "linear_attn_config";
    let inner = config.get(key).and_then(Value::as_object);
    let inner = inner.ok_or(CardError::Missing("linear_attn_config"))?;
    let number = |name: &str| {
        let n = inner.get(name).and_then(Value::as_f64);
        n.filter(|n| *n >= 1.0 && *n <= 1e6).ok_or_else(|| not(key))
    };
    let known = [
        "full_attn_layers",
        "kda_layers",
        "head_dim",
        "num_heads",
        "short_conv_kernel_size",
    ];
    if let Some(alien) = inner.keys().find(|k| !known.contains(&k.as_str())) {
        return Err(not(&format!("{key}.{alien}")));
    }
    // Counted from 1.
    let full = inner
        .get("full_attn_layers")
        .and_then(Value::as_array)
        .ok_or_else(|| not(key))?;
    let is_full = |at: u32| full.iter().any(|v| v.as_u64() == Some(u64::from(at) + 1));
    let linear_at: Vec<bool> = (0..shape.layers).map(|at| !is_full(at)).collect();
    let state = kimi_delta([
        f64::from(shape.hidden),
        number("num_heads")?,
        number("head_dim")?,
        number("short_conv_kernel_size")?,
    ]);
    Ok(either(
        &linear_at,
        Mixer::state(state),
        Mixer::attention(latent(config, shape)?),
    ))
}

/// Attention over an image keeps nothing that grows with the text.
fn cross_layers(config: &Config, shape: &Shape) -> Result<Vec<Mixer>, CardError> {
    let across = config.layers("cross_attention_layers", shape.layers)?;
    let across = across.ok_or(CardError::Missing("cross_attention_layers"))?;
    let own = grouped(shape).attention(0);
    let other = Attention {
        kv_values: 0,
        ..own
    };
    let of = |at: u32| if across.contains(&at) { other } else { own };
    Ok((0..shape.layers)
        .map(|at| Mixer::attention(of(at)))
        .collect())
}

/// Gemma 3n and 4: the last layers read the caches of earlier ones; layers without a window may have wider heads; each layer
/// has a gate and a projection for its own embedding.
fn shared_layers(config: &Config, shape: &Shape) -> Result<Vec<Layer>, CardError> {
    let f = f64::from;
    let near = grouped(shape);
    let far_dim = match config.row.knows("global_head_dim") {
        true => config
            .number(&["global_head_dim"])?
            .unwrap_or(shape.head_dim),
        false => shape.head_dim,
    };
    let one_matrix = config.flag("attention_k_eq_v")? == Some(true);
    let far_heads = match one_matrix {
        true => config
            .number(&["num_global_key_value_heads"])?
            .unwrap_or(shape.kv_heads),
        false => shape.kv_heads,
    };
    let far = Grouped {
        head_dim: far_dim,
        value_dim: far_dim,
        kv_heads: far_heads,
        ..near
    };
    let mut windows = windows(config, shape)?;
    if config.row.types.contains(&"gemma4")
        && let Some(last) = windows.last_mut()
    {
        *last = 0;
    }
    let shared = config.or_zero(&["num_kv_shared_layers"])?.min(shape.layers);
    let wide = config.flag("use_double_wide_mlp")? == Some(true);
    let per_layer = 2.0 * f(shape.hidden) * f(config.or_zero(&["hidden_size_per_layer_input"])?);
    let laurel = 2.0 * f(shape.hidden) * f(config.or_zero(&["laurel_rank"])?);
    let ffns = ffns(config, shape)?;
    let mut out = Vec::with_capacity(ffns.len());
    for ((at, window), mut ffn) in (0u32..).zip(windows).zip(ffns) {
        let mut attention = if window > 0 { near } else { far }.attention(window);
        if window == 0 && one_matrix {
            attention.params -= f(shape.hidden) * f(far_heads) * f(far_dim);
        }
        attention.params += laurel + per_layer;
        if at >= shape.layers - shared {
            attention.kv_values = 0;
            if wide {
                ffn.every *= 2.0;
            }
        }
        out.push(Layer {
            mixer: Mixer::attention(attention),
            ffn,
        });
    }
    Ok(out)
}
