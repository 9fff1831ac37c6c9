//! Apache Parquet: words as UTF-8, numbers as doubles, every column optional. The crate is taken
//! without Arrow: a table of runs is flat.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use model_store::advisor::Run;
use parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::Field;
use parquet::record::reader::RowIter;
use parquet::schema::types::Type;

use super::{Rows, WORDS, cells, invalid};
use crate::input::open_regular;

/// First and last bytes of every Parquet file.
pub(super) const MARK: &[u8] = b"PAR1";

/// Runs of a row group.
const AT_A_TIME: usize = 50_000;

pub(super) fn write(out: impl Write + Send, runs: &[Run]) -> io::Result<()> {
    let names: Vec<String> = cells(&[])?.headers()?.iter().map(str::to_owned).collect();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let mut file = SerializedFileWriter::new(out, schema(&names)?, Arc::new(properties.build()))
        .map_err(io::Error::other)?;
    for some in runs.chunks(AT_A_TIME) {
        let mut columns: Vec<Vec<String>> = vec![Vec::with_capacity(some.len()); names.len()];
        for row in cells(some)?.records() {
            for (column, cell) in columns.iter_mut().zip(&row?) {
                column.push(cell.to_owned());
            }
        }
        let mut group = file.next_row_group().map_err(io::Error::other)?;
        for (name, column) in names.iter().zip(&columns) {
            write_column(&mut group, name, column).map_err(io::Error::other)?;
        }
        group.close().map_err(io::Error::other)?;
    }
    file.close().map(|_| ()).map_err(io::Error::other)
}

fn schema(names: &[String]) -> io::Result<Arc<Type>> {
    let column = |name: &String| {
        let words = WORDS.contains(&name.as_str());
        let physical = if words {
            Physical::BYTE_ARRAY
        } else {
            Physical::DOUBLE
        };
        Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(words.then_some(LogicalType::String))
            .build()
            .map(Arc::new)
    };
    let columns: Result<Vec<_>, _> = names.iter().map(column).collect();
    Type::group_type_builder("run")
        .with_fields(columns.map_err(io::Error::other)?)
        .build()
        .map(Arc::new)
        .map_err(io::Error::other)
}

fn write_column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    name: &str,
    cells: &[String],
) -> parquet::errors::Result<()> {
    let Some(mut column) = group.next_column()? else {
        return Ok(());
    };
    let known: Vec<&String> = cells.iter().filter(|c| !c.is_empty()).collect();
    let levels: Vec<i16> = cells.iter().map(|c| i16::from(!c.is_empty())).collect();
    if WORDS.contains(&name) {
        let words: Vec<ByteArray> = known.iter().map(|c| c.as_str().into()).collect();
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&words, Some(&levels), None)?;
    } else {
        let numbers: Vec<f64> = known
            .iter()
            .map(|c| c.parse().unwrap_or(f64::NAN))
            .collect();
        let typed = column.typed::<DoubleType>();
        typed.write_batch(&numbers, Some(&levels), None)?;
    }
    column.close()
}

/// Reads a file row by row. A file that was damaged on purpose may make the crate panic: that is
/// an error of this file and of nothing else.
pub(super) fn read(path: &Path) -> io::Result<impl Read + use<>> {
    let file = open_regular(path)?;
    let (names, mut rows) = guarded(|| open(file))?;
    let width = names.len();
    let mut at = 0;
    Rows::new(&names, move || {
        at += 1;
        let row = guarded(|| rows.next().transpose().map_err(invalid));
        let row = row.map_err(|e| invalid(format!("row {at}: {e}")))?;
        Ok(row.map(|row| {
            let mut cells: Vec<String> = row.get_column_iter().map(|(_, f)| cell(f)).collect();
            cells.resize(width, String::new());
            cells
        }))
    })
}

fn open(file: File) -> io::Result<(Vec<String>, RowIter<'static>)> {
    let reader = SerializedFileReader::new(file).map_err(invalid)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    if schema.columns().iter().any(|c| c.max_rep_level() > 0) {
        return Err(invalid("it has columns of lists, a table of runs is flat"));
    }
    let fields = schema.root_schema().get_fields();
    let names = fields.iter().map(|f| f.name().to_owned()).collect();
    Ok((names, RowIter::from_file_into(Box::new(reader))))
}

fn guarded<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(invalid("it is damaged")))
}

fn cell(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Double(x) => x.to_string(),
        Field::Bytes(bytes) => String::from_utf8_lossy(bytes.data()).into_owned(),
        other => other.to_string(),
    }
}
