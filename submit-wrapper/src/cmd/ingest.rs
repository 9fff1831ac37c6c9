//! `omnipilot ingest`: outcome files and Slurm's accounting into the store, exactly once.
//!
//! A file is removed only after the transaction that holds its runs has been committed; a file
//! that comes again is known by its content. So the command may be killed anywhere and started
//! again.

mod accounted;
mod claims;
mod judge;
mod limits;
mod spool;
pub(crate) mod wishes;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use model_store::advisor::drift::Drift;
use model_store::advisor::words::grouped;
use model_store::advisor::{Catalogue, Precision, Run};
use model_store::config::Config;
use model_store::options::shorten;
use model_store::outcome::Outcome;
use model_store::store::{FileFate, Ingested, Quarantined, Store};
use serde_json::json;

use self::judge::Verdict;
use self::spool::{Entry, Spool, SpoolFile};
use crate::json::document;
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::slurm::accounting::{self, Row};
use crate::{drift, exit, prices};

/// Files of one transaction, and of one question to accounting.
const BATCH: usize = 1024;
/// A file that cannot be read as an outcome and is younger than this may still be being written.
const FRESH: Duration = Duration::from_secs(60);
/// Reasons that are printed.
const MOST_REASONS: usize = 20;
/// Added runs that are printed.
const MOST_SHOWN: usize = 10;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

/// What one call did.
#[derive(Default)]
struct Report {
    read: u64,
    runs: u64,
    /// The first few added runs, in words.
    shown: Vec<String>,
    known: u64,
    jobs: usize,
    launches: u64,
    waits: usize,
    demand: usize,
    wishes: usize,
    more: bool,
    drifted: Vec<Drift>,
    waiting: Reasons,
    quarantined: Reasons,
    unremovable: Reasons,
}

/// Files by reason: how many, and the first one.
#[derive(Default)]
struct Reasons(BTreeMap<String, (u64, String)>);

impl Reasons {
    fn add(&mut self, reason: &str, file: &str) {
        self.0
            .entry(reason.to_owned())
            .or_insert((0, file.to_owned()))
            .0 += 1;
    }

    fn total(&self) -> u64 {
        self.0.values().map(|(files, _)| files).sum()
    }

    fn json(&self) -> serde_json::Value {
        let one = |(reason, (files, first)): (&String, &(u64, String))| json!({ "reason": reason, "files": files, "first": first });
        self.0.iter().map(one).collect()
    }
}

/// Takes what is in the spool.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let config = site.config()?;
    let mut store = Store::open(&config.store).map_err(exit::store)?;
    let listed = Spool::open(&config.spool).and_then(|s| Ok((spool::list(&s)?, s)));
    let (listing, spool) = listed.map_err(|e| {
        let reason = format!("cannot read the spool {}: {e}", config.spool.display());
        exit::fail(
            reason,
            "`omnipilot init` makes it; `spool` in the configuration names it",
        )
    })?;
    let mut report = Report::default();
    remove_surplus(&spool, &mut store, &listing.surplus, &mut report)?;
    remove_folders(&spool, &listing.folders, &mut report);
    report.more = listing.more;
    let progress = Progress::start("reading outcome files");
    for (done, batch) in listing.names.chunks(BATCH).enumerate() {
        let (done, all) = (done * BATCH, listing.names.len());
        progress.say(format!("reading outcome files: {done} of {all}"));
        take(&config, &spool, &mut store, batch, &mut report)?;
    }
    for batch in listing.wishes.chunks(BATCH) {
        wishes::take(&spool, &mut store, batch, &mut report)?;
    }
    progress.say("reading accounting");
    accounted::read(&config, &mut store, &mut report)?;
    if report.runs > 0 {
        report.drifted = drift::follow(&config, &mut store)?;
    }
    drop(progress);
    print(&report, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Removes what one user left beyond his share, and remembers that it did.
fn remove_surplus(
    spool: &Spool,
    store: &mut Store,
    surplus: &BTreeMap<u32, Vec<OsString>>,
    report: &mut Report,
) -> anyhow::Result<()> {
    for (uid, names) in surplus {
        let flood = spool::flood(*uid, names);
        report.quarantined.add(&flood.reason, &flood.file);
        store.quarantine(&[flood]).map_err(exit::store)?;
        for name in names {
            if let Err(e) = spool.remove(name) {
                report
                    .unremovable
                    .add(&e.to_string(), &spool::printable(name));
            }
        }
    }
    Ok(())
}

fn remove_folders(spool: &Spool, names: &[OsString], report: &mut Report) {
    for name in names {
        let shown = spool::printable(name);
        match spool::clear_folder(spool, name) {
            Ok(()) => report.quarantined.add("a directory", &shown),
            Err(e) => report.unremovable.add(&e.to_string(), &shown),
        }
    }
}

/// One batch: read, judge, commit, remove.
fn take(
    config: &Config,
    spool: &Spool,
    store: &mut Store,
    names: &[OsString],
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut batch = Batch::default();
    for name in names {
        batch.read(spool, name, store, report)?;
    }
    let ids: Vec<u64> = batch
        .files
        .iter()
        .map(|(_, _, outcome)| outcome.job_id)
        .collect();
    let rows = accounting::jobs(&ids).map_err(|e| exit::fail(e.to_string(), e.hint()))?;
    batch.judge(config, &rows, report);
    batch.commit(store, report)?;
    for name in &batch.done {
        if let Err(e) = spool.remove(name) {
            report
                .unremovable
                .add(&e.to_string(), &spool::printable(name));
        }
    }
    Ok(())
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
    fn read(
        &mut self,
        spool: &Spool,
        name: &OsString,
        store: &Store,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let file = match spool::read(spool, name) {
            Entry::Gone => return Ok(()),
            // It has taken the place of a file since the names were read.
            Entry::Folder => {
                remove_folders(spool, std::slice::from_ref(name), report);
                return Ok(());
            }
            Entry::Leave(reason) => {
                report.waiting.add(&reason, &spool::printable(name));
                return Ok(());
            }
            Entry::Junk(junk) => {
                report.read += 1;
                self.refused.push((name.clone(), junk));
                return Ok(());
            }
            Entry::File(file) => file,
        };
        report.read += 1;
        if store.has_outcome_file(&file.hash).map_err(exit::store)? {
            report.known += 1;
            self.done.push(name.clone());
            return Ok(());
        }
        match serde_json::from_slice(&file.bytes) {
            Ok(outcome) => self.files.push((name.clone(), file, outcome)),
            Err(e) => match unreadable(&file, &e) {
                Some(refused) => self.refused.push((name.clone(), refused)),
                None => report
                    .waiting
                    .add("not readable as an outcome yet", &file.name),
            },
        }
        Ok(())
    }

    fn judge(&mut self, config: &Config, rows: &[Row], report: &mut Report) {
        let catalogue = Catalogue::built_in();
        for (name, file, outcome) in std::mem::take(&mut self.files) {
            match judge::judge(&file, &outcome, rows, |gres| {
                prices::gpu_of(config, gres).map(str::to_owned)
            }) {
                Verdict::Take(ingested) => match beyond(&catalogue, &ingested) {
                    None => self.taken.push((name, file, *ingested)),
                    Some(reason) => {
                        let refused = file.refused(reason);
                        self.refused.push((name, refused));
                    }
                },
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
    (file.age >= FRESH).then(|| file.refused(format!("no outcome file: {error}")))
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

fn print(report: &Report, as_json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        return Ok(writeln!(out, "{}", document("ingest", json_of(report)))?);
    }
    let Report {
        read,
        runs,
        shown,
        known,
        waiting,
        quarantined,
        unremovable,
        ..
    } = report;
    writeln!(
        out,
        "{read} outcome files read: {runs} runs added, {known} files already known, {} waiting, {} quarantined",
        waiting.total(),
        quarantined.total()
    )?;
    if report.wishes > 0 {
        writeln!(out, "{} requests without an answer noted", report.wishes)?;
    }
    for line in shown {
        writeln!(out, "  {line}")?;
    }
    if *runs > shown.len() as u64 {
        writeln!(out, "  and {} more", runs - shown.len() as u64)?;
    }
    for (word, reasons) in [
        ("waiting", waiting),
        ("quarantined", quarantined),
        ("not removed", unremovable),
    ] {
        for (reason, (files, first)) in reasons.0.iter().take(MOST_REASONS) {
            writeln!(out, "  {files} {word}: {reason}, first `{first}`")?;
        }
    }
    for d in &report.drifted {
        writeln!(
            out,
            "  drift: {:.0} % of the last {} of {} on {} in their interval, which is wider by a factor of {:.2} now",
            d.coverage * 100.0,
            d.runs,
            d.target,
            d.group,
            d.widening.exp()
        )?;
    }
    if report.more {
        eprintln!("note: the spool holds more than one call looks at; the next one goes on");
    }
    if *runs > 0 {
        exit::hint("`omnipilot train` learns from them");
    }
    Ok(())
}

fn json_of(report: &Report) -> serde_json::Value {
    json!({
        "files": report.read,
        "runs": report.runs,
        "known": report.known,
        "jobs": report.jobs,
        "launches": report.launches,
        "waits": report.waits,
        "demand": report.demand,
        "wishes": report.wishes,
        "more": report.more,
        "drifted": report.drifted,
        "waiting": report.waiting.json(),
        "quarantined": report.quarantined.json(),
        "not_removed": report.unremovable.json(),
    })
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
        assert!(refused.reason.starts_with("no outcome file: "));
    }
}
