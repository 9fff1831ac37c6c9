//! Where the text is that will start the engine: the script's file, `--wrap`, or the command of `srun` and `salloc`.
//! It is read, never changed. Slurm gives a plugin no look at the script it has read, so its file is read again.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use model_store::quoting::quoted;
use model_store::reading;

use crate::host::{self, JobOptions};
use crate::{environment, ffi};

/// Largest script that is read, bytes: Slurm's own limit, unless a site raised it.
const LARGEST: u64 = 4 << 20;

/// Largest file that is read because a script names it, bytes.
const LARGEST_NAMED: u64 = 1 << 20;

/// The command line of this process, as the kernel has it: words that end with NUL.
pub(crate) fn command_line() -> Vec<u8> {
    std::fs::read("/proc/self/cmdline").unwrap_or_default()
}

/// The words behind `sbatch`; none where another program runs.
pub(crate) fn words_of_sbatch(line: &[u8]) -> Vec<String> {
    if program() != "sbatch" {
        return Vec::new();
    }
    let text = |word: &&[u8]| String::from_utf8_lossy(word).into_owned();
    arguments(line).iter().skip(1).map(text).collect()
}

fn program() -> String {
    let file = std::fs::read_link("/proc/self/exe").unwrap_or_default();
    let name = file.file_name().and_then(OsStr::to_str);
    name.unwrap_or_default().to_owned()
}

/// Reads a file as the job's script names it; `None` where it cannot be told which one that is.
pub(crate) fn read_named(name: &str, folder: Option<&Path>) -> Option<String> {
    if name.starts_with('~') {
        return None;
    }
    let path = folder.unwrap_or(Path::new("")).join(name);
    let bytes = model_store::snapshot::read_regular(&path, LARGEST_NAMED).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Where the text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Here.
    Text(String),
    /// In the first of these that is there.
    Files(Vec<PathBuf>),
    /// Out of sight: a script on stdin, or a command line that is not understood.
    Unseen,
}

/// Looks for the text of the submission at hand.
pub(crate) fn find(job: &impl JobOptions, line: &[u8]) -> Source {
    if let Some(text) = job.given(c"wrap") {
        return Source::Text(text);
    }
    let Some(first) = host::first_argument() else {
        return Source::Unseen;
    };
    let path = environment::get("PATH").unwrap_or_default();
    let chdir = job.is_set(c"chdir");
    match &*program() {
        // It starts the command once for each task.
        "srun" => match command(line, first) {
            Source::Text(text) => Source::Text(format!("srun{} {text}", of_one(job))),
            other => other,
        },
        "salloc" => command(line, first),
        _ => file(line, first, path, chdir),
    }
}

/// The options that keep `srun` to one task or one node.
fn of_one(job: &impl JobOptions) -> &'static str {
    let one = |name| job.given(name).as_deref() == Some("1");
    if one(c"ntasks") || one(c"nodes") || !(job.is_set(c"ntasks") || job.is_set(c"nodes")) {
        " -n1"
    } else {
        ""
    }
}

fn arguments(line: &[u8]) -> Vec<&[u8]> {
    line.strip_suffix(b"\0")
        .unwrap_or(line)
        .split(|byte| *byte == 0)
        .collect()
}

/// The command of `srun` or `salloc` as shell text.
fn command(line: &[u8], first: usize) -> Source {
    let words = arguments(line);
    match words.get(first..) {
        None | Some([]) => Source::Unseen,
        Some(words) if words.contains(&&b":"[..]) => Source::Unseen,
        Some(words) => Source::Text(
            words
                .iter()
                .map(|word| quoted(&String::from_utf8_lossy(word)))
                .collect::<Vec<_>>()
                .join(" "),
        ),
    }
}

/// The script's file. In a heterogeneous job the position counts from the component, so there the words are taken apart.
fn file(line: &[u8], first: usize, path: CString, chdir: bool) -> Source {
    let words = arguments(line);
    if words.contains(&&b":"[..]) {
        let text = |word: &&[u8]| String::from_utf8_lossy(word).into_owned();
        let parts = reading::parts(&words.iter().skip(1).map(text).collect::<Vec<_>>());
        let last = parts.last();
        return match last.and_then(|line| line.wrap.clone()) {
            Some(text) => Source::Text(text),
            None => last
                .and_then(|line| line.script.as_ref())
                .map_or(Source::Unseen, |name| places(name.as_bytes(), &path, chdir)),
        };
    }
    words
        .get(first)
        .filter(|name| !name.is_empty())
        .map_or(Source::Unseen, |name| places(name, &path, chdir))
}

/// Where `sbatch` looks for a script of this name: one that begins with a slash or a dot is a path, another is looked for
/// along `PATH` first.
fn places(name: &[u8], path: &CString, chdir: bool) -> Source {
    let plain = Path::new(OsStr::from_bytes(name));
    if name.starts_with(b"/") {
        return Source::Files(vec![plain.into()]);
    }
    if name.starts_with(b".") {
        return if chdir {
            Source::Unseen
        } else {
            Source::Files(vec![plain.into()])
        };
    }
    let folders = std::env::split_paths(ffi::os(path)).filter(|folder| folder.is_absolute());
    Source::Files(
        folders
            .map(|folder| folder.join(plain))
            .chain([plain.into()])
            .collect(),
    )
}

impl Source {
    /// Reads the text; `None` where it is out of sight or cannot be read.
    pub(crate) fn read(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Files(files) => {
                let file = files.iter().find(|file| file.exists())?;
                let bytes = model_store::snapshot::read_regular(file, LARGEST).ok()?;
                Some(String::from_utf8_lossy(&bytes).into_owned())
            }
            Self::Unseen => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn files(line: &[u8], first: usize) -> Source {
        file(line, first, ffi::c_string("/bin:relative:/usr/bin"), false)
    }

    #[test]
    fn the_script_is_found_where_sbatch_finds_it() {
        let line = b"sbatch\0-N1\0/a/job.sh\0x\0";
        assert_eq!(files(line, 2), Source::Files(vec!["/a/job.sh".into()]));
        assert_eq!(
            files(b"sbatch\0./job.sh\0", 1),
            Source::Files(vec!["./job.sh".into()])
        );
        let plain = ["/bin/job.sh", "/usr/bin/job.sh", "job.sh"]
            .map(PathBuf::from)
            .to_vec();
        assert_eq!(files(b"sbatch\0job.sh\0", 1), Source::Files(plain));
        assert_eq!(
            file(b"sbatch\0-D/x\0./job.sh\0", 2, ffi::c_string(""), true),
            Source::Unseen
        );
    }

    #[test]
    fn the_script_of_several_components_is_behind_the_last() {
        let line = b"sbatch\0-N1\0:\0-N1\0/a/job.sh\0:\0";
        assert_eq!(files(line, 1), Source::Files(vec!["/a/job.sh".into()]));
        let line = b"sbatch\0-N1\0:\0--wrap=vllm serve m\0";
        assert_eq!(files(line, 1), Source::Text("vllm serve m".into()));
    }

    #[test]
    fn files_that_a_script_names_count_from_the_jobs_folder() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), "x").unwrap();
        assert_eq!(
            read_named("a.yaml", Some(folder.path())).as_deref(),
            Some("x")
        );
        let whole = folder.path().join("a.yaml").display().to_string();
        assert_eq!(read_named(&whole, None).as_deref(), Some("x"));
        assert_eq!(read_named("~/a.yaml", Some(folder.path())), None);
        assert_eq!(read_named(".", Some(folder.path())), None);
    }

    #[test]
    fn what_cannot_be_told_is_out_of_sight() {
        assert_eq!(files(b"sbatch\0-N1\0", 2), Source::Unseen);
        assert_eq!(files(b"sbatch\0-N1\0:\0-N1\0", 4), Source::Unseen);
        assert_eq!(files(b"", 0), Source::Unseen);
        assert_eq!(command(b"salloc\0-N1\0", 2), Source::Unseen);
    }

    #[test]
    fn a_command_keeps_its_words() {
        let found = command(b"srun\0-n1\0bash\0-c\0it's vllm serve\0", 2);
        assert_eq!(found, Source::Text(r"bash -c 'it'\''s vllm serve'".into()));
    }

    #[test]
    fn a_fifo_in_place_of_the_script_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        let name = ffi::c_string(fifo.as_os_str().as_bytes());
        // SAFETY: the name ends with NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert_eq!(Source::Files(vec![fifo]).read(), None);
        assert_eq!(Source::Files(vec![folder.path().into()]).read(), None);
    }

    proptest! {
        #[test]
        fn no_command_line_panics(line in prop::collection::vec(any::<u8>(), 0..80), first in 0_usize..90) {
            drop(files(&line, first));
            drop(command(&line, first));
        }
    }
}
