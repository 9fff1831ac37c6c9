//! The one table of weight formats: names, bits, and which engine runs each on which GPU. Whatever reads or writes a format reads it here.

use serde::{Deserialize, Serialize};

/// Weight format of a checkpoint as it is served. `bits` is what a weight occupies; the format is
/// kept beside the bits because formats of equal width differ in speed (AWQ leaves the trend).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Precision {
    /// 32-bit floating point.
    Fp32,
    /// IEEE half precision.
    Fp16,
    /// bfloat16.
    Bf16,
    /// 8-bit floating point weights and activations (weight-only below compute capability 8.9).
    Fp8,
    /// 8-bit integer weights, 16-bit activations.
    Int8,
    /// 8-bit integer weights and activations.
    W8a8,
    /// 4-bit integer weights, 16-bit activations (AWQ, GPTQ).
    Int4,
    /// 4-bit integer weights, 8-bit activations.
    W4a8,
    /// 4-bit integer weights and activations.
    W4a4,
    /// bitsandbytes NormalFloat 4.
    Nf4,
    /// NVIDIA 4-bit floating point with block scales.
    Nvfp4,
    /// OCP microscaling 4-bit floating point.
    Mxfp4,
}

impl Precision {
    /// Every precision, in the order in which advice lists them.
    pub const ALL: [Self; 12] = [
        Self::Fp32,
        Self::Fp16,
        Self::Bf16,
        Self::Fp8,
        Self::Int8,
        Self::W8a8,
        Self::Int4,
        Self::W4a8,
        Self::W4a4,
        Self::Nf4,
        Self::Nvfp4,
        Self::Mxfp4,
    ];

    /// Its row in the table of formats.
    pub const fn format(self) -> &'static Format {
        &FORMATS[self as usize]
    }

    /// The name used in options, output and the store.
    pub const fn name(self) -> &'static str {
        self.format().name
    }

    /// Bits that one weight occupies, scales included.
    pub const fn bits(self) -> f64 {
        self.format().bits()
    }

    /// The precision with which measurements are pooled: fp16 and bf16 run at the same rate.
    pub const fn pooled(self) -> Self {
        match self {
            Self::Fp16 => Self::Bf16,
            other => other,
        }
    }

    /// Reads a name as users, engines and benchmark files write it (`BF16`, `int4-awq`, `w4a16`,
    /// `int8-bnb`, `fp4`). `None` where the text names no known format.
    pub fn parse(text: &str) -> Option<Self> {
        spelled(text)
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// How an engine runs a format from a compute capability on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kernels {
    /// The weights are widened to 16 bits before they are multiplied: the memory is saved, the arithmetic is not.
    WeightOnly,
    /// The GPU multiplies the format itself.
    Native,
}

/// From which compute capability (times ten) engines of this name run a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Support {
    /// Engine, lower case; `*` is every engine without a row of its own.
    pub engine: &'static str,
    /// Lowest compute capability times ten.
    pub least: u32,
    /// How it is run from there on.
    pub kernels: Kernels,
}

/// One weight format.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The format.
    pub precision: Precision,
    /// Name in options, output and the store.
    pub name: &'static str,
    /// Other spellings in options, engines' arguments and benchmark files; lower case, `-` for `_`.
    pub aliases: &'static [&'static str],
    /// Words of a checkpoint's name that state it.
    pub marks: &'static [&'static str],
    /// Bits of one weight.
    pub weight_bits: f64,
    /// Bits of scales and zero points that go with one weight.
    pub scale_bits: f64,
    /// True where only the experts of a mixture are in the format, and the rest is in 16 bits.
    pub experts_only: bool,
    /// Which engine runs it where, the weaker kernels first.
    pub support: &'static [Support],
}

const fn on(engine: &'static str, least: u32, kernels: Kernels) -> Support {
    Support {
        engine,
        least,
        kernels,
    }
}

const EVERYWHERE: &[Support] = &[on("*", 0, Kernels::Native)];
const fn format(
    precision: Precision,
    name: &'static str,
    [weight_bits, scale_bits]: [f64; 2],
    aliases: &'static [&'static str],
    marks: &'static [&'static str],
    support: &'static [Support],
) -> Format {
    Format {
        precision,
        name,
        aliases,
        marks,
        weight_bits,
        scale_bits,
        experts_only: matches!(precision, Precision::Mxfp4),
        support,
    }
}

use Kernels::{Native, WeightOnly};

/// Every format, in the order of [`Precision::ALL`].
///
/// Bits: a scale of 16 to 32 bits for a group of 64 to 128 weights (AWQ, GPTQ, NF4), of 8 bits for 16 (NVFP4) or 32 (MXFP4, OCP MX v1.0).
/// Capabilities: `get_min_capability` of vLLM's quantisation classes; the matrix units of NVIDIA's data sheets (fp8 from 8.9, fp4 from
/// 10.0). SGLang and TensorRT-LLM have no weight-only fp8 and fp4 below that.
pub const FORMATS: [Format; 12] = [
    format(
        Precision::Fp32,
        "fp32",
        [32.0, 0.0],
        &["float32", "float"],
        &[],
        EVERYWHERE,
    ),
    format(
        Precision::Fp16,
        "fp16",
        [16.0, 0.0],
        &["float16", "half"],
        &[],
        EVERYWHERE,
    ),
    format(
        Precision::Bf16,
        "bf16",
        [16.0, 0.0],
        &["bfloat16"],
        &[],
        &[on("*", 80, Native)],
    ),
    format(
        Precision::Fp8,
        "fp8",
        [8.0, 0.0],
        &[
            "fp8-e4m3",
            "float8",
            "w8a8-fp8",
            "fbgemm-fp8",
            "ptpc-fp8",
            "fp8-pb-wo",
            "fp8-per-channel-per-token",
            "deepspeedfp8",
        ],
        &["fp8", "float8"],
        &[
            on("vllm", 75, WeightOnly),
            on("vllm", 89, Native),
            on("*", 89, Native),
        ],
    ),
    format(
        Precision::Int8,
        "int8",
        [8.0, 0.0],
        &["w8a16", "experts-int8", "eetq", "int8-weight-only"],
        &["int8", "w8a16"],
        &[on("*", 75, WeightOnly)],
    ),
    format(
        Precision::W8a8,
        "w8a8",
        [8.0, 0.0],
        &[
            "int8-w8a8",
            "int8-sq",
            "smoothquant",
            "w8a8-int8",
            "w8a8-sq-per-channel",
        ],
        &["w8a8"],
        &[on("*", 75, Native)],
    ),
    format(
        Precision::Int4,
        "int4",
        [4.0, 0.25],
        &[
            "awq",
            "gptq",
            "w4a16",
            "awq-marlin",
            "gptq-marlin",
            "auto-round",
            "w4a16-awq",
        ],
        &["int4", "w4a16", "awq", "gptq", "autoround"],
        &[on("*", 75, WeightOnly)],
    ),
    format(
        Precision::W4a8,
        "w4a8",
        [4.0, 0.25],
        &["int4-w4a8", "w4a8-awq", "w4afp8", "w4a8-fp8"],
        &["w4a8", "w4afp8"],
        &[on("*", 90, Native)],
    ),
    format(
        Precision::W4a4,
        "w4a4",
        [4.0, 0.25],
        &["int4-w4a4"],
        &["w4a4"],
        EVERYWHERE,
    ),
    format(
        Precision::Nf4,
        "nf4",
        [4.0, 0.5],
        &["nf4-dq", "bitsandbytes", "bitsandbytes-nf4", "bnb-nf4"],
        &["nf4", "bnb"],
        &[on("*", 75, WeightOnly)],
    ),
    format(
        Precision::Nvfp4,
        "nvfp4",
        [4.0, 0.5],
        &["fp4", "modelopt-fp4", "petit-nvfp4", "nvfp4-awq"],
        &["nvfp4", "fp4"],
        &[
            on("vllm", 80, WeightOnly),
            on("vllm", 100, Native),
            on("*", 100, Native),
        ],
    ),
    format(
        Precision::Mxfp4,
        "mxfp4",
        [4.0, 0.25],
        &["mx-fp4"],
        &["mxfp4"],
        &[on("*", 80, WeightOnly), on("*", 100, Native)],
    ),
];

/// Words of a checkpoint's name for formats that are not in the table.
const UNKNOWN_MARKS: &[&str] = &[
    "gguf",
    "ggml",
    "mlx",
    "exl2",
    "exl3",
    "hqq",
    "aqlm",
    "quip",
    "bitnet",
    "torchao",
    "qat4",
    "mxfp8",
    "mxfp6",
    "int2",
    "int3",
    "w2a16",
    "w3a16",
    "1bit",
    "2bit",
    "3bit",
    "4bit",
    "5bit",
    "6bit",
    "8bit",
    "vptq",
    "spqr",
    "higgs",
    "qqq",
    "squeezellm",
    "nf3",
    "fp6",
];

/// What a checkpoint's name says of its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Nothing.
    Nothing,
    /// A format of the table.
    Format(Precision),
    /// Words that mean a format which is not in the table, or several at once.
    Unknown(String),
}

impl Format {
    /// Bits that one weight occupies, scales included.
    pub const fn bits(&self) -> f64 {
        self.weight_bits + self.scale_bits
    }

    /// How an engine runs the format on a GPU of this compute capability (times ten); `None` where it does not.
    pub fn kernels(&self, engine: &str, capability: u32) -> Option<Kernels> {
        let rows = self.rows(engine);
        rows.filter(|s| s.least <= capability)
            .map(|s| s.kernels)
            .max()
    }

    /// Lowest compute capability (times ten) on which an engine runs the format.
    pub fn least(&self, engine: &str) -> u32 {
        self.rows(engine).map(|s| s.least).min().unwrap_or(0)
    }

    /// The engine's own rows, or those of every engine where it has none.
    fn rows<'a>(&'a self, engine: &'a str) -> impl Iterator<Item = &'a Support> {
        let own = self.support.iter().any(|s| s.engine == engine);
        let wanted = if own { engine } else { "*" };
        self.support.iter().filter(move |s| s.engine == wanted)
    }
}

/// The format that a text of options, engines' arguments or benchmark files names; `None` where it names none of the table.
pub fn spelled(text: &str) -> Option<Precision> {
    let t = text.trim().to_ascii_lowercase().replace('_', "-");
    let exact = FORMATS
        .iter()
        .find(|f| f.name == t || f.aliases.contains(&t.as_str()));
    // `int4-awq`, `int8-bnb`: the bits first, then how they were found.
    exact.map(|f| f.precision).or_else(|| {
        let how = |bits: &str| {
            t.strip_prefix(bits)
                .is_some_and(|rest| rest.starts_with('-'))
        };
        match () {
            () if how("int8") => Some(Precision::Int8),
            () if how("int4") => Some(Precision::Int4),
            () => None,
        }
    })
}

/// True for a word of a checkpoint's name that is about its format alone.
pub(super) fn is_mark(word: &str) -> bool {
    UNKNOWN_MARKS.contains(&word) || FORMATS.iter().any(|f| f.marks.contains(&word))
}

/// What the name of a model or of its folder says: the last part alone, or the model's part of a path in the hub's cache.
pub fn named(name: &str) -> Named {
    let tail = super::hub::tail(name).to_ascii_lowercase();
    let parts: Vec<&str> = tail.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let has = |word: &str| parts.contains(&word);
    let eight = has("8bit") || has("int8");
    let four = has("4bit") || has("int4") || has("w4a16");
    // How the bits were found says nothing of their number.
    let container = ["awq", "gptq", "autoround"].into_iter().any(has)
        || parts.windows(2).any(|w| w == ["auto", "round"]);
    let mut found: Vec<Precision> = Vec::new();
    for format in &FORMATS {
        if format.marks.iter().any(|m| has(m)) {
            found.push(format.precision);
        }
    }
    match () {
        () if has("bnb") && eight => found = vec![Precision::Int8],
        // Four bits are meant where nothing else is said.
        () if container && !four && (eight || found.len() > 1) => {
            found.retain(|p| *p != Precision::Int4);
        }
        () if has("w8a8") && has("fp8") => found = vec![Precision::Fp8],
        () if has("w8a8") && has("int8") => found = vec![Precision::W8a8],
        () if has("w4a8") => found = vec![Precision::W4a8],
        () => {}
    }
    if container && eight && found.is_empty() {
        found.push(Precision::Int8);
    }
    let told = |word: &str| match word {
        "4bit" => container || has("bnb"),
        "8bit" => container || has("bnb"),
        _ => false,
    };
    let alien = UNKNOWN_MARKS.iter().find(|m| has(m) && !told(m));
    let ggml = parts.windows(2).find(|w| {
        let level = w[0].strip_prefix('q').or_else(|| w[0].strip_prefix("iq"));
        level.is_some_and(|n| n.len() == 1 && n.bytes().all(|b| b.is_ascii_digit()))
            && ["k", "0", "1", "xs", "xxs", "s", "m", "nl"].contains(&w[1])
    });
    match (alien, ggml, found.as_slice()) {
        (Some(word), ..) => Named::Unknown((*word).to_owned()),
        (_, Some(w), _) => Named::Unknown(w.join("_")),
        (_, _, []) => Named::Nothing,
        (_, _, [one]) => Named::Format(*one),
        (_, _, several) => {
            let words: Vec<&str> = several.iter().map(|p| p.name()).collect();
            Named::Unknown(words.join(" and "))
        }
    }
}

/// The weight format that a checkpoint's name states (`...-FP8`, `...-AWQ`); `None` where it states none or one that is not known.
pub fn precision_in_name(name: &str) -> Option<Precision> {
    match named(name) {
        Named::Format(precision) => Some(precision),
        Named::Nothing | Named::Unknown(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_one_row_and_each_word_one_format() {
        for (at, precision) in Precision::ALL.into_iter().enumerate() {
            assert_eq!(FORMATS[at].precision, precision);
            assert_eq!(spelled(FORMATS[at].name), Some(precision));
        }
        let mut words: Vec<&str> = FORMATS
            .iter()
            .flat_map(|f| f.aliases.iter().chain([&f.name]))
            .copied()
            .collect();
        words.sort_unstable();
        let all = words.len();
        words.dedup();
        assert_eq!(words.len(), all, "a word names two formats");
    }

    #[test]
    fn names_of_checkpoints_tell_their_format() {
        let cases = [
            ("Qwen/Qwen3-32B-AWQ", Precision::Int4),
            ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int8", Precision::Int8),
            ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", Precision::Int4),
            (
                "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4",
                Precision::Int4,
            ),
            ("nvidia/DeepSeek-R1-FP4", Precision::Nvfp4),
            ("nvidia/DeepSeek-R1-0528-NVFP4-v2", Precision::Nvfp4),
            (
                "RedHatAI/Llama-3.3-70B-Instruct-FP8-dynamic",
                Precision::Fp8,
            ),
            (
                "RedHatAI/Llama-3.3-70B-Instruct-quantized.w8a8",
                Precision::W8a8,
            ),
            ("RedHatAI/Qwen3-8B-quantized.w4a16", Precision::Int4),
            ("x/Llama-W8A8-FP8", Precision::Fp8),
            ("x/Qwen3-4B-w8a16_awq", Precision::Int8),
            ("x/Qwen3-4B-w8a8_smooth_gptq", Precision::W8a8),
            ("unsloth/Qwen3-8B-bnb-4bit", Precision::Nf4),
            ("Intel/Qwen3-8B-int4-AutoRound", Precision::Int4),
            ("amd/Llama-3.3-70B-Instruct-MXFP4", Precision::Mxfp4),
            (
                "/hub/models--Qwen--Qwen3-32B-FP8/snapshots/0a1b",
                Precision::Fp8,
            ),
        ];
        for (name, format) in cases {
            assert_eq!(named(name), Named::Format(format), "{name}");
        }
        for name in [
            "meta-llama/Llama-3.1-8B",
            "/home/fp8-study/awq/plain",
            "/models/gptq/Llama-3.1-8B/",
            "nvidia/Nemotron-3-Nano-30B-A3B-BF16",
        ] {
            assert_eq!(named(name), Named::Nothing, "{name}");
        }
        for name in [
            "bartowski/Qwen3-32B-GGUF",
            "Qwen3-32B-Q4_K_M",
            "mlx-community/Qwen3-8B-4bit",
            "turboderp/Llama-3.1-8B-exl2",
            "RedHatAI/DeepSeek-V4-Flash-NVFP4-FP8",
        ] {
            assert!(matches!(named(name), Named::Unknown(_)), "{name}");
        }
    }

    #[test]
    fn weight_only_kernels_are_told_from_native_ones() {
        let of = |precision: Precision, engine: &str, capability| {
            precision.format().kernels(engine, capability)
        };
        assert_eq!(of(Precision::Fp8, "vllm", 80), Some(Kernels::WeightOnly));
        assert_eq!(of(Precision::Fp8, "vllm", 90), Some(Kernels::Native));
        assert_eq!(of(Precision::Fp8, "sglang", 80), None);
        assert_eq!(of(Precision::Nvfp4, "vllm", 90), Some(Kernels::WeightOnly));
        assert_eq!(of(Precision::Nvfp4, "vllm", 100), Some(Kernels::Native));
        assert_eq!(of(Precision::Nvfp4, "tensorrt-llm", 90), None);
        assert_eq!(of(Precision::Int4, "vllm", 90), Some(Kernels::WeightOnly));
    }
}
