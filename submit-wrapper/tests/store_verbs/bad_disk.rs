//! A disk that fails at any write: what was acknowledged stays, and nothing counts twice.

use std::collections::BTreeSet;

use crate::site::{COMMENT, FIGURES, Site, TRES, outcome, row};

/// Input/output error, no space left on device.
const ERRORS: [&str; 2] = ["5", "28"];
/// Files that are put into the spool at a time.
const FILES: u64 = 3;

/// Runs a verb of which the `after`th change of a file fails; whether it ended well.
fn with_bad_disk(
    site: &Site,
    verb: &[&str],
    folder: &str,
    (error, after, once): (&str, u32, bool),
) -> bool {
    let mut command = site.command(verb);
    command
        .env("LD_PRELOAD", e2e::artifacts::native("bad-disk"))
        .env("BAD_DISK", site.path(folder))
        .env("BAD_ERROR", error)
        .env("BAD_AFTER", after.to_string());
    if once {
        command.env("BAD_ONCE", "1");
    }
    command.output().unwrap().status.success()
}

/// Jobs whose runs the store holds; it must be sound.
fn held(site: &Site) -> BTreeSet<u64> {
    let runs = site.runs_here();
    let ids: BTreeSet<u64> = runs
        .iter()
        .map(|r| r.source_ref.split(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    assert_eq!(ids.len(), runs.len(), "a run counts twice");
    ids
}

#[test]
fn a_disk_that_fails_at_any_write_loses_and_doubles_no_outcome() {
    if !e2e::artifacts::native("bad-disk").exists() {
        println!("skipped: there is no C compiler");
        return;
    }
    let site = Site::new();
    let (mut job, mut failed) = (0, 0);
    let mut rows = Vec::new();
    let mut put = |site: &Site| {
        for _ in 0..FILES {
            job += 1;
            rows.push(row(site, job, "COMPLETED", TRES, COMMENT));
            let mut told = outcome(site, job);
            told.windows[0].output_tok_s = 1000.0 + job as f64;
            site.put(&format!("{job:04}.json"), &told);
        }
        site.accounting(&rows);
        job
    };
    let mut last = put(&site);
    for error in ERRORS {
        for once in [false, true] {
            for after in 1.. {
                if site.left() == 0 {
                    last = put(&site);
                }
                let fine = with_bad_disk(&site, &["ingest"], "db", (error, after, once));
                failed += u32::from(!fine);
                let waiting: BTreeSet<u64> = std::fs::read_dir(site.spool())
                    .unwrap()
                    .map(|e| {
                        e.unwrap().file_name().to_str().unwrap()[..4]
                            .parse()
                            .unwrap()
                    })
                    .collect();
                let held = held(&site);
                for id in 1..=last {
                    assert!(
                        held.contains(&id) || waiting.contains(&id),
                        "job {id} is lost at write {after}, error {error}"
                    );
                }
                if fine && waiting.is_empty() && !once || after > 60 {
                    break;
                }
            }
        }
    }
    assert!(failed > 20, "{failed} writes failed");
    site.ingest();
    assert_eq!((held(&site).len() as u64, site.left()), (last, 0));
    assert!(site.store().quarantined().unwrap().is_empty());
}

#[test]
fn a_disk_that_fails_under_the_snapshot_leaves_the_former_one() {
    if !e2e::artifacts::native("bad-disk").exists() {
        println!("skipped: there is no C compiler");
        return;
    }
    let site = Site::small();
    let lines: Vec<&str> = FIGURES.lines().take(12).collect();
    std::fs::remove_file(site.path("db/store.db")).unwrap();
    site.import("few.csv", &lines.join("\n"));
    site.json(&["train"]);
    let mut failed = 0;
    for after in 1..40 {
        let fine = with_bad_disk(
            &site,
            &["train", "--force"],
            "published",
            ("28", after, false),
        );
        let published = site.snapshot();
        assert!(
            site.store().model(&published.id).unwrap().is_some(),
            "write {after}"
        );
        if fine {
            break;
        }
        failed += 1;
    }
    assert!(failed > 2, "{failed}");
}
