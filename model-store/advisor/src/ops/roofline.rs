//! What an operation would take at the data sheet's rates, and where on its surface it lies.
//!
//! A surface holds `ln(measured / roofline)`. The same functions serve the fit of the surfaces and
//! the prediction, so that neither can drift from the other. Roofline: S. Williams et al., CACM
//! 52(4), 2009, rounded where the two roofs meet, plus a launch of a few microseconds.

/// Rates that an operation runs at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rates {
    /// Memory bandwidth, bytes/s.
    pub bandwidth: f64,
    /// Matrix rate at the operation's format, operations/s.
    pub peak: f64,
    /// Bytes of one weight.
    pub weight_bytes: f64,
}

/// The two roofs: arithmetic and memory, s.
fn roofs(arithmetic: f64, memory: f64) -> f64 {
    (arithmetic.powi(4) + memory.powi(4)).sqrt().sqrt()
}

/// Seconds of a product of m x k by k x n, and its place.
pub fn gemm(r: Rates, [m, n, k]: [f64; 3]) -> (f64, [f64; 3]) {
    let arithmetic = 2.0 * m * n * k / r.peak;
    let memory = (n * k * r.weight_bytes + (m * k + m * n) * 2.0) / r.bandwidth;
    (
        2.5e-6 + roofs(arithmetic, memory),
        [m.log2(), n.log2(), k.log2()],
    )
}

/// Attention of prompts: `tokens` new ones of each of `batch` prompts, `before` that are in the
/// cache already, heads of one GPU, width of a head, window (0 = none), bytes of a KV value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Context {
    /// Prompts.
    pub batch: f64,
    /// New tokens of each.
    pub tokens: f64,
    /// Tokens of each that are in the cache already.
    pub before: f64,
    /// Query heads of one GPU.
    pub heads: f64,
    /// Key-value heads of one GPU.
    pub kv_heads: f64,
    /// Width of a head.
    pub head_dim: f64,
    /// Attention window, tokens; 0 = none.
    pub window: f64,
    /// Bytes of a KV value.
    pub kv_bytes: f64,
}

/// Pairs of tokens that a window of `w` lets `n` tokens attend to.
fn pairs(n: f64, w: f64) -> f64 {
    let reach = n.min(w);
    n * reach - reach * reach / 2.0
}

impl Context {
    /// Seconds at the data sheet's rates, and the place.
    pub fn roofline(&self, r: Rates) -> (f64, [f64; 4]) {
        let whole = self.tokens + self.before;
        let window = if self.window > 0.0 {
            self.window
        } else {
            f64::INFINITY
        };
        let work = pairs(whole, window) - pairs(self.before, window);
        let arithmetic = 4.0 * self.batch * work * self.heads * self.head_dim / r.peak;
        let kv = 2.0 * whole.min(self.tokens + window) * self.kv_heads * self.kv_bytes * 2.0;
        let memory =
            self.batch * (self.tokens * self.heads * 4.0 + kv) * self.head_dim / r.bandwidth;
        let narrow = (whole / window.max(1.0)).max(1.0).log2().min(6.0);
        (
            6e-6 + (arithmetic * arithmetic + memory * memory).sqrt(),
            [
                whole.log2(),
                (self.batch * self.heads).log2(),
                self.head_dim.log2(),
                narrow,
            ],
        )
    }
}

/// Attention of one new token of each sequence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Generation {
    /// Sequences.
    pub batch: f64,
    /// Tokens of each in the cache.
    pub length: f64,
    /// Query heads of one GPU.
    pub heads: f64,
    /// Key-value heads of one GPU.
    pub kv_heads: f64,
    /// Width of a head.
    pub head_dim: f64,
    /// Attention window, tokens; 0 = none.
    pub window: f64,
    /// Bytes of a KV value.
    pub kv_bytes: f64,
}

impl Generation {
    /// Seconds at the data sheet's rates, and the place.
    pub fn roofline(&self, r: Rates) -> (f64, [f64; 4]) {
        let length = if self.window > 0.0 {
            self.length.min(self.window)
        } else {
            self.length
        };
        let kv = self.batch * length * self.kv_heads * self.head_dim * 2.0 * self.kv_bytes;
        let query = self.batch * self.heads * self.head_dim * 4.0;
        (
            6e-6 + (kv + query) / r.bandwidth,
            [
                length.max(1.0).log2(),
                (self.batch * self.kv_heads).log2(),
                (self.heads / self.kv_heads).log2(),
                self.head_dim.log2(),
            ],
        )
    }
}

/// The routed experts of one layer on one GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Experts {
    /// Tokens of the step.
    pub tokens: f64,
    /// Width of the model.
    pub hidden: f64,
    /// Width of an expert on one GPU.
    pub width: f64,
    /// Experts that one token uses.
    pub used: f64,
    /// Experts of the layer.
    pub experts: f64,
    /// GPUs over which the experts are spread.
    pub spread: f64,
}

impl Experts {
    /// Seconds at the data sheet's rates, and the place. Experts that the step reads:
    /// `experts / spread x (1 - (1 - used / experts)^tokens)`, routing taken as uniform.
    pub fn roofline(&self, r: Rates) -> (f64, [f64; 4]) {
        let pairs = self.tokens * self.used / self.spread;
        let unread = (1.0 - self.used / self.experts).max(0.0).powf(self.tokens);
        let touched = self.experts / self.spread * (1.0 - unread);
        let weights = touched * 3.0 * self.hidden * self.width * r.weight_bytes;
        let memory = (weights + pairs * self.hidden * 6.0) / r.bandwidth;
        let arithmetic = 6.0 * pairs * self.hidden * self.width / r.peak;
        (
            15e-6 + roofs(arithmetic, memory),
            [
                (pairs / touched.max(1e-9)).max(1.0).log2(),
                touched.max(0.5).log2(),
                self.width.log2(),
                self.hidden.log2(),
            ],
        )
    }
}

/// A layer of latent attention with its projections, of the shape that was measured (DeepSeek-V3:
/// hidden 7168, query rank 1536, KV rank 512 + 64, heads of 128 + 64; arXiv 2412.19437).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latent {
    /// Heads of one GPU.
    pub heads: f64,
    /// Sequences.
    pub batch: f64,
    /// New tokens of each prompt, or tokens in the cache for a new token.
    pub length: f64,
    /// Bytes of a KV value.
    pub kv_bytes: f64,
}

impl Latent {
    /// Seconds at the data sheet's rates, and the place. `generation`: one new token a sequence;
    /// `peak_16` is the 16-bit rate at which the attention itself runs.
    pub fn roofline(&self, r: Rates, peak_16: f64, generation: bool) -> (f64, [f64; 3]) {
        let Self {
            heads,
            batch,
            length,
            kv_bytes,
        } = *self;
        let weights = 7168.0 * 1536.0
            + 1536.0 * heads * 192.0
            + 7168.0 * 576.0
            + 512.0 * heads * 256.0
            + heads * 128.0 * 7168.0;
        let tokens = if generation { batch } else { batch * length };
        let linear = (2.0 * weights * tokens / r.peak).max(weights * r.weight_bytes / r.bandwidth);
        let attention = if generation {
            let read = batch * length * 576.0 * kv_bytes / r.bandwidth;
            read.max(2.0 * batch * length * heads * (576.0 + 512.0) / peak_16)
        } else {
            let read = batch * length * heads * (192.0 * 2.0 + 128.0 * 2.0) * 2.0 / r.bandwidth;
            let work = batch * length * length / 2.0 * heads * 2.0 * (192.0 + 128.0);
            (work / peak_16).max(read)
        };
        (
            30e-6 + linear + attention,
            [heads.log2(), batch.log2(), length.max(2.0).log2()],
        )
    }
}
