//! `omnipilot predict`: the eight targets for cases from a CSV file.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use model_store::advisor::feasible::infeasible;
use model_store::advisor::memory::{Room, room};
use model_store::advisor::model::Model;
use model_store::advisor::physics::physics;
use model_store::advisor::words::count_of;
use model_store::advisor::{Catalogue, Limits, Prediction, Setup, Target};
use model_store::consult::native_format;
use model_store::snapshot::Snapshot;
use model_store::store::runs_csv::{CaseRow, RowError, read_cases};

use crate::draft::Draft;
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::{exit, input};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Cases: the columns of runs-csv; columns that hold outcomes are never read
    #[arg(long, value_name = "CASES.csv")]
    input: PathBuf,
    /// Predictions, one line a case
    #[arg(long, value_name = "PRED.csv")]
    output: PathBuf,
    /// Every case is one of this cluster, whatever source it names
    #[arg(long)]
    here: bool,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// One line of the output.
struct Line {
    run_id: String,
    predictions: Vec<Option<Prediction>>,
    axes: Vec<String>,
    nearest: String,
    /// What memory has room for, and the rule that forbids the case.
    room: Option<Room>,
    forbidden: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let config = site.config()?;
    let snapshot = Snapshot::read(&config.snapshot)
        .map_err(|e| exit::fail(e.to_string(), "`omnipilot train` publishes one"))?;
    let input = input::open_lines(&args.input).map_err(|e| {
        exit::with_code(
            exit::USAGE,
            format!("cannot read {}: {e}", args.input.display()),
            "`--input` takes a file with the columns of `--format runs-csv`",
        )
    })?;
    let cases = read_cases(input).map_err(|e| {
        exit::with_code(
            exit::USAGE,
            format!("{}: {e}", args.input.display()),
            "the columns are those of `--format runs-csv`",
        )
    })?;
    let mut counts = [0u32; 3];
    let draft = Draft::beside(&args.output).map_err(|e| exit::cannot_write(&args.output, &e))?;
    let mut out = csv::Writer::from_writer(BufWriter::new(draft));
    out.write_record(header())?;
    let progress = Progress::start("predicting");
    for (done, case) in cases.enumerate() {
        // Often enough to be seen to go on, and seldom enough to cost nothing.
        if done % 256 == 255 {
            progress.say(format!("predicting: {}", count_of(done + 1, "case")));
        }
        if let Err(error) = &case
            && error.last
        {
            return Err(exit::with_code(
                exit::USAGE,
                format!("{}: {error}", args.input.display()),
                "no prediction was written",
            ));
        }
        let line = predict(
            &snapshot.body.model,
            &snapshot.body.catalogue,
            case,
            args.here,
        );
        counts[if line.axes.is_empty() { 0 } else { 1 }] += 1;
        counts[2] += u32::from(line.axes.iter().any(|a| a == "unreadable"));
        out.write_record(fields(&line))?;
    }
    let mut file = out.into_inner().map_err(|e| e.into_error())?;
    file.flush()?;
    let draft = file
        .into_inner()
        .map_err(std::io::IntoInnerError::into_error)?;
    draft
        .finish(&args.output, 0o644)
        .map_err(|e| exit::cannot_write(&args.output, &e))?;
    drop(progress);
    if args.json {
        let object = serde_json::json!({
            "cases": counts[0] + counts[1], "in_support": counts[0], "out_of_support": counts[1],
            "unreadable": counts[2], "output": args.output.display().to_string(),
        });
        crate::json::print("predict", object)?;
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "{}: {} in support, {} out of it, {} of them unreadable",
        count_of(counts[0] + counts[1], "case"),
        counts[0],
        counts[1],
        counts[2]
    );
    Ok(ExitCode::SUCCESS)
}

/// Columns of what memory has room for: tokens of the KV cache, the longest context, the chance that
/// memory lets it start, and the rule that forbids it.
const ROOM: [&str; 7] = [
    "kv_tokens_lo",
    "kv_tokens_q50",
    "kv_tokens_hi",
    "longest_context_lo",
    "longest_context_q50",
    "memory_starts",
    "forbidden",
];

fn header() -> Vec<String> {
    let mut out = vec!["run_id".to_owned()];
    for target in Target::ALL {
        out.extend(["q10", "q50", "q90", "lo", "hi"].map(|end| format!("{}_{end}", target.name())));
    }
    out.extend(["support", "axes", "nearest_run"].map(str::to_owned));
    out.extend(ROOM.map(str::to_owned));
    out
}

fn predict(
    model: &Model,
    catalogue: &Catalogue,
    case: Result<CaseRow, RowError>,
    here: bool,
) -> Line {
    let blank = |run_id: String, axis: &str| Line {
        run_id,
        predictions: vec![None; Target::ALL.len()],
        axes: vec![axis.to_owned()],
        nearest: String::new(),
        room: None,
        forbidden: None,
    };
    let row = match case {
        Ok(row) => row,
        Err(error) => return blank(error.run_id, "unreadable"),
    };
    let source = if here { "" } else { row.source.as_str() };
    let mut setup = match Setup::of_case(&row.case, source, catalogue) {
        Ok(setup) => setup,
        Err(axis) => return blank(row.run_id, axis),
    };
    setup.limits = Limits::in_notes(&row.notes);
    setup.starts = Some(&model.starts);
    if let (true, Some(native)) = (setup.assumed[2], native_format(setup.card)) {
        setup.precision = native;
    }
    let p = physics(&setup);
    let mut axes: Vec<String> = model
        .axes_out(&setup, &p)
        .into_iter()
        .map(|a| a.axis)
        .collect();
    axes.dedup();
    let nearest = model
        .envelope
        .nearest(&setup, &p)
        .map(|l| model.envelope.landmarks.run_id(&l).to_owned())
        .unwrap_or_default();
    Line {
        predictions: model.predict(&setup, model.step_to(source)),
        run_id: row.run_id,
        axes,
        nearest,
        room: Some(room(&setup)),
        forbidden: infeasible(&setup, false),
    }
}

fn fields(line: &Line) -> Vec<String> {
    let mut out = vec![line.run_id.clone()];
    for prediction in &line.predictions {
        match prediction {
            Some(p) => out.extend([p.q10, p.q50, p.q90, p.lo, p.hi].map(number)),
            None => out.extend(std::iter::repeat_n(String::new(), 5)),
        }
    }
    out.push(if line.axes.is_empty() { "in" } else { "out" }.to_owned());
    out.push(line.axes.join(" "));
    out.push(line.nearest.clone());
    match line.room {
        Some(room) => {
            out.extend(room.kv_tokens.into_iter().chain(room.longest).map(number));
            out.push(number(room.starts));
        }
        None => out.extend(std::iter::repeat_n(String::new(), 6)),
    }
    out.push(line.forbidden.clone().unwrap_or_default());
    out
}

/// Six significant digits.
fn number(x: f64) -> String {
    let text = format!("{x:.5e}");
    text.parse::<f64>()
        .map_or(text, |rounded| rounded.to_string())
}
