//! Fits a site's shift: kriging weights, and what each cell would have been predicted without
//! itself.

use std::collections::BTreeMap;

use super::linalg::Square;
use crate::advisor::Target;
use crate::advisor::conformal::{LEVEL, quantile};
use crate::advisor::site::{EFFECTS, NOISE, Scale, SiteRun, SiteShift};

/// Factors on the variances that are believed before the runs are looked at, of which the most
/// likely is taken: of the stack's numbers, of the nearby part, and the length of that.
const STACK: [f64; 3] = [0.5, 1.0, 2.0];
const NEARBY: [f64; 3] = [0.25, 1.0, 4.0];
const LENGTH: [f64; 3] = [0.8, 1.5, 3.0];

/// Spread (log) of the belief about each factor.
const BELIEF: f64 = 0.7;

/// Fewest runs from which the factors are asked for, and the most that answer.
const FEWEST_RUNS: usize = 8;
const MOST_RUNS: usize = 120;

/// Fewest cells from which a site's own reach is measured.
const FEWEST_CELLS: usize = 4;

/// Covariance matrix of a site's runs, inverted.
pub(super) struct Kriging {
    shift: SiteShift,
    inverse: Square,
}

impl Kriging {
    /// Solves for the weights of these residuals. At most a few hundred runs: the cost is cubic.
    /// `None` where the covariance cannot be factored.
    pub(super) fn fit(runs: Vec<SiteRun>, residuals: &[f64], target: Target) -> Option<Self> {
        let scale = most_likely(&runs, residuals, Scale::of(target));
        let factor = factor(&runs, &scale)?;
        let weights = factor.solve(residuals);
        let all: Vec<usize> = (0..runs.len()).collect();
        let inverse = factor.into_inverse_of_factor().inverse_block(&all);
        let gpus = SiteShift::gpu_types(&runs);
        let left = left_of_effects(&runs, &scale, &gpus, &inverse);
        let shift = SiteShift {
            runs,
            weights,
            scale,
            gpus,
            left,
            reach: None,
            cells: 0,
        };
        Some(Self { shift, inverse })
    }

    /// What remains of each run of one cell about the shift that the other cells call for: the
    /// block form of leave-one-out, `(Q_bb)^-1 w_b` with Q the inverse covariance.
    pub(super) fn remains_without(&self, cell: &[usize]) -> Vec<f64> {
        let m = cell.len();
        let mut block = Square::zeros(m);
        for (a, i) in cell.iter().enumerate() {
            for (b, j) in cell.iter().enumerate() {
                block.at[a * m + b] = self.inverse.row(*i)[*j];
            }
        }
        let weights: Vec<f64> = cell.iter().map(|i| self.shift.weights[*i]).collect();
        if block.cholesky() {
            block.solve(&weights)
        } else {
            weights
        }
    }

    /// The published part. `cells` says which runs are of one cell; each is scored under the shift
    /// that the others call for, in standard deviations of what is then in doubt.
    pub(super) fn shift(mut self, cells: &[u64]) -> SiteShift {
        let mut by_cell: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (i, cell) in cells.iter().enumerate() {
            by_cell.entry(*cell).or_default().push(i);
        }
        let mut scores = Vec::new();
        for cell in by_cell.values() {
            for (i, remains) in cell.iter().zip(self.remains_without(cell)) {
                let others = |j: usize| !cell.contains(&j);
                let doubt = self.shift.of(&self.shift.runs[*i], others).doubt;
                scores.push(remains.abs() / doubt);
            }
        }
        // Runs of one cell all count in the quantile; that there are enough cells is asked beside it.
        self.shift.cells = u32::try_from(by_cell.len()).unwrap_or(u32::MAX);
        if by_cell.len() >= FEWEST_CELLS {
            self.shift.reach = quantile(&mut scores, LEVEL);
        }
        self.shift
    }
}

fn factor(runs: &[SiteRun], scale: &Scale) -> Option<Square> {
    let n = runs.len();
    let mut covariance = Square::zeros(n);
    for (i, a) in runs.iter().enumerate() {
        for (j, b) in runs.iter().enumerate().take(i + 1) {
            let noise = if i == j { NOISE } else { 0.0 };
            covariance.at[i * n + j] = scale.covariance(a, b) + noise;
        }
    }
    covariance.cholesky().then_some(covariance)
}

/// The scale at which the residuals are most likely, under a belief about each factor.
fn most_likely(runs: &[SiteRun], residuals: &[f64], about: Scale) -> Scale {
    if runs.len() < FEWEST_RUNS {
        return about;
    }
    // Evenly spread over the runs, which are sorted by source.
    let taken = |i: &usize| {
        let n = runs.len();
        n <= MOST_RUNS || (i * MOST_RUNS / n) != ((i + 1) * MOST_RUNS / n)
    };
    let chosen: Vec<usize> = (0..runs.len()).filter(taken).collect();
    let some: Vec<SiteRun> = chosen.iter().map(|i| runs[*i].clone()).collect();
    let y: Vec<f64> = chosen.iter().map(|i| residuals[*i]).collect();
    let mut best = (f64::NEG_INFINITY, about);
    for stack in STACK {
        for nearby in NEARBY {
            for length in LENGTH {
                let scale = Scale {
                    stack: about.stack * stack,
                    nearby: about.nearby * nearby,
                    length,
                    ..about
                };
                let off: f64 = [stack, nearby.sqrt(), length / about.length]
                    .iter()
                    .map(|x| (x.ln() / BELIEF).powi(2))
                    .sum();
                let likelihood = log_likelihood(&some, &y, &scale).map(|l| l - off / 2.0);
                if let Some(l) = likelihood.filter(|l| *l > best.0) {
                    best = (l, scale);
                }
            }
        }
    }
    best.1
}

fn log_likelihood(runs: &[SiteRun], y: &[f64], scale: &Scale) -> Option<f64> {
    let factor = factor(runs, scale)?;
    let fit: f64 = factor.solve(y).iter().zip(y).map(|(a, b)| a * b).sum();
    let half_log_determinant: f64 = (0..runs.len()).map(|i| factor.row(i)[i].ln()).sum();
    Some(-0.5 * fit - half_log_determinant)
}

/// Covariance of the effects given the runs: `I - F' Q F`, F the effects' shares in each run.
fn left_of_effects(runs: &[SiteRun], scale: &Scale, gpus: &[u32], inverse: &Square) -> Vec<f64> {
    let shares: Vec<[f64; EFFECTS]> = runs.iter().map(|r| r.effects(scale, gpus)).collect();
    let mut told = vec![[0.0; EFFECTS]; runs.len()];
    for (i, row) in told.iter_mut().enumerate() {
        for (q, share) in inverse.row(i).iter().zip(&shares) {
            for (cell, x) in row.iter_mut().zip(share) {
                *cell += q * x;
            }
        }
    }
    let mut out = vec![0.0; EFFECTS * EFFECTS];
    for a in 0..EFFECTS {
        for b in 0..EFFECTS {
            let sum: f64 = shares.iter().zip(&told).map(|(f, q)| f[a] * q[b]).sum();
            out[a * EFFECTS + b] = f64::from(u8::from(a == b)) - sum;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advisor::physics::physics;
    use crate::advisor::{Case, Catalogue, Precision, Setup, Variant, Workload};
    use proptest::prelude::*;

    const TARGET: Target = Target::OutputTokS;

    fn run(gpu: usize, tp: u32, in_flight: f64) -> SiteRun {
        let case = Case {
            model: "meta-llama/Llama-3.1-70B-Instruct".into(),
            params_b: None,
            active_params_b: None,
            gpu: ["H200", "H100-SXM", "A100-80GB"][gpu].into(),
            gpu_mem_gb: None,
            tp: Some(tp),
            pp: 1,
            dp: 1,
            precision: Some(Precision::Fp8),
            kv_precision: None,
            isl: Some(1000.0),
            osl: Some(500.0),
            workload: Workload::ClosedLoop,
            concurrency: Some(in_flight),
            request_rate: None,
            engine: "vllm".into(),
            engine_version: String::new(),
            variant: Variant::default(),
        };
        let catalogue = Catalogue::built_in();
        let s = Setup::of_case(&case, "", &catalogue).unwrap();
        SiteRun::of(&s, &physics(&s), TARGET)
    }

    fn shift_at(shift: &SiteShift, here: &SiteRun) -> f64 {
        shift.of(here, |_| true).by
    }

    #[test]
    fn runs_of_one_configuration_lower_all_of_them_and_that_one_most() {
        let runs = vec![run(0, 2, 64.0); 3];
        let kriging = Kriging::fit(runs, &[-0.5; 3], TARGET).unwrap();
        let shift = kriging.shift(&[1, 1, 1]);
        let [here, other_tp, other_gpu] =
            [run(0, 2, 64.0), run(0, 8, 64.0), run(1, 8, 8.0)].map(|r| shift_at(&shift, &r));
        assert!((here + 0.5).abs() < 0.05, "{here}");
        assert!(here < other_tp && other_tp < -0.1, "{here} {other_tp}");
        assert!(here < other_gpu && other_gpu < -0.1, "{here} {other_gpu}");
        let doubt = |r: &SiteRun| shift.of(r, |_| true).doubt;
        assert!(doubt(&run(0, 2, 64.0)) < doubt(&run(1, 8, 8.0)));
        assert!(doubt(&run(1, 8, 8.0)) < shift.of(&run(1, 8, 8.0), |_| true).prior);
    }

    /// An engine whose steps take longer for each sequence: measured at two loads, it is foretold at
    /// a third.
    #[test]
    fn what_a_stack_adds_is_told_from_the_loads_at_which_it_shows() {
        let loads = [4.0, 16.0, 64.0, 256.0];
        let runs: Vec<SiteRun> = loads.iter().map(|n| run(0, 2, *n)).collect();
        let slow = |n: f64| -0.4 * n / (n + 100.0);
        let residuals: Vec<f64> = loads.iter().map(|n| slow(*n)).collect();
        let shift = Kriging::fit(runs, &residuals, TARGET)
            .unwrap()
            .shift(&[1, 2, 3, 4]);
        let told = |n: f64| shift_at(&shift, &run(0, 2, n));
        assert!((told(128.0) - slow(128.0)).abs() < 0.06, "{}", told(128.0));
        assert!(told(2.0).abs() < 0.08, "{}", told(2.0));
    }

    proptest! {
        /// The block formula against leaving the cell out and solving anew.
        #[test]
        fn leaving_a_cell_out_is_what_solving_without_it_gives(
            points in prop::collection::vec((0..3usize, 0..4u32, 1.0..600.0f64, -1.0..1.0f64), 3..7), size in 1..3usize,
        ) {
            let runs: Vec<SiteRun> = points.iter().map(|(g, tp, n, _)| run(*g, 1 << tp, *n)).collect();
            let residuals: Vec<f64> = points.iter().map(|p| p.3).collect();
            let left: Vec<usize> = (0..size).collect();
            let fast = Kriging::fit(runs.clone(), &residuals, TARGET).unwrap().remains_without(&left);
            let shift = Kriging::fit(runs[size..].to_vec(), &residuals[size..], TARGET).unwrap();
            let shift = shift.shift(&vec![0; runs.len() - size]);
            for i in left {
                let slow = residuals[i] - shift_at(&shift, &runs[i]);
                prop_assert!((fast[i] - slow).abs() < 1e-6, "{} {}", fast[i], slow);
            }
        }
    }
}
