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
    cluster.completed(id).unwrap();
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

/// Why the plugin takes away every form before it sets one: some releases already refuse two in what the user wrote.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn gpus_per_node_and_gres_together_depend_on_the_release() {
    let cluster = Cluster::start().unwrap();
    let words = ["--hold", "--gpus-per-node=a100:1", "--gres=gpu:a100:1"];
    let job = cluster.sbatch(ALICE, &words, "true").unwrap();
    if cluster.release() < (25, 5) {
        assert_eq!(job.code, Some(0), "{job}");
    } else {
        assert_eq!(job.code, Some(1), "{job}");
        assert!(job.stderr.contains("are mutually exclusive"), "{job}");
    }
}

/// Why advised jobs need a check on the controller where a site insists: their owner may rewrite them.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn the_owner_may_rewrite_a_pending_job() {
    let cluster = Cluster::start().unwrap();
    let words = ["--hold", "--gres=gpu:h100:1", "--comment=omnipilot:1"];
    let id = cluster.sbatch(ALICE, &words, "true").unwrap().id().unwrap();
    let job = format!("jobid={id}");
    let words = [
        "update",
        &job,
        "TresPerNode=gres:gpu:a100:8",
        "Comment=mine",
    ];
    let output = cluster.run(ALICE, "scontrol", &words).unwrap();
    assert_eq!(output.code, Some(0), "{output}");
    let record = cluster.show_job(id).unwrap();
    assert!(record["TresPerNode"].ends_with("gpu:a100:8"), "{record:?}");
    assert_eq!(record["Comment"], "mine");
}

/// Why `make install` makes every file readable whatever the administrator's umask is.
#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_root)),
    ignore = "root reads every file: needs Slurm and several users"
)]
fn a_plugstack_file_that_users_cannot_read_stops_every_submission() {
    use std::os::unix::fs::PermissionsExt;
    let cluster = Cluster::start().unwrap();
    cluster.plugstack("").unwrap();
    let file = cluster.prefix().join("plugstack.d/omnipilot.conf");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let job = cluster.sbatch(ALICE, &[], "true").unwrap();
    assert_ne!(job.code, Some(0), "{job}");
    assert!(job.stderr.contains("Permission denied"), "{job}");
}

/// Why the plugstack line says `optional`.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn an_optional_plugin_that_is_missing_stops_no_job_and_a_required_one_every_job() {
    let cluster = Cluster::start().unwrap();
    cluster
        .plugstack("optional /nowhere/spank_omnipilot.so")
        .unwrap();
    let job = cluster.sbatch(ALICE, &[], "true").unwrap();
    assert_eq!(job.code, Some(0), "{job}");
    assert!(job.stderr.lines().count() <= 2, "{job}");
    // slurmstepd reads it too.
    cluster.completed(job.id().unwrap()).unwrap();
    cluster
        .plugstack("required /nowhere/spank_omnipilot.so")
        .unwrap();
    let job = cluster.sbatch(ALICE, &[], "true").unwrap();
    assert_ne!(job.code, Some(0), "{job}");
}

/// What a tag costs where the plugin is not loaded: Slurm knows no such option, in the command line and in the script alike; as
/// a variable it is nobody's business.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn without_the_plugin_a_tag_is_an_unknown_option() {
    let cluster = Cluster::start().unwrap();
    for line in ["", "optional /nowhere/spank_omnipilot.so"] {
        cluster.plugstack(line).unwrap();
        let typed = cluster.sbatch(ALICE, &["--llm-model=m"], "true").unwrap();
        let written = cluster
            .sbatch(ALICE, &[], "#SBATCH --llm-model=m\ntrue")
            .unwrap();
        for refused in [typed, written] {
            assert!(!matches!(refused.code, Some(0)), "{refused}");
            assert!(
                refused
                    .stderr
                    .contains("unrecognized option '--llm-model=m'"),
                "{refused}"
            );
        }
        let mut sbatch = cluster.command(ALICE, "sbatch").unwrap();
        let output = sbatch
            .env("OMNIPILOT_MODEL", "m")
            .args(["--hold", "--wrap=true"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

/// Why a beginning of an option's name can be told from others': the table has every name that this `sbatch` knows.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn every_option_of_sbatch_is_in_the_table() {
    let cluster = Cluster::start().unwrap();
    let known: Vec<&str> = model_store::sbatch_options::names().collect();
    let mut seen = 0;
    for letter in 'a'..='z' {
        let out = cluster
            .run(ALICE, "sbatch", &[&format!("--{letter}")])
            .unwrap();
        // option '--a' is ambiguous; possibilities: '--account' '--acctg-freq' '--array'
        let list = out
            .stderr
            .split_once("possibilities:")
            .map_or("", |(_, list)| list);
        for word in list.lines().next().unwrap_or_default().split_whitespace() {
            let name = word.trim_matches('\'').trim_start_matches("--");
            assert!(known.contains(&name), "{name}");
            seen += 1;
        }
    }
    assert!(seen > 90, "{seen}");
}
