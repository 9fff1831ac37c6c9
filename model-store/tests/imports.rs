//! Result files of benchmark clients, by tool and version: every figure with its unit.

#![cfg(feature = "store")]
#![allow(clippy::unwrap_used)] // helpers of tests

use model_store::advisor::{Origin, Precision, Run, RunOutcome, Workload};
use model_store::store::import::{Form, ImportError, Imported, Stated, read};
use proptest::prelude::*;

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/imports/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// What a user states who knows where the file was measured.
fn stated() -> Stated {
    Stated {
        gpu: Some("h100".into()),
        tp: Some(4),
        precision: Some(Precision::Bf16),
        ..Stated::of(Origin::OtherCluster, "lab".into())
    }
}

fn import(name: &str, form: Form) -> Imported {
    let imported = read(&fixture(name), None, &stated(), None).unwrap();
    assert_eq!(imported.form, form, "{name}");
    imported
}

/// Output tokens/s, requests/s, TTFT, TPOT and end-to-end latency (ms).
fn figures(run: &Run) -> [Option<f64>; 5] {
    let m = &run.measured;
    [m.output_tok_s, m.req_s, m.ttft_ms, m.tpot_ms, m.e2e_ms]
        .map(|x| x.map(|x| (x * 100.0).round() / 100.0))
}

/// Mean lengths, load and requests in flight.
fn load(run: &Run) -> (Option<f64>, Option<f64>, Workload, Option<f64>) {
    let c = &run.case;
    (c.isl, c.osl, c.workload, c.concurrency)
}

#[test]
fn vllm_bench_serve_as_captured() {
    let imported = import("vllm-bench/0.32.0/bench.json", Form::VllmBench);
    let run = &imported.runs[0];
    assert_eq!(
        figures(run),
        [Some(1262.97), Some(39.47), Some(25.99), Some(2.4), None]
    );
    assert_eq!(
        load(run),
        (Some(64.15), Some(32.0), Workload::ClosedLoop, Some(4.0))
    );
    assert_eq!((run.case.gpu.as_str(), run.case.tp), ("H100-SXM", Some(4)));
    assert_eq!(run.case.request_rate, Some(f64::INFINITY));
    // What is not understood is kept.
    assert!(run.notes.contains("num_prompts=20"), "{}", run.notes);
    let detail = import("vllm-bench/0.32.0/bench-detail.json", Form::VllmBench);
    assert_eq!(figures(&detail.runs[0])[4], Some(125.44));
}

#[test]
fn older_vllm_appended_with_metadata() {
    let imported = import("vllm-bench/0.6/appended.json", Form::VllmBench);
    assert_eq!(imported.skipped, [(2, "no request was completed".into())]);
    let run = &imported.runs[0];
    assert_eq!(
        figures(run),
        [Some(1333.3), Some(6.67), Some(60.5), Some(9.5), None]
    );
    assert_eq!(
        load(run),
        (Some(1000.0), Some(200.0), Workload::Poisson, None)
    );
    let c = &run.case;
    assert_eq!(
        (c.tp, c.precision, c.engine.as_str(), c.request_rate),
        (Some(2), Some(Precision::Fp8), "vllm", Some(8.0))
    );
    assert!(run.notes.contains("omnipilot_job=4711"));
}

/// A rate that a draft model helped to is of another deployment.
#[test]
fn speculative_decoding_is_told_from_plain_serving() {
    let told = |name: &str, key: &str, value: &str| {
        let text = fixture(name).replacen(key, &format!("was_{key}"), 1);
        let text = text.replacen('{', &format!("{{\"{key}\": {value}, "), 1);
        let imported = read(&text, None, &stated(), None).unwrap();
        imported.runs[0].case.variant.speculative
    };
    let vllm = |value| {
        told(
            "vllm-bench/0.32.0/bench.json",
            "spec_decode_acceptance_rate",
            value,
        )
    };
    assert!(vllm("71.2") && !vllm("null"));
    let sglang = |value| told("sglang-bench/0.5.23/out.jsonl", "accept_length", value);
    assert!(sglang("2.7") && !sglang("1.0"));
}

#[test]
fn sglang_bench_serving() {
    let imported = import("sglang-bench/0.5.23/out.jsonl", Form::SglangBench);
    let run = &imported.runs[0];
    assert_eq!(
        figures(run),
        [
            Some(3000.0),
            Some(10.0),
            Some(210.0),
            Some(20.3),
            Some(6300.0)
        ]
    );
    assert_eq!(
        load(run),
        (Some(1000.0), Some(300.0), Workload::ClosedLoop, Some(64.0))
    );
    let c = &run.case;
    assert_eq!(
        (
            c.model.as_str(),
            c.engine.as_str(),
            c.engine_version.as_str()
        ),
        ("Qwen/Qwen2.5-7B-Instruct", "sglang", "0.5.23")
    );
    // What the file says of TP and format stands before what was stated.
    assert_eq!((c.tp, c.precision), (Some(1), Some(Precision::Fp8)));
}

#[test]
fn aiperf_and_genai_perf() {
    let imported = import("aiperf/0.13.0/profile_export_aiperf.json", Form::Aiperf);
    assert_eq!(imported.tool, "aiperf 0.13.0");
    let run = &imported.runs[0];
    assert_eq!(
        figures(run),
        [
            Some(1600.0),
            Some(4.0),
            Some(350.0),
            Some(19.05),
            Some(7950.0)
        ]
    );
    assert_eq!(
        load(run),
        (Some(2000.0), Some(400.0), Workload::ClosedLoop, Some(32.0))
    );
    assert_eq!(run.case.model, "meta-llama/Llama-3.1-70B-Instruct");
    // Its predecessor, with times in nanoseconds.
    let imported = import(
        "genai-perf/0.0.16/profile_export_genai_perf.json",
        Form::GenaiPerf,
    );
    let run = &imported.runs[0];
    assert_eq!(
        figures(run),
        [Some(400.0), Some(2.0), Some(50.0), Some(20.1), Some(4050.0)]
    );
    assert_eq!(
        load(run),
        (Some(550.0), Some(200.0), Workload::ClosedLoop, Some(8.0))
    );
    assert_eq!(run.case.model, "mistralai/Mistral-7B-Instruct-v0.3");
}

/// Beside each file what its client printed at its end, of loads from a real vLLM 0.32.0 with a tiny model.
#[test]
fn files_of_real_clients_say_what_the_clients_said() {
    let model = Some("m".to_owned());
    let of = |name: &str| {
        let stated = Stated {
            model: model.clone(),
            ..stated()
        };
        let mut imported = read(&fixture(name), None, &stated, None).unwrap();
        assert_eq!(
            (imported.runs.len(), imported.skipped.len()),
            (1, 0),
            "{name}"
        );
        let run = imported.runs.remove(0);
        assert_eq!(run.case.model, "m");
        (figures(&run), load(&run))
    };
    let some = |figures: [f64; 5]| figures.map(Some);
    let lengths = |isl, w, c| (Some(isl), Some(32.0), w, Some(c));
    assert_eq!(
        of("aiperf/0.13.0/captured.json"),
        (
            some([330.10, 10.32, 64.14, 9.69, 364.60]),
            lengths(64.0, Workload::ClosedLoop, 4.0)
        )
    );
    let (figures, (.., load, in_flight)) = of("aiperf/0.13.0/captured-rate.json");
    assert_eq!(figures, some([265.51, 8.30, 32.32, 5.18, 192.93]));
    // Effective concurrency, as it printed it: asked for were 8 requests a second.
    assert_eq!(
        (load, in_flight.map(|c| (c * 100.0).round())),
        (Workload::Poisson, Some(161.0))
    );
    assert_eq!(
        of("sglang-bench/0.5.23/captured.jsonl"),
        (
            some([1069.70, 33.43, 17.41, 3.26, 118.40]),
            lengths(64.0, Workload::ClosedLoop, 4.0)
        )
    );
    let (figures, (.., load, in_flight)) = of("sglang-bench/0.5.23/captured-rate.jsonl");
    assert_eq!(figures, some([231.99, 7.25, 38.26, 5.30, 202.52]));
    assert_eq!(
        (load, in_flight.map(|c| (c * 100.0).round())),
        (Workload::Poisson, Some(147.0))
    );
    let (figures, load) = of("guidellm/0.8.1/captured.json");
    assert_eq!(figures, some([366.12, 11.44, 53.70, 8.98, 336.54]));
    assert_eq!(load, lengths(79.0, Workload::ClosedLoop, 4.0));
}

#[test]
fn guidellm_of_both_versions() {
    let imported = import("guidellm/0.8.1/benchmarks.json", Form::Guidellm);
    assert_eq!(imported.tool, "guidellm 0.8.1");
    let loads: Vec<_> = imported.runs.iter().map(load).collect();
    let of = |w, c| (Some(512.0), Some(128.0), w, c);
    assert_eq!(
        loads,
        [
            of(Workload::ClosedLoop, Some(16.0)),
            of(Workload::Poisson, Some(9.1)),
            of(Workload::Offline, Some(210.0))
        ]
    );
    // Latency is told in seconds; TPOT is its inter-token latency, without the first token.
    assert_eq!(
        figures(&imported.runs[0]),
        [
            Some(665.6),
            Some(5.2),
            Some(50.0),
            Some(23.62),
            Some(3050.0)
        ]
    );
    assert_eq!(imported.runs[1].case.request_rate, Some(3.0));
    let old = import("guidellm/0.3.0/benchmarks.json", Form::Guidellm);
    assert_eq!(load(&old.runs[0]), of(Workload::ClosedLoop, Some(1.0)));
    assert_eq!(old.runs[0].case.model, "Qwen/Qwen3-8B");
}

/// llm-d writes YAML; the same report in either spelling is the same figures.
#[test]
fn an_llmd_report_is_read_as_yaml_too() {
    for version in ["0.1", "0.2"] {
        let json = import(
            &format!("llm-d-report/{version}/report.json"),
            Form::LlmdReport,
        );
        let document: serde_json::Value =
            serde_json::from_str(&fixture(&format!("llm-d-report/{version}/report.json"))).unwrap();
        let yaml = serde_yaml_ng::to_string(&document).unwrap();
        assert!(!yaml.starts_with('{'));
        let read = read(&yaml, None, &stated(), None).unwrap();
        assert_eq!(read.form, Form::LlmdReport);
        let all = |runs: &[Run]| -> Vec<_> {
            runs.iter()
                .map(|r| (r.case.clone(), r.measured.clone()))
                .collect()
        };
        assert_eq!(all(&read.runs), all(&json.runs));
    }
    // Aliases that would unfold without end are refused.
    let bomb = "scenario: &a [x, x]\nmetrics: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e]\ng: [*f, *f, *f, *f, *f, *f, *f, *f]\n";
    assert!(read(bomb, None, &stated(), None).is_err());
}

#[test]
fn llmd_reports_of_both_versions() {
    let old = import("llm-d-report/0.1/report.json", Form::LlmdReport);
    let run = &old.runs[0];
    assert_eq!(
        figures(run),
        [
            Some(1250.0),
            Some(5.0),
            Some(80.0),
            Some(10.1),
            Some(2600.0)
        ]
    );
    let c = &run.case;
    assert_eq!(
        (c.gpu.as_str(), c.tp, c.precision, c.engine.as_str()),
        ("H100-SXM", Some(2), Some(Precision::Fp8), "vllm")
    );
    assert_eq!(c.concurrency, Some(16.0));
    let new = import("llm-d-report/0.2/report.json", Form::LlmdReport);
    let run = &new.runs[0];
    // Seconds become milliseconds, percent a share.
    assert_eq!(
        figures(run),
        [
            Some(1180.0),
            Some(3.95),
            Some(250.0),
            Some(24.0),
            Some(7500.0)
        ]
    );
    // A mean is not the peak: it keeps its name.
    assert_eq!(run.measured.kv_usage, None);
    assert!(run.notes.contains("kv_usage_mean=0.31"), "{}", run.notes);
    let c = &run.case;
    assert_eq!(
        (
            c.gpu.as_str(),
            c.tp,
            c.engine.as_str(),
            c.engine_version.as_str()
        ),
        ("H200", Some(4), "vllm", "0.11.2")
    );
    assert_eq!((c.workload, c.request_rate), (Workload::Poisson, Some(4.0)));
}

/// Statistics that nothing here asks for are kept by their mean.
#[test]
fn metrics_that_are_not_understood_are_kept_with_their_units() {
    let notes = |name: &str, form| import(name, form).runs[0].notes.clone();
    let aiperf = notes("aiperf/0.13.0/profile_export_aiperf.json", Form::Aiperf);
    assert!(
        aiperf.contains("nvidia_average_gpu_power=610 W"),
        "{aiperf}"
    );
    assert!(!aiperf.contains("time_to_first_token"), "{aiperf}");
    let guidellm = notes("guidellm/0.8.1/benchmarks.json", Form::Guidellm);
    assert!(guidellm.contains("time_per_output_token_ms="), "{guidellm}");
    let llmd = notes("llm-d-report/0.2/report.json", Form::LlmdReport);
    assert!(llmd.contains("normalized_time_per_output_token="), "{llmd}");
}

#[test]
fn inferencex_aggregates() {
    let imported = import("inferencex/2026/agg.json", Form::InferencexAgg);
    let run = &imported.runs[0];
    // Seconds, and throughput of one GPU of eight with input and output together.
    assert_eq!(
        figures(run),
        [Some(2450.0), None, Some(420.0), Some(24.6), Some(25_600.0)]
    );
    assert_eq!(run.measured.total_tok_s, Some(4900.0));
    assert_eq!(
        (run.case.gpu.as_str(), run.case.tp, run.case.concurrency),
        ("H200", Some(8), Some(64.0))
    );
    let other = &imported.runs[1];
    assert_eq!(other.measured.output_tok_s, Some(4040.0));
    assert!(other.case.variant.speculative && !other.case.variant.disaggregated);
}

#[test]
fn vec_inf_jobs_with_their_logs() {
    let name = "vec-inf/0.9/Meta-Llama-3.1-8B-Instruct.4711";
    let (json, log) = (
        fixture(&format!("{name}.json")),
        fixture(&format!("{name}.err")),
    );
    let of = |log: &str| read(&json, None, &stated(), Some(log)).unwrap();
    let imported = of(&log);
    assert_eq!(imported.form, Form::VecInf);
    assert_eq!(imported.runs.len(), 1, "{imported:?}");
    let run = &imported.runs[0];
    assert_eq!(figures(run)[0], Some(620.0));
    assert_eq!(run.case.concurrency, Some(8.0));
    assert_eq!(
        (run.case.gpu.as_str(), run.case.tp, run.case.precision),
        ("A100-80GB", Some(1), Some(Precision::Bf16))
    );
    assert_eq!(run.measured.kv_usage, Some(0.065));
    let failed = of(
        "ERROR ... No available memory for the cache blocks.\nEngine core initialization failed.",
    );
    assert_eq!(failed.runs[0].measured.outcome, RunOutcome::OutOfMemory);
    assert!(of("loading weights").runs.is_empty());
}

#[test]
fn what_a_file_does_not_say_has_to_be_stated() {
    let text = fixture("vllm-bench/0.32.0/bench.json");
    let mut nothing = stated();
    nothing.gpu = None;
    let imported = read(&text, None, &nothing, None).unwrap();
    assert_eq!(
        imported.skipped,
        [(1, "it names no GPU: `--gpu` states it".into())]
    );
    let mut named = stated();
    named.model = Some("meta-llama/Llama-3.1-8B-Instruct".into());
    let imported = read(&text, None, &named, None).unwrap();
    assert_eq!(
        imported.runs[0].case.model,
        "meta-llama/Llama-3.1-8B-Instruct"
    );
    assert_eq!(
        read("{\"a\": 1}", None, &stated(), None),
        Err(ImportError::Unknown)
    );
    assert!(matches!(
        read("{", None, &stated(), None),
        Err(ImportError::NotJson(_))
    ));
}

#[test]
fn missing_keys_are_missing_figures() {
    let text = fixture("vllm-bench/0.32.0/bench.json");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    for key in value.as_object().unwrap().keys() {
        let mut without = value.clone();
        without.as_object_mut().unwrap().remove(key);
        let imported = read(&without.to_string(), Some(Form::VllmBench), &stated(), None).unwrap();
        if !["completed", "model_id"].contains(&key.as_str()) {
            assert_eq!(imported.runs.len(), 1, "without {key}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever lies under the keys, reading ends, and what comes out are numbers.
    #[test]
    fn no_value_under_any_key_stops_it(seed in 0usize..11, at in 0usize..400, instead in prop_oneof![
        Just("null"), Just("-1"), Just("1e308"), Just("\"x\""), Just("[]"), Just("{}"), Just("true"), Just("[[1]]"), Just("NaN"),
    ]) {
        const FILES: [&str; 11] = [
            "vllm-bench/0.32.0/bench.json", "vllm-bench/0.32.0/bench-detail.json", "vllm-bench/0.6/appended.json",
            "sglang-bench/0.5.23/out.jsonl", "aiperf/0.13.0/profile_export_aiperf.json",
            "genai-perf/0.0.16/profile_export_genai_perf.json", "guidellm/0.8.1/benchmarks.json",
            "guidellm/0.3.0/benchmarks.json", "llm-d-report/0.1/report.json", "llm-d-report/0.2/report.json",
            "inferencex/2026/agg.json",
        ];
        let text = fixture(FILES[seed]);
        let colons: Vec<usize> = text.match_indices(':').map(|(i, _)| i).collect();
        let colon = colons[at % colons.len()];
        let end = text[colon..].find([',', '}', ']']).map_or(text.len(), |e| colon + e);
        let broken = format!("{}: {instead}{}", &text[..colon], &text[end..]);
        for form in Form::ALL.map(Some).into_iter().chain([None]) {
            if let Ok(imported) = read(&broken, form, &stated(), Some("")) {
                for run in imported.runs {
                    prop_assert!(figures(&run).into_iter().flatten().all(f64::is_finite));
                }
            }
        }
    }
}
