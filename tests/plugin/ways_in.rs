//! Every way of submitting, and where options may come from.

use e2e::ALICE;

use crate::site::{MODEL, Site, advice_id, finish, gpus};

const PINS: [&str; 2] = ["--llm-gpu=h100", "--llm-tp=2"];

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn directives_are_as_good_as_the_command_line_and_lose_to_it() {
    let site = Site::start();
    let text = format!(
        "#SBATCH {MODEL}\n#SBATCH --llm-gpu=h100\n#SBATCH --llm-tp=2\n#SBATCH --gres=gpu:a100:8\ntrue"
    );
    assert_eq!(gpus(&site.held(&[], &text)), "gpu:h100:2");
    assert_eq!(gpus(&site.held(&["--llm-tp=4"], &text)), "gpu:h100:4");
    assert_eq!(gpus(&site.held(&["--llm-advice=off"], &text)), "gpu:a100:8");
}

/// As Slurm's own variables: more than a directive, less than the command line.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn the_environment_counts_between_the_two() {
    let site = Site::start();
    let script = site
        .cluster
        .script(
            ALICE,
            &format!("#SBATCH {MODEL}\n#SBATCH --llm-gpu=h100\n#SBATCH --llm-tp=1\ntrue"),
        )
        .unwrap();
    let submit = |typed: &[&str]| {
        let mut command = site.cluster.command(ALICE, "sbatch").unwrap();
        let output = finish(
            command
                .env("OMNIPILOT_TP", "2")
                .arg("--hold")
                .args(typed)
                .arg(&script),
        );
        gpus(&site.cluster.show_job(output.id().unwrap()).unwrap())
    };
    assert_eq!(submit(&[]), "gpu:h100:2");
    assert_eq!(submit(&["--llm-tp=4"]), "gpu:h100:4");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn arrays_are_advised_once_for_all_tasks() {
    let site = Site::start();
    let record = site.held(&[MODEL, PINS[0], PINS[1], "--array=1-5"], "true");
    assert_eq!(
        (gpus(&record), &*record["ArrayTaskId"]),
        ("gpu:h100:2".into(), "1-5")
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_test_only_submission_is_about_the_rewritten_job() {
    let site = Site::start();
    let output = site.sbatch(&[
        "--test-only",
        MODEL,
        PINS[0],
        PINS[1],
        "--gres=gpu:a100:8",
        "--wrap=true",
    ]);
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("on nodes h1 "), "{output}");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn srun_gets_the_gpus() {
    let site = Site::start();
    let echo = "echo $SLURM_LLM_TP $CUDA_VISIBLE_DEVICES";
    let output = site
        .cluster
        .run(
            ALICE,
            "srun",
            &["-Q", MODEL, PINS[0], PINS[1], "bash", "-c", echo],
        )
        .unwrap();
    assert_eq!(
        (output.code, &*output.stdout, &*output.stderr),
        (Some(0), "2 0,1\n", ""),
        "{output}"
    );
}

/// The command of `srun` is the engine's own: what it says is a pin.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn the_command_of_srun_is_read_like_a_script() {
    let site = Site::start();
    let engine = [
        "vllm",
        "serve",
        "meta-llama/Llama-3.1-8B-Instruct",
        "--tensor-parallel-size",
        "4",
    ];
    let output = site
        .cluster
        .run(
            ALICE,
            "srun",
            &[&[MODEL, "-v", "--test-only"], &engine[..]].concat(),
        )
        .unwrap();
    assert!(output.stderr.contains(" x 4, "), "{output}");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn salloc_gives_the_gpus_and_its_steps_are_not_advised_again() {
    let site = Site::start();
    let echo = "srun -Q bash -c 'echo $SLURM_LLM_TP $CUDA_VISIBLE_DEVICES'";
    let output = site
        .cluster
        .run(
            ALICE,
            "salloc",
            &["-Q", MODEL, PINS[0], PINS[1], "bash", "-c", echo],
        )
        .unwrap();
    assert_eq!(
        (output.code, &*output.stdout, &*output.stderr),
        (Some(0), "2 0,1\n", ""),
        "{output}"
    );
}

/// Components have options of their own, from the command line or their part of the script: Slurm passes those of the first
/// on to the second through the environment, and the plugin does not take them.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn the_components_of_a_heterogeneous_job_are_advised_each() {
    let site = Site::start();
    let directives = format!(
        "#SBATCH {MODEL}\n#SBATCH --llm-gpu=h100\n#SBATCH --llm-tp=2\n#SBATCH hetjob\n#SBATCH {MODEL}\n#SBATCH --llm-gpu=h200\n#SBATCH --llm-tp=1\ntrue"
    );
    let id = site.submit(&["--hold"], &directives);
    assert_eq!(components(&site, id), ["gpu:h100:2", "gpu:h200:1"]);

    let untagged = format!(
        "#SBATCH {MODEL}\n#SBATCH --llm-gpu=h100\n#SBATCH --llm-tp=2\n#SBATCH hetjob\n#SBATCH --gres=gpu:a100:3\ntrue"
    );
    let id = site.submit(&["--hold"], &untagged);
    assert_eq!(components(&site, id), ["gpu:h100:2", "gpu:a100:3"]);

    let typed = [
        MODEL,
        PINS[0],
        PINS[1],
        ":",
        MODEL,
        "--llm-gpu=h200",
        "--llm-tp=4",
    ];
    let script = site
        .cluster
        .script(ALICE, "true")
        .unwrap()
        .display()
        .to_string();
    let output = site.sbatch(&[&["--hold"], &typed[..], &[&script]].concat());
    assert_eq!(
        components(&site, output.id().unwrap()),
        ["gpu:h100:2", "gpu:h200:4"]
    );
}

fn components(site: &Site, leader: u32) -> Vec<String> {
    let leader = leader.to_string();
    let output = site
        .cluster
        .run(ALICE, "scontrol", &["show", "job", &leader])
        .unwrap();
    output
        .stdout
        .trim()
        .split("\n\n")
        .map(|record| gpus(&e2e::parse_job(record)))
        .collect()
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_script_is_found_along_the_path_as_sbatch_finds_it() {
    let site = Site::start();
    let text =
        "#!/bin/bash\nvllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size 4\n";
    site.cluster.file("bin/serve-on-path.sh", text).unwrap();
    let output = site.sbatch(&["--hold", MODEL, "serve-on-path.sh"]);
    let record = site.cluster.show_job(output.id().unwrap()).unwrap();
    assert!(
        gpus(&record).ends_with(":4") && advice_id(&record).is_some(),
        "{record:?}"
    );
}
