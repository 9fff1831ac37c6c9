//! `omnipilot ingest`: outcome files and Slurm's accounting into the store, exactly once.
//!
//! A file is removed only after the transaction that holds its runs has been committed; a file
//! that comes again is known by its content. So the command may be killed anywhere and started
//! again.

mod accounted;
mod answers;
mod batch;
mod claims;
mod judge;
mod limits;
mod listing;
mod named;
mod spool;
pub(crate) mod unstarted;
pub(crate) mod wishes;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use model_store::advisor::drift::Drift;
use model_store::advisor::words::count_of;
use model_store::store::{AccountingGap, Store};
use serde_json::json;

use self::listing::{Listing, Named};
use self::spool::Spool;
use crate::json::document;
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::{drift, exit, shared_folder};

/// Wishes of one transaction.
const WISHES: usize = 1024;
/// How long one call clears away what nobody reads.
const SWEEP: Duration = Duration::from_secs(10);
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
    unstarted: usize,
    more: bool,
    drifted: Vec<Drift>,
    /// Stretches of accounting that could not be read.
    passed_over: Vec<AccountingGap>,
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

    /// Reasons, each with its file.
    fn add_all(&mut self, all: &[(String, String)]) {
        all.iter().for_each(|(reason, file)| self.add(reason, file));
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
    let listed = Spool::open(&config.spool).and_then(|s| {
        // One that may not be changed is read as it is; `omnipilot doctor` tells.
        let _ = shared_folder::adopt(s.folder());
        Ok((listing::list(&s)?, s))
    });
    let (mut listing, spool) = listed.map_err(|e| {
        let reason = format!("cannot read the spool {}: {e}", config.spool.display());
        exit::fail(
            reason,
            "`omnipilot init` makes it; `spool` in the configuration names it",
        )
    })?;
    let mut report = Report {
        more: listing.more,
        ..Report::default()
    };
    let progress = Progress::start("reading outcome files");
    batch::take_all(
        &config,
        &spool,
        &mut store,
        std::mem::take(&mut listing.names),
        &progress,
        &mut report,
    )?;
    for batch in listing.wishes.chunks(WISHES) {
        wishes::take(&spool, &mut store, batch, &mut report)?;
    }
    progress.say("clearing the spool");
    sweep(&spool, &mut store, listing, &mut report)?;
    // Before accounting is read: what was taken is followed whatever accounting answers.
    if report.runs > 0 {
        report.drifted = drift::follow(&config, &mut store)?;
    }
    progress.say("reading accounting");
    accounted::read(&config, &mut store, &mut report)?;
    drop(progress);
    print(&report, args.json)?;
    Ok(ExitCode::SUCCESS)
}

/// Clears away what nobody reads: further names of one file, folders, what owners left beyond their shares. It comes last, takes a part of its
/// time for each of the three and for each owner, and goes on at the next call.
fn sweep(
    spool: &Spool,
    store: &mut Store,
    listing: Listing,
    report: &mut Report,
) -> anyhow::Result<()> {
    let end = Instant::now() + SWEEP;
    // Of what is left of the time, a share.
    let within = |shares: usize| {
        let left = end.saturating_duration_since(Instant::now());
        Instant::now() + left / u32::try_from(shares.max(1)).unwrap_or(u32::MAX)
    };
    let all = listing.again.len();
    let removed = spool.remove(listing.again, Some(within(3)));
    report.known += removed.gone as u64;
    report.more |= removed.gone + removed.failed.len() < all;
    report.unremovable.add_all(&removed.failed);
    let until = within(2);
    for Named { name, .. } in &listing.folders {
        if Instant::now() >= until {
            report.more = true;
            break;
        }
        remove_folder(spool, name, report);
    }
    let mut owners = listing.surplus.len();
    for (uid, names) in listing.surplus {
        let removed = spool.remove(&names, Some(within(owners)));
        owners -= 1;
        report.more |= removed.gone + removed.failed.len() < names.len();
        report.unremovable.add_all(&removed.failed);
        let flood = spool::flood(uid, &names, removed.gone);
        report.quarantined.add(&flood.reason, &flood.file);
        store.quarantine(&[flood]).map_err(exit::store)?;
    }
    Ok(())
}

fn remove_folder(spool: &Spool, name: &OsStr, report: &mut Report) {
    let shown = spool::printable(name);
    match spool::clear_folder(spool, name) {
        Ok(()) => report.quarantined.add("a directory", &shown),
        Err(e) => report.unremovable.add(&e.to_string(), &shown),
    }
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
        "{} read: {} added, {} already known, {} waiting, {} quarantined",
        count_of(*read, "outcome file"),
        count_of(*runs, "run"),
        count_of(*known, "file"),
        waiting.total(),
        quarantined.total()
    )?;
    if report.wishes > 0 {
        writeln!(
            out,
            "{} without an answer noted",
            count_of(report.wishes, "request")
        )?;
    }
    if report.unstarted > 0 {
        writeln!(
            out,
            "{} to start noted: limits, or cancelled while they waited",
            count_of(report.unstarted, "failure of an advised job")
        )?;
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
    for gap in &report.passed_over {
        eprintln!(
            "warning: {} s of accounting until {} passed over: {}",
            gap.until - gap.since,
            gap.until,
            gap.reason
        );
    }
    if report.more {
        eprintln!("note: the spool holds more than one call looks at; the next one goes on");
    }
    if *runs > 0 {
        exit::hint("`omnipilot train` learns from them");
    }
    Ok(())
}

fn gap_json(gap: &AccountingGap) -> serde_json::Value {
    json!({ "since": gap.since, "until": gap.until, "reason": gap.reason })
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
        "unstarted": report.unstarted,
        "more": report.more,
        "drifted": report.drifted,
        "passed_over": report.passed_over.iter().map(gap_json).collect::<Vec<_>>(),
        "waiting": report.waiting.json(),
        "quarantined": report.quarantined.json(),
        "not_removed": report.unremovable.json(),
    })
}
