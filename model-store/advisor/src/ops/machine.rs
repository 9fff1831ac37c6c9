//! One model on one kind of GPU: how long each operation of a step takes.

use super::grid::Grid;
use super::roofline::{Context, Experts, Generation, Latent, Rates, gemm};
use super::table::{Op, Surfaces, System, format};
use crate::case::Precision;
use crate::gpu::GpuSpec;
use crate::setup::Setup;

/// How the products of one weight format run.
#[derive(Clone, Copy)]
struct Way {
    grid: Option<&'static Grid>,
    rates: Rates,
}

/// Factor on the arithmetic of weight-only kernels that were not measured, beyond a 16-bit product:
/// weights are widened in registers (Marlin, Frantar et al., arXiv 2408.11743, reports near-ideal
/// speed-ups at small batches and a loss at large ones).
const WIDENING: f64 = 1.15;

/// Latent attention on a GPU where it was not measured takes as many times its roofline.
const LATENT_UNMEASURED: f64 = 2.2;

/// Hidden width of the model whose latent attention was measured.
const LATENT_HIDDEN: f64 = 7168.0;

/// Tensors read and written a token and layer beside the products: norms, rotary embedding,
/// activation, residuals; in units of the hidden width.
const ELEMENTWISE: f64 = 12.0;

/// Seconds of a layer's small kernels.
const LAYER_S: f64 = 6e-6;

/// The system whose measured surfaces stand for a GPU: itself, or the nearest of its generation.
pub fn system_of(gpu: &GpuSpec) -> System {
    match gpu.capability {
        100.. => System::B200,
        90 if gpu.bandwidth_gb_s > 4400.0 => System::H200,
        90 => System::H100,
        86..=89 => System::L40s,
        1..=85 => System::A100,
        _ => System::H100,
    }
}

/// Time of a step, split into the routed experts and everything else, s.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Split {
    /// Everything but the routed experts.
    pub rest: f64,
    /// Routed experts.
    pub experts: f64,
}

impl Split {
    fn times(self, by: f64) -> Self {
        Self {
            rest: self.rest * by,
            experts: self.experts * by,
        }
    }

    /// Both parts together.
    pub fn sum(self) -> f64 {
        self.rest + self.experts
    }
}

/// A model on its GPUs. Every time is in seconds.
pub struct Machine<'a> {
    s: &'a Setup<'a>,
    system: System,
    surfaces: &'static Surfaces,
    dense: Way,
    wide: Way,
    experts: [Option<Way>; 2],
    all_reduce: Option<&'static Grid>,
    tp: f64,
    heads: f64,
    kv_heads: f64,
    /// GPUs over which the experts are spread instead of split.
    expert_parallel: f64,
}

impl<'a> Machine<'a> {
    /// Looks up what a setup runs on.
    pub fn of(s: &'a Setup<'a>) -> Self {
        let surfaces = Surfaces::built_in();
        let system = system_of(s.gpu);
        let tp = f64::from(s.tp.max(1));
        let gpus: u8 = match s.tp {
            0..=1 => 0,
            2 => 2,
            3..=4 => 4,
            _ => 8,
        };
        let spread = f64::from(s.variant.moe_ep.max(1)).min(tp);
        let of = Formats {
            s,
            system,
            surfaces,
        };
        Self {
            dense: of.dense(),
            wide: of.way(Op::Gemm, format::BF16, 2.0, s.gpu.tflops_16),
            experts: of.experts(),
            all_reduce: surfaces.get(system, Op::AllReduce, gpus),
            s,
            system,
            surfaces,
            tp,
            heads: f64::from((s.card.heads / s.tp.max(1)).max(1)),
            kv_heads: f64::from((s.card.kv_heads / s.tp.max(1)).max(1)),
            expert_parallel: spread,
        }
    }

    fn gemm(&self, way: &Way, mnk: [f64; 3]) -> f64 {
        let (roofline, place) = gemm(way.rates, mnk.map(|x| x.max(1.0)));
        roofline * of_surface(way.grid, place)
    }

    /// Two all-reduces of the activations over the tensor-parallel group.
    pub fn all_reduces(&self, tokens: f64) -> f64 {
        let Some(grid) = self.all_reduce else {
            return 0.0;
        };
        let at = (tokens * f64::from(self.s.card.hidden)).max(1.0).log2();
        // Beyond the largest message that was measured the time grows with the message.
        let last = grid
            .axes()
            .first()
            .and_then(|axis| axis.last())
            .map_or(at, |x| f64::from(*x));
        2.0 * grid.at([at]).exp() * (at - last).max(0.0).exp2()
    }

    fn routed_experts(&self, tokens: f64) -> f64 {
        let c = self.s.card;
        let place = Experts {
            tokens,
            hidden: f64::from(c.hidden),
            width: (f64::from(c.moe_intermediate) / (self.tp / self.expert_parallel)).max(1.0),
            used: f64::from(c.experts_per_token.max(1)),
            experts: f64::from(c.experts),
            spread: self.expert_parallel,
        };
        let time = |way: &Way| {
            let (roofline, at) = place.roofline(way.rates);
            roofline * of_surface(way.grid, at)
        };
        let both = self.experts.iter().flatten().map(time);
        both.fold(f64::INFINITY, f64::min)
    }

    /// A step of `tokens` tokens without its attention; `sampled` of them reach the head.
    fn layers(&self, tokens: f64, sampled: f64) -> Split {
        let c = self.s.card;
        let f = f64::from;
        let (hidden, count) = (f(c.hidden), f(c.layers));
        let product = |n: f64, k: f64| self.gemm(&self.dense, [tokens, n, k]);
        let mut one = self.all_reduces(tokens)
            + ELEMENTWISE * tokens * hidden * 2.0 / (self.s.gpu.bandwidth_gb_s * 1e9)
            + LAYER_S;
        if c.kv_lora_rank == 0 {
            let width = f(c.head_dim);
            one += product((self.heads + 2.0 * self.kv_heads) * width, hidden)
                + product(hidden, self.heads * width);
        }
        let plain = if c.is_moe() {
            f(c.dense_layers.min(c.layers))
        } else {
            count
        };
        let mut rest = 0.0;
        if plain > 0.0 {
            let width = f(c.intermediate) / self.tp;
            let up = if is_gated(c) { 2.0 * width } else { width };
            rest += plain * (product(up, hidden) + product(hidden, width));
        }
        let mixed = count - plain;
        let mut experts = 0.0;
        if mixed > 0.0 {
            experts = mixed * self.routed_experts(tokens);
            rest += mixed * self.gemm(&self.wide, [tokens, f(c.experts).max(32.0), hidden]);
            if c.shared_experts > 0 {
                let width = f(c.moe_intermediate) * f(c.shared_experts) / self.tp;
                rest += mixed * (product(2.0 * width, hidden) + product(hidden, width));
            }
        }
        let vocabulary = f(c.vocab);
        let head = self.gemm(&self.wide, [sampled, vocabulary / self.tp, hidden])
            + sampled * vocabulary * 8.0 / (self.s.gpu.bandwidth_gb_s * 1e9);
        Split {
            rest: count * one + rest + head,
            experts,
        }
    }

    /// Attention over all layers, each kind of layer once: full attention, and a window where some
    /// layers have one.
    fn each_attention(&self, of: impl Fn(f64) -> f64) -> f64 {
        let c = self.s.card;
        let windowed = if c.sliding_window > 0 {
            c.sliding_layers.min(c.layers)
        } else {
            0
        };
        let full = c.layers - windowed;
        let part = |layers: u32, window: u32| match layers {
            0 => 0.0,
            n => f64::from(n) * of(f64::from(window)),
        };
        part(full, 0) + part(windowed, c.sliding_window)
    }

    fn rates_16(&self) -> Rates {
        Rates {
            bandwidth: self.s.gpu.bandwidth_gb_s * 1e9,
            peak: self.s.gpu.tflops_16 * 1e12,
            weight_bytes: 2.0,
        }
    }

    fn has_small_cache(&self) -> bool {
        self.s.kv_bytes < 1.5
    }

    fn attention_surface(&self, op: Op) -> Option<&'static Grid> {
        let kind = if self.has_small_cache() {
            format::KV8
        } else {
            0
        };
        let own = self.surfaces.get(self.system, op, kind);
        own.or_else(|| self.surfaces.get(self.system, op, format::BF16))
    }

    fn latent(&self, batch: f64, length: f64, generation: bool) -> f64 {
        let op = if generation {
            Op::LatentGeneration
        } else {
            Op::LatentContext
        };
        let small = if self.has_small_cache() {
            format::KV8
        } else {
            0
        };
        let place = Latent {
            heads: (f64::from(self.s.card.heads) / self.tp).max(1.0),
            batch,
            length,
            kv_bytes: self.s.kv_bytes,
        };
        let peak_16 = self.s.gpu.tflops_16 * 1e12;
        let wide = self.rates_16();
        let narrow = Rates {
            peak: self.s.gpu.tflops(Precision::Fp8) * 1e12,
            weight_bytes: 1.0,
            ..wide
        };
        let time = |kind: u8, rates: Rates| {
            let (roofline, at) = place.roofline(rates, peak_16, generation);
            let own = self.surfaces.get(self.system, op, kind + small);
            let grid = own.or_else(|| self.surfaces.get(self.system, op, kind))?;
            Some(roofline * grid.at(at).exp())
        };
        let wide_time = time(format::BF16, wide);
        let ways = match self.s.precision {
            Precision::Fp8 | Precision::W8a8 => [wide_time, time(format::FP8_BLOCK, narrow)],
            Precision::Nvfp4 => [wide_time, time(format::NVFP4, wide)],
            _ => [wide_time, None],
        };
        let measured = ways.into_iter().flatten().fold(f64::INFINITY, f64::min);
        if measured.is_finite() {
            return measured;
        }
        let (roofline, _) = place.roofline(wide, peak_16, generation);
        roofline * LATENT_UNMEASURED * f64::from(self.s.card.hidden) / LATENT_HIDDEN
    }

    /// One decode step of `batch` sequences of a mean `length` in the cache.
    pub fn decode(&self, batch: f64, length: f64) -> Split {
        let batch = batch.max(1.0);
        let mut split = self.layers(batch, batch);
        split.rest += if self.s.card.kv_lora_rank > 0 {
            f64::from(self.s.card.layers) * self.latent(batch, length, true)
        } else {
            let grid = self.attention_surface(Op::Generation);
            self.each_attention(|window| {
                let place = Generation {
                    batch,
                    length,
                    heads: self.heads,
                    kv_heads: self.kv_heads,
                    head_dim: f64::from(self.s.card.head_dim),
                    window,
                    kv_bytes: self.s.kv_bytes,
                };
                let (roofline, at) = place.roofline(self.rates_16());
                roofline * of_surface(grid, at)
            })
        };
        split
    }

    /// The prefill of `prompts` prompts of `length` tokens together, in chunks of at most `chunk`
    /// tokens; later chunks of a long prompt attend to its earlier ones.
    pub fn prefill(&self, prompts: f64, length: f64, chunk: f64) -> Split {
        let tokens = (prompts * length).max(1.0);
        let steps = (tokens / chunk).ceil().max(1.0);
        let per_step = tokens / steps;
        let batch = (prompts / steps).max(1.0);
        let new = length.min(per_step);
        let parts = length / new;
        let before = (parts - 1.0) / 2.0 * new;
        let mut split = self.layers(per_step, batch.min(prompts));
        split.rest += if self.s.card.kv_lora_rank > 0 {
            let again = if parts > 1.0 { before / new * 0.5 } else { 0.0 };
            f64::from(self.s.card.layers) * self.latent(batch, new, false) * (1.0 + again)
        } else {
            let grid = self.attention_surface(Op::Context);
            self.each_attention(|window| {
                let place = Context {
                    batch,
                    tokens: new,
                    before,
                    heads: self.heads,
                    kv_heads: self.kv_heads,
                    head_dim: f64::from(self.s.card.head_dim),
                    window,
                    kv_bytes: self.s.kv_bytes,
                };
                let (roofline, at) = place.roofline(self.rates_16());
                roofline * of_surface(grid, at)
            })
        };
        split.times(steps)
    }
}

/// The factor of a surface; 1 where there is none.
fn of_surface<const AXES: usize>(grid: Option<&Grid>, place: [f64; AXES]) -> f64 {
    grid.map_or(1.0, |grid| grid.at(place).exp())
}

/// Older families have one matrix into the feed-forward layer, newer ones two.
fn is_gated(card: &crate::ModelCard) -> bool {
    const PLAIN: [&str; 8] = [
        "opt",
        "gpt-neox",
        "gpt-j",
        "bloom",
        "falcon",
        "mpt",
        "starcoder",
        "codegen",
    ];
    !PLAIN.contains(&card.family.as_str())
}

/// How a weight format runs on a GPU.
struct Formats<'a> {
    s: &'a Setup<'a>,
    system: System,
    surfaces: &'static Surfaces,
}

impl Formats<'_> {
    fn way(&self, op: Op, format: u8, weight_bytes: f64, tflops: f64) -> Way {
        Way {
            grid: self.surfaces.get(self.system, op, format),
            rates: Rates {
                bandwidth: self.s.gpu.bandwidth_gb_s * 1e9,
                peak: tflops * 1e12,
                weight_bytes,
            },
        }
    }

    /// Products of the dense layers. Formats that the GPU multiplies natively have surfaces of
    /// their own (8-bit integers run as 8-bit floats do); the others are 16-bit products that read
    /// fewer bytes, at a toll.
    fn dense(&self) -> Way {
        let (gpu, bytes) = (self.s.gpu, self.s.precision.bits() / 8.0);
        let wide = gpu.tflops_16;
        let has = |format: u8| self.surfaces.get(self.system, Op::Gemm, format).is_some();
        match self.s.precision {
            Precision::Fp32 | Precision::Fp16 | Precision::Bf16 => {
                self.way(Op::Gemm, format::BF16, bytes, wide)
            }
            Precision::Fp8 | Precision::W8a8 | Precision::W4a8 | Precision::W4a4
                if gpu.tflops_fp8 > 0.0 && has(format::FP8) =>
            {
                self.way(Op::Gemm, format::FP8, bytes, gpu.tflops_fp8)
            }
            Precision::W8a8 | Precision::W4a8 | Precision::W4a4 => {
                self.way(Op::Gemm, format::BF16, bytes, 2.0 * wide / WIDENING)
            }
            Precision::Nvfp4 if gpu.tflops_fp4 > 0.0 && has(format::NVFP4) => {
                self.way(Op::Gemm, format::NVFP4, bytes, gpu.tflops_fp4)
            }
            _ => self.way(Op::Gemm, format::BF16, bytes, wide / WIDENING),
        }
    }

    /// Kernels of the routed experts, of which the faster one counts.
    fn experts(&self) -> [Option<Way>; 2] {
        let (gpu, bytes) = (self.s.gpu, self.s.precision.bits() / 8.0);
        let own = |format: u8, tflops: f64| {
            let way = self.way(Op::Experts, format, bytes, tflops);
            way.grid.filter(|_| tflops > 0.0).map(|_| way)
        };
        let ways = match self.s.precision {
            Precision::Fp32 | Precision::Fp16 | Precision::Bf16 => {
                [own(format::BF16, gpu.tflops_16), None]
            }
            Precision::Fp8 | Precision::W8a8 => [
                own(format::FP8, gpu.tflops_fp8),
                own(format::FP8_BLOCK, gpu.tflops_fp8),
            ],
            Precision::Nvfp4 if gpu.tflops_fp4 > 0.0 => [own(format::NVFP4, gpu.tflops_fp4), None],
            Precision::Nvfp4 | Precision::Mxfp4 => [own(format::MXFP4, gpu.tflops_16), None],
            Precision::Int8 => [None, None],
            _ => [own(format::INT4, gpu.tflops_16), None],
        };
        if ways.iter().any(Option::is_some) {
            return ways;
        }
        let derived = self.way(Op::Experts, format::BF16, bytes, gpu.tflops_16 / WIDENING);
        [Some(derived), None]
    }
}
