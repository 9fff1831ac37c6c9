//! The site as Slurm sees it, with its age: nodes, partitions, reservations, and the limits of
//! accounts and QOS. Values alone; the startable rules asks them.
//!
//! What is published can be read by every user. It holds no user's name and no limit of a user's
//! own: a user stands in it as a hash of the name, with the accounts he may use, and with a mark
//! where a limit of his own exists. Its size is not told: for that user it cannot be known what may
//! start.

use serde::{Deserialize, Serialize};

use crate::hashing::fnv1a;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SlurmView {
    /// Nodes with GPUs, equal ones together.
    pub nodes: Vec<NodeGroup>,
    /// Partitions, in Slurm's order.
    pub partitions: Vec<Partition>,
    /// Reservations that had not ended.
    pub reservations: Vec<Reservation>,
    /// What a job gets that does not say, on the whole cluster.
    pub defaults: Defaults,
    /// True where a job must keep to the limits of every partition that it lists.
    pub all_partitions_count: bool,
    /// True where Slurm holds jobs to the limits of accounts and QOS.
    pub limits_enforced: bool,
    /// Accounts, QOS and who may use them.
    pub accounting: Accounting,
}

/// Nodes that are alike in everything that a job can ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeGroup {
    /// Their names, as Slurm's list.
    pub names: String,
    /// How many they are.
    pub count: u32,
    /// GPUs of each type on each of them, as Slurm spells the type.
    pub gpus: Vec<(String, u32)>,
    /// Other generic resources on each: `name` or `name:type`, and how many.
    pub others: Vec<(String, u64)>,
    /// CPUs that jobs can have on each.
    pub cpus: u32,
    /// CPUs that a job gets at once: those of a core.
    pub threads: u32,
    /// Sockets of each.
    pub sockets: u32,
    /// Memory for jobs on each, MiB.
    pub mib: u64,
    /// Temporary disk on each, MB.
    pub tmp_mb: u64,
    /// Features that are active.
    pub features: Vec<String>,
    /// Places in [`SlurmView::partitions`].
    pub partitions: Vec<u32>,
    /// Places in [`SlurmView::reservations`].
    pub reservations: Vec<u32>,
    /// `None` where they can run jobs; else Slurm's words for the state.
    pub down: Option<String>,
    /// Since when they cannot, Unix seconds; 0 where that is not known.
    pub down_since: i64,
}

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Partition {
    /// Its name.
    pub name: String,
    /// True where jobs may be started in it.
    pub is_up: bool,
    /// Longest time limit of a job, minutes.
    pub max_minutes: Option<u64>,
    /// Time limit of a job that names none, minutes.
    pub default_minutes: Option<u64>,
    /// Fewest nodes of a job.
    pub min_nodes: u32,
    /// Most nodes of a job.
    pub max_nodes: Option<u32>,
    /// Most CPUs of a job on a node.
    pub max_cpus_per_node: Option<u32>,
    /// Accounts, QOS and groups that may use it.
    pub allow: Allow,
    /// The QOS that holds for every job in it.
    pub qos: Option<String>,
    /// True where every job gets whole nodes.
    pub is_exclusive: bool,
    /// True where only root, only a job in a reservation, or only jobs from some hosts, may use it.
    pub is_special: bool,
    /// What a job gets that does not say; before those of the cluster.
    pub defaults: Defaults,
    /// `TRESBillingWeights`: what an hour of one of each costs, as the operator states it.
    pub billing: Vec<(String, f64)>,
}

/// Who may use a partition. `None` = everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// Accounts.
    pub accounts: Option<Vec<String>>,
    /// Accounts that may not, whoever may.
    pub no_accounts: Vec<String>,
    /// QOS.
    pub qos: Option<Vec<String>>,
    /// QOS that may not, whoever may.
    pub no_qos: Vec<String>,
    /// Numbers of groups.
    pub groups: Option<Vec<u32>>,
}

/// What a job gets that does not say how much, and the most that it may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defaults {
    /// Memory for each CPU, MiB.
    pub mib_per_cpu: Option<u64>,
    /// Memory on each node, MiB.
    pub mib_per_node: Option<u64>,
    /// Memory for each GPU, MiB.
    pub mib_per_gpu: Option<u64>,
    /// CPUs for each GPU.
    pub cpus_per_gpu: Option<u32>,
    /// Most memory for each CPU, MiB: a job that asks for more gets more CPUs.
    pub most_mib_per_cpu: Option<u64>,
    /// Most memory on a node, MiB.
    pub most_mib_per_node: Option<u64>,
}

/// One reservation, which keeps other jobs off its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its name.
    pub name: String,
    /// Unix seconds.
    pub start: i64,
    /// Unix seconds.
    pub end: i64,
}

/// What accounting says of accounts and QOS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Accounting {
    /// The site has none.
    #[default]
    Absent,
    /// It could not be read; why.
    Unreadable(String),
    /// It was read.
    Read(Accounts),
}

/// Accounts, QOS and users.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Accounts {
    /// Accounts by name, with what holds for each job in them.
    pub accounts: Vec<Named>,
    /// QOS by name, with what holds for each job in them.
    pub qos: Vec<Named>,
    /// Hash of a user's name and the place in `standings`, twelve bytes each, sorted.
    pub users: Vec<u8>,
    /// What a user may use; equal ones once.
    pub standings: Vec<Standing>,
}

/// An account or a QOS.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// What holds for each job in it.
    pub caps: Vec<Cap>,
    /// `UsageFactor`: by how much an hour counts more; 1 for accounts.
    pub factor: f64,
}

/// A limit on one trackable resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cap {
    /// The resource as Slurm writes it: `cpu`, `node`, `gres/gpu`, `gres/gpu:h100`.
    pub tres: String,
    /// The limit; memory in MiB.
    pub most: u64,
    /// What it is on.
    pub per: Per,
    /// Slurm's name of the limit, as in `GrpTRES`.
    pub limit: String,
}

/// What a limit is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Per {
    /// A job at most. What many jobs share is the most that one can ever have, too.
    #[default]
    Job,
    /// Each node of a job at most.
    Node,
    /// A job times its minutes at most.
    Minutes,
    /// A job at least.
    Least,
}

/// What a user may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Standing {
    /// Place of the default account.
    pub default: Option<u32>,
    /// The accounts.
    pub memberships: Vec<Membership>,
}

/// A user in an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Membership {
    /// Place of the account.
    pub account: u32,
    /// True where a limit of the user's own exists there.
    pub own_limits: bool,
    /// Place of the QOS of a job that names none; `None` where that is not known.
    pub qos: Option<u32>,
}

impl SlurmView {
    /// Older than this, seconds, it says nothing of what may start now: `observe` runs every five
    /// minutes where its timer is on.
    pub const LONGEST_AGE_S: i64 = 6 * 3600;

    /// A partition by its name, and its place.
    pub fn partition(&self, name: &str) -> Option<(u32, &Partition)> {
        (0u32..).zip(&self.partitions).find(|(_, p)| p.name == name)
    }

    /// The part of a type's GPUs (0 to 1) on nodes that can run anybody's jobs at this moment, Unix
    /// seconds: not down, drained or in a reservation. `None` where no node has the type.
    pub fn part_in_service(&self, gres: &str, now: i64) -> Option<f64> {
        let runs = |at: &u32| {
            let all = self.reservations.get(*at as usize);
            all.is_some_and(|r| r.start <= now && now < r.end)
        };
        let (mut all, mut in_service) = (0.0, 0.0);
        for group in &self.nodes {
            let of_type = group
                .gpus
                .iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(gres));
            let gpus =
                f64::from(of_type.map(|(_, count)| count).sum::<u32>()) * f64::from(group.count);
            all += gpus;
            if group.down.is_none() && !group.reservations.iter().any(runs) {
                in_service += gpus;
            }
        }
        (all > 0.0).then(|| in_service / all)
    }

    /// This view without what accounting says.
    pub fn without_accounting(&self) -> Self {
        Self {
            accounting: Accounting::Absent,
            ..self.clone()
        }
    }

    /// True where every place that is named exists.
    pub fn is_sound(&self) -> bool {
        let within = |all: &[u32], of: usize| all.iter().all(|at| (*at as usize) < of);
        let nodes = self.nodes.iter().all(|n| {
            within(&n.partitions, self.partitions.len())
                && within(&n.reservations, self.reservations.len())
        });
        let prices = self.partitions.iter().flat_map(|p| &p.billing);
        nodes && prices.clone().all(|(_, weight)| weight.is_finite())
    }
}

/// Bytes of one user: eight of the hash, four of the place.
const USER: usize = 12;

impl Accounts {
    /// Packs users for [`Self::standing`].
    pub fn pack(mut users: Vec<(String, u32)>) -> Vec<u8> {
        users.sort();
        let mut hashed: Vec<(u64, u32)> = users.iter().map(|(u, at)| (hash(u), *at)).collect();
        hashed.sort_unstable();
        hashed
            .iter()
            .flat_map(|(hash, at)| hash.to_be_bytes().into_iter().chain(at.to_be_bytes()))
            .collect()
    }

    /// What a user may use; `None` for one that accounting does not know.
    pub fn standing(&self, user: &str) -> Option<&Standing> {
        let wanted = hash(user).to_be_bytes();
        let (mut low, mut high) = (0, self.users.len() / USER);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.users.get(middle * USER..(middle + 1) * USER)?;
            let (key, at) = entry.split_at_checked(8)?;
            match key.cmp(&wanted[..]) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    let at = u32::from_be_bytes(at.try_into().ok()?);
                    return self.standings.get(at as usize);
                }
            }
        }
        None
    }

    /// An account by its name, as Slurm keeps it: in lower case.
    pub fn account(&self, name: &str) -> Option<(u32, &Named)> {
        let named = |(_, a): &(u32, &Named)| a.name.eq_ignore_ascii_case(name);
        (0u32..).zip(&self.accounts).find(named)
    }

    /// A QOS by its name.
    pub fn quality(&self, name: &str) -> Option<&Named> {
        self.qos.iter().find(|q| q.name.eq_ignore_ascii_case(name))
    }
}

fn hash(user: &str) -> u64 {
    fnv1a(user.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nodes_that_are_down_or_reserved_now_are_not_in_service() {
        let group = |count, down: Option<&str>, reservations| NodeGroup {
            count,
            gpus: vec![("h100".into(), 8)],
            down: down.map(str::to_owned),
            reservations,
            ..NodeGroup::default()
        };
        let reservation = |start, end| Reservation {
            name: "m".into(),
            start,
            end,
        };
        let view = SlurmView {
            nodes: vec![
                group(4, None, vec![]),
                group(1, Some("IDLE+DRAIN"), vec![]),
                group(2, None, vec![0]),
                group(1, None, vec![1]),
            ],
            reservations: vec![reservation(100, 200), reservation(300, 400)],
            ..SlurmView::default()
        };
        assert_eq!(view.part_in_service("H100", 150), Some(5.0 / 8.0));
        assert_eq!(view.part_in_service("h100", 250), Some(7.0 / 8.0));
        assert_eq!(view.part_in_service("a100", 150), None);
    }

    proptest! {
        #[test]
        fn every_user_that_is_packed_is_found(names in prop::collection::btree_set("[a-z]{1,8}", 0..50)) {
            let standing = |at: u32| Standing { default: Some(at), memberships: Vec::new() };
            let users: Vec<(String, u32)> = names.iter().cloned().zip(0u32..).collect();
            let accounts = Accounts {
                users: Accounts::pack(users.clone()),
                standings: (0..50).map(standing).collect(),
                ..Accounts::default()
            };
            for (user, at) in &users {
                prop_assert_eq!(accounts.standing(user), Some(&standing(*at)));
            }
            prop_assert_eq!(accounts.standing("nobody there"), None);
        }
    }
}
