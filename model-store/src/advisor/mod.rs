//! The advisor core: pure functions over values.
//!
//! Architecture invariant: nothing in here opens a file, reads a clock or the environment, prints
//! or logs, or knows of SQLite. The same [`advise`] serves plugin, command and evaluation.

mod advice;
mod card;
mod case;
mod cluster;
mod gpu;
mod hf_config;
mod request;
mod run;

pub use advice::{
    Advice, Assessed, AxisOut, Configuration, Evidence, Fallen, Prediction, Verdict,
};
pub use card::{CardError, Catalogue, ModelCard, name_key, precision_in_name};
pub use case::{Case, Precision, Variant, Workload, canonical_engine};
pub use cluster::{ClusterState, GpuPool};
pub use gpu::{GPUS, GpuSpec, gpu_name_of_gres};
pub use request::{Load, Pins, Request, Slo};
pub use run::{Measured, Origin, Run, RunOutcome, Target};
