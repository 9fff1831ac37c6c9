//! Slurm's accounting: without it no outcome is believed.

use super::{Seen, ago, span};
use crate::clock;
use crate::slurm::accounting;
use model_store::advisor::words::count_of;
use model_store::store::Store;

/// `ingest` reads accounting at each call; its timer comes each five minutes.
const STALE: i64 = 3600;

pub(super) fn check(seen: &mut Seen) {
    let Some(slurm) = seen.slurm.clone() else {
        return seen.skipped("accounting", "Slurm does not answer");
    };
    let kind = slurm.get("AccountingStorageType").unwrap_or("none");
    if !kind.contains("slurmdbd") {
        return seen.error(
            "accounting",
            format!("AccountingStorageType is {kind}, so no outcome of a job is believed, and nothing is learnt"),
            "set `AccountingStorageType=accounting_storage/slurmdbd` in slurm.conf",
        );
    }
    match accounting::answers() {
        Ok(()) => seen.ok("accounting", format!("{kind}, `sacct` answers")),
        Err(e) => seen.error("accounting", e.to_string(), e.hint()),
    }
    if slurm.has("AccountingStoreFlags", "job_comment") {
        seen.ok("job comments", "AccountingStoreFlags has job_comment");
    } else {
        let flags = slurm.get("AccountingStoreFlags").unwrap_or("none");
        seen.warning(
            "job comments",
            format!("AccountingStoreFlags is {flags}: without job_comment the advice that a job went by is not in accounting"),
            "set `AccountingStoreFlags=job_comment` (with what is there) in slurm.conf and `scontrol reconfigure`",
        );
    }
    gpu_tres(seen, &slurm);
    freshness(seen);
}

/// GPU types come from `AllocTRES`, which names only what is tracked.
fn gpu_tres(seen: &mut Seen, slurm: &crate::slurm::conf::SlurmConf) {
    let pools = seen.snapshot.as_ref().map(|s| &s.body.cluster.pools);
    let types: Vec<String> = pools
        .into_iter()
        .flatten()
        .map(|p| p.gres.clone())
        .collect();
    let missing: Vec<String> = types
        .iter()
        .map(|t| format!("gres/gpu:{t}"))
        .filter(|t| !slurm.has("AccountingStorageTRES", t))
        .collect();
    if types.is_empty() {
        return seen.skipped("gpu accounting", "the snapshot knows no GPU types");
    }
    if missing.is_empty() {
        let words = format!(
            "AccountingStorageTRES has all of {}",
            count_of(types.len(), "GPU type")
        );
        return seen.ok("gpu accounting", words);
    }
    seen.error(
        "gpu accounting",
        format!(
            "AccountingStorageTRES lacks {} of {}, so outcomes on these are never taken",
            missing.len(),
            count_of(types.len(), "GPU type")
        ),
        format!(
            "add {} in slurm.conf and restart slurmctld",
            missing.join(",")
        ),
    );
}

/// Gaps of longer ago are history, s.
const GAP_TOLD: i64 = 14 * 86_400;
/// Longest time for which accounting is asked in vain before that is told, s: three rounds of the timer.
const IN_VAIN: i64 = 900;

fn freshness(seen: &mut Seen) {
    let Some(config) = &seen.config else { return };
    let read = Store::open(&config.store).and_then(|s| {
        let gaps = s.accounting_gaps()?;
        Ok((s.watermark("sacct")?, s.watermark("sacct-asked")?, gaps))
    });
    let now = clock::now();
    let hint = "`omnipilot ingest` does; `omnipilot-ingest.timer` does so each five minutes";
    let Ok((read_to, asked, gaps)) = read else {
        return; // said of the store already
    };
    match (read_to, asked) {
        (None, _) => seen.warning("ingestion", "accounting has never been read", hint),
        // It is asked and asked, and gets no further.
        (Some(at), Some(asked)) if asked - at > IN_VAIN => seen.warning(
            "ingestion",
            format!(
                "accounting was asked {} and has been read up to {} only",
                ago(now - asked),
                ago(now - at)
            ),
            "`omnipilot ingest` says what `sacct` answers",
        ),
        (Some(at), _) => {
            let age = now - at;
            let words = format!("accounting was read {}", ago(age));
            seen.aged("ingestion", words, age, STALE, hint);
        }
    }
    let recent: Vec<_> = gaps
        .iter()
        .filter(|gap| gap.noted_at > now - GAP_TOLD)
        .collect();
    if let Some(last) = recent.last() {
        let seconds: i64 = recent.iter().map(|gap| gap.until - gap.since).sum();
        seen.warning(
            "ingestion",
            format!(
                "{} of accounting passed over as it could not be read, last the {} until {}: {}",
                span(seconds),
                span(last.until - last.since),
                ago(now - last.until),
                last.reason
            ),
            "waits, launches and demand of that time are not learnt from; outcome files are taken all the same",
        );
    }
}
