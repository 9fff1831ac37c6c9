//! What a table is shown on: its width and letters, and the bars that fit there.

use model_store::advisor::words::grouped;

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

/// A line no longer than the screen is wide.
pub(super) fn cut(text: &str, width: usize, screen: Screen) -> String {
    if text.chars().count() <= width {
        return text.trim_end().to_owned();
    }
    let mark = if screen.unicode { "…" } else { "..." };
    let kept = width.saturating_sub(mark.chars().count());
    let head: String = text.chars().take(kept).collect();
    format!("{head}{mark}").chars().take(width).collect()
}

/// A text in lines no longer than the screen is wide, broken between words; those after the first begin with `indent`.
pub(super) fn wrapped(text: &str, screen: Screen, indent: &str) -> Vec<String> {
    let Some(width) = screen.width else {
        return vec![text.to_owned()];
    };
    let mut out: Vec<String> = Vec::new();
    let begin = text.len() - text.trim_start().len();
    let (blanks, text) = text.split_at(begin);
    let mut line = blanks.to_owned();
    for word in text.split(' ') {
        let room = line.chars().count() + 1 + word.chars().count() <= width;
        if line.trim().is_empty() || room {
            let gap = if line.trim().is_empty() { "" } else { " " };
            line = format!("{line}{gap}{word}");
        } else {
            out.push(std::mem::replace(&mut line, format!("{indent}{word}")));
        }
    }
    out.push(line);
    out.iter().map(|line| cut(line, width, screen)).collect()
}

/// A logarithmic scale from the least lower end to the largest upper one.
pub(super) struct Scale {
    least: f64,
    most: f64,
    width: usize,
}

impl Scale {
    /// The scale over intervals, each with its lower and upper end.
    pub(super) fn over(intervals: impl Iterator<Item = (f64, f64)>, width: usize) -> Self {
        let (least, most) = intervals.fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), p| {
            (least.min(p.0), most.max(p.1))
        });
        Self { least, most, width }
    }

    /// What the scale begins and ends with, over its width.
    pub(super) fn ends(&self) -> String {
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
    pub(super) fn bar(&self, [lo, median, hi]: [f64; 3], screen: Screen) -> String {
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
