//! The page: one HTML file with everything in it. Pure: values in, text out.

mod choice;
mod outcome;
mod trust;

use std::fmt::Write;

use model_store::advisor::Origin;
use model_store::advisor::words::grouped_count;
use model_store::consult::Consulted;

use super::data::{Data, Point, sums};
use super::svg::{escaped, short};

const STYLE: &str = include_str!("style.css");
/// Rows of a table under a figure.
const MOST_ROWS: usize = 200;
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
        trust::predicted(data),
        trust::coverage(data),
        trust::risk(data),
        choice::support(data),
        consulted.map_or_else(String::new, choice::pareto),
        outcome::saved(data),
        outcome::unstarted(data),
        outcome::failures(data),
        outcome::demand(data),
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
        let seen = data.runs.iter().filter(|r| r.run.origin == o).count() as u64;
        let (all, shown) = (grouped_count(data.in_store(&[o])), grouped_count(seen));
        if all == shown {
            all
        } else {
            format!("{all}, the latest {shown} shown")
        }
    };
    let share = |points: &[Point]| match points.len() {
        0 => "not known".to_owned(),
        n => {
            let held = points.iter().filter(|p| p.covered()).count();
            format!("{:.0} % of {n}", held as f64 / n as f64 * 100.0)
        }
    };
    let saved = match &data.saved {
        Ok(jobs) if !jobs.is_empty() => {
            let [low, middle, high] = sums(jobs).map(short);
            format!("{middle} [{low} to {high}]")
        }
        _ => "not known".to_owned(),
    };
    let all = [
        ("runs of this cluster", of(Origin::ThisCluster)),
        ("runs from elsewhere", of(Origin::OtherCluster)),
        ("published figures", of(Origin::Published)),
        ("here, inside the interval", share(&data.here)),
        ("held-out cells, inside", share(&data.held_out)),
        ("GPU-hours saved", saved),
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

fn yes(b: bool) -> String {
    if b { "yes" } else { "no" }.into()
}
