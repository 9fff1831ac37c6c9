//! What can be chosen: what is measured, how densely, and throughput against price for one request.

use std::collections::{BTreeMap, BTreeSet};

use model_store::advisor::{Assessed, Target};
use model_store::consult::Consulted;

use super::super::data::Data;
use super::super::svg::{Plot, Scale, escaped, map, short};
use super::{Section, figure, later, section, yes};

/// GPU types that are drawn; the table has all.
const MOST_TYPES: usize = 10;
/// Sizes of models, billions of parameters: up to, and in words.
const SIZES: [(f64, &str); 4] = [
    (15.0, "to 15 B"),
    (45.0, "to 45 B"),
    (130.0, "to 130 B"),
    (f64::INFINITY, "above"),
];

pub(super) fn support(data: &Data, own: &[String]) -> Section {
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut columns = BTreeSet::new();
    for r in &data.runs {
        let Some(card) = data.catalogue.find(&r.run.case.model) else {
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
    // The site's own types first, then those that most is known of.
    let mut gpus: Vec<String> = counts.keys().cloned().collect();
    let known = |gpu: &String| counts.get(gpu).map_or(0, |c| c.values().sum::<u64>());
    gpus.sort_by_key(|gpu| (!own.contains(gpu), std::cmp::Reverse(known(gpu))));
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
    let most = gpus.len().min(MOST_TYPES);
    let svg = map(
        (&gpus[..most], &heads),
        &drawn[..most],
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

pub(super) fn pareto(c: &Consulted) -> Section {
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
        return later(title, &words);
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
            front.push((price, rate, a.config.to_string()));
        }
    }
    plot.line(&front.iter().map(|f| (f.0, f.1)).collect::<Vec<_>>(), "");
    let mut rows = Vec::new();
    for (a, price, y) in &known {
        let name = a.config.to_string();
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
    // Of neighbours on the front that lie close together one is named.
    let mut named = 0.0;
    for (price, rate, name) in &front {
        if *price > named * 1.35 {
            plot.name(*price, *rate, name);
            named = *price;
        }
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
    c.message()
        .first()
        .map_or_else(String::new, |l| format!("Advice: {l}."))
}
