//! Changes a job's options, all of them or none.

use std::ffi::{CStr, CString};

use model_store::job_request::{plain_gres, replace_gpus, without_gpus};

use crate::constraint::{Adapted, adapt};
use crate::ffi::c_string;
use crate::host::JobOptions;

/// Options that ask for nothing but GPUs, those of [`model_store::job_request::GPU_OPTIONS`] as Slurm takes them: a rewrite takes
/// them away.
const GPUS_ONLY: [&CStr; 4] = [
    c"gpus",
    c"gpus-per-node",
    c"gpus-per-task",
    c"gpus-per-socket",
];

/// Options that may ask for other things beside GPUs: a rewrite takes the GPUs out of them. Absent from older releases. Slurm
/// 24.11 and later write `--gpus-per-task` into this one too, without counting it as given.
const GPUS_AMONG_OTHERS: [&CStr; 1] = [c"tres-per-task"];

/// The changes to a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// GPUs, as `gpu:h100:4`.
    pub(crate) gpus: String,
    /// What to append to the comment.
    pub(crate) comment: String,
    /// GPU types that the cluster has: features of these names choose a GPU.
    pub(crate) gpu_types: Vec<String>,
}

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Edit {
    Set(CString),
    Reset,
}

/// Applies a change.
///
/// # Errors
/// What could not be done, on one line; every option then is as it was.
pub(crate) fn apply(job: &mut impl JobOptions, change: &Change) -> Result<(), String> {
    let plan = plan(job, change)?;
    carry_out(job, &plan)
}

/// Appends to the comment alone.
///
/// # Errors
/// As [`apply`].
pub(crate) fn note(job: &mut impl JobOptions, comment: &str) -> Result<(), String> {
    let plan = [(c"comment", Edit::Set(appended(job, comment)))];
    carry_out(job, &plan)
}

fn plan(job: &impl JobOptions, change: &Change) -> Result<Vec<(&'static CStr, Edit)>, String> {
    let mut plan = Vec::new();
    for name in GPUS_ONLY.into_iter().filter(|name| job.is_set(name)) {
        plan.push((name, Edit::Reset));
    }
    for name in GPUS_AMONG_OTHERS {
        let value = job.get(name).and_then(|value| value.into_string().ok());
        if let Some(rest) = value.and_then(|value| without_gpus(&value)) {
            plan.push((name, set_or_reset(rest)));
        }
    }
    let gres = job.given(c"gres").unwrap_or_default();
    plan.push((
        c"gres",
        Edit::Set(c_string(replace_gpus(&gres, &change.gpus))),
    ));
    plan.extend(constraint(job, change)?.map(|edit| (c"constraint", edit)));
    plan.push((c"comment", Edit::Set(appended(job, &change.comment))));
    Ok(plan)
}

fn constraint(job: &impl JobOptions, change: &Change) -> Result<Option<Edit>, String> {
    let Some(constraint) = job.given(c"constraint") else {
        return Ok(None);
    };
    let gpu = change.gpus.split(':').nth(1).unwrap_or_default();
    match adapt(&constraint, gpu, &change.gpu_types) {
        Adapted::Same => Ok(None),
        Adapted::Rest(rest) => Ok(Some(set_or_reset(rest))),
        Adapted::Conflict => Err(format!(
            "--constraint={constraint} excludes the advised {gpu}"
        )),
    }
}

fn set_or_reset(value: String) -> Edit {
    if value.is_empty() {
        Edit::Reset
    } else {
        Edit::Set(c_string(value))
    }
}

/// The user's comment, byte for byte, with a blank and the note after it.
fn appended(job: &impl JobOptions, note: &str) -> CString {
    let mut bytes = Some(c"comment")
        .filter(|name| job.is_set(name))
        .and_then(|name| job.get(name))
        .unwrap_or_default()
        .into_bytes();
    if !bytes.is_empty() {
        bytes.push(b' ');
    }
    bytes.extend_from_slice(note.as_bytes());
    c_string(bytes)
}

fn carry_out(job: &mut impl JobOptions, plan: &[(&CStr, Edit)]) -> Result<(), String> {
    let former: Vec<_> = plan
        .iter()
        .map(|(name, _)| (*name, state(job, name)))
        .collect();
    for (done, (name, edit)) in plan.iter().enumerate() {
        if !step(job, name, edit) {
            for (name, edit) in former.iter().take(done + 1).rev() {
                step(job, name, edit);
            }
            return Err(format!("Slurm does not take --{}", name.to_string_lossy()));
        }
    }
    Ok(())
}

/// The edit that brings an option back to what it is now.
fn state(job: &impl JobOptions, name: &CStr) -> Edit {
    if is_unset(job, name) {
        return Edit::Reset;
    }
    let value = job.get(name).unwrap_or_default();
    match value.to_str() {
        Ok(text) if name == c"gres" => Edit::Set(c_string(plain_gres(text))),
        _ => Edit::Set(value),
    }
}

fn step(job: &mut impl JobOptions, name: &CStr, edit: &Edit) -> bool {
    match edit {
        Edit::Set(value) => job.set(name, value),
        Edit::Reset => is_unset(job, name) || job.reset(name),
    }
}

/// Neither given by anybody nor derived by Slurm.
fn is_unset(job: &impl JobOptions, name: &CStr) -> bool {
    !job.is_set(name) && job.get(name).is_none()
}

/// Options that stand in for Slurm's.
#[cfg(test)]
pub(crate) mod fake {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Fake {
        pub(crate) values: BTreeMap<CString, CString>,
        pub(crate) refuses: Option<&'static CStr>,
        /// Has a value that Slurm derived.
        pub(crate) derived: Option<&'static CStr>,
    }

    impl Fake {
        pub(crate) fn with(pairs: &[(&str, &str)]) -> Self {
            let values = pairs
                .iter()
                .map(|(name, value)| (c_string(*name), c_string(*value)))
                .collect();
            Self {
                values,
                ..Self::default()
            }
        }

        pub(crate) fn value(&self, name: &CStr) -> Option<&str> {
            self.values.get(name).map(|value| value.to_str().unwrap())
        }
    }

    impl JobOptions for Fake {
        fn is_set(&self, name: &CStr) -> bool {
            self.values.contains_key(name) && self.derived != Some(name)
        }

        fn get(&self, name: &CStr) -> Option<CString> {
            self.values.get(name).cloned()
        }

        fn set(&mut self, name: &CStr, value: &CStr) -> bool {
            if self.refuses == Some(name) && value.to_string_lossy().contains("gpu:h100") {
                return false;
            }
            self.values.insert(name.to_owned(), value.to_owned());
            true
        }

        fn reset(&mut self, name: &CStr) -> bool {
            self.values.remove(name).is_some()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Fake;
    use super::*;

    fn change() -> Change {
        let gpu_types = vec!["a100".into(), "h100".into()];
        Change {
            gpus: "gpu:h100:2".into(),
            comment: "omnipilot:7f3a91b0".into(),
            gpu_types,
        }
    }

    #[test]
    fn the_options_taken_away_are_those_that_count_as_a_request() {
        use model_store::job_request::{GPU_OPTIONS, TRES_PER_TASK};
        assert_eq!(GPUS_ONLY.map(|name| name.to_str().unwrap()), GPU_OPTIONS);
        assert_eq!(GPUS_AMONG_OTHERS[0].to_str().unwrap(), TRES_PER_TASK);
    }

    #[test]
    fn one_form_is_left_and_the_rest_stays() {
        let mut job = Fake::with(&[
            ("gpus", "a100:2"),
            ("gpus-per-task", "1"),
            ("gres", "gres:lustre:1,gres:gpu:a100:1"),
            ("constraint", "ib&a100"),
            ("comment", "mine, all mine"),
            ("mem", "4G"),
        ]);
        apply(&mut job, &change()).unwrap();
        let expected = Fake::with(&[
            ("gres", "lustre:1,gpu:h100:2"),
            ("constraint", "ib"),
            ("comment", "mine, all mine omnipilot:7f3a91b0"),
            ("mem", "4G"),
        ]);
        assert_eq!(job, expected);
    }

    #[test]
    fn gpus_that_slurm_derived_from_another_form_go_too() {
        let mut job = Fake::with(&[("gpus-per-task", "1"), ("tres-per-task", "gres/gpu:1")]);
        job.derived = Some(c"tres-per-task");
        let before = job.clone();
        apply(&mut job, &change()).unwrap();
        assert_eq!(
            (job.value(c"gpus-per-task"), job.value(c"tres-per-task")),
            (None, None)
        );
        let mut job = Fake {
            refuses: Some(c"gres"),
            ..before
        };
        let before = job.clone();
        apply(&mut job, &change()).unwrap_err();
        assert_eq!(job, before);
    }

    #[test]
    fn a_job_that_asked_for_nothing_gets_its_gpus() {
        let mut job = Fake::default();
        apply(&mut job, &change()).unwrap();
        assert_eq!(job.value(c"gres"), Some("gpu:h100:2"));
        assert_eq!(job.value(c"comment"), Some("omnipilot:7f3a91b0"));
        assert_eq!(job.value(c"constraint"), None);
    }

    #[test]
    fn a_comment_that_is_no_utf8_keeps_its_bytes() {
        let mut job = Fake::default();
        job.values
            .insert(c"comment".into(), c_string(b"caf\xe9".to_vec()));
        note(&mut job, "omnipilot:1").unwrap();
        assert_eq!(
            job.get(c"comment").unwrap().as_bytes(),
            b"caf\xe9 omnipilot:1"
        );
    }

    #[test]
    fn a_change_that_stops_half_way_leaves_everything_as_it_was() {
        let mut job = Fake::with(&[("gpus", "2"), ("gres", "x:1"), ("comment", "c")]);
        job.refuses = Some(c"gres");
        let before = job.clone();
        assert_eq!(
            apply(&mut job, &change()).unwrap_err(),
            "Slurm does not take --gres"
        );
        assert_eq!(job, before);
    }

    #[test]
    fn a_constraint_in_the_way_is_told_and_nothing_is_touched() {
        let mut job = Fake::with(&[("gres", "gpu:a100:1"), ("constraint", "[a100*2]")]);
        let before = job.clone();
        let reason = apply(&mut job, &change()).unwrap_err();
        assert_eq!(reason, "--constraint=[a100*2] excludes the advised h100");
        assert_eq!(job, before);
    }
}
