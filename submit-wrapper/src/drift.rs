//! What runs since the last training say of the published intervals, and wider ones at once.

use std::path::Path;

use model_store::advisor::Run;
use model_store::advisor::drift::{Drift, drifts, widen};
use model_store::advisor::model::Model;
use model_store::config::Config;
use model_store::snapshot::Snapshot;
use model_store::store::Store;
use serde_json::json;

use crate::{exit, publish};

/// Latest runs that are read; of these the latest of each group count.
const MOST: u32 = 20_000;

/// Compares the runs of this cluster that came in since the published model was trained with what
/// it says of them.
///
/// # Errors
/// A store that cannot be read.
pub(crate) fn look(config: &Config, store: &mut Store) -> anyhow::Result<Vec<Drift>> {
    Ok(found(config, store)?.map_or_else(Vec::new, |(_, drifts)| drifts))
}

/// Publishes the model anew with the intervals of drifted groups as wide as they have to be now.
/// Returns the groups that have drifted.
///
/// # Errors
/// A store or a snapshot that cannot be read or written.
pub(crate) fn follow(config: &Config, store: &mut Store) -> anyhow::Result<Vec<Drift>> {
    let Some((trained, all)) = found(config, store)? else {
        return Ok(Vec::new());
    };
    let mut model = trained;
    widen(&mut model, &all);
    let drifted: Vec<Drift> = all.into_iter().filter(|d| d.drifted).collect();
    let why = json!({ "drift": drifted });
    publish::republish(config, store, why, |body| {
        let changes = body.model != model;
        body.model = model;
        changes
    })?;
    Ok(drifted)
}

/// The published model as it was trained, and what recent runs say of it.
fn found(config: &Config, store: &mut Store) -> anyhow::Result<Option<(Model, Vec<Drift>)>> {
    let Some(champion) = publish::champion(config, store)? else {
        return Ok(None);
    };
    let bytes = store
        .model_snapshot(&champion.entry.id)
        .map_err(exit::store)?;
    let trained = bytes.and_then(|b| Snapshot::decode(Path::new(&champion.entry.id), &b).ok());
    let Some(trained) = trained else {
        return Ok(None);
    };
    let since = champion.entry.created_at;
    let mut recent: Vec<(Option<i64>, Run)> = store
        .stored_runs_here(since, MOST)
        .map_err(exit::store)?
        .into_iter()
        .map(|r| (r.ended, r.run))
        .collect();
    recent.sort_by(|a, b| (a.0, &a.1.run_id).cmp(&(b.0, &b.1.run_id)));
    let model = trained.body.model;
    let all = drifts(
        &model,
        &publish::catalogue(config)?,
        recent.iter().map(|(_, run)| run),
    );
    Ok(Some((model, all)))
}
