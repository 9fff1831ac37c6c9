//! A figure with its interval.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::hashing::splitmix;

/// Resamples of a bootstrap.
const RESAMPLES: u64 = 200;

/// A figure, what it rests on, and a 95 % bootstrap interval over whole cells: rows of one cell
/// are not independent of each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The figure.
    pub value: f64,
    /// Rows or decisions behind it.
    pub n: usize,
    /// Ends of the interval; the value itself where there is a single cell.
    pub interval: [f64; 2],
}

impl Figure {
    /// The figure that `of` makes of all rows, each with the cell that it belongs to. `None` for
    /// no rows.
    pub(super) fn of<T: Copy>(rows: &[(u64, T)], of: impl Fn(&[T]) -> f64) -> Option<Self> {
        let all: Vec<T> = rows.iter().map(|(_, x)| *x).collect();
        if all.is_empty() {
            return None;
        }
        let mut cells: BTreeMap<u64, Vec<T>> = BTreeMap::new();
        for (cell, x) in rows {
            cells.entry(*cell).or_default().push(*x);
        }
        let cells: Vec<&Vec<T>> = cells.values().collect();
        let mut random = 0x1234_5678_9abc_def1_u64;
        let mut draws: Vec<f64> = (0..RESAMPLES)
            .map(|_| {
                let drawn: Vec<T> = (0..cells.len())
                    .flat_map(|_| {
                        cells[(splitmix(&mut random) % cells.len() as u64) as usize]
                            .iter()
                            .copied()
                    })
                    .collect();
                of(&drawn)
            })
            .filter(|x| x.is_finite())
            .collect();
        draws.sort_by(f64::total_cmp);
        let value = of(&all);
        let at = |share: f64| {
            draws
                .get((draws.len() as f64 * share) as usize)
                .copied()
                .unwrap_or(value)
        };
        Some(Self {
            value,
            n: all.len(),
            interval: [at(0.025), at(0.975)],
        })
    }

    /// The mean of values.
    pub(super) fn mean(rows: &[(u64, f64)]) -> Option<Self> {
        Self::of(rows, mean)
    }
}

/// Mean of values; not a number for none.
pub(super) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Median of values; not a number for none.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    match n {
        0 => f64::NAN,
        _ if n % 2 == 1 => sorted[n / 2],
        _ => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_rows_give_no_figure() {
        assert_eq!(Figure::mean(&[]), None);
    }

    proptest! {
        #[test]
        fn the_interval_holds_the_mean_of_many_like_cells(seed in any::<u64>()) {
            let mut random = seed;
            let rows: Vec<(u64, f64)> = (0..200).map(|c| (c, (splitmix(&mut random) % 1000) as f64)).collect();
            let f = Figure::mean(&rows).unwrap();
            prop_assert!(f.interval[0] <= f.value && f.value <= f.interval[1]);
            prop_assert!(f.interval[1] - f.interval[0] < 200.0);
        }
    }
}
