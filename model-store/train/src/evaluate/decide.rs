//! Decisions: of the configurations that one source measured in one cell, which gives the most
//! tokens per price, and what picking another one costs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::choice::PRICES;
use super::foreseen::Foreseen;
use super::split::Protocol;
use super::statistics::Figure;
use crate::advisor::{Prediction, Target};

/// Two values this close (log) are the same decision.
const TIE: f64 = 1e-9;

/// Ways to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Most tokens per price by the model's median.
    Model,
    /// The cheapest configuration that was measured to fit.
    CheapestThatFits,
    /// The smallest instance that holds 16-bit weights in 60 % of its memory, else the largest.
    TpBySize,
    /// H100 with FP8 before H100 before FP8 before the rest; the cheapest of equals.
    AlwaysH100Fp8,
    /// Highest memory bandwidth of the instance.
    FastestGpu,
    /// What the nearest measured run of the same GPU, TP and precision says.
    NearestCell,
}

impl Policy {
    /// All, the model first.
    pub const ALL: [Self; 6] = [
        Self::Model,
        Self::CheapestThatFits,
        Self::TpBySize,
        Self::AlwaysH100Fp8,
        Self::FastestGpu,
        Self::NearestCell,
    ];

    /// Name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::CheapestThatFits => "cheapest that fits",
            Self::TpBySize => "TP by size",
            Self::AlwaysH100Fp8 => "always H100 FP8",
            Self::FastestGpu => "fastest GPU",
            Self::NearestCell => "nearest cell",
        }
    }
}

/// How one policy decided.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyScore {
    /// The policy.
    pub policy: Policy,
    /// Share of decisions that were best.
    pub top1: Figure,
    /// Share of decisions within 1 % of the best.
    pub within_1_percent: Figure,
    /// Mean regret, `ln(best / chosen)` of tokens per price.
    pub log_regret: Figure,
    /// Mean loss, `1 - chosen / best`.
    pub loss: Figure,
}

/// Decisions over every cell with at least two measured configurations.
#[derive(Clone, Debug, Serialize)]
pub struct Decisions {
    /// How many.
    pub n: usize,
    /// Prices of one GPU for an hour.
    pub prices: Vec<(&'static str, f64)>,
    /// One entry a policy.
    pub policies: Vec<PolicyScore>,
}

/// One option of a decision: log tokens per price measured, and each policy's preference.
#[derive(Clone)]
struct Alternative {
    measured: f64,
    preference: [f64; 6],
    copies: f64,
}

fn alternative(f: &Foreseen) -> Option<Alternative> {
    let o = &f.option;
    let measured = o.tokens(|t| f.measured[t as usize])?;
    let median = |t: Target| {
        f.predicted
            .get(t as usize)
            .and_then(Option::as_ref)
            .map(|p: &Prediction| p.q50)
    };
    // Where the source measured TTFT and TPOT alone, the model's own throughput would be another quantity.
    let stated = f.measured[Target::OutputTokS as usize].is_some();
    let model = o.tokens(|t| median(t).filter(|_| stated || t != Target::OutputTokS))?;
    let price = o.price.ln();
    let by_size = if o.holds_16_bit {
        -price
    } else {
        -100.0 + price
    };
    let preference = [
        model.ln() - price,
        -price,
        by_size,
        f64::from(o.h100_fp8) * 100.0 - price,
        o.bandwidth.ln(),
        o.nearest - price,
    ];
    Some(Alternative {
        measured: measured.ln() - price,
        preference,
        copies: 1.0,
    })
}

/// Decisions of one protocol.
pub(super) fn decisions(foreseen: &[Foreseen], protocol: Protocol) -> Option<Decisions> {
    let mut cells: BTreeMap<(String, String), BTreeMap<&str, Alternative>> = BTreeMap::new();
    let mut cell_of: BTreeMap<(String, String), u64> = BTreeMap::new();
    for f in foreseen.iter().filter(|f| f.protocol == protocol) {
        let Some(a) = alternative(f) else { continue };
        let seed = f.split.split('.').next().unwrap_or_default().to_owned();
        let key = (seed, f.option.key.clone());
        cell_of.insert(key.clone(), f.cell);
        let known = cells.entry(key).or_default().entry(&f.option.config);
        known.and_modify(|old| old.pool(&a)).or_insert(a);
    }
    let contested: Vec<(u64, Vec<Alternative>)> = cells
        .into_iter()
        .filter(|(_, options)| options.len() > 1)
        .map(|(key, options)| {
            (
                cell_of.get(&key).copied().unwrap_or(0),
                options.into_values().collect(),
            )
        })
        .collect();
    let policies: Option<Vec<PolicyScore>> = Policy::ALL
        .iter()
        .enumerate()
        .map(|(i, policy)| score(&contested, i, *policy))
        .collect();
    Some(Decisions {
        n: contested.len(),
        prices: PRICES.to_vec(),
        policies: policies.filter(|_| !contested.is_empty())?,
    })
}

impl Alternative {
    /// Repeats of one configuration count as their mean.
    fn pool(&mut self, other: &Self) {
        let n = self.copies;
        let mix = |a: f64, b: f64| (a * n + b) / (n + 1.0);
        self.measured = mix(self.measured, other.measured);
        for (a, b) in self.preference.iter_mut().zip(other.preference) {
            *a = mix(*a, b);
        }
        self.copies += 1.0;
    }
}

fn score(
    contested: &[(u64, Vec<Alternative>)],
    policy_index: usize,
    policy: Policy,
) -> Option<PolicyScore> {
    let regrets: Vec<(u64, f64)> = contested
        .iter()
        .filter_map(|(cell, options)| {
            let best = options
                .iter()
                .map(|a| a.measured)
                .fold(f64::NEG_INFINITY, f64::max);
            let chosen = options
                .iter()
                .max_by(|a, b| a.preference[policy_index].total_cmp(&b.preference[policy_index]))?;
            Some((*cell, best - chosen.measured))
        })
        .collect();
    let figure = |of: fn(f64) -> f64| {
        Figure::mean(
            &regrets
                .iter()
                .map(|(c, r)| (*c, of(*r)))
                .collect::<Vec<_>>(),
        )
    };
    Some(PolicyScore {
        policy,
        top1: figure(|r| f64::from(u8::from(r < TIE)))?,
        within_1_percent: figure(|r| f64::from(u8::from(r < 0.01)))?,
        log_regret: figure(|r| r)?,
        loss: figure(|r| 1.0 - (-r).exp())?,
    })
}
