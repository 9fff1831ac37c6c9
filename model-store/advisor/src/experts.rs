//! The feed-forward parts of a model: dense, or experts, and in which layers.

use serde_json::Value;

use super::architecture::{EXPERT_WIDTH, EXPERTS, EXPERTS_USED, SHARED_EXPERTS, SHARED_WIDTH};
use super::card::CardError;
use super::config_keys::{Config, Shape};
use super::layers::Ffn;

/// Width of a routed expert.
pub(super) fn width(config: &Config, intermediate: u32) -> Result<u32, CardError> {
    let stated = match known(config, EXPERT_WIDTH) {
        true => config.number(EXPERT_WIDTH)?,
        false => None,
    };
    Ok(stated.filter(|n| *n > 0).unwrap_or(intermediate))
}

/// Width of the experts together that every token uses; 0 = none.
pub(super) fn shared_width(config: &Config, width: u32) -> Result<u32, CardError> {
    if known(config, SHARED_WIDTH) {
        let stated = config.or_zero(SHARED_WIDTH)?;
        let many = match known(config, SHARED_EXPERTS) {
            true => config.number(SHARED_EXPERTS)?.unwrap_or(1),
            false => 1,
        };
        if stated > 0 {
            return Ok(stated.saturating_mul(many));
        }
    }
    if config.row.knows("intermediate_size_mlp") {
        // Each layer of Llama 4 with experts has one that its file does not name.
        return Ok(width);
    }
    match known(config, SHARED_EXPERTS) {
        true => Ok(config.or_zero(SHARED_EXPERTS)?.saturating_mul(width)),
        false => Ok(0),
    }
}

/// True where the architecture has one of these keys of its own.
fn known(config: &Config, keys: &[&str]) -> bool {
    keys.iter()
        .any(|k| config.row.reads.iter().any(|group| group.contains(k)))
}

/// Experts of a layer and how many a token uses; `None` for a dense model.
fn routed(config: &Config) -> Result<Option<(u32, u32)>, CardError> {
    let has = known(config, EXPERTS) || config.row.knows("ffn_config");
    let on =
        !config.row.knows("enable_moe_block") || config.flag("enable_moe_block")? == Some(true);
    if !has || !on {
        return Ok(None);
    }
    let Some(experts) = config.number(EXPERTS)?.filter(|n| *n > 1) else {
        return Ok(None);
    };
    let used = config.need(EXPERTS_USED)?;
    if used > experts {
        return Err(CardError::NotUnderstood("num_experts_per_tok".into()));
    }
    Ok(Some((experts, used)))
}

/// A dense feed-forward part, and one with experts where the model has some.
pub(super) fn kinds(config: &Config, shape: &Shape) -> Result<(Ffn, Option<Ffn>), CardError> {
    let f = f64::from;
    let matrices = if config.row.gated { 3.0 } else { 2.0 };
    let hidden = f(shape.hidden);
    let of_width = |width: u32| Ffn {
        every: matrices * hidden * f(width),
        ..Ffn::default()
    };
    let dense_width = match config.row.knows("intermediate_size_mlp") {
        true => config
            .number(&["intermediate_size_mlp"])?
            .unwrap_or(shape.intermediate),
        false => shape.intermediate,
    };
    let dense = of_width(dense_width);
    let Some((experts, used)) = routed(config)? else {
        // Granite's dense models name the width of what is their only feed-forward part.
        let shared = match known(config, &["shared_intermediate_size"]) {
            true => config.or_zero(&["shared_intermediate_size"])?,
            false => 0,
        };
        return Ok((if shared > 0 { of_width(shared) } else { dense }, None));
    };
    let width = width(config, shape.intermediate)?;
    let latent = match config.row.knows("moe_latent_size") {
        true => config.or_zero(&["moe_latent_size"])?,
        false => 0,
    };
    // Experts may work on a narrower copy of what comes in (Nemotron 3).
    let (inner, narrowing) = match latent {
        0 => (hidden, 0.0),
        n => (f(n), 2.0 * hidden * f(n)),
    };
    let both = config.row.knows("enable_moe_block");
    let sparse = Ffn {
        every: of_width(shared_width(config, width)?).every
            + hidden * f(experts)
            + narrowing
            + if both { dense.every } else { 0.0 },
        expert: matrices * inner * f(width),
        experts,
        used,
    };
    Ok((dense, Some(sparse)))
}

/// The feed-forward part of each layer.
pub(super) fn ffns(config: &Config, shape: &Shape) -> Result<Vec<Ffn>, CardError> {
    let (dense, sparse) = kinds(config, shape)?;
    let rule = Sparse::of(config, shape.layers)?;
    let of = |at: u32| sparse.filter(|_| rule.holds(at)).unwrap_or(dense);
    Ok((0..shape.layers).map(of).collect())
}

/// A list with 1 for each layer with experts, as numbers or as words.
fn sparse_flags(config: &Config, layers: u32) -> Result<Option<Vec<u32>>, CardError> {
    if config.row.knows("mlp_layer_types")
        && let Some(kinds) = config.words("mlp_layer_types", layers)?
    {
        let flags = kinds.iter().map(|k| sparse_word(k));
        return flags.collect::<Result<_, _>>().map(Some);
    }
    match config.get("moe_layer_freq").is_some_and(Value::is_array) {
        true => config.numbers_of_layers("moe_layer_freq", layers),
        false => Ok(None),
    }
}

/// 1 for a word that means experts.
fn sparse_word(word: &str) -> Result<u32, CardError> {
    match word {
        "sparse" | "moe" | "hash_moe" => Ok(1),
        "dense" => Ok(0),
        _ => Err(CardError::NotUnderstood("mlp_layer_types".into())),
    }
}

/// Which layers have experts. Each key counts as its own model's code does.
struct Sparse {
    from: u32,
    to: u32,
    step_ending: u32,
    step_beginning: u32,
    period: Option<(u32, u32)>,
    listed: Option<Vec<u32>>,
    flags: Option<Vec<u32>>,
    dense: Vec<u32>,
}

impl Sparse {
    fn of(config: &Config, layers: u32) -> Result<Self, CardError> {
        let own = |key: &'static str| match config.row.knows(key) {
            true => config.number(&[key]),
            false => Ok(None),
        };
        let flags = sparse_flags(config, layers)?;
        let frequency = match flags {
            Some(_) => None,
            None => own("moe_layer_freq")?,
        };
        let leading = [
            own("first_k_dense_replace")?,
            own("num_dense_layers")?,
            own("moe_layer_start_index")?,
            own("moe_layer_num_skipped")?,
        ];
        let period = own("expert_layer_period")?.filter(|n| *n > 0);
        let listed = match config.row.knows("moe_layers") {
            true => config.layers("moe_layers", layers)?,
            false => None,
        };
        let dense = match config.row.knows("mlp_only_layers") {
            true => config
                .layers("mlp_only_layers", layers)?
                .unwrap_or_default(),
            false => Vec::new(),
        };
        let ending = [
            own("decoder_sparse_step")?,
            own("interleave_moe_layer_step")?,
            own("moe_layer_interval")?,
        ];
        Ok(Self {
            from: leading.into_iter().flatten().max().unwrap_or(0),
            to: own("moe_layer_end_index")?.unwrap_or(u32::MAX),
            step_ending: ending.into_iter().flatten().max().unwrap_or(1).max(1),
            step_beginning: frequency.unwrap_or(1).max(1),
            period: period.zip(Some(own("expert_layer_offset")?.unwrap_or(0))),
            listed: listed.filter(|l| !l.is_empty()),
            flags,
            dense,
        })
    }

    fn holds(&self, at: u32) -> bool {
        if let Some(listed) = &self.listed {
            return listed.contains(&at);
        }
        let flagged = |flags: &Vec<u32>| flags.get(at as usize).is_some_and(|n| *n > 0);
        (self.from..=self.to).contains(&at)
            && (at + 1).is_multiple_of(self.step_ending)
            && at.is_multiple_of(self.step_beginning)
            && self.period.is_none_or(|(n, offset)| at % n == offset)
            && self.flags.as_ref().is_none_or(flagged)
            && !self.dense.contains(&at)
    }
}

/// True where a key holds a text: `auto`.
pub(super) fn is_text(config: &Config, key: &str) -> bool {
    config.get(key).is_some_and(Value::is_string)
}
