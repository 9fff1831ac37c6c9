//! From a model and what the site says of itself to the published snapshot.

mod lock;

use std::io;
use std::path::Path;

use model_store::advisor::model::Model;
use model_store::advisor::{Catalogue, ClusterState, Economy, Precision, Preferences};
use model_store::checkpoint_files;
use model_store::config::{Config, ModelEntry};
use model_store::slurm_view::SlurmView;
use model_store::snapshot::{Body, SiteModel, Snapshot};
use model_store::store::{ModelState, PublishedModel, Store};

use self::lock::lock;
use crate::clock::now;
use crate::prices::Priced;
use crate::{exit, kept, preferences};

/// By how much the clocks of a cluster's machines may differ, s: what munge takes.
pub(crate) const SKEW: i64 = 300;

/// Snapshots of trained models that are kept whatever their age.
const KEPT_SNAPSHOTS: usize = 20;
/// Snapshots younger than this, s, are kept, and what observations made of them is remembered.
const KEPT_FOR: i64 = 90 * 86_400;

/// A trained model that is to be published.
pub(crate) struct Draft {
    /// The model.
    pub(crate) model: Model,
    /// Runs that it was trained on.
    pub(crate) runs: u64,
    /// What was found about it, a JSON object.
    pub(crate) metrics: serde_json::Value,
    /// Its fit without the held-out cells.
    pub(crate) gate: Model,
    /// The champion that the gate held it against.
    pub(crate) champion: Option<String>,
}

/// Publishes a model with the cluster as it was last observed, and returns the snapshot and its
/// record. It is recorded before it is published, so that a command that is killed in between
/// leaves nothing published that the store does not know.
///
/// # Errors
/// Another champion than the one that the gate held it against, a `config.json` of the configuration
/// that cannot be read, a store that cannot be read or written, or a snapshot that cannot be written.
pub(crate) fn publish(
    config: &Config,
    draft: Draft,
    store: &mut Store,
) -> anyhow::Result<(Snapshot, PublishedModel)> {
    let _alone = lock(config)?;
    let now_published = champion(config, store)?.map(|c| c.entry.id);
    if let Some(id) = now_published.filter(|id| draft.champion.as_ref() != Some(id)) {
        return Err(exit::fail(
            format!(
                "model {id} was published meanwhile, and the gate did not hold this one against it"
            ),
            "`omnipilot train` does",
        ));
    }
    let body = body_of(config, draft.model, store)?;
    let snapshot = Snapshot::new(body, now());
    // One that no submission could read must not take the place of one that they can.
    Snapshot::decode(&config.snapshot, &snapshot.encode()).map_err(|e| {
        exit::fail(
            format!("what was trained cannot be read back, so it is not published: {e}"),
            "the former snapshot stands; `omnipilot models` shows it",
        )
    })?;
    let entry = entry(
        config,
        &snapshot,
        draft.runs,
        &draft.metrics,
        ModelState::Recorded,
    );
    let gate = as_gate(draft.gate);
    store
        .record_model(&entry, Some(&snapshot.encode()), Some(&gate))
        .map_err(exit::store)?;
    let snapshot = write(config, snapshot)?;
    settle(store, &snapshot.id)?;
    store
        .prune_models(KEPT_SNAPSHOTS, now() - KEPT_FOR, &snapshot.id)
        .map_err(exit::store)?;
    Ok((snapshot, entry))
}

/// Remembers a model that the gate has refused, without publishing it.
///
/// # Errors
/// As [`publish()`].
pub(crate) fn record_refused(
    config: &Config,
    draft: Draft,
    store: &mut Store,
) -> anyhow::Result<PublishedModel> {
    let snapshot = Snapshot::new(body_of(config, draft.model, store)?, now());
    let entry = entry(
        config,
        &snapshot,
        draft.runs,
        &draft.metrics,
        ModelState::Refused,
    );
    store
        .record_model(&entry, None, None)
        .map_err(exit::store)?;
    Ok(entry)
}

/// What is published: read only once the lock is held, for an `observe` may have come in between
/// while the model was trained.
fn body_of(config: &Config, model: Model, store: &Store) -> anyhow::Result<Body> {
    let mut cluster = store.cluster().map_err(exit::store)?.unwrap_or_default();
    let slurm = store.slurm_view().map_err(exit::store)?;
    cluster.waits = crate::waits::waits(store, &cluster, slurm.as_ref())?;
    let priced = Priced::of(config, &cluster, slurm.as_ref());
    let models = site_models(config)?;
    let mut body = Body {
        // It stays with the model when that is published anew: what was learnt from is told by it.
        catalogue: with_site(&models),
        model,
        gpus: priced.gpus,
        cluster,
        models,
        engine: config.engine.to_ascii_lowercase(),
        economy: priced.economy,
        preferences: Preferences::default(),
        slurm,
        prices: priced.source,
    };
    (body.preferences, body.economy.weights) = preferences::learned(&body, store)?;
    Ok(body)
}

/// What the site values: as configured, with the weights that `train` learnt where it may.
fn economy(configured: Economy, old: &Body) -> Economy {
    let learnt = old.preferences.used && configured.learn;
    Economy {
        weights: if learnt {
            old.economy.weights
        } else {
            configured.weights
        },
        ..configured
    }
}

fn entry(
    config: &Config,
    snapshot: &Snapshot,
    runs: u64,
    metrics: &serde_json::Value,
    state: ModelState,
) -> PublishedModel {
    PublishedModel {
        id: snapshot.id.clone(),
        created_at: snapshot.created_at,
        runs,
        path: config.snapshot.display().to_string(),
        bytes: snapshot.encode().len() as u64,
        metrics: metrics.to_string(),
        state,
    }
}

/// The fit for the gate as the store keeps it: checked when it is read, and of a stated form.
fn as_gate(model: Model) -> Vec<u8> {
    let body = Body {
        model,
        ..Body::default()
    };
    Snapshot::new(body, 0).encode()
}

/// The model whose successors are held against it: the one that is published now.
pub(crate) struct Champion {
    /// Its record; of one that was published anew, that of the model in it.
    pub(crate) entry: PublishedModel,
    /// Its fit for the gate; `None` where it was not kept or has another form.
    pub(crate) gate: Option<Model>,
}

/// The champion; `None` where nothing is published that the store knows. A model that was published
/// by a command which was killed before it could say so is said to be published now.
///
/// # Errors
/// A store that cannot be read or written.
pub(crate) fn champion(config: &Config, store: &mut Store) -> anyhow::Result<Option<Champion>> {
    let Ok(published) = Snapshot::read(&config.snapshot) else {
        return Ok(None);
    };
    settle(store, &published.id)?;
    let root = root_of(store, &published.id)?;
    let Some(entry) = store.model(&root).map_err(exit::store)? else {
        return Ok(None);
    };
    let gate = gate_of(store, &root)?;
    Ok(Some(Champion { entry, gate }))
}

/// The fit for the gate of a recorded model.
///
/// # Errors
/// A store that cannot be read.
pub(crate) fn gate_of(store: &Store, id: &str) -> anyhow::Result<Option<Model>> {
    let bytes = store.model_gate(id).map_err(exit::store)?;
    let decode = |b: Vec<u8>| Snapshot::decode(Path::new(id), &b).ok();
    Ok(bytes.and_then(decode).map(|snapshot| snapshot.body.model))
}

fn settle(store: &mut Store, id: &str) -> anyhow::Result<()> {
    let known = store.model(id).map_err(exit::store)?;
    if known.is_some_and(|m| m.state == ModelState::Recorded) {
        store
            .set_model_state(id, ModelState::Published)
            .map_err(exit::store)?;
    }
    Ok(())
}

/// The trained model that a snapshot is made of: itself, or the one that it names.
///
/// # Errors
/// A store that cannot be read.
pub(crate) fn root_of(store: &Store, id: &str) -> anyhow::Result<String> {
    let entry = store.model(id).map_err(exit::store)?;
    let metrics = entry.and_then(|m| serde_json::from_str::<serde_json::Value>(&m.metrics).ok());
    let root = metrics.and_then(|m| Some(m.get("republished_from")?.as_str()?.to_owned()));
    Ok(root.unwrap_or_else(|| id.to_owned()))
}

/// Publishes the current model anew with another state of the cluster. `false` where nothing has
/// been published yet.
///
/// # Errors
/// A published file that is not a snapshot, or a file or store that cannot be written.
pub(crate) fn republish_cluster(
    config: &Config,
    cluster: &ClusterState,
    view: Option<&SlurmView>,
    store: &mut Store,
) -> anyhow::Result<bool> {
    let why = serde_json::json!({ "observed_at": cluster.observed_at });
    republish(config, store, why, |body| {
        body.cluster = cluster.clone();
        body.slurm = view.cloned();
        true
    })
}

/// Publishes the current snapshot anew with a change, and records it: an advice names the snapshot
/// that it came from. `false` where nothing has been published yet, or nothing has changed. The lock
/// is held from reading to renaming, so that what `train` publishes meanwhile is not replaced by the
/// model before it.
///
/// # Errors
/// As [`republish_cluster`].
pub(crate) fn republish(
    config: &Config,
    store: &mut Store,
    metrics: serde_json::Value,
    change: impl FnOnce(&mut Body) -> bool,
) -> anyhow::Result<bool> {
    if !config.snapshot.exists() {
        return Ok(false);
    }
    let _alone = lock(config)?;
    let old = Snapshot::read(&config.snapshot)
        .map_err(|e| exit::fail(e.to_string(), "`omnipilot train` publishes it anew"))?;
    let mut body = old.body.clone();
    if !change(&mut body) {
        return Ok(false);
    }
    let priced = Priced::of(config, &body.cluster, body.slurm.as_ref());
    body.gpus = priced.gpus;
    body.prices = priced.source;
    body.models = site_models(config)?;
    body.engine = config.engine.to_ascii_lowercase();
    body.economy = economy(priced.economy, &body);
    let snapshot = Snapshot::new(body, now());
    // The same content has the same id, and its record may hold the snapshot's bytes.
    if snapshot.id != old.id {
        let root = root_of(store, &old.id)?;
        record_anew(config, store, &snapshot, &root, Some(&old), metrics)?;
        write(config, snapshot)?;
    }
    Ok(true)
}

/// Publishes a recorded model again, with the cluster as it was last observed.
///
/// # Errors
/// A model whose snapshot was not kept, or as [`publish()`].
pub(crate) fn bring_back(config: &Config, store: &mut Store, id: &str) -> anyhow::Result<Snapshot> {
    let _alone = lock(config)?;
    let root = root_of(store, id)?;
    let bytes = store
        .model_snapshot(&root)
        .map_err(exit::store)?
        .ok_or_else(|| {
            exit::fail(
                format!("the snapshot of model {id} was not kept"),
                "`omnipilot models` shows which were; `omnipilot train` makes a new one",
            )
        })?;
    let kept = Snapshot::decode(Path::new(&root), &bytes).map_err(|e| {
        exit::fail(
            e.to_string(),
            "`omnipilot train` makes a model that this version reads",
        )
    })?;
    let snapshot = Snapshot::new(body_of(config, kept.body.model, store)?, now());
    // Its own training may have been killed before it could say so.
    store
        .set_model_state(&root, ModelState::Published)
        .map_err(exit::store)?;
    let metrics = serde_json::json!({ "rolled_back": true });
    record_anew(config, store, &snapshot, &root, None, metrics)?;
    write(config, snapshot)
}

/// Records a snapshot that was made of a trained one, unless it is what a training made: two may be
/// alike, and the record of a training says more.
fn record_anew(
    config: &Config,
    store: &mut Store,
    snapshot: &Snapshot,
    root: &str,
    before: Option<&Snapshot>,
    mut metrics: serde_json::Value,
) -> anyhow::Result<()> {
    let known = store.model(&snapshot.id).map_err(exit::store)?.is_some();
    if known && root_of(store, &snapshot.id)? == snapshot.id {
        return store
            .set_model_state(&snapshot.id, ModelState::Published)
            .map_err(exit::store);
    }
    metrics["republished_from"] = root.into();
    metrics["site"] = kept::site(&snapshot.body).into();
    let nothing = Snapshot::default();
    let (key, value) = kept::accounting(store, before.unwrap_or(&nothing), &snapshot.body);
    metrics[key] = value.into();
    let trained = store.model(root).map_err(exit::store)?;
    let runs = trained.map_or(0, |m| m.runs);
    let entry = entry(config, snapshot, runs, &metrics, ModelState::Published);
    store.record_model(&entry, None, None).map_err(exit::store)
}

fn write(config: &Config, snapshot: Snapshot) -> anyhow::Result<Snapshot> {
    snapshot
        .publish(&config.snapshot)
        .map_err(|e| cannot_publish(config, &e))?;
    Ok(snapshot)
}

fn cannot_publish(config: &Config, error: &io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "free some space there; the former snapshot stands"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "its file system is read-only; the former snapshot stands"
        }
        _ => "the service account must be able to write its directory; the former snapshot stands",
    };
    exit::fail(
        format!("cannot publish {}: {error}", config.snapshot.display()),
        hint,
    )
}

/// The cards of the site's own models, and those that the product knows: runs of either are learnt from.
///
/// # Errors
/// A `config.json` that is configured and cannot be read.
pub(crate) fn catalogue(config: &Config) -> anyhow::Result<Catalogue> {
    Ok(with_site(&site_models(config)?))
}

/// The site's own names come first: an entry of the site's stands before the product's.
fn with_site(models: &[SiteModel]) -> Catalogue {
    let own = models.iter().filter_map(|m| m.card.clone());
    let built_in = Catalogue::built_in();
    Catalogue::new(own.chain(built_in.cards().iter().cloned()).collect())
}

fn site_models(config: &Config) -> anyhow::Result<Vec<SiteModel>> {
    config
        .model
        .iter()
        .map(|(name, entry)| site_model(name, entry))
        .collect()
}

fn site_model(name: &str, entry: &ModelEntry) -> anyhow::Result<SiteModel> {
    let wrong = |reason: String| {
        exit::with_code(
            exit::USAGE,
            format!("model `{name}`: {reason}"),
            "omnipilot.toml(5) explains `[model]`; `omnipilot models add PATH` writes such a section",
        )
    };
    let mut out = SiteModel {
        name: name.to_owned(),
        ..SiteModel::default()
    };
    if let Some(path) = &entry.config {
        let (mut card, format) = checkpoint_files::card(path).map_err(wrong)?;
        card.name = name.to_owned();
        out.card = Some(card);
        out.format = format;
    }
    for (format, checkpoint) in &entry.checkpoints {
        let format = Precision::parse(format).ok_or_else(|| {
            wrong(format!(
                "`{format}` is no weight format, such as bf16, fp8 or int4"
            ))
        })?;
        out.checkpoints.push((format, checkpoint.clone()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(config: &Config, catalogue: Catalogue) -> Snapshot {
        write(
            config,
            Snapshot::new(
                Body {
                    catalogue,
                    ..Body::default()
                },
                1,
            ),
        )
        .unwrap()
    }

    #[test]
    fn an_observation_waits_for_a_model_that_is_being_published_and_takes_that_one() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::beside_store(&dir.path().join("s.db"));
        let mut store = Store::create(&config.store).unwrap();
        published(&config, Catalogue::default());
        let seen = ClusterState {
            observed_at: Some(9),
            ..ClusterState::default()
        };
        let newer = std::thread::scope(|scope| {
            let alone = lock(&config).unwrap();
            let observing =
                scope.spawn(|| republish_cluster(&config, &seen, None, &mut store).unwrap());
            std::thread::sleep(std::time::Duration::from_millis(200));
            let newer = published(&config, Catalogue::built_in());
            drop(alone);
            assert!(observing.join().unwrap());
            newer
        });
        let now = Snapshot::read(&config.snapshot).unwrap();
        assert_eq!(
            (now.body.catalogue, now.body.cluster),
            (Catalogue::built_in(), seen)
        );
        let record = store.model(&now.id).unwrap().unwrap();
        // It had not been recorded, so it stands for itself.
        let metrics: serde_json::Value = serde_json::from_str(&record.metrics).unwrap();
        assert_eq!(
            (&metrics["observed_at"], &metrics["republished_from"]),
            (&9.into(), &newer.id.clone().into())
        );
    }

    #[test]
    fn what_observations_published_can_be_had_again() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::beside_store(&dir.path().join("s.db"));
        let mut store = Store::create(&config.store).unwrap();
        let trained = published(&config, Catalogue::built_in());
        let entry = PublishedModel {
            id: trained.id.clone(),
            created_at: 1,
            runs: 0,
            path: String::new(),
            bytes: 0,
            metrics: "{}".into(),
            state: ModelState::Published,
        };
        store
            .record_model(&entry, Some(&trained.encode()), None)
            .unwrap();
        let mut given = vec![trained];
        for at in [5, 6, 7] {
            let seen = ClusterState {
                observed_at: Some(at),
                ..ClusterState::default()
            };
            assert!(republish_cluster(&config, &seen, None, &mut store).unwrap());
            given.push(Snapshot::read(&config.snapshot).unwrap());
        }
        for snapshot in given {
            let again = kept::published_before(&store, &snapshot.id).unwrap();
            assert_eq!((again.id, again.body), (snapshot.id, snapshot.body));
        }
        assert_eq!(kept::published_before(&store, "000000000000"), None);
    }

    /// Two trainings at once, or a rollback meanwhile: the gate has held it against what is no longer published.
    #[test]
    fn what_was_held_against_another_champion_is_not_published() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::beside_store(&dir.path().join("s.db"));
        let mut store = Store::create(&config.store).unwrap();
        let draft = |champion: Option<&str>, runs| Draft {
            model: Model {
                sources: vec![format!("{runs} runs")],
                ..Model::default()
            },
            runs,
            metrics: serde_json::json!({}),
            gate: Model::default(),
            champion: champion.map(str::to_owned),
        };
        let first = publish(&config, draft(None, 1), &mut store).unwrap().1.id;
        let late = publish(&config, draft(None, 2), &mut store).unwrap_err();
        assert!(late.to_string().contains(&first), "{late}");
        assert_eq!(Snapshot::read(&config.snapshot).unwrap().id, first);
        let second = publish(&config, draft(Some(&first), 2), &mut store)
            .unwrap()
            .1
            .id;
        assert_eq!(Snapshot::read(&config.snapshot).unwrap().id, second);
        // The first again, as the cluster is now; and trained so, it is one to list beside it.
        let seen = ClusterState {
            observed_at: Some(9),
            ..ClusterState::default()
        };
        store.save_cluster(&seen).unwrap();
        let back = bring_back(&config, &mut store, &first).unwrap().id;
        assert_eq!(root_of(&store, &back).unwrap(), first);
        assert_eq!(
            publish(&config, draft(Some(&first), 1), &mut store)
                .unwrap()
                .1
                .id,
            back
        );
        bring_back(&config, &mut store, &first).unwrap();
        assert_eq!(root_of(&store, &back).unwrap(), back);
    }
}
