//! What the cluster has, as Slurm was last seen to say.

use serde::{Deserialize, Serialize};

use super::queue::{QueueWait, QueueWaits};

/// The cluster's GPUs at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterState {
    /// One entry per Slurm GPU type, sorted by name.
    pub pools: Vec<GpuPool>,
    /// Unix seconds of the observation; `None` where it was stated, not observed.
    pub observed_at: Option<i64>,
    /// Partition of a job that names none; `None` where Slurm has none or was not asked.
    #[serde(default)]
    pub default_partition: Option<String>,
    /// How long jobs have waited for GPUs lately; `None` = not known.
    #[serde(default)]
    pub waits: Option<QueueWaits>,
}

/// The nodes that offer one Slurm GPU type, whether or not they can run jobs at this moment: what
/// the cluster has outlasts a node that is drained for an hour. `free` alone depends on it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuPool {
    /// Slurm GPU type (gres), as Slurm spells it: it tells types apart letter by letter.
    pub gres: String,
    /// Nodes that offer it.
    pub nodes: u32,
    /// Most GPUs of the type on one node.
    pub per_node: u32,
    /// GPUs of the type on all those nodes.
    pub total: u32,
    /// GPUs not allocated on nodes that can run jobs now.
    pub free: u32,
    /// GPUs that pending jobs ask for.
    pub pending: u32,
    /// Partitions that reach the nodes.
    pub partitions: Vec<String>,
}

impl ClusterState {
    /// Most GPUs of a node: beyond any that is built, and few enough to try every degree.
    pub const MOST_PER_NODE: u32 = 1024;

    /// True where each type stands once, with numbers that a cluster can have.
    pub fn is_sound(&self) -> bool {
        let once = |(at, pool): (usize, &GpuPool)| {
            let mut before = self.pools.iter().take(at);
            before.all(|p| p.gres != pool.gres)
        };
        let mut waits = self.waits.iter().flat_map(|w| &w.waits);
        self.pools.iter().enumerate().all(once)
            && self.pools.iter().all(|p| p.per_node <= Self::MOST_PER_NODE)
            && waits.all(QueueWait::is_sound)
    }

    /// The pool of one Slurm GPU type; where none is spelled so, whatever the case of its name.
    pub fn pool(&self, gres: &str) -> Option<&GpuPool> {
        let exact = self.pools.iter().find(|p| p.gres == gres);
        let alike = || {
            self.pools
                .iter()
                .find(|p| p.gres.eq_ignore_ascii_case(gres))
        };
        exact.or_else(alike)
    }
}
