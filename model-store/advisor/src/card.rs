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
    /// True where embedding and output head are one matrix.
    #[serde(default)]
    pub tied: bool,
    /// True where a feed-forward layer has two matrices, and not three.
    #[serde(default)]
    pub plain_ffn: bool,
    /// Width of the experts together that every token uses.
    #[serde(default)]
    pub shared_intermediate: u32,
    /// Rank of the queries (latent attention); 0 = they are full.
    #[serde(default)]
    pub q_lora_rank: u32,
    /// Width of a key without positions (latent attention).
    #[serde(default)]
    pub nope_head_dim: u32,
    /// Width of a value, where it is not that of a head.
    #[serde(default)]
    pub value_head_dim: u32,
    /// Width of the keys by which an indexer picks tokens (DeepSeek-V3.2); 0 = none.
    #[serde(default)]
    pub index_head_dim: u32,
    /// Layers that keep such keys; 0 = all.
    #[serde(default)]
    pub index_layers: u32,
    /// Values that a layer without a window keeps for a token, where they are not those of its heads.
    #[serde(default)]
    pub kv_values: u32,
    /// Values that a layer with a window keeps for a token, where they are not the others'.
    #[serde(default)]
    pub window_kv_values: u32,
    /// Layers without a cache that grows: recurrent ones, those that read another layer's, feed-forward ones.
    #[serde(default)]
    pub cacheless_layers: u32,
    /// Values that layers with windows keep beside them for a token, all layers together (DeepSeek-V4).
    #[serde(default)]
    pub compressed_values: f64,
    /// Layers with a state of fixed size.
    #[serde(default)]
    pub state_layers: u32,
    /// Bytes of those states for one sequence, all layers together.
    #[serde(default)]
    pub state_bytes: f64,
    /// Layers without a feed-forward part.
    #[serde(default)]
    pub ffnless_layers: u32,
    /// Parameters of what mixes tokens, all layers together; 0 = not known apart.
    #[serde(default)]
    pub attention_params: f64,
    /// Parameters of the routed experts, all layers together; 0 = not known apart.
    #[serde(default)]
    pub expert_params: f64,
    /// Names whose longest context is another one: tunings for longer texts, or checkpoints that were made before it was stretched.
    #[serde(default)]
    pub contexts: Vec<(String, u32)>,
    /// Parameters of a tower for images, which are in `params` and not in `active_params`.
    #[serde(default)]
    pub tower_params: f64,
    /// What the weights of this very checkpoint take, where its files say so.
    #[serde(default)]
    pub stored: Option<Stored>,
}

/// What the weights of one checkpoint take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Its format; `None` for 16 bits.
    pub precision: Option<Precision>,
    /// Bytes of all weights.
    pub bytes: f64,
}

/// Why no card could be made.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
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
    /// An architecture outside the table.
    #[error("config.json is of {0}, which is not among the architectures that are known here")]
    Unknown(String),
    /// No model that generates text.
    #[error("config.json is of {0}")]
    NotGenerating(&'static str),
    /// Weights in a format that is not known.
    #[error("unknown weight format: {file} says {says}")]
    Format {
        /// Which file says it.
        file: String,
        /// What it says.
        says: String,
    },
    /// Shape and weights do not belong together.
    #[error("unknown weight format: {file} counts {:.1} GB of weights, the shape and format of config.json make {:.1} GB", counted / 1e9, reckoned / 1e9)]
    Contradiction {
        /// Which file counts.
        file: &'static str,
        /// Bytes that it counts.
        counted: f64,
        /// Bytes that the shape makes.
        reckoned: f64,
    },
    /// An adapter, with the name of its base.
    #[error("this is an adapter (LoRA) of `{0}`, not a model: name the base model")]
    Adapter(String),
    /// Weights as llama.cpp packs them.
    #[error("unknown weight format: these are GGUF files")]
    Gguf,
}

impl ModelCard {
    /// Bytes of KV cache that one token takes over the whole model, at `bytes` per value, for a
    /// context of `context` tokens: layers with a sliding window stop growing at the window. States of
    /// fixed size are not in it: [`Self::state_bytes`].
    ///
    /// Standard attention: 2 x layers x KV heads x head width; latent attention (DeepSeek-V2,
    /// arXiv 2405.04434): layers x (rank + rotary part); an indexer keeps 8-bit keys and a scale of
    /// 32 bits beside (DeepSeek-V3.2).
    pub fn kv_bytes_per_token(&self, bytes: f64, context: f64) -> f64 {
        let window = f64::from(self.sliding_window);
        let keeping = self.layers.saturating_sub(self.cacheless_layers);
        let windowed = self.sliding_layers.min(keeping);
        let share = if window > 0.0 && context > window {
            window / context
        } else {
            1.0
        };
        let values = |own: u32| match own {
            0 => self.usual_kv_values(),
            own => own,
        };
        let full = f64::from(keeping - windowed) * f64::from(values(self.kv_values));
        let near = f64::from(windowed) * f64::from(values(self.window_kv_values));
        let indexed = match self.index_head_dim {
            0 => 0.0,
            width => {
                let layers = match self.index_layers {
                    0 => keeping,
                    some => some,
                };
                f64::from(layers) * (f64::from(width) + 4.0)
            }
        };
        (full + near * share + self.compressed_values) * bytes + indexed
    }

    /// Bytes of all weights in a format: as the checkpoint's own files count them, else every matrix but
    /// embedding and head in the format, and those two in 16 bits.
    pub fn weight_bytes(&self, precision: Precision) -> f64 {
        let stored = self
            .stored
            .filter(|s| s.precision.unwrap_or(Precision::Bf16).pooled() == precision.pooled());
        if let Some(stored) = stored {
            return stored.bytes;
        }
        let format = precision.format();
        let narrow = match format.experts_only && self.expert_params > 0.0 {
            true => self.expert_params,
            false => self.params - self.embedding_params() - self.tower_params,
        };
        let narrow = narrow.clamp(0.0, self.params);
        // What is not in a narrow format is in 16 bits, or in the wider one.
        let wide = (format.bits() / 8.0).max(2.0);
        narrow * format.bits() / 8.0 + (self.params - narrow) * wide
    }

    /// Parameters of embedding and output head.
    pub fn embedding_params(&self) -> f64 {
        let table = f64::from(self.vocab) * f64::from(self.hidden);
        let both = if self.tied { table } else { 2.0 * table };
        both.min(self.params)
    }

    /// True where the other has the same layers, widths, heads and experts: a tuning of the same model, or the model itself, whose
    /// vocabulary may have grown by a hundredth.
    pub fn is_same_architecture(&self, other: &Self) -> bool {
        let shape = |c: &Self| {
            let moe = [c.experts, c.experts_per_token, c.moe_intermediate];
            let kv = [c.kv_heads, c.head_dim, c.kv_lora_rank, c.sliding_layers];
            let other = [c.cacheless_layers, c.state_layers, c.kv_values];
            (
                [c.layers, c.hidden, c.heads, c.encoder_layers],
                kv,
                moe,
                other,
            )
        };
        let vocab = f64::from(self.vocab) / f64::from(other.vocab.max(1));
        let dense = self.is_moe() || self.intermediate == other.intermediate;
        shape(self) == shape(other) && dense && (0.99..=1.01).contains(&vocab)
    }

    /// Values that attention with these heads keeps for a token in one layer.
    pub(super) fn usual_kv_values(&self) -> u32 {
        match self.kv_lora_rank {
            0 => self
                .kv_heads
                .saturating_mul(self.head_dim)
                .saturating_mul(2),
            rank => rank.saturating_add(self.rope_head_dim),
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
            return self.active_params;
        }
        let (experts, used) = (f64::from(self.experts), f64::from(self.experts_per_token));
        let routed = self.params - self.tower_params - self.active_params;
        let per_expert = routed / (experts - used).max(1.0);
        let dense = self.active_params - per_expert * used;
        let hit = experts * (1.0 - (1.0 - used / experts).powf(batch.max(1.0)));
        dense + per_expert * hit
    }
}
