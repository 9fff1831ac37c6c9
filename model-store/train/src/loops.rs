//! The inmost loops of fitting, for the vector units that this machine has.
//!
//! Every sum is taken in a fixed order and nothing is contracted into fused operations, so the
//! same input gives the same bits on every x86-64 machine, whichever vector width it has.

use crate::advisor::matern;

/// Rows and columns of a product that are kept in registers.
const TALL: usize = 4;
const WIDE: usize = 8;
/// Rows that are solved for at a time.
const BESIDE: usize = 16;

/// Rows of a matrix, or of some of its columns.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// Where the first row begins.
    pub(super) at: &'a [f64],
    /// From one row to the next.
    pub(super) stride: usize,
    /// Rows.
    pub(super) rows: usize,
    /// Entries of each row.
    pub(super) depth: usize,
}

impl<'a> Part<'a> {
    /// Rows of `depth` entries, one behind the other.
    pub(super) fn packed(at: &'a [f64], depth: usize) -> Self {
        Self {
            at,
            stride: depth,
            rows: at.len() / depth.max(1),
            depth,
        }
    }

    #[inline(always)]
    fn row(&self, i: usize) -> &'a [f64] {
        &self.at[i * self.stride..][..self.depth]
    }

    /// Eight rows beside each other for every step of the depth, zeros where there are fewer.
    fn panels(&self) -> Vec<[f64; WIDE]> {
        let mut out = vec![[0.0; WIDE]; self.rows.div_ceil(WIDE) * self.depth];
        for i in 0..self.rows {
            let panel = &mut out[i / WIDE * self.depth..][..self.depth];
            for (beside, x) in panel.iter_mut().zip(self.row(i)) {
                beside[i % WIDE] = *x;
            }
        }
        out
    }
}

#[inline(always)]
fn plain_subtract_product(c: &mut [f64], stride: usize, left: Part, right: Part) {
    if right.depth == 0 {
        return;
    }
    let panels = right.panels();
    for i in (0..left.rows).step_by(TALL) {
        // Rows behind the last one repeat it, and what they give is dropped.
        let rows = std::array::from_fn(|t| left.row((i + t).min(left.rows - 1)));
        for (p, panel) in panels.chunks_exact(right.depth).enumerate() {
            let sums = tile(rows, panel);
            let wide = (right.rows - p * WIDE).min(WIDE);
            for (t, sums) in sums.iter().enumerate().take(left.rows - i) {
                let at = (i + t) * stride + p * WIDE;
                let row = &mut c[at..at + wide];
                match <&mut [f64; WIDE]>::try_from(&mut *row) {
                    Ok(whole) => (0..WIDE).for_each(|w| whole[w] -= sums[w]),
                    Err(_) => row.iter_mut().zip(sums).for_each(|(c, s)| *c -= s),
                }
            }
        }
    }
}

/// Iterators side by side rather than indices: the sums then stay in registers.
#[inline(always)]
fn tile([a, b, c, d]: [&[f64]; TALL], right: &[[f64; WIDE]]) -> [[f64; WIDE]; TALL] {
    let mut sums = [[0.0; WIDE]; TALL];
    for ((((r, a), b), c), d) in right.iter().zip(a).zip(b).zip(c).zip(d) {
        for (sums, l) in sums.iter_mut().zip([a, b, c, d]) {
            for (sum, r) in sums.iter_mut().zip(r) {
                *sum += l * r;
            }
        }
    }
    sums
}

/// The same body for each width of vector units.
macro_rules! for_every_width {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) $(-> $out:ty)? = $plain:path;)*) => {
        #[cfg(target_arch = "x86_64")]
        mod avx512 {
            use super::*;
            $(#[target_feature(enable = "avx512f")]
            pub(super) fn $name($($arg: $type),*) $(-> $out)? { $plain($($arg),*) })*
        }

        #[cfg(target_arch = "x86_64")]
        mod avx2 {
            use super::*;
            $(#[target_feature(enable = "avx2")]
            pub(super) fn $name($($arg: $type),*) $(-> $out)? { $plain($($arg),*) })*
        }

        $($(#[$doc])*
        pub(super) fn $name($($arg: $type),*) $(-> $out)? {
            #[cfg(target_arch = "x86_64")]
            {
                if std::arch::is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has AVX-512F, as just asked.
                    return unsafe { avx512::$name($($arg),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the processor has AVX2, as just asked.
                    return unsafe { avx2::$name($($arg),*) };
                }
            }
            $plain($($arg),*)
        })*
    };
}

for_every_width! {
    /// `c -= left x rightt`, where `c` has rows of `stride`.
    fn subtract_product(c: &mut [f64], stride: usize, left: Part, right: Part) = plain_subtract_product;

    /// `X Lt = A` in place, for as many columns as L has, from `from` on, of rows of `stride`: `block` is L, row by row.
    fn solve_rows(rows: &mut [f64], stride: usize, from: usize, block: &[f64]) = plain_solve_rows;

    /// `sum += w x`.
    fn add_scaled(sum: &mut [f32], w: f32, x: &[f32]) = plain_add_scaled;

    /// Covariances of squared distances, as shares of that of a point with itself.
    fn materns(out: &mut [f32], squared: &[f32]) = plain_materns;

    /// Derivatives by the squared distance of the pairs of one row, times `variance`: `pull` is that by the covariance.
    fn slopes(out: &mut [f32], pull: &[f64], variance: f64, squared: &[f32], covariance: &[f32]) = plain_slopes;

    /// Sum of products.
    fn dot(x: &[f32], y: &[f32]) -> f32 = plain_dot;
}

/// Some rows beside each other: their sums do not wait for each other.
#[inline(always)]
fn plain_solve_rows(rows: &mut [f64], stride: usize, from: usize, block: &[f64]) {
    let width = block.len().isqrt();
    let mut beside = vec![[0.0; BESIDE]; width];
    for rows in rows.chunks_mut(BESIDE * stride) {
        for (r, row) in rows.chunks_exact(stride).enumerate() {
            for (x, of_row) in beside.iter_mut().zip(&row[from..]) {
                x[r] = *of_row;
            }
        }
        for (j, of_block) in block.chunks_exact(width).enumerate() {
            let mut rest = beside[j];
            for (v, l) in beside[..j].iter().zip(of_block) {
                for (rest, v) in rest.iter_mut().zip(v) {
                    *rest -= v * l;
                }
            }
            beside[j] = rest.map(|x| x / of_block[j]);
        }
        for (r, row) in rows.chunks_exact_mut(stride).enumerate() {
            for (x, of_row) in beside.iter().zip(&mut row[from..]) {
                *of_row = x[r];
            }
        }
    }
}

#[inline(always)]
fn plain_add_scaled(sum: &mut [f32], w: f32, x: &[f32]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += w * x);
}

#[inline(always)]
fn plain_materns(out: &mut [f32], squared: &[f32]) {
    out.iter_mut()
        .zip(squared)
        .for_each(|(k, d)| *k = matern(*d));
}

#[inline(always)]
fn plain_slopes(out: &mut [f32], pull: &[f64], variance: f64, squared: &[f32], covariance: &[f32]) {
    let pairs = pull.iter().zip(squared.iter().zip(covariance));
    for (out, (pull, (d, k))) in out.iter_mut().zip(pairs) {
        *out = (pull * variance) as f32 * -1.5 * k / (1.0 + (3.0 * d).sqrt());
    }
}

/// In eight lanes, so that it can be vectorised without changing its order.
#[inline(always)]
fn plain_dot(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 8];
    for (x, y) in x.chunks_exact(8).zip(y.chunks_exact(8)) {
        for (sum, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    let rest: f32 = x
        .chunks_exact(8)
        .remainder()
        .iter()
        .zip(y.chunks_exact(8).remainder())
        .map(|(x, y)| x * y)
        .sum();
    lanes.iter().sum::<f32>() + rest
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What every loop gives of the same numbers.
    macro_rules! all_of {
        ($width:ident, $x:expr, $n:expr) => {{
            let (x, n): (&[f64], usize) = ($x, $n);
            let rows = Part::packed(&x[..n * 7], 7);
            let mut product = vec![0.5; n * n];
            let mut solved = x[..n * 9].to_vec();
            let block: Vec<f64> = x[..49].iter().map(|x| x + 3.0).collect();
            let squared: Vec<f32> = x.iter().map(|x| (x * x) as f32).collect();
            let (mut sum, mut covariance, mut slope) =
                (squared.clone(), squared.clone(), squared.clone());
            // SAFETY: the caller has asked whether the processor has these units.
            let dot = unsafe {
                $width::subtract_product(&mut product, n, rows, rows);
                $width::solve_rows(&mut solved, 9, 1, &block);
                $width::add_scaled(&mut sum, 0.3, &squared);
                $width::materns(&mut covariance, &squared);
                $width::slopes(&mut slope, x, 0.7, &squared, &covariance);
                $width::dot(&sum, &slope)
            };
            let single = [sum, covariance, slope, vec![dot]].concat();
            let bits: Vec<u32> = single.iter().map(|x| x.to_bits()).collect();
            let double = [product, solved].concat();
            (bits, double.iter().map(|x| x.to_bits()).collect::<Vec<_>>())
        }};
    }

    /// The loops as they are for any processor.
    mod any {
        pub(super) use super::super::{
            plain_add_scaled as add_scaled, plain_dot as dot, plain_materns as materns,
            plain_slopes as slopes, plain_solve_rows as solve_rows,
            plain_subtract_product as subtract_product,
        };
    }

    proptest! {
        #[test]
        fn every_vector_unit_gives_the_same_bits(
            x in prop::collection::vec(-2.0..2.0f64, 23 * 9),
            n in 1usize..23,
        ) {
            #[allow(unused_unsafe)] // the plain ones need none
            let plain = all_of!(any, &x, n);
            if std::arch::is_x86_feature_detected!("avx2") {
                prop_assert!(plain == all_of!(avx2, &x, n));
            }
            if std::arch::is_x86_feature_detected!("avx512f") {
                prop_assert!(plain == all_of!(avx512, &x, n));
            }
        }
    }
}
