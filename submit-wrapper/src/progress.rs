//! What a long command is doing, on a terminal alone: one line that rewrites itself and goes away.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing is shown before this: what is over sooner needs no word.
const PATIENCE: Duration = Duration::from_millis(1000);
/// How often the line is written anew.
const BEAT: Duration = Duration::from_millis(250);

/// A line on standard error as long as it lives; nothing where standard error is no terminal.
pub(crate) struct Progress {
    shown: Option<(Sender<String>, JoinHandle<()>)>,
}

impl Progress {
    /// Begins with these words.
    pub(crate) fn start(words: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self { shown: None };
        }
        let (tell, told) = channel();
        let words = words.to_owned();
        let writer = std::thread::spawn(move || write(words, &told, &mut std::io::stderr()));
        Self {
            shown: Some((tell, writer)),
        }
    }

    /// Goes on with these words.
    pub(crate) fn say(&self, words: impl Into<String>) {
        if let Some((tell, _)) = &self.shown {
            // The writer ends only with us.
            let _ = tell.send(words.into());
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((tell, writer)) = self.shown.take() {
            drop(tell);
            let _ = writer.join();
        }
    }
}

/// Shows the latest words and the seconds since the beginning, until nobody can tell any more.
fn write(mut words: String, told: &Receiver<String>, out: &mut impl Write) {
    let begun = Instant::now();
    let mut visible = false;
    loop {
        match told.recv_timeout(if visible { BEAT } else { PATIENCE }) {
            Ok(new) => words = new,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if begun.elapsed() >= PATIENCE {
            visible = true;
            let _ = write!(out, "\r\x1b[K{words} ({} s)", begun.elapsed().as_secs());
            let _ = out.flush();
        }
    }
    if visible {
        let _ = write!(out, "\r\x1b[K");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(wait: Duration) -> String {
        let (tell, told) = channel();
        let writer = std::thread::spawn(move || {
            let mut out = Vec::new();
            write("one".into(), &told, &mut out);
            out
        });
        tell.send("two".into()).unwrap();
        std::thread::sleep(wait);
        drop(tell);
        let out = writer.join().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_over_soon_says_nothing_and_the_rest_clears_its_line() {
        assert_eq!(written(Duration::ZERO), "");
        let long = written(PATIENCE * 3);
        assert!(
            long.contains("two (") && long.ends_with("\r\x1b[K"),
            "{long:?}"
        );
    }
}
