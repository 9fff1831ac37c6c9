//! Whether a job could be started in principle: on some node, in some partition that it names, for
//! this user, account and QOS, with the memory, CPUs, features and time that it asks for. Not
//! whether right now: nodes that others use count, nodes that cannot run jobs do not. Pure.
//!
//! A configuration that could not be started is not offered. Where this cannot be known the job
//! keeps its GPU type and count, and the advice goes to format and engine arguments alone.

mod caps;
mod demand;
mod nodes;

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::advisor::{ClusterState, Startable};
use crate::config::{Config, LimitEntry};
use crate::job_request::{Given, JobOption, asked, nodes_asked};
use crate::job_rewrite::{Allocation, Plan, Rules, plan};
use crate::options::{AdviceMode, RawOptions, shorten};
use crate::slurm_view::{Accounting, Accounts, Defaults, Named, Partition, SlurmView};
use demand::Demand;
pub use demand::minutes;

/// Who submits a job, and beside what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// The user's name; `None` where it cannot be told.
    pub user: Option<String>,
    /// Numbers of the user's groups.
    pub gids: Vec<u32>,
    /// Names of the user's groups; looked up where the configuration has limits by group.
    pub groups: Vec<String>,
    /// What the other components of a heterogeneous job take: two components never share a node.
    pub others: Vec<Other>,
}

/// Another component of a heterogeneous job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The GPU type that it gets, in any case; `None` where it may be any.
    gpu: Option<String>,
    /// Nodes that it takes at least.
    nodes: u32,
}

impl Other {
    /// From a component's own options, and those of its tag where it has one that acts; `None` for
    /// one that takes no GPUs.
    pub fn of(given: &Given, tag: Option<&RawOptions>) -> Option<Self> {
        let acts = tag.filter(|t| t.model.is_some() && t.mode != AdviceMode::Off);
        let asked = asked(given);
        let gpu = match acts {
            // Of several types nobody knows which it will be.
            Some(tag) => tag.pins.gpu.clone().filter(|gpu| !gpu.contains(',')),
            None => asked.as_ref()?.gpu.clone(),
        };
        Some(Self {
            gpu,
            nodes: nodes_asked(given).unwrap_or(1),
        })
    }
}

/// What can be said of where a job may start.
#[derive(Debug)]
pub enum Ground<'a> {
    /// The GPUs were stated and not observed: there is nothing to ask.
    Stated,
    /// Every configuration can be looked at.
    Seen(Box<Checker<'a>>),
    /// It cannot be known, and why: type and count stay as asked.
    Unknown(String),
}

/// Options that shape the nodes of a job in ways that are not reckoned here.
const NOT_RECKONED: [JobOption; 13] = [
    JobOption::Reservation,
    JobOption::Clusters,
    JobOption::ClusterConstraint,
    JobOption::Hint,
    JobOption::Contiguous,
    JobOption::CoresPerSocket,
    JobOption::ThreadsPerCore,
    JobOption::ExtraNodeInfo,
    JobOption::NtasksPerSocket,
    JobOption::NtasksPerCore,
    JobOption::CoreSpec,
    JobOption::ThreadSpec,
    JobOption::Batch,
];

/// What a job is looked at with.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// Its own options.
    pub given: &'a Given,
    /// Partitions that it may start in.
    pub partitions: &'a [String],
    /// True where its engines may run one on each of its nodes.
    pub spread: bool,
    /// Who submits it.
    pub who: &'a Who,
}

impl<'a> Ground<'a> {
    /// What a snapshot allows to say. `now` is in Unix seconds; `None` = nothing is too old.
    pub fn of(
        view: Option<&'a SlurmView>,
        cluster: &ClusterState,
        config: &'a Config,
        now: Option<i64>,
        job: Job<'a>,
    ) -> Self {
        let Some(observed_at) = cluster.observed_at else {
            return Self::Stated;
        };
        match seen(view, observed_at, cluster, config, now, job) {
            Ok(checker) => Self::Seen(Box::new(checker)),
            Err(reason) => Self::Unknown(reason),
        }
    }
}

fn seen<'a>(
    view: Option<&'a SlurmView>,
    observed_at: i64,
    cluster: &ClusterState,
    config: &'a Config,
    now: Option<i64>,
    job: Job<'a>,
) -> Result<Checker<'a>, String> {
    let view = view.ok_or("what the site allows is not in the snapshot")?;
    let age = now.map_or(0, |now| now.saturating_sub(observed_at));
    if age > SlurmView::LONGEST_AGE_S {
        return Err(format!(
            "Slurm was last observed {} h ago, which is too long",
            age / 3600
        ));
    }
    if let Some(name) = NOT_RECKONED.iter().find(|n| job.given.get(**n).is_some()) {
        return Err(format!("the job has --{}", name.name()));
    }
    let own = Own::of(view, job)?;
    let mut checker = Checker {
        view,
        config,
        types: cluster.pools.iter().map(|p| p.gres.clone()).collect(),
        job,
        usable: Vec::new(),
        closed: None,
        excluded: nodes::excluded(job.given)?,
        own,
        at: now.unwrap_or(observed_at),
        known: RefCell::default(),
    };
    checker.sort_partitions();
    Ok(checker)
}

/// What Slurm holds a job to, whatever its partition.
#[derive(Clone, Debug, Default)]
struct Own<'a> {
    account: Option<&'a Named>,
    account_name: Option<String>,
    qos: Option<&'a Named>,
    qos_name: Option<String>,
}

impl<'a> Own<'a> {
    /// # Errors
    /// Limits hold, and which cannot be known.
    fn of(view: &'a SlurmView, job: Job) -> Result<Self, String> {
        let typed = |option| job.given.get(option).map(str::to_owned);
        let mut own = Self {
            account_name: typed(JobOption::Account),
            qos_name: typed(JobOption::Qos),
            ..Self::default()
        };
        let accounts = match &view.accounting {
            Accounting::Read(accounts) => accounts,
            _ if !view.limits_enforced => return Ok(own),
            Accounting::Absent => return Err("Slurm's limits were not read".into()),
            Accounting::Unreadable(why) => {
                return Err(format!("Slurm's limits cannot be read: {why}"));
            }
        };
        match own.fill(accounts, job.who) {
            Err(reason) if view.limits_enforced => Err(reason),
            _ => Ok(own),
        }
    }

    fn fill(&mut self, accounts: &'a Accounts, who: &Who) -> Result<(), String> {
        let user = who.user.as_deref().ok_or("the user's name is not known")?;
        let standing = accounts
            .standing(user)
            .ok_or("the accounts of the user were not observed")?;
        let place = match &self.account_name {
            Some(name) => accounts.account(name).map(|(at, _)| at),
            None => standing.default,
        };
        let place = place.ok_or("the job's account was not observed")?;
        self.account = accounts.accounts.get(place as usize);
        self.account_name = self.account.map(|a| a.name.clone());
        let mut all = standing.memberships.iter();
        let member = all
            .find(|m| m.account == place)
            .ok_or("the user was not observed in the job's account")?;
        if self.qos_name.is_none() {
            let at = member.qos.ok_or("the job's QOS is not known")?;
            self.qos_name = accounts.qos.get(at as usize).map(|q| q.name.clone());
        }
        let name = self.qos_name.as_deref().unwrap_or_default();
        self.qos = Some(
            accounts
                .quality(name)
                .ok_or("the job's QOS was not observed")?,
        );
        if member.own_limits {
            return Err("the user has limits of his own, which are not published".into());
        }
        let all = self
            .account
            .into_iter()
            .chain(self.qos)
            .flat_map(|n| &n.caps);
        match all.into_iter().find(|cap| cap.tres == "billing") {
            Some(cap) => Err(format!(
                "{} is on billing, which is not reckoned",
                cap.limit
            )),
            None => Ok(()),
        }
    }
}

/// Looks at the configurations of one job.
#[derive(Debug)]
pub struct Checker<'a> {
    view: &'a SlurmView,
    config: &'a Config,
    types: Vec<String>,
    job: Job<'a>,
    /// Partitions in which the job may start, with their places.
    usable: Vec<(u32, &'a Partition)>,
    /// Why one of its partitions is none of them.
    closed: Option<String>,
    /// Nodes that the job keeps off.
    excluded: std::collections::BTreeSet<String>,
    own: Own<'a>,
    /// Unix seconds from which the job counts.
    at: i64,
    known: RefCell<BTreeMap<(String, u32, u32), Option<String>>>,
}

impl Startable for Checker<'_> {
    fn bar(&self, gres: &str, per_node: u32, nodes: u32) -> Option<String> {
        let key = (gres.to_owned(), per_node, nodes);
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone();
        }
        let allocation = Allocation {
            gpu: key.0.clone(),
            per_node,
            nodes,
        };
        let bar = self.look(&allocation).err();
        self.known.borrow_mut().insert(key, bar.clone());
        bar
    }
}

impl<'a> Checker<'a> {
    fn sort_partitions(&mut self) {
        for name in self.job.partitions {
            let Some((at, partition)) = self.view.partition(name) else {
                self.closed = Some(format!("partition {} was not observed", shorten(name)));
                continue;
            };
            match self.may_use(partition) {
                Ok(()) => self.usable.push((at, partition)),
                Err(reason) => self.closed = Some(reason),
            }
        }
    }

    fn may_use(&self, partition: &Partition) -> Result<(), String> {
        let name = &partition.name;
        let minutes = demand::minutes_of(self.job.given)?;
        let allow = &partition.allow;
        let listed = |list: &Option<Vec<String>>, name: &Option<String>| {
            let has = |l: &Vec<String>| name.as_ref().is_some_and(|n| has(l, n));
            list.as_ref().is_none_or(has)
        };
        let denied = |list: &[String], name: &Option<String>| {
            name.as_ref().map_or(!list.is_empty(), |n| has(list, n))
        };
        let (account, qos) = (&self.own.account_name, &self.own.qos_name);
        if !partition.is_up {
            return Err(format!("partition {name} starts no jobs"));
        }
        // A job that names no other partition could start nowhere else either.
        if partition.is_special && self.job.partitions.len() > 1 {
            return Err(format!(
                "partition {name} takes jobs of root, of a reservation or of some hosts alone"
            ));
        }
        if !listed(&allow.accounts, account) || denied(&allow.no_accounts, account) {
            return Err(format!("partition {name} is closed to the job's account"));
        }
        if !listed(&allow.qos, qos) || denied(&allow.no_qos, qos) {
            return Err(format!("partition {name} is closed to the job's QOS"));
        }
        let member = |groups: &Vec<u32>| groups.iter().any(|g| self.job.who.gids.contains(g));
        if !allow.groups.as_ref().is_none_or(member) {
            return Err(format!("partition {name} is closed to the user's groups"));
        }
        match (minutes, partition.max_minutes) {
            (Some(minutes), Some(most)) if minutes > most => Err(format!(
                "partition {name} takes jobs of {most} minutes at most, this one has {minutes}"
            )),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// Why a job with these GPUs could not be started.
    fn look(&self, allocation: &Allocation) -> Result<(), String> {
        let rules = rules(self.config, Some(self.view), &allocation.gpu, &self.types);
        let plan = plan(self.job.given, allocation, &rules, self.job.spread)?;
        self.look_at(&changed(self.job.given, &plan), allocation)
    }

    /// As [`Self::look`], of a job that asks so.
    fn look_at(&self, after: &Given, allocation: &Allocation) -> Result<(), String> {
        let none = || "none of the job's partitions can be used".to_owned();
        let mut reason = self.closed.clone();
        if self.view.all_partitions_count && reason.is_some() {
            return Err(reason.unwrap_or_else(none));
        }
        for (at, partition) in &self.usable {
            match self.fits(*at, partition, after, allocation) {
                Ok(()) if !self.view.all_partitions_count => return Ok(()),
                Ok(()) => {}
                Err(why) if self.view.all_partitions_count => return Err(why),
                Err(why) => reason = Some(why),
            }
        }
        match reason {
            None if !self.usable.is_empty() => Ok(()),
            reason => Err(reason.unwrap_or_else(none)),
        }
    }

    fn fits(
        &self,
        at: u32,
        partition: &'a Partition,
        after: &Given,
        allocation: &Allocation,
    ) -> Result<(), String> {
        let nodes = nodes_asked(after)
            .or_else(|| nodes_asked(self.job.given))
            .unwrap_or(allocation.nodes.max(1));
        if let Some(most) = partition.max_nodes.filter(|most| nodes > *most) {
            return Err(format!(
                "partition {} has jobs of {most} nodes at most, this takes {nodes}",
                partition.name
            ));
        }
        if nodes < partition.min_nodes {
            return Err(format!(
                "partition {} has jobs of {} nodes at least, this takes {nodes}",
                partition.name, partition.min_nodes
            ));
        }
        let defaults = merged(&partition.defaults, &self.view.defaults);
        let demand = Demand::of(after, allocation, nodes, &defaults, partition)?;
        // Slurm takes a node before it looks at what the node makes of a limit.
        for here in self.by_node(at, &demand) {
            self.within_caps(partition, &here)?;
        }
        self.within_configured(partition, &demand)?;
        self.on_nodes(at, partition, after, &demand)
    }

    fn within_caps(&self, partition: &Partition, demand: &Demand) -> Result<(), String> {
        if !self.view.limits_enforced {
            return Ok(());
        }
        let of_partition = match (&self.view.accounting, &partition.qos) {
            (Accounting::Read(accounts), Some(name)) => {
                let unseen = || {
                    format!(
                        "QOS {name} of partition {} was not observed",
                        partition.name
                    )
                };
                Some(accounts.quality(name).ok_or_else(unseen)?)
            }
            _ => None,
        };
        let of = [
            ("account", self.own.account),
            ("QOS", self.own.qos),
            ("QOS", of_partition),
        ];
        for (kind, named) in of {
            let Some(named) = named else { continue };
            for cap in &named.caps {
                caps::check(cap, demand)
                    .map_err(|words| format!("{} of {kind} {} {words}", cap.limit, named.name))?;
            }
        }
        Ok(())
    }

    /// What the configuration's `[[limit]]` entries say beside Slurm.
    fn within_configured(&self, partition: &Partition, demand: &Demand) -> Result<(), String> {
        let fits = |entry: &&LimitEntry| {
            entry.partition.fit(Some(&partition.name))
                && entry.account.fit(self.own.account_name.as_deref())
                && entry.qos.fit(self.own.qos_name.as_deref())
                && entry.group.fit_any(&self.job.who.groups)
        };
        for entry in self.config.limit.iter().filter(fits) {
            entry.check(&demand.gpu, demand.gpus())?;
        }
        Ok(())
    }
}

/// How a job on this GPU type is rewritten: the configuration's word, and where it names no feature of
/// a type, the one of its nodes that is named like it. Slurm compares features letter by letter.
pub fn rules(config: &Config, view: Option<&SlurmView>, gpu: &str, types: &[String]) -> Rules {
    let mut rules = config.rules(gpu, types);
    let nodes = view.map_or(&[][..], |view| &view.nodes);
    for names in rules.types.iter_mut().filter(|t| t.features.is_empty()) {
        let of_type = nodes
            .iter()
            .filter(|n| n.gpus.iter().any(|(g, _)| *g == names.name));
        let mut features = of_type.flat_map(|n| &n.features);
        let alike = features.find(|f| f.eq_ignore_ascii_case(&names.name));
        names.features.extend(alike.cloned());
    }
    rules
}

/// The job's options after a plan's edits.
fn changed(given: &Given, plan: &Plan) -> Given {
    let edit = |name: &str| plan.edits.iter().rev().find(|e| e.name == name);
    given.with(|option| edit(option.name()).map(|edit| edit.value.clone()))
}

fn has(list: &[String], name: &str) -> bool {
    list.iter().any(|n| n.eq_ignore_ascii_case(name))
}

/// A partition's own defaults before those of the cluster.
fn merged(own: &Defaults, all: &Defaults) -> Defaults {
    Defaults {
        mib_per_cpu: own.mib_per_cpu.or(all.mib_per_cpu),
        mib_per_node: own.mib_per_node.or(all.mib_per_node),
        mib_per_gpu: own.mib_per_gpu.or(all.mib_per_gpu),
        cpus_per_gpu: own.cpus_per_gpu.or(all.cpus_per_gpu),
        most_mib_per_cpu: own.most_mib_per_cpu.or(all.most_mib_per_cpu),
        most_mib_per_node: own.most_mib_per_node.or(all.most_mib_per_node),
    }
}

#[cfg(test)]
mod tests;
