//! Figures as SVG text: axes, points with intervals, lines, bars and maps. Pure. Colours come from the
//! page's style sheet by class, so that light, dark and print share one drawing.

use std::fmt::Write;

use model_store::advisor::words::count_of;
use model_store::options::is_hidden;

/// Width of every drawing in its own units; the page scales it.
pub(super) const WIDTH: f64 = 480.0;
/// Height of a drawing with axes.
const HEIGHT: f64 = 320.0;
/// Room for the axes: left, right, top, bottom.
const MARGINS: [f64; 4] = [64.0, 24.0, 12.0, 46.0];

/// An axis from data to units of the drawing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    log: bool,
    data: [f64; 2],
    place: [f64; 2],
}

impl Scale {
    /// An axis that holds all these values, with some air.
    pub(super) fn over(values: impl Iterator<Item = f64>, log: bool) -> Self {
        let sound = values.filter(|v| v.is_finite() && (!log || *v > 0.0));
        let (lo, hi) = sound.fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| {
            (lo.min(v), hi.max(v))
        });
        let data = match (lo.is_finite(), log) {
            (false, true) => [1.0, 10.0],
            (false, false) => [0.0, 1.0],
            (true, true) => [lo / 1.25, hi * 1.25],
            (true, false) => [lo.min(0.0), if hi > lo.min(0.0) { hi * 1.05 } else { 1.0 }],
        };
        Self {
            log,
            data,
            place: [0.0, 1.0],
        }
    }

    /// An axis between two values.
    pub(super) fn between(lo: f64, hi: f64) -> Self {
        Self {
            log: false,
            data: [lo, hi],
            place: [0.0, 1.0],
        }
    }

    fn on(self, place: [f64; 2]) -> Self {
        Self { place, ..self }
    }

    fn at(&self, v: f64) -> f64 {
        let t = |x: f64| if self.log { x.max(1e-12).ln() } else { x };
        let [lo, hi] = self.data.map(t);
        let share = ((t(v) - lo) / (hi - lo).max(1e-12)).clamp(0.0, 1.0);
        self.place[0] + share * (self.place[1] - self.place[0])
    }

    /// Round values to label, at most six.
    fn ticks(&self) -> Vec<f64> {
        let [lo, hi] = self.data;
        if self.log {
            let inside = |v: &f64| *v >= lo && *v <= hi;
            let from = lo.log10().floor() as i32;
            let decades = from..=hi.log10().ceil() as i32;
            let all: Vec<f64> = decades
                .flat_map(|d| [1.0, 2.0, 5.0].map(|m| m * 10f64.powi(d)))
                .filter(inside)
                .collect();
            let step = all.len().div_ceil(6).max(1);
            return all.into_iter().step_by(step).collect();
        }
        let rough = (hi - lo) / 5.0;
        let power = 10f64.powf(rough.abs().max(1e-12).log10().floor());
        let nice = [1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * power);
        let step = nice.into_iter().find(|s| *s >= rough).unwrap_or(rough);
        let first = (lo / step).ceil();
        (0..7)
            .map(|i| (first + f64::from(i)) * step)
            .filter(|v| *v <= hi + step * 1e-9)
            .collect()
    }
}

/// A drawing with two axes.
pub(super) struct Plot {
    x: Scale,
    y: Scale,
    marks: String,
    percent: [bool; 2],
    labels: [String; 2],
}

impl Plot {
    /// Axes with their labels; `percent` says which of them are shares.
    pub(super) fn new(x: (Scale, &str), y: (Scale, &str), percent: [bool; 2]) -> Self {
        let [left, right, top, bottom] = MARGINS;
        Self {
            x: x.0.on([left, WIDTH - right]),
            y: y.0.on([HEIGHT - bottom, top]),
            marks: String::new(),
            percent,
            labels: [x.1.to_owned(), y.1.to_owned()],
        }
    }

    /// A point with an interval along y, and what it says of itself.
    pub(super) fn point(&mut self, x: f64, y: [f64; 3], class: &str, words: &str) {
        let (px, [lo, mid, hi]) = (self.x.at(x), y.map(|v| self.y.at(v)));
        let _ = write!(
            self.marks,
            "<g class=\"{class}\"><title>{}</title><line class=\"i\" x1=\"{px:.1}\" x2=\"{px:.1}\" y1=\"{lo:.1}\" y2=\"{hi:.1}\"/>\
             <circle cx=\"{px:.1}\" cy=\"{mid:.1}\" r=\"3\"/></g>",
            escaped(words)
        );
    }

    /// A name beside a point of a line that rises: above it to the left, or below it to the right where the axis is near.
    pub(super) fn name(&mut self, x: f64, y: f64, words: &str) {
        let (px, py) = (self.x.at(x), self.y.at(y));
        let (anchor, dx, dy) = match px - MARGINS[0] > 110.0 {
            true => ("end", -5.0, -6.0),
            false => ("start", 6.0, 14.0),
        };
        let _ = write!(
            self.marks,
            "<text class=\"t\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
            px + dx,
            (py + dy).max(MARGINS[2] + 10.0),
            escaped(words)
        );
    }

    /// A line through these points.
    pub(super) fn line(&mut self, points: &[(f64, f64)], class: &str) {
        let mut path = String::new();
        for (i, (x, y)) in points.iter().enumerate() {
            let word = if i == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{word}{:.1} {:.1}", self.x.at(*x), self.y.at(*y));
        }
        let _ = write!(self.marks, "<path class=\"l {class}\" d=\"{path}\"/>");
    }

    /// The drawing, with its name and what it shows.
    pub(super) fn draw(self, id: &str, title: &str, description: &str) -> String {
        let mut axes = String::new();
        let [left, right, _, bottom] = MARGINS;
        let (floor, end) = (HEIGHT - bottom, WIDTH - right);
        let label = |v: f64, percent: bool| match percent {
            true => format!("{:.0} %", v * 100.0),
            false => short(v),
        };
        for v in self.x.ticks() {
            let x = self.x.at(v);
            let text = label(v, self.percent[0]);
            let _ = write!(
                axes,
                "<line class=\"g\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"12\" y2=\"{floor}\"/><text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                floor + 16.0
            );
        }
        for v in self.y.ticks() {
            let y = self.y.at(v);
            let text = label(v, self.percent[1]);
            let _ = write!(
                axes,
                "<line class=\"g\" x1=\"{left}\" x2=\"{end}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                left - 6.0,
                y + 4.0
            );
        }
        let [x, y] = self.labels.map(|l| escaped(&l));
        let _ = write!(
            axes,
            "<text class=\"a\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{x}</text>\
             <text class=\"a\" transform=\"translate(13 {}) rotate(-90)\" text-anchor=\"middle\">{y}</text>",
            (left + end) / 2.0,
            HEIGHT - 8.0,
            floor / 2.0
        );
        frame(id, title, description, HEIGHT, &(axes + &self.marks))
    }
}

/// Horizontal bars: name, value, and the words behind the bar.
pub(super) fn bars(rows: &[(String, f64, String)], id: &str, title: &str, about: &str) -> String {
    let most = rows.iter().map(|r| r.1).fold(0.0, f64::max).max(1e-9);
    let mut marks = String::new();
    for (i, (name, value, words)) in (0u32..).zip(rows) {
        let y = f64::from(i) * 26.0;
        let width = value / most * (WIDTH - 320.0);
        let _ = write!(
            marks,
            "<text class=\"t\" x=\"164\" y=\"{:.0}\" text-anchor=\"end\">{}</text><rect class=\"b\" x=\"172\" y=\"{:.0}\" width=\"{:.1}\" height=\"16\"/>\
             <text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            y + 19.0,
            escaped(name),
            y + 6.0,
            width.max(1.0),
            180.0 + width,
            y + 19.0,
            escaped(words)
        );
    }
    let height = 26.0 * f64::from(u32::try_from(rows.len()).unwrap_or(1)) + 10.0;
    frame(id, title, about, height, &marks)
}

/// A map of counts: names of rows and columns, and counts by row.
pub(super) fn map(
    (rows, columns): (&[String], &[String]),
    counts: &[Vec<u64>],
    id: &str,
    title: &str,
    about: &str,
) -> String {
    let [left, top, cell] = [92.0, 100.0, 22.0];
    let most = counts.iter().flatten().copied().max().unwrap_or(1).max(1);
    let width = (WIDTH - left - 50.0) / columns.len().max(1) as f64;
    let mut marks = String::new();
    for (j, name) in columns.iter().enumerate() {
        let x = left + (j as f64 + 0.5) * width;
        let _ = write!(
            marks,
            "<text class=\"t\" transform=\"translate({x:.1} {}) rotate(-60)\">{}</text>",
            top - 6.0,
            escaped(name)
        );
    }
    for (i, (name, row)) in rows.iter().zip(counts).enumerate() {
        let y = top + i as f64 * cell;
        let _ = write!(
            marks,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            y + 15.0,
            escaped(name)
        );
        for (j, n) in row.iter().enumerate() {
            // Density on a logarithmic scale; nothing measured is empty.
            let share = (*n as f64 + 1.0).ln() / (most as f64 + 1.0).ln();
            let _ = write!(
                marks,
                "<g class=\"m\"><title>{}, {}: {}</title><rect class=\"{}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{}\" fill-opacity=\"{:.2}\"/>",
                escaped(name),
                columns.get(j).map_or(String::new(), |c| escaped(c)),
                count_of(*n, "run"),
                if *n == 0 { "n" } else { "b" },
                left + j as f64 * width,
                width - 2.0,
                cell - 2.0,
                if *n == 0 { 1.0 } else { 0.15 + 0.85 * share }
            );
            if *n > 0 {
                let class = if share > 0.55 { "t on" } else { "t" };
                let _ = write!(
                    marks,
                    "<text class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    left + (j as f64 + 0.5) * width - 1.0,
                    y + 15.0,
                    in_a_cell(*n)
                );
            }
            marks.push_str("</g>");
        }
    }
    frame(
        id,
        title,
        about,
        top + rows.len() as f64 * cell + 6.0,
        &marks,
    )
}

fn frame(id: &str, title: &str, about: &str, height: f64, marks: &str) -> String {
    format!(
        "<svg role=\"img\" aria-labelledby=\"{id}-t {id}-d\" viewBox=\"0 0 {WIDTH} {height:.0}\"><title id=\"{id}-t\">{}</title>\
         <desc id=\"{id}-d\">{}</desc>{marks}</svg>",
        escaped(title),
        escaped(about)
    )
}

/// `12`, `3.4k`, `1.2M`, `0.35`.
pub(super) fn short(v: f64) -> String {
    let trimmed = |v: f64, unit: &str| {
        let text = format!("{v:.1}");
        format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
    };
    match v.abs() {
        a if a >= 1e9 => trimmed(v / 1e9, "G"),
        a if a >= 1e6 => trimmed(v / 1e6, "M"),
        a if a >= 1e3 => trimmed(v / 1e3, "k"),
        a if a >= 10.0 || a == 0.0 => format!("{v:.0}"),
        a if a >= 1.0 => trimmed(v, ""),
        _ => format!("{v:.2}"),
    }
}

/// At most four characters: a cell is no wider.
fn in_a_cell(n: u64) -> String {
    match n {
        10_000..1_000_000 => format!("{}k", n / 1000),
        _ => short(n as f64),
    }
}

/// Text for HTML and SVG; what users named may hold anything.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if is_hidden(c) => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_round_and_inside() {
        for (lo, hi, log) in [
            (0.0, 1.0, false),
            (3.0, 8.0e5, true),
            (0.2, 0.9, false),
            (40.0, 41.0, true),
        ] {
            let scale = Scale::over([lo, hi].into_iter(), log);
            let ticks = scale.ticks();
            assert!(ticks.len() <= 7, "{lo} to {hi}: {ticks:?}");
            assert!(
                ticks
                    .iter()
                    .all(|t| *t >= scale.data[0] - 1e-9 && *t <= scale.data[1] * 1.001)
            );
        }
        assert!(!Scale::over(std::iter::empty(), true).ticks().is_empty());
    }

    #[test]
    fn nothing_that_a_user_names_becomes_markup() {
        assert_eq!(escaped("<b a='1'>&\u{7}"), "&lt;b a=&#39;1&#39;&gt;&amp; ");
        let all = bars(&[("<x>".into(), 1.0, "\"y\"".into())], "i", "t", "d");
        assert!(!all.contains("<x>") && all.contains("&lt;x&gt;"));
    }

    #[test]
    fn numbers_are_short() {
        let all = [0.0, 0.345, 2.0, 12.3, 1500.0, 2e6].map(short);
        assert_eq!(all, ["0", "0.34", "2", "12", "1.5k", "2M"]);
    }
}
