//! The other components of a heterogeneous job. The environment that a job's script gets is that of its first component, as it
//! was when that one was decided; so the first looks ahead, and puts every component's advice into it.

use model_store::component::of_component;
use model_store::config::Config;
use model_store::decision::{self, Decision, decide};
use model_store::job_request::Given;
use model_store::options::OPTIONS;
use model_store::reading::{Component, Variables, components, parts};
use model_store::snapshot::Snapshot;
use model_store::startable::{Other, Who};

use crate::environment;
use crate::script;
use crate::submission::Submission;

/// What this process's environment says of a submission.
const VARIABLES: Variables<'static> = Variables {
    sbatch: &environment,
    ours: &of_the_user,
};

/// The variables of every component but the first, under the names that the script sees; none for a job of one component.
pub(crate) fn variables(
    snapshot: &Snapshot,
    config: &Config,
    submission: &Submission,
    text: Option<&str>,
    who: &Who,
) -> Vec<(String, String)> {
    if submission.component != 0 || submission.words.is_empty() {
        return Vec::new();
    }
    let all = components(parts(&submission.words), text);
    let arguments = submission.arguments();
    let mut out = Vec::new();
    for (number, component) in (0_u32..).zip(&all).skip(1) {
        let Ok(asked) = component.request(number, VARIABLES) else {
            continue;
        };
        if asked.options.model.is_none() {
            continue;
        }
        let known = decision::Submission {
            options: &asked.options,
            given: &asked.given,
            script: text,
            arguments: arguments.as_deref(),
            read: &|name| script::read_named(name, submission.folder.as_deref()),
            environment: &environment,
            component: number,
            who: &Who {
                others: beside(&all, number),
                ..who.clone()
            },
        };
        if let Decision::Rewrite { environment, .. } | Decision::Explore { environment, .. } =
            decide(snapshot, config, &known)
        {
            out.extend(of_component(&environment, number));
        }
    }
    out
}

/// What the other components of the job take; nothing for a job of one component.
pub(crate) fn others(submission: &Submission, text: Option<&str>) -> Vec<Other> {
    let all = components(parts(&submission.words), text);
    beside(&all, submission.component)
}

/// What all components but one take.
fn beside(all: &[Component], component: u32) -> Vec<Other> {
    let others = (0_u32..).zip(all).filter(|(n, _)| *n != component);
    let one = |component: &Component| {
        let given = Given::of(|name| component.value(name, VARIABLES));
        let asked = component.request(0, VARIABLES).ok();
        Other::of(&given, asked.as_ref().map(|asked| &asked.options))
    };
    others.filter_map(|(_, component)| one(component)).collect()
}

/// A variable of the submitting process.
pub(crate) fn environment(name: &str) -> Option<String> {
    environment::get(name)?.into_string().ok()
}

/// What the user set of our own variables.
fn of_the_user(name: &str) -> Option<String> {
    let spec = OPTIONS.iter().find(|spec| spec.variable == name)?;
    environment::of_the_user(spec)?.into_string().ok()
}
