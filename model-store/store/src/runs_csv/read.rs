//! Rows to runs and cases.

use std::io::Read;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::cells::{Cells, Fault, note};
use super::columns::{Column, Header};
use super::flags;
use crate::advisor::hashing::hex;
use crate::advisor::{Case, Measured, Origin, Run, RunOutcome, canonical_engine};
use crate::content_hash;

/// What a row that does not say it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Nearest origin that a row may have: one that names a farther origin keeps it, so that a
    /// published figure stays one wherever it travels.
    pub origin: Origin,
    /// Source of a row without one.
    pub source: String,
}

/// Why a file is not a table of runs.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// The first line does not name the columns that are needed.
    #[error("no table of runs: its first line has no {}", listed(.0))]
    Missing(Vec<&'static str>),
    /// The first line cannot be read.
    #[error("{0}")]
    Read(#[from] csv::Error),
}

fn listed(names: &[&str]) -> String {
    names
        .iter()
        .map(|n| format!("`{n}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Why a row was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}{}", shown(.value))]
pub struct RowError {
    /// Line on which the row begins, from 1.
    pub line: u64,
    /// Name of the row; empty where it has none.
    pub run_id: String,
    /// Why, in words that are the same for every row with the same trouble.
    pub reason: String,
    /// What stands there instead; empty where there is nothing to show.
    pub value: String,
    /// The file cannot be read on: no row follows.
    pub last: bool,
}

fn shown(value: &str) -> String {
    if value.is_empty() {
        String::new()
    } else {
        format!(": `{}`", value.escape_debug())
    }
}

/// A row as a case to predict: inputs alone.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseRow {
    /// Line on which the row begins, from 1.
    pub line: u64,
    /// Name of the row; `row LINE` where it has none.
    pub run_id: String,
    /// What would be run.
    pub case: Case,
    /// Source that the row names; may be empty.
    pub source: String,
    /// What the source says beside it.
    pub notes: String,
}

/// Opens a table of runs.
///
/// # Errors
/// [`HeaderError`] where the first line is not that of such a table.
pub fn read_runs<R: Read>(reader: R, defaults: Defaults) -> Result<RunRows<R>, HeaderError> {
    Ok(RunRows {
        rows: Rows::new(reader)?,
        defaults,
    })
}

/// Opens a table of cases: the same columns, of which those that hold outcomes are never read.
///
/// # Errors
/// As [`read_runs`].
pub fn read_cases<R: Read>(reader: R) -> Result<CaseRows<R>, HeaderError> {
    Ok(CaseRows {
        rows: Rows::new(reader)?,
    })
}

/// The runs of a table, row by row.
#[derive(Debug)]
pub struct RunRows<R> {
    rows: Rows<R>,
    defaults: Defaults,
}

impl<R> RunRows<R> {
    /// Columns that are not known; their cells go into the notes.
    pub fn unknown_columns(&self) -> impl Iterator<Item = &str> {
        self.rows
            .header
            .unknown
            .iter()
            .map(|(_, name)| name.as_str())
    }
}

impl<R: Read> Iterator for RunRows<R> {
    type Item = Result<Run, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let defaults = &self.defaults;
        self.rows.next_with(|cells, _| run(cells, defaults))
    }
}

/// The cases of a table, row by row.
#[derive(Debug)]
pub struct CaseRows<R> {
    rows: Rows<R>,
}

impl<R: Read> Iterator for CaseRows<R> {
    type Item = Result<CaseRow, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next_with(|cells, line| {
            let named = cells.short(Column::RunId)?;
            let notes = cells.notes();
            Ok(CaseRow {
                line,
                run_id: if named.is_empty() {
                    format!("row {line}")
                } else {
                    named
                },
                case: case(cells, &notes)?,
                source: cells.short(Column::Source)?,
                notes,
            })
        })
    }
}

#[derive(Debug)]
struct Rows<R> {
    reader: Reader<R>,
    header: Header,
    record: ByteRecord,
    ended: bool,
}

impl<R: Read> Rows<R> {
    fn new(reader: R) -> Result<Self, HeaderError> {
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(reader);
        let names: Vec<String> = reader
            .byte_headers()?
            .iter()
            .map(|n| String::from_utf8_lossy(n).into_owned())
            .collect();
        let header = Header::new(&names).map_err(HeaderError::Missing)?;
        Ok(Self {
            reader,
            header,
            record: ByteRecord::new(),
            ended: false,
        })
    }

    fn next_with<T>(
        &mut self,
        read: impl FnOnce(&Cells<'_>, u64) -> Result<T, Fault>,
    ) -> Option<Result<T, RowError>> {
        if self.ended {
            return None;
        }
        let line = self.reader.position().line();
        match self.reader.read_byte_record(&mut self.record) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(e) => {
                self.ended = true;
                let reason = format!("cannot read on: {e}");
                return Some(Err(RowError {
                    line,
                    run_id: String::new(),
                    reason,
                    value: String::new(),
                    last: true,
                }));
            }
        }
        let line = self.record.position().map_or(line, csv::Position::line);
        let cells = Cells {
            header: &self.header,
            record: &self.record,
        };
        Some(
            check_width(&cells)
                .and_then(|()| read(&cells, line))
                .map_err(|fault| RowError {
                    line,
                    run_id: cells.text(Column::RunId).chars().take(200).collect(),
                    reason: fault.reason,
                    value: fault.value,
                    last: false,
                }),
        )
    }
}

fn check_width(cells: &Cells<'_>) -> Result<(), Fault> {
    let (has, wants) = (cells.record.len(), cells.header.width);
    if has == wants {
        return Ok(());
    }
    Err(Fault::new(
        format!("the row has another number of cells than the header's {wants}"),
        &has.to_string(),
    ))
}

fn run(cells: &Cells<'_>, defaults: &Defaults) -> Result<Run, Fault> {
    let mut notes = cells.notes();
    let case = case(cells, &notes)?;
    let mut measured = measured(cells)?;
    derive(&case, &mut measured, &mut notes);
    let source = cells.short(Column::Source)?;
    let origin = Origin::parse(&cells.text(Column::Origin));
    let mut run = Run {
        run_id: cells.short(Column::RunId)?,
        origin: origin.map_or(defaults.origin, |o| o.max(defaults.origin)),
        source: if source.is_empty() {
            defaults.source.clone()
        } else {
            source
        },
        source_ref: cells.shown(Column::SourceRef)?,
        case,
        measured,
        notes,
    };
    if run.run_id.is_empty() {
        run.run_id = hex(&content_hash(&run)[..6]);
    }
    Ok(run)
}

fn case(cells: &Cells<'_>, notes: &str) -> Result<Case, Fault> {
    let engine = cells.short(Column::Engine)?;
    let tp = cells.count(Column::Tp)?;
    if tp == Some(0) {
        return Err(Fault::new("`tp` is 0", ""));
    }
    let pp = cells.count(Column::Pp)?.unwrap_or(1).max(1);
    Ok(Case {
        model: cells.name(Column::Model)?,
        params_b: cells.number(Column::ParamsB)?,
        active_params_b: cells.number(Column::ActiveParamsB)?,
        gpu: cells.name(Column::Gpu)?,
        gpu_mem_gb: cells.number(Column::GpuMemGb)?,
        tp,
        pp,
        dp: replicas(cells, tp, pp)?,
        precision: cells.precision(Column::Precision)?,
        kv_precision: cells.precision(Column::KvPrecision)?,
        isl: cells.number(Column::Isl)?,
        osl: cells.number(Column::Osl)?,
        workload: cells.workload()?,
        concurrency: cells.number(Column::Concurrency)?,
        request_rate: cells.number_or_infinite(Column::RequestRate)?,
        engine_version: cells.short(Column::EngineVersion)?,
        variant: flags::parse(&cells.text(Column::Variant), notes, &engine),
        engine: canonical_engine(&engine),
    })
}

/// Replicas as stated; else as many as the number of GPUs leaves room for.
fn replicas(cells: &Cells<'_>, tp: Option<u32>, pp: u32) -> Result<u32, Fault> {
    let (stated, gpus) = (
        cells.count(Column::Dp)?.filter(|dp| *dp > 0),
        cells.count(Column::NumGpus)?,
    );
    let fitting = tp.zip(gpus).and_then(|(tp, gpus)| {
        let one = tp.checked_mul(pp)?;
        (gpus >= one && gpus.is_multiple_of(one)).then(|| gpus / one)
    });
    Ok(stated.or(fitting).unwrap_or(1))
}

fn measured(cells: &Cells<'_>) -> Result<Measured, Fault> {
    let outcome = cells.text(Column::Outcome);
    let known = if outcome.is_empty() {
        Some(RunOutcome::Ok)
    } else {
        RunOutcome::parse(&outcome)
    };
    Ok(Measured {
        outcome: known.ok_or_else(|| Fault::new("`outcome` is not known", &outcome))?,
        output_tok_s: cells.number(Column::OutputTokS)?,
        total_tok_s: cells.number(Column::TotalTokS)?,
        req_s: cells.number(Column::ReqS)?,
        ttft_ms: cells.number(Column::Ttft)?,
        ttft_p50_ms: cells.number(Column::TtftP50)?,
        ttft_p99_ms: cells.number(Column::TtftP99)?,
        tpot_ms: cells.number(Column::Tpot)?,
        tpot_p99_ms: cells.number(Column::TpotP99)?,
        e2e_ms: cells.number(Column::E2e)?,
        e2e_p99_ms: cells.number(Column::E2eP99)?,
        kv_usage: cells.ratio(Column::KvUsage)?,
        power_w: cells.number(Column::PowerW)?,
        peak_mem_gb: cells.number(Column::PeakMemGb)?,
        energy_j_per_tok: cells.number(Column::EnergyJPerTok)?,
        cold_start_s: cells.number(Column::ColdStartS)?,
    })
}

/// The two identities at the head of this module.
fn derive(case: &Case, measured: &mut Measured, notes: &mut String) {
    let Some(rate) = measured.output_tok_s.filter(|r| *r > 0.0) else {
        return;
    };
    if let (None, Some(osl)) = (measured.req_s, case.osl.filter(|osl| *osl >= 1.0)) {
        measured.req_s = Some(rate / osl);
        note(notes, "req_s derived");
    }
    if let (None, Some(joules)) = (measured.power_w, measured.energy_j_per_tok) {
        let watts = joules * rate;
        if watts.is_finite() {
            measured.power_w = Some(watts);
            note(notes, "power_w derived");
        }
    }
}
