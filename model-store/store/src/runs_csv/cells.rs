//! The cells of one row as values.

use std::borrow::Cow;

use csv::ByteRecord;

use super::columns::{self, Column, Header};
use crate::advisor::plain::is_hidden;
use crate::advisor::{Precision, Workload};

/// Longest name of a model, GPU, engine or source, bytes.
const LONGEST: usize = 512;

/// Why a cell was not taken. `reason` is the same for every row with the same trouble.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) value: String,
}

impl Fault {
    pub(super) fn new(reason: impl Into<String>, value: &str) -> Self {
        Self {
            reason: reason.into(),
            value: value.chars().take(40).collect(),
        }
    }
}

/// One row.
pub(super) struct Cells<'a> {
    pub(super) header: &'a Header,
    pub(super) record: &'a ByteRecord,
}

impl<'a> Cells<'a> {
    /// The cell without blanks around it; empty where the column is missing.
    pub(super) fn text(&self, column: Column) -> Cow<'a, str> {
        self.header
            .place(column)
            .map_or(Cow::Borrowed(""), |place| match self.at(place) {
                Cow::Borrowed(cell) => Cow::Borrowed(columns::plain(cell)),
                Cow::Owned(cell) => Cow::Owned(columns::plain(&cell).to_owned()),
            })
    }

    fn at(&self, place: usize) -> Cow<'a, str> {
        match String::from_utf8_lossy(self.record.get(place).unwrap_or_default()) {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        }
    }

    /// A name; never empty.
    pub(super) fn name(&self, column: Column) -> Result<String, Fault> {
        let text = self.short(column)?;
        if text.is_empty() {
            return Err(Fault::new(format!("`{}` is empty", column.name()), ""));
        }
        Ok(text)
    }

    /// A name that may be empty.
    pub(super) fn short(&self, column: Column) -> Result<String, Fault> {
        let text = self.shown(column)?;
        if text.len() > LONGEST {
            return Err(Fault::new(
                format!("`{}` is longer than {LONGEST} bytes", column.name()),
                &text,
            ));
        }
        Ok(text)
    }

    /// A text that people are shown.
    pub(super) fn shown(&self, column: Column) -> Result<String, Fault> {
        let text = self.text(column);
        if text.chars().any(is_hidden) {
            return Err(Fault::new(
                format!("`{}` has control characters or hidden ones", column.name()),
                &text,
            ));
        }
        Ok(text.into_owned())
    }

    /// A number that is finite and not negative; `None` for an empty cell.
    pub(super) fn number(&self, column: Column) -> Result<Option<f64>, Fault> {
        let value = self.number_or_infinite(column)?;
        match value {
            Some(n) if n.is_infinite() => Err(Fault::new(
                format!("`{}` is infinite", column.name()),
                &self.text(column),
            )),
            _ => Ok(value),
        }
    }

    /// A number that is not negative, or `inf`.
    pub(super) fn number_or_infinite(&self, column: Column) -> Result<Option<f64>, Fault> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        match text.parse::<f64>() {
            Ok(n) if n >= 0.0 => Ok(Some(n + 0.0)),
            Ok(n) if n < 0.0 => Err(Fault::new(
                format!("`{}` is negative", column.name()),
                &text,
            )),
            _ => Err(Fault::new(
                format!("`{}` is not a number", column.name()),
                &text,
            )),
        }
    }

    /// A ratio between 0 and 1.
    pub(super) fn ratio(&self, column: Column) -> Result<Option<f64>, Fault> {
        let value = self.number(column)?;
        if value.is_some_and(|n| n > 1.0) {
            return Err(Fault::new(
                format!("`{}` is above 1", column.name()),
                &self.text(column),
            ));
        }
        Ok(value)
    }

    /// A whole number, also when written as `8.0`; `None` for an empty cell.
    pub(super) fn count(&self, column: Column) -> Result<Option<u32>, Fault> {
        let Some(n) = self.number(column)? else {
            return Ok(None);
        };
        if n.fract() != 0.0 || n > 65_536.0 {
            let reason = format!("`{}` is no whole number up to 65536", column.name());
            return Err(Fault::new(reason, &self.text(column)));
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked just above
        Ok(Some(n as u32))
    }

    /// A weight or cache format; `None` for an empty cell.
    pub(super) fn precision(&self, column: Column) -> Result<Option<Precision>, Fault> {
        let text = self.text(column);
        if text.is_empty() {
            return Ok(None);
        }
        let known = Precision::parse(&text).map(Some);
        known.ok_or_else(|| Fault::new(format!("`{}` is no known format", column.name()), &text))
    }

    /// How load reached the engine.
    pub(super) fn workload(&self) -> Result<Workload, Fault> {
        let text = self.text(Column::Workload);
        Workload::parse(&text).ok_or_else(|| {
            let names = Workload::ALL.map(Workload::name).join(", ");
            Fault::new(format!("`workload` is none of {names}"), &text)
        })
    }

    /// The notes, followed by the cells of columns that are not known.
    pub(super) fn notes(&self) -> String {
        let mut notes = self.text(Column::Notes).into_owned();
        for (place, name) in &self.header.unknown {
            let value = self.at(*place);
            if !value.is_empty() {
                note(&mut notes, &format!("{name}={value}"));
            }
        }
        notes
    }
}

/// Appends a remark.
pub(super) fn note(notes: &mut String, remark: &str) {
    if !notes.is_empty() {
        notes.push_str("; ");
    }
    notes.push_str(remark);
}
