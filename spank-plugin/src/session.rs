//! The course of one submission, from the options to what is done with the job.

use std::ffi::{CString, c_void};

use model_store::consult::exit_code;
use model_store::options::AdviceMode;

use crate::ask::ask;
use crate::child::Terms;
use crate::guard::{self, Hook, Then};
use crate::host::{self, Context, JobOptions, Level, SlurmOptions};
use crate::options::{self, Typed};
use crate::rewrite::{self, Change};
use crate::submission::Submission;
use crate::{inherit, say};
use model_store::decision::{Decision, EXPLORED};

/// Makes the options known. Nothing is read here.
pub(crate) fn begin(spank: *mut c_void) -> Then {
    let context = host::context();
    if context == Context::Elsewhere {
        return Then::Continue;
    }
    guard::inject(Hook::Init);
    if inherit::inside_job() {
        inherit::forget_options();
        if context == Context::Allocator {
            inherit::forget_advice();
        }
    }
    inherit::offer_environment();
    options::register(spank);
    Then::Continue
}

/// Decides on a submission. `arguments` are asked for only if there is something to decide.
pub(crate) fn decide(arguments: impl FnOnce() -> Vec<CString>) -> Then {
    let context = host::context();
    if context == Context::Elsewhere {
        return Then::Continue;
    }
    let typed = options::take();
    if typed.is_empty() || is_step(context) {
        return Then::Continue;
    }
    guard::inject(Hook::PostOpt);
    if let Some(wrong) = typed.first_wrong() {
        say::lines(
            Level::Error,
            &[wrong.reason.clone(), format!("hint: {}", wrong.hint)],
        );
        return Then::Exit(exit_code::USAGE);
    }
    if typed.options.model.is_none() || typed.options.mode == AdviceMode::Off {
        return Then::Continue;
    }
    advised(typed, &arguments())
}

/// A step runs inside what its job was given.
fn is_step(context: Context) -> bool {
    context == Context::Local
        && (inherit::inside_job() || SlurmOptions::find().is_some_and(|job| job.is_set(c"jobid")))
}

fn advised(typed: Typed, arguments: &[CString]) -> Then {
    let Some(mut job) = SlurmOptions::find() else {
        say::fault("this Slurm does not let a plugin see a job's options");
        return Then::Continue;
    };
    let submission = Submission::gather(&job, typed.options, arguments);
    let (answer, terms) = ask(&submission);
    carry_out(&mut job, answer, terms)
}

fn carry_out(job: &mut impl JobOptions, answer: Decision, terms: Terms) -> Then {
    match answer {
        Decision::Rewrite {
            gpus,
            comment,
            gpu_types,
            environment,
            message,
        } => {
            let change = Change {
                gpus,
                comment,
                gpu_types,
            };
            rewritten(job, &change, &environment, &message, terms)
        }
        Decision::Explore {
            comment,
            environment,
        } => explored(job, &comment, &environment),
        Decision::Check { message } => {
            say::lines(Level::Info, &message);
            Then::Continue
        }
        Decision::Refuse { code, message } => {
            say::lines(Level::Error, &message);
            Then::Exit(code)
        }
        Decision::Fault { reason, hint } => broken(job, &reason, &hint, terms),
    }
}

fn rewritten(
    job: &mut impl JobOptions,
    change: &Change,
    environment: &[(String, String)],
    message: &[String],
    terms: Terms,
) -> Then {
    if let Err(reason) = rewrite::apply(job, change) {
        return broken(job, &reason, "", terms);
    }
    environment
        .iter()
        .for_each(|(name, value)| inherit::set(name, value));
    tell(job, message);
    Then::Continue
}

fn explored(job: &mut impl JobOptions, comment: &str, environment: &[(String, String)]) -> Then {
    if !comment.is_empty() && rewrite::note(job, comment).is_err() {
        say::fault("Slurm does not take --comment");
        return Then::Continue;
    }
    environment
        .iter()
        .for_each(|(name, value)| inherit::set(name, value));
    tell(job, &[EXPLORED.into()]);
    Then::Continue
}

fn tell(job: &impl JobOptions, message: &[String]) {
    if say::is_wanted(job) {
        say::lines(Level::Info, message);
    }
}

/// Something is broken: the job goes as written, unless the site wants otherwise.
fn broken(job: &impl JobOptions, reason: &str, hint: &str, terms: Terms) -> Then {
    let hint = Some(format!("hint: {hint}")).filter(|_| !hint.is_empty());
    if terms.refuse_on_fault {
        let reason = format!("no advice: {reason}");
        say::lines(
            Level::Error,
            &[Some(reason), hint]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        );
        return Then::Exit(exit_code::FAULT);
    }
    say::fault(reason);
    tell(job, hint.as_slice());
    Then::Continue
}
