//! Nodes, from `scontrol -d -o show nodes`.

use std::collections::BTreeMap;

use super::gres::{self, Gpus};

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: String,
    /// Whether it can run jobs now.
    pub(crate) usable: bool,
    /// Partitions that it is in.
    pub(crate) partitions: Vec<String>,
    /// GPUs by type.
    pub(crate) gpus: Gpus,
    /// GPUs in use by type.
    pub(crate) used: Gpus,
    /// Its state in Slurm's words.
    pub(crate) state: String,
    /// Since when somebody says why it cannot run jobs, Unix seconds; 0 where nobody does.
    pub(crate) since: i64,
    /// Other generic resources.
    pub(crate) others: Vec<(String, u64)>,
    /// CPUs that jobs can have.
    pub(crate) cpus: u32,
    /// CPUs of a core.
    pub(crate) threads: u32,
    /// Sockets.
    pub(crate) sockets: u32,
    /// Memory that jobs can have, MiB.
    pub(crate) mib: u64,
    /// Temporary disk, MB.
    pub(crate) tmp_mb: u64,
    /// Features that are active.
    pub(crate) features: Vec<String>,
}

/// Words in a node's state that keep jobs off it.
const UNUSABLE: [&str; 14] = [
    "DOWN",
    "DRAIN",
    "DRAINED",
    "DRAINING",
    "ERROR",
    "FAIL",
    "FAILING",
    "FUTURE",
    "INVAL",
    "INVALID_REG",
    "MAINT",
    "MAINTENANCE",
    "NOT_RESPONDING",
    "UNKNOWN",
];

/// The nodes of a capture, one a line.
pub(crate) fn parse(text: &str) -> Vec<Node> {
    text.lines().filter_map(node).collect()
}

fn node(line: &str) -> Option<Node> {
    // The keys of one line once: a site may have thousands of nodes.
    let mut keys: BTreeMap<&str, &str> = BTreeMap::new();
    for (key, value) in line
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
    {
        keys.entry(key).or_insert(value);
    }
    let field = |key| keys.get(key).copied().unwrap_or_default();
    let number = |key| field(key).parse::<u64>().unwrap_or(0);
    let small = |key| u32::try_from(number(key)).unwrap_or(u32::MAX);
    let name = Some(field("NodeName")).filter(|n| !n.is_empty())?;
    let used = field("GresUsed");
    // Without `-d`, or where it is not known, what is allocated stands in the trackable resources.
    let used = if used.is_empty() {
        gres::parse_tres(field("AllocTRES"))
    } else {
        gres::parse(used)
    };
    Some(Node {
        name: name.to_owned(),
        usable: usable(field("State")),
        partitions: field("Partitions")
            .split(',')
            .filter(|p| !p.is_empty())
            .map(str::to_owned)
            .collect(),
        gpus: gres::parse(field("Gres")),
        used,
        state: field("State").to_owned(),
        since: since(line),
        others: gres::others(field("Gres")),
        cpus: if small("CPUEfctv") > 0 {
            small("CPUEfctv")
        } else {
            small("CPUTot")
        },
        threads: small("ThreadsPerCore"),
        sockets: small("Sockets").saturating_mul(small("Boards").max(1)),
        mib: number("RealMemory").saturating_sub(number("MemSpecLimit")),
        tmp_mb: number("TmpDisk"),
        features: field("ActiveFeatures")
            .split(',')
            .filter(|f| !f.is_empty() && *f != "(null)")
            .map(str::to_owned)
            .collect(),
    })
}

/// `Reason=... [root@1795412684]` ends a line.
fn since(line: &str) -> i64 {
    let end = line.trim_end().strip_suffix(']');
    let stamp = end.and_then(|text| Some(text.rsplit_once(" [")?.1.rsplit_once('@')?.1));
    stamp.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The value of a key where it stands first: `Reason` and `Comment`, which an administrator writes
/// and which may hold anything, come after all the others.
pub(super) fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn usable(state: &str) -> bool {
    let bare = |w: &'_ str| {
        w.trim_end_matches(|c: char| !c.is_ascii_alphabetic())
            .to_owned()
    };
    let words: Vec<String> = state.split('+').map(bare).collect();
    // A node that is being switched on does not answer yet.
    let is_waking = words.iter().any(|w| w == "POWERING_UP");
    let is_silent = state.contains('*') && !is_waking;
    let bars = |w: &String| UNUSABLE.contains(&w.as_str()) && !(is_waking && w == "NOT_RESPONDING");
    !state.is_empty() && !is_silent && !words.iter().any(bars)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_a_real_cluster_are_read() {
        let nodes = parse(include_str!("captures/22.05/nodes.txt"));
        let brief: Vec<_> = nodes
            .iter()
            .map(|n| (n.name.as_str(), n.usable, n.gpus.clone(), n.used.clone()))
            .collect();
        let one = |gres: &str, n| vec![(gres.to_owned(), n)];
        assert_eq!(brief[0], ("a1", true, one("a100", 8), one("a100", 6)));
        assert_eq!(brief[1], ("h1", true, one("h100", 8), one("h100", 1)));
        // Drained, with a reason that looks like fields.
        assert_eq!(brief[2], ("h2", false, one("h200", 8), one("h200", 1)));
        assert_eq!(nodes[0].partitions, ["serve"]);
        let first = &nodes[0];
        assert_eq!(
            (
                first.cpus,
                first.threads,
                first.sockets,
                first.mib,
                first.tmp_mb
            ),
            (64, 1, 2, 512_000, 0)
        );
        assert_eq!(first.features, ["a100", "gpu"]);
        assert_eq!([first.since, nodes[2].since], [0, 1_795_412_684]);
    }

    #[test]
    fn states_that_keep_jobs_off_are_known() {
        for state in [
            "IDLE",
            "MIXED",
            "ALLOCATED",
            "MIXED+PLANNED",
            "IDLE+POWERED_DOWN",
            "ALLOCATED+COMPLETING",
            "IDLE+CLOUD",
            "IDLE+CLOUD+POWERED_DOWN",
            "MIXED+CLOUD+NOT_RESPONDING+POWERING_UP",
            "IDLE~",
            "IDLE+PLANNED",
        ] {
            assert!(usable(state), "{state}");
        }
        for state in [
            "DOWN",
            "DOWN*",
            "IDLE*",
            "IDLE+DRAIN",
            "MIXED+DRAIN",
            "IDLE+NOT_RESPONDING",
            "IDLE+MAINT",
            "DOWN+DRAIN+INVALID_REG",
            "FUTURE",
            "",
        ] {
            assert!(!usable(state), "{state}");
        }
    }
}
