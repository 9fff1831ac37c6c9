//! `omnipilot import`: measured runs from files into the store.

mod tell;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use model_store::advisor::words::count_of;
use model_store::advisor::{Origin, Precision, Variant};
use model_store::store::import::{self, Form, Stated};
use model_store::store::runs_csv::{self, Defaults, RowError, RunRows};
use model_store::store::{ImportedFile, InsertReport, Store};
use sha2::{Digest, Sha256};

use crate::folders::make_parent;
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::tables::Encoding;
use crate::{exit, input};

/// Largest result file of a benchmark client that is read, bytes.
const LARGEST: u64 = 64 << 20;
/// Largest part of an engine's log that is read, bytes.
const LARGEST_LOG: u64 = 16 << 20;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Form of the files [default: told from each file]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Where the runs were measured; a row that says `published` itself stays published
    #[arg(long, value_enum, default_value = "other-cluster")]
    origin: OriginArg,
    /// Laboratory or cluster [default: the file's name for a table of runs, else the form's name]
    #[arg(long)]
    source: Option<String>,
    /// Model that was served, where the file names it otherwise or not at all
    #[arg(long)]
    model: Option<String>,
    /// GPU, where the file names none: as the catalogue names it, or as Slurm does
    #[arg(long)]
    gpu: Option<String>,
    /// Tensor-parallel degree of one engine, where the file tells none
    #[arg(long)]
    tp: Option<u32>,
    /// Pipeline stages of one engine, where the file tells none
    #[arg(long)]
    pp: Option<u32>,
    /// Engines behind the address, where the file does not tell: replicas and data-parallel ranks with GPUs of their own
    #[arg(long)]
    dp: Option<u32>,
    /// Weight format, where the file tells none
    #[arg(long, value_parser = precision)]
    precision: Option<Precision>,
    /// Engine, where the file tells none
    #[arg(long)]
    engine: Option<String>,
    /// Version of the engine, where the file tells none
    #[arg(long)]
    engine_version: Option<String>,
    /// Mean input tokens of a request, where the file does not tell
    #[arg(long, value_parser = positive)]
    isl: Option<f64>,
    /// Mean output tokens of a request, where the file does not tell
    #[arg(long, value_parser = positive)]
    osl: Option<f64>,
    /// Requests in flight, where the file tells no load; of a latency benchmark its batch
    #[arg(long, value_parser = positive)]
    concurrency: Option<f64>,
    /// Requests/s that came, where the file tells no load
    #[arg(long, value_parser = positive)]
    request_rate: Option<f64>,
    /// What the file does not mark: `disaggregated`, `speculative`, `prefix-cached`, `multi-turn`, `power-capped`; several with commas
    #[arg(long, value_parser = variant, value_name = "MARKS")]
    variant: Option<Variant>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Files to import, or folders of vec-inf jobs; one that was imported before adds nothing
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// A number above 0.
fn positive(text: &str) -> Result<f64, String> {
    let number = text.trim().parse().ok().filter(|x: &f64| *x > 0.0);
    number.ok_or_else(|| "a number above 0 is wanted".to_owned())
}

/// Marks of another deployment, as the column `variant` of a table of runs has them.
fn variant(text: &str) -> Result<Variant, String> {
    runs_csv::variant(&text.replace(',', " "))
        .ok_or_else(|| format!("known are {}", runs_csv::MARKS.join(", ")))
}

fn precision(text: &str) -> Result<Precision, String> {
    Precision::parse(text).ok_or_else(|| {
        let known = Precision::ALL.map(Precision::name).join(", ");
        format!("known are {known}")
    })
}

/// Form of a file: a table of runs, or what a client writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Table(Encoding),
    Results(Form),
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Format>> = LazyLock::new(|| {
            let tables = [Encoding::Csv, Encoding::Jsonl, Encoding::Parquet].map(Format::Table);
            tables
                .into_iter()
                .chain(Form::ALL.map(Format::Results))
                .collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self {
            Self::Table(Encoding::Csv) => {
                PossibleValue::new("runs-csv").help("One run a line, columns by name")
            }
            Self::Table(Encoding::Jsonl) => PossibleValue::new("runs-jsonl")
                .help("One JSON object a line, with the names of those columns"),
            Self::Table(Encoding::Parquet) => {
                PossibleValue::new("runs-parquet").help("Parquet with those columns")
            }
            Self::Results(form) => PossibleValue::new(form.name()).help(form.writes()),
        })
    }
}

impl Format {
    const fn form(self) -> Option<Form> {
        match self {
            Self::Table(_) => None,
            Self::Results(form) => Some(form),
        }
    }

    /// The encoding of a table of runs; `None` for the result file of a client.
    const fn table(self) -> Option<Encoding> {
        match self {
            Self::Table(encoding) => Some(encoding),
            Self::Results(_) => None,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum OriginArg {
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
    format: &'static str,
    rows: InsertReport,
    skipped: Skipped,
    unknown_columns: Vec<String>,
}

/// Imports every file that can be read; fails at the end if one could not.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let path = site.config()?.store;
    let files = in_folders(&args.files, args.format);
    // Nothing to import makes no store.
    let mut store = if path.exists() || files.iter().any(|file| open(file, args).is_ok()) {
        make_parent(&path)?;
        Some(Store::create(&path).map_err(exit::store)?)
    } else {
        None
    };
    let mut failed = 0usize;
    for file in &files {
        let progress = Progress::start(&format!("importing {}", file.display()));
        let imported = import(store.as_mut(), file, args);
        drop(progress);
        match imported {
            Ok(report) => tell::print(&report, args.json)?,
            Err(error) => {
                failed += 1;
                exit::tell(&error);
            }
        }
    }
    if failed > 0 {
        let all = files.len();
        if all == 1 {
            return Ok(ExitCode::from(exit::FAILED)); // the reason was told
        }
        return Err(exit::fail(
            format!("{failed} of {all} files were not imported"),
            "the lines above say why; what the other files hold was taken",
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The files, with the JSON files of a folder in its place: vec-inf keeps each job in one.
fn in_folders(given: &[PathBuf], format: Option<Format>) -> Vec<PathBuf> {
    let may_be = format.is_none_or(|f| f == Format::Results(Form::VecInf));
    let mut out = Vec::new();
    for path in given {
        let inside = match std::fs::read_dir(path) {
            Ok(entries) if may_be => entries,
            _ => {
                out.push(path.clone());
                continue;
            }
        };
        let mut files: Vec<PathBuf> = inside
            .filter_map(|e| Some(e.ok()?.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "json"))
            .collect();
        files.sort();
        if files.is_empty() {
            files.push(path.clone());
        }
        out.extend(files);
    }
    out
}

fn import(store: Option<&mut Store>, path: &Path, args: &Args) -> anyhow::Result<Report> {
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned();
    let opened = open(path, args)?;
    let store = store.ok_or_else(|| {
        exit::fail(
            format!("{} has changed meanwhile", path.display()),
            "run it again",
        )
    })?;
    let (report, tool, hash) = match opened {
        Opened::Rows(rows) => {
            let hash = content_of(path)?;
            let report = import_rows(store, path, name, *rows, &hash)?;
            (report, String::new(), hash)
        }
        Opened::Results { hash, text } => {
            let (report, tool) = import_results(store, path, name, &text, args, &hash)?;
            (report, tool, hash)
        }
    };
    let record = ImportedFile {
        file: report.file.clone(),
        format: report.format.into(),
        origin: args.origin.into(),
        skipped: report.skipped.rows,
        hash,
        tool,
    };
    store
        .record_import(&record, report.rows)
        .map_err(exit::store)?;
    Ok(report)
}

fn import_rows(
    store: &mut Store,
    path: &Path,
    file: String,
    rows: RunRows<Box<dyn Read>>,
    hash: &[u8; 32],
) -> anyhow::Result<Report> {
    let unknown_columns = rows.unknown_columns().map(str::to_owned).collect();
    let mut skipped = Skipped::default();
    let taken = rows.filter_map(|row| row.map_err(|e| skipped.count(e)).ok());
    let rows = match known(store, hash)? {
        Some(_) => InsertReport {
            new: 0,
            known: taken.count() as u64,
        },
        None => store.insert_runs(taken).map_err(exit::store)?,
    };
    if let Some(error) = skipped.fatal {
        let reason = format!(
            "{}: {error}; taken before it: {}",
            path.display(),
            count_of(rows.new + rows.known, "run")
        );
        return Err(exit::fail(
            reason,
            "once the line is put right, import it again: runs count once",
        ));
    }
    Ok(Report {
        file,
        format: "runs-csv",
        rows,
        skipped,
        unknown_columns,
    })
}

/// Runs that this content gave before, under whatever name and whatever was stated of it then.
fn known(store: &Store, hash: &[u8; 32]) -> anyhow::Result<Option<u64>> {
    let before = store.imported(hash).map_err(exit::store)?;
    Ok(before.filter(|runs| *runs > 0))
}

/// What a benchmark client has written.
fn import_results(
    store: &mut Store,
    path: &Path,
    file: String,
    text: &str,
    args: &Args,
    hash: &[u8; 32],
) -> anyhow::Result<(Report, String)> {
    let wrong =
        |reason: String, hint: &str| exit::fail(format!("{}: {reason}", path.display()), hint);
    let form = args.format.and_then(Format::form);
    let source = args.source.clone();
    let source = source.unwrap_or_else(|| form.map_or("benchmarks", Form::name).to_owned());
    let stated = Stated {
        model: args.model.clone(),
        gpu: args.gpu.clone(),
        tp: args.tp,
        pp: args.pp,
        dp: args.dp,
        precision: args.precision,
        engine: args.engine.clone(),
        engine_version: args.engine_version.clone(),
        isl: args.isl,
        osl: args.osl,
        concurrency: args.concurrency,
        request_rate: args.request_rate,
        variant: args.variant.unwrap_or_default(),
        ..Stated::of(args.origin.into(), source)
    };
    let log = log_beside(path);
    let imported = import::read(text, form, &stated, log.as_deref()).map_err(|e| {
        wrong(
            e.to_string(),
            "`--format` names its form; `omnipilot import --help` lists those that are read",
        )
    })?;
    let mut skipped = Skipped::default();
    for (at, reason) in &imported.skipped {
        skipped.count(RowError {
            line: *at as u64,
            run_id: String::new(),
            reason: reason.clone(),
            value: String::new(),
            last: false,
        });
    }
    let rows = match known(store, hash)? {
        // What was skipped then for want of an option may be told now.
        Some(known) if (imported.runs.len() as u64) > known => {
            let mut more = Vec::new();
            for run in imported.runs {
                if !store.has_run(&run.run_id).map_err(exit::store)? {
                    more.push(run);
                }
            }
            let rows = store.insert_runs(more.into_iter()).map_err(exit::store)?;
            InsertReport {
                new: rows.new,
                known: known + rows.known,
            }
        }
        Some(known) => InsertReport { new: 0, known },
        None => store
            .insert_runs(imported.runs.into_iter())
            .map_err(exit::store)?,
    };
    if rows.new + rows.known == 0 {
        let reason = imported.skipped.first().map_or_else(
            || "it holds no run".to_owned(),
            |(_, reason)| reason.clone(),
        );
        return Err(wrong(reason, ""));
    }
    let report = Report {
        file,
        format: imported.form.name(),
        rows,
        skipped,
        unknown_columns: Vec::new(),
    };
    Ok((report, imported.tool))
}

/// The log of a vec-inf job beside its JSON file: its end, where it is long.
fn log_beside(path: &Path) -> Option<String> {
    let mut all = String::new();
    for extension in ["err", "out"] {
        if let Ok(file) = input::open_regular(&path.with_extension(extension)) {
            let mut bytes = Vec::new();
            file.take(LARGEST_LOG).read_to_end(&mut bytes).ok()?;
            all.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
    (!all.is_empty()).then_some(all)
}

/// A file that can be imported.
enum Opened {
    /// A table of runs, read row by row.
    Rows(Box<RunRows<Box<dyn Read>>>),
    /// What a benchmark client wrote.
    Results { hash: [u8; 32], text: String },
}

/// The encoding of a table of runs by how the file begins; `None` for what a client wrote.
fn told(path: &Path) -> std::io::Result<Option<Encoding>> {
    let mut head = Vec::new();
    input::open_regular(path)?
        .take(1 << 20)
        .read_to_end(&mut head)?;
    if let Some(encoding) = Encoding::of(&head) {
        return Ok(Some(encoding));
    }
    let first = head.iter().find(|b| !b.is_ascii_whitespace());
    let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
    let is_text = import::is_client_text(&String::from_utf8_lossy(&head));
    let is_report = is_yaml || is_text || matches!(first, Some(b'{' | b'['));
    Ok((!is_report).then_some(Encoding::Csv))
}

/// Opens a file and finds out what it is.
fn open(path: &Path, args: &Args) -> anyhow::Result<Opened> {
    let cannot = |e: std::io::Error| {
        let reason = format!("cannot read {}: {e}", path.display());
        let hint = match e.kind() {
            std::io::ErrorKind::InvalidData => {
                "`--format` names its form; `omnipilot import --help` lists those that are read"
            }
            _ => "a regular file that you may read is wanted",
        };
        exit::fail(reason, hint)
    };
    let table = match args.format {
        Some(format) => format.table(),
        None => told(path).map_err(cannot)?,
    };
    let Some(encoding) = table else {
        let bytes = model_store::snapshot::read_regular(path, LARGEST).map_err(cannot)?;
        return Ok(Opened::Results {
            hash: Sha256::digest(&bytes).into(),
            text: String::from_utf8_lossy(&bytes).into_owned(),
        });
    };
    let file = encoding.as_csv(path).map_err(cannot)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let source = args.source.clone().unwrap_or_else(|| stem.into_owned());
    let defaults = Defaults {
        origin: args.origin.into(),
        source,
    };
    let rows = runs_csv::read_runs(file, defaults).map_err(|e| {
        exit::fail(
            format!("{}: {e}", path.display()),
            "a table of runs has the columns `model`, `gpu`, `tp`, `precision` and `workload` at least",
        )
    })?;
    Ok(Opened::Rows(Box::new(rows)))
}

/// SHA-256 of a file, however large.
fn content_of(path: &Path) -> anyhow::Result<[u8; 32]> {
    let cannot = |e: std::io::Error| {
        let reason = format!("cannot read {}: {e}", path.display());
        exit::fail(reason, "a regular file that you may read is wanted")
    };
    let mut file = input::open_regular(path).map_err(cannot)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(cannot)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}
