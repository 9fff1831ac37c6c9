//! The `--llm-*` options as Slurm sees them: registered from the one table, collected from the callbacks.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char, c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model_store::options::{OPTIONS, OptionError, OptionSpec, RawOptions};

use crate::ffi::{self, SpankOption};
use crate::guard::{self, Hook, Then};
use crate::{host, inherit};

/// What one submission (one component of it) was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typed {
    /// The values that were taken.
    pub(crate) options: RawOptions,
    /// Those that were not, by option; a later good value of the same option takes its entry away.
    wrong: BTreeMap<usize, OptionError>,
    /// True where any option was given at all.
    given: bool,
}

impl Typed {
    /// True where no option was given: the submission is none of the plugin's business.
    pub(crate) const fn is_empty(&self) -> bool {
        !self.given
    }

    /// The first value that was not taken, in the order of the table.
    pub(crate) fn first_wrong(&self) -> Option<&OptionError> {
        self.wrong.values().next()
    }

    fn take_value(&mut self, number: usize, spec: &OptionSpec, value: &str) {
        self.given = true;
        self.wrong.remove(&number);
        if let Err(error) = self.options.set(spec.name, value) {
            self.wrong.insert(number, error);
        }
    }
}

static TYPED: Mutex<Option<Typed>> = Mutex::new(None);

fn typed() -> MutexGuard<'static, Option<Typed>> {
    TYPED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands over what has been collected, and begins anew: the next component of a heterogeneous job has options of its
/// own.
pub(crate) fn take() -> Typed {
    typed().take().unwrap_or_default()
}

/// Registers every option of the table.
pub(crate) fn register(spank: *mut c_void) {
    for (number, spec) in OPTIONS.iter().enumerate() {
        // Slurm keeps pointers to it: it lives as long as the process.
        let option = Box::leak(Box::new(described(number, spec)));
        host::register(spank, option);
    }
}

fn described(number: usize, spec: &OptionSpec) -> SpankOption {
    let forever = |text: String| ffi::c_string(text).into_raw().cast_const();
    SpankOption {
        name: forever(spec.name.into()),
        arginfo: forever(spec.metavar.into()),
        usage: forever(format!("[omnipilot] {}", spec.help)),
        has_arg: 1,
        val: c_int::try_from(number).unwrap_or(-1),
        cb: Some(on_option),
    }
}

/// Called by Slurm once for each occurrence of an option. Never refuses here: a wrong value is told when all are known,
/// in the plugin's own words.
extern "C" fn on_option(number: c_int, value: *const c_char, remote: c_int) -> c_int {
    guard::hook(Hook::Option, || {
        if remote == 0 {
            guard::inject(Hook::Option);
            collect(number, value);
        }
        Then::Continue
    })
}

fn collect(number: c_int, value: *const c_char) {
    let Some((number, spec)) = usize::try_from(number)
        .ok()
        .and_then(|n| Some((n, OPTIONS.get(n)?)))
    else {
        return;
    };
    let text = if inherit::is_inherited(spec, value) {
        inherit::of_the_user(spec)
    } else {
        ffi::text(value)
    };
    if let Some(text) = text {
        typed()
            .get_or_insert_default()
            .take_value(number, spec, &readable(text));
    }
}

/// Bytes that are no UTF-8 become the replacement character, which no option takes for more than a name.
fn readable(text: CString) -> String {
    text.into_string().unwrap_or_else(|error| {
        String::from_utf8_lossy(error.into_cstring().as_bytes()).into_owned()
    })
}

/// As Slurm would call it.
#[cfg(test)]
fn pass(name: &str, value: &str) {
    let number = OPTIONS.iter().position(|spec| spec.name == name).unwrap();
    let value = ffi::c_string(value);
    assert_eq!(
        on_option(c_int::try_from(number).unwrap(), value.as_ptr(), 0),
        0
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts_and_heals_a_wrong_one() {
        pass("llm-tp", "nonsense");
        pass("llm-model", "a");
        pass("llm-model", "b");
        let before = typed().clone().unwrap();
        assert!(
            before
                .first_wrong()
                .unwrap()
                .reason
                .contains("--llm-tp=nonsense")
        );
        pass("llm-tp", "2");
        let all = take();
        assert!(all.first_wrong().is_none());
        assert_eq!(all.options.model.as_deref(), Some("b"));
        assert_eq!(all.options.pins.tp, Some(2));
        assert!(take().is_empty(), "the next component begins with nothing");
    }

    #[test]
    fn numbers_that_slurm_never_gave_out_are_passed_over() {
        for number in [-1, 10, c_int::MAX] {
            collect(number, c"x".as_ptr());
        }
        collect(0, std::ptr::null());
    }

    proptest::proptest! {
        #[test]
        fn no_value_does_any_harm(number in 0..10, value in proptest::collection::vec(1_u8..=255, 0..2000)) {
            let mut typed = Typed::default();
            let spec = &OPTIONS[usize::try_from(number).unwrap()];
            typed.take_value(0, spec, &readable(ffi::c_string(value)));
            proptest::prop_assert!(typed.first_wrong().is_none_or(|error| !error.reason.contains('\n')));
        }
    }
}
