//! Support grows: what is refused is wished for, probed, learnt from, and then advised.

use std::fs;
use std::time::{Duration, Instant};

use e2e::{ALICE, OPERATOR, Setup};
use serde_json::Value;

use crate::site::{Site, assert_refused, gpus};

/// A family of which no published figure tells.
const UNKNOWN_FAMILY: [&str; 4] = [
    "--llm-model=google/ul2",
    "--llm-isl=1000",
    "--llm-osl=1000",
    "--llm-concurrency=64",
];

/// Probes that serve for seconds, with a load that the stand-in makes by itself.
fn configure(site: &Site) {
    let config = fs::read_to_string(site.config()).unwrap();
    let bin = site.path("bin").display().to_string();
    let text = format!(
        "{config}\n[probe]\nminutes = 2\nload_seconds = 12\ngpu_hours = 0.2\n\
         setup = \"export OMNIPILOT_RUN_INTERVAL=0.2 OMNIPILOT_RUN_WARMUP=0.4\"\n\
         serve = '{bin}/vllm serve \"$PROBE_MODEL\" --port \"$PROBE_PORT\"'\n\
         load = 'sleep 1; kill -0 \"$engine\"'\n"
    );
    site.cluster.file("etc/omnipilot.toml", &text).unwrap();
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn a_family_that_is_refused_is_wished_for_probed_and_then_advised() {
    let site = Site::bare(&Setup::default().accounting());
    configure(&site);
    for verb in [&["init", "--figures-only"][..], &["observe"], &["train"]] {
        site.omnipilot(OPERATOR, verb).success().unwrap();
    }
    site.load_plugin();
    let refused = site
        .cluster
        .sbatch(ALICE, &UNKNOWN_FAMILY, &site.serving())
        .unwrap();
    assert_refused(&refused, 64, "sbatch: error: omnipilot: ");
    assert!(refused.stderr.contains("family t5"), "{refused}");
    assert_eq!(site.json(&["ingest"])["wishes"], 1);

    let plan = site.json(&["probe", "plan"]);
    assert_eq!(plan["wishes"], 1, "{plan}");
    let first = &plan["probes"][0];
    // The architecture's own checkpoint, whatever tuning of it was asked for.
    assert_eq!(first["model"], "google/flan-ul2", "{plan}");
    assert_eq!(first["opens"].as_array().unwrap().len(), 1, "{plan}");
    let dry = site
        .omnipilot(OPERATOR, &["probe", "run", "--dry-run"])
        .success()
        .unwrap();
    assert!(dry.stdout.contains("#SBATCH --gres=gpu:"), "{dry}");
    assert_eq!(site.jobs(), 0);

    let submitted = site.json(&["probe", "run"]);
    let ids: Vec<u32> = submitted["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| u32::try_from(job["job"].as_u64().unwrap()).unwrap())
        .collect();
    assert!(!ids.is_empty(), "{submitted}");
    // What was submitted is not submitted again; the request counts as under way.
    let again = site.json(&["probe", "plan"]);
    assert_eq!(again["under_way"].as_array().unwrap().len(), 1, "{again}");
    let of = |plan: &Value, key: &str| -> Vec<Value> {
        let all = plan["probes"].as_array().unwrap().iter();
        all.map(|p| p[key].clone()).collect()
    };
    assert!(
        of(&again, "opens")
            .iter()
            .all(|o| o.as_array().unwrap().is_empty()),
        "{again}"
    );

    let probes = plan["probes"].as_array().unwrap().len() as u64;
    let runs = ingest_all(&site, probes);
    assert!(runs >= probes, "{runs} runs of {probes} probes");
    site.json(&["train"]);
    let id = site.sbatch(
        &[&["--hold"], &UNKNOWN_FAMILY[..]].concat(),
        &site.serving(),
    );
    let record = site.cluster.show_job(id).unwrap();
    assert!(record["Comment"].contains("omnipilot:"), "{record:?}");
    assert_ne!(gpus(&record), "gpu:a100:8", "{record:?}");
}

/// Ingests until every probe has left its outcome, and gives the runs added.
fn ingest_all(site: &Site, probes: u64) -> u64 {
    let (begun, mut files, mut runs) = (Instant::now(), 0, 0);
    loop {
        let report = site.json(&["ingest"]);
        assert!(
            report["quarantined"].as_array().unwrap().is_empty(),
            "{report}"
        );
        runs += report["runs"].as_u64().unwrap();
        let waiting: u64 = report["waiting"]
            .as_array()
            .unwrap()
            .iter()
            .map(|w| w["files"].as_u64().unwrap())
            .sum();
        files += report["files"].as_u64().unwrap() - waiting;
        if files >= probes {
            return runs;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "{files} of {probes}: {report}"
        );
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// A job that runs as written is a request without an advice, and so a wish.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn an_explored_job_leaves_a_wish_and_a_full_spool_no_trace() {
    let site = Site::trained(&Setup::default());
    site.load_plugin();
    let words = [&["--hold", "--llm-advice=explore"], &UNKNOWN_FAMILY[..]].concat();
    site.sbatch(&words, &site.serving());
    let wishes = || {
        let all = fs::read_dir(site.path("site/spool")).unwrap();
        let names = all.map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|n| n.ends_with(".wish")).collect::<Vec<_>>()
    };
    let left = wishes();
    assert_eq!(left.len(), 1, "{left:?}");
    let text = fs::read_to_string(site.path("site/spool").join(&left[0])).unwrap();
    assert!(
        text.contains("\"why\":\"explored\"") && text.contains("ul2"),
        "{text}"
    );
    // Without the plugin alike; without a spool in silence.
    fs::rename(site.path("site/spool"), site.path("site/elsewhere")).unwrap();
    let refused = site
        .cluster
        .sbatch(ALICE, &UNKNOWN_FAMILY, &site.serving())
        .unwrap();
    assert_refused(&refused, 64, "sbatch: error: omnipilot: ");
}
