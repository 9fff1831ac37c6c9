//! `etc/job_submit.lua` in a real slurmctld: what reaches the controller without the plugin, and what is done to a job afterwards.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::{ALICE, BOB, Cluster, OPERATOR, Output, Setup};

use crate::site::{REQUEST, Site, gpus, submitted};

/// The file as it is shipped, with these settings.
pub(crate) fn shipped(guarded: &str, needs: &str) -> String {
    let text = include_str!("../../etc/job_submit.lua");
    let set = text
        .replace("guarded = {},", &format!("guarded = {{ {guarded} }},"))
        .replace("needs = \"tag\"", &format!("needs = \"{needs}\""));
    assert_ne!(set, text, "the settings are where they are looked for");
    set
}

pub(crate) fn setup(lua: &str) -> Setup {
    Setup::default()
        .conf("JobSubmitPlugins=lua\nPartitionName=free Nodes=ALL State=UP")
        .beside_slurm_conf("job_submit.lua", lua)
}

fn site(guarded: &str, needs: &str) -> Site {
    let site = Site::trained(&setup(&shipped(guarded, needs)));
    site.load_plugin();
    site
}

/// Slurm's own line follows the two of the check.
pub(crate) fn assert_denied(output: &Output, reason: &str) {
    assert_eq!((output.code, &*output.stdout), (Some(1), ""), "{output}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!(
        lines[0].contains("omnipilot: ") && lines[0].contains(reason),
        "{output}"
    );
    assert!(lines[1].contains("omnipilot: hint: "), "{output}");
    assert!(lines.len() <= 3, "{output}");
}

/// Submits with a configuration that loads no plugin.
fn around_the_plugin(site: &Site, words: &[&str]) -> Output {
    let conf = fs::read_to_string(site.cluster.conf()).unwrap();
    let own = conf.replace("/etc/plugstack.conf", "/own/none.conf");
    let own = site.cluster.file("own/slurm.conf", &own).unwrap();
    for name in ["gres.conf", "cgroup.conf"] {
        fs::copy(site.path("etc").join(name), site.path("own").join(name)).unwrap();
    }
    let script = site.cluster.script(ALICE, "true").unwrap();
    let mut sbatch = site.cluster.command(ALICE, "sbatch").unwrap();
    let output = sbatch
        .env("SLURM_CONF", own)
        .arg("--hold")
        .args(words)
        .arg(script)
        .output()
        .unwrap();
    Output {
        command: format!("{sbatch:?}"),
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn gpus_on_a_guarded_partition_need_a_tag() {
    let site = site("\"serve\"", "tag");
    let hold = |words: &[&str]| {
        let words = [&["--hold"], words].concat();
        site.cluster.sbatch(ALICE, &words, "true").unwrap()
    };
    assert_denied(
        &hold(&["--gres=gpu:a100:2"]),
        "on partition serve, but no model is named",
    );
    for form in ["--gpus=a100:2", "--gpus-per-node=2", "--gres=gpu:1"] {
        assert_denied(&hold(&[form, "-p", "free,serve"]), "serve");
    }
    assert_denied(&hold(&["--ntasks=2", "--gpus-per-task=1"]), "serve");
    submitted(&hold(&REQUEST));
    submitted(&hold(&[
        "--llm-model=my/own",
        "--llm-advice=off",
        "--gres=gpu:a100:2",
    ]));
    submitted(&hold(&["--gres=gpu:a100:2", "-p", "free"]));
    submitted(&hold(&[]));
}

/// The bypass that the plugin itself cannot close.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_configuration_without_the_plugin_is_found_out() {
    let site = site("\"serve\"", "tag");
    assert_denied(&around_the_plugin(&site, &["--gres=gpu:h100:8"]), "serve");
    submitted(&around_the_plugin(
        &site,
        &["--gres=gpu:h100:8", "-p", "free"],
    ));
    let srun = site
        .cluster
        .run(ALICE, "srun", &["--gres=gpu:h100:1", "true"])
        .unwrap();
    assert_ne!(srun.code, Some(0), "{srun}");
    assert!(srun.stderr.contains("no model is named"), "{srun}");
}

/// No hook of the plugin runs for an entry of a crontab; the controller sees it like any job. Debian 12 has no scrontab.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn scrontab_is_checked_where_there_is_one() {
    let lua = shipped("\"serve\"", "tag");
    let cluster = setup(&lua).conf("ScronParameters=enable").start().unwrap();
    let mut entries = String::new();
    for (gres, accepted) in [("--time=1", true), ("--gres=gpu:a100:1", false)] {
        let table = format!("#SCRON {gres}\n0 3 * * * /bin/true\n");
        let table = cluster.file("table", &table).unwrap();
        let mut scrontab = cluster.command(ALICE, "bash").unwrap();
        let line = format!(
            "command -v scrontab >/dev/null || exit 127; scrontab {}",
            table.display()
        );
        let output = scrontab.args(["-c", &line]).output().unwrap();
        if output.status.code() == Some(127) {
            assert!(cluster.release() < (23, 0), "later releases have one");
            return;
        }
        assert_eq!(output.status.success(), accepted, "{output:?}");
        let listed = cluster
            .run(ALICE, "squeue", &["-h", "-o", "%i %b"])
            .unwrap();
        if accepted {
            entries = listed.stdout;
            assert_eq!(entries.lines().count(), 1, "{entries}");
        } else {
            assert_eq!(listed.stdout, entries, "what was there stays");
        }
    }
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn where_an_advice_is_needed_a_tag_is_not_enough() {
    let site = site("\"serve\"", "advice");
    let id = submitted(
        &site
            .cluster
            .sbatch(ALICE, &[&REQUEST[..], &["--hold"]].concat(), "true")
            .unwrap(),
    );
    let record = site.cluster.show_job(id).unwrap();
    let off = [&REQUEST[..], &["--llm-advice=off", "--gres=gpu:a100:2"]].concat();
    assert_denied(
        &site.cluster.sbatch(ALICE, &off, "true").unwrap(),
        "without an advice",
    );
    // A comment alone is no advice, and neither is another job's with other GPUs.
    let copied = format!("--comment={}", record["Comment"]);
    let advice = &record["Comment"]["omnipilot:".len()..];
    let variables =
        format!("--export=ALL,SLURM_LLM_ADVICE={advice},SLURM_LLM_GPU=h200,SLURM_LLM_TP=2");
    for gres in ["--gres=gpu:a100:8", "--gres=gpu:h200:1"] {
        let words = [gres, "--hold", &copied];
        assert_denied(&around_the_plugin(&site, &words), "without an advice");
        let words = [gres, "--hold", &copied, &variables];
        assert_denied(&around_the_plugin(&site, &words), "without an advice");
    }
    // Whoever forges all of it is not found out here: the check guides, as the plugin does.
    let words = ["--gres=gpu:h200:2", "--hold", &copied, &variables];
    submitted(&around_the_plugin(&site, &words));
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn what_was_advised_is_not_edited_afterwards() {
    let site = site("", "tag");
    let id = submitted(
        &site
            .cluster
            .sbatch(ALICE, &[&REQUEST[..], &["--hold"]].concat(), "true")
            .unwrap(),
    );
    let before = site.cluster.show_job(id).unwrap();
    let update = |change: &str| {
        let words = ["update", &format!("jobid={id}"), change];
        site.cluster.run(ALICE, "scontrol", &words).unwrap()
    };
    let changes = [
        "TresPerNode=gres:gpu:a100:8",
        "Features=a100",
        "Comment=mine",
        "Comment=",
    ];
    for change in changes {
        let output = update(change);
        assert_ne!(output.code, Some(0), "{change}: {output}");
        let after = site.cluster.show_job(id).unwrap();
        assert_eq!(
            (gpus(&before), &before["Comment"]),
            (gpus(&after), &after["Comment"]),
            "{change}"
        );
        assert_eq!(before["Features"], after["Features"], "{change}");
    }
    for change in [
        "TimeLimit=10",
        "JobName=other",
        &format!("Comment=more {}", before["Comment"]),
    ] {
        assert_eq!(update(change).code, Some(0), "{change}");
    }
    let other = site
        .cluster
        .sbatch(ALICE, &["--hold", "--gres=gpu:a100:1"], "true")
        .unwrap();
    let words = [
        "update",
        &format!("jobid={}", submitted(&other)),
        "Comment=mine",
    ];
    assert_eq!(
        site.cluster.run(ALICE, "scontrol", &words).unwrap().code,
        Some(0)
    );
}

/// The plugin in `sbatch` knows the account and the QOS that were typed; the controller knows those of whoever types none.
#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd or MariaDB is not installed")]
fn accounts_and_qos_are_guarded_whether_they_are_typed_or_the_users_defaults() {
    let lua = shipped("", "tag")
        .replace("guarded_accounts = {}", "guarded_accounts = { \"llm\" }")
        .replace("guarded_qos = {}", "guarded_qos = { \"urgent\" }");
    let cluster = setup(&lua).accounting().start().unwrap();
    let sacctmgr = |line: &str| {
        let words: Vec<&str> = ["-i"].into_iter().chain(line.split(' ')).collect();
        let output = cluster.run(OPERATOR, "sacctmgr", &words).unwrap();
        output.success().unwrap();
    };
    let (alice, bob) = (ALICE.name(), BOB.name());
    sacctmgr("add qos urgent");
    sacctmgr("add account llm,other");
    sacctmgr(&format!(
        "add user {alice} account=llm,other defaultaccount=llm"
    ));
    sacctmgr(&format!("modify user {alice} set qos=normal,urgent"));
    if bob != alice {
        sacctmgr(&format!("add user {bob} account=other"));
        sacctmgr(&format!(
            "modify user {bob} set qos=urgent defaultqos=urgent"
        ));
    }
    let submit = |user, words: &[&str]| {
        let words = [&["--hold", "--gres=gpu:a100:1"], words].concat();
        cluster.sbatch(user, &words, "true").unwrap()
    };
    assert_denied(&submit(ALICE, &[]), "on account llm, but no model is named");
    assert_denied(&submit(ALICE, &["--account=llm"]), "on account llm");
    submitted(&submit(ALICE, &["--account=other"]));
    let urgent = ["--account=other", "--qos=urgent"];
    assert_denied(
        &submit(ALICE, &urgent),
        "on QOS urgent, but no model is named",
    );
    if bob != alice {
        assert_denied(&submit(BOB, &[]), "on QOS urgent");
    }
}

/// Neither the plugin nor its options are known to slurmrestd: a job that comes that way is the controller's to check.
#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_slurmrestd)),
    ignore = "slurmrestd is not installed"
)]
fn what_comes_by_slurmrestd_goes_round_the_plugin_and_is_found_out() {
    let site = site("\"serve\"", "tag");
    let rest = Rest::start(&site);
    let before = site.jobs();
    let refused = rest.submit("serve");
    // The check's own words do not reach a client of 22.05.
    assert!(refused.contains("denied"), "{refused}");
    assert_eq!(site.jobs(), before, "{refused}");
    let taken = rest.submit("free");
    let id = taken.split("\"job_id\": ").nth(1).unwrap();
    let id: String = id.chars().take_while(char::is_ascii_digit).collect();
    assert_eq!(site.jobs(), before + 1, "{taken}");
    let record = site.cluster.show_job(id.parse().unwrap()).unwrap();
    assert_eq!(gpus(&record), "gpu:h100:2", "no advice: {record:?}");
    assert_eq!(record.get("Comment"), None, "{record:?}");
}

/// A slurmrestd of alice's, until this is dropped.
struct Rest {
    process: std::process::Child,
    socket: PathBuf,
    /// Whether it is the first form of its interface that is tried.
    is_old: bool,
}

impl Rest {
    fn start(site: &Site) -> Self {
        let socket = site.cluster.work(ALICE).unwrap().join("rest.sock");
        let is_old = site.cluster.release() < (23, 0);
        let api = if is_old {
            "openapi/v0.0.38"
        } else {
            "slurmctld"
        };
        let mut command = site.cluster.command(ALICE, "slurmrestd").unwrap();
        command.args(["-a", "rest_auth/local", "-s", api]);
        let process = command
            .arg(format!("unix:{}", socket.display()))
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while UnixStream::connect(&socket).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "it never listens"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        Self {
            process,
            socket,
            is_old,
        }
    }

    /// Submits a held job of two H100, and gives the answer. Its script has a tag, which nobody reads.
    fn submit(&self, partition: &str) -> String {
        let (version, gpus, environment) = if self.is_old {
            ("v0.0.38", "\"gres\":\"gpu:h100:2\"", "{\"PATH\":\"/bin\"}")
        } else {
            (
                "v0.0.41",
                "\"tres_per_node\":\"gres/gpu:h100:2\"",
                "[\"PATH=/bin\"]",
            )
        };
        let body = format!(
            "{{\"script\":\"#!/bin/sh\\n#SBATCH --llm-model=m\\ntrue\\n\",\"job\":{{\"name\":\"r\",\"partition\":\"{partition}\",\
             \"current_working_directory\":\"/tmp\",\"environment\":{environment},{gpus},\"hold\":true}}}}"
        );
        let request = format!(
            "POST /slurm/{version}/job/submit HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut answer = String::new();
        self.sent(&request).read_to_string(&mut answer).unwrap();
        answer
    }

    /// A busy one may close a connection before it has read anything; then nothing was submitted either.
    fn sent(&self, request: &str) -> UnixStream {
        let begun = Instant::now();
        loop {
            let mut stream = UnixStream::connect(&self.socket).unwrap();
            match stream.write_all(request.as_bytes()) {
                Ok(()) => return stream,
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// An error in the file harms no job.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn an_error_in_the_check_lets_the_job_go() {
    let broken = shipped("\"serve\"", "tag")
        .replace("local asked = gpus_of(job)", "local asked = nothing(job)");
    let cluster: Cluster = setup(&broken).start().unwrap();
    submitted(
        &cluster
            .sbatch(ALICE, &["--hold", "--gres=gpu:a100:1"], "true")
            .unwrap(),
    );
    let log = fs::read_to_string(cluster.prefix().join("log/slurmctld.log")).unwrap();
    assert!(log.contains("global 'nothing'"), "{log}");
}
