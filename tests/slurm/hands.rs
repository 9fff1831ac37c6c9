//! `omnipilot setup` and `omnipilot doctor`, as an administrator types them, on whole and on broken clusters.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use e2e::{ALICE, Cluster, OPERATOR, Output, Setup, artifacts};
use serde_json::Value;

/// Something done to a site.
type Change = Box<dyn Fn(&Bare)>;

/// A cluster with the command in its `bin` and the plugin where `make install` would put it.
pub(crate) struct Bare {
    pub(crate) cluster: Cluster,
}

impl Bare {
    pub(crate) fn start(setup: &Setup) -> Self {
        let cluster = setup.start().unwrap();
        cluster
            .install(&artifacts::omnipilot().unwrap(), "omnipilot")
            .unwrap();
        let bare = Self { cluster };
        fs::create_dir_all(bare.path("lib/slurm")).unwrap();
        for (from, to) in [
            (artifacts::plugin(), "spank_omnipilot.so"),
            (artifacts::advisor(), "omnipilot_advisor.so"),
        ] {
            let file = bare.path("lib/slurm").join(to);
            fs::copy(from.unwrap(), &file).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o755)).unwrap();
        }
        bare
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.cluster.prefix().join(name)
    }

    pub(crate) fn omnipilot(&self, words: &[&str]) -> Output {
        let config = self.path("etc/omnipilot.toml").display().to_string();
        let all = [&["--config", &config], words].concat();
        self.cluster.run(OPERATOR, "omnipilot", &all).unwrap()
    }

    /// `setup` for whoever runs the tests, below the cluster's folder.
    pub(crate) fn setup(&self, more: &[&str]) -> Output {
        let me = OPERATOR.name();
        let [state, spool] = ["site", "outcomes"].map(|n| self.path(n).display().to_string());
        let words = [
            "setup",
            "--account",
            &me,
            "--state",
            &state,
            "--spool",
            &spool,
            "--figures-only",
        ];
        self.omnipilot(&[&words, more].concat())
    }

    /// State and hint of each finding of a check.
    pub(crate) fn doctor(&self) -> (i32, Vec<Value>) {
        let output = self.omnipilot(&["doctor", "--json"]);
        let told: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(
            (&told["schema"], &told["kind"]),
            (&1.into(), &"doctor".into())
        );
        let checks = told["checks"].as_array().unwrap().clone();
        for check in &checks {
            let bad = ["error", "warning"].contains(&check["state"].as_str().unwrap());
            assert_eq!(bad, check["hint"].is_string(), "{check}");
        }
        (output.code.unwrap(), checks)
    }

    /// Breaks something, asserts that the check says so in these words, and mends it.
    fn broken(&self, check: &str, words: &str, how: impl Fn(&Self), mend: impl Fn(&Self)) {
        how(self);
        let (code, checks) = self.doctor();
        let said = checks
            .iter()
            .any(|c| c["check"] == check && c["state"] == "error" && told(c).contains(words));
        assert!(said && code == 1, "{check}, {words}: {checks:#?}");
        mend(self);
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }
}

fn told(check: &Value) -> &str {
    check["finding"].as_str().unwrap()
}

/// The states of all findings of a check.
fn states<'a>(checks: &'a [Value], check: &str) -> Vec<&'a str> {
    let of = checks.iter().filter(|c| c["check"] == check);
    of.map(|c| c["state"].as_str().unwrap()).collect()
}

/// The line that `setup` prints to switch the plugin on.
fn line_of(output: &Output) -> &str {
    let line = output.stdout.lines().last().unwrap();
    assert!(
        line.starts_with("  (umask 022; echo 'optional "),
        "{output}"
    );
    line.trim()
}

fn files_below(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "Slurm's accounting is not installed")]
fn setup_makes_a_site_that_the_doctor_finds_well_and_repeats_itself_without_harm() {
    let bare = Bare::start(&Setup::default().accounting());
    let before = files_below(bare.cluster.prefix());
    let dry = bare.setup(&["--dry-run"]).success().unwrap();
    assert!(
        dry.stdout.contains("8 x h200") && dry.stdout.contains("would be made"),
        "{dry}"
    );
    assert_eq!(files_below(bare.cluster.prefix()), before);

    let first = bare.setup(&[]).success().unwrap();
    let text = fs::read_to_string(bare.path("etc/omnipilot.toml")).unwrap();
    assert!(
        text.contains("[gpu.h200]") && text.contains("is = \"H200\""),
        "{text}"
    );
    assert_eq!(
        fs::metadata(bare.path("outcomes")).unwrap().mode() & 0o7777,
        0o3777
    );
    let help = bare.cluster.run(ALICE, "sbatch", &["--help"]).unwrap();
    assert!(
        !help.stdout.contains("--llm-model"),
        "not switched on before the line: {help}"
    );

    leaves_the_folders_of_others(&bare);
    fs::write(bare.path("etc/omnipilot.toml"), format!("{text}# ours\n")).unwrap();
    let again = bare.setup(&[]).success().unwrap();
    assert!(again.stdout.contains("left as it is"), "{again}");
    assert_eq!(line_of(&first), line_of(&again));
    let kept = fs::read_to_string(bare.path("etc/omnipilot.toml")).unwrap();
    assert!(kept.ends_with("# ours\n"));

    bare.cluster
        .run(OPERATOR, "bash", &["-c", line_of(&again)])
        .unwrap()
        .success()
        .unwrap();
    let (code, checks) = bare.doctor();
    assert_eq!(
        (code, states(&checks, "submission")),
        (0, vec!["ok"]),
        "{checks:#?}"
    );
    for check in [
        "configuration",
        "store",
        "snapshot",
        "observation",
        "spool",
        "gpus",
        "rewritten",
        "limits",
        "ingestion",
        "job comments",
        "gpu accounting",
        "plugstack",
    ] {
        assert_eq!(states(&checks, check), ["ok"], "{check}: {checks:#?}");
    }
    let words = [
        "--hold",
        "--llm-model=meta-llama/Llama-3.1-8B-Instruct",
        "--gres=gpu:a100:4",
    ];
    let sbatch = bare.cluster.sbatch(ALICE, &words, "true").unwrap();
    let job = bare.cluster.show_job(sbatch.id().unwrap()).unwrap();
    assert!(job["Comment"].contains("omnipilot:"), "{job:?}");

    let third = bare.setup(&["--enable"]).success().unwrap();
    assert!(!third.stdout.contains("echo"), "it is on already: {third}");
    breaks(&bare);

    bare.omnipilot(&["setup", "--disable"]).success().unwrap();
    assert!(!bare.path("plugstack.d/omnipilot.conf").exists());
    bare.omnipilot(&["setup", "--disable"]).success().unwrap();
    assert_eq!(states(&bare.doctor().1, "plugstack"), ["warning"]);
    bare.setup(&["--enable"]).success().unwrap();
    assert_eq!(states(&bare.doctor().1, "submission"), ["ok"]);
}

/// Slurm's own folder, in which another account keeps files, is nothing to take over.
fn leaves_the_folders_of_others(bare: &Bare) {
    let slurms = bare.path("slurms");
    fs::create_dir(&slurms).unwrap();
    fs::write(slurms.join("job_state"), "").unwrap();
    if std::os::unix::fs::chown(&slurms, Some(65_533), None).is_err() {
        return eprintln!("not root: nobody else's folder can be made here");
    }
    let [config, folder] = [&bare.path("other.toml"), &slurms].map(|p| p.display().to_string());
    let words = [
        "--config",
        &config,
        "setup",
        "--account",
        "root",
        "--state",
        &folder,
        "--spool",
        &folder,
    ];
    let refused = bare.cluster.run(OPERATOR, "omnipilot", &words).unwrap();
    assert!(
        refused.code == Some(1) && refused.stderr.contains("belongs to another account"),
        "{refused}"
    );
    assert_eq!(fs::metadata(&slurms).unwrap().uid(), 65_533);
}

/// Each thing that an administrator can get wrong, one at a time.
fn breaks(bare: &Bare) {
    let entry = "plugstack.d/omnipilot.conf";
    let line = fs::read_to_string(bare.path(entry)).unwrap();
    let write =
        |name: &'static str, text: String| move |b: &Bare| fs::write(b.path(name), &text).unwrap();
    let mode = |name: &'static str, mode: u32| move |b: &Bare| b.mode(name, mode);
    let cases: [(&str, &str, Change, Change); 9] = [
        (
            "snapshot",
            "other users cannot read",
            Box::new(mode("site/model.snapshot", 0o600)),
            Box::new(mode("site/model.snapshot", 0o644)),
        ),
        (
            "snapshot",
            "other users cannot enter",
            Box::new(mode("site", 0o700)),
            Box::new(mode("site", 0o755)),
        ),
        (
            "store",
            "every user may write",
            Box::new(mode("site", 0o777)),
            Box::new(mode("site", 0o755)),
        ),
        (
            "spool",
            "has mode 755, not 3777",
            Box::new(mode("outcomes", 0o755)),
            Box::new(mode("outcomes", 0o3777)),
        ),
        (
            "configuration",
            "can be written by more than its owner",
            Box::new(mode("etc/omnipilot.toml", 0o666)),
            Box::new(mode("etc/omnipilot.toml", 0o644)),
        ),
        (
            "plugstack",
            "loaded 2 times",
            Box::new(write(entry, format!("{line}{line}"))),
            Box::new(write(entry, line.clone())),
        ),
        (
            "plugstack",
            "which is not there",
            Box::new(write(entry, line.replace("optional ", "optional /no/such"))),
            Box::new(write(entry, line.clone())),
        ),
        (
            "plugstack",
            "can be written by more",
            Box::new(mode("lib/slurm/spank_omnipilot.so", 0o777)),
            Box::new(mode("lib/slurm/spank_omnipilot.so", 0o755)),
        ),
        (
            "plugstack",
            "omnipilot_advisor.so can be written by more",
            Box::new(mode("lib/slurm/omnipilot_advisor.so", 0o777)),
            Box::new(mode("lib/slurm/omnipilot_advisor.so", 0o755)),
        ),
    ];
    for (check, words, how, mend) in cases {
        bare.broken(check, words, how, mend);
    }
    assert_eq!(bare.doctor().0, 0, "everything was mended");
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_cluster_without_accounting_and_with_alien_gpus_is_set_up_and_told_what_it_lacks() {
    let bare = Bare::start(&Setup::default().nodes("n1:h100:4 n2:rtx6000:2"));
    let output = bare.setup(&["--enable"]).success().unwrap();
    assert!(
        output.stderr.contains("without Slurm's accounting"),
        "{output}"
    );
    let (code, checks) = bare.doctor();
    assert_eq!(code, 1, "{checks:#?}");
    assert_eq!(states(&checks, "accounting"), ["error"]);
    assert_eq!(states(&checks, "gpus"), ["error", "ok"]);
    assert_eq!(states(&checks, "submission"), ["ok"], "{checks:#?}");
    let plain = bare.omnipilot(&["doctor"]);
    assert!(plain.stdout.contains("hint: `[gpu.rtx6000]`"), "{plain}");
}

#[test]
fn without_slurm_the_doctor_says_so_and_setup_does_nothing() {
    let omnipilot = artifacts::omnipilot().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-slurm");
    fs::create_dir_all(&folder).unwrap();
    let config = folder.join("omnipilot.toml");
    let run = |verb: &str| {
        let mut command = std::process::Command::new(&omnipilot);
        command
            .env("PATH", "/no/such/folder")
            .arg("--config")
            .arg(&config);
        command.arg(verb).output().unwrap()
    };
    for verb in ["doctor", "setup"] {
        let output = run(verb);
        let all = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&all);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("Slurm's `scontrol` is not on this machine's PATH"),
            "{said}"
        );
        assert!(said.contains("hint: "), "{said}");
    }
    assert!(!config.exists());
}
