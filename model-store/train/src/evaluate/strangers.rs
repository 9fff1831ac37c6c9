//! Each source as a place of which nothing was learnt, nor of its kin: what a new user is told.

use std::collections::BTreeMap;

use serde::Serialize;

use super::foreseen::Foreseen;
use super::new_site::{SiteDecisions, SiteScore, decided, told};
use super::split::Protocol;

/// One source under one kind of load.
#[derive(Clone, Debug, Serialize)]
pub struct Stranger {
    /// The source that was left out.
    pub source: String,
    /// Kind of load; `all` for the line that holds its decisions.
    pub load: &'static str,
    /// Figures of each target that it measured.
    pub targets: Vec<SiteScore>,
    /// Cells in which it measured two configurations or more; `None` where it has none.
    pub decisions: Option<SiteDecisions>,
}

/// Every source that was left out.
pub(super) fn each(foreseen: &[Foreseen]) -> Vec<Stranger> {
    let mut sources: BTreeMap<&str, Vec<Foreseen>> = BTreeMap::new();
    for f in foreseen.iter().filter(|f| f.protocol == Protocol::Source) {
        sources.entry(&f.source).or_default().push(f.clone());
    }
    sources
        .into_iter()
        .flat_map(|(source, rows)| of_source(source, &rows))
        .collect()
}

fn of_source(source: &str, rows: &[Foreseen]) -> Vec<Stranger> {
    let mut loads: BTreeMap<&'static str, Vec<&Foreseen>> = BTreeMap::new();
    for f in rows {
        loads.entry(f.case.workload.name()).or_default().push(f);
    }
    let line = |load, rows: &[&Foreseen], decisions| Stranger {
        source: source.to_owned(),
        load,
        targets: told(rows),
        decisions,
    };
    let mut out: Vec<Stranger> = loads
        .iter()
        .map(|(load, rows)| line(*load, rows, None))
        .collect();
    let decisions = decided(rows, Protocol::Source);
    if loads.len() > 1 || decisions.is_some() {
        out.push(line("all", &rows.iter().collect::<Vec<_>>(), decisions));
    }
    out
}
