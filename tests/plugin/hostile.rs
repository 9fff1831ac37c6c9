//! Environments, files and options that are made to harm: the submission goes as written, or is refused where that is what
//! the words mean; it never crashes, never hangs, and the next job notices nothing.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{ALICE, Output, Setup, artifacts};

use crate::faults::{assert_one_line, goes_as_written, goes_as_written_by};
use crate::site::{MODEL, Site, advice_id, finish, gpus};

/// An untagged job of somebody else goes through in silence.
fn nobody_else_notices(site: &Site) {
    let record = site.held(&["--gres=gpu:h100:1"], "true");
    assert_eq!(gpus(&record), "gpu:h100:1");
    let tagged = site
        .cluster
        .sbatch(e2e::BOB, &["--hold", MODEL], "true")
        .unwrap();
    assert_eq!(tagged.code, Some(0), "{tagged}");
}

/// An `sbatch` with the library of games before all others.
fn playing(site: &Site, game: &str, folder: &str) -> Command {
    let mut sbatch = site.cluster.command(ALICE, "sbatch").unwrap();
    let games = site.path(folder).join("games.so");
    fs::create_dir_all(games.parent().unwrap()).unwrap();
    fs::copy(artifacts::native("games"), &games).unwrap();
    sbatch.env("LD_PRELOAD", games).env("GAME", game);
    sbatch
}

#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_native)),
    ignore = "needs Slurm and a C compiler"
)]
fn games_of_a_preloaded_library_cost_the_advice_alone() {
    let site = Site::start();
    for (game, reason) in [
        ("fork", "cannot start a process"),
        ("pipe", "cannot start a process"),
        ("memory", "the advisor ended without an answer"),
        ("crash", "the advisor ended without an answer"),
        ("hang", "not worked out within 500 ms"),
        ("babble", "the advisor's answer"),
        ("options", "Slurm does not take --"),
    ] {
        goes_as_written_by(&site, playing(&site, game, "games"), MODEL, reason);
        let mut untagged = playing(&site, game, "games");
        let output = finish(untagged.args(["--hold", "--wrap=true"]));
        assert_eq!(
            (output.code, &*output.stderr),
            (Some(0), ""),
            "{game}: {output}"
        );
    }
    nobody_else_notices(&site);
}

/// A release that no table knows is asked through a plugin of its own; where that fails too, Slurm says in its own words
/// that it declines, and the job goes.
#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_native)),
    ignore = "needs Slurm and a C compiler"
)]
fn an_unknown_newer_slurm_loads_the_plugin_or_declines_it() {
    let site = Site::start();
    let script = site.cluster.script(ALICE, "true").unwrap();
    let submit = |folder: &str, tag: &[&str]| {
        let mut sbatch = playing(&site, "newer", folder);
        finish(
            sbatch
                .args(["--hold", "--gres=gpu:a100:2"])
                .args(tag)
                .arg(&script),
        )
    };
    let declined = submit("alone", &[]);
    let record = site.cluster.show_job(declined.id().unwrap()).unwrap();
    assert_eq!(
        (declined.code, &*gpus(&record)),
        (Some(0), "gpu:a100:2"),
        "{declined}"
    );
    let lines: Vec<&str> = declined.stderr.lines().collect();
    assert!((1..=2).contains(&lines.len()), "{declined}");
    assert!(lines[0].contains("Incompatible Slurm plugin"), "{declined}");
    assert!(
        lines.iter().all(|line| line.contains("omnipilot")),
        "{declined}"
    );

    fs::create_dir(site.path("siblings")).unwrap();
    std::os::unix::fs::symlink(sibling(), site.path("siblings/auth_munge.so")).unwrap();
    let loaded = submit("siblings", &[MODEL]);
    assert_eq!((loaded.code, &*loaded.stderr), (Some(0), ""), "{loaded}");
    let record = site.cluster.show_job(loaded.id().unwrap()).unwrap();
    assert!(advice_id(&record).is_some(), "{record:?}");
}

/// Slurm's own plugin for munge.
fn sibling() -> PathBuf {
    let folders = fs::read_dir("/usr/lib")
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let places =
        folders.flat_map(|folder| [folder.join("slurm-wlm"), folder.join("slurm"), folder]);
    let files = places.map(|folder| folder.join("auth_munge.so"));
    files.into_iter().find(|file| file.exists()).unwrap()
}

/// The advisor library needs one library beside those of libc, and the user's `LD_LIBRARY_PATH` may hold something else of that
/// name; the plugin needs none.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_library_path_full_of_garbage_costs_the_advice_alone() {
    let site = Site::start();
    site.cluster
        .file("garbage/libgcc_s.so.1", "no library\n")
        .unwrap();
    let submit = |tag: &[&str]| {
        let mut sbatch = site.cluster.command(ALICE, "sbatch").unwrap();
        sbatch.env("LD_LIBRARY_PATH", site.path("garbage"));
        let output = finish(
            sbatch
                .args(["--hold", "--gres=gpu:a100:2"])
                .args(tag)
                .arg("--wrap=true"),
        );
        let record = site.cluster.show_job(output.id().unwrap()).unwrap();
        assert_eq!(
            (output.code, &*gpus(&record)),
            (Some(0), "gpu:a100:2"),
            "{output}"
        );
        output
    };
    assert_eq!(submit(&[]).stderr, "");
    assert_one_line(&submit(&[MODEL]), "libgcc_s.so.1");
    nobody_else_notices(&site);
}

/// Missing, of nothing, cut, of another release, or open to others: the advice is lost, and no job.
#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_native)),
    ignore = "needs Slurm and a C compiler"
)]
fn a_library_that_cannot_be_asked_costs_the_advice_alone() {
    let site = Site::start();
    let library = site.path("lib/omnipilot_advisor.so");
    let whole = fs::read(&library).unwrap();
    let put = |bytes: &[u8]| {
        // A new file: the one that is there may be mapped by a process.
        fs::remove_file(&library).unwrap();
        fs::write(&library, bytes).unwrap();
    };
    put(b"");
    goes_as_written(&site, "the advisor library: ");
    put(&whole[..100]);
    goes_as_written(&site, "the advisor library: ");
    put(&fs::read(artifacts::native("games")).unwrap());
    goes_as_written(&site, "of another release than the plugin is ");
    put(&whole);
    let mode = |mode| fs::set_permissions(&library, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o757);
    goes_as_written(&site, "others than the plugin's owner and root may write ");
    mode(0o755);
    nobody_else_notices(&site);
    fs::remove_file(&library).unwrap();
    goes_as_written(&site, "cannot open shared object file");
    let record = site.held(&["--gres=gpu:a100:1"], "true");
    assert_eq!(gpus(&record), "gpu:a100:1", "untagged: in silence");
}

/// A plugin that is none: Slurm's own lines, and the job goes. (One that is cut further behind ends any command in the dynamic
/// loader, by SIGBUS: `make install` therefore puts the whole file in place by renaming it.)
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_damaged_plugin_keeps_no_job_from_going() {
    let site = Site::start();
    let whole = fs::read(site.path("lib/spank_omnipilot.so")).unwrap();
    for part in [0, 64] {
        // A new file: the one that is there may be mapped by a process.
        fs::remove_file(site.path("lib/spank_omnipilot.so")).unwrap();
        fs::write(site.path("lib/spank_omnipilot.so"), &whole[..part]).unwrap();
        let output = site.sbatch(&["--gres=gpu:a100:2", "--wrap=true"]);
        assert_eq!(output.code, Some(0), "{output}");
        assert!(output.stderr.lines().count() <= 2, "{output}");
        // slurmstepd reads the same line.
        site.cluster.completed(output.id().unwrap()).unwrap();
    }
}

#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_config_json_of_two_gigabytes() {
    let site = Site::start();
    let model = site.path("model");
    fs::create_dir(&model).unwrap();
    File::create(model.join("config.json"))
        .unwrap()
        .set_len(2 << 30)
        .unwrap();
    let begun = Instant::now();
    let output = site
        .cluster
        .sbatch(
            ALICE,
            &["--hold", &format!("--llm-model={}", model.display())],
            "true",
        )
        .unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{output}");
    assert_told(&output);
    nobody_else_notices(&site);
}

/// As written with one line, or refused with at most four and a hint.
fn assert_told(output: &Output) {
    match output.code {
        Some(0) => assert_one_line(output, ""),
        Some(2 | 64 | 65) => {
            assert_eq!(output.stdout, "", "{output}");
            let lines: Vec<&str> = output.stderr.lines().collect();
            assert!((2..=4).contains(&lines.len()), "{output}");
            assert!(
                lines
                    .iter()
                    .all(|line| line.starts_with("sbatch: error: omnipilot: ")),
                "{output}"
            );
            assert!(lines.last().unwrap().contains("hint: "), "{output}");
        }
        _ => panic!("{output}"),
    }
}

/// A directive may be as long as the script; the kernel limits a single word of a command line to 128 KiB.
#[test]
#[cfg_attr(not(e2e_slurm), ignore = "Slurm is not installed")]
fn a_megabyte_of_every_byte_value_in_an_option() {
    let site = Site::start();
    let all: Vec<u8> = (1..=255).filter(|byte| *byte != b'\n').collect();
    let megabyte: Vec<u8> = all.iter().copied().cycle().take(1 << 20).collect();
    let script = site.path("long.sh");
    for option in ["model", "tp", "slo", "gpu", "advice"] {
        let head = format!("#!/bin/bash\n#SBATCH --llm-model=m\n#SBATCH --llm-{option}='");
        let text = [
            head.as_bytes(),
            &megabyte.replace(b'\'', b'"'),
            b"'\ntrue\n",
        ]
        .concat();
        fs::write(&script, text).unwrap();
        let output = site.sbatch(&["--hold", script.to_str().unwrap()]);
        assert_told(&output);
        assert!(
            output.stderr.len() < 4000,
            "{option}: {} bytes",
            output.stderr.len()
        );
    }
    for option in [
        "model",
        "tp",
        "isl",
        "rate",
        "slo",
        "gpu",
        "precision",
        "advice",
    ] {
        let mut word = format!("--llm-{option}=").into_bytes();
        word.extend(all.iter().copied().cycle().take(120_000));
        let mut sbatch = site.cluster.command(ALICE, "sbatch").unwrap();
        let word = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(word);
        assert_told(&finish(
            sbatch.args(["--hold", MODEL]).arg(word).arg("--wrap=true"),
        ));
    }
    nobody_else_notices(&site);
}

trait Replace {
    fn replace(&self, from: u8, to: u8) -> Vec<u8>;
}

impl Replace for Vec<u8> {
    fn replace(&self, from: u8, to: u8) -> Vec<u8> {
        let put = |byte: &u8| if *byte == from { to } else { *byte };
        self.iter().map(put).collect()
    }
}

/// A file system whose server never answers, mounted until this is dropped.
struct DeadMount(Child);

impl DeadMount {
    fn at(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let mut child = Command::new(artifacts::native("dead-mount"))
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let told = child.stdout.take().unwrap();
        BufReader::new(told).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "no FUSE here?");
        Self(child)
    }
}

impl Drop for DeadMount {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

#[test]
#[cfg_attr(
    not(all(e2e_slurm, e2e_native, e2e_root)),
    ignore = "needs Slurm, root and a C compiler"
)]
fn a_dead_mount_costs_the_time_limit_and_leaves_nothing_behind() {
    let site = Site::without_snapshot(&Setup::default());
    let before = site.cluster.processes();
    let mount = DeadMount::at(&site.path("dead"));
    let dead = |name: &str| site.path("dead").join(name).display().to_string();

    site.configure(&format!(
        "time_limit_ms = 300\n[model.x]\nconfig = \"{}\"",
        dead("config.json")
    ));
    let text = fs::read_to_string(site.path("omnipilot.toml")).unwrap();
    let snapshot = site.path("model.snapshot").display().to_string();
    site.cluster
        .file(
            "omnipilot.toml",
            &text.replace(&snapshot, &dead("model.snapshot")),
        )
        .unwrap();
    goes_as_written(&site, "not worked out within 300 ms");

    // Nobody knows the configured limit then: until the configuration is read the line's own counts, or the usual one.
    let line = format!(
        "optional {} config={}",
        site.path("lib/spank_omnipilot.so").display(),
        dead("omnipilot.toml")
    );
    let limited = format!("{line} time_limit_ms=200");
    site.cluster.plugstack(&limited).unwrap();
    goes_as_written(&site, "not worked out within 200 ms");
    site.cluster.plugstack(&line).unwrap();
    goes_as_written(&site, "not worked out within 500 ms");
    let record = site.held(&["--gres=gpu:a100:1"], "true");
    assert_eq!(gpus(&record), "gpu:a100:1", "untagged: nothing is read");

    interrupted(&site);
    drop(mount);
    assert_eq!(
        site.cluster.left_beside(&before),
        [0; 0],
        "no child is left"
    );
}

/// Ctrl-C while the advisor hangs ends both processes.
fn interrupted(site: &Site) {
    let mut sbatch = site.cluster.command(ALICE, "sbatch").unwrap();
    sbatch
        .args(["--hold", MODEL, "--wrap=true"])
        .stderr(Stdio::null())
        .stdout(Stdio::null());
    let mut child = sbatch.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    child.wait().unwrap();
}

#[test]
#[cfg_attr(not(all(e2e_slurm, e2e_root)), ignore = "needs Slurm and root")]
fn a_model_folder_on_a_dead_mount() {
    let site = Site::start();
    let _mount = DeadMount::at(&site.path("dead"));
    let tag = format!("--llm-model={}", site.path("dead/llama").display());
    let sbatch = site.cluster.command(ALICE, "sbatch").unwrap();
    goes_as_written_by(&site, sbatch, &tag, "not worked out within 500 ms");
    nobody_else_notices(&site);
}

/// Nothing is written by a submission: where nothing can be, an advice is as good.
#[test]
#[cfg_attr(not(all(e2e_slurm, e2e_root)), ignore = "needs Slurm and root")]
fn a_read_only_root_is_advised_too() {
    let site = Site::start();
    let script = site.cluster.script(ALICE, "true").unwrap();
    let sbatch = site.cluster.command(ALICE, "sbatch").unwrap();
    let words: Vec<&str> = sbatch.get_args().filter_map(|word| word.to_str()).collect();
    let line = "mount --rbind / /mnt && mount -o remount,bind,ro /mnt && cd \"/mnt$PWD\" && \
                ! touch x 2>/dev/null && exec chroot /mnt \"$@\"";
    let mut alone = site.cluster.command(e2e::OPERATOR, "unshare").unwrap();
    alone.args([
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        line,
        "sh",
    ]);
    alone.arg(sbatch.get_program()).args(words);
    let output = finish(alone.args(["--hold", MODEL]).arg(script));
    assert_eq!((output.code, &*output.stderr), (Some(0), ""), "{output}");
    let record = site.cluster.show_job(output.id().unwrap()).unwrap();
    assert!(advice_id(&record).is_some(), "{record:?}");
}
