//! `init`, `import`, `observe` and `ingest` as a user runs them, with Slurm's answers from files.
//! The end-to-end tests run them on a real Slurm.

mod attacks;
mod harvest;
mod import;
mod observe;
mod site;
