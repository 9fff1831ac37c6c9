//! `omnipilot import`: measured runs from files into the store.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use model_store::advisor::Origin;
use model_store::store::runs_csv::{self, Defaults, RowError, RunRows};
use model_store::store::{ImportedFile, InsertReport, Store};

use crate::site::SiteArgs;
use crate::{exit, input};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Form of the files
    #[arg(long, value_enum)]
    format: Format,
    /// Where the runs were measured; a row that says `published` itself stays published
    #[arg(long, value_enum, default_value = "other-cluster")]
    origin: OriginArg,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Files to import; one that was imported before adds nothing
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// One run a line, columns by name
    RunsCsv,
}

#[derive(Clone, Copy, ValueEnum)]
enum OriginArg {
    ThisCluster,
    OtherCluster,
    Published,
}

impl From<OriginArg> for Origin {
    fn from(origin: OriginArg) -> Self {
        match origin {
            OriginArg::ThisCluster => Self::ThisCluster,
            OriginArg::OtherCluster => Self::OtherCluster,
            OriginArg::Published => Self::Published,
        }
    }
}

/// Rows of one file that were not taken, by reason.
#[derive(Default)]
struct Skipped {
    rows: u64,
    reasons: BTreeMap<String, (u64, RowError)>,
    fatal: Option<RowError>,
}

impl Skipped {
    fn count(&mut self, error: RowError) {
        if error.last {
            self.fatal = Some(error);
            return;
        }
        self.rows += 1;
        self.reasons
            .entry(error.reason.clone())
            .or_insert((0, error))
            .0 += 1;
    }
}

/// What became of one file.
struct Report {
    file: String,
    rows: InsertReport,
    skipped: Skipped,
    unknown_columns: Vec<String>,
}

/// Imports every file that can be read; fails at the end if one could not.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let path = site.config()?.store;
    let origin = args.origin.into();
    // Nothing to import makes no store.
    let mut store = if path.exists() || args.files.iter().any(|file| open(file, origin).is_ok()) {
        make_parent(&path)?;
        Some(Store::create(&path).map_err(exit::store)?)
    } else {
        None
    };
    let mut failed = 0usize;
    for file in &args.files {
        match import(store.as_mut(), file, origin) {
            Ok(report) => print(&report, args.json)?,
            Err(error) => {
                failed += 1;
                exit::tell(&error);
            }
        }
    }
    if failed > 0 {
        let all = args.files.len();
        return Err(exit::fail(
            format!("{failed} of {all} files were not imported"),
            "",
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the folder of a file that is to be made.
pub(crate) fn make_parent(file: &Path) -> anyhow::Result<()> {
    let Some(dir) = file.parent().filter(|d| !d.as_os_str().is_empty()) else {
        return Ok(());
    };
    make_folders(dir).map_err(|e| {
        exit::fail(
            format!("cannot make {}: {e}", dir.display()),
            "run it as a user who may",
        )
    })
}

/// Makes a folder and those above it. Those that are new can be entered by every user, whatever
/// the umask: jobs read the snapshot and write to the spool below them.
pub(crate) fn make_folders(dir: &Path) -> std::io::Result<()> {
    let new: Vec<&Path> = dir
        .ancestors()
        .take_while(|d| !d.as_os_str().is_empty() && !d.exists())
        .collect();
    std::fs::create_dir_all(dir)?;
    new.into_iter()
        .try_for_each(|d| std::fs::set_permissions(d, std::fs::Permissions::from_mode(0o755)))
}

fn import(store: Option<&mut Store>, path: &Path, origin: Origin) -> anyhow::Result<Report> {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    let rows = open(path, origin)?;
    let store = store.ok_or_else(|| {
        exit::fail(
            format!("{} has changed meanwhile", path.display()),
            "run it again",
        )
    })?;
    let unknown_columns = rows.unknown_columns().map(str::to_owned).collect();
    let mut skipped = Skipped::default();
    let taken = rows.filter_map(|row| row.map_err(|e| skipped.count(e)).ok());
    let rows = store.insert_runs(taken).map_err(exit::store)?;
    if let Some(error) = skipped.fatal {
        let reason = format!(
            "{}: {error}; the {} runs before it were taken",
            path.display(),
            rows.new + rows.known
        );
        return Err(exit::fail(reason, ""));
    }
    let record = ImportedFile {
        file: name.clone(),
        format: "runs-csv".into(),
        origin,
        skipped: skipped.rows,
        hash: [0; 32],
        tool: String::new(),
    };
    store.record_import(&record, rows).map_err(exit::store)?;
    Ok(Report {
        file: name,
        rows,
        skipped,
        unknown_columns,
    })
}

fn open(path: &Path, origin: Origin) -> anyhow::Result<RunRows<impl Read + use<>>> {
    let file = input::open_lines(path)
        .map_err(|e| exit::fail(format!("cannot read {}: {e}", path.display()), ""))?;
    let source = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    runs_csv::read_runs(file, Defaults { origin, source }).map_err(|e| {
        exit::fail(
            format!("{}: {e}", path.display()),
            "`runs-csv` needs a first line with at least `model`, `gpu`, `tp`, `precision` and `workload`",
        )
    })
}

fn print(report: &Report, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        return Ok(writeln!(out, "{}", as_json(report))?);
    }
    let Report {
        file,
        rows,
        skipped,
        unknown_columns,
    } = report;
    writeln!(
        out,
        "{file}: {} rows taken, {} already known, {} skipped",
        rows.new, rows.known, skipped.rows
    )?;
    for (rows, first) in skipped.reasons.values() {
        writeln!(
            out,
            "  {rows} skipped: {}, first at line {}{}",
            first.reason,
            first.line,
            shown(&first.value)
        )?;
    }
    if !unknown_columns.is_empty() {
        let (count, names) = (
            unknown_columns.len(),
            unknown_columns.join("`, `").escape_debug().to_string(),
        );
        writeln!(
            out,
            "  {count} columns not known, kept in the notes: `{names}`"
        )?;
    }
    Ok(())
}

fn shown(value: &str) -> String {
    if value.is_empty() {
        String::new()
    } else {
        format!(": `{}`", value.escape_debug())
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let skipped = report.skipped.reasons.values().map(|(rows, first)| {
        serde_json::json!({
            "reason": first.reason, "rows": rows, "first_line": first.line, "first_value": first.value,
        })
    });
    serde_json::json!({
        "file": report.file,
        "taken": report.rows.new,
        "known": report.rows.known,
        "skipped": report.skipped.rows,
        "reasons": skipped.collect::<Vec<_>>(),
        "unknown_columns": report.unknown_columns,
    })
}
