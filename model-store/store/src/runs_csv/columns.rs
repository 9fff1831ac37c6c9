//! Which column is where.

/// A column that this reader knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    RunId,
    Source,
    SourceRef,
    Engine,
    EngineVersion,
    Model,
    ParamsB,
    ActiveParamsB,
    Gpu,
    GpuMemGb,
    Tp,
    Pp,
    Dp,
    NumGpus,
    Precision,
    KvPrecision,
    Isl,
    Osl,
    Workload,
    Concurrency,
    RequestRate,
    OutputTokS,
    TotalTokS,
    ReqS,
    Ttft,
    TtftP50,
    TtftP99,
    Tpot,
    TpotP99,
    E2e,
    E2eP99,
    PeakMemGb,
    PowerW,
    EnergyJPerTok,
    ColdStartS,
    Outcome,
    Notes,
    KvUsage,
    Variant,
    Origin,
}

/// Every column with the name under which it is written, and a second one under which it is read.
/// The last three are this program's own: the format that it reads from others lacks them.
pub(super) const COLUMNS: [(Column, &str, &str); 40] = [
    (Column::RunId, "run_id", ""),
    (Column::Source, "source", ""),
    (Column::SourceRef, "source_ref", "document"),
    (Column::Engine, "engine", ""),
    (Column::EngineVersion, "engine_version", ""),
    (Column::Model, "model", ""),
    (Column::ParamsB, "model_params_b", "params_b"),
    (
        Column::ActiveParamsB,
        "model_active_params_b",
        "active_params_b",
    ),
    (Column::Gpu, "gpu", ""),
    (Column::GpuMemGb, "gpu_mem_gb", ""),
    (Column::Tp, "tp", ""),
    (Column::Pp, "pp", ""),
    (Column::Dp, "dp", ""),
    (Column::NumGpus, "num_gpus", ""),
    (Column::Precision, "precision", ""),
    (Column::KvPrecision, "kv_precision", ""),
    (Column::Isl, "isl", ""),
    (Column::Osl, "osl", ""),
    (Column::Workload, "workload", ""),
    (Column::Concurrency, "concurrency_or_batch", "concurrency"),
    (Column::RequestRate, "request_rate", ""),
    (Column::OutputTokS, "output_tok_s", ""),
    (Column::TotalTokS, "total_tok_s", ""),
    (Column::ReqS, "req_s", ""),
    (Column::Ttft, "ttft_mean_ms", "ttft_ms"),
    (Column::TtftP50, "ttft_p50_ms", ""),
    (Column::TtftP99, "ttft_p99_ms", ""),
    (Column::Tpot, "tpot_mean_ms", "tpot_ms"),
    (Column::TpotP99, "tpot_p99_ms", ""),
    (Column::E2e, "e2e_mean_ms", "e2e_ms"),
    (Column::E2eP99, "e2e_p99_ms", ""),
    (Column::PeakMemGb, "peak_mem_gb", ""),
    (Column::PowerW, "power_w", ""),
    (Column::EnergyJPerTok, "energy_j_per_tok", ""),
    (Column::ColdStartS, "startup_s", "cold_start_s"),
    (Column::Outcome, "outcome", ""),
    (Column::Notes, "notes", ""),
    (Column::KvUsage, "kv_usage", ""),
    (Column::Variant, "variant", ""),
    (Column::Origin, "origin", ""),
];

/// Without these a table does not describe runs.
const NEEDED: [Column; 5] = [
    Column::Model,
    Column::Gpu,
    Column::Tp,
    Column::Precision,
    Column::Workload,
];

impl Column {
    /// The name under which it is written.
    pub(super) const fn name(self) -> &'static str {
        COLUMNS[self as usize].1
    }
}

/// Where each column of a table is.
#[derive(Debug)]
pub(super) struct Header {
    places: [Option<usize>; COLUMNS.len()],
    /// Columns that are not known: place and name.
    pub(super) unknown: Vec<(usize, String)>,
    /// How many columns the table has.
    pub(super) width: usize,
}

impl Header {
    /// Reads the first line; the names of needed columns that it lacks otherwise. Of two columns
    /// with one name the first counts.
    pub(super) fn new(names: &[String]) -> Result<Self, Vec<&'static str>> {
        let mut header = Self {
            places: [None; COLUMNS.len()],
            unknown: Vec::new(),
            width: names.len(),
        };
        for (place, name) in names.iter().enumerate() {
            let name = name.trim().to_ascii_lowercase();
            let known = COLUMNS
                .iter()
                .position(|(_, a, b)| !name.is_empty() && (*a == name || *b == name));
            match known {
                Some(column) if header.places[column].is_none() => {
                    header.places[column] = Some(place)
                }
                _ => header.unknown.push((place, name)),
            }
        }
        let absent = |c: &Column| header.place(*c).is_none();
        let missing: Vec<_> = NEEDED
            .into_iter()
            .filter(absent)
            .map(Column::name)
            .collect();
        if missing.is_empty() {
            Ok(header)
        } else {
            Err(missing)
        }
    }

    pub(super) fn place(&self, column: Column) -> Option<usize> {
        self.places[column as usize]
    }
}

/// What a spreadsheet would take as the begin of a formula, and the mark that keeps it from doing so.
const FORMULA: [char; 5] = ['=', '+', '-', '@', '\''];

/// A cell of words that stays words in a spreadsheet: an apostrophe before what would begin a formula.
pub(super) fn guarded(word: String) -> String {
    if word.starts_with(FORMULA) {
        format!("'{word}")
    } else {
        word
    }
}

/// The cell without such an apostrophe.
pub(super) fn plain(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(word) if word.starts_with(FORMULA) => word,
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_begins_a_formula_and_all_come_back() {
        for word in [
            "=1+1", "+1", "-1", "@x", "'", "'=1", "''", "", "a=b", "it's",
        ] {
            let cell = guarded(word.to_owned());
            assert!(!cell.starts_with(['=', '+', '-', '@']), "{cell}");
            assert_eq!(plain(&cell), word);
        }
        assert_eq!(plain("'tis"), "'tis");
    }

    #[test]
    fn the_table_is_in_the_order_of_the_columns() {
        for (place, (column, ..)) in COLUMNS.iter().enumerate() {
            assert_eq!(*column as usize, place);
        }
    }
}
