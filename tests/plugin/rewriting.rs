//! What a tagged job becomes.

use e2e::{ALICE, Setup};

use crate::site::{MODEL, Site, advice_id, gpus};

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_tagged_job_gets_other_gpus_and_knows_why() {
    let site = Site::start();
    let script = "echo \"$SLURM_LLM_GPU:$SLURM_LLM_TP=$SLURM_GPUS_ON_NODE $SLURM_LLM_PRECISION $SLURM_LLM_ADVICE\"\nomnipilot run x || true";
    let id = site.submit(&[MODEL, "--gres=gpu:a100:8"], script);
    let record = site.cluster.wait_job(id).unwrap();
    let text = site.cluster.job_output(id).unwrap();
    let (gpu, rest) = text.split_once(':').unwrap();
    let (tp, rest) = rest.split_once('=').unwrap();
    assert_eq!(gpus(&record), format!("gpu:{gpu}:{tp}"));
    assert!(
        rest.starts_with(&format!("{tp} ")),
        "as many GPUs as the degree: {text}"
    );
    assert!(rest.contains(&advice_id(&record).unwrap()), "{text}");
    assert_eq!(record.get("TresPerJob"), None);
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn every_form_of_gpu_request_is_replaced() {
    let site = Site::start();
    let pins = [MODEL, "--llm-gpu=h100", "--llm-tp=2"];
    let mut forms: Vec<&[&str]> = vec![
        &[],
        &["--gres=gpu:a100:8"],
        &["--gres=gpu:4", "-C", "a100"],
        &["--gpus=a100:3"],
        &["--gpus-per-node=a100:1"],
        &["--ntasks=2", "--gpus-per-task=1"],
        &["--gpus=2", "--gres=gpu:h200:1"],
    ];
    // Later releases refuse these two together, whoever loads what.
    if site.cluster.release() < (25, 5) {
        forms.push(&["--gpus-per-node=a100:1", "--gres=gpu:a100:1"]);
    }
    for form in forms {
        let record = site.held(&[&pins[..], form].concat(), "true");
        assert_eq!(gpus(&record), "gpu:h100:2", "{form:?}");
        for other in ["TresPerJob", "TresPerTask", "TresPerSocket"] {
            assert_eq!(record.get(other), None, "{form:?}");
        }
        assert_eq!(record["Features"], "(null)", "{form:?}");
    }
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn gpu_requests_from_the_environment_are_replaced_too() {
    let site = Site::start();
    let script = site.cluster.script(ALICE, "true").unwrap();
    let mut command = site.cluster.command(ALICE, "sbatch").unwrap();
    command
        .env("SBATCH_GRES", "gpu:a100:4")
        .env("SBATCH_GPUS", "4")
        .args(["--hold", MODEL, "--llm-gpu=h100", "--llm-tp=1"]);
    let output = crate::site::finish(command.arg(script));
    let record = site.cluster.show_job(output.id().unwrap()).unwrap();
    assert_eq!(
        (gpus(&record), record.get("TresPerJob")),
        ("gpu:h100:1".into(), None)
    );
}

/// A node that has them and can run no job is none; what stays of such a request is `job_rewrite`'s own test.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn other_resources_that_no_node_can_give_leave_the_job_as_written() {
    let setup = Setup::default().conf(
        "GresTypes=gpu,lustre\n\
         NodeName=x1 NodeAddr=127.0.0.1 Port=9 CPUs=64 RealMemory=512000 Gres=gpu:h100:8,lustre:4 State=UNKNOWN\n\
         PartitionName=wide Nodes=ALL",
    );
    let site = Site::with(&setup);
    site.observe();
    let asked = ["--gres=gpu:1,lustre:3", "--llm-gpu=h100", "--llm-tp=2"];
    let words = [&["--hold", "-p", "serve,wide", MODEL][..], &asked].concat();
    let output = site.cluster.sbatch(ALICE, &words, "true").unwrap();
    assert!(
        output.stderr.contains("0 that can run jobs") && output.stderr.contains("as written"),
        "{output}"
    );
    let record = site.cluster.show_job(output.id().unwrap()).unwrap();
    assert_eq!(gpus(&record), "gpu:1,lustre:3");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn the_users_comment_stays() {
    let site = Site::start();
    let record = site.held(&[MODEL, "--comment=ticket 12; mine"], "true");
    assert!(
        record["Comment"].starts_with("ticket 12; mine omnipilot:"),
        "{record:?}"
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn the_variables_reach_the_job_whatever_is_exported() {
    let site = Site::start();
    for export in ["ALL", "NONE", "HOME,PATH", "ALL,X=1"] {
        let text = site.output(
            &[MODEL, "--llm-tp=2", &format!("--export={export}")],
            "echo $SLURM_LLM_TP $SLURM_LLM_ENGINE_ARGS $SLURM_LLM_SPOOL",
        );
        assert!(
            text.starts_with("2 --tensor-parallel-size 2") && text.contains("outcomes"),
            "{export}: {text}"
        );
    }
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_degree_in_the_script_is_a_pin() {
    let site = Site::start();
    let serve = "vllm serve meta-llama/Llama-3.1-8B-Instruct";
    let cases = [
        (format!("{serve} --tensor-parallel-size 4"), "4"),
        (format!("{serve} -tp=2"), "2"),
        (serve.to_owned(), "1"),
        (
            format!("omnipilot run -- {serve} --dtype auto\n#SBATCH --llm-tp=8"),
            "",
        ),
    ];
    for (text, degree) in cases {
        let record = site.held(&[MODEL, "--gres=gpu:a100:8"], &text);
        assert!(gpus(&record).ends_with(degree), "{text}: {record:?}");
    }
    let wrapped = site.sbatch(&[
        "--hold",
        MODEL,
        &format!("--wrap={serve} --tensor-parallel-size 4"),
    ]);
    assert!(
        gpus(&site.cluster.show_job(wrapped.id().unwrap()).unwrap()).ends_with(":4"),
        "{wrapped}"
    );
}

/// Wherever the degree of an engine is written: in a container's command, in a file of settings, in a script that the script
/// starts. A file of settings that cannot be read leaves the number of GPUs as it was asked for.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_degree_that_is_written_elsewhere_is_a_pin_too() {
    let site = Site::start();
    let folder = site.cluster.work(ALICE).unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    write(
        "serve.yaml",
        "port: 8000\ntensor-parallel-size: 4 # of eight\n",
    );
    write("serve.sh", "#!/bin/sh\nexec vllm serve m -tp 4\n");
    std::fs::create_dir(folder.join("sub")).unwrap();
    write("sub/serve.yaml", "tensor_parallel_size: 2\n");
    let image = "vllm/vllm-openai:v0.9.0 --model m";
    for (script, degree) in [
        (
            format!("docker run --gpus all -p 8000:8000 {image} --tensor-parallel-size 4"),
            ":4",
        ),
        (format!("podman run --rm {image}"), ":1"),
        (
            "apptainer exec --nv vllm.sif vllm serve m -tp 4".to_owned(),
            ":4",
        ),
        (
            "srun -n1 singularity exec --nv vllm.sif vllm serve m --tensor-parallel-size=4"
                .to_owned(),
            ":4",
        ),
        ("vllm serve m --config serve.yaml".to_owned(), ":4"),
        ("vllm serve m --config serve.yaml -tp 1".to_owned(), ":1"),
        ("bash serve.sh".to_owned(), ":4"),
        ("vllm serve m --config nowhere.yaml".to_owned(), ":8"),
        ("cd sub; vllm serve m --config serve.yaml".to_owned(), ":2"),
    ] {
        let record = site.held(&[MODEL, "--gres=gpu:a100:8"], &script);
        assert!(gpus(&record).ends_with(degree), "{script}: {record:?}");
    }
    let moved = format!("--chdir={}", folder.join("sub").display());
    let script = "vllm serve m --config serve.yaml";
    let wrapped = site.sbatch(&["--hold", MODEL, &moved, &format!("--wrap={script}")]);
    let record = site.cluster.show_job(wrapped.id().unwrap()).unwrap();
    assert!(gpus(&record).ends_with(":2"), "{record:?}");

    // Nothing waits for a file that never ends, and nothing is read that is no file.
    nix::unistd::mkfifo(&folder.join("fifo.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let record = site.held(
        &[MODEL, "--gres=gpu:a100:8"],
        "vllm serve m --config fifo.yaml",
    );
    assert!(gpus(&record).ends_with(":8"), "{record:?}");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_script_out_of_sight_keeps_its_number_of_gpus() {
    let site = Site::start();
    let mut command = site.cluster.command(ALICE, "sbatch").unwrap();
    command.args(["--hold", MODEL, "--gres=gpu:a100:2"]);
    let output = crate::site::feed(
        &mut command,
        "#!/bin/bash\nvllm serve x --tensor-parallel-size 2\n",
    );
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{output}");
    let record = site.cluster.show_job(output.id().unwrap()).unwrap();
    assert!(
        gpus(&record).ends_with(":2") && advice_id(&record).is_some(),
        "{record:?}"
    );
}

/// A script on standard input is not read, whether it comes through a pipe or from a file; what it says for `sbatch` itself
/// counts all the same.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_script_on_standard_input_is_taken_from_pipe_and_file() {
    let site = Site::start();
    let text = format!(
        "#!/bin/bash\n#SBATCH {MODEL}\n#SBATCH --llm-gpu=h100 --gres=gpu:a100:4\necho $SLURM_LLM_TP\n"
    );
    let mut command = site.cluster.command(ALICE, "sbatch").unwrap();
    let piped = crate::site::feed(&mut command, &text);
    let file = site.cluster.script(ALICE, &text).unwrap();
    let mut command = site.cluster.command(ALICE, "sbatch").unwrap();
    let from_file = crate::site::finish(command.stdin(std::fs::File::open(file).unwrap()));
    for output in [piped, from_file] {
        assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{output}");
        let record = site.cluster.wait_job(output.id().unwrap()).unwrap();
        assert_eq!(gpus(&record), "gpu:h100:4", "{output}");
        assert_eq!(
            site.cluster.job_output(output.id().unwrap()).unwrap(),
            "4\n"
        );
    }
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn checking_tells_and_changes_nothing() {
    let site = Site::start();
    let output = site
        .cluster
        .sbatch(
            ALICE,
            &["--hold", MODEL, "--llm-advice=check", "--gres=gpu:a100:8"],
            "true",
        )
        .unwrap();
    assert!(
        output
            .stderr
            .lines()
            .all(|line| line.starts_with("sbatch: omnipilot: ")),
        "{output}"
    );
    assert!(
        output
            .stderr
            .contains("without `--llm-advice=check` it would be --gres=gpu:"),
        "{output}"
    );
    let record = site.cluster.show_job(output.id().unwrap()).unwrap();
    assert_eq!(
        (gpus(&record), record.get("Comment")),
        ("gpu:a100:8".into(), None)
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn exploring_keeps_the_gpus_and_notes_what_is_served() {
    let site = Site::start();
    let arguments = [
        MODEL,
        "--llm-advice=explore",
        "--llm-isl=900",
        "--gres=gpu:a100:4",
        "--comment=mine",
    ];
    let text = site.output(&arguments, "echo \"$SLURM_LLM_MODEL $SLURM_LLM_ISL $SLURM_LLM_GPU [$SLURM_LLM_TP$SLURM_LLM_ENGINE_ARGS]\"");
    assert_eq!(text, "meta-llama/Llama-3.1-8B-Instruct 900 a100 []\n");
    let record = site.held(&arguments, "true");
    assert_eq!(gpus(&record), "gpu:a100:4");
    assert!(
        record["Comment"].starts_with("mine omnipilot:"),
        "{record:?}"
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn the_advice_is_told_when_asked_for() {
    let site = Site::start();
    let quiet = site
        .cluster
        .sbatch(ALICE, &["--hold", MODEL], "true")
        .unwrap();
    assert_eq!(quiet.stderr, "", "{quiet}");
    let asked = site
        .cluster
        .sbatch(
            ALICE,
            &["--hold", "-v", MODEL, "--gres=gpu:a100:8"],
            "omnipilot run -- vllm serve m",
        )
        .unwrap();
    let told: Vec<&str> = asked
        .stderr
        .lines()
        .filter(|line| line.starts_with("sbatch: omnipilot: "))
        .collect();
    assert!(
        (1..=4).contains(&told.len()) && told.last().unwrap().contains("instead of gpu:a100:8"),
        "{asked}"
    );
    let mut command = site.cluster.command(ALICE, "sbatch").unwrap();
    let by_variable = crate::site::finish(command.env("OMNIPILOT_VERBOSE", "1").args([
        "--hold",
        "--wrap=true",
        MODEL,
    ]));
    assert!(
        by_variable.stderr.starts_with("sbatch: omnipilot: "),
        "{by_variable}"
    );
}
