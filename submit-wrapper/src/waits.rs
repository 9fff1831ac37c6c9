//! How long jobs wait in the queue, from what `ingest` read of accounting.

use model_store::advisor::{ClusterState, QueueWaits};
use model_store::slurm_view::SlurmView;
use model_store::store::{Store, Wait};
use model_store::train::queue::{PastWait, queue_waits};

use crate::{clock, exit};

/// Waits older than this, s, say nothing of the queue of now.
const LONGEST_MEMORY: i64 = 60 * 86_400;

/// How long jobs wait, from what `ingest` read of accounting, on the GPUs that can run jobs now; `None`
/// before it did.
pub(crate) fn waits(
    store: &Store,
    cluster: &ClusterState,
    view: Option<&SlurmView>,
) -> anyhow::Result<Option<QueueWaits>> {
    let Some(as_of) = store.watermark("sacct").map_err(exit::store)? else {
        return Ok(None);
    };
    let now = clock::now();
    let past = store.waits(now - LONGEST_MEMORY).map_err(exit::store)?;
    let past: Vec<PastWait> = past.iter().map(past_wait).collect();
    let part = |gres: &str| view?.part_in_service(gres, now);
    let waits = queue_waits(&past, cluster, now, as_of).on_part(part);
    Ok((!waits.waits.is_empty()).then_some(waits))
}

/// How long jobs waited as it looked at a moment of the past: from the latest jobs that had begun
/// by then. `recorded` is in the order in which jobs became eligible.
pub(crate) fn waits_then(recorded: &[Wait], cluster: &ClusterState, at: i64) -> Option<QueueWaits> {
    /// Enough for every size; a choice is reconstructed in milliseconds.
    const MOST: usize = 2000;
    let begun = |w: &&Wait| w.eligible.saturating_add_unsigned(w.wait_s) <= at;
    let recent = |w: &&Wait| w.eligible > at - LONGEST_MEMORY;
    let known = recorded.iter().rev().filter(begun).take_while(recent);
    let past: Vec<PastWait> = known.take(MOST).map(past_wait).collect();
    let waits = queue_waits(&past, cluster, at, at);
    (!waits.waits.is_empty()).then_some(waits)
}

#[allow(clippy::cast_precision_loss)] // seconds
fn past_wait(w: &Wait) -> PastWait {
    PastWait {
        gres: w.gres.clone(),
        gpus: w.gpus,
        eligible: w.eligible,
        wait_s: w.wait_s as f64,
        backlog: w.backlog,
        user: w.uid,
    }
}
