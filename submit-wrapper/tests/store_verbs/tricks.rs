//! `omnipilot ingest` and what users may think of beside plain lies: the file system's own tricks, and names that mean something to whatever
//! shows them.

use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::site::{BEGAN, COMMENT, Site, TRES, outcome, row, with};

/// Reasons for which files were refused, and how many each.
fn refused(report: &serde_json::Value) -> Vec<(String, u64)> {
    let all = report["quarantined"].as_array().unwrap().iter();
    all.map(|q| {
        (
            q["reason"].as_str().unwrap().to_owned(),
            q["files"].as_u64().unwrap(),
        )
    })
    .collect()
}

/// A site where jobs 7 and 8 are accounted for.
fn site() -> Site {
    let site = Site::new();
    site.accounting(&[7, 8].map(|job| row(&site, job, "COMPLETED", TRES, COMMENT)));
    site
}

#[test]
fn a_link_to_a_file_that_its_owner_keeps_private_tells_nobody_what_is_in_it() {
    let site = site();
    let private = site.path("private");
    for (name, text) in [
        ("a.json", "not json: SECRET"),
        ("b.json", "{\"job_id\":\"SECRET\"}"),
        ("c.wish", "SECRET"),
    ] {
        fs::write(&private, text).unwrap();
        fs::set_permissions(&private, Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(&private, site.spool().join(name)).unwrap();
        // Whoever may read it finds that it is no outcome, and says no word of it.
        let out = site.run(&["ingest"]);
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(out.status.success() && !said.contains("SECRET"), "{said}");
        assert_eq!(fs::read_to_string(&private).unwrap(), text);
        fs::remove_file(&private).unwrap();
    }
    // A file of its owner's alone is left for him to hand over, by whoever may not read it.
    let kept = fs::read(site.path("db/store.db")).unwrap();
    assert!(!kept.windows(6).any(|w| w == b"SECRET"));
}

#[test]
fn a_second_name_of_somebodys_outcome_neither_counts_twice_nor_keeps_it_out() {
    let site = site();
    site.put("a.json", &outcome(&site, 7));
    fs::hard_link(site.spool().join("a.json"), site.spool().join("b.json")).unwrap();
    let report = site.ingest();
    assert_eq!(
        (&report["runs"], &report["known"]),
        (&1.into(), &1.into()),
        "{report}"
    );
    assert_eq!((site.left(), site.runs_here().len()), (0, 1));
}

/// Accounting is asked between reading and removing: a moment at which the spool's path comes to name somebody's folder.
#[test]
fn a_spool_that_becomes_a_link_to_another_folder_meanwhile_has_nothing_removed_there() {
    let site = site();
    site.put("a.json", &outcome(&site, 7));
    site.put_text("b.json", "junk");
    let home = site.path("home");
    fs::create_dir(&home).unwrap();
    for name in ["a.json", "b.json"] {
        fs::write(home.join(name), "precious").unwrap();
    }
    fs::rename(site.path("bin/sacct"), site.path("bin/real-sacct")).unwrap();
    site.command_that(
        "sacct",
        "#!/bin/sh\nhere=${0%/*}\n[ -L \"$here/../spool\" ] || { mv \"$here/../spool\" \"$here/../aside\"; ln -s home \"$here/../spool\"; }\nexec \"$here/real-sacct\" \"$@\"\n",
    );
    assert_eq!(site.ingest()["runs"], 1);
    assert!(fs::symlink_metadata(site.spool()).unwrap().is_symlink());
    for name in ["a.json", "b.json"] {
        assert_eq!(fs::read_to_string(home.join(name)).unwrap(), "precious");
    }
    // What was read is gone from where it was read; the fresh junk still lies there.
    assert!(!site.path("aside/a.json").exists() && site.path("aside/b.json").exists());
}

#[test]
fn folders_however_deep_or_often_are_got_out_of_the_way_unread() {
    let site = site();
    for _ in 0..3 {
        let mut deep = site.spool().join("a.json");
        for _ in 0..300 {
            deep.push("deeper");
        }
        fs::create_dir_all(&deep).unwrap();
        symlink("/", deep.join("b.json")).unwrap();
        assert_eq!(refused(&site.ingest()), [("a directory".into(), 1)]);
    }
    assert!(refused(&site.ingest()).is_empty());
    let hidden = fs::read_dir(site.spool()).unwrap();
    assert!(
        hidden
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .all(|name| name.starts_with(".refused-"))
    );
}

/// A write lease makes whoever opens the file wait until its owner lets go, for up to 45 s each.
#[test]
fn a_leased_file_is_not_waited_for() {
    let site = site();
    site.put("a.json", &outcome(&site, 7));
    site.put("b.json", &outcome(&site, 8));
    let held = File::options()
        .read(true)
        .write(true)
        .open(site.spool().join("a.json"))
        .unwrap();
    // The lease's owner is told by SIGIO, which would end this process.
    // SAFETY: plain calls on an open descriptor and a signal's disposition.
    let leased = unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
        libc::fcntl(held.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
    };
    assert_eq!(leased, 0, "{}", std::io::Error::last_os_error());
    let begun = std::time::Instant::now();
    let report = site.ingest();
    assert_eq!((&report["runs"], site.left()), (&1.into(), 1), "{report}");
    assert!(
        report["waiting"][0]["reason"]
            .as_str()
            .unwrap()
            .starts_with("cannot be read: "),
        "{report}"
    );
    assert!(begun.elapsed().as_secs() < 40, "it waited for the lease");
    drop(held);
    assert_eq!(site.ingest()["runs"], 1);
}

#[test]
fn a_file_that_unfolds_or_nests_without_end_is_refused_like_any_other_junk() {
    let site = site();
    let whole = serde_json::to_string(&outcome(&site, 7)).unwrap();
    let deep = format!("{{\"windows\":{}", "[".repeat(200_000));
    let twice = whole.replacen('{', "{\"job_id\":8,", 1);
    let digits = whole.replace(
        "\"seconds\":60.0",
        &format!("\"seconds\":{}", "9".repeat(200_000)),
    );
    let long = whole.replace("Llama-3.1-8B-Instruct", &"L".repeat(200_000));
    for (name, text) in [("a", &deep), ("b", &twice), ("c", &digits), ("d", &long)] {
        site.put_text(&format!("{name}.json"), text);
    }
    let report = site.ingest();
    assert_eq!(report["runs"], 0, "{report}");
    // Three do not read as outcomes and are fresh; the long name does.
    assert_eq!(refused(&report).len(), 1, "{report}");
    assert!(
        refused(&report)[0].0.contains("longer than 512 bytes"),
        "{report}"
    );
    assert_eq!(report["waiting"][0]["files"], 3, "{report}");
}

#[test]
fn a_job_id_that_comes_again_is_another_job() {
    // As after the loss of slurmctld's state or of the accounting's tables: the same number, another year, another user.
    let site = Site::new();
    let new = row(&site, 7, "COMPLETED", TRES, COMMENT);
    let year = |cell: i64| (cell - 365 * 86_400).to_string();
    let (began, ended) = (year(BEGAN), year(BEGAN + 100));
    let old = with(
        &new,
        &[
            (3, "4242"),
            (7, &began),
            (8, &began),
            (9, &began),
            (10, &ended),
        ],
    );
    site.accounting(&[old.clone(), new]);
    site.put("a.json", &outcome(&site, 7));
    assert_eq!(site.ingest()["runs"], 1);
    // A tale of the old job is its user's alone to tell.
    let mut told = outcome(&site, 7);
    told.started_at -= 365.0 * 86_400.0;
    told.windows[0].begins_at -= 365.0 * 86_400.0;
    site.put("b.json", &told);
    assert!(refused(&site.ingest())[0].0.contains("the job to 4242"));
    // Told by its user it is another run, not the same one again.
    let mine = with(
        &old,
        &[(3, &fs::metadata(site.spool()).unwrap().uid().to_string())],
    );
    site.accounting(&[mine]);
    site.put("c.json", &told);
    assert_eq!(site.ingest()["runs"], 1);
    assert_eq!(site.runs_here().len(), 2);
}

#[test]
fn the_same_run_told_by_two_users_is_the_jobs_owners() {
    let site = site();
    if fs::metadata(site.spool()).unwrap().uid() != 0 {
        println!("skipped: giving a file to another user takes root");
        return;
    }
    // Bob copies what he finds in the spool, under his own name and first in the order of names.
    let mut told = outcome(&site, 7);
    site.put("b.json", &told);
    for (name, uid) in [("a.json", 0), ("a2.json", 4343)] {
        told.uid = uid;
        told.windows[0].output_tok_s = 1.0;
        site.put(name, &told);
        std::os::unix::fs::chown(site.spool().join(name), Some(4343), None).unwrap();
    }
    let report = site.ingest();
    assert_eq!(
        (&report["runs"], refused(&report)),
        (
            &1.into(),
            vec![("the file belongs to user 4343, the job to 0".into(), 2)]
        )
    );
    assert_eq!(site.runs_here()[0].measured.output_tok_s, Some(2000.0));
}

#[test]
fn names_that_are_not_what_they_look_like_are_refused() {
    let site = site();
    for hidden in [
        '\u{202e}', '\u{200b}', '\u{feff}', '\u{2066}', '\u{ad}', '\u{2028}', '\u{9b}', '\u{7}',
    ] {
        let mut told = outcome(&site, 7);
        told.asked.model = format!("meta-llama/{hidden}Llama-3.1-8B-Instruct");
        site.put("a.json", &told);
        let report = site.ingest();
        assert!(
            refused(&report)[0].0.contains("hidden ones"),
            "{hidden:?}: {report}"
        );
        // A file's own name is told without what it would do.
        site.put_text(&format!("x{hidden}y.json"), "{}");
        let out = site.run(&["ingest"]);
        let said = [out.stdout, out.stderr].concat();
        assert!(
            !String::from_utf8(said).unwrap().contains(hidden),
            "{hidden:?}"
        );
        fs::remove_file(site.spool().join(format!("x{hidden}y.json"))).unwrap();
    }
}

/// Names that mean something to SQLite, a shell, a spreadsheet, a browser, Prometheus.
const MEANINGFUL: [&str; 6] = [
    "x'; drop table runs; --",
    "=HYPERLINK(\"http://a.example\",\"b\")",
    "@SUM(1+1)",
    "$(touch /tmp/omnipilot-was-here)`id`",
    "<script>alert(1)</script>",
    "a\"} 1\\",
];

#[test]
fn names_that_mean_something_to_a_database_a_spreadsheet_or_a_browser_stay_names() {
    let site = Site::new();
    let jobs = 0..MEANINGFUL.len() as u64;
    site.accounting(
        &jobs
            .clone()
            .map(|job| row(&site, job, "COMPLETED", TRES, COMMENT))
            .collect::<Vec<_>>(),
    );
    for job in jobs {
        let mut told = outcome(&site, job);
        told.asked.model = MEANINGFUL[job as usize].into();
        told.engine_version = MEANINGFUL[job as usize].into();
        site.put(&format!("{job}.json"), &told);
    }
    let report = site.ingest();
    assert_eq!(report["runs"], MEANINGFUL.len() as u64, "{report}");
    let runs = site.runs_here();
    let names: Vec<&str> = runs.iter().map(|r| r.case.model.as_str()).collect();
    assert!(
        MEANINGFUL.iter().all(|name| names.contains(name)),
        "{names:?}"
    );

    let table = site.path("runs.csv");
    let table = table.to_str().unwrap();
    site.run(&["export", "runs", "--origin", "this-cluster", "-o", table]);
    let text = fs::read_to_string(table).unwrap();
    let starts = |line: &str| {
        let mut cells = csv_cells(line).into_iter();
        cells.any(|cell| cell.starts_with(['=', '+', '-', '@']))
    };
    assert!(!text.lines().skip(1).any(starts), "{text}");
    let other = Site::new();
    other.run(&["import", "--origin", "this-cluster", table]);
    assert_eq!(
        other
            .runs_here()
            .iter()
            .map(|r| &r.case.model)
            .collect::<Vec<_>>(),
        runs.iter().map(|r| &r.case.model).collect::<Vec<_>>()
    );
}

/// The cells of a line of CSV, unquoted.
fn csv_cells(line: &str) -> Vec<String> {
    let (mut cells, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            c => cells.last_mut().unwrap().push(c),
        }
    }
    cells
}

/// What an administrator imports from elsewhere may hold what a terminal would obey.
#[test]
fn no_verb_prints_what_a_terminal_would_obey() {
    let site = Site::new();
    let hostile = "evil\u{1b}]0;x\u{7}\u{202e}name";
    let text = format!(
        "model,gpu,tp,precision,workload,output_tok_s,engine,source,source_ref,run_id\n{0},h100,1,fp8,offline,100,{0},{0},{0},{0}\nfine,h100,1,fp8,offline,100,vllm,\"{0}\",,r\n",
        hostile
    );
    fs::write(site.path("evil.csv"), text).unwrap();
    fs::write(site.path("evil.json"), format!("{{\"model_id\":\"{}\",\"output_throughput\":5,\"completed\":3,\"backend\":\"vllm\",\"date\":\"x\",\"duration\":1}}", "evil\\u001b[31m\\u202e")).unwrap();
    site.ended(&[with(
        &row(&site, 9, "COMPLETED", TRES, ""),
        &[
            (14, "vllm\u{1b}[31m"),
            (15, "sbatch --wrap vllm serve e\u{1b}[31m\u{202e}x"),
        ],
    )]);
    let verbs: [&[&str]; 6] = [
        &["import", site.path("evil.csv").to_str().unwrap()]
            .map(|w| w.to_owned())
            .map(leak),
        &[
            "import",
            "--format",
            "vllm-bench",
            "--gpu",
            "h100",
            site.path("evil.json").to_str().unwrap(),
        ]
        .map(|w| w.to_owned())
        .map(leak),
        &["ingest"],
        &["models"],
        &["probe", "plan"],
        &["advise", "--llm-model", "evil\u{1b}[31m\u{202e}"],
    ];
    for verb in verbs {
        let out = site.run(verb);
        let said = String::from_utf8([out.stdout, out.stderr].concat()).unwrap();
        assert!(
            !said.contains(['\u{1b}', '\u{7}', '\u{202e}']),
            "{verb:?}: {said:?}"
        );
    }
    assert!(
        site.store()
            .runs()
            .unwrap()
            .iter()
            .all(|r| !r.case.model.contains('\u{1b}') && !r.source.contains('\u{1b}'))
    );
}

fn leak(word: String) -> &'static str {
    Box::leak(word.into_boxed_str())
}

/// Whoever may read a SQLite file may lock it: SQLite's own readers do so with these bytes.
#[test]
fn a_reader_who_never_lets_go_of_the_store_is_named_and_costs_no_outcome() {
    let site = site();
    site.put("a.json", &outcome(&site, 7));
    let held = File::open(site.path("db/store.db")).unwrap();
    // SAFETY: `flock` is plain numbers, of which zero is a value.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_RDLCK as _;
    (range.l_start, range.l_len) = (0x4000_0002, 510);
    // SAFETY: an open descriptor and a structure that lives past the call.
    let locked = unsafe { libc::fcntl(held.as_raw_fd(), libc::F_SETLK, &range) };
    assert_eq!(locked, 0);
    let out = site.run(&["ingest"]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("locked by process {} (", std::process::id())),
        "{said}"
    );
    assert_eq!(site.left(), 1);
    drop(held);
    assert_eq!(site.ingest()["runs"], 1);
}
