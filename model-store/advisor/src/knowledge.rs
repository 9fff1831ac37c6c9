//! What an advice is made from, beside the request.

use super::cluster::ClusterState;
use super::economy::Economy;
use super::model::Model;
use super::startable::Startable;

/// One Slurm GPU type of the site.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SiteGpu {
    /// Slurm GPU type (gres), as Slurm spells it.
    pub gres: String,
    /// GPU of the catalogue.
    pub gpu: String,
    /// Price of one GPU for an hour.
    pub price_per_hour: f64,
}

/// What the advisor knows: the published part of the site.
#[derive(Clone, Copy, Debug)]
pub struct Knowledge<'a> {
    /// Name of the snapshot.
    pub snapshot_id: &'a str,
    /// The learnt model.
    pub model: &'a Model,
    /// What the cluster has.
    pub cluster: &'a ClusterState,
    /// What its GPU types are and cost.
    pub gpus: &'a [SiteGpu],
    /// True where these are the prices of the job's own place, and not the snapshot's: they count in
    /// the advice's id then.
    pub priced_here: bool,
    /// What the operator values.
    pub economy: &'a Economy,
    /// Unix seconds now, by which ages are judged; `None` = nothing is too old.
    pub now: Option<i64>,
    /// Whether the job at hand could be started; `None` where no job is, or nothing is known.
    pub startable: Option<&'a dyn Startable>,
}
