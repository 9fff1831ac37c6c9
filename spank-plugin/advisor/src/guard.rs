//! Around every decision: no panic leaves it, and none is printed.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::say;

/// The places that tests break on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The process of the submitting command.
    Command,
    /// The child process in which the advisor runs.
    Child,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Slurm goes on.
    Continue,
    /// The submission ends with this exit code; what there is to say has been said.
    Exit(u8),
}

/// Runs a decision. A panic counts as a fault: one line, and the submission goes on.
pub(crate) fn decision(body: impl FnOnce() -> Then) -> c_int {
    match quietly(body) {
        Some(Then::Continue) => 0,
        Some(Then::Exit(code)) => c_int::from(code),
        None => {
            quietly(|| say::fault("an internal error"));
            0
        }
    }
}

/// Runs something that might panic, printing nothing; `None` if it did.
pub(crate) fn quietly<T>(body: impl FnOnce() -> T) -> Option<T> {
    let former = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = catch_unwind(AssertUnwindSafe(body));
    std::panic::set_hook(former);
    // A payload whose destructor panics would undo all this.
    result.map_err(std::mem::forget).ok()
}

/// Breaks the place named in `OMNIPILOT_INJECT` on purpose. Debug builds only: tests use it.
#[cfg(debug_assertions)]
#[allow(clippy::panic, reason = "this is what it is for")]
pub(crate) fn inject(here: Place) {
    let Ok(wanted) = std::env::var("OMNIPILOT_INJECT") else {
        return;
    };
    let Some((fault, place)) = wanted.split_once(':') else {
        return;
    };
    if place != format!("{here:?}") {
        return;
    }
    match fault {
        "panic" => panic!("injected"),
        "abort" => std::process::abort(),
        "hang" => std::thread::sleep(std::time::Duration::from_secs(60)),
        "exit" => std::process::exit(0),
        _ => {}
    }
}

/// Release builds cannot be broken on purpose.
#[cfg(not(debug_assertions))]
pub(crate) const fn inject(_here: Place) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_not_a_refusal() {
        assert_eq!(decision(|| panic!("boom")), 0);
        assert_eq!(decision(|| Then::Continue), 0);
        assert_eq!(decision(|| Then::Exit(64)), 64);
    }

    #[test]
    fn a_payload_that_panics_when_dropped_does_no_harm() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("again");
            }
        }
        assert_eq!(quietly(|| std::panic::panic_any(Bomb)), None::<()>);
    }
}
