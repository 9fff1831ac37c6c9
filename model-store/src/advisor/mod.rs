//! The advisor core: pure functions over values.
//!
//! [`advise()`] goes, in this order: candidates (`candidates`) -> hard rules
//! ([`feasible`]) -> support ([`support`]) -> features and quantiles of eight targets
//! ([`features`], [`model`]) -> conformal intervals ([`conformal`]) -> ranking ([`utility`]).
//!
//! Architecture invariant: nothing in here opens a file, reads a clock or the environment, prints
//! or logs, or knows of SQLite. The same [`advise()`] serves plugin, command and evaluation.

mod advice;
pub mod advise;
mod architecture;
mod architectures;
mod candidates;
mod card;
mod case;
mod catalogue;
mod chance;
pub mod checkpoint;
mod cluster;
mod config_keys;
pub mod conformal;
pub mod contest;
pub mod drift;
mod economy;
mod experts;
pub mod explain;
pub mod feasible;
pub mod features;
pub mod forest;
pub mod formats;
mod gpu;
mod hf_config;
pub mod kernel;
mod landmarks;
mod layers;
mod mixers;
pub mod model;
mod names;
mod packed;
pub mod physics;
pub mod python_json;
mod quantisation;
mod queue;
mod rank;
mod request;
mod run;
mod setup;
pub mod site;
pub mod support;
mod towers;
mod units;
#[cfg(feature = "train")]
pub(crate) use units::matern;
pub mod utility;
pub mod words;

pub use advice::{
    Advice, Assessed, AxisOut, Configuration, Evidence, Fallen, LeftOut, Prediction, Ranking,
    Verdict,
};
pub use advise::{Knowledge, SiteGpu, advise};
pub use candidates::setup as setup_of;
pub use card::{CardError, ModelCard, Stored};
pub use case::{Case, Precision, Variant, Workload, canonical_engine};
pub use catalogue::{Catalogue, Lookup};
pub use cluster::{ClusterState, GpuPool};
pub use economy::{Economy, Estimate, Preferences, Term, Weights};
pub use formats::precision_in_name;
pub use gpu::{GPUS, GpuSpec, gpu_name_of_gres};
pub use names::{name_key, nearest, of_hub_cache};
pub use queue::{QueueWait, QueueWaits};
pub use request::{Layout, Load, Pins, Request, Slo};
pub use run::{Measured, Origin, Run, RunOutcome, Target};
pub use setup::Setup;
