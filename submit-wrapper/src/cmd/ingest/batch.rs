//! Outcome files by the batch: while one is judged and committed, the next one is read and accounting asked for its jobs, and the one
//! before is removed.

use std::collections::HashSet;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use model_store::advisor::words::grouped;
use model_store::advisor::{Catalogue, Precision, Run};
use model_store::config::Config;
use model_store::options::shorten;
use model_store::outcome::Outcome;
use model_store::store::{FileFate, Ingested, Quarantined, Store};

use serde_json::error::Category;

use super::answers::{self, Answers, Ledger};
use super::judge::{self, Verdict};
use super::listing::Named;
use super::spool::{self, Entry, FRESH, Spool, SpoolFile};
use super::{MOST_SHOWN, Report, limits, named, remove_folder};
use crate::progress::Progress;
use crate::{exit, prices, publish};

/// Files of one transaction. A run's hashes lie anywhere in three indexes: the more runs are written at once, the more of them
/// share a page that has to be read, kept for the case of a power cut, and written.
const BATCH: usize = 16_384;
/// Bytes of files beyond which a transaction takes no more of them.
const BATCH_BYTES: usize = 32 << 20;
/// Why a file waits whose owner asked for too much; after a week it is refused.
const UNANSWERED: &str =
    "what accounting has of the jobs that its owner's files name is too long for one call";
const LOST: Duration = Duration::from_secs(7 * 24 * 3600);

/// What lay under one name, and the outcome that it reads as.
struct Read {
    name: OsString,
    entry: Entry,
    outcome: Option<serde_json::Result<Outcome>>,
}

/// What lay under some names, and what accounting says of the jobs that the outcomes name, in the order of their numbers.
struct Loaded {
    read: Vec<Read>,
    answers: Answers,
    /// Some were left for the next call: their owners have had their time.
    more: bool,
}

/// Takes the outcome files of these names, a transaction for each batch. Memory holds three batches at most: one that is
/// being written, one that waits, one that is being read.
///
/// # Errors
/// `sacct` or the store; what was committed before is taken, and everything else lies where it lay.
pub(super) fn take_all(
    config: &Config,
    spool: &Spool,
    store: &mut Store,
    names: Vec<Named>,
    progress: &Progress,
    report: &mut Report,
) -> anyhow::Result<()> {
    let all = names.len();
    let ledger = &Ledger::default();
    std::thread::scope(|scope| {
        let (give, batches) = sync_channel(1);
        scope.spawn(move || {
            let mut names = names.into_iter();
            while names.len() > 0 {
                // Nobody takes it once an error has ended the other side.
                if give.send(load(spool, ledger, &mut names)).is_err() {
                    break;
                }
            }
        });
        let (committed, to_remove) = sync_channel::<Vec<OsString>>(1);
        let remover = scope.spawn(move || spool.remove(to_remove.into_iter().flatten(), None));
        let mut done = 0;
        for batch in batches {
            let batch = batch?;
            progress.say(format!("reading outcome files: {done} of {all}"));
            done += batch.read.len();
            report.more |= batch.more;
            // It ends after this side alone.
            let _ = committed.send(take(config, spool, store, batch, report)?);
        }
        drop(committed);
        report
            .unremovable
            .add_all(&remover.join().unwrap_or_default().failed);
        Ok(())
    })
}

/// The next batch.
fn load(
    spool: &Spool,
    ledger: &Ledger,
    names: &mut (impl Iterator<Item = Named> + Send),
) -> anyhow::Result<Loaded> {
    let (bytes, more) = (AtomicUsize::new(0), AtomicBool::new(false));
    let next = || {
        let room = bytes.load(Relaxed) < BATCH_BYTES;
        room.then(|| names.next()).flatten()
    };
    let mut read = spool::each(
        std::iter::from_fn(next).take(BATCH),
        |Named { name, uid }| {
            if ledger.is_spent(uid) {
                more.store(true, Relaxed);
                return None;
            }
            let begun = Instant::now();
            let entry = spool::read(spool, &name);
            let outcome = match &entry {
                Entry::File(file) => {
                    bytes.fetch_add(file.bytes.len(), Relaxed);
                    Some(serde_json::from_slice(&file.bytes))
                }
                _ => None,
            };
            ledger.charge(uid, begun.elapsed());
            Some(Read {
                name,
                entry,
                outcome,
            })
        },
    );
    // Of files that contradict one another the first one counts, whichever thread was faster.
    read.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let asked = read.iter().filter_map(|r| match (&r.entry, &r.outcome) {
        (Entry::File(file), Some(Ok(outcome))) => Some((file.uid, outcome.job_id)),
        _ => None,
    });
    let answers = answers::of_jobs(asked.collect(), ledger)?;
    Ok(Loaded {
        read,
        answers,
        more: more.into_inner(),
    })
}

/// One batch: sort, judge, commit. Returns the names that may be removed now.
fn take(
    config: &Config,
    spool: &Spool,
    store: &mut Store,
    loaded: Loaded,
    report: &mut Report,
) -> anyhow::Result<Vec<OsString>> {
    let hashes = loaded.read.iter().filter_map(|r| match &r.entry {
        Entry::File(file) => Some(file.hash),
        _ => None,
    });
    let known = store.known_outcome_files(hashes).map_err(exit::store)?;
    let mut batch = Batch::default();
    for one in loaded.read {
        batch.sort(spool, one, &known, report);
    }
    batch.judge(config, &loaded.answers, report);
    batch.commit(store, report)?;
    Ok(batch.done)
}

/// The files of one transaction.
#[derive(Default)]
struct Batch {
    files: Vec<(OsString, SpoolFile, Outcome)>,
    taken: Vec<(OsString, SpoolFile, Ingested)>,
    refused: Vec<(OsString, Quarantined)>,
    /// Names that may be removed once everything is committed.
    done: Vec<OsString>,
}

impl Batch {
    fn sort(&mut self, spool: &Spool, read: Read, known: &HashSet<[u8; 32]>, report: &mut Report) {
        let name = read.name;
        let file = match read.entry {
            Entry::Gone => return,
            // It has taken the place of a file since the names were read.
            Entry::Folder => {
                remove_folder(spool, &name, report);
                return;
            }
            Entry::Leave(reason) => {
                report.waiting.add(&reason, &spool::printable(&name));
                return;
            }
            Entry::Junk(junk) => {
                report.read += 1;
                self.refused.push((name, junk));
                return;
            }
            Entry::File(file) => file,
        };
        report.read += 1;
        if known.contains(&file.hash) {
            report.known += 1;
            self.done.push(name);
            return;
        }
        match read.outcome {
            Some(Ok(outcome)) => self.files.push((name, file, outcome)),
            Some(Err(e)) => match unreadable(&file, &e) {
                Some(refused) => self.refused.push((name, refused)),
                None => report
                    .waiting
                    .add("not readable as an outcome yet", &file.name),
            },
            None => {}
        }
    }

    fn judge(&mut self, config: &Config, answers: &Answers, report: &mut Report) {
        let rows = &answers.rows;
        // A `config.json` of the site's that is gone is told by `train`; outcomes are taken all the same.
        let catalogue = publish::catalogue(config).unwrap_or_else(|_| Catalogue::built_in());
        for (name, file, outcome) in std::mem::take(&mut self.files) {
            if answers.unanswered.contains(&(file.uid, outcome.job_id)) {
                match file.age > LOST {
                    true => self.refused.push((name, file.refused(UNANSWERED))),
                    false => report.waiting.add(UNANSWERED, &file.name),
                }
                continue;
            }
            let from = rows.partition_point(|row| row.job.job_id < outcome.job_id);
            let to = rows.partition_point(|row| row.job.job_id <= outcome.job_id);
            match judge::judge(&file, &outcome, &rows[from..to], |gres| {
                prices::gpu_of(config, gres).map(str::to_owned)
            }) {
                Verdict::Take(mut ingested) => {
                    named::by_architecture(&mut ingested.runs, &outcome.asked, &catalogue);
                    match beyond(&catalogue, &ingested) {
                        None => self.taken.push((name, file, *ingested)),
                        Some(reason) => {
                            let refused = file.refused(reason);
                            self.refused.push((name, refused));
                        }
                    }
                }
                Verdict::Wait(reason) => report.waiting.add(&reason, &file.name),
                Verdict::Refuse(reason) => {
                    let refused = file.refused(reason);
                    self.refused.push((name, refused));
                }
            }
        }
    }

    fn commit(&mut self, store: &mut Store, report: &mut Report) -> anyhow::Result<()> {
        let taken = std::mem::take(&mut self.taken);
        let mut ingested = Vec::with_capacity(taken.len());
        let mut named = Vec::with_capacity(taken.len());
        for (name, file, one) in taken {
            ingested.push(one);
            named.push((name, file));
        }
        let fates = store.ingest(&ingested).map_err(exit::store)?;
        for (((name, file), fate), one) in named.into_iter().zip(fates).zip(&ingested) {
            if matches!(fate, FileFate::Added(_)) {
                let left = MOST_SHOWN.saturating_sub(report.shown.len());
                report
                    .shown
                    .extend(one.runs.iter().take(left).map(in_words));
            }
            self.settle(name, &file, fate, report);
        }
        let refused: Vec<Quarantined> = self.refused.iter().map(|(_, q)| q.clone()).collect();
        store.quarantine(&refused).map_err(exit::store)?;
        for (name, refused) in self.refused.drain(..) {
            report.quarantined.add(&refused.reason, &refused.file);
            self.done.push(name);
        }
        Ok(())
    }

    fn settle(&mut self, name: OsString, file: &SpoolFile, fate: FileFate, report: &mut Report) {
        let reason = match fate {
            FileFate::Added(runs) => {
                report.runs += runs;
                self.done.push(name);
                return;
            }
            FileFate::Known => {
                report.known += 1;
                self.done.push(name);
                return;
            }
            FileFate::Contradicted => "another file told of the same start of an engine before",
            FileFate::TooMany => {
                "its job has left more outcome files than it can have started engines"
            }
        };
        self.refused.push((name, file.refused(reason)));
    }
}

/// A file that is no outcome, refused; `None` while it may still be being written.
fn unreadable(file: &SpoolFile, error: &serde_json::Error) -> Option<Quarantined> {
    (file.age >= FRESH).then(|| file.refused(format!("no outcome file: {}", misread(error))))
}

/// What is wrong with a file as JSON: where, and in no word of the file's own, which the reader's message would quote.
pub(super) fn misread(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Syntax => "no JSON",
        Category::Eof => "JSON that ends too early",
        Category::Data => "a value of another kind than it has to be",
        Category::Io => "not readable",
    };
    format!("{what} at line {}, column {}", error.line(), error.column())
}

/// `job 4711 window 0: Llama-3.1-8B on H100-SXM x 1, fp8: 9,870 tok/s with 64 in flight`.
fn in_words(run: &Run) -> String {
    let case = &run.case;
    let model = shorten(case.model.rsplit('/').next().unwrap_or(&case.model));
    let tp = case.tp.map_or_else(|| "?".into(), |tp| tp.to_string());
    let precision = case.precision.map_or("", Precision::name);
    let came = match run.measured.output_tok_s {
        Some(rate) => format!("{} tok/s", grouped(rate)),
        None => run.measured.outcome.name().to_owned(),
    };
    let load = case
        .concurrency
        .map_or_else(String::new, |c| format!(" with {c:.0} in flight"));
    let place = shorten(&run.source_ref);
    format!(
        "{place}: {model} on {} x {tp}, {precision}: {came}{load}",
        case.gpu
    )
}

/// Why one of the runs cannot have been measured on the GPUs that the job held.
fn beyond(catalogue: &Catalogue, ingested: &Ingested) -> Option<String> {
    let gpus = ingested.job.gpus.iter().map(|(_, count)| count).sum();
    let one = |run: &Run| {
        let (case, rate) = (&run.case, run.measured.output_tok_s?);
        limits::beyond(catalogue, &case.model, &case.gpu, gpus, rate)
    };
    ingested.runs.iter().find_map(one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_is_waited_for_for_a_minute() {
        let error = serde_json::from_str::<Outcome>("{").unwrap_err();
        let file = |seconds| SpoolFile {
            name: "a.json".into(),
            bytes: b"{".to_vec(),
            hash: [0; 32],
            uid: 1,
            age: Duration::from_secs(seconds),
        };
        assert_eq!(unreadable(&file(59), &error), None);
        let refused = unreadable(&file(60), &error).unwrap();
        assert!(
            refused
                .reason
                .starts_with("no outcome file: JSON that ends")
        );
        let error = serde_json::from_str::<Outcome>(r#"{"schema":"SECRET"}"#).unwrap_err();
        let refused = unreadable(&file(60), &error).unwrap();
        assert!(!refused.reason.contains("SECRET"), "{refused:?}");
    }
}
