//! One layer of a model: what its mixer and its feed-forward part hold, and what they keep of a sequence. Figures are counts of
//! parameters and of cached values; norms and biases are left out.

/// Attention of one layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Attention {
    /// Parameters.
    pub params: f64,
    /// Values kept for a token; 0 where the layer has no cache of its own.
    pub kv_values: u32,
    /// Tokens that it looks back; 0 = all.
    pub window: u32,
    /// Beside the window, one entry is kept for so many tokens; 0 = none.
    pub compress: u32,
    /// Values of such an entry.
    pub compressed_values: u32,
}

/// A mixer with a state of fixed size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct State {
    /// Parameters.
    pub params: f64,
    /// Bytes for one sequence.
    pub bytes: f64,
}

/// What mixes the tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Mixer {
    /// Attention, where there is some.
    pub attention: Option<Attention>,
    /// A recurrent part, where there is one.
    pub state: Option<State>,
}

/// The feed-forward part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Ffn {
    /// Parameters that every token uses: dense layers, shared experts, routers.
    pub every: f64,
    /// Parameters of one routed expert.
    pub expert: f64,
    /// Routed experts; 0 = none.
    pub experts: u32,
    /// Of which a token uses so many.
    pub used: u32,
}

/// One layer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Layer {
    /// Mixer.
    pub mixer: Mixer,
    /// Feed-forward part.
    pub ffn: Ffn,
}

impl Mixer {
    pub(super) fn attention(attention: Attention) -> Self {
        Self {
            attention: Some(attention),
            state: None,
        }
    }

    pub(super) fn state(state: State) -> Self {
        Self {
            attention: None,
            state: Some(state),
        }
    }

    pub(super) fn params(&self) -> f64 {
        self.attention.map_or(0.0, |a| a.params) + self.state.map_or(0.0, |s| s.params)
    }
}

impl Ffn {
    pub(super) fn all(&self) -> f64 {
        self.every + f64::from(self.experts) * self.expert
    }

    pub(super) fn active(&self) -> f64 {
        self.every + f64::from(self.used) * self.expert
    }
}

/// Widths of attention in groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Grouped {
    /// Width of the model.
    pub hidden: f64,
    /// Query heads.
    pub heads: f64,
    /// Key-value heads.
    pub kv_heads: u32,
    /// Width of a query and of a key.
    pub head_dim: u32,
    /// Width of a value.
    pub value_dim: u32,
    /// True where each head's output is multiplied by a gate.
    pub gate: bool,
}

impl Grouped {
    /// Queries, keys, values and output: `h n d`, `h k d`, `h k v`, `n v h`.
    pub(super) fn attention(&self, window: u32) -> Attention {
        let (d, v) = (f64::from(self.head_dim), f64::from(self.value_dim));
        let query = self.hidden * self.heads * d * if self.gate { 2.0 } else { 1.0 };
        let keys = self.hidden * f64::from(self.kv_heads) * (d + v);
        Attention {
            params: query + keys + self.heads * v * self.hidden,
            kv_values: self
                .kv_heads
                .saturating_mul(self.head_dim.saturating_add(self.value_dim)),
            window,
            ..Attention::default()
        }
    }
}

/// Widths of latent attention (DeepSeek-V2, arXiv 2405.04434), and of the indexer that picks tokens (DeepSeek-V3.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Latent {
    /// Width of the model.
    pub hidden: f64,
    /// Heads.
    pub heads: f64,
    /// Rank of the queries; 0 = they are full.
    pub q_rank: f64,
    /// Rank of keys and values.
    pub kv_rank: u32,
    /// Width of a key without positions.
    pub nope: f64,
    /// Width of a key with positions.
    pub rope: u32,
    /// Width of a value.
    pub value: f64,
    /// Heads and width of the indexer; 0 = none.
    pub index: [f64; 2],
}

impl Latent {
    pub(super) fn attention(&self) -> Attention {
        let (rank, rope) = (f64::from(self.kv_rank), f64::from(self.rope));
        let queries = self.heads * (self.nope + rope);
        let query = match self.q_rank > 0.0 {
            true => self.hidden * self.q_rank + self.q_rank * queries,
            false => self.hidden * queries,
        };
        let [index_heads, index_dim] = self.index;
        let indexer =
            self.q_rank * index_heads * index_dim + self.hidden * (index_dim + index_heads);
        Attention {
            params: query
                + self.hidden * (rank + rope)
                + rank * self.heads * (self.nope + self.value)
                + self.heads * self.value * self.hidden
                + indexer,
            kv_values: self.kv_rank.saturating_add(self.rope),
            ..Attention::default()
        }
    }
}

/// Widths of a Mamba-2 mixer (arXiv 2405.21060).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mamba2 {
    /// Width of the model.
    pub hidden: f64,
    /// Heads and width of one.
    pub heads: [f64; 2],
    /// Groups and width of a state.
    pub groups: [f64; 2],
    /// Taps of the convolution.
    pub taps: f64,
    /// Bytes of one value of the state.
    pub bytes: f64,
}

impl Mamba2 {
    pub(super) fn state(&self) -> State {
        let [n, d] = self.heads;
        let [groups, width] = self.groups;
        let inner = n * d;
        let convolved = inner + 2.0 * groups * width;
        State {
            params: self.hidden * (inner + convolved + n)
                + convolved * self.taps
                + inner * (self.hidden + 1.0)
                + 3.0 * n,
            bytes: convolved * (self.taps - 1.0) * 2.0 + inner * width * self.bytes,
        }
    }
}

/// Widths of a Mamba-1 mixer (arXiv 2312.00752): model, inner, state, rank of the step, taps, bytes of a value of the state.
pub(super) fn mamba1([hidden, inner, state, rank, taps, bytes]: [f64; 6]) -> State {
    State {
        params: hidden * 2.0 * inner
            + inner * taps
            + inner * (rank + 2.0 * state)
            + rank * inner
            + inner * (state + 2.0)
            + inner * hidden,
        bytes: inner * (taps - 1.0) * 2.0 + inner * state * bytes,
    }
}

/// The gated delta rule (Qwen3-Next): model; key heads and width; value heads and width; taps; bytes of a value of the state.
pub(super) fn delta(hidden: f64, keys: [f64; 2], values: [f64; 2], taps: f64, bytes: f64) -> State {
    let [key_heads, key_dim] = keys;
    let [value_heads, value_dim] = values;
    let (key, value) = (key_heads * key_dim, value_heads * value_dim);
    let convolved = 2.0 * key + value;
    State {
        params: hidden * (2.0 * key + 2.0 * value + 2.0 * value_heads)
            + convolved * taps
            + value * hidden,
        bytes: convolved * (taps - 1.0) * 2.0 + value_heads * key_dim * value_dim * bytes,
    }
}

/// Kimi delta attention: model, heads, width of a head, taps. The state is kept in 32 bits.
pub(super) fn kimi_delta([hidden, heads, dim, taps]: [f64; 4]) -> State {
    let inner = heads * dim;
    let gates = 2.0 * (hidden * dim + dim * inner) + hidden * heads;
    State {
        params: 4.0 * hidden * inner + 3.0 * inner * taps + gates,
        bytes: 3.0 * inner * (taps - 1.0) * 2.0 + heads * dim * dim * 4.0,
    }
}

/// Lightning attention (MiniMax-Text-01): model, heads, width of a head, bytes of a value of the state.
pub(super) fn lightning([hidden, heads, dim, bytes]: [f64; 4]) -> State {
    State {
        params: 5.0 * hidden * heads * dim,
        bytes: heads * dim * dim * bytes,
    }
}

/// A short convolution (LFM2): model, taps.
pub(super) fn convolution([hidden, taps]: [f64; 2]) -> State {
    State {
        params: 4.0 * hidden * hidden + hidden * taps,
        bytes: hidden * (taps - 1.0) * 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nemotron-H-56B: 54 Mamba layers are 23.7 of its 56 billion parameters.
    #[test]
    fn a_mamba_layer_of_nemotron_h_has_438_million_parameters() {
        let mixer = Mamba2 {
            hidden: 8192.0,
            heads: [256.0, 64.0],
            groups: [8.0, 256.0],
            taps: 4.0,
            bytes: 4.0,
        };
        let state = mixer.state();
        assert!((state.params / 438.6e6 - 1.0).abs() < 0.01, "{state:?}");
        assert!((state.bytes - (20480.0 * 3.0 * 2.0 + 16384.0 * 256.0 * 4.0)).abs() < 1.0);
    }

    /// DeepSeek-V3: 187 million parameters of attention in a layer, 576 values kept for a token.
    #[test]
    fn a_latent_layer_of_deepseek_v3_keeps_576_values() {
        let latent = Latent {
            hidden: 7168.0,
            heads: 128.0,
            q_rank: 1536.0,
            kv_rank: 512,
            nope: 128.0,
            rope: 64,
            value: 128.0,
            index: [0.0, 0.0],
        };
        let attention = latent.attention();
        assert_eq!(attention.kv_values, 576);
        assert!((attention.params / 187.1e6 - 1.0).abs() < 0.01);
    }
}
