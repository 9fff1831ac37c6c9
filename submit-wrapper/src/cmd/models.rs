//! `omnipilot models`: what was trained, which one is published, how two compare, and back to one.

mod add;
mod cards;

use std::io::Write;
use std::process::ExitCode;

use model_store::advisor::words::count_of;
use model_store::snapshot::Snapshot;
use model_store::store::{ModelState, PublishedModel, Store};
use model_store::train::gate::{Judgement, judge};
use serde_json::{Value, json};

use super::train::select_from;
use crate::clock::utc;
use crate::json::document;
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::{exit, publish};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Print as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(clap::Subcommand)]
enum What {
    /// Every trained model, newest first
    List,
    /// Two models on today's runs in the cells that neither was fitted to
    Compare {
        /// Id of the one, or how it begins
        one: String,
        /// Id of the other; the published one where it is not given
        other: Option<String>,
    },
    /// Every model that can be named, with its size
    Cards {
        /// Only names that hold this
        part: Option<String>,
    },
    /// Add a model that the site serves to the configuration, from its config.json
    Add(add::Args),
    /// Publish an earlier model again
    Rollback {
        /// Its id, or how it begins; the one before the published one where it is not given
        id: Option<String>,
    },
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(What::Add(model)) = &args.what {
        add::add(site, model, args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = site.config()?;
    if let Some(What::Cards { part }) = &args.what {
        let mut out = std::io::stdout().lock();
        cards::list(&mut out, &config, part.as_deref(), args.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut store = Store::open(&config.store).map_err(exit::store)?;
    let published = publish::champion(&config, &mut store)?.map(|c| c.entry.id);
    let trained: Vec<PublishedModel> = store
        .models()
        .map_err(exit::store)?
        .into_iter()
        .filter(|m| metrics(m).get("republished_from").is_none())
        .collect();
    let mut out = std::io::stdout().lock();
    match args.what.as_ref().unwrap_or(&What::List) {
        What::Add(_) | What::Cards { .. } => {}
        What::List => list(&mut out, &store, &trained, published.as_deref(), args.json)?,
        What::Compare { one, other } => {
            let one = find(&trained, one)?;
            let other = match other {
                Some(other) => find(&trained, other)?,
                None => find(&trained, published.as_deref().unwrap_or("none"))?,
            };
            if one.id == other.id {
                return Err(exit::with_code(
                    exit::USAGE,
                    format!("`{}` and the model to compare it with are one", one.id),
                    "`omnipilot models` shows the others; without a second id the published one is taken",
                ));
            }
            let progress = Progress::start("comparing on today's runs");
            let judgement = compare(&config, &store, one, other)?;
            drop(progress);
            print_comparison(&mut out, one, other, &judgement, args.json)?;
        }
        What::Rollback { id } => {
            let chosen = match id {
                Some(id) => find(&trained, id)?,
                None => before(&trained, published.as_deref())?,
            };
            let snapshot = publish::bring_back(&config, &mut store, &chosen.id)?;
            print_back(&mut out, chosen, &snapshot, args.json)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn metrics(model: &PublishedModel) -> Value {
    serde_json::from_str(&model.metrics).unwrap_or_default()
}

/// The one model whose id begins so.
fn find<'a>(trained: &'a [PublishedModel], id: &str) -> anyhow::Result<&'a PublishedModel> {
    let mut fitting = trained.iter().filter(|m| m.id.starts_with(id));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(exit::with_code(
            exit::USAGE,
            format!("more than one model begins with `{}`", id.escape_debug()),
            "give more of its id; `omnipilot models` shows them",
        )),
        (None, _) => Err(exit::with_code(
            exit::USAGE,
            format!("there is no model `{}`", id.escape_debug()),
            "`omnipilot models` shows them",
        )),
    }
}

/// The latest model that was published before the one that is now.
fn before<'a>(
    trained: &'a [PublishedModel],
    published: Option<&str>,
) -> anyhow::Result<&'a PublishedModel> {
    let at = trained
        .iter()
        .position(|m| Some(m.id.as_str()) == published);
    let earlier = trained.iter().skip(at.map_or(0, |at| at + 1));
    earlier
        .filter(|m| m.state == ModelState::Published)
        .find(|m| Some(m.id.as_str()) != published)
        .ok_or_else(|| {
            exit::fail(
                "no model was published before this one",
                "`omnipilot models` shows which there are",
            )
        })
}

fn list(
    out: &mut impl Write,
    store: &Store,
    trained: &[PublishedModel],
    published: Option<&str>,
    as_json: bool,
) -> anyhow::Result<()> {
    let state = |m: &PublishedModel| match Some(m.id.as_str()) == published {
        true => "current",
        false => m.state.name(),
    };
    let kept = |m: &PublishedModel| -> anyhow::Result<bool> {
        Ok(store.model_snapshot(&m.id).map_err(exit::store)?.is_some())
    };
    if as_json {
        let mut all = Vec::new();
        for m in trained {
            all.push(json!({
                "id": m.id, "created_at": m.created_at, "runs": m.runs, "bytes": m.bytes,
                "state": state(m), "kept": kept(m)?, "metrics": metrics(m),
            }));
        }
        return Ok(writeln!(
            out,
            "{}",
            document("models", json!({ "models": all }))
        )?);
    }
    writeln!(
        out,
        "{:<13} {:<20} {:>8}  {:<10} {:<8} on held-out cells",
        "model", "trained", "runs", "state", "kept"
    )?;
    for m in trained {
        writeln!(
            out,
            "{:<13} {:<20} {:>8}  {:<10} {:<8} {}",
            m.id,
            utc(m.created_at),
            m.runs,
            state(m),
            if kept(m)? { "yes" } else { "no" },
            in_brief(&metrics(m))
        )?;
    }
    Ok(())
}

/// `tok/s 11.2 % off, 81 % in their interval`, from what the gate found then.
fn in_brief(metrics: &Value) -> String {
    let gate = &metrics["gate"];
    if let Some(reason) = gate["reasons"].get(0).and_then(Value::as_str) {
        return reason.to_owned();
    }
    let of_rate = |t: &&Value| t["target"] == "output_tok_s";
    let rate = gate["targets"]
        .as_array()
        .and_then(|all| all.iter().find(of_rate));
    let number = |key: &str| rate.and_then(|t| t[key].as_f64());
    match number("error").zip(number("coverage")) {
        Some((error, coverage)) => format!(
            "tok/s {:.1} % off, {:.0} % in their interval",
            (error.exp() - 1.0) * 100.0,
            coverage * 100.0
        ),
        None => "-".into(),
    }
}

fn compare(
    config: &model_store::config::Config,
    store: &Store,
    one: &PublishedModel,
    other: &PublishedModel,
) -> anyhow::Result<Judgement> {
    let fit = |m: &PublishedModel| {
        publish::gate_of(store, &m.id)?.ok_or_else(|| {
            exit::fail(
                format!("of model {} nothing was kept to compare", m.id),
                "models that the gate refused and old ones keep their figures alone: `omnipilot models --json`",
            )
        })
    };
    let (first, second) = (fit(one)?, fit(other)?);
    let catalogue = publish::catalogue(config)?;
    let selected = select_from(config, store, &catalogue)?.runs;
    let runs: Vec<_> = selected.into_iter().map(|s| s.run).collect();
    Ok(judge(&runs, &catalogue, &first, Some(&second), &|_| true))
}

fn print_comparison(
    out: &mut impl Write,
    one: &PublishedModel,
    other: &PublishedModel,
    judgement: &Judgement,
    as_json: bool,
) -> std::io::Result<()> {
    if as_json {
        let told = json!({ "one": one.id, "other": other.id, "judgement": judgement });
        return writeln!(out, "{}", document("models.compare", told));
    }
    writeln!(
        out,
        "{} in {} that neither was fitted to",
        count_of(judgement.runs, "run"),
        count_of(judgement.cells, "cell")
    )?;
    writeln!(
        out,
        "{:<14} {:>6} {:>14} {:>14} {:>9}",
        "target", "runs", one.id, other.id, "coverage"
    )?;
    let off = |e: f64| format!("{:.1} % off", (e.exp() - 1.0) * 100.0);
    for t in &judgement.targets {
        writeln!(
            out,
            "{:<14} {:>6} {:>14} {:>14} {:>7.0} %",
            t.target,
            t.runs,
            off(t.error),
            t.champion_error.map_or_else(|| "-".into(), off),
            t.coverage * 100.0
        )?;
    }
    for reason in &judgement.reasons {
        writeln!(out, "worse: {reason}")?;
    }
    Ok(())
}

fn print_back(
    out: &mut impl Write,
    chosen: &PublishedModel,
    snapshot: &Snapshot,
    as_json: bool,
) -> std::io::Result<()> {
    if as_json {
        let told = json!({ "model": chosen.id, "snapshot": snapshot.id });
        return writeln!(out, "{}", document("models.rollback", told));
    }
    writeln!(
        out,
        "published model {} of {} again, as {}",
        chosen.id,
        utc(chosen.created_at),
        snapshot.id
    )
}
