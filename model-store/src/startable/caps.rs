//! One limit of an account or a QOS against one job.

use super::demand::Demand;
use crate::slurm_view::{Cap, Per};

/// Resources of which a job takes the same whatever it is advised.
fn is_of_others(tres: &str) -> bool {
    [
        "license/", "fs/", "bb/", "ic/", "energy", "vmem", "pages", "billing",
    ]
    .iter()
    .any(|kind| tres.starts_with(kind))
}

/// # Errors
/// What the limit allows and what the job takes, as the end of a sentence.
pub(super) fn check(cap: &Cap, demand: &Demand) -> Result<(), String> {
    if is_of_others(&cap.tres) {
        return Ok(());
    }
    let takes = match cap.per {
        Per::Job | Per::Least => demand.of_job(&cap.tres),
        Per::Node => demand.of_node(&cap.tres),
        Per::Minutes => demand
            .of_job(&cap.tres)
            .saturating_mul(demand.minutes.unwrap_or(u64::MAX)),
    };
    // A job that takes nothing of it is not held to it.
    let kept = match cap.per {
        Per::Least => takes >= cap.most,
        _ => takes == 0 || takes <= cap.most,
    };
    if kept {
        return Ok(());
    }
    let word = match cap.per {
        Per::Least => "at least",
        _ => "at most",
    };
    let unit = match cap.per {
        Per::Minutes => " minutes",
        _ => "",
    };
    Err(format!(
        "allows {word} {}{unit} of {}, this takes {takes}",
        cap.most, cap.tres
    ))
}
