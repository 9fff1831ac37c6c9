//! `omnipilot observe`.

use model_store::snapshot::Snapshot;

use crate::site::Site;

fn real_cluster(site: &Site) {
    let captures = concat!(env!("CARGO_MANIFEST_DIR"), "/src/slurm/captures/22.05");
    site.command_that(
        "scontrol",
        &format!(
            "#!/bin/sh\ncase $* in\n*partition*) echo 'PartitionName=serve AllocNodes=ALL Default=YES QoS=N/A' ;;\n\
             *) cat {captures}/nodes.txt ;;\nesac\n"
        ),
    );
    site.command_that(
        "squeue",
        &format!("#!/bin/sh\ncat {captures}/pending.txt\n"),
    );
}

#[test]
fn what_slurm_says_is_printed_and_kept() {
    let site = Site::new();
    real_cluster(&site);
    let out = site.run(&["observe"]);
    assert!(out.status.success(), "{out:?}");
    let lines = String::from_utf8(out.stdout).unwrap();
    let lines: Vec<_> = lines.lines().collect();
    assert!(
        lines[0].starts_with("a100: 1 node") && lines[0].contains("2 of 8 GPUs free"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("h100: ") && lines[1].contains("32 asked for by pending jobs"),
        "{lines:?}"
    );
    assert!(
        lines[2].starts_with("h200: ") && lines[2].contains("8 GPUs on 1 node"),
        "{lines:?}"
    );
    assert_eq!(lines[3], "default partition: serve");
    let kept = site.store().cluster().unwrap().unwrap();
    assert_eq!(
        kept.pools.iter().map(|p| p.free).collect::<Vec<_>>(),
        [2, 7, 0]
    );
    assert!(kept.observed_at.is_some());
    assert_eq!(kept.default_partition.as_deref(), Some("serve"));
    // Its only node is drained; it is still a type of 8 GPUs a node.
    let h200 = kept.pool("h200").unwrap();
    assert_eq!((h200.nodes, h200.per_node, h200.total), (1, 8, 8));
    assert_eq!(h200.partitions, ["serve"]);
}

#[test]
fn without_slurm_or_with_one_that_fails_it_says_so_and_keeps_nothing() {
    let site = Site::new();
    let absent = site
        .command(&["observe"])
        .env("PATH", site.path("bin"))
        .output()
        .unwrap();
    assert_eq!(absent.status.code(), Some(1));
    let words = String::from_utf8(absent.stderr).unwrap();
    assert!(
        words.contains("`scontrol` is not on this machine's PATH") && words.contains("hint: "),
        "{words}"
    );
    site.command_that(
        "scontrol",
        "#!/bin/sh\necho 'slurm_load_node error: Unable to contact' >&2; exit 1\n",
    );
    let failed = site.run(&["observe"]);
    let words = String::from_utf8(failed.stderr).unwrap();
    assert!(
        words.contains("Unable to contact") && words.contains("`scontrol ping`"),
        "{words}"
    );
    assert_eq!(site.store().cluster().unwrap(), None);
}

#[test]
fn a_gpu_type_without_a_meaning_is_told() {
    let site = Site::new();
    site.command_that(
        "scontrol",
        "#!/bin/sh\necho 'NodeName=n1 Gres=gpu:rtx6000:4 State=IDLE Partitions=p'\necho 'NodeName=n2 Gres=gpu:h100:4 State=IDLE Partitions=p'\n",
    );
    site.command_that("squeue", "#!/bin/sh\n");
    let out = site.run(&["observe"]);
    assert!(out.status.success(), "{out:?}");
    let words = String::from_utf8(out.stderr).unwrap();
    assert!(
        words.contains("GPU type `rtx6000` has no meaning here") && !words.contains("`h100`"),
        "{words}"
    );
}

#[test]
fn what_is_published_anew_is_in_the_store() {
    let site = Site::new();
    real_cluster(&site);
    assert!(site.run(&["train"]).status.success());
    assert!(site.run(&["observe"]).status.success());
    let snapshot = Snapshot::read(&site.path("published/omnipilot.snapshot")).unwrap();
    assert_eq!(snapshot.body.cluster.pools.len(), 3);
    let models = site.store().models().unwrap();
    let trained = models.iter().find(|m| m.id != snapshot.id).unwrap();
    let seen = site.store().model(&snapshot.id).unwrap().unwrap();
    assert_eq!(seen.runs, 717);
    let metrics: serde_json::Value = serde_json::from_str(&seen.metrics).unwrap();
    assert_eq!(metrics["republished_from"], trained.id);
    assert_eq!(
        metrics["observed_at"].as_i64(),
        snapshot.body.cluster.observed_at
    );
    assert_eq!(site.store().model_snapshot(&seen.id).unwrap(), None);
}

#[test]
fn a_slow_slurm_is_waited_for_with_a_word_on_a_terminal_and_silently_elsewhere() {
    let site = Site::new();
    real_cluster(&site);
    site.command_that("squeue", "#!/bin/sh\nsleep 3\n");
    let silent = site.run(&["observe"]);
    assert!(silent.status.success(), "{silent:?}");
    let told = String::from_utf8(silent.stderr).unwrap();
    assert!(
        !told.contains("asking Slurm") && !told.contains('\r'),
        "{told}"
    );
    // `script` gives it a terminal of its own.
    let line = format!(
        "{} --config {} observe",
        env!("CARGO_BIN_EXE_omnipilot"),
        site.path("omnipilot.toml").display()
    );
    let path = site
        .command(&[])
        .get_envs()
        .find_map(|(k, v)| (k == "PATH").then_some(v?.to_owned()));
    let shown = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("PATH", path.unwrap())
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("asking Slurm for nodes and queue ("),
        "{shown:?}"
    );
    // The line is gone before what was asked for is printed.
    let (before, printed) = shown.split_once("a100: ").unwrap();
    assert!(
        before.ends_with("\r\u{1b}[K") && !printed.contains("asking Slurm"),
        "{shown:?}"
    );
}

#[test]
fn gpus_that_are_stated_are_advised_without_a_slurm() {
    let site = Site::small();
    std::fs::remove_dir_all(site.path("bin")).unwrap();
    let ok = |args: &[&str]| {
        let out = site.run(args);
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(
        ok(&["observe", "--gpus", "h100:8x4,gpu:h200:4"])
            .contains("h100: 4 nodes with 8 GPUs each, as stated")
    );
    ok(&["train"]);
    let kept = site.store().cluster().unwrap().unwrap();
    assert_eq!(kept.observed_at, None);
    let h100 = kept.pool("h100").unwrap();
    assert_eq!(
        (h100.nodes, h100.per_node, h100.total, h100.free),
        (4, 8, 32, 32)
    );
    let advised = ok(&[
        "advise",
        "meta-llama/Llama-3.1-70B-Instruct",
        "--isl=500",
        "--osl=500",
        "--concurrency=64",
        "--json",
    ]);
    let advised: serde_json::Value = serde_json::from_str(&advised).unwrap();
    assert_eq!(advised["decision"], "rewrite", "{advised}");
    let tp = |gpu: &str| {
        let all = advised["candidates"].as_array().unwrap().iter();
        all.filter(|c| c["gpu"] == gpu)
            .filter_map(|c| c["tp"].as_u64())
            .max()
    };
    assert_eq!((tp("h100"), tp("h200")), (Some(8), Some(4)), "{advised}");
}
