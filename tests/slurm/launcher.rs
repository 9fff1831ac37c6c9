//! A launcher of others, as they publish it: vec-inf 0.9.0 from PyPI. It takes any line of `sbatch` on stderr for a failure, and
//! the last word of its stdout for the job's id.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use e2e::{OPERATOR, Output, Setup};
use serde_json::Value;

use crate::site::{Site, gpus};

/// Made by `tests/cluster/vec-inf.sh`, beside the build's folders.
fn program() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("vec-inf/bin/vec-inf")
}

/// The launcher's own settings for this cluster, and a model of it.
fn settings(site: &Site) {
    let package = program().parent().unwrap().parent().unwrap().join("lib");
    let python = fs::read_dir(package)
        .unwrap()
        .flatten()
        .next()
        .unwrap()
        .path();
    let shipped = python.join("site-packages/vec_inf/config/environment.yaml");
    let text = fs::read_to_string(shipped).unwrap();
    let ours = text.replace("[\"l40s\", \"h100\"]", "[\"a100\", \"h100\", \"h200\"]");
    assert_ne!(ours, text);
    site.cluster
        .file("launcher/environment.yaml", &ours)
        .unwrap();
    let folder = site.path("launcher").display().to_string();
    let model = format!(
        "models:\n  Llama-3.1-8B-Instruct:\n    model_family: Llama\n    model_variant: 8B\n    model_type: LLM\n    \
         gpus_per_node: 1\n    num_nodes: 1\n    vocab_size: 128256\n    model_weights_parent_dir: {folder}/weights\n"
    );
    site.cluster.file("launcher/models.yaml", &model).unwrap();
    for name in ["weights/Llama-3.1-8B-Instruct", "venv/bin"] {
        fs::create_dir_all(site.path("launcher").join(name)).unwrap();
    }
}

/// Launches with these variables, which are how a user tags what a launcher submits.
fn launch(site: &Site, variables: &[(&str, &str)]) -> Output {
    launch_on(site, variables, &["--resource-type", "a100"])
}

fn launch_on(site: &Site, variables: &[(&str, &str)], resources: &[&str]) -> Output {
    let folder = site.path("launcher").display().to_string();
    let mut command = site
        .cluster
        .command(OPERATOR, program().to_str().unwrap())
        .unwrap();
    command
        .env("VEC_INF_CONFIG_DIR", &folder)
        .envs(variables.iter().copied())
        .args([
            "launch",
            "Llama-3.1-8B-Instruct",
            "--account",
            "x",
            "--json-mode",
        ])
        .args(resources)
        .args(["--config", &format!("{folder}/models.yaml")])
        .args([
            "--work-dir",
            &folder,
            "--log-dir",
            &format!("{folder}/logs"),
        ])
        .args(["--venv", &format!("{folder}/venv")]);
    let output = command.output().unwrap();
    Output {
        command: format!("{command:?}"),
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_vec_inf)),
    ignore = "needs Slurm and vec-inf from PyPI"
)]
fn vec_inf_takes_an_advised_job_for_the_success_that_it_is() {
    let site = Site::trained(&Setup::default());
    site.load_plugin();
    settings(&site);
    let size = [("OMNIPILOT_ISL", "300"), ("OMNIPILOT_OSL", "200")];
    let tag = ("OMNIPILOT_MODEL", "meta-llama/Llama-3.1-8B-Instruct");
    for (variables, gres, advised) in [
        (&[][..], "gpu:a100:1", false),
        (
            &[tag, ("OMNIPILOT_GPU", "h100"), size[0], size[1]],
            "gpu:h100:1",
            true,
        ),
        (&[tag, ("OMNIPILOT_ADVICE", "explore")], "gpu:a100:1", true),
    ] {
        let output = launch(&site, variables);
        assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{output}");
        let told: Value = serde_json::from_str(&output.stdout).unwrap();
        let id = told["slurm_job_id"].as_str().unwrap().parse().unwrap();
        let record = site.cluster.show_job(id).unwrap();
        assert_eq!(gpus(&record), gres, "{record:?}");
        let comment = record.get("Comment").map_or("", String::as_str);
        assert_eq!(comment.starts_with("omnipilot:"), advised, "{record:?}");
    }
    // A job that goes as written is submitted: a launcher that is not to take the line for a failure says so.
    let far = [tag, ("OMNIPILOT_ISL", "120000"), ("OMNIPILOT_OSL", "100")];
    let told = launch(&site, &far);
    assert_eq!(told.code, Some(1), "{told}");
    assert!(told.stderr.contains("the job goes as written"), "{told}");
    let hushed = [&far[..], &[("OMNIPILOT_VERBOSE", "0")]].concat();
    let output = launch(&site, &hushed);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{output}");
    assert_eq!(site.jobs(), 5);
    let unknown = [("OMNIPILOT_MODEL", "google/flan-ul2"), hushed[3]];
    let refused = launch(&site, &unknown);
    assert_eq!(refused.code, Some(1), "{refused}");
    assert!(
        refused.stderr.contains("but the script's engine serves"),
        "the reason comes through: {refused}"
    );
    assert_eq!(site.jobs(), 5);
}

/// What `omnipilot export vec-inf` writes is a model of the launcher's: it launches with the GPUs, the degree and the format that
/// were advised, with no tag and no plugin, where the launcher's own entry names one GPU of whatever type is asked for.
#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_vec_inf)),
    ignore = "needs Slurm and vec-inf from PyPI"
)]
fn vec_inf_launches_an_exported_advice() {
    let site = Site::trained(&Setup::default());
    settings(&site);
    let words = [
        "export",
        "vec-inf",
        "--llm-model=meta-llama/Llama-3.1-8B-Instruct",
        "--llm-gpu=h100",
        "--llm-isl=300",
        "--llm-osl=200",
    ];
    let exported = site.omnipilot(OPERATOR, &words).success().unwrap().stdout;
    assert!(exported.contains("    resource_type: h100\n"), "{exported}");
    let folder = site.path("launcher").display().to_string();
    let local: String = exported
        .lines()
        .filter(|l| !l.starts_with("    hf_model:"))
        .map(|l| format!("{l}\n"))
        .collect();
    let whole = format!("{local}    model_weights_parent_dir: {folder}/weights\n");
    site.cluster.file("launcher/models.yaml", &whole).unwrap();
    let output = launch_on(&site, &[], &[]);
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{output}");
    let told: Value = serde_json::from_str(&output.stdout).unwrap();
    let id = told["slurm_job_id"].as_str().unwrap().parse().unwrap();
    let record = site.cluster.show_job(id).unwrap();
    assert_eq!(gpus(&record), "gpu:h100:1", "{record:?}");
}

/// The form of Open OnDemand: its `submit.yml.erb` as the portal evaluates it, and a job submitted with what comes out.
#[test]
#[cfg_attr(not(all(e2e_slurm, e2e_ruby)), ignore = "needs Slurm and ruby")]
fn the_form_of_open_ondemand_submits_as_advised() {
    // As a form without a field for the account gives it.
    const EVALUATE: &str = "model, isl, osl, concurrency, bc_queue = ARGV[1], 300, 200, '16', ARGV[2]; \
                            puts ERB.new(File.read(ARGV[0]), trim_mode: '-').result(binding)";
    let site = Site::trained(&Setup::default());
    let form = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/ondemand/submit.yml.erb");
    let evaluate_in = |model: &str, queue: &str| {
        let mut ruby = site.cluster.command(OPERATOR, "ruby").unwrap();
        ruby.env("OMNIPILOT_CONFIG", site.config()).args([
            "-rerb",
            "-e",
            EVALUATE,
            form.to_str().unwrap(),
            model,
            queue,
        ]);
        ruby.output().unwrap()
    };
    let evaluate = |model: &str| evaluate_in(model, "");
    let told = String::from_utf8(evaluate("meta-llama/Llama-3.1-8B-Instruct").stdout).unwrap();
    let native: Vec<&str> = told
        .lines()
        .filter_map(|l| l.strip_prefix("    - \"")?.strip_suffix('"'))
        .collect();
    assert!(!told.contains("--wrap"), "{told}");
    assert!(told.contains("    SLURM_LLM_TP: \"1\"\n"), "{told}");
    let words = [&native[..], &["--parsable", "--wrap=true"]].concat();
    let submitted = site
        .cluster
        .run(OPERATOR, "sbatch", &words)
        .unwrap()
        .success()
        .unwrap();
    let record = site
        .cluster
        .show_job(submitted.stdout.trim().parse().unwrap())
        .unwrap();
    let gres = native[0].strip_prefix("--gres=").unwrap();
    assert_eq!(gpus(&record), gres, "{record:?}");
    let nowhere = evaluate_in("meta-llama/Llama-3.1-8B-Instruct", "nowhere");
    let reason = String::from_utf8(nowhere.stderr).unwrap();
    assert!(
        !nowhere.status.success() && reason.contains("partition nowhere"),
        "{reason}"
    );
    let script = form.with_file_name("template/script.sh.erb");
    assert_eq!(
        fs::metadata(script).unwrap().permissions().mode() & 0o111,
        0o111,
        "the portal starts it as a program"
    );
    let refused = evaluate("google/flan-ul2");
    let reason = String::from_utf8(refused.stderr).unwrap();
    assert!(
        !refused.status.success() && reason.contains("outside what was measured"),
        "{reason}"
    );
    // A name is a word to the command, whatever a shell or YAML would make of it.
    let odd = evaluate("x\"; touch /tmp/y\n    - --uid=0");
    assert!(!odd.status.success(), "{odd:?}");
}
