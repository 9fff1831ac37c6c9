//! `omnipilot train` and `omnipilot models`: the gate, what a kill leaves, and the way back.

use std::process::Stdio;
use std::time::Duration;

use model_store::store::ModelState;

use crate::site::{COMMENT, FIGURES, Site, TRES, outcome, row};

/// The figures as told by a client that counts some tokens twentyfold, under other names.
fn spoilt() -> String {
    let mut reader = csv::Reader::from_reader(FIGURES.as_bytes());
    let header = reader.headers().unwrap().clone();
    let at = |name: &str| header.iter().position(|h| h == name).unwrap();
    let (id, rate) = (at("run_id"), at("output_tok_s"));
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(&header).unwrap();
    for (n, record) in reader.records().enumerate() {
        let mut cells: Vec<String> = record.unwrap().iter().map(str::to_owned).collect();
        let factor = if (n * 37) % 101 < 60 { 20.0 } else { 1.0 };
        cells[rate] = (cells[rate].parse::<f64>().unwrap() * factor).to_string();
        cells[id] = format!("spoilt-{n}");
        writer.write_record(&cells).unwrap();
    }
    String::from_utf8(writer.into_inner().unwrap()).unwrap()
}

#[test]
fn a_worse_model_is_refused_forced_and_taken_back() {
    let site = Site::small();
    let first = site.json(&["train"]);
    assert_eq!(first["published"], true);
    assert!(first["gate"]["cells"].as_u64().unwrap() >= 10, "{first}");
    let good = site.snapshot();
    assert_eq!(site.json(&["models"])["models"][0]["state"], "current");

    site.import("spoilt.csv", &spoilt());
    let out = site.run(&["train"]);
    assert_eq!(out.status.code(), Some(1), "{out:?}");
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.contains("was not published: ") && said.contains("--force"),
        "{said}"
    );
    assert_eq!(site.snapshot(), good);
    let listed = site.json(&["models"]);
    let states: Vec<&str> = listed["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["refused", "current"]);

    // A timer does not try again at once.
    let out = site.run(&["train", "--if-needed"]);
    assert!(
        String::from_utf8(out.stdout)
            .unwrap()
            .contains("the gate refused the last one"),
    );
    assert_eq!(site.json(&["train", "--force"])["published"], true);
    assert_ne!(site.snapshot().id, good.id);
    let compared = site.json(&["models", "compare", &good.id[..6]]);
    let rate = &compared["judgement"]["targets"][0];
    assert_eq!(rate["target"], "output_tok_s");
    assert!(
        rate["error"].as_f64() < rate["champion_error"].as_f64(),
        "{compared}"
    );
    // Back to the one before; the next training is held against it again.
    assert_eq!(
        site.json(&["models", "rollback"])["model"],
        good.id.as_str()
    );
    assert_eq!(site.snapshot().body, good.body);
    assert_eq!(site.run(&["train"]).status.code(), Some(1));
    let out = site.run(&["models", "rollback", "nosuch"]);
    assert_eq!(out.status.code(), Some(2), "{out:?}");
}

#[test]
fn killed_anywhere_training_publishes_nothing_that_the_store_does_not_know() {
    let site = Site::small();
    // Few runs train in no time, so that the kills hit every step.
    let lines: Vec<&str> = FIGURES.lines().take(12).collect();
    std::fs::remove_file(site.path("db/store.db")).unwrap();
    site.import("few.csv", &lines.join("\n"));
    let (mut published, mut ended) = (0, 0);
    for kill in 0..150u64 {
        let mut child = site
            .command(&["train", "--force"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_micros(kill * 700));
        child.kill().unwrap();
        ended += u32::from(child.wait().unwrap().success());
        if site.path("published/omnipilot.snapshot").exists() {
            let (id, store) = (site.snapshot().id, site.store());
            assert!(store.model(&id).unwrap().is_some(), "killed after {kill}");
            assert!(store.model_snapshot(&id).unwrap().is_some());
            published += 1;
            std::fs::remove_file(site.path("published/omnipilot.snapshot")).unwrap();
        }
    }
    assert!(published > 0 && ended < 150, "{published} {ended}");
    // A model whose command was killed behind the renaming is known to be published.
    site.json(&["train", "--force"]);
    site.json(&["models"]);
    let id = site.snapshot().id;
    let state = site.store().model(&id).unwrap().unwrap().state;
    assert_eq!(state, ModelState::Published);
}

#[test]
fn jobs_far_from_their_intervals_widen_these_at_once_and_call_for_training() {
    let site = Site::small();
    site.json(&["train"]);
    let trained = site.snapshot();
    let jobs: Vec<u64> = (1..=12).collect();
    let rows: Vec<String> = jobs
        .iter()
        .map(|job| row(&site, *job, "COMPLETED", TRES, COMMENT))
        .collect();
    site.accounting(&rows);
    for job in jobs {
        let mut told = outcome(&site, job);
        // A tenth of what it could be, say after an upgrade.
        told.windows[0].output_tok_s = 60.0 + job as f64;
        told.windows[0].concurrency = Some(8.0 + job as f64);
        told.windows[0].tpot_ms = Some((8.0 + job as f64) / (60.0 + job as f64) * 1e3);
        site.put(&format!("{job}.json"), &told);
    }
    let report = site.ingest();
    let drifted = report["drifted"].as_array().unwrap();
    assert!(
        drifted
            .iter()
            .any(|d| d["target"] == "output_tok_s"
                && d["group"].as_str().unwrap().starts_with("H100")),
        "{report}"
    );
    let wider = site.snapshot();
    assert_ne!(wider.id, trained.id);
    let record = site.store().model(&wider.id).unwrap().unwrap();
    assert!(record.metrics.contains(&trained.id), "{}", record.metrics);
    // Read again, the same files change nothing more.
    site.ingest();
    assert_eq!(site.snapshot().id, wider.id);
    let needed = site.json(&["train", "--if-needed"]);
    // One user's twelve runs lie in two cells, of which each takes four.
    assert_eq!(needed["report"]["evidence"]["this_cluster"], 7, "{needed}");
    let out = site.run(&["train", "--if-needed"]);
    assert!(
        String::from_utf8(out.stdout)
            .unwrap()
            .starts_with("not trained: ")
    );
}
