//! What happens in the child process: the configuration, the script and the snapshot are read, the advisor is asked, and
//! the answer goes back through a pipe. Whatever goes wrong here (a hang, a crash, no memory) ends with the child.

use std::fs::File;
use std::io::Write;
use std::mem::ManuallyDrop;
use std::path::Path;

use model_store::advisor::{Advice, Pins, Precision, words};
use model_store::config::{Config, OnFault};
use model_store::consult::{
    Action, Consulted, Fault, Refusal, Rewrite, consult_snapshot, exit_code,
};
use model_store::engine_args::{ScriptPins, scan_script};
use model_store::options::AdviceMode;
use model_store::outcome::env;
use model_store::snapshot::Snapshot;
use serde::{Deserialize, Serialize};

use crate::guard::{self, Hook};
use crate::rewrite::Change;
use crate::submission::Submission;

/// What the child sends, in this order: once the terms, once the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Frame {
    /// The site's terms.
    Terms(Terms),
    /// What is to be done.
    Answer(Answer),
}

/// What the site's configuration says of faults and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// Milliseconds from the question to the answer, at most.
    pub(crate) time_limit_ms: u64,
    /// True where a fault refuses the job.
    pub(crate) refuse_on_fault: bool,
}

/// What is to be done with the job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Change it.
    Rewrite {
        /// The options to change.
        change: Change,
        /// Variables for the job.
        environment: Vec<(String, String)>,
        /// What to tell.
        message: Vec<String>,
    },
    /// Leave its GPUs; only note what it is, so that its outcome can be learnt from.
    Explore {
        /// Text for the comment; empty for none.
        comment: String,
        /// Variables for the job.
        environment: Vec<(String, String)>,
    },
    /// Only tell.
    Check {
        /// What to tell.
        message: Vec<String>,
    },
    /// Refuse it.
    Refuse {
        /// Exit code.
        code: u8,
        /// What to tell.
        message: Vec<String>,
    },
    /// There is no advice because something is broken.
    Fault {
        /// What.
        reason: String,
        /// What to do about it; empty where nothing is known.
        hint: String,
    },
}

impl Answer {
    /// A fault without a hint.
    pub(crate) fn fault(reason: impl Into<String>) -> Self {
        Self::Fault {
            reason: reason.into(),
            hint: String::new(),
        }
    }
}

/// Works a submission out and sends what it finds.
pub(crate) fn run(submission: &Submission, pipe: &mut File) {
    guard::inject(Hook::Child);
    let answer = match Config::read(&submission.config) {
        Ok(config) => {
            send(pipe, &Frame::Terms(terms(&config)));
            answer(submission, &config)
        }
        Err(error) => Answer::Fault {
            reason: error.to_string(),
            hint: "`omnipilot --config FILE advise` shows the same".into(),
        },
    };
    send(pipe, &Frame::Answer(answer));
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

fn answer(submission: &Submission, config: &Config) -> Answer {
    let snapshot = match Snapshot::read(&config.snapshot) {
        Ok(snapshot) => snapshot,
        Err(error) => return broken(error.into()),
    };
    // The process ends as soon as the answer is sent: nothing is gained by giving a million small pieces back before.
    let site = ManuallyDrop::new(Site { config, snapshot });
    if submission.options.mode == AdviceMode::Explore {
        return site.explore(submission);
    }
    let script = submission.script.read().map(|text| scan_script(&text));
    match script_pins(submission, script.as_ref()) {
        Ok(pins) => site.advise(
            submission,
            &pins,
            script.is_some_and(|s| s.takes_checkpoint_format()),
        ),
        Err(answer) => answer,
    }
}

fn broken(fault: Fault) -> Answer {
    Answer::Fault {
        reason: fault.reason,
        hint: fault.hint,
    }
}

/// What the script fixes. Where it cannot be read, the number of GPUs stays as it was asked for: an engine command in it may
/// count on them.
fn script_pins(submission: &Submission, script: Option<&ScriptPins>) -> Result<Pins, Answer> {
    let Some(script) = script else {
        let tp = submission.asked.as_ref().and_then(|asked| asked.count);
        return Ok(Pins {
            tp,
            ..Pins::default()
        });
    };
    if script.differ() {
        return Err(Answer::fault(
            "the script starts engines of different tensor-parallel degree or precision",
        ));
    }
    let pins = script.pins();
    contradiction(submission, &pins).map_or(Ok(pins), Err)
}

/// An option that contradicts the script's own text: neither can be kept without breaking the other.
fn contradiction(submission: &Submission, script: &Pins) -> Option<Answer> {
    let typed = &submission.options.pins;
    let tp = typed
        .tp
        .zip(script.tp)
        .filter(|(typed, script)| typed != script);
    let precision = typed
        .precision
        .zip(script.precision)
        .filter(|(typed, script)| typed != script);
    let reason = match (tp, precision) {
        (Some((typed, script)), _) => {
            format!("--llm-tp={typed}, but the script's engine command has degree {script}")
        }
        (_, Some((typed, script))) => {
            format!(
                "--llm-precision={}, but the script's engine command has {}",
                typed.name(),
                script.name()
            )
        }
        (None, None) => return None,
    };
    let hint = "hint: start the engine by `omnipilot run -- COMMAND`, which puts both in, or leave the option away";
    Some(Answer::Refuse {
        code: exit_code::USAGE,
        message: vec![reason, hint.into()],
    })
}

/// What the site published.
struct Site<'a> {
    config: &'a Config,
    snapshot: Snapshot,
}

impl Site<'_> {
    fn consult(&self, submission: &Submission, pins: &Pins) -> Result<Consulted, Fault> {
        consult_snapshot(&self.snapshot, self.config, &submission.options, pins)
    }

    /// `own_format` is true where the script starts an engine that takes its checkpoint as it is.
    fn advise(&self, submission: &Submission, pins: &Pins, own_format: bool) -> Answer {
        let consulted = match self.consult(submission, pins) {
            Ok(first) if own_format && changes_format(&first) => {
                let precision = first.request.checkpoint_precision.or(Some(Precision::Bf16));
                self.consult(
                    submission,
                    &Pins {
                        precision,
                        ..pins.clone()
                    },
                )
            }
            other => other,
        };
        match consulted {
            Ok(consulted) => self.in_mode(submission, consulted),
            Err(fault) => broken(fault),
        }
    }

    fn in_mode(&self, submission: &Submission, consulted: Consulted) -> Answer {
        let checked = submission.options.mode == AdviceMode::Check;
        match consulted.action {
            Action::Rewrite(rewrite) if checked => {
                check(rewrite.message, &format!("--gres={}", rewrite.gres))
            }
            Action::Refuse(refusal) if checked => check(refusal.message, "refused"),
            Action::Rewrite(rewrite) => self.rewritten(submission, &consulted.advice, rewrite),
            Action::Refuse(Refusal { code, message }) => Answer::Refuse { code, message },
        }
    }

    fn rewritten(&self, submission: &Submission, advice: &Advice, rewrite: Rewrite) -> Answer {
        let mut message = rewrite.message;
        if let Some(asked) = submission
            .asked
            .as_ref()
            .filter(|asked| asked.text != rewrite.gres)
        {
            message.truncate(3);
            message.push(words::instead_of(advice, &asked.text));
        }
        let environment = rewrite.environment.into_iter();
        Answer::Rewrite {
            change: Change {
                gpus: rewrite.gres,
                comment: rewrite.comment,
                gpu_types: self.gpu_types(),
            },
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            message,
        }
    }

    /// GPU types of the cluster, as it was last observed and as the configuration names them.
    fn gpu_types(&self) -> Vec<String> {
        let observed = self
            .snapshot
            .body
            .cluster
            .pools
            .iter()
            .map(|pool| &pool.gres);
        observed.chain(self.config.gpu.keys()).cloned().collect()
    }

    /// What the job is said to be, without a choice: `omnipilot run` measures it as it runs.
    fn explore(&self, submission: &Submission) -> Answer {
        let advice = match self.consult(submission, &Pins::default()) {
            Ok(consulted) => consulted.advice.id,
            Err(fault) => return broken(fault),
        };
        let comment = if advice.is_empty() {
            String::new()
        } else {
            format!("omnipilot:{advice}")
        };
        Answer::Explore {
            comment,
            environment: stated(submission, advice, &self.config.spool),
        }
    }
}

/// The variables of a job that runs as it was written: what was said of it, and where its outcome goes.
fn stated(submission: &Submission, advice: String, spool: &Path) -> Vec<(String, String)> {
    let options = &submission.options;
    let number = |value: Option<f64>| value.map(|value| value.to_string());
    let pairs = [
        (env::ADVICE, Some(advice)),
        (env::MODEL, options.model.clone()),
        (env::ISL, number(options.isl)),
        (env::OSL, number(options.osl)),
        (env::CONCURRENCY, number(options.concurrency)),
        (
            env::GPU,
            submission
                .asked
                .as_ref()
                .and_then(|asked| asked.gpu.clone()),
        ),
        (env::SPOOL, spool.to_str().map(str::to_owned)),
    ];
    let known = |value: Option<String>| value.filter(|text| !text.is_empty());
    pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), known(value)?)))
        .collect()
}

/// True where the advice needs an engine argument or a checkpoint that a script which starts the engine by itself does not
/// have.
fn changes_format(consulted: &Consulted) -> bool {
    consulted.request.pins.precision.is_none()
        && consulted
            .advice
            .recommended()
            .is_some_and(|best| best.config.quantise_at_load || best.config.checkpoint.is_some())
}

fn check(mut message: Vec<String>, would_be: &str) -> Answer {
    message.truncate(3);
    message.push(format!(
        "submitted as written; without `--llm-advice=check` it would be {would_be}"
    ));
    Answer::Check { message }
}
