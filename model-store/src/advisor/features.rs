//! What the learnt model sees of a setup: a fixed row of numbers, most of them logarithms of
//! physical quantities.

use serde::{Deserialize, Serialize};

use super::physics::{Physics, memory};
use super::setup::Setup;

/// Number of features.
pub const FEATURES: usize = 45;

/// One row.
pub type Row = [f32; FEATURES];

/// Names of categories, in the order of their codes. An unknown name has the code -1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Codebook {
    /// Engines.
    pub engines: Vec<String>,
    /// Families.
    pub families: Vec<String>,
    /// GPUs.
    pub gpus: Vec<String>,
}

impl Codebook {
    /// The names that occur in these setups, sorted.
    pub fn of<'a, 'b: 'a>(setups: impl Iterator<Item = &'a Setup<'b>> + Clone) -> Self {
        let names = |pick: fn(&Setup<'b>) -> &'b str| {
            let mut all: Vec<String> = setups.clone().map(|s| pick(s).to_owned()).collect();
            all.sort();
            all.dedup();
            all
        };
        Self {
            engines: names(|s| s.engine),
            families: names(|s| s.card.family.as_str()),
            gpus: names(|s| s.gpu.name),
        }
    }
}

fn code(names: &[String], name: &str) -> f64 {
    names.binary_search_by(|n| n.as_str().cmp(name)).map_or(-1.0, |i| i as f64)
}

/// First and second number of a version (`0.11.2` is 0.11, `1.2` is 1.02), -1 where there is none.
fn version(text: &str) -> f64 {
    let mut numbers = text
        .split(|c: char| !c.is_ascii_digit())
        .filter(|p| !p.is_empty())
        .map(|p| p.parse::<f64>().unwrap_or(0.0));
    match (numbers.next(), numbers.next()) {
        (Some(major), minor) => major * 100.0 + minor.unwrap_or(0.0).min(99.0),
        (None, _) => -1.0,
    }
}

fn log(x: f64) -> f64 {
    x.max(1e-12).ln()
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// The features of a setup.
pub fn row(s: &Setup, p: &Physics, codes: &Codebook) -> Row {
    let c = s.card;
    let m = memory(s);
    let asked = s.concurrency.map_or(-1.0, log);
    let values: [f64; FEATURES] = [
        // model
        log(c.params),
        log(c.active_params),
        f64::from(c.layers),
        f64::from(c.hidden),
        f64::from(c.kv_heads),
        f64::from(c.heads) / f64::from(c.kv_heads.max(1)),
        f64::from(c.experts),
        f64::from(c.vocab),
        code(&codes.families, &c.family),
        log(c.kv_bytes_per_token(s.kv_bytes, s.context())),
        // configuration
        f64::from(s.tp),
        f64::from(s.num_gpus()),
        s.precision.bits(),
        s.precision.pooled() as u8 as f64,
        s.kv_bytes,
        // GPU
        code(&codes.gpus, s.gpu.name),
        s.gpu.memory_gib,
        s.gpu.bandwidth_gb_s,
        s.gpu.tflops(s.precision),
        f64::from(s.gpu.capability),
        flag(s.variant.power_capped),
        // load
        log(s.isl),
        log(s.osl),
        log(s.isl / s.osl),
        asked,
        s.workload as u8 as f64,
        s.rate.map_or(-10.0, log),
        s.rate.map_or(0.0, |r| log(r * s.osl / p.saturated_tok_s)),
        // stack
        code(&codes.engines, s.engine),
        version(s.engine_version),
        // physics
        log(p.in_flight),
        log(p.kv_pressure),
        log(p.prefill_s),
        log(p.weights_s),
        log(p.kv_s),
        log(p.compute_s),
        log(p.link_s.max(1e-7)),
        log(p.step_s),
        log(p.in_flight * p.prefill_s / s.osl / p.step_s),
        log(p.saturated_tok_s),
        log(p.compute_s / (p.weights_s + p.kv_s)),
        m.weights / m.usable,
        // what was assumed
        flag(s.assumed[0]),
        flag(s.assumed[1]),
        flag(s.assumed[2]),
    ];
    values.map(|v| if v.is_finite() { v as f32 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_ordered_as_people_read_them() {
        let ordered = ["", "0.5.4 (2024-09)", "v0.11.2", "0.17", "1.0", "1.2"];
        let numbers: Vec<f64> = ordered.iter().map(|v| version(v)).collect();
        assert!(numbers.windows(2).all(|w| w[0] < w[1]), "{numbers:?}");
    }
}
