//! How a site's own few runs move what is said of a place that was never seen.
//!
//! What remains of this cluster's runs about the physics is taken as the sum of random effects: the
//! numbers of its stack (prefill, step, experts, what each step and each sequence adds, arrival,
//! bunching; see [`super::stack`]), a level, a part per GPU type, and a part that fades with the
//! distance between configurations. Predicting their sum at a new configuration is kriging (N.
//! Cressie, Statistics for Spatial Data, 1993, chapter 3). A stack's numbers move latencies and
//! throughput by how much of them they make, so a run of one load informs every other.

use serde::{Deserialize, Serialize};

use super::physics::Physics;
use super::run::Target;
use super::setup::Setup;
use super::stack::{PARTS, VARIES};
use crate::hashing::fnv1a;

/// Variance of one run about the sum of the parts.
pub const NOISE: f64 = 0.002;

/// Numbers of a place, and codes of what is the same or not.
const NUMBERS: usize = 6;
const CODES: usize = 5;

/// Share of the nearby part that is left where a code differs: model, GPU, format, engine, load.
const ALIKE: [f64; CODES] = [0.8, 0.85, 0.85, 0.5, 0.4];

/// GPU types that have a level of their own.
const GPU_TYPES: usize = 4;

/// Effects that every run of a site shares: the stack's numbers, a level, a level of each GPU type.
pub const EFFECTS: usize = PARTS + 1 + GPU_TYPES;

/// One run of this cluster, as far as it moves predictions of one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SiteRun {
    /// Hashes of model, GPU, pooled format, engine and kind of load.
    codes: [u32; CODES],
    /// Logarithms: TP (base 2), ISL, OSL, sequences in flight, parameters, step.
    at: [f32; NUMBERS],
    /// How the target moves with the stack's numbers.
    pulls: [f32; PARTS],
}

impl SiteRun {
    /// Where a setup lies among a site's runs of a target.
    pub fn of(s: &Setup, p: &Physics, target: Target) -> Self {
        let code = |text: &str| (fnv1a(text.bytes()) >> 32) as u32;
        Self {
            codes: [
                code(&s.card.name),
                code(s.gpu.name),
                code(s.precision.pooled().name()),
                code(s.engine),
                code(s.workload.name()),
            ],
            at: [
                (s.tp as f32).log2(),
                s.isl.ln() as f32,
                s.osl.ln() as f32,
                p.in_flight.ln() as f32,
                s.card.params.max(1.0).ln() as f32,
                p.step_s.max(1e-9).ln() as f32,
            ],
            pulls: p.state.pulls_on(target),
        }
    }

    /// The GPU's code.
    pub fn gpu(&self) -> u32 {
        self.codes[1]
    }

    /// From 0 to 1: how much of the nearby part two runs share.
    fn nearness(&self, other: &Self, length: f64) -> f64 {
        let gaps: f32 = self
            .at
            .iter()
            .zip(other.at)
            .map(|(a, b)| (a - b).powi(2))
            .sum();
        let mut out = (-f64::from(gaps) / (2.0 * length * length)).exp();
        for ((a, b), share) in self.codes.iter().zip(other.codes).zip(ALIKE) {
            if *a != b {
                out *= share;
            }
        }
        out
    }

    /// The effects' shares in this run, in standard deviations of each.
    pub fn effects(&self, scale: &Scale, gpus: &[u32]) -> [f64; EFFECTS] {
        let mut out = [0.0; EFFECTS];
        for ((cell, pull), varies) in out.iter_mut().zip(self.pulls).zip(VARIES) {
            *cell = f64::from(pull) * varies * scale.stack;
        }
        out[PARTS] = scale.level.sqrt();
        let own = gpus.iter().position(|gpu| *gpu == self.gpu());
        if let Some(cell) = own.and_then(|at| out.get_mut(PARTS + 1 + at)) {
            *cell = scale.per_gpu.sqrt();
        }
        out
    }
}

/// Variances (log) of the parts, and how far nearby reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// Factor on the spread of the stack's numbers; 0 for targets that they do not move.
    pub stack: f64,
    /// Of the level.
    pub level: f64,
    /// Of each GPU type's level.
    pub per_gpu: f64,
    /// Of the part that fades.
    pub nearby: f64,
    /// Its length, in natural logarithms of the numbers.
    pub length: f64,
}

impl Scale {
    /// What is believed of a target before the site's runs are looked at.
    pub const fn of(target: Target) -> Self {
        let (level, per_gpu, nearby) = match target {
            Target::OutputTokS | Target::ReqS | Target::TpotMs => (0.015, 0.004, 0.02),
            Target::TtftMs => (0.06, 0.01, 0.10),
            _ => (0.153, 0.030, 0.145),
        };
        Self {
            stack: if target.is_of_load() { 1.0 } else { 0.0 },
            level,
            per_gpu,
            nearby,
            length: 1.5,
        }
    }

    /// Covariance of the residuals of two runs, noise aside.
    pub fn covariance(&self, a: &SiteRun, b: &SiteRun) -> f64 {
        let stack: f64 = a
            .pulls
            .iter()
            .zip(b.pulls)
            .zip(VARIES)
            .map(|((x, y), varies)| f64::from(*x) * f64::from(y) * varies * varies)
            .sum();
        let gpu = if a.gpu() == b.gpu() {
            self.per_gpu
        } else {
            0.0
        };
        stack * self.stack * self.stack
            + self.level
            + gpu
            + self.nearby * a.nearness(b, self.length)
    }
}

/// A site's runs of one target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SiteShift {
    /// The runs.
    pub runs: Vec<SiteRun>,
    /// Kriging weights: `(K + noise I)^-1 r` over their log residuals `r`.
    pub weights: Vec<f64>,
    /// Variances of the parts.
    pub scale: Scale,
    /// Codes of the GPU types with a level of their own.
    pub gpus: Vec<u32>,
    /// Covariance of the effects given the runs, row by row.
    pub left: Vec<f64>,
    /// Standard deviations from the centre at which intervals end, measured by leaving out each
    /// cell; `None` while there are too few.
    pub reach: Option<f64>,
    /// Cells that it was measured on.
    pub cells: u32,
}

/// Cells of a site's own that count as much as what was measured elsewhere about the reach of its
/// intervals.
const CELLS_OF_ELSEWHERE: f64 = 8.0;

/// What a site's runs say about one setup.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shift {
    /// To be added to the logarithm of what is said of a place never seen.
    pub by: f64,
    /// Standard deviation (log) that is left.
    pub doubt: f64,
    /// The same before the site's runs.
    pub prior: f64,
}

impl SiteShift {
    /// The shift at a setup; `None` without runs.
    pub fn at(&self, s: &Setup, p: &Physics, target: Target) -> Option<Shift> {
        if self.runs.is_empty() {
            return None;
        }
        Some(self.of(&SiteRun::of(s, p, target), |_| true))
    }

    /// The shift at a place; `counts` says which runs are near it.
    pub fn of(&self, here: &SiteRun, counts: impl Fn(usize) -> bool) -> Shift {
        let mut by = 0.0;
        let mut nearest = 0.0_f64;
        for (i, (run, weight)) in self.runs.iter().zip(&self.weights).enumerate() {
            by += weight * self.scale.covariance(run, here);
            if counts(i) {
                nearest = nearest.max(run.nearness(here, self.scale.length));
            }
        }
        let effects = here.effects(&self.scale, &self.gpus);
        let prior: f64 = effects.iter().map(|x| x * x).sum();
        let mut left = 0.0;
        for (row, a) in self.left.chunks_exact(EFFECTS).zip(&effects) {
            left += a * row.iter().zip(&effects).map(|(q, b)| q * b).sum::<f64>();
        }
        // Of the part that fades, what the nearest run tells.
        let told = nearest * nearest * self.scale.nearby / (self.scale.nearby + NOISE);
        let near = self.scale.nearby * (1.0 - told) + NOISE;
        Shift {
            by,
            doubt: (left.max(0.0) + near).sqrt(),
            prior: (prior + self.scale.nearby + NOISE).sqrt(),
        }
    }

    /// How far (log) the ends lie below and above a shifted centre: what leaving sources out gave, as
    /// much as doubt has shrunk, and by and by what leaving out this site's own cells gives.
    pub fn sides(&self, elsewhere: [f64; 2], shift: Shift) -> [f64; 2] {
        let shrunk = (shift.doubt / shift.prior.max(1e-9)).min(1.0);
        let of_elsewhere = elsewhere.map(|side| side * shrunk);
        let Some(reach) = self.reach else {
            return of_elsewhere;
        };
        let own = f64::from(self.cells);
        of_elsewhere.map(|side| {
            let squares = own * (reach * shift.doubt).powi(2) + CELLS_OF_ELSEWHERE * side * side;
            (squares / (own + CELLS_OF_ELSEWHERE)).sqrt()
        })
    }

    /// True where every number is finite.
    pub fn is_sound(&self) -> bool {
        let numbers = self.weights.iter().chain(&self.left);
        self.runs.len() == self.weights.len()
            && (self.runs.is_empty() || self.left.len() == EFFECTS * EFFECTS)
            && numbers.chain(&self.reach).all(|x| x.is_finite())
            && self.scale.length > 0.0
            || self.runs.is_empty()
    }

    /// The GPU types of these runs that get a level of their own: the most frequent first.
    pub fn gpu_types(runs: &[SiteRun]) -> Vec<u32> {
        let mut counted: Vec<(usize, u32)> = Vec::new();
        for run in runs {
            match counted.iter_mut().find(|(_, gpu)| *gpu == run.gpu()) {
                Some((n, _)) => *n += 1,
                None => counted.push((1, run.gpu())),
            }
        }
        counted.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        counted.truncate(GPU_TYPES);
        counted.into_iter().map(|(_, gpu)| gpu).collect()
    }
}
