//! An advice belongs to the job that it was made for.

use e2e::ALICE;

use crate::site::{MODEL, Site, gpus};

/// A step runs inside its job: whatever its options, it is neither advised nor changed, and prints nothing.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_step_is_not_advised_again() {
    let site = Site::start();
    let script = "srun -n1 bash -c 'echo $SLURM_LLM_TP $CUDA_VISIBLE_DEVICES' 2>&1\n\
                  srun -n1 -v --llm-model=no-such/model --llm-tp=bad hostname 2>&1 | grep -c omnipilot";
    let text = site.output(
        &[MODEL, "--llm-gpu=h100", "--llm-tp=2"],
        &format!("{script}\ntrue"),
    );
    assert_eq!(text, "2 0,1\n0\n");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_job_submitted_by_a_job_begins_with_nothing() {
    let site = Site::start();
    let nested = "sbatch --parsable --wait -o inner.out --gres=gpu:a100:1 --wrap='env | grep -c -e SLURM_LLM -e OPTION_omnipilot' 2>&1; cat inner.out";
    let text = site.output(
        &[MODEL, "--llm-gpu=h100", "--llm-tp=2", "--comment=outer"],
        &format!("{nested}\ntrue"),
    );
    let mut lines = text.lines();
    let inner = lines
        .next()
        .unwrap()
        .parse()
        .unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(
        lines.next(),
        Some("0"),
        "nothing of the outer advice is left: {text}"
    );
    let record = site.cluster.show_job(inner).unwrap();
    assert_eq!(
        (gpus(&record), record.get("Comment")),
        ("gpu:a100:1".into(), None)
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_job_submitted_by_a_job_may_be_tagged_itself() {
    let site = Site::start();
    let nested =
        format!("sbatch --parsable --hold {MODEL} --llm-gpu=h200 --llm-tp=4 --wrap=true 2>&1");
    let text = site.output(&[MODEL, "--llm-gpu=h100", "--llm-tp=2"], &nested);
    let inner = text.trim().parse().unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(gpus(&site.cluster.show_job(inner).unwrap()), "gpu:h200:4");
}

/// The user's own variables are copied into the job, and must not tag what the job submits.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn the_users_variables_tag_no_nested_job() {
    let site = Site::start();
    let script = site
        .cluster
        .script(
            ALICE,
            "sbatch --parsable --hold --gres=gpu:a100:1 --wrap=true 2>&1",
        )
        .unwrap();
    let mut command = site.cluster.command(ALICE, "sbatch").unwrap();
    let model = MODEL.strip_prefix("--llm-model=").unwrap();
    let output = crate::site::finish(command.env("OMNIPILOT_MODEL", model).arg(script));
    let outer = site.cluster.wait_job(output.id().unwrap()).unwrap();
    assert!(outer["Comment"].starts_with("omnipilot:"), "{outer:?}");
    let text = site.cluster.job_output(output.id().unwrap()).unwrap();
    let inner = text.trim().parse().unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(gpus(&site.cluster.show_job(inner).unwrap()), "gpu:a100:1");
}
