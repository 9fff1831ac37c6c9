//! What training found, for people and for the store.

use serde::Serialize;

use crate::advisor::{Evidence, Target};

/// What one training found.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Runs that were fitted, by origin.
    pub evidence: Evidence,
    /// Runs that could not be placed, by reason.
    pub left_out: Vec<(String, u32)>,
    /// One entry a target.
    pub targets: Vec<TargetReport>,
}

/// What held-out cells showed of one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetReport {
    /// Target name.
    pub target: &'static str,
    /// Runs with a measured value.
    pub runs: u32,
    /// Sources among them.
    pub sources: u32,
    /// Mean absolute percentage error on held-out cells.
    pub mape: Option<f64>,
    /// Median absolute percentage error on held-out cells.
    pub median_ape: Option<f64>,
    /// R2 of the logarithms on held-out cells.
    pub log_r2: Option<f64>,
    /// True where an interval can be given for a source that was trained on.
    pub calibrated: bool,
    /// True where an interval can be given for a source that was never seen.
    pub calibrated_elsewhere: bool,
    /// Pooled conformal widening of the log quantiles: to an unseen cell of a known source, of
    /// this cluster, and to an unseen source.
    pub widening: [Option<f64>; 3],
}

impl TargetReport {
    /// A target with too few runs.
    pub(super) fn unknown(target: Target, runs: usize) -> Self {
        Self {
            target: target.name(),
            runs: u32::try_from(runs).unwrap_or(u32::MAX),
            sources: 0,
            mape: None,
            median_ape: None,
            log_r2: None,
            calibrated: false,
            calibrated_elsewhere: false,
            widening: [None; 3],
        }
    }

    /// Fills the errors in from log residuals `remains` of held-out rows with log values `y`.
    pub(super) fn with_errors(mut self, remains: &[f64], logs: &[f64]) -> Self {
        // predicted / measured - 1, where remains = ln(measured / predicted)
        let mut errors: Vec<f64> = remains.iter().map(|r| ((-r).exp() - 1.0).abs()).collect();
        let n = errors.len() as f64;
        if errors.is_empty() {
            return self;
        }
        errors.sort_by(f64::total_cmp);
        let mean = logs.iter().sum::<f64>() / n;
        let about_mean: f64 = logs.iter().map(|l| (l - mean).powi(2)).sum();
        let about_model: f64 = remains.iter().map(|r| r * r).sum();
        self.mape = Some(errors.iter().sum::<f64>() / n);
        self.median_ape = errors.get(errors.len() / 2).copied();
        self.log_r2 = (about_mean > 0.0).then(|| 1.0 - about_model / about_mean);
        self
    }
}
