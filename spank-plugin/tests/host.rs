//! The built plugin and its library in a stand-in for Slurm's processes: each context, each place broken on purpose, a library that
//! is not there or not of this release, and what both export. `tests/host.c` is the stand-in.
//!
//! `make sanitize` runs the same under valgrind (OMNIPILOT_UNDER) and with the address sanitizer in both (OMNIPILOT_CC, RUSTFLAGS).
#![allow(clippy::unwrap_used, reason = "a failed test is to stop")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use model_store::advisor::{Catalogue, ClusterState, GpuPool, SiteGpu};
use model_store::snapshot::{Body, Snapshot};

const REMOTE: &str = "2";
const ALLOCATOR: &str = "3";
const LOCAL: &str = "1";

/// A library that cargo built together with this test.
fn built(name: &str) -> PathBuf {
    let here = std::env::current_exe().unwrap();
    let library = here.with_file_name(format!("lib{name}.so"));
    assert!(library.exists(), "{} is not built", library.display());
    library
}

/// Both libraries as they are installed.
fn installed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |from: &str, to: &str| fs::copy(built(from), folder.path().join(to)).unwrap();
    put("spank_omnipilot", "spank_omnipilot.so");
    put("omnipilot_advisor", "omnipilot_advisor.so");
    folder
}

/// Builds the stand-in once a flavour.
fn host(flavour: &'static str) -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap()).path();
    let program =
        folder.join(format!("{:?}{flavour}", std::thread::current().id()).replace(['(', ')'], ""));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host.c");
    let mut cc = Command::new("cc");
    let more = std::env::var("OMNIPILOT_CC").unwrap_or_default();
    cc.args(more.split_whitespace());
    cc.args(["-rdynamic", "-Wall", "-o"])
        .arg(&program)
        .arg(source)
        .arg("-ldl");
    match flavour {
        "no options" => cc.args(["-DNO_OPTIONS", "-DAPI=38"]),
        "newer" => cc.arg("-DAPI=99"),
        _ => cc.arg("-DAPI=38"),
    };
    assert!(cc.status().unwrap().success());
    program
}

struct Ran {
    code: Option<i32>,
    lines: Vec<String>,
}

fn run(flavour: &'static str, inject: &str, arguments: &[&str]) -> Ran {
    run_in(installed().path(), flavour, inject, arguments)
}

/// The plugin line's time limit, ms: a checker slows everything down many times.
fn limit() -> u32 {
    if is_checked() { 20_000 } else { 500 }
}

fn is_checked() -> bool {
    ["OMNIPILOT_UNDER", "OMNIPILOT_CC"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}

fn run_in(folder: &Path, flavour: &'static str, inject: &str, arguments: &[&str]) -> Ran {
    run_with(folder, flavour, &[("OMNIPILOT_INJECT", inject)], arguments)
}

fn run_with(
    folder: &Path,
    flavour: &'static str,
    environment: &[(&str, &str)],
    arguments: &[&str],
) -> Ran {
    let host = host(flavour);
    let under = std::env::var("OMNIPILOT_UNDER").unwrap_or_default();
    let mut words = under.split_whitespace();
    let mut command = match words.next() {
        Some(checker) => {
            let mut command = Command::new(checker);
            command.args(words).arg(host);
            command
        }
        None => Command::new(host),
    };
    command
        .env_clear()
        .env("LIMIT", format!("time_limit_ms={}", limit()))
        .envs(environment.iter().copied())
        .arg(folder.join("spank_omnipilot.so"))
        .args(arguments);
    // What the address sanitizer finds is told on stderr; what the loader leaks at its end is not the plugin's.
    if let Some(options) = std::env::var_os("ASAN_OPTIONS") {
        command.env("ASAN_OPTIONS", options);
    }
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    // valgrind's remarks on itself (a system call that is newer than it) begin so; what it finds does not.
    let told: Vec<&str> = told
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    assert!(
        told.is_empty(),
        "only Slurm's own log is written to: {told:#?}"
    );
    let lines = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    Ran {
        code: output.status.code(),
        lines,
    }
}

fn says(ran: &Ran) -> Vec<&str> {
    ran.lines
        .iter()
        .map(String::as_str)
        .filter(|line| line.starts_with("error: ") || line.starts_with("info: "))
        .collect()
}

#[test]
fn outside_submitting_commands_nothing_happens() {
    for context in ["0", REMOTE, "4", "5", "77"] {
        for inject in ["", "panic:Command", "panic:Child"] {
            let ran = run("", inject, &[context, "--llm-model=m"]);
            assert_eq!(
                ran.lines[1..],
                [
                    "init: 0",
                    "options: 0",
                    "callback llm-model: -99",
                    "post_opt: 0"
                ],
                "context {context}, {inject}"
            );
            assert_eq!(ran.code, Some(0));
        }
    }
}

#[test]
fn submitting_commands_get_the_options() {
    for context in [ALLOCATOR, LOCAL] {
        let ran = run("", "", &[context]);
        assert_eq!(
            ran.lines,
            [
                "name omnipilot, type spank, version 0x160500",
                "init: 0",
                "options: 11",
                "post_opt: 0"
            ],
            "untagged: nothing is read or said"
        );
    }
}

#[test]
fn a_tagged_job_goes_as_written_when_the_site_has_no_configuration() {
    let ran = run(
        "",
        "",
        &[
            ALLOCATOR,
            "gres=gpu:a100:2",
            "comment=mine",
            "--llm-model=m",
        ],
    );
    assert_eq!(ran.code, Some(0));
    let [line] = says(&ran)[..] else {
        panic!("{:?}", ran.lines)
    };
    assert!(
        line.starts_with(
            "info: omnipilot: no advice: cannot read the configuration /nowhere/omnipilot.toml: "
        ),
        "{line}"
    );
    assert!(line.ends_with("; the job goes as written"), "{line}");
    assert_eq!(
        ran.lines[ran.lines.len() - 3..],
        ["post_opt: 0", "job gres=gpu:a100:2", "job comment=mine"]
    );
}

#[test]
fn no_broken_advisor_harms_the_submission() {
    let cases = [
        ("panic:Command", "internal error"),
        ("panic:Child", "ended without an answer"),
        ("abort:Child", "ended without an answer"),
        ("exit:Child", "ended without an answer"),
        (
            "hang:Child",
            &*format!("not worked out within {} ms", limit()),
        ),
    ];
    for (inject, said) in cases {
        let ran = run("", inject, &[ALLOCATOR, "gres=gpu:a100:2", "--llm-model=m"]);
        assert_eq!(ran.code, Some(0), "{inject}");
        assert!(
            ran.lines.iter().any(|line| line == "post_opt: 0"),
            "{inject}"
        );
        assert!(
            ran.lines.iter().any(|line| line == "job gres=gpu:a100:2"),
            "{inject}"
        );
        let lines = says(&ran);
        assert_eq!(
            lines.len(),
            usize::from(!said.is_empty()),
            "{inject}: {lines:?}"
        );
        assert!(
            lines.iter().all(|line| line.contains(said)),
            "{inject}: {lines:?}"
        );
    }
}

#[test]
fn a_slurm_that_hides_its_options_is_told_in_one_line() {
    let ran = run("no options", "", &[ALLOCATOR, "--llm-model=m"]);
    assert_eq!(ran.code, Some(0));
    assert_eq!(
        says(&ran),
        [
            "info: omnipilot: no advice: this Slurm does not let a plugin see a job's options; the job goes as written"
        ]
    );
}

#[test]
fn a_wrong_value_is_refused_with_its_reason_and_a_hint() {
    let ran = run("", "", &[ALLOCATOR, "--llm-model=m", "--llm-tp=zero"]);
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        says(&ran),
        [
            "error: omnipilot: --llm-tp=zero is not a tensor-parallel degree from 1 to 64",
            "error: omnipilot: hint: --llm-tp=4; pipeline stages follow where one node is too small"
        ]
    );
    let healed = run(
        "",
        "",
        &[
            ALLOCATOR,
            "--llm-tp=zero",
            "--llm-tp=2",
            "--llm-advice=off",
            "--llm-model=m",
        ],
    );
    assert_eq!((healed.code, says(&healed).len()), (Some(0), 0));
}

#[test]
fn text_from_outside_is_never_a_format() {
    let ran = run("", "", &[ALLOCATOR, "--llm-model=m", "--llm-tp=%s%n%n%n"]);
    assert_eq!(
        says(&ran)[0],
        "error: omnipilot: --llm-tp=%s%n%n%n is not a tensor-parallel degree from 1 to 64"
    );
}

#[test]
fn options_without_a_model_and_advice_off_change_nothing() {
    for arguments in [&["--llm-tp=4"][..], &["--llm-model=m", "--llm-advice=off"]] {
        let ran = run("", "", &[&[ALLOCATOR], arguments].concat());
        assert_eq!((ran.code, says(&ran).len()), (Some(0), 0), "{arguments:?}");
    }
}

/// A release that the table does not know, and no plugin of Slurm's beside its library: the stamp stays 0, which Slurm
/// declines in a line of its own.
#[test]
fn an_unknown_slurm_finds_no_stamp() {
    assert_eq!(
        run("newer", "", &[REMOTE]).lines[0],
        "name omnipilot, type spank, version 0"
    );
}

/// The one line of a submission that goes as written.
fn told(ran: &Ran) -> String {
    assert_eq!(ran.code, Some(0), "{:?}", ran.lines);
    assert!(
        ran.lines.iter().any(|line| line == "job gres=gpu:a100:2"),
        "{:?}",
        ran.lines
    );
    let [line] = says(ran)[..] else {
        panic!("{:?}", ran.lines)
    };
    let line = line.strip_prefix("info: omnipilot: no advice: ").unwrap();
    line.strip_suffix("; the job goes as written")
        .unwrap()
        .to_owned()
}

#[test]
fn a_library_that_cannot_be_asked_costs_the_advice_alone() {
    let folder = installed();
    let library = folder.path().join("omnipilot_advisor.so");
    let whole = fs::read(&library).unwrap();
    let tagged = |reason: &str| {
        let ran = run_in(
            folder.path(),
            "",
            "",
            &[ALLOCATOR, "gres=gpu:a100:2", "--llm-model=m"],
        );
        let line = told(&ran);
        assert!(line.contains(reason), "{line}");
        for unasked in [
            &[][..],
            &["--llm-tp=2"],
            &["--llm-model=m", "--llm-advice=off"],
        ] {
            let ran = run_in(folder.path(), "", "", &[&[ALLOCATOR], unasked].concat());
            assert_eq!((ran.code, says(&ran).len()), (Some(0), 0), "{unasked:?}");
        }
    };
    fs::write(&library, "").unwrap();
    tagged("the advisor library: ");
    fs::write(&library, "no library\n").unwrap();
    tagged("the advisor library: ");
    fs::write(&library, &whole).unwrap();
    fs::set_permissions(&library, fs::Permissions::from_mode(0o757)).unwrap();
    tagged("others than the plugin's owner and root may write ");
    // Of another release, by its number, by its form, and by what it exports.
    fs::remove_file(&library).unwrap();
    tagged("cannot open shared object file");
    for source in [
        "struct { unsigned interface; char release[32]; void *decide; } omnipilot_advisor = { 1, \"0.0.1\", 0 };",
        "struct { unsigned interface; char release[32]; } omnipilot_advisor = { 99, \"\" };",
        "int something_else;",
    ] {
        compile(source, &library);
        tagged("of another release than the plugin is ");
    }
}

/// A site whose snapshot knows its GPUs and no run: what is explored is noted, what is to be advised is out of support.
fn site() -> tempfile::TempDir {
    let folder = installed();
    let body = Body {
        catalogue: Catalogue::built_in(),
        cluster: ClusterState {
            pools: vec![GpuPool {
                gres: "a100".into(),
                nodes: 2,
                per_node: 8,
                total: 16,
                ..GpuPool::default()
            }],
            ..ClusterState::default()
        },
        gpus: vec![SiteGpu {
            gres: "a100".into(),
            gpu: "A100-80GB".into(),
            price_per_hour: 1.0,
        }],
        engine: "vllm".into(),
        ..Body::default()
    };
    let path = |name: &str| folder.path().join(name);
    Snapshot::new(body, 1_700_000_000)
        .publish(&path("model.snapshot"))
        .unwrap();
    let entry = |key: &str, name: &str| format!("{key} = \"{}\"\n", path(name).display());
    let text = entry("store", "store.db") + &entry("snapshot", "model.snapshot");
    let text = text + &entry("spool", "outcomes") + &format!("time_limit_ms = {}\n", limit());
    fs::write(path("omnipilot.toml"), text).unwrap();
    folder
}

const LLAMA: &str = "--llm-model=meta-llama/Llama-3.1-8B-Instruct";

fn run_at(site: &Path, environment: &[(&str, &str)], arguments: &[&str]) -> Ran {
    let config = format!("config={}", site.join("omnipilot.toml").display());
    let all = [&[("CONFIG", &*config)], environment].concat();
    run_with(site, "", &all, &[&[ALLOCATOR], arguments].concat())
}

#[test]
fn what_is_explored_is_noted_in_each_component() {
    let site = site();
    let ran = run_at(
        site.path(),
        &[("OMNIPILOT_ADVICE", "explore")],
        &[
            "gres=gpu:a100:2",
            "comment=mine",
            LLAMA,
            "--llm-advice=explore",
            "@",
            LLAMA,
            "--llm-advice=off",
            "@",
            "wrap=vllm serve m",
            LLAMA,
            "--llm-advice=explore",
        ],
    );
    assert_eq!(
        (ran.code, says(&ran).len()),
        (Some(0), 0),
        "{:?}",
        ran.lines
    );
    let comment = ran
        .lines
        .iter()
        .find_map(|line| line.strip_prefix("job comment="));
    let (own, note) = comment.unwrap().split_once(' ').unwrap();
    assert!(
        own == "mine" && note.starts_with("omnipilot:"),
        "{comment:?}"
    );
}

#[test]
fn what_was_never_measured_goes_as_written_where_the_script_cannot_be_read() {
    let site = site();
    let ran = run_at(site.path(), &[], &["gres=gpu:a100:2", LLAMA]);
    assert_eq!(ran.code, Some(0), "{:?}", ran.lines);
    assert_eq!(says(&ran).len(), 1, "{:?}", ran.lines);
    let inside = run_at(
        site.path(),
        &[
            ("SLURM_JOB_ID", "7"),
            ("SLURM_LLM_TP", "4"),
            ("OMNIPILOT_MODEL", "m"),
        ],
        &["gres=gpu:a100:2"],
    );
    assert_eq!((inside.code, says(&inside).len()), (Some(0), 0));
}

#[test]
fn long_values_of_every_byte_are_told_or_refused() {
    let site = site();
    let all: String = (1..=127_u8).cycle().take(100_000).map(char::from).collect();
    for option in ["model", "isl", "slo", "gpu", "tp", "precision", "advice"] {
        let value = format!("--llm-{option}={all}");
        let ran = run_at(site.path(), &[], &[LLAMA, &value]);
        assert!([Some(0), Some(2), Some(64)].contains(&ran.code), "{option}");
        assert!((1..=4).contains(&says(&ran).len()), "{option}");
    }
}

/// Makes a library of a line of C.
fn compile(source: &str, library: &Path) {
    let file = library.with_extension("c");
    fs::write(&file, source).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(library).arg(&file);
    assert!(cc.status().unwrap().success());
}

/// Symbols that a library has of its own, or wants from others.
fn symbols(library: &str, which: &str) -> Vec<String> {
    let mut nm = Command::new("nm");
    nm.args(["-D", which, "--format=posix"]).arg(built(library));
    let text = String::from_utf8(nm.output().unwrap().stdout).unwrap();
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn nothing_but_the_hooks_is_exported() {
    assert_eq!(
        symbols("spank_omnipilot", "--defined-only"),
        [
            "plugin_name",
            "plugin_type",
            "plugin_version",
            "slurm_spank_init",
            "slurm_spank_init_post_opt"
        ]
    );
    assert_eq!(
        symbols("omnipilot_advisor", "--defined-only"),
        ["omnipilot_advisor"]
    );
}

/// Every Slurm symbol is looked up at run time, so a release that lacks one still loads both.
#[test]
fn nothing_of_slurm_is_needed_to_load() {
    for library in ["spank_omnipilot", "omnipilot_advisor"] {
        let names = symbols(library, "--undefined-only");
        let of_slurm = |name: &String| name.contains("spank") || name.contains("slurm");
        assert!(
            !names.is_empty() && !names.iter().any(of_slurm),
            "{library}: {names:?}"
        );
    }
}
