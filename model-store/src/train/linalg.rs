//! Dense symmetric systems: Cholesky factors, their inverses, and products, in blocks.
//!
//! Every sum is taken in a fixed order and nothing is contracted into fused operations, so the
//! same input gives the same bits on every x86-64 machine, whichever vector width it has.

/// Rows and columns of one block.
const BLOCK: usize = 64;
/// Rows and columns that the inner loop keeps in registers.
const TALL: usize = 4;
const WIDE: usize = 8;

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
            self.solve_panel(from, to);
            let panel = self.columns(from, to, to, n);
            let width = to - from;
            for j in (to..n).step_by(BLOCK) {
                let right = &panel[(j - to) * width..((j + BLOCK).min(n) - to) * width];
                let left = &panel[(j - to) * width..];
                subtract_product(&mut self.at[j * n + j..], n, left, right, width);
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

    /// Rows below a factored block: `X Lt = A`.
    fn solve_panel(&mut self, from: usize, to: usize) {
        let n = self.n;
        let block = self.block_columns(from, to);
        for row in self.at[to * n..].chunks_exact_mut(n) {
            solve_row(&mut row[from..to], &block);
        }
    }

    /// The factored block at `from..to`, column by column.
    fn block_columns(&self, from: usize, to: usize) -> Vec<f64> {
        (from..to)
            .flat_map(|j| (from..to).map(move |i| (i, j)))
            .map(|(i, j)| if i < j { 0.0 } else { self.at[i * self.n + j] })
            .collect()
    }

    /// Columns `from..to` of rows `first..last`, packed.
    fn columns(&self, from: usize, to: usize, first: usize, last: usize) -> Vec<f64> {
        (first..last)
            .flat_map(|i| self.row(i)[from..to].iter().copied())
            .collect()
    }

    /// Of a factored matrix: the transpose of `L^-1`, an upper triangle.
    pub(super) fn inverse_of_factor(&self) -> Self {
        let n = self.n;
        let mut out = Self::zeros(n);
        for from in (0..n).step_by(BLOCK) {
            let to = (from + BLOCK).min(n);
            let width = to - from;
            // Rows `from..to` of L^-1: the sum over what is known, then the block's own solution.
            let mut sums = vec![0.0; to * width];
            for k in (0..from).step_by(BLOCK) {
                let right = self.columns(k, k + BLOCK, from, to);
                let left = out.columns(k, k + BLOCK, 0, k + BLOCK);
                subtract_product(&mut sums, width, &left, &right, BLOCK);
            }
            let block = self.block_columns(from, to);
            for (i, row) in sums.chunks_exact_mut(width).enumerate() {
                if i >= from {
                    row[i - from] = 1.0;
                }
                solve_row(row, &block);
                out.at[i * n + from..i * n + to].copy_from_slice(row);
            }
        }
        out
    }

    /// Of the transpose of `L^-1`: the block of the inverse matrix at these rows and columns.
    pub(super) fn inverse_block(&self, chosen: &[usize]) -> Self {
        let m = chosen.len();
        let mut out = Self::zeros(m);
        for k in (0..self.n).step_by(BLOCK * 4) {
            let to = (k + BLOCK * 4).min(self.n);
            let packed: Vec<f64> = chosen
                .iter()
                .flat_map(|i| self.row(*i)[k..to].iter().copied())
                .collect();
            let width = to - k;
            for j in (0..m).step_by(BLOCK) {
                let right = &packed[j * width..(j + BLOCK).min(m) * width];
                subtract_product(
                    &mut out.at[j * m + j..],
                    m,
                    &packed[j * width..],
                    right,
                    width,
                );
            }
        }
        out.at.iter_mut().for_each(|x| *x = -*x);
        out
    }

    /// Of the transpose of `L^-1`: the product of the inverse matrix with a vector.
    pub(super) fn inverse_times(&self, y: &[f64]) -> Vec<f64> {
        let mut inner = vec![0.0; self.n];
        for (i, y) in y.iter().enumerate() {
            for (sum, m) in inner[i..].iter_mut().zip(&self.row(i)[i..]) {
                *sum += m * y;
            }
        }
        (0..self.n)
            .map(|i| {
                self.row(i)[i..]
                    .iter()
                    .zip(&inner[i..])
                    .map(|(m, z)| m * z)
                    .sum()
            })
            .collect()
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

/// One row of `X Lt = A`, with L column by column: the inner loop runs over independent entries.
fn solve_row(x: &mut [f64], block: &[f64]) {
    let width = x.len();
    for (j, column) in block.chunks_exact(width).enumerate() {
        let v = x[j] / column[j];
        x[j] = v;
        for (rest, l) in x[j + 1..].iter_mut().zip(&column[j + 1..]) {
            *rest -= v * l;
        }
    }
}

/// `c -= left x rightt`, where both are packed rows of `depth`, and `c` has rows of `stride`.
fn subtract_product(c: &mut [f64], stride: usize, left: &[f64], right: &[f64], depth: usize) {
    if depth == 0 {
        return;
    }
    let columns = right.len() / depth;
    // The right side, eight columns beside each other for every step of the depth.
    let panels: Vec<Vec<[f64; WIDE]>> = (0..columns)
        .step_by(WIDE)
        .map(|j| {
            (0..depth)
                .map(|k| {
                    std::array::from_fn(|w| {
                        if j + w < columns {
                            right[(j + w) * depth + k]
                        } else {
                            0.0
                        }
                    })
                })
                .collect()
        })
        .collect();
    for (i, rows) in left.chunks(TALL * depth).enumerate() {
        let tall = rows.len() / depth;
        let packed: Vec<[f64; TALL]> = (0..depth)
            .map(|k| std::array::from_fn(|t| if t < tall { rows[t * depth + k] } else { 0.0 }))
            .collect();
        for (p, panel) in panels.iter().enumerate() {
            let tile = tile(&packed, panel);
            let wide = (columns - p * WIDE).min(WIDE);
            for (t, sums) in tile.iter().enumerate().take(tall) {
                let at = (i * TALL + t) * stride + p * WIDE;
                if let Some(row) = c.get_mut(at..at + wide) {
                    row.iter_mut().zip(sums).for_each(|(c, s)| *c -= s);
                }
            }
        }
    }
}

type Tile = [[f64; WIDE]; TALL];

fn tile(left: &[[f64; TALL]], right: &[[f64; WIDE]]) -> Tile {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has AVX-512F, as just asked.
            return unsafe { tile_avx512(left, right) };
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, as just asked.
            return unsafe { tile_avx2(left, right) };
        }
    }
    tile_plain(left, right)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn tile_avx512(left: &[[f64; TALL]], right: &[[f64; WIDE]]) -> Tile {
    tile_plain(left, right)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn tile_avx2(left: &[[f64; TALL]], right: &[[f64; WIDE]]) -> Tile {
    tile_plain(left, right)
}

#[inline(always)]
fn tile_plain(left: &[[f64; TALL]], right: &[[f64; WIDE]]) -> Tile {
    let mut sums = [[0.0; WIDE]; TALL];
    for (l, r) in left.iter().zip(right) {
        for t in 0..TALL {
            for w in 0..WIDE {
                sums[t][w] += l[t] * r[w];
            }
        }
    }
    sums
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
            let inverse = factor.inverse_of_factor();
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
