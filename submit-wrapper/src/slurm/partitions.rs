//! Partitions, from `scontrol -a -o show partition`.

use model_store::slurm_view::{Allow, Defaults, Partition};
use model_store::startable::minutes;
use nix::unistd::Group;

use super::nodes::value;

/// The partitions of a capture, one a line.
pub(crate) fn parse(text: &str) -> Vec<Partition> {
    text.lines().filter_map(partition).collect()
}

fn partition(line: &str) -> Option<Partition> {
    let name = value(line, "PartitionName").filter(|n| !n.is_empty())?;
    let set = |key| value(line, key).filter(|v| !is_none(v));
    let number = |key| set(key)?.parse().ok();
    let yes = |key| value(line, key) == Some("YES");
    let time = |key| set(key).and_then(minutes).filter(|m| *m < u64::MAX);
    Some(Partition {
        name: name.to_owned(),
        is_up: value(line, "State") == Some("UP"),
        max_minutes: time("MaxTime"),
        default_minutes: time("DefaultTime"),
        min_nodes: number("MinNodes").unwrap_or(0),
        max_nodes: number("MaxNodes"),
        max_cpus_per_node: number("MaxCPUsPerNode"),
        allow: allow(line),
        qos: set("QoS").map(str::to_owned),
        // So until 25.11, and since 26.05.
        is_exclusive: value(line, "OverSubscribe") == Some("EXCLUSIVE")
            || value(line, "Exclusive") == Some("NODE"),
        is_special: yes("RootOnly") || yes("ReqResv") || set("AllocNodes").is_some(),
        defaults: defaults(&set),
        billing: set("TRESBillingWeights").map(billing).unwrap_or_default(),
    })
}

fn is_none(value: &str) -> bool {
    matches!(value, "" | "(null)" | "N/A" | "NONE" | "UNLIMITED" | "ALL")
}

fn allow(line: &str) -> Allow {
    let list = |key| {
        let text = value(line, key).filter(|v| !is_none(v))?;
        Some(text.split(',').map(str::to_owned).collect::<Vec<String>>())
    };
    let number = |name: &String| Some(Group::from_name(name).ok()??.gid.as_raw());
    Allow {
        accounts: list("AllowAccounts"),
        no_accounts: list("DenyAccounts").unwrap_or_default(),
        qos: list("AllowQos"),
        no_qos: list("DenyQos").unwrap_or_default(),
        groups: list("AllowGroups").map(|names| names.iter().filter_map(number).collect()),
    }
}

/// What a job gets that does not say, from keys as `slurm.conf` spells them.
pub(crate) fn defaults<'a>(key: &dyn Fn(&'static str) -> Option<&'a str>) -> Defaults {
    let of_gpus = key("JobDefaults").unwrap_or_default();
    let in_list = |name: &str| {
        let mut pairs = of_gpus.split(',').filter_map(|pair| pair.split_once('='));
        pairs
            .find(|(n, _)| n.eq_ignore_ascii_case(name))?
            .1
            .parse()
            .ok()
    };
    let number = |name| key(name)?.parse().ok();
    Defaults {
        mib_per_cpu: number("DefMemPerCPU"),
        mib_per_node: number("DefMemPerNode"),
        mib_per_gpu: in_list("DefMemPerGPU"),
        cpus_per_gpu: in_list("DefCpuPerGPU").and_then(|n: u64| u32::try_from(n).ok()),
        most_mib_per_cpu: number("MaxMemPerCPU"),
        most_mib_per_node: number("MaxMemPerNode"),
    }
}

/// `CPU=1.0,Mem=0.25G,GRES/gpu:H100=3.5`: names in lower case but for a GPU type's own. A unit
/// behind a weight is left away: it is on memory alone.
fn billing(text: &str) -> Vec<(String, f64)> {
    let pair = |pair: &str| {
        let (name, weight) = pair.split_once('=')?;
        let (kind, gres) = name.split_once(':').unwrap_or((name, ""));
        let kind = kind.trim().to_ascii_lowercase();
        let name = if gres.is_empty() {
            kind
        } else {
            format!("{kind}:{gres}")
        };
        let digits = weight.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let weight: f64 = digits.parse().ok()?;
        weight.is_finite().then_some((name, weight))
    };
    text.split(',').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_nodes_and_hosts_are_read_in_the_words_of_each_release() {
        let read = |rest: &str| parse(&format!("PartitionName=p {rest} State=UP\n")).remove(0);
        let before = "AllocNodes=ALL ExclusiveUser=NO OverSubscribe=EXCLUSIVE";
        let since = "AllocNodes=ALL Exclusive=NODE OverSubscribe=NO";
        assert!(read(before).is_exclusive && read(since).is_exclusive);
        assert!(!read("Exclusive=USER OverSubscribe=NO").is_exclusive);
        assert!(!read(since).is_special && read("AllocNodes=login1").is_special);
    }

    #[test]
    fn partitions_of_a_real_cluster_are_read() {
        let all = parse(include_str!("captures/22.05/partitions.txt"));
        let brief: Vec<_> = all
            .iter()
            .map(|p| (p.name.as_str(), p.is_up, p.max_minutes, p.max_nodes))
            .collect();
        assert_eq!(
            brief,
            [
                ("serve", true, None, None),
                ("two", true, Some(1440), Some(1)),
                ("shut", false, Some(60), None)
            ]
        );
        let two = &all[1];
        assert_eq!(
            two.allow.accounts.as_deref(),
            Some(&["poor".into(), "rich".into()][..])
        );
        assert_eq!(two.qos.as_deref(), Some("normal"));
        assert_eq!(two.billing[3], ("gres/gpu:h100".to_owned(), 3.5));
        assert_eq!(two.billing[1], ("mem".to_owned(), 0.25));
        let shut = &all[2];
        assert!(shut.is_exclusive && shut.allow.groups.is_some());
        assert_eq!(
            (shut.defaults.mib_per_gpu, shut.defaults.cpus_per_gpu),
            (Some(1000), Some(4))
        );
    }
}
