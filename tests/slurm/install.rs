//! `make install` into a folder, what it installed on a real Slurm, and `make uninstall`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use e2e::{ALICE, Cluster, artifacts};

/// Some of the files below `DESTDIR`, and their modes.
const FILES: [(&str, u32); 8] = [
    ("usr/bin/omnipilot", 0o755),
    (
        "usr/share/doc/omnipilot/examples/plugstack.conf.d/omnipilot.conf",
        0o644,
    ),
    ("usr/lib64/slurm/spank_omnipilot.so", 0o755),
    ("usr/lib64/slurm/omnipilot_advisor.so", 0o755),
    (
        "usr/share/doc/omnipilot/examples/systemd/omnipilot-train.timer",
        0o644,
    ),
    ("usr/share/man/man1/omnipilot-setup.1", 0o644),
    ("usr/share/man/man5/omnipilot.toml.5", 0o644),
    ("usr/share/bash-completion/completions/omnipilot", 0o644),
];

/// `make TARGET` into this folder, with a umask that would hide everything from users.
fn make(target: &str, destination: &Path) -> Output {
    let built = artifacts::plugin().unwrap();
    let folder = built.ancestors().nth(2).unwrap();
    let line = "umask 077; exec make --no-print-directory -C \"$0\" \"$@\"";
    Command::new("bash")
        .args(["-c", line, concat!(env!("CARGO_MANIFEST_DIR"), "/..")])
        .arg(target)
        .arg(format!("DESTDIR={}", destination.display()))
        .arg("SLURM_PLUGIN_DIR=/usr/lib64/slurm")
        .arg(format!("TARGET={}", folder.display()))
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap()
}

/// Every file below a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let listed = Command::new("find")
        .arg(folder)
        .args(["-type", "f"])
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let mut files: Vec<PathBuf> = text.lines().map(PathBuf::from).collect();
    files.sort();
    files
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn what_make_installs_works_and_can_be_taken_away() {
    let cluster = Cluster::start().unwrap();
    let root = cluster.prefix().join("destination");
    fs::create_dir(&root).unwrap();
    let done = make("install", &root);
    assert!(done.status.success(), "{done:?}");
    let list = fs::read_to_string(root.join("usr/share/omnipilot/installed")).unwrap();
    let named = list.lines().map(|l| root.join(l.trim_start_matches('/')));
    let mut named: Vec<PathBuf> = named
        .chain([root.join("usr/share/omnipilot/installed")])
        .collect();
    named.sort();
    assert_eq!(files(&root), named);
    for (file, mode) in FILES {
        let found = fs::metadata(root.join(file)).unwrap().permissions().mode();
        assert_eq!(found & 0o7777, mode, "{file}");
    }
    assert_loads(&cluster, &root);
    assert_goes(&root);
}

/// The example's line, with this folder before its paths, puts the options into `sbatch`.
fn assert_loads(cluster: &Cluster, root: &Path) {
    let line = fs::read_to_string(root.join(FILES[1].0)).unwrap();
    assert!(
        line.contains(
            "\noptional /usr/lib64/slurm/spank_omnipilot.so config=/etc/omnipilot/omnipilot.toml\n"
        ),
        "{line}"
    );
    let here = format!("optional {}/usr/", root.display());
    cluster
        .plugstack(&line.replace("optional /usr/", &here))
        .unwrap();
    let help = cluster.run(ALICE, "sbatch", &["--help"]).unwrap();
    assert!(help.stdout.contains("--llm-model"), "{help}");
    // The library beside it is found: it is what misses the configuration.
    let tagged = cluster
        .sbatch(ALICE, &["--hold", "--llm-model=m"], "true")
        .unwrap();
    assert_eq!(tagged.code, Some(0), "{tagged}");
    assert!(
        tagged.stderr.contains("cannot read the configuration"),
        "{tagged}"
    );
    let command = root.join(FILES[0].0).display().to_string();
    let version = cluster.run(ALICE, &command, &["--version"]).unwrap();
    assert!(version.stdout.starts_with("omnipilot "), "{version}");
}

/// What an administrator made stays, and a plugin that is still switched on is not taken away.
fn assert_goes(root: &Path) {
    let own = [
        root.join("etc/omnipilot/omnipilot.toml"),
        root.join("etc/slurm/plugstack.conf.d/omnipilot.conf"),
    ];
    for file in &own {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "optional /usr/lib64/slurm/spank_omnipilot.so\n").unwrap();
    }
    let refused = make("uninstall", root);
    assert!(
        !refused.status.success() && root.join(FILES[2].0).exists(),
        "{refused:?}"
    );
    fs::remove_file(&own[1]).unwrap();
    let done = make("uninstall", root);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(files(root), own[..1]);
}

#[test]
fn nothing_is_installed_before_it_is_built() {
    let output = Command::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../packaging/install.sh"
    ))
    .arg("install")
    .env("OMNIPILOT_PLUGIN", "/no/such/plugin.so")
    .env("OMNIPILOT_ADVISOR", "/no/such/library.so")
    .env("OMNIPILOT_BIN", "/no/such/command")
    .env("DESTDIR", "/no/such/folder")
    .output()
    .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && told.contains("make build"),
        "{told}"
    );
}
