//! What a submission asks for. Pure: no file, clock or environment.
//!
//! * [`options`]: what the `--llm-*` options mean; [`quoting`]: words as a shell reads them back.
//! * [`reading`]: the one reading of a submission, from which a [`JobRequest`](job_request::JobRequest)
//!   comes; [`sbatch_line`] its words, [`sbatch_options`] the options of `sbatch`.
//! * [`job_request`]: the job's own request.
//! * [`component`]: the variables of a heterogeneous job's components.

pub mod component;
pub mod job_request;
pub mod options;
pub mod quoting;
pub mod reading;
pub mod sbatch_line;
pub mod sbatch_options;
