//! How far one user moves what another is told, by the way that he has: files in the spool.

use std::os::unix::fs::{MetadataExt, chown};

use crate::site::{COMMENT, Site, TRES, outcome, row};

/// The limit that SECURITY.md states.
const LIMIT: f64 = 1.3;

/// One outcome file of a user, with a rate of so many tokens/s, and its job's row of accounting.
fn put(site: &Site, rows: &mut Vec<String>, (user, uid): (&str, u32), rate: f64) {
    let job = rows.len() as u64 + 1;
    let mut cells: Vec<String> = row(site, job, "COMPLETED", TRES, COMMENT)
        .split("@X@")
        .map(str::to_owned)
        .collect();
    (cells[2], cells[3]) = (user.to_owned(), uid.to_string());
    rows.push(cells.join("@X@"));
    let mut told = outcome(site, job);
    let w = &mut told.windows[0];
    // Little's law holds for what a liar reports too, or it would be left out for that.
    let load = 14.0 + (job % 5) as f64;
    w.output_tok_s = rate;
    w.concurrency = Some(load);
    w.req_s = rate / w.osl.unwrap();
    w.tpot_ms = Some(load / rate * 1e3);
    told.uid = uid;
    let name = format!("{job:05}.json");
    site.put(&name, &told);
    chown(site.spool().join(&name), Some(uid), None).unwrap();
}

/// Tokens/s that another is told of the same configuration.
fn told(site: &Site) -> f64 {
    site.json(&["train", "--force"]);
    let words = [
        "advise",
        "--llm-model=meta-llama/Llama-3.1-8B-Instruct",
        "--llm-isl=990",
        "--llm-osl=200",
        "--llm-concurrency=16",
        "--llm-gpu=h100",
        "--llm-tp=2",
        "--llm-precision=fp8",
    ];
    let advice = site.json(&words);
    let rate = &advice["candidates"][0]["targets"]["output_tok_s"]["q50"];
    rate.as_f64().unwrap_or_else(|| panic!("{advice}"))
}

#[test]
fn one_user_cannot_move_what_another_is_told_beyond_the_stated_limit() {
    let site = Site::small();
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: only root can leave files of several users");
        return;
    }
    site.observes(&["h100"]);
    let mut rows = Vec::new();
    for (n, user) in ["anna", "ben", "cleo"].into_iter().enumerate() {
        for k in 0..4 {
            put(
                &site,
                &mut rows,
                (user, 2001 + n as u32),
                2000.0 + 30.0 * f64::from(k),
            );
        }
    }
    site.accounting(&rows);
    assert_eq!(site.ingest()["runs"], 12);
    let honest = told(&site);
    for k in 0..60 {
        put(
            &site,
            &mut rows,
            ("mallory", 2666),
            2000.0 * 1.45 + f64::from(k),
        );
    }
    site.accounting(&rows);
    assert_eq!(site.ingest()["runs"], 60);
    let moved = told(&site) / honest;
    println!("moved by a factor of {moved:.3}");
    assert!((1.0 / LIMIT..=LIMIT).contains(&moved), "{moved}");
}
