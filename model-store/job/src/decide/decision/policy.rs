//! A decision under the site's policy for the job's partition, account and QOS.

use crate::consult::exit_code;
use crate::job_request::JobOption;
use crate::options::AdviceMode;
use crate::policy::{Policy, PolicyMode};

use super::{Decision, Submission};

/// What the policy decides before anybody is asked; `None` where the advisor is to be.
pub(super) fn first(policy: &Policy, submission: &Submission) -> Option<Decision> {
    let mode = submission.options.mode;
    match (policy.mode, mode) {
        (PolicyMode::Off, _) => Some(Decision::Leave),
        (PolicyMode::Enforce, AdviceMode::Rewrite) => None,
        // Nothing is submitted, so there is nothing to get round.
        (PolicyMode::Enforce, AdviceMode::Check)
            if submission.given.get(JobOption::TestOnly).is_some() =>
        {
            None
        }
        (PolicyMode::Enforce, _) => {
            Some(refused(policy, &format!("`--llm-advice={}`", mode.name())))
        }
        (_, AdviceMode::Off) => Some(Decision::Leave),
        _ => None,
    }
}

/// What the policy makes of the advisor's decision. `as_written` is what a job that is only told
/// something is noted as.
pub(super) fn last(
    policy: &Policy,
    decision: Decision,
    as_written: impl FnOnce(Vec<String>) -> Decision,
) -> Decision {
    match (policy.mode, decision) {
        (
            PolicyMode::Advise,
            Decision::Rewrite {
                mut message, edits, ..
            },
        ) => {
            message.truncate(3);
            let plan = crate::job_rewrite::Plan {
                edits,
                ..Default::default()
            };
            let shown = match plan.edits.as_slice() {
                [] => "advised on the GPUs that it asks for".to_owned(),
                _ => plan.shown(),
            };
            message.push(format!(
                "submitted as written, as {} only advises; else it would be {shown}",
                policy.whose
            ));
            as_written(message)
        }
        (PolicyMode::Advise, Decision::Refuse { mut message, .. }) => {
            message.truncate(3);
            message.push(format!(
                "submitted as written, as {} only advises",
                policy.whose
            ));
            as_written(message)
        }
        (PolicyMode::Enforce, Decision::Left { reason }) => {
            let mut decision = refused(policy, "this job");
            if let Decision::Refuse { message, .. } = &mut decision {
                message.insert(1, reason);
            }
            decision
        }
        (PolicyMode::Enforce, Decision::Refuse { code, mut message }) => {
            if let Some(hint) = message
                .last_mut()
                .filter(|h| h.contains("--llm-advice=off"))
            {
                *hint = format!(
                    "hint: {} enforces advice, so `--llm-advice=off` is no way out here; `omnipilot advise` lists every configuration and why it falls",
                    policy.whose
                );
            }
            Decision::Refuse { code, message }
        }
        (_, decision) => decision,
    }
}

fn refused(policy: &Policy, what: &str) -> Decision {
    Decision::Refuse {
        code: exit_code::POLICY,
        message: vec![
            format!("{} enforces advice, which {what} would get round", policy.whose),
            "hint: submit without `--llm-advice`; `--llm-gpu`, `--llm-tp` and `--llm-precision` fix what must be so".into(),
        ],
    }
}
