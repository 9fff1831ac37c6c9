//! One user against the others on a real Slurm: what alice submits and leaves in the spool keeps nothing of bob's out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::{ALICE, BOB, OPERATOR, Setup, User};
use model_store::store::Store;
use serde_json::{Value, json};

use crate::site::{Site, submitted};

/// A submit line of this many bytes is more than accounting keeps of one.
const LONG: usize = 66_000;
/// Lets bob's job be one whose outcome is believed: it holds a GPU for so long, s.
const SERVED: u32 = 9;

fn site() -> Site {
    let site = Site::trained(&Setup::default().accounting());
    let spool = site.path("site/spool");
    let mode = fs::metadata(&spool).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o3777);
    site
}

fn store(site: &Site) -> Store {
    Store::open(&site.path("site/store.db")).unwrap()
}

/// Submits as this user and gives the job's id.
fn submit(site: &Site, user: User, words: &[&str], script: &str) -> u32 {
    submitted(&site.cluster.sbatch(user, words, script).unwrap())
}

/// Leaves an outcome of a job on one H100, as this user's own file.
fn leave(site: &Site, user: User, job: u32, name: &str, rate: f64) {
    let show = site.cluster.show_job(job).unwrap();
    let mut command = site.cluster.command(OPERATOR, "scontrol").unwrap();
    let told = command
        .env("SLURM_TIME_FORMAT", "%s")
        .args(["show", "job", &job.to_string()])
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let start = told
        .split_whitespace()
        .find_map(|word| word.strip_prefix("StartTime="))
        .and_then(|at| at.parse::<f64>().ok())
        .unwrap_or(0.0);
    let uid: u32 = show["UserId"]
        .rsplit(['(', ')'])
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap();
    let window = json!({ "begins_at": start + 1.0, "seconds": 6.0, "requests": 100.0, "output_tok_s": rate, "req_s": 6.0,
        "concurrency": 64.0, "isl": 1000.0, "osl": 1000.0, "ttft_ms": 100.0, "tpot_ms": 10.0, "e2e_ms": 10000.0,
        "kv_usage": 0.5, "preemptions": 0.0, "power_w": null });
    let outcome = json!({ "schema": 1, "job_id": job, "cluster": "omnipilot", "advice_id": null, "uid": uid,
        "asked": { "model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100", "num_gpus": 1, "tp": 1, "precision": "fp8",
            "isl": 1000.0, "osl": 1000.0, "concurrency": 64.0 },
        "engine": "vllm", "engine_version": "0.10", "started_at": start + 0.5, "cold_start_s": 0.5, "elapsed_s": 7.5,
        "exit_code": 0, "signal": null, "outcome": "ok", "evidence": "", "windows": [window] });
    let text = outcome.to_string();
    let file = site.path("site/spool").join(name).display().to_string();
    let line = format!("cat > {file} <<'END'\n{text}\nEND\n");
    site.cluster
        .run(user, "bash", &["-c", &line])
        .unwrap()
        .success()
        .unwrap();
}

/// A job of bob's on one H100, which served, and its outcome.
fn honest(site: &Site) -> u32 {
    let job = submit(
        site,
        BOB,
        &["--gres=gpu:h100:1"],
        &format!("sleep {SERVED}"),
    );
    site.cluster.completed(job).unwrap();
    leave(site, BOB, job, &format!("omnipilot-{job}-1-1.json"), 6000.0);
    job
}

/// Ingests until a run of this cluster is there, for accounting lags some seconds behind. Every call succeeds.
fn ingest_until_a_run(site: &Site) -> Value {
    let begun = Instant::now();
    loop {
        let report = site.json(&["ingest"]);
        if report["runs"].as_u64() > Some(0) {
            return report;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{report}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// How many jobs or tasks with long lines: the few that a test affords; with 4,300 they come to more than 256 MiB.
fn many() -> usize {
    std::env::var("OMNIPILOT_LONG_LINES").map_or(60, |n| n.parse().unwrap())
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn submit_lines_of_one_user_end_no_call_for_the_others() {
    let site = site();
    let line = format!(
        "export A=$(head -c {LONG} /dev/zero | tr '\\0' x); printf '#!/bin/bash\\n:\\n' > t.sh\n\
         for i in $(seq {}); do sbatch -H --parsable -o /dev/null t.sh $A || exit 1; done; scancel -u $USER",
        many()
    );
    let output = site.cluster.run(ALICE, "bash", &["-c", &line]).unwrap();
    output.success().unwrap();
    honest(&site);
    let before = store(&site).watermark("sacct").unwrap();
    ingest_until_a_run(&site);
    let report = site.json(&["ingest"]);
    assert!(
        report["passed_over"].as_array().unwrap().is_empty(),
        "{report}"
    );
    let store = store(&site);
    assert!(store.watermark("sacct").unwrap() > before);
    // Bob's job is known by its wait; none of alice's ever ran.
    let waits = store.waits(0).unwrap();
    assert_eq!(waits.len(), 1, "{waits:?}");
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn arrays_that_one_users_files_name_keep_nobodys_outcome_out() {
    let site = site();
    let tasks = (many() / 5).max(1);
    let line = format!(
        "export A=$(head -c {LONG} /dev/zero | tr '\\0' x); printf '#!/bin/bash\\n:\\n' > t.sh\n\
         for k in 1 2 3 4 5; do sbatch --parsable --mem=1M --array=0-{} -o /dev/null t.sh $A || exit 1; done",
        tasks - 1
    );
    let output = site.cluster.run(ALICE, "bash", &["-c", &line]).unwrap();
    let ids: Vec<u32> = output
        .success()
        .unwrap()
        .stdout
        .lines()
        .map(|id| id.parse().unwrap())
        .collect();
    assert_eq!(ids.len(), 5);
    let begun = Instant::now();
    loop {
        let queued = site.cluster.run(ALICE, "squeue", &["-h", "-r"]).unwrap();
        if queued.stdout.trim().is_empty() {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(900), "{queued}");
        std::thread::sleep(Duration::from_millis(500));
    }
    for id in &ids {
        leave(&site, ALICE, *id, &format!("a-{id}.json"), 100.0);
    }
    honest(&site);
    let report = ingest_until_a_run(&site);
    assert_eq!(report["runs"], 1, "{report}");
}

/// A wait for a limit of one's own says nothing of GPUs, and a queue that stands there is none for them.
#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn a_wait_for_ones_own_limit_is_no_wait_for_gpus() {
    let setup = Setup::default()
        .accounting()
        .conf("AccountingStorageEnforce=associations,limits,qos");
    let site = Site::trained(&setup);
    let sacctmgr = |line: &str| {
        let words: Vec<&str> = ["-i"].into_iter().chain(line.split(' ')).collect();
        let output = site.cluster.run(OPERATOR, "sacctmgr", &words).unwrap();
        output.success().unwrap();
    };
    sacctmgr("add account poor");
    for user in [ALICE, BOB] {
        sacctmgr(&format!("add user {} account=poor", user.name()));
    }
    sacctmgr(&format!("modify user {} set MaxJobs=1", ALICE.name()));
    let gpu = ["--gres=gpu:h200:1"];
    let hers: Vec<u32> = (0..4)
        .map(|_| submit(&site, ALICE, &gpu, "sleep 2"))
        .collect();
    let his = submit(&site, BOB, &gpu, "true");
    let begun = Instant::now();
    let reasons = || {
        let words = ["-h", "-t", "PD", "-o", "%r"];
        site.cluster.run(OPERATOR, "squeue", &words).unwrap().stdout
    };
    while !reasons().contains("AssocMaxJobsLimit") && begun.elapsed() < Duration::from_secs(6) {
        std::thread::sleep(Duration::from_millis(100));
    }
    if reasons()
        .lines()
        .all(|reason| reason == "AssocMaxJobsLimit")
    {
        let seen = site.json(&["observe"]);
        let pools = seen["pools"].as_array().unwrap();
        let h200 = pools.iter().find(|p| p["gres"] == "h200").unwrap();
        assert_eq!(h200["pending"], 0, "{seen}");
    }
    for id in hers.iter().chain([&his]) {
        site.cluster.completed(*id).unwrap();
    }
    let begun = Instant::now();
    let ended = || {
        let words = ["-n", "-X", "-a", "-P", "-o", "JobIDRaw,State,Reason"];
        let told = site.cluster.run(OPERATOR, "sacct", &words).unwrap().stdout;
        told.lines().filter(|l| l.contains("COMPLETED")).count() == 5
    };
    while !ended() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(300));
    }
    site.json(&["ingest"]);
    let mut counted: Vec<u64> = store(&site)
        .waits(0)
        .unwrap()
        .iter()
        .map(|w| w.job_id)
        .collect();
    counted.sort_unstable();
    assert_eq!(counted, [u64::from(hers[0]), u64::from(his)]);
}

/// What a job's `omnipilot run` leaves is read by the service account's group and by no other user.
#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn an_outcome_is_read_by_the_service_account_and_by_no_other_user() {
    let site = site();
    let bin = site.path("bin").display().to_string();
    let script = format!(
        "umask 000\n{bin}/omnipilot run --spool {} -- bash -c 'echo ValueError: no model at https://a:SECRET@b.example >&2; exit 3'\n",
        site.path("site/spool").display()
    );
    let job = submit(&site, ALICE, &["--gres=gpu:h100:1"], &script);
    site.cluster.wait_job(job).unwrap();
    let files: Vec<PathBuf> = fs::read_dir(site.path("site/spool"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(
        fs::metadata(&files[0]).unwrap().permissions().mode() & 0o7777,
        0o640
    );
    let file = files[0].display().to_string();
    if BOB.name() != ALICE.name() {
        let read = site.cluster.run(BOB, "cat", &[&file]).unwrap();
        assert_ne!(read.code, Some(0), "{read}");
    }
    assert!(!fs::read_to_string(&files[0]).unwrap().contains("SECRET"));
    // Somebody else can neither take it away nor put another in its place.
    let taken = format!("rm -f {file}; mv -f /dev/null {file}; ln -sf /etc/passwd {file}");
    let before = fs::read(&files[0]).unwrap();
    site.cluster.run(BOB, "bash", &["-c", &taken]).unwrap();
    assert_eq!(fs::read(&files[0]).unwrap(), before);
}
