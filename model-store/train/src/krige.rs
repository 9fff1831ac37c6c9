//! Fits a site's shift: kriging weights, and what each cell would have been predicted without
//! itself.

use crate::advisor::site::{NOISE, SiteRun, SiteShift};

/// Covariance matrix of a site's runs, inverted.
pub(super) struct Kriging {
    runs: Vec<SiteRun>,
    inverse: Vec<f64>,
    weights: Vec<f64>,
}

impl Kriging {
    /// Solves for the weights of these residuals. At most a few hundred runs: the cost is cubic.
    pub(super) fn fit(runs: Vec<SiteRun>, residuals: &[f64]) -> Self {
        let n = runs.len();
        let mut covariance = vec![0.0; n * n];
        for (i, a) in runs.iter().enumerate() {
            for (j, b) in runs.iter().enumerate() {
                covariance[i * n + j] = a.covariance(b) + if i == j { NOISE } else { 0.0 };
            }
        }
        let inverse = invert(covariance, n);
        let weights = (0..n)
            .map(|i| dot(&inverse[i * n..(i + 1) * n], residuals))
            .collect();
        Self {
            runs,
            inverse,
            weights,
        }
    }

    /// What remains of each run of one cell about the shift that the other cells call for: the
    /// block form of leave-one-out, `(Q_bb)^-1 w_b` with Q the inverse covariance.
    pub(super) fn remains_without(&self, cell: &[usize]) -> Vec<f64> {
        let (n, m) = (self.runs.len(), cell.len());
        let block: Vec<f64> = cell
            .iter()
            .flat_map(|i| cell.iter().map(move |j| self.inverse[i * n + j]))
            .collect();
        let inverse = invert(block, m);
        let weights: Vec<f64> = cell.iter().map(|i| self.weights[*i]).collect();
        (0..m)
            .map(|i| dot(&inverse[i * m..(i + 1) * m], &weights))
            .collect()
    }

    /// The published part.
    pub(super) fn shift(self) -> SiteShift {
        SiteShift {
            runs: self.runs,
            weights: self.weights,
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Inverse of a symmetric positive definite matrix by Gauss-Jordan elimination, which needs no
/// pivoting for such a one.
fn invert(mut a: Vec<f64>, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; n * n];
    for i in 0..n {
        out[i * n + i] = 1.0;
    }
    for k in 0..n {
        let pivot = 1.0 / a[k * n + k].max(1e-12);
        for j in 0..n {
            a[k * n + j] *= pivot;
            out[k * n + j] *= pivot;
        }
        let (row_a, row_out) = (
            a[k * n..(k + 1) * n].to_vec(),
            out[k * n..(k + 1) * n].to_vec(),
        );
        for i in (0..n).filter(|i| *i != k) {
            let factor = a[i * n + k];
            for j in 0..n {
                a[i * n + j] -= factor * row_a[j];
                out[i * n + j] -= factor * row_out[j];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::advisor::Precision;
    use proptest::prelude::*;

    fn run(gpu: &str, tp: f32, in_flight: f32) -> SiteRun {
        SiteRun {
            model: "m".into(),
            gpu: gpu.into(),
            precision: Precision::Fp8,
            at: [tp, 7.0, in_flight],
        }
    }

    fn shift_at(shift: &SiteShift, here: &SiteRun) -> f64 {
        shift
            .runs
            .iter()
            .zip(&shift.weights)
            .map(|(r, w)| r.covariance(here) * w)
            .sum()
    }

    #[test]
    fn runs_of_one_configuration_lower_all_of_them_and_that_one_most() {
        let runs = vec![run("H200", 0.0, 4.0); 3];
        let shift = Kriging::fit(runs.clone(), &[-1.0; 3]).shift();
        let [here, other_tp, other_gpu] = [
            run("H200", 0.0, 4.0),
            run("H200", 3.0, 4.0),
            run("H100-SXM", 0.0, 4.0),
        ]
        .map(|r| shift_at(&shift, &r));
        assert!((here + 1.0).abs() < 0.02, "{here}");
        assert!(
            here < other_tp && other_tp < other_gpu && other_gpu < -0.3,
            "{here} {other_tp} {other_gpu}"
        );
    }

    proptest! {
        /// The block formula against leaving the cell out and solving anew.
        #[test]
        fn leaving_a_cell_out_is_what_solving_without_it_gives(
            points in prop::collection::vec((0..3u8, 0.0..3.0f32, 1.0..6.0f32, -1.0..1.0f64), 3..12),
            size in 1..3usize,
        ) {
            let runs: Vec<SiteRun> = points.iter().map(|(g, tp, c, _)| run(["A", "B", "C"][*g as usize], *tp, *c)).collect();
            let residuals: Vec<f64> = points.iter().map(|p| p.3).collect();
            let left: Vec<usize> = (0..size).collect();
            let fast = Kriging::fit(runs.clone(), &residuals).remains_without(&left);
            let shift = Kriging::fit(runs[size..].to_vec(), &residuals[size..]).shift();
            for i in left {
                let slow = residuals[i] - shift_at(&shift, &runs[i]);
                prop_assert!((fast[i] - slow).abs() < 1e-6, "{} {}", fast[i], slow);
            }
        }
    }
}
