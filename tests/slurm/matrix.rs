//! Set-ups of a site (limits, partitions, features, states, reservations, forms of a request), each with one job that is
//! submitted without the tag, with it through the plugin, and by `omnipilot submit`: wherever the first starts, so do the
//! others.

mod further;

use std::time::{Duration, Instant};

use e2e::{ALICE, OPERATOR, Output, Setup};

use crate::site::Site;

/// Small nodes and large ones, types in capitals and not.
const NODES: &str = "a1:A100:8:128:1000000 a2:A100:4 h1:H100:8 h2:h200:8";

/// Partitions that are closed to the job in one way each.
const CONF: &str = "AccountingStorageEnforce=associations,limits,qos
PartitionName=old Nodes=a1,a2 State=UP
PartitionName=mid Nodes=h1 MaxTime=30 State=UP
PartitionName=rich Nodes=h2 State=UP AllowAccounts=rich
PartitionName=down Nodes=h2 State=DOWN
PartitionName=group Nodes=h2 State=UP AllowGroups=bob
PartitionName=short Nodes=h2 State=UP MaxTime=5
PartitionName=gold Nodes=h2 State=UP
PartitionName=whole Nodes=a1,h1 State=UP OverSubscribe=EXCLUSIVE
PartitionName=one Nodes=a2,h1 State=UP MaxNodes=1";

/// A model that fits on one GPU of any type, and one that does not.
const SMALL: &str = "--llm-model=meta-llama/Llama-3.1-8B-Instruct";
const LARGE: &str = "--llm-model=meta-llama/Llama-3.1-70B-Instruct";
const LOAD: [&str; 3] = ["--llm-isl=1000", "--llm-osl=1000", "--llm-concurrency=64"];

/// What an administrator does, the configuration's own rules, the jobs that are tried then, and what takes it back.
struct Stage {
    before: &'static [&'static str],
    rules: &'static str,
    jobs: &'static [(&'static str, &'static str)],
    after: &'static [&'static str],
}

const fn stage(
    before: &'static [&'static str],
    jobs: &'static [(&'static str, &'static str)],
    after: &'static [&'static str],
) -> Stage {
    Stage {
        before,
        rules: "",
        jobs,
        after,
    }
}

const fn ruled(rules: &'static str, jobs: &'static [(&'static str, &'static str)]) -> Stage {
    Stage {
        before: &[],
        rules,
        jobs,
        after: &[],
    }
}

const A100: &[(&str, &str)] = &[(SMALL, "--gres=gpu:A100:1")];

/// Partitions, forms of a request, arrays and components; nodes, states, reservations; limits; rules.
const STAGES: [Stage; 24] = [
    stage(
        // Slurm 26.05 does not start with a QOS that is not there yet.
        &["scontrol update partitionname=gold allowqos=gold"],
        &[
            (SMALL, "--gres=gpu:A100:1"),
            (SMALL, "--gres=gpu:1"),
            (SMALL, "--gpus=A100:1"),
            (LARGE, "--gpus-per-node=H100:2"),
            (LARGE, "--gres=gpu:A100:4"),
            (SMALL, "-p old --gres=gpu:A100:1"),
            (SMALL, "-p mid --gres=gpu:1"),
            (SMALL, "-p old,mid -t 60 --gres=gpu:1"),
            (SMALL, "-p old,rich --gres=gpu:1"),
            (SMALL, "-p old,rich -A rich --gres=gpu:1"),
            (SMALL, "-p old,down --gres=gpu:1"),
            (SMALL, "-p old,group --gres=gpu:1"),
            (SMALL, "-p old,short --gres=gpu:1"),
            (SMALL, "-p old,gold --gres=gpu:1"),
            (SMALL, "-p old,gold -q gold --gres=gpu:1"),
            (SMALL, "-p whole --gres=gpu:A100:1"),
            (LARGE, "-p one --gres=gpu:H100:4"),
            (SMALL, "--mem=800G --gres=gpu:A100:1"),
            (SMALL, "-c 100 --mem=10G --gres=gpu:A100:1"),
            (LARGE, "--mem-per-gpu=300G --gres=gpu:H100:1 --llm-gpu=H100"),
            (
                LARGE,
                "--cpus-per-gpu=40 --mem=10G --gres=gpu:H100:1 --llm-gpu=H100",
            ),
            (SMALL, "--exclusive --gres=gpu:A100:1"),
            (SMALL, "--exclude=h2 --gres=gpu:A100:1"),
            (SMALL, "--exclude=h[1-2],a1 --gres=gpu:A100:1"),
            (SMALL, "-w a1 --gres=gpu:A100:1"),
            (SMALL, "-a 1-3 --gres=gpu:A100:1"),
            (SMALL, "-C A100|H100 --gres=gpu:1"),
            (SMALL, "-N 2 --ntasks-per-node=1 --gres=gpu:A100:4"),
            (SMALL, "--gres=gpu:A100:1 : --gres=gpu:H100:1"),
        ],
        &[],
    ),
    stage(
        &["scontrol update node=a1 availablefeatures=A100,gpu,ib activefeatures=A100,gpu,ib"],
        &[
            (SMALL, "-C ib --gres=gpu:1"),
            (SMALL, "-C ib&gpu --gres=gpu:A100:1"),
        ],
        &[],
    ),
    stage(
        &["scontrol update node=h2 state=drain reason=repair"],
        A100,
        &[],
    ),
    stage(
        &["scontrol update node=h1 state=drain reason=repair"],
        &[(SMALL, "--gres=gpu:A100:1"), (LARGE, "--gres=gpu:A100:8")],
        &["scontrol update node=h1,h2 state=resume"],
    ),
    stage(
        &[
            "scontrol create reservation ReservationName=m starttime=now duration=3-0 user=root flags=maint nodes=h2",
        ],
        A100,
        &["scontrol delete reservationname=m"],
    ),
    stage(
        &[
            "scontrol create reservation ReservationName=f starttime=now+5minutes duration=600 user=root nodes=h2",
        ],
        &[
            (SMALL, "--gres=gpu:A100:1"),
            (SMALL, "-t 3 --gres=gpu:A100:1"),
        ],
        &["scontrol delete reservationname=f"],
    ),
    stage(
        &[
            "scontrol create reservation ReservationName=r starttime=now duration=60 accounts=poor nodes=a1",
        ],
        &[
            (SMALL, "--reservation=r --gres=gpu:A100:1"),
            (SMALL, "--gres=gpu:A100:1"),
        ],
        &["scontrol delete reservationname=r"],
    ),
    stage(
        &["sacctmgr modify user alice account=poor set MaxTRESPerJob=gres/gpu:h200=0"],
        &[(SMALL, "--gres=gpu:A100:1"), (SMALL, "--gres=gpu:1")],
        &["sacctmgr modify user alice account=poor set MaxTRESPerJob=gres/gpu:h200=-1"],
    ),
    stage(
        &["sacctmgr modify account poor set GrpTRES=gres/gpu:h200=0"],
        &[
            (SMALL, "--gres=gpu:A100:1"),
            (SMALL, "-A rich --gres=gpu:A100:1"),
        ],
        &["sacctmgr modify account poor set GrpTRES=gres/gpu:h200=-1"],
    ),
    stage(
        &["sacctmgr modify account poor set MaxTRESPerJob=gres/gpu=1"],
        &[(LARGE, "--gres=gpu:H100:1 --llm-gpu=H100")],
        &["sacctmgr modify account poor set MaxTRESPerJob=gres/gpu=-1"],
    ),
    stage(
        &["sacctmgr modify account poor set MaxTRESMins=gres/gpu=15"],
        &[(LARGE, "--gres=gpu:H100:1")],
        &["sacctmgr modify account poor set MaxTRESMins=gres/gpu=-1"],
    ),
    stage(
        &["sacctmgr modify qos normal set MaxTRESPerUser=gres/gpu:h200=0"],
        A100,
        &["sacctmgr modify qos normal set MaxTRESPerUser=gres/gpu:h200=-1"],
    ),
    stage(
        &["sacctmgr modify qos normal set MaxTRESPerAccount=gres/gpu:h200=0"],
        A100,
        &["sacctmgr modify qos normal set MaxTRESPerAccount=gres/gpu:h200=-1"],
    ),
    stage(
        &["sacctmgr modify qos normal set MaxTRESPerJob=gres/gpu=1"],
        &[(LARGE, "--gres=gpu:H100:1 --llm-gpu=H100")],
        &["sacctmgr modify qos normal set MaxTRESPerJob=gres/gpu=-1"],
    ),
    stage(
        &["sacctmgr modify qos normal set MaxTRESPerJob=gres/gpu:h200=0 Flags=DenyOnLimit"],
        A100,
        &["sacctmgr modify qos normal set MaxTRESPerJob=gres/gpu:h200=-1 Flags=-1"],
    ),
    stage(
        &["sacctmgr modify qos normal set MaxTRESPerNode=gres/gpu=1"],
        &[(LARGE, "--gres=gpu:H100:1")],
        &["sacctmgr modify qos normal set MaxTRESPerNode=gres/gpu=-1"],
    ),
    stage(
        &["sacctmgr modify qos normal set MinTRESPerJob=gres/gpu=4"],
        &[(SMALL, "--gres=gpu:A100:4")],
        &["sacctmgr modify qos normal set MinTRESPerJob=gres/gpu=-1"],
    ),
    stage(
        &["sacctmgr modify qos normal set MaxTRESPerJob=cpu=40"],
        &[(
            LARGE,
            "--cpus-per-gpu=30 --mem=10G --gres=gpu:H100:1 --llm-gpu=H100",
        )],
        &["sacctmgr modify qos normal set MaxTRESPerJob=cpu=-1"],
    ),
    ruled(
        "[rewrite]\nmem_per_gpu = \"600G\"\n",
        &[(SMALL, "--gres=gpu:H100:1")],
    ),
    ruled(
        "[rewrite]\ncpus_per_gpu = 100\nmem_per_gpu = \"10G\"\n",
        &[(SMALL, "--gres=gpu:H100:1")],
    ),
    ruled("[rewrite]\ngpus = \"feature\"\n", A100),
    ruled("[rewrite]\ngpus = \"gpus\"\n", A100),
    ruled(
        "[rewrite]\ngpus = \"gpus-per-node\"\n",
        &[(SMALL, "--gres=gpu:A100:1"), (SMALL, "-p mid --gpus=1")],
    ),
    ruled("[[limit]]\naccount = \"poor\"\ntypes = [\"a100\"]\n", A100),
];

/// What became of one submission.
struct Fate {
    runs: bool,
    /// Whether an advice stands in its comment.
    is_advised: bool,
    told: String,
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// Runs an administrator's command. A node may have come back by itself before it is resumed.
fn operate(site: &Site, line: &str) {
    let all = words(line);
    let (program, rest) = all.split_first().unwrap();
    let assent: &[&str] = if *program == "sacctmgr" { &["-i"] } else { &[] };
    let all = [assent, rest].concat();
    let output = site.cluster.run(OPERATOR, program, &all).unwrap();
    if !output.stderr.contains("Invalid node state transition") {
        output.success().unwrap();
    }
}

fn fate(site: &Site, output: &Output) -> Fate {
    let mut fate = Fate {
        runs: false,
        is_advised: false,
        told: output.to_string(),
    };
    let Ok(id) = output.id() else { return fate };
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(6) && !fate.runs {
        let job = site.cluster.show_job(id).unwrap();
        let state = job.get("JobState").map_or("", String::as_str).to_owned();
        fate.is_advised = job.get("Comment").is_some_and(|c| c.contains("omnipilot:"));
        fate.runs = ["RUNNING", "COMPLETING", "COMPLETED"].contains(&state.as_str());
        fate.told += &format!(
            "\n{state} {:?} {:?}",
            job.get("Reason"),
            job.get("TresPerNode")
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    site.cluster
        .run(OPERATOR, "scancel", &[&id.to_string()])
        .unwrap();
    fate
}

/// Waits until nothing runs any more: the next job needs the same nodes.
fn quiet(site: &Site) {
    let begun = Instant::now();
    let busy = || {
        let all = site
            .cluster
            .run(OPERATOR, "squeue", &["-h", "-o", "%i"])
            .unwrap();
        !all.stdout.trim().is_empty()
    };
    while busy() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the plugin's advice did to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acted {
    /// It chose the GPUs.
    Gpus,
    /// It chose the weight format and engine arguments, on the GPUs that the job asks for.
    Format,
    /// Nothing.
    No,
}

/// One job in its three forms, and what the advice did.
fn tried(site: &Site, model: &str, own: &str, worse: &mut Vec<String>) -> Acted {
    let config = site.config();
    let job = ["--wrap", "sleep 30"];
    let own = [&["-o", "/dev/null", "-t", "10"][..], &words(own)].concat();
    let tag = [&[model][..], &LOAD].concat();
    // Behind a colon an option is the next component's: the tag goes to the first.
    let submit = |program: &str, words: &[&str]| {
        let mut command = site.cluster.command(ALICE, program).unwrap();
        let out = command
            .env("OMNIPILOT_VERBOSE", "1")
            .args(words)
            .args(job)
            .output()
            .unwrap();
        let out = Output {
            command: format!("{program} {words:?}"),
            code: out.status.code(),
            stdout: String::from_utf8_lossy(&out.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&out.stderr).into_owned(),
        };
        let fate = fate(site, &out);
        quiet(site);
        fate
    };
    let plain: Vec<&str> = own
        .iter()
        .copied()
        .filter(|w| !w.starts_with("--llm-"))
        .collect();
    let without = submit("sbatch", &plain);
    let with = submit("sbatch", &[&tag[..], &own].concat());
    let head = ["--config", &config, "submit"];
    let by_submit = submit("omnipilot", &[&head[..], &tag, &own].concat());
    for fate in [&with, &by_submit] {
        if without.runs && !fate.runs {
            worse.push(format!("{own:?}: {}", fate.told));
        }
    }
    // A set-up in which nothing runs says nothing.
    if !without.runs {
        worse.push(format!("{own:?}, without the tag: {}", without.told));
    }
    match with.is_advised {
        false => Acted::No,
        true if with.told.contains("on the GPUs that are asked for") => Acted::Format,
        true => Acted::Gpus,
    }
}

/// A cluster of these nodes with accounts `poor` and `rich` and the QOS `gold`, all of them alice's.
fn site_of(nodes: &str, conf: &str) -> Site {
    let site = Site::trained(&Setup::default().accounting().nodes(nodes).conf(conf));
    let alice = ALICE.name();
    for line in ["add account poor", "add account rich", "add qos gold"] {
        operate(&site, &format!("sacctmgr {line}"));
    }
    for line in [
        "add user alice account=poor",
        "add user alice account=rich",
        "modify user alice set qos+=gold",
    ] {
        operate(
            &site,
            &format!("sacctmgr {}", line.replace("alice", &alice)),
        );
    }
    site.load_plugin();
    site
}

/// Tries every stage, on a site where the GPU type that is `liked` costs next to nothing; how many set-ups there were, and in how many advice acted.
fn try_all(site: &Site, liked: &str, stages: &[Stage]) -> (u32, u32) {
    let alice = ALICE.name();
    let plain = std::fs::read_to_string(site.config()).unwrap()
        + &format!("[[price]]\ngpu = \"{liked}\"\nprice_per_hour = 0.01\n");
    let (mut worse, mut all, mut acted, mut on_gpus) = (Vec::new(), 0_u32, 0_u32, 0_u32);
    let operate_all = |lines: &[&str]| {
        lines
            .iter()
            .for_each(|line| operate(site, &line.replace("alice", &alice)));
    };
    for stage in stages {
        operate_all(stage.before);
        site.cluster
            .file("etc/omnipilot.toml", &format!("{plain}{}", stage.rules))
            .unwrap();
        site.omnipilot(OPERATOR, &["observe"]).success().unwrap();
        for (model, own) in stage.jobs {
            all += 1;
            let done = tried(site, model, own, &mut worse);
            println!("{own}: {done:?}");
            acted += u32::from(done != Acted::No);
            on_gpus += u32::from(done == Acted::Gpus);
        }
        operate_all(stage.after);
    }
    println!("advice acted in {acted} of {all} set-ups, on GPUs in {on_gpus}");
    assert!(
        worse.is_empty(),
        "{} are worse:\n{}",
        worse.len(),
        worse.join("\n\n")
    );
    (all, acted)
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn wherever_a_job_starts_without_the_tag_it_starts_with_it() {
    let (all, acted) = try_all(&site_of(NODES, CONF), "h200", &STAGES);
    assert!(
        all >= 40 && acted * 3 >= all * 2,
        "advice acted in {acted} of {all} set-ups"
    );
}
