//! The forms of result files: names, what tells one from another, who reads it. One row a form.

use serde_json::Value;

use super::{Reading, Stated, bag};
use super::{
    aiperf, guidellm, inference_perf, inferencex, llmd, llmperf, mlperf, sglang, trtllm, vecinf,
    vllm, vllm_offline,
};

/// A form of result file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `vllm bench serve --save-result`, `vllm bench sweep`, and `benchmark_serving.py` before them.
    VllmBench,
    /// `vllm bench throughput --output-json`.
    VllmThroughput,
    /// `vllm bench latency --output-json`.
    VllmLatency,
    /// `sglang.bench_serving --output-file`.
    SglangBench,
    /// AIPerf `profile_export_aiperf.json`.
    Aiperf,
    /// GenAI-Perf `profile_export_genai_perf.json`.
    GenaiPerf,
    /// GuideLLM `benchmarks.json`.
    Guidellm,
    /// LLMPerf `*_summary.json`.
    Llmperf,
    /// inference-perf `stage_*_lifecycle_metrics.json`.
    InferencePerf,
    /// `trtllm-bench --report_json`.
    TrtllmBench,
    /// MLPerf `mlperf_log_summary.txt`.
    Mlperf,
    /// The llm-d benchmark report, as JSON.
    LlmdReport,
    /// InferenceX (InferenceMAX) aggregates.
    InferencexAgg,
    /// The JSON file of a vec-inf job, with the engine's log beside it.
    VecInf,
}

/// The readings of one document; an entry that is no run says why.
type Read = fn(&Value, &Stated, &str) -> Vec<Result<Reading, String>>;

struct Row {
    form: Form,
    name: &'static str,
    writes: &'static str,
    /// True for a document that only this form has, among those that come later in the table.
    is: fn(&Value) -> bool,
    version: fn(&Value) -> Option<&Value>,
    read: Read,
}

/// Special forms come before those whose keys they share.
static FORMS: [Row; 14] = [
    Row {
        form: Form::Mlperf,
        name: "mlperf",
        writes: "MLPerf `mlperf_log_summary.txt`",
        is: |d| d.get(mlperf::KEY).is_some(),
        version: |_| None,
        read: |d, stated, _| vec![mlperf::read(d, stated)],
    },
    Row {
        form: Form::Aiperf,
        name: "aiperf",
        writes: "AIPerf `profile_export_aiperf.json`",
        is: |d| has(d, &["aiperf_version"]) || has(d, &["schema_version", "input_config"]),
        version: |d| d.get("aiperf_version"),
        read: |d, _, _| vec![aiperf::read(d)],
    },
    Row {
        form: Form::GenaiPerf,
        name: "genai-perf",
        writes: "GenAI-Perf `profile_export_genai_perf.json`",
        is: |d| has(d, &["input_config", "request_throughput"]),
        version: |_| None,
        read: |d, _, _| vec![aiperf::read(d)],
    },
    Row {
        form: Form::Guidellm,
        name: "guidellm",
        writes: "GuideLLM `benchmarks.json`",
        is: |d| d["benchmarks"].is_array(),
        version: |d| d["metadata"].get("guidellm_version"),
        read: |d, _, _| guidellm::read(d),
    },
    Row {
        form: Form::LlmdReport,
        name: "llm-d-report",
        writes: "llm-d benchmark report, as JSON or YAML",
        is: |d| has(d, &["scenario", "metrics"]) || has(d, &["scenario", "results"]),
        version: |d| d.get("version"),
        read: |d, _, _| vec![llmd::read(d)],
    },
    Row {
        form: Form::InferencePerf,
        name: "inference-perf",
        writes: "inference-perf `stage_*_lifecycle_metrics.json`",
        is: |d| has(d, &["load_summary", "successes"]) || d["successes"]["throughput"].is_object(),
        version: |_| None,
        read: |d, _, _| vec![inference_perf::read(d)],
    },
    Row {
        form: Form::TrtllmBench,
        name: "trtllm-bench",
        writes: "`trtllm-bench --report_json`",
        is: |d| has(d, &["performance", "request_info"]),
        version: |d| d["engine"].get("version"),
        read: |d, _, _| vec![trtllm::read(d)],
    },
    Row {
        form: Form::Llmperf,
        name: "llmperf",
        writes: "LLMPerf `*_summary.json`",
        is: |d| {
            has(d, &["results_ttft_s_mean"])
                || has(d, &["results_mean_output_throughput_token_per_s"])
        },
        version: |d| d.get("version"),
        read: |d, _, _| vec![llmperf::read(d)],
    },
    Row {
        form: Form::InferencexAgg,
        name: "inferencex",
        writes: "InferenceX (InferenceMAX) aggregates",
        is: |d| {
            (has(d, &["hw"]) || has(d, &["hardware"]))
                && (has(d, &["tput_per_gpu"]) || has(&d["metrics"], &["tput_per_gpu"]))
        },
        version: |_| None,
        read: |d, _, _| vec![inferencex::read(d)],
    },
    Row {
        form: Form::VecInf,
        name: "vec-inf",
        writes: "Folder or JSON file of a vec-inf job",
        is: |d| {
            has(d, &["server_address", "resource_type"]) || has(d, &["server_address", "vllm_args"])
        },
        version: |_| None,
        read: |d, _, log| vecinf::read(d, log),
    },
    Row {
        form: Form::VllmThroughput,
        name: "vllm-throughput",
        writes: "`vllm bench throughput --output-json`",
        is: |d| {
            has(
                d,
                &[
                    "elapsed_time",
                    "num_requests",
                    "total_num_tokens",
                    "tokens_per_second",
                ],
            )
        },
        version: |_| None,
        read: |d, stated, _| vec![vllm_offline::throughput(d, stated)],
    },
    Row {
        form: Form::VllmLatency,
        name: "vllm-latency",
        writes: "`vllm bench latency --output-json`",
        is: |d| has(d, &["avg_latency", "percentiles"]) || has(d, &["avg_latency", "latencies"]),
        version: |_| None,
        read: |d, stated, _| vec![vllm_offline::latency(d, stated)],
    },
    Row {
        form: Form::SglangBench,
        name: "sglang-bench",
        writes: "`sglang.bench_serving --output-file`",
        is: |d| {
            has(d, &["mean_e2e_latency_ms"]) || has(d, &["input_throughput", "output_throughput"])
        },
        version: |d| d["server_info"].get("version"),
        read: |d, _, _| vec![sglang::read(d)],
    },
    Row {
        form: Form::VllmBench,
        name: "vllm-bench",
        writes: "`vllm bench serve --save-result`, `vllm bench sweep serve`",
        is: |d| has(d, &["output_throughput", "total_input_tokens", "completed"]),
        version: |_| None,
        read: |d, _, _| vec![vllm::read(d)],
    },
];

fn has(document: &Value, keys: &[&str]) -> bool {
    keys.iter().all(|key| document.get(*key).is_some())
}

impl Form {
    /// Every form, in the order of their variants.
    pub const ALL: [Self; 14] = [
        Self::VllmBench,
        Self::VllmThroughput,
        Self::VllmLatency,
        Self::SglangBench,
        Self::Aiperf,
        Self::GenaiPerf,
        Self::Guidellm,
        Self::Llmperf,
        Self::InferencePerf,
        Self::TrtllmBench,
        Self::Mlperf,
        Self::LlmdReport,
        Self::InferencexAgg,
        Self::VecInf,
    ];

    fn row(self) -> Option<&'static Row> {
        FORMS.iter().find(|row| row.form == self)
    }

    /// Name in options and in the store.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// What writes it, for people.
    pub fn writes(self) -> &'static str {
        self.row().map_or("", |row| row.writes)
    }

    /// The form of a document, by the keys that only it has.
    pub(super) fn of(document: &Value) -> Option<Self> {
        FORMS
            .iter()
            .find(|row| (row.is)(document))
            .map(|row| row.form)
    }

    /// The readings of a document.
    pub(super) fn read(
        self,
        document: &Value,
        stated: &Stated,
        log: &str,
    ) -> Vec<Result<Reading, String>> {
        self.row()
            .map_or_else(Vec::new, |row| (row.read)(document, stated, log))
    }

    /// The tool and its version, where the file names it.
    pub(super) fn tool(self, document: &Value) -> String {
        let version = self
            .row()
            .and_then(|row| (row.version)(document))
            .and_then(bag::as_text);
        version.map_or_else(
            || self.name().to_owned(),
            |v| format!("{} {v}", self.name()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_has_one_row() {
        for form in Form::ALL {
            assert_eq!(
                FORMS.iter().filter(|row| row.form == form).count(),
                1,
                "{form:?}"
            );
            assert!(!form.name().is_empty() && !form.writes().is_empty());
        }
        assert_eq!(FORMS.len(), Form::ALL.len());
    }
}
