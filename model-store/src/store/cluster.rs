//! What was observed of the cluster.

use rusqlite::{OptionalExtension, Row, params};

use super::{Store, StoreError};
use crate::advisor::{ClusterState, GpuPool};
use crate::slurm_view::SlurmView;

impl Store {
    /// Keeps an observation beside the earlier ones.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn save_cluster(&mut self, cluster: &ClusterState) -> Result<(), StoreError> {
        let path = self.path.clone();
        self.write(|tx| {
            let insert = || -> rusqlite::Result<()> {
                tx.execute(
                    "INSERT INTO observations (observed_at, default_partition) VALUES (?, ?)",
                    params![cluster.observed_at, cluster.default_partition],
                )?;
                let observation = tx.last_insert_rowid();
                cluster
                    .pools
                    .iter()
                    .try_for_each(|pool| insert_pool(tx, observation, pool))
            };
            insert().map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// Keeps the site as Slurm sees it, in the place of what was seen before; `None` forgets it.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn save_slurm_view(&mut self, view: Option<&SlurmView>) -> Result<(), StoreError> {
        let path = self.path.clone();
        let text = view.map(|view| serde_json::to_string(view).unwrap_or_default());
        self.write(|tx| {
            let replace = || -> rusqlite::Result<()> {
                tx.execute("DELETE FROM slurm_view", [])?;
                if let Some(text) = &text {
                    tx.execute("INSERT INTO slurm_view (id, view) VALUES (1, ?)", [text])?;
                }
                Ok(())
            };
            replace().map_err(|e| StoreError::from_sqlite(&path, e))
        })
    }

    /// The site as Slurm was seen last; `None` where it was not, or by another version.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn slurm_view(&self) -> Result<Option<SlurmView>, StoreError> {
        let read = self
            .db
            .query_row("SELECT view FROM slurm_view", [], |row| {
                row.get::<_, String>(0)
            })
            .optional()
            .map_err(|e| self.wrap(e))?;
        Ok(read.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// The observation that was saved last; `None` where there is none.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn cluster(&self) -> Result<Option<ClusterState>, StoreError> {
        self.observation(None).map_err(|e| self.wrap(e))
    }

    /// One observation, or the latest.
    pub(super) fn observation(&self, id: Option<i64>) -> rusqlite::Result<Option<ClusterState>> {
        let sql = "SELECT id, observed_at, default_partition FROM observations \
                   WHERE id = ?1 OR ?1 IS NULL ORDER BY id DESC LIMIT 1";
        let latest: Option<(i64, Option<i64>, Option<String>)> = self
            .db
            .query_row(sql, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((observation, observed_at, default_partition)) = latest else {
            return Ok(None);
        };
        let sql = "SELECT gres, nodes, per_node, total, free, pending, partitions FROM pools \
                   WHERE observation = ? ORDER BY gres";
        let mut statement = self.db.prepare(sql)?;
        let pools = statement
            .query_map([observation], read_pool)?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Some(ClusterState {
            pools,
            observed_at,
            default_partition,
            waits: None,
        }))
    }
}

fn insert_pool(
    tx: &rusqlite::Transaction<'_>,
    observation: i64,
    pool: &GpuPool,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO pools (observation, gres, nodes, per_node, total, free, pending, partitions) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let GpuPool {
        gres,
        nodes,
        per_node,
        total,
        free,
        pending,
        partitions,
    } = pool;
    let partitions = partitions.join(",");
    tx.prepare_cached(sql)?
        .execute(params![
            observation,
            gres,
            nodes,
            per_node,
            total,
            free,
            pending,
            partitions
        ])
        .map(|_| ())
}

fn read_pool(row: &Row<'_>) -> rusqlite::Result<GpuPool> {
    let partitions: String = row.get(6)?;
    Ok(GpuPool {
        gres: row.get(0)?,
        nodes: row.get(1)?,
        per_node: row.get(2)?,
        total: row.get(3)?,
        free: row.get(4)?,
        pending: row.get(5)?,
        partitions: partitions
            .split(',')
            .filter(|p| !p.is_empty())
            .map(str::to_owned)
            .collect(),
    })
}
