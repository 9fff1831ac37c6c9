//! A site's own rules, on a real Slurm: slurmctld's last word in the plugin, what the doctor finds in them, why an advised job
//! waits, and what becomes of it in the report.

use std::time::{Duration, Instant};

use e2e::{ALICE, BOB, OPERATOR, Output, Setup};
use serde_json::Value;

use crate::site::{Site, gpus};

/// A request that is advised an H200 wherever prices are these.
const TAG: [&str; 4] = [
    "--llm-model=meta-llama/Llama-3.1-8B-Instruct",
    "--llm-isl=1000",
    "--llm-osl=1000",
    "--llm-concurrency=64",
];
const CHEAP_H200: &str = "[[price]]\ngpu = \"h200\"\nprice_per_hour = 0.01\n";

/// A site with the plugin and more lines in its configuration.
fn site(setup: &Setup, more: &str) -> Site {
    let site = Site::trained(setup);
    let plain = std::fs::read_to_string(site.config()).unwrap();
    // Tests share the processors.
    let text = format!("time_limit_ms = 20000\n{plain}{more}");
    site.cluster.file("etc/omnipilot.toml", &text).unwrap();
    site.load_plugin();
    site.omnipilot(OPERATOR, &["observe"]).success().unwrap();
    site
}

fn operate(site: &Site, line: &str) {
    let line = line.replace("alice", &ALICE.name());
    let words: Vec<&str> = line.split_whitespace().collect();
    let run = site.cluster.run(OPERATOR, words[0], &words[1..]);
    run.unwrap().success().unwrap();
}

/// A tagged job that asks for one A100, with what the plugin says of it.
fn sbatch(site: &Site, own: &[&str]) -> Output {
    let mut command = site.cluster.command(ALICE, "sbatch").unwrap();
    command
        .env("OMNIPILOT_VERBOSE", "1")
        .args(TAG)
        .args(["-o", "/dev/null", "-t", "10", "--gres=gpu:a100:1"])
        .args(own)
        .args(["--wrap", "sleep 60"]);
    let out = command.output().unwrap();
    Output {
        command: format!("sbatch {own:?}"),
        code: out.status.code(),
        stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
    }
}

fn type_of(site: &Site, output: &Output) -> String {
    let id = output.id().unwrap();
    gpus(&site.cluster.show_job(id).unwrap())
}

/// The site has changed since it was observed: by its own rules the plugin cannot know, slurmctld does.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn slurmctld_has_the_last_word_where_the_site_asks_it() {
    for asks in [true, false] {
        let more = if asks { "ask_slurm = true\n" } else { "" };
        let site = site(&Setup::default(), &format!("{more}{CHEAP_H200}"));
        // As observed, the advice acts.
        let taken = sbatch(&site, &[]);
        assert_eq!(type_of(&site, &taken), "gpu:h200:1", "{taken}");
        operate(
            &site,
            "scontrol create reservation ReservationName=m starttime=now duration=3-0 user=root flags=maint,ignore_jobs nodes=h2",
        );
        let output = sbatch(&site, &[]);
        let goes = if asks { "gpu:a100:1" } else { "gpu:h200:1" };
        assert_eq!(type_of(&site, &output), goes, "{output}");
        assert_eq!(output.stderr.contains("goes as written"), asks, "{output}");
    }
}

/// What slurmctld refuses goes as it was written; a form that it refuses either way is its own to refuse.
#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn what_slurmctld_would_refuse_goes_as_written_where_the_site_asks_it() {
    let conf = "AccountingStorageEnforce=associations,limits,qos";
    let setup = Setup::default().accounting().conf(conf);
    let site = site(&setup, &format!("ask_slurm = true\n{CHEAP_H200}"));
    operate(&site, "sacctmgr -i add account poor");
    operate(&site, "sacctmgr -i add user alice account=poor");
    site.omnipilot(OPERATOR, &["observe"]).success().unwrap();
    let before = sbatch(&site, &["-H"]);
    assert_eq!(type_of(&site, &before), "gpu:h200:1", "{before}");
    operate(
        &site,
        "sacctmgr -i modify qos normal set MaxTRESPerJob=gres/gpu:h200=0 Flags=DenyOnLimit",
    );
    let output = sbatch(&site, &["-H"]);
    assert_eq!(type_of(&site, &output), "gpu:a100:1", "{output}");
    assert!(
        output.stderr.contains("would not take the advised form"),
        "{output}"
    );
    operate(
        &site,
        "sacctmgr -i modify qos normal set MaxTRESPerJob=gres/gpu=0",
    );
    let refused = sbatch(&site, &["-H"]);
    assert_eq!(refused.id().ok(), None, "{refused}");
}

/// What `doctor` says of the site's rules.
fn rules_told(site: &Site) -> Vec<String> {
    let output = site.omnipilot(OPERATOR, &["doctor", "--json"]);
    let told: Value = serde_json::from_str(&output.stdout).unwrap();
    let checks = told["checks"].as_array().unwrap();
    let of_rules = |c: &&Value| {
        let check = c["check"].as_str().unwrap();
        ["rules", "limits", "rewritten"].contains(&check)
    };
    let one = |c: &Value| {
        let word = |key: &str| c[key].as_str().unwrap_or("-").to_owned();
        format!("{} {}: {}", word("check"), word("state"), word("finding"))
    };
    checks.iter().filter(of_rules).map(one).collect()
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn the_doctor_finds_rules_that_slurm_contradicts() {
    let conf = "AccountingStorageEnforce=associations,limits,qos";
    let setup = Setup::default().accounting().conf(conf);
    let site = site(&setup, "");
    let plain = std::fs::read_to_string(site.config()).unwrap();
    let told_under = |more: &str| {
        let text = format!("{plain}{more}");
        site.cluster.file("etc/omnipilot.toml", &text).unwrap();
        rules_told(&site)
    };
    let well = told_under("");
    assert!(well.iter().all(|line| line.contains(" ok: ")), "{well:#?}");
    assert!(
        well.iter()
            .any(|line| line.starts_with("rewritten ok: slurmctld takes 3")),
        "{well:#?}"
    );
    operate(&site, "sacctmgr -i add account poor");
    operate(
        &site,
        "sacctmgr -i modify account poor set MaxTRESPerJob=gres/gpu=2,gres/gpu:h200=0",
    );
    for (more, words) in [
        (
            "[[price]]\ngpu = \"b300\"\nprice_per_hour = 2\n",
            "`[[price]]` names the GPU type `b300`",
        ),
        (
            "[[price]]\ngpu = \"h100\"\npartition = \"nowhere\"\nprice_per_hour = 2\n",
            "`[[price]]` names the partition `nowhere`",
        ),
        (
            "[[price]]\ngpu = \"h100\"\naccount = \"none\"\nprice_per_hour = 2\n",
            "`[[price]]` names the account `none`",
        ),
        (
            "[[limit]]\nqos = \"silver\"\nmost_gpus = 2\n",
            "`[[limit]]` names the QOS `silver`",
        ),
        (
            "[[limit]]\naccount = \"poor\"\nmost_gpus = 8\n",
            "`[[limit]]` allows poor 8 GPUs, and MaxTRESPerJob of Slurm allows 2",
        ),
        (
            "[gpu.b300]\nis = \"H100-SXM\"\n",
            "`[gpu.b300]` is of a type that no node has",
        ),
        (
            "[rewrite]\nmem_per_gpu = \"600G\"\n",
            "no job can be rewritten to one h200 in partition serve",
        ),
        (
            "[rewrite]\ngpus = \"feature\"\n[gpu.h200]\nfeatures = [\"hopper\"]\n",
            "slurmctld refuses",
        ),
        ("", "1 account or QOS may have no h200"),
    ] {
        let told = told_under(more);
        assert!(
            told.iter().any(|line| line.contains(words)),
            "{words}: {told:#?}"
        );
    }
}

/// An advised job pends for a limit, is cancelled, and comes again without the tag: it is told why it waits, and counted.
#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn a_job_that_waits_for_a_limit_is_told_why_and_counted() {
    let conf = "AccountingStorageEnforce=associations,limits,qos";
    let setup = Setup::default().accounting().conf(conf);
    let site = site(&setup, CHEAP_H200);
    operate(&site, "sacctmgr -i add account poor");
    operate(&site, "sacctmgr -i add user alice account=poor");
    site.omnipilot(OPERATOR, &["observe"]).success().unwrap();
    operate(
        &site,
        "sacctmgr -i modify qos normal set MaxTRESPerJob=gres/gpu:h200=0",
    );
    let waits = sbatch(&site, &["-J", "again"]);
    assert_eq!(type_of(&site, &waits), "gpu:h200:1", "{waits}");
    let id = waits.id().unwrap();
    // Accounting lags behind the controller.
    let asked = ["-nX", "-j", &id.to_string(), "-o", "SubmitLine"];
    let begun = Instant::now();
    let shown = || site.cluster.run(ALICE, "sacct", &asked).unwrap().stdout;
    while shown().trim().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(300));
    }
    let explained = || {
        let words = ["explain", "--job", &id.to_string()];
        site.omnipilot(ALICE, &words).success().unwrap().stdout
    };
    let told = explained();
    assert!(
        told.contains(&format!(
            "job {id} waits: QOSMaxGRESPerJob, as Slurm says; nothing that was observed"
        )),
        "{told}"
    );
    // Once the limit is observed, ours is the reason too.
    site.omnipilot(OPERATOR, &["observe"]).success().unwrap();
    let told = explained();
    assert!(told.contains("QOSMaxGRESPerJob, as Slurm says; "), "{told}");
    assert!(
        told.contains("MaxTRESPerJob of QOS normal allows at most 0 of gres/gpu:h200"),
        "{told}"
    );
    // Whoever asks without submitting is told the same, and what he was told can be made again.
    let advised = site.omnipilot(ALICE, &[&["advise", "--json"], &TAG[..]].concat());
    let told: Value = serde_json::from_str(&advised.success().unwrap().stdout).unwrap();
    let of = |gpu: &str| {
        let all = told["candidates"].as_array().unwrap();
        all.iter().find(|c| c["gpu"] == gpu).unwrap().clone()
    };
    assert!(
        of("h200")["fallen"]
            .to_string()
            .contains("MaxTRESPerJob of QOS normal"),
        "{told}"
    );
    assert!(told["gres"].as_str().unwrap().starts_with("gpu:"), "{told}");
    assert_ne!(told["gres"], "gpu:h200:1");
    let file = site
        .cluster
        .file("advised.json", &told.to_string())
        .unwrap();
    let again = ["explain", "--json", "--request", file.to_str().unwrap()];
    let again: Value =
        serde_json::from_str(&site.omnipilot(ALICE, &again).success().unwrap().stdout).unwrap();
    assert_eq!(
        (&again["made_again"], &again["advice"]),
        (&"same".into(), &told["advice"])
    );
    // Nobody else is known to accounting.
    let stranger = site.omnipilot(BOB, &[&["advise"], &TAG[..]].concat());
    assert!(stranger.stderr.contains("hint: where your job may start was not looked at: the accounts of the user were not observed"), "{stranger}");
    let counted = |kind: &str| {
        site.json(&["ingest"]);
        site.json(&[
            "report",
            "--output",
            site.path("page.html").to_str().unwrap(),
        ])["unstarted"][kind]
            .as_u64()
    };
    assert_eq!(counted("limited"), Some(1));
    operate(&site, &format!("scancel {id}"));
    let mut again = site.cluster.command(ALICE, "sbatch").unwrap();
    again.args([
        "-J",
        "again",
        "-o",
        "/dev/null",
        "--gres=gpu:a100:1",
        "--wrap",
        "true",
    ]);
    assert!(again.status().unwrap().success());
    let begun = Instant::now();
    let all = || ["cancelled", "resubmitted"].map(counted);
    while all() != [Some(1), Some(1)] {
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", all());
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(
        counted("limited"),
        Some(1),
        "one job is one, however often it is seen"
    );
}
