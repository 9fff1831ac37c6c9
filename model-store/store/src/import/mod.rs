//! Result files of benchmark clients, read into runs. Pure: text in, runs out.
//!
//! One module a form, each with the units that its tool writes: seconds or milliseconds, of the
//! instance or of one GPU, TPOT with or without the first token. What a file does not say (most say
//! neither GPU nor precision) comes from [`Stated`]; what is not understood goes into the notes as
//! `name=value`; a missing key is a missing figure.

mod aiperf;
mod bag;
mod guidellm;
mod inferencex;
mod llmd;
mod sglang;
mod vecinf;
mod vllm;

use serde_json::Value;
use sha2::{Digest, Sha256};

use self::bag::python_json;
use crate::advisor::plain::is_hidden;
use crate::advisor::{
    Case, Measured, Origin, Precision, Run, Variant, Workload, canonical_engine, gpu_name_of_gres,
};

/// A form of result file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `vllm bench serve --save-result`, and `benchmark_serving.py` before it.
    VllmBench,
    /// `sglang.bench_serving --output-file`.
    SglangBench,
    /// AIPerf `profile_export_aiperf.json`.
    Aiperf,
    /// GenAI-Perf `profile_export_genai_perf.json`.
    GenaiPerf,
    /// GuideLLM `benchmarks.json`.
    Guidellm,
    /// The llm-d benchmark report, as JSON.
    LlmdReport,
    /// InferenceX (InferenceMAX) aggregates.
    InferencexAgg,
    /// The JSON file of a vec-inf job, with the engine's log beside it.
    VecInf,
}

impl Form {
    /// Every form.
    pub const ALL: [Self; 8] = [
        Self::VllmBench,
        Self::SglangBench,
        Self::Aiperf,
        Self::GenaiPerf,
        Self::Guidellm,
        Self::LlmdReport,
        Self::InferencexAgg,
        Self::VecInf,
    ];

    /// Name in options and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VllmBench => "vllm-bench",
            Self::SglangBench => "sglang-bench",
            Self::Aiperf => "aiperf",
            Self::GenaiPerf => "genai-perf",
            Self::Guidellm => "guidellm",
            Self::LlmdReport => "llm-d-report",
            Self::InferencexAgg => "inferencex",
            Self::VecInf => "vec-inf",
        }
    }

    /// The form of a document, by the keys that only it has.
    fn of(document: &Value) -> Option<Self> {
        let has = |key: &str| document.get(key).is_some();
        let all = |keys: &[&str]| keys.iter().all(|key| has(key));
        if has("aiperf_version") || (all(&["schema_version", "input_config"])) {
            Some(Self::Aiperf)
        } else if all(&["input_config", "request_throughput"]) {
            Some(Self::GenaiPerf)
        } else if document["benchmarks"].is_array() {
            Some(Self::Guidellm)
        } else if has("scenario") && (has("metrics") || has("results")) {
            Some(Self::LlmdReport)
        } else if all(&["hw", "tput_per_gpu"]) {
            Some(Self::InferencexAgg)
        } else if all(&["server_address", "resource_type"]) || all(&["server_address", "vllm_args"])
        {
            Some(Self::VecInf)
        } else if has("mean_e2e_latency_ms") || all(&["input_throughput", "output_throughput"]) {
            Some(Self::SglangBench)
        } else if all(&["output_throughput", "total_input_tokens", "completed"]) {
            Some(Self::VllmBench)
        } else {
            None
        }
    }
}

/// What the one who imports says of files that do not.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    /// Where the runs were measured.
    pub origin: Origin,
    /// Laboratory or cluster.
    pub source: String,
    /// Model, before what the file says: served names may be anything.
    pub model: Option<String>,
    /// GPU, as the catalogue or Slurm names it.
    pub gpu: Option<String>,
    /// Tensor-parallel degree.
    pub tp: Option<u32>,
    /// Weight format.
    pub precision: Option<Precision>,
    /// Engine.
    pub engine: Option<String>,
    /// Its version.
    pub engine_version: Option<String>,
}

/// What a file came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// Its form.
    pub form: Form,
    /// What wrote it, with its version where the file tells.
    pub tool: String,
    /// Runs.
    pub runs: Vec<Run>,
    /// Entries that are no runs: which one, counted from 1, and why.
    pub skipped: Vec<(usize, String)>,
}

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// JSON of another kind.
    #[error("it is JSON, but of no benchmark that is known here")]
    Unknown,
}

/// One measurement as a form's module reads it, before what is stated is filled in.
#[derive(Clone, Debug, Default)]
struct Reading {
    model: String,
    gpu: String,
    tp: Option<u32>,
    pp: u32,
    dp: u32,
    precision: String,
    engine: String,
    engine_version: String,
    isl: Option<f64>,
    osl: Option<f64>,
    workload: Option<Workload>,
    concurrency: Option<f64>,
    request_rate: Option<f64>,
    variant: Variant,
    measured: Measured,
    /// What else the file says, `name=value`.
    notes: Vec<String>,
}

/// Reads a file's text; `form` where it is known, `log` for what lies beside it (vec-inf).
///
/// # Errors
/// [`ImportError`].
pub fn read(
    text: &str,
    form: Option<Form>,
    stated: &Stated,
    log: Option<&str>,
) -> Result<Imported, ImportError> {
    let documents = documents(text)?;
    let form = form
        .or_else(|| documents.iter().find_map(Form::of))
        .ok_or(ImportError::Unknown)?;
    let mut out = Imported {
        form,
        tool: documents.first().map(|d| tool(form, d)).unwrap_or_default(),
        runs: Vec::new(),
        skipped: Vec::new(),
    };
    let mut entry = 0;
    for document in &documents {
        let name = name(form, document);
        for (at, reading) in entries(form, document, log).into_iter().enumerate() {
            entry += 1;
            match reading.and_then(|r| run(r, stated, format!("{name}-{}", at + 1), form)) {
                Ok(run) => out.runs.push(run),
                Err(reason) => out.skipped.push((entry, reason)),
            }
        }
    }
    Ok(out)
}

/// What the runs of a document are called. It follows from what the document says, so that a copy of it is the same runs:
/// clients append to a file that may have been imported already, and other tools write it anew with other white space.
fn name(form: Form, document: &Value) -> String {
    let digest = Sha256::digest(document.to_string());
    let short: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("{}-{short}", form.name())
}

/// The documents of a file: JSON, one or several, or a YAML mapping.
fn documents(text: &str) -> Result<Vec<Value>, ImportError> {
    if !text.trim_start().starts_with(['{', '[']) {
        let document: Value =
            serde_yaml_ng::from_str(text).map_err(|e| ImportError::NotJson(e.to_string()))?;
        let is_mapping = document.is_object().then_some(document);
        return is_mapping
            .map(|d| vec![d])
            .ok_or_else(|| ImportError::NotJson("it is no YAML mapping either".into()));
    }
    let clean = python_json(text);
    let mut documents = Vec::new();
    for document in serde_json::Deserializer::from_str(&clean).into_iter::<Value>() {
        match document.map_err(|e| ImportError::NotJson(e.to_string()))? {
            Value::Array(all) => documents.extend(all),
            one => documents.push(one),
        }
    }
    Ok(documents)
}

fn entries(form: Form, document: &Value, log: Option<&str>) -> Vec<Result<Reading, String>> {
    match form {
        Form::VllmBench => vec![vllm::read(document)],
        Form::SglangBench => vec![sglang::read(document)],
        Form::Aiperf | Form::GenaiPerf => vec![aiperf::read(document)],
        Form::Guidellm => guidellm::read(document),
        Form::LlmdReport => vec![llmd::read(document)],
        Form::InferencexAgg => vec![inferencex::read(document)],
        Form::VecInf => vecinf::read(document, log.unwrap_or_default()),
    }
}

/// The tool and its version, where the file names it.
fn tool(form: Form, document: &Value) -> String {
    let version = match form {
        Form::Aiperf => document["aiperf_version"].as_str(),
        Form::Guidellm => document["metadata"]["guidellm_version"].as_str(),
        Form::LlmdReport => document["version"].as_str(),
        _ => None,
    };
    version.map_or_else(
        || form.name().to_owned(),
        |v| format!("{} {v}", form.name()),
    )
}

/// A reading with what is stated filled in.
///
/// # Errors
/// Why it is no run.
fn run(r: Reading, stated: &Stated, run_id: String, form: Form) -> Result<Run, String> {
    let own = |text: &str| Some(text.to_owned()).filter(|t| !t.trim().is_empty());
    let model = stated.model.clone().or_else(|| own(&r.model));
    let model = model.ok_or("it names no model: `--model` states it")?;
    let gpu = own(&r.gpu).or_else(|| stated.gpu.clone());
    let gpu = gpu.ok_or("it names no GPU: `--gpu` states it")?;
    let gpu = gpu_name_of_gres(&gpu).map_or(gpu, str::to_owned);
    let m = &r.measured;
    let figures = [
        m.output_tok_s,
        m.ttft_ms,
        m.tpot_ms,
        m.e2e_ms,
        m.cold_start_s,
    ];
    if m.outcome == crate::advisor::RunOutcome::Ok && figures.iter().all(Option::is_none) {
        return Err("it holds no figure that is known here".into());
    }
    let precision = Precision::parse(&r.precision).or(stated.precision);
    let mut notes = r.notes;
    if precision.is_none() && !r.precision.is_empty() {
        notes.push(format!("precision={}", r.precision));
    }
    let engine = own(&r.engine).or_else(|| stated.engine.clone());
    let version = own(&r.engine_version).or_else(|| stated.engine_version.clone());
    let names = [Some(&model), Some(&gpu), engine.as_ref(), version.as_ref()];
    if names
        .iter()
        .flatten()
        .any(|name| name.chars().any(is_hidden))
    {
        return Err("a name in it has control characters or hidden ones".into());
    }
    Ok(Run {
        run_id,
        origin: stated.origin,
        source: stated.source.clone(),
        source_ref: form.name().to_owned(),
        case: Case {
            model,
            params_b: None,
            active_params_b: None,
            gpu,
            gpu_mem_gb: None,
            tp: r.tp.or(stated.tp).filter(|tp| *tp > 0),
            pp: r.pp.max(1),
            dp: r.dp.max(1),
            precision,
            kv_precision: None,
            isl: r.isl,
            osl: r.osl,
            workload: r.workload.unwrap_or(Workload::ClosedLoop),
            concurrency: r.concurrency,
            request_rate: r.request_rate,
            engine: canonical_engine(&engine.unwrap_or_default()),
            engine_version: version.unwrap_or_default(),
            variant: r.variant,
        },
        measured: r.measured,
        notes: notes.join("; "),
    })
}
