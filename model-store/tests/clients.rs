//! Result files of clients, number by number: GPUs by role, what marks a run, units, and what is asked for.

#![cfg(feature = "store")]
#![allow(clippy::unwrap_used)] // helpers of tests

use model_store::advisor::{Origin, Run};
use model_store::store::import::{Form, Imported, Stated, read};
use proptest::prelude::*;
use serde_json::Value;

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/imports/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// What is stated of a file: nothing, but where it is from.
fn nothing() -> Stated {
    Stated::of(Origin::OtherCluster, "lab".into())
}

/// A model and a GPU, for clients that name neither.
fn place() -> Stated {
    Stated {
        model: Some("m".into()),
        gpu: Some("h100".into()),
        ..nothing()
    }
}

fn import(name: &str, stated: &Stated) -> Imported {
    read(&fixture(name), None, stated, None).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Numbers as they stand, to four digits behind the point.
fn number(x: Option<f64>) -> String {
    x.map_or_else(
        || "-".into(),
        |x| {
            let text = format!("{x:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        },
    )
}

/// A run in one line: deployment, engine, marks; load; rates; latencies.
fn told(run: &Run) -> String {
    let (c, m) = (&run.case, &run.measured);
    let v = c.variant;
    let marks = [
        (v.disaggregated, "disaggregated"),
        (v.speculative, "speculative"),
        (v.prefix_cached, "prefix-cached"),
        (v.multi_turn, "multi-turn"),
    ];
    let marks: Vec<&str> = marks
        .iter()
        .filter(|(on, _)| *on)
        .map(|(_, word)| *word)
        .collect();
    let count = |n: Option<u32>| n.map_or_else(|| "-".into(), |n| n.to_string());
    format!(
        "{} {}x{}x{}={} {} {} {} [{}] | {} {} {} {}>{} | {} {} {} | {} {} {}",
        c.gpu,
        count(c.tp),
        c.pp,
        c.dp,
        count(c.num_gpus()),
        c.precision.map_or("-", |p| p.name()),
        if c.engine.is_empty() { "-" } else { &c.engine },
        if c.engine_version.is_empty() {
            "-"
        } else {
            &c.engine_version
        },
        marks.join(" "),
        c.workload.name(),
        number(c.concurrency),
        number(c.request_rate),
        number(c.isl),
        number(c.osl),
        number(m.output_tok_s),
        number(m.total_tok_s),
        number(m.req_s),
        number(m.ttft_ms),
        number(m.tpot_ms),
        number(m.e2e_ms),
    )
}

/// Each file, what is stated of it, and what each of its entries comes to.
#[test]
fn files_say_what_they_say() {
    let sizes = |isl, osl, concurrency| Stated {
        isl,
        osl,
        concurrency,
        tp: Some(2),
        ..place()
    };
    let system = Stated {
        tp: Some(8),
        dp: Some(1),
        ..place()
    };
    let gpu = Stated {
        gpu: Some("h200".into()),
        ..nothing()
    };
    let cases: Vec<(&str, Stated, Form, &[&str])> = vec![
        (
            "llm-d-report/0.2/replicas.yaml",
            nothing(),
            Form::LlmdReport,
            &[
                "H100-SXM 2x1x4=8 - vllm 0.11.0 [] | poisson - 12.5 2048>512 | 6400 32000 12.5 | 250 20 10500",
            ],
        ),
        (
            "llm-d-report/0.1/replicas.yaml",
            nothing(),
            Form::LlmdReport,
            &[
                "H100-SXM 2x1x4=8 - vllm 0.9.0.1 [] | poisson - 12.5 2048>512 | 6400 32000 12.5 | 250 20 10500",
            ],
        ),
        (
            "llm-d-report/0.2/prefill-decode.yaml",
            nothing(),
            Form::LlmdReport,
            &[
                "H100-SXM 4x1x2=8 - vllm 0.11.0 [disaggregated] | poisson - 12.5 2048>512 | 6400 32000 12.5 | 250 20 10500",
            ],
        ),
        (
            "sglang-bench/0.5.5/dp-attention.jsonl",
            gpu.clone(),
            Form::SglangBench,
            &[
                "H200 8x1x1=8 fp8 sglang 0.5.5 [] | closed-loop 256 inf 1024>1024 | 8738.1 17476.3 8.533 | 1500 26.9 29000",
            ],
        ),
        (
            "sglang-bench/0.5.5/others.jsonl",
            gpu,
            Form::SglangBench,
            &[
                "H200 16x1x2=32 - sglang 0.5.5 [disaggregated speculative] | closed-loop 256 inf 1024>1024 | 8738.1 17476.3 8.533 | 1500 26.9 29000",
                "H200 2x1x2=4 fp8 sglang 0.5.5 [speculative prefix-cached] | closed-loop 256 inf 1024>1024 | 8738.1 17476.3 8.533 | 1500 26.9 29000",
            ],
        ),
        (
            "inferencex/2025/mtp.json",
            nothing(),
            Form::InferencexAgg,
            &[
                "H200 8x1x1=8 fp8 tensorrt-llm - [speculative] | closed-loop 64 - ->- | 2400 4800 - | 900 20 20000",
            ],
        ),
        (
            "inferencex/2026/others.json",
            nothing(),
            Form::InferencexAgg,
            &[
                "GB200 8x1x2=16 nvfp4 tensorrt-llm - [disaggregated] | closed-loop 1024 - 8192>1024 | 8800 80000 - | 900 20 20000",
                "GB200 8x1x9=72 nvfp4 tensorrt-llm - [disaggregated] | closed-loop 1024 - 8192>1024 | 39600 360000 - | 900 20 20000",
                "H200 8x1x1=8 fp8 sglang 0.5.5 [] | closed-loop 128 - 1024>1024 | 4000 8000 - | 500 10 11000",
                "H200 8x1x1=8 fp8 vllm 0.19.0 [multi-turn] | closed-loop 128 - 1024>1024 | 4000 8000 - | 500 10 11000",
                "B200 4x2x2=16 fp8 vllm - [] | closed-loop 8 - 1000>500 | 1600 4800 - | 500 10 -",
            ],
        ),
        (
            "aiperf/0.10.0/conc.json",
            place(),
            Form::Aiperf,
            &[
                "H100-SXM -x1x1=- - - - [] | closed-loop 16 - 367.2812>198.8021 | 1040.1442 2961.7814 5.2321 | 119.1305 13.0502 2695.1193",
            ],
        ),
        (
            "aiperf/0.10.0/poisson.json",
            place(),
            Form::Aiperf,
            &[
                "H100-SXM -x1x1=- - - - [] | poisson - 1 574.56>215.57 | 217.66 797.8 1.0097 | 103.6 5.4169 1267.17",
            ],
        ),
        (
            "aiperf/0.11.0/turns.json",
            place(),
            Form::Aiperf,
            &[
                "H100-SXM -x1x1=- - - - [prefix-cached multi-turn] | closed-loop 16 - 367.2812>198.8021 | - 2961.7814 5.2321 | 119.1305 13.0502 2700",
            ],
        ),
        (
            "guidellm/0.2.1/benchmarks.json",
            place(),
            Form::Guidellm,
            &[
                "H100-SXM -x1x1=- - - - [] | poisson 21.7394 4.8 264>128 | 724.9651 2220.2055 5.5833 | 94.5216 29.9105 3893.6302",
            ],
        ),
        (
            "guidellm/0.6.0/multiturn.json",
            place(),
            Form::Guidellm,
            &[
                "H100-SXM -x1x1=- - - - [multi-turn] | closed-loop 32 - 512>128 | 1088 5440 8.5 | 140 27.2 3600",
            ],
        ),
        (
            "guidellm/0.7.0/benchmarks.json",
            place(),
            Form::Guidellm,
            &[
                "H100-SXM -x1x1=- - - - [] | closed-loop 32 - 512>128 | 1088 5440 8.5 | 140 27.2 3600",
                "H100-SXM -x1x1=- - - - [] | poisson 31 9 512>128 | 1088 5440 8.5 | 140 27.2 3600",
            ],
        ),
        (
            "llmperf/2.0/summary.json",
            place(),
            Form::Llmperf,
            &["H100-SXM -x1x1=- - - - [] | closed-loop 8 - 552.5>150 | 600 - 4 | 250 - 1875"],
        ),
        (
            "inference-perf/0.2/stage_6_lifecycle_metrics.json",
            place(),
            Form::InferencePerf,
            &[
                "H100-SXM -x1x1=- - - - [] | poisson - 112.55 75.7604>116.3394 | 10366.5886 17117.3273 89.1064 | 2901.5313 5.8842 4287.5183",
            ],
        ),
        (
            "inference-perf/0.5/summary_lifecycle_metrics.json",
            Stated {
                concurrency: Some(64.0),
                ..place()
            },
            Form::InferencePerf,
            &[
                "H100-SXM -x1x1=- - - - [prefix-cached] | closed-loop 64 - 75.7604>116.3394 | 10366.5886 17117.3273 89.1064 | 2901.5313 5.8842 4287.5183",
            ],
        ),
        (
            "trtllm-bench/1.1/report.json",
            nothing(),
            Form::TrtllmBench,
            &[
                "H100-SXM 4x2x1=8 fp8 tensorrt-llm 1.1.0 [] | offline 250 inf 1000>500 | 5000 15000 10 | 1000 48.1 25000",
            ],
        ),
        (
            "trtllm-bench/1.1/speculative.json",
            nothing(),
            Form::TrtllmBench,
            &[
                "H100-SXM 2x1x1=2 bf16 tensorrt-llm 1.1.0 [speculative] | offline 250 inf 1000>500 | 5000 15000 10 | - - 25000",
            ],
        ),
        (
            "mlperf/5.1/server/mlperf_log_summary.txt",
            system.clone(),
            Form::Mlperf,
            &["H100-SXM 8x1x1=8 - - - [] | poisson - 260 ->300 | 75000 - 250 | 200 58 17500"],
        ),
        (
            "mlperf/5.1/offline/mlperf_log_summary.txt",
            system,
            Form::Mlperf,
            &["H100-SXM 8x1x1=8 - - - [] | offline - inf ->294 | 82320 - 280 | - - 17500"],
        ),
        (
            "vllm-throughput/0.11/throughput.json",
            sizes(None, Some(128.0), None),
            Form::VllmThroughput,
            &["H100-SXM 2x1x1=2 - vllm - [] | offline - inf 512>128 | 3200 16000 25 | - - -"],
        ),
        (
            "vllm-latency/0.11/latency.json",
            sizes(Some(32.0), Some(128.0), Some(8.0)),
            Form::VllmLatency,
            &["H100-SXM 2x1x1=2 - vllm - [] | static 8 - 32>128 | 400 - 3.125 | - - 2560"],
        ),
        (
            "vllm-bench/0.14-sweep/summary.json",
            place(),
            Form::VllmBench,
            &[
                "H100-SXM 4x1x1=4 - - - [] | closed-loop 32 inf 1024>256 | 1024 5120 4 | 300 28 7440",
                "H100-SXM 2x1x4=8 - - - [] | closed-loop 32 inf 1024>256 | 1024 5120 4 | 300 28 7440",
                "H100-SXM 4x1x1=4 - - - [speculative] | closed-loop 32 inf 1024>256 | 1024 5120 4 | 300 28 7440",
            ],
        ),
    ];
    for (name, stated, form, runs) in cases {
        let imported = import(name, &stated);
        assert_eq!(imported.form, form, "{name}");
        let lines: Vec<String> = imported.runs.iter().map(told).collect();
        assert_eq!(lines, runs, "{name}: {:?}", imported.skipped);
    }
}

/// What a file does not tell is asked for by the name of an option, or refused with the reason.
#[test]
fn what_cannot_be_told_is_asked_for() {
    let whole = Stated {
        tp: Some(8),
        ..place()
    };
    for (name, stated, words) in [
        ("vllm-throughput/0.11/throughput.json", place(), "`--osl`"),
        (
            "vllm-throughput/0.11/throughput.json",
            Stated {
                isl: Some(10.0),
                osl: Some(10.0),
                ..place()
            },
            "640 tokens each, not the 20",
        ),
        (
            "vllm-latency/0.11/latency.json",
            place(),
            "`--concurrency`, `--isl` and `--osl`",
        ),
        (
            "inference-perf/0.5/summary_lifecycle_metrics.json",
            place(),
            "`--concurrency` or `--request-rate`",
        ),
        (
            "inference-perf/0.2/stage_6_lifecycle_metrics.json",
            Stated {
                model: None,
                ..place()
            },
            "`--model`",
        ),
        (
            "mlperf/5.1/server/mlperf_log_summary.txt",
            whole,
            "`--tp` and `--dp`",
        ),
        (
            "aiperf/0.12.0/aggregate.json",
            place(),
            "sums up several runs",
        ),
        (
            "guidellm/0.7.0/benchmarks.json",
            place(),
            "`--concurrency` or `--request-rate`",
        ),
        ("vllm-bench/0.14-sweep/summary.json", place(), "warm-up"),
    ] {
        let imported = import(name, &stated);
        let reasons: Vec<&str> = imported
            .skipped
            .iter()
            .map(|(_, reason)| reason.as_str())
            .collect();
        assert!(
            reasons.iter().any(|r| r.contains(words)),
            "{name}: {reasons:?}"
        );
    }
    let invalid = fixture("mlperf/5.1/server/mlperf_log_summary.txt")
        .replace("Result is : VALID", "Result is : INVALID");
    let told = read(&invalid, None, &place(), None).unwrap();
    assert_eq!(told.skipped, [(1, "its result is `INVALID`".to_owned())]);
}

/// Peak and mean keep their names: the column has the peak, the notes have the mean.
#[test]
fn a_peak_is_not_a_mean() {
    let run = &import("llm-d-report/0.2/replicas.yaml", &nothing()).runs[0];
    assert!((run.measured.kv_usage.unwrap() - 0.921).abs() < 1e-9);
    assert!(run.notes.contains("kv_usage_mean=0.425"), "{}", run.notes);
}

/// LLMPerf's inter-token latency has the first token in it; AIPerf's rate in another unit is not guessed at.
#[test]
fn figures_of_another_meaning_stay_in_the_notes() {
    let notes = |name: &str| import(name, &place()).runs[0].notes.clone();
    assert!(
        notes("llmperf/2.0/summary.json").contains("results_inter_token_latency_s_mean=0.0125")
    );
    let docs = notes("sglang-bench/0.5.5/dp-attention.jsonl");
    assert!(docs.contains("dp_attention=8"), "{docs}");
    let roles = import("llm-d-report/0.2/prefill-decode.yaml", &nothing()).runs[0]
        .notes
        .clone();
    assert!(
        roles.contains("prefill=4xtp1 pp1 dp1; decode=1xtp4 pp1 dp1"),
        "{roles}"
    );
}

#[test]
fn marks_that_are_stated_are_added() {
    let marked = Stated {
        variant: model_store::store::runs_csv::variant("disaggregated multi-turn").unwrap(),
        ..place()
    };
    let run = &import("llmperf/2.0/summary.json", &marked).runs[0];
    assert!(
        run.case.variant.disaggregated
            && run.case.variant.multi_turn
            && !run.case.variant.speculative
    );
    assert_eq!(model_store::store::runs_csv::variant("fast"), None);
}

/// Every client and version that the tests have stands in the document.
#[test]
fn the_document_names_every_client_and_version() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/imports.md"))
        .unwrap();
    for form in Form::ALL {
        let head = format!("| `{}` |", form.name());
        let row = text
            .lines()
            .find(|l| l.starts_with(&head))
            .unwrap_or_else(|| panic!("no row {head}"));
        let folder = format!(
            "{}/tests/imports/{}",
            env!("CARGO_MANIFEST_DIR"),
            form.name()
        );
        for version in std::fs::read_dir(folder).unwrap() {
            let version = version.unwrap().file_name().into_string().unwrap();
            let version = version.trim_end_matches("-sweep");
            assert!(
                row.contains(version),
                "{}: {version} is not in {row}",
                form.name()
            );
        }
    }
}

/// Every key under a deployment, as a path.
fn paths(value: &Value, at: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
    let inside: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        _ => Vec::new(),
    };
    for (key, value) in inside {
        at.push(key);
        all.push(at.clone());
        paths(value, at, all);
        at.pop();
    }
}

fn remove(value: &mut Value, path: &[String]) {
    let (last, above) = path.split_last().unwrap();
    let mut here = value;
    for key in above {
        here = match here {
            Value::Array(list) => &mut list[key.parse::<usize>().unwrap()],
            other => &mut other[key.as_str()],
        };
    }
    // An engine that is not listed is not there: only counts may go missing.
    if let Value::Object(map) = here {
        map.remove(last);
    }
}

/// Files that tell their deployment, as documents.
fn deployments() -> Vec<(Value, u32, bool)> {
    let mut all = Vec::new();
    for name in [
        "llm-d-report/0.2/replicas.yaml",
        "llm-d-report/0.1/replicas.yaml",
        "llm-d-report/0.2/prefill-decode.yaml",
    ] {
        all.push(serde_yaml_ng::from_str(&fixture(name)).unwrap());
    }
    all.push(serde_json::from_str(&fixture("sglang-bench/0.5.5/dp-attention.jsonl")).unwrap());
    all.push(serde_json::from_str(&fixture("trtllm-bench/1.1/report.json")).unwrap());
    let several: Value = serde_json::from_str(&fixture("inferencex/2026/others.json")).unwrap();
    all.extend(several.as_array().unwrap().iter().take(2).cloned());
    all.into_iter()
        .map(|document: Value| {
            let run = read(&document.to_string(), None, &place(), None)
                .unwrap()
                .runs
                .remove(0);
            (
                document,
                run.case.num_gpus().unwrap(),
                run.case.variant.disaggregated,
            )
        })
        .collect()
}

/// Any one key may be missing: the GPUs are right or unknown or the run is refused, and prefill and decode that run apart are
/// never taken for one engine.
#[test]
fn a_missing_count_is_never_a_plain_number() {
    for (document, gpus, apart) in deployments() {
        let mut all = Vec::new();
        paths(&document, &mut Vec::new(), &mut all);
        for path in all {
            let mut without = document.clone();
            remove(&mut without, &path);
            let Ok(imported) = read(&without.to_string(), None, &place(), None) else {
                continue;
            };
            for run in imported.runs {
                let told = run.case.num_gpus();
                assert!(
                    told.is_none() || told == Some(gpus),
                    "without {path:?}: {told:?} GPUs, not {gpus}"
                );
                assert!(
                    !apart || run.case.variant.disaggregated || told.is_none(),
                    "without {path:?}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Fields that nobody knows change nothing, wherever they stand; an engine that nobody knows keeps its name.
    #[test]
    fn unknown_fields_and_engines_change_nothing(which in 0usize..7, at in 0usize..200, name in "[a-z]{12}", value in prop_oneof![Just("7"), Just("\"x\""), Just("true"), Just("{}")]) {
        let (document, gpus, apart) = deployments().swap_remove(which);
        let mut all = Vec::new();
        paths(&document, &mut Vec::new(), &mut all);
        let pointer = format!("/{}", all[at % all.len()].join("/"));
        let mut dressed = document.clone();
        let value: Value = serde_json::from_str(value).unwrap();
        if let Some(Value::Object(map)) = dressed.pointer_mut(&pointer) {
            map.insert(format!("zz{name}"), value);
        }
        let of = |d: &Value| {
            let run = read(&d.to_string(), None, &place(), None).unwrap().runs.remove(0);
            (run.case, run.measured)
        };
        prop_assert_eq!(of(&dressed), of(&document));
        let engine = Stated { engine: Some(format!("zz{name}")), ..place() };
        let run = import("llmperf/2.0/summary.json", &engine).runs.remove(0);
        prop_assert_eq!(run.case.engine, format!("zz{name}"));
        prop_assert!(gpus > 0 && (apart || gpus == 8));
    }
}
