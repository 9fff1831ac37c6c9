//! `omnipilot ingest`: what any user may leave in the spool.

use std::os::unix::fs::symlink;

use model_store::outcome::Outcome;
use proptest::prelude::*;

use crate::site::{COMMENT, Site, TRES, outcome, row, uid, with};

/// The only reason for which the only file was refused.
fn refused(site: &Site) -> String {
    let report = site.ingest();
    assert_eq!(report["runs"], 0, "{report}");
    assert_eq!(
        report["quarantined"].as_array().unwrap().len(),
        1,
        "{report}"
    );
    assert_eq!(site.left(), 0);
    report["quarantined"][0]["reason"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// A site where job 7 is accounted for as its outcome tells.
fn site() -> Site {
    let site = Site::new();
    site.accounting(&[row(&site, 7, "COMPLETED", TRES, COMMENT)]);
    site
}

#[test]
fn what_is_no_plain_file_is_removed_unread() {
    let site = site();
    symlink("/etc/passwd", site.spool().join("a.json")).unwrap();
    let fifo = std::ffi::CString::new(
        site.spool()
            .join("b.json")
            .into_os_string()
            .into_encoded_bytes(),
    )
    .unwrap();
    // SAFETY: `fifo` is a C string that lives past the call.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o666) }, 0);
    drop(std::os::unix::net::UnixListener::bind(site.spool().join("c.json")).unwrap());
    std::fs::create_dir(site.spool().join("d.json")).unwrap();
    let big = std::fs::File::create(site.spool().join("e.json")).unwrap();
    big.set_len(10 << 30).unwrap();
    site.put_text("name\nwith \u{1b}[31mline end.json", "{}");
    site.put_text(".hidden.json", "{}");
    site.put_text("being-written.part", "{}");
    let report = site.ingest();
    assert_eq!(report["runs"], 0);
    let reasons: Vec<_> = report["quarantined"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["reason"].as_str().unwrap())
        .collect();
    assert_eq!(
        reasons,
        [
            "a directory",
            "a symbolic link",
            "larger than 262144 bytes",
            "not a regular file"
        ]
    );
    // The fresh file that is no outcome, and the two that are not ours to read.
    assert_eq!(site.left(), 3);
    assert!(std::fs::exists("/etc/passwd").unwrap());
}

#[test]
fn names_are_printed_on_one_line_without_control_characters() {
    let site = site();
    site.put_text("a\n\u{1b}[31m.json", "{}");
    let out = String::from_utf8(site.run(&["ingest"]).stdout).unwrap();
    assert!(out.contains(r"first `a\n\u{1b}[31m.json`"), "{out}");
    assert!(!out.contains('\u{1b}'));
}

#[test]
fn a_claim_that_accounting_contradicts_is_refused() {
    let cases: [(&str, fn(&mut Outcome)); 9] = [
        ("it claims another GPU type than the job's h100", |o| {
            o.asked.gpu = "h200".into()
        }),
        ("it claims another number of GPUs than the job's 2", |o| {
            o.asked.num_gpus = Some(8)
        }),
        (
            "it claims more tensor parallel than the job's 2 GPUs",
            |o| o.asked.tp = Some(8),
        ),
        ("its advice id is not the one in the job's comment", |o| {
            o.advice_id = Some("ffffff".into())
        }),
        ("its engine was started outside the job's time", |o| {
            o.started_at -= 86_400.0
        }),
        ("its engine ran longer than its job", |o| {
            o.elapsed_s = 5000.0
        }),
        ("a window lies outside the job's time", |o| {
            o.windows[0].begins_at += 5000.0
        }),
        ("its windows together are longer than its engine ran", |o| {
            o.windows = vec![o.windows[0].clone(); 40]
        }),
        ("it names user", |o| o.uid += 1),
    ];
    let site = site();
    for (reason, forge) in cases {
        let mut told = outcome(&site, 7);
        forge(&mut told);
        site.put("a.json", &told);
        let said = refused(&site);
        assert!(said.starts_with(reason), "{said}");
    }
    assert!(site.runs_here().is_empty());
}

#[test]
fn a_job_of_another_user_or_one_that_never_ran_is_refused() {
    let site = Site::new();
    let mine = row(&site, 7, "COMPLETED", TRES, COMMENT);
    let mut theirs: Vec<&str> = mine.split("@X@").collect();
    theirs[3] = "4242";
    site.accounting(&[theirs.join("@X@")]);
    site.put("a.json", &outcome(&site, 7));
    assert!(refused(&site).contains("the job to 4242"));
    site.accounting(&[row(&site, 7, "REFUSED", "", COMMENT)]);
    site.put("b.json", &outcome(&site, 7));
    assert_eq!(refused(&site), "its job never ran");
    site.accounting(&[row(&site, 7, "COMPLETED", "cpu=1", COMMENT)]);
    site.put("c.json", &outcome(&site, 7));
    assert_eq!(refused(&site), "its job held no GPUs");
}

#[test]
fn a_comment_cannot_pass_for_the_row_of_another_job() {
    let site = Site::new();
    let forged = row(&site, 8, "COMPLETED", TRES, COMMENT).replace("@X@", "|");
    site.accounting(&[row(&site, 7, "COMPLETED", TRES, &format!("x\n{forged}"))]);
    site.put("a.json", &outcome(&site, 8));
    assert_eq!(
        site.ingest()["waiting"][0]["reason"],
        "its job is not in accounting yet"
    );
}

#[test]
fn a_second_tale_of_the_same_start_is_refused() {
    let site = site();
    site.put("a.json", &outcome(&site, 7));
    assert_eq!(site.ingest()["runs"], 1);
    let mut better = outcome(&site, 7);
    better.windows[0].output_tok_s = 9000.0;
    site.put("b.json", &better);
    assert_eq!(
        refused(&site),
        "another file told of the same start of an engine before"
    );
    assert_eq!(site.runs_here().len(), 1);
}

#[test]
fn numbers_that_no_machine_measures_are_refused() {
    let cases: [fn(&mut Outcome); 11] = [
        |o| o.windows[0].output_tok_s = 1e9,
        // Less than any GPU's limit, more than the operations of this model on these allow.
        |o| o.windows[0].output_tok_s = 900_000.0,
        |o| o.elapsed_s = 50.0,
        |o| o.windows[0].output_tok_s = -1.0,
        |o| o.windows[0].kv_usage = Some(1.5),
        |o| o.windows[0].ttft_ms = Some(-5.0),
        |o| o.windows[0].power_w = Some(1e308),
        |o| o.windows[0].req_s = 1e308,
        |o| o.cold_start_s = Some(1e6),
        |o| o.asked.tp = Some(0),
        |o| o.asked.model = "a\nb".into(),
    ];
    let site = site();
    for forge in cases {
        let mut told = outcome(&site, 7);
        forge(&mut told);
        site.put("a.json", &told);
        refused(&site);
    }
    // JSON has no word for these, so they do not even read as numbers.
    let text = serde_json::to_string(&outcome(&site, 7)).unwrap();
    for number in ["NaN", "1e999", "null"] {
        site.put_text(
            "a.json",
            &text.replace(
                "\"output_tok_s\":2000.0",
                &format!("\"output_tok_s\":{number}"),
            ),
        );
        assert_eq!(
            site.ingest()["waiting"][0]["reason"],
            "not readable as an outcome yet"
        );
    }
}

#[test]
fn folders_get_out_of_the_way_and_are_met_once() {
    let site = site();
    for name in ["a.json", "b.json"] {
        std::fs::create_dir(site.spool().join(name)).unwrap();
    }
    std::fs::write(site.spool().join("b.json/full"), "x").unwrap();
    assert_eq!(site.ingest()["quarantined"][0]["files"], 2);
    let left: Vec<String> = std::fs::read_dir(site.spool())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(left[0].starts_with(".refused-"), "{left:?}");
    assert!(site.ingest()["quarantined"].as_array().unwrap().is_empty());
}

/// Whoever knew the hidden name that a folder would get could have something there before.
#[test]
fn a_folder_gets_out_of_the_way_whatever_lies_under_hidden_names() {
    let site = site();
    for n in 0..300 {
        let name = format!("d{n}.json");
        std::fs::create_dir(site.spool().join(&name)).unwrap();
        std::fs::write(site.spool().join(&name).join("x"), "").unwrap();
        // As an earlier release named them: 64 bits of SHA-256 of the name.
        let hash = <sha2::Sha256 as sha2::Digest>::digest(name.as_bytes());
        let short: String = hash.iter().take(8).map(|b| format!("{b:02x}")).collect();
        std::fs::write(site.spool().join(format!(".refused-{short}-1")), "").unwrap();
    }
    let report = site.ingest();
    assert_eq!(report["quarantined"][0]["files"], 300, "{report}");
    assert!(
        report["not_removed"].as_array().unwrap().is_empty(),
        "{report}"
    );
    assert!(site.ingest()["quarantined"].as_array().unwrap().is_empty());
}

/// Many names of one user: folders, links, files. `OMNIPILOT_FLOOD` says how many of them; with a million, 1,000 files of others are
/// among them, and the time that is printed stands in docs/benchmarks.md.
#[test]
fn a_flood_of_one_user_keeps_back_no_file_of_twenty_others() {
    const OTHERS: u32 = 20;
    let flood: usize = std::env::var("OMNIPILOT_FLOOD").map_or(6_000, |n| n.parse().unwrap());
    let each: u64 = if flood < 100_000 { 5 } else { 50 };
    let site = Site::new();
    if uid(site.dir.path()) != 0 {
        println!("skipped: giving files to other users takes root");
        return;
    }
    let alice = |name: &str| {
        std::os::unix::fs::lchown(site.spool().join(name), Some(4242), Some(4242)).unwrap();
    };
    for n in 0..flood / 3 {
        let (folder, file, link) = (
            format!("d{n}.json"),
            format!("f{n}.json"),
            format!("l{n}.json"),
        );
        std::fs::create_dir(site.spool().join(&folder)).unwrap();
        site.put_text(&file, "junk");
        // A file has 65,000 names at most.
        let first = site.spool().join(format!("f{}.json", n - n % 60_000));
        std::fs::hard_link(first, site.spool().join(&link)).unwrap();
        alice(&folder);
        alice(&file);
    }
    let mut rows = Vec::new();
    for job in 1..=u64::from(OTHERS) * each {
        let owner = 5000 + (job % u64::from(OTHERS)) as u32;
        let uid = owner.to_string();
        rows.push(with(
            &row(&site, job, "COMPLETED", TRES, COMMENT),
            &[(3, &uid)],
        ));
        let mut told = outcome(&site, job);
        told.uid = owner;
        let name = format!("z-{job}.json");
        site.put(&name, &told);
        std::os::unix::fs::chown(site.spool().join(&name), Some(owner), Some(owner)).unwrap();
    }
    site.accounting(&rows);
    let begun = std::time::Instant::now();
    let report = site.ingest();
    println!(
        "{flood} names of one user: one call took {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    assert_eq!(report["runs"], u64::from(OTHERS) * each, "{report}");
    let left = std::fs::read_dir(site.spool()).unwrap();
    let honest = |name: std::ffi::OsString| name.as_encoded_bytes().starts_with(b"z-");
    assert_eq!(
        left.filter(|e| honest(e.as_ref().unwrap().file_name()))
            .count(),
        0
    );
}

#[test]
fn a_flood_of_one_user_is_cut_and_bounded_and_told() {
    const FLOOD: usize = 50_100;
    let site = site();
    for n in 0..FLOOD {
        std::fs::File::create(site.spool().join(format!("{n}.json"))).unwrap();
    }
    let report = site.ingest();
    let reason = report["quarantined"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("100 removed unread"), "{report}");
    // What is left is fresh and may still be being written.
    assert_eq!(report["waiting"][0]["files"], 50_000);
    assert_eq!(site.left(), 50_000);
}

#[test]
fn a_clock_that_is_wrong_on_the_node_or_in_the_file_keeps_nothing_waiting() {
    let site = site();
    // The node's clock is three minutes off: outside the job's time.
    let mut told = outcome(&site, 7);
    told.started_at -= 180.0;
    told.windows[0].begins_at -= 180.0;
    site.put("a.json", &told);
    assert_eq!(
        refused(&site),
        "its engine was started outside the job's time"
    );
    // One minute is within what clocks may differ by.
    told.started_at += 120.0;
    told.windows[0].begins_at += 120.0;
    site.put("b.json", &told);
    assert_eq!(site.ingest()["runs"], 1);
    // Its owner says that the file is from the year 2100; when it came is known all the same.
    site.put_text("c.json", "no outcome");
    let file = std::fs::File::options()
        .write(true)
        .open(site.spool().join("c.json"))
        .unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(74 * 365 * 86_400);
    file.set_modified(later).unwrap();
    assert_eq!(
        site.ingest()["waiting"][0]["reason"],
        "not readable as an outcome yet"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn nothing_in_the_spool_stops_it(texts in proptest::collection::vec(any::<Vec<u8>>(), 1..20), numbers in proptest::array::uniform8(any::<f64>())) {
        let site = site();
        for (n, text) in texts.iter().enumerate() {
            std::fs::write(site.spool().join(format!("x{n}.json")), text).unwrap();
        }
        let mut told = outcome(&site, 7);
        let w = &mut told.windows[0];
        (w.begins_at, w.seconds, w.output_tok_s, w.req_s) = (numbers[0], numbers[1], numbers[2], numbers[3]);
        (told.started_at, told.elapsed_s, told.cold_start_s, told.asked.isl) = (numbers[4], numbers[5], Some(numbers[6]), Some(numbers[7]));
        site.put("y.json", &told);
        site.ingest();
        site.ingest();
    }
}
