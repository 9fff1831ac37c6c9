//! What happens in the child process: the configuration, the script and the snapshot are read, the advisor is asked, and
//! the answer goes back through a pipe. Whatever goes wrong here (a hang, a crash, no memory) ends with the child.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;

use model_store::config::{Config, OnFault};
use model_store::consult::Fault;
use model_store::decision::{self, Decision, decide};
use model_store::snapshot::Snapshot;
use model_store::wish;
use serde::{Deserialize, Serialize};

use crate::guard::{self, Place};
use crate::submission::Submission;
use crate::{asked, others, script, who};

/// What the child sends, in this order: once the terms, once the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// The site's terms.
    Terms(Terms),
    /// Variables of the other components of a heterogeneous job.
    Others(Vec<(String, String)>),
    /// What is to be done.
    Answer(Decision),
}

/// What the site's configuration says of faults and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// Milliseconds from the question to the answer, at most.
    pub(crate) time_limit_ms: u64,
    /// True where a fault refuses the job.
    pub(crate) refuse_on_fault: bool,
}

/// Works a submission out and sends what it finds.
pub(crate) fn run(submission: &Submission, pipe: &mut File) {
    guard::inject(Place::Child);
    let config = match Config::read(&submission.config) {
        Ok(config) => config,
        Err(error) => {
            let answer = Decision::Fault {
                reason: error.to_string(),
                hint: "`omnipilot --config FILE advise` shows the same".into(),
            };
            return send(pipe, &Frame::Answer(answer));
        }
    };
    send(pipe, &Frame::Terms(terms(&config)));
    let answer = answer(submission, &config, pipe);
    send(pipe, &Frame::Answer(answer.clone()));
    // After the answer: a spool that hangs must not turn a decision into a fault.
    wish::leave(&config.spool, &submission.options, &answer);
}

/// A frame is four bytes of length, least significant first, and its text.
fn send(pipe: &mut File, frame: &Frame) {
    let Ok(body) = postcard::to_stdvec(frame) else {
        return;
    };
    let Ok(length) = u32::try_from(body.len()) else {
        return;
    };
    // Where nobody listens any more there is nobody to tell.
    drop(pipe.write_all(&[&length.to_le_bytes()[..], &body].concat()));
}

fn terms(config: &Config) -> Terms {
    Terms {
        time_limit_ms: config.time_limit_ms,
        refuse_on_fault: config.on_fault == OnFault::Refuse,
    }
}

fn answer(submission: &Submission, config: &Config, pipe: &mut File) -> Decision {
    // An ordinary job that wants no advice: the snapshot need not be read.
    let alone = submission.words.iter().all(|word| word != ":");
    if alone && decision::is_left_alone(config, submission.options.mode) {
        return Decision::Leave;
    }
    // The process ends as soon as the answer is sent: nothing is gained by giving a million small pieces back before.
    let snapshot = match Snapshot::read(&config.snapshot) {
        Ok(snapshot) => ManuallyDrop::new(snapshot),
        Err(error) => return Fault::from(error).into(),
    };
    let script = submission.script.read();
    let by_group = config.limit.iter().any(|entry| entry.names_groups());
    let beside = others::others(submission, script.as_deref());
    let who = who::of_process(by_group, beside);
    let others = others::variables(&snapshot, config, submission, script.as_deref(), &who);
    if !others.is_empty() {
        send(pipe, &Frame::Others(others));
    }
    let arguments = submission.arguments();
    let known = decision::Submission {
        options: &submission.options,
        given: &submission.given,
        script: script.as_deref(),
        arguments: arguments.as_deref(),
        read: &|name| script::read_named(name, submission.folder.as_deref()),
        environment: &others::environment,
        component: submission.component,
        who: &who,
    };
    let decision = decide(&snapshot, config, &known);
    if config.ask_slurm && !decision::is_enforced(&snapshot, config, known.given) {
        let patience_s = || decision::patience(&snapshot, config, &known);
        return asked::last_word(decision, submission, script.as_deref(), patience_s);
    }
    decision
}
