//! Snapshots that were published once, from what the store keeps of them.

use std::path::Path;

use model_store::advisor::hashing::hex;
use model_store::snapshot::{Body, Snapshot};
use model_store::store::Store;

/// What a record keeps of a snapshot that was made of a trained one, as text: all but its model.
pub(crate) fn site(body: &Body) -> String {
    hex(&body.site())
}

/// What a record keeps of what accounting said: all of it where that is another than in the snapshot
/// before, else whose record has it.
pub(crate) fn accounting(store: &Store, before: &Snapshot, now: &Body) -> (&'static str, String) {
    let bytes = now.accounting();
    if bytes != before.body.accounting() {
        return (ACCOUNTING, hex(&bytes));
    }
    let record = store.model(&before.id).ok().flatten();
    let metrics = record.map(|r| serde_json::from_str::<serde_json::Value>(&r.metrics));
    let from = metrics.and_then(|m| Some(m.ok()?[ACCOUNTING_FROM].as_str()?.to_owned()));
    (ACCOUNTING_FROM, from.unwrap_or_else(|| before.id.clone()))
}

const ACCOUNTING: &str = "accounting";
const ACCOUNTING_FROM: &str = "accounting_from";

/// What accounting said when this record was made.
fn accounting_of(store: &Store, metrics: &serde_json::Value) -> Option<Vec<u8>> {
    if let Some(text) = metrics[ACCOUNTING].as_str() {
        return unhex(text);
    }
    let from = metrics[ACCOUNTING_FROM].as_str()?;
    if let Some(bytes) = store.model_snapshot(from).ok()? {
        let snapshot = Snapshot::decode(Path::new("the store's snapshot"), &bytes).ok()?;
        return Some(snapshot.body.accounting());
    }
    let record = store.model(from).ok()??;
    let metrics: serde_json::Value = serde_json::from_str(&record.metrics).ok()?;
    unhex(metrics[ACCOUNTING].as_str()?)
}

/// A snapshot that was published, by its id: as `train` kept it, or from that model and what
/// an observation recorded. `None` where the store has not enough of it.
pub(crate) fn published_before(store: &Store, id: &str) -> Option<Snapshot> {
    let record = store.model(id).ok()??;
    let metrics: serde_json::Value = serde_json::from_str(&record.metrics).unwrap_or_default();
    let model = with_bytes(store, id)?;
    let body = match metrics["site"].as_str() {
        Some(site) => model.body.with_site(&unhex(site)?)?,
        None => model.body,
    };
    let body = match accounting_of(store, &metrics) {
        Some(accounting) => body.with_accounting(&accounting)?,
        None => body,
    };
    Some(Snapshot::new(body, record.created_at)).filter(|s| s.id == id)
}

/// The kept snapshot that an id goes back to, over the observations in between.
fn with_bytes(store: &Store, id: &str) -> Option<Snapshot> {
    const MOST_OBSERVATIONS: usize = 100_000;
    let mut id = id.to_owned();
    for _ in 0..MOST_OBSERVATIONS {
        if let Some(bytes) = store.model_snapshot(&id).ok()? {
            return Snapshot::decode(Path::new("the store's snapshot"), &bytes).ok();
        }
        let record = store.model(&id).ok()??;
        let metrics: serde_json::Value = serde_json::from_str(&record.metrics).ok()?;
        id = metrics["republished_from"].as_str()?.to_owned();
    }
    None
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks_exact(2);
    let of = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(of).collect()
}
