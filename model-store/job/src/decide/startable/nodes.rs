//! On which nodes a job could be.

use std::collections::BTreeSet;

use super::Checker;
use super::demand::Demand;
use crate::constraint::satisfied;
use crate::hostlist::expand;
use crate::job_request::{Given, JobOption};
use crate::options::shorten;
use crate::slurm_view::{NodeGroup, Partition};

/// Nodes that a job keeps off.
///
/// # Errors
/// A list that cannot be read.
pub(super) fn excluded(given: &Given) -> Result<BTreeSet<String>, String> {
    let Some(list) = given.get(JobOption::Exclude) else {
        return Ok(BTreeSet::new());
    };
    let names = (!list.contains('/')).then(|| expand(list)).flatten();
    names
        .map(|names| names.into_iter().collect())
        .ok_or_else(|| format!("--exclude={} is not reckoned", shorten(list)))
}

/// What nodes may lack, in the order in which it is told.
struct Lack<'a> {
    words: &'static str,
    has: Box<dyn Fn(&NodeGroup) -> bool + 'a>,
}

impl Checker<'_> {
    /// The job as each kind of node with its GPUs takes it, where that differs.
    pub(super) fn by_node(&self, at: u32, demand: &Demand) -> Vec<Demand> {
        if !demand.depends_on_node() {
            return vec![demand.clone()];
        }
        let in_partition = |n: &&NodeGroup| n.partitions.contains(&at) && has_gpus(n, demand);
        let nodes = self.view.nodes.iter().filter(in_partition);
        nodes.map(|group| demand.on(group)).collect()
    }

    /// # Errors
    /// What too few nodes of the partition have.
    pub(super) fn on_nodes(
        &self,
        at: u32,
        partition: &Partition,
        after: &Given,
        demand: &Demand,
    ) -> Result<(), String> {
        let in_partition = self
            .view
            .nodes
            .iter()
            .filter(|n| n.partitions.contains(&at));
        let mut left: Vec<&NodeGroup> = in_partition.filter(|n| has_gpus(n, demand)).collect();
        let what = format!("{} x {}", demand.per_node, demand.gpu);
        let same = |gpu: &Option<String>| {
            gpu.as_ref()
                .is_none_or(|g| g.eq_ignore_ascii_case(&demand.gpu))
        };
        let others = self.job.who.others.iter().filter(|o| same(&o.gpu));
        let others: u64 = others.map(|o| u64::from(o.nodes)).sum();
        let needed = u64::from(demand.nodes) + others;
        let with_gpus = self.count(&left);
        let too_few = |words: &str, count: u64| {
            format!(
                "of {with_gpus} node{} with {what} in partition {}, {count} {words}",
                if with_gpus == 1 { "" } else { "s" },
                partition.name
            )
        };
        if with_gpus < needed {
            return Err(format!(
                "partition {} has {what} on {with_gpus} node{}, this takes {needed}",
                partition.name,
                if with_gpus == 1 { "" } else { "s" }
            ));
        }
        for lack in self.lacks(after, demand)? {
            left.retain(|n| (lack.has)(n));
            let count = self.count(&left);
            if count < needed {
                return Err(too_few(lack.words, count));
            }
        }
        Ok(())
    }

    fn lacks<'b>(&'b self, after: &'b Given, demand: &'b Demand) -> Result<Vec<Lack<'b>>, String> {
        let constraint = after.get(JobOption::Constraint).unwrap_or_default();
        if !constraint.is_empty() && satisfied(constraint, &[]).is_none() {
            return Err(format!(
                "--constraint={} is not reckoned",
                shorten(constraint)
            ));
        }
        let lack = |words, has: Box<dyn Fn(&NodeGroup) -> bool + 'b>| Lack { words, has };
        Ok(vec![
            lack(
                "with the features that are asked for",
                Box::new(move |n| {
                    constraint.is_empty() || satisfied(constraint, &n.features) == Some(true)
                }),
            ),
            lack(
                "with the memory",
                Box::new(|n| demand.mib.is_none_or(|m| m <= n.mib)),
            ),
            lack(
                "with the CPUs",
                Box::new(|n| in_cores(demand.cpus, n) <= u64::from(n.cpus)),
            ),
            lack(
                "with the sockets",
                Box::new(|n| demand.sockets <= n.sockets),
            ),
            lack(
                "with the temporary disk",
                Box::new(|n| demand.tmp_mb <= n.tmp_mb),
            ),
            lack(
                "with the other resources",
                Box::new(|n| {
                    demand
                        .others
                        .iter()
                        .all(|(name, count)| other(n, name) >= *count)
                }),
            ),
            lack(
                "without another reservation",
                Box::new(|n| !self.is_reserved(n, demand)),
            ),
            lack("that can run jobs", Box::new(|n| n.down.is_none())),
        ])
    }

    /// Nodes of these groups that the job does not keep off.
    fn count(&self, groups: &[&NodeGroup]) -> u64 {
        let one = |group: &&NodeGroup| {
            if self.excluded.is_empty() {
                return u64::from(group.count);
            }
            let names = expand(&group.names).unwrap_or_default();
            names.iter().filter(|n| !self.excluded.contains(*n)).count() as u64
        };
        groups.iter().map(one).sum()
    }

    /// A reservation keeps a job off from its start, or before where the job would not have ended. A
    /// job of which nobody knows when it starts is kept off by every one.
    fn is_reserved(&self, group: &NodeGroup, demand: &Demand) -> bool {
        let minutes = demand.minutes.filter(|_| !demand.is_later);
        let seconds = minutes.unwrap_or(u64::MAX).saturating_mul(60);
        let end = self.at.saturating_add_unsigned(seconds);
        let mut all = group.reservations.iter();
        all.any(|at| {
            let reservation = self.view.reservations.get(*at as usize);
            reservation.is_some_and(|r| r.start < end && r.end > self.at)
        })
    }
}

fn has_gpus(group: &NodeGroup, demand: &Demand) -> bool {
    let mut all = group.gpus.iter();
    all.any(|(gres, count)| *gres == demand.gpu && *count >= demand.per_node)
}

/// Slurm gives whole cores.
fn in_cores(cpus: u64, group: &NodeGroup) -> u64 {
    let threads = u64::from(group.threads.max(1));
    cpus.div_ceil(threads).saturating_mul(threads)
}

fn other(group: &NodeGroup, name: &str) -> u64 {
    let same = |(has, _): &&(String, u64)| {
        has == name || (!name.contains(':') && has.split(':').next() == Some(name))
    };
    group.others.iter().filter(same).map(|(_, n)| n).sum()
}
