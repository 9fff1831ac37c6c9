//! How the files of a checkpoint say that its weights are quantised. What is said and not understood is unknown, never 16 bits.

use serde_json::{Map, Value};

use super::card::CardError;
use super::case::Precision;
use super::hf_config::cut;

/// The format of quantised weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantised {
    /// The format.
    pub precision: Precision,
    /// Bits of one weight, scales included.
    pub bits: f64,
    /// True where attention is left in 16 bits.
    pub plain_attention: bool,
    /// True where everything but the routed experts is.
    pub experts_only: bool,
}

impl Quantised {
    pub(super) const fn plainly(precision: Precision) -> Self {
        Self {
            precision,
            bits: precision.bits(),
            plain_attention: false,
            experts_only: false,
        }
    }

    /// True where the weights take what the format alone says.
    pub(super) fn is_plain(&self) -> bool {
        !self.plain_attention && !self.experts_only && self.bits == self.precision.bits()
    }
}

/// What a method says of the format.
#[derive(Clone, Copy)]
enum Says {
    /// Always this one.
    Is(Precision),
    /// It depends on `bits`.
    Bits,
    /// `quant_algo` names it (ModelOpt).
    Algorithm,
    /// Each group of layers has its own (compressed-tensors).
    Groups,
    /// `load_in_4bit` or `load_in_8bit` (bitsandbytes).
    LoadIn,
    /// `global_quant_config` (Quark).
    Global,
}

/// Methods of `quant_method` whose format is known. vLLM and SGLang find each of them out by themselves; TGI and
/// TensorRT-LLM those that they run at all. Every other method is unknown.
const METHODS: &[(&[&str], Says)] = &[
    (
        &["fp8", "fbgemm-fp8", "ptpc-fp8", "w8a8-fp8"],
        Says::Is(Precision::Fp8),
    ),
    (&["mxfp4", "gpt-oss-mxfp4"], Says::Is(Precision::Mxfp4)),
    (&["modelopt-fp4", "petit-nvfp4"], Says::Is(Precision::Nvfp4)),
    (&["w8a8-int8"], Says::Is(Precision::W8a8)),
    (&["experts-int8", "eetq"], Says::Is(Precision::Int8)),
    (
        &[
            "awq",
            "awq-marlin",
            "gptq",
            "gptq-marlin",
            "auto-round",
            "intel/auto-round",
        ],
        Says::Bits,
    ),
    (&["modelopt"], Says::Algorithm),
    (&["compressed-tensors"], Says::Groups),
    (&["bitsandbytes"], Says::LoadIn),
    (&["quark"], Says::Global),
];

/// Algorithms of ModelOpt.
const ALGORITHMS: &[(&str, Precision)] = &[
    ("FP8", Precision::Fp8),
    ("FP8_PB_WO", Precision::Fp8),
    ("FP8_PB_REAL", Precision::Fp8),
    ("FP8_PER_CHANNEL_PER_TOKEN", Precision::Fp8),
    ("NVFP4", Precision::Nvfp4),
    ("NVFP4_AWQ", Precision::Nvfp4),
    ("W4A16_AWQ", Precision::Int4),
    ("INT4_AWQ", Precision::Int4),
    ("W4A8_AWQ", Precision::W4a8),
    ("INT8_SQ", Precision::W8a8),
    ("W8A8_SQ_PER_CHANNEL", Precision::W8a8),
    ("MXFP4", Precision::Mxfp4),
];

fn unknown(file: &str, says: impl Into<String>) -> CardError {
    CardError::Format {
        file: file.to_owned(),
        says: cut(&says.into()),
    }
}

/// What `config.json` says, in its whole and in the part of the language model.
pub(super) fn of_config(
    whole: &Map<String, Value>,
    part: &Map<String, Value>,
    layers: u32,
) -> Result<Option<Quantised>, CardError> {
    const FILE: &str = "config.json";
    for map in [whole, part] {
        for key in ["quantization_config", "compression_config"] {
            match map.get(key) {
                None | Some(Value::Null) => {}
                Some(Value::Object(q)) if q.is_empty() => {}
                Some(Value::Object(q)) => return of_object(FILE, q, layers, key).map(Some),
                Some(_) => return Err(unknown(FILE, format!("{key} is no object"))),
            }
        }
        if map.get("quantization").is_some_and(|v| !v.is_null()) {
            return Err(unknown(FILE, "`quantization` as MLX writes it"));
        }
    }
    match whole
        .get("expert_dtype")
        .or_else(|| part.get("expert_dtype"))
    {
        None | Some(Value::Null) => Ok(None),
        Some(_) => Err(unknown(FILE, "`expert_dtype` without a quant_method")),
    }
}

/// What `hf_quant_config.json` (ModelOpt) says.
pub(super) fn of_modelopt(text: &str, layers: u32) -> Result<Option<Quantised>, CardError> {
    const FILE: &str = "hf_quant_config.json";
    let whole = super::hf_config::parse(text).map_err(|_| unknown(FILE, "no JSON object"))?;
    let inner = whole.get("quantization").and_then(Value::as_object);
    let q = inner.unwrap_or(&whole);
    match q.get("quant_algo") {
        // Its cache alone is quantised.
        Some(Value::Null) => Ok(None),
        Some(Value::String(_)) => of_algorithm(FILE, q, layers).map(Some),
        _ => Err(unknown(FILE, "no quant_algo")),
    }
}

/// What `quantize_config.json` (GPTQ) or `quant_config.json` (AWQ) says.
pub(super) fn of_bits(file: &str, text: &str, layers: u32) -> Result<Option<Quantised>, CardError> {
    let whole = super::hf_config::parse(text).map_err(|_| unknown(file, "no JSON object"))?;
    match whole.get("quant_method").and_then(Value::as_str) {
        Some(_) => of_object(file, &whole, layers, file).map(Some),
        None => by_bits(file, &whole, "bits").map(Some),
    }
}

fn of_object(
    file: &str,
    q: &Map<String, Value>,
    layers: u32,
    key: &str,
) -> Result<Quantised, CardError> {
    let method = match q.get("quant_method") {
        Some(Value::String(method)) => method.trim().to_ascii_lowercase().replace('_', "-"),
        // Older files of compressed-tensors and some of ModelOpt name none.
        None | Some(Value::Null) if q.contains_key("config_groups") => "compressed-tensors".into(),
        None | Some(Value::Null) if q.contains_key("quant_algo") => "modelopt".into(),
        None | Some(Value::Null) => {
            return Err(unknown(file, format!("{key} without a quant_method")));
        }
        Some(_) => return Err(unknown(file, "a quant_method that is no text")),
    };
    let says = METHODS
        .iter()
        .find(|(names, _)| names.contains(&method.as_str()));
    let Some((_, says)) = says else {
        return Err(unknown(file, method));
    };
    let mut found = match says {
        Says::Is(precision) => Quantised::plainly(*precision),
        Says::Bits => by_bits(file, q, &method)?,
        Says::Algorithm => return of_algorithm(file, q, layers),
        Says::Groups => groups(file, q)?,
        Says::LoadIn => Quantised::plainly(load_in(file, q)?),
        Says::Global => Quantised::plainly(global(file, q)?),
    };
    leave_out(&mut found, q, layers);
    Ok(found)
}

fn of_algorithm(file: &str, q: &Map<String, Value>, layers: u32) -> Result<Quantised, CardError> {
    // Newer files of ModelOpt describe groups as compressed-tensors does, and name the algorithm beside.
    let algorithm = q.get("quant_algo").and_then(Value::as_str);
    let Some(algorithm) = algorithm else {
        return match q.contains_key("config_groups") {
            true => groups(file, q),
            false => Err(unknown(file, "modelopt without a quant_algo")),
        };
    };
    let found = ALGORITHMS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(algorithm));
    let Some((_, precision)) = found else {
        return Err(unknown(file, algorithm));
    };
    // A list of layers, each with an algorithm of its own, must name one.
    let listed = q.get("quantized_layers").and_then(Value::as_object);
    for layer in listed.into_iter().flatten().map(|(_, v)| v) {
        let own = layer.get("quant_algo").and_then(Value::as_str);
        if own.is_some_and(|own| !own.eq_ignore_ascii_case(algorithm)) {
            return Err(unknown(
                file,
                format!("{algorithm} and {}", own.unwrap_or_default()),
            ));
        }
    }
    let mut found = Quantised::plainly(*precision);
    leave_out(&mut found, q, layers);
    Ok(found)
}

fn number(q: &Map<String, Value>, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|k| q.get(*k)).and_then(Value::as_u64)
}

fn by_bits(file: &str, q: &Map<String, Value>, method: &str) -> Result<Quantised, CardError> {
    let float = q
        .get("data_type")
        .and_then(Value::as_str)
        .is_some_and(|t| !t.starts_with("int"));
    let wide = number(q, &["act_bits"]).is_none_or(|bits| bits >= 16);
    match number(q, &["bits", "w_bit"]) {
        Some(4) if !float && wide => Ok(Quantised {
            bits: four_bits(number(q, &["group_size", "q_group_size"])),
            ..Quantised::plainly(Precision::Int4)
        }),
        Some(8) if !float && wide => Ok(Quantised::plainly(Precision::Int8)),
        Some(bits) => Err(unknown(file, format!("{method} of {bits} bits"))),
        None => Err(unknown(file, format!("{method} without its bits"))),
    }
}

/// Bits of a weight of four with a scale of 16 for a group: what the table says, but more for groups that are smaller than usual.
fn four_bits(group: Option<u64>) -> f64 {
    match group {
        Some(size @ 8..=64) => 4.0 + 16.0 / size as f64,
        _ => Precision::Int4.bits(),
    }
}

fn load_in(file: &str, q: &Map<String, Value>) -> Result<Precision, CardError> {
    let yes = |key: &str| q.get(key).and_then(Value::as_bool) == Some(true);
    let kind = q.get("bnb_4bit_quant_type").and_then(Value::as_str);
    match (yes("load_in_4bit"), yes("load_in_8bit")) {
        (true, false) if kind == Some("nf4") => Ok(Precision::Nf4),
        (false, true) => Ok(Precision::Int8),
        _ => Err(unknown(
            file,
            format!("bitsandbytes {}", kind.unwrap_or("of unstated bits")),
        )),
    }
}

/// Quark: one format for all layers, or it is unknown.
fn global(file: &str, q: &Map<String, Value>) -> Result<Precision, CardError> {
    let own = q.get("layer_quant_config").and_then(Value::as_object);
    let kinds = q.get("layer_type_quant_config").and_then(Value::as_object);
    if own.is_some_and(|o| !o.is_empty()) || kinds.is_some_and(|o| !o.is_empty()) {
        return Err(unknown(file, "quark with formats by layer"));
    }
    let all = q.get("global_quant_config");
    let dtype = |of: &str| all?.get(of)?.get("dtype")?.as_str();
    let group = all.and_then(|a| a.get("weight")?.get("group_size")?.as_u64());
    match (dtype("weight"), dtype("input_tensors")) {
        (Some("fp8_e4m3"), _) => Ok(Precision::Fp8),
        (Some("fp4"), _) if group == Some(32) => Ok(Precision::Mxfp4),
        (Some("int8"), Some("int8")) => Ok(Precision::W8a8),
        (Some("int8"), None) => Ok(Precision::Int8),
        (Some("int4" | "uint4"), None) => Ok(Precision::Int4),
        (weight, _) => Err(unknown(
            file,
            format!("quark {}", weight.unwrap_or("without a type")),
        )),
    }
}

/// compressed-tensors: every group of layers in one format, or it is unknown.
fn groups(file: &str, q: &Map<String, Value>) -> Result<Quantised, CardError> {
    let sparse = q.get("sparsity_config").and_then(|s| s.get("format"));
    if let Some(format) = sparse.and_then(Value::as_str).filter(|f| *f != "dense") {
        return Err(unknown(file, format!("compressed-tensors, {format}")));
    }
    let groups = q.get("config_groups").and_then(Value::as_object);
    let mut found: Option<Precision> = None;
    let mut size = None;
    for group in groups.into_iter().flatten().map(|(_, v)| v) {
        let precision = one_group(group)
            .ok_or_else(|| unknown(file, "compressed-tensors of a kind that is not known"))?;
        match found {
            Some(other) if other != precision => {
                return Err(unknown(
                    file,
                    format!("compressed-tensors, {other} and {precision}"),
                ));
            }
            _ => found = Some(precision),
        }
        size = group
            .get("weights")
            .and_then(|w| w.get("group_size")?.as_u64());
    }
    let found = found.ok_or_else(|| unknown(file, "compressed-tensors without groups"))?;
    Ok(Quantised {
        bits: match found {
            Precision::Int4 => four_bits(size),
            other => other.bits(),
        },
        ..Quantised::plainly(found)
    })
}

fn one_group(group: &Value) -> Option<Precision> {
    let weights = group.get("weights")?;
    let bits = weights.get("num_bits")?.as_u64()?;
    let is_float = |v: &Value| match v.get("type").and_then(Value::as_str) {
        Some("float") => Some(true),
        Some("int") => Some(false),
        _ => None,
    };
    let float = is_float(weights)?;
    let activations = group.get("input_activations").filter(|a| !a.is_null());
    let active_bits = activations.and_then(|a| a.get("num_bits")?.as_u64());
    let size = weights.get("group_size").and_then(Value::as_u64);
    match (bits, float, active_bits) {
        (8, true, None | Some(8)) if size != Some(32) => Some(Precision::Fp8),
        (8, false, Some(8)) => Some(Precision::W8a8),
        (8, false, None) => Some(Precision::Int8),
        (4, true, None | Some(4)) => match size {
            Some(16) => Some(Precision::Nvfp4),
            Some(32) => Some(Precision::Mxfp4),
            _ => None,
        },
        (4, false, None) => Some(Precision::Int4),
        (4, false, Some(8)) => Some(Precision::W4a8),
        (4, false, Some(4)) => Some(Precision::W4a4),
        _ => None,
    }
}

/// Reads the lists of what is left in 16 bits: attention of all layers, by one pattern or layer by layer; with it shared experts, so
/// that routed experts alone are quantised.
fn leave_out(found: &mut Quantised, q: &Map<String, Value>, layers: u32) {
    const LISTS: [&str; 4] = [
        "ignore",
        "modules_to_not_convert",
        "exclude_modules",
        "exclude",
    ];
    let lists = LISTS.iter().filter_map(|k| q.get(*k)?.as_array());
    let left: Vec<&str> = lists.flatten().filter_map(Value::as_str).collect();
    let mut numbered: Vec<&str> = Vec::new();
    let digits = |p: &&str| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit());
    for pattern in left.iter().filter(|p| p.contains("self_attn")) {
        // One projection of it is not attention, but the last one goes with the others.
        let whole = pattern
            .trim_end_matches(['*', '$', '.', '\\'])
            .ends_with("self_attn");
        match pattern.split('.').find(digits) {
            None if whole || pattern.contains("o_proj") => found.plain_attention = true,
            Some(n) if !numbered.contains(&n) => numbered.push(n),
            _ => {}
        }
    }
    found.plain_attention |= numbered.len() * 10 >= layers.max(1) as usize * 8;
    let shared = |p: &&str| p.contains("shared_expert") && p.split('.').all(|part| !digits(&part));
    found.experts_only = found.plain_attention && left.iter().any(shared);
}
