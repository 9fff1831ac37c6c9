//! Result files of benchmark clients, read into runs. Pure: text in, runs out.
//!
//! One module a form, each with the units that its tool writes: seconds or milliseconds, of the
//! instance or of one GPU, TPOT with or without the first token. What a file does not say (most say
//! neither GPU nor precision) comes from [`Stated`]; what is not understood goes into the notes as
//! `name=value`; a missing key is a missing figure. What has to be known and cannot be told from the
//! file is asked for, never filled in.

mod aiperf;
mod bag;
mod deployment;
mod form;
mod guidellm;
mod inference_perf;
mod inferencex;
mod llmd;
mod llmperf;
mod mlperf;
mod reuse;
mod sglang;
mod trtllm;
mod vecinf;
mod vllm;
mod vllm_offline;

use serde_json::Value;
use sha2::{Digest, Sha256};

use self::bag::python_json;
pub use self::form::Form;
use crate::advisor::hashing::hex;
use crate::advisor::plain::is_hidden;
use crate::advisor::{
    Case, Measured, Origin, Precision, Run, RunOutcome, Variant, Workload, canonical_engine,
    gpu_name_of_gres, named_disaggregated, served_by,
};

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
    /// Pipeline stages.
    pub pp: Option<u32>,
    /// Engines behind the address, each with TP x PP GPUs.
    pub dp: Option<u32>,
    /// Weight format.
    pub precision: Option<Precision>,
    /// Engine.
    pub engine: Option<String>,
    /// Its version.
    pub engine_version: Option<String>,
    /// Mean input tokens of a request.
    pub isl: Option<f64>,
    /// Mean output tokens of a request.
    pub osl: Option<f64>,
    /// Requests in flight, or the batch.
    pub concurrency: Option<f64>,
    /// Requests/s that arrive; infinite where all come at once.
    pub request_rate: Option<f64>,
    /// Marks that the file does not carry.
    pub variant: Variant,
}

impl Stated {
    /// Nothing but where the runs come from.
    pub const fn of(origin: Origin, source: String) -> Self {
        Self {
            origin,
            source,
            model: None,
            gpu: None,
            tp: None,
            pp: None,
            dp: None,
            precision: None,
            engine: None,
            engine_version: None,
            isl: None,
            osl: None,
            concurrency: None,
            request_rate: None,
            variant: Variant {
                disaggregated: false,
                speculative: false,
                prefix_cached: false,
                multi_turn: false,
                power_capped: false,
                moe_tp: 0,
                moe_ep: 0,
                sched_steps: 0,
                chunked: None,
            },
        }
    }
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
    pp: Option<u32>,
    dp: Option<u32>,
    /// The figures are of a whole system: how many engines it has must be known.
    is_of_a_system: bool,
    precision: String,
    kv_precision: String,
    engine: String,
    engine_version: String,
    isl: Option<f64>,
    osl: Option<f64>,
    load: Load,
    variant: Variant,
    measured: Measured,
    /// What else the file says, `name=value`.
    notes: Vec<String>,
}

/// How requests reached the engine. Without a kind the file does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Load {
    kind: Option<Workload>,
    concurrency: Option<f64>,
    request_rate: Option<f64>,
}

impl Load {
    /// From what was asked for: at a finite rate; so many at once; at an infinite rate all at once.
    /// `reached` is the mean number in flight, where it was measured: a limit on requests that come at a rate is none.
    fn asked(rate: Option<f64>, at_once: Option<f64>, reached: Option<f64>) -> Self {
        let (kind, concurrency) = match (rate, at_once) {
            (Some(rate), _) if rate.is_finite() => (Some(Workload::Poisson), reached),
            (_, Some(_)) => (Some(Workload::ClosedLoop), at_once),
            (Some(_), None) => (Some(Workload::Offline), reached),
            (None, None) => (None, reached),
        };
        Self {
            kind,
            concurrency,
            request_rate: rate,
        }
    }

    /// The same with what was stated of a file that does not tell.
    fn or_stated(self, stated: &Stated) -> Self {
        if self.kind.is_some() {
            return self;
        }
        let rate = self.request_rate.or(stated.request_rate);
        Self::asked(rate, stated.concurrency, self.concurrency)
    }
}

/// True where a file begins as the text of a client does that writes no JSON.
pub fn is_client_text(head: &str) -> bool {
    mlperf::is(head)
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
        tool: documents.first().map(|d| form.tool(d)).unwrap_or_default(),
        runs: Vec::new(),
        skipped: Vec::new(),
    };
    let mut entry = 0;
    for document in &documents {
        let name = name(form, document);
        let readings = form.read(document, stated, log.unwrap_or_default());
        for (at, reading) in readings.into_iter().enumerate() {
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
    format!("{}-{}", form.name(), hex(&digest[..6]))
}

/// The documents of a file: JSON, one or several, a YAML mapping, or the text of a client that writes neither.
fn documents(text: &str) -> Result<Vec<Value>, ImportError> {
    if is_client_text(text) {
        return Ok(vec![mlperf::document(text)]);
    }
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
    if r.measured.outcome == RunOutcome::Ok && !has_figure(&r.measured) {
        return Err("it holds no figure that is known here".into());
    }
    let load = r.load.or_stated(stated);
    let kind = load.kind.filter(|_| r.measured.outcome == RunOutcome::Ok);
    let workload = match (kind, r.measured.outcome) {
        (Some(kind), _) => kind,
        (None, RunOutcome::Ok) => {
            return Err(
                "it does not tell how many requests came: `--concurrency` or `--request-rate` states it"
                    .into(),
            );
        }
        // A start that failed saw no load.
        (None, _) => load.kind.unwrap_or(Workload::ClosedLoop),
    };
    let tp = r.tp.or(stated.tp).filter(|tp| *tp > 0);
    let dp = r.dp.or(stated.dp);
    if r.is_of_a_system && (tp.is_none() || dp.is_none()) {
        return Err(
            "its figures are of a whole system: `--tp` and `--dp` state its engines".into(),
        );
    }
    let mut notes = r.notes;
    let precision = format_of(&r.precision, "precision", &mut notes).or(stated.precision);
    let kv_precision = format_of(&r.kv_precision, "kv_cache_dtype", &mut notes);
    let engine = own(&r.engine)
        .or_else(|| stated.engine.clone())
        .unwrap_or_default();
    notes.extend(served_by(&engine).map(|front| format!("served_by={front}")));
    let version = own(&r.engine_version).or_else(|| stated.engine_version.clone());
    let names = [Some(&model), Some(&gpu), Some(&engine), version.as_ref()];
    if names
        .iter()
        .flatten()
        .any(|name| name.chars().any(is_hidden))
    {
        return Err("a name in it has control characters or hidden ones".into());
    }
    let variant = Variant {
        disaggregated: r.variant.disaggregated
            || stated.variant.disaggregated
            || named_disaggregated(&engine),
        speculative: r.variant.speculative || stated.variant.speculative,
        prefix_cached: r.variant.prefix_cached || stated.variant.prefix_cached,
        multi_turn: r.variant.multi_turn || stated.variant.multi_turn,
        power_capped: r.variant.power_capped || stated.variant.power_capped,
        ..r.variant
    };
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
            tp,
            pp: r.pp.or(stated.pp).unwrap_or(1).max(1),
            dp: dp.unwrap_or(1).max(1),
            precision,
            kv_precision,
            isl: r.isl.or(stated.isl),
            osl: r.osl.or(stated.osl),
            workload,
            concurrency: load.concurrency,
            request_rate: load.request_rate,
            engine: canonical_engine(&engine),
            engine_version: version.unwrap_or_default(),
            variant,
        },
        measured: r.measured,
        notes: notes.join("; "),
    })
}

fn has_figure(m: &Measured) -> bool {
    let figures = [
        m.output_tok_s,
        m.ttft_ms,
        m.tpot_ms,
        m.e2e_ms,
        m.cold_start_s,
    ];
    figures.iter().any(Option::is_some)
}

/// The format that a text names. One that is not known here is kept in the notes under this name.
fn format_of(text: &str, name: &str, notes: &mut Vec<String>) -> Option<Precision> {
    let format = Precision::parse(text);
    let says_nothing = matches!(
        text.trim().to_ascii_lowercase().as_str(),
        "" | "auto" | "none" | "null"
    );
    if format.is_none() && !says_nothing {
        notes.push(format!("{name}={text}"));
    }
    format
}
