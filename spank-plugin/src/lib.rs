//! The SPANK plugin `spank_omnipilot.so`: what Slurm loads into every `sbatch`, `srun`, `salloc` and into the daemon of every step.
//!
//! From the options of a submission to the advisor library, and for a submission without a tag to nothing: a few kilobytes that
//! register the options, keep what they were given, and load `omnipilot_advisor.so`, which lies beside this file, for a tagged
//! job alone.
//!
//! Architecture invariants:
//! * outside the allocator and local contexts every hook returns 0 at once: no I/O, no exit;
//! * an untagged submission costs no system call beyond loading this file;
//! * this file is the only one that exports symbols, and exports no other hook: a prolog or epilog hook
//!   would make slurmd run a helper process for every job;
//! * nothing here can panic: in the profile that users get (`plugin`) the panic handler names a function that
//!   does not exist, so that a place which panics does not link. Without std, without an allocator.

#![cfg_attr(panic = "abort", no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unreachable,
        clippy::string_slice,
        clippy::unwrap_used,
        clippy::expect_used
    )
)]
#![deny(clippy::undocumented_unsafe_blocks)]
#![allow(
    non_upper_case_globals,
    reason = "Slurm looks its symbols up by these names"
)]

mod advisor;
mod environment;
mod options;
mod place;
mod session;
mod slurm;
mod text;
mod version;

use core::ffi::{c_char, c_int, c_void};

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
    session::begin(spank);
    0
}

/// Called by Slurm when every option of the submission (of one component of it) is known.
#[unsafe(no_mangle)]
pub extern "C" fn slurm_spank_init_post_opt(
    _spank: *mut c_void,
    argc: c_int,
    argv: *const *const c_char,
) -> c_int {
    session::decide(argc, argv);
    0
}

/// Keeps the plugin from linking where anything in it could panic.
#[cfg(panic = "abort")]
#[panic_handler]
fn on_panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn this_plugin_could_panic() -> !;
    }
    // SAFETY: there is no such function: a plugin in which this is reached does not link.
    unsafe { this_plugin_could_panic() }
}
