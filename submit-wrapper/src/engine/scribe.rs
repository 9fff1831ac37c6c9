//! Writes records in a thread of its own: a file system whose server is away must hold up neither the engine's signals nor its end.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use model_store::outcome::Outcome;

/// Writes one record after another.
pub(crate) struct Scribe {
    records: Sender<Outcome>,
    answers: Receiver<io::Result<()>>,
    /// Records that have no answer yet.
    open: usize,
}

impl Scribe {
    /// `write` puts one record into its place. What is not written when the process ends is lost.
    pub(crate) fn new(mut write: impl FnMut(&Outcome) -> io::Result<()> + Send + 'static) -> Self {
        let (records, incoming) = channel::<Outcome>();
        let (answer, answers) = channel();
        let work = move || {
            while let Ok(record) = incoming.recv() {
                if answer.send(write(&record)).is_err() {
                    return;
                }
            }
        };
        // Without a thread there is nobody who takes a record, and `write` says so.
        let thread = thread::Builder::new().name("record".into());
        let _ = thread.stack_size(512 * 1024).spawn(work);
        Self {
            records,
            answers,
            open: 0,
        }
    }

    /// Writes a record after those before it; `None` where that takes longer than `patience`.
    pub(crate) fn write(&mut self, record: &Outcome, patience: Duration) -> Option<io::Result<()>> {
        let end = Instant::now() + patience;
        let gone = || Some(Err(io::Error::other("nobody writes it")));
        if self.records.send(record.clone()).is_err() {
            return gone();
        }
        self.open += 1;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left) {
                Ok(answer) => {
                    self.open -= 1;
                    if self.open == 0 {
                        return Some(answer);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => return gone(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn record(elapsed_s: f64) -> Outcome {
        Outcome {
            schema: model_store::outcome::SCHEMA,
            job_id: 7,
            cluster: "c".into(),
            advice_id: None,
            uid: 1,
            asked: Default::default(),
            engine: "vllm".into(),
            engine_version: String::new(),
            started_at: 1.5,
            cold_start_s: None,
            elapsed_s,
            exit_code: None,
            signal: None,
            outcome: Default::default(),
            evidence: String::new(),
            start: None,
            windows: Vec::new(),
        }
    }

    #[test]
    fn a_folder_that_hangs_holds_nobody_and_the_last_record_comes_last() {
        let (open, is_open) = channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let list = written.clone();
        let mut scribe = Scribe::new(move |record| {
            is_open.recv().map_err(io::Error::other)?;
            list.lock().unwrap().push(record.elapsed_s);
            Ok(())
        });
        let soon = Duration::from_millis(20);
        assert!(scribe.write(&record(1.0), soon).is_none());
        assert!(scribe.write(&record(2.0), soon).is_none());
        assert!(written.lock().unwrap().is_empty());
        for _ in 0..3 {
            open.send(()).unwrap();
        }
        let last = scribe.write(&record(3.0), Duration::from_secs(60));
        assert!(last.unwrap().is_ok());
        assert_eq!(*written.lock().unwrap(), [1.0, 2.0, 3.0]);
        drop(open);
        let refused = scribe.write(&record(4.0), Duration::from_secs(60));
        assert!(refused.unwrap().is_err(), "what the system says is told");
    }
}
