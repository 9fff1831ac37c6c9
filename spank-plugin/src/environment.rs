//! Keeps an advice to the job it was made for.
//!
//! Slurm passes the options of a plugin on through the environment: a step, a nested `sbatch`, even the second
//! component of a heterogeneous job gets the value of the first as if it had been typed. And whatever a job carries in
//! `SLURM_LLM_*` is copied into the jobs that it submits. Both would put one job's choice onto another.

use core::ffi::{CStr, c_char};

use plugin_contract::environment::{OF_A_COMPONENT, OF_USERS, OFFERED, PASSED_ON, job};
use plugin_contract::options::{COUNT, OPTIONS};

use crate::text::Text;

/// Longest name that is looked at, and its NUL, bytes.
const LONGEST: usize = 96;

/// What is needed of an option while a command runs. Each pointer of a table costs the file 24 bytes.
#[derive(Clone, Copy)]
pub(crate) struct Named {
    /// Long name without the leading dashes.
    name: &'static CStr,
    /// The variable that stands for it.
    variable: &'static CStr,
}

/// The options of the one table, in its order.
#[allow(clippy::indexing_slicing, reason = "worked out by the compiler")]
pub(crate) static NAMED: [Named; COUNT] = {
    let mut number = 0;
    let mut all = [Named {
        name: c"",
        variable: c"",
    }; COUNT];
    while number < COUNT {
        let listed = OPTIONS[number].listed;
        all[number] = Named {
            name: listed.name,
            variable: listed.variable,
        };
        number += 1;
    }
    all
};

/// True inside a job: in its script, in a step, in a shell of `salloc`.
pub(crate) fn inside_job() -> bool {
    get(c"SLURM_JOB_ID").is_some()
}

/// Forgets the options that the job around this command was submitted with.
pub(crate) fn forget_options() {
    forget(|name| {
        let rest = [OFFERED, PASSED_ON]
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix.as_bytes()));
        rest.is_some_and(|rest| {
            NAMED
                .iter()
                .any(|spec| mangled(spec).eq(rest.iter().copied()))
        })
    });
}

/// Forgets the advice of the job around this command, which a new job must not be given.
pub(crate) fn forget_advice() {
    forget(|name| {
        job::ALL
            .iter()
            .filter_map(|own| name.strip_prefix(own.as_bytes()))
            .any(|rest| rest.is_empty() || rest.starts_with(OF_A_COMPONENT.as_bytes()))
    });
}

/// Offers the user's own `OMNIPILOT_*` variables to Slurm as values of the options, in the form in which Slurm takes values from
/// the environment: they then count more than an `#SBATCH` line and less than the command line, as Slurm's own do.
pub(crate) fn offer_options() {
    if !variables().any(|name| name.starts_with(OF_USERS.as_bytes())) {
        return;
    }
    for spec in &NAMED {
        if let (Some(value), Some(name)) = (of_the_user(spec), offered(spec)) {
            // SAFETY: both end with NUL and are copied; at this point a submitting command has one thread.
            unsafe { libc::setenv(name.as_c().as_ptr(), value.as_ptr(), 1) };
        }
    }
}

/// What the user's environment says of an option (`OMNIPILOT_MODEL` of `--llm-model`); never inside a job, whose environment
/// is a copy.
pub(crate) fn of_the_user(spec: &Named) -> Option<&'static CStr> {
    get(spec.variable).filter(|value| !value.is_empty() && !inside_job())
}

/// True where Slurm took this value of an option from the environment and not from what was typed: it passes the very
/// text that the variable holds.
pub(crate) fn is_inherited(spec: &Named, value: *const c_char) -> bool {
    let held = offered(spec).and_then(|name| get(name.as_c()));
    held.is_some_and(|held| core::ptr::eq(held.as_ptr(), value))
}

/// The name in which Slurm takes an option of this plugin from the environment.
fn offered(spec: &Named) -> Option<Text<LONGEST>> {
    Text::of(OFFERED.bytes().chain(mangled(spec)))
}

/// The name of an option as Slurm writes it in a variable.
fn mangled(spec: &Named) -> impl Iterator<Item = u8> {
    let name = spec.name.to_bytes().iter().copied();
    name.map(|byte| if byte == b'-' { b'_' } else { byte })
}

/// The value of a variable of this process, good until the variable changes.
fn get(name: &CStr) -> Option<&'static CStr> {
    // SAFETY: the name ends with NUL.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: a value ends with NUL; the callers are done with it before they change a variable.
    (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) })
}

/// The names of all variables.
fn variables() -> impl Iterator<Item = &'static [u8]> {
    unsafe extern "C" {
        static environ: *const *const c_char;
    }
    // SAFETY: the C library's, null or the first of pointers that end with a null.
    let mut next = unsafe { environ };
    core::iter::from_fn(move || {
        if next.is_null() {
            return None;
        }
        // SAFETY: not behind the null that ends them, since nothing is taken after it.
        let entry = unsafe { *next };
        if entry.is_null() {
            return None;
        }
        // SAFETY: as above.
        next = unsafe { next.add(1) };
        // SAFETY: an entry ends with NUL; one thread, and nothing is changed while it is looked at.
        let entry = unsafe { CStr::from_ptr(entry) }.to_bytes();
        entry.split(|byte| *byte == b'=').next()
    })
}

/// Removes the variables of these names.
fn forget(is_meant: impl Fn(&[u8]) -> bool) {
    // Removing one moves the others, so each time is looked from the beginning. There are few: eleven options, or as many for each component.
    for _ in 0..4096 {
        let Some(name) = variables().find(|name| name.len() < LONGEST && is_meant(name)) else {
            return;
        };
        let Some(name) = Text::<LONGEST>::of(name.iter().copied()) else {
            return;
        };
        // SAFETY: the name ends with NUL; one thread.
        unsafe { libc::unsetenv(name.as_c().as_ptr()) };
    }
}

/// The environment belongs to the whole process: tests take turns.
#[cfg(test)]
pub(crate) static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;
    use plugin_contract::options::ADVICE;

    #[test]
    fn variables_are_offered_recognised_and_forgotten() {
        let _turn = TURN.lock().unwrap();
        let set = |name: &str, value: &str| {
            // SAFETY: nobody else reads or writes variables meanwhile.
            unsafe { std::env::set_var(name, value) };
        };
        let spec = &NAMED[ADVICE];
        let name = "SLURM_SPANK__SLURM_SPANK_OPTION_omnipilot_llm_advice";
        assert_eq!(offered(spec).unwrap().as_c().to_str(), Ok(name));

        set("OMNIPILOT_ADVICE", "check");
        offer_options();
        let held = get(offered(spec).unwrap().as_c()).unwrap();
        assert_eq!(held, c"check");
        assert!(is_inherited(spec, held.as_ptr()));
        assert!(!is_inherited(spec, c"check".as_ptr()), "typed");

        set("SLURM_JOB_ID", "7");
        assert_eq!(of_the_user(spec), None, "a job's environment is a copy");
        for name in [
            "SLURM_LLM_TP",
            "SLURM_LLM_GPU_HET_GROUP_12",
            "SLURM_LLM_OTHER",
            "SLURM_LLM_TPX",
        ] {
            set(name, "1");
        }
        set("_SLURM_SPANK_OPTION_omnipilot_llm_tp", "1");
        set("_SLURM_SPANK_OPTION_another_llm_tp", "1");
        forget_options();
        forget_advice();
        let is_there = |name: &str| std::env::var_os(name).is_some();
        assert!(!is_there(name) && !is_there("_SLURM_SPANK_OPTION_omnipilot_llm_tp"));
        assert!(!is_there("SLURM_LLM_TP") && !is_there("SLURM_LLM_GPU_HET_GROUP_12"));
        assert!(is_there("SLURM_LLM_OTHER") && is_there("SLURM_LLM_TPX"));
        assert!(
            is_there("_SLURM_SPANK_OPTION_another_llm_tp"),
            "another plugin's"
        );
        assert!(is_there("OMNIPILOT_ADVICE"));
    }
}
