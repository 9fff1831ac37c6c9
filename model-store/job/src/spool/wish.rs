//! A wish: a request that had no answer, left in the spool by the user who made it.
//!
//! A refused submission leaves no job and so no trace in Slurm. Its options are written into one small file; `omnipilot
//! ingest` takes it, and `omnipilot probe` knows what is worth measuring. It says nothing that could be believed or not:
//! only what somebody asked for, and as whose file it lies there.

use std::collections::BTreeMap;
use std::fs::{OpenOptions, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use crate::advisor::WishWhy;
use crate::consult::exit_code;
use crate::decision::Decision;
use crate::hashing::fnv1a;
use crate::options::{OptionError, RawOptions};

/// Version of the form of a wish file.
pub const SCHEMA: u32 = 1;

/// Largest wish file that is read, bytes.
pub const LARGEST: u64 = 16 * 1024;

/// How the name of a wish file ends.
pub const SUFFIX: &str = ".wish";

/// Why a decision leaves a wish; `None` where it answers, or where no measurement could help.
pub fn why(decision: &Decision) -> Option<WishWhy> {
    match decision {
        Decision::Refuse { code, .. } if *code == exit_code::OUT_OF_SUPPORT => {
            Some(WishWhy::Refused)
        }
        Decision::Explore { .. } => Some(WishWhy::Explored),
        _ => None,
    }
}

/// What a wish file holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WishFile {
    /// [`SCHEMA`] of the writer.
    pub schema: u32,
    /// Why there was no answer.
    pub why: WishWhy,
    /// The `--llm-*` options by their long names, but for the mode.
    pub options: BTreeMap<String, String>,
}

impl WishFile {
    /// The wish behind these options.
    pub fn of(options: &RawOptions, why: WishWhy) -> Self {
        Self {
            schema: SCHEMA,
            why,
            options: pairs(options),
        }
    }

    /// Its options, read as if they had been typed.
    ///
    /// # Errors
    /// An option that does not exist or a value that is not taken.
    pub fn raw(&self) -> Result<RawOptions, OptionError> {
        raw(&self.options)
    }
}

/// Options by their long names, as they would be typed; the mode is left out.
pub fn pairs(options: &RawOptions) -> BTreeMap<String, String> {
    let asked = options.told().filter(|(name, _)| *name != "llm-advice");
    asked
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// The options behind such pairs.
///
/// # Errors
/// As [`WishFile::raw`].
pub fn raw(pairs: &BTreeMap<String, String>) -> Result<RawOptions, OptionError> {
    let mut options = RawOptions::default();
    for (name, value) in pairs {
        options.set(name, value)?;
    }
    Ok(options)
}

/// Leaves the wish of a submission in the spool, if its decision leaves one. A wish that cannot be written is none: nobody is told,
/// and the submission is as it would have been. What one user asks for again is written once until it is ingested.
pub fn leave(spool: &Path, options: &RawOptions, decision: &Decision) {
    if let Some(why) = why(decision) {
        let _ = write(spool, &WishFile::of(options, why));
    }
}

/// Under a name that says whose it is and what; where somebody else has taken that name, under one that he could not know.
fn write(spool: &Path, wish: &WishFile) -> std::io::Result<()> {
    let uid = std::fs::metadata("/proc/self")?.uid();
    let text = serde_json::to_string(wish)?;
    let name = format!("{uid}-{:016x}", fnv1a(text.bytes()));
    let path = spool.join(format!("{name}{SUFFIX}"));
    let made = make(spool, &path, &text);
    let is_taken = |e: &std::io::Error| e.kind() == std::io::ErrorKind::AlreadyExists;
    if made.as_ref().is_err_and(is_taken)
        && std::fs::symlink_metadata(&path).is_ok_and(|there| there.uid() != uid)
    {
        let random = RandomState::new().build_hasher().finish();
        return make(
            spool,
            &spool.join(format!("{name}-{random:016x}{SUFFIX}")),
            &text,
        );
    }
    made
}

/// A new file: where a link, a FIFO or anything else lies under the name, there is none.
fn make(spool: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path)?;
    let (folder, data) = (std::fs::metadata(spool)?, file.metadata()?);
    // The service account's group reads it, whatever the user's umask says; where the folder gives files none, nobody does.
    let is_shared = folder.mode() & 0o2000 != 0 && folder.gid() == data.gid();
    let mode = if is_shared { 0o640 } else { 0o600 };
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn asked() -> RawOptions {
        let mut options = RawOptions::default();
        for (name, value) in [
            ("llm-model", "google/gemma-2-27b-it"),
            ("llm-isl", "1000"),
            ("llm-slo", "ttft=500,tpot=50.5"),
            ("llm-precision", "fp8"),
        ] {
            options.set(name, value).unwrap();
        }
        options
    }

    fn refuse(code: u8) -> Decision {
        Decision::Refuse {
            code,
            message: Vec::new(),
        }
    }

    #[test]
    fn a_refusal_leaves_one_wish_however_often_it_comes() {
        let dir = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            leave(dir.path(), &asked(), &refuse(exit_code::OUT_OF_SUPPORT));
        }
        leave(dir.path(), &asked(), &refuse(exit_code::INFEASIBLE));
        leave(dir.path(), &asked(), &Decision::Leave);
        leave(
            &dir.path().join("nowhere"),
            &asked(),
            &refuse(exit_code::OUT_OF_SUPPORT),
        );
        let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(files.len(), 1);
        let text = std::fs::read(files[0].as_ref().unwrap().path()).unwrap();
        let wish: WishFile = serde_json::from_slice(&text).unwrap();
        assert_eq!((wish.why, wish.raw().unwrap()), (WishWhy::Refused, asked()));
    }

    /// What somebody else may have put into a folder where everybody may: the name can be known before.
    #[test]
    fn what_lies_under_its_name_is_neither_written_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let precious = dir.path().join("precious");
        std::fs::write(&precious, "precious").unwrap();
        let spool = dir.path().join("spool");
        std::fs::create_dir(&spool).unwrap();
        let refused = refuse(exit_code::OUT_OF_SUPPORT);
        leave(&spool, &asked(), &refused);
        let name = std::fs::read_dir(&spool)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(&name), 0o600, "nobody has a group to read it");
        std::fs::remove_file(&name).unwrap();
        std::os::unix::fs::symlink(&precious, &name).unwrap();
        leave(&spool, &asked(), &refused);
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
        std::fs::remove_file(&name).unwrap();
        // Of another user, which root alone can make.
        if std::fs::metadata(&spool).unwrap().uid() == 0 {
            std::fs::write(&name, "taken").unwrap();
            std::os::unix::fs::chown(&name, Some(4242), None).unwrap();
            leave(&spool, &asked(), &refused);
            assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 2);
            assert_eq!(std::fs::read_to_string(&name).unwrap(), "taken");
        }
    }

    proptest! {
        #[test]
        fn what_was_typed_comes_back(
            isl in 1.0..1e8f64, rate in proptest::option::of(1e-6..1e6f64),
            ttft in proptest::option::of(0.001..1e8f64), tp in proptest::option::of(1u32..=64),
        ) {
            let mut options = asked();
            options.isl = Some(isl);
            options.rate = rate;
            options.slo.ttft_ms = ttft;
            options.pins.tp = tp;
            prop_assert_eq!(raw(&pairs(&options)).unwrap(), options);
        }
    }
}
