//! The page: one HTML file with everything in it. Pure: values in, text out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use model_store::advisor::utility;
use model_store::advisor::{Assessed, Catalogue, Origin, RunOutcome, Target};
use model_store::consult::Consulted;

use super::data::{Data, Point, Saved, outcomes};
use super::svg::{Plot, Scale, bars, escaped, map, short};

const STYLE: &str = include_str!("style.css");
/// Points that are drawn; all of them are counted.
const MOST_POINTS: usize = 1500;
/// Rows of a table under a figure.
const MOST_ROWS: usize = 200;
/// Runs of one step of the coverage over time, at least.
const STEP: usize = 20;
/// Share that an interval is to hold.
const NOMINAL: f64 = 0.8;

/// What the page is about, in words.
pub(super) struct About {
    pub(super) made: String,
    pub(super) snapshot: String,
    pub(super) trained: String,
}

/// The whole file.
pub(super) fn page(about: &About, data: &Data, consulted: Option<&Consulted>) -> String {
    let sections = [
        predicted(data),
        coverage(data),
        risk(data),
        support(data),
        consulted.map_or_else(String::new, pareto),
        saved(data),
        failures(data),
        demand(data),
    ];
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>OmniPilot report</title><link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style></head><body>\n<header><h1>What OmniPilot advised, and what came of it</h1>\
         <p class=\"soft\">Made {}. Snapshot {}, model trained {}. Intervals are meant to hold {:.0} % of what is measured.</p>{}</header>\n<main>\n{}</main></body></html>\n",
        escaped(&about.made),
        escaped(&about.snapshot),
        escaped(&about.trained),
        NOMINAL * 100.0,
        figures(data),
        sections.join("")
    )
}

fn figures(data: &Data) -> String {
    let of = |o: Origin| {
        data.runs
            .iter()
            .filter(|r| r.run.origin == o)
            .count()
            .to_string()
    };
    let share = |points: &[Point]| match points.len() {
        0 => "not known".to_owned(),
        n => {
            let held = points.iter().filter(|p| p.covered()).count();
            format!("{:.0} % of {n}", held as f64 / n as f64 * 100.0)
        }
    };
    let all = [
        ("runs of this cluster", of(Origin::ThisCluster)),
        ("runs from elsewhere", of(Origin::OtherCluster)),
        ("published figures", of(Origin::Published)),
        ("here, inside the interval", share(&data.here)),
        ("held-out cells, inside", share(&data.held_out)),
    ];
    let rows: String = all
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"))
        .collect();
    format!("<dl>{rows}</dl>")
}

fn section(title: &str, words: &str, body: &str) -> String {
    format!(
        "<section><h2>{}</h2><p>{words}</p>{body}</section>\n",
        escaped(title)
    )
}

fn figure(svg: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    format!("<figure>{svg}{}</figure>", table(heads, rows))
}

/// The same as a table, behind a summary that keys can open.
fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = format!(
        "<details><summary>The same as a table ({} row{}{})</summary><div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"table\"><table><thead><tr>",
        rows.len().min(MOST_ROWS),
        if rows.len() == 1 { "" } else { "s" },
        if rows.len() > MOST_ROWS {
            format!(" of {}", rows.len())
        } else {
            String::new()
        }
    );
    heads.iter().for_each(|h| {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(h));
    });
    out.push_str("</tr></thead><tbody>");
    for row in rows.iter().take(MOST_ROWS) {
        out.push_str("<tr>");
        row.iter().for_each(|cell| {
            let _ = write!(out, "<td>{}</td>", escaped(cell));
        });
        out.push_str("</tr>");
    }
    out + "</tbody></table></div></details>"
}

fn predicted(data: &Data) -> String {
    let (points, words) = match data.here.len() {
        0 => (
            &data.held_out,
            "No run of this cluster came in after a model was published. Shown are held-out cells of all sources, by a fit that did not see them.",
        ),
        _ => (
            &data.here,
            "Output tokens per second of runs here, against what the model said that was published when each came in. A bar is the interval; orange ones missed.",
        ),
    };
    let more = match data.without_model {
        0 => String::new(),
        n => format!(" {n} runs are older than every model that was kept."),
    };
    if points.is_empty() {
        return section(
            "Predicted against measured",
            "Nothing to show yet: there is no run with a prediction from before it.",
            "",
        );
    }
    let shown: Vec<&Point> = points
        .iter()
        .step_by(points.len().div_ceil(MOST_POINTS))
        .collect();
    let x = Scale::over(shown.iter().map(|p| p.measured), true);
    let y = Scale::over(
        shown
            .iter()
            .flat_map(|p| [p.predicted.lo, p.predicted.hi, p.measured]),
        true,
    );
    let mut plot = Plot::new(
        (x, "measured, tokens/s"),
        (y, "predicted, tokens/s"),
        [false; 2],
    );
    let (least, most) = shown.iter().fold((f64::INFINITY, 0.0_f64), |(a, b), p| {
        (a.min(p.measured), b.max(p.measured))
    });
    plot.line(&[(least, least), (most, most)], "dash");
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
    let held = points.iter().filter(|p| p.covered()).count();
    let about = format!(
        "{} points; {held} of {} inside their interval; median error {:.1} %",
        shown.len(),
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

fn yes(b: bool) -> String {
    if b { "yes" } else { "no" }.into()
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

fn coverage(data: &Data) -> String {
    let title = "Coverage over time";
    if data.here.len() < STEP {
        let words = format!(
            "{} runs here have a prediction from before them; from {STEP} on their share inside the interval is shown in the order in which they came.",
            data.here.len()
        );
        return section(title, &words, "");
    }
    let steps: Vec<(f64, [f64; 3], usize, i64)> = data
        .here
        .chunks(STEP.max(data.here.len().div_ceil(24)))
        .enumerate()
        .map(|(i, chunk)| {
            let (hits, n) = (
                chunk.iter().filter(|p| p.covered()).count() as f64,
                chunk.len() as f64,
            );
            let [lo, hi] = wilson(hits, n);
            (
                i as f64 + 1.0,
                [lo, hits / n, hi],
                chunk.len(),
                chunk.last().map_or(0, |p| p.at),
            )
        })
        .collect();
    let end = steps.len() as f64 + 0.5;
    let mut plot = Plot::new(
        (Scale::between(0.5, end), "groups of runs, oldest first"),
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
                "group {x:.0}, {n} runs: {:.0} % [{:.0} to {:.0}]",
                y[1] * 100.0,
                y[0] * 100.0,
                y[2] * 100.0
            ),
        );
        rows.push(vec![
            crate::cmd::models::utc(*at),
            n.to_string(),
            percent(y[1]),
            percent(y[0]),
            percent(y[2]),
        ]);
    }
    let about = format!(
        "{} groups of runs; the dashed line is the nominal {:.0} %; bars are 95 % intervals",
        steps.len(),
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

fn risk(data: &Data) -> String {
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
        return section(
            title,
            "Too few predictions have been held against what was measured.",
            "",
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

/// Sizes of models, billions of parameters: up to, and in words.
const SIZES: [(f64, &str); 4] = [
    (15.0, "to 15 B"),
    (45.0, "to 45 B"),
    (130.0, "to 130 B"),
    (f64::INFINITY, "above"),
];

fn support(data: &Data) -> String {
    let catalogue = Catalogue::built_in();
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut columns = BTreeSet::new();
    for r in &data.runs {
        let Some(card) = catalogue.find(&r.run.case.model) else {
            continue;
        };
        let size = SIZES
            .iter()
            .position(|(most, _)| card.params / 1e9 <= *most)
            .unwrap_or(3);
        let format = r
            .run
            .case
            .precision
            .map_or("not stated", |p| p.pooled().name());
        let name = SIZES.get(size).map_or("", |s| s.1);
        columns.insert((format, size));
        let column = format!("{format} {name}");
        *counts
            .entry(r.run.case.gpu.clone())
            .or_default()
            .entry(column)
            .or_default() += 1;
    }
    let names: Vec<String> = columns
        .iter()
        .map(|(f, s)| format!("{f} {}", SIZES.get(*s).map_or("", |s| s.1)))
        .collect();
    let gpus: Vec<String> = counts.keys().cloned().collect();
    let cell = |gpu: &String, name: &String| {
        counts
            .get(gpu)
            .and_then(|c| c.get(name))
            .copied()
            .unwrap_or(0)
    };
    let grid: Vec<Vec<u64>> = gpus
        .iter()
        .map(|g| names.iter().map(|n| cell(g, n)).collect())
        .collect();
    // Six formats and their sizes fit beside each other; rarer ones stand in the table.
    let totals: Vec<u64> = (0..names.len())
        .map(|j| grid.iter().map(|r| r.get(j).copied().unwrap_or(0)).sum())
        .collect();
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|j| std::cmp::Reverse(totals.get(*j).copied()));
    let mut shown: Vec<usize> = order.into_iter().take(12).collect();
    shown.sort_unstable();
    let some = |row: &Vec<u64>| {
        shown
            .iter()
            .filter_map(|j| row.get(*j).copied())
            .collect::<Vec<u64>>()
    };
    let heads: Vec<String> = shown
        .iter()
        .filter_map(|j| names.get(*j).cloned())
        .collect();
    let drawn: Vec<Vec<u64>> = grid.iter().map(some).collect();
    let about = format!(
        "runs by GPU type, weight format and size of the model; {} of {} columns are drawn, empty places were never measured",
        heads.len(),
        names.len()
    );
    let svg = map(
        (&gpus, &heads),
        &drawn,
        "support",
        "What was measured, and how densely",
        &about,
    );
    let mut all = vec!["GPU"];
    all.extend(names.iter().map(String::as_str));
    let rows: Vec<Vec<String>> = gpus
        .iter()
        .zip(&grid)
        .map(|(g, row)| {
            std::iter::once(g.clone())
                .chain(row.iter().map(u64::to_string))
                .collect()
        })
        .collect();
    section(
        "What was measured",
        &format!("Number of {about}."),
        &figure(&svg, &all, &rows),
    )
}

fn pareto(c: &Consulted) -> String {
    let known: Vec<(&Assessed, f64, [f64; 3])> = c
        .advice
        .candidates
        .iter()
        .filter(|a| a.fallen.is_none())
        .filter_map(|a| {
            let p = a.prediction(Target::OutputTokS)?;
            Some((a, a.price_per_hour, [p.lo, p.q50, p.hi]))
        })
        .collect();
    let title = "Throughput against price";
    let load = format!(
        "{} at {:.0} input and {:.0} output tokens",
        c.advice.model, c.request.load.isl, c.request.load.osl
    );
    if known.is_empty() {
        let words = format!(
            "{}: no configuration of this cluster is known. {}",
            escaped(&load),
            escaped(&message(c))
        );
        return section(title, &words, "");
    }
    let x = Scale::over(known.iter().map(|k| k.1), true);
    let y = Scale::over(known.iter().flat_map(|k| k.2), true);
    let mut plot = Plot::new((x, "price of an hour"), (y, "output tokens/s"), [false; 2]);
    let mut order: Vec<&(&Assessed, f64, [f64; 3])> = known.iter().collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1).then(b.2[1].total_cmp(&a.2[1])));
    let (mut best, mut front) = (0.0, Vec::new());
    for (a, price, [_, rate, _]) in order.iter().map(|k| (k.0, k.1, k.2)) {
        if rate > best {
            best = rate;
            front.push((price, rate, utility::name(&a.config)));
        }
    }
    plot.line(&front.iter().map(|f| (f.0, f.1)).collect::<Vec<_>>(), "");
    let mut rows = Vec::new();
    for (a, price, y) in &known {
        let name = utility::name(&a.config);
        let on = front.iter().any(|f| f.2 == name);
        plot.point(
            *price,
            *y,
            if on { "hit" } else { "second" },
            &format!(
                "{name}: {} [{} to {}] tokens/s for {} an hour",
                short(y[1]),
                short(y[0]),
                short(y[2]),
                short(*price)
            ),
        );
        rows.push(vec![
            name,
            short(*price),
            short(y[1]),
            short(y[0]),
            short(y[2]),
            yes(on),
        ]);
    }
    let about = format!(
        "{} configurations; {} of them, in blue, give more than any that costs less",
        known.len(),
        front.len()
    );
    let svg = plot.draw("pareto", "Pareto front of throughput against price", &about);
    let words = format!("{}. {} {about}.", escaped(&load), escaped(&message(c)));
    section(
        title,
        &words,
        &figure(
            &svg,
            &[
                "configuration",
                "price",
                "tokens/s",
                "low",
                "high",
                "on the front",
            ],
            &rows,
        ),
    )
}

fn message(c: &Consulted) -> String {
    use model_store::consult::Action;
    let lines = match &c.action {
        Action::Rewrite(r) => &r.message,
        Action::Refuse(r) => &r.message,
    };
    lines
        .first()
        .map_or_else(String::new, |l| format!("Advice: {l}."))
}

fn saved(data: &Data) -> String {
    let title = "GPU-hours saved";
    let all = match &data.saved {
        Err(reason) => return section(title, &format!("Not known: {}.", escaped(reason)), ""),
        Ok(all) if all.is_empty() => {
            return section(
                title,
                "No advised job whose user had asked for GPUs of a type has left an outcome yet.",
                "",
            );
        }
        Ok(all) => all,
    };
    let sum = |i: usize| all.iter().filter_map(|s| s.hours.get(i)).sum::<f64>();
    let took: f64 = all.iter().map(|s| s.took).sum();
    let words = format!(
        "{} jobs took {} GPU-hours. For the same output, what their users had asked for would have taken {} more [{} to {}]. \
         The interval adds up the ends of each job's own, as if all were off the same way.",
        all.len(),
        short(took),
        short(sum(1)),
        short(sum(0)),
        short(sum(2))
    );
    let mut jobs: Vec<&Saved> = all.iter().collect();
    jobs.sort_by(|a, b| b.hours[1].abs().total_cmp(&a.hours[1].abs()));
    let y = Scale::over(jobs.iter().take(60).flat_map(|s| s.hours), false);
    let n = jobs.len().min(60) as f64;
    let mut plot = Plot::new(
        (
            Scale::between(0.5, n + 0.5),
            "jobs, largest difference first",
        ),
        (y, "GPU-hours saved"),
        [false; 2],
    );
    plot.line(&[(0.5, 0.0), (n + 0.5, 0.0)], "dash");
    for (i, s) in jobs.iter().take(60).enumerate() {
        let class = if s.hours[0] > 0.0 { "hit" } else { "second" };
        let words = format!(
            "job {}: {} [{} to {}]; {}",
            s.job,
            short(s.hours[1]),
            short(s.hours[0]),
            short(s.hours[2]),
            s.words
        );
        plot.point(i as f64 + 1.0, s.hours, class, &words);
    }
    let rows: Vec<Vec<String>> = jobs
        .iter()
        .map(|s| {
            vec![
                format!("job {}", s.job),
                s.words.clone(),
                short(s.took),
                short(s.hours[1]),
                short(s.hours[0]),
                short(s.hours[2]),
            ]
        })
        .collect();
    let svg = plot.draw(
        "saved",
        "GPU-hours saved by job",
        "in orange those whose interval reaches below nothing",
    );
    section(
        title,
        &words,
        &figure(
            &svg,
            &["job", "what", "took", "saved", "low", "high"],
            &rows,
        ),
    )
}

fn failures(data: &Data) -> String {
    let [advised, written] = outcomes(&data.runs);
    let all: u64 = advised.iter().chain(&written).sum();
    if all == 0 {
        return section(
            "Launches by outcome",
            "No job here has left an outcome yet.",
            "",
        );
    }
    let mut rows = Vec::new();
    for (i, outcome) in RunOutcome::ALL.iter().enumerate() {
        for (name, counts) in [("advised", &advised), ("as written", &written)] {
            let n = counts.get(i).copied().unwrap_or(0);
            if n > 0 {
                rows.push((
                    format!("{}, {name}", outcome.name()),
                    n as f64,
                    n.to_string(),
                ));
            }
        }
    }
    let about = format!("{all} jobs by how their engine ended");
    let svg = bars(&rows, "failures", "Launches by outcome", &about);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|r| vec![r.0.clone(), r.2.clone()])
        .collect();
    section(
        "Launches by outcome",
        &format!("{about}."),
        &figure(&svg, &["outcome", "jobs"], &cells),
    )
}

fn demand(data: &Data) -> String {
    if data.demand.is_empty() {
        return section(
            "Demand by GPU type",
            "No serving job has been seen yet.",
            "",
        );
    }
    let mut rows = Vec::new();
    for (gres, d) in &data.demand {
        let hours = d.untagged_gpu_s as f64 / 3600.0;
        rows.push((
            format!("{gres}, tagged"),
            d.tagged as f64,
            d.tagged.to_string(),
        ));
        rows.push((
            format!("{gres}, untagged"),
            d.untagged as f64,
            format!("{}, {} GPU-hours", d.untagged, short(hours)),
        ));
    }
    let about = "serving jobs by Slurm GPU type, with a tag and without one";
    let svg = bars(&rows, "demand", "Demand by GPU type", about);
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|r| vec![r.0.clone(), r.2.clone()])
        .collect();
    section(
        "Demand by GPU type",
        &format!("Number of {about}, as far as outcomes and accounting tell."),
        &figure(&svg, &["type", "jobs"], &cells),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
