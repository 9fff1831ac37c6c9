//! `init`, `import`, `observe` and `ingest` as a user runs them, with Slurm's answers from files.
//! The end-to-end tests run them on a real Slurm.

#![allow(clippy::unwrap_used, clippy::type_complexity)] // helpers and tables of tests

mod attacks;
mod bad_disk;
mod export;
mod harvest;
mod import;
mod influence;
mod loads;
mod observe;
mod own_models;
mod probes;
mod public;
mod site;
mod training;
mod tricks;
