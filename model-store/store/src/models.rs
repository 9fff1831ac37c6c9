//! Models that were published.

use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError};

/// How far a model has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelState {
    /// Written down, and about to be published.
    Recorded,
    /// Published, now or once.
    #[default]
    Published,
    /// Refused by the gate.
    Refused,
}

impl ModelState {
    /// Name in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Published => "published",
            Self::Refused => "refused",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "recorded" => Self::Recorded,
            "refused" => Self::Refused,
            _ => Self::Published,
        }
    }
}

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
    /// How far it has come.
    pub state: ModelState,
}

const COLUMNS: &str = "id, created_at, runs, path, bytes, metrics, state";

impl Store {
    /// Records a model, with the bytes of its snapshot where it shall be possible to bring it back,
    /// and those of the model that the next challenger is held against. A model of the same id is
    /// replaced, but for bytes that are not given now.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn record_model(
        &mut self,
        model: &PublishedModel,
        snapshot: Option<&[u8]>,
        gate: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT INTO models ({COLUMNS}, snapshot, gate) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) \
             ON CONFLICT (id) DO UPDATE SET created_at = excluded.created_at, runs = excluded.runs, \
             path = excluded.path, bytes = excluded.bytes, metrics = excluded.metrics, state = excluded.state, \
             snapshot = coalesce(excluded.snapshot, snapshot), gate = coalesce(excluded.gate, gate)"
        );
        let PublishedModel {
            id,
            created_at,
            runs,
            path,
            bytes,
            metrics,
            state,
        } = model;
        let values = params![
            id,
            created_at,
            runs,
            path,
            bytes,
            metrics,
            state.name(),
            snapshot,
            gate
        ];
        self.db
            .execute(&sql, values)
            .map(|_| ())
            .map_err(|e| self.wrap(e))
    }

    /// Says how far a recorded model has come.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn set_model_state(&mut self, id: &str, state: ModelState) -> Result<(), StoreError> {
        self.db
            .execute(
                "UPDATE models SET state = ? WHERE id = ?",
                params![state.name(), id],
            )
            .map(|_| ())
            .map_err(|e| self.wrap(e))
    }

    /// Drops what is not needed any more: snapshots of trained models beyond the `newest` ones that
    /// were made before `since` (Unix seconds), and the records of observations and of refused
    /// models before `since`. Returns how many snapshots were dropped. The model `keep` stays whole.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn prune_models(
        &mut self,
        newest: usize,
        since: i64,
        keep: &str,
    ) -> Result<usize, StoreError> {
        let path = self.path.clone();
        let newest = i64::try_from(newest).unwrap_or(i64::MAX);
        self.write(|tx| {
            let prune = || -> rusqlite::Result<usize> {
                let old = "created_at < ?1 AND id <> ?2";
                let kept = "SELECT id FROM models WHERE snapshot IS NOT NULL AND state = 'published' \
                            ORDER BY created_at DESC, rowid DESC LIMIT ?3";
                let dropped = tx.execute(
                    &format!(
                        "UPDATE models SET snapshot = NULL, gate = NULL WHERE snapshot IS NOT NULL \
                         AND {old} AND id NOT IN ({kept})"
                    ),
                    params![since, keep, newest],
                )?;
                tx.execute(
                    &format!(
                        "DELETE FROM models WHERE {old} AND snapshot IS NULL \
                         AND (state = 'refused' OR metrics LIKE '%\"republished_from\"%')"
                    ),
                    params![since, keep],
                )?;
                Ok(dropped)
            };
            prune().map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// The published models, newest first.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn models(&self) -> Result<Vec<PublishedModel>, StoreError> {
        let read = || -> rusqlite::Result<Vec<PublishedModel>> {
            let sql = format!("SELECT {COLUMNS} FROM models ORDER BY created_at DESC, rowid DESC");
            let mut statement = self.db.prepare(&sql)?;
            statement.query_map([], read_model)?.collect()
        };
        read().map_err(|e| self.wrap(e))
    }

    /// The published model of this id; `None` where there is none.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn model(&self, id: &str) -> Result<Option<PublishedModel>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM models WHERE id = ?");
        self.db
            .query_row(&sql, [id], read_model)
            .optional()
            .map_err(|e| self.wrap(e))
    }

    /// The snapshot of a recorded model; `None` where it was not kept.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn model_snapshot(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.model_bytes("SELECT snapshot FROM models WHERE id = ?", id)
    }

    /// The model that a challenger of this one is held against; `None` where it was not kept.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn model_gate(&self, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.model_bytes("SELECT gate FROM models WHERE id = ?", id)
    }

    fn model_bytes(&self, sql: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.db
            .query_row(sql, [id], |row| row.get(0))
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
        state: ModelState::parse(&row.get::<_, String>(6)?),
    })
}
