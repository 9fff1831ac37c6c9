//! Runs to rows.

use std::io::Write;

use super::columns::{self, COLUMNS, Column};
use super::flags;
use crate::advisor::{Precision, Run};

/// Writes a table of runs that [`read_runs`](super::read_runs) reads back as they are.
///
/// # Errors
/// The writer's own.
pub fn write_runs<'a, W: Write>(writer: W, runs: impl Iterator<Item = &'a Run>) -> csv::Result<()> {
    let mut out = csv::Writer::from_writer(writer);
    out.write_record(COLUMNS.iter().map(|(_, name, _)| name))?;
    for run in runs {
        out.write_record(COLUMNS.iter().map(|(column, ..)| cell(run, *column)))?;
    }
    out.flush()?;
    Ok(())
}

fn cell(run: &Run, column: Column) -> String {
    let (c, m) = (&run.case, &run.measured);
    let number = match column {
        Column::ParamsB => c.params_b,
        Column::ActiveParamsB => c.active_params_b,
        Column::GpuMemGb => c.gpu_mem_gb,
        Column::Isl => c.isl,
        Column::Osl => c.osl,
        Column::Concurrency => c.concurrency,
        Column::RequestRate => c.request_rate,
        Column::OutputTokS => m.output_tok_s,
        Column::TotalTokS => m.total_tok_s,
        Column::ReqS => m.req_s,
        Column::Ttft => m.ttft_ms,
        Column::TtftP50 => m.ttft_p50_ms,
        Column::TtftP99 => m.ttft_p99_ms,
        Column::Tpot => m.tpot_ms,
        Column::TpotP99 => m.tpot_p99_ms,
        Column::E2e => m.e2e_ms,
        Column::E2eP99 => m.e2e_p99_ms,
        Column::PeakMemGb => m.peak_mem_gb,
        Column::PowerW => m.power_w,
        Column::EnergyJPerTok => m.energy_j_per_tok,
        Column::ColdStartS => m.cold_start_s,
        Column::KvUsage => m.kv_usage,
        _ => return columns::guarded(word(run, column)),
    };
    number.map(|n| n.to_string()).unwrap_or_default()
}

fn word(run: &Run, column: Column) -> String {
    let c = &run.case;
    let count = |n: Option<u32>| n.map(|n| n.to_string()).unwrap_or_default();
    let precision = |p: Option<Precision>| p.map_or("", Precision::name).to_owned();
    match column {
        Column::RunId => run.run_id.clone(),
        Column::Source => run.source.clone(),
        Column::SourceRef => run.source_ref.clone(),
        Column::Engine => c.engine.clone(),
        Column::EngineVersion => c.engine_version.clone(),
        Column::Model => c.model.clone(),
        Column::Gpu => c.gpu.clone(),
        Column::Tp => count(c.tp),
        Column::Pp => count(Some(c.pp)),
        Column::Dp => count(Some(c.dp)),
        Column::NumGpus => count(c.num_gpus()),
        Column::Precision => precision(c.precision),
        Column::KvPrecision => precision(c.kv_precision),
        Column::Workload => c.workload.name().into(),
        Column::Outcome => run.measured.outcome.name().into(),
        Column::Notes => run.notes.clone(),
        Column::Variant => flags::text(c.variant),
        Column::Origin => run.origin.name().into(),
        _ => String::new(),
    }
}
