//! Configuration, store, snapshot and spool: there, readable by whom they have to be, and fresh.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use model_store::advisor::words::count_of;
use model_store::config::{Config, DEFAULT_PATH};
use model_store::snapshot::Snapshot;
use model_store::store::Store;

use super::{Seen, ago, span};
use crate::site::SiteArgs;
use crate::{clock, publish, shared_folder};

/// An observation older than this, s, no longer says what is free; the timer brings one each five minutes.
const STALE_OBSERVATION: i64 = 3600;
/// A model older than this, s: `train --if-needed` replaces one after seven days.
const STALE_MODEL: i64 = 15 * 86_400;
/// An outcome file that waits longer than this, s, was not fetched; the timer comes each five minutes.
const STALE_OUTCOME: i64 = 6 * 3600;

pub(super) fn check(site: &SiteArgs, seen: &mut Seen) {
    configuration(site, seen);
    let Some(config) = seen.config.clone() else {
        for check in ["store", "snapshot", "spool", "disk"] {
            seen.skipped(check, "there is no configuration that names it");
        }
        return;
    };
    store(&config, seen);
    snapshot(&config, seen);
    spool(&config, seen);
    super::disk::check(&config, seen);
}

fn configuration(site: &SiteArgs, seen: &mut Seen) {
    let path = site.file().unwrap_or_else(|| DEFAULT_PATH.into());
    let config = match site.config() {
        Ok(config) => config,
        Err(e) => {
            let hint = if path.exists() {
                "the line is named above; `/usr/share/doc/omnipilot/examples/omnipilot.toml` explains every key"
            } else {
                "`omnipilot setup` writes one"
            };
            return seen.error("configuration", format!("{e:#}"), hint);
        }
    };
    seen.config = Some(config);
    if let Some(store) = site.store.as_ref().filter(|_| site.config.is_none()) {
        return seen.skipped(
            "configuration",
            format!("`--store {}` reads none", store.display()),
        );
    }
    if let Some((why, hint)) = unreachable(&path) {
        return seen.error(
            "configuration",
            format!("{why}, so jobs of users go as they were written"),
            hint,
        );
    }
    match fs::metadata(&path).map(|m| m.mode() & 0o022) {
        Ok(0) | Err(_) => seen.ok("configuration", path.display().to_string()),
        Ok(_) => seen.error(
            "configuration",
            format!(
                "{} can be written by more than its owner, who decide what everybody is advised",
                path.display()
            ),
            format!("`chmod go-w {}`", path.display()),
        ),
    }
}

/// Why other users cannot read a path, by the first part of it that is closed to them, and the command that opens this part.
pub(super) fn unreachable(path: &Path) -> Option<(String, String)> {
    let path = fs::canonicalize(path).ok()?;
    let lacks = |p: &Path, bit: u32| {
        let mode = fs::metadata(p).ok()?.permissions().mode() & 0o7777;
        (mode & bit == 0).then_some(mode)
    };
    let told = |part: &Path, verb: &str, mode: u32| {
        let part = part.display();
        let why = format!("other users cannot {verb} {part} (mode {mode:o})");
        (why, format!("`chmod o+rX {part}`"))
    };
    let folders: Vec<&Path> = path.ancestors().skip(1).collect();
    let closed = |folder: &&Path| Some(told(folder, "enter", lacks(folder, 0o001)?));
    let closed = folders.iter().rev().find_map(closed);
    closed.or_else(|| Some(told(&path, "read", lacks(&path, 0o004)?)))
}

fn store(config: &Config, seen: &mut Seen) {
    let path = &config.store;
    let counts = Store::open(path).and_then(|store| Ok((store.counts()?, store.count()?)));
    let (counts, all) = match counts {
        Ok(found) => found,
        Err(e) => return seen.error("store", e.to_string(), e.hint()),
    };
    if written_by_others(path.parent()) {
        return seen.error(
            "store",
            format!(
                "every user may write to the folder of {}, and so decide what all are advised",
                path.display()
            ),
            "`chmod o-w` that folder; the service account alone needs to write there",
        );
    }
    let own: u64 = counts
        .iter()
        .filter(|c| c.origin == model_store::advisor::Origin::ThisCluster)
        .map(|c| c.runs)
        .sum();
    let words = format!(
        "{}: {}, {own} of this cluster",
        path.display(),
        count_of(all, "run")
    );
    if all == 0 {
        return seen.error(
            "store",
            words,
            "`omnipilot init` adds the published figures",
        );
    }
    seen.ok("store", words);
}

fn written_by_others(folder: Option<&Path>) -> bool {
    folder
        .and_then(|f| fs::metadata(f).ok())
        .is_some_and(|m| m.mode() & 0o002 != 0)
}

fn snapshot(config: &Config, seen: &mut Seen) {
    let path = &config.snapshot;
    let found = match Snapshot::read(path) {
        Ok(found) => found,
        Err(e) => {
            let hint =
                "`omnipilot train` publishes one; until then tagged jobs go as they were written";
            return seen.error("snapshot", e.to_string(), hint);
        }
    };
    if let Some((why, hint)) = unreachable(path) {
        seen.error("snapshot", format!("{why}, so they get no advice"), hint);
    } else if written_by_others(path.parent()) {
        let hint = "`chmod o-w` its folder; the service account alone needs to write there";
        seen.error("snapshot", "every user may replace it", hint);
    }
    let now = clock::now();
    let bytes = fs::metadata(path).map_or(0, |m| m.len());
    let age = model_age(config, &found, now);
    let words = format!(
        "{}: {}, {} KB, model of {}",
        path.display(),
        found.id,
        bytes / 1024,
        ago(age)
    );
    let hint = "`omnipilot train --if-needed` in a timer replaces it each week";
    seen.aged("snapshot", words, age, STALE_MODEL, hint);
    observation(&found, now, seen);
    seen.snapshot = Some(found);
}

/// When the model in it was trained; a snapshot that an observation made is younger than its model.
fn model_age(config: &Config, snapshot: &Snapshot, now: i64) -> i64 {
    let trained = Store::open(&config.store).ok().and_then(|store| {
        let root = publish::root_of(&store, &snapshot.id).ok()?;
        Some(store.model(&root).ok()??.created_at)
    });
    now - trained.unwrap_or(snapshot.created_at)
}

fn observation(found: &Snapshot, now: i64, seen: &mut Seen) {
    let hint =
        "`omnipilot observe` asks Slurm; `omnipilot-observe.timer` does so each five minutes";
    match found.body.cluster.observed_at {
        None if found.body.cluster.pools.is_empty() => seen.error(
            "observation",
            "the snapshot knows no GPU of this cluster",
            hint,
        ),
        None => seen.warning(
            "observation",
            "the GPUs were stated (`--gpus`) and not asked of Slurm",
            hint,
        ),
        Some(at) => {
            let age = now - at;
            let words = format!("nodes and queue were looked at {}", ago(age));
            seen.aged("observation", words, age, STALE_OBSERVATION, hint);
        }
    }
}

fn spool(config: &Config, seen: &mut Seen) {
    let path = &config.spool;
    let data = match fs::metadata(path) {
        Ok(data) if data.is_dir() => data,
        Ok(_) => {
            let hint = "move it away; `omnipilot init` makes the folder";
            return seen.error("spool", format!("{} is no folder", path.display()), hint);
        }
        Err(e) => {
            let words = format!("{}: {e}", path.display());
            return seen.error("spool", words, "`omnipilot init` makes it");
        }
    };
    let mode = data.permissions().mode() & 0o7777;
    if let Some(wrong) = shared_folder::wrong(&data) {
        let (right, path) = (shared_folder::MODE, path.display());
        return seen.error(
            "spool",
            format!("{path} has mode {mode:o}, not {right:o}: {wrong}"),
            format!("`omnipilot setup`, or `chmod {right:o} {path}` with the service account's group on it"),
        );
    }
    if let Some((why, hint)) = unreachable(path) {
        return seen.error("spool", why, hint);
    }
    let (files, oldest) = waiting(path);
    let words = format!("{}: {} waiting", path.display(), count_of(files, "file"));
    if oldest > STALE_OUTCOME {
        return seen.warning(
            "spool",
            format!("{words}, the oldest for {}", span(oldest)),
            "`omnipilot ingest` fetches them and says why one has to wait; `omnipilot-ingest.timer` does so each five minutes",
        );
    }
    seen.ok("spool", words);
}

/// Outcome files that wait, and the age of the oldest, s; the first 100,000 are looked at.
fn waiting(spool: &Path) -> (usize, i64) {
    let listed = fs::read_dir(spool).into_iter().flatten().flatten();
    let outcome = |name: &str| name.ends_with(".json") && !name.starts_with('.');
    let ages: Vec<i64> = listed
        .take(100_000)
        .filter(|e| outcome(&e.file_name().to_string_lossy()))
        .filter_map(|e| e.metadata().ok())
        .map(|m| age(&m))
        .collect();
    (ages.len(), ages.into_iter().max().unwrap_or(0))
}

fn age(data: &Metadata) -> i64 {
    let now = SystemTime::now();
    let since = data
        .modified()
        .ok()
        .and_then(|m| now.duration_since(m).ok());
    since.map_or(0, |s| i64::try_from(s.as_secs()).unwrap_or(i64::MAX))
}
