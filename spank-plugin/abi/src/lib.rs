//! What `spank.h` and `slurm_opt.h` declare, one module a release, as bindgen made it from the headers (`make abi-diff`). Tests of
//! the plugin and of its library hold their own declarations against these.
//!
//! `v26_05` has `spank.h` alone: `slurm_opt.h` is in no package, and the source of that release could not be had.

#![allow(
    non_camel_case_types,
    non_upper_case_globals,
    unused_imports,
    missing_docs,
    clippy::all
)]

use core::ffi::{c_uint, c_void};

/// A handle that is passed on and never looked into.
pub type spank_t = *mut c_void;
/// Options that are passed on and never looked into.
pub type slurm_opt_t = c_void;
/// An enumeration without negative values.
pub type spank_err_t = c_uint;

pub mod v22_05;
pub mod v24_11;
pub mod v26_05;
