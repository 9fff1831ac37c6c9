//! The rows of one target, as every learner takes them.

use super::gauss::Rows;
use crate::advisor::features::{Categories, Row};

/// The rows of one target.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) rows: &'a [Row],
    pub(super) categories: &'a [Categories],
    pub(super) y: &'a [f64],
    pub(super) weights: &'a [f64],
    /// For each row its place among the points of the processes, where it is one.
    pub(super) points: &'a [Option<usize>],
}

impl<'a> Table<'a> {
    /// What a process is fitted to: the points that `takes`.
    pub(super) fn chosen(&self, takes: impl Fn(usize) -> bool) -> Rows<'a> {
        let chosen: Vec<usize> = (0..self.y.len())
            .filter(|i| self.points[*i].is_some() && takes(*i))
            .collect();
        Rows {
            rows: chosen.iter().map(|i| &self.rows[*i]).collect(),
            categories: chosen.iter().map(|i| self.categories[*i]).collect(),
            y: chosen.iter().map(|i| self.y[*i]).collect(),
            weights: chosen.iter().map(|i| self.weights[*i]).collect(),
        }
    }
}
