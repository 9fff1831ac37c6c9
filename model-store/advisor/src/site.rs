//! How a site's own few runs move what was learnt elsewhere.
//!
//! The residuals of this cluster's runs about the model are taken as the sum of a level that all
//! of the site shares, a part per GPU type, and a part that fades with distance between
//! configurations; predicting their sum at a new configuration is ordinary kriging (N. Cressie,
//! Statistics for Spatial Data, 1993, chapter 3). Level first: another engine or laboratory moves
//! the level more than the ranking, so two runs of one configuration lower all of them, and that
//! one most.

use serde::{Deserialize, Serialize};

use super::case::Precision;
use super::physics::Physics;
use super::setup::Setup;

/// Variances of the parts, of log values: what leaving out each of five public laboratories in
/// turn left over in throughput (2,417 runs on A100, H100 and H200; 2026-11-23). Latencies vary
/// more between laboratories, in about the same proportions, and only those count.
const LEVEL: f64 = 0.153;
const PER_GPU: f64 = 0.030;
const NEARBY: f64 = 0.145;

/// Variance of one run about the sum of the parts.
pub const NOISE: f64 = 0.003;

/// One run of this cluster, as far as it moves predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteRun {
    /// Model name of the card.
    pub model: String,
    /// GPU of the catalogue.
    pub gpu: String,
    /// Pooled weight format.
    pub precision: Precision,
    /// Logarithms of TP (base 2), context and sequences in flight (base e).
    pub at: [f32; 3],
}

impl SiteRun {
    /// Where a setup lies among a site's runs.
    pub fn of(s: &Setup, p: &Physics) -> Self {
        Self {
            model: s.card.name.clone(),
            gpu: s.gpu.name.into(),
            precision: s.precision.pooled(),
            at: [
                (s.tp as f32).log2(),
                s.context().ln() as f32,
                p.in_flight.ln() as f32,
            ],
        }
    }

    /// Covariance of the residuals of two runs.
    pub fn covariance(&self, other: &Self) -> f64 {
        let same = |yes: bool, otherwise: f64| if yes { 1.0 } else { otherwise };
        let gpu = same(self.gpu == other.gpu, 0.0);
        let gaps: f32 = self
            .at
            .iter()
            .zip(other.at)
            .map(|(a, b)| (a - b).powi(2))
            .sum();
        let nearby = f64::from((-gaps / 2.0).exp())
            * gpu
            * same(self.precision == other.precision, 0.5)
            * same(self.model == other.model, 0.5);
        LEVEL + PER_GPU * gpu + NEARBY * nearby
    }
}

/// A site's runs of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteShift {
    /// The runs.
    pub runs: Vec<SiteRun>,
    /// Kriging weights: `(K + noise I)^-1 r` over their log residuals `r`.
    pub weights: Vec<f64>,
}

impl SiteShift {
    /// The shift of the log prediction at a setup; 0 without runs.
    pub fn at(&self, s: &Setup, p: &Physics) -> f64 {
        if self.runs.is_empty() {
            return 0.0;
        }
        let here = SiteRun::of(s, p);
        self.runs
            .iter()
            .zip(&self.weights)
            .map(|(run, w)| run.covariance(&here) * w)
            .sum()
    }

    /// True where every number is finite.
    pub fn is_sound(&self) -> bool {
        self.runs.len() == self.weights.len() && self.weights.iter().all(|w| w.is_finite())
    }
}
