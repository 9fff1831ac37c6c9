//! From a model and what the site says of itself to the published snapshot.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use model_store::advisor::model::Model;
use model_store::advisor::{
    Catalogue, ClusterState, Economy, ModelCard, Precision, Preferences, SiteGpu, gpu_name_of_gres,
};
use model_store::config::{Config, GpuEntry, ModelEntry};
use model_store::snapshot::{Body, SiteModel, Snapshot, read_regular};
use model_store::store::{ModelState, PublishedModel, Store};
use nix::fcntl::{Flock, FlockArg};

use crate::{exit, preferences};

/// Price of a GPU for an hour where the configuration states none: all types count the same.
const PRICE_WITHOUT_A_PRICE: f64 = 1.0;

/// Unix seconds now; 0 on a clock before 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Publishes a model with the cluster as it was last observed, and returns the snapshot.
///
/// # Errors
/// A `config.json` of the configuration that cannot be read, a store that cannot be read, or a
/// snapshot that cannot be written.
pub(crate) fn publish(config: &Config, model: Model, store: &Store) -> anyhow::Result<Snapshot> {
    let _alone = lock(config)?;
    // Only now: an `observe` may have come in between while the model was trained.
    let cluster = store.cluster().map_err(exit::store)?.unwrap_or_default();
    let mut body = Body {
        model,
        gpus: site_gpus(config, &cluster),
        cluster,
        catalogue: Catalogue::built_in(),
        models: site_models(config)?,
        engine: config.engine.to_ascii_lowercase(),
        economy: config.utility,
        preferences: Preferences::default(),
    };
    (body.preferences, body.economy.weights) = preferences::learned(&body, store)?;
    write(config, Snapshot::new(body, now()))
}

/// What the site values: as configured, with the weights that `train` learnt where it may.
fn economy(config: &Config, old: &Body) -> Economy {
    let learnt = old.preferences.used && config.utility.learn;
    Economy {
        weights: if learnt {
            old.economy.weights
        } else {
            config.utility.weights
        },
        ..config.utility
    }
}

/// Publishes the current model anew with another state of the cluster, and records it: an advice
/// names the snapshot that it came from. `false` where nothing has been published yet.
///
/// # Errors
/// A published file that is not a snapshot, or a file or store that cannot be written.
pub(crate) fn republish_cluster(
    config: &Config,
    cluster: &ClusterState,
    store: &mut Store,
) -> anyhow::Result<bool> {
    if !config.snapshot.exists() {
        return Ok(false);
    }
    // The lock is held from reading to renaming, so that what `train` publishes meanwhile is not
    // replaced by the model before it.
    let _alone = lock(config)?;
    let old = Snapshot::read(&config.snapshot)
        .map_err(|e| exit::fail(e.to_string(), "`omnipilot train` publishes it anew"))?;
    let body = Body {
        gpus: site_gpus(config, cluster),
        cluster: cluster.clone(),
        models: site_models(config)?,
        engine: config.engine.to_ascii_lowercase(),
        economy: economy(config, &old.body),
        ..old.body
    };
    let snapshot = Snapshot::new(body, now());
    // The same content has the same id, and its record may hold the snapshot's bytes.
    if snapshot.id != old.id {
        record(config, store, &snapshot, &old.id)?;
        write(config, snapshot)?;
    }
    Ok(true)
}

/// Records what an observation makes of the snapshot `from`, without its bytes.
fn record(
    config: &Config,
    store: &mut Store,
    snapshot: &Snapshot,
    from: &str,
) -> anyhow::Result<()> {
    let before = store.model(from).map_err(exit::store)?;
    let entry = PublishedModel {
        id: snapshot.id.clone(),
        created_at: snapshot.created_at,
        runs: before.map_or(0, |model| model.runs),
        path: config.snapshot.display().to_string(),
        bytes: snapshot.encode().len() as u64,
        metrics: serde_json::json!({ "republished_from": from, "observed_at": snapshot.body.cluster.observed_at }).to_string(),
        state: ModelState::Published,
    };
    store.record_model(&entry, None, None).map_err(exit::store)
}

fn write(config: &Config, snapshot: Snapshot) -> anyhow::Result<Snapshot> {
    snapshot
        .publish(&config.snapshot)
        .map_err(|e| cannot_publish(config, &e))?;
    Ok(snapshot)
}

fn cannot_publish(config: &Config, error: &io::Error) -> anyhow::Error {
    exit::fail(
        format!("cannot publish {}: {error}", config.snapshot.display()),
        "the service account must be able to write its directory; the former snapshot stands",
    )
}

/// Waits until no other command publishes.
fn lock(config: &Config) -> anyhow::Result<Flock<File>> {
    let file = lock_file(&config.snapshot).map_err(|e| cannot_publish(config, &e))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, e)| cannot_publish(config, &e.into()))
}

/// The file beside the snapshot that is locked. Who may write the directory may open it, nobody
/// else: a user who could, could keep the site from publishing.
fn lock_file(snapshot: &Path) -> io::Result<File> {
    let dir = snapshot
        .parent()
        .filter(|d| !d.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    let name = snapshot
        .file_name()
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let path = dir.join(format!(".{name}.lock"));
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC);
    match options.clone().create_new(true).open(&path) {
        Ok(file) => {
            let dir = std::fs::metadata(dir)?;
            // Made by root, it is still for the account that owns the directory.
            let _ = fchown(&file, Some(dir.uid()), Some(dir.gid()));
            let writers = dir.mode() & 0o222;
            file.set_permissions(Permissions::from_mode(writers | writers << 1))?;
            Ok(file)
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => options.open(&path),
        Err(e) => Err(e),
    }
}

/// What each Slurm GPU type means and costs. A type that means nothing known is no candidate.
fn site_gpus(config: &Config, cluster: &ClusterState) -> Vec<SiteGpu> {
    let one = |gres: &str| {
        let price = entry(config, gres)
            .and_then(|e| e.price_per_hour)
            .unwrap_or(PRICE_WITHOUT_A_PRICE);
        Some(SiteGpu {
            gres: gres.to_owned(),
            gpu: gpu_of(config, gres)?.to_owned(),
            price_per_hour: price,
        })
    };
    cluster
        .pools
        .iter()
        .filter_map(|pool| one(&pool.gres))
        .collect()
}

/// The GPU of the catalogue that a Slurm GPU type means: the configuration's word, else the usual
/// meaning of its name.
pub(crate) fn gpu_of(config: &Config, gres: &str) -> Option<&'static str> {
    gpu_name_of_gres(
        entry(config, gres)
            .and_then(|e| e.is.as_deref())
            .unwrap_or(gres),
    )
}

fn entry<'a>(config: &'a Config, gres: &str) -> Option<&'a GpuEntry> {
    config
        .gpu
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(gres))
        .map(|(_, entry)| entry)
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
            "see `[model]` in the configuration",
        )
    };
    let mut out = SiteModel {
        name: name.to_owned(),
        ..SiteModel::default()
    };
    if let Some(path) = &entry.config {
        let bytes = read_regular(path, 1 << 20)
            .map_err(|e| wrong(format!("cannot read {}: {e}", path.display())))?;
        let text = String::from_utf8_lossy(&bytes);
        let (card, format) =
            ModelCard::from_hf_config(name, &text).map_err(|e| wrong(e.to_string()))?;
        out.card = Some(card);
        out.format = format;
    }
    for (format, checkpoint) in &entry.checkpoints {
        let format = Precision::parse(format)
            .ok_or_else(|| wrong(format!("`{format}` is no weight format")))?;
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
            let observing = scope.spawn(|| republish_cluster(&config, &seen, &mut store).unwrap());
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
        assert_eq!(
            record.metrics,
            format!(r#"{{"observed_at":9,"republished_from":"{}"}}"#, newer.id)
        );
    }

    #[test]
    fn only_who_may_write_the_directory_may_hold_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, lock) in [(0o755, 0o600), (0o775, 0o660)] {
            let folder_path = dir.path().join(format!("{folder:o}"));
            std::fs::create_dir(&folder_path).unwrap();
            std::fs::set_permissions(&folder_path, Permissions::from_mode(folder)).unwrap();
            let file = lock_file(&folder_path.join("s")).unwrap();
            assert_eq!(file.metadata().unwrap().mode() & 0o777, lock);
        }
    }
}
