//! `omnipilot` on file systems that are really full or really read-only: a tmpfs of a few megabytes in a mount namespace of the test's own,
//! which is gone with the test, however that ends.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use e2e::artifacts;
use model_store::advisor::RunOutcome;
use model_store::outcome::{Asked, Outcome, Window};
use model_store::store::Store;

/// Set inside of the namespace.
const INSIDE: &str = "OMNIPILOT_DISK_TEST";
/// When the jobs of these tests began, Unix seconds.
const BEGAN: i64 = 1_795_412_495;
/// Prints the rows of the file `accounting` beside it for `-j`, and none for a window of time.
const SACCT: &str = "#!/bin/sh\nids= delimiter='|'\nwhile [ $# -gt 0 ]; do case $1 in --delimiter=*) delimiter=${1#*=} ;; -j) ids=1 ;; esac; shift; done\n\
    [ -z \"$ids\" ] || sed \"s/@X@/$delimiter/g\" \"${0%/*}/accounting\"\n";
const SCONTROL: &str = "#!/bin/sh\ncase $* in\n*partition*) echo 'PartitionName=serve AllocNodes=ALL Default=YES QoS=N/A' ;;\n\
    *) echo 'NodeName=h1 Arch=x86_64 Gres=gpu:h100:8 GresUsed=gpu:h100:0 State=IDLE Partitions=serve' ;;\nesac\n";

/// Runs the test's body in a mount namespace of its own: this test executable again, told by a variable that it is inside.
fn in_namespace(test: &str, body: fn(&Disk)) {
    if std::env::var_os(INSIDE).is_some() {
        return body(&Disk::new(test));
    }
    let status = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

/// A site whose folder `disk` is a small file system.
struct Disk {
    dir: PathBuf,
}

impl Disk {
    fn new(test: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("disk-{test}"));
        fs::create_dir_all(&dir).unwrap();
        let disk = Self { dir };
        disk.mount(&["-t", "tmpfs", "-o", "size=64m", "none"], "");
        for folder in ["bin", "spool", "db", "published", "disk"] {
            fs::create_dir(disk.path(folder)).unwrap();
        }
        disk.mount(&["-t", "tmpfs", "-o", "size=4m", "none"], "disk");
        for (name, text) in [
            ("sacct", SACCT),
            ("scontrol", SCONTROL),
            ("squeue", "#!/bin/sh\n"),
        ] {
            disk.program(name, text);
        }
        disk.accounting(0);
        disk.lies("db", "spool", "published");
        disk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn mount(&self, options: &[&str], at: &str) {
        let out = Command::new("mount")
            .args(options)
            .arg(self.path(at))
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Where store, spool and snapshot lie from now on.
    fn lies(&self, store: &str, spool: &str, published: &str) {
        let text = format!(
            "store = \"{0}/{store}/store.db\"\nsnapshot = \"{0}/{published}/omnipilot.snapshot\"\nspool = \"{0}/{spool}\"\n",
            self.dir.display()
        );
        fs::write(self.path("omnipilot.toml"), text).unwrap();
    }

    /// Fills the small file system to the last byte.
    fn fill(&self) {
        let mut file = File::create(self.path("disk/ballast")).unwrap();
        for size in [1 << 16, 1] {
            while file.write_all(&vec![b'x'; size]).is_ok() {}
        }
    }

    fn make_room(&self) {
        fs::remove_file(self.path("disk/ballast")).unwrap();
    }

    fn read_only(&self, yes: bool) {
        let option = if yes { "remount,ro" } else { "remount,rw" };
        self.mount(&["-o", option], "disk");
    }

    fn run(&self, words: &[&str]) -> Output {
        Command::new(artifacts::omnipilot().unwrap())
            .arg("--config")
            .arg(self.path("omnipilot.toml"))
            .args(words)
            .env(
                "PATH",
                format!("{}:/usr/bin:/bin", self.path("bin").display()),
            )
            .output()
            .unwrap()
    }

    /// Takes a table in this folder as published figures.
    fn import(&self, file: &str) {
        let file = self.path(file);
        let words = ["import", "--format", "runs-csv", "--origin", "published"];
        let out = self.run(&[&words[..], &[file.to_str().unwrap()]].concat());
        assert!(out.status.success(), "{out:?}");
    }

    fn json(&self, words: &[&str]) -> serde_json::Value {
        let out = self.run(&[words, &["--json"]].concat());
        assert!(out.status.success(), "{words:?}: {out:?}");
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Asserts that a verb fails, and gives what it said.
    fn fails(&self, words: &[&str]) -> String {
        let out = self.run(words);
        assert!(
            out.status.code().is_some_and(|code| code != 0),
            "{words:?}: {out:?}"
        );
        String::from_utf8(out.stderr).unwrap()
    }

    /// Jobs 1 to this are in accounting from now on.
    fn accounting(&self, jobs: u64) {
        let uid = fs::metadata(&self.dir).unwrap().uid();
        let row = |job: u64| {
            let end = BEGAN + 100;
            format!(
                "{job}@X@c@X@a@X@{uid}@X@COMPLETED@X@0:0@X@100@X@{BEGAN}@X@{BEGAN}@X@{BEGAN}@X@{end}@X@h1@X@gres/gpu:h100=2@X@serve@X@job@X@sbatch x@X@@X@None\n"
            )
        };
        let rows: String = (1..=jobs).map(row).collect();
        fs::write(self.path("bin/accounting"), rows).unwrap();
    }

    /// Leaves the outcomes of jobs in a spool.
    fn put(&self, spool: &str, jobs: std::ops::RangeInclusive<u64>) {
        for job in jobs {
            let told = outcome(job, fs::metadata(&self.dir).unwrap().uid());
            let path = self.path(spool).join(format!("{job}.json"));
            fs::write(path, serde_json::to_string(&told).unwrap()).unwrap();
        }
    }

    fn left(&self, folder: &str) -> Vec<String> {
        let all = fs::read_dir(self.path(folder)).unwrap();
        let names = all.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|n| n != "ballast").collect();
        names.sort();
        names
    }

    fn store(&self, folder: &str) -> Store {
        Store::open(&self.path(folder).join("store.db")).unwrap()
    }

    /// Runs that were measured here.
    fn here(&self, folder: &str) -> usize {
        let runs = self.store(folder).runs().unwrap();
        runs.iter()
            .filter(|r| r.source.starts_with("cluster:"))
            .count()
    }
}

fn outcome(job_id: u64, uid: u32) -> Outcome {
    let start = BEGAN as f64;
    Outcome {
        schema: 1,
        job_id,
        cluster: "c".into(),
        advice_id: None,
        uid,
        asked: Asked {
            model: "meta-llama/Llama-3.1-8B-Instruct".into(),
            gpu: "h100".into(),
            num_gpus: Some(2),
            tp: Some(2),
            precision: Some("fp8".into()),
            ..Asked::default()
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
            output_tok_s: 1000.0 + job_id as f64,
            req_s: 10.0,
            concurrency: Some(16.0),
            isl: Some(1000.0),
            osl: Some(200.0),
            ..Window::default()
        }],
    }
}

#[test]
#[cfg_attr(not(e2e_mounts), ignore = "a file system may not be mounted here")]
fn a_server_runs_on_where_its_spool_and_log_are_full_or_read_only() {
    in_namespace(
        "a_server_runs_on_where_its_spool_and_log_are_full_or_read_only",
        |disk| {
            let engine = env!("CARGO_BIN_EXE_standin-engine");
            disk.program("vllm", &format!("#!/bin/sh\necho begun; \"{engine}\" \"$@\"; code=$?; echo ended >&2; exit $((code + ${{CODE:-0}}))\n"));
            let serve = |code: &str, log: &str| {
                let port = std::net::TcpListener::bind("127.0.0.1:0")
                    .unwrap()
                    .local_addr()
                    .unwrap()
                    .port();
                let mut command = Command::new(artifacts::omnipilot().unwrap());
                command
                    .args(["run", "--interval", "0.1", "--warmup", "0", "--spool"])
                    .arg(disk.path("disk"))
                    .args([
                        "--",
                        "vllm",
                        "serve",
                        "org/Some-7B",
                        "--port",
                        &port.to_string(),
                    ])
                    .env(
                        "PATH",
                        format!("{}:/usr/bin:/bin", disk.path("bin").display()),
                    )
                    .env("SLURM_JOB_ID", "7")
                    .env("STANDIN_READY_S", "0.1")
                    .env("STANDIN_STOP_AFTER_S", "1.5")
                    .env("CODE", code);
                if !log.is_empty() {
                    command.stdout(File::options().append(true).open(disk.path(log)).unwrap());
                }
                command.output().unwrap()
            };
            File::create(disk.path("disk/job.log")).unwrap();
            disk.fill();
            for (code, reason) in [
                ("0", "No space left on device"),
                ("3", "No space left on device"),
                ("0", "Read-only file system"),
            ] {
                if reason.starts_with("Read") {
                    disk.make_room();
                    disk.read_only(true);
                }
                // The job's own log lies there too, as long as it can be opened at all.
                let log = if reason.starts_with("Read") {
                    ""
                } else {
                    "disk/job.log"
                };
                let out = serve(code, log);
                assert_eq!(out.status.code(), code.parse().ok(), "{out:?}");
                let said = String::from_utf8(out.stderr).unwrap();
                let warnings: Vec<&str> = said
                    .lines()
                    .filter(|l| l.starts_with("omnipilot: the outcome was not recorded"))
                    .collect();
                assert!(
                    warnings.len() == 1 && warnings[0].contains(reason),
                    "{said}"
                );
                assert!(said.contains("ended"), "{said}");
                assert_eq!(disk.left("disk"), ["job.log"]);
            }
            disk.read_only(false);
            let out = serve("0", "disk/job.log");
            assert!(
                out.status.success()
                    && !String::from_utf8_lossy(&out.stderr).contains("omnipilot:"),
                "{out:?}"
            );
            assert_eq!(disk.left("disk").len(), 2);
            let log = fs::read_to_string(disk.path("disk/job.log")).unwrap();
            assert!(log.starts_with("begun\n(APIServer"), "{log}");
        },
    );
}

#[test]
#[cfg_attr(not(e2e_mounts), ignore = "a file system may not be mounted here")]
fn a_store_on_a_full_or_read_only_disk_takes_nothing_and_loses_nothing() {
    in_namespace(
        "a_store_on_a_full_or_read_only_disk_takes_nothing_and_loses_nothing",
        |disk| {
            disk.lies("disk", "spool", "published");
            assert!(disk.run(&["init", "--figures-only"]).status.success());
            disk.accounting(40);
            disk.put("spool", 1..=2);
            assert_eq!(disk.json(&["ingest"])["runs"], 2);
            disk.put("spool", 3..=40);
            disk.fill();
            let said = disk.fails(&["ingest"]);
            assert!(
                said.contains("full") && said.contains("hint: free some space"),
                "{said}"
            );
            let said = disk.fails(&["observe"]);
            assert!(said.contains("hint: "), "{said}");
            disk.make_room();
            disk.read_only(true);
            for verb in ["ingest", "observe"] {
                let said = disk.fails(&[verb]);
                assert!(
                    said.contains("hint: ") && said.to_lowercase().contains("read"),
                    "{said}"
                );
            }
            assert_eq!((disk.left("spool").len(), disk.here("disk")), (38, 2));
            disk.read_only(false);
            assert_eq!(disk.json(&["ingest"])["runs"], 38);
            disk.json(&["observe"]);
            assert_eq!((disk.left("spool").len(), disk.here("disk")), (0, 40));
        },
    );
}

#[test]
#[cfg_attr(not(e2e_mounts), ignore = "a file system may not be mounted here")]
fn a_spool_that_has_become_read_only_is_read_once() {
    in_namespace("a_spool_that_has_become_read_only_is_read_once", |disk| {
        disk.lies("db", "disk", "published");
        assert!(disk.run(&["init", "--figures-only"]).status.success());
        disk.accounting(3);
        disk.put("disk", 1..=3);
        disk.read_only(true);
        let report = disk.json(&["ingest"]);
        assert_eq!(
            (&report["runs"], &report["not_removed"][0]["files"]),
            (&3.into(), &3.into()),
            "{report}"
        );
        let report = disk.json(&["ingest"]);
        assert_eq!(
            (&report["runs"], &report["known"]),
            (&0.into(), &3.into()),
            "{report}"
        );
        disk.read_only(false);
        assert_eq!(disk.json(&["ingest"])["known"], 3);
        assert_eq!((disk.left("disk").len(), disk.here("db")), (0, 3));
    });
}

#[test]
#[cfg_attr(not(e2e_mounts), ignore = "a file system may not be mounted here")]
fn a_snapshot_that_finds_no_room_leaves_the_former_one_and_comes_with_room() {
    in_namespace(
        "a_snapshot_that_finds_no_room_leaves_the_former_one_and_comes_with_room",
        |disk| {
            disk.lies("db", "spool", "disk");
            let figures = include_str!("../model-store/store/data/published-figures.csv");
            let few: Vec<&str> = figures.lines().take(12).collect();
            fs::write(disk.path("few.csv"), few.join("\n")).unwrap();
            disk.import("few.csv");
            disk.json(&["train"]);
            let snapshot = disk.path("disk/omnipilot.snapshot");
            let former = fs::read(&snapshot).unwrap();
            disk.fill();
            for read_only in [false, true] {
                if read_only {
                    disk.make_room();
                    disk.read_only(true);
                }
                for verb in [&["train", "--force"][..], &["observe"]] {
                    let said = disk.fails(verb);
                    assert!(
                        said.starts_with("omnipilot: cannot publish ")
                            && said.contains(if read_only {
                                "is read-only"
                            } else {
                                "free some space"
                            }),
                        "{verb:?}: {said}"
                    );
                    assert_eq!(fs::read(&snapshot).unwrap(), former);
                }
            }
            disk.read_only(false);
            assert!(
                disk.left("disk")
                    .iter()
                    .all(|name| name.starts_with("omnipilot.snapshot") || name.ends_with(".lock")),
                "{:?}",
                disk.left("disk")
            );
            disk.json(&["observe"]);
            disk.json(&["train", "--force"]);
            assert_ne!(fs::read(&snapshot).unwrap(), former);
            let id = model_store::snapshot::Snapshot::read(&snapshot).unwrap().id;
            assert!(disk.store("db").model(&id).unwrap().is_some());
        },
    );
}

#[test]
#[cfg_attr(not(e2e_mounts), ignore = "a file system may not be mounted here")]
fn a_backup_without_room_is_none_and_a_restore_without_room_changes_nothing() {
    in_namespace(
        "a_backup_without_room_is_none_and_a_restore_without_room_changes_nothing",
        |disk| {
            assert!(disk.run(&["init", "--figures-only"]).status.success());
            disk.accounting(1);
            disk.put("spool", 1..=1);
            disk.json(&["ingest"]);
            let (there, elsewhere) = (disk.path("disk/backup.db"), disk.path("backup.db"));
            let (there, elsewhere) = (there.to_str().unwrap(), elsewhere.to_str().unwrap());
            disk.fill();
            let said = disk.fails(&["store", "backup", there]);
            assert!(said.contains("full") || said.contains("No space"), "{said}");
            assert!(disk.left("disk").is_empty(), "{:?}", disk.left("disk"));
            disk.make_room();
            disk.read_only(true);
            let said = disk.fails(&["store", "backup", there]);
            assert!(
                said.to_lowercase().contains("read-only") || said.contains("readonly"),
                "{said}"
            );
            disk.read_only(false);
            assert!(disk.run(&["store", "backup", there]).status.success());

            // The store on the small disk, to be given back what is larger than it.
            assert!(disk.run(&["store", "backup", elsewhere]).status.success());
            fs::remove_file(there).unwrap();
            disk.lies("disk", "spool", "published");
            fs::write(
                disk.path("empty.csv"),
                "model,gpu,tp,precision,workload,output_tok_s\nm,h100,1,fp8,offline,7\n",
            )
            .unwrap();
            disk.import("empty.csv");
            disk.fill();
            let said = disk.fails(&["store", "restore", elsewhere]);
            assert!(said.starts_with("omnipilot: "), "{said}");
            assert_eq!(disk.store("disk").count().unwrap(), 1);
            disk.make_room();
            assert!(disk.run(&["store", "restore", elsewhere]).status.success());
            assert_eq!(disk.here("disk"), 1);
        },
    );
}
