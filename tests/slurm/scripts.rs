//! What `tests/cluster/up.sh` and `down.sh` promise: clusters side by side, and nothing left behind.

use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{ALICE, Cluster};

/// A folder for a cluster that the test starts by the script itself.
fn own_prefix(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("omnipilot-{name}-{}", std::process::id()))
}

fn up(arguments: &[&str], prefix: &std::path::Path) -> std::process::Output {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/cluster/up.sh"))
        .args(arguments)
        .arg(prefix)
        .output()
        .unwrap()
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn two_clusters_run_side_by_side() {
    let (one, two) = (Cluster::start().unwrap(), Cluster::start().unwrap());
    let held = one
        .sbatch(ALICE, &["--hold"], "true")
        .unwrap()
        .id()
        .unwrap();
    let elsewhere = two.run(ALICE, "squeue", &["-h"]).unwrap();
    assert_eq!(
        elsewhere.stdout, "",
        "job {held} of the one shows in the other"
    );
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn stopping_ends_daemons_and_jobs_and_deletes_the_folder() {
    let cluster = Cluster::start().unwrap();
    let id = cluster
        .sbatch(ALICE, &[], "setsid sleep 600 & sleep 600")
        .unwrap()
        .id()
        .unwrap();
    cluster.wait_for(id, &["RUNNING"]).unwrap();
    let before = cluster.processes();
    assert!(
        before.len() >= 6,
        "daemons, step daemon and job: {before:?}"
    );
    let (conf, prefix) = (cluster.conf(), cluster.prefix().to_path_buf());
    cluster.stop().unwrap();
    assert!(!conf.exists() && !prefix.exists());
    let alive: Vec<_> = before.into_iter().filter(|pid| runs(*pid)).collect();
    assert!(alive.is_empty(), "still there: {alive:?}");
}

/// Whether a process exists and is more than a zombie.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, fields)| !fields.starts_with('Z'))
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_killed_owner_takes_its_cluster_along() {
    let prefix = own_prefix("owner");
    let mut owner = Command::new("sleep").arg("600").spawn().unwrap();
    let output = up(
        &["--no-accounting", "--owner", &owner.id().to_string()],
        &prefix,
    );
    assert!(output.status.success(), "{output:?}");
    owner.kill().unwrap();
    owner.wait().unwrap();
    let begun = Instant::now();
    while prefix.exists() && begun.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(!prefix.exists(), "{} is still there", prefix.display());
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn starting_twice_changes_nothing() {
    let cluster = Cluster::start().unwrap();
    let before = cluster.processes();
    let output = up(&["--no-accounting"], cluster.prefix());
    assert!(output.status.success(), "{output:?}");
    let summary = String::from_utf8(output.stdout).unwrap();
    assert!(
        summary.starts_with("Slurm ") && summary.lines().count() <= 2,
        "{summary}"
    );
    assert_eq!(cluster.left_beside(&before), [0; 0]);
    assert!(before.iter().all(|pid| runs(*pid)), "{before:?}");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_bad_configuration_is_told_with_the_end_of_the_log() {
    let prefix = own_prefix("bad");
    let conf = std::env::temp_dir().join(format!("omnipilot-bad-{}.conf", std::process::id()));
    std::fs::write(&conf, "NoSuchOption=yes\n").unwrap();
    let output = up(
        &["--no-accounting", "--conf", conf.to_str().unwrap()],
        &prefix,
    );
    std::fs::remove_file(conf).unwrap();
    std::fs::remove_dir_all(&prefix).unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(
        message.contains("slurmctld did not start") && message.contains("NoSuchOption"),
        "{message}"
    );
}
