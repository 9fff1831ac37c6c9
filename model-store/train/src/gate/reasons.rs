//! What the gate refuses for: where a challenger is worse than noise explains.

use std::collections::{BTreeMap, BTreeSet};

use super::{Point, Said};
use crate::advisor::Target;

/// Fewest held-out cells of a group from which its mean error is judged.
const FEWEST_CELLS: usize = 5;
/// Standard errors beyond which a difference over all groups is no noise: one side, 1 %.
const BEYOND_NOISE: f64 = 2.3;
/// The same for one of some fifty groups.
const BEYOND_NOISE_IN_ONE: f64 = 3.5;
/// Log error that no user would notice; a smaller rise is none, however certain.
const LEAST_RISE: f64 = 0.01;
/// Fewest values of one cell from which its intervals are judged.
const FEWEST_VALUES: usize = 5;
/// Fewest cells of one group or model from which its intervals are judged.
const FEWEST_IN_ONE: usize = 3;
/// Rise of the log error of a cell, group or model that leaves its intervals; it is to double, too: what the champion was far
/// off on is anyone's guess.
const LEAST_RISE_OF_ONE: f64 = 0.1;
/// Share of its values, nominally 0.8, that the champion's intervals hold in a cell, group or model
/// which the challenger has left.
const HELD_BEFORE: f64 = 0.5;
/// What the challenger's hold there at most, in a cell and in a group or model. Between equal models cells of a few values were seen to
/// go from three quarters to one.
const HELD_BY_CELL: f64 = 0.0;
/// See [`HELD_BY_CELL`].
const HELD_BY_PART: f64 = 0.25;
/// Coverage of the intervals, nominally 0.8, below which they do not hold, beyond noise.
const LEAST_COVERAGE: f64 = 0.7;
/// Share of held-out rows that a challenger may leave without an answer that the champion gave.
const MOST_LOST: f64 = 0.1;

/// Adds why a challenger is refused for one target.
pub(super) fn refuse(target: Target, points: &[Point], reasons: &mut Vec<String>) {
    let target = target.name();
    let all: Vec<&Point> = points.iter().collect();
    let mut groups: BTreeMap<&str, Vec<&Point>> = BTreeMap::new();
    let mut models: BTreeMap<&str, Vec<&Point>> = BTreeMap::new();
    let mut cells: BTreeMap<u64, Vec<&Point>> = BTreeMap::new();
    for p in points {
        groups.entry(&p.group).or_default().push(p);
        models.entry(&p.model).or_default().push(p);
        cells.entry(p.cell).or_default().push(p);
    }
    for (name, group) in &groups {
        let found = worse_in_all(group, BEYOND_NOISE_IN_ONE);
        reasons.extend(found.map(|found| format!("{target} of {name}: {found}")));
    }
    for (name, part) in groups.iter().chain(&models) {
        let enough = by_cell(part, Said::error).len() >= FEWEST_IN_ONE;
        let found = has_left(part, part, HELD_BY_PART).filter(|_| enough);
        reasons.extend(found.map(|found| format!("{target} of {name}: {found}")));
    }
    let found = worse_in_all(&all, BEYOND_NOISE);
    reasons.extend(found.map(|found| format!("{target} of all groups: {found}")));
    reasons.extend(cells.values().filter_map(|cell| {
        if cell.iter().filter(|p| p.both().is_some()).count() < FEWEST_VALUES {
            return None;
        }
        let there: BTreeSet<&str> = cell.iter().map(|p| p.group.as_str()).collect();
        let around: Vec<&Point> = all
            .iter()
            .copied()
            .filter(|p| there.contains(&*p.group))
            .collect();
        Some(format!(
            "{target} of {}: {}",
            cell.first()?.place,
            has_left(cell, &around, HELD_BY_CELL)?
        ))
    }));
    reasons.extend(uncovered(&all).map(|share| {
        format!(
            "{target}: intervals hold {:.0} % of held-out values, nominal are 80 %",
            share * 100.0
        )
    }));
    reasons.extend(lost(&all).map(|share| {
        format!(
            "{target}: no answer for {:.0} % of what the champion answers",
            share * 100.0
        )
    }));
}

/// Says that the mean error over cells has risen beyond noise, over all runs or over those that were
/// known before.
fn worse_in_all(points: &[&Point], noise: f64) -> Option<String> {
    if let Some(rise) = worse(points, noise) {
        return Some(in_words(rise, "held-out cells"));
    }
    let (old, new): (Vec<&Point>, Vec<&Point>) = points.iter().copied().partition(|p| p.old);
    let rise = worse(&old, noise).filter(|rise| !is_paid_for(*rise, &new))?;
    Some(in_words(rise, "known held-out cells"))
}

/// Says that a cell, group or model has left its intervals: the champion's hold most of its values and the
/// challenger's few. The width of an interval is the noise that a model knows of itself, so this
/// tells what is wrong in too few cells, or too few rows of many, for their mean to tell.
fn has_left(points: &[&Point], around: &[&Point], most: f64) -> Option<String> {
    let both: Vec<[Said; 2]> = points.iter().filter_map(|p| p.both()).collect();
    let held: Vec<[f64; 2]> = both.iter().map(|b| b.map(Said::held)).collect();
    let [champion, own] = [0, 1].map(|k| mean_at(&held, k));
    let left = own? <= most && champion? > HELD_BEFORE && both.len() >= FEWEST_IN_ONE;
    let has_risen = |(from, to): &(f64, f64)| to - from > LEAST_RISE_OF_ONE.max(*from);
    let rise = means(points, Said::error).filter(|rise| left && has_risen(rise))?;
    let new: Vec<&Point> = around.iter().copied().filter(|p| !p.old).collect();
    (!is_paid_for(rise, &new)).then(|| {
        format!(
            "{}; its intervals hold {:.0} % of {} values, the champion's {:.0} %",
            in_words(rise, "held-out cells"),
            own.unwrap_or_default() * 100.0,
            both.len(),
            champion.unwrap_or_default() * 100.0
        )
    })
}

/// True where new runs are foretold better by as much as others are worse.
fn is_paid_for((from, to): (f64, f64), new: &[&Point]) -> bool {
    means(new, Said::error).map_or(0.0, |(from, to)| from - to) >= to - from
}

fn in_words((from, to): (f64, f64), place: &str) -> String {
    let percent = |error: f64| (error.exp() - 1.0) * 100.0;
    format!(
        "{:.1} % off on {place}, the champion {:.1} %",
        percent(to),
        percent(from)
    )
}

/// Champion's and challenger's error where the latter's is larger beyond noise.
fn worse(points: &[&Point], noise: f64) -> Option<(f64, f64)> {
    let cells = by_cell(points, Said::error);
    let rises: Vec<f64> = cells.iter().map(|[champion, own]| own - champion).collect();
    let (rise, error) = mean_and_error(&rises)?;
    let beyond = rise - noise * error > LEAST_RISE;
    beyond.then(|| means(points, Said::error)).flatten()
}

/// Means over cells of what is told of champion and challenger.
fn means(points: &[&Point], told: impl Fn(Said) -> f64) -> Option<(f64, f64)> {
    let cells = by_cell(points, told);
    mean_at(&cells, 0).zip(mean_at(&cells, 1))
}

/// Means of what is told of champion and challenger in each cell that both answer. Cells are what is
/// independent.
fn by_cell(points: &[&Point], told: impl Fn(Said) -> f64) -> Vec<[f64; 2]> {
    let mut cells: BTreeMap<u64, Vec<[f64; 2]>> = BTreeMap::new();
    for p in points {
        if let Some(both) = p.both() {
            cells.entry(p.cell).or_default().push(both.map(&told));
        }
    }
    cells
        .values()
        .filter_map(|rows| Some([mean_at(rows, 0)?, mean_at(rows, 1)?]))
        .collect()
}

/// Coverage where it is too low beyond noise, unless the champion's is no better on the same values:
/// keeping that one would help nobody.
fn uncovered(points: &[&Point]) -> Option<f64> {
    let mut cells: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for p in points {
        if let Some(own) = p.challenger {
            cells.entry(p.cell).or_default().push(own.held());
        }
    }
    let shares: Vec<f64> = cells.values().filter_map(|c| mean(c)).collect();
    let (share, error) = mean_and_error(&shares)?;
    let no_better = means(points, Said::held).is_some_and(|(champion, own)| own >= champion);
    (share + 2.0 * error < LEAST_COVERAGE && !no_better).then_some(share)
}

/// Share of the champion's answers that the challenger does not give, where it is too large.
fn lost(points: &[&Point]) -> Option<f64> {
    let answered: Vec<f64> = points
        .iter()
        .filter(|p| p.champion.is_some())
        .map(|p| f64::from(u8::from(p.challenger.is_none())))
        .collect();
    mean(&answered).filter(|share| answered.len() >= FEWEST_CELLS && *share > MOST_LOST)
}

/// `None` of nothing.
pub(super) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Mean of the values at one place of each pair.
fn mean_at(pairs: &[[f64; 2]], at: usize) -> Option<f64> {
    mean(&pairs.iter().map(|pair| pair[at]).collect::<Vec<_>>())
}

/// Mean over cells and its standard error; `None` below [`FEWEST_CELLS`].
fn mean_and_error(values: &[f64]) -> Option<(f64, f64)> {
    let (n, mean) = (values.len() as f64, mean(values)?);
    let about: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (values.len() >= FEWEST_CELLS).then(|| (mean, (about / (n - 1.0) / n).sqrt()))
}
