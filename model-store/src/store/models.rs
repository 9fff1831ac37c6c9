//! Models that were published.

use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError};

/// One published model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedModel {
    /// Id of the snapshot, as it stands in every advice that it gave.
    pub id: String,
    /// Unix seconds at which it was published.
    pub created_at: i64,
    /// Runs that it was trained on.
    pub runs: u64,
    /// Where the snapshot was published.
    pub path: String,
    /// Size of the snapshot, bytes.
    pub bytes: u64,
    /// What the evaluation said, a JSON object.
    pub metrics: String,
}

impl Store {
    /// Records a published model, with the bytes of its snapshot where it shall be possible to
    /// bring it back. A model of the same id is replaced.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn record_model(
        &mut self,
        model: &PublishedModel,
        snapshot: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO models (id, created_at, runs, path, bytes, metrics, snapshot) \
                   VALUES (?, ?, ?, ?, ?, ?, ?)";
        let PublishedModel {
            id,
            created_at,
            runs,
            path,
            bytes,
            metrics,
        } = model;
        self.db
            .execute(
                sql,
                params![id, created_at, runs, path, bytes, metrics, snapshot],
            )
            .map(|_| ())
            .map_err(|e| self.wrap(e))
    }

    /// The published models, newest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn models(&self) -> Result<Vec<PublishedModel>, StoreError> {
        let read = || -> rusqlite::Result<Vec<PublishedModel>> {
            let sql = "SELECT id, created_at, runs, path, bytes, metrics FROM models \
                       ORDER BY created_at DESC, rowid DESC";
            let mut statement = self.db.prepare(sql)?;
            statement.query_map([], read_model)?.collect()
        };
        read().map_err(|e| self.wrap(e))
    }

    /// The published model of this id; `None` where there is none.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn model(&self, id: &str) -> Result<Option<PublishedModel>, StoreError> {
        let sql = "SELECT id, created_at, runs, path, bytes, metrics FROM models WHERE id = ?";
        self.db
            .query_row(sql, [id], read_model)
            .optional()
            .map_err(|e| self.wrap(e))
    }

    /// The snapshot of a published model; `None` where it was not kept.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn model_snapshot(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.db
            .query_row("SELECT snapshot FROM models WHERE id = ?", [id], |row| {
                row.get(0)
            })
            .optional()
            .map(Option::flatten)
            .map_err(|e| self.wrap(e))
    }
}

fn read_model(row: &Row<'_>) -> rusqlite::Result<PublishedModel> {
    Ok(PublishedModel {
        id: row.get(0)?,
        created_at: row.get(1)?,
        runs: row.get(2)?,
        path: row.get(3)?,
        bytes: row.get(4)?,
        metrics: row.get(5)?,
    })
}
