//! Training: every target's centre, quantiles and calibration.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::advisor::conformal::quantile;
use crate::advisor::elsewhere::Elsewhere;
use crate::advisor::features::{Categories, Row, for_trees};
use crate::advisor::forest::Forest;
use crate::advisor::kernel::Process;
use crate::advisor::model::{Model, TargetModel, fill_spread_slots};
use crate::advisor::site::SiteRun;
use crate::advisor::support::Envelope;
use crate::advisor::{Catalogue, Evidence, Origin, Run, Starts, Target};

use super::bins::Binned;
use super::boost::Plan;
use super::calibrate::Held;
use super::centre::{Centre, Learners};
use super::gauss::{self, Level, MOST_POINTS};
use super::krige::Kriging;
use super::learn::{CENTRE, Gaussian, SPREAD, Trees};
use super::local::Locals;
use super::prepare::{Prepared, Sample, is_advised_on, prepare, shows_performance};
use super::report::{Report, TargetReport};
use super::table;

/// Share of measured runs that the axis `distance` may call far when each is left out.
const FALSE_ABSTENTION: f64 = 0.05;

/// Fewest runs from which a target is fitted.
const FEWEST_RUNS: usize = 30;

/// Weight of one of this cluster's runs against one from elsewhere, once they are fitted.
const HOME_WEIGHT: f64 = 3.0;

/// Called after each target with how many of how many are done.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Trains a model on runs. What starts say comes beside it, from [`learn_starts`](super::learn_starts).
///
/// Deterministic: the same runs give the same model whatever their order and the number of
/// threads (as many as the machine offers, at most one a target).
pub fn train(runs: &[Run], catalogue: &Catalogue, progress: Progress) -> (Model, Report) {
    let prepared = prepare(runs, catalogue);
    let codes = prepared.codes();
    let rows = prepared.rows(&codes);
    let categories = prepared.categories(&codes);
    let table = Table {
        samples: &prepared.samples,
        rows: &rows,
        categories: &categories,
    };
    let fitted = in_parallel(&Target::ALL[..7], progress, |target| {
        one_target(target, &table)
    });
    let (targets, mut reports): (Vec<TargetModel>, Vec<TargetReport>) = fitted.into_iter().unzip();
    derive_request_rate(&mut reports);
    let launch = super::launch::table(&prepared.samples);
    let evidence = evidence(&prepared.samples);
    let mut report = Report {
        evidence,
        left_out: prepared.left_out.clone(),
        targets: reports,
    };
    let launches: u32 = launch.groups.iter().map(|(_, rate)| rate.n).sum();
    let mut last = TargetReport::unknown(Target::LaunchSuccess, launches as usize);
    last.calibrated = !launch.groups.is_empty();
    last.calibrated_elsewhere = launch.pooled.is_some();
    report.targets.push(last);
    let model = Model {
        codes,
        targets,
        launch,
        starts: Starts::default(),
        envelope: envelope(&prepared),
        sources: sources(&prepared.samples, |s| !s.is_home()),
        ours: sources(&prepared.samples, |s| s.is_home()),
        evidence,
        here: here(&prepared.samples),
    };
    (model, report)
}

/// A model that has learnt nothing from runs but how far the physics is off at places never seen:
/// what [`train`] has to be ahead of there.
pub(super) fn physics_alone(runs: &[Run], catalogue: &Catalogue) -> Model {
    let prepared = prepare(runs, catalogue);
    let codes = prepared.codes();
    let rows = prepared.rows(&codes);
    let categories = prepared.categories(&codes);
    let table = Table {
        samples: &prepared.samples,
        rows: &rows,
        categories: &categories,
    };
    let one = |target: &Target| {
        let task = table.task(*target, |s| !s.is_home());
        let held = Held {
            samples: &task.samples,
        };
        let nothing_learnt = |rows: Vec<usize>| (rows.iter().map(|i| task.y[*i]).collect(), rows);
        let left_out: Vec<_> = held.campaigns().into_iter().map(nothing_learnt).collect();
        let (_, elsewhere) = held.elsewhere(*target, &task.y, &left_out);
        TargetModel {
            elsewhere,
            ..TargetModel::default()
        }
    };
    let targets = Target::ALL[..7].iter().map(one).collect();
    Model {
        targets,
        launch: super::launch::table(&prepared.samples),
        starts: Starts::default(),
        envelope: envelope(&prepared),
        sources: sources(&prepared.samples, |s| !s.is_home()),
        ours: sources(&prepared.samples, |s| s.is_home()),
        evidence: evidence(&prepared.samples),
        here: here(&prepared.samples),
        codes,
    }
}

/// Moves a model that knows none of this cluster's runs to these few: the part of [`train`] that they
/// take, without fitting anything from elsewhere again. Runs of another origin are not looked at.
pub fn settle(model: &mut Model, home: &[Run], catalogue: &Catalogue) {
    let prepared = prepare(home, catalogue);
    let rows = prepared.rows(&model.codes);
    let categories = prepared.categories(&model.codes);
    let table = Table {
        samples: &prepared.samples,
        rows: &rows,
        categories: &categories,
    };
    for (target, of) in Target::ALL.into_iter().zip(&mut model.targets) {
        let task = table.task(target, |s| s.is_home());
        if !task.y.is_empty() && target != Target::ReqS {
            settle_at_home(of, &task);
        }
    }
    model.evidence.this_cluster = evidence(&prepared.samples).this_cluster;
    model.ours = sources(&prepared.samples, |s| s.is_home());
    model.here = here(&prepared.samples);
}

/// Works the items off on a few threads; results come back in the items' order.
fn in_parallel<T: Send, I: Copy + Sync>(
    items: &[I],
    progress: Progress,
    work: impl Fn(I) -> T + Sync,
) -> Vec<T> {
    let threads = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(items.len());
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let results: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::new());
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::SeqCst);
            let Some(item) = items.get(at) else { break };
            let result = work(*item);
            results
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((at, result));
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

/// Requests/s follow from tokens/s, and so does what is known of them.
fn derive_request_rate(reports: &mut [TargetReport]) {
    let tokens = reports
        .iter()
        .find(|r| r.target == Target::OutputTokS.name())
        .cloned();
    let rate = reports.iter_mut().find(|r| r.target == Target::ReqS.name());
    if let (Some(tokens), Some(rate)) = (tokens, rate) {
        *rate = TargetReport {
            target: rate.target,
            runs: rate.runs,
            ..tokens
        };
    }
}

/// What one target is fitted to.
pub(super) struct Task<'a> {
    target: Target,
    pub(super) samples: Vec<&'a Sample<'a>>,
    rows: Vec<Row>,
    categories: Vec<Categories>,
    y: Vec<f64>,
    weights: Vec<f64>,
    /// For each row its place among the points of the processes, where it is one.
    points: Vec<Option<usize>>,
}

impl Task<'_> {
    fn table(&self) -> table::Table<'_> {
        table::Table {
            rows: &self.rows,
            categories: &self.categories,
            y: &self.y,
            weights: &self.weights,
            points: &self.points,
        }
    }
}

/// Everything that all targets share.
pub(super) struct Table<'a> {
    pub(super) samples: &'a [Sample<'a>],
    pub(super) rows: &'a [Row],
    pub(super) categories: &'a [Categories],
}

impl<'a> Table<'a> {
    /// The rows of a target among those that `takes`.
    pub(super) fn task(&self, target: Target, takes: impl Fn(&Sample) -> bool) -> Task<'a> {
        let measured = |i: usize| {
            self.samples[i]
                .residual(target)
                .filter(|_| is_advised_on(&self.samples[i]))
        };
        let chosen: Vec<(usize, f64)> = (0..self.samples.len())
            .filter(|i| takes(&self.samples[*i]))
            .filter_map(|i| measured(i).map(|y| (i, y)))
            .collect();
        let weight = |s: &Sample| if s.is_home() { HOME_WEIGHT } else { 1.0 };
        Task {
            target,
            points: points(chosen.len()),
            samples: chosen.iter().map(|(i, _)| &self.samples[*i]).collect(),
            rows: chosen.iter().map(|(i, _)| self.rows[*i]).collect(),
            categories: chosen.iter().map(|(i, _)| self.categories[*i]).collect(),
            y: chosen.iter().map(|(_, y)| *y).collect(),
            weights: chosen
                .iter()
                .map(|(i, _)| weight(&self.samples[*i]))
                .collect(),
        }
    }
}

fn one_target(target: Target, table: &Table) -> (TargetModel, TargetReport) {
    if target == Target::ReqS {
        let runs = table.task(target, |_| true).y.len();
        return (TargetModel::default(), TargetReport::unknown(target, runs));
    }
    let (home, elsewhere) = (
        table.task(target, |s| s.is_home()),
        table.task(target, |s| !s.is_home()),
    );
    if home.y.len() < Evidence::LEADS_FROM as usize && elsewhere.y.len() >= FEWEST_RUNS {
        return fit_target(&elsewhere, &home);
    }
    let all = table.task(target, |_| true);
    if all.y.len() < FEWEST_RUNS {
        return by_physics(target, &home, all.y.len());
    }
    fit_target(&all, &table.task(target, |_| false))
}

/// A target of which too few runs are known to learn from: where the physics foretells it, that is
/// said, with the bands of public sources, and this cluster's runs shift it.
fn by_physics(target: Target, home: &Task, runs: usize) -> (TargetModel, TargetReport) {
    let report = TargetReport::unknown(target, runs);
    let Some(elsewhere) = Elsewhere::of_public_sources(target) else {
        return (TargetModel::default(), report);
    };
    let mut model = TargetModel {
        elsewhere,
        ..TargetModel::default()
    };
    if !home.y.is_empty() {
        settle_at_home(&mut model, home);
    }
    let report = TargetReport {
        calibrated_elsewhere: true,
        ..report
    };
    (model, report)
}

/// True for `most` of `n` rows, at equal distances.
fn spread(n: usize, most: usize) -> Vec<bool> {
    let taken = |i: usize| n <= most || (i * most / n) != ((i + 1) * most / n);
    (0..n).map(taken).collect()
}

/// A share of the rows as points of the process: every k-th of a fixed order.
fn points(n: usize) -> Vec<Option<usize>> {
    let mut next = 0..;
    let of_row = |taken: bool| taken.then(|| next.next()).flatten();
    spread(n, MOST_POINTS).into_iter().map(of_row).collect()
}

/// The doubt about each row: with its whole fold out of sight, and with itself alone out of sight.
fn doubts(process: &Process, task: &Task, held: &Held) -> Vec<[f64; 2]> {
    let points = &task.points;
    let fold_of_point: Vec<usize> = (0..task.y.len())
        .filter(|i| points[*i].is_some())
        .map(|i| held.fold_of(task.samples[i]))
        .collect();
    let one = |i: usize| {
        let near = process.distances(&process.place(&task.rows[i], task.categories[i]));
        let fold = held.fold_of(task.samples[i]);
        [
            process.doubt_of(&near, |p| fold_of_point[p] == fold),
            process.doubt_of(&near, |p| points[i] == Some(p)),
        ]
    };
    (0..task.y.len()).map(one).collect()
}

/// One target with everything that its learners stand on.
pub(super) struct Ready<'a> {
    task: &'a Task<'a>,
    fitted: gauss::Fitted,
    /// Rows as trees take them.
    rows: Vec<Row>,
    data: Binned,
    locals: Locals<'a>,
}

impl<'a> Ready<'a> {
    /// Fits the processes; `None` where no covariance can be factored.
    pub(super) fn new(task: &'a Task<'a>) -> Option<Self> {
        let table = task.table();
        let fitted = gauss::fit(&table.chosen(|_| true), Level::about(&task.y))?;
        let locals = Locals::fit(table);
        let rows: Vec<Row> = task.rows.iter().map(|r| for_trees(*r)).collect();
        Some(Self {
            data: Binned::new(&rows),
            task,
            fitted,
            rows,
            locals,
        })
    }

    /// Trees of another plan than that of the centre.
    pub(super) fn trees(&self, plan: Plan) -> Trees<'_> {
        Trees {
            data: &self.data,
            rows: &self.rows,
            y: &self.task.y,
            weights: &self.task.weights,
            plan,
        }
    }

    /// The learners of the centre.
    pub(super) fn learners(&self) -> Learners<'_> {
        Learners {
            common: Gaussian {
                fitted: &self.fitted,
                table: self.task.table(),
            },
            locals: &self.locals,
            trees: self.trees(CENTRE),
        }
    }

    /// Log residuals about the physics.
    pub(super) fn targets(&self) -> &[f64] {
        &self.task.y
    }

    /// The rows, to be held out.
    pub(super) fn held(&self) -> Held<'_> {
        Held {
            samples: &self.task.samples,
        }
    }
}

fn fit_target(task: &Task, home: &Task) -> (TargetModel, TargetReport) {
    let Some(ready) = Ready::new(task) else {
        let unknown = TargetReport::unknown(task.target, task.y.len());
        return (TargetModel::default(), unknown);
    };
    let held = ready.held();
    let centre = Centre::choose(ready.learners(), &held);
    let doubts = doubts(&ready.fitted.process, task, &held);
    let mut model = calibrated(task, &centre, &doubts, &held);
    model.runs = u32::try_from(task.y.len() + home.y.len()).unwrap_or(u32::MAX);
    model.most_doubt = most_doubt(&doubts);
    let (remains, own_shares) = (centre.remains, centre.own_shares);
    model.locals = ready.locals.publish(&own_shares);
    model.process = ready.fitted.into_process();
    if !home.y.is_empty() {
        settle_at_home(&mut model, home);
    }
    let report = target_report(task, &remains, &model);
    (model, report)
}

/// Trees, spread and calibration about a centre; its processes are still missing.
fn calibrated(task: &Task, centre: &Centre, doubts: &[[f64; 2]], held: &Held) -> TargetModel {
    let mut rows = centre.learners.trees.rows.to_vec();
    for (i, row) in rows.iter_mut().enumerate() {
        fill_spread_slots(row, doubts[i][0], centre.disputes[i]);
    }
    let (spread, foreseen) = fit_spread(task, &rows, &centre.remains, held);
    let same_source = held.bands(&centre.remains, &foreseen);
    let tails = same_source
        .pooled
        .map_or([1.0, 1.0], |t| t.map(|x| x.max(0.0)));
    let ends = |i: usize| [-tails[0] * foreseen[i], tails[1] * foreseen[i]];
    let left_out = centre.without_each_campaign(held);
    let (carry, elsewhere) = held.elsewhere(task.target, &task.y, &left_out);
    TargetModel {
        carry,
        shares: centre.shares,
        forest: centre.learners.trees.without(&[]),
        spread,
        tails,
        this_cluster: held.at_home(&centre.remains, &ends),
        elsewhere,
        same_source,
        ..TargetModel::default()
    }
}

/// The doubt that all but a few measured runs stay below when each is left out.
fn most_doubt(doubts: &[[f64; 2]]) -> f64 {
    let mut alone: Vec<f64> = doubts.iter().map(|d| d[1]).collect();
    quantile(&mut alone, 1.0 - FALSE_ABSTENTION).unwrap_or(1.0)
}

/// Trees of the log spread, and what they say of each row without having seen its fold.
fn fit_spread(task: &Task, rows: &[Row], remains: &[f64], held: &Held) -> (Forest, Vec<f64>) {
    let log_spread: Vec<f64> = remains.iter().map(|r| (r.abs() + 0.005).ln()).collect();
    let data = Binned::new(rows);
    let trees = Trees {
        data: &data,
        rows,
        y: &log_spread,
        weights: &task.weights,
        plan: SPREAD,
    };
    let left = held.out_of_fold(&trees);
    let foreseen = log_spread
        .iter()
        .zip(&left)
        .map(|(y, r)| (y - r).exp())
        .collect();
    (trees.without(&[]), foreseen)
}

/// Shifts what is said of places never seen towards this cluster's few runs, and measures how far
/// they then lie from it.
fn settle_at_home(model: &mut TargetModel, home: &Task) {
    let residuals: Vec<f64> = (0..home.y.len())
        .map(|i| {
            let setup = &home.samples[i].setup;
            home.y[i] - model.carried(setup, &home.rows[i], home.categories[i])
        })
        .collect();
    let runs = home
        .samples
        .iter()
        .map(|s| SiteRun::of(&s.setup, &s.physics, home.target))
        .collect();
    let cells: Vec<u64> = home.samples.iter().map(|s| s.cell).collect();
    if let Some(kriging) = Kriging::fit(runs, &residuals, home.target) {
        model.site = kriging.shift(&cells);
    }
}

fn target_report(task: &Task, remains: &[f64], model: &TargetModel) -> TargetReport {
    let held = Held {
        samples: &task.samples,
    };
    let logs: Vec<f64> = task
        .samples
        .iter()
        .zip(&task.y)
        .map(|(s, y)| y + s.physics.estimate(&s.setup, task.target).ln())
        .collect();
    let mut report =
        TargetReport::unknown(task.target, model.runs as usize).with_errors(remains, &logs);
    report.sources = u32::try_from(held.laboratories()).unwrap_or(u32::MAX);
    report.calibrated = model.same_source.pooled.is_some();
    report.calibrated_elsewhere = !model.elsewhere.is_empty();
    report.widening = [
        model.same_source.pooled.map(|t| t[0].max(t[1])),
        model.this_cluster.pooled.or(model.site.reach),
        model
            .elsewhere
            .all()
            .map(|band| band.sides[0].max(band.sides[1])),
    ];
    report
}

fn evidence(samples: &[Sample]) -> Evidence {
    let shows = |origin| {
        samples
            .iter()
            .filter(move |s| s.run.origin == origin && shows_performance(s))
            .count()
    };
    let count = |origin| u32::try_from(shows(origin)).unwrap_or(u32::MAX);
    Evidence {
        this_cluster: count(Origin::ThisCluster),
        on_other_gpus: 0,
        other_cluster: count(Origin::OtherCluster),
        published: count(Origin::Published),
    }
}

/// This cluster's runs that show performance, by GPU.
fn here(samples: &[Sample]) -> Vec<(String, u32)> {
    let mut by_gpu: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
    for s in samples
        .iter()
        .filter(|s| s.is_home() && shows_performance(s))
    {
        *by_gpu.entry(s.setup.gpu.name.to_owned()).or_default() += 1;
    }
    by_gpu.into_iter().collect()
}

fn envelope(prepared: &Prepared) -> Envelope {
    let mut envelope = Envelope::default();
    for s in prepared.samples.iter().filter(|s| shows_performance(s)) {
        envelope.add(&s.run.run_id, s.run.origin, &s.setup, &s.physics);
    }
    envelope.landmarks.thin(MOST_POINTS);
    envelope
}

fn sources(samples: &[Sample], of: impl Fn(&Sample) -> bool) -> Vec<String> {
    let chosen = samples.iter().filter(|s| of(s));
    let mut names: Vec<String> = chosen.map(|s| s.run.source.clone()).collect();
    names.sort();
    names.dedup();
    names
}
