//! What jobs and requests leave in the spool.
//!
//! * [`outcome`]: what one job reports.
//! * [`wish`]: a request that had no answer.

pub mod outcome;
pub mod wish;
