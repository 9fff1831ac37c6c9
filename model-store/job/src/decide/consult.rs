//! From the options of one submission to what is to be done with the job. The plugin and
//! `omnipilot submit` and `advise` all go through here, so that the three cannot differ.

use std::path::Path;
use std::sync::Arc;

use crate::advisor::advise::settle_layout;
use crate::advisor::formats::{Named, named};
use crate::advisor::of_hub_cache;
use crate::advisor::{
    Advice, Assessed, Catalogue, ClusterState, Knowledge, Load, Lookup, ModelCard, Pins, Precision,
    Request, SiteGpu, Startable, Term, Verdict, advise, words,
};
use crate::checkpoint_files;
use crate::config::Config;
use crate::engine_args::{Choice, EngineKind};
use crate::job_rewrite::Allocation;
use crate::options::{RawOptions, shorten};
use crate::outcome::env;
use crate::prices::PriceSource;
use crate::snapshot::{Snapshot, SnapshotError};

/// Exit codes of a refusal, the same for plugin and command.
pub mod exit_code {
    /// The request lies outside what was measured.
    pub const OUT_OF_SUPPORT: u8 = 64;
    /// Nothing that the cluster has can run it.
    pub const INFEASIBLE: u8 = 65;
    /// Something is broken, and the site refuses on faults.
    pub const FAULT: u8 = 66;
    /// The site's policy does not allow it.
    pub const POLICY: u8 = 67;
    /// An option value was wrong.
    pub const USAGE: u8 = 2;
}

/// Lengths taken where the user states none, tokens; the advice says so.
pub const ASSUMED_ISL: f64 = 1024.0;
/// See [`ASSUMED_ISL`].
pub const ASSUMED_OSL: f64 = 256.0;

/// The changes to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The GPUs of a node as `--gres` names them, such as `gpu:h100:4`.
    pub gres: String,
    /// What the job is to get.
    pub allocation: Allocation,
    /// `SLURM_LLM_*` names and values for the job's environment.
    pub environment: Vec<(&'static str, String)>,
    /// Text to append to the job's comment: `omnipilot:<advice id>`.
    pub comment: String,
    /// What to tell the user, at most four lines, without prefix.
    pub message: Vec<String>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of [`exit_code`].
    pub code: u8,
    /// The reason in numbers and a `hint:`; at most four lines, without prefix.
    pub message: Vec<String>,
}

/// An advice and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Consulted {
    /// What was asked, with everything looked up.
    pub request: Request,
    /// The advice.
    pub advice: Advice,
    /// What it comes to for a job: its changes, or why it is refused.
    pub answer: Result<Rewrite, Refusal>,
}

impl Consulted {
    /// What to tell the user, at most four lines, without prefix.
    pub fn message(&self) -> &[String] {
        match &self.answer {
            Ok(rewrite) => &rewrite.message,
            Err(refusal) => &refusal.message,
        }
    }
}

/// Why there is no advice although one was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// What is broken, on one line.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

impl From<SnapshotError> for Fault {
    fn from(error: SnapshotError) -> Self {
        let hint = match &error {
            SnapshotError::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                "`omnipilot init`, `omnipilot observe` and `omnipilot train` publish one"
            }
            SnapshotError::Read { .. } => "the file must be readable by every user",
            _ => "`omnipilot train` publishes it anew",
        };
        Self {
            reason: error.to_string(),
            hint: hint.into(),
        }
    }
}

/// Reads the published snapshot and asks the advisor. `script_pins` are what the batch script
/// fixes in text; an option given by the user wins over them.
///
/// A model that nobody knows is no fault: it is outside what was measured, and refused so.
///
/// # Errors
/// A [`Fault`]: no snapshot, a corrupt one, or one of another format.
pub fn consult(
    config: &Config,
    options: &RawOptions,
    script_pins: &Pins,
) -> Result<Consulted, Fault> {
    let snapshot = Snapshot::read(&config.snapshot)?;
    consult_snapshot(
        &snapshot,
        &snapshot.body.cluster,
        config,
        options,
        script_pins,
    )
}

/// As [`consult`], with a snapshot that is already read, on the part of the cluster that the job
/// can reach.
///
/// # Errors
/// A [`Fault`] where no model is named, or where nothing is known of the cluster's GPUs: that is
/// no decision against the job.
pub fn consult_snapshot(
    snapshot: &Snapshot,
    cluster: &ClusterState,
    config: &Config,
    options: &RawOptions,
    script_pins: &Pins,
) -> Result<Consulted, Fault> {
    consult_here(
        snapshot,
        cluster,
        config,
        options,
        script_pins,
        Here::default(),
    )
}

/// What is known of the place of one job.
#[derive(Clone, Copy, Debug, Default)]
pub struct Here<'a> {
    /// What it could be started on; `None` where that is not looked at.
    pub startable: Option<&'a dyn Startable>,
    /// What GPU types cost there; `None` for what they cost anywhere.
    pub gpus: Option<&'a [SiteGpu]>,
    /// Format of a checkpoint that the script brings itself.
    pub checkpoint: Option<Precision>,
}

/// As [`consult_snapshot`], for a job in its place.
///
/// # Errors
/// As [`consult_snapshot`].
pub fn consult_here(
    snapshot: &Snapshot,
    cluster: &ClusterState,
    config: &Config,
    options: &RawOptions,
    script_pins: &Pins,
    here: Here,
) -> Result<Consulted, Fault> {
    let name = options.model.as_deref().ok_or_else(|| Fault {
        reason: "no model is named".into(),
        hint: "--llm-model=meta-llama/Llama-3.1-8B-Instruct".into(),
    })?;
    known_gpus(snapshot)?;
    let mut request = match find_model(snapshot, name) {
        Ok(mut found) => {
            found.format = here.checkpoint.or(found.format);
            request(snapshot, options, script_pins, found)
        }
        Err(refusal) => return Ok(unknown_model(snapshot, name, refusal)),
    };
    let known = Knowledge {
        cluster,
        startable: here.startable,
        gpus: here.gpus.unwrap_or(&snapshot.body.gpus),
        priced_here: here.gpus.is_some(),
        ..snapshot.knowledge()
    };
    settle_layout(known, &mut request);
    let advice = advise(known, &request);
    let answer = answer(snapshot, config, options, &request, &advice);
    Ok(Consulted {
        request,
        advice,
        answer,
    })
}

/// The cluster must have been observed, and a GPU type of it must mean something.
fn known_gpus(snapshot: &Snapshot) -> Result<(), Fault> {
    let pools = &snapshot.body.cluster.pools;
    let means = |gres: &str| snapshot.body.gpus.iter().any(|g| g.gres == gres);
    if pools.iter().any(|p| p.per_node > 0 && means(&p.gres)) {
        return Ok(());
    }
    let types: Vec<&str> = pools.iter().map(|p| p.gres.as_str()).collect();
    if types.is_empty() {
        return Err(Fault {
            reason: "the cluster's GPUs are not known".into(),
            hint: "`omnipilot observe` asks Slurm for them and publishes them".into(),
        });
    }
    Err(Fault {
        reason: format!(
            "no GPU type of the cluster means a GPU of the catalogue: {}",
            shorten(&types.join(", "))
        ),
        hint: format!(
            "`[gpu.{}]` with `is = \"H100-SXM\"` in the configuration says what it is",
            shorten(types.first().unwrap_or(&""))
        ),
    })
}

/// A model that was looked up.
struct Found {
    card: ModelCard,
    format: Option<Precision>,
    checkpoints: Vec<(Precision, String)>,
}

/// The site's own entry first, then a directory or file of the user's, then the catalogue.
fn find_model(snapshot: &Snapshot, name: &str) -> Result<Found, String> {
    let site = snapshot
        .body
        .models
        .iter()
        .find(|m| m.name.eq_ignore_ascii_case(name));
    let checkpoints = site.map(|m| m.checkpoints.clone()).unwrap_or_default();
    if let Some((card, format)) = site.and_then(|m| Some((m.card.clone()?, m.format))) {
        return Ok(Found {
            card,
            format,
            checkpoints,
        });
    }
    match from_path(name) {
        Ok(Some((card, format))) => {
            return Ok(Found {
                card,
                format,
                checkpoints,
            });
        }
        Ok(None) => {}
        // A place in the hub's cache that is not there yet, or not here, has the model's name in it.
        Err(_) if of_hub_cache(name) != name && !Path::new(name).exists() => {}
        Err(reason) => return Err(reason),
    }
    let card = in_catalogue(snapshot, name)?;
    let format = match named(name) {
        Named::Format(format) => Some(format),
        Named::Nothing => native_format(&card),
        Named::Unknown(word) => {
            return Err(format!(
                "unknown weight format: the name says {}",
                shorten(&word)
            ));
        }
    };
    Ok(Found {
        card,
        format,
        checkpoints,
    })
}

/// The catalogue's card of a name, or which two it could be.
fn in_catalogue(snapshot: &Snapshot, name: &str) -> Result<ModelCard, String> {
    let catalogue = &snapshot.body.catalogue;
    match catalogue.look_up(name) {
        Lookup::Found(card) => Ok(Catalogue::as_named(card, name)),
        Lookup::Several(cards) => {
            let two: Vec<&str> = cards.iter().take(2).map(|c| c.name.as_str()).collect();
            let more = match cards.len().saturating_sub(2) {
                0 => String::new(),
                n => format!(", or one of {n} others"),
            };
            Err(format!("the name could be {}{more}", two.join(" or ")))
        }
        Lookup::Unknown => Err(match catalogue.nearest_name(name) {
            Some(near) => format!("unknown model; the nearest name is {near}"),
            None => "unknown model".into(),
        }),
    }
}

/// The format of a model that was published in no 16-bit one (DeepSeek-V3 in fp8, gpt-oss in mxfp4).
pub fn native_format(card: &ModelCard) -> Option<Precision> {
    let formats: Vec<Precision> = card
        .checkpoints
        .iter()
        .filter_map(|c| Precision::parse(c))
        .collect();
    formats
        .first()
        .copied()
        .filter(|_| !formats.contains(&Precision::Bf16))
}

/// The system's words without the number that Rust puts behind them.
pub fn without_number(text: &str) -> String {
    let mut rest = text;
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once(" (os error ") {
        let digits = after.trim_start_matches(|c: char| c.is_ascii_digit());
        out.push_str(before);
        rest = digits.strip_prefix(')').unwrap_or(digits);
    }
    out + rest
}

/// A card from a directory with `config.json`, or from such a file. A bare name is a path only
/// where it looks like one: a directory of that name must not hide the catalogue.
///
/// # Errors
/// Why the file is none, in one line.
pub fn from_path(name: &str) -> Result<Option<(ModelCard, Option<Precision>)>, String> {
    if !(name.starts_with('/') || name.starts_with("./") || name.starts_with("../")) {
        return Ok(None);
    }
    checkpoint_files::card(Path::new(name)).map(Some)
}

fn request(snapshot: &Snapshot, options: &RawOptions, script_pins: &Pins, found: Found) -> Request {
    let pins = Pins {
        gpu: options.pins.gpu.clone().or_else(|| script_pins.gpu.clone()),
        tp: options.pins.tp.or(script_pins.tp),
        precision: options.pins.precision.or(script_pins.precision),
        layout: options.pins.layout.max(script_pins.layout),
        context: script_pins
            .context
            .or(options.pins.context)
            .map(|c| c.min(found.card.max_context)),
        limits: script_pins.limits,
    };
    Request {
        card: found.card,
        checkpoint_precision: found.format,
        checkpoints: found.checkpoints,
        load: Load {
            isl: options.isl.unwrap_or(ASSUMED_ISL),
            osl: options.osl.unwrap_or(ASSUMED_OSL),
            concurrency: options.concurrency,
            rate: options.rate,
        },
        slo: options.slo,
        pins,
        engine: snapshot.body.engine.clone(),
        starts: Some(Arc::new(snapshot.body.model.starts.clone())),
    }
}

fn answer(
    snapshot: &Snapshot,
    config: &Config,
    options: &RawOptions,
    request: &Request,
    advice: &Advice,
) -> Result<Rewrite, Refusal> {
    let mut message = words::lines(advice, request);
    if (options.isl.is_none() || options.osl.is_none())
        && let (Some(line), Verdict::Recommend(_)) = (message.get_mut(1), &advice.verdict)
    {
        line.push_str(&format!(
            ", {} input and {} output tokens assumed",
            request.load.isl, request.load.osl
        ));
    }
    let priced = advice.ranking.counted.contains(&Term::Price);
    if let (PriceSource::Public, true, Some(line)) =
        (snapshot.body.prices, priced, message.get_mut(1))
        && matches!(advice.verdict, Verdict::Recommend(_))
    {
        line.push_str(", at public prices; set your own");
    }
    if let (Some(requests), Some(best)) = (options.requests, advice.recommended()) {
        message.push(words::batch(best, requests));
    }
    match (&advice.verdict, advice.recommended()) {
        (Verdict::Recommend(_), Some(best)) => Ok(Rewrite {
            gres: format!("gpu:{}:{}", best.config.gres, best.config.gpus_per_node()),
            allocation: Allocation {
                gpu: best.config.gres.clone(),
                per_node: best.config.gpus_per_node(),
                nodes: best.config.nodes(),
            },
            environment: environment(snapshot, config, options, request, advice, best),
            comment: format!("omnipilot:{}", advice.id),
            message,
        }),
        (Verdict::Infeasible(_), _) => Err(Refusal {
            code: exit_code::INFEASIBLE,
            message,
        }),
        _ => Err(Refusal {
            code: exit_code::OUT_OF_SUPPORT,
            message,
        }),
    }
}

fn environment(
    snapshot: &Snapshot,
    config: &Config,
    options: &RawOptions,
    request: &Request,
    advice: &Advice,
    best: &Assessed,
) -> Vec<(&'static str, String)> {
    let c = &best.config;
    let choice = Choice::of(c);
    let args =
        EngineKind::parse(&snapshot.body.engine).map_or_else(String::new, |kind| choice.line(kind));
    let mut out = vec![
        (env::TP, c.tp.to_string()),
        (env::PRECISION, c.precision.name().to_owned()),
        (env::GPU, c.gres.clone()),
        (env::ADVICE, advice.id.clone()),
        (env::ENGINE_ARGS, args),
        (env::MODEL, options.model.clone().unwrap_or_default()),
        (env::ISL, request.load.isl.to_string()),
        (env::OSL, request.load.osl.to_string()),
        (env::SPOOL, config.spool.display().to_string()),
    ];
    if let Some(concurrency) = request.load.concurrency {
        out.push((env::CONCURRENCY, concurrency.to_string()));
    }
    out
}

/// The refusal of a model that cannot be looked up.
fn unknown_model(snapshot: &Snapshot, name: &str, reason: String) -> Consulted {
    let shown = shorten(name);
    let message = vec![
        format!("no advice for {shown}: the model is not known"),
        reason,
        "hint: `omnipilot models cards` lists the names; a directory with `config.json` will do"
            .into(),
    ];
    let card = ModelCard {
        name: name.into(),
        ..ModelCard::default()
    };
    let load = Load {
        isl: ASSUMED_ISL,
        osl: ASSUMED_OSL,
        concurrency: None,
        rate: None,
    };
    let request = Request {
        card,
        checkpoint_precision: None,
        checkpoints: Vec::new(),
        load,
        slo: crate::advisor::Slo::default(),
        pins: Pins::default(),
        engine: snapshot.body.engine.clone(),
        starts: None,
    };
    let advice = Advice {
        id: String::new(),
        snapshot_id: snapshot.id.clone(),
        model: name.into(),
        verdict: Verdict::Abstain(vec![crate::advisor::AxisOut {
            axis: "family".into(),
            asked: shown,
            measured: format!("{} models by name", snapshot.body.catalogue.cards().len()),
            gap: 3.0,
        }]),
        candidates: Vec::new(),
        evidence: snapshot.body.model.evidence,
        nearest_run: None,
        ranking: crate::advisor::Ranking::default(),
    };
    Consulted {
        request,
        advice,
        answer: Err(Refusal {
            code: exit_code::OUT_OF_SUPPORT,
            message,
        }),
    }
}
