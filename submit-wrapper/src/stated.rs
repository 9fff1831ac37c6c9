//! GPUs that are stated on the command line, where there is no Slurm to ask. Pure.

use model_store::advisor::{ClusterState, GpuPool};

/// Most nodes of one type: more than any cluster has.
const MOST_NODES: u32 = 100_000;

/// GPUs that a question states.
#[derive(Clone, Debug)]
pub(crate) enum Stated {
    /// At most so many, of any type.
    Most(u32),
    /// Types and numbers.
    Of(ClusterState),
}

/// A number of GPUs, or types and numbers as for [`cluster`].
///
/// # Errors
/// As for [`cluster`].
pub(crate) fn gpus(text: &str) -> Result<Stated, String> {
    match text.trim().parse::<u32>() {
        Ok(0) => Err("at least one GPU is needed".into()),
        Ok(most) => Ok(Stated::Most(most)),
        Err(_) => cluster(text).map(Stated::Of),
    }
}

/// The cluster of `TYPE:PER_NODE[xNODES]`, separated by commas, as in `h100:8x4,a100:4`; one node
/// where no number of nodes is given, all GPUs free. Slurm's own `gpu:h100:8` and `8xh100` are read too.
///
/// # Errors
/// The item that is none, in words.
pub(crate) fn cluster(text: &str) -> Result<ClusterState, String> {
    let mut pools: Vec<GpuPool> = Vec::new();
    for item in text.split(',').map(str::trim) {
        let pool = pool(item).ok_or_else(|| {
            let shown = model_store::options::shorten(item);
            format!("`{shown}` is not TYPE:PER_NODE or TYPE:PER_NODExNODES, such as h100:8x4")
        })?;
        if pools
            .iter()
            .any(|p| p.gres.eq_ignore_ascii_case(&pool.gres))
        {
            return Err(format!("`{}` is named twice", pool.gres));
        }
        pools.push(pool);
    }
    pools.sort_by(|a, b| a.gres.cmp(&b.gres));
    Ok(ClusterState {
        pools,
        ..ClusterState::default()
    })
}

fn pool(item: &str) -> Option<GpuPool> {
    let item = item.strip_prefix("gpu:").unwrap_or(item);
    let (gres, counts) = item.rsplit_once(':').or_else(|| {
        let (count, gres) = item.split_once(['x', 'X'])?;
        count
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then_some((gres, count))
    })?;
    let (per_node, nodes) = counts.split_once(['x', 'X']).unwrap_or((counts, "1"));
    let within = |text: &str, most: u32| text.parse().ok().filter(|n| (1..=most).contains(n));
    let per_node: u32 = within(per_node, ClusterState::MOST_PER_NODE)?;
    let nodes: u32 = within(nodes, MOST_NODES)?;
    let word = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let named = !gres.is_empty() && gres.len() <= 64 && gres.chars().all(word);
    named.then(|| GpuPool {
        gres: gres.to_owned(),
        nodes,
        per_node,
        total: per_node * nodes,
        free: per_node * nodes,
        ..GpuPool::default()
    })
}

#[cfg(test)]
mod tests {
    use super::{Stated, cluster, gpus};
    use proptest::prelude::*;

    #[test]
    fn types_and_numbers_are_read_in_slurms_words_too() {
        let pools = cluster("h200:8,gpu:A100:4x16").unwrap().pools;
        let told: Vec<_> = pools
            .iter()
            .map(|p| (p.gres.as_str(), p.per_node, p.nodes, p.total, p.free))
            .collect();
        assert_eq!(told, [("A100", 4, 16, 64, 64), ("h200", 8, 1, 8, 8)]);
    }

    #[test]
    fn a_number_alone_is_the_most_of_any_type() {
        assert!(matches!(gpus("4"), Ok(Stated::Most(4))));
        assert!(matches!(gpus("2xa100"), Ok(Stated::Of(c)) if c.pools[0].total == 2));
        assert!(gpus("0").is_err());
    }

    #[test]
    fn what_is_no_list_of_gpus_is_named() {
        for wrong in [
            "",
            "h100",
            "h100:",
            ":8",
            "h100:0",
            "h100:8x0",
            "h100:8x",
            "h100:2000",
            "a b:8",
            "h100:8,,a100:8",
            "h100:99999999999",
        ] {
            assert!(cluster(wrong).is_err(), "{wrong}");
        }
        assert!(cluster("h100:8,H100:4").unwrap_err().contains("twice"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_sound_cluster_or_an_error(text in "\\PC{0,40}|([a-z]{1,4}:[0-9]{1,5}(x[0-9]{1,7})?,?){1,4}") {
            if let Ok(cluster) = cluster(&text) {
                prop_assert!(cluster.is_sound() && cluster.pools.iter().all(|p| p.total > 0));
            }
        }
    }
}
