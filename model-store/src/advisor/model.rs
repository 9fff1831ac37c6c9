//! The learnt model as it is published: eight targets, each with quantiles and calibration.

use serde::{Deserialize, Serialize};

use super::advice::{Evidence, Prediction};
use super::case::Precision;
use super::conformal::{Calibration, GroupKey};
use super::features::{Codebook, Row, row};
use super::forest::Forest;
use super::physics::{Physics, physics};
use super::run::Target;
use super::setup::Setup;
use super::site::SiteShift;
use super::support::Envelope;

/// From where to where a prediction steps; it decides which residuals calibrate the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To an unseen cell of a source whose runs were trained on.
    SameSource,
    /// To an unseen cell of this cluster, from this cluster's runs.
    ThisCluster,
    /// To a source that was never trained on.
    Elsewhere,
}

/// One target's model. All of it works on `ln(value / physical estimate)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetModel {
    /// Runs that it was fitted to.
    pub runs: u32,
    /// Centre of the residual.
    pub centre: Forest,
    /// Quantile 0.1 of what remains about the centre.
    pub lower: Forest,
    /// Quantile 0.9 of what remains about the centre.
    pub upper: Forest,
    /// Scores of held-out cells.
    pub same_source: Calibration,
    /// Scores of held-out cells of this cluster.
    pub this_cluster: Calibration,
    /// Scores of left-out sources.
    pub elsewhere: Calibration,
    /// How this cluster's own runs shift it.
    pub site: SiteShift,
}

/// Launch success of configurations, shrunk to the pooled rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LaunchTable {
    /// Over all launches; `None` = too few.
    pub pooled: Option<Rate>,
    /// By GPU, TP and pooled format, sorted.
    pub groups: Vec<((String, u32, Precision), Rate)>,
}

/// A posterior rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// Launches.
    pub n: u32,
    /// Posterior quantiles 0.1, 0.5 and 0.9.
    pub quantiles: [f64; 3],
}

impl LaunchTable {
    fn prediction(&self, s: &Setup) -> Option<Prediction> {
        let key = (s.gpu.name.to_owned(), s.tp, s.precision.pooled());
        let own = self.groups.binary_search_by(|(k, _)| k.cmp(&key)).ok();
        let rate = own.and_then(|i| self.groups.get(i)).map(|(_, r)| *r).or(self.pooled)?;
        let [q10, q50, q90] = rate.quantiles;
        Some(Prediction { q10, q50, q90, lo: q10, hi: q90 })
    }
}

/// The published model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Category names.
    pub codes: Codebook,
    /// One model a target in the order of [`Target::ALL`]; launch success has its own table.
    pub targets: Vec<TargetModel>,
    /// Launch success.
    pub launch: LaunchTable,
    /// What was measured.
    pub envelope: Envelope,
    /// Sources that were trained on, sorted.
    pub sources: Vec<String>,
    /// Where the runs come from.
    pub evidence: Evidence,
}

impl Model {
    /// Predicts all targets of a setup, in the order of [`Target::ALL`]; `None` = not known.
    pub fn predict(&self, s: &Setup, step: Step) -> Vec<Option<Prediction>> {
        let p = physics(s);
        let row = row(s, &p, &self.codes);
        Target::ALL
            .iter()
            .map(|target| match target {
                Target::LaunchSuccess => self.launch.prediction(s),
                _ => self.targets.get(*target as usize)?.predict(*target, s, &p, &row, step, group_key(s)),
            })
            .collect()
    }

    /// The step to a case of that source.
    pub fn step_to(&self, source: &str) -> Step {
        let known = self.sources.binary_search_by(|s| s.as_str().cmp(source)).is_ok();
        if known { Step::SameSource } else { Step::Elsewhere }
    }

    /// True where evaluation cannot loop or leave its tables.
    pub fn is_sound(&self) -> bool {
        let sound = |t: &TargetModel| {
            t.site.is_sound() && [&t.centre, &t.lower, &t.upper].iter().all(|f| f.is_sound())
        };
        self.targets.iter().all(sound) && self.envelope.is_sound()
    }
}

/// The Mondrian group of a setup: GPU x precision.
pub fn group_key(s: &Setup) -> GroupKey {
    (super::gpu::GPUS.iter().position(|g| g.name == s.gpu.name).unwrap_or(255) as u8, s.precision.pooled() as u8)
}

impl TargetModel {
    /// Centre and quantiles of the log residual, not crossing.
    pub fn quantiles(&self, row: &Row) -> [f64; 3] {
        let centre = self.centre.value(row);
        let lower = self.lower.value(row).min(0.0);
        let upper = self.upper.value(row).max(0.0);
        [centre + lower, centre, centre + upper]
    }

    /// Widening for a step. Where this cluster has too few runs of its own, the step from
    /// elsewhere applies about the shifted centre.
    fn widening(&self, step: Step, key: GroupKey) -> Option<f64> {
        match step {
            Step::SameSource => self.same_source.widening(key),
            Step::ThisCluster => self.this_cluster.widening(key).or_else(|| self.elsewhere.widening(key)),
            Step::Elsewhere => self.elsewhere.widening(key),
        }
    }

    fn predict(
        &self,
        target: Target,
        s: &Setup,
        p: &Physics,
        row: &Row,
        step: Step,
        key: GroupKey,
    ) -> Option<Prediction> {
        let widening = self.widening(step, key)?;
        let shift = if step == Step::SameSource { 0.0 } else { self.site.at(s, p) };
        let [q10, q50, q90] = self.quantiles(row);
        // A negative widening narrows; it never lets the ends pass the median.
        let (lo, hi) = ((q10 - widening).min(q50), (q90 + widening).max(q50));
        let base = p.estimate(s, target);
        let most = if target == Target::KvUsage { 1.0 } else { f64::INFINITY };
        let value = |log: f64| (base * (log + shift).exp()).min(most);
        let out = Prediction { q10: value(q10), q50: value(q50), q90: value(q90), lo: value(lo), hi: value(hi) };
        let finite = [out.q10, out.q50, out.q90, out.lo, out.hi].iter().all(|v| v.is_finite());
        finite.then_some(out)
    }
}
