//! The course of one submission, from the options to what is done with the job.

use std::ffi::{CStr, CString};

use model_store::component::name_for;
use model_store::consult::exit_code;
use model_store::decision::Decision;
use model_store::options::AdviceMode;
use model_store::outcome::env::ADVICE;
use plugin_contract::question::Question;

use crate::ask::ask;
use crate::child::Terms;
use crate::guard::{self, Place, Then};
use crate::host::{JobOptions, Level, SlurmOptions};
use crate::options::Typed;
use crate::submission::Submission;
use crate::{environment, ffi, others, rewrite, say};

/// Decides on a submission.
pub(crate) fn decide(question: &Question) -> Then {
    if question.component > 0
        && let Some(mut job) = SlurmOptions::find()
    {
        rewrite::take_back(&mut job);
    }
    let typed = Typed::of(question);
    if !typed.given || is_step(question) {
        return Then::Continue;
    }
    guard::inject(Place::Command);
    if let Some(wrong) = &typed.wrong {
        say::lines(
            Level::Error,
            &[wrong.reason.clone(), format!("hint: {}", wrong.hint)],
        );
        return Then::Exit(exit_code::USAGE);
    }
    if typed.options.model.is_none() {
        return Then::Continue;
    }
    let arguments = ffi::words(question.argument_count, question.arguments);
    advised(typed, &arguments, question.component)
}

/// A step runs inside what its job was given.
fn is_step(question: &Question) -> bool {
    question.in_srun
        && (environment::inside_job()
            || SlurmOptions::find().is_some_and(|job| job.is_set(c"jobid")))
}

fn advised(typed: Typed, arguments: &[CString], component: u32) -> Then {
    let off = typed.options.mode == AdviceMode::Off;
    let Some(mut job) = SlurmOptions::find() else {
        if !off {
            say::fault("this Slurm does not let a plugin see a job's options");
        }
        return Then::Continue;
    };
    let submission = Submission::gather(&job, typed.options, arguments, component);
    let is_batch = !submission.words.is_empty();
    let heard = ask(&submission);
    let answer = match heard.answer {
        // Nobody asked for what is not there.
        Decision::Fault { .. } | Decision::Left { .. } if off => Decision::Leave,
        answer => within_reach(answer, component, is_batch),
    };
    let several = component == 0 && !heard.others.is_empty();
    if let (Decision::Rewrite { environment, .. }, true) = (&answer, several) {
        others::of_component(environment, 0)
            .for_each(|(name, value)| environment::set(&name, &value));
    }
    let then = carry_out(&mut job, answer, heard.terms, component);
    if then == Then::Continue {
        heard
            .others
            .iter()
            .for_each(|(name, value)| environment::set(name, value));
    }
    then
}

/// What the script of a batch job is to know of a further component stands in the first one's environment by now, or cannot
/// reach it any more: GPUs that nothing tells the engine of would be worse than those that were asked for.
fn within_reach(answer: Decision, component: u32, is_batch: bool) -> Decision {
    let Decision::Rewrite { environment, .. } = &answer else {
        return answer;
    };
    let id = environment.iter().find(|(name, _)| name == ADVICE);
    let known = environment::get(&name_for(ADVICE, component));
    if component == 0
        || !is_batch
        || known.as_deref().map(CStr::to_bytes) == id.map(|(_, id)| id.as_bytes())
    {
        return answer;
    }
    Decision::Left {
        reason: format!(
            "the advice of component {component} cannot reach the script, whose environment is the first component's; \
             `--llm-model` there too, with `--llm-advice=off` where it serves nothing, makes room"
        ),
    }
}

fn carry_out(job: &mut impl JobOptions, answer: Decision, terms: Terms, component: u32) -> Then {
    match answer {
        Decision::Leave => Then::Continue,
        Decision::Rewrite {
            edits,
            comment,
            environment,
            message,
        } => {
            if let Err(reason) = rewrite::apply(job, &edits, &comment) {
                return broken(job, &reason, "", terms);
            }
            put(&environment, component);
            tell(job, &message);
            Then::Continue
        }
        Decision::Explore {
            comment,
            environment,
            message,
        } => {
            if !comment.is_empty() && rewrite::note(job, &comment).is_err() {
                say::fault("Slurm does not take --comment");
                return Then::Continue;
            }
            put(&environment, component);
            tell(job, &message);
            Then::Continue
        }
        Decision::Check { message } => {
            say::lines(Level::Info, &message);
            Then::Continue
        }
        Decision::Refuse { code, message } => {
            say::lines(Level::Error, &message);
            Then::Exit(code)
        }
        Decision::Left { reason } => {
            say::fault(&reason);
            Then::Continue
        }
        Decision::Fault { reason, hint } => broken(job, &reason, &hint, terms),
    }
}

/// Gives the job its variables: the first component under their own names, and every component of a heterogeneous job under
/// names that say which one it is.
fn put(environment: &[(String, String)], component: u32) {
    if component == 0 {
        for (name, value) in environment {
            match value.as_str() {
                "" if !name.starts_with("SLURM_LLM_") => environment::remove(name),
                value => environment::set(name, value),
            }
        }
        return;
    }
    others::of_component(environment, component)
        .for_each(|(name, value)| environment::set(&name, &value));
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
