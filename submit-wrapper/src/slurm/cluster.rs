//! Nodes and queue as the state of the cluster.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::thread;

use model_store::advisor::{ClusterState, GpuPool};
use model_store::options::shorten;
use model_store::slurm_view::{Accounting, SlurmView};

use super::command::{self, CommandError};
use super::conf::{self, SlurmConf};
use super::gres::{self, Gpus};
use super::nodes::{self, Node};
use super::{limits, partitions, pending, view};

/// What Slurm says of the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observed {
    /// GPUs of all nodes, and how many are free on those that can run jobs.
    pub(crate) state: ClusterState,
    /// Nodes with GPUs that cannot run jobs now.
    pub(crate) down: Vec<Down>,
    /// Nodes with GPUs to which Slurm gives no type.
    pub(crate) untyped_nodes: u32,
    /// GPUs that pending jobs ask for without a type.
    pub(crate) untyped_pending: u32,
    /// The site as Slurm sees it; `None` where it was not asked.
    pub(crate) view: Option<SlurmView>,
}

/// The nodes of one GPU type that are down or drained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Down {
    /// GPU type.
    pub(crate) gres: String,
    /// Nodes.
    pub(crate) nodes: u32,
    /// GPUs on them.
    pub(crate) gpus: u32,
}

/// Asks Slurm.
///
/// # Errors
/// A command that is absent, late or fails.
pub(crate) fn observe(now: i64) -> Result<Observed, CommandError> {
    let nodes = nodes::parse(&command::output(
        "scontrol",
        &["-d", "-o", "show", "nodes"],
    )?);
    let types = types(&nodes);
    let ask = |words: &'static [&'static str]| move || command::output("scontrol", words);
    // Side by side: the database and the controller answer at the same time.
    let (partitions, reservations, waiting, (conf, accounting)) = thread::scope(|scope| {
        let partitions = scope.spawn(ask(&["-a", "-o", "show", "partition"]));
        let reservations = scope.spawn(ask(&["-a", "-o", "show", "reservation"]));
        let queue = scope.spawn(|| waiting(&types));
        let accounting = scope.spawn(|| {
            let conf = conf::ask();
            let accounting = conf.as_ref().map(accounting).unwrap_or_default();
            (conf, accounting)
        });
        let ended = || CommandError::Failed("a thread of this command ended early".into());
        Ok::<_, CommandError>((
            partitions.join().map_err(|_| ended())??,
            reservations.join().map_err(|_| ended())?,
            queue.join().map_err(|_| ended())??,
            accounting.join().map_err(|_| ended())?,
        ))
    })?;
    let mut seen = assemble(&nodes, &types, &waiting, now);
    seen.state.default_partition = default_partition(&partitions);
    let partitions = partitions::parse(&partitions);
    if let (Ok(conf), Ok(reservations)) = (conf, reservations) {
        let view = view::assemble(&nodes, partitions, &reservations, accounting, &conf, now);
        seen.view = Some(view);
    }
    Ok(seen)
}

/// Accounts, QOS and their limits, as far as this account may read them.
fn accounting(conf: &SlurmConf) -> Accounting {
    let stored = conf.get("AccountingStorageType").unwrap_or_default();
    if !stored.ends_with("slurmdbd") {
        return Accounting::Absent;
    }
    let show = |what, format| command::output("sacctmgr", &["-n", "-P", "show", what, format]);
    let read = thread::scope(|scope| {
        let associations = scope.spawn(move || show("assoc", limits::ASSOCIATIONS));
        let users = scope.spawn(move || show("user", limits::USERS));
        let qos = show("qos", limits::QOS)?;
        let ended = || CommandError::Failed("a thread of this command ended early".into());
        let associations = associations.join().map_err(|_| ended())??;
        let users = users.join().map_err(|_| ended())??;
        Ok::<_, CommandError>(limits::parse(conf.cluster(), &associations, &qos, &users))
    });
    match read {
        Ok(accounts) => Accounting::Read(accounts),
        Err(error) => Accounting::Unreadable(shorten(&error.to_string()).to_string()),
    }
}

/// The partition that `scontrol -o show partition` marks as the default.
fn default_partition(partitions: &str) -> Option<String> {
    let marked = |line: &&str| nodes::value(line, "Default") == Some("YES");
    let line = partitions.lines().find(marked)?;
    nodes::value(line, "PartitionName").map(str::to_owned)
}

/// The GPU types of these nodes, in order.
fn types(nodes: &[Node]) -> Vec<String> {
    let all = nodes.iter().flat_map(|n| &n.gpus).map(|(gres, _)| gres);
    let types: BTreeSet<&String> = all.filter(|gres| !gres.is_empty()).collect();
    types.into_iter().cloned().collect()
}

/// Puts nodes and queue together.
/// GPUs that pending jobs ask for, by the line: tasks of arrays may be a million.
fn waiting(types: &[String]) -> Result<Gpus, CommandError> {
    let format = pending::format();
    let mut waiting = Gpus::new();
    let words = ["-a", "-r", "-h", "-t", "PENDING", "-O", &format];
    command::lines("squeue", &words, |line| {
        pending::add(&mut waiting, line, types);
        ControlFlow::Continue(())
    })?;
    Ok(waiting)
}

fn assemble(nodes: &[Node], types: &[String], waiting: &Gpus, now: i64) -> Observed {
    let pools = types
        .iter()
        .map(|gres| pool(nodes, gres, gres::count(waiting, gres)))
        .collect();
    let untyped = nodes
        .iter()
        .filter(|n| gres::count(&n.gpus, "") > 0)
        .count();
    Observed {
        state: ClusterState {
            pools,
            observed_at: Some(now),
            default_partition: None,
            waits: None,
        },
        down: types
            .iter()
            .map(|gres| down(nodes, gres))
            .filter(|d| d.nodes > 0)
            .collect(),
        untyped_nodes: u32::try_from(untyped).unwrap_or(u32::MAX),
        untyped_pending: gres::count(waiting, ""),
        view: None,
    }
}

fn pool(nodes: &[Node], gres: &str, pending: u32) -> GpuPool {
    let mut pool = GpuPool {
        gres: gres.to_owned(),
        pending,
        ..GpuPool::default()
    };
    let mut partitions = BTreeSet::new();
    for node in nodes {
        let has = gres::count(&node.gpus, gres);
        if has == 0 {
            continue;
        }
        pool.nodes += 1;
        pool.per_node = pool.per_node.max(has).min(ClusterState::MOST_PER_NODE);
        pool.total += has;
        partitions.extend(node.partitions.iter().cloned());
        if !node.usable {
            continue;
        }
        // A node of one type may report what is in use without it.
        let untyped = if node.gpus.len() == 1 {
            gres::count(&node.used, "")
        } else {
            0
        };
        pool.free += has.saturating_sub(gres::count(&node.used, gres) + untyped);
    }
    pool.partitions = partitions.into_iter().collect();
    pool
}

fn down(nodes: &[Node], gres: &str) -> Down {
    let with = nodes
        .iter()
        .filter(|n| !n.usable)
        .map(|n| gres::count(&n.gpus, gres))
        .filter(|n| *n > 0);
    with.fold(
        Down {
            gres: gres.to_owned(),
            ..Down::default()
        },
        |down, gpus| Down {
            nodes: down.nodes + 1,
            gpus: down.gpus + gpus,
            ..down
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assembled(nodes: &[Node], queue: &str, now: i64) -> Observed {
        let (types, mut waiting) = (types(nodes), Gpus::new());
        let add = |line| pending::add(&mut waiting, line, &types);
        queue.lines().for_each(add);
        assemble(nodes, &types, &waiting, now)
    }

    #[test]
    fn a_real_cluster_is_put_together() {
        let nodes = nodes::parse(include_str!("captures/22.05/nodes.txt"));
        let seen = assembled(&nodes, include_str!("captures/22.05/pending.txt"), 7);
        let brief: Vec<_> = seen
            .state
            .pools
            .iter()
            .map(|p| {
                (
                    p.gres.as_str(),
                    p.nodes,
                    p.per_node,
                    p.total,
                    p.free,
                    p.pending,
                )
            })
            .collect();
        assert_eq!(
            brief,
            [
                ("a100", 1, 8, 8, 2, 8),
                ("h100", 1, 8, 8, 7, 32),
                ("h200", 1, 8, 8, 0, 8)
            ]
        );
        assert_eq!(
            seen.down,
            [Down {
                gres: "h200".into(),
                nodes: 1,
                gpus: 8
            }]
        );
        assert_eq!(seen.state.pools[2].partitions, ["serve"]);
        assert_eq!(seen.state.observed_at, Some(7));
        assert_eq!((seen.untyped_nodes, seen.untyped_pending), (0, 0));
    }

    #[test]
    fn the_default_partition_is_the_one_that_slurm_marks() {
        let line = |name: &str, default: &str| {
            format!(
                "PartitionName={name} AllowGroups=ALL AllowAccounts=ALL AllowQos=ALL AllocNodes=ALL \
                 Default={default} QoS=N/A DefaultTime=NONE DisableRootJobs=NO Nodes=h[1-2]\n"
            )
        };
        let two = line("batch", "NO") + &line("serve", "YES");
        assert_eq!(default_partition(&two).as_deref(), Some("serve"));
        assert_eq!(default_partition(&line("batch", "NO")), None);
        assert_eq!(default_partition("No partitions in the system\n"), None);
    }

    #[test]
    fn gpus_without_a_type_are_counted_apart() {
        let text = "NodeName=n1 Gres=gpu:4 GresUsed=gpu:1(IDX:0) State=MIXED Partitions=p\n\
                    NodeName=n2 Gres=gpu:h100:4 GresUsed=gpu:2(IDX:0-1) State=MIXED Partitions=p,q\n";
        let seen = assembled(&nodes::parse(text), "", 0);
        assert_eq!(seen.untyped_nodes, 1);
        assert_eq!(seen.state.pools.len(), 1);
        assert_eq!(
            (seen.state.pools[0].total, seen.state.pools[0].free),
            (4, 2)
        );
        assert_eq!(seen.state.pools[0].partitions, ["p", "q"]);
    }
}
