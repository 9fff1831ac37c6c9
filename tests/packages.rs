//! The packages: what is in them, installed in a clean Debian 12 and removed again.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use e2e::artifacts;

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Builds one package in a folder of the test's own, and gives its path.
fn package(kind: &str, name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::remove_dir_all(&target).ok();
    fs::create_dir_all(&target).unwrap();
    let output = Command::new(format!("{PROJECT}/packaging/packages.sh"))
        .arg(kind)
        .env("TARGET", &target)
        .env("OMNIPILOT_PLUGIN", artifacts::plugin().unwrap())
        .env("OMNIPILOT_ADVISOR", artifacts::advisor().unwrap())
        .env("OMNIPILOT_BIN", artifacts::omnipilot().unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    PathBuf::from(said.trim())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// A copy of the clean root, gone when the test ends.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        let clean = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../deb12/root");
        let root =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("root-{}", std::process::id()));
        let copied = Command::new("cp")
            .arg("-a")
            .arg(clean)
            .arg(&root)
            .status()
            .unwrap();
        assert!(copied.success());
        Self(root)
    }

    fn run(&self, line: &str) -> String {
        let output = Command::new("chroot")
            .arg(&self.0)
            .args(["/bin/sh", "-ec", line])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {}", said(&output));
        said(&output)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Every path, with mode and owner, but for what dpkg keeps of itself.
    fn listing(&self) -> Vec<String> {
        let own = "-path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache";
        let find = format!(
            "cd / && find . -xdev \\( {own} -o -path ./proc \\) -prune -o -printf '%p %m %u\\n' | sort"
        );
        self.run(&find).lines().map(str::to_owned).collect()
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
#[cfg_attr(
    not(e2e_clean_root),
    ignore = "there is no clean Debian 12 root: only root can make one, with debootstrap"
)]
fn a_clean_debian_12_installs_the_package_and_a_purge_leaves_data_alone() {
    let root = Root::new();
    let before = root.listing();
    let deb = package("deb", "packages-deb");
    fs::copy(&deb, root.path("tmp/omnipilot.deb")).unwrap();

    let told = root.run("dpkg -i /tmp/omnipilot.deb");
    assert!(told.contains("`omnipilot setup`"), "{told}");
    let mode = |name: &str| fs::metadata(root.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(
        (mode("var/lib/omnipilot"), mode("var/spool/omnipilot")),
        (0o755, 0o1777)
    );
    let owner = root.run("stat -c %U /var/lib/omnipilot /var/spool/omnipilot");
    assert_eq!(owner, "omnipilot\nomnipilot\n");
    assert_eq!(
        fs::metadata(root.path("usr/bin/omnipilot")).unwrap().uid(),
        0
    );
    assert!(root.run("omnipilot --version").starts_with("omnipilot "));
    assert!(!root.path("etc/slurm").exists(), "nothing is switched on");
    for file in [
        "usr/lib/slurm/spank_omnipilot.so",
        "usr/lib/slurm/omnipilot_advisor.so",
        "usr/lib/systemd/system/omnipilot-ingest.timer",
        "usr/share/man/man1/omnipilot-setup.1.gz",
        "usr/share/man/man5/omnipilot.toml.5.gz",
        "usr/share/man/man8/spank_omnipilot.8.gz",
        "usr/share/bash-completion/completions/omnipilot",
    ] {
        assert!(root.path(file).exists(), "{file}");
    }
    // The service account can make a store where it is to lie, and advice is given from it.
    let config = "store = \\\"/var/lib/omnipilot/store.db\\\"\\nsnapshot = \\\"/var/lib/omnipilot/model.snapshot\\\"\\nspool = \\\"/var/spool/omnipilot\\\"\\n";
    root.run(&format!(
        "printf \"{config}\" > /etc/omnipilot/omnipilot.toml"
    ));
    root.run("setpriv --reuid=omnipilot --regid=omnipilot --init-groups omnipilot init");
    // Somebody switched it on; who removes the package must not be left with a broken sbatch.
    root.run("mkdir -p /etc/slurm/plugstack.conf.d && echo 'include /etc/slurm/plugstack.conf.d/*.conf' > /etc/slurm/plugstack.conf \
              && echo 'optional /usr/lib/slurm/spank_omnipilot.so' > /etc/slurm/plugstack.conf.d/omnipilot.conf");
    root.run("dpkg -i /tmp/omnipilot.deb");
    assert!(
        root.path("etc/slurm/plugstack.conf.d/omnipilot.conf")
            .exists(),
        "an upgrade leaves it on"
    );
    root.run("dpkg --remove omnipilot");
    assert!(
        !root
            .path("etc/slurm/plugstack.conf.d/omnipilot.conf")
            .exists()
    );
    assert!(root.path("etc/omnipilot/omnipilot.toml").exists());
    let told = root.run("dpkg --purge omnipilot");
    assert!(told.contains("left in /var/lib/omnipilot"), "{told}");
    assert!(
        root.path("var/lib/omnipilot/store.db").exists() && !root.path("etc/omnipilot").exists()
    );

    // Without data, nothing at all is left.
    root.run("rm -rf /var/lib/omnipilot /var/spool/omnipilot && dpkg -i /tmp/omnipilot.deb && dpkg --purge omnipilot");
    root.run("rm -r /etc/slurm /tmp/omnipilot.deb");
    let after: Vec<String> = root.listing();
    let left: Vec<&String> = after.iter().filter(|l| !before.contains(l)).collect();
    let backups = |l: &&&String| !l.starts_with("./etc/") || !l.contains("- ");
    let left: Vec<&&String> = left.iter().filter(backups).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
#[cfg_attr(not(e2e_dpkg), ignore = "this is no Debian")]
fn the_same_sources_give_the_same_package() {
    let one = fs::read(package("deb", "packages-one")).unwrap();
    let two = fs::read(package("deb", "packages-two")).unwrap();
    assert!(one == two, "{} and {} bytes", one.len(), two.len());
}

#[test]
#[cfg_attr(not(e2e_rpmbuild), ignore = "rpmbuild is not installed")]
fn the_rpm_has_the_same_files_and_makes_the_account() {
    let rpm = package("rpm", "packages-rpm").display().to_string();
    let ask = |what: &str| {
        said(
            &Command::new("rpm")
                .args(["-qp", what, &rpm])
                .output()
                .unwrap(),
        )
    };
    let files = ask("--list");
    for file in [
        "/usr/bin/omnipilot",
        "/usr/lib/slurm/spank_omnipilot.so",
        "/usr/lib/systemd/system/omnipilot-train.timer",
        "/usr/share/man/man8/spank_omnipilot.8.gz",
        "/var/spool/omnipilot",
    ] {
        assert!(files.lines().any(|l| l == file), "{file}: {files}");
    }
    let scripts = ask("--scripts");
    assert!(
        scripts.contains("useradd --system") && scripts.contains("setup --disable"),
        "{scripts}"
    );
}
