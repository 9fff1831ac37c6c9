//! `[ ... ]` and `[[ ... ]]`: true, false, or not known.

use super::value::Text;

/// The value of a condition. `patterns` is true in `[[ ... ]]`, where the right side of `==` is a
/// pattern.
pub(super) fn holds(words: &[Text], patterns: bool) -> Option<bool> {
    let mut test = Test {
        words,
        at: 0,
        depth: 0,
        patterns,
    };
    if words.is_empty() {
        return Some(false);
    }
    let out = test.any();
    if test.at == words.len() { out } else { None }
}

/// True where a condition compares the number of the job's GPUs with another number. Whether there
/// is a GPU at all is no such comparison.
pub(super) fn compares_count(words: &[Text]) -> bool {
    words.windows(3).any(|three| {
        let [left, op, right] = three else {
            return false;
        };
        let op = op.text().unwrap_or_default();
        let number = |side: &Text| match side.text().as_deref().map(str::trim) {
            Some("" | "0") => false,
            Some("1") => !matches!(op.as_str(), "-ge" | "-lt" | ">=" | "<"),
            Some(text) => text.starts_with(|c: char| c.is_ascii_digit()),
            None => side.follows().is_none(),
        };
        COMPARES.contains(&op.as_str())
            && ((left.counts() && number(right)) || (right.counts() && number(left)))
    })
}

/// Operators that compare two words.
const COMPARES: [&str; 12] = [
    "=", "==", "!=", "=~", "<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge",
];

struct Test<'a> {
    words: &'a [Text],
    at: usize,
    depth: u32,
    patterns: bool,
}

impl Test<'_> {
    fn word(&self, ahead: usize) -> Option<String> {
        self.words.get(self.at + ahead)?.text()
    }

    fn eat(&mut self, ops: &[&str]) -> bool {
        let there = self.word(0).is_some_and(|w| ops.contains(&w.as_str()));
        self.at += usize::from(there);
        there
    }

    fn any(&mut self) -> Option<bool> {
        let mut out = self.all();
        while self.eat(&["||", "-o"]) {
            out = match (out, self.all()) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
        }
        out
    }

    fn all(&mut self) -> Option<bool> {
        let mut out = self.not();
        while self.eat(&["&&", "-a"]) {
            out = match (out, self.not()) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
        }
        out
    }

    fn not(&mut self) -> Option<bool> {
        self.depth += 1;
        if self.depth > 40 {
            return None;
        }
        let left = self.words.len().saturating_sub(self.at);
        let out = if left > 1 && self.eat(&["!"]) {
            self.not().map(|b| !b)
        } else if left > 2 && self.patterns && self.eat(&["("]) {
            let inner = self.any();
            if self.eat(&[")"]) { inner } else { None }
        } else {
            self.one()
        };
        self.depth -= 1;
        out
    }

    fn one(&mut self) -> Option<bool> {
        let op = self.word(1).unwrap_or_default();
        if let (
            "=" | "==" | "!=" | "=~" | "<" | ">" | "-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge"
            | "-nt" | "-ot" | "-ef",
            Some(right),
        ) = (op.as_str(), self.words.get(self.at + 2))
        {
            let left = self.words.get(self.at)?.text();
            self.at += 3;
            return compare(&op, &left?, &right.text()?, self.patterns);
        }
        let first = self.word(0);
        if let (Some("-z" | "-n"), Some(operand)) = (first.as_deref(), self.words.get(self.at + 1))
        {
            self.at += 2;
            return empty(operand).map(|e| e == (first.as_deref() == Some("-z")));
        }
        let file = first
            .as_deref()
            .is_some_and(|f| f.len() == 2 && f.starts_with('-'));
        if file && self.words.len() > self.at + 1 {
            self.at += 2;
            return None;
        }
        let operand = self.words.get(self.at)?;
        self.at += 1;
        empty(operand).map(|e| !e)
    }
}

/// Whether a text is empty. One with some known text in it is not.
fn empty(text: &Text) -> Option<bool> {
    match text.text() {
        Some(text) => Some(text.is_empty()),
        None if text.follows().is_some() => Some(false),
        None => None,
    }
}

fn compare(op: &str, left: &str, right: &str, patterns: bool) -> Option<bool> {
    let numbers = || {
        Some((
            left.trim().parse::<i64>().ok()?,
            right.trim().parse::<i64>().ok()?,
        ))
    };
    let equal = || {
        if patterns && right.contains(['*', '?', '[']) {
            matches(right, left)
        } else {
            Some(left == right)
        }
    };
    match op {
        "=" | "==" => equal(),
        "!=" => equal().map(|e| !e),
        "-eq" => numbers().map(|(l, r)| l == r),
        "-ne" => numbers().map(|(l, r)| l != r),
        "-lt" => numbers().map(|(l, r)| l < r),
        "-le" => numbers().map(|(l, r)| l <= r),
        "-gt" => numbers().map(|(l, r)| l > r),
        "-ge" => numbers().map(|(l, r)| l >= r),
        _ => None,
    }
}

/// Whether a text is of a pattern with `*` and `?`; `None` for other patterns.
pub(super) fn matches(pattern: &str, text: &str) -> Option<bool> {
    if pattern.contains(['[', '(', '\\']) || pattern.len() + text.len() > 4096 {
        return None;
    }
    let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // The last star seen, and how much of the text it has taken.
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < t.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(c) if *c == '?' || Some(c) == t.get(j) => {
                i += 1;
                j += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (i, j) = (at + 1, taken + 1);
                }
                None => return Some(false),
            },
        }
    }
    Some(p.iter().skip(i).all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, text, result) in [
            ("*", "", true),
            ("a*b", "axxb", true),
            ("a?b", "axxb", false),
            ("--tp*", "--tp-size", true),
            ("x", "xy", false),
        ] {
            assert_eq!(matches(pattern, text), Some(result), "{pattern} {text}");
        }
    }

    #[test]
    fn conditions_are_true_false_or_not_known() {
        let of = |text: &str| {
            let words: Vec<Text> = text
                .split(' ')
                .map(|w| match w {
                    "U" => Text::unknown("u"),
                    "''" => Text::known(""),
                    w => Text::known(w),
                })
                .collect();
            holds(&words, true)
        };
        for (text, result) in [
            ("3 -gt 0", Some(true)),
            ("-z ''", Some(true)),
            ("-n U", None),
            ("U == a && 1 -eq 2", Some(false)),
            ("! a == b*", Some(true)),
            ("-f x || a == a", Some(true)),
            ("-f x", None),
        ] {
            assert_eq!(of(text), result, "{text}");
        }
    }
}
