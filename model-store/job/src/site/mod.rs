//! What an administrator publishes for a site.
//!
//! * [`config`]: the configuration file.
//! * [`hostlist`]: names of nodes as Slurm writes them (pure).
//! * [`policy`]: what the site lets advice do, by partition, account and QOS (pure).
//! * [`snapshot`]: the published model and what it rests on.

pub mod config;
pub mod hostlist;
pub mod policy;
pub mod prices;
pub(crate) mod site_limit;
pub mod snapshot;
