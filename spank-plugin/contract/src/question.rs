//! How the plugin asks the advisor library, as C sees it. The two are separate files that an update replaces one after the other:
//! each tells which release it belongs to, and another release is not asked.

use core::ffi::{CStr, c_char, c_int};

use crate::options::COUNT;

/// File name of the library, in the folder of the plugin.
pub const LIBRARY: &CStr = c"omnipilot_advisor.so";

/// Name of its one symbol, an [`Advisor`].
pub const SYMBOL: &CStr = c"omnipilot_advisor";

/// Number of the form below; counts up with each change of it.
pub const INTERFACE: u32 = 1;

/// Release of the library or of the plugin, ended by zeroes.
pub type Release = [u8; 32];

/// The release that this is compiled into.
pub const RELEASE: Release = {
    let (text, mut release) = (env!("CARGO_PKG_VERSION").as_bytes(), [0; 32]);
    let mut i = 0;
    while i < text.len() && i < release.len() - 1 {
        release[i] = text[i];
        i += 1;
    }
    release
};

/// What the library exports. The first two fields stay as they are in every form.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Advisor {
    /// [`INTERFACE`] of the library.
    pub interface: u32,
    /// [`RELEASE`] of the library.
    pub release: Release,
    /// Decides on a submission and changes its options. Zero where Slurm is to go on, or the code with which the submission ends.
    pub decide: unsafe extern "C" fn(question: *const Question) -> c_int,
}

/// One submission, or one component of a heterogeneous job. Pointers are good for the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Which component it is, from 0.
    pub component: u32,
    /// Whether `srun` asks.
    pub in_srun: bool,
    /// How many arguments follow.
    pub argument_count: c_int,
    /// Arguments of the line in `plugstack.conf`.
    pub arguments: *const *const c_char,
    /// What each option was given last, in the order of the table; null where nothing.
    pub values: [*const c_char; COUNT],
}
