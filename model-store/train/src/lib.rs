//! From runs to a published model: prepare, fit, calibrate.
//!
//! [`train`] takes runs and a catalogue and returns the [`Model`](crate::advisor::model::Model)
//! and a [`Report`] of what held-out cells and left-out sources showed. It is deterministic: the
//! same runs give the same bytes, whatever their order and however many threads work.
//! [`probe`] says which measurements are worth their GPU-hours.

#![deny(unsafe_code)] // `forbid` would not let `loops` have its own

extern crate advisor; // so that `crate::advisor` names it

use advisor::hashing;

mod bins;
mod boost;
mod calibrate;
mod centre;
mod descent;
pub mod evaluate;
mod fit;
pub mod gate;
mod gauss;
mod kin;
mod krige;
mod launch;
mod learn;
mod lengths;
mod linalg;
mod local;
#[allow(unsafe_code)] // the vector instructions that the machine has
mod loops;
pub mod preferences;
mod prepare;
pub mod probe;
pub mod queue;
mod report;
pub mod select;
mod starts;
pub mod surfaces;
mod table;

pub use fit::{Progress, settle, train};
pub use report::{Report, TargetReport};
pub use starts::learn as learn_starts;
