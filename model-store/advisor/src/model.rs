//! The learnt model as it is published: eight targets, each with quantiles and calibration.

use serde::{Deserialize, Serialize};

use super::advice::{AxisOut, Evidence, Prediction};
use super::case::Workload;
use super::conformal::{Bands, Calibration, GroupKey};
use super::elsewhere::{Elsewhere, is_old, kind};
use super::features::{Categories, Codebook, DISPUTE, DOUBT, Row, SPLIT, for_trees, row, stack};
use super::forest::Forest;
use super::kernel::Process;
pub use super::launches::{LaunchTable, Rate, USUAL_LAUNCHES, USUAL_RATE};
use super::physics::{Physics, physics};
use super::run::Target;
use super::setup::Setup;
use super::site::SiteShift;
use super::starts::Starts;
use super::support::Envelope;

/// Share of wrong answers from which a kind of place is not answered.
const MOSTLY: f64 = 0.6;

/// From where to where a prediction steps; it decides which residuals calibrate the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To an unseen cell of a source whose runs were trained on.
    SameSource,
    /// To an unseen cell of this cluster, from this cluster's runs.
    ThisCluster,
    /// To a source that was never trained on.
    Elsewhere,
}

/// One target's model. All of it works on `ln(value / physical estimate)`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetModel {
    /// Runs that it was fitted to.
    pub runs: u32,
    /// Gaussian process of the residual, over all runs.
    pub process: Process,
    /// Processes of their own for stacks with many runs, sorted.
    pub locals: Vec<Local>,
    /// Boosted trees of the residual.
    pub forest: Forest,
    /// Shares in the centre where the stack has no process of its own.
    pub shares: Shares,
    /// Logarithm of the spread about the centre.
    pub spread: Forest,
    /// Quantiles 0.1 and 0.9 about the centre, in spreads below and above.
    pub tails: [f64; 2],
    /// Doubt above which a place is too far from every measured run.
    pub most_doubt: f64,
    /// Held-out cells.
    pub same_source: Bands,
    /// Scores of held-out cells of this cluster.
    pub this_cluster: Calibration,
    /// Share of what was learnt that is carried to a place never seen, with a recent stack and with an
    /// old one; the rest is physics.
    pub carry: [f32; 2],
    /// What leaving each source out showed of such places.
    pub elsewhere: Elsewhere,
    /// How this cluster's own runs shift it.
    pub site: SiteShift,
    /// By how much intervals of groups that have drifted on this cluster are widened, where
    /// [`Self::this_cluster`] does not say.
    pub drifted: Calibration,
}

/// Shares of the learners in a centre; they add up to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Of the process over all runs.
    pub process: f32,
    /// Of the stack's own process.
    pub local: f32,
    /// Of the trees.
    pub trees: f32,
}

impl Shares {
    /// True where each is a share.
    fn is_sound(self) -> bool {
        let shares = [self.process, self.local, self.trees];
        shares.iter().all(|share| (0.0..=1.0).contains(share))
    }

    /// The mixture of three values, or of three residuals.
    pub fn mix(self, process: f64, local: f64, trees: f64) -> f64 {
        f64::from(self.process) * process
            + f64::from(self.local) * local
            + f64::from(self.trees) * trees
    }
}

/// A Gaussian process over the runs of one stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Local {
    /// Engine and workload, as codes.
    pub stack: [u16; 2],
    /// The process.
    pub process: Process,
    /// Shares in the centre of this stack's setups.
    pub shares: Shares,
}

/// The published model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Category names.
    pub codes: Codebook,
    /// What this cluster's own starts say of memory and storage.
    pub starts: Starts,
    /// One model a target in the order of [`Target::ALL`]; launch success has its own table.
    pub targets: Vec<TargetModel>,
    /// Launch success.
    pub launch: LaunchTable,
    /// What was measured.
    pub envelope: Envelope,
    /// Sources from elsewhere that were trained on, sorted.
    pub sources: Vec<String>,
    /// Sources under which this cluster's own runs are kept, sorted.
    pub ours: Vec<String>,
    /// Where the runs come from.
    pub evidence: Evidence,
    /// This cluster's runs by GPU of the catalogue, sorted.
    pub here: Vec<(String, u32)>,
}

impl Model {
    /// This cluster's runs on one GPU.
    pub fn runs_here_on(&self, gpu: &str) -> u32 {
        self.here
            .iter()
            .find(|(name, _)| name == gpu)
            .map_or(0, |(_, runs)| *runs)
    }

    /// Predicts all targets of a setup, in the order of [`Target::ALL`]; `None` = not known.
    pub fn predict(&self, s: &Setup, step: Step) -> Vec<Option<Prediction>> {
        let p = physics(s);
        let at = At {
            s,
            p: &p,
            row: row(s, &p, &self.codes),
            categories: self.codes.categories(s),
            step,
            key: group_key(s),
        };
        let of = |target: Target| self.targets.get(target as usize)?.predict(target, &at);
        let mut out: Vec<Option<Prediction>> = Target::ALL
            .iter()
            .map(|target| match target {
                Target::LaunchSuccess => Some(self.launch.prediction(s)),
                // Every finished request has taken OSL tokens of the output.
                Target::ReqS => None,
                _ => of(*target),
            })
            .collect();
        let fixed = matches!(s.workload, Workload::ClosedLoop | Workload::Static);
        if let Some(stated) = s.concurrency.filter(|_| fixed) {
            super::agree::agree(&mut out, stated.max(p.replicas), s.osl);
        }
        let tokens = out.get(Target::OutputTokS as usize).copied().flatten();
        if let Some(slot) = out.get_mut(Target::ReqS as usize) {
            *slot = tokens.map(|t| t.times(1.0 / s.osl));
        }
        super::first_day::fill(&mut out, s, &p);
        out
    }

    /// The axes on which a setup leaves what was measured: those of the envelope, and `distance`
    /// where it lies inside all ranges and yet far from every run. None = in support.
    pub fn axes_out(&self, s: &Setup, p: &Physics) -> Vec<AxisOut> {
        let mut out = self.envelope.axes_out(s, p);
        out.extend(self.is_often_wrong(s));
        let placed = self.is_placed(s);
        out.extend(self.envelope.engine_out(s));
        if out.is_empty() && placed && self.is_far(s, p) {
            let nearest = self
                .envelope
                .nearest(s, p)
                .map_or_else(|| "nothing".into(), |l| self.envelope.describe(&l));
            out.push(AxisOut {
                axis: "distance".into(),
                asked: "a combination far from every run".into(),
                measured: format!("{nearest} is the nearest"),
                gap: 0.5,
            });
        }
        out
    }

    /// True where a setup can be held against the measured runs by engine and distance. Until this
    /// cluster's own runs are among the points, its requests are far from all of them alike, by
    /// engine and by load; the step between laboratories is then in the width of the intervals.
    fn is_placed(&self, s: &Setup) -> bool {
        let ours_are_points =
            self.evidence.this_cluster > 0 && self.targets.iter().all(|t| t.site.runs.is_empty());
        self.step_to(s.source) == Step::SameSource || ours_are_points
    }

    /// The axis `distance` for a kind of load and stack of which most was foretold wrong when its
    /// source was left out, at a place of which nothing was measured.
    fn is_often_wrong(&self, s: &Setup) -> Option<AxisOut> {
        if self.evidence.this_cluster > 0 || self.step_to(s.source) != Step::Elsewhere {
            return None;
        }
        let tokens = self.targets.get(Target::OutputTokS as usize)?;
        let band = tokens.elsewhere.band(kind(s))?;
        (band.wrong > MOSTLY).then(|| AxisOut {
            axis: "distance".into(),
            asked: format!(
                "{} load at a place that was never measured",
                s.workload.name()
            ),
            measured: format!(
                "of such runs {:.0} % lay more than a quarter off when their source was left out",
                band.wrong * 100.0
            ),
            gap: 0.5,
        })
    }

    /// True where every target that serves as a witness is in more doubt than measured runs were
    /// about each other.
    fn is_far(&self, s: &Setup, p: &Physics) -> bool {
        let row = row(s, p, &self.codes);
        let categories = self.codes.categories(s);
        let witnesses = [Target::OutputTokS, Target::TtftMs, Target::TpotMs];
        let mut asked = witnesses
            .iter()
            .filter_map(|t| self.targets.get(*t as usize))
            .filter(|t| !t.process.is_empty())
            .peekable();
        asked.peek().is_some()
            && asked.all(|t| t.process.doubt(&t.process.place(&row, categories)) > t.most_doubt)
    }

    /// The step to a case of that source. A case that names none is one of this site's, and so is
    /// one that names the site's own.
    pub fn step_to(&self, source: &str) -> Step {
        let among = |names: &[String]| names.binary_search_by(|s| s.as_str().cmp(source)).is_ok();
        if self.evidence.this_cluster > 0 && (source.is_empty() || among(&self.ours)) {
            Step::ThisCluster
        } else if among(&self.sources) {
            Step::SameSource
        } else {
            Step::Elsewhere
        }
    }

    /// True where evaluation cannot loop, leave its tables, or make an interval of what is no
    /// number.
    pub fn is_sound(&self) -> bool {
        self.targets.iter().all(TargetModel::is_sound)
            && self.launch.is_sound()
            && self.starts.is_sound()
            && self.envelope.is_sound()
    }
}

/// The Mondrian group of a setup: GPU x precision.
pub fn group_key(s: &Setup) -> GroupKey {
    (
        super::gpu::GPUS
            .iter()
            .position(|g| g.name == s.gpu.name)
            .unwrap_or(255) as u8,
        s.precision.pooled() as u8,
    )
}

/// Where a prediction is made.
struct At<'a> {
    s: &'a Setup<'a>,
    p: &'a Physics,
    row: Row,
    categories: Categories,
    step: Step,
    key: GroupKey,
}

impl TargetModel {
    fn is_sound(&self) -> bool {
        let mut processes = self
            .locals
            .iter()
            .map(|l| &l.process)
            .chain([&self.process]);
        let mut shares = self.locals.iter().map(|l| l.shares).chain([self.shares]);
        processes.all(Process::is_sound)
            && shares.all(Shares::is_sound)
            && self.forest.is_sound()
            && self.spread.is_sound()
            && self.site.is_sound()
            && self
                .tails
                .iter()
                .chain([&self.most_doubt])
                .all(|x| x.is_finite())
            && self.carry.iter().all(|share| share.is_finite())
            && self.same_source.is_sound()
            && self.this_cluster.is_sound()
            && self.drifted.is_sound()
            && self.elsewhere.is_sound()
    }

    /// Centre and spread of the log residual.
    pub fn centre(&self, row: &Row, categories: Categories) -> [f64; 2] {
        let guess = self.process.guess(&self.process.place(row, categories));
        let (local, shares) = match self.local(categories) {
            Some(l) => {
                let place = l.process.place(row, categories);
                (l.process.mean_at(&place), l.shares)
            }
            None => (guess.mean, self.shares),
        };
        let mut trees = for_trees(*row);
        let forest = self.forest.value(&trees);
        let disputes = [guess.mean - forest, guess.mean - local];
        fill_spread_slots(&mut trees, guess.doubt, disputes);
        let centre = shares.mix(guess.mean, local, forest);
        [centre, self.spread.value(&trees).exp()]
    }

    /// The process of a setup's own stack.
    fn local(&self, categories: Categories) -> Option<&Local> {
        let stack = stack(categories);
        let at = self.locals.binary_search_by_key(&stack, |l| l.stack).ok()?;
        self.locals.get(at)
    }

    /// What is carried of what was learnt to a place that was never seen.
    pub fn carried(&self, s: &Setup, row: &Row, categories: Categories) -> f64 {
        let [recent, old] = self.carry;
        let share = if is_old(kind(s)) { old } else { recent };
        if share == 0.0 || self.process.is_empty() {
            return 0.0;
        }
        f64::from(share) * self.centre(row, categories)[0]
    }

    /// Log residuals that are said: the lower end, quantiles 0.1, 0.5 and 0.9, the upper end.
    fn said(&self, target: Target, at: &At) -> Option<[f64; 5]> {
        let fitted_here = at.step == Step::ThisCluster && self.site.runs.is_empty();
        let known = at.step == Step::SameSource || fitted_here && self.this_cluster.n > 0;
        if known && self.runs > 0 {
            let [centre, spread] = self.centre(&at.row, at.categories);
            let [below, above] = self.reach(at, spread)?;
            let tails = self.tails.map(|t| t.max(0.0) * spread);
            return Some(around(centre, [below, above], tails));
        }
        let centre = self.carried(at.s, &at.row, at.categories);
        let sides = self.elsewhere.band(kind(at.s))?.sides;
        let shift = self
            .site
            .at(at.s, at.p, target)
            .filter(|_| at.step == Step::ThisCluster);
        let wider = match at.step {
            Step::ThisCluster => self.drifted.widening(at.key).unwrap_or(0.0),
            _ => 0.0,
        };
        let Some(shift) = shift else {
            return Some(around(centre, sides.map(|x| x + wider), sides));
        };
        let sides = self.site.sides(sides, shift);
        Some(around(centre + shift.by, sides.map(|x| x + wider), sides))
    }

    /// How far the ends lie below and above the centre of a place like those that were learnt from.
    fn reach(&self, at: &At, spread: f64) -> Option<[f64; 2]> {
        if at.step == Step::SameSource {
            let sides = self.same_source.sides(at.key)?;
            return Some(sides.map(|m| m * spread));
        }
        let by = self.this_cluster.widening(at.key)?;
        Some(self.tails.map(|t| t * spread + by))
    }

    fn predict(&self, target: Target, at: &At) -> Option<Prediction> {
        if self.runs == 0 && self.elsewhere.is_empty() {
            return None;
        }
        let base = at.p.estimate(at.s, target);
        let most = if target == Target::KvUsage {
            1.0
        } else {
            f64::INFINITY
        };
        let [lo, q10, q50, q90, hi] = self
            .said(target, at)?
            .map(|log| (base * log.exp()).min(most));
        let out = Prediction {
            q10,
            q50,
            q90,
            lo,
            hi,
        };
        let finite = [lo, q10, q50, q90, hi].iter().all(|v| v.is_finite());
        finite.then_some(out)
    }
}

/// Neither a quantile nor an end passes the median.
fn around(centre: f64, ends: [f64; 2], tails: [f64; 2]) -> [f64; 5] {
    let ([below, above], [q10, q90]) = (ends.map(|x| x.max(0.0)), tails.map(|x| x.max(0.0)));
    [
        centre - below,
        centre - q10,
        centre,
        centre + q90,
        centre + above,
    ]
}

/// Fills in what the spread is predicted from beside the features.
pub fn fill_spread_slots(row: &mut Row, doubt: f64, [trees, local]: [f64; 2]) {
    let slots = [
        (DOUBT, (doubt + 1e-4).ln()),
        (DISPUTE, (trees.abs() + 0.002).ln()),
        (SPLIT, (local.abs() + 0.002).ln()),
    ];
    for (slot, x) in slots {
        if let Some(cell) = row.get_mut(slot) {
            *cell = x as f32;
        }
    }
}

impl Prediction {
    /// Every number of it times the same.
    pub(super) fn times(&self, by: f64) -> Self {
        Self {
            q10: self.q10 * by,
            q50: self.q50 * by,
            q90: self.q90 * by,
            lo: self.lo * by,
            hi: self.hi * by,
        }
    }
}
