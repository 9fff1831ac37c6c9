//! `omnipilot init` and `omnipilot import`.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::site::Site;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn init_makes_a_working_store_and_a_spool_for_everyone_and_changes_nothing_afterwards() {
    let site = Site::new();
    assert_eq!(site.store().count().unwrap(), 717);
    assert_eq!(
        site.spool().metadata().unwrap().permissions().mode() & 0o7777,
        0o3777
    );
    assert_eq!(
        site.path("db/store.db")
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o644
    );
    std::fs::set_permissions(site.spool(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let again = site.run(&["init", "--figures-only"]);
    assert!(again.status.success());
    assert!(
        text(&again.stdout).contains("0 published runs added, 717 already known"),
        "{again:?}"
    );
    assert!(
        text(&again.stderr).contains("has mode 755, not 3777"),
        "{again:?}"
    );
    assert_eq!(
        site.spool().metadata().unwrap().permissions().mode() & 0o7777,
        0o755
    );
}

#[test]
fn init_works_under_any_umask() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "umask 077; exec '{}' --store {}/a/b.db init",
        env!("CARGO_BIN_EXE_omnipilot"),
        dir.path().display()
    );
    assert!(
        std::process::Command::new("sh")
            .args(["-c", &script])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(
        dir.path()
            .join("a/b.db")
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o644
    );
    assert_eq!(
        dir.path()
            .join("a/spool")
            .metadata()
            .unwrap()
            .permissions()
            .mode()
            & 0o7777,
        0o3777
    );
    for folder in ["a", "a/spool"] {
        let mode = dir
            .path()
            .join(folder)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o755, 0o755, "{folder}");
    }
}

#[test]
fn init_leaves_a_file_of_another_kind_alone() {
    let site = Site::new();
    std::fs::write(site.path("db/store.db"), "my thesis").unwrap();
    let out = site.run(&["init", "--figures-only"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("is not a store of past runs"),
        "{out:?}"
    );
    assert!(
        text(&out.stderr).contains("hint: it was not touched"),
        "{out:?}"
    );
    assert_eq!(
        std::fs::read_to_string(site.path("db/store.db")).unwrap(),
        "my thesis"
    );
}

#[test]
fn import_says_what_it_took_and_what_it_skipped_and_why() {
    let site = Site::new();
    let table = "run_id,model,gpu,tp,precision,workload,output_tok_s\n\
                 a,m,H200,1,fp8,offline,5\nb,m,H200,x,fp8,offline,5\nc,m,H200,y,fp8,offline,5\nd,m,H200,1,fp8,never,5\n";
    std::fs::write(site.path("t.csv"), table).unwrap();
    let file = site.path("t.csv").display().to_string();
    let out = site.run(&["import", "--format", "runs-csv", &file]);
    assert!(out.status.success(), "{out:?}");
    assert_eq!(
        text(&out.stdout),
        "t.csv: 1 row taken, 0 already known, 3 skipped\n  \
         2 skipped: `tp` is not a number, first at line 3: `x`\n  \
         1 skipped: `workload` is none of offline, static, closed-loop, poisson, first at line 5: `never`\n"
    );
    let again = site.run(&["import", "--format", "runs-csv", "--json", &file]);
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        (
            report["taken"].as_u64(),
            report["known"].as_u64(),
            report["skipped"].as_u64()
        ),
        (Some(0), Some(1), Some(3))
    );
}

#[test]
fn one_file_that_cannot_be_read_does_not_keep_the_others_out() {
    let site = Site::new();
    std::fs::write(
        site.path("good.csv"),
        "model,gpu,tp,precision,workload\nm,H200,1,fp8,offline\n",
    )
    .unwrap();
    std::fs::write(site.path("bad.csv"), "a,b\n1,2\n").unwrap();
    let paths = ["none.csv", "bad.csv", "good.csv"].map(|n| site.path(n).display().to_string());
    let out = site.run(&[
        "import", "--format", "runs-csv", &paths[0], &paths[1], &paths[2],
    ]);
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stderr).contains("2 of 3 files were not imported"),
        "{out:?}"
    );
    assert!(
        text(&out.stderr).contains("its first line has no `model`"),
        "{out:?}"
    );
    assert_eq!(site.store().count().unwrap(), 718);
}

#[test]
fn predictions_that_cannot_be_written_are_told_without_the_draft() {
    let site = Site::new();
    assert!(site.run(&["train"]).status.success());
    let cases = site.path("cases.csv");
    std::fs::write(&cases, "model,gpu,tp,precision,workload\n").unwrap();
    let none = site.path("none/p.csv");
    let out = site.run(&[
        "predict",
        "--input",
        cases.to_str().unwrap(),
        "--output",
        none.to_str().unwrap(),
    ]);
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        said.contains("none/p.csv: its folder is not there") && said.contains("hint: "),
        "{said}"
    );
    assert!(!said.contains("none/.tmp"), "{said}");
}

/// The output of a command, which must end by itself.
fn ends(command: &mut std::process::Command) -> std::process::Output {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("it hangs");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn a_fifo_or_a_line_without_end_is_refused() {
    let site = Site::new();
    assert!(site.run(&["train"]).status.success());
    let (fifo, long, predicted) = (site.path("fifo"), site.path("long.csv"), site.path("p.csv"));
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let head = "model,gpu,tp,precision,workload\nm,H200,1,fp8,offline\n";
    std::fs::write(&long, head.to_owned() + &"x".repeat(2 << 20)).unwrap();
    for (file, why) in [
        (&fifo, "not a regular file"),
        (&long, "line 3 is longer than 1 MiB"),
    ] {
        let file = file.to_str().unwrap();
        let import = ends(&mut site.command(&["import", "--format", "runs-csv", file]));
        assert!(
            !import.status.success() && text(&import.stderr).contains(why),
            "{import:?}"
        );
        let predict = ends(&mut site.command(&[
            "predict",
            "--input",
            file,
            "--output",
            predicted.to_str().unwrap(),
        ]));
        assert_eq!(predict.status.code(), Some(2), "{predict:?}");
        assert!(text(&predict.stderr).contains(why), "{predict:?}");
        assert!(!predicted.exists());
    }
}

#[test]
fn nothing_to_import_makes_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let (store, good) = (dir.path().join("new/s.db"), dir.path().join("good.csv"));
    std::fs::write(
        &good,
        "model,gpu,tp,precision,workload\nm,H200,1,fp8,offline\n",
    )
    .unwrap();
    let import = |file: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_omnipilot"));
        command
            .arg("--store")
            .arg(&store)
            .args(["import", "--format", "runs-csv"])
            .arg(dir.path().join(file));
        command.output().unwrap()
    };
    let none = import("none.csv");
    assert_eq!(none.status.code(), Some(1));
    assert!(text(&none.stderr).contains("cannot read"), "{none:?}");
    assert!(!store.parent().unwrap().exists());
    assert!(import("good.csv").status.success() && store.exists());
}

#[test]
fn a_store_on_the_command_line_keeps_the_configured_site_out() {
    let site = Site::new();
    let scratch = site.path("scratch.db");
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_omnipilot"));
        command
            .env("OMNIPILOT_CONFIG", site.path("omnipilot.toml"))
            .args(args)
            .output()
            .unwrap()
    };
    for verb in [&["init", "--figures-only"][..], &["train"]] {
        let out = run(&[&["--store", scratch.to_str().unwrap()], verb].concat());
        assert!(out.status.success(), "{out:?}");
    }
    assert!(site.path("scratch.snapshot").exists());
    assert!(!site.path("published/omnipilot.snapshot").exists());
    assert!(run(&["train"]).status.success());
    assert!(site.path("published/omnipilot.snapshot").exists());
}

/// A result file of a benchmark client.
const BENCH: &str = include_str!("../../../model-store/tests/imports/vllm-bench/0.32.0/bench.json");

#[test]
fn a_result_file_is_told_by_its_content_and_imported_once_under_any_name() {
    let site = crate::site::Site::new();
    for name in ["first.json", "copy.json"] {
        std::fs::write(site.path(name), BENCH).unwrap();
    }
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    // It names no GPU.
    let out = site.run(&["import", &path("first.json")]);
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8(out.stderr).unwrap();
    assert!(
        said.contains("it names no GPU: `--gpu` states it"),
        "{said}"
    );

    let stated = [
        "--gpu",
        "h100",
        "--tp",
        "1",
        "--precision",
        "bf16",
        "--model",
        "Qwen/Qwen3-8B",
    ];
    let import = |name: &str| site.json(&[&["import"][..], &stated, &[&path(name)]].concat());
    let report = import("first.json");
    assert_eq!(
        (&report["format"], &report["taken"], &report["known"]),
        (&"vllm-bench".into(), &1.into(), &0.into()),
        "{report}"
    );
    let report = import("copy.json");
    assert_eq!((&report["taken"], &report["known"]), (&0.into(), &1.into()));
    // Nor under another claim of what it was measured on.
    let other = ["import", "--gpu", "h200", "--tp", "1", &path("copy.json")];
    assert_eq!(site.json(&other)["taken"], 0);
    let runs = site.store().runs().unwrap();
    let ours: Vec<_> = runs
        .iter()
        .filter(|r| r.case.model == "Qwen/Qwen3-8B")
        .collect();
    assert_eq!(ours.len(), 1);
    assert!((ours[0].measured.output_tok_s.unwrap() - 1262.97).abs() < 0.01);
}

/// Clients append to their file, other tools write it anew with other white space, and a copy has another name.
#[test]
fn what_grew_was_reformatted_or_renamed_counts_once() {
    let site = crate::site::Site::new();
    let entry: serde_json::Value = serde_json::from_str(BENCH).unwrap();
    let mut later = entry.clone();
    later["output_throughput"] = 1300.5.into();
    let import = |name: &str, text: String| {
        std::fs::write(site.path(name), text).unwrap();
        let path = site.path(name).to_str().unwrap().to_owned();
        let report = site.json(&["import", "--gpu", "h100", "--tp", "1", &path]);
        (report["taken"].as_u64(), report["known"].as_u64())
    };
    let none = (Some(0), Some(1));
    assert_eq!(import("a.json", format!("{entry}\n")), (Some(1), Some(0)));
    assert_eq!(
        import("a.json", format!("{entry}\n{later}\n")),
        (Some(1), Some(1))
    );
    assert_eq!(import("b.json", format!("{later:#}")), none);
    assert_eq!(import("c.json", format!("[{entry}]")), none);
    // Failures have no figure by which another source's copy of them is known.
    let table = "model,gpu,tp,precision,workload,outcome\nllama,H200,1,fp8,offline,out-of-memory\n";
    assert_eq!(import("d.csv", table.into()), (Some(1), Some(0)));
    assert_eq!(import("e.csv", table.into()), none);
}

#[test]
fn a_folder_of_vec_inf_jobs_is_imported_with_their_logs() {
    let site = crate::site::Site::new();
    let folder = site.path("llama.4711");
    std::fs::create_dir(&folder).unwrap();
    let from = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../model-store/tests/imports/vec-inf/0.9"
    );
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let report = site.json(&[
        "import",
        "--origin",
        "this-cluster",
        folder.to_str().unwrap(),
    ]);
    assert_eq!(
        (&report["format"], &report["taken"]),
        (&"vec-inf".into(), &1.into()),
        "{report}"
    );
    let runs = site.runs_here();
    assert_eq!(runs[0].measured.output_tok_s, Some(620.0));
}

#[test]
fn a_new_store_holds_the_runs_of_laboratories_and_importing_them_again_adds_none() {
    let dir = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_omnipilot"))
            .arg("--store")
            .arg(dir.path().join("s.db"))
            .args(args)
            .output()
            .unwrap()
    };
    let made = run(&["init"]);
    assert!(made.status.success(), "{made:?}");
    assert!(
        text(&made.stdout).contains("10,585 published runs"),
        "{made:?}"
    );
    let table = dir.path().join("premai_bench.csv.gz");
    let packed = include_bytes!("../../../model-store/store/data/evidence/premai_bench.csv.gz");
    std::fs::write(&table, packed).unwrap();
    let unpacked = std::process::Command::new("gunzip").arg(&table).status();
    assert!(unpacked.unwrap().success());
    let table = dir.path().join("premai_bench.csv");
    let again = run(&["import", table.to_str().unwrap()]);
    let told = text(&again.stdout);
    assert!(told.contains("0 rows taken, 60 already known"), "{told}");
}

#[test]
fn a_bare_store_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::process::Command::new(env!("CARGO_BIN_EXE_omnipilot"))
        .arg("--store")
        .arg(dir.path().join("s.db"))
        .args(["init", "--bare"])
        .output()
        .unwrap();
    let told = text(&made.stdout);
    assert!(told.contains("with 0 published runs"), "{told}");
}

/// An entry that was skipped for want of an option comes in with it; what came in before counts once.
#[test]
fn what_is_asked_for_comes_in_when_it_is_stated() {
    let site = Site::new();
    let before = site.store().count().unwrap();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../model-store/tests/imports/guidellm/0.7.0/benchmarks.json"
    );
    let import = |more: &[&str]| {
        let args = ["import", file, "--gpu", "h100", "--tp", "1"];
        let out = site.run(&[&args[..], more].concat());
        assert!(out.status.success(), "{out:?}");
        text(&out.stdout)
    };
    let told = import(&[]);
    assert!(
        told.contains("2 runs taken, 0 already known, 1 skipped"),
        "{told}"
    );
    assert!(
        told.contains("`--concurrency` or `--request-rate`"),
        "{told}"
    );
    let told = import(&["--concurrency", "16"]);
    assert!(
        told.contains("1 run taken, 2 already known, 0 skipped"),
        "{told}"
    );
    let told = import(&["--concurrency", "32"]);
    assert!(told.contains("0 runs taken, 3 already known"), "{told}");
    assert_eq!(site.store().count().unwrap(), before + 3);
}

/// The summary of MLPerf is no JSON: it is known by its title, and its engines are asked for.
#[test]
fn a_summary_of_mlperf_is_known_by_its_title() {
    let site = Site::new();
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../model-store/tests/imports/mlperf/5.1/server/mlperf_log_summary.txt"
    );
    let out = site.run(&["import", file, "--gpu", "h200", "--model", "m"]);
    assert!(
        text(&out.stderr).contains("`--tp` and `--dp` state its engines"),
        "{out:?}"
    );
    let out = site.run(&[
        "import", file, "--gpu", "h200", "--model", "m", "--tp", "8", "--dp", "1",
    ]);
    assert!(text(&out.stdout).contains("1 run taken"), "{out:?}");
    let out = site.run(&["import", file, "--variant", "fast"]);
    assert!(
        text(&out.stderr).contains("known are disaggregated"),
        "{out:?}"
    );
}
