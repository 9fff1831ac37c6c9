//! The components of a heterogeneous job: an advice of their own, and variables of their own in the one environment that
//! their script has.

use std::collections::BTreeMap;

use e2e::{ALICE, artifacts};

use crate::site::{MODEL, Site, advice_id, finish, gpus};

/// The records of a heterogeneous job's components, in their order.
fn components(site: &Site, leader: u32) -> Vec<BTreeMap<String, String>> {
    let id = leader.to_string();
    let output = site
        .cluster
        .run(ALICE, "scontrol", &["show", "job", &id])
        .unwrap();
    let records = output.stdout.trim().split("\n\n");
    records.map(e2e::parse_job).collect()
}

/// What the leader wrote, when all components have ended.
fn written(site: &Site, leader: u32) -> String {
    site.cluster.completed(leader).unwrap();
    let file = site
        .cluster
        .work(ALICE)
        .unwrap()
        .join(format!("slurm-{leader}.out"));
    std::fs::read_to_string(file).unwrap()
}

/// A stand-in for the engine that tells its arguments.
fn install_engine(site: &Site) {
    let text = "#!/bin/sh\necho \"engine $SLURMD_NODENAME: $*\"\n";
    let script = site.cluster.file("vllm.sh", text).unwrap();
    site.cluster.install(&script, "vllm").unwrap();
    let program = artifacts::omnipilot().unwrap();
    site.cluster.install(&program, "omnipilot").unwrap();
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn each_component_has_its_own_variables_and_its_engine_takes_them() {
    let site = Site::start();
    install_engine(&site);
    let run = |group: u32| {
        format!(
            "srun --het-group={group} -n1 omnipilot run -- vllm serve m 2>/dev/null | grep ^engine\n"
        )
    };
    let text = format!(
        "#SBATCH {MODEL}\n#SBATCH --llm-gpu=h100\n#SBATCH --llm-tp=2\n#SBATCH hetjob\n\
         #SBATCH {MODEL}\n#SBATCH --llm-gpu=h200\n#SBATCH --llm-tp=1\n\
         echo $SLURM_LLM_TP $SLURM_LLM_GPU_HET_GROUP_0 $SLURM_LLM_TP_HET_GROUP_0 $SLURM_LLM_GPU_HET_GROUP_1 $SLURM_LLM_TP_HET_GROUP_1\n\
         echo $SLURM_LLM_ADVICE $SLURM_LLM_ADVICE_HET_GROUP_1\n{}{}true",
        run(1),
        run(0)
    );
    let id = site.submit(&[], &text);
    let text = written(&site, id);
    let lines: Vec<&str> = text.lines().collect();
    let records = components(&site, id);
    let advised: Vec<String> = records.iter().filter_map(advice_id).collect();
    assert_eq!(lines[0], "2 h100 2 h200 1", "{text}");
    assert_eq!(lines[1], advised.join(" "), "{text}");
    assert_eq!(
        records.iter().map(gpus).collect::<Vec<_>>(),
        ["gpu:h100:2", "gpu:h200:1"]
    );
    assert!(
        lines[2].starts_with("engine h2: serve m --tensor-parallel-size 1"),
        "{text}"
    );
    assert!(
        lines[3].starts_with("engine h1: serve m --tensor-parallel-size 2"),
        "{text}"
    );
}

/// Options on the command line and in the environment reach each component as Slurm has it.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn what_is_typed_for_a_component_is_seen_ahead() {
    let site = Site::start();
    let script = site
        .cluster
        .script(ALICE, "#SBATCH hetjob\n#SBATCH --llm-gpu=a100\necho $SLURM_LLM_TP $SLURM_LLM_TP_HET_GROUP_1 $SLURM_LLM_GPU_HET_GROUP_1")
        .unwrap();
    let mut command = site.cluster.command(ALICE, "sbatch").unwrap();
    let output = finish(
        command
            .env("OMNIPILOT_TP", "4")
            .args([MODEL, "--llm-gpu=h100", "--llm-tp=2", ":", MODEL])
            .arg(&script),
    );
    assert_eq!(output.stderr, "", "{output}");
    let id = output.id().unwrap();
    assert_eq!(written(&site, id), "2 4 a100\n");
    let asked: Vec<String> = components(&site, id).iter().map(gpus).collect();
    assert_eq!(asked, ["gpu:h100:2", "gpu:a100:4"]);
}

/// A degree that one component's engine is given in the script says nothing of the other's.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn an_engine_pins_the_component_that_it_runs_in() {
    let site = Site::start();
    let text = format!(
        "#SBATCH {MODEL} --llm-gpu=h100\n#SBATCH hetjob\n#SBATCH {MODEL} --llm-gpu=h200\n\
         srun --het-group=0 vllm serve m -tp 4 &\nsrun --het-group=1 vllm serve m -tp 2 &\nwait"
    );
    let id = site.submit(&["--hold"], &text);
    let asked: Vec<String> = components(&site, id).iter().map(gpus).collect();
    assert!(
        asked[0].ends_with(":4") && asked[1].ends_with(":2"),
        "{asked:?}"
    );
}

/// Slurm hands `--comment` and `--mem` of a component on to the next; what the advice made of them stays behind.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn nothing_that_was_advised_is_handed_on_to_the_next_component() {
    let site = Site::start();
    site.configure("[rewrite]\nmem_per_gpu = \"9G\"\ncpus_per_gpu = 5");
    let text = format!(
        "#SBATCH {MODEL}\n#SBATCH --llm-gpu=h100\n#SBATCH --llm-tp=2\n#SBATCH --comment=mine --mem=2G\n#SBATCH hetjob\n#SBATCH -N1\ntrue"
    );
    let records = components(&site, site.submit(&["--hold"], &text));
    let [first, second] = &records[..] else {
        panic!("{records:?}")
    };
    assert_eq!(
        (&*first["MinMemoryNode"], &*gpus(first)),
        ("18G", "gpu:h100:2")
    );
    assert!(first["Comment"].starts_with("mine omnipilot:"), "{first:?}");
    assert_eq!(
        (
            &*second["MinMemoryNode"],
            &*second["Comment"],
            &*gpus(second)
        ),
        ("2G", "mine", "")
    );
    assert_eq!((&*first["NumCPUs"], &*second["NumCPUs"]), ("10", "1"));
}

/// The script's environment is the first component's, and is taken when that one is decided: what nobody looked at then
/// cannot reach it.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_component_whose_advice_cannot_reach_the_script_goes_as_written() {
    let site = Site::start();
    let second = [
        MODEL,
        "--llm-gpu=h200",
        "--llm-tp=1",
        "--gres=gpu:h200:3",
        "--wrap=true",
    ];
    let output = site.sbatch(&[&["--hold", "--mem=1G", ":"], &second[..]].concat());
    assert!(
        output
            .stderr
            .contains("the advice of component 1 cannot reach the script")
            && output.stderr.lines().count() == 1,
        "{output}"
    );
    let asked: Vec<String> = components(&site, output.id().unwrap())
        .iter()
        .map(gpus)
        .collect();
    assert_eq!(asked, ["", "gpu:h200:3"]);

    let room = [MODEL, "--llm-advice=off", "--mem=1G", ":"];
    let output = site.sbatch(&[&["--hold"], &room[..], &second].concat());
    assert_eq!(output.stderr, "", "{output}");
    let asked: Vec<String> = components(&site, output.id().unwrap())
        .iter()
        .map(gpus)
        .collect();
    assert_eq!(asked, ["", "gpu:h200:1"]);
}

/// In a job that is itself heterogeneous, nothing of its components is left for what it submits.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn what_a_heterogeneous_job_submits_begins_with_nothing() {
    let site = Site::start();
    let nested = "sbatch --parsable --wait -o inner.out --wrap='env | grep -c -e SLURM_LLM -e OPTION_omnipilot' >/dev/null 2>&1; cat inner.out";
    let text = format!(
        "#SBATCH {MODEL}\n#SBATCH --llm-gpu=h100\n#SBATCH --llm-tp=2\n#SBATCH hetjob\n\
         #SBATCH {MODEL}\n#SBATCH --llm-gpu=h200\n#SBATCH --llm-tp=1\n{nested}\ntrue"
    );
    let id = site.submit(&[], &text);
    assert_eq!(written(&site, id), "0\n");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn salloc_tells_the_components_apart_too() {
    let site = Site::start();
    let echo = "echo $SLURM_LLM_TP $SLURM_LLM_TP_HET_GROUP_1 $SLURM_LLM_GPU_HET_GROUP_1";
    let words = [
        "-Q",
        MODEL,
        "--llm-gpu=h100",
        "--llm-tp=2",
        ":",
        MODEL,
        "--llm-gpu=h200",
        "--llm-tp=4",
        "bash",
        "-c",
        echo,
    ];
    let output = site.cluster.run(ALICE, "salloc", &words).unwrap();
    assert_eq!(
        (output.code, &*output.stdout),
        (Some(0), "2 4 h200\n"),
        "{output}"
    );
}

/// Outside a job `srun` with several components asks for a heterogeneous job of its own. Each component gets GPUs of its own; all tasks
/// are given the first one's plain variables, and the others' under their numbers.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn srun_of_several_components_gets_gpus_for_each() {
    let site = Site::start();
    let echo = "echo $SLURMD_NODENAME $SLURM_LLM_GPU $SLURM_LLM_TP $SLURM_LLM_GPU_HET_GROUP_1 $SLURM_GPUS_ON_NODE";
    let words = [
        "-Q",
        MODEL,
        "--llm-gpu=h100",
        "--llm-tp=2",
        "bash",
        "-c",
        echo,
        ":",
        MODEL,
        "--llm-gpu=h200",
        "--llm-tp=1",
        "bash",
        "-c",
        echo,
    ];
    let output = site.cluster.run(ALICE, "srun", &words).unwrap();
    let mut lines: Vec<&str> = output.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{output}");
    assert_eq!(lines, ["h1 h100 2 h200 2", "h2 h100 2 h200 1"], "{output}");
}
