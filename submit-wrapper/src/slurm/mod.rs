//! What Slurm's own commands print, parsed.
//!
//! The parsers are pure functions over text, tested on captures from real clusters
//! (`slurm/captures/VERSION`); [`command`] alone starts processes. Text forms are used throughout:
//! `sacct --json` of 22.05 tells wrong exit codes, and the JSON of every release is another.

pub(crate) mod accounting;
pub(crate) mod cluster;
pub(crate) mod command;
pub(crate) mod conf;
pub(crate) mod gres;
pub(crate) mod limits;
pub(crate) mod nodes;
pub(crate) mod partitions;
pub(crate) mod pending;
pub(crate) mod serving;
pub(crate) mod submitted;
pub(crate) mod view;
