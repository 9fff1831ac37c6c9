//! The advisor core: pure functions over values.
//!
//! [`advise()`] goes, in this order: candidates (`candidates`) -> hard rules
//! ([`feasible`]) -> support ([`support`]) -> features and quantiles of eight targets
//! ([`features`], [`model`]) -> conformal intervals ([`conformal`]) -> ranking ([`utility`]).
//!
//! Architecture invariant: nothing in here opens a file, reads a clock or the environment, prints
//! or logs, or knows of SQLite. The same [`advise()`] serves plugin, command and evaluation.

#![deny(unsafe_code)] // `forbid` would not let `units` have its own

mod advice;
pub mod advise;
mod agree;
mod architecture;
mod architectures;
mod assess;
mod candidates;
mod card;
mod case;
mod catalogue;
mod chance;
pub mod checkpoint;
mod cluster;
pub mod cold;
mod config_keys;
pub mod conformal;
pub mod contest;
pub mod drift;
mod economy;
pub mod elsewhere;
mod engine_names;
mod experts;
pub mod explain;
pub mod feasible;
pub mod features;
mod first_day;
pub mod forest;
pub mod formats;
mod gpu;
pub mod hashing;
mod hf_config;
mod highest_load;
mod hub;
pub mod kernel;
mod knowledge;
mod landmarks;
mod launches;
mod layers;
mod limits;
pub mod memory;
mod mixers;
pub mod model;
mod names;
mod numbers;
pub mod ops;
mod packed;
pub mod physics;
pub mod plain;
mod power;
pub mod python_json;
mod quantisation;
mod queue;
mod rank;
mod request;
mod run;
mod setup;
pub mod site;
pub mod slurm_view;
pub mod stack;
mod startable;
mod starts;
pub mod steady;
pub mod support;
mod towers;
#[allow(unsafe_code)] // the vector instructions that the machine has
mod units;
pub mod utility;
mod version;
mod wish;
pub mod words;
mod working;

pub use advice::{
    Advice, Assessed, AxisOut, Configuration, Evidence, Fallen, LeftOut, Prediction, Ranking,
    Verdict,
};
pub use advise::advise;
pub use candidates::setup as setup_of;
pub use card::{CardError, ModelCard, Stored};
pub use case::{Case, Precision, Variant, Workload};
pub use catalogue::{Catalogue, Lookup};
pub use cluster::{ClusterState, GpuPool};
pub use economy::{Economy, Estimate, Preferences, Term, Weights};
pub use engine_names::{canonical_engine, named_disaggregated, served_by};
pub use formats::precision_in_name;
pub use gpu::{GPUS, GpuSpec, gpu_name_of_gres};
pub use hub::of_hub_cache;
pub use knowledge::{Knowledge, SiteGpu};
pub use limits::Limits;
pub use names::{name_key, nearest};
pub use queue::{QueueWait, QueueWaits};
pub use request::{Layout, Load, Pins, Request, Slo};
pub use run::{Measured, Origin, Run, RunOutcome, Target};
pub use setup::Setup;
pub use startable::{Bars, Startable};
pub use starts::{PoolShift, ReadRate, StartLog, Starts};
pub use units::matern;
pub use wish::WishWhy;
