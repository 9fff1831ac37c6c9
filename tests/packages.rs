//! The packages: what is in them, installed in a clean Debian 12 and removed again.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
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
    fn new(name: &str) -> Self {
        let clean = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../deb12/root");
        let root =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
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

    fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o7777
    }

    /// What a package has brought is there, of the right owners, and Slurm does not know of it.
    fn is_installed_and_off(&self) {
        let folders = ["var/lib/omnipilot", "var/spool/omnipilot"];
        assert_eq!(folders.map(|f| self.mode(f)), [0o755, 0o3777]);
        let owner = self.run("stat -c %U:%G /var/lib/omnipilot /var/spool/omnipilot");
        assert_eq!(owner, "omnipilot:omnipilot\nomnipilot:omnipilot\n");
        assert_eq!(self.run("stat -c %U /usr/bin/omnipilot"), "root\n");
        assert_eq!(self.run("stat -c %a /etc/omnipilot"), "755\n");
        assert!(self.run("getent passwd omnipilot").ends_with("/nologin\n"));
        assert!(self.run("omnipilot --version").starts_with("omnipilot "));
        assert!(!self.path("etc/slurm").exists(), "nothing is switched on");
    }

    /// The service account makes its store where that is to lie, and somebody switches the plugin on: who then removes the package
    /// must not be left with a broken sbatch.
    fn use_it(&self, plugins: &str) {
        let config = "store = \"/var/lib/omnipilot/store.db\"\nsnapshot = \"/var/lib/omnipilot/model.snapshot\"\nspool = \"/var/spool/omnipilot\"\n";
        fs::write(self.path("etc/omnipilot/omnipilot.toml"), config).unwrap();
        self.run("setpriv --reuid=omnipilot --regid=omnipilot --init-groups omnipilot init");
        let parts = self.path("etc/slurm/plugstack.conf.d");
        fs::create_dir_all(&parts).unwrap();
        let list = "include /etc/slurm/plugstack.conf.d/*.conf\n";
        fs::write(self.path("etc/slurm/plugstack.conf"), list).unwrap();
        let entry = format!("optional {plugins}/spank_omnipilot.so\n");
        fs::write(parts.join("omnipilot.conf"), entry).unwrap();
    }

    /// The paths of a listing that an earlier one does not have. Copies that the tools for accounts keep do not count.
    fn more_than(&self, before: &[String]) -> Vec<String> {
        let copy = |l: &String| l.starts_with("./etc/") && l.contains("- ");
        let after = self.listing().into_iter();
        after.filter(|l| !before.contains(l) && !copy(l)).collect()
    }

    /// Every path, with mode and owner, but for what dpkg and rpm keep of themselves.
    fn listing(&self) -> Vec<String> {
        let own =
            "-path ./var/lib/dpkg -o -path ./var/lib/rpm -o -path ./var/log -o -path ./var/cache";
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
    let root = Root::new("root-deb");
    let before = root.listing();
    let deb = package("deb", "packages-deb");
    fs::copy(&deb, root.path("tmp/omnipilot.deb")).unwrap();

    let told = root.run("dpkg -i /tmp/omnipilot.deb");
    assert!(told.contains("`omnipilot setup`"), "{told}");
    root.is_installed_and_off();
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
    root.use_it("/usr/lib/slurm");
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
    assert_eq!(root.more_than(&before), Vec::<String>::new());
}

/// What an administrator does and sees, on a running system.
const A_SITE: &str = r#"
say() { echo "$@"; }
dpkg -i /root/omnipilot.deb >/dev/null
systemd-analyze verify /usr/lib/systemd/system/omnipilot-*
for verb in ingest observe train metrics; do
  # Of 10, in tenths: what systemd itself calls well protected.
  systemd-analyze security --threshold=25 omnipilot-$verb.service >/dev/null
  say $verb: $(systemctl is-enabled omnipilot-$verb.timer), $(systemctl is-active omnipilot-$verb.timer)
done
say doctor: $(omnipilot doctor | grep -c 'timer is inactive$') timers off
systemctl start omnipilot-train.service
say before setup: $(systemctl show --value -p ConditionResult -p Result omnipilot-train.service)

printf 'store = "/var/lib/omnipilot/store.db"
snapshot = "/var/lib/omnipilot/model.snapshot"
spool = "/var/spool/omnipilot"
' >/etc/omnipilot/omnipilot.toml
setpriv --reuid=omnipilot --regid=omnipilot --init-groups omnipilot init --figures-only >/dev/null 2>&1
# The timer is not waited for; all else is as it comes.
mkdir -p /run/systemd/system/omnipilot-train.timer.d
printf '[Timer]
OnBootSec=
OnActiveSec=1s
AccuracySec=1ms
RandomizedDelaySec=0
' >/run/systemd/system/omnipilot-train.timer.d/soon.conf
systemctl daemon-reload
systemctl enable --now omnipilot-ingest.timer omnipilot-observe.timer omnipilot-train.timer 2>/dev/null
tries=600
until [ "$(systemctl show --value -p ExecMainExitTimestampMonotonic omnipilot-train.service)" != 0 ] || [ $((tries -= 1)) = 0 ]; do sleep 0.1; done
say by the timer: $(systemctl show --value -p Result -p ExecMainStatus -p User omnipilot-train.service)
journalctl --quiet --output=cat --unit=omnipilot-train.service | grep -o '^published .*snapshot' || journalctl --unit=omnipilot-train.service
say doctor: $(omnipilot doctor | grep -o 'omnipilot-train.timer is active')
# A second run of the same package is an upgrade, and leaves timers as they are.
dpkg -i /root/omnipilot.deb >/dev/null
say after an upgrade: $(systemctl is-active omnipilot-ingest.timer omnipilot-observe.timer omnipilot-train.timer)
systemctl reset-failed
dpkg --purge omnipilot >/dev/null 2>&1
say left: $(systemctl list-units --all --no-legend 'omnipilot*') $(ls /etc/systemd/system/timers.target.wants | grep omnipilot)
"#;

#[test]
#[cfg_attr(
    not(all(e2e_clean_root, e2e_boots)),
    ignore = "needs a clean root that can be booted, which only root can make, with debootstrap"
)]
fn on_a_booted_debian_a_timer_trains_as_the_service_account_and_goes_with_the_package() {
    let root = Root::new("root-boot");
    let deb = package("deb", "packages-boot");
    fs::copy(&deb, root.path("root/omnipilot.deb")).unwrap();
    let output = Command::new(format!("{PROJECT}/tests/cluster/boot.sh"))
        .arg(&root.0)
        .args(["/bin/sh", "-ec", A_SITE])
        .output()
        .unwrap();
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    let lines = [
        "ingest: disabled, inactive",
        "observe: disabled, inactive",
        "train: disabled, inactive",
        "metrics: disabled, inactive",
        "doctor: 3 timers off",
        "before setup: success no",
        "by the timer: success 0 omnipilot",
        "published /var/lib/omnipilot/model.snapshot",
        "doctor: omnipilot-train.timer is active",
        "after an upgrade: active active active",
        "left:",
    ];
    assert_eq!(told.lines().map(str::trim).collect::<Vec<_>>(), lines);
}

/// A stand-in for the packages of a distribution with RPM that ours needs: it provides what the root's own libraries really offer,
/// as rpm finds it in them, and the names of two packages whose programs are there.
fn base_packages(root: &Root, folder: &Path) -> PathBuf {
    let libraries =
        root.run("ls /lib/*/libc.so.6 /lib/*/libm.so.6 /lib/*/libgcc_s.so.1 /lib/*/ld-linux*");
    let mut provides = vec!["shadow-utils", "coreutils", "/bin/sh", "rtld(GNU_HASH)"]
        .into_iter()
        .map(str::to_owned)
        .collect::<Vec<String>>();
    for library in libraries.lines() {
        let library = root.path(library.trim_start_matches('/'));
        let mut elfdeps = Command::new("/usr/lib/rpm/elfdeps");
        let output = elfdeps.arg("--provides").arg(library).output().unwrap();
        provides.extend(said(&output).lines().map(str::to_owned));
    }
    let provides: String = provides
        .iter()
        .map(|p| format!("Provides: {p}\n"))
        .collect();
    let spec = format!(
        "Name: base\nVersion: 1\nRelease: 1\nSummary: a stand-in\nLicense: none\nBuildArch: noarch\n{provides}%description\n%files\n"
    );
    fs::write(folder.join("base.spec"), spec).unwrap();
    let output = Command::new("rpmbuild")
        .args(["-bb", "--quiet", "--define"])
        .arg(format!("_topdir {}", folder.display()))
        .arg(folder.join("base.spec"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    folder.join("RPMS/noarch/base-1-1.noarch.rpm")
}

#[test]
#[cfg_attr(
    not(all(e2e_clean_root, e2e_rpmbuild)),
    ignore = "needs rpmbuild and a clean root, which only root can make, with debootstrap"
)]
fn a_clean_root_installs_the_rpm_and_an_erasure_leaves_data_alone() {
    let root = Root::new("root-rpm");
    // Every distribution with RPM has these, and Debian need not.
    root.run("mkdir -p /usr/lib/sysusers.d /usr/share/licenses");
    let before = root.listing();
    let made = package("rpm", "packages-rpm-root");
    let base = base_packages(&root, made.parent().unwrap());
    // Not through a link: rpm resolves it inside of the root.
    let folder = root.0.canonicalize().unwrap();
    let rpm = |arguments: &[&str]| {
        // Debian's rpm says of each installation that Debian has another tool for that.
        let debian = matches!(arguments[0], "-i" | "-U").then_some("--force-debian");
        let output = Command::new("rpm")
            .arg("--root")
            .arg(&folder)
            .args(["--dbpath", "/var/lib/rpm"])
            .args(arguments)
            .args(debian)
            .output()
            .unwrap();
        (output.status.success(), said(&output))
    };
    let done = |arguments: &[&str]| {
        let (success, told) = rpm(arguments);
        assert!(success, "{arguments:?}: {told}");
        told
    };
    let package = made.to_str().unwrap();
    done(&["--initdb"]);
    let (installed, told) = rpm(&["-i", package]);
    assert!(!installed && told.contains("libc.so.6(GLIBC_"), "{told}");
    done(&["-i", base.to_str().unwrap()]);
    // Scriptlets that work say nothing.
    assert_eq!(done(&["-i", package]), "");
    root.is_installed_and_off();
    assert_eq!(done(&["-V", "omnipilot"]), "", "all is as it was packed");

    root.use_it("/usr/lib64/slurm");
    // The site keeps its spool otherwise: an upgrade does not know better.
    // Five digits: four would keep the set-group-ID bit of a folder.
    root.run("chmod 01770 /var/spool/omnipilot && chown root /var/spool/omnipilot");
    assert_eq!(done(&["-U", "--force", package]), "");
    assert_eq!(root.mode("var/spool/omnipilot"), 0o1770);
    let entry = root.path("etc/slurm/plugstack.conf.d/omnipilot.conf");
    assert!(entry.exists(), "an upgrade leaves it on");
    done(&["-e", "omnipilot"]);
    assert!(!entry.exists());
    for file in ["etc/omnipilot/omnipilot.toml", "var/lib/omnipilot/store.db"] {
        assert!(root.path(file).exists(), "{file}");
    }

    // Without data, nothing is left but the account, as RPM has it everywhere.
    root.run("rm -rf /var/lib/omnipilot /var/spool/omnipilot /etc/omnipilot /etc/slurm");
    done(&["-i", package]);
    done(&["-e", "omnipilot"]);
    assert_eq!(root.more_than(&before), Vec::<String>::new());
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
fn the_rpm_has_its_files_where_its_distributions_look_for_them() {
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
        "/usr/lib64/slurm/spank_omnipilot.so",
        "/usr/lib/systemd/system/omnipilot-train.timer",
        "/usr/share/zsh/site-functions/_omnipilot",
        "/usr/share/man/man8/spank_omnipilot.8.gz",
        "/var/spool/omnipilot",
    ] {
        assert!(files.lines().any(|l| l == file), "{file}: {files}");
    }
    // Made here for whatever C library the binaries ask for, never for one by name alone.
    let needs = ask("--requires");
    assert!(needs.contains("libc.so.6(GLIBC_2.34)"), "{needs}");
}
