//! Rows cut into bins, which trees are grown on.

use crate::advisor::features::{FEATURES, Row};

/// Most bins of a feature.
pub(super) const BINS: usize = 64;

/// Features of all rows, cut into bins.
pub(super) struct Binned {
    /// Row by row the bins of the features that differ: of few features, a row lies in one piece of the processor's memory.
    rows: Vec<u8>,
    /// Place of each feature in a row, where its rows differ.
    places: Vec<Option<usize>>,
    /// Features that differ.
    width: usize,
    /// The same feature by feature: a split asks for one of them.
    pub(super) columns: Vec<Vec<u8>>,
    /// Thresholds between the bins of each feature; none where rows do not differ.
    pub(super) cuts: Vec<Vec<f32>>,
}

impl Binned {
    /// Cuts every feature at its quantiles over the rows.
    pub(super) fn new(rows: &[Row]) -> Self {
        let cuts: Vec<Vec<f32>> = (0..FEATURES)
            .map(|f| cuts(rows.iter().map(|r| r[f])))
            .collect();
        let bin = |f: usize, x: f32| cuts[f].partition_point(|c| *c < x) as u8;
        let column = |f: usize| rows.iter().map(|r| bin(f, r[f])).collect();
        let columns: Vec<Vec<u8>> = (0..FEATURES).map(column).collect();
        let differ: Vec<usize> = (0..FEATURES).filter(|f| !cuts[*f].is_empty()).collect();
        let of_row = |i: usize| differ.iter().map(|f| columns[*f][i]).collect::<Vec<_>>();
        Self {
            rows: (0..rows.len()).flat_map(of_row).collect(),
            places: (0..FEATURES)
                .map(|f| differ.binary_search(&f).ok())
                .collect(),
            width: differ.len(),
            columns,
            cuts,
        }
    }

    /// Bins of a row, of the features that differ.
    pub(super) fn row(&self, i: usize) -> &[u8] {
        &self.rows[i * self.width..][..self.width]
    }

    /// Place of a feature in a row; `None` where no row differs in it.
    pub(super) fn place(&self, feature: usize) -> Option<usize> {
        self.places[feature]
    }
}

/// Thresholds between neighbouring bins, halfway between neighbouring values.
fn cuts(values: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut sorted: Vec<f32> = values.collect();
    sorted.sort_by(f32::total_cmp);
    let mut distinct = sorted.clone();
    distinct.dedup();
    let halfway = |w: &[f32]| w[0] + (w[1] - w[0]) / 2.0;
    if distinct.len() <= BINS {
        return distinct.windows(2).map(halfway).collect();
    }
    let mut out: Vec<f32> = (1..BINS)
        .filter_map(|i| {
            let at = i * sorted.len() / BINS;
            let here = sorted[at];
            let before = distinct.partition_point(|d| *d < here).checked_sub(1)?;
            Some(halfway(&[distinct[before], here]))
        })
        .collect();
    out.dedup();
    out
}

/// The rows whose bin is at most this one, and the others, in their order. Written without a branch, which would be
/// foretold wrongly every other time.
pub(super) fn parted(rows: &[u32], bins: &[u8], most: usize) -> (Vec<u32>, Vec<u32>) {
    let (mut left, mut right) = (vec![0; rows.len()], vec![0; rows.len()]);
    let mut lefts = 0;
    for (at, i) in rows.iter().enumerate() {
        left[lefts] = *i;
        right[at - lefts] = *i;
        lefts += usize::from(usize::from(bins[*i as usize]) <= most);
    }
    left.truncate(lefts);
    right.truncate(rows.len() - lefts);
    (left, right)
}
