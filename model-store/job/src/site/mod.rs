//! What an administrator publishes for a site.
//!
//! * [`config`]: the configuration file.
//! * [`policy`]: what the site lets advice do, by partition, account and QOS (pure).
//! * [`snapshot`]: the published model and what it rests on.

pub mod config;
pub mod policy;
pub mod snapshot;
