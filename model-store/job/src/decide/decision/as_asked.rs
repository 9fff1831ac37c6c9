//! A job whose GPU type and count stay as they were asked for, as nothing can be said of where it
//! may start: the advice goes to format and engine arguments alone.

use crate::advisor::{Advice, Fallen, Layout, Pins, Verdict};
use crate::consult::Rewrite;
use crate::options::AdviceMode;

use super::judge::Judged;
use super::{Decision, Site, Submission, check};

/// True where an advice has nothing to recommend, and a configuration fell because it could not be
/// started.
pub(super) fn is_barred(advice: &Advice) -> bool {
    let fell = |f: &Option<Fallen>| matches!(f, Some(Fallen::NotStartable(_)));
    advice.candidates.iter().any(|a| fell(&a.fallen))
}

/// Why nothing is recommended there.
pub(super) fn why_barred(advice: &Advice) -> String {
    match &advice.verdict {
        Verdict::Infeasible(reason) => reason.clone(),
        _ => "no configuration could be started here".into(),
    }
}

impl Site<'_> {
    /// The advice on format and engine arguments, on the GPUs that the job asks for.
    pub(super) fn as_asked(
        &self,
        submission: &Submission,
        mut judged: Judged,
        reason: &str,
    ) -> Decision {
        let left = |why: &str| Decision::Left {
            reason: format!("{reason}; {why}"),
        };
        judged.pins = match self.pins_as_asked(submission, &judged.pins, reason) {
            Ok(pins) => pins,
            Err(decision) => return decision,
        };
        let consulted = match self.consult_for(submission, &judged, &self.reached, false) {
            Ok(consulted) => consulted,
            Err(fault) => return fault.into(),
        };
        let Ok(rewrite) = consulted.answer else {
            return left("on the GPUs that are asked for there is no advice");
        };
        if !self.is_as_asked(&rewrite, &judged.pins) {
            return left("the advice would take other GPUs");
        }
        let mut message = rewrite.message;
        message.truncate(3);
        message.push(format!("on the GPUs that are asked for: {reason}"));
        if submission.options.mode == AdviceMode::Check {
            return check(message, "so, without a change of its options");
        }
        let gpu = rewrite.allocation.gpu;
        let advice = &consulted.advice;
        Decision::Rewrite {
            edits: Vec::new(),
            comment: rewrite.comment,
            environment: self.told(submission, &judged, advice, gpu, rewrite.environment),
            message,
        }
    }

    /// What is fixed, with type and count as they were asked for.
    pub(super) fn pins_as_asked(
        &self,
        submission: &Submission,
        pins: &Pins,
        reason: &str,
    ) -> Result<Pins, Decision> {
        let left = |why: &str| Decision::Left {
            reason: format!("{reason}; {why}, so its GPUs are left as asked"),
        };
        let asked = self.asked.as_ref();
        let Some(count) = asked.and_then(|a| a.count) else {
            return Err(left(
                "the job does not say how many GPUs it takes on a node",
            ));
        };
        let Some(gpu) = asked
            .and_then(|a| a.gpu.clone())
            .or_else(|| self.only_type())
        else {
            return Err(left("the job names no GPU type"));
        };
        let given = crate::job_request::nodes_asked(submission.given).unwrap_or(1);
        let typed = &submission.options.pins;
        let other = |tp: Option<u32>| tp.is_some_and(|tp| tp != count);
        if other(pins.tp) || other(typed.tp) || (given != 1 && !self.spread) {
            return Err(left(
                "the engine would take other GPUs than the job asks for",
            ));
        }
        if typed.gpu.is_some() && !typed.names_gpu(&gpu) {
            return Err(left("--llm-gpu names another type than the job asks for"));
        }
        Ok(Pins {
            gpu: Some(gpu),
            tp: Some(count),
            layout: Layout::OneInstance,
            precision: pins.precision,
            context: pins.context,
            limits: pins.limits,
        })
    }

    /// The GPU type of a place that has but one.
    fn only_type(&self) -> Option<String> {
        match self.reached.pools.as_slice() {
            [one] => Some(one.gres.clone()),
            _ => None,
        }
    }

    fn is_as_asked(&self, rewrite: &Rewrite, pins: &Pins) -> bool {
        let to = &rewrite.allocation;
        pins.names_gpu(&to.gpu) && pins.tp == Some(to.per_node) && to.nodes == 1
    }
}
