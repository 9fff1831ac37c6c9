//! The texts of a job's own request that an advice changes: GPUs in lists of resources, and the
//! comment. Pure; plugin and `omnipilot submit` share it.
//!
//! Slurm adds the forms of a GPU request up (`--gpus=2 --gres=gpu:2` asks for four), so a rewrite
//! sets one and takes every other away, and leaves whatever is no GPU.

/// Longest comment that is written, bytes; what the user wrote is never cut.
const LONGEST_COMMENT: usize = 8192;

/// The options of `sbatch` beside `--gres` that ask for nothing but GPUs.
pub const GPU_OPTIONS: [&str; 4] = ["gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket"];

/// The option of newer releases that may ask for other things beside GPUs.
pub const TRES_PER_TASK: &str = "tres-per-task";

/// What the user's own GPU request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// As people read it: `gpu:a100:8` or `--gpus=8`.
    pub text: String,
    /// GPU type, lower case, where one is named.
    pub gpu: Option<String>,
    /// GPUs on a node, where the form tells.
    pub count: Option<u32>,
}

/// The GPUs that a job asks for, from its options by name; `None` where it asks for none.
pub fn asked(option: &dyn Fn(&str) -> Option<String>) -> Option<Asked> {
    asked_by_gres(option).or_else(|| GPU_OPTIONS.iter().find_map(|name| asked_by(option, name)))
}

fn asked_by_gres(option: &dyn Fn(&str) -> Option<String>) -> Option<Asked> {
    let gres = option("gres")?;
    let entry = entries(&gres).find(|entry| is_gpu(entry))?;
    let rest = entry.split_once([':', '=']).map_or("", |(_, rest)| rest);
    Some(Asked {
        text: entry.to_owned(),
        ..type_and_count(rest)
    })
}

fn asked_by(option: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<Asked> {
    let value = option(name)?;
    let number = |name: &str| option(name)?.parse::<u32>().ok();
    let mut asked = type_and_count(value.split(',').next().unwrap_or_default());
    match name {
        "gpus" if number("nodes").unwrap_or(1) != 1 => asked.count = None,
        "gpus-per-task" => {
            asked.count = asked
                .count
                .and_then(|n| n.checked_mul(number("ntasks").unwrap_or(1)))
        }
        "gpus-per-socket" => asked.count = None,
        _ => {}
    }
    asked.text = format!("--{name}={value}");
    Some(asked)
}

/// `h100:4`, `h100`, `4` or nothing.
fn type_and_count(text: &str) -> Asked {
    let (gpu, count) = match text.rsplit_once([':', '=']) {
        Some((gpu, count)) => (gpu, count.parse().ok()),
        None if text.is_empty() => ("", Some(1)),
        None => text
            .parse()
            .map_or((text, Some(1)), |count| ("", Some(count))),
    };
    let gpu = (!gpu.is_empty()).then(|| gpu.to_ascii_lowercase());
    Asked {
        text: String::new(),
        gpu,
        count,
    }
}

/// The entries of a list of resources, without the `gres:` or `gres/` that Slurm puts before them.
fn entries(list: &str) -> impl Iterator<Item = &str> {
    let plain = |entry: &str| -> usize { if starts_with_gres(entry) { 5 } else { 0 } };
    list.split(',')
        .map(str::trim)
        .map(move |entry| entry.get(plain(entry)..).unwrap_or(entry))
        .filter(|entry| !entry.is_empty())
}

fn starts_with_gres(entry: &str) -> bool {
    entry.starts_with("gres:") || entry.starts_with("gres/")
}

fn is_gpu(entry: &str) -> bool {
    entry
        .split([':', '='])
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("gpu"))
}

/// A list of generic resources as `--gres` takes it, with nothing of Slurm's own marks in it.
pub fn plain_gres(gres: &str) -> String {
    entries(gres).collect::<Vec<_>>().join(",")
}

/// The user's generic resources with the GPUs replaced.
pub fn replace_gpus(gres: &str, gpus: &str) -> String {
    let kept = entries(gres).filter(|entry| !is_gpu(entry) && !entry.eq_ignore_ascii_case("none"));
    kept.chain([gpus]).collect::<Vec<_>>().join(",")
}

/// A list of resources without its GPUs, each entry as it was; `None` where it names no GPU.
pub fn without_gpus(list: &str) -> Option<String> {
    let gpu = |entry: &str| is_gpu(entries(entry).next().unwrap_or_default());
    let kept: Vec<&str> = list.split(',').filter(|entry| !gpu(entry)).collect();
    (kept.len() < list.split(',').count()).then(|| kept.join(","))
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
    comment
        .split_whitespace()
        .filter_map(|w| w.strip_prefix("omnipilot:"))
        .rfind(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asks(pairs: &[(&str, &str)]) -> Option<(String, Option<String>, Option<u32>)> {
        let option = |name: &str| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        asked(&option).map(|asked| (asked.text, asked.gpu, asked.count))
    }

    #[test]
    fn every_form_is_read() {
        let a100 = Some("a100".to_owned());
        type Case = (
            &'static [(&'static str, &'static str)],
            &'static str,
            Option<String>,
            Option<u32>,
        );
        let cases: [Case; 10] = [
            (
                &[("gres", "gres:gpu:A100:8")],
                "gpu:A100:8",
                a100.clone(),
                Some(8),
            ),
            (
                &[("gres", "gres/license:1,gres/gpu:2")],
                "gpu:2",
                None,
                Some(2),
            ),
            (&[("gres", "gpu")], "gpu", None, Some(1)),
            (&[("gres", "gpu:a100")], "gpu:a100", a100.clone(), Some(1)),
            (
                &[("gpus", "a100:2")],
                "--gpus=a100:2",
                a100.clone(),
                Some(2),
            ),
            (&[("gpus", "8"), ("nodes", "2")], "--gpus=8", None, None),
            (
                &[("gpus-per-node", "4")],
                "--gpus-per-node=4",
                None,
                Some(4),
            ),
            (
                &[("gpus-per-task", "a100:2"), ("ntasks", "2")],
                "--gpus-per-task=a100:2",
                a100,
                Some(4),
            ),
            (
                &[("gpus-per-socket", "1")],
                "--gpus-per-socket=1",
                None,
                None,
            ),
            (
                &[("gres", "gpu:lots")],
                "gpu:lots",
                Some("lots".into()),
                Some(1),
            ),
        ];
        for (pairs, text, gpu, count) in cases {
            assert_eq!(
                asks(pairs),
                Some((text.to_owned(), gpu, count)),
                "{pairs:?}"
            );
        }
        assert_eq!(asks(&[("gres", "license:1"), ("mem", "4")]), None);
        assert_eq!(asks(&[]), None);
    }

    #[test]
    fn only_gpus_are_replace_gpus() {
        assert_eq!(replace_gpus("", "gpu:h100:2"), "gpu:h100:2");
        assert_eq!(replace_gpus("none", "gpu:h100:2"), "gpu:h100:2");
        assert_eq!(replace_gpus("gres:gpu:a100:1", "gpu:h100:2"), "gpu:h100:2");
        assert_eq!(
            replace_gpus("gres/lustre:2,gres/gpu:1,gres/gpu:a100:1", "gpu:h100:2"),
            "lustre:2,gpu:h100:2"
        );
        assert_eq!(
            replace_gpus("gpus_of_mine:1", "gpu:h100:2"),
            "gpus_of_mine:1,gpu:h100:2"
        );
        assert_eq!(plain_gres("gres:gpu:a100:1,gres:x"), "gpu:a100:1,x");
    }

    #[test]
    fn other_resources_of_a_task_stay() {
        assert_eq!(without_gpus("cpu=4,gres/gpu:a100:1"), Some("cpu=4".into()));
        assert_eq!(without_gpus("gres/gpu=2"), Some(String::new()));
        assert_eq!(without_gpus("cpu=4"), None);
    }

    #[test]
    fn an_old_mark_is_replaced() {
        assert_eq!(
            mark_comment(Some("mine omnipilot:aa"), "omnipilot:bb"),
            "mine omnipilot:bb"
        );
        assert_eq!(mark_comment(None, "omnipilot:bb"), "omnipilot:bb");
        assert_eq!(advice_in_comment("a omnipilot:bb"), Some("bb"));
    }

    proptest! {
        #[test]
        fn no_request_panics_and_no_gpu_of_the_user_is_left(gres in "[a-z0-9:=/,*() ]{0,40}") {
            let new = replace_gpus(&gres, "gpu:h100:2");
            prop_assert_eq!(entries(&new).filter(|entry| is_gpu(entry)).count(), 1);
            drop(asks(&[("gres", &gres)]));
            prop_assert!(without_gpus(&gres).is_none_or(|rest| without_gpus(&rest).is_none()));
        }

        #[test]
        fn what_is_no_gpu_is_kept(others in prop::collection::vec("[a-f]{1,5}(:[0-9])?", 0..4)) {
            let gres = others.join(",");
            let mut kept = others;
            kept.push("gpu:h100:2".into());
            prop_assert_eq!(replace_gpus(&gres, "gpu:h100:2"), kept.join(","));
        }

        #[test]
        fn a_users_comment_is_never_lost(comment in "[ -~]{0,60}") {
            prop_assume!(!comment.contains("omnipilot:"));
            let marked = mark_comment(Some(&comment), "omnipilot:7f3a91cc");
            prop_assert!(comment.trim().is_empty() || marked.starts_with(&comment));
            prop_assert_eq!(advice_in_comment(&marked), Some("7f3a91cc"));
        }
    }
}
