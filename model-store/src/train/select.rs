//! Which runs are trained on: age, engine version, and how much one user may say.
//!
//! Any user's job may report any rate that its GPUs could reach. So what one user says of a
//! configuration counts a few times and no more, what disagrees with all the others is set aside,
//! and no user has more than a third of the evidence once there are others to compare with. Users
//! whom the site trusts (its own benchmarks) are exempt. `SECURITY.md` states the limit that
//! follows; a test measures it.
//!
//! Training takes time and memory by the number of runs, so a store of a million gives a hundred thousand of them: of every
//! cell the newest, in turns over the users who measured it.

use std::collections::{BTreeMap, BTreeSet};

use crate::advisor::physics::physics;
use crate::advisor::{Catalogue, Origin, Run, Setup, Target};
use crate::hashing::fnv1a;

/// Engine versions of this cluster, newest first, whose runs are taken, once [`ENOUGH_OF_STACK`]
/// runs of those are there.
const STACKS: usize = 3;
/// See [`STACKS`].
const ENOUGH_OF_STACK: usize = 100;
/// Other users from which there is a consensus to compare with.
const FEWEST_OTHERS: usize = 2;
/// Share of the log of [`Policy::agreement`] by which a user's median may differ: one run may be
/// odd, all of them together may not.
const OF_MEDIAN: f64 = 0.585;
/// Targets in which a run may disagree.
const COMPARED: [Target; 3] = [Target::OutputTokS, Target::TtftMs, Target::TpotMs];

/// A run with who measured it and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// The run.
    pub run: Run,
    /// User whose job measured it; `None` for imports and published figures.
    pub user: Option<String>,
    /// When its job ended, Unix seconds; `None` where not known.
    pub ended: Option<i64>,
}

/// What is selected.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Now, Unix seconds.
    pub now: i64,
    /// Runs of this cluster older than this, s, are left out.
    pub longest_age_s: i64,
    /// Most runs of one user in one cell: model, GPU, TP, precision, load to an octave. As many of
    /// one model on one GPU are taken in any case, twice as many on one GPU, four times in all.
    pub runs_per_cell: usize,
    /// Factor by which a run may differ from what others measured of the same model on the same
    /// GPU, relative to the physics; on the same GPU alone 1.5 times, on any GPU twice as much. The
    /// median of a user's runs may differ by the 0.585th power of it, 1.5 for 2.
    pub agreement: f64,
    /// Most runs in all.
    pub most_runs: usize,
    /// Users whose runs are taken without these limits.
    pub trusted: BTreeSet<String>,
    /// Users whose runs are left out.
    pub left_out: BTreeSet<String>,
}

impl Policy {
    /// The defaults, at this time.
    pub fn at(now: i64) -> Self {
        Self {
            now,
            longest_age_s: 730 * 86_400,
            runs_per_cell: 4,
            agreement: 2.0,
            most_runs: 100_000,
            trusted: BTreeSet::new(),
            left_out: BTreeSet::new(),
        }
    }
}

/// What was selected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selection {
    /// Runs to train on, in the order in which they came.
    pub runs: Vec<Run>,
    /// How many were not taken, by reason.
    pub left_out: Vec<(String, u32)>,
}

/// Selects. Runs that no user of this cluster measured pass, but for their age.
pub fn select(all: Vec<Measurement>, catalogue: &Catalogue, policy: &Policy) -> Selection {
    let mut reasons: Vec<Option<String>> = all.iter().map(|m| plainly_out(m, policy)).collect();
    old_stacks(&all, &mut reasons);
    let doubtful = Doubtful::of(&all, policy);
    doubtful.cap_cells(&all, &mut reasons);
    doubtful.check_agreement(&all, catalogue, &mut reasons);
    doubtful.cap_users(&all, &mut reasons);
    if thin(&all, policy.most_runs, &mut reasons) {
        // What is gone of others makes a user's share larger.
        doubtful.cap_users(&all, &mut reasons);
    }
    let mut left_out: BTreeMap<String, u32> = BTreeMap::new();
    let mut runs = Vec::with_capacity(all.len());
    for (m, reason) in all.into_iter().zip(reasons) {
        match reason {
            None => runs.push(m.run),
            Some(reason) => *left_out.entry(reason).or_default() += 1,
        }
    }
    Selection {
        runs,
        left_out: left_out.into_iter().collect(),
    }
}

fn is_here(m: &Measurement) -> bool {
    m.run.origin == Origin::ThisCluster
}

fn plainly_out(m: &Measurement, policy: &Policy) -> Option<String> {
    let user = m.user.as_deref().unwrap_or_default();
    if policy.left_out.contains(user) {
        return Some("its user is left out by the configuration".into());
    }
    let old = m
        .ended
        .is_some_and(|at| policy.now - at > policy.longest_age_s);
    (is_here(m) && old).then(|| format!("older than {} d", policy.longest_age_s / 86_400))
}

/// Leaves out what engines measured here that have been replaced since, where the newer ones have
/// been measured enough.
fn old_stacks(all: &[Measurement], reasons: &mut [Option<String>]) {
    /// When a version was last used, and its runs.
    type Version = (i64, Vec<usize>);
    let mut versions: BTreeMap<(&str, &str), BTreeMap<&str, Version>> = BTreeMap::new();
    for (i, m) in all.iter().enumerate() {
        let (case, at) = (&m.run.case, m.ended.unwrap_or(i64::MIN));
        if is_here(m) && reasons[i].is_none() && !case.engine_version.is_empty() {
            let entry = versions
                .entry((&case.engine, &case.gpu))
                .or_default()
                .entry(&case.engine_version)
                .or_insert((at, Vec::new()));
            entry.0 = entry.0.max(at);
            entry.1.push(i);
        }
    }
    for of_gpu in versions.into_values() {
        let mut newest_first: Vec<Version> = of_gpu.into_values().collect();
        newest_first.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let newer: usize = newest_first.iter().take(STACKS).map(|(_, r)| r.len()).sum();
        if newer < ENOUGH_OF_STACK {
            continue;
        }
        for i in newest_first.into_iter().skip(STACKS).flat_map(|(_, r)| r) {
            reasons[i] = Some(format!(
                "an engine version that {STACKS} newer ones have replaced"
            ));
        }
    }
}

/// The runs of users who are not trusted beyond measure, by user.
struct Doubtful<'a> {
    policy: &'a Policy,
    users: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Doubtful<'a> {
    fn of(all: &'a [Measurement], policy: &'a Policy) -> Self {
        let mut users: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (i, m) in all.iter().enumerate() {
            if let Some(user) = m.user.as_deref().filter(|u| !policy.trusted.contains(*u)) {
                users.entry(user).or_default().push(i);
            }
        }
        // The newest first: where some have to go, the oldest do.
        for runs in users.values_mut() {
            runs.sort_by_key(|i| (std::cmp::Reverse(all[*i].ended), all[*i].run.run_id.clone()));
        }
        Self { policy, users }
    }

    fn cap_cells(&self, all: &[Measurement], reasons: &mut [Option<String>]) {
        let most = self.policy.runs_per_cell;
        for runs in self.users.values() {
            let mut taken: BTreeMap<String, usize> = BTreeMap::new();
            for i in runs {
                if reasons[*i].is_some() {
                    continue;
                }
                let count = taken.entry(cell(&all[*i].run)).or_default();
                *count += 1;
                if *count > most {
                    reasons[*i] = Some(format!("more runs of one user in one cell than {most}"));
                }
            }
        }
    }

    /// Sets runs aside that differ from what at least two others measured by more than a factor.
    fn check_agreement(
        &self,
        all: &[Measurement],
        catalogue: &Catalogue,
        reasons: &mut [Option<String>],
    ) {
        let residuals: Vec<[Option<f64>; 3]> =
            all.iter().map(|m| residuals(&m.run, catalogue)).collect();
        let levels = Levels::of(all, &residuals, reasons);
        let limit = self.policy.agreement.max(1.0).ln();
        for (user, runs) in &self.users {
            for i in runs
                .iter()
                .filter(|i| reasons[**i].is_none())
                .collect::<Vec<_>>()
            {
                for (target, own) in residuals[*i].iter().enumerate() {
                    let Some((own, (level, slack))) =
                        own.zip(levels.of_others(user, &all[*i].run, target))
                    else {
                        continue;
                    };
                    let median = levels.of_user(user, &all[*i].run, target).unwrap_or(own);
                    let odd = (own - level).abs() > limit + slack;
                    if odd || (median - level).abs() > OF_MEDIAN * limit + slack {
                        reasons[*i] = Some("it differs from what all other users measured".into());
                    }
                }
            }
        }
    }

    /// Of one model on one GPU, on one GPU, and in all, no user keeps more runs than half of what
    /// all the others have there, so none has more than a third. Without two others there is nobody
    /// to compare with.
    fn cap_users(&self, all: &[Measurement], reasons: &mut [Option<String>]) {
        for width in 0..WIDTHS {
            let floor = self.policy.runs_per_cell << width;
            let mut there: BTreeMap<Place, BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
            for (i, m) in all.iter().enumerate() {
                if let Some(user) = m.user.as_deref().filter(|_| reasons[i].is_none()) {
                    let users = there.entry(places(&m.run)[width].clone()).or_default();
                    users.entry(user).or_default().push(i);
                }
            }
            for users in there.into_values().filter(|u| u.len() > FEWEST_OTHERS) {
                let total: usize = users.values().map(Vec::len).sum();
                for (user, here) in users {
                    let Some(newest_first) = self.users.get(user) else {
                        continue;
                    };
                    let most = ((total - here.len()) / 2).max(floor);
                    let here: BTreeSet<usize> = here.into_iter().collect();
                    let surplus = newest_first.iter().filter(|i| here.contains(i)).skip(most);
                    for i in surplus {
                        reasons[*i] =
                            Some("more than a third of the evidence from one user".into());
                    }
                }
            }
        }
    }
}

/// Leaves so many runs at most: of every cell of every source the same number, as large as it can be, in turns over its users
/// and of each the newest first. Where there are more cells than runs may be, cells go by their hash. False where nothing had to go.
fn thin(all: &[Measurement], most: usize, reasons: &mut [Option<String>]) -> bool {
    let mut cells: BTreeMap<(String, &str), BTreeMap<&str, Vec<usize>>> = BTreeMap::new();
    let mut kept = 0;
    for (i, m) in all
        .iter()
        .enumerate()
        .filter(|(i, _)| reasons[*i].is_none())
    {
        kept += 1;
        let user = m.user.as_deref().unwrap_or_default();
        let of_cell = cells.entry((cell(&m.run), &m.run.source)).or_default();
        of_cell.entry(user).or_default().push(i);
    }
    if kept <= most {
        return false;
    }
    let mut queues: Vec<(u64, Vec<usize>)> = cells
        .into_iter()
        .map(|((name, source), users)| {
            (
                fnv1a(name.bytes().chain(source.bytes())),
                in_turns(all, users),
            )
        })
        .collect();
    queues.sort_unstable_by_key(|(hash, _)| *hash);
    let mut order: Vec<(usize, usize, usize)> = Vec::with_capacity(kept);
    for (at, (_, queue)) in queues.iter().enumerate() {
        order.extend(queue.iter().enumerate().map(|(turn, i)| (turn, at, *i)));
    }
    order.sort_unstable();
    for (.., i) in order.into_iter().skip(most) {
        reasons[i] = Some(format!("more than {most} runs: older ones of their cells"));
    }
    true
}

/// One run of each user, then the next of each, newest first.
fn in_turns(all: &[Measurement], users: BTreeMap<&str, Vec<usize>>) -> Vec<usize> {
    let mut out: Vec<(usize, std::cmp::Reverse<Option<i64>>, usize)> = Vec::new();
    for mut runs in users.into_values() {
        runs.sort_by_key(|i| (std::cmp::Reverse(all[*i].ended), *i));
        let turns = runs.into_iter().enumerate();
        out.extend(turns.map(|(turn, i)| (turn, std::cmp::Reverse(all[i].ended), i)));
    }
    out.sort_unstable();
    out.into_iter().map(|(.., i)| i).collect()
}

/// Model x GPU x TP x precision x load to an octave: where a user's runs say the same thing.
fn cell(run: &Run) -> String {
    let c = &run.case;
    let octave = |x: Option<f64>| x.map_or(-1.0, |x| x.max(1.0).log2().round());
    format!(
        "{}|{}|{:?}|{:?}|{}|{}|{}|{}",
        c.model,
        c.gpu,
        c.tp,
        c.precision,
        octave(c.isl),
        octave(c.osl),
        octave(c.concurrency),
        run.measured.output_tok_s.is_some()
    )
}

/// `ln(measured / estimated by physics)` of the targets that are compared.
fn residuals(run: &Run, catalogue: &Catalogue) -> [Option<f64>; 3] {
    let Ok(setup) = Setup::of_case(&run.case, &run.source, catalogue) else {
        return [None; 3];
    };
    let physics = physics(&setup);
    COMPARED.map(|target| {
        let value = run
            .measured
            .target(target)
            .filter(|v| v.is_finite() && *v > 0.0)?;
        let log = (value / physics.estimate(&setup, target)).ln();
        log.is_finite().then_some(log)
    })
}

/// A place to compare in: model and GPU, GPU alone, or anywhere.
type Place = (String, String);
/// How many kinds of places there are.
const WIDTHS: usize = 3;

/// Median residual of each user in each place, for each compared target.
struct Levels {
    medians: BTreeMap<(Place, usize), BTreeMap<String, f64>>,
}

impl Levels {
    fn of(all: &[Measurement], residuals: &[[Option<f64>; 3]], reasons: &[Option<String>]) -> Self {
        let mut values: BTreeMap<(Place, usize), BTreeMap<String, Vec<f64>>> = BTreeMap::new();
        for (i, m) in all.iter().enumerate() {
            let Some(user) = m.user.as_ref().filter(|_| reasons[i].is_none()) else {
                continue;
            };
            for (target, value) in residuals[i].iter().enumerate() {
                for place in places(&m.run) {
                    let of_user = values.entry((place, target)).or_default();
                    of_user
                        .entry(user.clone())
                        .or_default()
                        .extend(value.iter());
                }
            }
        }
        let medians = values
            .into_iter()
            .map(|(key, users)| {
                let users = users.into_iter();
                (
                    key,
                    users.filter_map(|(u, v)| Some((u, median(v)?))).collect(),
                )
            })
            .collect();
        Self { medians }
    }

    /// The median of one user's runs of a model on a GPU.
    fn of_user(&self, user: &str, run: &Run, target: usize) -> Option<f64> {
        let [place, ..] = places(run);
        self.medians.get(&(place, target))?.get(user).copied()
    }

    /// The median over the other users, one vote each, in the nearest place where there are enough
    /// of them, and by how much more one may differ there (log).
    fn of_others(&self, user: &str, run: &Run, target: usize) -> Option<(f64, f64)> {
        let slacks = [0.0, 1.5f64.ln(), 2.0f64.ln()];
        places(run)
            .into_iter()
            .zip(slacks)
            .find_map(|(place, slack)| {
                let others: Vec<f64> = self
                    .medians
                    .get(&(place, target))?
                    .iter()
                    .filter(|(name, _)| *name != user)
                    .map(|(_, level)| *level)
                    .collect();
                (others.len() >= FEWEST_OTHERS)
                    .then(|| median(others))
                    .flatten()
                    .map(|level| (level, slack))
            })
    }
}

/// From the narrowest to the widest.
fn places(run: &Run) -> [Place; WIDTHS] {
    let (model, gpu) = (run.case.model.clone(), run.case.gpu.clone());
    [
        (model, gpu.clone()),
        (String::new(), gpu),
        (String::new(), String::new()),
    ]
}

/// The mean of the two middle values where their number is even.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (a, b) = (
        values.get(values.len().checked_sub(1)? / 2)?,
        values.get(values.len() / 2)?,
    );
    Some((a + b) / 2.0)
}
