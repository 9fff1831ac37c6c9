//! The command beside a Slurm without the plugin: `submit`, `advise`, `predict` and `train`.

use std::fs;

use e2e::{ALICE, OPERATOR, Output, Setup};
use serde_json::Value;

use crate::site::{FAR_AWAY, REQUEST, Site, assert_refused, gpus, submitted, variables};

/// Runs `omnipilot submit OPTIONS SBATCH-WORDS SCRIPT` as alice.
fn submit(site: &Site, options: &[&str], words: &[&str], script: &str) -> Output {
    let script = site
        .cluster
        .script(ALICE, script)
        .unwrap()
        .display()
        .to_string();
    site.omnipilot(ALICE, &[&["submit"], options, words, &[&script]].concat())
}

/// What `omnipilot advise` says of the request as JSON.
fn advised(site: &Site) -> Value {
    site.json(&[&["advise"], &REQUEST[..]].concat())
}

/// A batch script that asks for GPUs itself and shows what it was given.
const SCRIPT: &str = "#SBATCH --gres=gpu:a100:8\n#SBATCH --comment=mine\nenv | grep -E '^(SLURM_LLM_|SLURM_GPUS_ON_NODE)'";

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_job_gets_what_was_advised_without_the_plugin() {
    let site = Site::trained(&Setup::default());
    let told = advised(&site);
    let id = submitted(&submit(&site, &REQUEST, &[], SCRIPT));
    let record = site.cluster.wait_job(id).unwrap();
    assert_eq!(gpus(&record), told["gres"].as_str().unwrap());
    // A script says how far its engine may be spread, so the advice is another than that of `omnipilot advise`.
    let advice = record["Comment"].strip_prefix("mine omnipilot:").unwrap();
    let text = site.cluster.job_output(id).unwrap();
    let env = variables(&text);
    assert_eq!(env["SLURM_LLM_TP"], env["SLURM_GPUS_ON_NODE"], "{text}");
    assert_eq!(
        gpus(&record),
        format!("gpu:{}:{}", env["SLURM_LLM_GPU"], env["SLURM_LLM_TP"])
    );
    assert_eq!(env["SLURM_LLM_ADVICE"], advice);
    let precision = env["SLURM_LLM_PRECISION"];
    assert!(
        told["message"][0]
            .as_str()
            .unwrap()
            .contains(&format!(", {precision}:")),
        "{told}\n{text}"
    );
    assert!(
        env["SLURM_LLM_ENGINE_ARGS"]
            .contains(&format!("--tensor-parallel-size {}", env["SLURM_LLM_TP"])),
        "{text}"
    );
}

/// An advice is made again from the job that it was given to: by the job and by the advice's id.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn explain_makes_the_advice_of_a_job_again() {
    let site = Site::trained(&Setup::default().accounting());
    site.load_plugin();
    let script = "#SBATCH --llm-isl=1000\n#SBATCH -p serve\n# omnipilot run -- vllm serve m\ntrue";
    let words = [REQUEST[0], REQUEST[2], REQUEST[3]];
    let job = submitted(&site.cluster.sbatch(ALICE, &words, script).unwrap());
    let record = site.cluster.wait_job(job).unwrap();
    // Accounting lags behind the controller.
    site.cluster.sacct(job, &["SubmitLine"]).unwrap();
    let comment = record["Comment"].as_str();
    let advice = comment.strip_prefix("omnipilot:").unwrap();
    let explain = |which: &[&str]| -> Value {
        let words = [&["explain"], which, &["--json"]].concat();
        let output = site.omnipilot(ALICE, &words).success().unwrap();
        serde_json::from_str(&output.stdout).unwrap()
    };
    for which in [&["--job", &job.to_string()][..], &[advice][..]] {
        let told = explain(which);
        assert_eq!(
            (&told["made_again"], &told["advice"]),
            (&"same".into(), &advice.into())
        );
        let first = &told["candidates"][0];
        let gres = format!(
            "gpu:{}:{}",
            first["gpu"].as_str().unwrap(),
            first["gpus"].as_u64().unwrap()
        );
        assert_eq!(gres, gpus(&record));
    }
}

/// What `--dry-run` prints can be typed: it submits the same job.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_dry_run_prints_what_would_be_typed() {
    let site = Site::trained(&Setup::default());
    let options = [&REQUEST[..], &["--dry-run"]].concat();
    let words = ["--hold", "--job-name=a b'c", "--gres=gpu:h200:8"];
    let printed = submit(&site, &options, &words, SCRIPT).success().unwrap();
    assert_eq!(site.jobs(), 0, "{printed}");
    let last = printed.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("sbatch --gres=")
            && last.contains("gpu:h")
            && printed.stdout.starts_with("export SLURM_LLM_TP="),
        "{printed}"
    );

    let plain = submit(&site, &options, &["--hold", "--job-name=a b'c"], SCRIPT)
        .success()
        .unwrap();
    let typed = site
        .cluster
        .run(ALICE, "bash", &["-c", &plain.stdout])
        .unwrap();
    let record = site.cluster.show_job(submitted(&typed)).unwrap();
    assert_eq!(gpus(&record), advised(&site)["gres"].as_str().unwrap());
    assert_eq!(record["JobName"], "a b'c");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn check_explore_and_off_leave_the_gpus_as_they_were_written() {
    let site = Site::trained(&Setup::default());
    let noted = format!(
        "mine omnipilot:{}",
        advised(&site)["advice"].as_str().unwrap()
    );
    for (mode, comment, lines) in [
        ("check", "mine", 2..5),
        ("explore", &*noted, 0..1),
        ("off", "mine", 0..1),
    ] {
        let mode = format!("--llm-advice={mode}");
        let output = submit(
            &site,
            &[&REQUEST[..], &[&mode]].concat(),
            &["--hold"],
            SCRIPT,
        );
        let record = site.cluster.show_job(output.id().unwrap()).unwrap();
        assert_eq!(
            (&*gpus(&record), &*record["Comment"]),
            ("gpu:a100:8", comment),
            "{mode}"
        );
        assert!(lines.contains(&output.stderr.lines().count()), "{output}");
    }
    let options = [&FAR_AWAY[..], &["--llm-advice=explore"]].concat();
    let far = submitted(&submit(&site, &options, &["--hold"], SCRIPT));
    assert_eq!(gpus(&site.cluster.show_job(far).unwrap()), "gpu:a100:8");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn refusals_have_the_plugins_codes_and_make_no_job() {
    let site = Site::trained(&Setup::default());
    let output = submit(&site, &FAR_AWAY, &[], SCRIPT);
    assert_refused(&output, 64, "omnipilot: ");
    let output = submit(&site, &["--llm-model=no-such/model"], &[], SCRIPT);
    assert_refused(&output, 64, "omnipilot: ");
    let output = submit(
        &site,
        &[&REQUEST[..], &["--llm-gpu=b200"]].concat(),
        &[],
        SCRIPT,
    );
    assert_refused(&output, 65, "omnipilot: ");
    assert_eq!(site.jobs(), 0);
}

/// A directive cannot be taken back from outside of `sbatch`, but the same option on the command line replaces it; where another
/// form would stay, which Slurm would add up, the script is submitted without it.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn gpus_in_directives_are_replaced() {
    let site = Site::trained(&Setup::default());
    let wanted = advised(&site)["gres"].as_str().unwrap().to_owned();
    let (_, plain) = wanted.split_once(':').unwrap();
    let degree = plain.rsplit(':').next().unwrap();
    for option in [
        "--gpus=8",
        "-G 8",
        "--gpus-per-node=a100:8",
        "--gpus-per-task=2 -n 1",
        "--gres=gpu:a100:8 -C a100",
        "--gpus=8 --gres=gpu:8",
        "--gpus=8 --gpus-per-node=8",
        "--gpus-per-socket=1",
    ] {
        let see = "echo $SLURM_LLM_TP $SLURM_GPUS_ON_NODE $SLURM_JOB_NUM_NODES";
        let output = submit(&site, &REQUEST, &[], &format!("#SBATCH {option}\n{see}"));
        let id = submitted(&output);
        site.cluster.wait_job(id).unwrap();
        let text = site.cluster.job_output(id).unwrap();
        assert_eq!(text, format!("{degree} {degree} 1\n"), "{option}");
    }
    let typed = submit(
        &site,
        &REQUEST,
        &["--hold", "--gpus=8", "-C", "a100"],
        "echo $SLURM_LLM_TP",
    );
    let record = site.cluster.show_job(submitted(&typed)).unwrap();
    assert_eq!(gpus(&record), wanted);
    // `--constraint=` takes the script's away; Slurm shows that as nothing.
    assert!(["", "(null)"].contains(&&*record["Features"]), "{record:?}");
    assert!(!record.contains_key("TresPerJob"), "{record:?}");
}

const MODEL: &str = "--llm-model=meta-llama/Llama-3.1-8B-Instruct";

/// The `--llm-*` lines of a script mean the same as under the plugin, and are left out of what an `sbatch` without it is given.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn options_come_from_script_environment_and_command_line_as_under_the_plugin() {
    let site = Site::trained(&Setup::default());
    let script = format!(
        "#SBATCH {MODEL} --gres=gpu:a100:8\n#SBATCH --llm-gpu=h100 --llm-tp=1\necho \"$0 $1 $SLURM_JOB_NAME $SLURM_LLM_TP\""
    );
    let file = site.cluster.script(ALICE, &script).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    let path = file.display().to_string();
    let config = site.config();
    let run = |variable: &str, words: &[&str]| {
        let mut command = site.cluster.command(ALICE, "omnipilot").unwrap();
        command
            .env("OMNIPILOT_TP", variable)
            .args(["--config", &config, "submit"])
            .args(words);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}", text(&output.stderr));
        let id = text(&output.stdout)
            .trim()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        (id, gpus(&site.cluster.show_job(id).unwrap()))
    };
    assert_eq!(run("", &["--hold", &path]).1, "gpu:h100:1");
    assert_eq!(run("2", &["--hold", &path]).1, "gpu:h100:2");
    assert_eq!(run("2", &["--hold", "--llm-tp=4", &path]).1, "gpu:h100:4");
    assert_eq!(
        run("2", &["--llm-tp=4", "--hold", "--llm-gpu", "h200", &path]).1,
        "gpu:h200:4"
    );
    assert_eq!(
        run("", &["--hold", "--llm-advice=off", &path]).1,
        "gpu:a100:8"
    );
    let (id, _) = run("", &[&path, "argument"]);
    site.cluster.wait_job(id).unwrap();
    let text = site.cluster.job_output(id).unwrap();
    assert!(text.ends_with(&format!(" argument {name} 1\n")), "{text}");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_script_on_standard_input_is_read_and_handed_on() {
    let site = Site::trained(&Setup::default());
    let text = format!(
        "#!/bin/bash\n#SBATCH {MODEL}\n#SBATCH --hold --llm-gpu=a100\nvllm serve m -tp 4\n"
    );
    let file = site.cluster.script(ALICE, &text).unwrap();
    let mut command = site.cluster.command(ALICE, "omnipilot").unwrap();
    command.args(["--config", &site.config(), "submit"]);
    let output = command
        .stdin(fs::File::open(file).unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let id = told.trim().rsplit(' ').next().unwrap().parse().unwrap();
    let record = site.cluster.show_job(id).unwrap();
    assert_eq!(
        (&*gpus(&record), &*record["JobName"]),
        ("gpu:a100:4", "sbatch")
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn policy_form_and_rules_are_the_plugins() {
    let site = Site::trained(&Setup::default());
    let text = fs::read_to_string(site.config()).unwrap();
    let rules = "[rewrite]\ngpus = \"gpus-per-node\"\ncpus_per_gpu = 3\nmem_per_gpu = \"5G\"\n[[policy]]\nqos = \"high\"\nmode = \"enforce\"\n";
    fs::write(site.config(), text + rules).unwrap();
    let pins = [MODEL, "--llm-gpu=h100", "--llm-tp=2"];
    let see = "echo $SLURM_GPUS_ON_NODE $SLURM_CPUS_ON_NODE $SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE $(printenv | sed -n 's/^SLURM_JOB_NUM_[N]ODES=//p')";
    let words = ["-N2", "--gpus=a100:2", "--mem-per-cpu=1G", "-c", "9"];
    let id = submitted(&submit(&site, &pins, &words, see));
    site.cluster.wait_job(id).unwrap();
    assert_eq!(site.cluster.job_output(id).unwrap(), "2 6 6 10240 1\n");
    for more in [&["--llm-advice=off"][..], &["--llm-advice=explore"]] {
        let output = submit(&site, &[&pins, more].concat(), &["-q", "high"], "true");
        assert_refused(&output, 67, "omnipilot: ");
        assert!(
            output.stderr.contains("QOS high enforces advice"),
            "{output}"
        );
    }
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn components_are_advised_each_without_the_plugin_too() {
    let site = Site::trained(&Setup::default());
    let script = format!(
        "#SBATCH {MODEL} --llm-gpu=h100\n#SBATCH --llm-tp=2\n#SBATCH hetjob\n#SBATCH {MODEL} --llm-gpu=h200\n\
         echo $SLURM_LLM_TP $SLURM_LLM_GPU_HET_GROUP_0 $SLURM_LLM_TP_HET_GROUP_1 $SLURM_LLM_GPU_HET_GROUP_1"
    );
    let file = site.cluster.script(ALICE, &script).unwrap();
    let words = [
        "submit",
        "--mem=1G",
        ":",
        "--llm-tp=4",
        &file.display().to_string(),
    ];
    let id = submitted(&site.omnipilot(ALICE, &words));
    site.cluster.wait_job(id).unwrap();
    let output = site
        .cluster
        .work(ALICE)
        .unwrap()
        .join(format!("slurm-{id}.out"));
    assert_eq!(fs::read_to_string(output).unwrap(), "2 h100 4 h200\n");
    let words = ["show", "job", &id.to_string()];
    let shown = site.cluster.run(ALICE, "scontrol", &words).unwrap();
    let asked: Vec<String> = shown
        .stdout
        .trim()
        .split("\n\n")
        .map(|record| gpus(&e2e::parse_job(record)))
        .collect();
    assert_eq!(asked, ["gpu:h100:2", "gpu:h200:4"]);
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn advise_tells_people_and_programs_the_same() {
    let site = Site::trained(&Setup::default());
    let told = advised(&site);
    let human = site
        .omnipilot(ALICE, &[&["advise"], &REQUEST[..]].concat())
        .success()
        .unwrap();
    let message: Vec<&str> = told["message"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let lines: Vec<&str> = human.stdout.lines().collect();
    assert_eq!(lines[..message.len()], message[..], "{human}");
    assert_eq!(
        (&told["schema"], &told["decision"]),
        (&1.into(), &"rewrite".into()),
        "{told}"
    );
    let candidates = told["candidates"].as_array().unwrap();
    assert!(
        lines.len() >= message.len() + candidates.len() && candidates.len() > 10,
        "{human}"
    );
    for gpu in ["a100", "h100", "h200"] {
        assert!(
            candidates.iter().any(|candidate| candidate["gpu"] == gpu),
            "{told}"
        );
    }
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn advise_refuses_with_the_plugins_code_and_says_so_in_json() {
    let site = Site::trained(&Setup::default());
    let output = site.omnipilot(ALICE, &[&["advise", "--json"], &FAR_AWAY[..]].concat());
    let told: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        (output.code, &told["decision"], &told["gres"]),
        (Some(64), &"refuse".into(), &Value::Null)
    );
}

/// The columns of the contract. One case inside of what was measured, one outside, one that cannot be read.
const CASES: &str = "\
run_id,source,source_ref,engine,engine_version,model,model_params_b,model_active_params_b,gpu,gpu_mem_gb,tp,pp,dp,num_gpus,\
precision,kv_precision,isl,osl,workload,concurrency_or_batch,request_rate,output_tok_s,total_tok_s,req_s,ttft_mean_ms,\
ttft_p50_ms,ttft_p99_ms,tpot_mean_ms,tpot_p99_ms,e2e_mean_ms,e2e_p99_ms,peak_mem_gb,power_w,energy_j_per_tok,startup_s,outcome,notes
in,TensorRT-LLM documentation,,TensorRT-LLM,0.17,meta-llama/Llama-3.1-70B-Instruct,70.6,70.6,H100-SXM,80,4,1,1,4,fp8,fp8,1000,1000,offline,,inf,OUT
out,lab,,vllm,0.6.0,meta-llama/Llama-3.1-70B-Instruct,70.6,70.6,H100-SXM,80,4,1,1,4,fp8,fp8,120000,1000,offline,,inf,OUT
odd,lab,,vllm,0.6.0,meta-llama/Llama-3.1-70B-Instruct,70.6,70.6,H100-SXM,80,many,1,1,4,fp8,fp8,1000,1000,offline,,inf,OUT
";
/// The outcome columns, `output_tok_s` to `outcome`.
const MEASURED: &str = "2500,5000,2.5,300,290,900,20,30,20300,21000,70,2400,0.96,120,ok,";
const GARBLED: &str = "-1e300,NaN,many,,\"a,b\",inf,x,0,-,9,9,9,9,9,exploded,";

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn predict_writes_the_contracts_columns_and_never_reads_an_outcome() {
    let site = Site::trained(&Setup::default());
    let measured = predict(&site, "measured", MEASURED);
    assert_eq!(measured, predict(&site, "garbled", GARBLED));
    let lines: Vec<Vec<&str>> = measured
        .lines()
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(lines[0], contract());
    let of = |line: &[&str], name: &str| {
        line[lines[0].iter().position(|column| *column == name).unwrap()].to_owned()
    };
    let answers: Vec<_> = lines[1..]
        .iter()
        .map(|line| (line[0], of(line, "support")))
        .collect();
    assert_eq!(
        answers,
        [
            ("in", "in".into()),
            ("out", "out".into()),
            ("odd", "out".into())
        ]
    );
    let [lo, q50, hi] = ["lo", "q50", "hi"].map(|end| {
        of(&lines[1], &format!("output_tok_s_{end}"))
            .parse::<f64>()
            .unwrap()
    });
    assert!(0.0 < lo && lo < q50 && q50 < hi, "{measured}");
    assert!(
        of(&lines[2], "axes").contains("context") && !of(&lines[1], "nearest_run").is_empty(),
        "{measured}"
    );
}

fn predict(site: &Site, name: &str, outcome: &str) -> String {
    let input = site
        .cluster
        .file(&format!("{name}.csv"), &CASES.replace("OUT", outcome))
        .unwrap();
    let output = site.path(&format!("{name}-predicted.csv"));
    let store = site.path("site/store.db");
    let paths = [&store, &input, &output].map(|path| path.display().to_string());
    let words = [
        "--store", &paths[0], "predict", "--input", &paths[1], "--output", &paths[2],
    ];
    let done = site.cluster.run(OPERATOR, "omnipilot", &words).unwrap();
    done.success().unwrap();
    fs::read_to_string(output).unwrap()
}

fn contract() -> Vec<String> {
    let targets = "output_tok_s req_s ttft_ms tpot_ms kv_usage power_w cold_start_s launch_success"
        .split(' ');
    let ends =
        |target: &str| ["q10", "q50", "q90", "lo", "hi"].map(|end| format!("{target}_{end}"));
    let mut columns = vec!["run_id".to_owned()];
    columns.extend(targets.flat_map(ends));
    columns.extend(["support", "axes", "nearest_run"].map(str::to_owned));
    // What memory has room for came later: new columns stand behind those that were there.
    let of_memory = "kv_tokens_lo kv_tokens_q50 kv_tokens_hi longest_context_lo longest_context_q50 memory_starts forbidden";
    columns.extend(of_memory.split(' ').map(str::to_owned));
    columns
}

/// Training is deterministic: the same store gives the same snapshot.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn train_reports_as_json_and_the_same_store_gives_the_same_model() {
    let site = Site::trained(&Setup::default());
    let [one, two] = [(), ()].map(|()| site.json(&["train"]));
    assert_eq!(one["schema"], 1);
    assert_eq!(one["report"], two["report"]);
    let snapshot = site.path("site/store.snapshot");
    assert_eq!(one["path"], snapshot.display().to_string());
    assert_eq!(one["bytes"], fs::metadata(snapshot).unwrap().len());
    let targets = one["report"]["targets"].as_array().unwrap();
    assert_eq!(targets.len(), 8, "{one}");
}
