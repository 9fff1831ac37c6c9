//! What the site's own rules make of advice: the rewritten form of a job for each GPU type and
//! partition, as slurmctld takes it; rules that no node can meet; names that Slurm does not know;
//! limits that leave whole accounts without.

use std::process::Command;

use model_store::advisor::words::count_of;
use model_store::advisor::{ClusterState, Startable};
use model_store::config::{Config, LimitEntry};
use model_store::job_request::Given;
use model_store::job_rewrite::{Allocation, plan};
use model_store::slurm_view::{Accounting, Accounts, SlurmView};
use model_store::startable::{Ground, Job, Who, rules};

use super::Seen;
use crate::slurm::cluster::Observed;
use model_store::test_only::{Word, ask};

/// Most forms that are shown to slurmctld: each takes a hundredth of a second.
const MOST_SHOWN: usize = 64;

pub(super) fn check(seen: &mut Seen, found: &Observed) {
    let (Some(config), Some(view)) = (seen.config.clone(), found.view.as_ref()) else {
        return seen.skipped("rules", "Slurm or the configuration cannot be read");
    };
    shown(seen, &config, view, &found.state);
    unmet(seen, &config, view, &found.state);
    names(seen, &config, view, &found.state);
    limits(seen, view, &found.state);
}

/// A partition and a GPU type that one of its nodes has.
fn places<'a>(view: &'a SlurmView, cluster: &'a ClusterState) -> Vec<(&'a str, &'a str)> {
    let mut out = Vec::new();
    for (at, partition) in (0u32..).zip(&view.partitions) {
        let up = |n: &&model_store::slurm_view::NodeGroup| {
            n.partitions.contains(&at) && n.down.is_none() && n.reservations.is_empty()
        };
        for pool in &cluster.pools {
            let mut nodes = view.nodes.iter().filter(up);
            let has = nodes.any(|n| n.gpus.iter().any(|(gres, _)| *gres == pool.gres));
            if has && partition.is_up && !partition.is_special {
                out.push((partition.name.as_str(), pool.gres.as_str()));
            }
        }
    }
    out
}

fn test_only(partition: &str, words: &[String]) -> Word {
    let mut command = Command::new("sbatch");
    let place = format!("--partition={partition}");
    command
        .args(["--test-only", "--time=1", &place])
        .args(words);
    ask(command
        .args(["--wrap", "true"])
        .stdin(std::process::Stdio::null()))
}

/// Shows slurmctld the rewritten form of a job for one GPU of each type in each partition.
fn shown(seen: &mut Seen, config: &Config, view: &SlurmView, cluster: &ClusterState) {
    let places = places(view, cluster);
    let types: Vec<String> = cluster.pools.iter().map(|p| p.gres.clone()).collect();
    let (mut taken, mut closed) = (0u32, 0u32);
    for (partition, gres) in places.iter().take(MOST_SHOWN) {
        let allocation = Allocation {
            gpu: (*gres).to_owned(),
            per_node: 1,
            nodes: 1,
        };
        let rules = rules(config, Some(view), gres, &types);
        let Ok(plan) = plan(&Given::default(), &allocation, &rules, false) else {
            continue;
        };
        let words = plan
            .edits
            .iter()
            .filter_map(|e| Some(format!("--{}={}", e.name, e.value.as_ref()?)));
        match test_only(partition, &words.collect::<Vec<_>>()) {
            Word::Takes(_) => taken += 1,
            Word::Silent => return seen.skipped("rewritten", "slurmctld did not answer `sbatch --test-only`"),
            // Where a plain job is refused too, this account may not submit there.
            Word::Refuses(_) if matches!(test_only(partition, &[]), Word::Refuses(_)) => closed += 1,
            Word::Refuses(why) => seen.error(
                "rewritten",
                format!("slurmctld refuses `{}` in partition {partition}: {why}", plan.shown()),
                "jobs that are advised this type there would be refused: `[rewrite]` and `[gpu]` in the configuration say how they ask",
            ),
        }
    }
    let left = places.len().saturating_sub(MOST_SHOWN);
    if taken > 0 {
        let mut words = format!(
            "slurmctld takes {} of GPU type and partition",
            count_of(taken, "rewritten form")
        );
        if closed > 0 {
            words += &format!("; {closed} in partitions where this account may not submit");
        }
        if left > 0 {
            words += &format!("; {left} more were not tried");
        }
        return seen.ok("rewritten", words);
    }
    if closed > 0 {
        seen.skipped(
            "rewritten",
            "this account may submit to no partition with GPUs",
        );
    }
}

/// Rules of `[rewrite]` under which not even one GPU of a type can be had.
fn unmet(seen: &mut Seen, config: &Config, view: &SlurmView, cluster: &ClusterState) {
    // Whose limits they are does not matter for what the nodes have.
    let view = SlurmView {
        limits_enforced: false,
        all_partitions_count: false,
        ..view.clone()
    };
    let plain = Config {
        rewrite: model_store::config::RewriteEntry {
            cpus_per_gpu: None,
            mem_per_gpu: None,
            ..config.rewrite.clone()
        },
        gpu: std::collections::BTreeMap::new(),
        limit: Vec::new(),
        ..config.clone()
    };
    let (given, who) = (Given::default(), Who::default());
    for (partition, gres) in places(&view, cluster) {
        let partitions = [partition.to_owned()];
        let bar = |config: &Config| {
            let job = Job {
                given: &given,
                partitions: &partitions,
                spread: false,
                who: &who,
            };
            match Ground::of(Some(&view), cluster, config, None, job) {
                Ground::Seen(checker) => checker.bar(gres, 1, 1),
                _ => None,
            }
        };
        if let (Some(why), None) = (bar(config), bar(&plain)) {
            seen.error(
                "rules",
                format!("no job can be rewritten to one {gres} in partition {partition}: {why}"),
                format!("`cpus_per_gpu` and `mem_per_gpu` of `[rewrite]` or `[gpu.{gres}]` ask for more than its nodes have"),
            );
        }
    }
}

/// Names in the configuration that Slurm does not have.
fn names(seen: &mut Seen, config: &Config, view: &SlurmView, cluster: &ClusterState) {
    let is_type = |name: &String| cluster.pool(name).is_some();
    for name in config.gpu.keys().filter(|name| !is_type(name)) {
        let types: Vec<&str> = cluster.pools.iter().map(|p| p.gres.as_str()).collect();
        seen.warning(
            "rules",
            format!(
                "`[gpu.{name}]` is of a type that no node has; Slurm has {}",
                types.join(", ")
            ),
            "take the section away, or name the type as Slurm does",
        );
    }
    let accounts = match &view.accounting {
        Accounting::Read(accounts) => Some(accounts),
        _ => None,
    };
    for (section, entry) in sections(config) {
        let is_partition = |name: &String| view.partition(name).is_some();
        let is_account = |name: &String| accounts.is_none_or(|a| a.account(name).is_some());
        let is_qos = |name: &String| accounts.is_none_or(|a| a.quality(name).is_some());
        let unknown = [
            (
                "partition",
                entry.partitions.iter().find(|n| !is_partition(n)),
            ),
            ("account", entry.accounts.iter().find(|n| !is_account(n))),
            ("QOS", entry.qos.iter().find(|n| !is_qos(n))),
            ("GPU type", entry.types.iter().find(|n| !is_type(n))),
        ];
        for (kind, name) in unknown {
            if let Some(name) = name {
                seen.warning(
                    "rules",
                    format!("`[[{section}]]` names the {kind} `{name}`, which Slurm does not have"),
                    "name it as Slurm does, or take the entry away",
                );
            }
        }
    }
    for entry in &config.limit {
        if let Some(accounts) = accounts {
            contradicted(seen, entry, accounts);
        }
    }
}

/// What an entry of the configuration names.
struct Entry<'a> {
    partitions: &'a [String],
    accounts: &'a [String],
    qos: &'a [String],
    types: &'a [String],
}

/// The entries that hold for some jobs, with their section.
fn sections(config: &Config) -> Vec<(&'static str, Entry<'_>)> {
    let mut out = Vec::new();
    for entry in &config.limit {
        let names = Entry {
            partitions: entry.partition.all(),
            accounts: entry.account.all(),
            qos: entry.qos.all(),
            types: entry.types.all(),
        };
        out.push(("limit", names));
    }
    for entry in &config.price {
        let names = Entry {
            partitions: entry.partition.all(),
            accounts: entry.account.all(),
            qos: entry.qos.all(),
            types: std::slice::from_ref(&entry.gpu),
        };
        out.push(("price", names));
    }
    out
}

/// An entry that allows more than Slurm does says nothing: told, for somebody meant something by it.
fn contradicted(seen: &mut Seen, entry: &LimitEntry, accounts: &Accounts) {
    let Some(most) = entry.most_gpus else { return };
    let named = entry
        .account
        .all()
        .iter()
        .filter_map(|n| accounts.account(n).map(|(_, a)| a));
    let qos = entry.qos.all().iter().filter_map(|n| accounts.quality(n));
    for named in named.chain(qos) {
        let tighter = named
            .caps
            .iter()
            .find(|cap| cap.tres == "gres/gpu" && cap.most < most);
        if let Some(cap) = tighter {
            seen.warning(
                "rules",
                format!(
                    "`[[limit]]` allows {} {most} GPUs, and {} of Slurm allows {}",
                    named.name, cap.limit, cap.most
                ),
                "Slurm's own limit counts: take the entry away, or make it smaller",
            );
        }
    }
}

/// Accounts of which no job may have a GPU type that the cluster has.
fn limits(seen: &mut Seen, view: &SlurmView, cluster: &ClusterState) {
    let accounts = match &view.accounting {
        Accounting::Read(accounts) => accounts,
        Accounting::Unreadable(why) if view.limits_enforced => {
            return seen.error(
                "limits",
                format!("Slurm's limits cannot be read, so GPU types and counts stay as asked: {why}"),
                "the service account must be able to run `sacctmgr show assoc`, `show qos` and `show user`",
            );
        }
        _ => return,
    };
    if !view.limits_enforced {
        return seen.ok("limits", "Slurm holds no job to limits of accounts and QOS");
    }
    let closed = |named: &model_store::slurm_view::Named, gres: &str| {
        let of_type = format!("gres/gpu:{gres}");
        let mut caps = named.caps.iter();
        caps.any(|c| c.most == 0 && (c.tres == "gres/gpu" || c.tres.eq_ignore_ascii_case(&of_type)))
    };
    for pool in &cluster.pools {
        let without = accounts
            .accounts
            .iter()
            .chain(&accounts.qos)
            .filter(|n| closed(n, &pool.gres));
        let names: Vec<&str> = without.map(|n| n.name.as_str()).collect();
        if !names.is_empty() {
            let first: Vec<&str> = names.iter().copied().take(5).collect();
            seen.warning(
                "limits",
                format!(
                    "{} may have no {}, and their jobs are advised none: {}{}",
                    count_of(names.len(), "account or QOS"),
                    pool.gres,
                    first.join(", "),
                    if names.len() > 5 { ", ..." } else { "" }
                ),
                "`sacctmgr show assoc` and `show qos` show the limits; where they are meant, nothing is to be done",
            );
        }
    }
    let own = accounts
        .standings
        .iter()
        .filter(|s| s.memberships.iter().any(|m| m.own_limits))
        .count();
    if own > 0 {
        return seen.ok(
            "limits",
            "accounts and QOS are read; users with limits of their own keep GPU type and count as they ask for them",
        );
    }
    seen.ok("limits", "accounts and QOS are read");
}
