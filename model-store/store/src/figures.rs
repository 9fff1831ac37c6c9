//! The figures from product documentation that a new installation starts from, compiled in.

use super::evidence;
use super::runs_csv::{Defaults, RowError};
use crate::advisor::{Origin, Run};

const TABLE: &str = include_str!("../data/published-figures.csv");

/// Every published figure as a run; `source_ref` names the document.
///
/// # Errors
/// None in a program whose tests have passed: the table is part of it.
pub fn published_figures() -> Result<Vec<Run>, RowError> {
    let defaults = Defaults {
        origin: Origin::Published,
        source: "published".into(),
    };
    evidence::read(TABLE.as_bytes(), defaults)
}
