//! `omnipilot explain` as a user runs it. `sacct` is a stand-in that answers from a file; the
//! end-to-end tests ask a real one.

#![allow(clippy::unwrap_used)] // helpers of tests

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use model_store::advisor::{
    Case, ClusterState, GpuPool, Measured, Origin, Precision, Run, Variant, Workload,
};
use model_store::store::{AccountedJob, Store};
use serde_json::Value;
use tempfile::TempDir;

const ASK: [&str; 4] = [
    "--model=meta-llama/Llama-3.1-70B-Instruct",
    "--isl=2000",
    "--osl=300",
    "--concurrency=64",
];

/// A site with the published figures and three GPU types.
struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        site.prices(&[("a100", 1.8), ("h100", 3.0), ("h200", 3.8)]);
        site.ok(&["init", "--figures-only"]);
        let pool = |gres: &str| GpuPool {
            gres: gres.into(),
            nodes: 2,
            per_node: 8,
            total: 16,
            free: 16,
            partitions: vec![gres.into(), "all".into()],
            ..GpuPool::default()
        };
        let cluster = ClusterState {
            pools: ["a100", "h100", "h200"].map(pool).to_vec(),
            default_partition: Some("all".into()),
            ..ClusterState::default()
        };
        let mut store = Store::open(&site.path("store.db")).unwrap();
        store.save_cluster(&cluster).unwrap();
        drop(store);
        site.ok(&["train"]);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn prices(&self, prices: &[(&str, f64)]) {
        let mut text = format!(
            "store = \"{0}/store.db\"\nsnapshot = \"{0}/model.snapshot\"\nspool = \"{0}/spool\"\n",
            self.dir.path().display()
        );
        for (gres, price) in prices {
            text.push_str(&format!("[gpu.{gres}]\nprice_per_hour = {price}\n"));
        }
        std::fs::write(self.path("omnipilot.toml"), text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut command = Command::new(env!("CARGO_BIN_EXE_omnipilot"));
        let config = self.path("omnipilot.toml");
        command.arg("--config").arg(config).args(args);
        command.env("PATH", path).output().unwrap()
    }

    fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        let err = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{args:?}: {err}");
        String::from_utf8(out.stdout).unwrap()
    }

    fn json(&self, verb: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[verb, &["--json"]].concat())).unwrap()
    }

    /// A stand-in for `sacct` that knows one job of the caller; somebody else has written the same comment since.
    fn accounting(&self, submit_line: &str, comment: &str) {
        std::fs::create_dir_all(self.path("bin")).unwrap();
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n*--batch-script*) exit 0 ;;\n*JobIDRaw,User,Comment*) printf \"4710\\tbob\\tother\\n4711\\t$(id -un)\\t{comment}\\n4712\\tmallory\\t{comment}\\n\" ;;\n\
             *'-j 4712'*) exit 0 ;;\n\
             *) printf '4711\\talice\\t{submit_line}\\t{}\\t{comment}\\n' ;;\nesac\n",
            self.dir.path().display()
        );
        let file = self.path("bin/sacct");
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn name(candidate: &Value) -> (String, u64, String) {
    let text = |key: &str| candidate[key].as_str().unwrap().to_owned();
    (
        text("gpu"),
        candidate["tp"].as_u64().unwrap(),
        text("precision"),
    )
}

fn ask(verb: &'static str) -> Vec<&'static str> {
    [&[verb], &ASK[..]].concat()
}

#[test]
fn the_price_that_it_names_is_the_one_at_which_another_wins() {
    let site = Site::new();
    let e = site.json(&ask("explain"));
    let candidates = e["candidates"].as_array().unwrap();
    let best = name(&candidates[0]);
    let price_of = |c: &Value| -> Option<f64> {
        let levers = c["to_win"].as_array()?;
        let lever = levers.iter().find(|l| l["what"] == "price-per-gpu-hour")?;
        lever["needed"].as_f64()
    };
    let (other, needed) = candidates
        .iter()
        .find_map(|c| Some((name(c), price_of(c)?)))
        .unwrap();
    assert_ne!(other.0, best.0);
    let prices = |of_other: f64| {
        [("a100", 1.8), ("h100", 3.0), ("h200", 3.8)]
            .map(|(gres, price)| (gres, if gres == other.0 { of_other } else { price }))
    };
    for (factor, wins) in [(1.001, false), (0.999, true)] {
        site.prices(&prices(needed * factor));
        site.ok(&["train"]);
        let advice = site.json(&ask("advise"));
        let first = name(&advice["candidates"][0]);
        assert_eq!(
            first == other,
            wins,
            "{factor}: {first:?}, {other:?} at {needed}"
        );
    }
}

#[test]
fn an_advice_is_made_again_after_another_snapshot_was_published() {
    let site = Site::new();
    let given = site.json(&ask("advise"));
    let file = site.path("given.json");
    std::fs::write(&file, given.to_string()).unwrap();
    site.prices(&[("a100", 9.0), ("h100", 1.0), ("h200", 9.0)]);
    site.ok(&["train"]);
    let now = site.json(&ask("advise"));
    assert_ne!(now["advice"], given["advice"]);
    let again = site.json(&["explain", "--request", file.to_str().unwrap()]);
    assert_eq!(again["made_again"], "same");
    assert_eq!(again["advice"], given["advice"]);
    let of = |v: &Value| -> Vec<(Value, Value)> {
        let all = v["candidates"].as_array().unwrap().iter();
        all.map(|c| (c["targets"].clone(), c["utility"].clone()))
            .collect()
    };
    assert_eq!(of(&given), of(&again));
    let text = site.ok(&["explain", "--request", file.to_str().unwrap()]);
    let id = given["advice"].as_str().unwrap();
    assert!(
        text.contains(&format!("advice {id}, made again as it was given")),
        "{text}"
    );
}

#[test]
fn the_advice_of_a_job_is_found_by_its_id_and_by_the_job() {
    let site = Site::new();
    std::fs::write(
        site.path("serve.sh"),
        "#!/bin/bash\n#SBATCH --llm-isl=2000\n#SBATCH --llm-osl=300\nomnipilot run -- vllm serve m\n",
    )
    .unwrap();
    let line = "sbatch -p h100 --llm-model=meta-llama/Llama-3.1-70B-Instruct --llm-concurrency=64 serve.sh";
    site.accounting(line, "nothing");
    let first = site.json(&["explain", "--job", "4711"]);
    assert_eq!(first["asked_for"], Value::Null);
    let only_h100 = |e: &Value| {
        let all = e["candidates"].as_array().unwrap().clone();
        !all.is_empty() && all.iter().all(|c| c["gpu"] == "h100")
    };
    assert!(only_h100(&first));
    let id = first["advice"].as_str().unwrap().to_owned();
    site.accounting(line, &format!("mine omnipilot:{id}"));
    for args in [vec!["explain", "--job", "4711"], vec!["explain", &id]] {
        let again = site.json(&args);
        assert_eq!(again["made_again"], "same", "{args:?}");
        assert!(only_h100(&again));
    }
    let wrong = site.run(&["explain", "00000000"]);
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
}

#[test]
fn it_shows_terms_runs_and_what_is_not_counted() {
    let site = Site::new();
    let text = site.ok(&ask("explain"));
    for part in [
        "utility = weight x term",
        "would win with",
        "nearest measured runs",
        "(published)",
        "ranked by tokens, price, relaunch, saturation; not counted: ",
        "queue waits are not known",
        "not offered",
    ] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    let nothing = site.run(&["explain"]);
    assert_eq!(nothing.status.code(), Some(2));
}

/// Jobs of this cluster, each under another load: all on eight H200 in fp8, whatever is cheaper.
fn add_choices(site: &Site, jobs: u64, note: &str) {
    let (mut runs, mut accounted) = (Vec::new(), Vec::new());
    for n in 0..jobs {
        let load = 4.0 * 1.3f64.powi(i32::try_from(n % 12).unwrap());
        runs.push(Run {
            run_id: format!("job {n}"),
            origin: Origin::ThisCluster,
            source: "cluster:c".into(),
            source_ref: format!("job {n} window 1"),
            case: Case {
                model: "meta-llama/Llama-3.1-70B-Instruct".into(),
                params_b: None,
                active_params_b: None,
                gpu: "H200".into(),
                gpu_mem_gb: None,
                tp: Some(8),
                pp: 1,
                dp: 1,
                precision: Some(Precision::Fp8),
                kv_precision: None,
                isl: Some(1000.0 + 300.0 * f64::from(u32::try_from(n / 12).unwrap())),
                osl: Some(300.0),
                workload: Workload::ClosedLoop,
                concurrency: Some(load),
                request_rate: None,
                engine: "vllm".into(),
                engine_version: "0.11.2".into(),
                variant: Variant::default(),
            },
            measured: Measured {
                output_tok_s: Some(load * 60.0),
                ..Measured::default()
            },
            notes: format!("state COMPLETED{note}"),
        });
        accounted.push(AccountedJob {
            cluster: "c".into(),
            job_id: n,
            submit: 1_795_000_000 + i64::try_from(n).unwrap() * 3600,
            start: 1_795_000_100 + i64::try_from(n).unwrap() * 3600,
            state: "COMPLETED".into(),
            exit_code: "0:0".into(),
            user: format!("user{}", n % 7),
            ..AccountedJob::default()
        });
    }
    let mut store = Store::open(&site.path("store.db")).unwrap();
    store.insert_runs(runs.into_iter()).unwrap();
    store
        .save_accounting(&accounted, &[], &[], ("sacct", 1_796_000_000))
        .unwrap();
}

#[test]
fn past_choices_move_the_weights_and_advice_that_was_followed_is_no_choice() {
    let site = Site::new();
    let text = site.ok(&["train"]);
    let few = "weights as configured: 0 past choices, 30 are needed to learn from";
    assert!(text.contains(few), "{text}");
    add_choices(&site, 40, ", advice 7f3a91aa");
    assert!(site.ok(&["train"]).contains(few), "followed advice counts");
    let other = Site::new();
    add_choices(&other, 40, ", as written under 7f3a91aa");
    let text = other.ok(&["train"]);
    assert!(
        text.contains("weights learnt from 40 past choices"),
        "{text}"
    );
    let e = other.json(&ask("explain"));
    let weights = &e["ranking"]["weights"];
    let (tokens, price) = (weights["tokens"].as_f64(), weights["price"].as_f64());
    // They take eight GPUs where one is the best for the price: tokens count more than prices.
    assert!(tokens > price, "{weights}");
    assert_eq!(e["preferences"]["choices"], 40);
    assert!(other.ok(&ask("explain")).contains("+-"));
}
