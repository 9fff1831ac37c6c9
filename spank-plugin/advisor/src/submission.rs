//! What is known of the submission at hand before anybody is asked.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use model_store::config::DEFAULT_PATH;
use model_store::job_request::{DERIVED, Given};
use model_store::options::RawOptions;
use model_store::reading::parts;

use crate::host::JobOptions;
use crate::script::{self, Source};

/// Everything that an advice on one submission starts from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Submission {
    /// The site's configuration.
    pub(crate) config: PathBuf,
    /// Milliseconds until the configuration has been read, at most, where the plugstack line says so.
    pub(crate) time_limit_ms: Option<u64>,
    /// The `--llm-*` options.
    pub(crate) options: RawOptions,
    /// The job's own options.
    pub(crate) given: Given,
    /// Where the text is that will start the engine.
    pub(crate) script: Source,
    /// The folder from which the job's own names of files count, where it names one.
    pub(crate) folder: Option<PathBuf>,
    /// Which component of a heterogeneous job it is.
    pub(crate) component: u32,
    /// The words of the command line where they may name further components.
    pub(crate) words: Vec<String>,
}

impl Submission {
    /// Gathers it from the process. `arguments` are those of the plugstack line.
    pub(crate) fn gather(
        job: &impl JobOptions,
        options: RawOptions,
        arguments: &[CString],
        component: u32,
    ) -> Self {
        let line = script::command_line();
        let option = |name: &str| {
            let long = CString::new(name).ok()?;
            // What Slurm derives is not counted as given, and asks for GPUs all the same.
            if DERIVED.iter().any(|one| one.name() == name) {
                return job.get(&long)?.into_string().ok();
            }
            job.given(&long)
        };
        Self {
            config: config_path(arguments),
            time_limit_ms: time_limit_ms(arguments),
            options,
            given: Given::of(option),
            script: script::find(job, &line),
            folder: job.given(c"chdir").map(PathBuf::from),
            component,
            words: script::words_of_sbatch(&line),
        }
    }
}

impl Submission {
    /// The words behind the script of `sbatch`; `None` for another command.
    pub(crate) fn arguments(&self) -> Option<Vec<String>> {
        if self.words.is_empty() {
            return None;
        }
        let last = parts(&self.words).pop()?;
        Some(last.arguments().to_vec())
    }
}

/// The value of the last `config=`, or the usual place.
fn config_path(arguments: &[CString]) -> PathBuf {
    value_of(arguments, b"config=").map_or_else(
        || DEFAULT_PATH.into(),
        |path| OsString::from_vec(path.to_vec()).into(),
    )
}

/// The value of the last `time_limit_ms=`, where it is a number above zero.
fn time_limit_ms(arguments: &[CString]) -> Option<u64> {
    let value = value_of(arguments, b"time_limit_ms=")?;
    let limit = std::str::from_utf8(value).ok()?.parse().ok()?;
    (limit > 0).then_some(limit)
}

fn value_of<'a>(arguments: &'a [CString], key: &[u8]) -> Option<&'a [u8]> {
    let mut values = arguments.iter().rev().map(|word| word.to_bytes());
    values.find_map(|word| word.strip_prefix(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugstack_line_names_the_configuration() {
        assert_eq!(config_path(&[]), PathBuf::from(DEFAULT_PATH));
        assert_eq!(
            config_path(&[c"x=1".into(), c"config=/a b.toml".into()]),
            PathBuf::from("/a b.toml")
        );
    }

    #[test]
    fn the_plugstack_line_may_name_a_time_limit() {
        assert_eq!(time_limit_ms(&[c"config=/x".into()]), None);
        let named =
            |word: &std::ffi::CStr| time_limit_ms(&[c"time_limit_ms=7".into(), word.into()]);
        assert_eq!(named(c"time_limit_ms=120"), Some(120));
        for word in [
            c"time_limit_ms=0",
            c"time_limit_ms=-1",
            c"time_limit_ms=soon",
        ] {
            assert_eq!(named(word), None, "{word:?}");
        }
    }
}
