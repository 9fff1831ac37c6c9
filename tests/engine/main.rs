//! `omnipilot run` around a real vLLM without a GPU, as jobs of a real Slurm: what it measures against the report of vLLM's own benchmark
//! client, and how it classes every way in which the engine dies. `make test-engine` installs the engine and runs these; a model of
//! random weights serves, so no figure here says anything of a real model's speed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed test is to stop"
)]

#[path = "../slurm/site.rs"]
#[allow(dead_code, reason = "shared with the tests on a real Slurm")]
mod site;

mod port;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use e2e::{OPERATOR, Setup};
use model_store::advisor::RunOutcome;
use model_store::outcome::{Outcome, Window};
use serde_json::Value;
use site::Site;

/// Options that every engine here takes.
const SMALL: &str = "--load-format dummy --dtype bfloat16 --enforce-eager --max-model-len 2048 --max-num-seqs 8 --kv-cache-memory-bytes 268435456";

/// Made by `tests/engine/install.sh`.
fn folder() -> PathBuf {
    let target = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap();
    let folder = target.join("vllm");
    assert!(
        folder.join("ready").exists(),
        "`make test-engine` installs vLLM first"
    );
    folder
}

fn port() -> u16 {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    probe.local_addr().unwrap().port()
}

/// A job's script: its environment, `engine` under `omnipilot run` in the background, `course` beside it, and the wrapper's exit status.
/// vLLM leaves its sockets in TMPDIR, which goes with the cluster.
fn script(site: &Site, port: u16, engine: &str, course: &str) -> String {
    let (venv, bin) = (folder().join("venv/bin"), site.path("bin"));
    format!(
        "#!/bin/bash\n#SBATCH --gres=gpu:h100:1\n\
         export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 PORT={port} M={models}\n\
         export PATH={venv}:/usr/bin:/bin HOME=$PWD SLURM_LLM_SPOOL={spool} TMPDIR=$PWD/t; mkdir -p t\n\
         ready() {{ until python3 -c 'import urllib.request; urllib.request.urlopen(\"http://127.0.0.1:{port}/health\", timeout=2)' 2>/dev/null; \
         do kill -0 $run || return; sleep 0.5; done; }}\n\
         {bin}/omnipilot run --interval 1 --warmup 0 -- vllm serve {engine} --host 127.0.0.1 --port {port} &\nrun=$!\n\
         {course}\nwait $run\necho \"ended with $?\"\n",
        models = folder().display(),
        venv = venv.display(),
        bin = bin.display(),
        spool = site.path("site/spool").display(),
    )
}

/// Runs a job to its end; its outcome, the wrapper's exit status, and everything that was printed.
fn run(site: &Site, engine: &str, course: &str) -> (Outcome, i32, String) {
    let output = site
        .cluster
        .sbatch(OPERATOR, &[], &script(site, port(), engine, course))
        .unwrap();
    ended(site, output.id().unwrap())
}

/// The same of a job that was submitted.
fn ended(site: &Site, id: u32) -> (Outcome, i32, String) {
    // An engine may take a minute to start, and a load as long.
    for _ in 0..20 {
        if site.cluster.wait_job(id).is_ok() {
            break;
        }
    }
    let text = site.cluster.job_output(id).unwrap();
    let status = text
        .lines()
        .rev()
        .find_map(|l| l.strip_prefix("ended with "))
        .expect(&text);
    let mut files = fs::read_dir(site.path("site/spool"))
        .unwrap()
        .map(|e| e.unwrap().path());
    let own = |p: &PathBuf| p.to_str().unwrap().contains(&format!("-{id}-"));
    let file = fs::read(files.find(own).expect(&text)).unwrap();
    (
        serde_json::from_slice(&file).unwrap(),
        status.parse().unwrap(),
        text,
    )
}

fn site() -> Site {
    let site = Site::bare(&Setup::default());
    site.omnipilot(OPERATOR, &["init", "--figures-only"])
        .success()
        .unwrap();
    site
}

/// What the client's own record of its requests says of a span of time.
struct Client {
    /// Unix seconds of each request's begin, its time to first token, the gaps between its tokens, its output tokens.
    requests: Vec<(f64, f64, Vec<f64>, f64)>,
}

impl Client {
    fn read(text: &str) -> Self {
        let report: Value = serde_json::from_str(text).unwrap();
        let numbers = |v: &Value| -> Vec<f64> {
            v.as_array()
                .unwrap()
                .iter()
                .map(|x| x.as_f64().unwrap())
                .collect()
        };
        let offset = report["clock_offset"].as_f64().unwrap();
        let gaps = report["itls"].as_array().unwrap().iter().map(numbers);
        let columns = numbers(&report["start_times"])
            .into_iter()
            .zip(numbers(&report["ttfts"]))
            .zip(gaps);
        let requests = columns.zip(numbers(&report["output_lens"]));
        Self {
            requests: requests
                .map(|(((start, ttft), itl), osl)| (start + offset, ttft, itl, osl))
                .collect(),
        }
    }

    /// Output tokens/s, mean TTFT and mean TPOT (ms) from `begin` on for so many seconds: tokens by when they came, latencies of requests by
    /// when they were known.
    fn figures(&self, begin: f64, seconds: f64) -> [f64; 3] {
        let end = begin + seconds;
        let within = |t: f64| t >= begin && t < end;
        let (mut tokens, mut ttfts, mut tpots) = (0.0, Vec::new(), Vec::new());
        for (start, ttft, gaps, osl) in &self.requests {
            let first = start + ttft;
            let mut at = first;
            // One chunk may carry several tokens: they count in proportion.
            let each = osl / (gaps.len() as f64 + 1.0);
            tokens += if within(at) { each } else { 0.0 };
            for gap in gaps {
                at += gap;
                tokens += if within(at) { each } else { 0.0 };
            }
            if within(first) {
                ttfts.push(*ttft);
            }
            if within(at) && *osl > 1.0 {
                tpots.push((at - first) / (osl - 1.0));
            }
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64 * 1e3;
        [tokens / seconds, mean(&ttfts), mean(&tpots)]
    }
}

/// Windows as one: rates by their time, latencies by their requests.
fn together(windows: &[Window]) -> [f64; 3] {
    let seconds: f64 = windows.iter().map(|w| w.seconds).sum();
    let requests: f64 = windows.iter().map(|w| w.requests).sum();
    let by_time = windows
        .iter()
        .map(|w| w.output_tok_s * w.seconds)
        .sum::<f64>()
        / seconds;
    let by_request =
        |of: fn(&Window) -> f64| windows.iter().map(|w| of(w) * w.requests).sum::<f64>() / requests;
    [
        by_time,
        by_request(|w| w.ttft_ms.unwrap()),
        by_request(|w| w.tpot_ms.unwrap()),
    ]
}

/// The bar: throughput, TTFT and TPOT within 3 % of the client's, under 0.5 % of a core and 20 MiB. The figures are printed; loads of a shared
/// machine move from second to second, so only what is far off fails.
#[test]
fn what_is_measured_is_what_the_benchmark_client_reports() {
    let site = site();
    let course = "ready\nstart=$(cut -d' ' -f14,15 /proc/$run/stat); began=$(date +%s.%N)\n\
        for load in 4 8 4; do\n\
        vllm bench serve --host 127.0.0.1 --port $PORT --model $M/larger --dataset-name random --random-input-len 512 --random-output-len 64 \
        --num-prompts $((load * 40)) --max-concurrency $load --ignore-eos --save-result --save-detailed --result-dir . --result-filename bench-$load.json > client.log 2>&1\n\
        python3 -c 'import json, sys, time; r = json.load(open(sys.argv[1])); r[\"clock_offset\"] = time.time() - time.perf_counter(); \
        print(\"report\", json.dumps({k: r[k] for k in (\"clock_offset\", \"start_times\", \"ttfts\", \"itls\", \"output_lens\", \"duration\", \
        \"output_throughput\", \"mean_ttft_ms\", \"mean_tpot_ms\")}))' bench-$load.json\ndone\n\
        echo \"cost $start $(cut -d' ' -f14,15 /proc/$run/stat) $began $(date +%s.%N) $(grep VmHWM /proc/$run/status)\"\nkill -TERM $run";
    let engine = format!("$M/larger {SMALL}");
    let (outcome, status, text) = run(&site, &engine, course);
    assert_eq!((outcome.outcome, status), (RunOutcome::Ok, 0), "{text}");
    assert_eq!(outcome.engine_version, "0.32.0");
    let mut worst = [0.0_f64; 3];
    let reports: Vec<&str> = text
        .lines()
        .filter_map(|l| l.strip_prefix("report "))
        .collect();
    assert_eq!(reports.len(), 3, "{text}");
    for report in reports {
        let (client, told) = (
            Client::read(report),
            serde_json::from_str::<Value>(report).unwrap(),
        );
        let first = client
            .requests
            .iter()
            .map(|r| r.0)
            .fold(f64::INFINITY, f64::min);
        let last = first + told["duration"].as_f64().unwrap();
        let own: Vec<Window> = outcome
            .windows
            .iter()
            .filter(|w| w.begins_at >= first - 1.0 && w.begins_at + w.seconds <= last + 1.0)
            .cloned()
            .collect();
        assert!(
            !own.is_empty(),
            "no window between {first} and {last}: {:?}",
            outcome.windows
        );
        let seconds: f64 = own.iter().map(|w| w.seconds).sum();
        // The client's own figures of each window's span, put together as the windows are.
        let theirs: Vec<Window> = own
            .iter()
            .map(|w| {
                let [rate, ttft, tpot] = client.figures(w.begins_at, w.seconds);
                Window {
                    output_tok_s: rate,
                    ttft_ms: Some(ttft),
                    tpot_ms: Some(tpot),
                    ..w.clone()
                }
            })
            .collect();
        let (ours, theirs) = (together(&own), together(&theirs));
        println!(
            "{:.0} s, {} windows: tokens/s {:.1} and {:.1}, TTFT {:.1} and {:.1} ms, TPOT {:.2} and {:.2} ms (recorded and client, same span); whole report {:.1}, {:.1}, {:.2}",
            seconds,
            own.len(),
            ours[0],
            theirs[0],
            ours[1],
            theirs[1],
            ours[2],
            theirs[2],
            told["output_throughput"].as_f64().unwrap(),
            told["mean_ttft_ms"].as_f64().unwrap(),
            told["mean_tpot_ms"].as_f64().unwrap()
        );
        for (w, (a, b)) in worst.iter_mut().zip(ours.iter().zip(theirs)) {
            *w = w.max((a / b - 1.0).abs());
        }
    }
    println!(
        "largest difference: throughput {:.1} %, TTFT {:.1} %, TPOT {:.1} %",
        worst[0] * 100.0,
        worst[1] * 100.0,
        worst[2] * 100.0
    );
    let cost: Vec<&str> = text
        .lines()
        .find_map(|l| l.strip_prefix("cost "))
        .unwrap()
        .split_whitespace()
        .collect();
    let n = |k: usize| cost[k].parse::<f64>().unwrap();
    let (core, memory) = (
        (n(2) + n(3) - n(0) - n(1)) / 100.0 / (n(5) - n(4)),
        n(7) / 1024.0,
    );
    println!(
        "the wrapper took {:.2} % of a core and {memory:.1} MiB",
        core * 100.0
    );
    assert!(worst.iter().all(|w| *w < 0.15), "{worst:?}");
    assert!(core < 0.02 && memory < 20.0, "{core} {memory}");
}

/// Every way to die that takes no load: arguments, what the wrapper ends with, how it is classed, a word of the line that decided.
const REFUSED: [(&str, &str, i32, RunOutcome, &str); 9] = [
    (
        "KV cache too small",
        "$M/m --load-format dummy --enforce-eager --max-model-len 131072 --kv-cache-memory-bytes 1048576",
        1,
        RunOutcome::OutOfMemory,
        "KV cache",
    ),
    (
        "KV cache beyond the machine",
        "$M/m --load-format dummy --enforce-eager --max-model-len 512 --kv-cache-memory-bytes 1000000000000",
        1,
        RunOutcome::OutOfMemory,
        "kv cache allocation",
    ),
    (
        "context beyond the model",
        "$M/m --load-format dummy --enforce-eager --max-model-len 262144",
        1,
        RunOutcome::Incompatible,
        "max_model_len",
    ),
    (
        "three GPUs, four heads",
        "$M/m --load-format dummy --enforce-eager --tensor-parallel-size 3",
        1,
        RunOutcome::Incompatible,
        "attention heads",
    ),
    (
        "no such format",
        "$M/m --load-format dummy --quantization nosuch",
        1,
        RunOutcome::Incompatible,
        "quantization",
    ),
    (
        "no such folder",
        "$M/nope",
        1,
        RunOutcome::Crash,
        "Repo id must be",
    ),
    (
        "no weights",
        "$M/m --enforce-eager --max-model-len 512 --kv-cache-memory-bytes 67108864",
        1,
        RunOutcome::Crash,
        "",
    ),
    (
        "unknown flag",
        "$M/m --no-such-flag",
        2,
        RunOutcome::Crash,
        "",
    ),
    (
        "no checkpoint of the format",
        "$M/m --load-format dummy --quantization modelopt_fp4",
        1,
        RunOutcome::Incompatible,
        "",
    ),
];

#[test]
fn what_the_engine_refuses_is_classed_by_its_own_words() {
    let site = site();
    let mut wrong = Vec::new();
    for (name, engine, code, class, word) in REFUSED {
        let (outcome, status, _) = run(&site, engine, ":");
        println!(
            "{name}: {} with {status}: {}",
            outcome.outcome.name(),
            outcome.evidence
        );
        let said = outcome
            .evidence
            .to_lowercase()
            .contains(&word.to_lowercase());
        if (status, outcome.outcome, outcome.cold_start_s, said) != (code, class, None, true) {
            wrong.push(format!(
                "{name}: {} with {status}: {}",
                outcome.outcome.name(),
                outcome.evidence
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A load that goes on until the engine is gone.
const LOAD: &str = "vllm bench serve --host 127.0.0.1 --port $PORT --model $M/larger --dataset-name random --random-input-len 256 --random-output-len 512 --num-prompts 400 --max-concurrency 8 --ignore-eos > client.log 2>&1 & client=$!\nuntil [ \"$(python3 -c 'import urllib.request, re; print(re.search(r\"num_requests_running{[^}]*} (\\S+)\", urllib.request.urlopen(\"http://127.0.0.1:'$PORT'/metrics\").read().decode())[1])')\" = 8.0 ]; do sleep 0.5; done\nsleep 6";

#[test]
fn an_engine_that_dies_or_is_stopped_is_told_apart() {
    let site = site();
    let children = "children() { pgrep -f \"$1\" -s 0; }\n";
    let kill = |what: &str| {
        format!(
            "{children}ready\n{LOAD}\npkill -9 -s 0 {what}\nwait $run; status=$?; kill $client 2>/dev/null; (exit $status) & run=$!"
        )
    };
    let cases: BTreeMap<&str, (String, i32, RunOutcome, bool)> = BTreeMap::from([
        (
            "worker killed under load",
            (kill("-f VLLM::Worker"), 0, RunOutcome::Crash, true),
        ),
        (
            "engine core killed under load",
            (kill("-f VLLM::EngineCore"), 0, RunOutcome::Crash, true),
        ),
        (
            "worker killed idle",
            (
                "ready\nsleep 2\npkill -9 -s 0 -f VLLM::Worker".into(),
                0,
                RunOutcome::Crash,
                false,
            ),
        ),
        (
            "API server killed",
            (
                "ready\npkill -9 -s 0 -f '[b]in/vllm serve'".into(),
                137,
                RunOutcome::Crash,
                false,
            ),
        ),
        (
            "SIGTERM idle",
            (
                "ready\nsleep 2\nkill -TERM $run".into(),
                0,
                RunOutcome::Ok,
                false,
            ),
        ),
        (
            "SIGINT idle",
            (
                "ready\nsleep 2\nkill -INT $run".into(),
                0,
                RunOutcome::Ok,
                false,
            ),
        ),
    ]);
    let mut wrong = Vec::new();
    for (name, (course, code, class, loaded)) in cases {
        let model = if loaded { "$M/larger" } else { "$M/m" };
        let (outcome, status, _) = run(&site, &format!("{model} {SMALL}"), &course);
        let seen = format!(
            "{name}: {} with {status} after {:.1} s, {} windows: {}",
            outcome.outcome.name(),
            outcome.elapsed_s,
            outcome.windows.len(),
            outcome.evidence
        );
        println!("{seen}");
        let served = !loaded || !outcome.windows.is_empty();
        if (
            status,
            outcome.outcome,
            outcome.cold_start_s.is_some(),
            served,
        ) != (code, class, true, true)
        {
            wrong.push(seen);
        }
    }
    // In its start-up vLLM ignores a first SIGTERM: the wrapper asks again.
    let (outcome, status, _) = run(&site, &format!("$M/m {SMALL}"), "sleep 9\nkill -TERM $run");
    let seen = format!(
        "SIGTERM in start-up: {} with {status} after {:.1} s",
        outcome.outcome.name(),
        outcome.elapsed_s
    );
    println!("{seen}");
    if outcome.outcome != RunOutcome::Ok
        || outcome.cold_start_s.is_some()
        || outcome.elapsed_s > 60.0
    {
        wrong.push(seen);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Nothing of any of them is left.
    for pid in site.cluster.processes() {
        let name = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!name.contains("VLLM"), "{name}");
    }
}
