//! What a submission asks for. Pure: no file, clock or environment.
//!
//! * [`options`]: what the `--llm-*` options mean.
//! * [`sbatch_line`]: the command line of `sbatch` and the directives of a script, by component.
//! * [`job_request`]: the job's own request.
//! * [`component`]: the variables of a heterogeneous job's components.

pub mod component;
pub mod job_request;
pub mod options;
pub mod sbatch_line;
