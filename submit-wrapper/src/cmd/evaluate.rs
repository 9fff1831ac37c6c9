//! `omnipilot evaluate`: how far predictions and decisions can be trusted, by holding runs out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model_store::advisor::words::count_of;
use model_store::advisor::{Catalogue, Origin, Run};
use model_store::store::Store;
use model_store::store::runs_csv::{Defaults, read_runs};
use model_store::train::evaluate::{
    Decisions, Evaluation, Figure, LeftOut, Plan, Protocol, TargetScore, evaluate,
};

use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::{exit, input, json, publish};

mod places;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measured runs from files instead of the store (rows of runs-csv)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    /// Only these: cells, rows, source, family, gpu, leakage, learners, new-site [default: all]
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',', value_parser = protocol)]
    only: Vec<Protocol>,
    /// Assignments of cells to folds
    #[arg(long, value_name = "N", default_value_t = 1)]
    fold_seeds: u64,
    /// Draws of unseen rows
    #[arg(long, value_name = "N", default_value_t = 2)]
    row_draws: u64,
    /// Draws of a new site's own runs
    #[arg(long, value_name = "N", default_value_t = 2)]
    site_draws: u64,
    /// Learn nothing but how far the physics is off: what training has to be ahead of
    #[arg(long)]
    physics_alone: bool,
    /// Print every figure as JSON
    #[arg(long)]
    json: bool,
}

fn protocol(text: &str) -> Result<Protocol, String> {
    Protocol::parse(text)
        .ok_or_else(|| format!("none of {}", Protocol::ALL.map(Protocol::name).join(", ")))
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let runs = if args.data.is_empty() {
        from_store(site)?
    } else {
        from_files(&args.data)?
    };
    let plan = Plan {
        protocols: args.only.clone(),
        fold_seeds: args.fold_seeds,
        row_draws: args.row_draws,
        site_draws: args.site_draws,
        physics_alone: args.physics_alone,
    };
    let progress = Progress::start("evaluating");
    let told = |split: &str| progress.say(format!("evaluating: {split}"));
    let catalogue = if args.data.is_empty() {
        publish::catalogue(&site.config()?)?
    } else {
        Catalogue::built_in()
    };
    let found = evaluate(&runs, &catalogue, &plan, &told);
    drop(progress);
    if args.json {
        json::print("evaluate", serde_json::json!({ "evaluation": found }))?;
    } else {
        print(&found)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn from_store(site: &SiteArgs) -> anyhow::Result<Vec<Run>> {
    let config = site.config()?;
    let runs = Store::open(&config.store)
        .and_then(|store| store.runs())
        .map_err(exit::store)?;
    if runs.is_empty() {
        let reason = format!("{} holds no runs", config.store.display());
        return Err(exit::fail(
            reason,
            "`omnipilot import` adds measured runs, `--data FILES` evaluates files",
        ));
    }
    Ok(runs)
}

fn from_files(files: &[PathBuf]) -> anyhow::Result<Vec<Run>> {
    let mut runs = Vec::new();
    for path in files {
        runs.extend(from_file(path)?);
    }
    Ok(runs)
}

fn from_file(path: &Path) -> anyhow::Result<Vec<Run>> {
    let wrong = |e: &dyn std::fmt::Display| {
        let reason = format!("cannot read {}: {e}", path.display());
        exit::with_code(
            exit::USAGE,
            reason,
            "`--data` takes files of `--format runs-csv`",
        )
    };
    let file = input::open_lines(path).map_err(|e| wrong(&e))?;
    let source = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let rows = read_runs(
        file,
        Defaults {
            origin: Origin::OtherCluster,
            source,
        },
    )
    .map_err(|e| wrong(&e))?;
    let (mut runs, mut skipped) = (Vec::new(), 0u32);
    for row in rows {
        match row {
            Ok(run) => runs.push(run),
            Err(_) => skipped += 1,
        }
    }
    if skipped > 0 {
        eprintln!(
            "omnipilot: {}: {} skipped; `omnipilot import` says why",
            path.display(),
            count_of(skipped, "row")
        );
    }
    Ok(runs)
}

fn print(e: &Evaluation) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}, {} of them scored; intervals are 95 % bootstrap intervals over cells",
        count_of(e.runs, "run"),
        e.scored_rows
    )?;
    if !e.targets.is_empty() {
        writeln!(
            out,
            "\n{:<14}{:<7}{:>6}  {:<22}{:<21}{:<8}{:<22}width",
            "target", "unseen", "n", "MAPE %", "median %", "log R2", "coverage % (80)"
        )?;
    }
    for t in &e.targets {
        target(&mut out, t)?;
    }
    for t in &e.targets {
        groups(&mut out, t)?;
    }
    for t in e.targets.iter().filter(|t| t.protocol == Protocol::Cells) {
        let of = |(name, n, mape, median): &(String, usize, f64, f64)| {
            format!("{name} {:.1}/{:.1} ({n})", mape * 100.0, median * 100.0)
        };
        writeln!(
            out,
            "  {} by source, mean/median %: {}",
            t.target,
            t.sources.iter().map(of).collect::<Vec<_>>().join(", ")
        )?;
    }
    if let Some(d) = &e.decisions {
        decisions(&mut out, d)?;
    }
    if let Some(f) = &e.false_abstention {
        writeln!(
            out,
            "\nfalse abstention on unseen rows of seen cells: {} % of {}",
            share(f),
            f.n
        )?;
    }
    if !e.left_out.is_empty() {
        writeln!(
            out,
            "\n{:<14}{:<8}{:>6}  {:<20}{:<20}{:<29}{:<21}answered: coverage % (n)",
            "target", "without", "n", "MAPE %", "flagged %", "of wrong flagged % (n)", "coverage %"
        )?;
    }
    for l in &e.left_out {
        left_out(&mut out, l)?;
    }
    if let Some(l) = &e.leakage {
        let chance = l
            .permuted_log_r2
            .map_or_else(|| "-".into(), |r| format!("{r:.3}"));
        writeln!(
            out,
            "\nleakage: {} copies and {} cells on both sides; log R2 after dealing the outcomes anew {chance}",
            l.copies_on_both_sides, l.cells_on_both_sides
        )?;
    }
    if !e.learners.is_empty() {
        writeln!(
            out,
            "\n{:<14}{:<18}{:>6}  {:<22}median %",
            "target", "learner alone", "n", "MAPE %"
        )?;
    }
    for l in &e.learners {
        let (mape, median) = (share(&l.mape), share(&l.median));
        writeln!(
            out,
            "{:<14}{:<18}{:>6}  {mape:<22}{median}",
            l.target, l.learner, l.mape.n
        )?;
    }
    places::print(&mut out, e)
}

fn share(f: &Figure) -> String {
    let [lo, hi] = f.interval;
    format!(
        "{:.1} [{:.1}-{:.1}]",
        f.value * 100.0,
        lo * 100.0,
        hi * 100.0
    )
}

fn known(f: Option<&Figure>) -> String {
    f.map_or_else(|| "-".into(), share)
}

fn target(out: &mut impl Write, t: &TargetScore) -> std::io::Result<()> {
    writeln!(
        out,
        "{:<14}{:<7}{:>6}  {:<22}{:<21}{:<8.4}{:<22}x {:.2}",
        t.target,
        t.protocol.name(),
        t.mape.n,
        share(&t.mape),
        share(&t.median),
        t.log_r2.value,
        known(t.coverage.as_ref()),
        t.width.map_or(f64::NAN, |w| w.value.exp()),
    )
}

fn groups(out: &mut impl Write, t: &TargetScore) -> std::io::Result<()> {
    if let Some(f) = t.mape_in_support.filter(|f| f.n < t.mape.n) {
        let (name, protocol) = (t.target, t.protocol.name());
        writeln!(
            out,
            "  {name} {protocol} in support: MAPE {} % of {}",
            share(&f),
            f.n
        )?;
    }
    let worst = t
        .groups
        .iter()
        .min_by(|a, b| a.coverage.value.total_cmp(&b.coverage.value));
    let Some(g) = worst.filter(|_| t.protocol == Protocol::Cells) else {
        return Ok(());
    };
    writeln!(
        out,
        "  {} worst of {} groups with 50 rows: {} covers {} % of {}",
        t.target,
        t.groups.len(),
        g.group,
        share(&g.coverage),
        g.coverage.n
    )
}

fn decisions(out: &mut impl Write, d: &Decisions) -> std::io::Result<()> {
    writeln!(
        out,
        "\n{} decisions (tokens per price)   {:<22}{:<22}{:<26}loss %",
        d.n, "top-1 %", "within 1 %", "regret (log)"
    )?;
    for p in &d.policies {
        let [lo, hi] = p.log_regret.interval;
        let regret = format!("{:.4} [{lo:.4}-{hi:.4}]", p.log_regret.value);
        writeln!(
            out,
            "  {:<31}{:<22}{:<22}{regret:<26}{}",
            p.policy.name(),
            share(&p.top1),
            share(&p.within_1_percent),
            share(&p.loss)
        )?;
    }
    Ok(())
}

fn left_out(out: &mut impl Write, l: &LeftOut) -> std::io::Result<()> {
    let wrong = l
        .wrong_flagged
        .map_or_else(|| "-".into(), |f| format!("{} ({})", share(&f), f.n));
    let answered = l
        .answered_coverage
        .map_or_else(|| "-".into(), |f| format!("{} ({})", share(&f), f.n));
    writeln!(
        out,
        "{:<14}{:<8}{:>6}  {:<20}{:<20}{wrong:<29}{:<21}{answered}",
        l.target,
        l.protocol.name(),
        l.mape.n,
        share(&l.mape),
        share(&l.flagged),
        known(l.coverage.as_ref())
    )
}
