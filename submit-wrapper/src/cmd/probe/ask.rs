//! The requests that probes are planned for: wishes, and what was served.

use std::collections::{BTreeMap, BTreeSet};

use model_store::advisor::{Pins, Request};
use model_store::config::Config;
use model_store::consult::consult_snapshot;
use model_store::options::{RawOptions, shorten};
use model_store::probe::{Asked, MOST_VOTES, vote};
use model_store::snapshot::Snapshot;
use model_store::store::Store;
use model_store::wish;

use crate::cmd::ingest::wishes::key;
use crate::{clock, exit};

/// Requests older than this, s, do not count.
pub(super) const WINDOW: i64 = 90 * 86_400;
/// Names of unknown models that are told.
const MOST_UNKNOWN: usize = 20;

/// All requests, those with most votes first.
#[derive(Default)]
pub(super) struct Requests {
    /// What they ask.
    pub(super) asked: Vec<Asked>,
    /// Their options as JSON, by key.
    pub(super) texts: BTreeMap<String, String>,
    /// The name under which the engine is given the model, by key.
    pub(super) served: BTreeMap<String, String>,
    /// How many were refused or explored.
    pub(super) wishes: usize,
    /// Models that nobody here knows.
    pub(super) unknown: BTreeSet<String>,
}

/// A request with how often each user made it.
#[derive(Default)]
struct Votes {
    options: RawOptions,
    is_wish: bool,
    users: BTreeMap<u32, u32>,
}

/// Gathers them.
///
/// # Errors
/// A store that cannot be read, or a snapshot without GPUs.
pub(super) fn requests(
    config: &Config,
    snapshot: &Snapshot,
    store: &Store,
) -> anyhow::Result<Requests> {
    let since = clock::now() - WINDOW;
    let (mut votes, mut out) = (BTreeMap::new(), Requests::default());
    for wish in store.wishes(since).map_err(exit::store)? {
        let pairs: BTreeMap<String, String> =
            serde_json::from_str(&wish.request).unwrap_or_default();
        if let Ok(options) = wish::raw(&pairs) {
            add(
                config,
                snapshot,
                &mut votes,
                &mut out,
                options,
                true,
                &wish.asked,
            );
        }
    }
    for past in store.past_requests(since).map_err(exit::store)? {
        let options = RawOptions {
            model: Some(past.model),
            isl: past.isl,
            osl: past.osl,
            concurrency: past.concurrency,
            ..RawOptions::default()
        };
        let by = BTreeMap::from([(past.uid, past.jobs)]);
        add(config, snapshot, &mut votes, &mut out, options, false, &by);
    }
    for demand in store.demand(since).map_err(exit::store)? {
        let options = RawOptions {
            model: Some(demand.model).filter(|m| !m.is_empty()),
            ..RawOptions::default()
        };
        let by = BTreeMap::from_iter(demand.job.uid.map(|uid| (uid, 1)));
        add(config, snapshot, &mut votes, &mut out, options, false, &by);
    }
    weigh(config, snapshot, votes, &mut out)?;
    Ok(out)
}

/// Counts a request under the name by which its model is run.
fn add(
    config: &Config,
    snapshot: &Snapshot,
    votes: &mut BTreeMap<String, Votes>,
    out: &mut Requests,
    mut options: RawOptions,
    is_wish: bool,
    by: &BTreeMap<u32, u32>,
) {
    let Some(named) = options.model.take() else {
        return;
    };
    let Some(served) = served(config, snapshot, &named) else {
        if is_wish && out.unknown.len() < MOST_UNKNOWN {
            out.unknown.insert(shorten(&named));
        }
        return;
    };
    options.model = Some(served);
    let Ok(text) = serde_json::to_string(&wish::pairs(&options)) else {
        return;
    };
    let entry = votes.entry(text).or_default();
    entry.options = options;
    entry.is_wish |= is_wish;
    for (uid, times) in by {
        let count = entry.users.entry(*uid).or_default();
        *count = count.saturating_add(*times);
    }
}

/// The name under which a model is run: the site's own, or that of the catalogue. What a user typed never is: weights of his choice
/// would run under the account that probes.
fn served(config: &Config, snapshot: &Snapshot, named: &str) -> Option<String> {
    let own = config
        .model
        .keys()
        .find(|name| name.eq_ignore_ascii_case(named));
    let known = || {
        snapshot
            .body
            .catalogue
            .find(named)
            .map(|card| card.name.clone())
    };
    own.cloned()
        .or_else(|| known().filter(|_| !named.starts_with(['/', '.'])))
}

/// Each user's votes, at most so many together; then the requests in order.
fn weigh(
    config: &Config,
    snapshot: &Snapshot,
    votes: BTreeMap<String, Votes>,
    out: &mut Requests,
) -> anyhow::Result<()> {
    let mut of_user: BTreeMap<u32, f64> = BTreeMap::new();
    for v in votes.values() {
        for (uid, times) in &v.users {
            *of_user.entry(*uid).or_default() += vote(*times);
        }
    }
    let share = |uid: &u32| {
        of_user
            .get(uid)
            .map_or(1.0, |all| (MOST_VOTES / all).min(1.0))
    };
    let mut all: Vec<(Asked, String, bool)> = Vec::new();
    for (text, v) in votes {
        let weight = v
            .users
            .iter()
            .map(|(uid, times)| vote(*times) * share(uid))
            .sum();
        let request = request(config, snapshot, &v.options)?;
        let asked = Asked {
            key: key(&text),
            request,
            weight,
        };
        all.push((asked, text, v.is_wish));
    }
    all.sort_by(|(a, ..), (b, ..)| b.weight.total_cmp(&a.weight).then(a.key.cmp(&b.key)));
    out.wishes = all.iter().filter(|(.., is_wish)| *is_wish).count();
    for (asked, text, _) in all {
        let pairs: BTreeMap<String, String> = serde_json::from_str(&text)?;
        let name = pairs.get("llm-model").cloned().unwrap_or_default();
        out.served.insert(asked.key.clone(), name);
        out.texts.insert(asked.key.clone(), text);
        out.asked.push(asked);
    }
    Ok(())
}

fn request(config: &Config, snapshot: &Snapshot, options: &RawOptions) -> anyhow::Result<Request> {
    let cluster = &snapshot.body.cluster;
    consult_snapshot(snapshot, cluster, config, options, &Pins::default())
        .map(|consulted| consulted.request)
        .map_err(|fault| exit::fail(fault.reason, fault.hint))
}
