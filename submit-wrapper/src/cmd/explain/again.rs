//! The snapshot behind an advice that was given: found by the advice's id, which is a hash over
//! the snapshot's name, the GPU types in reach and the request.

use model_store::advisor::advise::{id_of, prices_text};
use model_store::advisor::{Bars, ClusterState, QueueWaits, Request, SiteGpu};
use model_store::config::Config;
use model_store::snapshot::Snapshot;
use model_store::store::Store;
use serde::Serialize;

use crate::kept::published_before;

/// How an advice that is made again relates to the one that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Again {
    /// The same snapshot, request and reach: the same advice.
    Same,
    /// The snapshot that gave it is known by name and its content is not kept here.
    OtherSnapshot,
    /// Nothing that is known here gives this id: another snapshot, or options that are not in
    /// what was read.
    NotFound,
}

/// Most GPU types of which every selection is tried.
const MOST_TYPES: usize = 8;

/// Most published snapshots that are tried.
pub(super) const MOST_SNAPSHOTS: usize = 500;

/// What an advice was, or would be, made from.
pub(crate) struct Basis {
    pub(super) snapshot: Snapshot,
    /// The part of the cluster in reach.
    pub(super) cluster: ClusterState,
    /// When ages were judged, Unix seconds; `None` = now.
    pub(super) judged_at: Option<i64>,
    /// What the job could not be started on.
    pub(super) bars: Bars,
    /// What GPU types cost where it may run; `None` for what they cost anywhere.
    pub(super) gpus: Option<Vec<SiteGpu>>,
}

/// The snapshot and the part of its cluster that give this id, else what is published now.
pub(super) fn made_again(
    config: &Config,
    now: Basis,
    request: &Request,
    id: &str,
    named: Option<&str>,
) -> (Basis, Again) {
    let store = Store::open(&config.store).ok();
    let mut names: Vec<String> = named.map(str::to_owned).into_iter().collect();
    names.push(now.snapshot.id.clone());
    let kept = store.as_ref().and_then(|s| s.models().ok());
    names.extend(
        kept.into_iter()
            .flatten()
            .map(|m| m.id)
            .take(MOST_SNAPSHOTS),
    );
    let beside = beside(&now.bars, now.gpus.as_deref());
    let Some(found) = find(&names, &now.snapshot.body.cluster, request, &beside, id) else {
        return (now, Again::NotFound);
    };
    let snapshot = if found.snapshot == now.snapshot.id {
        Some(now.snapshot.clone())
    } else {
        store.and_then(|s| published_before(&s, &found.snapshot))
    };
    let Some(snapshot) = snapshot else {
        return (now, Again::OtherSnapshot);
    };
    let mut cluster = snapshot.body.cluster.clone();
    cluster.pools.retain(|p| found.types.contains(&p.gres));
    let too_old = i64::from(found.stale) * (QueueWaits::LONGEST_AGE_S + 1);
    let judged_at = cluster.waits.as_ref().map(|w| w.as_of + too_old);
    let basis = Basis {
        snapshot,
        cluster,
        judged_at,
        bars: now.bars,
        gpus: now.gpus,
    };
    (basis, Again::Same)
}

/// What stands behind the request in what an id is a hash of.
pub(super) fn beside(bars: &Bars, gpus: Option<&[SiteGpu]>) -> String {
    bars.text() + &gpus.map(prices_text).unwrap_or_default()
}

/// What an id turned out to be made of.
pub(super) struct Found {
    snapshot: String,
    /// GPU types in reach.
    types: Vec<String>,
    /// True where the queue waits were too old.
    stale: bool,
}

pub(super) fn find(
    names: &[String],
    cluster: &ClusterState,
    request: &Request,
    beside: &str,
    id: &str,
) -> Option<Found> {
    let text = serde_json::to_string(request).ok()? + beside;
    let all: Vec<&str> = cluster.pools.iter().map(|p| p.gres.as_str()).collect();
    let selections = selections(&all);
    let mut tries = names.iter().flat_map(|name| {
        let of_types = move |types| [false, true].map(|stale| (name, types, stale));
        selections.iter().flat_map(of_types)
    });
    let (name, types, stale) =
        tries.find(|(name, types, stale)| id_of(name, types, *stale, &text) == id)?;
    Some(Found {
        snapshot: name.clone(),
        types: types.iter().map(|t| (*t).to_owned()).collect(),
        stale,
    })
}

/// Every selection of the types in their order, all of them first; of very many types all alone.
fn selections<'a>(all: &[&'a str]) -> Vec<Vec<&'a str>> {
    if all.len() > MOST_TYPES {
        return vec![all.to_vec()];
    }
    let of = |mask: u32| {
        let chosen = all.iter().enumerate();
        let chosen = chosen.filter(|(i, _)| mask >> i & 1 == 1);
        chosen.map(|(_, name)| *name).collect()
    };
    (1..1u32 << all.len()).rev().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::selections;

    #[test]
    fn all_types_come_first_and_each_selection_once() {
        let found = selections(&["a", "b", "c"]);
        assert_eq!(found.len(), 7);
        assert_eq!(found[0], ["a", "b", "c"]);
        assert!(found.contains(&vec!["a", "c"]) && found.contains(&vec!["b"]));
    }
}
