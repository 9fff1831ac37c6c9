//! `omnipilot doctor` on a cluster of which a part is down, full, read-only, or has another clock.

use std::fs;

use e2e::{ALICE, OPERATOR, Setup};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rusqlite::Connection;
use serde_json::Value;

use crate::hands::Bare;

const DAY: i64 = 86_400;

/// What the doctor says of a check that is not as it should be: state, finding and hint of each.
fn bad(checks: &[Value], check: &str) -> Vec<[String; 3]> {
    let of = checks.iter().filter(|c| c["check"] == check);
    let words = |c: &Value, key| c[key].as_str().unwrap_or_default().to_owned();
    of.filter(|c| c["state"] != "ok")
        .map(|c| ["state", "finding", "hint"].map(|key| words(c, key)))
        .collect()
}

/// Asserts that the doctor says this of the check, among other things.
fn says(bare: &Bare, check: &str, state: &str, finding: &str, hint: &str) {
    let (_, checks) = bare.doctor();
    let said = bad(&checks, check)
        .into_iter()
        .any(|[s, f, h]| s == state && f.contains(finding) && h.contains(hint));
    assert!(said, "{check}, {finding}, {hint}: {checks:#?}");
}

/// Ends a daemon of the cluster, as if it had died.
fn end(bare: &Bare, daemon: &str) {
    let record = fs::read_to_string(bare.path(&format!("run/{daemon}.proc"))).unwrap();
    let pid = record.split_whitespace().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
}

#[test]
#[cfg_attr(not(e2e_root), ignore = "only root has several users")]
fn a_plugstack_that_fails_every_sbatch_is_an_error_that_names_the_line() {
    let bare = Bare::start(&Setup::default());
    bare.setup(&["--enable"]).success().unwrap();
    let entry = "plugstack.d/omnipilot.conf";
    let line = fs::read_to_string(bare.path(entry)).unwrap();
    let untagged = || {
        let output = bare
            .cluster
            .sbatch(ALICE, &["--test-only"], "true")
            .unwrap();
        (output.code == Some(0), output.stderr)
    };
    let write = |text: &str| fs::write(bare.path(entry), text).unwrap();
    assert!(untagged().0);

    bare.mode(entry, 0o600);
    let (works, said) = untagged();
    assert!(!works && said.contains("Permission denied"), "{said}");
    says(
        &bare,
        "plugstack",
        "error",
        "(mode 600), so their `sbatch` and `srun` fail",
        "chmod o+rX",
    );
    bare.mode(entry, 0o644);

    write(
        &line
            .replace("optional", "required")
            .replace("pilot.so", "pilo.so"),
    );
    assert!(!untagged().0);
    says(
        &bare,
        "plugstack",
        "error",
        "omnipilot.conf:1 loads",
        "take the line out",
    );
    says(
        &bare,
        "plugstack",
        "error",
        "so every `sbatch` and `srun` of the cluster fails",
        "",
    );

    write(&line.replace("optional", "optionall"));
    let (works, said) = untagged();
    assert!(works && said.contains("Invalid option"), "{said}");
    says(
        &bare,
        "plugstack",
        "error",
        "omnipilot.conf:1 begins with `optionall`",
        "write that line anew",
    );

    write(&line);
    bare.mode("lib/slurm/spank_omnipilot.so", 0o700);
    assert!(untagged().1.contains("Permission denied"));
    says(
        &bare,
        "plugstack",
        "error",
        "spank_omnipilot.so (mode 700)",
        "chmod o+rX",
    );
    bare.mode("lib/slurm/spank_omnipilot.so", 0o755);
    assert_eq!(untagged().1.lines().count(), 1);
    assert!(bad(&bare.doctor().1, "plugstack").is_empty());
}

/// An administrator's umask is the strictest, and a list may lack its last line's end: both would fail every sbatch.
#[test]
#[cfg_attr(not(e2e_root), ignore = "only root has several users")]
fn the_plugin_is_switched_on_whatever_the_umask_and_the_end_of_the_list() {
    let bare = Bare::start(&Setup::default());
    let list = bare.path("etc/plugstack.conf");
    let enabled = bare.path("plugstack.d/omnipilot.conf");
    let type_in = |line: &str| {
        let line = format!("umask 077; {line}");
        bare.cluster
            .run(OPERATOR, "bash", &["-c", &line])
            .unwrap()
            .success()
            .unwrap()
    };
    let works = |case: &str| {
        let help = bare.cluster.run(ALICE, "sbatch", &["--help"]).unwrap();
        assert!(
            help.code == Some(0) && help.stdout.contains("--llm-model"),
            "{case}: {help}"
        );
    };
    let printed = bare.setup(&[]).success().unwrap();
    type_in(printed.stdout.lines().last().unwrap());
    works("the line that setup prints");
    fs::remove_file(&enabled).unwrap();

    // A list that includes no folder, and whose last line has no end.
    let mut ends = Vec::new();
    for typed in [true, false] {
        fs::write(&list, "# the site's own list").unwrap();
        if typed {
            let printed = bare.setup(&[]).success().unwrap();
            type_in(printed.stdout.lines().last().unwrap());
        } else {
            bare.setup(&["--enable"]).success().unwrap();
        }
        works(if typed { "typed" } else { "--enable" });
        ends.push(fs::read_to_string(&list).unwrap());
    }
    assert_eq!(ends[0], ends[1]);
    assert!(
        ends[0].starts_with("# the site's own list\noptional /"),
        "{ends:?}"
    );
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "Slurm's accounting is not installed")]
fn the_daemon_that_is_down_is_the_one_that_is_named() {
    let bare = Bare::start(&Setup::default().accounting());
    bare.setup(&["--enable"]).success().unwrap();
    end(&bare, "slurmdbd");
    says(
        &bare,
        "accounting",
        "error",
        "`sacct` failed",
        "systemctl status slurmdbd",
    );
    let ingest = bare.omnipilot(&["ingest"]);
    assert!(
        ingest.stderr.contains("hint: `systemctl status slurmdbd`"),
        "{ingest}"
    );

    end(&bare, "munged");
    fs::remove_file(bare.path("munge/munge.sock")).ok();
    says(
        &bare,
        "slurm",
        "error",
        "authentication error",
        "munge -n | unmunge",
    );
    let observe = bare.omnipilot(&["observe"]);
    assert!(
        observe.stderr.contains("hint: `munge -n | unmunge`"),
        "{observe}"
    );

    end(&bare, "slurmctld");
    let (code, checks) = bare.doctor();
    assert_eq!(code, 1);
    // The plugin may be on: what was not looked at is not said.
    for check in ["gpus", "accounting", "plugstack", "submission"] {
        let of = bad(&checks, check);
        assert!(
            of.len() == 1 && of[0][0] == "skipped" && of[0][1] == "Slurm does not answer",
            "{check}: {of:?}"
        );
    }
}

#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_mounts)),
    ignore = "needs Slurm, and a file system may not be mounted here"
)]
fn a_disk_that_is_full_or_read_only_is_found_before_the_timers_find_it() {
    let bare = Bare::start(&Setup::default());
    bare.setup(&[]).success().unwrap();
    let [config, site, spool] =
        ["etc/omnipilot.toml", "site", "outcomes"].map(|n| bare.path(n).display().to_string());
    let with = |mounted: &str| {
        let line = format!("{mounted} && exec omnipilot --config {config} doctor --json");
        let words = ["--mount", "--propagation", "private", "sh", "-c", &line];
        let output = bare.cluster.run(OPERATOR, "unshare", &words).unwrap();
        let told: Value =
            serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output}"));
        bad(told["checks"].as_array().unwrap(), "disk")
    };
    assert_eq!(with("true"), Vec::<[String; 3]>::new());
    let found = with(&format!(
        "mount --bind {site} {site} && mount -o remount,ro,bind {site}"
    ));
    assert!(
        found.len() == 1 && found[0][1].contains("mounted read-only"),
        "{found:?}"
    );
    assert!(
        found[0][2].contains(&format!("findmnt --target {site}")),
        "{found:?}"
    );
    let found = with(&format!("mount -t tmpfs -o size=1m,mode=3777 none {spool}"));
    assert!(
        found.len() == 1 && found[0][1].starts_with("1 of 1 MB are left"),
        "{found:?}"
    );
    let found = with(&format!(
        "mount -t tmpfs -o size=40m,mode=3777 none {spool}"
    ));
    assert!(found.len() == 1 && found[0][0] == "warning", "{found:?}");
}

/// A service host whose clock was three days ahead, and is right again.
#[test]
#[cfg_attr(not(e2e_accounting), ignore = "Slurm's accounting is not installed")]
fn dates_in_the_future_are_told_and_do_not_stop_training_until_they_have_come() {
    let bare = Bare::start(&Setup::default().accounting());
    bare.setup(&[]).success().unwrap();
    let store = Connection::open(bare.path("site/store.db")).unwrap();
    for sql in [
        "update models set created_at = created_at + ?",
        "update watermarks set at = at + ?",
    ] {
        store.execute(sql, [3 * DAY]).unwrap();
    }
    drop(store);
    for check in ["snapshot", "ingestion"] {
        says(
            &bare,
            check,
            "warning",
            "3 days ahead of this machine's clock",
            "`date -u`",
        );
    }
    for verb in ["ingest", "train"] {
        let words: &[&str] = if verb == "train" {
            &["train", "--if-needed", "--json"]
        } else {
            &["ingest", "--json"]
        };
        let output = bare.omnipilot(words).success().unwrap();
        assert!(
            verb == "ingest" || output.stdout.contains("\"published\":true"),
            "{output}"
        );
    }
    let (_, checks) = bare.doctor();
    assert!(
        ["snapshot", "ingestion"]
            .iter()
            .all(|c| bad(&checks, c).is_empty()),
        "{checks:#?}"
    );
}
