//! From a model and what the site says of itself to the published snapshot.

use std::time::{SystemTime, UNIX_EPOCH};

use model_store::advisor::model::Model;
use model_store::advisor::{Catalogue, ClusterState, ModelCard, Precision, SiteGpu, gpu_name_of_gres};
use model_store::config::{Config, GpuEntry, ModelEntry};
use model_store::snapshot::{Body, SiteModel, Snapshot, read_regular};

use crate::exit;

/// Price of a GPU for an hour where the configuration states none: all types count the same.
const PRICE_WITHOUT_A_PRICE: f64 = 1.0;

/// Unix seconds now; 0 on a clock before 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Publishes a model with the cluster as it was last observed, and returns the snapshot.
///
/// # Errors
/// A `config.json` of the configuration that cannot be read, or a snapshot that cannot be written.
pub(crate) fn publish(config: &Config, model: Model, cluster: ClusterState) -> anyhow::Result<Snapshot> {
    let body = Body {
        model,
        gpus: site_gpus(config, &cluster),
        cluster,
        catalogue: Catalogue::built_in(),
        models: site_models(config)?,
        engine: config.engine.to_ascii_lowercase(),
    };
    write(config, Snapshot::new(body, now()))
}

/// Publishes the current model anew with another state of the cluster. `None` where nothing has
/// been published yet.
///
/// # Errors
/// A published file that is not a snapshot, or one that cannot be written.
pub(crate) fn republish_cluster(config: &Config, cluster: &ClusterState) -> anyhow::Result<Option<Snapshot>> {
    if !config.snapshot.exists() {
        return Ok(None);
    }
    let old = Snapshot::read(&config.snapshot)
        .map_err(|e| exit::fail(e.to_string(), "`omnipilot train` publishes it anew"))?;
    let body = Body {
        gpus: site_gpus(config, cluster),
        cluster: cluster.clone(),
        models: site_models(config)?,
        engine: config.engine.to_ascii_lowercase(),
        ..old.body
    };
    write(config, Snapshot::new(body, now())).map(Some)
}

fn write(config: &Config, snapshot: Snapshot) -> anyhow::Result<Snapshot> {
    snapshot.publish(&config.snapshot).map_err(|e| {
        exit::fail(
            format!("cannot publish {}: {e}", config.snapshot.display()),
            "the service account must be able to write its directory; the former snapshot stands",
        )
    })?;
    Ok(snapshot)
}

/// What each Slurm GPU type means and costs. A type that means nothing known is no candidate.
fn site_gpus(config: &Config, cluster: &ClusterState) -> Vec<SiteGpu> {
    let one = |gres: &str| {
        let price = entry(config, gres).and_then(|e| e.price_per_hour).unwrap_or(PRICE_WITHOUT_A_PRICE);
        Some(SiteGpu { gres: gres.to_owned(), gpu: gpu_of(config, gres)?.to_owned(), price_per_hour: price })
    };
    cluster.pools.iter().filter_map(|pool| one(&pool.gres)).collect()
}

/// The GPU of the catalogue that a Slurm GPU type means: the configuration's word, else the usual
/// meaning of its name.
pub(crate) fn gpu_of(config: &Config, gres: &str) -> Option<&'static str> {
    gpu_name_of_gres(entry(config, gres).and_then(|e| e.is.as_deref()).unwrap_or(gres))
}

fn entry<'a>(config: &'a Config, gres: &str) -> Option<&'a GpuEntry> {
    config.gpu.iter().find(|(name, _)| name.eq_ignore_ascii_case(gres)).map(|(_, entry)| entry)
}

fn site_models(config: &Config) -> anyhow::Result<Vec<SiteModel>> {
    config.model.iter().map(|(name, entry)| site_model(name, entry)).collect()
}

fn site_model(name: &str, entry: &ModelEntry) -> anyhow::Result<SiteModel> {
    let wrong = |reason: String| exit::with_code(exit::USAGE, format!("model `{name}`: {reason}"), "see `[model]` in the configuration");
    let mut out = SiteModel { name: name.to_owned(), ..SiteModel::default() };
    if let Some(path) = &entry.config {
        let bytes = read_regular(path, 1 << 20).map_err(|e| wrong(format!("cannot read {}: {e}", path.display())))?;
        let text = String::from_utf8_lossy(&bytes);
        let (card, format) = ModelCard::from_hf_config(name, &text).map_err(|e| wrong(e.to_string()))?;
        out.card = Some(card);
        out.format = format;
    }
    for (format, checkpoint) in &entry.checkpoints {
        let format = Precision::parse(format).ok_or_else(|| wrong(format!("`{format}` is no weight format")))?;
        out.checkpoints.push((format, checkpoint.clone()));
    }
    Ok(out)
}
