//! Keeps an advice to the job it was made for.
//!
//! Slurm passes the options of a plugin on through the environment: a step, a nested `sbatch`, even the second
//! component of a heterogeneous job gets the value of the first as if it had been typed. And whatever a job carries in
//! `SLURM_LLM_*` is copied into the jobs that it submits. Both would put one job's choice onto another.

use std::ffi::{CStr, CString, c_char};

use model_store::options::{OPTIONS, OptionSpec};
use model_store::outcome::env as names;

use crate::ffi;

/// Variables that describe the advice of the job in which they are found.
const OF_THE_JOB: [&str; 10] = [
    names::TP,
    names::PRECISION,
    names::GPU,
    names::ADVICE,
    names::ENGINE_ARGS,
    names::MODEL,
    names::ISL,
    names::OSL,
    names::CONCURRENCY,
    names::SPOOL,
];

/// True inside a job: in its script, in a step, in a shell of `salloc`.
pub(crate) fn inside_job() -> bool {
    std::env::var_os("SLURM_JOB_ID").is_some()
}

/// Forgets the options that the job around this command was submitted with.
pub(crate) fn forget_options() {
    for spec in &OPTIONS {
        for prefix in ["SLURM_SPANK_", ""] {
            remove(&format!("{prefix}{}", passed_on_as(spec)));
        }
    }
}

/// Offers the user's own `OMNIPILOT_*` variables to Slurm as values of the options, in the form in which Slurm takes values from
/// the environment: they then count more than an `#SBATCH` line and less than the command line, as Slurm's own do.
pub(crate) fn offer_environment() {
    for spec in &OPTIONS {
        if let Some(value) = of_the_user(spec) {
            set_bytes(&format!("SLURM_SPANK_{}", passed_on_as(spec)), &value);
        }
    }
}

/// What the user's environment says of an option (`OMNIPILOT_MODEL` of `--llm-model`); never inside a job, whose environment
/// is a copy.
pub(crate) fn of_the_user(spec: &OptionSpec) -> Option<CString> {
    get(&spec.variable()).filter(|value| !value.is_empty() && !inside_job())
}

/// Forgets the advice of the job around this command, which a new job must not be given.
pub(crate) fn forget_advice() {
    OF_THE_JOB.iter().for_each(|name| remove(name));
    let of_a_component = |name: &String| {
        let plain = name.split_once("_HET_GROUP_").map(|(plain, _)| plain);
        plain.is_some_and(|plain| OF_THE_JOB.contains(&plain))
    };
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    names
        .filter(of_a_component)
        .collect::<Vec<_>>()
        .iter()
        .for_each(|name| remove(name));
}

/// True where Slurm took this value of an option from the environment and not from what was typed: it passes the very
/// text that the variable holds.
pub(crate) fn is_inherited(spec: &OptionSpec, value: *const c_char) -> bool {
    let name = ffi::c_string(format!("SLURM_SPANK_{}", passed_on_as(spec)));
    // SAFETY: the name ends with NUL; the address is compared, never followed.
    let held = unsafe { libc::getenv(name.as_ptr()) };
    !held.is_null() && std::ptr::eq(held, value)
}

/// The name in which Slurm passes an option of this plugin on.
fn passed_on_as(spec: &OptionSpec) -> String {
    format!(
        "_SLURM_SPANK_OPTION_omnipilot_{}",
        spec.name.replace('-', "_")
    )
}

/// Sets a variable of this process, which becomes one of the job.
pub(crate) fn set(name: &str, value: &str) {
    set_bytes(name, &ffi::c_string(value));
}

fn set_bytes(name: &str, value: &CStr) {
    let name = ffi::c_string(name);
    // SAFETY: both end with NUL; at this point a submitting command has one thread.
    unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) };
}

/// The value of a variable of this process.
pub(crate) fn get(name: &str) -> Option<CString> {
    let name = ffi::c_string(name);
    // SAFETY: the name ends with NUL; the text is copied before anything can change it.
    ffi::text(unsafe { libc::getenv(name.as_ptr()) })
}

/// Removes a variable of this process.
pub(crate) fn remove(name: &str) {
    let name = ffi::c_string(name);
    // SAFETY: as in `set`.
    unsafe { libc::unsetenv(name.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_from_the_environment_is_told_from_one_that_was_typed() {
        let spec = &OPTIONS[9];
        let name = format!("SLURM_SPANK_{}", passed_on_as(spec));
        assert_eq!(name, "SLURM_SPANK__SLURM_SPANK_OPTION_omnipilot_llm_advice");
        let typed = c"same";
        assert!(!is_inherited(spec, typed.as_ptr()));
        set(&name, "same");
        assert!(!is_inherited(spec, typed.as_ptr()));
        let held = ffi::c_string(name.clone());
        // SAFETY: the name ends with NUL.
        let held = unsafe { libc::getenv(held.as_ptr()) };
        assert!(is_inherited(spec, held));
        forget_options();
        assert_eq!(get(&name), None);
    }
}
