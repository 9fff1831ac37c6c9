//! What is known of the submission at hand before anybody is asked.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use model_store::config::DEFAULT_PATH;
use model_store::job_request::{DERIVED, Given};
use model_store::options::RawOptions;

use crate::host::JobOptions;
use crate::script::{self, Source};

/// Everything that an advice on one submission starts from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Submission {
    /// The site's configuration.
    pub(crate) config: PathBuf,
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
            if DERIVED.contains(&name) {
                return job.get(&long)?.into_string().ok();
            }
            job.given(&long)
        };
        Self {
            config: config_path(arguments),
            options,
            given: Given::of(option),
            script: script::find(job, &line),
            folder: job.given(c"chdir").map(PathBuf::from),
            component,
            words: script::words_of_sbatch(&line),
        }
    }
}

/// The value of the last `config=`, or the usual place.
fn config_path(arguments: &[CString]) -> PathBuf {
    let given = arguments
        .iter()
        .rev()
        .find_map(|argument| argument.to_bytes().strip_prefix(b"config="));
    given.map_or_else(
        || DEFAULT_PATH.into(),
        |path| OsString::from_vec(path.to_vec()).into(),
    )
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
}
