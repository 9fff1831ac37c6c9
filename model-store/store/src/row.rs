//! A run as a row of the table `runs`, and back. The order of [`COLUMNS`] is the order of
//! [`bind`] and of [`read`].

use rusqlite::types::{FromSql, ToSql};
use rusqlite::{Row, Statement};

use crate::advisor::{Case, Measured, Origin, Precision, Run, RunOutcome, Variant, Workload};

/// The columns that make up a run, but for `source`, which is a reference.
pub(super) const COLUMNS: &str = "run_id, origin, source_ref, \
    model, params_b, active_params_b, gpu, gpu_mem_gb, tp, pp, dp, precision, kv_precision, isl, osl, \
    workload, concurrency, request_rate, engine, engine_version, disaggregated, speculative, power_capped, \
    prefix_cached, multi_turn, moe_tp, moe_ep, sched_steps, chunked, \
    outcome, output_tok_s, total_tok_s, req_s, ttft_ms, ttft_p50_ms, ttft_p99_ms, tpot_ms, tpot_p99_ms, \
    e2e_ms, e2e_p99_ms, kv_usage, power_w, peak_mem_gb, energy_j_per_tok, cold_start_s, notes";
/// How many they are.
pub(super) const COUNT: usize = 46;

/// A value in a column that this version does not know.
#[derive(Debug)]
pub(super) struct UnknownWord {
    pub(super) column: &'static str,
    pub(super) value: String,
}

/// Binds the columns to the parameters from `at` on.
pub(super) fn bind(statement: &mut Statement<'_>, at: usize, run: &Run) -> rusqlite::Result<()> {
    let mut slots = Slots { statement, at };
    let (c, m) = (&run.case, &run.measured);
    slots.texts(&[&run.run_id, run.origin.name(), &run.source_ref, &c.model])?;
    slots.numbers(&[c.params_b, c.active_params_b])?;
    slots.put(&c.gpu)?;
    slots.put(c.gpu_mem_gb)?;
    slots.put(c.tp)?;
    slots.put(c.pp)?;
    slots.put(c.dp)?;
    slots.put(c.precision.map(Precision::name))?;
    slots.put(c.kv_precision.map(Precision::name))?;
    slots.numbers(&[c.isl, c.osl])?;
    slots.put(c.workload.name())?;
    slots.numbers(&[c.concurrency, c.request_rate])?;
    slots.texts(&[&c.engine, &c.engine_version])?;
    slots.put(c.variant.disaggregated)?;
    slots.put(c.variant.speculative)?;
    slots.put(c.variant.power_capped)?;
    slots.put(c.variant.prefix_cached)?;
    slots.put(c.variant.multi_turn)?;
    slots.put(c.variant.moe_tp)?;
    slots.put(c.variant.moe_ep)?;
    slots.put(c.variant.sched_steps)?;
    slots.put(c.variant.chunked)?;
    slots.put(m.outcome.name())?;
    slots.numbers(&[
        m.output_tok_s,
        m.total_tok_s,
        m.req_s,
        m.ttft_ms,
        m.ttft_p50_ms,
        m.ttft_p99_ms,
    ])?;
    slots.numbers(&[
        m.tpot_ms,
        m.tpot_p99_ms,
        m.e2e_ms,
        m.e2e_p99_ms,
        m.kv_usage,
        m.power_w,
    ])?;
    slots.numbers(&[m.peak_mem_gb, m.energy_j_per_tok, m.cold_start_s])?;
    slots.put(&run.notes)
}

struct Slots<'a, 'c> {
    statement: &'a mut Statement<'c>,
    at: usize,
}

impl Slots<'_, '_> {
    fn put(&mut self, value: impl ToSql) -> rusqlite::Result<()> {
        self.statement.raw_bind_parameter(self.at, value)?;
        self.at += 1;
        Ok(())
    }

    fn texts(&mut self, values: &[&str]) -> rusqlite::Result<()> {
        values.iter().try_for_each(|v| self.put(v))
    }

    fn numbers(&mut self, values: &[Option<f64>]) -> rusqlite::Result<()> {
        values.iter().try_for_each(|v| self.put(v))
    }
}

/// Reads a row of [`COLUMNS`] followed by the name of the source.
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Result<Run, UnknownWord>> {
    let mut cells = Cells {
        row,
        at: 0,
        unknown: None,
    };
    let run_id = cells.take()?;
    let origin = cells.word("origin", Origin::parse, Origin::Published)?;
    let source_ref = cells.take()?;
    let case = read_case(&mut cells)?;
    let measured = read_measured(&mut cells)?;
    let notes = cells.take()?;
    let source = cells.take()?;
    let run = Run {
        run_id,
        origin,
        source,
        source_ref,
        case,
        measured,
        notes,
    };
    Ok(cells.unknown.map_or(Ok(run), Err))
}

fn read_case(cells: &mut Cells<'_, '_>) -> rusqlite::Result<Case> {
    Ok(Case {
        model: cells.take()?,
        params_b: cells.take()?,
        active_params_b: cells.take()?,
        gpu: cells.take()?,
        gpu_mem_gb: cells.take()?,
        tp: cells.take()?,
        pp: cells.take()?,
        dp: cells.take()?,
        precision: cells.precision("precision")?,
        kv_precision: cells.precision("kv_precision")?,
        isl: cells.take()?,
        osl: cells.take()?,
        workload: cells.word("workload", Workload::parse, Workload::Offline)?,
        concurrency: cells.take()?,
        request_rate: cells.take()?,
        engine: cells.take()?,
        engine_version: cells.take()?,
        variant: Variant {
            disaggregated: cells.take()?,
            speculative: cells.take()?,
            power_capped: cells.take()?,
            prefix_cached: cells.take()?,
            multi_turn: cells.take()?,
            moe_tp: cells.take()?,
            moe_ep: cells.take()?,
            sched_steps: cells.take()?,
            chunked: cells.take()?,
        },
    })
}

fn read_measured(cells: &mut Cells<'_, '_>) -> rusqlite::Result<Measured> {
    Ok(Measured {
        outcome: cells.word("outcome", RunOutcome::parse, RunOutcome::Ok)?,
        output_tok_s: cells.take()?,
        total_tok_s: cells.take()?,
        req_s: cells.take()?,
        ttft_ms: cells.take()?,
        ttft_p50_ms: cells.take()?,
        ttft_p99_ms: cells.take()?,
        tpot_ms: cells.take()?,
        tpot_p99_ms: cells.take()?,
        e2e_ms: cells.take()?,
        e2e_p99_ms: cells.take()?,
        kv_usage: cells.take()?,
        power_w: cells.take()?,
        peak_mem_gb: cells.take()?,
        energy_j_per_tok: cells.take()?,
        cold_start_s: cells.take()?,
    })
}

/// Takes cell after cell, and remembers the first word that is not known.
struct Cells<'a, 's> {
    row: &'a Row<'s>,
    at: usize,
    unknown: Option<UnknownWord>,
}

impl Cells<'_, '_> {
    fn take<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let value = self.row.get(self.at)?;
        self.at += 1;
        Ok(value)
    }

    fn word<T>(
        &mut self,
        column: &'static str,
        parse: impl Fn(&str) -> Option<T>,
        otherwise: T,
    ) -> rusqlite::Result<T> {
        let value: String = self.take()?;
        Ok(parse(&value).unwrap_or_else(|| {
            self.unknown.get_or_insert(UnknownWord { column, value });
            otherwise
        }))
    }

    fn precision(&mut self, column: &'static str) -> rusqlite::Result<Option<Precision>> {
        let at = self.at;
        if self.take::<Option<String>>()?.is_none() {
            return Ok(None);
        }
        self.at = at;
        self.word(column, |text| Precision::parse(text).map(Some), None)
    }
}
