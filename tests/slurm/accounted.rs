//! What accounting of a real Slurm says of jobs that queued and of one that was requeued, against what its controller says.

use std::time::{Duration, Instant};

use e2e::{ALICE, OPERATOR, Setup};
use model_store::snapshot::Snapshot;
use model_store::store::Store;
use rusqlite::Connection;

use crate::site::{REQUEST, Site, submitted};

/// Jobs that queue for one node: fifteen that met no backlog, of which a quantile takes twelve, and three that did.
const QUEUED: usize = 18;

/// From the controller: when a job could have begun, and when it began, Unix seconds.
fn times(site: &Site, id: u32) -> (i64, i64) {
    let mut command = site.cluster.command(OPERATOR, "scontrol").unwrap();
    command
        .env("SLURM_TIME_FORMAT", "%s")
        .args(["show", "job", &id.to_string()]);
    let text = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let of = |key: &str| {
        let word = text
            .split_whitespace()
            .find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
        word.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
    };
    (of("EligibleTime"), of("StartTime"))
}

/// Ingests until the store has so many waits, for accounting lags some seconds behind.
fn ingest_until(site: &Site, done: impl Fn() -> bool) {
    let begun = Instant::now();
    loop {
        let report = site.json(&["ingest"]);
        assert!(
            report["quarantined"].as_array().unwrap().is_empty(),
            "{report}"
        );
        if done() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{report}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn waits_in_a_real_queue_are_the_controllers_and_become_quantiles_of_the_advice() {
    let site = Site::trained(&Setup::default().accounting());
    let script = "#!/bin/bash\n#SBATCH --gres=gpu:h100:8\nsleep 0.2\n";
    let submit = || submitted(&site.cluster.sbatch(ALICE, &[], script).unwrap());
    let mut ids: Vec<u32> = (0..QUEUED - 3).map(|_| submit()).collect();
    // While they queue, and not in the second of their submission, the cluster is looked at: what comes later has met a backlog.
    std::thread::sleep(Duration::from_millis(1100));
    let seen = site.json(&["observe"]);
    let h100 = |told: &serde_json::Value| {
        let pools = told["pools"].as_array().unwrap_or_else(|| panic!("{told}"));
        pools.iter().find(|p| p["gres"] == "h100").unwrap().clone()
    };
    let backlog = h100(&seen)["pending"].as_u64().unwrap();
    assert!(backlog >= 8 && backlog.is_multiple_of(8), "{seen}");
    std::thread::sleep(Duration::from_millis(1100));
    ids.extend((0..3).map(|_| submit()));
    for id in &ids {
        site.cluster.completed(*id).unwrap();
    }
    let truth: Vec<(u64, i64, u64)> = ids
        .iter()
        .map(|id| {
            let (eligible, start) = times(&site, *id);
            (
                u64::from(*id),
                eligible,
                u64::try_from(start - eligible).unwrap(),
            )
        })
        .collect();
    let waits = || {
        Store::open(&site.path("site/store.db"))
            .unwrap()
            .waits(0)
            .unwrap()
    };
    ingest_until(&site, || waits().len() == QUEUED);
    // The same hour again and again adds nothing.
    site.json(&["ingest"]);
    let mut told: Vec<(u64, i64, u64)> = waits()
        .iter()
        .map(|w| (w.job_id, w.eligible, w.wait_s))
        .collect();
    told.sort_unstable();
    assert_eq!(told, truth);
    assert!(
        waits()
            .iter()
            .all(|w| (w.gres.as_str(), w.gpus) == ("h100", 8))
    );
    let met: Vec<Option<u32>> = waits().iter().map(|w| w.backlog).collect();
    // Nobody had looked yet, or at an empty queue when the site was made.
    let first = &met[..QUEUED - 3];
    assert!(first.iter().all(|b| b.unwrap_or(0) == 0), "{met:?}");
    assert!(
        met[QUEUED - 3..]
            .iter()
            .all(|b| b.map(u64::from) == Some(backlog)),
        "{met:?}"
    );

    site.json(&["observe"]);
    let snapshot = Snapshot::read(&site.path("site/store.snapshot")).unwrap();
    let model = snapshot.body.cluster.waits.unwrap();
    let [q10, q50, q90] = model.of("h100", 8).unwrap().quantiles_s;
    let mut all: Vec<f64> = truth.iter().map(|t| t.2 as f64).collect();
    all.sort_unstable_by(f64::total_cmp);
    assert!(
        all[0] <= q10 && q10 < q90 && q90 <= all[QUEUED - 1],
        "{q10} {q50} {q90} of {all:?}"
    );
    // Later jobs met another backlog and weigh less, so the quantiles need not be the plain ones.
    assert!(
        (all[QUEUED / 4]..=all[QUEUED * 3 / 4]).contains(&q50),
        "{q10} {q50} {q90} of {all:?}"
    );
    assert!(model.of("a100", 8).is_none(), "no job waited for an A100");
}

fn until_it_serves(site: &Site, id: u32) {
    site.cluster.wait_for(id, &["RUNNING"]).unwrap();
    let begun = Instant::now();
    let wrote = || site.cluster.job_output(id).unwrap_or_default();
    while !wrote().contains("Application startup complete") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", wrote());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn a_job_that_is_requeued_is_two_runs_each_with_its_own_outcome() {
    let site = Site::trained(&Setup::default().accounting());
    site.load_plugin();
    let words = [&["--requeue"], &REQUEST[..]].concat();
    let id = site.sbatch(&words, &site.serving());
    // It serves for nine seconds; a window counts from five on.
    until_it_serves(&site, id);
    std::thread::sleep(Duration::from_secs(7));
    let scontrol = |words: &[&str]| {
        site.cluster
            .run(OPERATOR, "scontrol", words)
            .unwrap()
            .success()
            .unwrap()
    };
    scontrol(&["requeue", &id.to_string()]);
    site.cluster.wait_for(id, &["PENDING"]).unwrap();
    // What came of the first run is there before the second one begins.
    site.json(&["ingest"]);
    // slurmd takes no credential that is of the second in which the run before was ended: the job would fail.
    std::thread::sleep(Duration::from_millis(1100));
    scontrol(&["update", &format!("JobId={id}"), "StartTime=now"]);
    site.cluster.completed(id).unwrap();
    let count = |sql: &str| -> i64 {
        let store = Connection::open(site.path("site/store.db")).unwrap();
        store.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    ingest_until(&site, || count("select count(*) from outcome_files") == 2);
    site.json(&["ingest"]);
    assert_eq!(count("select count(*) from outcome_files"), 2);
    assert_eq!(count("select count(distinct job) from outcome_files"), 2);
    assert_eq!(
        count("select count(*) from jobs where state = 'REQUEUED'"),
        1
    );
    assert_eq!(
        count("select count(*) from jobs where state = 'COMPLETED'"),
        1
    );
    // Every run counts once, with the run of the job in which it was measured.
    assert_eq!(
        count("select count(*) from runs where origin = 'this-cluster'"),
        count("select sum(runs) from outcome_files")
    );
    assert_eq!(
        count(
            "select count(distinct job) from runs where origin = 'this-cluster' and output_tok_s > 0"
        ),
        2
    );
    assert_eq!(
        count(
            "select count(*) from runs where origin = 'this-cluster' and source_ref like '%accounting'"
        ),
        0
    );
}

/// Eight A100 were asked for: what the job's output would have taken on them, by the prediction for them, is known from `advise` and
/// from accounting, and so what was saved.
#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn saved_gpu_hours_are_what_was_asked_for_less_what_accounting_says_was_taken() {
    let site = Site::trained(&Setup::default().accounting());
    site.load_plugin();
    let id = site.sbatch(&REQUEST, &site.serving());
    assert_eq!(site.cluster.wait_job(id).unwrap()["JobState"], "COMPLETED");
    let row = site
        .cluster
        .sacct(id, &["ElapsedRaw", "AllocTRES"])
        .unwrap();
    let hours = row["ElapsedRaw"].parse::<f64>().unwrap() / 3600.0;
    let held = row["AllocTRES"]
        .split(',')
        .find_map(|t| t.strip_prefix("gres/gpu="));
    let took = hours * held.unwrap().parse::<f64>().unwrap();
    let rates = || {
        let store = Connection::open(site.path("site/store.db")).unwrap();
        let sql = "select coalesce(avg(output_tok_s), 0) from runs where origin = 'this-cluster'";
        store
            .query_row(sql, [], |row| row.get::<_, f64>(0))
            .unwrap()
    };
    ingest_until(&site, || rates() > 0.0);
    let page = site.path("report.html").display().to_string();
    let saved = &site.json(&["report", "--output", &page])["saved"];
    assert_eq!(saved["jobs"], 1, "{saved}");
    // Per rate of eight A100 that the report reckoned with: fastest, middle, slowest.
    let rate_of = |hours_saved: &serde_json::Value| {
        hours * rates() * 8.0 / (hours_saved.as_f64().unwrap() + took)
    };
    let ends: Vec<f64> = saved["gpu_hours"]
        .as_array()
        .unwrap()
        .iter()
        .map(rate_of)
        .collect();
    let words = [&["advise", "--llm-gpu=a100"], &REQUEST[..]].concat();
    let advised = site.json(&words);
    let of_eight = advised["candidates"].as_array().unwrap().iter().find(|c| {
        (c["gpu"].as_str(), c["tp"].as_u64(), c["precision"].as_str())
            == (Some("a100"), Some(8), Some("bf16"))
    });
    let foretold = &of_eight.unwrap()["targets"]["output_tok_s"];
    let [lo, middle, hi] = ["lo", "q50", "hi"].map(|key| foretold[key].as_f64().unwrap());
    // The request that was measured is not quite the one that was stated.
    let near = |a: f64, b: f64| (a / b).ln().abs() < 0.25;
    assert!(
        near(ends[0], hi) && near(ends[1], middle) && near(ends[2], lo),
        "{ends:?} from {saved}, foretold {lo} {middle} {hi}"
    );
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.contains("a100 x 8 asked"), "the table names the job");
}
