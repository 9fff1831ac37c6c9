//! Changes a job's options, all of them or none.

use std::ffi::{CStr, CString};
use std::sync::{Mutex, PoisonError};

use model_store::job_request::{DERIVED, plain_gres};

use crate::ffi::c_string;
use crate::host::JobOptions;

/// One step of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Edit {
    Set(CString),
    Reset,
}

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Done {
    name: CString,
    /// What brings the option back.
    former: Edit,
    /// What it is since.
    now: Option<CString>,
}

/// The changes of the component before this one: Slurm gives each component of a heterogeneous job options of its own, but for
/// some, `--comment` and `--mem` among them, which it hands on.
static BEFORE: Mutex<Vec<Done>> = Mutex::new(Vec::new());

/// Takes back what of the component before was handed on to this one.
pub(crate) fn take_back(job: &mut impl JobOptions) {
    let before = std::mem::take(&mut *BEFORE.lock().unwrap_or_else(PoisonError::into_inner));
    for done in before.iter().rev() {
        if done.now.is_some() && now(job, &done.name) == done.now {
            step(job, &done.name, &done.former);
        }
    }
}

fn now(job: &impl JobOptions, name: &CStr) -> Option<CString> {
    job.get(name).filter(|_| job.is_set(name))
}

/// Makes the edits, and appends to the comment.
///
/// # Errors
/// What could not be done, on one line; every option then is as it was.
pub(crate) fn apply(
    job: &mut impl JobOptions,
    edits: &[model_store::job_rewrite::Edit],
    comment: &str,
) -> Result<(), String> {
    let mut plan: Vec<(CString, Edit)> = edits
        .iter()
        .map(|edit| {
            let value = edit.value.as_deref();
            let change = value.map_or(Edit::Reset, |value| Edit::Set(c_string(value)));
            (c_string(edit.name.as_str()), change)
        })
        .collect();
    plan.push((c"comment".into(), Edit::Set(appended(job, comment))));
    carry_out(job, &plan)
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

fn carry_out(job: &mut impl JobOptions, plan: &[(CString, Edit)]) -> Result<(), String> {
    let former: Vec<_> = plan
        .iter()
        .map(|(name, _)| (name, state(job, name)))
        .collect();
    for (done, (name, edit)) in plan.iter().enumerate() {
        if !step(job, name, edit) {
            for (name, edit) in former.iter().take(done + 1).rev() {
                step(job, name, edit);
            }
            return Err(format!("Slurm does not take --{}", name.to_string_lossy()));
        }
    }
    let done = former.into_iter().map(|(name, former)| Done {
        name: name.clone(),
        former,
        now: now(job, name),
    });
    BEFORE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .extend(done);
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

/// Neither given by anybody nor derived by Slurm: from 24.11 on `--gpus-per-task` and `--cpus-per-task` stand in `tres-per-task`
/// too.
fn is_unset(job: &impl JobOptions, name: &CStr) -> bool {
    let derived = name
        .to_str()
        .is_ok_and(|name| DERIVED.iter().any(|one| one.name() == name));
    !job.is_set(name) && (!derived || job.get(name).is_none())
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

    fn edits() -> Vec<model_store::job_rewrite::Edit> {
        [
            ("gpus", None),
            ("gpus-per-task", None),
            ("gres", Some("lustre:1,gpu:h100:2")),
            ("constraint", Some("ib")),
        ]
        .map(|(name, value)| model_store::job_rewrite::Edit {
            name: name.into(),
            value: value.map(str::to_owned),
        })
        .into()
    }

    #[test]
    fn what_is_planned_is_done_and_the_rest_stays() {
        let mut job = Fake::with(&[
            ("gpus", "a100:2"),
            ("gres", "gres:lustre:1,gres:gpu:a100:1"),
            ("constraint", "ib&a100"),
            ("comment", "mine, all mine"),
            ("mem", "4G"),
        ]);
        apply(&mut job, &edits(), "omnipilot:7f3a91b0").unwrap();
        let expected = Fake::with(&[
            ("gres", "lustre:1,gpu:h100:2"),
            ("constraint", "ib"),
            ("comment", "mine, all mine omnipilot:7f3a91b0"),
            ("mem", "4G"),
        ]);
        assert_eq!(job, expected);
    }

    #[test]
    fn what_slurm_derived_from_another_form_goes_and_comes_back() {
        let mut job = Fake::with(&[("gpus-per-task", "1"), ("tres-per-task", "gres/gpu:1")]);
        job.derived = Some(c"tres-per-task");
        let before = job.clone();
        let mut all = edits();
        all.insert(
            2,
            model_store::job_rewrite::Edit {
                name: "tres-per-task".into(),
                value: None,
            },
        );
        apply(&mut job, &all, "omnipilot:1").unwrap();
        assert_eq!(job.get(c"tres-per-task"), None);
        let mut job = Fake {
            refuses: Some(c"gres"),
            ..before
        };
        let before = job.clone();
        apply(&mut job, &all, "omnipilot:1").unwrap_err();
        assert_eq!(job, before);
    }

    #[test]
    fn what_slurm_hands_on_to_the_next_component_is_taken_back() {
        let mut job = Fake::with(&[("comment", "mine"), ("gres", "gpu:a100:1"), ("mem", "4G")]);
        let mut all = edits();
        all.push(model_store::job_rewrite::Edit {
            name: "mem".into(),
            value: Some("9G".into()),
        });
        BEFORE.lock().unwrap().clear();
        apply(&mut job, &all, "omnipilot:1").unwrap();
        // The next component was given other GPUs; comment and memory are still the first one's.
        job.set(c"gres", c"gpu:h200:1");
        job.reset(c"constraint");
        take_back(&mut job);
        let expected = Fake::with(&[("comment", "mine"), ("gres", "gpu:h200:1"), ("mem", "4G")]);
        assert_eq!(job, expected);
        take_back(&mut job);
        assert_eq!(job, expected);
    }

    #[test]
    fn a_comment_that_is_no_utf8_keeps_its_bytes() {
        let mut job = Fake::default();
        job.values
            .insert(c"comment".into(), c_string(b"caf\xe9".to_vec()));
        apply(&mut job, &[], "omnipilot:1").unwrap();
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
            apply(&mut job, &edits(), "omnipilot:1").unwrap_err(),
            "Slurm does not take --gres"
        );
        assert_eq!(job, before);
    }
}
