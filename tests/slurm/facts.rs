//! Facts about Slurm on which the product rests, proved on the Slurm that is installed here. No plugin takes part.

use e2e::{ALICE, BOB, Cluster};

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn three_nodes_offer_their_gpus() {
    let cluster = Cluster::start().unwrap();
    let nodes = cluster
        .run(ALICE, "sinfo", &["-h", "-N", "-o", "%N %T %G"])
        .unwrap();
    assert_eq!(
        nodes.stdout, "a1 idle gpu:a100:8\nh1 idle gpu:h100:8\nh2 idle gpu:h200:8\n",
        "{nodes}"
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_job_gets_the_gpus_it_asked_for() {
    let cluster = Cluster::start().unwrap();
    let text = "echo \"$SLURMD_NODENAME|$CUDA_VISIBLE_DEVICES|$SLURM_GPUS_ON_NODE\"";
    let job = cluster.sbatch(ALICE, &["--gres=gpu:h100:2"], text).unwrap();
    assert_eq!(job.stderr, "", "{job}");
    let id = job.id().unwrap();
    let record = cluster.wait_job(id).unwrap();
    assert_eq!(record["JobState"], "COMPLETED", "{record:?}");
    assert_eq!(cluster.job_output(id).unwrap(), "h1|0,1|2\n");
}

/// Why the plugin resets the other GPU options before it sets one: Slurm adds them up.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn gpus_and_gres_together_are_refused() {
    let cluster = Cluster::start().unwrap();
    let job = cluster
        .sbatch(ALICE, &["--gpus=a100:2", "--gres=gpu:h100:2"], "true")
        .unwrap();
    assert_eq!(job.code, Some(1), "{job}");
    assert!(
        job.stderr
            .contains("Requested node configuration is not available"),
        "{job}"
    );
}

/// Why the advised values are named `SLURM_LLM_*`: such names reach the job whatever `--export` says.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn variables_with_slurms_prefix_survive_export_none() {
    let cluster = Cluster::start().unwrap();
    let script = cluster
        .script(ALICE, "echo \"tp=$SLURM_LLM_TP other=$LLM_TP\"")
        .unwrap();
    let mut sbatch = cluster.command(ALICE, "sbatch").unwrap();
    let output = sbatch
        .env("SLURM_LLM_TP", "4")
        .env("LLM_TP", "4")
        .args(["--parsable", "--export=NONE"])
        .arg(script)
        .output()
        .unwrap();
    let id = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    cluster.wait_job(id).unwrap();
    assert_eq!(cluster.job_output(id).unwrap(), "tp=4 other=\n");
}

/// Outcomes are joined on the comment, so it has to arrive; and exit codes are read from `sacct -P`.
#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn comment_and_exit_code_arrive_in_accounting() {
    let cluster = Cluster::with_accounting().unwrap();
    let arguments = ["--gres=gpu:h200:1", "--comment=my note omnipilot:7f3a91"];
    let id = cluster
        .sbatch(ALICE, &arguments, "exit 7")
        .unwrap()
        .id()
        .unwrap();
    cluster.wait_job(id).unwrap();
    let row = cluster
        .sacct(
            id,
            &["User", "Comment", "ExitCode", "AllocTRES", "NodeList"],
        )
        .unwrap();
    assert_eq!(row["User"], ALICE.name());
    assert_eq!(row["Comment"], "my note omnipilot:7f3a91");
    assert_eq!(row["ExitCode"], "7:0");
    assert!(row["AllocTRES"].contains("gres/gpu:h200=1"), "{row:?}");
    assert_eq!(row["NodeList"], "h2");
}

/// A submission that the controller refuses leaves a row as well: it must not be taken for an outcome.
#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn a_refused_submission_leaves_a_row_without_nodes() {
    let cluster = Cluster::with_accounting().unwrap();
    let refused = cluster
        .sbatch(
            ALICE,
            &["--gres=gpu:b200:1", "--comment=omnipilot:none"],
            "true",
        )
        .unwrap();
    assert_eq!(refused.code, Some(1), "{refused}");
    let next = cluster.sbatch(ALICE, &[], "true").unwrap().id().unwrap();
    let row = cluster.sacct(next - 1, &["Comment", "NodeList"]).unwrap();
    assert_eq!(
        (row["Comment"].as_str(), row["NodeList"].as_str()),
        ("omnipilot:none", "None assigned")
    );
}

#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_root)),
    ignore = "only root can run jobs as two users"
)]
fn jobs_run_as_the_users_who_submit_them() {
    let cluster = Cluster::start().unwrap();
    for user in [ALICE, BOB] {
        let id = cluster.sbatch(user, &[], "id -un").unwrap().id().unwrap();
        cluster.wait_job(id).unwrap();
        assert_eq!(cluster.job_output(id).unwrap().trim(), user.name());
    }
}
