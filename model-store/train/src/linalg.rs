//! Dense symmetric systems: Cholesky factors, their inverses, and products, in blocks.

use super::loops::{Part, solve_rows, subtract_product};

/// Rows and columns of one block.
const BLOCK: usize = 64;
/// Columns over which a block of the inverse is summed up at a time.
const DEPTH: usize = 4 * BLOCK;

/// A square matrix, row by row.
#[derive(Clone, Debug)]
pub(super) struct Square {
    pub(super) n: usize,
    pub(super) at: Vec<f64>,
}

impl Square {
    pub(super) fn zeros(n: usize) -> Self {
        Self {
            n,
            at: vec![0.0; n * n],
        }
    }

    pub(super) fn row(&self, i: usize) -> &[f64] {
        &self.at[i * self.n..(i + 1) * self.n]
    }

    /// Factors in place: the lower triangle becomes L with `L Lt` = the matrix. False where it is
    /// not positive definite.
    pub(super) fn cholesky(&mut self) -> bool {
        let n = self.n;
        for from in (0..n).step_by(BLOCK) {
            let to = (from + BLOCK).min(n);
            if !self.factor_block(from, to) {
                return false;
            }
            // Rows below a factored block: `X Lt = A`.
            let block = self.packed(from, to, from, to);
            solve_rows(&mut self.at[to * n..], n, from, &block);
            let width = to - from;
            let panel = self.packed(from, to, to, n);
            for j in (to..n).step_by(BLOCK) {
                let left = &panel[(j - to) * width..];
                let right = &left[..((j + BLOCK).min(n) - j) * width];
                let (left, right) = (Part::packed(left, width), Part::packed(right, width));
                subtract_product(&mut self.at[j * n + j..], n, left, right);
            }
        }
        true
    }

    fn factor_block(&mut self, from: usize, to: usize) -> bool {
        let n = self.n;
        for j in from..to {
            for i in j..to {
                let (a, b) = (
                    &self.at[i * n + from..i * n + j],
                    &self.at[j * n + from..j * n + j],
                );
                let sum: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
                let rest = self.at[i * n + j] - sum;
                if i == j {
                    if rest.is_nan() || rest <= 0.0 {
                        return false;
                    }
                    self.at[i * n + j] = rest.sqrt();
                } else {
                    self.at[i * n + j] = rest / self.at[j * n + j];
                }
            }
        }
        true
    }

    /// Columns `from..to` of the rows from `first` to `last`, one row behind the other.
    fn packed(&self, from: usize, to: usize, first: usize, last: usize) -> Vec<f64> {
        let rows = (first..last).map(|i| &self.row(i)[from..to]);
        rows.flatten().copied().collect()
    }

    /// Columns `from..to` of the rows `first..last`.
    fn part(&self, from: usize, to: usize, first: usize, last: usize) -> Part<'_> {
        Part {
            at: &self.at[first * self.n + from..],
            stride: self.n,
            rows: last - first,
            depth: to - from,
        }
    }

    /// Of a factored matrix: the transpose of `L^-1`. It is written over the factor, of which only
    /// the part below the diagonal is still asked for: one matrix of thousands of rows is enough.
    pub(super) fn into_inverse_of_factor(mut self) -> Triangle {
        let n = self.n;
        for from in (0..n).step_by(BLOCK) {
            let to = (from + BLOCK).min(n);
            let width = to - from;
            // Rows `from..to` of L^-1: the sum over what is known, then the block's own solution.
            let mut sums = vec![0.0; to * width];
            for k in (0..from).step_by(BLOCK) {
                let right = self.part(k, k + BLOCK, from, to);
                let left = self.part(k, k + BLOCK, 0, k + BLOCK);
                subtract_product(&mut sums, width, left, right);
            }
            for (i, row) in sums[from * width..].chunks_exact_mut(width).enumerate() {
                row[i] = 1.0;
            }
            solve_rows(&mut sums, width, 0, &self.packed(from, to, from, to));
            for (i, row) in sums.chunks_exact(width).enumerate() {
                self.at[i * n + from..i * n + to].copy_from_slice(row);
            }
        }
        Triangle::of(self)
    }

    /// Of a factored matrix: the solution of `L Lt x = y`.
    pub(super) fn solve(&self, y: &[f64]) -> Vec<f64> {
        let mut x = y.to_vec();
        for i in 0..self.n {
            let sum: f64 = self.row(i)[..i].iter().zip(&x).map(|(l, v)| l * v).sum();
            x[i] = (x[i] - sum) / self.row(i)[i];
        }
        for i in (0..self.n).rev() {
            x[i] /= self.row(i)[i];
            let v = x[i];
            for (other, l) in x[..i].iter_mut().zip(self.row(i)) {
                *other -= l * v;
            }
        }
        x
    }
}

/// The transpose of the inverse `L^-1` of a factor: an upper triangle, row by row from the diagonal
/// on.
#[derive(Clone, Debug)]
pub(super) struct Triangle {
    n: usize,
    at: Vec<f64>,
}

impl Triangle {
    /// The upper triangle of a matrix.
    fn of(mut matrix: Square) -> Self {
        let n = matrix.n;
        let mut next = 0;
        for i in 0..n {
            matrix.at.copy_within(i * n + i..(i + 1) * n, next);
            next += n - i;
        }
        matrix.at.truncate(next);
        matrix.at.shrink_to_fit();
        Self { n, at: matrix.at }
    }

    /// The row from the diagonal on.
    fn row(&self, i: usize) -> &[f64] {
        let at = i * (2 * self.n + 1 - i) / 2;
        &self.at[at..at + self.n - i]
    }

    /// The block of the inverse matrix at these rows and columns, which ascend: its lower triangle.
    pub(super) fn inverse_block(&self, chosen: &[usize]) -> Square {
        let m = chosen.len();
        let mut out = Square::zeros(m);
        for k in (0..self.n).step_by(DEPTH) {
            let to = (k + DEPTH).min(self.n);
            // Rows that begin behind these columns have nothing in them.
            let reach = chosen.partition_point(|i| *i < to);
            let mut packed = Vec::with_capacity(reach * (to - k));
            for i in &chosen[..reach] {
                packed.extend((k..*i).map(|_| 0.0));
                packed.extend_from_slice(&self.row(*i)[k.max(*i) - i..to - i]);
            }
            let width = to - k;
            for j in (0..reach).step_by(BLOCK) {
                let left = &packed[j * width..];
                let right = &left[..((j + BLOCK).min(reach) - j) * width];
                let (left, right) = (Part::packed(left, width), Part::packed(right, width));
                subtract_product(&mut out.at[j * m + j..], m, left, right);
            }
        }
        out.at.iter_mut().for_each(|x| *x = -*x);
        out
    }

    /// The product of the inverse matrix with a vector.
    pub(super) fn inverse_times(&self, y: &[f64]) -> Vec<f64> {
        let mut inner = vec![0.0; self.n];
        for (i, y) in y.iter().enumerate() {
            for (sum, m) in inner[i..].iter_mut().zip(self.row(i)) {
                *sum += m * y;
            }
        }
        let of_row = |i: usize| {
            self.row(i)
                .iter()
                .zip(&inner[i..])
                .map(|(m, z)| m * z)
                .sum()
        };
        (0..self.n).map(of_row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn positive(n: usize, seed: u64) -> Square {
        let mut random = seed;
        let mut unit = || {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 40) as f64 / (1u64 << 24) as f64 - 0.5
        };
        let a: Vec<f64> = (0..n * n).map(|_| unit()).collect();
        let mut out = Square::zeros(n);
        for i in 0..n {
            for j in 0..n {
                let dot: f64 = (0..n).map(|k| a[i * n + k] * a[j * n + k]).sum();
                out.at[i * n + j] = dot + if i == j { 1.0 } else { 0.0 };
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn factor_inverse_and_solution_agree(n in 1usize..210, seed in any::<u64>()) {
            let matrix = positive(n, seed);
            let mut factor = matrix.clone();
            prop_assert!(factor.cholesky());
            let y: Vec<f64> = (0..n).map(|i| (i as f64).sin()).collect();
            let x = factor.solve(&y);
            let inverse = factor.clone().into_inverse_of_factor();
            let again = inverse.inverse_times(&y);
            for i in 0..n {
                let back: f64 = matrix.row(i).iter().zip(&x).map(|(a, b)| a * b).sum();
                prop_assert!((back - y[i]).abs() < 1e-8, "{back} {}", y[i]);
                prop_assert!((x[i] - again[i]).abs() < 1e-8);
            }
            let chosen: Vec<usize> = (0..n).step_by(3).collect();
            let block = inverse.inverse_block(&chosen);
            for (a, i) in chosen.iter().enumerate() {
                let unit: Vec<f64> = (0..n).map(|k| f64::from(u8::from(k == *i))).collect();
                let column = factor.solve(&unit);
                for (b, j) in chosen.iter().enumerate().filter(|(b, _)| *b <= a) {
                    prop_assert!((block.at[a * block.n + b] - column[*j]).abs() < 1e-8);
                }
            }
        }
    }
}
