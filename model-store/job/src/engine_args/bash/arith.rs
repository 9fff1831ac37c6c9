//! `$(( ... ))`: whole numbers, as far as their variables are known.

use super::state::{State, Value};
use super::value::Text;

/// The value of an expression whose variables `look` gives; `set` hears of assignments. `None`
/// where it is not known.
pub(super) fn value(
    text: &str,
    look: &mut dyn FnMut(&str) -> Option<i64>,
    set: &mut dyn FnMut(&str, Option<i64>),
) -> Option<i64> {
    let tokens = tokens(text)?;
    let mut sum = Sum {
        tokens: &tokens,
        at: 0,
        depth: 0,
        look,
        set,
    };
    let mut out = sum.whole()?;
    while sum.eat(",") {
        out = sum.whole()?;
    }
    (sum.at == tokens.len()).then_some(out)
}

/// The names that an expression may change.
pub(super) fn changed(text: &str) -> Vec<String> {
    let Some(tokens) = tokens(text) else {
        return Vec::new();
    };
    let name = |t: &String| super::ast::is_name(t);
    let assigns = |t: &String| {
        t == "++"
            || t == "--"
            || (t.ends_with('=') && !["==", "!=", "<=", ">="].contains(&t.as_str()))
    };
    let pairs = tokens.windows(2).filter_map(|w| match w {
        [a, b] if name(a) && assigns(b) => Some(a.clone()),
        [a, b] if name(b) && (a == "++" || a == "--") => Some(b.clone()),
        _ => None,
    });
    pairs.collect()
}

fn tokens(text: &str) -> Option<Vec<String>> {
    const OPS: [&str; 30] = [
        "<<=", ">>=", "**", "++", "--", "+=", "-=", "*=", "/=", "%=", "==", "!=", "<=", ">=", "&&",
        "||", "<<", ">>", "+", "-", "*", "/", "%", "<", ">", "=", "!", "?", ":", ",",
    ];
    let mut out = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let len = if c.is_ascii_alphanumeric() || c == '_' {
            rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
                .unwrap_or(rest.len())
        } else if matches!(c, '(' | ')' | '&' | '|')
            && !rest.starts_with("&&")
            && !rest.starts_with("||")
        {
            1
        } else {
            OPS.iter().find(|op| rest.starts_with(**op))?.len()
        };
        let (token, after) = rest.split_at_checked(len)?;
        out.push(token.to_owned());
        rest = after.trim_start();
    }
    Some(out)
}

struct Sum<'a> {
    tokens: &'a [String],
    at: usize,
    depth: u32,
    look: &'a mut dyn FnMut(&str) -> Option<i64>,
    set: &'a mut dyn FnMut(&str, Option<i64>),
}

/// Binary operators, the loosest first.
const LEVELS: [&[&str]; 9] = [
    &["||"],
    &["&&"],
    &["|"],
    &["&"],
    &["==", "!="],
    &["<", "<=", ">", ">="],
    &["<<", ">>"],
    &["+", "-"],
    &["*", "/", "%"],
];

impl Sum<'_> {
    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", String::as_str)
    }

    fn eat(&mut self, token: &str) -> bool {
        let there = self.peek() == token;
        self.at += usize::from(there);
        there
    }

    fn whole(&mut self) -> Option<i64> {
        self.depth += 1;
        if self.depth > 40 {
            return None;
        }
        let name = self.peek().to_owned();
        let op = self.tokens.get(self.at + 1).cloned().unwrap_or_default();
        let assigns = ["=", "+=", "-=", "*=", "/=", "%="].contains(&op.as_str());
        let out = if super::ast::is_name(&name) && assigns {
            self.at += 2;
            let right = self.whole();
            let new = match op.trim_end_matches('=') {
                "" => right,
                op => (self.look)(&name)
                    .zip(right)
                    .and_then(|(l, r)| apply(op, l, r)),
            };
            (self.set)(&name, new);
            new
        } else {
            let condition = self.level(0)?;
            if self.eat("?") {
                let (yes, colon) = (self.whole()?, self.eat(":"));
                let no = self.whole()?;
                colon.then_some(if condition != 0 { yes } else { no })
            } else {
                Some(condition)
            }
        };
        self.depth -= 1;
        out
    }

    fn level(&mut self, level: usize) -> Option<i64> {
        let Some(ops) = LEVELS.get(level) else {
            return self.power();
        };
        let mut left = self.level(level + 1)?;
        while ops.contains(&self.peek()) {
            let op = self.peek().to_owned();
            self.at += 1;
            let right = self.level(level + 1)?;
            left = apply(&op, left, right)?;
        }
        Some(left)
    }

    fn power(&mut self) -> Option<i64> {
        let base = self.unary()?;
        if !self.eat("**") {
            return Some(base);
        }
        let exponent = u32::try_from(self.power()?).ok()?;
        base.checked_pow(exponent)
    }

    fn unary(&mut self) -> Option<i64> {
        self.depth += 1;
        if self.depth > 40 {
            return None;
        }
        let out = if self.eat("-") {
            self.unary()?.checked_neg()
        } else if self.eat("+") {
            self.unary()
        } else if self.eat("!") {
            Some(i64::from(self.unary()? == 0))
        } else if self.peek() == "++" || self.peek() == "--" {
            let step = if self.peek() == "++" { 1 } else { -1 };
            self.at += 1;
            let name = self.peek().to_owned();
            self.at += 1;
            self.stepped(&name, step).map(|n| n + step)
        } else {
            self.atom()
        };
        self.depth -= 1;
        out
    }

    /// The value of a variable before a step is added to it.
    fn stepped(&mut self, name: &str, step: i64) -> Option<i64> {
        let old = (self.look)(name);
        (self.set)(name, old.and_then(|n| n.checked_add(step)));
        old
    }

    fn atom(&mut self) -> Option<i64> {
        if self.eat("(") {
            let out = self.whole()?;
            return self.eat(")").then_some(out);
        }
        let token = self.peek().to_owned();
        self.at += 1;
        if super::ast::is_name(&token) {
            let step = match self.peek() {
                "++" => 1,
                "--" => -1,
                _ => return (self.look)(&token),
            };
            self.at += 1;
            return self.stepped(&token, step);
        }
        // 010 is eight, 0x10 is sixteen.
        match token.strip_prefix('0').filter(|t| !t.is_empty()) {
            Some(rest) => match rest.strip_prefix(['x', 'X']) {
                Some(hex) => i64::from_str_radix(hex, 16).ok(),
                None => i64::from_str_radix(rest, 8).ok(),
            },
            None => token.parse().ok(),
        }
    }
}

fn apply(op: &str, l: i64, r: i64) -> Option<i64> {
    match op {
        "+" => l.checked_add(r),
        "-" => l.checked_sub(r),
        "*" => l.checked_mul(r),
        "/" => l.checked_div(r),
        "%" => l.checked_rem(r),
        "<<" => l.checked_shl(u32::try_from(r).ok()?),
        ">>" => l.checked_shr(u32::try_from(r).ok()?),
        "|" => Some(l | r),
        "&" => Some(l & r),
        _ => Some(i64::from(match op {
            "==" => l == r,
            "!=" => l != r,
            "<" => l < r,
            "<=" => l <= r,
            ">" => l > r,
            ">=" => l >= r,
            "&&" => l != 0 && r != 0,
            "||" => l != 0 || r != 0,
            _ => return None,
        })),
    }
}

/// What an assignment in an expression leaves in a variable.
pub(super) fn put(state: &mut State, name: &str, value: Option<i64>) {
    let value = value.map_or(Value::Unknown, |n| {
        Value::Scalar(Text::known(n.to_string()))
    });
    state.set(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_worked_out() {
        let of = |text: &str| value(text, &mut |n| (n == "x").then_some(3), &mut |_, _| {});
        for (text, result) in [
            ("1 + 2 * 3", Some(7)),
            ("(1 + 2) * x", Some(9)),
            ("x ** 2 % 5", Some(4)),
            ("x > 2 && x < 4 ? 8 : 4", Some(8)),
            ("0x10 + 010", Some(24)),
            ("y + 1", None),
            ("x /", None),
            ("1 / 0", None),
        ] {
            assert_eq!(of(text), result, "{text}");
        }
        assert_eq!(changed("i++, j += 2, k == 1"), ["i", "j"]);
    }
}
