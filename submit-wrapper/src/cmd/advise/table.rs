//! The candidates as a table: what they are ranked by, what was asked for, and why the others fall.

use model_store::advisor::words::grouped;
use model_store::advisor::{Assessed, Fallen, Request, Target};

use super::screen::{Scale, Screen, cut, wrapped};
use super::why;

/// Widest part of a line that a bar takes, columns.
const WIDEST_BAR: usize = 40;
/// Narrowest bar that shows anything.
const NARROWEST_BAR: usize = 20;

/// A column of the table.
struct Column {
    head: &'static str,
    /// What it shows of a candidate; `-` where that is not known.
    cell: fn(&Assessed, &Scores) -> String,
    /// When it goes where there is no room: the highest first, 0 never.
    goes: u8,
}

/// What scores are reckoned from.
struct Scores {
    best: f64,
}

/// The lines of the table, the first one its head, and below it why the other candidates fall.
pub(super) fn lines(candidates: &[Assessed], request: &Request, screen: Screen) -> Vec<String> {
    let (shown, fallen): (Vec<&Assessed>, Vec<&Assessed>) =
        candidates.iter().partition(|a| is_shown(a));
    let mut out = Vec::new();
    if !shown.is_empty() {
        out.extend(table(&shown, request, screen));
    }
    let reasons = reasons(&fallen);
    if !out.is_empty() && !reasons.is_empty() {
        out.push(String::new());
    }
    for reason in reasons {
        let lines = wrapped(&reason, screen, "    ");
        out.extend(lines.into_iter().map(|line| dim(line, screen)));
    }
    out
}

/// A candidate with figures: one that may be chosen, or that misses a target.
fn is_shown(a: &Assessed) -> bool {
    a.prediction(Target::OutputTokS).is_some()
        && matches!(a.fallen, None | Some(Fallen::MissesTarget(_)))
}

fn table(shown: &[&Assessed], request: &Request, screen: Screen) -> Vec<String> {
    let scores = Scores {
        best: shown
            .iter()
            .filter_map(|a| a.utility)
            .fold(f64::NEG_INFINITY, f64::max),
    };
    let mut columns = columns(shown, request);
    let cells = |columns: &[Column]| -> Vec<Vec<String>> {
        let head = columns.iter().map(|c| c.head.to_owned()).collect();
        let row = |a: &&Assessed| columns.iter().map(|c| (c.cell)(a, &scores)).collect();
        std::iter::once(head).chain(shown.iter().map(row)).collect()
    };
    let mut rows = cells(&columns);
    while let Some(width) = screen.width.filter(|w| total(&rows) > *w) {
        let last = columns.iter().enumerate().max_by_key(|(_, c)| c.goes);
        match last {
            Some((at, column)) if column.goes > 0 => {
                columns.remove(at);
                rows = cells(&columns);
            }
            _ => return pairs(shown, &rows, screen, width),
        }
    }
    let bars = bars(shown, screen, total(&rows));
    let aligned = aligned(&rows).into_iter().zip(bars);
    let lines = aligned.map(|(line, bar)| format!("{line}  {bar}").trim_end().to_owned());
    let marked = lines.enumerate().map(|(row, line)| match row {
        0 => cut(&line, screen.width.unwrap_or(usize::MAX), screen),
        row => coloured(line, shown[row - 1], row == 1, screen),
    });
    marked.collect()
}

/// The columns that say something here.
fn columns(shown: &[&Assessed], request: &Request) -> Vec<Column> {
    let known = |of: fn(&Assessed) -> Option<f64>| shown.iter().any(|a| of(a).is_some());
    let load = &request.load;
    let latency =
        load.concurrency.is_some() || load.rate.is_some() || request.slo != Default::default();
    let column = |head, goes, cell| Column { head, cell, goes };
    let mut out = vec![
        column("candidate", 0, |a, scores| {
            let best = a.fallen.is_none() && a.utility == Some(scores.best);
            format!("{} {}", if best { '*' } else { ' ' }, a.config)
        }),
        column("score", 0, |a, scores| {
            let of = a.utility.filter(|_| a.fallen.is_none());
            let score = of.map(|u| format!("{:.0}", 100.0 * (u - scores.best).exp()));
            score.unwrap_or_else(|| "-".into())
        }),
        column("tok/s", 0, |a, _| median(a, Target::OutputTokS)),
        column("80 % range", 2, |a, _| range(a, Target::OutputTokS)),
    ];
    if latency {
        out.push(column("TTFT ms", 1, |a, _| median(a, Target::TtftMs)));
        out.push(column("TPOT ms", 1, |a, _| median(a, Target::TpotMs)));
    }
    if known(|a| a.outlook.miss) {
        out.push(column("meets", 0, |a, _| {
            let chance = a.outlook.miss.map(|miss| 100.0 * (1.0 - miss));
            chance.map_or_else(|| "-".into(), |c| format!("{c:.0} %"))
        }));
    }
    if known(|a| a.outlook.wait_h) {
        out.push(column("wait h", 1, |a, _| {
            let wait = a.outlook.wait_h;
            wait.map_or_else(|| "-".into(), |h| format!("{h:.1}"))
        }));
    }
    out.push(column("tok/GPU-hour", 3, |a, _| {
        number(a.tokens_per_gpu_hour)
    }));
    if has_prices(shown) {
        out.push(column("tok/price", 0, |a, _| number(a.tokens_per_price)));
    } else if let Some(last) = out.last_mut() {
        last.goes = 0;
    }
    out
}

/// True where GPU types have prices of their own: else both figures are the same.
fn has_prices(shown: &[&Assessed]) -> bool {
    let mut ratios = shown
        .iter()
        .filter_map(|a| Some(a.tokens_per_price? / a.tokens_per_gpu_hour?));
    let first = ratios.next();
    first.is_some_and(|f| (f - 1.0).abs() > 1e-9)
        || ratios.any(|r| first.is_some_and(|f| (r - f).abs() > 1e-9))
}

fn number(x: Option<f64>) -> String {
    x.map_or_else(|| "-".into(), grouped)
}

fn median(a: &Assessed, target: Target) -> String {
    number(a.prediction(target).map(|p| p.q50))
}

fn range(a: &Assessed, target: Target) -> String {
    let p = a.prediction(target);
    p.map_or_else(String::new, |p| {
        format!("[{}-{}]", grouped(p.lo), grouped(p.hi))
    })
}

/// Widths of the columns.
fn widths(rows: &[Vec<String>]) -> Vec<usize> {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    (0..columns).map(|at| width(at).unwrap_or(0)).collect()
}

/// Width of the whole table.
fn total(rows: &[Vec<String>]) -> usize {
    let widths = widths(rows);
    widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
}

/// The rows with their cells below each other: names to the left, numbers to the right.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let widths = widths(rows);
    let line = |row: &Vec<String>| {
        let mut cells = row.iter().zip(&widths).enumerate();
        let cell = |(at, (cell, width)): (usize, (&String, &usize))| match at {
            0 => format!("{cell:<width$}"),
            _ => format!("  {cell:>width$}"),
        };
        let line: String = cells.by_ref().map(cell).collect();
        line.trim_end().to_owned()
    };
    let whole = total(rows);
    rows.iter()
        .map(|row| format!("{:<whole$}", line(row)))
        .collect()
}

/// The bars beside the table where there is room, its scale first.
fn bars(shown: &[&Assessed], screen: Screen, used: usize) -> Vec<String> {
    let room = screen
        .width
        .map_or(0, |width| width.saturating_sub(used + 2));
    if room < NARROWEST_BAR {
        return vec![String::new(); shown.len() + 1];
    }
    let of = |a: &&Assessed| a.prediction(Target::OutputTokS).map(|p| (p.lo, p.hi));
    let scale = Scale::over(shown.iter().filter_map(of), room.min(WIDEST_BAR));
    let bar = |a: &&Assessed| {
        let p = a.prediction(Target::OutputTokS);
        p.map_or_else(String::new, |p| scale.bar([p.lo, p.q50, p.hi], screen))
    };
    std::iter::once(scale.ends())
        .chain(shown.iter().map(bar))
        .collect()
}

/// Two lines a candidate on a terminal that is too narrow for a table: its name, then its numbers by name.
fn pairs(shown: &[&Assessed], rows: &[Vec<String>], screen: Screen, width: usize) -> Vec<String> {
    let Some((head, rows)) = rows.split_first() else {
        return Vec::new();
    };
    let mut out = Vec::new();
    for (row, a) in rows.iter().zip(shown) {
        let numbers = head.iter().zip(row).skip(1);
        let named: Vec<String> = numbers.map(|(h, c)| format!("{h} {c}")).collect();
        for text in [row[0].clone(), format!("    {}", named.join(", "))] {
            let best = row[0].starts_with('*');
            out.push(coloured(cut(&text, width, screen), a, best, screen));
        }
    }
    out
}

/// Why candidates fall: those that fall alike in one line, with the nearest one's figures.
fn reasons(fallen: &[&Assessed]) -> Vec<String> {
    let mut groups: Vec<(String, Vec<&Assessed>)> = Vec::new();
    for a in fallen {
        let reason = a.fallen.as_ref().map(why).unwrap_or_default();
        let kind: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
        match groups.iter_mut().find(|(k, _)| *k == kind) {
            Some((_, members)) => members.push(a),
            None => groups.push((kind, vec![a])),
        }
    }
    let line = |members: &Vec<&Assessed>| {
        let said = |a: &&&Assessed| a.fallen.as_ref().map(why).unwrap_or_default();
        // The one with most GPUs comes nearest to what would do.
        let nearest = members.iter().max_by_key(|a| a.config.gpus());
        let reason = nearest.as_ref().map(said).unwrap_or_default();
        let alike = members.iter().all(|a| said(&a) == reason);
        let of = nearest.filter(|_| !alike);
        let of = of.map_or_else(String::new, |a| format!(" ({})", a.config));
        format!("  {}: {reason}{of}", names(members))
    };
    groups.iter().map(|(_, members)| line(members)).collect()
}

/// The names of candidates, the degrees of one type and format together: `h100 x 1/2, bf16`.
fn names(members: &[&Assessed]) -> String {
    let mut groups: Vec<((String, String), Vec<String>)> = Vec::new();
    for a in members {
        let name = a.config.to_string();
        let (gpus, rest) = name.split_once(", ").unwrap_or((&name, ""));
        let (gres, count) = gpus.split_once(" x ").unwrap_or((gpus, ""));
        let key = (gres.to_owned(), rest.to_owned());
        match groups.iter_mut().find(|(k, _)| *k == key) {
            Some((_, counts)) => counts.push(count.to_owned()),
            None => groups.push((key, vec![count.to_owned()])),
        }
    }
    let mut out = Vec::new();
    for ((gres, rest), mut counts) in groups {
        counts.sort_by_key(|count| count.parse::<u32>().unwrap_or(0));
        counts.dedup();
        out.push(format!("{gres} x {}, {rest}", counts.join("/")));
    }
    out.join("; ")
}

/// The best in bold, what misses a target dim: the colours carry nothing that the words do not.
fn coloured(text: String, a: &Assessed, best: bool, screen: Screen) -> String {
    match (screen.colour, a.fallen.is_some(), best) {
        (true, true, _) => dim(text, screen),
        (true, false, true) => format!("\u{1b}[1m{text}\u{1b}[0m"),
        _ => text,
    }
}

fn dim(text: String, screen: Screen) -> String {
    match screen.colour {
        true => format!("\u{1b}[2m{text}\u{1b}[0m"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_store::advisor::{Configuration, Precision, Prediction};
    use proptest::prelude::*;

    fn candidate(tp: u32, ends: Option<[f64; 3]>, fallen: Option<&str>) -> Assessed {
        let prediction = ends.map(|[lo, q50, hi]| Prediction {
            q10: lo,
            q50,
            q90: hi,
            lo,
            hi,
        });
        Assessed {
            config: Configuration {
                gres: "h100".into(),
                gpu: "H100-SXM".into(),
                tp,
                pp: 1,
                dp: 1,
                precision: Precision::Fp8,
                checkpoint: None,
                quantise_at_load: false,
                max_len: None,
                max_num_seqs: None,
            },
            predictions: vec![prediction],
            tokens_per_gpu_hour: None,
            tokens_per_price: None,
            price_per_hour: 1.0,
            outlook: model_store::advisor::utility::Outlook::default(),
            terms: [None; 7],
            utility: None,
            fallen: fallen.map(|reason| Fallen::Infeasible(reason.into())),
        }
    }

    fn screen(width: usize) -> Screen {
        Screen {
            width: Some(width),
            colour: false,
            unicode: false,
        }
    }

    /// Without a load and a target.
    fn request() -> Request {
        let card = model_store::advisor::Catalogue::built_in().cards()[0].clone();
        let text = serde_json::json!({
            "card": card, "checkpoint_precision": null, "checkpoints": [], "engine": "vllm",
            "load": {"isl": 1024.0, "osl": 256.0, "concurrency": null, "rate": null},
            "slo": {"ttft_ms": null, "tpot_ms": null, "e2e_ms": null},
            "pins": {"gpu": null, "tp": null, "precision": null},
        });
        serde_json::from_value(text).unwrap()
    }

    fn shown(all: &[Assessed], screen: Screen) -> Vec<String> {
        lines(all, &request(), screen)
    }

    fn ranked(tp: u32, ends: [f64; 3], utility: f64) -> Assessed {
        Assessed {
            utility: Some(utility),
            tokens_per_gpu_hour: Some(ends[1] * 3600.0),
            ..candidate(tp, Some(ends), None)
        }
    }

    #[test]
    fn the_best_is_marked_the_ranking_is_shown_and_what_falls_alike_is_one_line() {
        let all = [
            ranked(2, [1000.0, 2000.0, 4000.0], 3.0),
            ranked(4, [2000.0, 4000.0, 8000.0], 3.0 - 2f64.ln()),
            candidate(8, None, Some("131 GiB of weights")),
            candidate(1, None, Some("132 GiB of weights")),
        ];
        assert_eq!(
            shown(&all, screen(88)),
            [
                "candidate        score  tok/s     80 % range  tok/GPU-hour  1,000                  8,000",
                "* h100 x 2, fp8    100  2,000  [1,000-4,000]     7,200,000  |--------o--------|",
                "  h100 x 4, fp8     50  4,000  [2,000-8,000]    14,400,000           |--------o--------|",
                "",
                "  h100 x 1/8, fp8: infeasible: 131 GiB of weights (h100 x 8, fp8)",
            ]
        );
        // The range goes before what candidates are ranked by.
        assert_eq!(
            shown(&all[..1], screen(50))[0]
                .split_whitespace()
                .collect::<Vec<_>>(),
            ["candidate", "score", "tok/s", "tok/GPU-hour"]
        );
        assert_eq!(
            shown(&all[..1], screen(30)),
            ["* h100 x 2, fp8", "    score 100, tok/s 2,000,..."]
        );
    }

    #[test]
    fn prices_have_a_column_where_they_differ() {
        let mut dear = ranked(2, [1.0, 2.0, 4.0], 1.0);
        dear.tokens_per_price = Some(1800.0);
        let head = |a: &Assessed| shown(std::slice::from_ref(a), screen(120))[0].clone();
        assert!(head(&dear).contains("tok/price"));
        dear.tokens_per_price = dear.tokens_per_gpu_hour;
        assert!(!head(&dear).contains("tok/price"));
    }

    #[test]
    fn colours_add_nothing_to_the_words_and_no_terminal_has_neither_colours_nor_bars() {
        let all = [
            ranked(2, [1.0, 2.0, 4.0], 1.0),
            candidate(8, None, Some("no room")),
        ];
        let plain = shown(&all, screen(100));
        let colour = Screen {
            colour: true,
            ..screen(100)
        };
        let bare: Vec<String> = shown(&all, colour)
            .iter()
            .map(|l| {
                l.split('\u{1b}')
                    .map(|part| {
                        part.split_once('m')
                            .filter(|(code, _)| code.starts_with('['))
                            .map_or(part, |(_, text)| text)
                    })
                    .collect()
            })
            .collect();
        assert!(shown(&all, colour) != plain && bare == plain, "{bare:?}");
        let elsewhere = Screen {
            width: None,
            ..screen(0)
        };
        let lines = shown(&all, elsewhere);
        assert!(lines.iter().all(|l| !l.contains("|-")) && lines[0].contains("tok/GPU-hour"));
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            width in 1usize..200, unicode in any::<bool>(),
            ends in prop::collection::vec((1e-3..1e6f64, 1.0..1e3f64, 1.0..1e3f64), 0..6),
        ) {
            let mut all: Vec<Assessed> = ends
                .iter()
                .map(|(lo, a, b)| ranked(2, [*lo, lo * a, lo * a * b], *a))
                .collect();
            all.push(candidate(8, None, Some("many GiB of weights on each of many GPUs of a node")));
            for line in shown(&all, Screen { unicode, ..screen(width) }) {
                prop_assert!(line.chars().count() <= width, "{line}");
            }
        }
    }
}
