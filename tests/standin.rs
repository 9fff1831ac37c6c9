//! The engine stand-in as others see it: its sockets, its signals, its exit codes.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn start(env: &[(&str, &str)]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standin-engine"));
    command
        .args([
            "serve",
            "org/Some-7B",
            "--port",
            "0",
            "--tensor-parallel-size",
            "2",
        ])
        .envs(env.iter().copied());
    command
        .env("STANDIN_READY_S", "0.1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The address that the stand-in prints when it is ready.
fn address(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let line = lines
        .find(|line| line.as_ref().unwrap().contains("http://"))
        .unwrap()
        .unwrap();
    line.split("http://")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned()
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn value(page: &str, sample: &str) -> f64 {
    let line = page
        .lines()
        .find(|line| line.starts_with(sample))
        .unwrap_or_else(|| panic!("no {sample} in\n{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn it_answers_counts_and_ends_with_zero_on_sigterm() {
    let mut engine = start(&[("STANDIN_TOK_S", "5000"), ("STANDIN_OSL", "20")]);
    let address = address(&mut engine);
    assert!(get(&address, "/health").starts_with("HTTP/1.1 200 OK\r\n"));
    std::thread::sleep(Duration::from_millis(800));
    let page = get(&address, "/metrics");
    assert!(page.contains("content-type: text/plain; version=1.0.0; charset=utf-8"));
    assert!(
        value(
            &page,
            "vllm:generation_tokens_total{engine=\"0\",model_name=\"org/Some-7B\"}"
        ) > 1000.0
    );
    let finished = value(
        &page,
        "vllm:request_success_total{engine=\"0\",finished_reason=\"length\",model_name=\"org/Some-7B\"}",
    );
    assert!(finished > 0.0);
    assert_eq!(
        value(&page, "vllm:e2e_request_latency_seconds_count"),
        finished
    );
    kill(Pid::from_raw(engine.id() as i32), Signal::SIGTERM).unwrap();
    assert_eq!(engine.wait().unwrap().code(), Some(0));
}

/// Every family of the page exists on a real vLLM's page under the same type.
#[test]
fn families_have_a_type_and_samples() {
    let mut engine = start(&[]);
    let page = get(&address(&mut engine), "/metrics");
    engine.kill().unwrap();
    engine.wait().unwrap();
    for name in [
        "num_requests_running gauge",
        "num_requests_waiting gauge",
        "kv_cache_usage_perc gauge",
        "cache_config_info gauge",
        "prompt_tokens_total counter",
        "generation_tokens_total counter",
        "num_preemptions_total counter",
        "request_success_total counter",
        "time_to_first_token_seconds histogram",
        "inter_token_latency_seconds histogram",
        "request_time_per_output_token_seconds histogram",
        "e2e_request_latency_seconds histogram",
        "request_prompt_tokens histogram",
        "request_generation_tokens histogram",
    ] {
        assert!(page.contains(&format!("# TYPE vllm:{name}\n")), "no {name}");
    }
}

#[test]
fn failures_have_their_exit_code_and_text() {
    for (failure, code, text) in [
        ("oom", 1, "CUDA out of memory"),
        ("kv", 1, "KV cache is needed"),
        ("heads", 1, "must be divisible"),
        ("exit:9", 9, ""),
        ("dies:0.1", 0, "died unexpectedly"),
        ("nonsense", 2, "STANDIN_FAIL: not known: nonsense"),
    ] {
        let output = start(&[("STANDIN_FAIL", failure)])
            .wait_with_output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{failure}: {stderr}");
        assert!(stderr.contains(text), "{failure}: {stderr}");
    }
}

#[test]
fn it_can_stop_by_itself() {
    let output = start(&[("STANDIN_STOP_AFTER_S", "0.1")])
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("shutdown triggered")
    );
}
