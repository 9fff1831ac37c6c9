//! Runs in other encodings than CSV, with the same columns: what is read becomes the CSV that one
//! reader knows, and what is written comes from the one writer.

mod json_lines;
mod parquet;

use std::io::{self, Read, Write};
use std::path::Path;

use model_store::advisor::Run;
use model_store::store::runs_csv;

/// An encoding of a table of runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Encoding {
    /// One run a line, columns by name
    Csv,
    /// One JSON object a line, with the names of the columns
    Jsonl,
    /// Apache Parquet, one row a run
    Parquet,
}

impl Encoding {
    /// Its name as `import --format` knows it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Csv => "runs-csv",
            Self::Jsonl => "runs-jsonl",
            Self::Parquet => "runs-parquet",
        }
    }

    /// The encoding of a file by its first bytes; `None` where it may be something else.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        if head.starts_with(parquet::MARK) {
            return Some(Self::Parquet);
        }
        let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
        let object: serde_json::Value = serde_json::from_slice(line).ok()?;
        let of_runs = ["model", "gpu", "workload"];
        of_runs
            .iter()
            .all(|key| object.get(*key).is_some())
            .then_some(Self::Jsonl)
    }

    /// Opens a file of this encoding as CSV.
    ///
    /// # Errors
    /// The system's, and [`io::ErrorKind::InvalidData`] for what is no such table; rows that cannot
    /// be read are errors of the reader that comes.
    pub(crate) fn as_csv(self, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(match self {
            Self::Csv => Box::new(crate::input::open_lines(path)?),
            Self::Jsonl => Box::new(json_lines::read(path)?),
            Self::Parquet => Box::new(parquet::read(path)?),
        })
    }

    /// Writes runs.
    ///
    /// # Errors
    /// The writer's own.
    pub(crate) fn write(self, out: impl Write + Send, runs: &[Run]) -> io::Result<()> {
        match self {
            Self::Csv => Ok(runs_csv::write_runs(out, runs.iter())?),
            Self::Jsonl => json_lines::write(out, runs),
            Self::Parquet => parquet::write(out, runs),
        }
    }
}

/// Columns that hold words; all others hold numbers.
const WORDS: [&str; 14] = [
    "run_id",
    "source",
    "source_ref",
    "engine",
    "engine_version",
    "model",
    "gpu",
    "precision",
    "kv_precision",
    "workload",
    "outcome",
    "notes",
    "variant",
    "origin",
];

/// Names and cells of a table as the one writer writes it, a few rows at a time.
fn cells(runs: &[Run]) -> io::Result<csv::Reader<io::Cursor<Vec<u8>>>> {
    let mut bytes = Vec::new();
    runs_csv::write_runs(&mut bytes, runs.iter())?;
    Ok(csv::Reader::from_reader(io::Cursor::new(bytes)))
}

/// CSV that is made row by row as it is read.
struct Rows<F> {
    next: F,
    line: Vec<u8>,
    at: usize,
}

impl<F: FnMut() -> io::Result<Option<Vec<String>>>> Rows<F> {
    fn new(header: &[String], next: F) -> io::Result<Self> {
        let line = record(header)?;
        Ok(Self { next, line, at: 0 })
    }
}

impl<F: FnMut() -> io::Result<Option<Vec<String>>>> Read for Rows<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() {
            let Some(cells) = (self.next)()? else {
                return Ok(0);
            };
            (self.line, self.at) = (record(&cells)?, 0);
        }
        let mut rest = self.line.get(self.at..).unwrap_or_default();
        let n = rest.read(buffer)?;
        self.at += n;
        Ok(n)
    }
}

fn record(cells: &[String]) -> io::Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(cells)?;
    out.into_inner()
        .map_err(|e| io::Error::other(e.to_string()))
}

fn invalid(reason: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_store::store::published_figures;
    use model_store::store::runs_csv::{Defaults, read_runs};

    fn back(encoding: Encoding, path: &Path) -> Vec<Run> {
        let defaults = Defaults {
            origin: model_store::advisor::Origin::OtherCluster,
            source: "x".into(),
        };
        let rows = read_runs(encoding.as_csv(path).unwrap(), defaults).unwrap();
        rows.map(Result::unwrap).collect()
    }

    #[test]
    fn what_is_written_in_each_encoding_reads_back_and_is_known_by_its_first_bytes() {
        let mut runs = published_figures().unwrap();
        runs[0].case.request_rate = Some(f64::INFINITY);
        runs[1].notes = "a \"quoted\", note\nof two lines".into();
        runs[2].measured.ttft_ms = Some(0.1 + 0.2);
        let folder = tempfile::tempdir().unwrap();
        for encoding in [Encoding::Csv, Encoding::Jsonl, Encoding::Parquet] {
            let path = folder.path().join("runs");
            let file = std::fs::File::create(&path).unwrap();
            encoding.write(file, &runs).unwrap();
            assert!(back(encoding, &path) == runs, "{encoding:?}");
            let bytes = std::fs::read(&path).unwrap();
            let told = Encoding::of(&bytes[..bytes.len().min(4096)]);
            assert_eq!(told, Some(encoding).filter(|e| *e != Encoding::Csv));
        }
    }

    #[test]
    fn a_line_that_is_no_object_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.jsonl");
        std::fs::write(&path, "{\"model\": \"m\"}\n\n[1]\n").unwrap();
        let mut text = String::new();
        let mut table = Encoding::Jsonl.as_csv(&path).unwrap();
        let error = table.read_to_string(&mut text).unwrap_err();
        assert_eq!(error.to_string(), "line 3 is no JSON object");
        assert_eq!(text, "model\nm\n");
    }

    #[test]
    fn no_bytes_make_a_table_fall_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs");
        let whole = {
            let mut bytes = Vec::new();
            let runs = published_figures().unwrap();
            Encoding::Parquet.write(&mut bytes, &runs[..20]).unwrap();
            bytes
        };
        let mut random = 7u64;
        for n in 0..400 {
            let mut bytes = whole.clone();
            for _ in 0..=n % 4 {
                random = random
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let at = (random >> 33) as usize % bytes.len();
                bytes[at] = (random >> 20) as u8;
            }
            if n % 5 == 0 {
                bytes.truncate((random >> 40) as usize % bytes.len());
            }
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(mut table) = Encoding::Parquet.as_csv(&path) {
                let _ = io::copy(&mut table, &mut io::sink());
            }
        }
    }
}
