//! The SPANK plugin: advice inside `sbatch`, `srun` and `salloc`.
//!
//! From a submission that carries `--llm-model` to the same submission with other GPUs, a few
//! `SLURM_LLM_*` variables and a note in its comment; or to a refusal; or, when anything is broken,
//! to the submission as it was typed.
//!
//! The way of a request: Slurm calls [`slurm_spank_init`], which registers the options, and later
//! [`slurm_spank_init_post_opt`], which reads what was typed (`submission`), asks for advice in a
//! child process under a time limit (`ask`), and changes the job (`rewrite`).
//!
//! Architecture invariants:
//! * outside the allocator and local contexts every hook returns 0 at once: no I/O, no exit;
//! * this file is the only one that exports symbols, and exports no other hook: a prolog or epilog hook
//!   would make slurmd run a helper process for every job;
//! * no panic leaves a hook, and none of the advisor's faults can reach the process of the user's
//!   `sbatch`: the advisor runs in the child.

#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::string_slice
    )
)]
#![allow(
    non_upper_case_globals,
    reason = "Slurm looks its symbols up by these names"
)]

mod ask;
mod child;
mod ffi;
mod guard;
mod host;
mod inherit;
mod options;
mod others;
mod rewrite;
mod say;
mod script;
mod session;
mod submission;
mod version;

use std::ffi::{c_char, c_int, c_void};

use guard::Hook;

/// Name of the plugin: part of the names of the variables in which Slurm passes its options on.
#[unsafe(no_mangle)]
pub static plugin_name: [u8; 10] = *b"omnipilot\0";

/// Kind of the plugin.
#[unsafe(no_mangle)]
pub static plugin_type: [u8; 6] = *b"spank\0";

/// Slurm version for which this plugin says it was built. A constructor sets it to that of the Slurm which
/// loads it, before Slurm looks: see `version`.
#[unsafe(no_mangle)]
pub static mut plugin_version: u32 = 0;

/// Called by Slurm when it loads the plugin: registers the options in submitting commands.
#[unsafe(no_mangle)]
pub extern "C" fn slurm_spank_init(
    spank: *mut c_void,
    _argc: c_int,
    _argv: *const *const c_char,
) -> c_int {
    guard::hook(Hook::Init, || session::begin(spank))
}

/// Called by Slurm when every option of the submission (of one component of it) is known.
#[unsafe(no_mangle)]
pub extern "C" fn slurm_spank_init_post_opt(
    _spank: *mut c_void,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    guard::hook(Hook::PostOpt, || session::decide(|| ffi::words(argc, argv)))
}
