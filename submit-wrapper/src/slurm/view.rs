//! The site as Slurm sees it, put together from what its commands print.

use std::collections::BTreeMap;

use model_store::hostlist::{compress, expand};
use model_store::slurm_view::{Accounting, Defaults, NodeGroup, Partition, Reservation, SlurmView};

use super::conf::SlurmConf;
use super::nodes::Node;
use super::partitions;

/// Puts it together. `reservations` is what `scontrol -o show reservation` prints; `now` is in Unix
/// seconds.
pub(crate) fn assemble(
    nodes: &[Node],
    partitions: Vec<Partition>,
    reservations: &str,
    accounting: Accounting,
    conf: &SlurmConf,
    now: i64,
) -> SlurmView {
    let (reservations, of_node) = read_reservations(reservations, now);
    SlurmView {
        nodes: groups(nodes, &partitions, &of_node),
        partitions,
        reservations,
        defaults: defaults(conf),
        all_partitions_count: ["ALL", "YES"]
            .iter()
            .any(|word| conf.has("EnforcePartLimits", word)),
        limits_enforced: ["limits", "safe", "all"]
            .iter()
            .any(|word| conf.has("AccountingStorageEnforce", word)),
        accounting,
    }
}

fn defaults(conf: &SlurmConf) -> Defaults {
    let value = |key: &str| conf.get(key).unwrap_or_default();
    partitions::defaults(&|key| Some(value(key)).filter(|v| !v.is_empty()))
}

/// The reservations that have not ended, and which of them each node is in.
fn read_reservations(text: &str, now: i64) -> (Vec<Reservation>, BTreeMap<String, Vec<u32>>) {
    let mut all = Vec::new();
    let mut of_node: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for line in text.lines() {
        let field = |key| super::nodes::value(line, key).unwrap_or_default();
        let time = |key| field(key).parse::<i64>().ok();
        let (Some(start), Some(end)) = (time("StartTime"), time("EndTime")) else {
            continue;
        };
        let Ok(place) = u32::try_from(all.len()) else {
            break;
        };
        if end <= now {
            continue;
        }
        all.push(Reservation {
            name: field("ReservationName").to_owned(),
            start,
            end,
        });
        for node in expand(field("Nodes")).unwrap_or_default() {
            of_node.entry(node).or_default().push(place);
        }
    }
    (all, of_node)
}

/// Equal nodes together.
fn groups(
    nodes: &[Node],
    partitions: &[Partition],
    reservations: &BTreeMap<String, Vec<u32>>,
) -> Vec<NodeGroup> {
    let place: BTreeMap<&str, u32> = partitions
        .iter()
        .zip(0u32..)
        .map(|(p, at)| (p.name.as_str(), at))
        .collect();
    let mut groups: BTreeMap<NodeGroup, Vec<String>> = BTreeMap::new();
    for node in nodes.iter().filter(|n| has_typed_gpus(n)) {
        let group = NodeGroup {
            gpus: node
                .gpus
                .iter()
                .filter(|(gres, _)| !gres.is_empty())
                .cloned()
                .collect(),
            others: node.others.clone(),
            cpus: node.cpus,
            threads: node.threads,
            sockets: node.sockets,
            mib: node.mib,
            tmp_mb: node.tmp_mb,
            features: node.features.clone(),
            partitions: node
                .partitions
                .iter()
                .filter_map(|name| place.get(name.as_str()).copied())
                .collect(),
            reservations: reservations.get(&node.name).cloned().unwrap_or_default(),
            down: (!node.usable).then(|| node.state.clone()),
            down_since: if node.usable { 0 } else { node.since },
            ..NodeGroup::default()
        };
        groups.entry(group).or_default().push(node.name.clone());
    }
    groups
        .into_iter()
        .map(|(group, names)| NodeGroup {
            count: u32::try_from(names.len()).unwrap_or(u32::MAX),
            names: compress(&names),
            ..group
        })
        .collect()
}

fn has_typed_gpus(node: &Node) -> bool {
    node.gpus
        .iter()
        .any(|(gres, count)| !gres.is_empty() && *count > 0)
}
