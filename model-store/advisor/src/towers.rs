//! Parameters of what sees images beside a language model. They take memory and no time of a decode step.

use serde_json::{Map, Value};

/// Parameters of the tower for images and of what joins it to the text, by the numbers of `vision_config`; `None` where that has
/// too few of them.
///
/// Layers of a vision transformer: four matrices of attention and two, or three gated ones, of the feed-forward part; a matrix
/// of patches; a projection into the text's width.
pub(super) fn vision(config: &Map<String, Value>, text_hidden: u32) -> Option<f64> {
    let number = |keys: &[&str]| keys.iter().find_map(|k| config.get(*k)?.as_f64());
    // Qwen's first towers call their own width so, and the text's `hidden_size`.
    let hidden = number(&["embed_dim", "vt_hidden_size", "hidden_size"])?;
    let layers = number(&["num_hidden_layers", "depth", "vt_num_hidden_layers"])?;
    let ratio = number(&["mlp_ratio"]).unwrap_or(4.0);
    let inner = number(&["intermediate_size", "vt_intermediate_size"]).unwrap_or(ratio * hidden);
    let patch = number(&["patch_size"]).unwrap_or(14.0);
    let frames = number(&["temporal_patch_size"]).unwrap_or(1.0);
    let kind = config
        .get("model_type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let gated = ["qwen2_5_vl", "pixtral"]
        .iter()
        .any(|k| kind.starts_with(k));
    let matrices = if gated { 3.0 } else { 2.0 };
    let text = f64::from(text_hidden);
    let merged = number(&["spatial_merge_size"]).map(|m| m * m * hidden);
    let joined = match merged {
        Some(wide) => wide * wide + wide * text,
        None => hidden * text + text * text,
    };
    let global = number(&["num_global_layers"]).unwrap_or(0.0);
    let sane = (1.0..=1e5).contains(&hidden) && (1.0..=1e3).contains(&layers);
    let layer = 4.0 * hidden * hidden + matrices * hidden * inner;
    sane.then_some((layers + global) * layer + 3.0 * frames * patch * patch * hidden + joined)
}
