//! The changed form of a job is shown to slurmctld before it is submitted: it has the last word.

use model_store::test_only::Word;

/// Why a job goes as it was written; `None` where the changed form may go. `patience_s` is by how
/// much it may start later.
pub(super) fn against(
    changed: &Word,
    written: impl FnOnce() -> Word,
    patience_s: f64,
) -> Option<String> {
    match changed {
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
            #[allow(clippy::cast_precision_loss)] // seconds
            let too_late = later as f64 > patience_s;
            too_late.then(|| {
                format!(
                    "the advised form would start {} min later, and is worth {:.0} min of waiting",
                    later / 60,
                    patience_s / 60.0
                )
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_is_refused_or_much_later_does_not_go() {
        let at = |start| Word::Takes(Some(start));
        let refused = || Word::Refuses("no".into());
        assert!(against(&refused(), || at(5), 60.0).is_some_and(|w| w.contains("(no)")));
        assert_eq!(against(&refused(), refused, 60.0), None);
        assert_eq!(against(&at(100), || at(50), 60.0), None);
        assert!(against(&at(7300), || at(50), 60.0).is_some_and(|w| w.contains("120 min later")));
        assert_eq!(against(&Word::Silent, || at(5), 0.0), None);
    }
}
