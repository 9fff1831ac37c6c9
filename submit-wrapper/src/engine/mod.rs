//! The serving engine inside a job: from its command to one outcome file.
//!
//! ```text
//! plan       command + environment -> the command with the advice in it, where to ask, what was asked
//! child      starts it in a process group of its own; ends what is left of the group
//! supervise  relays signals, escalates, gives the exit status
//! tee        passes stdout and stderr on unchanged and shows each line to the log
//! watch      readiness, then readings of /metrics; one thread
//! notice     what the user is shown of it while it runs
//! port       whether an engine of another job has the same port
//! card       the architecture of what is served, once it is
//! prometheus, reading, window    page -> samples -> reading -> steady windows   (pure)
//! log, verdict                   lines -> notes -> how it ended                 (pure)
//! evidence   what of a line may leave the job                                    (pure)
//! session    puts these together
//! record     all of it -> the outcome file, by `spool`, in the thread of `scribe`
//! ```
//!
//! Architecture invariant: nothing that is only for measuring can end, block or slow the engine or
//! change its exit status. A fault in it costs the record, never the server.

#[cfg(test)]
mod captures;
mod card;
mod child;
mod evidence;
mod first;
mod front;
mod http;
mod line;
mod log;
mod notice;
pub(crate) mod nvml;
pub(crate) mod plan;
mod port;
pub(crate) mod power;
mod prometheus;
mod reading;
pub(crate) mod record;
mod rules;
pub(crate) mod say;
mod scribe;
pub(crate) mod session;
mod spool;
mod startup;
mod storage;
mod supervise;
mod tee;
mod verdict;
mod watch;
mod window;
