//! `omnipilot advise --gpus`: an answer where no site is configured, and a cap where one is.

use std::process::{Command, Output};

use serde_json::Value;

use crate::site::Site;

const MODEL: &str = "meta-llama/Llama-2-70b-hf";

/// A copy of the command with this snapshot beside it, run where no configuration is named.
fn fresh(site: &Site, args: &[&str]) -> Output {
    let bin = site.path("fresh");
    std::fs::create_dir_all(&bin).unwrap();
    let command = bin.join("omnipilot");
    if !command.exists() {
        std::fs::copy(env!("CARGO_BIN_EXE_omnipilot"), &command).unwrap();
    }
    Command::new(command)
        .env_clear()
        .args(args)
        .output()
        .unwrap()
}

fn told(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// GPU type and number of GPUs of each candidate.
fn candidates(out: &Output) -> Vec<(String, u64)> {
    let document: Value = serde_json::from_slice(&out.stdout).unwrap();
    let all = document["candidates"].as_array().unwrap();
    let one = |c: &Value| {
        (
            c["gpu"].as_str().unwrap().to_owned(),
            c["tp"].as_u64().unwrap(),
        )
    };
    all.iter().map(one).collect()
}

#[test]
fn a_fresh_command_answers_for_stated_gpus_without_a_site() {
    let site = Site::small();
    assert!(site.run(&["train"]).status.success());
    let ask = ["advise", "--gpus", "h100:8,h200:8x2", "--model", MODEL];
    let lacking = fresh(&site, &ask);
    assert_eq!(lacking.status.code(), Some(1));
    assert!(
        told(&lacking.stderr).contains("no public snapshot"),
        "{lacking:?}"
    );

    let snapshot = site.path("published/omnipilot.snapshot");
    std::fs::copy(snapshot, site.path("fresh/public.snapshot")).unwrap();
    let out = fresh(&site, &[&ask[..], &["--json"]].concat());
    assert!(out.status.success(), "{out:?}");
    let types: Vec<String> = candidates(&out).into_iter().map(|c| c.0).collect();
    assert!(types.iter().any(|t| t == "h100") && types.iter().any(|t| t == "h200"));
    let out = fresh(&site, &ask);
    assert!(
        told(&out.stderr).contains("other laboratories alone"),
        "{out:?}"
    );
}

#[test]
fn without_a_site_and_without_gpus_the_command_asks_for_them() {
    let out = fresh(&Site::small(), &["advise", "--model", MODEL]);
    assert_eq!(out.status.code(), Some(2));
    let told = told(&out.stderr);
    assert!(told.contains("no site is configured here"), "{told}");
    assert!(told.contains("hint: `--gpus h100:8,a100:8x2`"), "{told}");
}

#[test]
fn on_a_site_gpus_are_a_cap() {
    let site = Site::small();
    site.observes(&["h100", "h200"]);
    assert!(site.run(&["train"]).status.success());
    let capped = site.run(&["advise", "--gpus", "H100:4", "--model", MODEL, "--json"]);
    let all = candidates(&capped);
    assert!(!all.is_empty());
    assert!(
        all.iter().all(|(gpu, tp)| gpu == "h100" && *tp <= 4),
        "{all:?}"
    );

    let absent = site.run(&["advise", "--gpus", "b200:1", "--model", MODEL]);
    assert_eq!(absent.status.code(), Some(2));
    let told = told(&absent.stderr);
    assert!(told.contains("no `b200` GPUs here"), "{told}");
    assert!(told.contains("h100, h200"), "{told}");
}
