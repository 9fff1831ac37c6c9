//! Ten questions that people asked about serving (the threads are named), answered by a fresh command from
//! the evidence that comes with it. Beside each the reason why the answer is expected.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // a missing key fails the test, as it should

use std::process::Command;

use e2e::artifacts;
use serde_json::Value;

const B70: &str = "meta-llama/Llama-3.1-70B-Instruct";
const B8: &str = "meta-llama/Llama-3.1-8B-Instruct";

/// What the command says where nothing is configured.
fn advise(words: &[&str]) -> Value {
    let mut command = Command::new(artifacts::omnipilot().unwrap());
    let out = command.env_clear().arg("advise").args(words).arg("--json");
    let out = out.output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}: {told}"))
}

fn load(concurrency: &'static str) -> [&'static str; 6] {
    [
        "--isl",
        "1000",
        "--osl",
        "500",
        "--concurrency",
        concurrency,
    ]
}

/// A candidate by GPUs of one replica and format.
fn candidate<'a>(advice: &'a Value, gpu: &str, tp: u64, format: &str) -> &'a Value {
    let all = advice["candidates"].as_array().unwrap();
    let is = |c: &&Value| {
        c["gpu"] == gpu && c["tp"] == tp && c["precision"] == format && c["replicas"] == 1
    };
    all.iter()
        .find(is)
        .unwrap_or_else(|| panic!("no {gpu} x {tp}, {format} in {all:?}"))
}

fn median(candidate: &Value, target: &str) -> f64 {
    candidate["targets"][target]["q50"].as_f64().unwrap()
}

fn best(advice: &Value) -> &Value {
    let at = advice["verdict"]["Recommend"].as_u64().unwrap();
    &advice["candidates"][usize::try_from(at).unwrap()]
}

fn message(advice: &Value) -> String {
    advice["message"].to_string()
}

/// vllm #2280. Stages wait for each other, and inside a node NVLink makes TP cheaper, so nothing with stages
/// may be taken there. Two GPUs hold the weights with room for a few requests only.
#[test]
fn a_70b_on_four_gpus_is_split_four_ways() {
    let words = ["--gpus", "h100:4", "--model", B70, "--precision", "bf16"];
    let advice = advise(&[&words[..], &load("32")].concat());
    let best = best(&advice);
    assert_eq!(
        (&best["tp"], &best["pipeline_stages"]),
        (&4.into(), &1.into())
    );
}

/// TGI #734, vllm #5711. 131 GiB of weights on twice 73 usable GiB: it starts, with a short context and few
/// requests at a time; four GPUs deliver more from each.
#[test]
fn a_70b_in_16_bits_starts_on_two_a100_but_is_better_off_on_four() {
    let words = ["--gpus", "a100:4", "--model", B70, "--precision", "bf16"];
    let advice = advise(&[&words[..], &load("64")].concat());
    let (two, four) = (
        candidate(&advice, "a100", 2, "bf16"),
        candidate(&advice, "a100", 4, "bf16"),
    );
    assert!(two["fallen"].is_null(), "{two}");
    assert_eq!(best(&advice)["tp"], 4);
    let per_gpu = |c: &Value| median(c, "output_tok_s") / c["gpus"].as_f64().unwrap();
    assert!(per_gpu(four) > per_gpu(two));
}

/// vllm #8089. Eight GPUs halve what each computes and double how often they talk, so two instances of four
/// deliver more tokens a GPU-hour, and one of eight answers sooner.
#[test]
fn two_instances_of_four_beat_one_of_eight_and_the_one_is_quicker() {
    let words = ["--gpus", "h100:8", "--model", B70, "--precision", "fp8"];
    let advice = advise(&[&words[..], &load("128")].concat());
    let (four, eight) = (
        candidate(&advice, "h100", 4, "fp8"),
        candidate(&advice, "h100", 8, "fp8"),
    );
    let hourly = |c: &Value| c["tokens_per_gpu_hour"].as_f64().unwrap();
    assert!(hourly(four) > 1.2 * hourly(eight));
    assert!(median(eight, "tpot_ms") < median(four, "tpot_ms"));
}

/// vllm #930. TP stays inside a node: no node here has sixteen GPUs, so what is advised on two nodes of
/// eight splits the heads eight ways at most.
#[test]
fn sixteen_gpus_are_never_one_group() {
    let words = ["--gpus", "a100:8x2", "--model", B70, "--precision", "bf16"];
    let advice = advise(&[&words[..], &load("64")].concat());
    let all = advice["candidates"].as_array().unwrap();
    assert!(
        all.iter().all(|c| c["tp"].as_u64().unwrap() <= 8),
        "{all:?}"
    );
    let asked = advise(&[&words[..], &["--tp", "16"]].concat());
    assert!(
        message(&asked).contains("tp 16 needs that many GPUs on one node"),
        "{asked}"
    );
}

/// vllm #3399, #2980, #21266. One request reads the weights for each token, so a quarter of the bytes is
/// faster; five hundred are bound by arithmetic, which 4-bit weights have to be widened for.
#[test]
fn four_bits_win_with_one_request_and_not_with_five_hundred() {
    let of = |format: &'static str, concurrency| {
        let words = [
            "--gpus",
            "h100:1",
            "--model",
            B8,
            "--precision",
            format,
            "--tp",
            "1",
        ];
        let advice = advise(&[&words[..], &load(concurrency)].concat());
        advice["candidates"]
            .as_array()
            .unwrap()
            .iter()
            .find_map(|c| c["targets"]["output_tok_s"]["q50"].as_f64())
    };
    let gain = |concurrency| Some(of("int4", concurrency)? / of("bf16", concurrency)?);
    let (alone, many) = (gain("1"), gain("500"));
    // Where there is no 4-bit checkpoint to start, nothing is said of it.
    if let (Some(alone), Some(many)) = (alone, many) {
        assert!(alone > 1.4, "{alone}");
        assert!(many < 1.1 && many < alone, "{many}");
    }
}

/// llm-compressor #1048. An A100 has no arithmetic in 8-bit floats: such weights are widened to 16 bits, so
/// one request gains and a full batch does not.
#[test]
fn eight_bit_floats_on_an_a100_save_reading_and_no_arithmetic() {
    let gain = |concurrency| {
        let words = ["--gpus", "a100:1", "--model", B8];
        let advice = advise(&[&words[..], &load(concurrency)].concat());
        let of = |format| median(candidate(&advice, "a100", 1, format), "output_tok_s");
        of("fp8") / of("bf16")
    };
    assert!(gain("1") > 1.25);
    assert!(gain("256") < 1.1);
}

/// vllm-deepseek-v4-sm89 #54, club-3090 #35. 20 GiB of cache for one request do not fit beside the weights: the
/// longest context that does is named.
#[test]
fn a_context_that_does_not_fit_is_refused_with_the_one_that_does() {
    let words = ["--gpus", "h100:2", "--model", B70, "--precision", "bf16"];
    let long = ["--isl", "125000", "--osl", "1000", "--concurrency", "1"];
    let advice = advise(&[&words[..], &long].concat());
    assert_eq!(advice["decision"], "refuse");
    let told = message(&advice);
    assert!(
        told.contains("room for a context of") && told.contains("GiB usable"),
        "{told}"
    );
}

/// snakemake-executor-plugin-slurm #316; srt-slurm's FAQ. A request by type and number in `--gres` binds all
/// of a node's GPUs to one task, on sites without `--gpus-per-node` too.
#[test]
fn the_request_names_type_and_number() {
    let words = ["--gpus", "h100:4", "--model", B70, "--precision", "bf16"];
    let advice = advise(&[&words[..], &load("32")].concat());
    assert_eq!(advice["gres"], "gpu:h100:4");
    let engine = advice["environment"]["SLURM_LLM_ENGINE_ARGS"]
        .as_str()
        .unwrap();
    assert!(engine.contains("--tensor-parallel-size 4"), "{engine}");
}

/// sml #125, vllm #5405. No public run tells how long a start took on this site's storage, and 20 s and 40 min
/// have both been measured: nothing is said until a start was seen here.
#[test]
fn a_start_is_not_foretold_before_one_was_seen() {
    let words = ["--gpus", "h100:4", "--model", B70, "--precision", "bf16"];
    let advice = advise(&[&words[..], &load("32")].concat());
    assert!(best(&advice)["targets"]["cold_start_s"].is_null());
}

/// aiconfigurator #1396, #1205; sites that price GPUs by type. Both are shown with price and interval, the
/// wait is said not to be known, and where tokens by price decide the A100 is not outdone by speed alone.
#[test]
fn an_h100_and_a_free_a100_stand_side_by_side() {
    let words = ["--gpus", "h100:1,a100:1", "--model", B8];
    let advice = advise(&[&words[..], &load("64")].concat());
    let (new, old) = (
        candidate(&advice, "h100", 1, "bf16"),
        candidate(&advice, "a100", 1, "bf16"),
    );
    for c in [new, old] {
        assert!(c["price_per_hour"].as_f64().unwrap() > 0.0);
        let of = |end| c["targets"]["output_tok_s"][end].as_f64().unwrap();
        assert!(of("lo") < of("q50") && of("q50") < of("hi") && of("hi") < 4.0 * of("lo"));
    }
    let speed = median(new, "output_tok_s") / median(old, "output_tok_s");
    // Bandwidth 1.6 and arithmetic 3.2 times as much.
    assert!((1.3..3.2).contains(&speed), "{speed}");
    let ranking = advice["ranking"].to_string();
    assert!(ranking.contains("queue waits are not known"), "{ranking}");
}

/// llmflux, FIRST: batches of a million requests. Wall time and GPU-hours follow from requests a second.
#[test]
fn a_batch_is_told_in_hours_and_gpu_hours() {
    let words = [
        "--gpus",
        "h100:4",
        "--model",
        B70,
        "--precision",
        "bf16",
        "--isl",
        "1000",
        "--osl",
        "500",
    ];
    let advice = advise(&[&words[..], &["--requests", "1000000"]].concat());
    let best = best(&advice);
    let hours = 1e6 / median(best, "req_s") / 3600.0;
    let told = message(&advice);
    assert!(
        told.contains("1,000,000 requests: ") && told.contains(" GPU-hours"),
        "{told}"
    );
    let said: f64 = told
        .split("requests: ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .replace(',', "")
        .parse()
        .unwrap();
    assert!((said / hours - 1.0).abs() < 0.01, "{said} {hours}");
}
