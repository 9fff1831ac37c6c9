//! What the report shows, from the store, the kept models and Slurm's accounting.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use model_store::advisor::model::{Model, Step};
use model_store::advisor::physics::physics;
use model_store::advisor::words::count_of;
use model_store::advisor::{
    Case, Catalogue, Origin, Precision, Prediction, Run, RunOutcome, Setup, Target,
    gpu_name_of_gres, precision_in_name,
};
use model_store::job_request::asked;
use model_store::snapshot::Snapshot;
use model_store::store::{SourceCount, Store, StoredRun, UnstartedKind};
use model_store::train::evaluate::{Protocol, splits};

use crate::preferences::job_of;
use crate::slurm::{accounting, submitted};
use crate::{exit, publish};

/// One value that was foretold.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// Model and configuration, in words.
    pub(super) what: String,
    /// When the job ended or the run came in, Unix seconds.
    pub(super) at: i64,
    /// Output tokens/s that were measured.
    pub(super) measured: f64,
    /// What was foretold.
    pub(super) predicted: Prediction,
    /// True where a question about it would have been answered: what is not given needs not hold.
    pub(super) given: bool,
}

impl Point {
    pub(super) fn covered(&self) -> bool {
        (self.predicted.lo..=self.predicted.hi).contains(&self.measured)
    }

    /// Width of the interval, as a factor from end to end.
    pub(super) fn width(&self) -> f64 {
        self.predicted.hi / self.predicted.lo.max(1e-9)
    }

    /// How far off the median was, relative.
    pub(super) fn off(&self) -> f64 {
        (self.predicted.q50 / self.measured - 1.0).abs()
    }
}

/// A job that was advised, against what its user had asked for.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    pub(super) job: u64,
    /// What was asked for, and what ran.
    pub(super) words: String,
    /// GPU-hours saved for the same output: low, middle, high.
    pub(super) hours: [f64; 3],
    /// GPU-hours that it took.
    pub(super) took: f64,
}

/// Jobs of one GPU type that served.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Demand {
    /// With a tag, as far as they left an outcome.
    pub(super) tagged: u64,
    /// Without one.
    pub(super) untagged: u64,
    /// GPU-seconds of those without.
    pub(super) untagged_gpu_s: u64,
}

/// Everything that the report shows.
pub(super) struct Data {
    /// How many runs the store has, by origin and source.
    pub(super) stored: Vec<SourceCount>,
    /// The latest of this cluster, and all others.
    pub(super) runs: Vec<StoredRun>,
    /// Runs here that a question would have been answered for, foretold by the model that was published when they came in.
    pub(super) here: Vec<Point>,
    /// Runs here that no question would have been answered for then.
    pub(super) not_given: usize,
    /// Runs here that no kept model is older than.
    pub(super) without_model: usize,
    /// Held-out cells, foretold by the fit that did not see them.
    pub(super) held_out: Vec<Point>,
    pub(super) saved: Result<Vec<Saved>, String>,
    /// Advised jobs that did not start, by kind.
    pub(super) unstarted: [(UnstartedKind, u64); 3],
    /// What to do next, one sentence each.
    pub(super) actions: Vec<String>,
    /// Jobs that served by GPU type.
    pub(super) demand: BTreeMap<String, Demand>,
    /// The models that are known, the site's own among them.
    pub(super) catalogue: Catalogue,
}

impl Data {
    /// Runs of these origins in the store.
    pub(super) fn in_store(&self, of: &[Origin]) -> u64 {
        let runs = |c: &SourceCount| if of.contains(&c.origin) { c.runs } else { 0 };
        self.stored.iter().map(runs).sum()
    }
}

/// Latest runs of this cluster that are looked at.
const MOST_RUNS: u32 = 200_000;
/// Runs that are predicted for one figure: a prediction costs a good part of a millisecond, and a share of ten thousand is
/// known to half a percent. Runs stand in the order of their hashes, so that the first ones are a sample.
pub(super) const MOST_POINTS: usize = 10_000;

/// Gathers it.
///
/// # Errors
/// A store that cannot be read.
pub(super) fn gather(store: &Store, published: &Snapshot) -> anyhow::Result<Data> {
    let catalogue = published.body.catalogue.clone();
    let runs = store.latest_runs(MOST_RUNS).map_err(exit::store)?;
    let models = models(store)?;
    let (all, without_model) = foretold(&runs, &models, &catalogue);
    let (here, refused): (Vec<Point>, Vec<Point>) = all.into_iter().partition(|p| p.given);
    Ok(Data {
        stored: store.counts().map_err(exit::store)?,
        held_out: held_out(store, published, &runs, &catalogue)?,
        saved: saved(&runs, published, &catalogue),
        unstarted: store.unstarted().map_err(exit::store)?,
        demand: demand(store, &runs, published)?,
        here,
        not_given: refused.len(),
        without_model,
        actions: actions(store, published)?,
        runs,
        catalogue,
    })
}

/// Trained models that were published and kept, oldest first.
fn models(store: &Store) -> anyhow::Result<Vec<(i64, Model)>> {
    let mut out = Vec::new();
    for entry in store.models().map_err(exit::store)? {
        let bytes = store.model_snapshot(&entry.id).map_err(exit::store)?;
        let decoded = bytes.and_then(|b| Snapshot::decode(Path::new(&entry.id), &b).ok());
        out.extend(decoded.map(|s| (entry.created_at, s.body.model)));
    }
    out.sort_by_key(|(at, _)| *at);
    Ok(out)
}

fn foretold(
    runs: &[StoredRun],
    models: &[(i64, Model)],
    catalogue: &Catalogue,
) -> (Vec<Point>, usize) {
    let (mut out, mut without) = (Vec::new(), 0);
    for r in runs.iter().filter(|r| r.run.origin == Origin::ThisCluster) {
        let before = models.iter().rev().find(|(at, _)| *at <= r.added_at);
        let Some((_, model)) = before else {
            without += usize::from(r.run.measured.output_tok_s.is_some());
            continue;
        };
        if out.len() == MOST_POINTS {
            continue;
        }
        out.extend(point(
            &r.run,
            model,
            Step::ThisCluster,
            r.ended.unwrap_or(r.added_at),
            catalogue,
        ));
    }
    out.sort_by_key(|p| p.at);
    (out, without)
}

fn point(run: &Run, model: &Model, step: Step, at: i64, catalogue: &Catalogue) -> Option<Point> {
    let measured = run
        .measured
        .output_tok_s
        .filter(|v| v.is_finite() && *v > 0.0)?;
    let setup = Setup::of_case(&run.case, &run.source, catalogue).ok()?;
    let predicted = (*model
        .predict(&setup, step)
        .get(Target::OutputTokS as usize)?)?;
    Some(Point {
        what: in_words(&run.case),
        at,
        measured,
        predicted,
        given: model.axes_out(&setup, &physics(&setup)).is_empty(),
    })
}

/// Days of which unanswered questions count.
const ASKED_DAYS: i64 = 30;

/// What the operator can do next.
fn actions(store: &Store, published: &Snapshot) -> anyhow::Result<Vec<String>> {
    let mut out = Vec::new();
    let since = crate::clock::now() - ASKED_DAYS * 86_400;
    let mut refused: BTreeMap<String, u64> = BTreeMap::new();
    for wish in store.wishes(since).map_err(exit::store)? {
        let pairs: BTreeMap<String, String> =
            serde_json::from_str(&wish.request).unwrap_or_default();
        let asked = model_store::wish::raw(&pairs).ok().and_then(|o| o.model);
        if let Some(model) = asked {
            *refused.entry(model).or_default() +=
                wish.asked.values().map(|n| u64::from(*n)).sum::<u64>();
        }
    }
    if let Some((model, n)) = refused.iter().max_by_key(|(_, n)| **n) {
        let questions = count_of(*n, "question");
        out.push(format!(
            "{questions} about {model} had no answer in {ASKED_DAYS} days: `omnipilot probe plan` says what would give one."
        ));
    }
    let prices: BTreeSet<u64> = published
        .body
        .gpus
        .iter()
        .map(|g| g.price_per_hour.to_bits())
        .collect();
    if published.body.gpus.len() > 1 && prices.len() == 1 {
        out.push("All GPU types have the same price: `[gpu.TYPE] price_per_hour` in omnipilot.toml says what each costs.".into());
    }
    let [limit, cancelled, again] = store.unstarted().map_err(exit::store)?;
    let waited: u64 = [limit, cancelled, again].iter().map(|(_, n)| n).sum();
    if waited > 0 {
        out.push(
            "Advised jobs did not start: `omnipilot doctor` looks at limits and rules.".into(),
        );
    }
    Ok(out)
}

/// The model that most jobs of this cluster served.
pub(super) fn most_served(data: &Data) -> Option<String> {
    let mut jobs: BTreeMap<&str, BTreeSet<Option<(&str, u64)>>> = BTreeMap::new();
    let own = data
        .runs
        .iter()
        .filter(|r| r.run.origin == Origin::ThisCluster);
    for r in own {
        jobs.entry(&r.run.case.model)
            .or_default()
            .insert(job_of(&r.run));
    }
    let most = jobs.iter().max_by_key(|(_, jobs)| jobs.len());
    most.map(|(model, _)| (*model).to_owned())
}

/// True for a run of a job under an advice, as `ingest` notes it.
fn is_advised(run: &StoredRun) -> bool {
    run.run.notes.contains(", advice ")
}

/// Jobs of this cluster that ran under an advice.
pub(super) fn advised_jobs(runs: &[StoredRun]) -> usize {
    let own = runs.iter().filter(|r| r.run.origin == Origin::ThisCluster);
    let advised = own.filter(|r| is_advised(r));
    advised
        .filter_map(|r| job_of(&r.run))
        .collect::<BTreeSet<_>>()
        .len()
}

fn in_words(c: &Case) -> String {
    let tp = c.tp.map_or(String::new(), |tp| format!(" x {tp}"));
    let format = c.precision.map_or("", Precision::name);
    format!("{} on {}{tp} {format}", c.model, c.gpu)
}

/// The cells that the gate holds out, by the fit that is kept for it.
fn held_out(
    store: &Store,
    published: &Snapshot,
    stored: &[StoredRun],
    catalogue: &Catalogue,
) -> anyhow::Result<Vec<Point>> {
    let root = publish::root_of(store, &published.id)?;
    let Some(model) = publish::gate_of(store, &root)? else {
        return Ok(Vec::new());
    };
    let runs: Vec<Run> = stored.iter().map(|r| r.run.clone()).collect();
    let all = splits(&runs, catalogue, 1, 0);
    let held = all.into_iter().find(|s| s.protocol == Protocol::Cells);
    let held = held.map_or_else(Vec::new, |s| s.held);
    let one = |i: usize| {
        let stored = stored.get(i)?;
        let step = match stored.run.origin {
            Origin::ThisCluster => Step::ThisCluster,
            _ => model.step_to(&stored.run.source),
        };
        point(&stored.run, &model, step, stored.added_at, catalogue)
    };
    Ok(held.into_iter().filter_map(one).take(MOST_POINTS).collect())
}

/// The latest advised jobs that are looked up in accounting.
const MOST_JOBS: usize = 200;

/// For each advised job the GPU-hours that its output would have taken on what its user had asked
/// for, with the interval of that prediction, less those that it took.
fn saved(
    runs: &[StoredRun],
    published: &Snapshot,
    catalogue: &Catalogue,
) -> Result<Vec<Saved>, String> {
    let mut rates: BTreeMap<u64, Vec<&Run>> = BTreeMap::new();
    for r in runs.iter().filter(|r| is_advised(r)) {
        if let Some((_, id)) = job_of(&r.run) {
            rates.entry(id).or_default().push(&r.run);
        }
    }
    let latest: BTreeSet<u64> = rates.keys().rev().take(MOST_JOBS).copied().collect();
    if latest.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<u64> = latest.into_iter().collect();
    let rows = accounting::jobs(&ids).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    for row in rows {
        let of_job = rates.get(&row.job.job_id).map_or(&[][..], Vec::as_slice);
        let submitted = submitted::job(&row.job.job_id.to_string()).ok().flatten();
        let request = submitted.and_then(|s| s.asked?.ok());
        let wanted = request
            .and_then(|r| asked(&r.given))
            .and_then(|a| Some((a.gpu?, a.count?)));
        if let Some((gpu, count)) = wanted {
            out.extend(compare(
                of_job,
                &row.job,
                (&gpu, count),
                published,
                catalogue,
            ));
        }
    }
    Ok(out)
}

/// GPU-hours by which `count` GPUs at each of the foretold rates (low, middle, high; tokens/s) would have outlasted those
/// that ran, for the same tokens: low, middle, high. The fastest alternative saves least.
fn hours_saved((hours, rate): (f64, f64), took: f64, count: u32, foretold: [f64; 3]) -> [f64; 3] {
    let [lo, middle, hi] = foretold;
    [hi, middle, lo].map(|tok_s| hours * rate / tok_s.max(1e-9) * f64::from(count) - took)
}

/// The sums of all jobs' low, middle and high ends.
pub(super) fn sums(saved: &[Saved]) -> [f64; 3] {
    [0, 1, 2].map(|end| saved.iter().filter_map(|s| s.hours.get(end)).sum())
}

#[allow(clippy::cast_precision_loss)] // seconds and windows
fn compare(
    windows: &[&Run],
    job: &model_store::store::AccountedJob,
    (gres, count): (&str, u32),
    published: &Snapshot,
    catalogue: &Catalogue,
) -> Option<Saved> {
    let measured: Vec<f64> = windows
        .iter()
        .filter_map(|r| r.measured.output_tok_s)
        .collect();
    let rate = measured.iter().sum::<f64>() / measured.len().max(1) as f64;
    let run = windows.first().filter(|_| rate > 0.0)?;
    let site = published
        .body
        .gpus
        .iter()
        .find(|g| g.gres.eq_ignore_ascii_case(gres));
    let gpu = site
        .map(|g| g.gpu.as_str())
        .or_else(|| gpu_name_of_gres(gres))?;
    let case = Case {
        gpu: gpu.to_owned(),
        tp: Some(count),
        pp: 1,
        dp: 1,
        // Without an advice the engine serves what the name says.
        precision: Some(precision_in_name(&run.case.model).unwrap_or(Precision::Bf16)),
        ..run.case.clone()
    };
    let setup = Setup::of_case(&case, &run.source, catalogue).ok()?;
    let model = &published.body.model;
    let p = (*model
        .predict(&setup, Step::ThisCluster)
        .get(Target::OutputTokS as usize)?)?;
    let held: u32 = job.gpus.iter().map(|(_, n)| n).sum();
    let hours = job.elapsed_s as f64 / 3600.0;
    let took = hours * f64::from(held);
    let ran = job.gpus.first().map_or("", |(name, _)| name.as_str());
    Some(Saved {
        job: job.job_id,
        words: format!("{gres} x {count} asked, {ran} x {held} ran {rate:.0} tok/s"),
        hours: hours_saved((hours, rate), took, count, [p.lo, p.q50, p.hi]),
        took,
    })
}

/// Jobs that served by Slurm GPU type.
fn demand(
    store: &Store,
    runs: &[StoredRun],
    published: &Snapshot,
) -> anyhow::Result<BTreeMap<String, Demand>> {
    let mut out: BTreeMap<String, Demand> = BTreeMap::new();
    for d in store.demand(0).map_err(exit::store)? {
        for (gres, n) in &d.job.gpus {
            let of = out.entry(gres.clone()).or_default();
            of.untagged += 1;
            of.untagged_gpu_s += u64::from(*n) * d.job.elapsed_s;
        }
    }
    let mut seen = BTreeSet::new();
    let own = runs.iter().filter(|r| r.run.origin == Origin::ThisCluster);
    for r in own.filter(|r| job_of(&r.run).is_some_and(|job| seen.insert(job))) {
        let site = &published.body.gpus;
        let gres = site.iter().find(|g| g.gpu == r.run.case.gpu);
        let gres = gres.map_or(&r.run.case.gpu, |g| &g.gres);
        out.entry(gres.to_ascii_lowercase()).or_default().tagged += 1;
    }
    Ok(out)
}

/// Launches here by outcome: as advised, and as written.
pub(super) fn outcomes(runs: &[StoredRun]) -> [[u64; 5]; 2] {
    let mut out = [[0; 5]; 2];
    let mut seen = BTreeSet::new();
    for r in runs.iter().filter(|r| r.run.origin == Origin::ThisCluster) {
        let job = job_of(&r.run);
        if job.is_some() && !seen.insert(job) {
            continue;
        }
        let advised = usize::from(!is_advised(r));
        let class = RunOutcome::ALL
            .iter()
            .position(|o| *o == r.run.measured.outcome);
        if let Some(n) = class.and_then(|c| out.get_mut(advised)?.get_mut(c)) {
            *n += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_saved_are_those_of_the_same_tokens_on_what_was_asked_for() {
        // 2 h at 1,000 tokens/s on 2 GPUs: 4 GPU-hours. On the 8 that were asked for, at 2,000 tokens/s [1,600-2,500], the
        // same tokens take 1 h [0.8-1.25], which is 8 GPU-hours [6.4-10].
        let saved = hours_saved((2.0, 1000.0), 4.0, 8, [1600.0, 2000.0, 2500.0]);
        for (got, by_hand) in saved.iter().zip([2.4, 4.0, 6.0]) {
            assert!((got - by_hand).abs() < 1e-12, "{saved:?}");
        }
        // One GPU would have done it in 2 h as well: nothing saved, and between a loss and a gain.
        let saved = hours_saved((2.0, 1000.0), 4.0, 2, [800.0, 1000.0, 1250.0]);
        for (got, by_hand) in saved.iter().zip([-0.8, 0.0, 1.0]) {
            assert!((got - by_hand).abs() < 1e-12, "{saved:?}");
        }
    }

    #[test]
    fn what_all_jobs_saved_adds_up_end_by_end() {
        let job = |hours| Saved {
            job: 1,
            words: String::new(),
            hours,
            took: 4.0,
        };
        let all = [job([2.4, 4.0, 6.0]), job([-0.8, 0.0, 1.0])];
        let [lo, middle, hi] = sums(&all);
        assert!(
            (lo - 1.6).abs() < 1e-12 && (middle - 4.0).abs() < 1e-12 && (hi - 7.0).abs() < 1e-12
        );
        assert_eq!(sums(&[]), [0.0; 3]);
    }
}
