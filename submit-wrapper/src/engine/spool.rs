//! Leaves the outcome file. Readers never see half of one: it is written beside its place under
//! another name, synced, and renamed.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use model_store::outcome::{LARGEST, Outcome};

/// Name of a job's outcome file. The process id keeps two wrappers of one job apart, the time two
/// jobs of one id.
pub(crate) fn file_name(cluster: &str, job_id: u64, started_at: f64, pid: u32) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "-_.".contains(c) {
            c
        } else {
            '_'
        }
    };
    let cluster: String = cluster
        .trim_start_matches('.')
        .chars()
        .take(64)
        .map(plain)
        .collect();
    let cluster = if cluster.is_empty() {
        "cluster".into()
    } else {
        cluster
    };
    let ms = (started_at * 1000.0) as u64;
    format!("{cluster}-{job_id}-{ms}-{pid}.json")
}

/// Writes the outcome to `path`, whole or not at all; an older file of this name is replaced.
///
/// # Errors
/// What the file system says; nothing is left behind then.
pub(crate) fn write(path: &Path, outcome: &Outcome) -> io::Result<()> {
    let text = fitting(outcome)?;
    let beside = beside(path)?;
    let result = write_new(&beside, &text).and_then(|()| fs::rename(&beside, path));
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result
}

/// `.NAME.PID.part`: hidden, so that no reader takes it for an outcome.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{}.part", std::process::id())))
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    // The service account reads it, whatever the job's umask says.
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.write_all(text)?;
    file.sync_all()
}

/// The JSON, with fewer windows where it would be larger than readers take.
fn fitting(outcome: &Outcome) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(outcome)?;
    let mut smaller = outcome.clone();
    while text.len() as u64 > LARGEST && !smaller.windows.is_empty() {
        let half = smaller.windows.len() / 2;
        smaller.windows.truncate(half);
        text = serde_json::to_vec(&smaller)?;
    }
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            schema: model_store::outcome::SCHEMA,
            job_id: 7,
            cluster: "c".into(),
            advice_id: None,
            uid: 1,
            asked: Default::default(),
            engine: "vllm".into(),
            engine_version: String::new(),
            started_at: 1.5,
            cold_start_s: None,
            elapsed_s: 1.0,
            exit_code: Some(0),
            signal: None,
            outcome: Default::default(),
            evidence: String::new(),
            windows: Vec::new(),
        }
    }

    #[test]
    fn a_file_is_whole_readable_and_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(file_name("c", 7, 1.5, 42));
        write(&path, &outcome()).unwrap();
        write(
            &path,
            &Outcome {
                elapsed_s: 2.0,
                ..outcome()
            },
        )
        .unwrap();
        let read: Outcome = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(read.elapsed_s, 2.0);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o644
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(path.file_name().unwrap(), "c-7-1500-42.json");
    }

    #[test]
    fn names_from_outside_stay_names() {
        assert_eq!(file_name("../a b\n", 1, 0.0, 2), "_a_b_-1-0-2.json");
        assert_eq!(file_name("", 1, 0.0, 2), "cluster-1-0-2.json");
    }

    #[test]
    fn a_missing_spool_is_an_error_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(&dir.path().join("none/x.json"), &outcome()).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_is_never_larger_than_readers_take() {
        let window = model_store::outcome::Window {
            power_w: Some(1.0 / 3.0),
            memory_gb: None,
            seconds: 1.0 / 3.0,
            ..Default::default()
        };
        let many = Outcome {
            windows: vec![window; 5000],
            ..outcome()
        };
        let text = fitting(&many).unwrap();
        assert!(text.len() as u64 <= LARGEST + 1 && text.len() > 1000);
    }
}
