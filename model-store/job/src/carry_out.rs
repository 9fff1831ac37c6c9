//! The one hand that changes a job: what is done with a submission once it is decided. The plugin
//! lends it Slurm's own options, `omnipilot submit` a command line.

use crate::component::of_component;
use crate::consult::{Fault, exit_code};
use crate::decision::Decision;
use crate::job_rewrite::Edit;

/// Most lines of one message.
pub const MOST_LINES: usize = 4;

/// How every message ends that tells of a job without advice.
pub const AS_WRITTEN: &str = "the job goes as written";

/// Who is to see a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Somebody who watches, on a terminal or because it was asked for: a submission went well.
    Watched,
    /// Everybody who did not ask for silence: the job goes as written.
    Info,
    /// Whoever asked a question.
    Answer,
    /// Everybody: the submission ends.
    Error,
}

/// The variable that tells how much is said: `0` for refusals and answers alone, anything else for
/// every word.
pub const VERBOSE: &str = "OMNIPILOT_VERBOSE";

impl Tone {
    /// Whether a message is said. `watched`: somebody sees it, on a terminal or by `-v`. `verbose`: the
    /// text of [`VERBOSE`], empty or `None` where it is not set.
    pub fn is_heard(self, watched: bool, verbose: Option<&str>) -> bool {
        let verbose = verbose.filter(|text| !text.is_empty());
        match (self, verbose) {
            (Self::Answer | Self::Error, _) => true,
            (_, Some(text)) => text != "0",
            (Self::Watched, None) => watched,
            (Self::Info, None) => true,
        }
    }
}

/// A job under way, or one component of it.
pub trait Job {
    /// Makes all the edits and appends the note to the comment, where it is not empty.
    ///
    /// # Errors
    /// What could not be done; everything then is as it was.
    fn change(&mut self, edits: &[Edit], note: &str) -> Result<(), Fault>;
    /// Gives the job a variable.
    fn set(&mut self, name: &str, value: &str);
    /// Takes a variable away.
    fn remove(&mut self, name: &str);
    /// Says a message.
    fn tell(&mut self, tone: Tone, lines: &[String]);
}

/// Which component of a job is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its number, from 0.
    pub component: u32,
    /// True where the job has others.
    pub several: bool,
}

/// How the submission goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// With what was changed.
    Submit,
    /// As it was written: something is broken.
    AsWritten,
    /// Not at all; the exit code.
    End(u8),
}

/// That there is no advice though one was asked for, in words.
pub fn no_advice(reason: &str) -> String {
    format!("no advice: {reason}; {AS_WRITTEN}")
}

/// Does what was decided. `refuse_on_fault` is the site's word for what is broken.
pub fn carry_out(
    job: &mut impl Job,
    decision: Decision,
    part: Part,
    refuse_on_fault: bool,
) -> Then {
    match decision {
        Decision::Leave => {}
        Decision::Rewrite {
            edits,
            comment,
            environment,
            message,
        } => {
            if let Err(fault) = job.change(&edits, &comment) {
                return broken(job, fault, refuse_on_fault);
            }
            give(job, &environment, part);
            job.tell(Tone::Watched, &message);
        }
        Decision::Explore {
            comment,
            environment,
            message,
        } => {
            // Without its note the outcome could not be told from others: nothing is learnt from it.
            if let Err(fault) = job.change(&[], &comment) {
                job.tell(Tone::Info, &[no_advice(&fault.reason)]);
                return Then::Submit;
            }
            give(job, &environment, part);
            job.tell(Tone::Watched, &message);
        }
        Decision::Check { message } => job.tell(Tone::Answer, &message),
        Decision::Refuse { code, message } => {
            job.tell(Tone::Error, &message);
            return Then::End(code);
        }
        Decision::Left { reason } => job.tell(Tone::Info, &[no_advice(&reason)]),
        Decision::Fault { reason, hint } => {
            return broken(job, Fault { reason, hint }, refuse_on_fault);
        }
    }
    Then::Submit
}

/// Gives the job its variables: the first component's under their own names, and each one's under
/// names that say whose they are, where there are several. An empty value takes back what Slurm set.
fn give(job: &mut impl Job, environment: &[(String, String)], part: Part) {
    if part.component == 0 {
        for (name, value) in environment {
            match value.as_str() {
                "" if !name.starts_with("SLURM_LLM_") => job.remove(name),
                value => job.set(name, value),
            }
        }
    }
    if part.several {
        for (name, value) in of_component(environment, part.component) {
            job.set(&name, &value);
        }
    }
}

/// Something is broken: the job goes as written, unless the site wants otherwise.
fn broken(job: &mut impl Job, fault: Fault, refuse: bool) -> Then {
    let Fault { reason, hint } = fault;
    let hint = Some(format!("hint: {hint}")).filter(|_| !hint.is_empty());
    if refuse {
        let lines: Vec<String> = [format!("no advice: {reason}")]
            .into_iter()
            .chain(hint)
            .collect();
        job.tell(Tone::Error, &lines);
        return Then::End(exit_code::FAULT);
    }
    job.tell(Tone::Info, &[no_advice(&reason)]);
    if let Some(hint) = hint {
        job.tell(Tone::Watched, &[hint]);
    }
    Then::AsWritten
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launcher_may_ask_for_silence_and_still_hears_a_refusal() {
        for tone in [Tone::Answer, Tone::Error] {
            assert!(tone.is_heard(false, Some("0")));
        }
        for tone in [Tone::Watched, Tone::Info] {
            assert!(!tone.is_heard(true, Some("0")));
            assert!(tone.is_heard(false, Some("1")) && tone.is_heard(true, Some("")));
        }
        assert!(Tone::Info.is_heard(false, None) && !Tone::Watched.is_heard(false, None));
    }

    /// A job of lines: what was done to it, in order.
    #[derive(Default)]
    struct Told(Vec<String>, bool);

    impl Job for Told {
        fn change(&mut self, edits: &[Edit], note: &str) -> Result<(), Fault> {
            if self.1 {
                return Err(Fault {
                    reason: "Slurm does not take --gres".into(),
                    hint: String::new(),
                });
            }
            self.0.push(format!("{} edits, note {note}", edits.len()));
            Ok(())
        }

        fn set(&mut self, name: &str, value: &str) {
            self.0.push(format!("{name}={value}"));
        }

        fn remove(&mut self, name: &str) {
            self.0.push(format!("-{name}"));
        }

        fn tell(&mut self, tone: Tone, lines: &[String]) {
            self.0.push(format!("{tone:?}: {}", lines.join(" / ")));
        }
    }

    fn rewrite() -> Decision {
        let pairs = [
            ("SLURM_LLM_TP", "4"),
            ("SLURM_LLM_SPOOL", "/s"),
            ("SLURM_NTASKS", ""),
        ];
        Decision::Rewrite {
            edits: vec![Edit {
                name: "gres".into(),
                value: None,
            }],
            comment: "omnipilot:1".into(),
            environment: pairs.map(|(n, v)| (n.into(), v.into())).into(),
            message: vec!["h100 x 4".into()],
        }
    }

    fn done(decision: Decision, component: u32, several: bool) -> Vec<String> {
        let mut job = Told::default();
        let part = Part { component, several };
        assert_eq!(carry_out(&mut job, decision, part, false), Then::Submit);
        job.0
    }

    #[test]
    fn a_rewrite_changes_gives_and_tells() {
        let change = "1 edits, note omnipilot:1";
        let told = "Watched: h100 x 4";
        assert_eq!(
            done(rewrite(), 0, false),
            [
                change,
                "SLURM_LLM_TP=4",
                "SLURM_LLM_SPOOL=/s",
                "-SLURM_NTASKS",
                told
            ]
        );
        assert_eq!(
            done(rewrite(), 1, true),
            [change, "SLURM_LLM_TP_HET_GROUP_1=4", told]
        );
    }

    #[test]
    fn a_change_that_fails_gives_nothing_and_the_site_says_whether_it_ends() {
        for (refuse, then, line) in [
            (
                false,
                Then::AsWritten,
                "Info: no advice: Slurm does not take --gres; the job goes as written",
            ),
            (
                true,
                Then::End(exit_code::FAULT),
                "Error: no advice: Slurm does not take --gres",
            ),
        ] {
            let mut job = Told(Vec::new(), true);
            let part = Part {
                component: 0,
                several: false,
            };
            assert_eq!(carry_out(&mut job, rewrite(), part, refuse), then);
            assert_eq!(job.0, [line]);
        }
    }
}
