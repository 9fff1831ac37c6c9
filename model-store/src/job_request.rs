//! The texts of a job's own request that an advice changes: GPUs in `--gres`, and the comment.
//! Pure; plugin and `omnipilot submit` share it.

/// Longest comment that is written, bytes; what the user wrote is never cut.
const LONGEST_COMMENT: usize = 8192;

/// The options of `sbatch` beside `--gres` that ask for GPUs. They add up with it, so a rewrite
/// takes them all away. The last one is known from Slurm 22.05 on.
pub const OTHER_GPU_OPTIONS: [&str; 5] =
    ["gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket", "tres-per-task"];

/// True for an entry that asks for GPUs: `gpu`, `gpu:2`, `gpu:a100:2`, also as Slurm prints it
/// back (`gres:gpu:...`, `gres/gpu:...`).
fn is_gpu(entry: &str) -> bool {
    let entry = entry.trim();
    let name = entry.strip_prefix("gres:").or_else(|| entry.strip_prefix("gres/")).unwrap_or(entry);
    let name = name.split([':', '=']).next().unwrap_or(name);
    name.eq_ignore_ascii_case("gpu")
}

/// The value of `--gres` with its GPUs replaced: what else was asked for stays.
pub fn replace_gpus(gres: Option<&str>, gpus: &str) -> String {
    let plain = |entry: &str| {
        let entry = entry.trim();
        entry.strip_prefix("gres:").or_else(|| entry.strip_prefix("gres/")).unwrap_or(entry).to_owned()
    };
    let others = gres
        .unwrap_or_default()
        .split(',')
        .filter(|e| !e.trim().is_empty() && !is_gpu(e) && !e.trim().eq_ignore_ascii_case("none"))
        .map(plain);
    std::iter::once(gpus.to_owned()).chain(others).collect::<Vec<_>>().join(",")
}

/// The GPU part of a `--gres` value, for "instead of"; `None` where it asks for none.
pub fn gpus_asked(gres: &str) -> Option<String> {
    let entry = gres.split(',').find(|e| is_gpu(e))?.trim();
    Some(entry.strip_prefix("gres:").or_else(|| entry.strip_prefix("gres/")).unwrap_or(entry).to_owned())
}

/// The user's comment with the advice's mark behind it. A mark of an earlier advice is replaced;
/// nothing else of the comment is touched.
pub fn mark_comment(comment: Option<&str>, mark: &str) -> String {
    let kept: Vec<&str> = comment
        .unwrap_or_default()
        .split(' ')
        .filter(|word| !(word.starts_with("omnipilot:") && word.len() > "omnipilot:".len()))
        .collect();
    let kept = kept.join(" ");
    if kept.trim().is_empty() {
        return mark.to_owned();
    }
    if kept.len() + mark.len() + 1 > LONGEST_COMMENT {
        return comment.unwrap_or_default().to_owned();
    }
    format!("{kept} {mark}")
}

/// The advice id that a comment carries.
pub fn advice_in_comment(comment: &str) -> Option<&str> {
    comment.split_whitespace().filter_map(|w| w.strip_prefix("omnipilot:")).rfind(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gpus_are_replaced_and_other_resources_kept() {
        for (asked, becomes) in [
            (None, "gpu:h100:2"),
            (Some("gpu:a100:8"), "gpu:h100:2"),
            (Some("gres:gpu:a100:1"), "gpu:h100:2"),
            (Some("gres/gpu:a100:1,gres/nic:2"), "gpu:h100:2,nic:2"),
            (Some("nic:1,gpu"), "gpu:h100:2,nic:1"),
            (Some("gpumem:3"), "gpu:h100:2,gpumem:3"),
        ] {
            assert_eq!(replace_gpus(asked, "gpu:h100:2"), becomes, "{asked:?}");
        }
        assert_eq!(gpus_asked("nic:1,gres:gpu:a100:2").as_deref(), Some("gpu:a100:2"));
        assert_eq!(gpus_asked("nic:1"), None);
    }

    #[test]
    fn an_old_mark_is_replaced() {
        assert_eq!(mark_comment(Some("mine omnipilot:aa"), "omnipilot:bb"), "mine omnipilot:bb");
        assert_eq!(mark_comment(None, "omnipilot:bb"), "omnipilot:bb");
        assert_eq!(advice_in_comment("a omnipilot:bb"), Some("bb"));
    }

    proptest! {
        #[test]
        fn a_users_comment_is_never_lost(comment in "[ -~]{0,60}") {
            prop_assume!(!comment.contains("omnipilot:"));
            let marked = mark_comment(Some(&comment), "omnipilot:7f3a91cc");
            prop_assert!(comment.trim().is_empty() || marked.starts_with(&comment));
            prop_assert_eq!(advice_in_comment(&marked), Some("7f3a91cc"));
        }

        #[test]
        fn exactly_one_gpu_entry_remains(gres in "[a-z:/,0-9]{0,40}") {
            let replaced = replace_gpus(Some(&gres), "gpu:h100:2");
            prop_assert_eq!(replaced.split(',').filter(|e| is_gpu(e)).count(), 1);
        }
    }
}
