//! Asks for advice in a child process, under a time limit.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use crate::child::{self, Frame, Terms};
use crate::process::{Child, wait_readable};
use crate::submission::Submission;
use model_store::decision::Decision;
use model_store::wish;

/// The terms until the site's are known, and where they never become known; its time limit is that of the plugstack line where
/// that names one.
const USUAL_TERMS: Terms = Terms {
    time_limit_ms: 500,
    refuse_on_fault: false,
};

/// Longest time limit that a configuration can set, ms.
const LONGEST_MS: u64 = 60_000;

/// How long a child may take to note a request that had no answer.
const LINGER: Duration = Duration::from_millis(100);

/// Largest answer that is taken, bytes.
const LARGEST: usize = 1 << 20;

/// What came of asking.
pub(crate) struct Heard {
    /// What is to be done.
    pub(crate) answer: Decision,
    /// The terms under which it came.
    pub(crate) terms: Terms,
    /// Variables of the other components of a heterogeneous job.
    pub(crate) others: Vec<(String, String)>,
    /// The child, whose end is waited for when this is dropped: it takes a quarter of a millisecond, in which the job can be
    /// changed.
    _child: Option<Child>,
}

/// Asks. The time limit counts from here on, whoever names it.
pub(crate) fn ask(submission: &Submission) -> Heard {
    let begun = Instant::now();
    let terms = Terms {
        time_limit_ms: submission
            .time_limit_ms
            .unwrap_or(USUAL_TERMS.time_limit_ms),
        ..USUAL_TERMS
    };
    let child = match Child::start(|pipe| child::run(submission, pipe)) {
        Ok(child) => child,
        Err(error) => {
            return Heard {
                answer: Decision::fault(format!("cannot start a process: {error}")),
                terms,
                others: Vec::new(),
                _child: None,
            };
        }
    };
    let mut listener = Listener {
        begun,
        terms,
        others: Vec::new(),
        heard: Vec::new(),
    };
    let answer = listener.listen(&child.pipe);
    if wish::why(&answer).is_some() {
        // The child notes what had no answer, and ends.
        wait_readable(&child.pipe, LINGER);
    }
    Heard {
        answer,
        terms: listener.terms,
        others: listener.others,
        _child: Some(child),
    }
}

/// Hears what a child says, until it has answered or time is up.
struct Listener {
    begun: Instant,
    terms: Terms,
    others: Vec<(String, String)>,
    heard: Vec<u8>,
}

impl Listener {
    fn listen(&mut self, mut pipe: &File) -> Decision {
        let mut part = [0_u8; 4096];
        loop {
            if let Some(answer) = self.take_frames() {
                return answer;
            }
            if !wait_readable(pipe, self.left()) {
                return Decision::fault(format!(
                    "not worked out within {} ms",
                    self.limit().as_millis()
                ));
            }
            match pipe.read(&mut part) {
                Ok(0) => return Decision::fault("the advisor ended without an answer"),
                Ok(n) => self
                    .heard
                    .extend_from_slice(part.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Decision::fault(format!("cannot hear the advisor: {error}")),
            }
        }
    }

    fn limit(&self) -> Duration {
        Duration::from_millis(self.terms.time_limit_ms.min(LONGEST_MS))
    }

    fn left(&self) -> Duration {
        self.limit().saturating_sub(self.begun.elapsed())
    }

    /// Takes whole frames off what was heard; gives the answer when it is among them.
    fn take_frames(&mut self) -> Option<Decision> {
        while let Some((length, rest)) = self.heard.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
            if length > LARGEST {
                return Some(Decision::fault("the advisor's answer is too long"));
            }
            let body = rest.get(..length)?;
            match postcard::from_bytes(body) {
                Ok(Frame::Answer(answer)) => return Some(answer),
                Ok(Frame::Terms(terms)) => self.terms = terms,
                Ok(Frame::Others(others)) => self.others = others,
                Err(_) => return Some(Decision::fault("the advisor's answer cannot be read")),
            }
            self.heard.drain(..4 + length);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn answer_of(terms: Terms, body: impl FnOnce(&mut File)) -> Decision {
        let child = Child::start(body).unwrap();
        Listener {
            begun: Instant::now(),
            terms,
            others: Vec::new(),
            heard: Vec::new(),
        }
        .listen(&child.pipe)
    }

    fn reason(answer: &Decision) -> &str {
        match answer {
            Decision::Fault { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_child_that_says_nothing_is_a_fault() {
        assert_eq!(
            reason(&answer_of(USUAL_TERMS, |_| {})),
            "the advisor ended without an answer"
        );
        assert_eq!(
            reason(&answer_of(USUAL_TERMS, |_| panic!("boom"))),
            "the advisor ended without an answer"
        );
        assert_eq!(
            reason(&answer_of(USUAL_TERMS, |_| std::process::abort())),
            "the advisor ended without an answer"
        );
    }

    #[test]
    fn a_child_that_hangs_is_left_behind() {
        let terms = Terms {
            time_limit_ms: 50,
            ..USUAL_TERMS
        };
        let begun = Instant::now();
        let answer = answer_of(terms, |_| std::thread::sleep(Duration::from_secs(30)));
        assert_eq!(reason(&answer), "not worked out within 50 ms");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn nonsense_from_a_child_is_a_fault() {
        let text = |bytes: &'static [u8]| {
            reason(&answer_of(USUAL_TERMS, |pipe| {
                pipe.write_all(bytes).unwrap()
            }))
            .to_owned()
        };
        assert_eq!(text(&[255; 8]), "the advisor's answer is too long");
        assert_eq!(
            text(&[1, 0, 0, 0, 9]),
            "the advisor's answer cannot be read"
        );
        assert_eq!(
            text(&[9, 0, 0, 0, 1]),
            "the advisor ended without an answer"
        );
    }

    #[test]
    fn the_child_holds_nothing_of_its_parents() {
        let open = File::open("/dev/null").unwrap();
        let answer = answer_of(USUAL_TERMS, |pipe| {
            let held = std::fs::read_dir("/proc/self/fd").unwrap().count();
            // The three standard ones, the pipe, and the folder being read.
            pipe.write_all(&[0, 0, 16, u8::try_from(held).unwrap()])
                .unwrap();
        });
        drop(open);
        assert_eq!(reason(&answer), "the advisor's answer is too long");
    }

    #[test]
    fn terms_come_before_the_answer() {
        let frame = |frame: &Frame| {
            let body = postcard::to_stdvec(frame).unwrap();
            [&u32::try_from(body.len()).unwrap().to_le_bytes()[..], &body].concat()
        };
        let terms = Terms {
            time_limit_ms: 7,
            refuse_on_fault: true,
        };
        let answer = Decision::Check {
            message: vec!["x".into()],
        };
        let heard = [
            frame(&Frame::Terms(terms)),
            frame(&Frame::Answer(answer.clone())),
        ]
        .concat();
        let mut listener = Listener {
            begun: Instant::now(),
            terms: USUAL_TERMS,
            others: Vec::new(),
            heard,
        };
        assert_eq!(listener.take_frames(), Some(answer));
        assert_eq!(listener.terms, terms);
    }
}
