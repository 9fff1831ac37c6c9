//! The units in `etc/systemd` start verbs that there are, and systemd takes them.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;
use std::process::Command;

const UNITS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../etc/systemd");

#[test]
fn every_timer_has_a_service_that_starts_a_verb_with_options_that_it_takes() {
    let mut timers = 0;
    for entry in std::fs::read_dir(UNITS).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().unwrap() != "timer" {
            continue;
        }
        timers += 1;
        let text = std::fs::read_to_string(path.with_extension("service")).unwrap();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix("ExecStart="))
            .unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[0], "/usr/bin/omnipilot");
        let out = Command::new(env!("CARGO_BIN_EXE_omnipilot"))
            .args(&words[1..])
            .arg("--help")
            .output()
            .unwrap();
        assert!(out.status.success(), "{line}: {out:?}");
    }
    assert_eq!(timers, 4);
}

#[test]
fn systemd_finds_nothing_wrong_with_them() {
    if Command::new("systemd-analyze")
        .arg("--version")
        .output()
        .is_err()
    {
        eprintln!("systemd-analyze is not installed: not looked at");
        return;
    }
    // The command is not in /usr/bin here; whatever stands there instead will do.
    let dir = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(UNITS).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text.replace("/usr/bin/omnipilot", "/bin/true");
        std::fs::write(dir.path().join(path.file_name().unwrap()), text).unwrap();
    }
    for verb in ["ingest", "observe", "train"] {
        let timer = dir.path().join(format!("omnipilot-{verb}.timer"));
        let out = Command::new("systemd-analyze")
            .arg("verify")
            .arg(Path::new(&timer))
            .env("SYSTEMD_UNIT_PATH", format!("{}:", dir.path().display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        let ours: Vec<&str> = said.lines().filter(|l| l.contains("omnipilot")).collect();
        assert!(ours.is_empty(), "{said}");
    }
}
