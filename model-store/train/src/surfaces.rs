//! Fits the surfaces of operations ([`crate::advisor::ops`]) to measured times.
//!
//! The values at a grid's corners are those of least squares between the measured and the
//! interpolated logarithms, with a penalty on curvature along each axis that keeps corners without
//! measurements smooth; solved by conjugate gradients.

use crate::advisor::ops::grid::{Grid, STEPS, between};
use crate::advisor::ops::table::Op;

/// Weight of squared curvature against one measurement, and of squared slope, which holds a value
/// where nothing is known.
const CURVATURE: f64 = 0.02;
const SLOPE: f64 = 0.0004;

/// Curves of one number have little noise.
const CURVATURE_OF_A_CURVE: f64 = 1e-3;

/// Steps of the search, and the residual at which it ends.
const MOST_STEPS: usize = 3000;
const ENOUGH: f64 = 1e-6;

/// Share of measurements that are held out to judge a fit: every fifth of a fixed shuffle.
const HELD_OUT: u64 = 5;

/// One measured operation: its place on the surface, and `ln(measured / roofline)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// As many numbers as the surface has axes; the rest is not looked at.
    pub place: [f64; 4],
    /// Logarithm of the factor on the roofline.
    pub factor: f64,
}

/// How a fit to four fifths foretells the others, as shares of the time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Held {
    /// Operations that were held out.
    pub n: usize,
    /// Median absolute error.
    pub median: f64,
    /// Mean absolute error.
    pub mean: f64,
}

/// The nodes of each axis of an operation's surface, as binary logarithms; chosen where the
/// measured times bend. `wide`: of attention, several widths of head and windows were measured.
pub fn axes(op: Op, wide: bool) -> Vec<Vec<f32>> {
    let small = |axis: &[f32]| axis.to_vec();
    let sizes = [5.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0, 16.0];
    let widths: &[f32] = if wide {
        &[6.0, 7.0, 8.0, 9.0]
    } else {
        &[6.0, 9.0]
    };
    match op {
        Op::Gemm => vec![
            small(&[
                0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.6, 7.0, 7.6, 8.0, 9.0, 10.0, 11.0, 13.0, 15.0,
            ]),
            small(&sizes),
            small(&sizes),
        ],
        Op::Context => vec![
            small(&[4.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 14.0]),
            small(&[0.0, 2.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 14.0]),
            small(widths),
            if wide {
                small(&[0.0, 1.0, 2.0, 4.0, 7.0])
            } else {
                small(&[0.0, 7.0])
            },
        ],
        Op::Generation => vec![
            small(&[
                0.0, 4.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 15.0, 17.0,
            ]),
            small(&[0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 14.0]),
            small(&[0.0, 1.0, 2.0, 3.0, 4.0, 6.0]),
            small(widths),
        ],
        Op::Experts => vec![
            small(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 13.0]),
            small(&[-1.0, 1.0, 3.0, 4.0, 5.0, 6.0, 7.0, 9.0]),
            small(&[6.0, 8.0, 10.0, 12.0, 14.0]),
            small(&[11.0, 12.0, 13.0]),
        ],
        Op::AllReduce => vec![small(&[
            10.0, 14.0, 16.0, 17.0, 18.0, 19.0, 20.0, 21.0, 22.0, 24.0, 28.0,
        ])],
        Op::LatentContext | Op::LatentGeneration => vec![
            small(&[0.0, 2.0, 4.0, 5.0, 7.0]),
            small(&[0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0]),
            small(&[1.0, 6.0, 8.0, 10.0, 11.0, 12.0, 13.0, 15.0, 17.0]),
        ],
    }
}

/// A grid under construction.
struct Corners {
    axes: Vec<Vec<f32>>,
    strides: Vec<usize>,
    n: usize,
}

impl Corners {
    fn of(axes: Vec<Vec<f32>>) -> Self {
        let mut strides = vec![1; axes.len()];
        for at in (0..axes.len().saturating_sub(1)).rev() {
            strides[at] = strides[at + 1] * axes[at + 1].len();
        }
        let n = axes.iter().map(Vec::len).product();
        Self { axes, strides, n }
    }

    /// The corners around a place, and their shares.
    fn around(&self, place: &[f64; 4]) -> Vec<(usize, f64)> {
        let mut out = vec![(0, 1.0)];
        for ((axis, stride), x) in self.axes.iter().zip(&self.strides).zip(place) {
            let (low, share) = between(axis, *x);
            out = out
                .into_iter()
                .flat_map(|(at, weight)| {
                    [
                        (at + low * stride, weight * (1.0 - share)),
                        (at + (low + 1) * stride, weight * share),
                    ]
                })
                .collect();
        }
        out
    }

    /// Adds the penalties' pull at `x` to `out`.
    fn penalise(&self, x: &[f64], curvature: f64, out: &mut [f64]) {
        for (axis, stride) in self.axes.iter().zip(&self.strides) {
            let bends: Vec<[f64; 3]> = axis.windows(3).map(second_difference).collect();
            for start in (0..self.n).filter(|i| (i / stride) % axis.len() == 0) {
                for (j, bend) in bends.iter().enumerate() {
                    let at = [j, j + 1, j + 2].map(|k| start + k * stride);
                    let bent: f64 = at.iter().zip(bend).map(|(i, b)| x[*i] * b).sum();
                    for (i, b) in at.iter().zip(bend) {
                        out[*i] += curvature * bent * b;
                    }
                }
                // Two nodes alone are a line through what was measured.
                let slopes = if axis.len() > 2 { axis.len() - 1 } else { 0 };
                for j in 0..slopes {
                    let (a, b) = (start + j * stride, start + (j + 1) * stride);
                    let rise = SLOPE * (x[b] - x[a]);
                    out[b] += rise;
                    out[a] -= rise;
                }
            }
        }
    }
}

fn second_difference(nodes: &[f32]) -> [f64; 3] {
    let [a, b, c] = [nodes[0], nodes[1], nodes[2]].map(f64::from);
    let (left, right) = (b - a, c - b);
    [
        2.0 / (left * (left + right)),
        -2.0 / (left * right),
        2.0 / (right * (left + right)),
    ]
}

/// The surface of these measurements; `None` without any.
pub fn fit(axes: Vec<Vec<f32>>, measured: &[Measurement]) -> Option<Grid> {
    if measured.is_empty() {
        return None;
    }
    let curvature = if axes.len() == 1 {
        CURVATURE_OF_A_CURVE
    } else {
        CURVATURE
    };
    let corners = Corners::of(axes);
    let rows: Vec<Vec<(usize, f64)>> = measured.iter().map(|m| corners.around(&m.place)).collect();
    let level = measured.iter().map(|m| m.factor).sum::<f64>() / measured.len() as f64;
    let pull = |x: &[f64]| {
        let mut out: Vec<f64> = x.iter().map(|x| x * 1e-6).collect();
        for row in &rows {
            let value: f64 = row.iter().map(|(at, w)| x[*at] * w).sum();
            for (at, w) in row {
                out[*at] += value * w;
            }
        }
        corners.penalise(x, curvature, &mut out);
        out
    };
    let mut wanted = vec![0.0; corners.n];
    for (row, m) in rows.iter().zip(measured) {
        for (at, w) in row {
            wanted[*at] += w * (m.factor - level);
        }
    }
    let found = conjugate_gradients(&pull, &wanted);
    let value = |x: &f64| ((x + level) * STEPS).round().clamp(-32_000.0, 32_000.0) as i16;
    Grid::new(corners.axes, found.iter().map(value).collect())
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn conjugate_gradients(pull: &dyn Fn(&[f64]) -> Vec<f64>, wanted: &[f64]) -> Vec<f64> {
    let mut x = vec![0.0; wanted.len()];
    let mut rest = wanted.to_vec();
    let mut way = rest.clone();
    let mut off = dot(&rest, &rest);
    let enough = off * ENOUGH * ENOUGH;
    for _ in 0..MOST_STEPS {
        if off <= enough {
            break;
        }
        let pulled = pull(&way);
        let far = off / dot(&way, &pulled).max(1e-300);
        for ((x, r), (w, p)) in x.iter_mut().zip(&mut rest).zip(way.iter().zip(&pulled)) {
            *x += far * w;
            *r -= far * p;
        }
        let next = dot(&rest, &rest);
        for (w, r) in way.iter_mut().zip(&rest) {
            *w = r + next / off * *w;
        }
        off = next;
    }
    x
}

/// How a fit to four fifths of these foretells the rest.
pub fn held_out(axes: &[Vec<f32>], measured: &[Measurement]) -> Option<Held> {
    let is_held = |i: usize| crate::hashing::mix(i as u64, 17).is_multiple_of(HELD_OUT);
    let pick = |held: bool| -> Vec<Measurement> {
        let chosen = measured.iter().enumerate();
        chosen
            .filter(|(i, _)| is_held(*i) == held)
            .map(|(_, m)| *m)
            .collect()
    };
    let grid = fit(axes.to_vec(), &pick(false))?;
    let mut errors: Vec<f64> = pick(true)
        .iter()
        .map(|m| ((value_at(&grid, &m.place) - m.factor).exp() - 1.0).abs())
        .collect();
    errors.sort_by(f64::total_cmp);
    let n = errors.len();
    Some(Held {
        n,
        median: *errors.get(n / 2)?,
        mean: errors.iter().sum::<f64>() / n as f64,
    })
}

fn value_at(grid: &Grid, place: &[f64; 4]) -> f64 {
    let [a, b, c, d] = *place;
    match grid.axes().len() {
        1 => grid.at([a]),
        2 => grid.at([a, b]),
        3 => grid.at([a, b, c]),
        _ => grid.at([a, b, c, d]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smooth_function_is_found_again_between_its_measurements() {
        let axes = vec![vec![0.0, 1.0, 2.0, 4.0], vec![0.0, 2.0, 4.0]];
        let of = |x: f64, y: f64| 0.5 + 0.3 * x - 0.1 * y;
        let measured: Vec<Measurement> = (0..400)
            .map(|i| {
                let (x, y) = (f64::from(i % 20) / 5.0, f64::from(i / 20) / 5.0);
                Measurement {
                    place: [x, y, 0.0, 0.0],
                    factor: of(x, y),
                }
            })
            .collect();
        let grid = fit(axes.clone(), &measured).unwrap();
        assert!((grid.at([1.5, 3.3]) - of(1.5, 3.3)).abs() < 0.01);
        assert!(held_out(&axes, &measured).unwrap().median < 0.01);
        assert_eq!(fit(axes, &[]), None);
    }
}
