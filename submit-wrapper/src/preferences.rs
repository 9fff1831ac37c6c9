//! Past choices of this cluster's users, from the store, and what they say of the weights.

use std::collections::{BTreeMap, BTreeSet};

use model_store::advisor::{Catalogue, ClusterState, Knowledge, Origin, Preferences, Run, Weights};
use model_store::snapshot::Body;
use model_store::store::{Store, SubmittedJob};
use model_store::train::preferences::{Choice, PastChoice, preferences, reconstruct};

use crate::exit;
use crate::waits::waits_then;

/// Latest runs of this cluster that choices are looked for in.
const MOST_RUNS: u32 = 200_000;
/// Latest choices that count: each is put together by an advice, and so many leave no weight in doubt.
const MOST_CHOICES: usize = 1000;

/// What the choices in the store say, with the weights to rank by; `body` is what is about to be
/// published, with the configured weights.
///
/// # Errors
/// A store that cannot be read.
pub(crate) fn learned(body: &Body, store: &Store) -> anyhow::Result<(Preferences, Weights)> {
    let stored = store.latest_runs(MOST_RUNS).map_err(exit::store)?;
    let runs: Vec<Run> = stored.into_iter().map(|r| r.run).collect();
    let jobs = store.submitted_jobs().map_err(exit::store)?;
    let waits = store.waits(0).map_err(exit::store)?;
    let mut choices: Vec<Choice> = Vec::new();
    for past in past_choices(&runs, &jobs, &body.catalogue) {
        let mut then = store
            .cluster_before(past.submitted_at)
            .map_err(exit::store)?
            .unwrap_or_else(|| body.cluster.clone());
        then.waits = waits_then(&waits, &then, past.submitted_at);
        choices.extend(choice(body, &then, &past));
    }
    Ok(preferences(&choices, &body.economy))
}

fn choice(body: &Body, then: &ClusterState, past: &PastChoice) -> Option<Choice> {
    let known = Knowledge {
        snapshot_id: "",
        model: &body.model,
        cluster: then,
        gpus: &body.gpus,
        priced_here: false,
        economy: &body.economy,
        now: Some(past.submitted_at),
        startable: None,
    };
    let site = body.models.iter().find(|m| m.name == past.case.model);
    let own = site.and_then(|m| m.card.as_ref());
    let card = own.or_else(|| body.catalogue.find(&past.case.model))?;
    reconstruct(known, card, past)
}

/// One choice a job that ran as its user wrote it. What a user submits again and again in the same
/// way is one choice: a habit, not so many votes.
fn past_choices(runs: &[Run], jobs: &[SubmittedJob], catalogue: &Catalogue) -> Vec<PastChoice> {
    let submitted: BTreeMap<(&str, u64), &SubmittedJob> = jobs
        .iter()
        .map(|j| ((j.cluster.as_str(), j.job_id), j))
        .collect();
    let mut own: Vec<(&SubmittedJob, &Run)> = runs
        .iter()
        .filter(|r| r.origin == Origin::ThisCluster && was_chosen(r))
        .filter_map(|r| Some((*submitted.get(&job_of(r)?)?, r)))
        .collect();
    own.sort_by(|(a, r), (b, s)| {
        (a.submit, a.job_id, &r.source_ref).cmp(&(b.submit, b.job_id, &s.source_ref))
    });
    let (mut seen_jobs, mut habits) = (BTreeSet::new(), BTreeSet::new());
    let mut choices: Vec<PastChoice> = own
        .into_iter()
        .filter(|(job, _)| seen_jobs.insert((&job.cluster, job.job_id)))
        .filter(|(job, run)| habits.insert(habit(job, run, catalogue)))
        .map(|(job, run)| PastChoice {
            case: run.case.clone(),
            submitted_at: job.submit,
        })
        .collect();
    choices.drain(..choices.len().saturating_sub(MOST_CHOICES));
    choices
}

/// A job that was rewritten shows what OmniPilot values, not what its user does.
fn was_chosen(run: &Run) -> bool {
    !run.notes.contains(", advice ")
}

/// `cluster:NAME` and `job N window K`.
pub(crate) fn job_of(run: &Run) -> Option<(&str, u64)> {
    let cluster = run.source.strip_prefix("cluster:")?;
    let id = run.source_ref.strip_prefix("job ")?;
    Some((cluster, id.split(' ').next()?.parse().ok()?))
}

/// User, model, configuration, and load to about a quarter.
fn habit(job: &SubmittedJob, run: &Run, catalogue: &Catalogue) -> String {
    let c = &run.case;
    let model = catalogue.find(&c.model).map_or(&c.model, |card| &card.name);
    let near = |x: Option<f64>| x.map(|x| (x.max(1.0).ln() / 0.25).round());
    format!(
        "{}|{model}|{}|{:?}|{:?}|{:?}|{:?}|{:?}",
        job.user,
        c.gpu,
        c.num_gpus(),
        c.precision,
        near(c.isl),
        near(c.osl),
        near(c.concurrency)
    )
}
