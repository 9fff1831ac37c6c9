//! The candidates as a table: with interval bars on a terminal, wide or narrow, and plain elsewhere.

use model_store::advisor::words::grouped;
use model_store::advisor::{Assessed, Target};

use super::why;

/// Widest part of a line that a bar takes, columns.
const WIDEST_BAR: usize = 40;
/// Narrowest bar that shows anything.
const NARROWEST_BAR: usize = 12;
/// Columns of the numbers beside which a bar stands.
const NUMBERS: usize = 32 + 1 + 9 + 1 + 19 + 2;

/// Where a table goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Screen {
    /// Columns; `None` where it is no terminal: then there are no bars and nothing is cut.
    pub(super) width: Option<usize>,
    /// True where it shows colour.
    pub(super) colour: bool,
    /// True where it shows letters beyond ASCII.
    pub(super) unicode: bool,
}

impl Screen {
    /// The screen behind standard output, as environment and terminal have it.
    pub(super) fn of_stdout() -> Self {
        use std::io::IsTerminal;
        let said = |name: &str| std::env::var(name).unwrap_or_default();
        let terminal = std::io::stdout().is_terminal();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].map(said);
        let locale = locale.into_iter().find(|l| !l.is_empty());
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Self {
            width: terminal.then(|| columns().unwrap_or(80)),
            colour: terminal && said("NO_COLOR").is_empty() && said("TERM") != "dumb",
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }
}

/// Columns of the terminal: `COLUMNS`, else what the terminal says.
fn columns() -> Option<usize> {
    let stated = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    stated.or_else(asked).filter(|c| *c > 0)
}

fn asked() -> Option<usize> {
    // SAFETY: a plain struct of four numbers, for which all zeros are valid.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes one `winsize` behind a pointer that is valid for it.
    let code = unsafe { libc::ioctl(1, libc::TIOCGWINSZ, &raw mut size) };
    (code == 0).then_some(usize::from(size.ws_col))
}

/// The lines of the table, the first one its head.
pub(super) fn lines(candidates: &[Assessed], screen: Screen) -> Vec<String> {
    let Some(width) = screen.width else {
        return std::iter::once(head())
            .chain(candidates.iter().map(plain))
            .collect();
    };
    let bar = width.saturating_sub(NUMBERS).min(WIDEST_BAR);
    if bar >= NARROWEST_BAR {
        wide(candidates, screen, width, bar)
    } else {
        narrow(candidates, screen, width)
    }
}

fn head() -> String {
    format!(
        "{:<32} {:>9} {:>19} {:>14} {:>11}",
        "candidate", "tok/s", "interval", "tok/GPU-hour", "tok/price"
    )
}

fn plain(a: &Assessed) -> String {
    let name = a.config.to_string();
    let reason = a.fallen.as_ref().map(why);
    let Some(p) = a.prediction(Target::OutputTokS) else {
        return format!("{name:<32} {}", reason.unwrap_or_default());
    };
    let number = |x: Option<f64>| x.map_or_else(|| "-".into(), grouped);
    let numbers = format!(
        "{name:<32} {:>9} {:>19} {:>14} {:>11}",
        grouped(p.q50),
        interval(a),
        number(a.tokens_per_gpu_hour),
        number(a.tokens_per_price)
    );
    reason.map_or(numbers.clone(), |r| format!("{numbers}  {r}"))
}

fn interval(a: &Assessed) -> String {
    let p = a.prediction(Target::OutputTokS);
    p.map_or_else(String::new, |p| {
        format!("[{}-{}]", grouped(p.lo), grouped(p.hi))
    })
}

/// One line a candidate, its bar at the end.
fn wide(candidates: &[Assessed], screen: Screen, width: usize, bar: usize) -> Vec<String> {
    let scale = Scale::over(candidates, bar);
    let head = format!(
        "{:<32} {:>9} {:>19}  {}",
        "candidate",
        "tok/s",
        "interval",
        scale.ends()
    );
    let line = |a: &Assessed| {
        let name = a.config.to_string();
        let text = match a.prediction(Target::OutputTokS) {
            Some(p) if a.fallen.is_none() => {
                let bar = scale.bar([p.lo, p.q50, p.hi], screen);
                format!(
                    "{name:<32} {:>9} {:>19}  {bar}",
                    grouped(p.q50),
                    interval(a)
                )
            }
            _ => format!(
                "{name:<32} {}",
                a.fallen.as_ref().map(why).unwrap_or_default()
            ),
        };
        coloured(cut(&text, width, screen), a, screen)
    };
    std::iter::once(cut(&head, width, screen))
        .chain(candidates.iter().map(line))
        .collect()
}

/// Two lines a candidate: its numbers, then its bar or why it falls.
fn narrow(candidates: &[Assessed], screen: Screen, width: usize) -> Vec<String> {
    let scale = Scale::over(candidates, width.saturating_sub(2).clamp(1, WIDEST_BAR));
    let head = ["candidate: tok/s".to_owned(), format!("  {}", scale.ends())];
    let mut out = head.map(|text| cut(&text, width, screen)).to_vec();
    for a in candidates {
        let name = a.config.to_string();
        let (first, second) = match a.prediction(Target::OutputTokS) {
            Some(p) if a.fallen.is_none() => (
                format!("{name}: {} {}", grouped(p.q50), interval(a)),
                scale.bar([p.lo, p.q50, p.hi], screen),
            ),
            _ => (name, a.fallen.as_ref().map(why).unwrap_or_default()),
        };
        for text in [first, format!("  {second}")] {
            out.push(coloured(cut(&text, width, screen), a, screen));
        }
    }
    out
}

/// A line no longer than the screen is wide.
fn cut(text: &str, width: usize, screen: Screen) -> String {
    if text.chars().count() <= width {
        return text.trim_end().to_owned();
    }
    let mark = if screen.unicode { "…" } else { "..." };
    let kept = width.saturating_sub(mark.chars().count());
    let head: String = text.chars().take(kept).collect();
    format!("{head}{mark}").chars().take(width).collect()
}

/// What falls is dim: the colours carry nothing that the words do not.
fn coloured(text: String, a: &Assessed, screen: Screen) -> String {
    if screen.colour && a.fallen.is_some() {
        format!("\u{1b}[2m{text}\u{1b}[0m")
    } else {
        text
    }
}

/// A logarithmic scale from the least lower end to the largest upper one.
struct Scale {
    least: f64,
    most: f64,
    width: usize,
}

impl Scale {
    fn over(candidates: &[Assessed], width: usize) -> Self {
        let open = candidates.iter().filter(|a| a.fallen.is_none());
        let ends = open.filter_map(|a| a.prediction(Target::OutputTokS));
        let (least, most) = ends.fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), p| {
            (least.min(p.lo), most.max(p.hi))
        });
        Self { least, most, width }
    }

    /// What the scale begins and ends with, over its width.
    fn ends(&self) -> String {
        if self.least > self.most {
            return String::new();
        }
        let (least, most) = (grouped(self.least), grouped(self.most));
        let room = self.width.saturating_sub(least.len()).max(most.len() + 1);
        format!("{least}{most:>room$}")
    }

    fn place(&self, x: f64) -> usize {
        let span = (self.most / self.least).ln();
        let share = if span > 0.0 {
            (x / self.least).ln() / span
        } else {
            0.5
        };
        let last = self.width.saturating_sub(1);
        ((share.clamp(0.0, 1.0) * last as f64).round() as usize).min(last)
    }

    /// The interval, with its median.
    fn bar(&self, [lo, median, hi]: [f64; 3], screen: Screen) -> String {
        let marks = if screen.unicode {
            ['├', '─', '●', '┤']
        } else {
            ['|', '-', 'o', '|']
        };
        let [from, at, to] = [lo, median, hi].map(|x| self.place(x));
        let mark = |column: usize| match column {
            c if c == at => marks[2],
            c if c == from => marks[0],
            c if c == to => marks[3],
            c if from < c && c < to => marks[1],
            _ => ' ',
        };
        (0..=to).map(mark).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model_store::advisor::{Assessed, Configuration, Fallen, Precision, Prediction};
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

    #[test]
    fn a_wide_terminal_has_a_bar_beside_the_numbers_and_a_narrow_one_below_them() {
        let all = [
            candidate(2, Some([1000.0, 2000.0, 4000.0]), None),
            candidate(4, Some([2000.0, 4000.0, 8000.0]), None),
            candidate(8, None, Some("131 GiB of weights")),
        ];
        assert_eq!(
            lines(&all, screen(88)),
            [
                "candidate                            tok/s            interval  1,000              8,000",
                "h100 x 2, fp8                        2,000       [1,000-4,000]  |-------o------|",
                "h100 x 4, fp8                        4,000       [2,000-8,000]          |------o-------|",
                "h100 x 8, fp8                    infeasible: 131 GiB of weights",
            ]
        );
        assert_eq!(
            lines(&all[..1], screen(30)),
            [
                "candidate: tok/s",
                "  1,000                  4,000",
                "h100 x 2, fp8: 2,000 [1,000...",
                "  |-------------o------------|"
            ]
        );
    }

    #[test]
    fn colours_add_nothing_to_the_words_and_no_terminal_has_neither_colours_nor_bars() {
        let all = [
            candidate(2, Some([1.0, 2.0, 4.0]), None),
            candidate(8, None, Some("no room")),
        ];
        let plain = lines(&all, screen(100));
        let dim = lines(
            &all,
            Screen {
                colour: true,
                ..screen(100)
            },
        );
        let bare: Vec<String> = dim
            .iter()
            .map(|l| l.replace("\u{1b}[2m", "").replace("\u{1b}[0m", ""))
            .collect();
        assert!(dim != plain && bare == plain, "{dim:?}");
        let elsewhere = lines(
            &all,
            Screen {
                width: None,
                ..screen(0)
            },
        );
        assert!(
            elsewhere.iter().all(|l| !l.contains("|-")) && elsewhere[0].contains("tok/GPU-hour")
        );
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            width in 1usize..200, unicode in any::<bool>(),
            ends in prop::collection::vec((1e-3..1e6f64, 1.0..1e3f64, 1.0..1e3f64), 0..6),
        ) {
            let mut all: Vec<Assessed> = ends
                .iter()
                .map(|(lo, a, b)| candidate(2, Some([*lo, lo * a, lo * a * b]), None))
                .collect();
            all.push(candidate(8, None, Some("many GiB of weights on each of many GPUs of a node")));
            for line in lines(&all, Screen { unicode, ..screen(width) }) {
                prop_assert!(line.chars().count() <= width, "{line}");
            }
        }
    }
}
