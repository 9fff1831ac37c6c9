//! The inmost loops of every advice: squared distances from one place to all points, and the sum of
//! their covariances, for the vector units that this machine has. The same operations in the same
//! order give the same bits on each.

use super::features::{CATEGORIES, PLACE};

/// Dimensions that are numbers.
pub const NUMBERS: usize = PLACE.len();

/// Numbers and category codes of a place, side by side.
pub(super) const LANES: usize = NUMBERS + CATEGORIES;

/// Steps in one unit of distance.
pub(super) const STEPS: f32 = 256.0;

/// Matern 3/2 of a squared distance. The exponential is our own: the same on every machine, and
/// fit for vector units.
#[inline(always)]
pub fn matern(squared: f32) -> f32 {
    let r = (3.0 * squared).sqrt();
    (1.0 + r) * exp_of_minus(r)
}

/// Added to a float below 2^22 and taken off again, it leaves the nearest whole number; the bits
/// of the sum carry it.
const ROUNDING: f32 = 12_582_912.0;

/// `exp(-r)` for `r >= 0` to seven digits: a power of two, and a polynomial for the rest. Written
/// without a conversion to integers, which not every vector unit has.
#[inline(always)]
fn exp_of_minus(r: f32) -> f32 {
    let t = r.min(80.0) * -std::f32::consts::LOG2_E;
    let shifted = t + ROUNDING;
    let x = (t - (shifted - ROUNDING)) * std::f32::consts::LN_2;
    let p = 1.0
        + x * (1.0
            + x * (0.5
                + x * (1.666_666_6e-1 + x * (4.166_666e-2 + x * (8.333_3e-3 + x * 1.39e-3)))));
    let power = shifted
        .to_bits()
        .wrapping_sub(ROUNDING.to_bits())
        .wrapping_add(127);
    p * f32::from_bits(power << 23)
}

/// Points whose terms are added up in single precision.
const BLOCK: usize = 256;

/// Sum of covariances times pulls: the terms of a block first, each for itself, then their sum in
/// eight lanes, a fixed order that vector units can follow.
#[inline(always)]
fn sum_of_pulls(distances: &[f32], pull: &[f32]) -> f64 {
    let mut terms = [0.0f32; BLOCK];
    let mut sum = 0.0;
    for (d, p) in distances.chunks(BLOCK).zip(pull.chunks(BLOCK)) {
        for ((term, d), p) in terms.iter_mut().zip(d).zip(p) {
            *term = matern(*d) * p;
        }
        let used = terms.get(..d.len().min(p.len())).unwrap_or_default();
        let (whole, rest) = used.as_chunks::<8>();
        let mut lanes = [0.0f32; 8];
        for terms in whole {
            for (lane, term) in lanes.iter_mut().zip(terms) {
                *lane += term;
            }
        }
        sum += lanes.iter().chain(rest).map(|t| f64::from(*t)).sum::<f64>();
    }
    sum
}

/// Squared distance of two places.
#[inline(always)]
pub(super) fn between(a: &[i16; LANES], b: &[i16; LANES], weights: &[i16; CATEGORIES]) -> f32 {
    let (a_numbers, a_codes) = a.split_at(NUMBERS);
    let (b_numbers, b_codes) = b.split_at(NUMBERS);
    let mut numbers = 0i32;
    for (x, y) in a_numbers.iter().zip(b_numbers) {
        let gap = i32::from(x.wrapping_sub(*y));
        numbers = numbers.wrapping_add(gap * gap);
    }
    let mut categories = 0i32;
    for ((x, y), w) in a_codes.iter().zip(b_codes).zip(weights) {
        // Masks rather than branches: this is the inmost loop of every advice.
        let differs = -i16::from((x != y) | (*x == UNKNOWN));
        categories += i32::from(differs & w);
    }
    numbers as f32 * (1.0 / (STEPS * STEPS)) + categories as f32 * (1.0 / STEPS)
}

/// The code [`u16::MAX`] as it lies among the lanes.
pub(super) const UNKNOWN: i16 = -1;

macro_rules! loops {
    ($(#[$how:meta])*) => {
        /// Never inlined into a loop over points: there the compiler would take several points
        /// at a time and gather each number of them singly.
        $(#[$how])*
        #[inline(never)]
        fn between(a: &[i16; LANES], b: &[i16; LANES], weights: &[i16; CATEGORIES]) -> f32 {
            super::between(a, b, weights)
        }

        $(#[$how])*
        pub(super) fn distances(
            from: &[i16; LANES],
            points: &[i16],
            weights: &[i16; CATEGORIES],
            out: &mut [f32],
        ) {
            for (out, point) in out.iter_mut().zip(points.chunks_exact(LANES)) {
                if let Ok(point) = point.try_into() {
                    *out = between(from, point, weights);
                }
            }
        }

        $(#[$how])*
        pub(super) fn pulled(distances: &[f32], pull: &[f32]) -> f64 {
            super::sum_of_pulls(distances, pull)
        }
    };
}

mod any {
    use super::*;
    loops!();
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::*;
    loops!(#[target_feature(enable = "avx2")]);
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

/// Squared distances from one place to every point.
pub(super) fn distances(
    from: &[i16; LANES],
    points: &[i16],
    weights: &[i16; CATEGORIES],
    out: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { avx2::distances(from, points, weights, out) };
    }
    any::distances(from, points, weights, out);
}

/// Sum of covariances times pulls.
pub(super) fn pulled(distances: &[f32], pull: &[f32]) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if has_avx2() {
        // SAFETY: the processor has AVX2, which is all that the function asks for.
        return unsafe { avx2::pulled(distances, pull) };
    }
    any::pulled(distances, pull)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_vector_unit_gives_the_same_bits(
            points in prop::collection::vec(-3840i16..=3840, LANES * 19),
            weights in prop::array::uniform8(0i16..15_360),
            pull in prop::collection::vec(-9.0f32..9.0, 18),
        ) {
            prop_assume!(has_avx2());
            let (from, points) = points.split_at(LANES);
            let from: &[i16; LANES] = from.try_into().unwrap();
            let mut plain = vec![0.0; 18];
            let mut wide = vec![0.0; 18];
            any::distances(from, points, &weights, &mut plain);
            // SAFETY: asked for above.
            unsafe { avx2::distances(from, points, &weights, &mut wide) };
            prop_assert_eq!(&plain, &wide);
            // SAFETY: asked for above.
            let sum = unsafe { avx2::pulled(&wide, &pull) };
            prop_assert_eq!(any::pulled(&plain, &pull).to_bits(), sum.to_bits());
        }
    }
}
