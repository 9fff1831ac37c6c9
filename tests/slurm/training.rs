//! Training as a Slurm job: `etc/train.sbatch` as it is shipped.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use e2e::{ALICE, OPERATOR, Setup};
use serde_json::Value;

use crate::site::Site;

/// The recipe.
const RECIPE: &str = include_str!("../../etc/train.sbatch");
/// Every so manyth published figure is imported: training is what takes the time.
const EVERY: usize = 3;

/// A site whose store belongs to an account that is no administrator of Slurm.
fn site() -> Site {
    let site = Site::bare(&Setup::default());
    let figures = include_str!("../../model-store/store/data/published-figures.csv");
    let some = figures
        .lines()
        .enumerate()
        .filter(|(n, _)| *n == 0 || n % EVERY == 1);
    let some: Vec<&str> = some.map(|(_, line)| line).collect();
    let file = site.cluster.file("some.csv", &some.join("\n")).unwrap();
    let import = ["import", "--format", "runs-csv", "--origin", "published"];
    site.omnipilot(OPERATOR, &[&import[..], &[file.to_str().unwrap()]].concat())
        .success()
        .unwrap();
    site.omnipilot(OPERATOR, &["observe"]).success().unwrap();
    // Where all users are one there is nobody else to give it to.
    if cfg!(e2e_root) {
        let mut given = Command::new("chown");
        given.args(["-R", "alice"]).arg(site.path("site"));
        assert!(given.status().unwrap().success());
    }
    site
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn the_shipped_job_trains_publishes_and_waits_for_the_one_before_it() {
    let site = site();
    assert!(models(&site).is_empty());
    // What differs from site to site: where the configuration lies, and where logs may be written.
    let variable = format!("--export=ALL,OMNIPILOT_CONFIG={}", site.config());
    let words = [variable.as_str(), "--output=slurm-%j.out"];
    let submit = || {
        let output = site.cluster.sbatch(ALICE, &words, RECIPE).unwrap();
        output.success().unwrap().id().unwrap()
    };
    let (first, second) = (submit(), submit());
    let record = site.cluster.show_job(second).unwrap();
    assert_eq!(
        (record["JobState"].as_str(), record["Reason"].as_str()),
        ("PENDING", "Dependency"),
        "{record:?}"
    );
    for id in [first, second] {
        site.cluster.completed(id).unwrap();
        let log = site.cluster.job_output(id).unwrap();
        assert!(!log.contains("omnipilot: error"), "{log}");
    }
    let trained = models(&site);
    assert_eq!(trained.len(), 1, "{trained:?}");
    let (id, state) = (trained[0]["id"].as_str().unwrap(), &trained[0]["state"]);
    let told = site.cluster.job_output(first).unwrap();
    assert!(
        *state == "current" && told.contains(&format!("as {id}\n")),
        "{told}"
    );
    // The later one found nothing new to learn from.
    let told = site.cluster.job_output(second).unwrap();
    assert!(told.starts_with("not trained: 0 new runs"), "{told}");
    let snapshot = std::fs::metadata(site.path("site/store.snapshot")).unwrap();
    assert_eq!(snapshot.permissions().mode() & 0o777, 0o644);
}

fn models(site: &Site) -> Vec<Value> {
    site.json(&["models"])["models"].as_array().unwrap().clone()
}
