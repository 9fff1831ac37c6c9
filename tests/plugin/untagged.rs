//! Without a tag nothing happens.

use std::collections::BTreeMap;

use e2e::{ALICE, Cluster, Output, Setup};

use crate::site::Site;

/// Fields of a job's record that differ from job to job.
const OF_THE_JOB: [&str; 10] = [
    "JobId",
    "ArrayJobId",
    "SubmitTime",
    "EligibleTime",
    "AccrueTime",
    "LastSchedEval",
    "StdErr",
    "StdOut",
    "Priority",
    "Command",
];

fn record(cluster: &Cluster, id: u32) -> BTreeMap<String, String> {
    let mut record = cluster.show_job(id).unwrap();
    record.retain(|key, _| !OF_THE_JOB.contains(&key.as_str()));
    record
}

/// What a command wrote, with its job id taken out.
fn written(output: &Output) -> (Option<i32>, String, String) {
    let id = output
        .id()
        .map_or_else(|_| "no id".to_owned(), |id| id.to_string());
    let anonymous = |text: &str| text.replace(&id, "ID");
    (
        output.code,
        anonymous(&output.stdout),
        anonymous(&output.stderr),
    )
}

/// Runs the same with the plugin and without it.
fn both_ways<T>(site: &Site, run: impl Fn() -> T) -> (T, T) {
    let line = std::fs::read_to_string(site.path("plugstack.d/omnipilot.conf")).unwrap();
    let with = run();
    site.cluster.plugstack("").unwrap();
    let without = run();
    site.cluster.plugstack(&line).unwrap();
    (with, without)
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn an_untagged_sbatch_is_the_same_to_the_byte() {
    let site = Site::without_snapshot(&Setup::default());
    let script = site
        .cluster
        .script(ALICE, "#SBATCH --comment=mine\nhostname")
        .unwrap()
        .display()
        .to_string();
    let submissions: [&[&str]; 6] = [
        &["--hold", "--gres=gpu:a100:2", &script],
        &["--hold", "--parsable", "-v", "--wrap=hostname"],
        &[
            "--hold",
            "--gpus=h100:2",
            "-C",
            "h100",
            "--array=1-3",
            &script,
        ],
        &["--gres=gpu:nosuch:1", "--wrap=hostname"],
        &["--test-only", "--wrap=hostname"],
        &["--no-such-option"],
    ];
    for arguments in submissions {
        let (with, without) = both_ways(&site, || {
            let output = site.sbatch(arguments);
            let record = output
                .id()
                .ok()
                .filter(|_| output.code == Some(0))
                .map(|id| record(&site.cluster, id));
            (output, record)
        });
        if arguments.contains(&"--test-only") {
            assert_eq!(with.0.code, without.0.code);
            assert_eq!(with.0.stdout, without.0.stdout);
            continue;
        }
        assert_eq!(written(&with.0), written(&without.0), "{arguments:?}");
        assert_eq!(with.1, without.1, "{arguments:?}");
    }
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn an_untagged_job_runs_in_the_same_environment() {
    let site = Site::without_snapshot(&Setup::default());
    let own = "^(SLURM_JOBID|SLURM_JOB_ID|SLURM_JOB_START_TIME|SLURM_JOB_END_TIME|SLURM_JOB_SLUID|SLURM_TASK_PID|_)=";
    let text = format!("env | grep -vE '{own}' | sort; srun -n1 env | grep -c SLURM_LLM");
    let script = site
        .cluster
        .script(ALICE, &text)
        .unwrap()
        .display()
        .to_string();
    let (with, without) = both_ways(&site, || {
        let id = site.sbatch(&["--nodelist=h1", &script]).id().unwrap();
        site.cluster.wait_job(id).unwrap();
        site.cluster.job_output(id).unwrap()
    });
    assert_eq!(with, without);
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn an_untagged_srun_and_salloc_are_the_same_to_the_byte() {
    let site = Site::without_snapshot(&Setup::default());
    for program in ["srun", "salloc"] {
        let (with, without) = both_ways(&site, || {
            let output = site
                .cluster
                .run(ALICE, program, &["-Q", "--gres=gpu:h100:1", "hostname"])
                .unwrap();
            (output.code, output.stdout, output.stderr)
        });
        assert_eq!(with, without, "{program}");
    }
}

/// Names other options of the plugin, but no model: not tagged.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn without_a_model_the_other_options_do_nothing() {
    let site = Site::without_snapshot(&Setup::default());
    let record = site.held(
        &["--llm-tp=4", "--llm-isl=100", "--gres=gpu:a100:2"],
        "true",
    );
    assert_eq!(crate::site::gpus(&record), "gpu:a100:2");
    // A value that is wrong harms as little, with the advice off too.
    for tag in [
        &["--llm-gpu=a100:4"][..],
        &[crate::site::MODEL, "--llm-advice=off", "--llm-slo=600,50"],
    ] {
        let record = site.held(&[tag, &["--gres=gpu:a100:2"]].concat(), "true");
        assert_eq!(crate::site::gpus(&record), "gpu:a100:2");
    }
    let record = site.held(
        &[crate::site::MODEL, "--llm-advice=off", "--gres=gpu:a100:2"],
        "true",
    );
    assert_eq!(crate::site::gpus(&record), "gpu:a100:2");
    assert_eq!(record.get("Comment"), None);
}
