//! The course of one submission, from the options to the advisor's answer.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicU32, Ordering};

use plugin_contract::question::Question;

use crate::advisor;
use crate::slurm::{self, Context};
use crate::{environment, options};

/// Makes the options known. Nothing is read here.
pub(crate) fn begin(spank: *mut c_void) {
    let context = slurm::context();
    if context == Context::Elsewhere {
        return;
    }
    if environment::inside_job() {
        environment::forget_options();
        if context == Context::Allocator {
            environment::forget_advice();
        }
    } else {
        environment::offer_options();
    }
    options::register(spank);
}

/// Components of a heterogeneous job that have been decided on.
static DECIDED: AtomicU32 = AtomicU32::new(0);

/// Decides on a submission. `argc` and `argv` are the arguments of the line in `plugstack.conf`.
pub(crate) fn decide(argc: c_int, argv: *const *const c_char) {
    let context = slurm::context();
    if context == Context::Elsewhere {
        return;
    }
    let component = DECIDED.fetch_add(1, Ordering::Relaxed);
    // A component without a tag may have been handed something of the one before it, which the library takes back.
    if !(options::any_given() || advisor::is_loaded()) {
        return;
    }
    // A step runs inside what its job was given.
    if !(context == Context::Local && environment::inside_job()) {
        let question = Question {
            component,
            in_srun: context == Context::Local,
            argument_count: argc,
            arguments: argv,
            values: options::values(),
        };
        let code = advisor::ask(&question, options::ask_for_advice());
        if code != 0 {
            slurm::exit(code);
        }
    }
    options::forget();
}
