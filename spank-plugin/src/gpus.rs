//! The forms in which a job asks for GPUs.
//!
//! Slurm adds the forms up (`--gpus=2 --gres=gpu:2` asks for four), so a rewrite sets one and takes every other away,
//! and leaves whatever is no GPU.

use std::ffi::CStr;

use crate::host::JobOptions;

/// Options that ask for nothing but GPUs: a rewrite takes them away.
pub(crate) const GPUS_ONLY: [&CStr; 4] = [
    c"gpus",
    c"gpus-per-node",
    c"gpus-per-task",
    c"gpus-per-socket",
];

/// Options that may ask for other things beside GPUs: a rewrite takes the GPUs out of them. Absent from older releases.
pub(crate) const GPUS_AMONG_OTHERS: [&CStr; 1] = [c"tres-per-task"];

/// What the user's own GPU request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As people read it: `gpu:a100:8` or `--gpus=8`.
    pub(crate) text: String,
    /// GPU type, lower case, where one is named.
    pub(crate) gpu: Option<String>,
    /// GPUs on a node, where the form tells.
    pub(crate) count: Option<u32>,
}

/// The GPUs that a job asks for; `None` where it asks for none.
pub(crate) fn asked(job: &impl JobOptions) -> Option<Asked> {
    asked_by_gres(job).or_else(|| GPUS_ONLY.iter().find_map(|name| asked_by(job, name)))
}

fn asked_by_gres(job: &impl JobOptions) -> Option<Asked> {
    let gres = job.given(c"gres")?;
    let entry = entries(&gres).find(|entry| is_gpu(entry))?;
    let rest = entry.split_once([':', '=']).map_or("", |(_, rest)| rest);
    Some(Asked {
        text: entry.to_owned(),
        ..type_and_count(rest)
    })
}

fn asked_by(job: &impl JobOptions, name: &CStr) -> Option<Asked> {
    let value = job.given(name)?;
    let name = name.to_string_lossy();
    let mut asked = type_and_count(value.split(',').next().unwrap_or_default());
    match &*name {
        "gpus" if number(job, c"nodes").unwrap_or(1) != 1 => asked.count = None,
        "gpus-per-task" => asked.count = per_task(job, asked.count),
        "gpus-per-socket" => asked.count = None,
        _ => {}
    }
    asked.text = format!("--{name}={value}");
    Some(asked)
}

fn per_task(job: &impl JobOptions, each: Option<u32>) -> Option<u32> {
    each?.checked_mul(number(job, c"ntasks").unwrap_or(1))
}

fn number(job: &impl JobOptions, name: &CStr) -> Option<u32> {
    job.given(name)?.parse().ok()
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

/// The entries of a list of trackable resources, without the `gres:` or `gres/` that Slurm puts before them.
fn entries(list: &str) -> impl Iterator<Item = &str> {
    let plain = |entry: &'_ str| -> usize { if starts_with_gres(entry) { 5 } else { 0 } };
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
pub(crate) fn plain(gres: &str) -> String {
    entries(gres).collect::<Vec<_>>().join(",")
}

/// The user's generic resources with the GPUs replaced.
pub(crate) fn replaced(gres: &str, gpus: &str) -> String {
    let kept = entries(gres).filter(|entry| !is_gpu(entry) && !entry.eq_ignore_ascii_case("none"));
    kept.chain([gpus]).collect::<Vec<_>>().join(",")
}

/// A list of trackable resources without its GPUs, each entry as it was; `None` where it names no GPU.
pub(crate) fn without_gpus(list: &str) -> Option<String> {
    let gpu = |entry: &str| is_gpu(entries(entry).next().unwrap_or_default());
    let kept: Vec<&str> = list.split(',').filter(|entry| !gpu(entry)).collect();
    (kept.len() < list.split(',').count()).then(|| kept.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::fake::Fake;
    use proptest::prelude::*;

    fn asks(pairs: &[(&str, &str)]) -> Option<(String, Option<String>, Option<u32>)> {
        asked(&Fake::with(pairs)).map(|asked| (asked.text, asked.gpu, asked.count))
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
    fn only_gpus_are_replaced() {
        assert_eq!(replaced("", "gpu:h100:2"), "gpu:h100:2");
        assert_eq!(replaced("none", "gpu:h100:2"), "gpu:h100:2");
        assert_eq!(replaced("gres:gpu:a100:1", "gpu:h100:2"), "gpu:h100:2");
        assert_eq!(
            replaced("gres/lustre:2,gres/gpu:1,gres/gpu:a100:1", "gpu:h100:2"),
            "lustre:2,gpu:h100:2"
        );
        assert_eq!(
            replaced("gpus_of_mine:1", "gpu:h100:2"),
            "gpus_of_mine:1,gpu:h100:2"
        );
        assert_eq!(plain("gres:gpu:a100:1,gres:x"), "gpu:a100:1,x");
    }

    #[test]
    fn other_resources_of_a_task_stay() {
        assert_eq!(without_gpus("cpu=4,gres/gpu:a100:1"), Some("cpu=4".into()));
        assert_eq!(without_gpus("gres/gpu=2"), Some(String::new()));
        assert_eq!(without_gpus("cpu=4"), None);
    }

    proptest! {
        #[test]
        fn no_request_panics_and_no_gpu_of_the_user_is_left(gres in "[a-z0-9:=/,*() ]{0,40}") {
            let new = replaced(&gres, "gpu:h100:2");
            prop_assert_eq!(entries(&new).filter(|entry| is_gpu(entry)).count(), 1);
            drop(asked(&Fake::with(&[("gres", &gres)])));
            prop_assert!(without_gpus(&gres).is_none_or(|rest| without_gpus(&rest).is_none()));
        }

        #[test]
        fn what_is_no_gpu_is_kept(others in prop::collection::vec("[a-f]{1,5}(:[0-9])?", 0..4)) {
            let gres = others.join(",");
            let mut kept = others;
            kept.push("gpu:h100:2".into());
            prop_assert_eq!(replaced(&gres, "gpu:h100:2"), kept.join(","));
        }
    }
}
