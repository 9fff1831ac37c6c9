//! What an operator values: the terms of the utility, their weights, and the site's own numbers.

use serde::{Deserialize, Serialize};

/// A term of the utility, in the order in which it is stored and printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Term {
    /// Output tokens that the stated load lets it serve.
    Tokens,
    /// Price of its GPU-hours.
    Price,
    /// Price of its energy on top of that.
    Energy,
    /// Wait in the queue.
    Wait,
    /// Time lost to starts that fail.
    Relaunch,
    /// Chance of missing what was stated: latency targets, rate.
    Slo,
    /// KV cache beyond its knee.
    Saturation,
}

impl Term {
    /// All, in order; `term as usize` indexes into it.
    pub const ALL: [Self; 7] = [
        Self::Tokens,
        Self::Price,
        Self::Energy,
        Self::Wait,
        Self::Relaunch,
        Self::Slo,
        Self::Saturation,
    ];

    /// Name in JSON and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Price => "price",
            Self::Energy => "energy",
            Self::Wait => "wait",
            Self::Relaunch => "relaunch",
            Self::Slo => "slo",
            Self::Saturation => "saturation",
        }
    }
}

impl std::fmt::Display for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Weight of each term: the exponent with which its factor enters the worth of a configuration.
/// With 1 a term counts as what it is, with 0 not at all. None is negative: what is dearer, slower
/// to start or likelier to miss never ranks higher for it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// Output tokens.
    pub tokens: f64,
    /// Price of GPU-hours and energy; energy has no weight of its own but its price.
    pub price: f64,
    /// Wait in the queue.
    pub wait: f64,
    /// Failed starts.
    pub relaunch: f64,
    /// Missing what was stated.
    pub slo: f64,
    /// KV cache beyond its knee.
    pub saturation: f64,
}

impl Default for Weights {
    /// Every term as what it is. A full KV cache is no loss of its own that could be reckoned, so
    /// its weight is a judgement: as bad as `exp(-0.5)`, 39 % fewer tokens.
    fn default() -> Self {
        Self {
            tokens: 1.0,
            price: 1.0,
            wait: 1.0,
            relaunch: 1.0,
            slo: 1.0,
            saturation: 0.5,
        }
    }
}

impl Weights {
    /// The weight of a term.
    pub const fn of(&self, term: Term) -> f64 {
        match term {
            Term::Tokens => self.tokens,
            Term::Price | Term::Energy => self.price,
            Term::Wait => self.wait,
            Term::Relaunch => self.relaunch,
            Term::Slo => self.slo,
            Term::Saturation => self.saturation,
        }
    }

    /// Sets the weight of a term.
    pub const fn set(&mut self, term: Term, weight: f64) {
        *match term {
            Term::Tokens => &mut self.tokens,
            Term::Price | Term::Energy => &mut self.price,
            Term::Wait => &mut self.wait,
            Term::Relaunch => &mut self.relaunch,
            Term::Slo => &mut self.slo,
            Term::Saturation => &mut self.saturation,
        } = weight;
    }
}

/// The site's numbers behind the utility, beside the prices of its GPU types.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Economy {
    /// Hours that a job serves once it is ready: what waiting and failed starts are held against.
    pub job_hours: f64,
    /// Hours lost to a start that fails, beside cold start and queue: until somebody sees it and
    /// submits again.
    pub relaunch_hours: f64,
    /// Price of a kilowatt-hour in the currency of `price_per_hour`; `None` = not counted.
    pub price_per_kwh: Option<f64>,
    /// Weights of the terms.
    pub weights: Weights,
    /// True where `omnipilot train` may replace the weights by those that past choices show.
    pub learn: bool,
}

impl Default for Economy {
    fn default() -> Self {
        Self {
            job_hours: 24.0,
            relaunch_hours: 0.5,
            price_per_kwh: None,
            weights: Weights::default(),
            learn: true,
        }
    }
}

impl Economy {
    /// Refuses numbers that no site can mean.
    ///
    /// # Errors
    /// The name and the value.
    pub fn check(&self) -> Result<(), String> {
        let positive = |x: f64| x.is_finite() && x > 0.0;
        let at_least_0 = |x: f64| x.is_finite() && x >= 0.0;
        if !positive(self.job_hours) {
            return Err(format!(
                "job_hours is {}, not a positive number",
                self.job_hours
            ));
        }
        if !at_least_0(self.relaunch_hours) {
            return Err(format!(
                "relaunch_hours is {}, not a number of hours",
                self.relaunch_hours
            ));
        }
        if let Some(price) = self.price_per_kwh.filter(|p| !positive(*p)) {
            return Err(format!("price_per_kwh is {price}, not a positive number"));
        }
        for term in Term::ALL {
            let weight = self.weights.of(term);
            if !at_least_0(weight) {
                return Err(format!(
                    "the weight of {term} is {weight}, not a number from 0 on"
                ));
            }
        }
        if self.weights.tokens + self.weights.price <= 0.0 {
            return Err(
                "the weights of tokens and price are both 0, so that nothing would be ranked"
                    .into(),
            );
        }
        Ok(())
    }
}

/// What the operator's past choices say of the weights.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Preferences {
    /// Choices that could be reconstructed.
    pub choices: u32,
    /// Fewest from which weights are taken.
    pub needed: u32,
    /// One entry a term that the choices say something of; empty where there were too few.
    pub estimates: Vec<Estimate>,
    /// True where the ranking uses them.
    pub used: bool,
}

/// The weight of one term as past choices show it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The term.
    pub term: Term,
    /// Configured weight: the mean of the prior.
    pub prior: f64,
    /// Most probable weight, on the scale of the configured ones.
    pub estimate: f64,
    /// Its standard error, on the same scale.
    pub standard_error: f64,
}
