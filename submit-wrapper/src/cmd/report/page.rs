//! The page: one HTML file with everything in it. Pure: values in, text out.

mod choice;
mod outcome;
mod trust;

use std::fmt::Write;

use model_store::advisor::Origin;
use model_store::advisor::words::grouped_count;
use model_store::consult::Consulted;

use super::data::{Data, Point, advised_jobs, outcomes, sums};
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
    /// GPU types of this site, by the catalogue's names.
    pub(super) gpus: Vec<String>,
}

/// The whole file.
pub(super) fn page(about: &About, data: &Data, consulted: Option<&Consulted>) -> String {
    let sections = [
        outcome::saved(data),
        outcome::unstarted(data),
        trust::predicted(data),
        trust::coverage(data),
        outcome::failures(data),
        trust::risk(data),
        consulted.map_or_else(
            || later("Throughput against price", "no model is asked about"),
            choice::pareto,
        ),
        outcome::demand(data),
        choice::support(data, &about.gpus),
    ];
    let (shown, later): (Vec<Section>, Vec<Section>) =
        sections.into_iter().partition(|s| s.is_shown);
    let later: Vec<String> = later
        .iter()
        .map(|s| format!("<b>{}</b>: {}", escaped(s.title), s.text))
        .collect();
    let not_yet = match later.as_slice() {
        [] => String::new(),
        _ => format!(
            "<footer><p class=\"soft\">Not shown yet. {}</p></footer>\n",
            later.join(" ")
        ),
    };
    let shown: String = shown.iter().map(|s| s.text.as_str()).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>OmniPilot report</title><link rel=\"icon\" href=\"data:,\"><style>{STYLE}</style></head><body>\n<header><h1>What OmniPilot advised, and what came of it</h1>\
         <p class=\"soft\">Made {}. Snapshot {}, model trained {}. Ranges are meant to hold {:.0} % of what is measured.</p>{}{}</header>\n<main>\n{shown}</main>\n{not_yet}</body></html>\n",
        escaped(&about.made),
        escaped(&about.snapshot),
        escaped(&about.trained),
        NOMINAL * 100.0,
        figures(data),
        next(data)
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
    let failed = |[ok, rest @ ..]: [u64; 5]| {
        let failed: u64 = rest.iter().sum();
        match ok + failed {
            0 => "not known".to_owned(),
            n => format!("{failed} of {}", grouped_count(n)),
        }
    };
    let [advised, written] = outcomes(&data.runs);
    let all = [
        (
            "jobs advised",
            grouped_count(advised_jobs(&data.runs) as u64),
        ),
        ("GPU-hours saved", saved),
        ("failed starts, advised", failed(advised)),
        ("failed starts, as written", failed(written)),
        ("predictions given that held", share(&data.here)),
        ("held-out cells that held", share(&data.held_out)),
        ("runs of this cluster", of(Origin::ThisCluster)),
        ("runs from elsewhere", of(Origin::OtherCluster)),
        ("figures of documents", of(Origin::Published)),
    ];
    let rows: String = all
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"))
        .collect();
    format!("<dl>{rows}</dl>")
}

/// What to do next.
fn next(data: &Data) -> String {
    if data.actions.is_empty() {
        return String::new();
    }
    let items: String = data
        .actions
        .iter()
        .map(|action| format!("<li>{}</li>", escaped(action)))
        .collect();
    format!("<h2>What to do next</h2><ul>{items}</ul>")
}

/// A part of the page, or the reason why there is nothing to show.
struct Section {
    title: &'static str,
    /// Markup of the whole part; where it is not shown, the reason.
    text: String,
    is_shown: bool,
}

fn section(title: &'static str, words: &str, body: &str) -> Section {
    let text = format!(
        "<section><h2>{}</h2><p>{words}</p>{body}</section>\n",
        escaped(title)
    );
    Section {
        title,
        text,
        is_shown: true,
    }
}

/// A part that has nothing to show yet: a line at the end says why.
fn later(title: &'static str, why: &str) -> Section {
    Section {
        title,
        text: why.to_owned(),
        is_shown: false,
    }
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
