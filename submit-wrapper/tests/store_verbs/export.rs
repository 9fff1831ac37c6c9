//! An advice in the forms of other launchers, and runs as tables that come back as they were.

use std::process::{Command, Stdio};

use model_store::advisor::Precision;
use model_store::engine_args::{Outside, starts};

use crate::site::Site;

const ASK: [&str; 4] = [
    "--llm-model=meta-llama/Llama-3.1-70B-Instruct",
    "--llm-isl=2000",
    "--llm-osl=300",
    "--llm-concurrency=64",
];

/// A trained site with H100s.
fn site() -> Site {
    let site = Site::small();
    site.observes(&["h100"]);
    // The page tells when the cluster was seen.
    let mut seen = site.store().cluster().unwrap().unwrap();
    seen.observed_at = Some(1);
    site.store().save_cluster(&seen).unwrap();
    site.json(&["train"]);
    site
}

fn export(site: &Site, form: &str, more: &[&str]) -> String {
    let out = site.run(&[&["export", form], &ASK[..], more].concat());
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// TP and format of the recommended configuration.
fn advised(site: &Site) -> (u64, String) {
    let advice = site.json(&[&["advise"], &ASK[..]].concat());
    let best = &advice["candidates"][0];
    let precision = best["precision"].as_str().unwrap().to_owned();
    (best["tp"].as_u64().unwrap(), precision)
}

#[test]
fn a_batch_script_asks_for_and_starts_what_was_advised() {
    let site = site();
    let (tp, precision) = advised(&site);
    let file = site.path("serve.sh");
    export(&site, "sbatch", &["--output", file.to_str().unwrap()]);
    let script = std::fs::read_to_string(&file).unwrap();
    assert!(script.starts_with("#!/bin/bash\n"), "{script}");
    assert!(
        script.contains(&format!("\n#SBATCH --gres=gpu:h100:{tp}\n")),
        "{script}"
    );
    assert!(
        script.contains("\n#SBATCH --comment=omnipilot:"),
        "{script}"
    );
    let checked = Command::new("bash").arg("-n").arg(&file).status().unwrap();
    assert!(checked.success());
    // What OmniPilot itself reads in it: both ways of starting fix the advised degree.
    let engines = starts(&script, &Outside::NOTHING);
    assert!(
        format!("{engines:?}").contains(&format!("{tp}")),
        "{engines:?}"
    );
    // Run where there is no `omnipilot`, it starts the engine with the advised arguments.
    std::fs::create_dir(site.path("only")).unwrap();
    let engine = site.path("only/vllm");
    std::fs::write(&engine, "#!/bin/sh\necho \"$@\"\necho $SLURM_LLM_TP\n").unwrap();
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = Command::new("/bin/bash")
        .arg(&file)
        .env_clear()
        .env("PATH", site.path("only"))
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert!(
        said.contains(&format!("--tensor-parallel-size {tp}")),
        "{said}"
    );
    assert!(said.ends_with(&format!("\n{tp}\n")), "{said}");
    if precision == Precision::Fp8.name() {
        assert!(said.contains("fp8") || said.contains("FP8"), "{said}");
    }
}

#[test]
fn a_model_of_vec_inf_and_a_recipe_of_srtctl_carry_the_advice() {
    let site = site();
    let (tp, _) = advised(&site);
    let keys = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|l| !l.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let model = keys(&export(&site, "vec-inf", &[]));
    for line in [
        "models:".to_owned(),
        "  Llama-3.1-70B-Instruct:".into(),
        "    model_family: Llama".into(),
        "    model_variant: \"3.1-70B-Instruct\"".into(),
        "    resource_type: h100".into(),
        format!("    gpus_per_node: {tp}"),
        "    num_nodes: 1".into(),
        "    vocab_size: 128256".into(),
        "    vllm_args:".into(),
        format!("      --tensor-parallel-size: {tp}"),
    ] {
        assert!(model.contains(&line), "`{line}` is not in {model:#?}");
    }
    let recipe = keys(&export(&site, "srtctl", &[]));
    for line in [
        "schema: 2".to_owned(),
        "engine: vllm".into(),
        "  gpu_type: h100".into(),
        "  gpus_per_node: 8".into(),
        "    workers: 1".into(),
        format!("    gpus: {tp}"),
        format!("      tensor-parallel-size: {tp}"),
        "  isl: 2000".into(),
        "  concurrencies: [64]".into(),
    ] {
        assert!(recipe.contains(&line), "`{line}` is not in {recipe:#?}");
    }
}

#[test]
fn what_is_not_advised_is_not_exported() {
    let site = site();
    let out = site.run(&[
        "export",
        "sbatch",
        "--llm-model=google/flan-ul2",
        "-o",
        "x.sh",
    ]);
    assert_eq!(out.status.code(), Some(64), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("outside what was measured"));
    assert!(out.stdout.is_empty() && !std::path::Path::new("x.sh").exists());
}

#[test]
fn runs_go_out_and_come_in_again_in_every_encoding() {
    let site = Site::small();
    let count = |site: &Site| site.store().count().unwrap();
    for name in ["runs.csv", "runs.jsonl", "runs.parquet"] {
        let file = site.path(name);
        let file = file.to_str().unwrap();
        let out = site.run(&["export", "runs", "--output", file]);
        assert!(out.status.success(), "{out:?}");
        let told = String::from_utf8(out.stdout).unwrap();
        assert_eq!(told, format!("{} runs in {file}\n", count(&site)));
        // Here every run is known; in an empty store it is new, with its origin.
        let again = site.json(&["import", file]);
        assert_eq!(
            (again["taken"].as_u64(), again["known"].as_u64()),
            (Some(0), Some(count(&site)))
        );
        let other = Site::new();
        let before = count(&other);
        let taken = other.json(&["import", file]);
        assert_eq!(taken["skipped"], 0, "{taken}");
        assert_eq!(count(&other), before.max(count(&site)));
    }
    let out = site
        .command(&["export", "runs", "--origin", "this-cluster"])
        .stdout(Stdio::piped())
        .output()
        .unwrap();
    assert!(out.status.success() && out.stdout.is_empty(), "{out:?}");
}

/// Every line of a page is a comment or a sample of a family that was announced, as Prometheus reads it.
#[test]
fn the_state_of_the_site_is_a_page_for_prometheus() {
    let site = site();
    let file = site.path("omnipilot.prom");
    let write = || {
        let out = site.run(&["export", "metrics", "--output", file.to_str().unwrap()]);
        assert!(out.status.success(), "{out:?}");
        std::fs::read_to_string(&file).unwrap()
    };
    let page = write();
    let mut announced = Vec::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            announced.push(rest.split(' ').next().unwrap());
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert_eq!(
                announced.last(),
                series.split('{').next().as_ref(),
                "{line}"
            );
        }
    }
    for sample in [
        "omnipilot_snapshot_readable 1",
        "omnipilot_gpus{type=\"h100\",state=\"total\"} 16",
        "omnipilot_runs{origin=\"published\"} 239",
    ] {
        assert!(page.lines().any(|l| l == sample), "{sample}: {page}");
    }
    std::fs::write(site.path("published/omnipilot.snapshot"), "torn").unwrap();
    assert!(write().contains("\nomnipilot_snapshot_readable 0\n"));
    // What a dashboard shows, the page has.
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../../etc/grafana/omnipilot.json")).unwrap();
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let query = target["expr"].as_str().unwrap();
            let names = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            for name in names.filter(|n| n.starts_with("omnipilot_")) {
                assert!(page.contains(&format!("# TYPE {name} ")), "{name}");
                queries += 1;
            }
        }
    }
    assert!(queries >= 8);
}
