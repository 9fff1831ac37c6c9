//! A cluster with the plugin in it and a model that was trained from the built-in published figures.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use e2e::{ALICE, Cluster, OPERATOR, Output, Setup, artifacts};
use nix::fcntl::{Flock, FlockArg};

/// A model that the published figures cover well.
pub(crate) const MODEL: &str = "--llm-model=meta-llama/Llama-3.1-8B-Instruct";

/// A cluster with the plugin.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
}

impl Site {
    /// With a published snapshot.
    pub(crate) fn start() -> Self {
        Self::with(&Setup::default())
    }

    /// On a cluster of that kind.
    pub(crate) fn with(setup: &Setup) -> Self {
        let site = Self::without_snapshot(setup);
        fs::copy(snapshot(&site.cluster), site.path("model.snapshot")).unwrap();
        site
    }

    /// With a configuration that names a snapshot which is not there.
    pub(crate) fn without_snapshot(setup: &Setup) -> Self {
        let site = Self {
            cluster: setup.start().unwrap(),
        };
        site.configure("");
        let arguments = format!("config={}", site.path("omnipilot.toml").display());
        site.cluster.plugin(&arguments).unwrap();
        site
    }

    /// A path in the cluster's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.cluster.prefix().join(name)
    }

    /// Writes the configuration, with further lines at its end.
    pub(crate) fn configure(&self, more: &str) {
        self.cluster
            .file(
                "omnipilot.toml",
                &configuration(self.cluster.prefix(), more),
            )
            .unwrap();
    }

    /// Publishes what this cluster has in place of what the one had on which the snapshot was made.
    pub(crate) fn observe(&self) {
        let config = self.path("omnipilot.toml").display().to_string();
        let program = artifacts::omnipilot().unwrap().display().to_string();
        for verb in [&["init", "--figures-only"][..], &["observe"]] {
            let words = [&["--config", &config], verb].concat();
            let output = self.cluster.run(OPERATOR, &program, &words).unwrap();
            output.success().unwrap();
        }
    }

    /// Submits with `sbatch`, and asserts that nothing was printed but the job id.
    pub(crate) fn submit(&self, arguments: &[&str], script: &str) -> u32 {
        let output = self.cluster.sbatch(ALICE, arguments, script).unwrap();
        assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{output}");
        output.id().unwrap()
    }

    /// Submits a held job and gives its record.
    pub(crate) fn held(&self, arguments: &[&str], script: &str) -> BTreeMap<String, String> {
        let id = self.submit(&[&["--hold"], arguments].concat(), script);
        self.cluster.show_job(id).unwrap()
    }

    /// Submits a job, waits for its end and gives what it wrote.
    pub(crate) fn output(&self, arguments: &[&str], script: &str) -> String {
        let id = self.submit(arguments, script);
        self.cluster.completed(id).unwrap();
        self.cluster.job_output(id).unwrap()
    }

    /// Runs `sbatch` as alice with these words.
    pub(crate) fn sbatch(&self, arguments: &[&str]) -> Output {
        self.cluster.run(ALICE, "sbatch", arguments).unwrap()
    }
}

/// GPUs that a job's record asks for on a node, as `gpu:h100:2`; empty for none. Slurm writes `gres:` or `gres/` before.
pub(crate) fn gpus(record: &BTreeMap<String, String>) -> String {
    let text = record.get("TresPerNode").map_or("", String::as_str);
    text.replace("gres:", "").replace("gres/", "")
}

/// The advice id in a job's comment.
pub(crate) fn advice_id(record: &BTreeMap<String, String>) -> Option<String> {
    let comment = record.get("Comment")?;
    comment
        .split(' ')
        .find_map(|word| word.strip_prefix("omnipilot:"))
        .map(str::to_owned)
}

fn configuration(folder: &Path, more: &str) -> String {
    let entry = |key: &str, name: &str| format!("{key} = \"{}\"\n", folder.join(name).display());
    entry("store", "store.db")
        + &entry("snapshot", "model.snapshot")
        + &entry("spool", "outcomes")
        + more
        + "\n"
}

/// Trains once for all tests, and anew when the command was built anew.
fn snapshot(cluster: &Cluster) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(folder.join("snapshot.lock")).unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let program = artifacts::omnipilot().unwrap();
    let snapshot = folder.join("model.snapshot");
    let built = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    // What was observed counts for hours alone.
    let an_hour_ago = SystemTime::now().checked_sub(Duration::from_secs(3600));
    if built(&snapshot) < built(&program).max(an_hour_ago) {
        let fresh = train(cluster, &program);
        fs::copy(fresh, &snapshot).unwrap();
    }
    drop(lock);
    snapshot
}

fn train(cluster: &Cluster, program: &Path) -> PathBuf {
    let config = cluster
        .file(
            "training/omnipilot.toml",
            &configuration(&cluster.prefix().join("training"), ""),
        )
        .unwrap();
    for verb in [&["init", "--figures-only"][..], &["observe"], &["train"]] {
        let mut command = cluster
            .command(OPERATOR, &program.display().to_string())
            .unwrap();
        let output = command
            .arg("--config")
            .arg(&config)
            .args(verb)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "omnipilot {verb:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    cluster.prefix().join("training/model.snapshot")
}

/// Runs a prepared command.
pub(crate) fn finish(command: &mut Command) -> Output {
    let line = format!("{command:?}");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        command: line,
        code: output.status.code(),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

/// Runs a prepared command with this text on its standard input.
pub(crate) fn feed(command: &mut Command, text: &str) -> Output {
    use std::io::Write;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output {
        command: format!("{command:?}"),
        code: output.status.code(),
        stdout: words(&output.stdout),
        stderr: words(&output.stderr),
    }
}
