//! What would be advised to a job of which nothing is known but whose it is and where it would run:
//! for a question that submits nothing.

use crate::advisor::{ClusterState, Pins, Startable};
use crate::config::Config;
use crate::consult::{Consulted, Fault, Here, consult_here};
use crate::job_request::Given;
use crate::options::RawOptions;
use crate::snapshot::Snapshot;
use crate::startable::{Ground, Job, Who};

use super::place::Place;
use super::prices_of;

/// An advice, and whether the site's own rules were asked for it.
#[derive(Debug)]
pub struct Bare {
    /// The advice.
    pub consulted: Consulted,
    /// Why the site's rules could not be asked; `None` where they were, or where there are none.
    pub not_asked: Option<String>,
}

/// Asks the advisor about `cluster`, and the site's rules for a job with the options of `given`: its
/// partition, account and QOS, or what a job gets that names none.
///
/// # Errors
/// As [`consult_here`].
pub fn bare(
    snapshot: &Snapshot,
    cluster: &ClusterState,
    config: &Config,
    options: &RawOptions,
    given: &Given,
    who: &Who,
) -> Result<Bare, Fault> {
    let place = Place::of(given, cluster);
    let job = Job {
        given,
        partitions: &place.partitions,
        spread: false,
        who,
    };
    let now = snapshot.knowledge().now;
    let view = snapshot.body.slurm.as_ref();
    let ground = Ground::of(view, cluster, config, now, job);
    let startable = match &ground {
        Ground::Seen(checker) => Some(&**checker as &dyn Startable),
        _ => None,
    };
    let gpus = prices_of(snapshot, config, given);
    let here = Here {
        startable,
        gpus: gpus.as_deref(),
        checkpoint: None,
    };
    let pins = Pins::default();
    let consulted = consult_here(snapshot, cluster, config, options, &pins, here)?;
    let not_asked = match ground {
        Ground::Unknown(reason) => Some(reason),
        Ground::Stated | Ground::Seen(_) => None,
    };
    Ok(Bare {
        consulted,
        not_asked,
    })
}
