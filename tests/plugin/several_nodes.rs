//! A model that fits no single node: tensor parallel inside the nodes, pipeline stages across them, on a real Slurm.

use std::fmt::Write;

use e2e::{ALICE, OPERATOR, Setup, artifacts};

use crate::site::{Site, advice_id, gpus};

const MODEL: &str = "--llm-model=meta-llama/Llama-3.1-405B-Instruct";
const REQUEST: [&str; 5] = [
    MODEL,
    "--llm-precision=bf16",
    "--llm-isl=1000",
    "--llm-osl=1000",
    "--llm-concurrency=64",
];

/// What the published figures have none of: runs over two nodes. Made up for this test, after Little's law.
fn made_up_runs() -> String {
    let mut text = "run_id,source,engine,model,gpu,tp,pp,num_gpus,precision,isl,osl,workload,concurrency_or_batch,\
                    output_tok_s,ttft_mean_ms,tpot_mean_ms,e2e_mean_ms,outcome\n"
        .to_owned();
    for concurrency in [4, 8, 16, 24, 32, 48, 64, 96, 128] {
        for (isl, osl) in [(500, 500), (1000, 1000), (2000, 500)] {
            let c = f64::from(concurrency);
            let (ttft, tpot) = (f64::from(isl) * (0.5 + 0.01 * c), 40.0 + 0.25 * c);
            let e2e = ttft + f64::from(osl) * tpot;
            let rate = c * f64::from(osl) / e2e * 1000.0;
            writeln!(
                text,
                "c{concurrency}-{isl},madeup,vllm,meta-llama/Llama-3.1-405B-Instruct,H100-SXM,8,2,16,bf16,{isl},{osl},\
                 closed-loop,{concurrency},{rate:.2},{ttft:.1},{tpot:.2},{e2e:.1},ok"
            )
            .unwrap();
        }
    }
    text
}

/// Two nodes of eight H100, and a model that was trained on the published figures and these runs.
fn site() -> Site {
    let site = Site::without_snapshot(&Setup::default().nodes("m1:h100:8 m2:h100:8"));
    let runs = site.cluster.file("runs.csv", &made_up_runs()).unwrap();
    let config = site.path("omnipilot.toml").display().to_string();
    let program = artifacts::omnipilot().unwrap().display().to_string();
    let runs = runs.display().to_string();
    let import = ["import", "--format", "runs-csv", &runs];
    for verb in [
        &["init", "--figures-only"][..],
        &["observe"],
        &import,
        &["train"],
    ] {
        let words = [&["--config", &config], verb].concat();
        let output = site.cluster.run(OPERATOR, &program, &words).unwrap();
        output.success().unwrap();
    }
    // Stand-ins that tell on which node they are started, and with what.
    for name in ["ray", "vllm"] {
        let text = format!("#!/bin/sh\necho \"{name} $SLURMD_NODENAME: $*\"\n");
        let script = site.cluster.file(&format!("{name}.sh"), &text).unwrap();
        site.cluster.install(&script, name).unwrap();
    }
    site.cluster
        .install(&artifacts::omnipilot().unwrap(), "omnipilot")
        .unwrap();
    site
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_model_that_fits_no_node_is_spread_over_two() {
    let site = site();
    runs_on_both(&site);
    is_told_that_one_is_too_small(&site);
}

fn runs_on_both(site: &Site) {
    let text = "srun -N2 -n2 ray start\n\
                echo \"$SLURM_NNODES $SLURM_GPUS_ON_NODE $SLURM_LLM_TP\"\n\
                omnipilot run -- vllm serve meta-llama/Llama-3.1-405B-Instruct 2>/dev/null\ntrue";
    let id = site.submit(&[&REQUEST[..], &["--gres=gpu:h100:8"]].concat(), text);
    let record = site.cluster.completed(id).unwrap();
    assert_eq!(
        (&*record["NumNodes"], &*gpus(&record)),
        ("2", "gpu:h100:8"),
        "{record:?}"
    );
    assert!(advice_id(&record).is_some(), "{record:?}");
    let written = site.cluster.job_output(id).unwrap();
    for line in ["ray m1: start", "ray m2: start", "2 8 8"] {
        assert!(written.lines().any(|found| found == line), "{written}");
    }
    let engine = written.lines().find(|line| line.starts_with("vllm m"));
    let engine = engine.unwrap();
    for argument in ["--tensor-parallel-size 8", "--pipeline-parallel-size 2"] {
        assert!(engine.contains(argument), "{engine}");
    }
}

/// A script that joins no nodes would start the engine on one of them, where the model does not fit.
fn is_told_that_one_is_too_small(site: &Site) {
    let words = [&REQUEST[..], &["--hold", "--gres=gpu:h100:8"]].concat();
    let alone = "omnipilot run -- vllm serve meta-llama/Llama-3.1-405B-Instruct";
    let refused = site.cluster.sbatch(ALICE, &words, alone).unwrap();
    assert_eq!(
        (refused.code, &*refused.stdout),
        (Some(65), ""),
        "{refused}"
    );
    assert!(refused.stderr.contains("hint: "), "{refused}");
    let check = [&words[..], &["--llm-advice=check"]].concat();
    let told = site
        .cluster
        .sbatch(
            ALICE,
            &check,
            "srun ray start\nomnipilot run -- vllm serve m",
        )
        .unwrap();
    assert!(told.stderr.contains("on 2 nodes"), "{told}");
}
