//! From how an engine ended and what its log says to one [`RunOutcome`]. Pure.

use model_store::advisor::RunOutcome;

use super::log::LogNotes;

/// Seconds in start-up after which an engine that is stopped counts as hung: the longest cold
/// start that we know of, on several nodes, takes 40 minutes; on one node half an hour is none.
const HUNG_AFTER_S: f64 = 1800.0;

/// Seconds by which a death may precede the request to stop and still belong to it: Slurm signals
/// every process of a job at once, and a worker may be first to say so.
const SAME_MOMENT_S: f64 = 1.0;

/// Exit status of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Ended by itself with this code.
    Code(i32),
    /// Ended by this signal.
    Signal(i32),
}

/// What the judgement rests on besides the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct End {
    /// How it ended; `None` while it is still stopping.
    pub(crate) exit: Option<Exit>,
    /// Seconds from start to the end, or to now.
    pub(crate) elapsed_s: f64,
    /// Seconds from start to ready; `None` if never.
    pub(crate) ready_s: Option<f64>,
    /// Seconds from start to the first request to stop that came from outside.
    pub(crate) asked_s: Option<f64>,
    /// The wait for readiness was given up after this many seconds.
    pub(crate) gave_up_s: Option<f64>,
    /// The command is a server that runs until it is stopped. Of others nothing is known.
    pub(crate) is_server: bool,
}

/// How it ended, and the line that tells.
pub(crate) fn verdict(end: &End, log: &LogNotes) -> (RunOutcome, String) {
    if let Some(limit) = end.gave_up_s {
        return caused(log)
            .unwrap_or_else(|| (RunOutcome::TimeOut, format!("not ready after {limit:.0} s")));
    }
    match asked(end, log) {
        Some(asked) => stopped(end, log, asked),
        None => ended_by_itself(end, log),
    }
}

/// When the engine was asked to stop, by us or by somebody else, unless it had died before.
fn asked(end: &End, log: &LogNotes) -> Option<f64> {
    let asked = [end.asked_s, log.stopping]
        .into_iter()
        .flatten()
        .reduce(f64::min)?;
    let died_before = log
        .death
        .as_ref()
        .is_some_and(|(_, at)| *at < asked - SAME_MOMENT_S);
    (!died_before).then_some(asked)
}

fn stopped(end: &End, log: &LogNotes, asked: f64) -> (RunOutcome, String) {
    if end.ready_s.is_some() || !end.is_server {
        return (RunOutcome::Ok, String::new());
    }
    if let Some(cause) = caused(log) {
        return cause;
    }
    let outcome = if asked >= HUNG_AFTER_S {
        RunOutcome::TimeOut
    } else {
        RunOutcome::Ok
    };
    (
        outcome,
        format!("stopped before it was ready, {asked:.0} s after its start"),
    )
}

fn ended_by_itself(end: &End, log: &LogNotes) -> (RunOutcome, String) {
    let status = match end.exit {
        Some(Exit::Code(0)) if !end.is_server => return (RunOutcome::Ok, String::new()),
        Some(Exit::Code(code)) => format!("exit status {code}"),
        Some(Exit::Signal(signal)) => format!("killed by signal {signal}"),
        None => return (RunOutcome::Ok, String::new()),
    };
    if let Some(found) = caused(log) {
        return found;
    }
    let line = log
        .death
        .as_ref()
        .map(|(line, _)| line.as_str())
        .or_else(|| log.an_error());
    let evidence = match line {
        Some(line) => line.to_owned(),
        None if end.exit == Some(Exit::Code(0)) => {
            format!("{status}, though nobody asked it to stop")
        }
        None => status,
    };
    (RunOutcome::Crash, evidence)
}

fn caused(log: &LogNotes) -> Option<(RunOutcome, String)> {
    log.cause()
        .map(|(outcome, line)| (outcome, line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: End = End {
        exit: Some(Exit::Code(0)),
        elapsed_s: 60.0,
        ready_s: Some(20.0),
        asked_s: None,
        gave_up_s: None,
        is_server: true,
    };

    fn replay(name: &str) -> LogNotes {
        let path = format!(
            "{}/../tests/fixtures/engine/vllm/0.32.0/fl-{name}.log",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut notes = LogNotes::default();
        text.lines().for_each(|l| notes.line(l, 50.0));
        notes
    }

    /// Every captured end of a real vLLM 0.32.0: its exit status, whether it had been ready, the
    /// class, and words of the evidence.
    #[test]
    fn real_logs_are_judged_rightly() {
        use RunOutcome::{Crash, Incompatible, Ok, OutOfMemory};
        let cases = [
            (
                "kvsmall",
                1,
                false,
                OutOfMemory,
                "larger than the available KV cache memory (1.0 GiB)",
            ),
            (
                "bigkv",
                1,
                false,
                OutOfMemory,
                "less than requested memory for kv (100.0 GiB)",
            ),
            (
                "tp3",
                1,
                false,
                Incompatible,
                "attention heads (4) must be divisible",
            ),
            (
                "tp2",
                1,
                false,
                Incompatible,
                "Not enough allowed NUMA nodes",
            ),
            (
                "quant",
                1,
                false,
                Incompatible,
                "Unknown quantization method: bitsandbytes",
            ),
            (
                "quantcpu",
                1,
                false,
                Incompatible,
                "Cannot find the config file for modelopt_fp4",
            ),
            (
                "ctxlong",
                1,
                false,
                Incompatible,
                "max_model_len (262144) is greater",
            ),
            ("nodir", 1, false, Crash, "Repo id must be in the form"),
            ("hub", 1, false, Crash, "Cannot find an appropriate cached"),
            // The capture begins below the line that names the cause.
            ("noweights", 1, false, Crash, "initialization failed"),
            ("portuse", 1, false, Crash, "Address already in use"),
            (
                "badflag",
                2,
                false,
                Crash,
                "unrecognized arguments: --no-such-flag",
            ),
            ("killworker", 0, true, Crash, "died unexpectedly"),
            (
                "killcore",
                0,
                true,
                Crash,
                "engine core exited unexpectedly",
            ),
            ("killwidle", 0, true, Crash, ""),
            ("termidle", 0, true, Ok, ""),
            ("termbusy", 0, true, Ok, ""),
            ("termbusy2", 0, true, Ok, ""),
            ("term17", 0, true, Ok, ""),
            ("intidle", 0, true, Ok, ""),
            ("oomkv", 0, true, Ok, ""),
            ("preempt", 0, true, Ok, ""),
            ("termstart", 0, true, Ok, ""),
            (
                "kvsmall2",
                1,
                false,
                OutOfMemory,
                "larger than the available KV cache memory",
            ),
            (
                "quantx",
                1,
                false,
                Incompatible,
                "Unknown quantization method: nosuch",
            ),
            (
                "tp4",
                1,
                false,
                Incompatible,
                "Not enough allowed NUMA nodes",
            ),
            ("killworker-full", 0, true, Crash, "died unexpectedly"),
            ("killapi", -9, true, Crash, "killed by signal 9"),
            ("termearly", -9, true, Crash, "killed by signal 9"),
        ];
        for (name, code, ready, expected, words) in cases {
            let end = End {
                exit: Some(if code < 0 {
                    Exit::Signal(-code)
                } else {
                    Exit::Code(code)
                }),
                ready_s: ready.then_some(20.0),
                ..END
            };
            let (outcome, evidence) = verdict(&end, &replay(name));
            assert_eq!(outcome, expected, "{name}: {evidence}");
            assert!(evidence.contains(words), "{name}: {evidence}");
        }
    }

    #[test]
    fn a_stop_in_start_up_is_no_failure_unless_it_hung() {
        let asked = |at| End {
            exit: Some(Exit::Signal(2)),
            ready_s: None,
            asked_s: Some(at),
            ..END
        };
        for name in ["term9", "term13"] {
            assert_eq!(verdict(&asked(9.0), &replay(name)).0, RunOutcome::Ok);
        }
        assert_eq!(
            verdict(&asked(2400.0), &LogNotes::default()).0,
            RunOutcome::TimeOut
        );
    }

    #[test]
    fn a_death_long_before_the_stop_is_a_crash_and_one_beside_it_is_not() {
        let mut log = LogNotes::default();
        log.line("ERROR Worker proc VllmWorker-0 died unexpectedly", 50.0);
        let asked = |at| End {
            asked_s: Some(at),
            ..END
        };
        assert_eq!(verdict(&asked(55.0), &log).0, RunOutcome::Crash);
        assert_eq!(verdict(&asked(50.2), &log).0, RunOutcome::Ok);
    }

    #[test]
    fn a_wait_that_was_given_up_is_a_time_out_unless_the_log_knows_better() {
        let end = End {
            gave_up_s: Some(600.0),
            ready_s: None,
            ..END
        };
        assert_eq!(
            verdict(&end, &LogNotes::default()),
            (RunOutcome::TimeOut, "not ready after 600 s".into())
        );
        assert_eq!(verdict(&end, &replay("kvsmall")).0, RunOutcome::OutOfMemory);
    }

    #[test]
    fn a_status_without_words_is_told_as_such() {
        let log = LogNotes::default();
        let of = |exit| {
            verdict(
                &End {
                    exit: Some(exit),
                    ..END
                },
                &log,
            )
        };
        assert_eq!(
            of(Exit::Code(7)),
            (RunOutcome::Crash, "exit status 7".into())
        );
        assert_eq!(
            of(Exit::Signal(9)),
            (RunOutcome::Crash, "killed by signal 9".into())
        );
        let other = End {
            is_server: false,
            ..END
        };
        assert_eq!(verdict(&other, &log).0, RunOutcome::Ok);
    }
}
