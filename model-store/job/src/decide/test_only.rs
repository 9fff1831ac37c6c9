//! What slurmctld says of a job without taking it (`sbatch --test-only`). The changed form is shown to
//! it before it is submitted: slurmctld has the last word.

use std::process::{Command, Stdio};

/// What slurmctld says of a form of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// It would take the job, to start at this time, Unix seconds, where it told one.
    Takes(Option<i64>),
    /// It would not; its words.
    Refuses(String),
    /// It could not be asked.
    Silent,
}

/// Words with which `sbatch` says that it did not reach slurmctld: they tell nothing of the job.
const UNREACHED: [&str; 3] = ["Unable to contact", "timed out", "Connection refused"];

/// Runs a `sbatch --test-only` that is ready to be run.
pub fn ask(command: &mut Command) -> Word {
    let out = command
        .env("SLURM_TIME_FORMAT", "%s")
        .env("LC_ALL", "C")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    out.map_or(Word::Silent, |out| {
        read(out.status.success(), &String::from_utf8_lossy(&out.stderr))
    })
}

/// Why a job goes as it was written; `None` where the changed form may go. `patience_s` is by how
/// much it may start later, `now` in Unix seconds. `written` is asked where that can matter alone.
pub fn against(
    changed: &Word,
    written: impl FnOnce() -> Word,
    patience_s: f64,
    now: i64,
) -> Option<String> {
    #[allow(clippy::cast_precision_loss)] // seconds
    let within = |seconds: i64| seconds as f64 <= patience_s;
    match changed {
        // As written it starts no earlier than now.
        Word::Takes(Some(start)) if within(start.saturating_sub(now)) => None,
        Word::Silent | Word::Takes(None) => None,
        Word::Refuses(words) => match written() {
            // Neither form would be taken: slurmctld says so itself.
            Word::Refuses(_) => None,
            _ => Some(format!("Slurm would not take the advised form ({words})")),
        },
        Word::Takes(Some(start)) => {
            let Word::Takes(Some(before)) = written() else {
                return None;
            };
            let later = start.saturating_sub(before);
            (!within(later)).then(|| {
                format!(
                    "the advised form would start {} min later, and is worth {:.0} min of waiting",
                    later / 60,
                    patience_s / 60.0
                )
            })
        }
    }
}

fn read(taken: bool, text: &str) -> Word {
    if UNREACHED.iter().any(|words| text.contains(words)) {
        return Word::Silent;
    }
    if taken {
        let starts = text.lines().filter_map(|line| {
            let (_, rest) = line.split_once(" to start at ")?;
            rest.split_whitespace().next()?.parse().ok()
        });
        return Word::Takes(starts.max());
    }
    let mut said = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = said.next_back().unwrap_or("it gave no reason");
    let bare = ["allocation failure: ", "sbatch: error: "];
    let last = bare
        .iter()
        .fold(last, |text, head| text.strip_prefix(head).unwrap_or(text));
    Word::Refuses(last.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKEN: &str =
        "sbatch: Job 4 to start at 1796019083 using 1 processors on nodes a1 in partition serve\n";

    #[test]
    fn what_slurm_says_is_read() {
        assert_eq!(read(true, TAKEN), Word::Takes(Some(1_796_019_083)));
        assert_eq!(read(true, ""), Word::Takes(None));
        let refused = "sbatch: error: QOSMaxGRESPerJob\nallocation failure: Job violates accounting/QOS policy\n";
        assert_eq!(
            read(false, refused),
            Word::Refuses("Job violates accounting/QOS policy".into())
        );
        let away = "allocation failure: Unable to contact slurm controller (connect failure)\n";
        assert_eq!(read(false, away), Word::Silent);
    }

    #[test]
    fn a_form_that_is_refused_or_much_later_does_not_go() {
        let at = |start| Word::Takes(Some(start));
        let refused = || Word::Refuses("no".into());
        assert!(against(&refused(), || at(5), 60.0, 0).is_some_and(|w| w.contains("(no)")));
        assert_eq!(against(&refused(), refused, 60.0, 0), None);
        assert_eq!(against(&at(100), || at(50), 60.0, 0), None);
        assert!(
            against(&at(7300), || at(50), 60.0, 0).is_some_and(|w| w.contains("120 min later"))
        );
        // What starts soon enough needs no second question.
        let unasked = || panic!("it is not asked for");
        assert_eq!(against(&at(7300), unasked, 60.0, 7290), None);
        assert_eq!(against(&Word::Silent, || at(5), 0.0, 0), None);
    }
}
