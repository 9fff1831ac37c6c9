//! A site of its own for one test: configuration, store, spool, and commands that answer as
//! Slurm's do, from files.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use model_store::advisor::{ClusterState, GpuPool, RunOutcome};
use model_store::outcome::{Asked, Outcome, Window};
use model_store::store::Store;
use tempfile::TempDir;

/// When the jobs of these tests began, Unix seconds.
pub(crate) const BEGAN: i64 = 1_795_412_495;

/// Answers `-j` from the file `accounting`, a line a job with `@X@` between the cells; a window
/// of time holds what the file `window` holds.
const SACCT: &str = r#"#!/bin/sh
ids= delimiter='|'
while [ $# -gt 0 ]; do
  case $1 in
    --delimiter=*) delimiter=${1#*=} ;;
    -j) ids=$2; shift ;;
  esac
  shift
done
here=${0%/*}
[ -n "$ids" ] || { cat "$here/window" 2>/dev/null | sed "s/@X@/$delimiter/g"; exit 0; }
awk -F'@X@' -v ids="$ids" 'BEGIN { n = split(ids, list, ","); for (i = 1; i <= n; i++) asked[list[i]] = 1 }
  asked[$1] || NF < 18' "$here/accounting" | sed "s/@X@/$delimiter/g"
"#;

/// The built-in published figures.
pub(crate) const FIGURES: &str =
    include_str!("../../../model-store/store/data/published-figures.csv");

pub(crate) struct Site {
    pub(crate) dir: TempDir,
}

impl Site {
    /// A site whose store `omnipilot init` has made.
    pub(crate) fn new() -> Self {
        let site = Self::bare();
        let init = site.run(&["init", "--figures-only"]);
        assert!(init.status.success(), "{init:?}");
        site
    }

    /// A site with every third of the published figures: training is what takes the time.
    pub(crate) fn small() -> Self {
        let site = Self::bare();
        std::fs::create_dir(site.spool()).unwrap();
        let mode = std::fs::Permissions::from_mode(0o3777);
        std::fs::set_permissions(site.spool(), mode).unwrap();
        let figures = FIGURES.lines().enumerate();
        let third = figures
            .filter(|(n, _)| *n == 0 || n % 3 == 1)
            .map(|(_, l)| l);
        site.import("figures.csv", &third.collect::<Vec<_>>().join("\n"));
        site
    }

    /// Has observed two nodes with eight GPUs of each of these types.
    pub(crate) fn observes(&self, types: &[&str]) {
        let pool = |gres: &&str| GpuPool {
            gres: (*gres).into(),
            nodes: 2,
            per_node: 8,
            total: 16,
            free: 16,
            partitions: vec!["gpu".into()],
            ..GpuPool::default()
        };
        let state = ClusterState {
            pools: types.iter().map(pool).collect(),
            // Stated: nothing is known of what jobs could be started on.
            observed_at: None,
            ..ClusterState::default()
        };
        self.store().save_cluster(&state).unwrap();
    }

    /// Imports this text as runs that were published.
    pub(crate) fn import(&self, name: &str, text: &str) {
        let file = self.path(name);
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let out = self.run(&[
            "import",
            "--format",
            "runs-csv",
            "--origin",
            "published",
            file,
        ]);
        assert!(out.status.success(), "{out:?}");
    }

    fn bare() -> Self {
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let config = format!(
            "store = \"{0}/db/store.db\"\nsnapshot = \"{0}/published/omnipilot.snapshot\"\nspool = \"{0}/spool\"\n",
            site.dir.path().display()
        );
        std::fs::write(site.dir.path().join("omnipilot.toml"), config).unwrap();
        std::fs::create_dir(site.dir.path().join("bin")).unwrap();
        site.command_that("sacct", SACCT);
        site.accounting(&[]);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.path("spool")
    }

    /// Makes a command with this text.
    pub(crate) fn command_that(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What accounting says from now on.
    pub(crate) fn accounting(&self, rows: &[String]) {
        std::fs::write(self.path("bin/accounting"), rows.join("\n") + "\n").unwrap();
    }

    /// What a window of accounting holds from now on.
    pub(crate) fn ended(&self, rows: &[String]) {
        std::fs::write(self.path("bin/window"), rows.join("\n") + "\n").unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omnipilot"));
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command
            .arg("--config")
            .arg(self.path("omnipilot.toml"))
            .args(args)
            .env("PATH", path);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The report of `omnipilot ingest --json`, which succeeds.
    pub(crate) fn ingest(&self) -> serde_json::Value {
        self.json(&["ingest"])
    }

    /// What a verb that succeeds tells as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let out = self.run(&[args, &["--json"]].concat());
        assert!(out.status.success(), "{out:?}");
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// The published snapshot.
    pub(crate) fn snapshot(&self) -> model_store::snapshot::Snapshot {
        model_store::snapshot::Snapshot::read(&self.path("published/omnipilot.snapshot")).unwrap()
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.path("db/store.db")).unwrap()
    }

    /// The runs that were measured here.
    pub(crate) fn runs_here(&self) -> Vec<model_store::advisor::Run> {
        let here = model_store::advisor::Origin::ThisCluster;
        self.store()
            .runs()
            .unwrap()
            .into_iter()
            .filter(|r| r.origin == here)
            .collect()
    }

    pub(crate) fn put(&self, name: &str, outcome: &Outcome) {
        self.put_text(name, &serde_json::to_string(outcome).unwrap());
    }

    pub(crate) fn put_text(&self, name: &str, text: &str) {
        std::fs::write(self.spool().join(name), text).unwrap();
    }

    /// How many names are in the spool.
    pub(crate) fn left(&self) -> usize {
        std::fs::read_dir(self.spool()).unwrap().count()
    }
}

/// Who runs the tests.
pub(crate) fn uid(dir: &Path) -> u32 {
    std::fs::metadata(dir).unwrap().uid()
}

/// A row of accounting: a job of 100 s that began at [`BEGAN`] and had nothing to wait for.
pub(crate) fn row(site: &Site, job: u64, state: &str, tres: &str, comment: &str) -> String {
    let uid = uid(site.dir.path());
    let (end, nodes) = match state {
        "RUNNING" => ("Unknown".to_owned(), "h1"),
        "REFUSED" => ((BEGAN + 100).to_string(), "None assigned"),
        _ => ((BEGAN + 100).to_string(), "h1"),
    };
    [
        &job.to_string(),
        "omnipilot",
        "alice",
        &uid.to_string(),
        state,
        "0:0",
        "100",
        &BEGAN.to_string(),
        &BEGAN.to_string(),
        &BEGAN.to_string(),
        &end,
        nodes,
        tres,
        "serve",
        "job",
        "sbatch serve.sh",
        comment,
        "None",
    ]
    .join("@X@")
}

/// What a job with 2 x h100 reports that began at [`BEGAN`] and served for a minute.
pub(crate) fn outcome(site: &Site, job_id: u64) -> Outcome {
    let start = BEGAN as f64;
    Outcome {
        schema: 1,
        job_id,
        cluster: "omnipilot".into(),
        advice_id: Some("7f3a91".into()),
        uid: uid(site.dir.path()),
        asked: Asked {
            model: "meta-llama/Llama-3.1-8B-Instruct".into(),
            gpu: "h100".into(),
            num_gpus: Some(2),
            tp: Some(2),
            pp: None,
            dp: None,
            precision: Some("fp8".into()),
            isl: Some(1000.0),
            osl: Some(100.0),
            concurrency: Some(16.0),
            card: None,
            as_written: false,
        },
        engine: "vllm".into(),
        engine_version: "0.11.0".into(),
        started_at: start + 1.0,
        cold_start_s: Some(20.0),
        elapsed_s: 95.0,
        exit_code: Some(0),
        signal: None,
        outcome: RunOutcome::Ok,
        evidence: String::new(),
        start: None,
        windows: vec![Window {
            begins_at: start + 22.0,
            seconds: 60.0,
            requests: 600.0,
            output_tok_s: 2000.0,
            req_s: 10.0,
            concurrency: Some(15.5),
            isl: Some(990.0),
            osl: Some(200.0),
            ttft_ms: Some(50.0),
            tpot_ms: Some(7.0),
            e2e_ms: Some(1450.0),
            kv_usage: Some(0.3),
            preemptions: Some(0.0),
            power_w: Some(900.0),
            memory_gb: Some(71.5),
            ..Window::default()
        }],
    }
}

/// The resources of such a job.
pub(crate) const TRES: &str = "billing=1,cpu=1,gres/gpu:h100=2,gres/gpu=2,mem=1G,node=1";
/// Its comment.
pub(crate) const COMMENT: &str = "note omnipilot:7f3a91";

/// A row with these cells replaced.
pub(crate) fn with(row: &str, cells: &[(usize, &str)]) -> String {
    let mut all: Vec<&str> = row.split("@X@").collect();
    cells.iter().for_each(|(at, text)| all[*at] = text);
    all.join("@X@")
}
