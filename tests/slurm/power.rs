//! Power and memory of a job's own GPUs, through a stand-in for NVIDIA's library: GPU n takes 100 + 100 n watts and has 10 + n GB in use.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use e2e::{ALICE, Setup, artifacts};
use serde_json::Value;

use crate::site::{Site, submitted};

/// Submits a job on two GPUs with this library mode.
fn submit(site: &Site, mode: &str) -> u32 {
    let library = site.path("nvml").display().to_string();
    let set = format!("export LD_LIBRARY_PATH={library} NVML_STANDIN={mode}\nenv | grep");
    let script = site.serving().replace("env | grep", &set);
    let words = [
        "--llm-model=m/own-7b",
        "--llm-advice=explore",
        "--gres=gpu:h100:2",
    ];
    submitted(&site.cluster.sbatch(ALICE, &words, &script).unwrap())
}

/// The GPUs that a job saw, and the first window of its outcome file.
fn window(site: &Site, id: u32) -> (Vec<f64>, Value) {
    site.cluster.completed(id).unwrap();
    let text = site.cluster.job_output(id).unwrap();
    let visible = text.lines().find_map(|l| l.strip_prefix("gpus ")).unwrap();
    let gpus = visible.split(',').map(|n| n.parse().unwrap()).collect();
    let mut files = fs::read_dir(site.path("site/spool"))
        .unwrap()
        .map(|e| e.unwrap().path());
    let own = |p: &PathBuf| p.to_str().unwrap().contains(&format!("-{id}-"));
    let text = fs::read(files.find(own).unwrap()).unwrap();
    let outcome: Value = serde_json::from_slice(&text).unwrap();
    assert!(outcome["windows"][0].is_object(), "{outcome}");
    (gpus, outcome["windows"][0].clone())
}

#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_native)),
    ignore = "needs Slurm and a C compiler"
)]
fn the_jobs_own_gpus_are_measured_and_a_driver_that_fails_costs_the_figures_alone() {
    let site = Site::trained(&Setup::default());
    site.load_plugin();
    fs::create_dir(site.path("nvml")).unwrap();
    // A copy: the folder of the build may be closed to the user whose job loads it.
    let library = site.path("nvml/libnvidia-ml.so.1");
    fs::copy(artifacts::native("nvml"), &library).unwrap();
    fs::set_permissions(&library, Permissions::from_mode(0o755)).unwrap();
    for mode in ["counts", "no-energy"] {
        let (gpus, w) = window(&site, submit(&site, mode));
        assert_eq!(gpus.len(), 2);
        let watts: f64 = gpus.iter().map(|n| 100.0 + 100.0 * n).sum();
        let measured = w["power_w"].as_f64().unwrap();
        // The stand-in counts energy in milliseconds of its clock.
        assert!(
            (measured / watts - 1.0).abs() < 0.02,
            "{measured} W, {watts} W are true"
        );
        let fullest = 10.0 + gpus.iter().copied().fold(0.0, f64::max);
        assert_eq!(w["memory_gb"].as_f64(), Some(fullest));
    }
    for mode in ["no-driver", "hangs", "fails"] {
        let (_, w) = window(&site, submit(&site, mode));
        assert_eq!(w["power_w"], Value::Null, "{w}");
        assert!(w["output_tok_s"].as_f64().unwrap() > 0.0, "{w}");
    }
}
