//! The plugin in a real Slurm: every way of submitting, what is changed, what is refused, and what happens when something is
//! broken. `docs/slurm-behaviour.md` names the tests that show how Slurm itself behaves.

#![allow(clippy::unwrap_used, reason = "a failed test is to stop")]

mod components;
mod contexts;
mod faults;
mod forms;
mod hostile;
mod inheritance;
mod policy;
mod refusing;
mod rewriting;
mod several_nodes;
mod site;
mod untagged;
mod ways_in;
