//! The plugin that users get, in a stand-in for each process of Slurm that loads it (`tests/native/spank-host.c`): there, any
//! system call but writing the result ends the process.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use e2e::{ALICE, artifacts};

use crate::site::{MODEL, Site, finish};

/// The contexts of `spank.h` in which nothing is submitted: error, remote (slurmstepd), slurmd, job script (prolog, epilog),
/// and one that no release has yet.
const ELSEWHERE: [i32; 5] = [0, 2, 4, 5, 77];

/// `srun` on a login node; `sbatch` and `salloc`.
const SUBMITTING: [i32; 2] = [1, 3];

fn host(context: i32) -> Output {
    Command::new(artifacts::native("spank-host"))
        .arg(artifacts::plugin().unwrap())
        .arg(context.to_string())
        .env_clear()
        .output()
        .unwrap()
}

fn told(context: i32) -> String {
    let output = host(context);
    assert_eq!(
        output.status.code(),
        Some(0),
        "context {context}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[cfg_attr(not(e2e_native), ignore = "no C compiler")]
fn on_compute_nodes_every_hook_returns_without_a_system_call() {
    for context in ELSEWHERE {
        let hooks = "slurm_spank_init 0\nslurm_spank_init_post_opt 0\n";
        assert_eq!(
            told(context),
            format!("{hooks}options 0\n"),
            "context {context}"
        );
    }
}

#[test]
#[cfg_attr(not(e2e_native), ignore = "no C compiler")]
fn an_untagged_submission_costs_no_system_call() {
    for context in SUBMITTING {
        let told = told(context);
        assert!(told.starts_with("slurm_spank_init 0\nslurm_spank_init_post_opt 0\noptions "));
        assert!(!told.ends_with("options 0\n"), "{told}");
    }
}

/// Without this the two tests above would show nothing.
#[test]
#[cfg_attr(not(e2e_native), ignore = "no C compiler")]
fn a_system_call_ends_the_stand_in() {
    assert_eq!(
        host(-1).status.signal(),
        Some(nix::sys::signal::Signal::SIGSYS as i32)
    );
}

/// What breaks the library on purpose is compiled for tests alone.
#[test]
fn the_library_that_users_get_cannot_be_broken_on_purpose() {
    let library = artifacts::advisor().unwrap();
    if built_for_tests(&library) {
        return;
    }
    let bytes = fs::read(library).unwrap();
    let switch = b"OMNIPILOT_INJECT";
    assert!(!bytes.windows(switch.len()).any(|found| found == switch));
}

fn built_for_tests(library: &Path) -> bool {
    library
        .parent()
        .is_some_and(|folder| folder.ends_with("debug"))
}

/// Functions of the C library that the plugin may call: none that allocates but the copy of an option's value, none that
/// unwinds, none of Slurm's, which it looks up. Anything else means that more is loaded into each command than was thought.
const CALLED: [&str; 19] = [
    "bcmp", "dladdr", "dlclose", "dlerror", "dlopen", "dlsym", "environ", "exit", "free", "getenv",
    "memcpy", "memmove", "memset", "setenv", "stat", "strdup", "strlen", "unsetenv", "memcmp",
];

/// A plugin in which anything could panic does not link; this shows that it was linked so, with nothing of Rust's standard library.
#[test]
#[cfg_attr(not(e2e_native), ignore = "no C compiler, and so no binutils")]
fn the_plugin_that_users_get_has_no_place_that_panics() {
    let plugin = artifacts::plugin().unwrap();
    if built_for_tests(&plugin) {
        return;
    }
    let mut nm = Command::new("nm");
    nm.args(["-D", "--undefined-only", "--format=posix"]);
    let text = String::from_utf8(nm.arg(&plugin).output().unwrap().stdout).unwrap();
    let wanted: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split([' ', '@']).next())
        .collect();
    assert!(!wanted.is_empty());
    assert!(
        wanted.iter().all(|name| CALLED.contains(name)),
        "{wanted:?}"
    );
    let mut readelf = Command::new("readelf");
    readelf.arg("-d").arg(&plugin);
    let text = String::from_utf8(readelf.output().unwrap().stdout).unwrap();
    let needed: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .collect();
    assert!(
        needed.len() == 1 && needed[0].contains("[libc.so.6]"),
        "{needed:?}"
    );
}

/// Both processes of a tagged submission, with every read and write of memory looked at.
#[test]
#[cfg_attr(not(all(e2e_slurm, e2e_valgrind)), ignore = "needs Slurm and valgrind")]
fn valgrind_finds_nothing_in_a_tagged_submission() {
    let site = Site::start();
    site.configure("time_limit_ms = 60000");
    let mut valgrind = site.cluster.command(ALICE, "valgrind").unwrap();
    valgrind.args([
        "-q",
        "--trace-children=yes",
        "--error-exitcode=99",
        "sbatch",
        "--hold",
        MODEL,
    ]);
    valgrind.args([
        "--gres=gpu:a100:2",
        "-C",
        "a100",
        "--comment=mine",
        "--wrap=true",
    ]);
    let output = finish(&mut valgrind);
    // Its remarks on itself (a system call that is newer than it) begin so; what it finds does not.
    let mut found = output.stderr.lines().filter(|line| !line.starts_with("--"));
    assert_eq!((output.code, found.next()), (Some(0), None), "{output}");
    let record = site.cluster.show_job(output.id().unwrap()).unwrap();
    assert!(
        record["Comment"].starts_with("mine omnipilot:"),
        "{record:?}"
    );
}
