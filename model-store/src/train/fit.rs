//! Training: every target's centre, quantiles and calibration.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::advisor::features::Row;
use crate::advisor::model::{Model, TargetModel};
use crate::advisor::site::SiteRun;
use crate::advisor::support::Envelope;
use crate::advisor::{Catalogue, Evidence, Origin, Run, Target};

use super::boost::{Binned, fit};
use super::calibrate::{CENTRE, Task, home_calibration, spread};
use super::krige::Kriging;
use super::prepare::{Prepared, Sample, prepare, shows_performance};
use super::report::{Report, TargetReport};

/// Fewest runs from which a target is fitted.
const FEWEST_RUNS: usize = 30;

/// From this many runs on, this cluster's runs are fitted with the others; below, they shift a
/// centre that was fitted elsewhere.
const HOME_FITS_FROM: usize = 400;

/// Weight of one of this cluster's runs against one from elsewhere, once they are fitted.
const HOME_WEIGHT: f64 = 3.0;

/// Called after each target with how many of how many are done.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Trains a model on runs.
///
/// Deterministic: the same runs give the same model whatever their order and the number of
/// threads (as many as the machine offers, at most one a target).
pub fn train(runs: &[Run], catalogue: &Catalogue, progress: Progress) -> (Model, Report) {
    let prepared = prepare(runs, catalogue);
    let codes = prepared.codes();
    let rows = prepared.rows(&codes);
    let data = Binned::new(&rows);
    let fitted = in_parallel(&Target::ALL[..7], progress, |target| one_target(target, &prepared.samples, &rows, &data));
    let (targets, reports): (Vec<TargetModel>, Vec<TargetReport>) = fitted.into_iter().unzip();
    let launch = super::launch::table(&prepared.samples);
    let evidence = evidence(&prepared.samples);
    let mut report = Report { evidence, left_out: prepared.left_out.clone(), targets: reports };
    let launches: u32 = launch.groups.iter().map(|(_, rate)| rate.n).sum();
    let mut last = TargetReport::unknown(Target::LaunchSuccess, launches as usize);
    last.calibrated = !launch.groups.is_empty();
    last.calibrated_elsewhere = launch.pooled.is_some();
    report.targets.push(last);
    let model = Model { codes, targets, launch, envelope: envelope(&prepared), sources: sources(&prepared.samples), evidence };
    (model, report)
}

/// Works the items off on a few threads; results come back in the items' order.
fn in_parallel<T: Send, I: Copy + Sync>(items: &[I], progress: Progress, work: impl Fn(I) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::new());
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::SeqCst);
            let Some(item) = items.get(at) else { break };
            let result = work(*item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
            progress(done.fetch_add(1, Ordering::SeqCst) + 1, items.len());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(worker);
        }
    });
    let mut all = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, result)| result).collect()
}

fn one_target(target: Target, samples: &[Sample], rows: &[Row], data: &Binned) -> (TargetModel, TargetReport) {
    let residuals: Vec<Option<f64>> = samples.iter().map(|s| s.residual(target)).collect();
    let measured = |home: bool| -> Vec<u32> {
        (0u32..)
            .zip(samples)
            .zip(&residuals)
            .filter(|((_, s), r)| r.is_some() && s.is_home() == home)
            .map(|((i, _), _)| i)
            .collect()
    };
    let (home, elsewhere) = (measured(true), measured(false));
    let apart = home.len() < HOME_FITS_FROM && elsewhere.len() >= FEWEST_RUNS;
    let mut chosen = elsewhere;
    if !apart {
        chosen.extend(&home);
        chosen.sort_unstable();
    }
    if chosen.len() < FEWEST_RUNS {
        return (TargetModel::default(), TargetReport::unknown(target, chosen.len()));
    }
    let weight = |s: &Sample| if s.is_home() { HOME_WEIGHT } else { 1.0 };
    let task = Task {
        samples,
        data,
        rows,
        chosen,
        y: residuals.iter().map(|r| r.unwrap_or(0.0)).collect(),
        weights: samples.iter().map(weight).collect(),
    };
    let shifting: &[u32] = if apart { &home } else { &[] };
    fit_target(target, &task, shifting)
}

fn fit_target(target: Target, task: &Task, home: &[u32]) -> (TargetModel, TargetReport) {
    let remains = task.out_of_fold();
    let scores = task.cell_scores(&remains);
    let [lower, upper] = [0.1, 0.9].map(|q| fit(task.data, &task.chosen, &remains, &task.weights, spread(q)));
    let ends = |i: u32| {
        let row = &task.rows[i as usize];
        [lower.value(row).min(0.0), upper.value(row).max(0.0)]
    };
    let elsewhere = task.elsewhere(target, &ends);
    let centre = fit(task.data, &task.chosen, &task.y, &task.weights, CENTRE);
    let near: Vec<&Sample> = home.iter().map(|i| &task.samples[*i as usize]).collect();
    let residual = |i: &u32| task.y[*i as usize] - centre.value(&task.rows[*i as usize]);
    let site_runs = near.iter().map(|s| SiteRun::of(&s.setup, &s.physics)).collect();
    let kriging = Kriging::fit(site_runs, &home.iter().map(residual).collect::<Vec<f64>>());
    let this_cluster = if home.is_empty() {
        task.by_group(&scores, true)
    } else {
        home_calibration(&near, &kriging, &|i| ends(home[i]))
    };
    let model = TargetModel {
        runs: u32::try_from(task.chosen.len() + home.len()).unwrap_or(u32::MAX),
        same_source: task.by_group(&scores, false),
        this_cluster,
        elsewhere,
        centre,
        lower,
        upper,
        site: kriging.shift(),
    };
    let report = target_report(target, task, &remains, &model);
    (model, report)
}

fn target_report(target: Target, task: &Task, remains: &[f64], model: &TargetModel) -> TargetReport {
    let of = |i: &u32| &task.samples[*i as usize];
    let held: Vec<f64> = task.chosen.iter().map(|i| remains[*i as usize]).collect();
    let logs: Vec<f64> = task
        .chosen
        .iter()
        .map(|i| task.y[*i as usize] + of(i).physics.estimate(&of(i).setup, target).ln())
        .collect();
    let mut report = TargetReport::unknown(target, model.runs as usize).with_errors(&held, &logs);
    report.sources = u32::try_from(task.laboratories()).unwrap_or(u32::MAX);
    report.calibrated = model.same_source.pooled.is_some();
    report.calibrated_elsewhere = model.elsewhere.pooled.is_some();
    report.widening = [model.same_source.pooled, model.this_cluster.pooled, model.elsewhere.pooled];
    report
}

/// Runs that show what their configuration delivers; a launch that failed is no evidence of speed.
fn evidence(samples: &[Sample]) -> Evidence {
    let shows = |origin| samples.iter().filter(move |s| s.run.origin == origin && shows_performance(s)).count();
    let count = |origin| u32::try_from(shows(origin)).unwrap_or(u32::MAX);
    Evidence {
        this_cluster: count(Origin::ThisCluster),
        other_cluster: count(Origin::OtherCluster),
        published: count(Origin::Published),
    }
}

fn envelope(prepared: &Prepared) -> Envelope {
    let mut envelope = Envelope::default();
    for s in prepared.samples.iter().filter(|s| shows_performance(s)) {
        envelope.add(&s.run.run_id, &s.setup, &s.physics);
    }
    envelope
}

fn sources(samples: &[Sample]) -> Vec<String> {
    let mut names: Vec<String> = samples.iter().map(|s| s.run.source.clone()).collect();
    names.sort();
    names.dedup();
    names
}
