//! Runs on their way into the store.

use std::collections::HashMap;

use rusqlite::{Statement, Transaction, params};

use super::{StoreError, hash, now, row};
use crate::advisor::{Measured, Run};

/// The prepared statements of one transaction.
pub(super) struct Inserter<'tx> {
    tx: &'tx Transaction<'tx>,
    insert: Statement<'tx>,
    same_figure: Statement<'tx>,
    sources: HashMap<String, i64>,
    at: i64,
}

impl<'tx> Inserter<'tx> {
    pub(super) fn new(tx: &'tx Transaction<'tx>) -> rusqlite::Result<Self> {
        let slots = vec!["?"; row::COUNT + 5].join(", ");
        let insert = format!(
            "INSERT INTO runs (hash, figure, added_at, source, job, {}) VALUES ({slots}) ON CONFLICT (hash) DO NOTHING",
            row::COLUMNS
        );
        Ok(Self {
            tx,
            insert: tx.prepare(&insert)?,
            same_figure: tx
                .prepare("SELECT 1 FROM runs WHERE figure = ? AND source <> ? LIMIT 1")?,
            sources: HashMap::new(),
            at: now(),
        })
    }

    /// Adds a run; false where the store has it.
    pub(super) fn insert(&mut self, run: &Run) -> rusqlite::Result<bool> {
        self.insert_of(run, None)
    }

    /// Adds a run that this row of `jobs` measured; false where the store has it.
    pub(super) fn insert_of(&mut self, run: &Run, job: Option<i64>) -> rusqlite::Result<bool> {
        let source = self.source(&run.source)?;
        let figure = hash::figure_hash(run);
        if let Some(figure) = &figure
            && self.same_figure.exists(params![figure, source])?
        {
            return Ok(false);
        }
        let statement = &mut self.insert;
        statement.raw_bind_parameter(1, hash::content_hash(run))?;
        statement.raw_bind_parameter(2, figure)?;
        statement.raw_bind_parameter(3, self.at)?;
        statement.raw_bind_parameter(4, source)?;
        statement.raw_bind_parameter(5, job)?;
        row::bind(statement, 6, run)?;
        Ok(statement.raw_execute()? == 1)
    }

    fn source(&mut self, name: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.sources.get(name) {
            return Ok(*id);
        }
        self.tx.execute(
            "INSERT INTO sources (name) VALUES (?) ON CONFLICT (name) DO NOTHING",
            [name],
        )?;
        let id = self
            .tx
            .query_row("SELECT id FROM sources WHERE name = ?", [name], |row| {
                row.get(0)
            })?;
        self.sources.insert(name.to_owned(), id);
        Ok(id)
    }
}

/// SQLite would turn "not a number" into "not measured" without a word.
pub(super) fn check_numbers(run: &Run) -> Result<(), StoreError> {
    let c = &run.case;
    let case = [
        c.params_b,
        c.active_params_b,
        c.gpu_mem_gb,
        c.isl,
        c.osl,
        c.concurrency,
        c.request_rate,
    ];
    let mut figures = case.into_iter().chain(numbers(&run.measured)).flatten();
    if figures.any(f64::is_nan) {
        return Err(StoreError::Run {
            run_id: run.run_id.clone(),
            reason: "a figure is not a number",
        });
    }
    if c.tp == Some(0) || c.pp == 0 || c.dp == 0 {
        return Err(StoreError::Run {
            run_id: run.run_id.clone(),
            reason: "a parallel degree is 0",
        });
    }
    Ok(())
}

fn numbers(m: &Measured) -> [Option<f64>; 15] {
    [
        m.output_tok_s,
        m.total_tok_s,
        m.req_s,
        m.ttft_ms,
        m.ttft_p50_ms,
        m.ttft_p99_ms,
        m.tpot_ms,
        m.tpot_p99_ms,
        m.e2e_ms,
        m.e2e_p99_ms,
        m.kv_usage,
        m.power_w,
        m.peak_mem_gb,
        m.energy_j_per_tok,
        m.cold_start_s,
    ]
}
