//! Refusals: a decision of the advisor or a wrong value, told in at most four lines, with an exit code of its own.

use e2e::{ALICE, Output, Setup};

use crate::site::{MODEL, Site};

fn refused(site: &Site, code: i32, arguments: &[&str]) -> Output {
    let output = site.cluster.sbatch(ALICE, arguments, "true").unwrap();
    assert_eq!((output.code, &*output.stdout), (Some(code), ""), "{output}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!((2..=4).contains(&lines.len()), "{output}");
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("sbatch: error: omnipilot: ")),
        "{output}"
    );
    assert!(lines.last().unwrap().contains("hint: "), "{output}");
    output
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn wrong_values_are_refused_before_anything_is_read() {
    let site = Site::without_snapshot(&Setup::default());
    for value in [
        "--llm-tp=0",
        "--llm-precision=fp1",
        "--llm-slo=soon",
        "--llm-isl=many",
        "--llm-advice=please",
        "--llm-gpu=a100:4",
    ] {
        let output = refused(&site, 2, &[MODEL, value]);
        let name = value.split('=').next().unwrap();
        assert!(output.stderr.contains(name), "{output}");
    }
    let in_the_script = site
        .cluster
        .sbatch(
            ALICE,
            &[],
            &format!("#SBATCH {MODEL}\n#SBATCH --llm-tp=x\ntrue"),
        )
        .unwrap();
    assert_eq!(in_the_script.code, Some(2), "{in_the_script}");
    assert_eq!(
        site.cluster.run(ALICE, "squeue", &["-h"]).unwrap().stdout,
        "",
        "nothing was submitted"
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn what_was_never_measured_is_refused_and_can_be_sent_all_the_same() {
    let site = Site::start();
    let model = "--llm-model=no-such/model-of-anybody";
    refused(&site, 64, &[model, "--gres=gpu:a100:2"]);
    let record = site.held(&[model, "--gres=gpu:a100:2", "--llm-advice=off"], "true");
    assert_eq!(crate::site::gpus(&record), "gpu:a100:2");
    let record = site.held(
        &[model, "--gres=gpu:a100:2", "--llm-advice=explore"],
        "true",
    );
    assert_eq!(crate::site::gpus(&record), "gpu:a100:2");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn what_cannot_run_is_refused() {
    let site = Site::start();
    refused(&site, 65, &[MODEL, "--llm-tp=7"]);
    refused(&site, 65, &[MODEL, "--llm-gpu=b200"]);
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn an_option_against_the_script_is_refused() {
    let site = Site::start();
    let text = "vllm serve meta-llama/Llama-3.1-8B-Instruct --tensor-parallel-size 4";
    let output = site
        .cluster
        .sbatch(ALICE, &[MODEL, "--llm-tp=2"], text)
        .unwrap();
    assert_eq!(output.code, Some(2), "{output}");
    assert!(
        output
            .stderr
            .contains("--llm-tp=2, but the script's engine command has degree 4"),
        "{output}"
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn srun_and_salloc_are_refused_alike() {
    let site = Site::start();
    for program in ["srun", "salloc"] {
        let output = site
            .cluster
            .run(ALICE, program, &["--llm-model=no-such/model", "hostname"])
            .unwrap();
        assert_eq!((output.code, &*output.stdout), (Some(64), ""), "{output}");
        assert!(
            output
                .stderr
                .starts_with(&format!("{program}: error: omnipilot: ")),
            "{output}"
        );
    }
}
