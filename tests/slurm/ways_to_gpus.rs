//! Every way in which the release's own options lead to GPUs, against `etc/job_submit.lua` in a real slurmctld: without a tag none goes, and an
//! advised job goes in each form that the configuration offers and keeps what it was advised.

use e2e::{ALICE, OPERATOR, Output, Setup};

use crate::controller::{assert_denied, setup, shipped};
use crate::site::{REQUEST, Site, submitted};

/// Options of `sbatch` that have to do with GPUs, generic resources or whole nodes: what asks for GPUs by it, or nothing where it only says
/// more of a request that stands elsewhere. A release with an option that is not here fails the test.
const OPTIONS: [(&str, &[&str]); 13] = [
    ("--gres", &["--gres=gpu:1", "--gres=gpu:h200:2"]),
    ("--gpus", &["--gpus=1", "-G1", "--gpus=h200:1"]),
    ("--gpus-per-node", &["--gpus-per-node=h200:1"]),
    (
        "--gpus-per-socket",
        &["--gpus-per-socket=1 --sockets-per-node=1"],
    ),
    ("--gpus-per-task", &["--gpus-per-task=1 -n1"]),
    ("--tres-per-task", &["--tres-per-task=gres/gpu:1 -n1"]),
    ("--ntasks-per-gpu", &["--ntasks-per-gpu=1 -n1"]),
    ("--exclusive", &["--exclusive"]),
    ("--cpus-per-gpu", &[]),
    ("--mem-per-gpu", &[]),
    ("--gpu-bind", &[]),
    ("--gpu-freq", &[]),
    ("--tres-bind", &[]),
];
/// Names that the search in the help finds and that ask for nothing.
const NO_REQUESTS: [&str; 1] = ["--gres-flags"];
/// Options that some releases take and do not list.
const UNLISTED: [&str; 1] = ["--ntasks-per-gpu"];

/// The long options in the help whose name speaks of GPUs, generic resources or whole nodes.
fn listed(help: &str) -> Vec<String> {
    let words = help
        .split(|c: char| c.is_whitespace() || ",=[".contains(c))
        .filter(|word| word.starts_with("--"));
    let wanted = |word: &&str| {
        !word.starts_with("--llm-")
            && ["gpu", "gres", "tres", "exclusive"]
                .iter()
                .any(|part| word.contains(part))
    };
    let mut all: Vec<String> = words.filter(wanted).map(str::to_owned).collect();
    all.sort();
    all.dedup();
    all
}

fn hold(site: &Site, words: &str) -> Output {
    let words: Vec<&str> = ["--hold"]
        .into_iter()
        .chain(words.split_whitespace())
        .collect();
    site.cluster.sbatch(ALICE, &words, "true").unwrap()
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn no_option_of_the_release_leads_to_gpus_past_the_guard() {
    let setup = setup(&shipped("\"serve\", \"whole\"", "tag"))
        .conf("PartitionName=whole Nodes=ALL State=UP OverSubscribe=EXCLUSIVE");
    let site = Site::trained(&setup);
    site.load_plugin();
    let help = site.cluster.run(ALICE, "sbatch", &["--help"]).unwrap();
    let listed = listed(&help.stdout);
    for name in &listed {
        let known = OPTIONS.iter().any(|(option, _)| option == name);
        assert!(
            known || NO_REQUESTS.contains(&name.as_str()),
            "{name} is new: {}",
            help.stdout
        );
    }
    let here = |name: &str| listed.iter().any(|l| l == name) || UNLISTED.contains(&name);
    let ways = OPTIONS.iter().filter(|(name, _)| here(name));
    for request in ways.flat_map(|(_, requests)| *requests) {
        assert_denied(&hold(&site, request), "on partition serve");
        assert_denied(
            &hold(&site, &format!("{request} -p free,serve")),
            "on partition serve",
        );
        // The same where nobody guards: it is the guard that refuses it, and it does ask for GPUs.
        let free = hold(&site, &format!("{request} -p free"));
        submitted(&free);
        let tagged = format!("{} --llm-advice=off {request}", REQUEST.join(" "));
        submitted(&hold(&site, &tagged));
    }
    assert_denied(&hold(&site, "-p whole"), "whole nodes of partition whole");
    // What asks for no GPU needs no tag.
    for request in ["", "--exclusive=user", "-n2", "--gpu-bind=closest"] {
        submitted(&hold(&site, request));
    }
}

/// Whoever submits where nobody guards, or without GPUs, gets neither into a guarded place nor to its GPUs afterwards.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn no_update_leads_to_gpus_past_the_guard() {
    let site = Site::trained(&setup(&shipped("\"serve\"", "tag")));
    site.load_plugin();
    let update = |id: u32, change: &str| {
        let words = ["update", &format!("jobid={id}"), change];
        site.cluster.run(ALICE, "scontrol", &words).unwrap()
    };
    let elsewhere = submitted(&hold(&site, "-p free --gres=gpu:h200:8"));
    let whole = submitted(&hold(&site, "-p free --exclusive"));
    for id in [elsewhere, whole] {
        // 22.05 keeps the check's own words from whoever changes a job.
        let output = update(id, "Partition=serve");
        assert_ne!(output.code, Some(0), "{output}");
        assert_eq!(site.cluster.show_job(id).unwrap()["Partition"], "free");
    }
    let plain = submitted(&hold(&site, "-p serve"));
    for change in [
        "Gres=gpu:8",
        "TresPerNode=gres:gpu:h200:8",
        "TresPerJob=gres:gpu:1",
        "TresPerTask=gres:gpu:1",
        "TresPerSocket=gres:gpu:1",
    ] {
        let output = update(plain, change);
        assert_ne!(output.code, Some(0), "{change}: {output}");
    }
    assert_eq!(update(plain, "TimeLimit=9").code, Some(0));
    // A tagged job is its user's.
    let tagged = format!("{} --llm-advice=off --gres=gpu:1", REQUEST.join(" "));
    let tagged = submitted(&hold(&site, &tagged));
    let output = update(tagged, "Gres=gpu:2");
    assert_eq!(output.code, Some(0), "{output}");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn an_advised_job_goes_in_every_form_that_the_configuration_offers() {
    let site = Site::trained(&setup(&shipped("\"serve\"", "advice")));
    site.load_plugin();
    let plain = std::fs::read_to_string(site.config()).unwrap();
    for form in ["gres", "gpus-per-node", "gpus", "feature"] {
        let text = format!("{plain}[rewrite]\ngpus = \"{form}\"\n");
        site.cluster.file("etc/omnipilot.toml", &text).unwrap();
        for more in [
            "",
            " --llm-tp=4",
            " --gres=gpu:a100:8",
            " --llm-gpu=h100 -n2",
        ] {
            let output = hold(&site, &format!("{}{more}", REQUEST.join(" ")));
            let id = submitted(&output);
            let record = site.cluster.show_job(id).unwrap();
            assert!(
                record["Comment"].contains("omnipilot:"),
                "{form}: {record:?}"
            );
        }
    }
}

/// With GPUs for each node, more nodes are more GPUs; another partition or node is another kind of them.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn what_was_advised_keeps_its_nodes_tasks_and_places() {
    let site = Site::trained(&setup(&shipped("", "tag")));
    site.load_plugin();
    let id = submitted(&hold(&site, &REQUEST.join(" ")));
    let shape = |record: &std::collections::BTreeMap<String, String>| {
        let keys = [
            "NumNodes",
            "NumTasks",
            "NumCPUs",
            "CPUs/Task",
            "Partition",
            "ReqNodeList",
            "ExcNodeList",
            "TresPerNode",
            "Features",
            "OverSubscribe",
            "Comment",
        ];
        keys.map(|key| record.get(key).cloned())
    };
    let before = shape(&site.cluster.show_job(id).unwrap());
    for change in [
        "NumNodes=2",
        "NumNodes=1-3",
        "ReqNodeList=a1",
        "NodeList=a1",
        "ExcNodeList=h2",
        "NumTasks=8",
        "NumCPUs=128",
        "CpusPerTask=64",
        "Partition=free",
        "OverSubscribe=NO",
        "Gres=gpu:a100:8",
        "TresPerNode=",
        "TresPerTask=gres:gpu:1",
    ] {
        let words = ["update", &format!("jobid={id}"), change];
        let output = site.cluster.run(ALICE, "scontrol", &words).unwrap();
        assert_ne!(output.code, Some(0), "{change}: {output}");
        assert_eq!(
            shape(&site.cluster.show_job(id).unwrap()),
            before,
            "{change}"
        );
    }
    // Root is exempt.
    let words = ["update", &format!("jobid={id}"), "NumNodes=2"];
    let output = site.cluster.run(OPERATOR, "scontrol", &words).unwrap();
    assert_eq!(output.code, Some(0), "{output}");
}

/// What a user writes is printed as text: a format in it would end the check, and so let the job go.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_format_in_a_request_does_not_end_the_check() {
    let lua = shipped("\"serve\"", "tag") + "\n";
    let probe = "local real = slurm_job_submit\nfunction slurm_job_submit(job, partitions, uid)\n\
                 job.tres_per_node = \"gres:gpu:%s%d%n:1\"\nreturn real(job, partitions, uid)\nend\nreturn slurm.SUCCESS\n";
    let (head, _) = lua.rsplit_once("return slurm.SUCCESS").unwrap();
    let cluster = Setup::default()
        .conf("JobSubmitPlugins=lua")
        .beside_slurm_conf("job_submit.lua", &format!("{head}{probe}"))
        .start()
        .unwrap();
    let output = cluster.sbatch(ALICE, &["--hold"], "true").unwrap();
    assert_denied(&output, "gpu:%s%d%n:1 on partition serve");
}
