//! OmniPilot's advisor, what it knows of a submission, and its store of past runs: four crates
//! under one name.
//!
//! From a [`Request`](advisor::Request) (a model, a load, what the user fixed) and a published
//! [`Snapshot`](snapshot::Snapshot) to an [`Advice`](advisor::Advice): GPU type, tensor-parallel
//! degree and precision, with calibrated intervals, or the reason why there is none.
//!
//! * [`advisor`] is the pure core: values in, values out. It knows nothing of files, SQLite,
//!   clocks, environment or logs.
//! * `job` is one submission, from its command line to the change of its options: see [`asked`],
//!   [`engine_args`], [`site`], [`decide`], [`change`], [`spool`].
//! * `store` (feature `store`) keeps past runs in SQLite.
//! * `train` (feature `train`) turns runs into a model: fit, calibrate, evaluate. [`probe`] says
//!   which measurements are worth their GPU-hours.
//!
//! The walls: `job`, `store` and `train` know the advisor and not each other.

pub use advisor;
pub use job::*;
#[cfg(feature = "store")]
pub use store;
#[cfg(feature = "train")]
pub use train::{self, probe};
