//! The `--llm-*` options as Slurm sees them: registered from the one table, and kept as they were given. What a value means, and
//! whether it is one, the advisor library says.

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::null_mut;
use core::sync::atomic::{AtomicPtr, Ordering};

use plugin_contract::options::{ADVICE, COUNT, MODEL, OPTIONS};

use crate::environment::{self, NAMED};
use crate::slurm::{self, SpankOption};

/// As Slurm takes them; the number of an option is its place.
#[allow(clippy::indexing_slicing, reason = "worked out by the compiler")]
static REGISTERED: [SpankOption; COUNT] = {
    let mut number = 0;
    let mut all = [described(0); COUNT];
    while number < COUNT {
        all[number] = described(number);
        number += 1;
    }
    all
};

#[allow(clippy::indexing_slicing, reason = "worked out by the compiler")]
const fn described(number: usize) -> SpankOption {
    let listed = OPTIONS[number].listed;
    SpankOption {
        name: listed.name.as_ptr(),
        arginfo: listed.metavar.as_ptr(),
        usage: listed.usage.as_ptr(),
        has_arg: 1,
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "one of few"
        )]
        val: number as c_int,
        cb: Some(on_option),
    }
}

/// Registers every option of the table.
pub(crate) fn register(spank: *mut c_void) {
    slurm::register(spank, &REGISTERED);
}

/// What each option was given last in this component; a copy of our own, or null.
static GIVEN: [AtomicPtr<c_char>; COUNT] = [const { AtomicPtr::new(null_mut()) }; COUNT];

/// Called by Slurm once for each occurrence of an option. Never refuses here: a wrong value is told when all are known, by the
/// library in its own words.
extern "C" fn on_option(number: c_int, value: *const c_char, remote: c_int) -> c_int {
    if remote == 0 && !value.is_null() {
        keep(number, value);
    }
    0
}

fn keep(number: c_int, value: *const c_char) {
    let Some(number) = usize::try_from(number).ok() else {
        return;
    };
    let (Some(spec), Some(slot)) = (NAMED.get(number), GIVEN.get(number)) else {
        return;
    };
    let value = if environment::is_inherited(spec, value) {
        environment::of_the_user(spec).map_or(core::ptr::null(), CStr::as_ptr)
    } else {
        value
    };
    if !value.is_null() {
        // SAFETY: a text that ends with NUL, of Slurm's or of the environment.
        replace(slot, unsafe { libc::strdup(value) });
    }
}

fn replace(slot: &AtomicPtr<c_char>, copy: *mut c_char) {
    let former = slot.swap(copy, Ordering::Relaxed);
    // SAFETY: null, or a copy made by `strdup` that nobody else has.
    unsafe { libc::free(former.cast()) };
}

/// True where any option was given: the submission may be the advisor's business.
pub(crate) fn any_given() -> bool {
    values().iter().any(|value| !value.is_null())
}

/// What each option was given last; null where nothing.
pub(crate) fn values() -> [*const c_char; COUNT] {
    GIVEN
        .each_ref()
        .map(|slot| slot.load(Ordering::Relaxed).cast_const())
}

/// Forgets what was given: the next component of a heterogeneous job has options of its own.
pub(crate) fn forget() {
    for slot in &GIVEN {
        replace(slot, null_mut());
    }
}

/// True where a model is named and advice is not switched off.
pub(crate) fn ask_for_advice() -> bool {
    text(MODEL).is_some() && text(ADVICE).is_none_or(|mode| mode.trim_ascii() != b"off")
}

fn text(number: usize) -> Option<&'static [u8]> {
    let value = GIVEN.get(number)?.load(Ordering::Relaxed);
    if value.is_null() {
        return None;
    }
    // SAFETY: a copy of ours, which ends with NUL and is not given back before this component is done.
    Some(unsafe { CStr::from_ptr(value) }.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Slurm would call it.
    fn pass(number: usize, value: &CStr) {
        let number = c_int::try_from(number).unwrap();
        assert_eq!(on_option(number, value.as_ptr(), 0), 0);
    }

    #[test]
    fn the_last_value_counts_until_it_is_forgotten() {
        let _turn = environment::TURN.lock().unwrap();
        assert!(!any_given() && !ask_for_advice());
        pass(MODEL, c"a");
        pass(MODEL, c"b");
        assert_eq!(text(MODEL), Some(&b"b"[..]));
        assert!(ask_for_advice());
        pass(ADVICE, c" off ");
        assert!(any_given() && !ask_for_advice());
        forget();
        assert!(!any_given());
        // What Slurm never gave out, and what comes on a compute node.
        let beyond = c_int::try_from(COUNT).unwrap();
        for number in [-1, beyond, c_int::MAX] {
            on_option(number, c"x".as_ptr(), 0);
        }
        on_option(0, core::ptr::null(), 0);
        on_option(0, c"x".as_ptr(), 1);
        assert!(!any_given());
    }
}
