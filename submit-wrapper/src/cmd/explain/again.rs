//! The snapshot behind an advice that was given: found by the advice's id, which is a hash over
//! the snapshot's name, the GPU types in reach and the request.

use std::path::Path;

use model_store::advisor::advise::id_of;
use model_store::advisor::{ClusterState, Request};
use model_store::config::Config;
use model_store::snapshot::Snapshot;
use model_store::store::Store;
use serde::Serialize;

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
const MOST_SNAPSHOTS: usize = 500;

/// The snapshot and the part of its cluster that give this id, else what is published now.
pub(super) fn made_again(
    config: &Config,
    published: Snapshot,
    cluster: ClusterState,
    request: &Request,
    id: &str,
    named: Option<&str>,
) -> (Snapshot, ClusterState, Again) {
    let store = Store::open(&config.store).ok();
    let mut names: Vec<String> = named.map(str::to_owned).into_iter().collect();
    names.push(published.id.clone());
    let kept = store.as_ref().and_then(|s| s.models().ok());
    names.extend(
        kept.into_iter()
            .flatten()
            .map(|m| m.id)
            .take(MOST_SNAPSHOTS),
    );
    let Some((name, types)) = find(&names, &published.body.cluster, request, id) else {
        return (published, cluster, Again::NotFound);
    };
    let found = if name == published.id {
        Some(published.clone())
    } else {
        let bytes = store.and_then(|s| s.model_snapshot(&name).ok().flatten());
        bytes.and_then(|b| Snapshot::decode(Path::new("the store's snapshot"), &b).ok())
    };
    match found {
        Some(snapshot) => {
            let mut reached = snapshot.body.cluster.clone();
            reached.pools.retain(|p| types.contains(&p.gres));
            (snapshot, reached, Again::Same)
        }
        None => (published, cluster, Again::OtherSnapshot),
    }
}

/// The snapshot's name and the GPU types in reach that make this id.
fn find(
    names: &[String],
    cluster: &ClusterState,
    request: &Request,
    id: &str,
) -> Option<(String, Vec<String>)> {
    let text = serde_json::to_string(request).ok()?;
    let all: Vec<&str> = cluster.pools.iter().map(|p| p.gres.as_str()).collect();
    let tries = names.iter().flat_map(|name| {
        let selections = selections(&all).into_iter();
        selections.flat_map(move |types| [false, true].map(|stale| (name, types.clone(), stale)))
    });
    let mut tries = tries;
    tries
        .find(|(name, types, stale)| id_of(name, types, *stale, &text) == id)
        .map(|(name, types, _)| (name.clone(), types.into_iter().map(str::to_owned).collect()))
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
