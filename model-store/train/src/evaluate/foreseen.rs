//! Predictions of held-out rows.

use super::super::fit::physics_alone;
use super::super::prepare::prepare;
use super::super::train;
use super::choice::{Choice, Nearest};
use super::split::{Protocol, Split};
use crate::advisor::model::Model;
use crate::advisor::{Case, Catalogue, Prediction, Run, Target};

/// One held-out row with what a model that never saw it said.
#[derive(Clone, Debug)]
pub struct Foreseen {
    /// How it was held out.
    pub protocol: Protocol,
    /// Which split.
    pub split: String,
    /// Model x context x concurrency.
    pub cell: u64,
    /// The run's id.
    pub run_id: String,
    /// What was run.
    pub case: Case,
    /// Where it was measured.
    pub source: String,
    /// Mondrian group in words: GPU and pooled format.
    pub group_name: String,
    /// Measured values in the order of [`Target::ALL`].
    pub measured: [Option<f64>; 8],
    /// Predictions in the same order.
    pub predicted: Vec<Option<Prediction>>,
    /// True where it was called out of support.
    pub flagged: bool,
    /// What a decision needs to know of it.
    pub option: Choice,
}

impl Foreseen {
    /// What was measured of a target; throughput also as TTFT and TPOT imply it.
    pub fn told(&self, target: Target) -> Option<f64> {
        let of = |t: Target| self.measured.get(t as usize).copied().flatten();
        if target == Target::OutputTokS {
            return self.option.tokens(of);
        }
        of(target)
    }
}

/// Fits the kept runs and predicts the held ones; nothing is learnt where `physics` is to be judged.
pub(super) fn of_split(
    runs: &[Run],
    catalogue: &Catalogue,
    split: &Split,
    physics: bool,
) -> Vec<Foreseen> {
    if split.held.is_empty() {
        return Vec::new();
    }
    let pick =
        |of: &[usize]| -> Vec<Run> { of.iter().filter_map(|i| runs.get(*i)).cloned().collect() };
    let (kept, held) = (pick(&split.kept), pick(&split.held));
    let model = if physics {
        physics_alone(&kept, catalogue)
    } else {
        train(&kept, catalogue, &|_, _| {}).0
    };
    let near = Nearest::new(&prepare(&kept, catalogue));
    of_runs(
        &held,
        catalogue,
        &model,
        &near,
        (split.protocol, &split.name),
    )
}

/// Predicts these runs.
pub(super) fn of_runs(
    held: &[Run],
    catalogue: &Catalogue,
    model: &Model,
    near: &Nearest,
    (protocol, name): (Protocol, &str),
) -> Vec<Foreseen> {
    let prepared = prepare(held, catalogue);
    let foresee = |s: &super::super::prepare::Sample| Foreseen {
        protocol,
        split: name.to_owned(),
        cell: s.cell,
        run_id: s.run.run_id.clone(),
        case: s.run.case.clone(),
        source: s.run.source.clone(),
        group_name: format!("{} {}", s.setup.gpu.name, s.setup.precision.pooled()),
        measured: Target::ALL.map(|t| {
            s.run
                .measured
                .target(t)
                .filter(|v| v.is_finite() && *v > 0.0)
        }),
        predicted: model.predict(&s.setup, model.step_to(&s.run.source)),
        flagged: !model.axes_out(&s.setup, &s.physics).is_empty(),
        option: Choice::of(s, near),
    };
    prepared.samples.iter().map(foresee).collect()
}
