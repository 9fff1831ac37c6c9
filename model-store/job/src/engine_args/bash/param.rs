//! What stands in `${...}`.

use super::ast::{Op, Param, Word, is_name};

/// Reads a word behind an operator.
type Operand<'a> = &'a dyn Fn(&str) -> Option<Word>;

/// Reads the text between the braces.
pub(super) fn param(text: &str, operand: Operand) -> Option<Param> {
    if let Some(name) = text.strip_prefix('#').filter(|t| !t.is_empty()) {
        let (name, index, rest) = head(name)?;
        let op = if rest.is_empty() {
            Op::Length
        } else {
            Op::Other
        };
        return Some(Param { name, index, op });
    }
    if let Some(name) = text.strip_prefix('!') {
        let (name, index, _) = head(name)?;
        let op = Op::Other;
        return Some(Param { name, index, op });
    }
    let (name, index, rest) = head(text)?;
    let op = op(rest, operand)?;
    Some(Param { name, index, op })
}

/// The name, its index and what follows.
fn head(text: &str) -> Option<(String, Option<String>, &str)> {
    let other = |c: char| c != '_' && !c.is_ascii_alphanumeric();
    let mut end = text.find(other).unwrap_or(text.len());
    if end == 0 {
        end = text
            .chars()
            .next()
            .filter(|c| "@*#?$!-".contains(*c))?
            .len_utf8();
    }
    let (name, rest) = text.split_at_checked(end)?;
    let number = name.bytes().all(|b| b.is_ascii_digit());
    if !number && !is_name(name) && name.len() > 1 {
        return None;
    }
    match rest.strip_prefix('[') {
        Some(inner) => {
            let (index, rest) = inner.split_once(']')?;
            Some((name.to_owned(), Some(index.to_owned()), rest))
        }
        None => Some((name.to_owned(), None, rest)),
    }
}

fn op(rest: &str, word: Operand) -> Option<Op> {
    let colon = rest.starts_with(':');
    let after = rest.strip_prefix(':').unwrap_or(rest);
    let mut chars = after.chars();
    let first = chars.next();
    let tail = chars.as_str();
    Some(match (first, colon) {
        (None, false) => Op::Plain,
        (Some('-'), _) => Op::Default {
            word: word(tail)?,
            colon,
            set: false,
        },
        (Some('='), _) => Op::Default {
            word: word(tail)?,
            colon,
            set: true,
        },
        (Some('+'), _) => Op::Alternative {
            word: word(tail)?,
            colon,
        },
        (Some('?'), _) => Op::Must,
        (Some(c @ ('%' | '#')), false) => {
            let longest = tail.starts_with(c);
            let pattern = word(tail.strip_prefix(c).unwrap_or(tail))?;
            Op::Trim {
                end: c == '%',
                longest,
                pattern,
            }
        }
        (Some('/'), false) => {
            let all = tail.starts_with('/');
            let tail = tail.strip_prefix('/').unwrap_or(tail);
            let (from, to) = tail.split_once('/').unwrap_or((tail, ""));
            Op::Replace {
                all,
                from: word(from)?,
                to: word(to)?,
            }
        }
        (Some('^'), false) if tail == "^" => Op::Case { upper: true },
        (Some(','), false) if tail == "," => Op::Case { upper: false },
        _ => Op::Other,
    })
}
