//! The form of what a rewrite leaves in a job, by the site's configuration: the GPU request, CPUs, memory, nodes.

use std::collections::BTreeMap;

use e2e::{ALICE, OPERATOR, Setup};

use crate::site::{MODEL, Site, gpus};

const PINS: [&str; 3] = [MODEL, "--llm-gpu=h100", "--llm-tp=2"];

/// A site whose nodes have features as sites name them.
fn with_features() -> Site {
    let site = Site::start();
    for (node, features) in [("a1", "a100-80gb,ib"), ("h1", "h100,ib"), ("h2", "h200")] {
        let features =
            ["AvailableFeatures", "ActiveFeatures"].map(|name| format!("{name}={features}"));
        let node = format!("nodename={node}");
        let words = ["update", &node, &features[0], &features[1]];
        site.cluster
            .run(OPERATOR, "scontrol", &words)
            .unwrap()
            .success()
            .unwrap();
    }
    site.observe();
    site
}

/// GPUs of a record wherever they stand: on a node, in the whole job, for a task.
fn everywhere(record: &BTreeMap<String, String>) -> Vec<String> {
    let plain = |text: &String| text.replace("gres:", "").replace("gres/", "");
    ["TresPerJob", "TresPerNode", "TresPerTask", "TresPerSocket"]
        .iter()
        .filter_map(|name| record.get(*name).map(plain))
        .filter(|text| text.contains("gpu"))
        .collect()
}

/// However a job asks, and whatever form the site wants: GPUs never add up, and the job runs with what was advised.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn every_form_is_replaced_by_the_sites_form() {
    let site = with_features();
    let asked: [&[&str]; 5] = [
        &["--gres=gpu:a100:8"],
        &["--gpus=a100:4"],
        &["--gpus-per-node=a100:1", "-C", "a100-80gb"],
        &["--ntasks=2", "--gpus-per-task=1"],
        &[
            "--gpus-per-socket=1",
            "--sockets-per-node=1",
            "-C",
            "a100-80gb&ib",
        ],
    ];
    for form in ["gres", "gpus-per-node", "gpus", "feature"] {
        site.configure(&format!("[rewrite]\ngpus = \"{form}\""));
        for asked in asked {
            let text = site.output(
                &[&PINS[..], asked].concat(),
                "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES $SLURM_JOB_NUM_NODES\nsrun -n1 bash -c 'echo $CUDA_VISIBLE_DEVICES' 2>&1",
            );
            assert_eq!(text, "h1 0,1 1\n0,1\n", "{form} {asked:?}");
        }
        let record = site.held(&[&PINS[..], asked[0]].concat(), "true");
        assert_eq!(everywhere(&record).len(), 1, "{form} {record:?}");
    }
}

/// Slurm keeps this one in the job's environment whatever becomes of the option, and each `srun` in the job splits the GPUs by it.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn gpus_that_are_split_among_tasks_are_left_as_asked() {
    let site = Site::start();
    let words = [
        &PINS[..],
        &["--hold", "--gpus=a100:4", "--ntasks-per-gpu=1"],
    ]
    .concat();
    let output = site.cluster.sbatch(ALICE, &words, "true").unwrap();
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!(
        lines.len() == 1 && lines[0].contains("no advice: --ntasks-per-gpu"),
        "{output}"
    );
    let record = site.cluster.show_job(output.id().unwrap()).unwrap();
    assert_eq!(everywhere(&record), ["gpu:a100:4"]);
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_feature_chooses_the_type_where_the_site_wants_it_so() {
    let site = with_features();
    site.configure("[rewrite]\ngpus = \"feature\"\n[gpu.a100]\nfeatures = [\"a100-80gb\"]");
    let asked = [
        MODEL,
        "--llm-gpu=a100",
        "--llm-tp=4",
        "--gres=gpu:8",
        "-C",
        "ib&h100",
    ];
    let record = site.held(&asked, "true");
    assert_eq!(
        (&*gpus(&record), &*record["Features"]),
        ("gpu:4", "ib&a100-80gb")
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_choice_among_other_gpus_goes_and_other_features_stay() {
    let site = with_features();
    for (asked, left) in [
        ("a100-80gb", "(null)"),
        ("a100-80gb|h200", "(null)"),
        ("ib&(a100-80gb|h200)", "ib"),
        ("h100|a100-80gb", "h100|a100-80gb"),
    ] {
        let record = site.held(
            &[&PINS[..], &["--gres=gpu:1", "-C", asked]].concat(),
            "true",
        );
        assert_eq!(
            (&*gpus(&record), &*record["Features"]),
            ("gpu:h100:2", left),
            "{asked}"
        );
    }
}

/// Options and what the job sees of them, its steps included.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn cpus_and_memory_follow_the_gpus_where_the_site_has_rules() {
    let site = Site::start();
    let see = "echo $SLURM_CPUS_ON_NODE $SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE $SLURM_JOB_NUM_NODES\nsrun -n1 bash -c 'echo $CUDA_VISIBLE_DEVICES $SLURM_MEM_PER_CPU$SLURM_MEM_PER_GPU' 2>&1";
    let asked: [&[&str]; 5] = [
        &[],
        &["--gres=gpu:a100:8", "--cpus-per-task=64", "--mem=400G"],
        &["--gpus=a100:4", "--cpus-per-gpu=2", "--mem-per-gpu=1G"],
        &["--gpus-per-task=a100:1", "--ntasks=1", "--mem-per-cpu=3G"],
        &["--nodes=1-3"],
    ];
    for asked in asked {
        site.configure(
            "[rewrite]\ncpus_per_gpu = 4\nmem_per_gpu = \"9G\"\n[gpu.h100]\ncpus_per_gpu = 6",
        );
        let text = site.output(&[&PINS[..], asked].concat(), see);
        assert_eq!(text, "12 12 18432 1\n0,1\n", "{asked:?}");
    }
    site.configure("");
    let text = site.output(
        &[&PINS[..], &["--cpus-per-task=3", "--mem=2G"]].concat(),
        see,
    );
    assert_eq!(text, "3 3 2048 1\n0,1\n", "without rules both stay");
}

/// Several nodes only where the model does not fit one, or where the script may start an engine on each.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn nodes_that_one_engine_does_not_use_are_given_back() {
    let site = Site::with(&Setup::default().nodes("h1:h100:8 h2:h100:8"));
    site.observe();
    let pins = [MODEL, "--llm-tp=2", "--gres=gpu:h100:8"];
    // A script that reads how many nodes it has keeps them, so this one looks without naming them.
    let see = "echo $(printenv | sed -n 's/^SLURM_JOB_NUM_[N]ODES=//p') ${SLURM_NTASKS:-unsaid} $SLURM_GPUS_ON_NODE";
    let one = "command -v vllm >/dev/null && omnipilot run -- vllm serve m || true";
    let each = "command -v vllm >/dev/null && srun omnipilot run -- vllm serve m || true";
    for (asked, script, seen) in [
        (&["-N2"][..], one, "1 1 2\n"),
        (&["-N2", "-n4"], one, "1 4 2\n"),
        (&["-N2", "--ntasks-per-node=3"], one, "2 6 2\n"),
        (&["-N2"], each, "2 unsaid 2\n"),
        (
            &["-N2", "-n2"],
            "command -v serve.py >/dev/null && srun python serve.py || true",
            "2 2 2\n",
        ),
    ] {
        let text = site.output(&[&pins[..], asked].concat(), &format!("{see}\n{script}"));
        assert_eq!(text, seen, "{asked:?} {script}");
    }
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_check_tells_the_options_that_it_would_be() {
    let site = Site::start();
    site.configure("[rewrite]\ngpus = \"gpus-per-node\"\ncpus_per_gpu = 4\nmem_per_gpu = \"9G\"");
    let output = site
        .cluster
        .sbatch(
            ALICE,
            &[&PINS[..], &["--hold", "--llm-advice=check"]].concat(),
            "true",
        )
        .unwrap();
    assert!(
        output
            .stderr
            .contains("it would be --gpus-per-node=h100:2 --cpus-per-task=8 --mem=18432M"),
        "{output}"
    );
}
