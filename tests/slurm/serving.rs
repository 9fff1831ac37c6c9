//! A server that is up: where it answers, how fast it is against what was expected, and its end.

use std::time::{Duration, Instant};

use e2e::{ALICE, OPERATOR, Setup};
use serde_json::Value;

use crate::site::{REQUEST, Site};

/// The only job that `status` shows alice.
fn status(site: &Site) -> Option<Value> {
    let output = site
        .omnipilot(ALICE, &["status", "--json"])
        .success()
        .unwrap();
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let jobs = document["jobs"].as_array().unwrap();
    assert!(jobs.len() < 2, "{document}");
    jobs.first().cloned()
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm and munge are not installed")]
fn a_server_is_shown_to_its_user_alone_and_stopped_once_it_is_idle() {
    let site = Site::trained(&Setup::default());
    site.load_plugin();
    assert_eq!(status(&site), None);
    let held = site.sbatch(&[&["--hold"], &REQUEST[..]].concat(), &site.serving());
    let waiting = status(&site).unwrap();
    assert_eq!(
        (&waiting["job"], &waiting["state"]),
        (&held.into(), &"pending".into())
    );
    let stopped = site
        .omnipilot(ALICE, &["stop", &held.to_string()])
        .success()
        .unwrap();
    assert_eq!(stopped.stdout, format!("job {held} was stopped\n"));

    let id = site.sbatch(&REQUEST, &site.serving());
    let begun = Instant::now();
    let served = loop {
        let job = status(&site);
        if let Some(job) = job.filter(|j| j["output_tok_s"].is_number()) {
            break job;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "{:?}",
            status(&site)
        );
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(
        (&served["job"], &served["state"]),
        (&id.into(), &"ready".into())
    );
    let record = site.cluster.show_job(id).unwrap();
    let node = &record["NodeList"];
    let address = served["address"].as_str().unwrap();
    assert!(address.starts_with(&format!("http://{node}:")), "{served}");
    assert_eq!(served["in_flight"], 64.0, "{served}");
    assert!(served["expected"]["q50"].is_number(), "{served}");
    let table = site.omnipilot(ALICE, &["status"]).success().unwrap().stdout;
    assert!(
        table.contains("ready for 0 min") && table.contains(address),
        "{table}"
    );

    // Nobody else's.
    let other = site.omnipilot(OPERATOR, &["stop", &id.to_string()]);
    assert_eq!(other.code, Some(2), "{other}");
    let words = ["stop", "--wait", "1", &id.to_string(), "--json"];
    let stopped = site.omnipilot(ALICE, &words).success().unwrap();
    let document: Value = serde_json::from_str(&stopped.stdout).unwrap();
    assert_eq!(document["in_flight"], 64.0, "{document}");
    site.cluster.wait_for(id, &["CANCELLED"]).unwrap();
    assert_eq!(status(&site), None);
    let boards = site
        .cluster
        .work(ALICE)
        .unwrap()
        .join(".local/state/omnipilot/jobs");
    assert_eq!(std::fs::read_dir(boards).unwrap().count(), 0);
}
