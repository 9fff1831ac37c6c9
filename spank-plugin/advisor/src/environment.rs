//! The variables of the submitting process, which become those of the job.

use std::ffi::CString;

use model_store::options::OptionSpec;

use crate::ffi;

/// True inside a job: in its script, in a step, in a shell of `salloc`.
pub(crate) fn inside_job() -> bool {
    get("SLURM_JOB_ID").is_some()
}

/// What the user's environment says of an option (`OMNIPILOT_MODEL` of `--llm-model`); never inside a job, whose environment
/// is a copy.
pub(crate) fn of_the_user(spec: &OptionSpec) -> Option<CString> {
    get(spec.variable).filter(|value| !value.is_empty() && !inside_job())
}

/// Sets a variable.
pub(crate) fn set(name: &str, value: &str) {
    let (name, value) = (ffi::c_string(name), ffi::c_string(value));
    // SAFETY: both end with NUL; at this point a submitting command has one thread.
    unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) };
}

/// The value of a variable.
pub(crate) fn get(name: &str) -> Option<CString> {
    let name = ffi::c_string(name);
    // SAFETY: the name ends with NUL; the text is copied before anything can change it.
    ffi::text(unsafe { libc::getenv(name.as_ptr()) })
}

/// Removes a variable.
pub(crate) fn remove(name: &str) {
    let name = ffi::c_string(name);
    // SAFETY: as in `set`.
    unsafe { libc::unsetenv(name.as_ptr()) };
}
