//! The components of a heterogeneous job: each has an advice of its own, and one environment serves
//! them all. As Slurm's own variables, those of component N end in `_HET_GROUP_N`; without it they
//! are the first component's. Pure.

use plugin_contract::environment::job as env;

/// The name of a variable for one component.
pub fn name_for(name: &str, component: u32) -> String {
    format!("{name}_HET_GROUP_{component}")
}

/// The variables of an advice under one component's names; those of the job as a whole stay out.
pub fn of_component(
    environment: &[(String, String)],
    component: u32,
) -> impl Iterator<Item = (String, String)> {
    let own = environment
        .iter()
        .filter(|(name, _)| name.starts_with("SLURM_LLM_") && name != env::SPOOL);
    own.map(move |(name, value)| (name_for(name, component), value.clone()))
}

/// The variables of one component of a job: what `look_up` gives, with the job's id and the names of
/// the advice looked up under the component that runs on this node. In a job without components, and where
/// it cannot be told on which one a process runs, the names are taken as they are.
///
/// A component without an advice has none: it must not take the first one's.
pub fn look_up(name: &str, look_up: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    const OF_ALL: [&str; 1] = [env::SPOOL];
    let own = name.starts_with("SLURM_LLM_") || name == "SLURM_JOB_ID";
    if !own || OF_ALL.contains(&name) {
        return look_up(name);
    }
    match here(look_up) {
        Some(component) if component > 0 => look_up(&name_for(name, component)),
        _ => look_up(name),
    }
}

/// The component that runs on this node, by the node's name.
fn here(look_up: &dyn Fn(&str) -> Option<String>) -> Option<u32> {
    let size: u32 = look_up("SLURM_HET_SIZE")?.trim().parse().ok()?;
    let node = look_up("SLURMD_NODENAME")?;
    let holds = |component: &u32| {
        look_up(&name_for("SLURM_JOB_NODELIST", *component))
            .is_some_and(|list| contains(&list, &node))
    };
    (0..size.min(128)).find(holds)
}

/// True where a list of nodes as Slurm writes it (`a1,h[01-04,7]-ib`) names this one.
pub fn contains(list: &str, node: &str) -> bool {
    let (mut depth, mut begin) = (0_u32, 0);
    let mut entries = Vec::new();
    for (at, c) in list.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                entries.extend(list.get(begin..at));
                begin = at + 1;
            }
            _ => {}
        }
    }
    entries.extend(list.get(begin..));
    entries
        .into_iter()
        .any(|entry| entry_contains(entry.trim(), node))
}

fn entry_contains(entry: &str, node: &str) -> bool {
    let Some((head, rest)) = entry.split_once('[') else {
        return entry == node;
    };
    let (Some(tail), Some((ranges, more))) = (node.strip_prefix(head), rest.split_once(']')) else {
        return false;
    };
    let digits = tail
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(tail.len());
    // A number may end before its digits do, where digits follow the bracket.
    (1..=digits).any(|end| {
        tail.split_at_checked(end).is_some_and(|(number, tail)| {
            ranges.split(',').any(|range| in_range(range, number)) && entry_contains(more, tail)
        })
    })
}

/// Numbers with leading zeros are as wide as their range's first.
fn in_range(range: &str, number: &str) -> bool {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let value = |text: &str| text.parse::<u64>().ok();
    let wide = number.len() == first.len() || (!first.starts_with('0') && !number.starts_with('0'));
    match (value(first), value(last), value(number)) {
        (Some(first), Some(last), Some(n)) => wide && (first..=last).contains(&n),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nodes_are_found_in_slurms_lists() {
        for (list, node) in [
            ("h1", "h1"),
            ("a1,h[1-2]", "h2"),
            ("h[01-12,20]", "h09"),
            ("h[1-12]", "h10"),
            ("r[1-2]n[03-04]", "r2n04"),
            ("n[7]-ib", "n7-ib"),
        ] {
            assert!(contains(list, node), "{list} {node}");
        }
        for (list, node) in [
            ("", "h1"),
            ("h1", "h11"),
            ("h[1-2]", "h3"),
            ("h[01-12]", "h9"),
            ("h[1-2]", "h1x"),
            ("h[1-2", "h1"),
            ("h[1-12]", "h010"),
        ] {
            assert!(!contains(list, node), "{list} {node}");
        }
    }

    fn job(node: &str) -> impl Fn(&str) -> Option<String> {
        let node = node.to_owned();
        move |name| {
            let value = match name {
                "SLURM_HET_SIZE" => "2",
                "SLURM_JOB_NODELIST_HET_GROUP_0" => "h1",
                "SLURM_JOB_NODELIST_HET_GROUP_1" => "h[2-3]",
                "SLURMD_NODENAME" => &node,
                "SLURM_LLM_TP" | "SLURM_LLM_TP_HET_GROUP_0" => "2",
                "SLURM_LLM_TP_HET_GROUP_1" => "4",
                "SLURM_LLM_PRECISION" | "SLURM_LLM_PRECISION_HET_GROUP_0" => "fp8",
                "SLURM_LLM_SPOOL" => "/spool",
                _ => return None,
            };
            Some(value.to_owned())
        }
    }

    #[test]
    fn each_component_has_its_own_and_nothing_of_the_first() {
        for (node, tp, precision) in [
            ("h1", "2", Some("fp8")),
            ("h3", "4", None),
            ("x", "2", Some("fp8")),
        ] {
            assert_eq!(
                look_up("SLURM_LLM_TP", &job(node)).as_deref(),
                Some(tp),
                "{node}"
            );
            assert_eq!(
                look_up("SLURM_LLM_PRECISION", &job(node)).as_deref(),
                precision,
                "{node}"
            );
            assert_eq!(
                look_up("SLURM_LLM_SPOOL", &job(node)).as_deref(),
                Some("/spool")
            );
        }
    }

    proptest! {
        #[test]
        fn no_list_panics(list in "[a-c0-9,\\[\\]-]{0,30}", node in "[a-c0-9-]{0,8}") {
            contains(&list, &node);
        }

        #[test]
        fn every_node_of_a_range_is_in_it(first in 1_u32..50, more in 0_u32..50, at in 0_u32..50) {
            let last = first + more;
            let list = format!("x1,n[{first}-{last}]");
            prop_assert_eq!(contains(&list, &format!("n{at}")), (first..=last).contains(&at));
        }
    }
}
