//! From words to what a program would get.

use super::arith;
use super::ast::{Op, Param, Part, Script, Word};
use super::lex::template;
use super::shell::{Host, Shell};
use super::state::{State, Value};
use super::test::matches;
use super::value::{Field, Follows, Piece, Text, UNKNOWN};

/// Most words that one expansion makes.
const MOST_WORDS: usize = 1024;

/// A text, and whether it was quoted.
type Run = (Text, bool);

/// What a parameter is.
enum Got {
    Is(Value),
    /// Nobody has set it, as far as one can see.
    Unset,
    Unknown,
}

impl<H: Host> Shell<H> {
    /// The fields of a word.
    pub(in super::super) fn fields(&mut self, state: &mut State, word: &Word) -> Vec<Field> {
        let mut out = Vec::new();
        for word in braces(word) {
            let mut fields = Fields::default();
            for part in &word.parts {
                self.part(state, part, &mut fields);
            }
            out.extend(fields.end());
            if out.len() > MOST_WORDS {
                out.truncate(MOST_WORDS);
                out.push(Field {
                    text: Text::unknown("words"),
                    splits: true,
                });
                return out;
            }
        }
        out
    }

    /// The text of a word where it is not split: in assignments, patterns, here-documents.
    pub(in super::super) fn text(&mut self, state: &mut State, word: &Word) -> Text {
        let mut out = Text::default();
        for part in &word.parts {
            for (n, (text, _)) in self.runs(state, part).into_iter().enumerate() {
                if n > 0 {
                    out.push(Piece::Known(" ".into()));
                }
                out.append(text);
            }
        }
        out
    }

    fn part(&mut self, state: &mut State, part: &Part, fields: &mut Fields) {
        let many = matches!(part, Part::Param { param, .. } if param.name == "@" || param.index.as_deref() == Some("@") || param.name == "*" || param.index.is_some());
        let runs = self.runs(state, part);
        if many && runs.is_empty() {
            fields.nothing = true;
        }
        for (n, (text, quoted)) in runs.into_iter().enumerate() {
            if n > 0 {
                fields.next();
            }
            fields.add(text, quoted);
        }
    }

    /// The texts of a part: one, but for lists.
    fn runs(&mut self, state: &mut State, part: &Part) -> Vec<Run> {
        match part {
            Part::Text { text, .. } => vec![(Text::known(text.as_str()), true)],
            Part::Param { param, quoted } => self.param(state, param, *quoted),
            Part::Command { script, quoted } => {
                vec![(self.output(state, script), *quoted)]
            }
            Part::Arith { text } => vec![(self.arith(state, text), true)],
            Part::Process { script } => {
                self.aside(state, script);
                vec![(Text::unknown("file"), true)]
            }
        }
    }

    fn param(&mut self, state: &mut State, param: &Param, quoted: bool) -> Vec<Run> {
        let whole = match (param.name.as_str(), param.index.as_deref()) {
            ("@" | "*", None) => Some((state.arguments.clone(), param.name == "*")),
            (name, Some(at @ ("@" | "*"))) => match self.look(state, name) {
                Got::Is(Value::Array(all)) => Some((Some(all), at == "*")),
                Got::Is(Value::Scalar(text)) => Some((Some(vec![text]), at == "*")),
                Got::Is(Value::Unset) => Some((Some(Vec::new()), at == "*")),
                _ => Some((None, at == "*")),
            },
            _ => None,
        };
        match whole {
            Some((all, joined)) => list(all, joined, param, quoted),
            None => vec![(self.one(state, param), quoted)],
        }
    }

    /// A parameter that is one text.
    fn one(&mut self, state: &mut State, param: &Param) -> Text {
        let got = self.element(state, param);
        let unknown = || Text::unknown(&param.name);
        match (&param.op, got) {
            (Op::Default { word, colon, set }, got) => {
                let none = match &got {
                    Got::Is(Value::Scalar(text)) if *colon => is_empty(text),
                    Got::Is(Value::Scalar(_)) => Some(false),
                    Got::Is(Value::Unset) | Got::Unset => Some(true),
                    Got::Is(Value::Array(all)) => Some(all.is_empty()),
                    Got::Is(Value::Unknown) | Got::Unknown => None,
                };
                match (none, got) {
                    (Some(true), _) => {
                        let text = self.text(state, word);
                        if *set {
                            state.set(&param.name, Value::Scalar(text.clone()));
                        }
                        text
                    }
                    (Some(false), Got::Is(value)) => first(value).unwrap_or_else(unknown),
                    _ => unknown(),
                }
            }
            (Op::Alternative { word, colon }, got) => match got {
                Got::Is(Value::Unset) | Got::Unset => Text::default(),
                Got::Is(Value::Scalar(text)) => match is_empty(&text) {
                    Some(true) if *colon => Text::default(),
                    Some(_) => self.text(state, word),
                    None => unknown(),
                },
                _ => unknown(),
            },
            (_, Got::Unset | Got::Unknown) => unknown(),
            (op, Got::Is(value)) => match first(value) {
                Some(text) => self.changed(state, text, op).unwrap_or_else(unknown),
                None => unknown(),
            },
        }
    }

    /// A text after an operator that needs one.
    fn changed(&mut self, state: &mut State, text: Text, op: &Op) -> Option<Text> {
        match op {
            Op::Plain | Op::Must => return Some(text),
            // The commas of a list of GPUs become blanks: one entry each all the same.
            Op::Replace { .. } if text.follows().is_some_and(Follows::lists) => return Some(text),
            _ => {}
        }
        let known = text.text()?;
        let new = match op {
            Op::Length => known.chars().count().to_string(),
            Op::Case { upper: true } => known.to_uppercase(),
            Op::Case { upper: false } => known.to_lowercase(),
            Op::Trim {
                end,
                longest,
                pattern,
            } => {
                let pattern = self.text(state, pattern).text()?;
                trimmed(&known, &pattern, *end, *longest)?
            }
            Op::Replace { all, from, to } => {
                let (from, to) = (self.text(state, from).text()?, self.text(state, to).text()?);
                if from.is_empty() || from.contains(['*', '?', '[', '#', '%', '&', '\\']) {
                    return None;
                }
                if *all {
                    known.replace(&from, &to)
                } else {
                    known.replacen(&from, &to, 1)
                }
            }
            _ => return None,
        };
        Some(Text::known(new))
    }

    /// A variable, or the element of an array that is named.
    fn element(&mut self, state: &mut State, param: &Param) -> Got {
        let got = self.look(state, &param.name);
        match (&param.index, got) {
            (None, got) => got,
            (Some(index), Got::Is(Value::Array(all))) => {
                let at = self
                    .arith(state, index)
                    .text()
                    .and_then(|t| t.parse::<i64>().ok());
                let Some(at) = at else { return Got::Unknown };
                let at = if at < 0 {
                    i64::try_from(all.len()).unwrap_or(0) + at
                } else {
                    at
                };
                let found = usize::try_from(at).ok().and_then(|at| all.get(at).cloned());
                found.map_or(Got::Is(Value::Unset), |t| Got::Is(Value::Scalar(t)))
            }
            (Some(index), Got::Is(Value::Scalar(text))) if index == "0" => {
                Got::Is(Value::Scalar(text))
            }
            _ => Got::Unknown,
        }
    }

    fn look(&mut self, state: &State, name: &str) -> Got {
        if let Ok(at) = name.parse::<usize>() {
            return match &state.arguments {
                _ if at == 0 => Got::Unknown,
                Some(all) => all
                    .get(at - 1)
                    .map_or(Got::Is(Value::Unset), |t| Got::Is(Value::Scalar(t.clone()))),
                None => Got::Unknown,
            };
        }
        if name == "#" {
            let count = state.arguments.as_ref().map(|all| all.len().to_string());
            return count.map_or(Got::Unknown, |n| Got::Is(Value::Scalar(Text::known(n))));
        }
        if let Some(var) = state.vars.get(name) {
            return match &var.value {
                Value::Unknown => Got::Unknown,
                value => Got::Is(value.clone()),
            };
        }
        if state.lost || name.starts_with(UNKNOWN) || !super::ast::is_name(name) {
            return Got::Unknown;
        }
        match self.host.variable(name) {
            Some(Some(text)) => Got::Is(Value::Scalar(text)),
            Some(None) => Got::Unset,
            None => Got::Unknown,
        }
    }

    /// The text of a variable; `None` where it is not known to have one.
    pub(in super::super) fn variable(&mut self, state: &State, name: &str) -> Option<Text> {
        match self.look(state, name) {
            Got::Is(value) => first(value),
            _ => None,
        }
    }

    /// The value of an arithmetic expression.
    pub(super) fn arith(&mut self, state: &mut State, text: &str) -> Text {
        let unknown = || Text::unknown("sum");
        let Some(word) = template(text, 1, 20) else {
            return unknown();
        };
        let text = self.text(state, &word);
        if text.follows().is_some() {
            return text;
        }
        let Some(known) = text.text() else {
            if text.counts() && compares(&text.code()) {
                self.host.counts_gpus();
            }
            return unknown();
        };
        let name = known.trim();
        if super::ast::is_name(name)
            && let Some(text) = self.variable(state, name).filter(|t| t.follows().is_some())
        {
            return text;
        }
        let number = self.number(state, &known);
        number.map_or_else(unknown, |n| Text::known(n.to_string()))
    }

    /// The value of an expression without expansions; assignments in it count.
    pub(super) fn number(&mut self, state: &mut State, text: &str) -> Option<i64> {
        let mut set: Vec<(String, Option<i64>)> = Vec::new();
        let mut counts = false;
        let out = {
            let log = std::cell::RefCell::new(&mut set);
            let mut look = |name: &str| -> Option<i64> {
                if let Some((_, value)) = log.borrow().iter().rev().find(|(n, _)| n == name) {
                    return *value;
                }
                match self.look(state, name) {
                    Got::Is(Value::Scalar(text)) => {
                        counts |= text.counts();
                        text.text()?.trim().parse().ok()
                    }
                    Got::Is(Value::Unset) => Some(0),
                    _ => None,
                }
            };
            let mut put = |name: &str, value| log.borrow_mut().push((name.to_owned(), value));
            arith::value(text, &mut look, &mut put)
        };
        if counts && compares(text) {
            self.host.counts_gpus();
        }
        if out.is_none() {
            set.extend(arith::changed(text).into_iter().map(|name| (name, None)));
        }
        for (name, value) in set {
            arith::put(state, &name, value);
        }
        out
    }

    /// What a command prints, in a shell of its own.
    fn output(&mut self, state: &mut State, script: &Script) -> Text {
        let mut inner = state.clone();
        let out = self.printed(&mut inner, script);
        state.also_running(&inner);
        trim_end(out.unwrap_or_else(|| Text::unknown("command")))
    }
}

/// True for an expression in which numbers are compared.
fn compares(expression: &str) -> bool {
    expression.contains(['<', '>']) || expression.contains("==") || expression.contains("!=")
}

/// Command substitution takes line ends off.
fn trim_end(mut text: Text) -> Text {
    if let Some(Piece::Known(last)) = text.0.last_mut() {
        let len = last.trim_end_matches('\n').len();
        last.truncate(len);
    }
    text
}

fn first(value: Value) -> Option<Text> {
    match value {
        Value::Scalar(text) => Some(text),
        Value::Array(all) => Some(all.into_iter().next().unwrap_or_default()),
        Value::Unset => Some(Text::default()),
        Value::Unknown => None,
    }
}

fn is_empty(text: &Text) -> Option<bool> {
    match text.text() {
        Some(text) => Some(text.is_empty()),
        None if text.follows().is_some() => Some(false),
        None => None,
    }
}

/// A list of texts as it stands in a command.
fn list(all: Option<Vec<Text>>, joined: bool, param: &Param, quoted: bool) -> Vec<Run> {
    let unknown = || vec![(Text::unknown(&param.name), false)];
    let Some(all) = all else { return unknown() };
    match &param.op {
        Op::Length if all.len() == 1 && all[0].follows().is_some_and(Follows::lists) => {
            vec![(Text(vec![Piece::Follows(Follows::Gpus)]), true)]
        }
        Op::Length if all.iter().any(Text::has_unknown) => unknown(),
        Op::Length => vec![(Text::known(all.len().to_string()), true)],
        Op::Plain if joined && quoted => {
            let mut out = Text::default();
            for (n, text) in all.into_iter().enumerate() {
                if n > 0 {
                    out.push(Piece::Known(" ".into()));
                }
                out.append(text);
            }
            vec![(out, true)]
        }
        Op::Plain => all.into_iter().map(|text| (text, quoted)).collect(),
        _ => unknown(),
    }
}

/// A text without what matches a pattern at one of its ends; `None` for other patterns.
fn trimmed(text: &str, pattern: &str, end: bool, longest: bool) -> Option<String> {
    let mut cuts: Vec<usize> = text
        .char_indices()
        .map(|(i, _)| i)
        .chain([text.len()])
        .collect();
    // From the shortest cut to the longest, or the other way round.
    if end != longest {
        cuts.reverse();
    }
    for cut in cuts {
        let (head, tail) = text.split_at_checked(cut)?;
        let (gone, kept) = if end { (tail, head) } else { (head, tail) };
        if matches(pattern, gone)? {
            return Some(kept.to_owned());
        }
    }
    Some(text.to_owned())
}

/// The fields of one word while they are made.
#[derive(Default)]
struct Fields {
    done: Vec<Field>,
    open: Option<Field>,
    /// The word holds a list that is empty.
    nothing: bool,
}

impl Fields {
    fn next(&mut self) {
        self.done.extend(self.open.take());
    }

    fn open(&mut self) -> &mut Field {
        self.open.get_or_insert_with(|| Field {
            text: Text::default(),
            splits: false,
        })
    }

    fn add(&mut self, text: Text, quoted: bool) {
        if quoted {
            self.open().text.append(text);
            return;
        }
        for piece in text.0 {
            match piece {
                Piece::Known(text) => self.split(&text),
                Piece::Follows(Follows::Args | Follows::GpuList | Follows::GpuNames)
                | Piece::Unknown(_) => {
                    let open = self.open();
                    open.text.push(piece);
                    open.splits = true;
                }
                Piece::Follows(_) => self.open().text.push(piece),
            }
        }
    }

    fn split(&mut self, text: &str) {
        let blank = |c: char| matches!(c, ' ' | '\t' | '\n');
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if blank(c) {
                self.next();
                rest = rest.trim_start_matches(blank);
                continue;
            }
            let end = rest.find(blank).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            self.open().text.push(Piece::Known(word.to_owned()));
            rest = after;
        }
    }

    fn end(mut self) -> Vec<Field> {
        self.next();
        self.done
    }
}

/// A word after brace expansion: `{0..3}` and `{a,b}` outside of quotes.
fn braces(word: &Word) -> Vec<Word> {
    let mut out = Vec::new();
    let mut todo = vec![word.clone()];
    while let Some(word) = todo.pop() {
        let found = word
            .parts
            .iter()
            .enumerate()
            .find_map(|(i, part)| match part {
                Part::Text {
                    text,
                    quoted: false,
                } => brace(text).map(|b| (i, b)),
                _ => None,
            });
        let Some((at, (before, middles, after))) = found else {
            out.push(word);
            continue;
        };
        if out.len() + todo.len() + middles.len() > MOST_WORDS {
            return out;
        }
        for middle in middles.iter().rev() {
            let mut word = word.clone();
            if let Some(part) = word.parts.get_mut(at) {
                let text = format!("{before}{middle}{after}");
                *part = Part::Text {
                    text,
                    quoted: false,
                };
            }
            todo.push(word);
        }
    }
    out
}

/// The first brace expression of a text: what stands before, its values, what stands behind.
fn brace(text: &str) -> Option<(&str, Vec<String>, &str)> {
    let open = text.find('{')?;
    let (before, rest) = text.split_at_checked(open)?;
    let rest = rest.strip_prefix('{')?;
    let (inner, after) = rest.split_once('}')?;
    if inner.contains('{') {
        return None;
    }
    if let Some((from, to)) = inner.split_once("..") {
        let (to, step) = to.split_once("..").unwrap_or((to, "1"));
        let (from, to): (i64, i64) = (from.parse().ok()?, to.parse().ok()?);
        let step: i64 = step.parse().ok().filter(|s| *s > 0)?;
        if to.abs_diff(from) > 512 {
            return None;
        }
        let values = (0..=to.abs_diff(from))
            .step_by(usize::try_from(step).ok()?)
            .filter_map(|n| i64::try_from(n).ok())
            .map(|n| if from <= to { from + n } else { from - n });
        return Some((before, values.map(|n| n.to_string()).collect(), after));
    }
    let parts: Vec<String> = inner.split(',').map(str::to_owned).collect();
    (parts.len() > 1).then_some((before, parts, after))
}
