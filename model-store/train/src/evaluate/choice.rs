//! What a decision needs to know of a measured configuration.

use std::collections::BTreeMap;

use super::super::prepare::{Prepared, Sample};
use crate::advisor::{Precision, Target};

/// Price of one GPU for an hour, by catalogue name: the evaluation's own, since benchmarks state
/// none (usual rates of mid 2026, in dollars; only their ratios matter).
pub(super) const PRICES: [(&str, f64); 4] = [
    ("A100-40GB", 1.3),
    ("A100-80GB", 1.8),
    ("H100-SXM", 3.0),
    ("H200", 3.8),
];

/// One measured configuration as something to choose.
#[derive(Clone, Debug)]
pub struct Choice {
    pub key: String,
    pub config: String,
    pub price: f64,
    pub(super) bandwidth: f64,
    pub(super) holds_16_bit: bool,
    pub(super) h100_fp8: u8,
    pub(super) nearest: f64,
    pub(super) osl: f64,
    pub(super) concurrency: Option<f64>,
}

impl Choice {
    pub(super) fn of(s: &Sample, near: &Nearest) -> Self {
        let c = &s.run.case;
        let gpus = f64::from(s.setup.num_gpus());
        let own = PRICES
            .iter()
            .find(|(name, _)| *name == s.setup.gpu.name)
            .map_or(1.0, |(_, p)| *p);
        let (h100, fp8) = (
            s.setup.gpu.name == "H100-SXM",
            s.setup.precision == Precision::Fp8,
        );
        Self {
            key: format!(
                "{}|{}|{}|{}|{}|{:?}",
                s.cell,
                s.run.source,
                c.engine,
                c.engine_version,
                c.workload.name(),
                c.request_rate
            ),
            config: format!(
                "{}|{:?}|{}|{}|{:?}|{:?}",
                c.gpu, c.tp, c.pp, c.dp, c.precision, c.kv_precision
            ),
            price: own * gpus,
            bandwidth: s.setup.gpu.bandwidth_gb_s * gpus,
            holds_16_bit: s.setup.card.params * 2.0 / 1.073e9 < 0.6 * s.setup.gpu.memory_gib * gpus,
            h100_fp8: u8::from(h100) * 2 + u8::from(fp8),
            nearest: near.tokens(s),
            osl: s.setup.osl,
            concurrency: s.setup.concurrency,
        }
    }

    /// Throughput as stated, or as it follows from TTFT and TPOT at a fixed concurrency.
    pub(super) fn tokens(&self, value: impl Fn(Target) -> Option<f64>) -> Option<f64> {
        let derived = || {
            let request_s =
                (value(Target::TtftMs)? + (self.osl - 1.0) * value(Target::TpotMs)?) / 1e3;
            Some(self.concurrency? * self.osl / request_s)
        };
        value(Target::OutputTokS).or_else(derived)
    }
}

/// The measured runs that the policy of the nearest cell looks up.
pub(super) struct Nearest(BTreeMap<String, Vec<([f64; 4], f64)>>);

impl Nearest {
    pub(super) fn new(kept: &Prepared) -> Self {
        let mut out: BTreeMap<String, Vec<([f64; 4], f64)>> = BTreeMap::new();
        for s in &kept.samples {
            if let Some(v) = s.run.measured.output_tok_s.filter(|v| *v > 0.0) {
                out.entry(configuration(s))
                    .or_default()
                    .push((at(s), v.ln()));
            }
        }
        Self(out)
    }

    /// Log throughput of the nearest run of the same configuration; very low where there is none.
    fn tokens(&self, s: &Sample) -> f64 {
        let here = at(s);
        let far = |x: &[f64; 4]| {
            x.iter()
                .zip(here)
                .map(|(a, b)| (a - b).powi(2))
                .sum::<f64>()
        };
        let runs = self.0.get(&configuration(s));
        let nearest = runs.and_then(|r| r.iter().min_by(|a, b| far(&a.0).total_cmp(&far(&b.0))));
        nearest.map_or(-50.0, |(_, v)| *v)
    }
}

fn configuration(s: &Sample) -> String {
    format!(
        "{}|{}|{}",
        s.setup.gpu.name,
        s.setup.num_gpus(),
        s.setup.precision.pooled()
    )
}

fn at(s: &Sample) -> [f64; 4] {
    let c = s.setup.concurrency.unwrap_or(2048.0);
    [
        s.setup.card.params.ln(),
        s.setup.isl.max(1.0).ln(),
        s.setup.osl.ln(),
        c.ln(),
    ]
}
