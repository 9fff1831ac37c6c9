//! `omnipilot train`: from the store to a published snapshot: select, fit, calibrate, hold against
//! the champion, record, publish.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use model_store::advisor::words::{count_of, grouped_count};
use model_store::advisor::{Catalogue, Run};
use model_store::config::Config;
use model_store::snapshot::Snapshot;
use model_store::store::{ModelState, PublishedModel, Store, StoredRun, content_hash};
use model_store::train::gate::{self, Judgement};
use model_store::train::select::{Choice, Policy, Selector};
use model_store::train::{Report, TargetReport, learn_starts, train};
use serde_json::json;

use crate::clock;
use crate::prices::Priced;
use crate::progress::Progress;
use crate::publish::{self, Champion, Draft};
use crate::site::SiteArgs;
use crate::{drift, exit, json};

/// A model older than this, s, is replaced whatever has come in.
const LONGEST_AGE: i64 = 7 * 86_400;
/// After a refusal by the gate a timer waits for this long, s.
const AFTER_REFUSAL: i64 = 86_400;
/// New runs for which it is worth training again: this share of those that the champion knows.
const WORTH_OF_RUNS: f64 = 0.05;
/// New runs below which it is not.
const FEWEST_NEW: u64 = 20;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Publish even where the gate refuses
    #[arg(long)]
    force: bool,
    /// Do nothing unless there are enough new runs, a group has drifted, or the model is a week old
    #[arg(long)]
    if_needed: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let config = site.config()?;
    let mut store = Store::open(&config.store).map_err(exit::store)?;
    if store.count().map_err(exit::store)? == 0 {
        return Err(exit::fail(
            format!("{} holds no runs", config.store.display()),
            "`omnipilot init` adds the published figures, `omnipilot import` measured runs",
        ));
    }
    let champion = publish::champion(&config, &mut store)?;
    if args.if_needed
        && let Some(reason) = not_needed(&config, &mut store, champion.as_ref())?
    {
        match args.json {
            true => json::print("train", json!({ "published": false, "not_needed": reason }))?,
            false => println!("not trained: {reason}"),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let catalogue = publish::catalogue(&config)?;
    let selected = select_from(&config, &store, &catalogue)?;
    let found = fit(selected, &catalogue, champion);
    finish(&config, &mut store, found, args)
}

/// Why there is no need to train; `None` where there is.
fn not_needed(
    config: &Config,
    store: &mut Store,
    champion: Option<&Champion>,
) -> anyhow::Result<Option<String>> {
    let Some(champion) = champion else {
        return Ok(None);
    };
    let refused = store.models().map_err(exit::store)?.into_iter();
    let refused = refused
        .filter(|m| m.state == ModelState::Refused)
        .map(|m| m.created_at);
    let now = clock::now();
    let lately = |at: &i64| (0..AFTER_REFUSAL).contains(&(now - at));
    if let Some(at) = refused.filter(lately).max() {
        let hours = (now - at) / 3600;
        return Ok(Some(format!(
            "the gate refused the last one {hours} h ago, and a day is waited for"
        )));
    }
    let since = champion.entry.created_at;
    // Trained while the clock was wrong: no run would be newer for as long as that.
    if since > now + publish::SKEW {
        return Ok(None);
    }
    let new = store.count_since(since).map_err(exit::store)?;
    #[allow(clippy::cast_precision_loss)] // far below 2^53 runs
    let enough = (champion.entry.runs as f64 * WORTH_OF_RUNS).max(FEWEST_NEW as f64);
    #[allow(clippy::cast_precision_loss)] // as above
    let many = new as f64 >= enough;
    if many || now - since > LONGEST_AGE {
        return Ok(None);
    }
    let drifted = drift::look(config, store)?;
    if drifted.iter().any(|d| d.drifted) {
        return Ok(None);
    }
    Ok(Some(format!(
        "{}, {enough:.0} are worth it, and no group has drifted",
        count_of(new, "new run")
    )))
}

/// The runs that are trained on, and how many are not, by reason.
pub(crate) struct Selected {
    pub(crate) runs: Vec<StoredRun>,
    left_out: Vec<(String, u32)>,
}

/// Selects. The store is looked through once, and of its runs only those that are taken are held.
///
/// # Errors
/// A store that cannot be read.
pub(crate) fn select_from(
    config: &Config,
    store: &Store,
    catalogue: &Catalogue,
) -> anyhow::Result<Selected> {
    let t = &config.training;
    let policy = Policy {
        longest_age_s: i64::from(t.longest_age_days) * 86_400,
        runs_per_cell: t.runs_per_cell as usize,
        agreement: t.agreement,
        trusted: t.trusted_users.iter().cloned().collect(),
        left_out: t.left_out_users.iter().cloned().collect(),
        ..Policy::at(clock::now())
    };
    let mut selector = Selector::new(catalogue, &policy);
    let mut ids = Vec::new();
    let look = |id, stored: StoredRun| {
        ids.push(id);
        selector.look(&stored.run, stored.user.as_deref(), stored.ended);
    };
    store.each_run(look).map_err(exit::store)?;
    let Choice { taken, left_out } = selector.choose();
    let mut taken = taken.into_iter();
    ids.retain(|_| taken.next() == Some(true));
    let runs = store.runs_of(&ids).map_err(exit::store)?;
    Ok(Selected { runs, left_out })
}

/// What one training found.
struct Found {
    draft: Draft,
    report: Report,
    judgement: Judgement,
}

/// Content hashes of the runs that were there when the champion was trained.
fn known_to(champion: Option<&Champion>, stored: &[StoredRun]) -> BTreeSet<[u8; 16]> {
    let since = champion.map_or(i64::MAX, |c| c.entry.created_at);
    let before = stored.iter().filter(|s| s.added_at < since);
    before.map(|s| content_hash(&s.run)).collect()
}

fn fit(selected: Selected, catalogue: &Catalogue, champion: Option<Champion>) -> Found {
    let known = known_to(champion.as_ref(), &selected.runs);
    let said = selected.runs.iter();
    let said: Vec<_> = said.map(|s| (&s.run, s.user.as_deref())).collect();
    let starts = learn_starts(&said, catalogue);
    let runs: Vec<Run> = selected.runs.into_iter().map(|s| s.run).collect();
    let runs = runs.as_slice();
    let progress = Progress::start("training");
    let told = |done, of| progress.say(format!("training: {done} of {of} targets"));
    let (mut model, mut report) = train(runs, catalogue, &told);
    model.starts = starts;
    report.left_out.extend(selected.left_out);
    progress.say("fitting without the held-out cells");
    let gate = gate::fit_for_gate(runs, catalogue);
    let against = champion.as_ref().and_then(|c| c.gate.as_ref());
    let is_old = |run: &Run| known.contains(&content_hash(run));
    let judgement = gate::judge(runs, catalogue, &gate, against, &is_old);
    let champion = champion.map(|c| c.entry.id);
    let metrics = serde_json::json!({ "report": report, "gate": judgement, "champion": champion });
    Found {
        draft: Draft {
            model,
            runs: runs.len() as u64,
            metrics,
            gate,
            champion,
        },
        report,
        judgement,
    }
}

/// Publishes, or says why not. The first model is published whatever the gate says of it: there is
/// nothing that it could replace.
fn finish(
    config: &Config,
    store: &mut Store,
    found: Found,
    args: &Args,
) -> anyhow::Result<ExitCode> {
    let Found {
        draft,
        report,
        judgement,
    } = found;
    if !judgement.passes() && draft.champion.is_some() && !args.force {
        let entry = publish::record_refused(config, draft, store)?;
        if args.json {
            json::print("train", as_json(&report, &judgement, &entry, None))?;
        }
        return Err(refused(&judgement, &entry));
    }
    let (snapshot, entry) = publish::publish(config, draft, store)?;
    if args.json {
        json::print(
            "train",
            as_json(&report, &judgement, &entry, Some(&snapshot)),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    print(&report, &judgement, &entry)?;
    for line in super::explain::preferences_in_words(&snapshot.body.preferences) {
        println!("{line}");
    }
    for reason in &judgement.reasons {
        eprintln!("warning: {reason}");
    }
    let body = &snapshot.body;
    Priced::of(config, &body.cluster, body.slurm.as_ref()).warn();
    if snapshot.body.gpus.is_empty() {
        exit::hint("no GPUs are known yet; `omnipilot observe` asks Slurm for them");
    }
    Ok(ExitCode::SUCCESS)
}

fn refused(judgement: &Judgement, entry: &PublishedModel) -> anyhow::Error {
    let more = judgement.reasons.len().saturating_sub(1);
    let first = judgement.reasons.first().cloned().unwrap_or_default();
    let others = if more > 0 {
        format!(", and {more} more")
    } else {
        String::new()
    };
    exit::fail(
        format!("model {} was not published: {first}{others}", entry.id),
        "the former one stays; `omnipilot models compare` shows both, `omnipilot train --force` publishes all the same",
    )
}

fn as_json(
    report: &Report,
    judgement: &Judgement,
    entry: &PublishedModel,
    published: Option<&Snapshot>,
) -> serde_json::Value {
    serde_json::json!({
        "snapshot": entry.id,
        "path": entry.path,
        "bytes": entry.bytes,
        "published": published.is_some(),
        "preferences": published.map(|s| &s.body.preferences),
        "report": report,
        "gate": judgement,
    })
}

fn print(report: &Report, judgement: &Judgement, entry: &PublishedModel) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let e = &report.evidence;
    writeln!(
        out,
        "{}: {} of this cluster, {} from elsewhere, {} published",
        count_of(entry.runs, "run"),
        e.this_cluster,
        e.other_cluster,
        e.published
    )?;
    for (reason, n) in &report.left_out {
        writeln!(out, "  {n} left out: {reason}")?;
    }
    writeln!(
        out,
        "{:<16} {:>6} {:>8} {:>7} {:>7}  interval",
        "target", "runs", "MAPE", "median", "log R2"
    )?;
    for target in &report.targets {
        writeln!(out, "{}", line(target))?;
    }
    writeln!(
        out,
        "gate: {} on {} in {}",
        if judgement.passes() {
            "passed"
        } else {
            "not passed"
        },
        count_of(judgement.runs, "run"),
        count_of(judgement.cells, "held-out cell")
    )?;
    writeln!(
        out,
        "published {} ({} KB) as {}",
        entry.path,
        entry.bytes / 1024,
        entry.id
    )
}

fn line(t: &TargetReport) -> String {
    let percent = |x: Option<f64>| x.map_or_else(|| "-".into(), |x| format!("{:.1} %", x * 100.0));
    let interval = match (t.calibrated, t.calibrated_elsewhere) {
        (false, false) => "not known: too few runs",
        (true, false) => "known sources only",
        (_, true) => "known and unknown sources",
    };
    format!(
        "{:<16} {:>6} {:>8} {:>7} {:>7}  {interval}",
        t.target,
        grouped_count(t.runs.into()),
        percent(t.mape),
        percent(t.median_ape),
        t.log_r2.map_or_else(|| "-".into(), |r| format!("{r:.3}")),
    )
}
