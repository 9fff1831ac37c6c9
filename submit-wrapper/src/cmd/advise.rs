//! `omnipilot advise`: what would be chosen, and every candidate beside it.

mod ground;
mod screen;
mod table;

use std::io::Write;
use std::process::ExitCode;

use model_store::advisor::cold::start;
use model_store::advisor::memory::{memory, room};
use model_store::advisor::words;
use model_store::advisor::{Assessed, Fallen, Request, Setup, Target, Term, setup_of};
use model_store::consult::Consulted;
use serde_json::{Value, json};

use self::ground::Ground;
use self::screen::Screen;
use crate::ask::{AskArgs, PlaceArgs, no_model};
use crate::site::SiteArgs;
use crate::stated::{self, Stated};
use crate::wants::Wants;
use crate::{exit, json};

/// Said where no site is configured.
const PUBLIC: &str = "this rests on runs of other laboratories alone; `omnipilot setup` makes your cluster's own jobs count";

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model, as `--model` names it
    #[arg(conflicts_with = "llm-model")]
    model: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    wants: Wants,
    /// Most GPUs to choose from: a number, or TYPE:PER_NODE[xNODES] separated by commas, such as h100:8,a100:8x2; where no site
    /// is configured, the GPUs that there are
    #[allow(rustdoc::broken_intra_doc_links)] // brackets of a help text
    #[arg(long, value_name = "GPUS", visible_aliases = ["num-gpus", "max-gpus", "total-gpus", "gres"], value_parser = stated::gpus)]
    gpus: Option<Stated>,
    /// Most nodes to spread over
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    nodes: Option<u32>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Print the advice as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb. Abstaining and refusing are answers: their exit codes are the plugin's.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let mut options = args.ask.options.clone();
    if let Some(model) = &args.model {
        options
            .set("llm-model", model)
            .map_err(|e| exit::with_code(exit::USAGE, e.to_string(), e.hint.to_string()))?;
    }
    if options.model.is_none() {
        return Err(no_model());
    }
    args.wants.apply(&mut options);
    let ground = Ground::find(site, args.gpus.as_ref(), args.nodes)?;
    let advised = ground.consult(&options, &args.place.given())?;
    let consulted = advised.consulted;
    if args.json {
        json::print("advise", as_json(&consulted)?)?;
    } else {
        print(&consulted)?;
        if let Some(reason) = &advised.not_asked {
            exit::hint(&format!(
                "where your job may start was not looked at: {reason}"
            ));
        }
        if ground.public {
            exit::hint(PUBLIC);
        }
    }
    Ok(match &consulted.answer {
        Ok(_) => ExitCode::SUCCESS,
        Err(refusal) => ExitCode::from(refusal.code),
    })
}

fn as_json(c: &Consulted) -> anyhow::Result<Value> {
    let each = |a| candidate_json(&c.request, a);
    let candidates: Vec<Value> = c.advice.candidates.iter().map(each).collect();
    let (decision, gres) = match &c.answer {
        Ok(r) => ("rewrite", Some(&r.gres)),
        Err(_) => ("refuse", None),
    };
    let message = c.message();
    let environment: serde_json::Map<String, Value> = match &c.answer {
        Ok(r) => r.environment.iter(),
        Err(_) => [].iter(),
    }
    .map(|(name, value)| ((*name).to_owned(), json!(value)))
    .collect();
    Ok(json!({
        "advice": c.advice.id,
        "snapshot": c.advice.snapshot_id,
        "model": c.advice.model,
        "decision": decision,
        "gres": gres,
        "environment": environment,
        "message": message,
        "verdict": serde_json::to_value(&c.advice.verdict)?,
        "evidence": serde_json::to_value(c.advice.evidence)?,
        "nearest_run": c.advice.nearest_run,
        "request": serde_json::to_value(&c.request)?,
        "ranking": serde_json::to_value(&c.advice.ranking)?,
        "candidates": candidates,
    }))
}

pub(super) fn candidate_json(request: &Request, a: &Assessed) -> Value {
    let setup = setup_of(request, &a.config);
    let targets: serde_json::Map<String, Value> = Target::ALL
        .iter()
        .map(|t| (t.name().to_owned(), json!(a.prediction(*t))))
        .collect();
    json!({
        "gpu": a.config.gres,
        "catalogue_gpu": a.config.gpu,
        "tp": a.config.tp,
        "replicas": a.config.dp,
        "pipeline_stages": a.config.pp,
        "gpus": a.config.gpus(),
        "nodes": a.config.nodes(),
        "precision": a.config.precision.name(),
        "checkpoint": a.config.checkpoint,
        "max_num_seqs": a.config.max_num_seqs,
        "targets": targets,
        "memory": setup.as_ref().map(memory_json),
        "start": setup.as_ref().map(|s| json!(start(s))),
        "tokens_per_gpu_hour": a.tokens_per_gpu_hour,
        "tokens_per_price": a.tokens_per_price,
        "price_per_hour": a.price_per_hour,
        "utility": a.utility,
        "terms": terms_json(a),
        "fallen": a.fallen,
    })
}

/// What memory has room for, and what it is made of, GiB of one GPU.
fn memory_json(s: &Setup) -> Value {
    let (m, room) = (memory(s), room(s));
    let [lo, q50, hi] = room.kv_tokens.map(f64::round);
    json!({
        "usable_gib": m.usable,
        "weights_gib": m.weights,
        "working_gib": m.working,
        "one_request_gib": m.one_request,
        "kv_tokens": {"lo": lo, "q50": q50, "hi": hi},
        "longest_context": {"lo": room.longest[0], "q50": room.longest[1]},
        "starts": room.starts,
    })
}

/// The utility's terms by name, without their weights; `null` = not known.
fn terms_json(a: &Assessed) -> Value {
    let of = |t: &Term| (t.name().to_owned(), json!(a.terms[*t as usize]));
    Term::ALL
        .iter()
        .map(of)
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn print(c: &Consulted) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in c.message() {
        writeln!(out, "{line}")?;
    }
    if c.advice.candidates.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let screen = Screen::of_stdout();
    for line in table::lines(&c.advice.candidates, &c.request, screen) {
        writeln!(out, "{line}")?;
    }
    if c.advice.recommended().is_none() {
        return Ok(());
    }
    writeln!(out)?;
    for line in screen::wrapped(&words::ranked_by(&c.advice.ranking), screen, "    ") {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

pub(super) fn why(fallen: &Fallen) -> String {
    match fallen {
        Fallen::Infeasible(reason) => format!("infeasible: {reason}"),
        Fallen::OutOfSupport(axes) => {
            let all: Vec<String> = axes
                .iter()
                .map(|a| format!("{} {}, measured {}", a.axis, a.asked, a.measured))
                .collect();
            format!("out of support: {}", all.join("; "))
        }
        Fallen::NotKnown => "not known: too few runs or sources to calibrate".into(),
        Fallen::NotStartable(reason) => format!("could not be started: {reason}"),
        Fallen::MissesTarget(reason) => reason.clone(),
    }
}
