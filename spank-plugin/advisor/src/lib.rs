//! The advisor library `omnipilot_advisor.so`: advice inside `sbatch`, `srun` and `salloc`.
//!
//! From a submission that carries `--llm-model` to the same submission with other GPUs, a few
//! `SLURM_LLM_*` variables and a note in its comment; or to a refusal; or, when anything is broken,
//! to the submission as it was typed.
//!
//! The way of a request: the plugin, which Slurm loads, loads this library for a tagged job and calls `decide`, which
//! takes what was typed (`options`, `submission`), asks for advice in a child process under a time limit (`ask`, `child`), and
//! changes the job (`rewrite`).
//!
//! Architecture invariants:
//! * nothing of this is in a process that submits an untagged job, nor in slurmd and slurmstepd;
//! * this file is the only one that exports a symbol;
//! * no panic leaves `decide`, and none of the advisor's faults can reach the process of the user's
//!   `sbatch`: the advisor runs in the child.

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

mod ask;
mod asked;
mod child;
mod environment;
mod ffi;
mod guard;
mod host;
mod options;
mod others;
mod process;
mod rewrite;
mod say;
mod script;
mod session;
mod submission;
mod who;

use std::ffi::c_int;

use plugin_contract::question::{Advisor, INTERFACE, Question, RELEASE};

/// What the plugin looks up.
#[allow(non_upper_case_globals, reason = "named as C names it")]
#[unsafe(no_mangle)]
pub static omnipilot_advisor: Advisor = Advisor {
    interface: INTERFACE,
    release: RELEASE,
    decide,
};

/// Decides on a submission, and changes it where that is the decision. Zero where Slurm is to go on, or the code with which the
/// submission ends; what there is to say has been said.
///
/// # Safety
/// The pointer and those in what it points to are null or good for the call, and texts end with NUL.
unsafe extern "C" fn decide(question: *const Question) -> c_int {
    // SAFETY: the plugin passes a question of its own, which lives through the call.
    let Some(question) = (unsafe { question.as_ref() }) else {
        return 0;
    };
    guard::decision(|| session::decide(question))
}
