//! OmniPilot's advisor and its store of past runs.
//!
//! From a [`Request`](advisor::Request) (a model, a load, what the user fixed) and a published
//! [`Snapshot`](snapshot::Snapshot) to an [`Advice`](advisor::Advice): GPU type, tensor-parallel
//! degree and precision, with calibrated intervals, or the reason why there is none.
//!
//! * [`advisor`] is the pure core: values in, values out. It knows nothing of files, SQLite,
//!   clocks, environment or logs.
//! * [`snapshot`] and [`config`] read what an administrator publishes; the plugin needs no more.
//! * [`engine_args`] says what an advice means in an engine's own arguments, and what a script fixes.
//! * [`consult`] asks the advisor; [`decision`] says what is to be done with a submission.
//! * [`policy`] is what a site lets advice do to jobs of a partition, an account or a QOS.
//! * [`job_request`] reads a job's own request; [`job_rewrite`] and [`constraint`] say which of its
//!   options an advice changes.
//! * [`component`] keeps the advice of a heterogeneous job's components apart.
//! * [`sbatch_line`] reads the command line of `sbatch` and the directives of a script.
//! * [`slurm_view`] is the site as Slurm sees it; [`startable`] says what a job could be started on.
//! * [`options`] is the one table of `--llm-*` options, shared by plugin, command and docs.
//! * [`probe`] says which measurements are worth their GPU-hours.
//! * [`wish`] is what a request without an answer leaves behind.
//! * `store` (feature `store`) keeps past runs in SQLite.
//! * `train` (feature `train`) turns runs into a model: fit, calibrate, evaluate.

pub mod advisor;
pub mod component;
pub mod config;
pub mod constraint;
pub mod consult;
pub mod decision;
pub mod engine_args;
mod hashing;
pub mod hostlist;
pub mod job_request;
pub mod job_rewrite;
pub mod options;
pub mod outcome;
pub mod policy;
pub mod prices;
pub mod probe;
pub mod sbatch_line;
mod site_limit;
pub mod slurm_view;
pub mod snapshot;
pub mod startable;
#[cfg(feature = "store")]
pub mod store;
#[cfg(feature = "train")]
pub mod train;
pub mod wish;
