//! The whole circle on a real Slurm: a tagged job is rewritten, runs on what was chosen, its outcome comes back, and the next
//! advice knows it.

use std::time::{Duration, Instant};

use e2e::{ALICE, OPERATOR, Setup};
use rusqlite::Connection;
use serde_json::Value;

use crate::site::{FAR_AWAY, REQUEST, Site, assert_refused, gpus, submitted, variables};

/// Jobs of one kind before the model is trained again.
const JOBS: u64 = 4;

/// GPU type, degree and precision of an advice as `omnipilot advise --json` gives it.
type Chosen = (String, u64, String);

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn the_next_advice_knows_what_the_jobs_before_it_measured() {
    let site = Site::bare(&Setup::default().accounting());
    for verb in [&["init", "--figures-only"][..], &["observe"], &["train"]] {
        site.omnipilot(OPERATOR, verb).success().unwrap();
    }
    site.load_plugin();
    let before = advised(&site);
    site.slow_down(&before.0);
    let ids: Vec<u32> = (0..JOBS)
        .map(|_| site.sbatch(&REQUEST, &site.serving()))
        .collect();
    for id in &ids {
        assert_ran_as_advised(&site, *id, &before);
    }

    let added = ingest(&site);
    assert!(added >= JOBS, "{added}");
    assert_eq!(runs_of_this_cluster(&site, &before), added);
    assert_eq!(site.json(&["ingest"])["runs"], 0);
    assert_eq!(runs_of_this_cluster(&site, &before), added);

    let report = site.json(&["train"]);
    assert_eq!(
        report["report"]["evidence"]["this_cluster"], added,
        "{report}"
    );
    let after = advised(&site);
    assert_ne!(after, before);
    let id = site.sbatch(&[&["--hold"], &REQUEST[..]].concat(), &site.serving());
    let record = site.cluster.show_job(id).unwrap();
    assert_eq!(gpus(&record), format!("gpu:{}:{}", after.0, after.1));
}

/// What `omnipilot advise` chooses for the request.
fn advised(site: &Site) -> Chosen {
    let told = site.json(&[&["advise"], &REQUEST[..]].concat());
    let gres = told["gres"].as_str().unwrap_or_else(|| panic!("{told}"));
    let (gpu, tp) = gres
        .strip_prefix("gpu:")
        .and_then(|text| text.split_once(':'))
        .unwrap();
    let tp: u64 = tp.parse().unwrap();
    let of_it = |c: &&Value| c["gpu"] == gpu && c["tp"] == tp && c["fallen"].is_null();
    let best = told["candidates"]
        .as_array()
        .unwrap()
        .iter()
        .find(of_it)
        .unwrap();
    let precision = best["precision"].as_str().unwrap().to_owned();
    (gpu.to_owned(), tp, precision)
}

/// Slurm's record, the job's environment and the engine's arguments all say what was advised.
///
/// Gives the advice's id, which is not that of `omnipilot advise`: a script says how far its engine may be spread.
fn assert_ran_as_advised(site: &Site, id: u32, chosen: &Chosen) -> String {
    let record = site.cluster.completed(id).unwrap();
    let text = site.cluster.job_output(id).unwrap();
    assert_eq!(gpus(&record), format!("gpu:{}:{}", chosen.0, chosen.1));
    let advice = record["Comment"].strip_prefix("mine omnipilot:").unwrap();
    assert_environment(&text, chosen, advice);
    let visible = text
        .lines()
        .find_map(|line| line.strip_prefix("gpus "))
        .unwrap();
    assert_eq!(visible.split(',').count() as u64, chosen.1, "{text}");
    advice.to_owned()
}

fn assert_environment(text: &str, chosen: &Chosen, advice: &str) {
    let env = variables(text);
    assert_eq!(env["SLURM_LLM_GPU"], chosen.0, "{text}");
    assert_eq!(env["SLURM_LLM_TP"], chosen.1.to_string(), "{text}");
    assert_eq!(env["SLURM_LLM_PRECISION"], chosen.2, "{text}");
    assert_eq!(env["SLURM_LLM_ADVICE"], advice, "{text}");
    let arguments = env["SLURM_LLM_ENGINE_ARGS"];
    let degree = format!("--tensor-parallel-size {}", chosen.1);
    assert!(arguments.contains(&degree), "{text}");
    let started = text
        .lines()
        .find(|line| line.starts_with("stand-in started with: serve "))
        .unwrap();
    assert!(
        started.contains(&degree) && started.ends_with(arguments),
        "{text}"
    );
}

/// Ingests until no outcome file waits for accounting any more, which lags some seconds behind, and gives the runs added.
fn ingest(site: &Site) -> u64 {
    let (begun, mut runs) = (Instant::now(), 0);
    loop {
        let report = site.json(&["ingest"]);
        runs += report["runs"].as_u64().unwrap();
        assert!(
            report["quarantined"].as_array().unwrap().is_empty(),
            "{report}"
        );
        if report["waiting"].as_array().unwrap().is_empty() {
            return runs;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{report}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Runs in the store that were measured here on this configuration and have a rate.
fn runs_of_this_cluster(site: &Site, chosen: &Chosen) -> u64 {
    let store = Connection::open(site.path("site/store.db")).unwrap();
    let question = "select count(*) from runs join sources on sources.id = runs.source
        where origin = 'this-cluster' and name = 'cluster:omnipilot' and outcome = 'ok' and output_tok_s between 200 and 400
        and lower(gpu) like ?1 || '%' and tp = ?2 and precision = ?3";
    let parameters = (&chosen.0, chosen.1, &chosen.2);
    store
        .query_row(question, parameters, |row| row.get(0))
        .unwrap()
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn outside_of_what_was_measured_no_job_is_made() {
    let site = Site::trained(&Setup::default());
    site.load_plugin();
    let output = site
        .cluster
        .sbatch(ALICE, &FAR_AWAY, &site.serving())
        .unwrap();
    assert_refused(&output, 64, "sbatch: error: omnipilot: ");
    assert!(
        output.stderr.contains("121,000") && output.stderr.contains("measured"),
        "{output}"
    );
    assert_eq!(site.jobs(), 0);
}

/// With `--export=NONE` a job has no variables but Slurm's own: the advice is among them, and the outcome finds its way.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn the_advice_reaches_a_job_that_takes_no_environment() {
    let site = Site::trained(&Setup::default());
    site.load_plugin();
    let chosen = advised(&site);
    let words = [&["--export=NONE"], &REQUEST[..]].concat();
    let output = site.cluster.sbatch(ALICE, &words, &site.serving()).unwrap();
    let advice = assert_ran_as_advised(&site, submitted(&output), &chosen);
    let files: Vec<_> = std::fs::read_dir(site.path("site/spool"))
        .unwrap()
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let text = std::fs::read_to_string(files[0].as_ref().unwrap().path()).unwrap();
    let outcome: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&outcome["advice_id"], &outcome["outcome"]),
        (&advice.into(), &"ok".into()),
        "{text}"
    );
}
