//! Wishes in the spool, and the probes that are planned and submitted for them.

use std::os::unix::fs::symlink;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::site::Site;

/// An encoder-decoder: nothing of its kind is among the published figures.
const STRANGE: &str = "google/flan-ul2";

fn wish(model: &str, more: &[(&str, &str)]) -> String {
    let mut options = json!({ "llm-model": model, "llm-isl": "1000", "llm-osl": "1000", "llm-concurrency": "64" });
    for (name, value) in more {
        options[*name] = (*value).into();
    }
    json!({ "schema": 1, "why": "refused", "options": options }).to_string()
}

/// A trained site with GPUs.
fn site() -> Site {
    let site = Site::small();
    site.observes(&["a100", "h100"]);
    site.json(&["train"]);
    site.command_that(
        "squeue",
        "#!/bin/sh\ncat \"${0%/*}/queue\" 2>/dev/null\nexit 0\n",
    );
    site
}

fn plan(site: &Site, more: &[&str]) -> Value {
    site.json(&[&["probe", "plan"], more].concat())
}

#[test]
fn whatever_lies_under_the_name_of_a_wish_is_read_as_options_or_refused() {
    let site = Site::new();
    symlink("/etc/passwd", site.spool().join("a.wish")).unwrap();
    std::fs::create_dir(site.spool().join("b.wish")).unwrap();
    let big = std::fs::File::create(site.spool().join("c.wish")).unwrap();
    big.set_len(10 << 30).unwrap();
    site.put_text(".hidden.wish", "{}");
    site.put_text("d.wish", "half a wi");
    let report = site.ingest();
    assert_eq!(report["wishes"], 0, "{report}");
    let reasons: Vec<&str> = report["quarantined"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["reason"].as_str().unwrap())
        .collect();
    assert_eq!(
        reasons,
        ["a directory", "a symbolic link", "larger than 262144 bytes"],
        "{report}"
    );
    // The hidden one is not ours, and the last one may still be being written.
    assert_eq!(site.left(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn no_wish_stops_ingest(texts in prop::collection::vec(".{0,80}", 1..6), value in ".{0,40}") {
        let site = Site::new();
        for (n, text) in texts.iter().enumerate() {
            site.put_text(&format!("{n}.wish"), text);
        }
        site.put_text("options.wish", &wish(&value, &[("llm-slo", &value), ("llm-gpu", &value)]));
        site.put_text("good.wish", &wish(STRANGE, &[]));
        let report = site.ingest();
        prop_assert!(report["wishes"].as_u64().unwrap() >= 1, "{}", report);
    }
}

#[test]
fn one_user_has_so_many_wishes() {
    let site = Site::new();
    for n in 0..1200 {
        site.put_text(
            &format!("{n}.wish"),
            &wish(STRANGE, &[("llm-isl", &format!("{}", n + 1))]),
        );
    }
    let report = site.ingest();
    assert_eq!(report["wishes"], 1000, "{report}");
    assert!(
        report["quarantined"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("200 removed unread"),
        "{report}"
    );
    assert_eq!(
        (site.left(), site.store().wishes(0).unwrap().len()),
        (0, 200)
    );
}

#[test]
fn the_probe_that_answers_most_for_its_gpu_hours_comes_first_and_the_budget_holds() {
    let site = site();
    site.put_text("a.wish", &wish(STRANGE, &[]));
    site.put_text("b.wish", &wish(STRANGE, &[("llm-concurrency", "32")]));
    site.ingest();
    let all = plan(&site, &["--gpu-hours", "4"]);
    let probes = all["probes"].as_array().unwrap();
    // One run of the family answers both.
    assert_eq!(probes[0]["opens"].as_array().unwrap().len(), 2, "{all}");
    assert!(
        probes[1..]
            .iter()
            .all(|p| p["opens"].as_array().unwrap().is_empty()),
        "{all}"
    );
    let worth = |p: &Value| p["gain_per_gpu_hour"].as_f64().unwrap();
    assert!(
        probes[1..].iter().all(|p| worth(p) < worth(&probes[0])),
        "{all}"
    );
    assert!(all["gpu_hours"].as_f64().unwrap() <= 4.0, "{all}");
    let few = plan(&site, &["--most", "1"]);
    assert_eq!(few["probes"], json!([probes[0]]));
    assert!(
        plan(&site, &["--gpu-hours", "0.4"])["probes"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    // The same knowledge gives the same plan.
    assert_eq!(plan(&site, &["--gpu-hours", "4"]), all);
}

#[test]
fn what_a_user_names_is_never_run() {
    let site = site();
    let names = [
        "mallory/flan-ul2",
        "/home/mallory/flan-ul2",
        "x'; rm -rf / #",
        "$(reboot)",
    ];
    for (n, name) in names.iter().enumerate() {
        site.put_text(&format!("{n}.wish"), &wish(name, &[]));
    }
    assert_eq!(site.ingest()["wishes"], 4);
    let out = site.run(&["probe", "run", "--dry-run"]);
    let script = String::from_utf8(out.stdout).unwrap();
    assert!(script.contains("PROBE_MODEL='google/flan-ul2'"), "{script}");
    for word in ["mallory", "reboot", "rm -rf"] {
        assert!(!script.contains(word), "{script}");
    }
    assert_eq!(plan(&site, &[])["unknown"].as_array().unwrap().len(), 3);
}

#[test]
fn the_script_is_one_that_bash_reads() {
    let site = site();
    site.put_text("a.wish", &wish(STRANGE, &[]));
    site.ingest();
    let out = site.run(&["probe", "run", "--dry-run", "--most", "1"]);
    std::fs::write(site.path("script"), &out.stdout).unwrap();
    let checked = std::process::Command::new("bash")
        .arg("-n")
        .arg(site.path("script"))
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

/// An `sbatch` that keeps what it is given, and what it is to answer.
const SBATCH: &str = "#!/bin/sh\ncat > \"${0%/*}/submitted\"\ncat \"${0%/*}/answer\"\n";

#[test]
fn what_was_submitted_is_not_submitted_again() {
    let site = site();
    site.put_text("a.wish", &wish(STRANGE, &[]));
    site.ingest();
    site.command_that("sbatch", SBATCH);
    std::fs::write(site.path("bin/answer"), "4711;cluster\n").unwrap();
    let before = plan(&site, &["--most", "2"]);
    let told = site.json(&["probe", "run", "--most", "1"]);
    assert_eq!(told["jobs"][0]["job"], 4711, "{told}");
    let after = plan(&site, &["--most", "2"]);
    assert_eq!(after["under_way"].as_array().unwrap().len(), 1, "{after}");
    assert!(
        !after["probes"]
            .as_array()
            .unwrap()
            .contains(&before["probes"][0]),
        "{after}"
    );
    assert_eq!(site.store().probes(0).unwrap()[0].job, "4711_0");
}

#[test]
fn a_submission_that_was_cut_short_is_found_again() {
    let site = site();
    site.put_text("a.wish", &wish(STRANGE, &[]));
    site.ingest();
    // `sbatch` takes the job, and the command is killed before it hears of it.
    site.command_that("sbatch", "#!/bin/sh\ncat > /dev/null\nkill -9 $PPID\n");
    assert_eq!(
        site.run(&["probe", "run", "--most", "1"]).status.code(),
        None
    );
    let name = site.store().probes(0).unwrap()[0].job.clone();
    assert!(name.starts_with("omnipilot-probe-"), "{name}");
    std::fs::write(site.path("bin/queue"), "4712\n").unwrap();
    assert_eq!(plan(&site, &[])["under_way"].as_array().unwrap().len(), 1);
    assert_eq!(site.store().probes(0).unwrap()[0].job, "4712_0");

    // Killed before `sbatch`: nobody knows the name, so it may be submitted.
    site.run(&["probe", "run", "--most", "1"]);
    let cut_short = |site: &Site| {
        let all = site.store().probes(0).unwrap();
        all.iter()
            .filter(|p| p.job.starts_with("omnipilot"))
            .count()
    };
    assert_eq!(cut_short(&site), 1);
    std::fs::write(site.path("bin/queue"), "").unwrap();
    plan(&site, &[]);
    assert_eq!(
        (cut_short(&site), site.store().probes(0).unwrap().len()),
        (0, 1)
    );
}

/// A user whose files are his own alone has wishes all the same.
#[test]
fn a_wish_can_be_read_by_the_service_account_under_any_umask() {
    use std::os::unix::fs::PermissionsExt;
    let site = site();
    let script = site.path("serve.sh");
    std::fs::write(&script, "#!/bin/sh\ntrue\n").unwrap();
    site.command_that("sbatch", "#!/bin/sh\nexit 9\n");
    let model = format!("--llm-model={STRANGE}");
    let submit = site.command(&[
        "submit",
        &model,
        "--llm-isl=1000",
        "--llm-osl=1000",
        script.to_str().unwrap(),
    ]);
    let line: Vec<_> = std::iter::once(submit.get_program())
        .chain(submit.get_args())
        .collect();
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", "umask 077; exec \"$@\"", "sh"])
        .args(line);
    let path = format!("{}:/usr/bin:/bin", site.path("bin").display());
    let out = shell.env("PATH", path).output().unwrap();
    assert_eq!(out.status.code(), Some(64), "{out:?}");
    let wishes: Vec<_> = std::fs::read_dir(site.spool())
        .unwrap()
        .map(|e| e.unwrap())
        .collect();
    assert_eq!(wishes.len(), 1, "{wishes:?}");
    assert_eq!(
        wishes[0].metadata().unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(site.ingest()["wishes"], 1);
}
