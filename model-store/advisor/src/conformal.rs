//! Split conformal calibration: how far a predicted interval must be widened so that a stated
//! share of exchangeable new cases falls inside.
//!
//! Scores are those of conformalised quantile regression (Y. Romano, E. Patterson, E. Candes,
//! arXiv 1905.03222): `max(q10 - y, y - q90)`; the widening is their finite-sample quantile, by
//! group where a group has enough of them (Mondrian).

use serde::{Deserialize, Serialize};

/// Nominal coverage of every interval.
pub const LEVEL: f64 = 0.8;

/// Fewest scores from which a group of its own is calibrated.
const FEWEST_IN_GROUP: usize = 30;

/// As [`FEWEST_IN_GROUP`], for a group whose two sides are calibrated apart.
const FEWEST_IN_BAND: usize = 40;

/// Score of one held-out case, in the unit of the prediction.
pub fn score(q10: f64, q90: f64, y: f64) -> f64 {
    (q10 - y).max(y - q90)
}

/// The `ceil((n + 1) level)`-th smallest score: widened by it, an interval covers an exchangeable
/// new case with probability at least `level`. `None` where n is too small for that (n < 4 at
/// 0.8) or a score is not a number.
pub fn quantile(scores: &mut [f64], level: f64) -> Option<f64> {
    let rank = ((scores.len() + 1) as f64 * level - 1e-9).ceil() as usize;
    if rank == 0 || rank > scores.len() || scores.iter().any(|s| s.is_nan()) {
        return None;
    }
    let (_, at, _) = scores.select_nth_unstable_by(rank - 1, f64::total_cmp);
    Some(*at)
}

/// As [`quantile`], for scores that come in groups which are exchangeable as wholes: every group
/// weighs the same, however many scores it has (pooled distribution functions of R. Dunn,
/// L. Wasserman, A. Ramdas, arXiv 1809.07441, section 3; exact as groups grow). `None` below
/// three groups.
pub fn quantile_over_sources(groups: &[Vec<f64>], level: f64) -> Option<f64> {
    let filled: Vec<&Vec<f64>> = groups.iter().filter(|g| !g.is_empty()).collect();
    if filled.len() < 3 || filled.iter().any(|g| g.iter().any(|s| s.is_nan())) {
        return None;
    }
    let mut weighted: Vec<(f64, f64)> = filled
        .iter()
        .flat_map(|g| g.iter().map(|s| (*s, 1.0 / (g.len() + 1) as f64)))
        .collect();
    weighted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let wanted = level * filled.len() as f64;
    let mut sum = 0.0;
    weighted.iter().find_map(|(s, w)| {
        sum += w;
        (sum + 1e-9 >= wanted).then_some(*s)
    })
}

/// What one prediction's group is: GPU code and pooled precision code.
pub type GroupKey = (u8, u8);

/// Widening by group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Widening over all scores; `None` = too few, so no interval and no answer.
    pub pooled: Option<f64>,
    /// Number of scores.
    pub n: u32,
    /// Groups with enough scores of their own, sorted by key.
    pub groups: Vec<(GroupKey, f64)>,
}

impl Calibration {
    /// Calibrates from held-out scores and the group of each.
    pub fn from_scores(scored: &[(GroupKey, f64)]) -> Self {
        let mut all: Vec<f64> = scored.iter().map(|(_, s)| *s).collect();
        let mut keys: Vec<GroupKey> = scored.iter().map(|(k, _)| *k).collect();
        keys.sort_unstable();
        keys.dedup();
        let of_group = |key: GroupKey| {
            let mut own: Vec<f64> = scored
                .iter()
                .filter(|(k, _)| *k == key)
                .map(|(_, s)| *s)
                .collect();
            let enough = own.len() >= FEWEST_IN_GROUP;
            quantile(&mut own, LEVEL)
                .filter(|_| enough)
                .map(|e| (key, e))
        };
        Self {
            pooled: quantile(&mut all, LEVEL),
            n: u32::try_from(scored.len()).unwrap_or(u32::MAX),
            groups: keys.into_iter().filter_map(of_group).collect(),
        }
    }

    /// Calibrates from the scores of left-out sources.
    pub fn from_sources(sources: &[Vec<f64>]) -> Self {
        let n = sources.iter().map(Vec::len).sum::<usize>();
        Self {
            pooled: quantile_over_sources(sources, LEVEL),
            n: u32::try_from(n).unwrap_or(u32::MAX),
            groups: Vec::new(),
        }
    }

    /// True where every widening is a number.
    pub(super) fn is_sound(&self) -> bool {
        let mut all = self.groups.iter().map(|(_, e)| e).chain(&self.pooled);
        all.all(|e| e.is_finite())
    }

    /// Gives a group a widening of its own.
    pub fn set(&mut self, key: GroupKey, widening: f64) {
        match self.groups.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => self.groups[at].1 = widening,
            Err(at) => self.groups.insert(at, (key, widening)),
        }
    }

    /// Widening for a group: its own where it has one, else the pooled one.
    pub fn widening(&self, key: GroupKey) -> Option<f64> {
        let own = self.groups.binary_search_by(|(k, _)| k.cmp(&key)).ok();
        own.and_then(|i| self.groups.get(i))
            .map(|(_, e)| *e)
            .or(self.pooled)
    }
}

/// Multiples of the predicted spread between which the stated share of held-out residuals lies,
/// below and above the median, by group. Each side is exact for its half of what is left over, so
/// together they cover at least the level.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bands {
    /// Over all residuals; `None` = too few, so no interval and no answer.
    pub pooled: Option<[f64; 2]>,
    /// Number of residuals.
    pub n: u32,
    /// Groups with enough residuals of their own, sorted by key.
    pub groups: Vec<(GroupKey, [f64; 2])>,
}

impl Bands {
    /// Calibrates from held-out residuals over the spread that was predicted for each.
    pub fn from_scores(scored: &[(GroupKey, f64)]) -> Self {
        let mut keys: Vec<GroupKey> = scored.iter().map(|(k, _)| *k).collect();
        keys.sort_unstable();
        keys.dedup();
        let of_group = |key: GroupKey| {
            let own: Vec<f64> = scored
                .iter()
                .filter(|(k, _)| *k == key)
                .map(|(_, s)| *s)
                .collect();
            (own.len() >= FEWEST_IN_BAND)
                .then(|| sides(&own))
                .flatten()
                .map(|e| (key, e))
        };
        Self {
            pooled: sides(&scored.iter().map(|(_, s)| *s).collect::<Vec<_>>()),
            n: u32::try_from(scored.len()).unwrap_or(u32::MAX),
            groups: keys.into_iter().filter_map(of_group).collect(),
        }
    }

    /// True where every multiple is a number.
    pub(super) fn is_sound(&self) -> bool {
        let mut all = self.groups.iter().map(|(_, e)| e).chain(&self.pooled);
        all.all(|sides| sides.iter().all(|e| e.is_finite()))
    }

    /// Multiples for a group: its own where it has them, else the pooled ones.
    pub fn sides(&self, key: GroupKey) -> Option<[f64; 2]> {
        let own = self.groups.binary_search_by(|(k, _)| k.cmp(&key)).ok();
        own.and_then(|i| self.groups.get(i))
            .map(|(_, e)| *e)
            .or(self.pooled)
    }
}

/// The finite-sample quantiles of both signs, each at half of what the level leaves over.
fn sides(scores: &[f64]) -> Option<[f64; 2]> {
    let each = LEVEL + (1.0 - LEVEL) / 2.0;
    let mut below: Vec<f64> = scores.iter().map(|s| -s).collect();
    let mut above = scores.to_vec();
    Some([quantile(&mut below, each)?, quantile(&mut above, each)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn too_few_scores_give_no_answer() {
        assert_eq!(quantile(&mut [1.0, 2.0, 3.0], 0.8), None);
        assert_eq!(quantile(&mut [4.0, 1.0, 3.0, 2.0], 0.8), Some(4.0));
        assert_eq!(
            quantile_over_sources(&[vec![1.0; 50], vec![2.0; 50]], 0.8),
            None
        );
    }

    #[test]
    fn a_large_source_does_not_outvote_the_others() {
        let sources = [
            vec![0.1; 10_000],
            vec![1.0; 50],
            vec![1.0; 50],
            vec![1.0; 50],
        ];
        assert_eq!(quantile_over_sources(&sources, 0.8), Some(1.0));
    }

    proptest! {
        /// As below, for two sides.
        #[test]
        fn both_sides_together_cover_the_level(scores in prop::collection::vec(-5.0..5.0f64, 10..60)) {
            let covered = (0..scores.len()).filter(|i| {
                let mut rest = scores.clone();
                let left_out = rest.remove(*i);
                sides(&rest).is_none_or(|[below, above]| -below <= left_out && left_out <= above)
            }).count();
            prop_assert!(covered as f64 >= LEVEL * scores.len() as f64 - 1e-9);
        }

        /// Exact finite-sample validity: among n + 1 exchangeable scores, the share of positions
        /// in which the left-out one is covered is at least the level.
        #[test]
        fn leaving_each_of_n_plus_one_out_covers_the_level(scores in prop::collection::vec(-5.0..5.0f64, 5..60)) {
            let covered = (0..scores.len()).filter(|i| {
                let mut rest = scores.clone();
                let left_out = rest.remove(*i);
                quantile(&mut rest, LEVEL).is_none_or(|e| left_out <= e)
            }).count();
            prop_assert!(covered as f64 >= LEVEL * scores.len() as f64 - 1e-9);
        }
    }
}
