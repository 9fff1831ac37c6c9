//! Which of a job's options an advice changes. Pure.
//!
//! * [`job_rewrite`]: in the form that the site and the job use.
//! * [`constraint`]: `--constraint` without other GPU types.

pub mod constraint;
pub mod job_rewrite;
