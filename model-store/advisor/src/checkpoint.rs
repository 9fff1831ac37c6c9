//! A model card and the format of its weights from the small files of a checkpoint. Pure: texts in, card out.

use serde_json::{Map, Value};

use super::card::{CardError, ModelCard, Stored};
use super::case::Precision;
use super::formats::{Named, named};
use super::hf_config;
use super::quantisation::{Quantised, of_bits, of_config, of_modelopt};

/// The texts of a checkpoint's small files, as far as there are such files.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// `config.json`.
    pub config: Option<String>,
    /// `hf_quant_config.json`.
    pub hf_quant_config: Option<String>,
    /// `quantize_config.json`.
    pub quantize_config: Option<String>,
    /// `quant_config.json`.
    pub quant_config: Option<String>,
    /// `model.safetensors.index.json`.
    pub index: Option<String>,
    /// Headers of safetensors files.
    pub headers: Vec<String>,
    /// True where those are the headers of all weights.
    pub all_headers: bool,
    /// `adapter_config.json`.
    pub adapter: Option<String>,
    /// True where there are GGUF files.
    pub gguf: bool,
    /// True where the folder is made for embeddings (`modules.json` of sentence-transformers).
    pub embeds: bool,
    /// The folder's own name, where it is one that may tell the format.
    pub own_name: Option<String>,
}

impl ModelCard {
    /// Makes a card from the text of a Hugging Face `config.json` alone, and the weight format that it
    /// states, if any. [`read`] looks at the files beside it, too.
    ///
    /// # Errors
    /// [`CardError`] where architecture or format are not known from it.
    pub fn from_hf_config(name: &str, text: &str) -> Result<(Self, Option<Precision>), CardError> {
        let files = Files {
            config: Some(text.to_owned()),
            ..Files::default()
        };
        read(name, &files)
    }
}

/// The card, and the format of quantised weights; `None` for weights in 16 or 32 bits.
///
/// # Errors
/// [`CardError`] where architecture or format are not known from the files.
pub fn read(name: &str, files: &Files) -> Result<(ModelCard, Option<Precision>), CardError> {
    let Some(text) = &files.config else {
        return Err(without_config(files));
    };
    if files.embeds {
        return Err(CardError::NotGenerating(
            "an embedding model, which generates no tokens",
        ));
    }
    let whole = hf_config::parse(text)?;
    let mut card = hf_config::read(name, &whole)?;
    let part = hf_config::language_part(&whole);
    let quantised = quantised(files, &whole, part, card.layers)?;
    let fp4_experts = experts(&whole, part)?;
    let precision = match quantised {
        Some(_) if fp4_experts => Some(Precision::Mxfp4),
        Some(q) => Some(q.precision),
        None => None,
    };
    let wide = ["torch_dtype", "dtype"]
        .iter()
        .find_map(|k| whole.get(*k).or_else(|| part.get(*k)))
        .and_then(Value::as_str)
        .is_some_and(|t| t.ends_with("float32"));
    let reckoned = reckoned(&card, quantised, fp4_experts);
    if let Some((file, bytes)) = counted(files)? {
        // Engines narrow 32 bits to 16.
        let bytes = if wide && quantised.is_none() {
            bytes / 2.0
        } else {
            bytes
        };
        if !(0.6..=2.2).contains(&(bytes / reckoned)) {
            return Err(CardError::Contradiction {
                file,
                counted: bytes,
                reckoned,
            });
        }
        card.stored = Some(Stored { precision, bytes });
    } else if fp4_experts || quantised.is_some_and(|q| !q.is_plain()) {
        card.stored = Some(Stored {
            precision,
            bytes: reckoned,
        });
    }
    Ok((card, precision))
}

/// A folder without `config.json`: what it is in words.
fn without_config(files: &Files) -> CardError {
    if let Some(text) = &files.adapter {
        let base = hf_config::parse(text).ok();
        let base = base
            .as_ref()
            .and_then(|b| b.get("base_model_name_or_path")?.as_str());
        return CardError::Adapter(base.map(hf_config::cut).unwrap_or_default());
    }
    match files.gguf {
        true => CardError::Gguf,
        false => CardError::NotJson("there is no such file".into()),
    }
}

/// The first file that says how the weights are quantised.
fn quantised(
    files: &Files,
    whole: &Map<String, Value>,
    part: &Map<String, Value>,
    layers: u32,
) -> Result<Option<Quantised>, CardError> {
    if let Some(found) = of_config(whole, part, layers)? {
        return Ok(Some(found));
    }
    if let Some(text) = &files.hf_quant_config
        && let Some(found) = of_modelopt(text, layers)?
    {
        return Ok(Some(found));
    }
    for (file, text) in [
        ("quantize_config.json", &files.quantize_config),
        ("quant_config.json", &files.quant_config),
    ] {
        if let Some(text) = text {
            return of_bits(file, text, layers);
        }
    }
    if files.gguf && files.headers.is_empty() {
        return Err(CardError::Gguf);
    }
    of_headers(files)
}

/// What most of the weights are by the headers of their files; by the folder's own name where there are none.
fn of_headers(files: &Files) -> Result<Option<Quantised>, CardError> {
    let mut bits: Vec<(String, f64)> = Vec::new();
    for (dtype, bytes) in files.headers.iter().flat_map(|h| tensors(h)) {
        match bits.iter_mut().find(|(d, _)| *d == dtype) {
            Some((_, sum)) => *sum += bytes,
            None => bits.push((dtype, bytes)),
        }
    }
    let unknown = |file: &str, says: String| CardError::Format {
        file: file.into(),
        says,
    };
    let most = bits.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let plain = Quantised::plainly(Precision::Fp8);
    match most.as_ref().map(|(dtype, _)| dtype.as_str()) {
        Some("BF16" | "F16" | "F32") => Ok(None),
        Some("F8_E4M3" | "F8_E4M3FN") => Ok(Some(plain)),
        Some(other) => Err(unknown(
            "the header of the safetensors file",
            format!(
                "{} tensors, and no file says how they are packed",
                hf_config::cut(other)
            ),
        )),
        None => match files.own_name.as_deref().map(named) {
            Some(Named::Format(format)) => Err(unknown(
                "the folder's name",
                format!("{format}, and no file in it does"),
            )),
            Some(Named::Unknown(word)) => Err(unknown("the folder's name", word)),
            Some(Named::Nothing) | None => Ok(None),
        },
    }
}

/// Type and bytes of each tensor of a header.
fn tensors(header: &str) -> Vec<(String, f64)> {
    let Ok(Value::Object(map)) = serde_json::from_str(header) else {
        return Vec::new();
    };
    let one = |tensor: &Value| {
        let dtype = tensor.get("dtype")?.as_str()?.to_owned();
        let ends = tensor.get("data_offsets")?.as_array()?;
        let (from, to) = (ends.first()?.as_f64()?, ends.get(1)?.as_f64()?);
        Some((dtype, (to - from).max(0.0)))
    };
    map.values().filter_map(one).collect()
}

/// True where the experts are in 4 bits though the method is fp8 (DeepSeek-V4).
fn experts(whole: &Map<String, Value>, part: &Map<String, Value>) -> Result<bool, CardError> {
    let stated = part
        .get("expert_dtype")
        .or_else(|| whole.get("expert_dtype"));
    match stated
        .filter(|v| !v.is_null())
        .map(|v| v.as_str().unwrap_or_default())
    {
        None | Some("fp8") => Ok(false),
        Some("fp4") => Ok(true),
        Some(other) => Err(CardError::Format {
            file: "config.json".into(),
            says: format!("expert_dtype {}", hf_config::cut(other)),
        }),
    }
}

/// Bytes of the weights as the files describe them.
fn reckoned(card: &ModelCard, quantised: Option<Quantised>, fp4_experts: bool) -> f64 {
    let Some(q) = quantised else {
        return card.params * 2.0;
    };
    let plain = card.embedding_params()
        + card.tower_params
        + if q.plain_attention {
            card.attention_params
        } else {
            0.0
        };
    let (narrow, inner) = match fp4_experts {
        true => (card.expert_params, Precision::Mxfp4.bits()),
        false => (0.0, 0.0),
    };
    let experts_only = (q.experts_only || q.precision.format().experts_only) && card.is_moe();
    if experts_only {
        return card.expert_params * q.bits / 8.0 + (card.params - card.expert_params) * 2.0;
    }
    let body = (card.params - plain - narrow).max(0.0);
    body * q.bits / 8.0 + narrow * inner / 8.0 + plain * 2.0
}

/// Bytes of all weights, as the index or the headers count them, and the file that says so.
fn counted(files: &Files) -> Result<Option<(&'static str, f64)>, CardError> {
    const INDEX: &str = "model.safetensors.index.json";
    if let Some(text) = &files.index {
        return Ok(total_size(text).map(|t| (INDEX, t)));
    }
    if !files.all_headers {
        return Ok(None);
    }
    let total: f64 = files
        .headers
        .iter()
        .flat_map(|h| tensors(h))
        .map(|(_, b)| b)
        .sum();
    Ok((total > 0.0).then_some(("the header of model.safetensors", total)))
}

/// `total_size` of an index. The list of tensors behind it has megabytes and says nothing more, so it is not parsed.
fn total_size(index: &str) -> Option<f64> {
    let (_, rest) = index.split_once("\"total_size\"")?;
    let number = rest.trim_start().strip_prefix(':')?.trim_start();
    let end = number.find(|c: char| !(c.is_ascii_digit() || ".eE+".contains(c)));
    let number = number.get(..end.unwrap_or(number.len()))?;
    number
        .parse()
        .ok()
        .filter(|t: &f64| t.is_finite() && *t > 0.0)
}
