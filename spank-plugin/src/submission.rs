//! What is known of the submission at hand before anybody is asked.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use model_store::config::DEFAULT_PATH;
use model_store::decision::Place;
use model_store::job_request::{Asked, asked};
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
    /// The user's own GPU request.
    pub(crate) asked: Option<Asked>,
    /// Where the job may run.
    pub(crate) place: Place,
    /// Where the text is that will start the engine.
    pub(crate) script: Source,
}

impl Submission {
    /// Gathers it from the process. `arguments` are those of the plugstack line.
    pub(crate) fn gather(
        job: &impl JobOptions,
        options: RawOptions,
        arguments: &[CString],
    ) -> Self {
        let option = |name: &str| job.given(&CString::new(name).ok()?);
        Self {
            config: config_path(arguments),
            options,
            asked: asked(&option),
            place: Place::of(&option),
            script: script::find(job),
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
