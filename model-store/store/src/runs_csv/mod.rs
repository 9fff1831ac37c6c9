//! The table of measured runs as comma-separated values, one run a line: read with [`read_runs`]
//! for import and [`read_cases`] for prediction, written with [`write_runs`].
//!
//! Columns are found by name in any order (see [`columns`](self)); a missing optional column reads
//! as "not recorded", a column that is not known goes into the notes as `name=value`. A cell that
//! cannot be read costs its row, never the file. [`read_cases`] never looks at an outcome column.
//!
//! Two figures are derived where a source leaves them out, and `notes` then says so:
//!
//! * `req_s = output_tok_s / osl`: every finished request has taken OSL tokens of the output;
//! * `power_w = energy_j_per_tok x output_tok_s`: joules a token times tokens a second.

mod cells;
mod columns;
mod flags;
mod read;
mod write;

pub use flags::{MARKS, marks as variant};
pub use read::{
    CaseRow, CaseRows, Defaults, HeaderError, RowError, RunRows, read_cases, read_runs,
};
pub use write::write_runs;
