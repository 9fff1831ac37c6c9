//! When something is broken the job goes as it was written, with one line that says what is broken.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::{ALICE, Output, Setup};

use crate::site::{MODEL, Site, finish, gpus};

/// Submits a tagged job and asserts that it went as written, with one line that contains `reason`.
pub(crate) fn goes_as_written(site: &Site, reason: &str) {
    let sbatch = site.cluster.command(ALICE, "sbatch").unwrap();
    goes_as_written_by(site, sbatch, MODEL, reason);
}

/// The same for a prepared `sbatch` and another tag.
pub(crate) fn goes_as_written_by(site: &Site, mut sbatch: Command, tag: &str, reason: &str) {
    let script = site.cluster.script(ALICE, "true").unwrap();
    let begun = Instant::now();
    sbatch.args(["--hold", "--parsable", tag, "--gres=gpu:a100:2"]);
    let output = finish(sbatch.arg("--comment=mine").arg(script));
    assert!(begun.elapsed() < Duration::from_secs(5), "{output}");
    assert_one_line(&output, reason);
    assert_eq!(
        output.stdout.trim().parse::<u32>().ok(),
        output.id().ok(),
        "stdout is sbatch's own: {output}"
    );
    let record = site.cluster.show_job(output.id().unwrap()).unwrap();
    assert_eq!(
        (gpus(&record), &*record["Comment"]),
        ("gpu:a100:2".into(), "mine")
    );
}

pub(crate) fn assert_one_line(output: &Output, reason: &str) {
    assert_eq!(output.code, Some(0), "{output}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "{output}");
    assert!(
        lines[0].starts_with("sbatch: omnipilot: no advice: "),
        "{output}"
    );
    assert!(
        lines[0].contains(reason) && lines[0].ends_with("; the job goes as written"),
        "{output}"
    );
    assert!(!output.stderr.contains("panick"), "{output}");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_snapshot_that_is_no_snapshot() {
    let site = Site::start();
    let path = site.path("model.snapshot");
    let whole = fs::read(&path).unwrap();

    fs::remove_file(&path).unwrap();
    goes_as_written(&site, "No such file");
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    goes_as_written(&site, "model.snapshot");
    fs::write(&path, b"").unwrap();
    goes_as_written(&site, "model.snapshot");
    fs::write(&path, vec![0x5a; 100_000]).unwrap();
    goes_as_written(&site, "model.snapshot");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x40;
    fs::write(&path, flipped).unwrap();
    goes_as_written(&site, "is damaged");
    let mut newer = whole.clone();
    newer[16] += 1;
    fs::write(&path, newer).unwrap();
    goes_as_written(&site, "this OmniPilot reads");

    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    goes_as_written(&site, "model.snapshot");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    goes_as_written(&site, "model.snapshot");
    fs::remove_dir(&path).unwrap();

    fs::write(&path, &whole).unwrap();
    let record = site.held(&[MODEL, "--gres=gpu:a100:2"], "true");
    assert!(
        record["Comment"].starts_with("omnipilot:"),
        "whole again: {record:?}"
    );
}

#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_root)),
    ignore = "needs Slurm and several users"
)]
fn a_snapshot_that_users_cannot_read() {
    let site = Site::start();
    fs::set_permissions(
        site.path("model.snapshot"),
        fs::Permissions::from_mode(0o600),
    )
    .unwrap();
    goes_as_written(&site, "Permission denied");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_configuration_that_is_none() {
    let site = Site::without_snapshot(&Setup::default());
    let path = site.path("omnipilot.toml");
    for text in ["= nonsense", "store = 7", "\u{0}\u{1}\u{2}", ""] {
        fs::write(&path, text).unwrap();
        goes_as_written(&site, "omnipilot.toml");
    }
    site.configure("no_such_key = 1");
    goes_as_written(&site, "no_such_key");
    fs::remove_file(&path).unwrap();
    goes_as_written(&site, "cannot read the configuration");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
    goes_as_written(&site, "not a regular file");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_site_may_refuse_instead() {
    let site = Site::without_snapshot(&Setup::default());
    site.configure("on_fault = \"refuse\"");
    let output = site.cluster.sbatch(ALICE, &[MODEL], "true").unwrap();
    assert_eq!((output.code, &*output.stdout), (Some(66), ""), "{output}");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!(
        lines[0].starts_with("sbatch: error: omnipilot: no advice: cannot read the snapshot"),
        "{output}"
    );
    assert!(
        lines[1].starts_with("sbatch: error: omnipilot: hint: "),
        "{output}"
    );
    let untagged = site.cluster.sbatch(ALICE, &["--hold"], "true").unwrap();
    assert_eq!(
        (untagged.code, &*untagged.stderr),
        (Some(0), ""),
        "{untagged}"
    );
}

/// An advice that cannot be carried out leaves the job whole.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_constraint_in_the_way_leaves_the_job_as_it_is() {
    let site = Site::start();
    let arguments = [
        "--hold",
        MODEL,
        "--llm-gpu=h100",
        "--gres=gpu:8",
        "-C",
        "[a100*1&gpu*1]",
    ];
    let output = site.cluster.sbatch(ALICE, &arguments, "true").unwrap();
    assert_one_line(
        &output,
        "--constraint=[a100*1&gpu*1] excludes the advised h100",
    );
    let record = site.cluster.show_job(output.id().unwrap()).unwrap();
    assert_eq!(
        (gpus(&record), &*record["Features"]),
        ("gpu:8".into(), "[a100*1&gpu*1]")
    );
}

/// No `HOME`, no `PATH`, closed standard descriptors, few descriptors, little memory.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_poor_environment_is_survived() {
    let site = Site::start();
    let script = site
        .cluster
        .script(ALICE, "true")
        .unwrap()
        .display()
        .to_string();
    let call = format!("/usr/bin/sbatch --hold --parsable {MODEL} --gres=gpu:a100:2 {script}");
    for poor in [
        "unset HOME PATH USER;",
        "exec 0<&-;",
        "ulimit -n 20;",
        "ulimit -v 65536;",
        "trap '' CHLD;",
    ] {
        let line = format!("{poor} exec {call}");
        let output = site.cluster.run(ALICE, "bash", &["-c", &line]).unwrap();
        assert_eq!(output.code, Some(0), "{output}");
        let record = site.cluster.show_job(output.id().unwrap()).unwrap();
        assert!(
            record["Comment"].starts_with("omnipilot:"),
            "{poor} {output}"
        );
    }
    let output = site
        .cluster
        .run(ALICE, "bash", &["-c", &format!("exec 2>&-; exec {call}")])
        .unwrap();
    assert_eq!(output.code, Some(0), "{output}");
}
