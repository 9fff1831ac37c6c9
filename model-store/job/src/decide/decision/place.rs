//! Where a job may run, from its own options.

use crate::advisor::{ClusterState, GpuPool};
use crate::job_request::{Given, JobOption};
use crate::options::shorten;
use crate::policy::Member;

use super::Decision;

/// Where a job may run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Partitions that it names; else the cluster's default one, where it is known.
    pub(super) partitions: Vec<String>,
    /// True where it names its partitions itself.
    named: bool,
    /// True where it names its nodes itself.
    pub(super) names_nodes: bool,
    /// True where it keeps off some.
    excludes_nodes: bool,
}

impl Place {
    pub(super) fn of(given: &Given, cluster: &ClusterState) -> Self {
        let list = given
            .get(JobOption::Partition)
            .unwrap_or_default()
            .split(',');
        let list: Vec<String> = list
            .map(str::trim)
            .filter(|p| !p.is_empty())
            .map(str::to_owned)
            .collect();
        let named = !list.is_empty();
        Self {
            partitions: if named {
                list
            } else {
                cluster.default_partition.iter().cloned().collect()
            },
            named,
            names_nodes: [JobOption::Nodelist, JobOption::Nodefile]
                .into_iter()
                .any(|n| given.get(n).is_some()),
            excludes_nodes: given.get(JobOption::Exclude).is_some(),
        }
    }

    /// What the site's policy looks at.
    pub(super) fn member<'a>(&'a self, given: &'a Given) -> Member<'a> {
        Member {
            partitions: &self.partitions,
            account: given.get(JobOption::Account),
            qos: given.get(JobOption::Qos),
        }
    }

    /// The GPU types that a job on so many nodes can reach. A type whose partitions were not
    /// observed is taken to be in reach; with nodes excluded, one more must be there than is
    /// needed, unless the nodes are `named`: then each configuration is held against them.
    pub(super) fn within(&self, cluster: &ClusterState, nodes: u32, named: bool) -> ClusterState {
        let needed = nodes + u32::from(self.excludes_nodes && !named);
        let reaches = |p: &GpuPool| {
            p.partitions.is_empty()
                || self.partitions.is_empty()
                || self.partitions.iter().any(|n| p.partitions.contains(n))
        };
        let mut reached = cluster.clone();
        reached
            .pools
            .retain(|p| reaches(p) && (p.nodes >= needed || needed == 1));
        reached
    }

    /// Why nothing can be advised here, where that is so.
    pub(super) fn unreachable(
        &self,
        cluster: &ClusterState,
        reached: &ClusterState,
        nodes: u32,
    ) -> Option<Decision> {
        if cluster.pools.is_empty() || !reached.pools.is_empty() {
            return None;
        }
        let place = if self.named {
            format!(" in partition {}", self.partitions.join(","))
        } else {
            String::new()
        };
        Some(Decision::Fault {
            reason: shorten(&format!(
                "no GPU type on {nodes} node{}{place} is known",
                if nodes == 1 { "" } else { "s" }
            )),
            hint: "`omnipilot observe` asks Slurm again which GPUs are where".into(),
        })
    }
}
