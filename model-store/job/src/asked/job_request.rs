//! The texts of a job's own request that an advice changes: GPUs in lists of resources, and the
//! comment. Pure; plugin and `omnipilot submit` share it.
//!
//! Slurm adds the forms of a GPU request up (`--gpus=2 --gres=gpu:2` asks for four), so a rewrite
//! sets one and takes every other away, and leaves whatever is no GPU.

use std::collections::BTreeMap;

use crate::options::RawOptions;

/// Longest comment that is written, bytes; what the user wrote is never cut.
const LONGEST_COMMENT: usize = 8192;

/// One table of the options: each with its long name.
macro_rules! job_options {
    ($($option:ident $name:literal,)*) => {
        /// An option of `sbatch` that a decision looks at.
        #[allow(missing_docs, reason = "each is the long option of its name")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum JobOption {
            $($option,)*
        }

        impl JobOption {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$option,)*];

            /// Its long name, without dashes.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$option => $name,)*
                }
            }
        }
    };
}

job_options! {
    Gres "gres",
    Gpus "gpus",
    GpusPerNode "gpus-per-node",
    GpusPerTask "gpus-per-task",
    GpusPerSocket "gpus-per-socket",
    TresPerTask "tres-per-task",
    TresBind "tres-bind",
    NtasksPerGpu "ntasks-per-gpu",
    SocketsPerNode "sockets-per-node",
    Constraint "constraint",
    Nodes "nodes",
    Ntasks "ntasks",
    NtasksPerNode "ntasks-per-node",
    CpusPerTask "cpus-per-task",
    CpusPerGpu "cpus-per-gpu",
    Mem "mem",
    MemPerCpu "mem-per-cpu",
    MemPerGpu "mem-per-gpu",
    Exclusive "exclusive",
    Partition "partition",
    Account "account",
    Qos "qos",
    Nodelist "nodelist",
    Nodefile "nodefile",
    Exclude "exclude",
    TestOnly "test-only",
    Time "time",
    Mincpus "mincpus",
    Tmp "tmp",
    Reservation "reservation",
    Clusters "clusters",
    ClusterConstraint "cluster-constraint",
    CoresPerSocket "cores-per-socket",
    ThreadsPerCore "threads-per-core",
    ExtraNodeInfo "extra-node-info",
    NtasksPerSocket "ntasks-per-socket",
    NtasksPerCore "ntasks-per-core",
    CoreSpec "core-spec",
    ThreadSpec "thread-spec",
    Batch "batch",
    Hint "hint",
    Contiguous "contiguous",
    Begin "begin",
    Dependency "dependency",
    Hold "hold",
    Array "array",
    Export "export",
    ExportFile "export-file",
}

/// Those beside `--gres` that ask for nothing but GPUs. `--tres-per-task` may ask for other things
/// beside them.
pub const GPU_OPTIONS: [JobOption; 4] = [
    JobOption::Gpus,
    JobOption::GpusPerNode,
    JobOption::GpusPerTask,
    JobOption::GpusPerSocket,
];

/// The options of a job that a decision looks at, as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(BTreeMap<JobOption, String>);

impl Given {
    /// Looks each of them up by its long name.
    pub fn of(option: impl Fn(&str) -> Option<String>) -> Self {
        let known = |one: &JobOption| Some((*one, option(one.name())?));
        Self(JobOption::ALL.iter().filter_map(known).collect())
    }

    /// The same with other values for some options: `None` for one that stays.
    #[must_use]
    pub fn with(&self, edit: impl Fn(JobOption) -> Option<Option<String>>) -> Self {
        let of = |option: &JobOption| {
            let value = edit(*option).unwrap_or_else(|| self.0.get(option).cloned());
            Some((*option, value?))
        };
        Self(JobOption::ALL.iter().filter_map(of).collect())
    }

    /// The value of an option, where it was given.
    pub fn get(&self, option: JobOption) -> Option<&str> {
        self.0.get(&option).map(String::as_str)
    }
}

/// What one component of a submission asks for, whoever has read it: Slurm itself for the plugin,
/// [`reading`](super::reading) for the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobRequest {
    /// Which component of a heterogeneous job it is, from 0.
    pub component: u32,
    /// The `--llm-*` options.
    pub options: RawOptions,
    /// The options of `sbatch` that a decision looks at.
    pub given: Given,
}

/// An option that is a number; `None` where it was not given or is none.
pub fn number_of(given: &Given, option: JobOption) -> Option<u32> {
    given.get(option)?.trim().parse().ok().filter(|n| *n > 0)
}

/// The least number of nodes that `--nodes` asks for (`2`, `2-4`, `2,4`); `None` where it was not
/// given.
pub fn nodes_asked(given: &Given) -> Option<u32> {
    let least = given.get(JobOption::Nodes)?.split(['-', ',', ':']).next()?;
    Some(least.trim().parse().unwrap_or(1).max(1))
}

/// Options that Slurm fills in from others without counting them as given.
pub const DERIVED: [JobOption; 2] = [JobOption::TresPerTask, JobOption::TresBind];

/// What the user's own GPU request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// As people read it: `gpu:a100:8` or `--gpus=8`.
    pub text: String,
    /// GPU type, lower case, where one is named.
    pub gpu: Option<String>,
    /// GPUs on a node, where the form tells.
    pub count: Option<u32>,
    /// Nodes.
    pub nodes: u32,
}

/// The GPUs that a job asks for; `None` where it asks for none.
pub fn asked(given: &Given) -> Option<Asked> {
    asked_by_gres(given)
        .or_else(|| GPU_OPTIONS.iter().find_map(|one| asked_by(given, *one)))
        .or_else(|| asked_by_task(given))
        .map(|asked| Asked {
            nodes: nodes_asked(given).unwrap_or(1),
            ..of_feature(given, asked)
        })
}

fn asked_by_gres(given: &Given) -> Option<Asked> {
    let entry = entries(given.get(JobOption::Gres)?).find(|entry| is_gpu(entry))?;
    Some(Asked {
        text: entry.to_owned(),
        ..type_and_count(after_name(entry))
    })
}

fn asked_by(given: &Given, option: JobOption) -> Option<Asked> {
    let value = given.get(option)?;
    let mut asked = type_and_count(value.split(',').next().unwrap_or_default());
    asked.count = match option {
        JobOption::Gpus if nodes_asked(given).unwrap_or(1) != 1 || value.contains(',') => None,
        JobOption::GpusPerTask => times_tasks(given, asked.count),
        JobOption::GpusPerSocket => asked
            .count
            .zip(number_of(given, JobOption::SocketsPerNode))
            .and_then(|(n, sockets)| n.checked_mul(sockets)),
        _ => asked.count,
    };
    asked.text = format!("--{}={value}", option.name());
    Some(asked)
}

/// GPUs in `--tres-per-task`.
fn asked_by_task(given: &Given) -> Option<Asked> {
    let value = given.get(JobOption::TresPerTask)?;
    let entry = entries(value).find(|entry| is_gpu(entry))?;
    let asked = type_and_count(after_name(entry));
    Some(Asked {
        text: format!("--tres-per-task={value}"),
        count: times_tasks(given, asked.count),
        ..asked
    })
}

fn times_tasks(given: &Given, each: Option<u32>) -> Option<u32> {
    let nodes = nodes_asked(given).unwrap_or(1);
    let tasks = number_of(given, JobOption::NtasksPerNode)
        .or_else(|| number_of(given, JobOption::Ntasks).filter(|_| nodes == 1))
        .or((nodes == 1).then_some(1))?;
    each?.checked_mul(tasks)
}

/// A type that a plain constraint names stands for that of an untyped request (`--gres=gpu:8 -C
/// a100`), for what people are told.
fn of_feature(given: &Given, mut asked: Asked) -> Asked {
    let plain = |c: &&str| !c.contains(['&', '|', ',', '[', '(', '*']);
    if let (None, Some(feature)) = (&asked.gpu, given.get(JobOption::Constraint).filter(plain)) {
        asked.text = format!("{} -C {feature}", asked.text);
    }
    asked
}

fn after_name(entry: &str) -> &str {
    entry.split_once([':', '=']).map_or("", |(_, rest)| rest)
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
        gpu,
        count,
        ..Asked::default()
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
        asked(&Given::of(option)).map(|asked| (asked.text, asked.gpu, asked.count))
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
        let cases: [Case; 15] = [
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
                &[("gpus-per-socket", "2"), ("sockets-per-node", "2")],
                "--gpus-per-socket=2",
                None,
                Some(4),
            ),
            (
                &[
                    ("tres-per-task", "cpu=4,gres/gpu:a100:2"),
                    ("ntasks-per-node", "2"),
                ],
                "--tres-per-task=cpu=4,gres/gpu:a100:2",
                Some("a100".into()),
                Some(4),
            ),
            (
                &[("gres", "gpu:2"), ("constraint", "a100-80gb")],
                "gpu:2 -C a100-80gb",
                None,
                Some(2),
            ),
            (
                &[("gpus-per-task", "1"), ("ntasks", "4"), ("nodes", "2")],
                "--gpus-per-task=1",
                None,
                None,
            ),
            (
                &[("gpus", "a100:2,h100:2")],
                "--gpus=a100:2,h100:2",
                Some("a100".into()),
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
