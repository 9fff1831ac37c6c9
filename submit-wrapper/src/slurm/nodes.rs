//! Nodes, from `scontrol -d -o show nodes`.

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
    let name = value(line, "NodeName").filter(|n| !n.is_empty())?;
    let field = |key| value(line, key).unwrap_or_default();
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
    })
}

/// The value of a key where it stands first: `Reason` and `Comment`, which an administrator writes
/// and which may hold anything, come after all the others.
pub(super) fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
}

fn usable(state: &str) -> bool {
    let mut words = state.split('+');
    let marked = state.contains('*');
    !state.is_empty()
        && !marked
        && !words
            .any(|w| UNUSABLE.contains(&w.trim_end_matches(|c: char| !c.is_ascii_alphabetic())))
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
