//! Which runs are trained on: age, engine version, and how much one user may say.
//!
//! Any user's job may report any rate that its GPUs could reach. So what one user says of a
//! configuration counts a few times and no more, what disagrees with all the others is set aside,
//! and no user has more than a third of the evidence once there are others to compare with. Users
//! whom the site trusts (its own benchmarks) are exempt. `SECURITY.md` states the limit that
//! follows; a test measures it.
//!
//! Training takes time and memory by the number of runs, so a store of a million gives a hundred thousand of them: of every
//! cell the newest, in turns over the users who measured it. A [`Selector`] looks at one run after the other and keeps a
//! tenth of each, so that a store need not be held as a whole.

mod consensus;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::advisor::{Catalogue, Origin, Run};
use crate::hashing::fnv1a;
use consensus::{COMPARED, Consensus, residuals};

/// Engine versions of this cluster, newest first, whose runs are taken, once [`ENOUGH_OF_STACK`]
/// runs of those are there.
const STACKS: usize = 3;
/// See [`STACKS`].
const ENOUGH_OF_STACK: usize = 100;
/// Other users from which there is a consensus to compare with.
pub(super) const FEWEST_OTHERS: usize = 2;
/// How many kinds of places there are to compare in: model and GPU, GPU alone, or anywhere.
pub(super) const WIDTHS: usize = 3;
/// The number of no user.
pub(super) const NOBODY: u32 = u32::MAX;
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

/// Which of the runs that were looked at are taken.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Choice {
    /// Of each, in the order in which they were looked at.
    pub taken: Vec<bool>,
    /// How many were not taken, by reason.
    pub left_out: Vec<(String, u32)>,
}

/// Selects among runs that are there as a whole; see [`Selector`].
pub fn select(all: Vec<Measurement>, catalogue: &Catalogue, policy: &Policy) -> Selection {
    let mut selector = Selector::new(catalogue, policy);
    for m in &all {
        selector.look(&m.run, m.user.as_deref(), m.ended);
    }
    let Choice { taken, left_out } = selector.choose();
    let taken = all.into_iter().zip(taken).filter(|(_, taken)| *taken);
    Selection {
        runs: taken.map(|(m, _)| m.run).collect(),
        left_out,
    }
}

/// Why a run is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    User,
    Old,
    Replaced,
    Repeated,
    Differs,
    TooMuchOfOne,
    TooMany,
}

impl Reason {
    fn words(self, policy: &Policy) -> String {
        match self {
            Self::User => "its user is left out by the configuration".into(),
            Self::Old => format!("older than {} d", policy.longest_age_s / 86_400),
            Self::Replaced => format!("an engine version that {STACKS} newer ones have replaced"),
            Self::Repeated => {
                let most = policy.runs_per_cell;
                format!("more runs of one user in one cell than {most}")
            }
            Self::Differs => "it differs from what all other users measured".into(),
            Self::TooMuchOfOne => "more than a third of the evidence from one user".into(),
            Self::TooMany => {
                let most = policy.most_runs;
                format!("more than {most} runs: older ones of their cells")
            }
        }
    }
}

/// What is kept of a run while it is not known whether it is taken.
pub(super) struct Brief {
    /// [`NOBODY`] where no user of this cluster measured it.
    pub(super) user: u32,
    /// Model and GPU, GPU alone, anywhere.
    pub(super) places: [u32; WIDTHS],
    /// `ln(measured / estimated by physics)` of the targets that are compared; not a number where not known.
    pub(super) residuals: [f64; COMPARED.len()],
    /// Hash of where a user's runs say the same thing.
    cell: u64,
    /// Hash of that and of the source.
    cell_of_source: u64,
    /// Engine and GPU, with the version; `None` for runs from elsewhere and of no version.
    version: Option<[u32; 2]>,
    ended: Option<i64>,
    /// Hash of the id: what decides between runs that ended together.
    id: u64,
    reason: Option<Reason>,
}

impl Brief {
    pub(super) fn is_in(&self) -> bool {
        self.reason.is_none()
    }

    /// Sorts the newest first.
    fn age(&self) -> (Reverse<Option<i64>>, u64) {
        (Reverse(self.ended), self.id)
    }
}

/// Numbers for names.
#[derive(Default)]
struct Names(HashMap<String, u32>);

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        let number = u32::try_from(self.0.len()).unwrap_or(u32::MAX - 1);
        self.0.insert(name.to_owned(), number);
        number
    }
}

/// Looks at runs one after the other, and then says which are taken. Runs that no user of this cluster measured are, but for
/// their age. The order in which runs are looked at does not matter.
pub struct Selector<'a> {
    catalogue: &'a Catalogue,
    policy: &'a Policy,
    users: Names,
    places: Names,
    versions: Names,
    trusted: BTreeSet<u32>,
    briefs: Vec<Brief>,
}

impl<'a> Selector<'a> {
    /// Nothing was looked at yet.
    pub fn new(catalogue: &'a Catalogue, policy: &'a Policy) -> Self {
        let mut users = Names::default();
        let trusted = policy.trusted.iter().map(|u| users.number(u)).collect();
        Self {
            catalogue,
            policy,
            users,
            places: Names::default(),
            versions: Names::default(),
            trusted,
            briefs: Vec::new(),
        }
    }

    /// Looks at a run: which user's job measured it, and when that ended (Unix seconds).
    pub fn look(&mut self, run: &Run, user: Option<&str>, ended: Option<i64>) {
        let (case, cell) = (&run.case, cell(run));
        let here = run.origin == Origin::ThisCluster;
        let left_out = user.is_some_and(|u| self.policy.left_out.contains(u));
        let old = here && ended.is_some_and(|at| self.policy.now - at > self.policy.longest_age_s);
        let stack = format!("{}|{}", case.engine, case.gpu);
        let version = format!("{stack}|{}", case.engine_version);
        let known = here && !case.engine_version.is_empty();
        let model_on_gpu = format!("{}|{}", case.model, case.gpu);
        self.briefs.push(Brief {
            user: user.map_or(NOBODY, |u| self.users.number(u)),
            places: [&model_on_gpu, &case.gpu, ""].map(|p| self.places.number(p)),
            residuals: residuals(run, self.catalogue),
            cell: fnv1a(cell.bytes()),
            cell_of_source: fnv1a(cell.bytes().chain(run.source.bytes())),
            version: known.then(|| [&stack, &version].map(|v| self.versions.number(v))),
            ended,
            id: fnv1a(run.run_id.bytes().chain(run.source_ref.bytes())),
            reason: match (left_out, old) {
                (true, _) => Some(Reason::User),
                (_, true) => Some(Reason::Old),
                _ => None,
            },
        });
    }

    /// Which are taken.
    pub fn choose(mut self) -> Choice {
        self.old_stacks();
        self.cap_cells();
        self.check_agreement();
        self.cap_users();
        if self.thin() {
            // What is gone of others makes a user's share larger.
            self.cap_users();
        }
        let mut left_out: BTreeMap<String, u32> = BTreeMap::new();
        for reason in self.briefs.iter().filter_map(|b| b.reason) {
            *left_out.entry(reason.words(self.policy)).or_default() += 1;
        }
        Choice {
            taken: self.briefs.iter().map(Brief::is_in).collect(),
            left_out: left_out.into_iter().collect(),
        }
    }

    /// The runs that are still in and have such a key, sorted by it and the newest of each first.
    fn sorted<K: Ord>(&self, key: impl Fn(&Brief) -> Option<K>) -> Vec<(K, usize)> {
        let of = |(i, b): (usize, &Brief)| Some((key(b)?, b.age(), i));
        let still_in = self.briefs.iter().enumerate().filter(|(_, b)| b.is_in());
        let mut all: Vec<_> = still_in.filter_map(of).collect();
        all.sort_unstable();
        all.into_iter().map(|(key, _, i)| (key, i)).collect()
    }

    /// Of users who are not trusted beyond measure.
    fn is_doubtful(&self, user: u32) -> bool {
        user != NOBODY && !self.trusted.contains(&user)
    }

    /// Leaves out what engines measured here that have been replaced since, where the newer ones have
    /// been measured enough.
    fn old_stacks(&mut self) {
        // When a version was last used, and how many runs it has.
        let mut versions: BTreeMap<u32, BTreeMap<u32, (Option<i64>, usize)>> = BTreeMap::new();
        for b in self.briefs.iter().filter(|b| b.is_in()) {
            if let Some([stack, version]) = b.version {
                let of_stack = versions.entry(stack).or_default();
                let (last, runs) = of_stack.entry(version).or_default();
                *last = (*last).max(b.ended);
                *runs += 1;
            }
        }
        let names: BTreeMap<u32, &str> = self.versions.0.iter().map(|(n, i)| (*i, &**n)).collect();
        let mut replaced: BTreeSet<u32> = BTreeSet::new();
        for of_stack in versions.into_values() {
            let mut newest_first: Vec<_> = of_stack.into_iter().collect();
            newest_first.sort_by_key(|(version, (last, _))| (Reverse(*last), names.get(version)));
            let newer: usize = newest_first.iter().take(STACKS).map(|(_, (_, n))| n).sum();
            if newer >= ENOUGH_OF_STACK {
                replaced.extend(
                    newest_first
                        .iter()
                        .skip(STACKS)
                        .map(|(version, _)| *version),
                );
            }
        }
        for b in self.briefs.iter_mut().filter(|b| b.is_in()) {
            if b.version.is_some_and(|[_, v]| replaced.contains(&v)) {
                b.reason = Some(Reason::Replaced);
            }
        }
    }

    fn cap_cells(&mut self) {
        let key = |b: &Brief| self.is_doubtful(b.user).then_some((b.user, b.cell));
        let all = self.sorted(key);
        for of_cell in all.chunk_by(|a, b| a.0 == b.0) {
            for (_, i) in of_cell.iter().skip(self.policy.runs_per_cell) {
                self.briefs[*i].reason = Some(Reason::Repeated);
            }
        }
    }

    /// Sets runs aside that differ from what at least two others measured by more than a factor.
    fn check_agreement(&mut self) {
        let mut consensus = Consensus::of(&self.briefs, self.policy.agreement);
        let odd = |b: &Brief| b.is_in() && self.is_doubtful(b.user) && !consensus.allows(b);
        let odd: Vec<bool> = self.briefs.iter().map(odd).collect();
        for (b, _) in self.briefs.iter_mut().zip(odd).filter(|(_, odd)| *odd) {
            b.reason = Some(Reason::Differs);
        }
    }

    /// Of one model on one GPU, on one GPU, and in all, no user keeps more runs than half of what
    /// all the others have there, so none has more than a third. Without two others there is nobody
    /// to compare with.
    fn cap_users(&mut self) {
        for width in 0..WIDTHS {
            let floor = self.policy.runs_per_cell << width;
            let all = self.sorted(|b| (b.user != NOBODY).then_some((b.places[width], b.user)));
            for there in all.chunk_by(|a, b| a.0.0 == b.0.0) {
                let users = || there.chunk_by(|a, b| a.0 == b.0);
                if users().count() <= FEWEST_OTHERS {
                    continue;
                }
                for own in users()
                    .filter(|own| self.is_doubtful(own[0].0.1))
                    .collect::<Vec<_>>()
                {
                    let most = ((there.len() - own.len()) / 2).max(floor);
                    for (_, i) in own.iter().skip(most) {
                        self.briefs[*i].reason = Some(Reason::TooMuchOfOne);
                    }
                }
            }
        }
    }

    /// Leaves so many runs at most: of every cell of every source the same number, as large as it can be, in turns over its
    /// users and of each the newest first. Where there are more cells than runs may be, cells go by their hash. False where
    /// nothing had to go.
    fn thin(&mut self) -> bool {
        let by_user = self.sorted(|b| Some((b.cell_of_source, b.user)));
        if by_user.len() <= self.policy.most_runs {
            return false;
        }
        let turns = |own: &[((u64, u32), usize)]| -> Vec<_> {
            let turn = |(turn, ((cell, _), i)): (usize, &((u64, u32), usize))| {
                (*cell, turn, self.briefs[*i].age(), *i)
            };
            own.iter().enumerate().map(turn).collect()
        };
        let mut queues: Vec<_> = by_user
            .chunk_by(|a, b| a.0 == b.0)
            .flat_map(turns)
            .collect();
        queues.sort_unstable();
        let mut order: Vec<(usize, u64, usize)> = Vec::with_capacity(queues.len());
        for queue in queues.chunk_by(|a, b| a.0 == b.0) {
            order.extend(
                queue
                    .iter()
                    .enumerate()
                    .map(|(at, (cell, .., i))| (at, *cell, *i)),
            );
        }
        order.sort_unstable();
        for (.., i) in order.into_iter().skip(self.policy.most_runs) {
            self.briefs[i].reason = Some(Reason::TooMany);
        }
        true
    }
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
