//! Errors, coverage and abstention of foreseen rows.

use std::collections::BTreeMap;

use serde::Serialize;

use super::foreseen::Foreseen;
use super::split::Protocol;
use super::statistics::{Figure, mean, median};
use crate::advisor::Target;

/// Fewest rows of a group whose coverage is shown.
const FEWEST_IN_GROUP: usize = 50;

/// A relative error that a user would call wrong.
const WRONG: f64 = 0.25;

/// One target under one protocol.
#[derive(Clone, Debug, Serialize)]
pub struct TargetScore {
    /// Target name.
    pub target: &'static str,
    /// How rows were held out.
    pub protocol: Protocol,
    /// Mean absolute percentage error, as a share.
    pub mape: Figure,
    /// The same over the rows that are not called out of support.
    pub mape_in_support: Option<Figure>,
    /// Median absolute percentage error, as a share.
    pub median: Figure,
    /// R2 of the logarithms.
    pub log_r2: Figure,
    /// Share of intervals that hold the measured value (nominal 0.8), and of rows without one.
    pub coverage: Option<Figure>,
    /// Mean of `ln(hi / lo)`.
    pub width: Option<Figure>,
    /// Mean pinball loss of the log quantiles 0.1, 0.5 and 0.9.
    pub pinball: Figure,
    /// Coverage and width of each GPU x precision with at least 50 rows.
    pub groups: Vec<GroupScore>,
    /// Errors by source: rows, mean and median absolute percentage error.
    pub sources: Vec<(String, usize, f64, f64)>,
    /// Error of what is answered when only the narrowest share of intervals is.
    pub answered: Vec<Answered>,
}

/// Coverage of one GPU x precision.
#[derive(Clone, Debug, Serialize)]
pub struct GroupScore {
    /// GPU and pooled format.
    pub group: String,
    /// Share of intervals that hold the measured value.
    pub coverage: Figure,
    /// Mean of `ln(hi / lo)`.
    pub width: Figure,
}

/// One point of the risk-coverage curve.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Answered {
    /// Share of rows that is answered: those with the narrowest intervals.
    pub share: f64,
    /// Mean absolute percentage error of those.
    pub mape: f64,
}

/// What leaving something out showed of one target.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    /// Target name.
    pub target: &'static str,
    /// What was left out: source, family or GPU.
    pub protocol: Protocol,
    /// Mean absolute percentage error of all rows.
    pub mape: Figure,
    /// Share of rows that are called out of support or have no interval.
    pub flagged: Figure,
    /// Share of rows with an error above 25 % that are flagged; `None` where no row has one.
    pub wrong_flagged: Option<Figure>,
    /// Coverage of all rows, flagged or not: the step to an unseen source.
    pub coverage: Option<Figure>,
    /// Coverage of rows that are not flagged.
    pub answered_coverage: Option<Figure>,
    /// Rows, rows that are wrong, and wrong rows that are answered, by what was left out.
    pub parts: Vec<(String, usize, usize, usize)>,
}

/// One row of one target: log values.
#[derive(Clone, Copy)]
struct Point {
    truth: f64,
    q: [f64; 3],
    ends: [f64; 2],
}

impl Point {
    fn error(self) -> f64 {
        ((self.q[1] - self.truth).exp() - 1.0).abs()
    }

    fn is_covered(self) -> bool {
        self.ends[0] <= self.truth && self.truth <= self.ends[1]
    }

    fn width(self) -> f64 {
        self.ends[1] - self.ends[0]
    }

    fn pinball(self) -> f64 {
        let of =
            |level: f64, q: f64| (level * (self.truth - q)).max((level - 1.0) * (self.truth - q));
        (of(0.1, self.q[0]) + of(0.5, self.q[1]) + of(0.9, self.q[2])) / 3.0
    }
}

fn point(f: &Foreseen, target: Target) -> Option<Point> {
    let truth = f.measured[target as usize]?.ln();
    let p = f.predicted.get(target as usize)?.as_ref()?;
    Some(Point {
        truth,
        q: [p.q10, p.q50, p.q90].map(f64::ln),
        ends: [p.lo.ln(), p.hi.ln()],
    })
}

/// Every target with predictions under cross-validation by cell and unseen rows.
pub(super) fn targets(foreseen: &[Foreseen]) -> Vec<TargetScore> {
    let of = |protocol| {
        Target::ALL[..7]
            .iter()
            .filter_map(move |t| target(foreseen, *t, protocol))
    };
    [Protocol::Cells, Protocol::Rows]
        .into_iter()
        .flat_map(of)
        .collect()
}

fn target(foreseen: &[Foreseen], target: Target, protocol: Protocol) -> Option<TargetScore> {
    let rows: Vec<(&Foreseen, Point)> = foreseen
        .iter()
        .filter(|f| f.protocol == protocol)
        .filter_map(|f| point(f, target).map(|p| (f, p)))
        .collect();
    let points: Vec<(u64, Point)> = rows.iter().map(|(f, p)| (f.cell, *p)).collect();
    let figure = |of: fn(Point) -> f64| figure_of(&points, of);
    let in_support: Vec<(u64, Point)> = rows
        .iter()
        .filter(|(f, _)| !f.flagged)
        .map(|(f, p)| (f.cell, *p))
        .collect();
    Some(TargetScore {
        target: target.name(),
        protocol,
        mape: figure(Point::error)?,
        mape_in_support: figure_of(&in_support, Point::error),
        median: Figure::of(&points, |ps| {
            median(&ps.iter().map(|p| p.error()).collect::<Vec<_>>())
        })?,
        log_r2: Figure::of(&points, log_r2)?,
        coverage: figure(|p| f64::from(u8::from(p.is_covered()))),
        width: figure(Point::width),
        pinball: figure(Point::pinball)?,
        groups: groups(&rows),
        sources: sources(&rows),
        answered: answered(&points),
    })
}

fn figure_of(points: &[(u64, Point)], of: fn(Point) -> f64) -> Option<Figure> {
    Figure::mean(
        &points
            .iter()
            .map(|(cell, p)| (*cell, of(*p)))
            .collect::<Vec<_>>(),
    )
}

fn log_r2(points: &[Point]) -> f64 {
    let truths: Vec<f64> = points.iter().map(|p| p.truth).collect();
    let level = mean(&truths);
    let about = |of: &dyn Fn(&Point) -> f64| {
        points
            .iter()
            .map(|p| (p.truth - of(p)).powi(2))
            .sum::<f64>()
    };
    1.0 - about(&|p| p.q[1]) / about(&|_| level)
}

fn groups(rows: &[(&Foreseen, Point)]) -> Vec<GroupScore> {
    let mut by: BTreeMap<&str, Vec<(u64, Point)>> = BTreeMap::new();
    for (f, p) in rows {
        by.entry(&f.group_name).or_default().push((f.cell, *p));
    }
    let score = |(group, points): (&str, Vec<(u64, Point)>)| {
        Some(GroupScore {
            group: group.to_owned(),
            coverage: figure_of(&points, |p| f64::from(u8::from(p.is_covered())))?,
            width: figure_of(&points, Point::width)?,
        })
    };
    by.into_iter()
        .filter(|(_, p)| p.len() >= FEWEST_IN_GROUP)
        .filter_map(score)
        .collect()
}

fn sources(rows: &[(&Foreseen, Point)]) -> Vec<(String, usize, f64, f64)> {
    let mut by: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (f, p) in rows {
        by.entry(&f.source).or_default().push(p.error());
    }
    by.into_iter()
        .map(|(name, e)| (name.to_owned(), e.len(), mean(&e), median(&e)))
        .collect()
}

fn answered(points: &[(u64, Point)]) -> Vec<Answered> {
    let mut sorted: Vec<Point> = points.iter().map(|(_, p)| *p).collect();
    sorted.sort_by(|a, b| a.width().total_cmp(&b.width()));
    let at = |share: f64| {
        let n = ((sorted.len() as f64 * share).ceil() as usize).min(sorted.len());
        let errors: Vec<f64> = sorted[..n].iter().map(|p| p.error()).collect();
        Answered {
            share,
            mape: mean(&errors),
        }
    };
    if sorted.is_empty() {
        Vec::new()
    } else {
        [0.25, 0.5, 0.75, 0.9, 1.0].map(at).to_vec()
    }
}

/// Share of unseen rows of seen cells that are called out of support.
pub(super) fn false_abstention(foreseen: &[Foreseen]) -> Option<Figure> {
    let rows = foreseen.iter().filter(|f| f.protocol == Protocol::Rows);
    Figure::mean(
        &rows
            .map(|f| (f.cell, f64::from(u8::from(f.flagged))))
            .collect::<Vec<_>>(),
    )
}

/// Leaving out each source, family and GPU: every target with errors.
pub(super) fn left_out(foreseen: &[Foreseen]) -> Vec<LeftOut> {
    let targets = [Target::OutputTokS, Target::TtftMs, Target::TpotMs];
    let of = |protocol| {
        targets
            .into_iter()
            .filter_map(move |t| without(foreseen, t, protocol))
    };
    [Protocol::Source, Protocol::Family, Protocol::Gpu]
        .into_iter()
        .flat_map(of)
        .collect()
}

fn without(foreseen: &[Foreseen], target: Target, protocol: Protocol) -> Option<LeftOut> {
    let rows: Vec<(&Foreseen, Point)> = foreseen
        .iter()
        .filter(|f| f.protocol == protocol)
        .filter_map(|f| point(f, target).map(|p| (f, p)))
        .collect();
    let share = |of: &dyn Fn(&Foreseen, Point) -> Option<f64>| {
        Figure::mean(
            &rows
                .iter()
                .filter_map(|(f, p)| of(f, *p).map(|x| (f.cell, x)))
                .collect::<Vec<_>>(),
        )
    };
    let one = |yes: bool| f64::from(u8::from(yes));
    let mut parts: BTreeMap<&str, (usize, usize, usize)> = BTreeMap::new();
    for (f, p) in &rows {
        let part = parts.entry(&f.split).or_default();
        part.0 += 1;
        part.1 += usize::from(p.error() > WRONG);
        part.2 += usize::from(p.error() > WRONG && !f.flagged);
    }
    Some(LeftOut {
        target: target.name(),
        protocol,
        mape: share(&|_, p| Some(p.error()))?,
        flagged: share(&|f, _| Some(one(f.flagged)))?,
        wrong_flagged: share(&|f, p| (p.error() > WRONG).then(|| one(f.flagged))),
        coverage: share(&|_, p| Some(one(p.is_covered()))),
        answered_coverage: share(&|f, p| (!f.flagged).then(|| one(p.is_covered()))),
        parts: parts
            .into_iter()
            .map(|(name, (n, wrong, passed))| (name.to_owned(), n, wrong, passed))
            .collect(),
    })
}
