//! What all users measured of the same thing, and whose runs differ from it.

use std::collections::BTreeMap;

use super::{Brief, FEWEST_OTHERS, NOBODY, WIDTHS};
use crate::advisor::physics::physics;
use crate::advisor::{Catalogue, Run, Setup, Target};

/// Share of the log of the factor of [`Policy::agreement`](super::Policy::agreement) by which a user's median may
/// differ: one run may be odd, all of them together may not.
const OF_MEDIAN: f64 = 0.585;
/// Targets in which a run may disagree.
pub(super) const COMPARED: [Target; 3] = [Target::OutputTokS, Target::TtftMs, Target::TpotMs];

/// `ln(measured / estimated by physics)` of the targets that are compared; not a number where not known.
pub(super) fn residuals(run: &Run, catalogue: &Catalogue) -> [f64; COMPARED.len()] {
    let Ok(setup) = Setup::of_case(&run.case, &run.source, catalogue) else {
        return [f64::NAN; COMPARED.len()];
    };
    let physics = physics(&setup);
    COMPARED.map(|target| {
        let value = run
            .measured
            .target(target)
            .filter(|v| v.is_finite() && *v > 0.0);
        let log = value.map(|v| (v / physics.estimate(&setup, target)).ln());
        log.filter(|l| l.is_finite()).unwrap_or(f64::NAN)
    })
}

/// Median residual of each user in one place, by user.
type Medians = Vec<(u32, f64)>;

/// What one user's runs of a model on a GPU are held against: the others' median, how much more than the limit
/// one may differ from it (log), and the user's own median.
type Against = Option<[f64; 3]>;

/// Median residual of each user in each place, for each compared target.
pub(super) struct Consensus {
    /// Log of the factor by which a run may differ.
    limit: f64,
    medians: BTreeMap<(usize, usize, u32), Medians>,
    /// What was worked out already, by user and place: most runs share it with others.
    against: BTreeMap<(u32, [u32; WIDTHS]), [Against; COMPARED.len()]>,
}

impl Consensus {
    /// Of the runs that are still in; `agreement` is the factor by which one may differ.
    pub(super) fn of(briefs: &[Brief], agreement: f64) -> Self {
        let mut medians: BTreeMap<(usize, usize, u32), Medians> = BTreeMap::new();
        for (width, target) in (0..WIDTHS).flat_map(|w| (0..COMPARED.len()).map(move |t| (w, t))) {
            let measured = briefs.iter().filter(|b| b.is_in() && b.user != NOBODY);
            let mut values: Vec<(u32, u32, f64)> = measured
                .map(|b| (b.places[width], b.user, b.residuals[target]))
                .filter(|(.., value)| !value.is_nan())
                .collect();
            values.sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
            for own in values.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
                let there = medians.entry((width, target, own[0].0)).or_default();
                there.extend(median(own.iter().map(|v| v.2)).map(|m| (own[0].1, m)));
            }
        }
        Self {
            limit: agreement.max(1.0).ln(),
            medians,
            against: BTreeMap::new(),
        }
    }

    /// False for a run that differs from what at least two others measured by more than the factor.
    pub(super) fn allows(&mut self, b: &Brief) -> bool {
        let key = (b.user, b.places);
        if !self.against.contains_key(&key) {
            let all = std::array::from_fn(|target| self.against(b, target));
            self.against.insert(key, all);
        }
        let against = self.against.get(&key).into_iter().flatten();
        b.residuals.iter().zip(against).all(|(own, against)| {
            against.is_none_or(|[level, slack, median]| {
                let odd = (own - level).abs() > self.limit + slack;
                let always = (median - level).abs() > OF_MEDIAN * self.limit + slack;
                own.is_nan() || !(odd || always)
            })
        })
    }

    /// The median over the other users, one vote each, in the nearest place where there are enough
    /// of them.
    fn against(&self, b: &Brief, target: usize) -> Against {
        let there = |width: usize| self.medians.get(&(width, target, b.places[width]));
        let own = there(0)?.iter().find(|(user, _)| *user == b.user)?.1;
        let slacks = [0.0, 1.5f64.ln(), 2.0f64.ln()];
        (0..WIDTHS).zip(slacks).find_map(|(width, slack)| {
            let others = there(width)?.iter().filter(|(user, _)| *user != b.user);
            let mut others: Vec<f64> = others.map(|(_, level)| *level).collect();
            others.sort_unstable_by(f64::total_cmp);
            let enough = others.len() >= FEWEST_OTHERS;
            let level = median(others.into_iter()).filter(|_| enough)?;
            Some([level, slack, own])
        })
    }
}

/// Of sorted values: the mean of the two middle ones where their number is even.
fn median(mut sorted: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let n = sorted.len();
    let lower = sorted.nth(n.checked_sub(1)? / 2)?;
    let upper = if n.is_multiple_of(2) {
        sorted.next()?
    } else {
        lower
    };
    Some((lower + upper) / 2.0)
}
