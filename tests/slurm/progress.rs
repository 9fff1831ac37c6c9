//! What a terminal shows while a verb takes long, and what is left of it.

use std::fs;

use e2e::{OPERATOR, Setup};

use crate::site::Site;

/// What begins each state of the line, and takes it away in the end.
const ANEW: &str = "\r\x1b[K";

/// What the command shows at a terminal.
fn at_a_terminal(site: &Site, words: &str) -> String {
    let line = format!("omnipilot --config {} {words}", site.config());
    let script = ["-qec", &line, "/dev/null"];
    let output = site.cluster.run(OPERATOR, "script", &script).unwrap();
    output.success().unwrap().stdout
}

/// The line says what is done and since when, more than once, and is gone before the command's own words.
fn goes_on_and_away(shown: &str, doing: &str, own: &str) {
    let (line, rest) = shown
        .rsplit_once(ANEW)
        .unwrap_or_else(|| panic!("{shown:?}"));
    let states: Vec<&str> = line.split(ANEW).filter(|s| s.starts_with(doing)).collect();
    assert!(
        states.len() > 1 && states.iter().all(|s| s.ends_with(" s)")),
        "{shown:?}"
    );
    assert!(rest.contains(own) && !rest.contains('\x1b'), "{shown:?}");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_terminal_sees_what_setup_train_and_predict_are_at() {
    let site = Site::trained(&Setup::default());
    // A controller under load.
    let slow = "#!/bin/sh\nsleep 2\nPATH=${PATH#*:} exec scontrol \"$@\"\n";
    let scontrol = site.cluster.file("slow", slow).unwrap();
    site.cluster.install(&scontrol, "scontrol").unwrap();
    let setup = format!("setup --dry-run --account {}", OPERATOR.name());
    goes_on_and_away(
        &at_a_terminal(&site, &setup),
        "asking Slurm",
        "cluster       found",
    );
    let quiet = site.omnipilot(OPERATOR, &setup.split(' ').collect::<Vec<_>>());
    assert!(!quiet.stderr.contains("asking Slurm"), "{quiet}");

    goes_on_and_away(
        &at_a_terminal(&site, "train --force"),
        "training",
        "published ",
    );

    let runs = site.path("runs.csv");
    let output = runs.display().to_string();
    site.omnipilot(OPERATOR, &["export", "runs", "--output", &output])
        .success()
        .unwrap();
    let text = fs::read_to_string(&runs).unwrap();
    let (head, lines) = text.split_once('\n').unwrap();
    // Some seconds' worth.
    fs::write(&runs, format!("{head}\n{}", lines.repeat(40))).unwrap();
    let predict = format!("predict --input {output} --output {output}.out");
    goes_on_and_away(&at_a_terminal(&site, &predict), "predicting: ", " cases: ");
}
