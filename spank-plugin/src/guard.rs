//! Around every hook: no panic leaves it, none is printed, and the process ends only where a hook decided so.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::{host, say};

/// The places at which Slurm enters the plugin, and the child process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// `slurm_spank_init`
    Init,
    /// An option's callback
    Option,
    /// `slurm_spank_init_post_opt`
    PostOpt,
    /// The child process in which the advisor runs
    Child,
}

/// What a hook decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Slurm goes on.
    Continue,
    /// The submission ends with this exit code; what there is to say has been said.
    Exit(u8),
}

/// Runs a hook. A panic counts as a fault: one line, and the submission goes on.
pub(crate) fn hook(hook: Hook, body: impl FnOnce() -> Then) -> c_int {
    let fallen = match quietly(body) {
        Some(Then::Continue) => return 0,
        Some(Then::Exit(code)) => quietly(|| host::exit(code)).is_none(),
        None => true,
    };
    if fallen && hook != Hook::Option {
        quietly(|| say::fault("an internal error"));
    }
    0
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
pub(crate) fn inject(hook: Hook) {
    let Ok(wanted) = std::env::var("OMNIPILOT_INJECT") else {
        return;
    };
    let Some((fault, place)) = wanted.split_once(':') else {
        return;
    };
    if place != format!("{hook:?}") {
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
pub(crate) const fn inject(_hook: Hook) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_a_hook_is_not_a_refusal() {
        assert_eq!(hook(Hook::Option, || panic!("boom")), 0);
        assert_eq!(hook(Hook::Option, || Then::Continue), 0);
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
