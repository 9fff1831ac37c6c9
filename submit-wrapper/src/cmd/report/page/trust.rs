//! How far to trust it: predicted against measured, coverage over time, risk against coverage.

use model_store::advisor::words::count_of;

use super::super::data::{self, Data, Point};
use super::super::svg::{Plot, Scale, short};
use super::{NOMINAL, Section, figure, later, section, yes};

/// Points that are drawn; all of them are counted.
const MOST_POINTS: usize = 1500;
/// Runs of one step of the coverage over time, at least.
const STEP: usize = 20;

pub(super) fn predicted(data: &Data) -> Section {
    let (points, words) = match data.here.len() {
        0 => (
            &data.held_out,
            "No run of this cluster came in after a model was published. Shown are held-out cells of all sources, by a fit that did not see them.",
        ),
        _ => (
            &data.here,
            "Output tokens per second of runs here, against what the model said that was published when each came in. A bar is the range; orange ones missed.",
        ),
    };
    let more = match data.without_model {
        0 => String::new(),
        n => format!(
            " Older than every model that was kept: {}.",
            count_of(n, "run")
        ),
    };
    let more = match data.not_given {
        0 => more,
        n => format!("{more} Not given, for they lie outside what was measured: {n}."),
    };
    let more = match points.len() {
        data::MOST_POINTS => format!("{more} They are a sample: there are more."),
        _ => more,
    };
    if points.is_empty() {
        return later(
            "Predicted against measured",
            "No run has a prediction from before it.",
        );
    }
    let shown: Vec<&Point> = points
        .iter()
        .step_by(points.len().div_ceil(MOST_POINTS))
        .collect();
    // One scale for both, so that the line of what is right runs from corner to corner.
    let ends = |p: &&Point| [p.predicted.lo, p.predicted.hi, p.measured];
    let scale = Scale::over(shown.iter().flat_map(ends), true);
    let mut plot = Plot::new(
        (scale, "measured, tokens/s"),
        (scale, "predicted, tokens/s"),
        [false; 2],
    );
    let (least, most) = shown.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), p| {
        (a.min(p.measured), b.max(p.measured))
    });
    for p in &shown {
        let class = if p.covered() { "hit" } else { "miss" };
        let q = &p.predicted;
        let words = format!(
            "{}: measured {}, predicted {} [{} to {}]",
            p.what,
            short(p.measured),
            short(q.q50),
            short(q.lo),
            short(q.hi)
        );
        plot.point(p.measured, [q.lo, q.q50, q.hi], class, &words);
    }
    plot.line(&[(least, least), (most, most)], "dash");
    let held = points.iter().filter(|p| p.covered()).count();
    let about = format!(
        "{}; {held} of {} inside their interval; median error {:.1} %",
        count_of(shown.len(), "point"),
        points.len(),
        median(points.iter().map(Point::off)) * 100.0
    );
    let rows: Vec<Vec<String>> = points
        .iter()
        .rev()
        .map(|p| {
            vec![
                p.what.clone(),
                short(p.measured),
                short(p.predicted.q50),
                short(p.predicted.lo),
                short(p.predicted.hi),
                yes(p.covered()),
            ]
        })
        .collect();
    let svg = plot.draw("predicted", "Predicted against measured throughput", &about);
    section(
        "Predicted against measured",
        &format!("{words}{more} {about}."),
        &figure(
            &svg,
            &["what ran", "measured", "predicted", "low", "high", "inside"],
            &rows,
        ),
    )
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Wilson's 95 % interval of a share.
fn wilson(hits: f64, n: f64) -> [f64; 2] {
    let z = 1.96_f64;
    let share = hits / n;
    let middle = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    [
        ((middle - half) / scale).max(0.0),
        ((middle + half) / scale).min(1.0),
    ]
}

/// Groups of at least [`STEP`] runs in their order, at most 24 of them: number, share inside with its interval, runs, and
/// the last one's time. What is left over goes to the last group, so that none is smaller.
fn steps(points: &[Point]) -> Vec<(f64, [f64; 3], usize, i64)> {
    let groups = (points.len() / STEP).clamp(1, 24);
    let bound = |i: usize| i * points.len() / groups;
    (0..groups)
        .filter_map(|i| points.get(bound(i)..bound(i + 1)))
        .enumerate()
        .map(|(i, group)| {
            let hits = group.iter().filter(|p| p.covered()).count() as f64;
            let n = group.len() as f64;
            let [lo, hi] = wilson(hits, n);
            let until = group.last().map_or(0, |p| p.at);
            (i as f64 + 1.0, [lo, hits / n, hi], group.len(), until)
        })
        .collect()
}

pub(super) fn coverage(data: &Data) -> Section {
    let title = "Coverage over time";
    if data.here.len() < STEP {
        let words = format!(
            "{} here with a prediction from before; from {STEP} on their share inside the interval is shown in the order in which they came.",
            count_of(data.here.len(), "run")
        );
        return later(title, &words);
    }
    let steps = steps(&data.here);
    let day = |at: i64| crate::clock::utc(at).chars().take(10).collect::<String>();
    let last = data.here.last().map_or(0, |p| p.at);
    let axis = format!(
        "groups of runs, {} to {}",
        day(data.here.first().map_or(0, |p| p.at)),
        day(last)
    );
    let end = steps.len() as f64 + 0.5;
    let mut plot = Plot::new(
        (Scale::between(0.5, end), &axis),
        (Scale::between(0.0, 1.0), "share inside the interval"),
        [false, true],
    );
    plot.line(&[(0.5, NOMINAL), (end, NOMINAL)], "dash");
    plot.line(&steps.iter().map(|s| (s.0, s.1[1])).collect::<Vec<_>>(), "");
    let mut rows = Vec::new();
    for (x, y, n, at) in &steps {
        plot.point(
            *x,
            *y,
            "hit",
            &format!(
                "group {x:.0}, {} until {}: {:.0} % [{:.0} to {:.0}]",
                count_of(*n, "run"),
                day(*at),
                y[1] * 100.0,
                y[0] * 100.0,
                y[2] * 100.0
            ),
        );
        rows.push(vec![
            crate::clock::utc(*at),
            n.to_string(),
            percent(y[1]),
            percent(y[0]),
            percent(y[2]),
        ]);
    }
    let about = format!(
        "{} of runs; the dashed line is the nominal {:.0} %; bars are 95 % intervals",
        count_of(steps.len(), "group"),
        NOMINAL * 100.0
    );
    let svg = plot.draw(
        "coverage",
        "Share of runs inside their interval over time",
        &about,
    );
    section(
        title,
        &format!("{about}."),
        &figure(&svg, &["until", "runs", "inside", "low", "high"], &rows),
    )
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Error of those that are answered first when the narrowest intervals are answered first.
fn risk_curve(points: &[Point]) -> Vec<(f64, f64)> {
    let mut all: Vec<&Point> = points.iter().collect();
    all.sort_by(|a, b| a.width().total_cmp(&b.width()));
    let (mut sum, n) = (0.0, all.len() as f64);
    let curve = all.iter().enumerate().map(|(i, p)| {
        sum += p.off().min(2.0);
        ((i as f64 + 1.0) / n, sum / (i as f64 + 1.0))
    });
    let curve: Vec<(f64, f64)> = curve.skip((points.len() / 20).max(4)).collect();
    let step = curve.len().div_ceil(200).max(1);
    curve.into_iter().step_by(step).collect()
}

pub(super) fn risk(data: &Data) -> Section {
    let title = "Risk against coverage";
    let curves = [
        (&data.held_out, "held-out cells", ""),
        (&data.here, "runs here", "second"),
    ];
    type Curve<'a> = (Vec<(f64, f64)>, &'a str, &'a str);
    let drawn: Vec<Curve> = curves
        .into_iter()
        .filter(|(points, ..)| points.len() >= STEP)
        .map(|(points, name, class)| (risk_curve(points), name, class))
        .collect();
    if drawn.is_empty() {
        return later(
            title,
            "Too few predictions were held against what was measured.",
        );
    }
    let y = Scale::over(
        drawn.iter().flat_map(|(c, ..)| c.iter().map(|p| p.1)),
        false,
    );
    let mut plot = Plot::new(
        (
            Scale::between(0.0, 1.0),
            "share of requests that are answered, surest first",
        ),
        (y, "mean error of these"),
        [true; 2],
    );
    let mut rows = Vec::new();
    for (curve, name, class) in &drawn {
        plot.line(curve, class);
        for (x, y) in curve.iter().step_by(curve.len().div_ceil(10)) {
            rows.push(vec![
                (*name).to_owned(),
                percent(*x),
                format!("{:.1} %", y * 100.0),
            ]);
        }
    }
    let names: Vec<String> = drawn
        .iter()
        .map(|(_, name, class)| {
            format!(
                "{name} {}",
                if class.is_empty() {
                    "in blue"
                } else {
                    "in orange"
                }
            )
        })
        .collect();
    let about = format!(
        "{}; where the line rises to the right, wide intervals do tell of larger errors",
        names.join(", ")
    );
    let svg = plot.draw("risk", "Error against the share that is answered", &about);
    section(
        title,
        &format!("If only the surest predictions were given, how far off would these be: {about}."),
        &figure(&svg, &["what", "answered", "mean error"], &rows),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use model_store::advisor::Prediction;

    fn point(at: i64, measured: f64, q50: f64, factor: f64) -> Point {
        Point {
            what: String::new(),
            at,
            measured,
            given: true,
            predicted: Prediction {
                q10: q50 / factor,
                q50,
                q90: q50 * factor,
                lo: q50 / factor,
                hi: q50 * factor,
            },
        }
    }

    #[test]
    fn coverage_over_time_is_the_share_of_each_group_in_its_order() {
        // 45 runs make two groups, of 22 and 23: in the first every second one is inside, in the second all but one are.
        let inside = |i: i64| if i < 22 { i % 2 == 0 } else { i != 30 };
        let points: Vec<Point> = (0..45)
            .map(|i| point(i, if inside(i) { 100.0 } else { 300.0 }, 100.0, 2.0))
            .collect();
        let told: Vec<_> = steps(&points)
            .iter()
            .map(|s| (s.0, s.1[1], s.2, s.3))
            .collect();
        assert_eq!(told, [(1.0, 0.5, 22, 21), (2.0, 22.0 / 23.0, 23, 44)]);
        assert_eq!(steps(&points[..20]).len(), 1);
        let many: Vec<Point> = (0..5000).map(|i| point(i, 1.0, 1.0, 2.0)).collect();
        let all = steps(&many);
        assert_eq!(
            (all.len(), all.iter().map(|s| s.2).sum::<usize>()),
            (24, 5000)
        );
    }

    #[test]
    fn risk_is_the_mean_error_of_the_surest_so_far() {
        // Ten predictions, the surest 10 % off, each next one 10 % further; given in another order.
        let mut points: Vec<Point> = (1..=10)
            .map(|i| point(0, 100.0, 100.0 + 10.0 * f64::from(i), 1.0 + f64::from(i)))
            .collect();
        points.reverse();
        // Shares of fewer than five are not drawn. Of the first n the mean is 0.1 (1 + ... + n) / n = 0.05 (n + 1).
        let curve = risk_curve(&points);
        let by_hand = (5..=10).map(|n| (f64::from(n) / 10.0, 0.05 * (f64::from(n) + 1.0)));
        for ((x, y), (hx, hy)) in curve.iter().zip(by_hand) {
            assert!((x - hx).abs() < 1e-12 && (y - hy).abs() < 1e-9, "{curve:?}");
        }
        assert_eq!(curve.len(), 6);
        // One wild error counts twice the measured value at most.
        points[0] = point(0, 1.0, 1e9, 1e3);
        assert!((risk_curve(&points)[5].1 - 0.65).abs() < 1e-9); // (0.1 + ... + 0.9 + 2) / 10
    }

    #[test]
    fn wilsons_interval_is_the_published_one() {
        // 8 of 10: Brown, Cai and DasGupta's formula gives 0.490 to 0.943.
        let [lo, hi] = wilson(8.0, 10.0);
        assert!(
            (lo - 0.490).abs() < 1e-3 && (hi - 0.943).abs() < 1e-3,
            "{lo} {hi}"
        );
    }
}
