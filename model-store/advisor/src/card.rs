//! Model cards: the architecture of a model, as far as its speed and memory depend on it.

use serde::{Deserialize, Serialize};

use super::case::Precision;

/// Architecture of one model. Zero means "has none" for the counts of optional parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// Canonical name, as on the Hugging Face hub.
    pub name: String,
    /// Other names of the same architecture.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Lineage, such as `llama` or `qwen`; the support check's first axis.
    pub family: String,
    /// Parameters in all.
    pub params: f64,
    /// Parameters used per token.
    pub active_params: f64,
    /// Transformer layers.
    pub layers: u32,
    /// Model width.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key-value heads.
    pub kv_heads: u32,
    /// Width of one head.
    pub head_dim: u32,
    /// Width of the dense feed-forward layer.
    pub intermediate: u32,
    /// Vocabulary.
    pub vocab: u32,
    /// Longest context, tokens.
    pub max_context: u32,
    /// Routed experts of a layer.
    #[serde(default)]
    pub experts: u32,
    /// Routed experts that one token uses.
    #[serde(default)]
    pub experts_per_token: u32,
    /// Width of one expert.
    #[serde(default)]
    pub moe_intermediate: u32,
    /// Experts that every token uses.
    #[serde(default)]
    pub shared_experts: u32,
    /// Leading layers without experts in a mixture-of-experts model.
    #[serde(default)]
    pub dense_layers: u32,
    /// Rank of the compressed KV cache (multi-head latent attention).
    #[serde(default)]
    pub kv_lora_rank: u32,
    /// Rotary part kept beside it.
    #[serde(default)]
    pub rope_head_dim: u32,
    /// Attention window, tokens.
    #[serde(default)]
    pub sliding_window: u32,
    /// Layers that use the window.
    #[serde(default)]
    pub sliding_layers: u32,
    /// Encoder layers of an encoder-decoder model.
    #[serde(default)]
    pub encoder_layers: u32,
    /// Formats for which well-known checkpoints exist.
    #[serde(default)]
    pub checkpoints: Vec<String>,
    /// Where the numbers come from.
    #[serde(default)]
    pub source: String,
}

/// Why no card could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The text is no JSON object.
    #[error("config.json is not a JSON object: {0}")]
    NotJson(String),
    /// A key that the architecture cannot be known without is missing or out of range.
    #[error("config.json has no usable `{0}`")]
    Missing(&'static str),
    /// A key says something about the architecture that is not understood.
    #[error("`{0}` of config.json says something that is not understood here")]
    NotUnderstood(String),
}

impl ModelCard {
    /// Bytes of KV cache that one token takes over the whole model, at `bytes` per value, for a
    /// context of `context` tokens: layers with a sliding window stop growing at the window.
    ///
    /// Standard attention: 2 x layers x KV heads x head width; latent attention (DeepSeek-V2,
    /// arXiv 2405.04434): layers x (rank + rotary part).
    pub fn kv_bytes_per_token(&self, bytes: f64, context: f64) -> f64 {
        let per_layer = self.kv_values_per_layer();
        let window = f64::from(self.sliding_window);
        let windowed = f64::from(self.sliding_layers.min(self.layers));
        let full = f64::from(self.layers) - windowed;
        let share = if window > 0.0 && context > window {
            window / context
        } else {
            1.0
        };
        per_layer * bytes * (full + windowed * share)
    }

    /// True where the other has the same layers, widths, heads and experts: a tuning of the same model, or the model itself, whose
    /// vocabulary may have grown by a hundredth.
    pub fn is_same_architecture(&self, other: &Self) -> bool {
        let shape = |c: &Self| {
            let moe = [c.experts, c.experts_per_token, c.moe_intermediate];
            let kv = [c.kv_heads, c.head_dim, c.kv_lora_rank, c.sliding_layers];
            ([c.layers, c.hidden, c.heads, c.encoder_layers], kv, moe)
        };
        let vocab = f64::from(self.vocab) / f64::from(other.vocab.max(1));
        let dense = self.is_moe() || self.intermediate == other.intermediate;
        shape(self) == shape(other) && dense && (0.99..=1.01).contains(&vocab)
    }

    fn kv_values_per_layer(&self) -> f64 {
        if self.kv_lora_rank > 0 {
            f64::from(self.kv_lora_rank + self.rope_head_dim)
        } else {
            2.0 * f64::from(self.kv_heads) * f64::from(self.head_dim)
        }
    }

    /// How many of `tp` GPUs hold different KV values: with more GPUs than KV heads the heads are
    /// replicated, and latent attention counts as one head.
    pub fn kv_shards(&self, tp: u32) -> u32 {
        if self.kv_lora_rank > 0 {
            1
        } else {
            tp.min(self.kv_heads).max(1)
        }
    }

    /// True for a mixture-of-experts model.
    pub const fn is_moe(&self) -> bool {
        self.experts > 1
    }

    /// Parameters that one decode step reads when `batch` sequences are in flight: all dense
    /// ones, and the experts that at least one of the tokens was routed to, taken as uniform:
    /// `experts x (1 - (1 - k/experts)^batch)`.
    pub fn params_touched(&self, batch: f64) -> f64 {
        if !self.is_moe() {
            return self.params;
        }
        let (experts, used) = (f64::from(self.experts), f64::from(self.experts_per_token));
        let per_expert = (self.params - self.active_params) / (experts - used).max(1.0);
        let dense = self.active_params - per_expert * used;
        let hit = experts * (1.0 - (1.0 - used / experts).powf(batch.max(1.0)));
        dense + per_expert * hit
    }
}

/// The key under which names of one model meet: lower case, the owner before `/` and marks of
/// tuning or format (`-instruct`, `-hf`, `-fp8`) taken off.
pub fn name_key(name: &str) -> String {
    const MARKS: [&str; 17] = [
        "-instruct",
        "-chat",
        "-hf",
        "-it",
        "-base",
        "-fp8",
        "-awq",
        "-gptq",
        "-int4",
        "-int8",
        "-nvfp4",
        "-w4a16",
        "-w8a8",
        "-bf16",
        "-fp16",
        "-dynamic",
        "-quantized",
    ];
    let tail = name
        .trim()
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let mut key = tail.to_ascii_lowercase().replace([' ', '_'], "-");
    while let Some(mark) = MARKS
        .iter()
        .find(|m| key.ends_with(*m) && key.len() > m.len())
    {
        key.truncate(key.len() - mark.len());
    }
    key.strip_prefix("meta-").map_or(key.clone(), str::to_owned)
}

/// The weight format that a checkpoint's name states (`...-FP8`, `...-AWQ`).
pub fn precision_in_name(name: &str) -> Option<Precision> {
    let lower = name.to_ascii_lowercase().replace('_', "-");
    let marks = [
        ("nvfp4", Precision::Nvfp4),
        ("mxfp4", Precision::Mxfp4),
        ("fp8", Precision::Fp8),
        ("awq", Precision::Int4),
        ("gptq", Precision::Int4),
        ("w4a16", Precision::Int4),
        ("int4", Precision::Int4),
        ("w8a8", Precision::W8a8),
        ("int8", Precision::Int8),
    ];
    let parts: Vec<&str> = lower.split(['-', '/', '.']).collect();
    marks
        .into_iter()
        .find(|(m, _)| parts.contains(m))
        .map(|(_, p)| p)
}

/// Cards by every name they are known under.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalogue {
    cards: Vec<ModelCard>,
    /// Name key and index into `cards`, sorted by key.
    keys: Vec<(String, u32)>,
}

impl Catalogue {
    /// A catalogue of these cards; where two share a name, the earlier one has it.
    pub fn new(cards: Vec<ModelCard>) -> Self {
        let mut keys: Vec<(String, u32)> = Vec::new();
        for (index, card) in (0u32..).zip(&cards) {
            for name in std::iter::once(&card.name).chain(&card.aliases) {
                keys.push((exact_key(name), index));
                keys.push((name_key(name), index));
            }
        }
        keys.sort();
        keys.dedup_by(|b, a| a.0 == b.0);
        Self { cards, keys }
    }

    /// The cards that the product knows by itself, from published `config.json` files.
    ///
    /// # Panics
    /// Never: the built-in text is read by a test.
    pub fn built_in() -> Self {
        let cards = serde_json::from_str(include_str!("../data/cards.json"));
        Self::new(cards.unwrap_or_default())
    }

    /// The card of a name: the exact name first, then the name without owner and marks.
    pub fn find(&self, name: &str) -> Option<&ModelCard> {
        let at = |key: &str| {
            self.keys
                .binary_search_by(|(k, _)| k.as_str().cmp(key))
                .ok()
        };
        let found = at(&exact_key(name)).or_else(|| at(&name_key(name)))?;
        self.keys
            .get(found)
            .and_then(|(_, i)| self.cards.get(*i as usize))
    }

    /// A card of the same architecture, of several the one with the same longest context.
    pub fn of_architecture(&self, card: &ModelCard) -> Option<&ModelCard> {
        let same = self.cards.iter().filter(|c| c.is_same_architecture(card));
        same.min_by_key(|c| c.max_context != card.max_context)
    }

    /// The known name that is nearest to an unknown one, for a hint; `None` where none is near
    /// enough to have been meant (a third of its letters differ).
    pub fn nearest_name(&self, name: &str) -> Option<&str> {
        let key = name_key(name);
        let (distance, found) = self
            .cards
            .iter()
            .map(|c| (edit_distance(&key, &name_key(&c.name)), c.name.as_str()))
            .min()?;
        near_enough(distance, &key).then_some(found)
    }

    /// All cards.
    pub fn cards(&self) -> &[ModelCard] {
        &self.cards
    }
}

/// The known word that is nearest to an unknown one, or begins with it; `None` where none is near
/// enough to have been meant (more than half of its letters differ).
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |k: &str| match k.starts_with(word) {
        true => 1,
        false => edit_distance(word, k),
    };
    let (distance, found) = known.map(|k| (distance(k), k)).min()?;
    (distance * 2 <= word.chars().count()).then_some(found)
}

fn near_enough(distance: usize, word: &str) -> bool {
    distance * 3 <= word.chars().count()
}

fn exact_key(name: &str) -> String {
    name.trim().to_ascii_lowercase()
}

/// Levenshtein distance over at most the first 64 characters of each.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(&b) {
            let step = diagonal + usize::from(ca != *cb);
            diagonal = *cell;
            left = step.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
