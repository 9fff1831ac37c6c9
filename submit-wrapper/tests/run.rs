//! The real `omnipilot run` around an engine stand-in (no model, no GPU, made-up figures): what it
//! passes through, what it measures, what it leaves behind.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use e2e::standin::{Load, Settings, serve};
use model_store::advisor::RunOutcome;
use model_store::outcome::Outcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The stand-in's own process: this test executable again, told by the variable to be an engine.
#[test]
fn stand_in() {
    let Ok(line) = std::env::var("STANDIN_LINE") else {
        return;
    };
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let settings = Settings::read(&words, |name| std::env::var(name).ok())
        .map_err(|e| e.0)
        .unwrap();
    std::process::exit(serve(&settings));
}

/// A folder with a program `vllm` that is the stand-in, and a spool.
struct Place {
    dir: tempfile::TempDir,
    port: u16,
}

impl Place {
    fn new() -> Self {
        // The stand-in waits for signals in one of its threads; the test harness's own threads
        // would take them first.
        Self::with_engine(
            "exec env --block-signal=TERM --block-signal=INT \"$STANDIN\" --exact stand_in --nocapture",
        )
    }

    /// `last` is the shell text that becomes or starts the engine.
    fn with_engine(last: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("vllm");
        let here = std::env::current_exe().unwrap();
        let text = format!(
            "#!/bin/sh\nexport STANDIN_LINE=\"$*\"\nSTANDIN={}\n{last}\n",
            here.display()
        );
        fs::write(&program, text).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("spool")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self { dir, port }
    }

    fn spool(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    /// `omnipilot run OPTIONS -- vllm serve org/Some-7B --port PORT MORE`, in a pretended job.
    fn run(&self, options: &[&str], more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_omnipilot"));
        command
            .arg("run")
            .args(options)
            .arg("--")
            .arg(self.dir.path().join("vllm"));
        command
            .args(["serve", "org/Some-7B", "--port", &self.port.to_string()])
            .args(more);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("STANDIN_READY_S", "0.2");
        command
            .env("SLURM_JOB_ID", "4711")
            .env("SLURM_CLUSTER_NAME", "test")
            .env("SLURM_LLM_SPOOL", self.spool());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn outcome(&self) -> Outcome {
        let files: Vec<PathBuf> = fs::read_dir(self.spool())
            .unwrap()
            .map(|f| f.unwrap().path())
            .collect();
        assert_eq!(files.len(), 1, "{files:?}");
        let name = files[0].file_name().unwrap().to_str().unwrap();
        assert!(
            name.starts_with("test-4711-") && name.ends_with(".json"),
            "{name}"
        );
        serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap()
    }

    /// Waits until the engine answers.
    fn wait_until_ready(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "the stand-in does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id() as i32), signal).unwrap();
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lives(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    !stat.contains(") Z ")
}

#[test]
fn windows_are_what_the_engine_did_and_sigterm_is_a_clean_end() {
    let place = Place::new();
    let load = [
        ("STANDIN_TOK_S", "4000"),
        ("STANDIN_CONCURRENCY", "40"),
        ("STANDIN_ISL", "100"),
        ("STANDIN_OSL", "20"),
    ];
    let child = place
        .run(&["--interval", "0.5", "--warmup", "1"], &[])
        .envs(load)
        .spawn()
        .unwrap();
    place.wait_until_ready();
    std::thread::sleep(Duration::from_secs(8));
    send(&child, Signal::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(
        out.contains("Application startup complete.") && out.contains("shutdown triggered"),
        "{out}"
    );
    assert_eq!(stderr(&output), "", "a run that goes well is silent");

    let outcome = place.outcome();
    assert_eq!(
        (outcome.outcome, outcome.exit_code, outcome.job_id),
        (RunOutcome::Ok, Some(0), 4711)
    );
    assert_eq!(
        (outcome.engine.as_str(), outcome.engine_version.as_str()),
        ("vllm", "0.32.0")
    );
    let cold = outcome.cold_start_s.unwrap();
    assert!((0.1..3.0).contains(&cold), "{cold}");
    assert_eq!(outcome.windows.len(), 1, "{:?}", outcome.windows);
    let w = &outcome.windows[0];
    let words: Vec<String> = ["serve", "org/Some-7B"].map(Into::into).into();
    let settings = Settings::read(&words, |n| {
        load.iter().find(|(k, _)| *k == n).map(|(_, v)| (*v).into())
    })
    .unwrap();
    let truth = Load::at(&settings, 100.0);
    let near = |name: &str, got: f64, wanted: f64| {
        assert!(
            (got / wanted - 1.0).abs() < 0.03,
            "{name}: {got} measured, {wanted} true, {w:?}"
        );
    };
    near("req_s", w.req_s, truth.running / truth.latency);
    near(
        "output_tok_s",
        w.output_tok_s,
        truth.running / truth.latency * settings.osl,
    );
    near("concurrency", w.concurrency.unwrap(), 40.0);
    near("isl", w.isl.unwrap(), 100.0);
    near("osl", w.osl.unwrap(), 20.0);
    near("ttft_ms", w.ttft_ms.unwrap(), truth.ttft * 1000.0);
    near("tpot_ms", w.tpot_ms.unwrap(), truth.tpot * 1000.0);
    near("e2e_ms", w.e2e_ms.unwrap(), truth.latency * 1000.0);
    near("kv_usage", w.kv_usage.unwrap(), truth.kv_usage);
    assert_eq!((w.preemptions, w.power_w), (Some(0.0), None));
}

/// An engine whose kernels warm up after it has said 200: its start is over with the first answer.
#[test]
fn a_start_is_over_when_a_request_was_answered_not_when_health_is_green() {
    let cold = |options: &[&str]| {
        let place = Place::new();
        let child = place
            .run(&[options, &["--interval", "0.5"]].concat(), &[])
            .env("STANDIN_WARMUP_S", "2.5")
            .env("STANDIN_STOP_AFTER_S", "4")
            // Nobody else asks it anything.
            .env("STANDIN_CONCURRENCY", "0")
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        place.outcome().cold_start_s.unwrap()
    };
    let answered = cold(&[]);
    assert!((2.5..4.5).contains(&answered), "{answered}");
    let forbidden = cold(&["--no-first-request"]);
    assert!(forbidden < 2.4, "{forbidden}");
}

/// What the engine says of its start reaches the record.
#[test]
fn the_record_has_what_the_log_told_of_the_start() {
    let place = Place::with_engine(
        "echo 'INFO 11-23 04:28:52 [default_loader.py:308] Loading weights took 2.41 seconds'\n\
         echo 'INFO 11-23 04:28:53 [gpu_worker.py:298] Available KV cache memory: 58.11 GiB'\n\
         echo 'INFO 11-23 04:28:53 [kv_cache_utils.py:1087] GPU KV cache size: 476,016 tokens'\n\
         exec env --block-signal=TERM --block-signal=INT \"$STANDIN\" --exact stand_in --nocapture",
    );
    let output = place
        .run(&[], &[])
        .env("STANDIN_STOP_AFTER_S", "0.5")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let start = place.outcome().start.unwrap();
    assert_eq!(
        (start.load_s, start.kv_gib, start.kv_tokens),
        (Some(2.41), Some(58.11), Some(476_016.0))
    );
}

#[test]
fn the_advice_reaches_the_engine_and_the_record() {
    let place = Place::new();
    let output = place
        .run(&[], &[])
        .env("SLURM_LLM_TP", "4")
        .env("SLURM_LLM_PRECISION", "fp8")
        .env("SLURM_LLM_GPU", "h100")
        .env("SLURM_LLM_ADVICE", "7f3a91")
        .env(
            "SLURM_LLM_ENGINE_ARGS",
            "--tensor-parallel-size 4 --quantization fp8",
        )
        .env("STANDIN_STOP_AFTER_S", "0.3")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("org/Some-7B, TP 4"));
    let outcome = place.outcome();
    assert_eq!(outcome.advice_id.as_deref(), Some("7f3a91"));
    assert_eq!(
        (outcome.asked.tp, outcome.asked.precision.as_deref()),
        (Some(4), Some("fp8"))
    );
    assert_eq!(
        (outcome.asked.gpu.as_str(), outcome.asked.model.as_str()),
        ("h100", "org/Some-7B")
    );
    assert!(outcome.windows.is_empty(), "too short to be measured");
}

/// Who serves a folder of his own leaves word of the architecture in it.
#[test]
fn the_record_has_the_architecture_of_the_folder_that_was_served() {
    let place = Place::new();
    let folder = place.dir.path().join("our-tuning");
    fs::create_dir(&folder).unwrap();
    let config = include_str!("../../model-store/tests/configs/Llama-3.1-8B.json");
    fs::write(folder.join("config.json"), config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_omnipilot"));
    command
        .args(["run", "--"])
        .arg(place.dir.path().join("vllm"));
    command
        .arg("serve")
        .arg(&folder)
        .args(["--port", &place.port.to_string()]);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
        .env("SLURM_JOB_ID", "4711")
        .env("SLURM_CLUSTER_NAME", "test");
    command.env("SLURM_LLM_SPOOL", place.spool());
    command
        .env("STANDIN_READY_S", "0.2")
        .env("STANDIN_STOP_AFTER_S", "1.5");
    assert!(command.output().unwrap().status.success());
    let asked = place.outcome().asked;
    assert_eq!(asked.model, folder.display().to_string());
    let card = asked.card.unwrap();
    assert_eq!((card.layers, card.hidden, card.kv_heads), (32, 4096, 8));
}

#[test]
fn a_contradiction_stops_before_the_engine() {
    let place = Place::new();
    let output = place
        .run(&[], &["-tp", "8"])
        .env("SLURM_LLM_TP", "4")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    let text = stderr(&output);
    assert!(
        text.contains("`-tp 8` in the command contradicts the advice 4") && text.contains("hint: "),
        "{text}"
    );
    assert_eq!(fs::read_dir(place.spool()).unwrap().count(), 0);
}

/// `--extra_llm_api_options <(make_yaml)`: what is read of a pipe is gone for the engine.
#[test]
fn settings_that_come_through_a_pipe_are_left_to_the_engine() {
    let place = Place::new();
    let program = place.dir.path().join("trtllm-serve");
    fs::write(&program, "#!/bin/sh\ncat \"$3\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let line = r#"exec "$0" run -- "$1" m --extra_llm_api_options <(echo a: settings)"#;
    let output = Command::new("bash")
        .args(["-c", line, env!("CARGO_BIN_EXE_omnipilot")])
        .arg(&program)
        .env("SLURM_LLM_TP", "4")
        .env("SLURM_JOB_ID", "4711")
        .env("SLURM_LLM_SPOOL", place.spool())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("a: settings"), "{out}{}", stderr(&output));
}

#[test]
fn failures_are_classed_and_exit_statuses_stay() {
    let cases = [
        ("oom", 1, RunOutcome::OutOfMemory, "CUDA out of memory"),
        (
            "kv",
            1,
            RunOutcome::OutOfMemory,
            "larger than the available KV cache memory (9.3 GiB)",
        ),
        (
            "heads",
            1,
            RunOutcome::Incompatible,
            "attention heads (64) must be divisible",
        ),
        ("exit:7", 7, RunOutcome::Crash, "exit status 7"),
        ("exit:255", 255, RunOutcome::Crash, "exit status 255"),
        ("dies:0.5", 0, RunOutcome::Crash, "died unexpectedly"),
    ];
    for (how, code, expected, words) in cases {
        let place = Place::new();
        let output = place
            .run(&[], &[])
            .env("STANDIN_FAIL", how)
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{how}: {}",
            stderr(&output)
        );
        let outcome = place.outcome();
        assert_eq!(
            (outcome.outcome, outcome.exit_code),
            (expected, Some(code)),
            "{how}: {}",
            outcome.evidence
        );
        assert!(
            outcome.evidence.contains(words),
            "{how}: {}",
            outcome.evidence
        );
        assert!(
            stderr(&output).contains("omnipilot: the engine "),
            "{how}: {}",
            stderr(&output)
        );
        assert_eq!(
            outcome.cold_start_s.is_some(),
            how.starts_with("dies"),
            "{how}"
        );
    }
}

#[test]
fn an_engine_that_never_gets_ready_is_ended_as_a_time_out() {
    let place = Place::new();
    let options = ["--ready-timeout", "1"];
    let output = place
        .run(&options, &[])
        .env("STANDIN_FAIL", "never-ready")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
    let outcome = place.outcome();
    assert_eq!(
        (outcome.outcome, outcome.cold_start_s),
        (RunOutcome::TimeOut, None)
    );
    assert_eq!(outcome.evidence, "not ready after 1 s");
}

#[test]
fn a_signal_that_ends_the_engine_ends_the_wrapper_so() {
    for (number, signal) in [(9, "KILL"), (11, "SEGV"), (15, "TERM")] {
        let place = Place::with_engine(&format!("kill -{signal} $$"));
        let output = place.run(&[], &[]).output().unwrap();
        assert_eq!(
            output.status.signal(),
            Some(number),
            "{signal}: {}",
            stderr(&output)
        );
        let outcome = place.outcome();
        assert_eq!((outcome.exit_code, outcome.signal), (None, Some(number)));
        assert_eq!(
            (outcome.outcome, outcome.evidence),
            (RunOutcome::Crash, format!("killed by signal {number}"))
        );
    }
}

/// Engines quote what they choke on: an argument, a prompt, an address. The job's own log has it, which is its owner's; the record and our own
/// words do not, and the record is its owner's where no service account's group is.
#[test]
fn what_a_log_quotes_stays_out_of_the_record_and_of_our_own_words() {
    for (line, kept) in [
        (
            "vllm serve: error: unrecognized arguments: --api-kye sk-SECRET-0123456789",
            "unrecognized arguments",
        ),
        (
            "(APIServer pid=77) ERROR 11-30 05:00:00 [serving_chat.py:203] Error in preprocessing prompt inputs: 'Patient SECRET, 078-05-1120'",
            "Error in preprocessing prompt inputs",
        ),
        (
            "ValueError: Cannot find any model weights with https://user:hf_SECRET@hub.example/x",
            "Cannot find any model weights",
        ),
    ] {
        let place = Place::with_engine(&format!("cat >&2 <<'END'\n{line}\nEND\nexit 1"));
        let model = ["--model", "https://me:SECRET@host.example/m?token=SECRET"];
        let output = place.run(&[], &model).output().unwrap();
        let said = stderr(&output);
        assert!(said.contains(line), "the log passes through: {said}");
        let own: Vec<&str> = said
            .lines()
            .filter(|l| l.starts_with("omnipilot"))
            .collect();
        assert!(
            !own.is_empty() && !own.concat().contains("SECRET"),
            "{own:?}"
        );
        let outcome = place.outcome();
        assert!(
            outcome.evidence.contains(kept),
            "{line}: {}",
            outcome.evidence
        );
        let file = fs::read_dir(place.spool())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        let text = fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains("SECRET") && !text.contains("078"), "{text}");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

/// A spool that gives its files a group: that group reads the record, nobody else. What an earlier run left for its owner alone is handed over.
#[test]
fn a_record_is_for_the_group_of_the_spool_and_earlier_ones_are_handed_over() {
    let place = Place::with_engine("exit 3");
    assert_eq!(place.run(&[], &[]).output().unwrap().status.code(), Some(3));
    let modes = || {
        let mut all: Vec<u32> = fs::read_dir(place.spool())
            .unwrap()
            .map(|f| f.unwrap().metadata().unwrap().permissions().mode() & 0o7777)
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(modes(), [0o600]);
    fs::set_permissions(place.spool(), fs::Permissions::from_mode(0o3777)).unwrap();
    let command = place.run(&[], &[]);
    let output = Command::new("sh")
        .args(["-c", "umask 000; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args())
        .env_clear()
        .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(modes(), [0o640, 0o640]);
}

/// kill -9 of `vllm serve` leaves its children alive; here one in its group and one that left it.
#[test]
fn no_process_outlives_the_engine() {
    let place = Place::with_engine(
        "sleep 1000 & echo $! >>pids; setsid sleep 1000 & echo $! >>pids; (sleep 1000 & echo $! >>pids); sleep 0.3; kill -9 $$",
    );
    let began = Instant::now();
    let output = place
        .run(&[], &[])
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.signal(), Some(9));
    assert!(began.elapsed() < Duration::from_secs(6));
    let pids = fs::read_to_string(place.dir.path().join("pids")).unwrap();
    let pids: Vec<i32> = pids
        .split_whitespace()
        .map(|p| p.parse().unwrap())
        .collect();
    assert_eq!(pids.len(), 3);
    assert!(!pids.iter().any(|p| lives(*p)), "{pids:?}");
}

#[test]
fn a_first_sigterm_that_has_no_effect_is_followed_by_a_second() {
    let place = Place::new();
    let child = place
        .run(&["--stop-grace", "2"], &[])
        .env("STANDIN_FAIL", "stuck")
        .spawn()
        .unwrap();
    place.wait_until_ready();
    std::thread::sleep(Duration::from_millis(600));
    send(&child, Signal::SIGTERM);
    // Slurm may kill after three seconds: by then a record lies there.
    std::thread::sleep(Duration::from_millis(1700));
    let early = place.outcome();
    assert_eq!(
        (early.outcome, early.exit_code, early.signal),
        (RunOutcome::Ok, None, None)
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        (place.outcome().outcome, place.outcome().exit_code),
        (RunOutcome::Ok, Some(0))
    );
}

#[test]
fn other_signals_are_relayed_too() {
    let place = Place::with_engine(
        "trap 'echo got USR1' USR1; trap 'echo got INT; exit 3' INT; echo up; while :; do sleep 0.05; done",
    );
    let child = place.run(&[], &[]).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    send(&child, Signal::SIGUSR1);
    std::thread::sleep(Duration::from_millis(300));
    send(&child, Signal::SIGINT);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "up\ngot USR1\ngot INT\n"
    );
}

#[test]
fn a_lost_spool_costs_one_warning_and_nothing_else() {
    for spool in ["/nonexistent/spool", "/dev/null", "/proc"] {
        let place = Place::new();
        let output = place
            .run(&["--spool", spool], &[])
            .env("STANDIN_STOP_AFTER_S", "0.2")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        let text = stderr(&output);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.starts_with("omnipilot: the outcome was not recorded in "),
            "{text}"
        );
    }
}

#[test]
fn a_full_disk_under_the_log_ends_no_server() {
    let place = Place::new();
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = place
        .run(&[], &[])
        .stdout(full.try_clone().unwrap())
        .stderr(full)
        .env("STANDIN_STOP_AFTER_S", "0.2")
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(place.outcome().outcome, RunOutcome::Ok);
}

#[test]
fn output_passes_unchanged() {
    let place = Place::with_engine("printf 'a\\r\\377\\000b\\nno end'; printf 'e\\n' >&2; exit 0");
    let output = place
        .run(&["--outcome", "x.json"], &[])
        .current_dir(place.dir.path())
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"a\r\xff\x00b\nno end");
    assert!(stderr(&output).starts_with("e\n"), "{}", stderr(&output));
    assert!(place.dir.path().join("x.json").exists());
}

#[test]
fn outside_a_job_it_is_a_plain_wrapper() {
    let dir = tempfile::tempdir().unwrap();
    let run = |command: &[&str]| {
        let mut omnipilot = Command::new(env!("CARGO_BIN_EXE_omnipilot"));
        omnipilot
            .arg("run")
            .arg("--")
            .args(command)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(dir.path());
        omnipilot.output().unwrap()
    };
    let output = run(&["sh", "-c", "cat; echo out; echo err >&2; exit 5"]);
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(5), &b"out\n"[..])
    );
    assert!(stderr(&output).starts_with("err\n"), "{}", stderr(&output));
    assert_eq!(stderr(&run(&["true"])), "");
    assert_eq!(run(&["no-such-program"]).status.code(), Some(127));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// A stranger's server on the port would be taken for the engine.
#[test]
fn another_server_on_the_port_is_not_measured() {
    let (first, second) = (Place::new(), Place::new());
    let child = first.run(&[], &[]).spawn().unwrap();
    first.wait_until_ready();
    let port = first.port.to_string();
    let output = second.run(&[], &["--port", &port]).output().unwrap();
    assert!(
        stderr(&output).contains("answers already: the engine is not measured"),
        "{}",
        stderr(&output)
    );
    assert_eq!(output.status.code(), Some(1));
    let outcome = second.outcome();
    assert_eq!(
        (outcome.outcome, outcome.cold_start_s),
        (RunOutcome::Crash, None)
    );
    assert!(
        outcome.evidence.contains("Address already in use"),
        "{}",
        outcome.evidence
    );
    send(&child, Signal::SIGTERM);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
}

/// Peak memory and time of the wrapper itself, against what the project allows it.
#[test]
fn the_wrapper_is_light() {
    let place = Place::new();
    let child = place.run(&["--interval", "1"], &[]).spawn().unwrap();
    place.wait_until_ready();
    std::thread::sleep(Duration::from_secs(4));
    let status = fs::read_to_string(
        Path::new("/proc")
            .join(child.id().to_string())
            .join("status"),
    )
    .unwrap();
    let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    let kib: u64 = peak.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib < 20 * 1024, "{peak}");
    send(&child, Signal::SIGTERM);
    child.wait_with_output().unwrap();
}
