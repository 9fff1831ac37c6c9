//! Finds out which tests can run here, so that the others are listed as ignored with their reason instead of passing.
//!
//! `e2e_slurm`: Slurm and munge are installed. `e2e_accounting`: slurmdbd and MariaDB too. `e2e_root`: jobs can run as several
//! users, which takes root. `e2e_native`: there is a C compiler, and the helpers in `native/` are built.
//! `e2e_vec_inf`: `cluster/vec-inf.sh` has made its folder. `e2e_clean_root`: `cluster/clean-root.sh` has made its
//! folder. `e2e_boots`: systemd can be started in it. `e2e_prometheus`: `cluster/prometheus.sh` has made its folder.
//! `e2e_valgrind`, `e2e_slurmrestd`, `e2e_dpkg`, `e2e_rpmbuild`, `e2e_chromium`, `e2e_ruby`, `e2e_zsh`, `e2e_python`: these are installed.
//! `e2e_mounts`: a file system may be mounted in a mount namespace of its own.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const SLURM: [&str; 5] = ["slurmctld", "slurmd", "sbatch", "munged", "setsid"];
/// C helpers, and what the compiler is to make of them.
const NATIVE: [(&str, &[&str]); 5] = [
    ("spank-host", &["-rdynamic"]),
    ("dead-mount", &[]),
    ("games", &["-shared", "-fPIC"]),
    ("nvml", &["-shared", "-fPIC"]),
    ("bad-disk", &["-shared", "-fPIC"]),
];
const ACCOUNTING: [&str; 3] = ["slurmdbd", "mariadbd", "mariadb-install-db"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-env-changed=USER");
    let slurm = all_installed(&SLURM);
    set("e2e_slurm", slurm);
    set("e2e_accounting", slurm && all_installed(&ACCOUNTING));
    set(
        "e2e_native",
        NATIVE.iter().all(|(name, flags)| compiled(name, flags)),
    );
    set("e2e_vec_inf", target_holds("vec-inf/ready"));
    set("e2e_clean_root", target_holds("deb12/ready"));
    set("e2e_boots", target_holds("deb12/boots"));
    set("e2e_prometheus", target_holds("prometheus/ready"));
    set("e2e_chromium", installed("chromium"));
    set("e2e_dpkg", installed("dpkg-deb"));
    set("e2e_rpmbuild", installed("rpmbuild"));
    set("e2e_ruby", installed("ruby"));
    set("e2e_mounts", may_mount());
    set("e2e_zsh", installed("zsh"));
    set("e2e_python", installed("python3"));
    set("e2e_valgrind", installed("valgrind"));
    set("e2e_slurmrestd", installed("slurmrestd"));
    set(
        "e2e_root",
        std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0),
    );
}

/// Tries it, in a namespace that is gone with the try.
fn may_mount() -> bool {
    let words = [
        "--mount",
        "--propagation",
        "private",
        "mount",
        "-t",
        "tmpfs",
        "none",
        "/mnt",
    ];
    let tried = Command::new("unshare").args(words).output();
    tried.is_ok_and(|out| out.status.success())
}

/// Whether a file is there in cargo's target folder, four above the build's own.
fn target_holds(name: &str) -> bool {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let path = out.ancestors().nth(4).unwrap_or(&out).join(name);
    println!("cargo::rerun-if-changed={}", path.display());
    path.exists()
}

/// Compiles a helper into the build's own folder, where [`e2e::artifacts::native`] finds it.
fn compiled(name: &str, flags: &[&str]) -> bool {
    let source = format!("native/{name}.c");
    println!("cargo::rerun-if-changed={source}");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default());
    let mut cc = Command::new("cc");
    cc.args(["-O1", "-Wall", "-Wextra", "-Werror"])
        .args(flags)
        .arg("-o")
        .arg(out.join(name));
    cc.arg(source)
        .arg("-ldl")
        .status()
        .is_ok_and(|status| status.success())
}

fn set(name: &str, holds: bool) {
    println!("cargo::rustc-check-cfg=cfg({name})");
    if holds {
        println!("cargo::rustc-cfg={name}");
    }
}

fn all_installed(commands: &[&str]) -> bool {
    commands.iter().all(|command| installed(command))
}

/// Looks for a command. A path that is absent makes cargo ask again next time, so an installation is noticed.
fn installed(command: &str) -> bool {
    let found = folders()
        .map(|folder| folder.join(command))
        .find(|path| path.exists());
    let watched = found
        .clone()
        .unwrap_or_else(|| Path::new("/usr/sbin").join(command));
    println!("cargo::rerun-if-changed={}", watched.display());
    found.is_some()
}

fn folders() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own: Vec<PathBuf> = std::env::split_paths(&path).collect();
    own.into_iter()
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
}
