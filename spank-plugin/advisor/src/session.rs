//! The course of one submission, from the options to what is done with the job.

use std::ffi::{CStr, CString};

use model_store::carry_out::{Job, Part, Then as Go, Tone, carry_out};
use model_store::component::name_for;
use model_store::consult::{Fault, exit_code};
use model_store::decision::Decision;
use model_store::job_rewrite::Edit;
use model_store::options::AdviceMode;
use model_store::outcome::env::ADVICE;
use plugin_contract::question::Question;

use crate::ask::ask;
use crate::guard::{self, Place, Then};
use crate::host::{JobOptions, Level, SlurmOptions};
use crate::options::Typed;
use crate::submission::Submission;
use crate::{environment, ffi, rewrite, say};

/// Decides on a submission.
pub(crate) fn decide(question: &Question) -> Then {
    if question.component > 0
        && let Some(mut job) = SlurmOptions::find()
    {
        rewrite::take_back(&mut job);
    }
    let typed = Typed::of(question);
    if !typed.tagged || is_step(question) {
        return Then::Continue;
    }
    guard::inject(Place::Command);
    if let Some(wrong) = typed.wrong.as_ref().filter(|_| !typed.asks_for_nothing()) {
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
    let part = Part {
        component,
        several: component > 0 || !heard.others.is_empty(),
    };
    let then = carry_out(
        &mut InSlurm(&mut job),
        answer,
        part,
        heard.terms.refuse_on_fault,
    );
    if let Go::End(code) = then {
        return Then::Exit(code);
    }
    heard
        .others
        .iter()
        .for_each(|(name, value)| environment::set(name, value));
    Then::Continue
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

/// The options of the submitting process.
struct InSlurm<'a, O: JobOptions>(&'a mut O);

impl<O: JobOptions> Job for InSlurm<'_, O> {
    fn change(&mut self, edits: &[Edit], note: &str) -> Result<(), Fault> {
        if edits.is_empty() && note.is_empty() {
            return Ok(());
        }
        rewrite::apply(self.0, edits, note).map_err(|reason| Fault {
            reason,
            hint: String::new(),
        })
    }

    fn set(&mut self, name: &str, value: &str) {
        environment::set(name, value);
    }

    fn remove(&mut self, name: &str) {
        environment::remove(name);
    }

    fn tell(&mut self, tone: Tone, lines: &[String]) {
        if !say::is_heard(tone, say::is_watched(self.0)) {
            return;
        }
        let level = match tone {
            Tone::Watched | Tone::Info | Tone::Answer => Level::Info,
            Tone::Error => Level::Error,
        };
        say::lines(level, lines);
    }
}
