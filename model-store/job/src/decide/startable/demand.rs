//! What a job asks for, in numbers, as one partition takes it.

use crate::job_request::{Given, JobOption, number_of};
use crate::job_rewrite::Allocation;
use crate::options::shorten;
use crate::slurm_view::{Defaults, NodeGroup, Partition};

/// A job's request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// GPU type, as Slurm spells it.
    pub(super) gpu: String,
    /// GPUs on each node.
    pub(super) per_node: u32,
    /// Nodes.
    pub(super) nodes: u32,
    /// CPUs on each node.
    pub(super) cpus: u64,
    /// Sockets of each node.
    pub(super) sockets: u32,
    /// Memory on each node, MiB; `None` for what a node has.
    pub(super) mib: Option<u64>,
    /// Temporary disk on each node, MB.
    pub(super) tmp_mb: u64,
    /// Other generic resources on each node.
    pub(super) others: Vec<(String, u64)>,
    /// Time limit, minutes; `None` for none.
    pub(super) minutes: Option<u64>,
    /// True where it gets whole nodes.
    pub(super) exclusive: bool,
    /// GPUs of each type on a node that it gets whole; empty until the node is known.
    pub(super) whole: Vec<(String, u64)>,
    /// True where it may start long after it is submitted, whatever is free.
    pub(super) is_later: bool,
}

impl Demand {
    /// # Errors
    /// An amount that cannot be read, or memory over the partition's limit.
    pub(super) fn of(
        given: &Given,
        allocation: &Allocation,
        nodes: u32,
        defaults: &Defaults,
        partition: &Partition,
    ) -> Result<Self, String> {
        let per_node = allocation.per_node;
        let mut cpus = cpus(given, per_node, nodes, defaults);
        let mib = memory(given, per_node, cpus, defaults)?;
        if let (Some(mib), Some(most)) = (mib, defaults.most_mib_per_cpu.filter(|m| *m > 0)) {
            cpus = cpus.max(mib.div_ceil(most));
        }
        if let (Some(mib), Some(most)) = (mib, defaults.most_mib_per_node)
            && mib > most
        {
            return Err(format!(
                "partition {} gives a job {most} MiB on a node at most, this takes {mib}",
                partition.name
            ));
        }
        if let Some(most) = partition.max_cpus_per_node.filter(|m| cpus > u64::from(*m)) {
            return Err(format!(
                "partition {} gives {most} CPUs of a node at most, this takes {cpus}",
                partition.name
            ));
        }
        let of_partition = || partition.default_minutes.or(partition.max_minutes);
        Ok(Self {
            gpu: allocation.gpu.clone(),
            per_node,
            nodes,
            cpus,
            sockets: number_of(given, JobOption::SocketsPerNode).unwrap_or(0),
            mib,
            tmp_mb: given.get(JobOption::Tmp).map_or(Ok(0), amount)?,
            others: others(given)?,
            minutes: minutes_of(given)?.or_else(of_partition),
            exclusive: partition.is_exclusive || given.get(JobOption::Exclusive).is_some(),
            whole: Vec::new(),
            is_later: is_later(given),
        })
    }

    /// True where what it takes of a node depends on the node.
    pub(super) fn depends_on_node(&self) -> bool {
        self.exclusive || self.mib.is_none()
    }

    /// The same job on nodes like these: whole ones have all CPUs, all memory and all GPUs counted.
    pub(super) fn on(&self, group: &NodeGroup) -> Self {
        let mut here = self.clone();
        if here.mib.is_none() || here.exclusive {
            here.mib = Some(group.mib);
        }
        if here.exclusive {
            here.cpus = u64::from(group.cpus);
            here.others.clone_from(&group.others);
            let whole = |(gres, count): &(String, u32)| (gres.clone(), u64::from(*count));
            here.whole = group.gpus.iter().map(whole).collect();
        }
        here
    }

    /// GPUs in all.
    pub(super) fn gpus(&self) -> u64 {
        u64::from(self.per_node) * u64::from(self.nodes)
    }

    /// How much of a trackable resource the job takes in all.
    pub(super) fn of_job(&self, tres: &str) -> u64 {
        match tres {
            "node" => u64::from(self.nodes),
            _ => self.of_node(tres).saturating_mul(u64::from(self.nodes)),
        }
    }

    /// How much of a trackable resource it takes on a node.
    pub(super) fn of_node(&self, tres: &str) -> u64 {
        if let Some(gres) = tres.strip_prefix("gres/") {
            let (name, kind) = gres.split_once(':').unwrap_or((gres, ""));
            if name == "gpu" {
                let same = |gres: &str| kind.is_empty() || kind.eq_ignore_ascii_case(gres);
                if !self.whole.is_empty() {
                    let all = self.whole.iter().filter(|(gres, _)| same(gres));
                    return all.map(|(_, count)| count).sum();
                }
                return if same(&self.gpu) {
                    u64::from(self.per_node)
                } else {
                    0
                };
            }
            let of_name = |other: &&(String, u64)| {
                other.0 == gres || (kind.is_empty() && other.0.split(':').next() == Some(name))
            };
            return self.others.iter().filter(of_name).map(|(_, n)| n).sum();
        }
        match tres {
            "cpu" => self.cpus,
            "mem" => self.mib.unwrap_or(0),
            "node" => 1,
            _ => 0,
        }
    }
}

/// Its own options hold it back: a time, another job, its owner, or its own array's other tasks.
fn is_later(given: &Given) -> bool {
    let held = [JobOption::Begin, JobOption::Dependency, JobOption::Hold];
    let array = given.get(JobOption::Array);
    let throttled = array.is_some_and(|list| list.contains('%'));
    throttled || held.iter().any(|option| given.get(*option).is_some())
}

fn cpus(given: &Given, gpus: u32, nodes: u32, defaults: &Defaults) -> u64 {
    let tasks = number_of(given, JobOption::NtasksPerNode)
        .or_else(|| number_of(given, JobOption::Ntasks).map(|n| n.div_ceil(nodes.max(1))))
        .unwrap_or(1);
    let of_tres = given.get(JobOption::TresPerTask).and_then(|list| {
        let mut all = list.split(',');
        all.find_map(|e| e.trim().strip_prefix("cpu")?.get(1..)?.parse::<u32>().ok())
    });
    let named = number_of(given, JobOption::CpusPerTask).or(of_tres);
    let per_gpu = number_of(given, JobOption::CpusPerGpu)
        .or(defaults.cpus_per_gpu.filter(|_| named.is_none()));
    let by_task = u64::from(tasks) * u64::from(named.unwrap_or(1));
    let by_gpu = u64::from(per_gpu.unwrap_or(0)) * u64::from(gpus);
    let least = u64::from(number_of(given, JobOption::Mincpus).unwrap_or(0));
    by_task.max(by_gpu).max(least)
}

/// Memory on a node; `None` for all that a node has.
fn memory(given: &Given, gpus: u32, cpus: u64, defaults: &Defaults) -> Result<Option<u64>, String> {
    let of = |option: JobOption, times: u64| {
        let text = given.get(option)?;
        Some(mebibytes(text).map(|m| m.saturating_mul(times)))
    };
    let typed = of(JobOption::Mem, 1)
        .or_else(|| of(JobOption::MemPerGpu, u64::from(gpus)))
        .or_else(|| of(JobOption::MemPerCpu, cpus));
    if let Some(mib) = typed {
        // Nothing stands for everything.
        return mib.map(|m| Some(m).filter(|m| *m > 0));
    }
    let all = [
        defaults.mib_per_gpu.map(|m| m * u64::from(gpus)),
        defaults.mib_per_cpu.map(|m| m * cpus),
        defaults.mib_per_node,
    ];
    Ok(all.into_iter().flatten().max())
}

/// An amount of memory as Slurm takes it, MiB.
fn mebibytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end).unwrap_or((text, ""));
    let wrong = || format!("`{}` is no amount of memory", shorten(text));
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let unit = unit
        .trim_end_matches(['b', 'B', 'n', 'c'])
        .to_ascii_uppercase();
    match unit.as_str() {
        "K" => Ok(number.div_ceil(1024)),
        "" | "M" => Ok(number),
        "G" => Ok(number.saturating_mul(1024)),
        "T" => Ok(number.saturating_mul(1024 * 1024)),
        _ => Err(wrong()),
    }
}

fn amount(text: &str) -> Result<u64, String> {
    mebibytes(text)
}

/// Generic resources other than GPUs.
fn others(given: &Given) -> Result<Vec<(String, u64)>, String> {
    let list = crate::job_request::plain_gres(given.get(JobOption::Gres).unwrap_or_default());
    let mut out = Vec::new();
    for entry in list.split(',').filter(|e| !e.is_empty()) {
        let name = entry.split([':', '=']).next().unwrap_or_default();
        if name == "gpu" || name.eq_ignore_ascii_case("none") {
            continue;
        }
        let (what, count) = match entry.rsplit_once([':', '=']) {
            Some((what, count)) => match count.parse() {
                Ok(count) => (what, count),
                Err(_) if count.starts_with(|c: char| c.is_ascii_digit()) => {
                    return Err(format!("--gres={} is not reckoned", shorten(entry)));
                }
                Err(_) => (entry, 1),
            },
            None => (entry, 1),
        };
        out.push((what.replace('=', ":"), count));
    }
    Ok(out)
}

/// The time limit that a job names, minutes, rounded up; `u64::MAX` for none at all.
///
/// # Errors
/// A time that cannot be read.
pub(super) fn minutes_of(given: &Given) -> Result<Option<u64>, String> {
    let Some(text) = given.get(JobOption::Time) else {
        return Ok(None);
    };
    minutes(text)
        .map(Some)
        .ok_or_else(|| format!("--time={} is no time", shorten(text)))
}

/// A time as Slurm takes it: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`,
/// `days-hours:minutes`, `days-hours:minutes:seconds`; minutes, rounded up.
pub fn minutes(text: &str) -> Option<u64> {
    let text = text.trim();
    if matches!(
        text.to_ascii_uppercase().as_str(),
        "UNLIMITED" | "INFINITE" | "-1" | "0"
    ) {
        return Some(u64::MAX);
    }
    let (days, rest) = match text.split_once('-') {
        Some((days, rest)) => (days.parse::<u64>().ok()?, rest),
        None => (0, text),
    };
    let numbers: Vec<u64> = rest
        .split(':')
        .map(|n| n.parse().ok())
        .collect::<Option<_>>()?;
    let (hours, minutes, seconds) = match (text.contains('-'), numbers.as_slice()) {
        (true, [h]) => (*h, 0, 0),
        (true, [h, m]) | (false, [h, m, 0]) => (*h, *m, 0),
        (false, [m]) => (0, *m, 0),
        (false, [m, s]) => (0, *m, *s),
        (_, [h, m, s]) => (*h, *m, *s),
        _ => return None,
    };
    let most = 1 << 40;
    let small = [days, hours, minutes, seconds].iter().all(|n| *n < most);
    small.then(|| (days * 24 + hours) * 60 + minutes + seconds.div_ceil(60))
}
