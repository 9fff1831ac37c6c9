//! The advisor core: pure functions over values.
//!
//! Architecture invariant: nothing in here opens a file, reads a clock or the environment, prints
//! or logs, or knows of SQLite. The same [`advise`] serves plugin, command and evaluation.

mod case;
mod request;
mod run;

pub use case::{Case, Precision, Variant, Workload, canonical_engine};
pub use request::{Load, Pins, Slo};
pub use run::{Measured, Origin, Run, RunOutcome, Target};
