//! From characters to words.

use std::cell::OnceCell;
use std::rc::Rc;

use super::ast::{Part, Redirect, Script, Word};
use super::param::param;

/// Deepest nesting that is followed; what is deeper is not understood.
const DEEPEST: u32 = 40;

/// A script that is being read. Every method gives `None` where the text is no shell script, or
/// one that is not understood.
pub(super) struct Lexer<'a> {
    pub(super) rest: &'a str,
    pub(super) line: u32,
    pub(super) depth: u32,
    /// Here-documents that begin after this line.
    pub(super) pending: Vec<Pending>,
}

/// A here-document that is still to come.
pub(super) struct Pending {
    pub(super) end: String,
    pub(super) tabs: bool,
    pub(super) literal: bool,
    pub(super) body: Rc<OnceCell<Word>>,
}

/// True for a character that ends a word.
fn ends_word(c: char) -> bool {
    matches!(
        c,
        ' ' | '\t' | '\r' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>'
    )
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, line: u32, depth: u32) -> Option<Self> {
        (depth < DEEPEST).then_some(Self {
            rest: text,
            line,
            depth,
            pending: Vec::new(),
        })
    }

    /// Goes one level deeper.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let out = read(self);
        self.depth -= 1;
        out
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = self.rest.get(c.len_utf8()..).unwrap_or_default();
        self.line += u32::from(c == '\n');
        Some(c)
    }

    /// Takes a text without line ends.
    pub(super) fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Blanks, continued lines and comments.
    pub(super) fn blanks(&mut self) {
        loop {
            if self.rest.starts_with("\\\n") {
                self.bump();
                self.bump();
            } else if self.rest.starts_with("\\\r\n") {
                self.eat("\\\r");
                self.bump();
            } else if self.rest.starts_with([' ', '\t', '\r']) {
                self.bump();
            } else if self.rest.starts_with('#') {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = self.rest.get(end..).unwrap_or_default();
            } else {
                return;
            }
        }
    }

    /// A line's end, and the here-documents that begin there.
    pub(super) fn newline(&mut self) -> Option<()> {
        self.bump();
        for doc in std::mem::take(&mut self.pending) {
            self.document(&doc)?;
        }
        Some(())
    }

    pub(super) fn newlines(&mut self) -> Option<()> {
        self.blanks();
        while self.rest.starts_with('\n') {
            self.newline()?;
            self.blanks();
        }
        Some(())
    }

    fn document(&mut self, doc: &Pending) -> Option<()> {
        let mut body = String::new();
        let first = self.line;
        for line in self.rest.split_inclusive('\n') {
            self.rest = self.rest.get(line.len()..).unwrap_or_default();
            self.line += u32::from(line.ends_with('\n'));
            let text = if doc.tabs {
                line.trim_start_matches('\t')
            } else {
                line
            };
            if text.trim_end_matches(['\n', '\r']) == doc.end {
                break;
            }
            body.push_str(text);
        }
        let word = if doc.literal {
            let quoted = true;
            Word {
                parts: vec![Part::Text { text: body, quoted }],
            }
        } else {
            template(&body, first, self.depth + 1)?
        };
        drop(doc.body.set(word));
        Some(())
    }

    /// The word at hand as it is written, for reserved words.
    pub(super) fn peek_word(&self) -> &'a str {
        let end = self.rest.find(ends_word).unwrap_or(self.rest.len());
        self.rest.get(..end).unwrap_or_default()
    }

    /// One word; `None` where there is none.
    pub(super) fn word(&mut self) -> Option<Word> {
        self.word_or_nothing().filter(|w| !w.parts.is_empty())
    }

    /// One word, which may have no character at all.
    pub(super) fn word_or_nothing(&mut self) -> Option<Word> {
        let mut word = Word::default();
        if self.rest.starts_with("<(") || self.rest.starts_with(">(") {
            self.bump();
            self.bump();
            let script = Rc::new(self.deeper(|l| l.list_to(')'))?);
            word.parts.push(Part::Process { script });
        }
        loop {
            match self.peek() {
                None => return Some(word),
                // Patterns such as `@(a|b)` have brackets of their own.
                Some('(') if pattern_ends(&word) => {
                    let text = self.balanced('(', ')')?;
                    push(&mut word, &text, false);
                }
                Some(c) if ends_word(c) => return Some(word),
                Some(_) => self.piece(&mut word, false)?,
            }
        }
    }

    /// The next character of a word, and what it begins. `operand` is true inside `${...}`, where
    /// single quotes and blanks are text.
    fn piece(&mut self, word: &mut Word, operand: bool) -> Option<()> {
        match self.bump()? {
            '\\' => match self.bump() {
                Some('\n') | None => {}
                Some(c) => push(word, c.encode_utf8(&mut [0; 4]), true),
            },
            '\'' => {
                let end = self.rest.find('\'')?;
                let text = self.take(end);
                self.bump();
                push(word, &text, true);
            }
            '"' => self.double(word)?,
            '$' => self.dollar(word, false)?,
            '`' => self.backtick(word, false)?,
            c => {
                debug_assert!(operand || !ends_word(c));
                push(word, c.encode_utf8(&mut [0; 4]), false);
            }
        }
        Some(())
    }

    fn take(&mut self, len: usize) -> String {
        let text = self.rest.get(..len).unwrap_or_default();
        self.rest = self.rest.get(len..).unwrap_or_default();
        self.line += u32::try_from(text.matches('\n').count()).unwrap_or(0);
        text.to_owned()
    }

    fn double(&mut self, word: &mut Word) -> Option<()> {
        push(word, "", true);
        loop {
            match self.bump()? {
                '"' => return Some(()),
                '\\' => self.escape(word, &['$', '`', '"', '\\']),
                '$' => self.dollar(word, true)?,
                '`' => self.backtick(word, true)?,
                c => push(word, c.encode_utf8(&mut [0; 4]), true),
            }
        }
    }

    fn escape(&mut self, word: &mut Word, special: &[char]) {
        match self.peek() {
            Some('\n') => {
                self.bump();
            }
            Some(c) if special.contains(&c) => {
                self.bump();
                push(word, c.encode_utf8(&mut [0; 4]), true);
            }
            _ => push(word, "\\", true),
        }
    }

    fn dollar(&mut self, word: &mut Word, quoted: bool) -> Option<()> {
        if self.eat("((") {
            let rest = self.rest;
            let line = self.line;
            if let Some(text) = self.arithmetic() {
                word.parts.push(Part::Arith { text });
                return Some(());
            }
            // `$((a); b)` is a command after all.
            (self.rest, self.line) = (rest, line);
            let inner = format!("({}", self.rest);
            return self.nested(&inner, word, quoted);
        }
        match self.peek() {
            Some('(') => {
                self.bump();
                let script = Rc::new(self.deeper(|l| l.list_to(')'))?);
                word.parts.push(Part::Command { script, quoted });
            }
            Some('{') => {
                let text = self.balanced('{', '}')?;
                let inner = text.get(1..text.len().saturating_sub(1))?;
                let (line, depth) = (self.line, self.depth + 1);
                let param = param(inner, &|text| operand(text, line, depth))?;
                word.parts.push(Part::Param { param, quoted });
            }
            Some('\'') if !quoted => {
                self.bump();
                self.ansi(word)?;
            }
            Some('"') if !quoted => {
                self.bump();
                self.double(word)?;
            }
            Some(c) if c == '_' || c.is_ascii_alphabetic() => {
                let other = |c: char| c != '_' && !c.is_ascii_alphanumeric();
                let end = self.rest.find(other).unwrap_or(self.rest.len());
                let name = self.take(end);
                word.parts.push(named(&name, quoted));
            }
            Some(c) if c.is_ascii_digit() || "@*#?$!-".contains(c) => {
                self.bump();
                word.parts.push(named(&c.to_string(), quoted));
            }
            _ => push(word, "$", quoted),
        }
        Some(())
    }

    /// A command whose text is at hand, up to the bracket that ends it.
    fn nested(&mut self, text: &str, word: &mut Word, quoted: bool) -> Option<()> {
        let mut inner = Lexer::new(text, self.line, self.depth + 1)?;
        let script = Rc::new(inner.list_to(')')?);
        let taken = text.len().saturating_sub(inner.rest.len() + 1);
        drop(self.take(taken));
        word.parts.push(Part::Command { script, quoted });
        Some(())
    }

    /// `$'...'`
    fn ansi(&mut self, word: &mut Word) -> Option<()> {
        push(word, "", true);
        loop {
            let c = match self.bump()? {
                '\'' => return Some(()),
                '\\' => match self.bump()? {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    c @ ('\\' | '\'' | '"' | '?') => c,
                    // Codes of characters: no name or number is written so.
                    _ => return None,
                },
                c => c,
            };
            push(word, c.encode_utf8(&mut [0; 4]), true);
        }
    }

    fn backtick(&mut self, word: &mut Word, quoted: bool) -> Option<()> {
        let mut text = String::new();
        loop {
            match self.bump()? {
                '`' => break,
                '\\' => match self.bump()? {
                    c @ ('`' | '\\' | '$') => text.push(c),
                    c => text.extend(['\\', c]),
                },
                c => text.push(c),
            }
        }
        let script = Rc::new(script_of(&text, self.line, self.depth + 1)?);
        word.parts.push(Part::Command { script, quoted });
        Some(())
    }

    /// From an opening bracket to its closing one, both included; quotes hide brackets.
    fn balanced(&mut self, open: char, close: char) -> Option<String> {
        let (mut text, mut depth, mut quote) = (String::new(), 0_u32, None);
        loop {
            let c = self.bump()?;
            text.push(c);
            match (quote, c) {
                (_, '\\') if quote != Some('\'') => text.extend(self.bump()),
                (Some(q), _) if q == c => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, _) if c == open => depth += 1,
                (None, _) if c == close => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return Some(text);
            }
        }
    }

    /// After `((`: the text up to `))`, which is taken too.
    pub(super) fn arithmetic(&mut self) -> Option<String> {
        let (mut text, mut depth) = (String::new(), 0_u32);
        loop {
            if depth == 0 && self.eat("))") {
                return Some(text);
            }
            match self.bump()? {
                '(' => {
                    depth += 1;
                    text.push('(');
                }
                ')' => {
                    depth = depth.checked_sub(1)?;
                    text.push(')');
                }
                c => text.push(c),
            }
        }
    }

    /// A redirection, where one begins here. `Some(None)` where none does.
    pub(super) fn redirect(&mut self) -> Option<Option<Redirect>> {
        let digits = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let at = digits.starts_with(['<', '>'])
            && !digits.starts_with("<(")
            && !digits.starts_with(">(");
        if !at && !self.rest.starts_with("&>") {
            return Some(None);
        }
        let descriptor = self.rest.get(..self.rest.len() - digits.len())?;
        let other = !matches!(descriptor, "" | "0" | "1");
        if at {
            self.rest = digits;
        }
        let op = [
            "<<<", "<<-", "<<", "<&", "<>", "<", "&>>", "&>", ">>", ">&", ">|", ">",
        ]
        .into_iter()
        .find(|op| self.eat(op))?;
        self.blanks();
        if let "<<" | "<<-" = op {
            return self.here(op == "<<-").map(Some);
        }
        let target = self.word()?;
        Some(Some(match op {
            "<<<" => Redirect::String(target),
            "<" => Redirect::In(target),
            _ if other => Redirect::Other,
            ">" | ">|" | "&>" => Redirect::Out {
                target,
                append: false,
            },
            ">>" | "&>>" => Redirect::Out {
                target,
                append: true,
            },
            _ => Redirect::Other,
        }))
    }

    fn here(&mut self, tabs: bool) -> Option<Redirect> {
        let word = self.word()?;
        let (mut end, mut literal) = (String::new(), false);
        for part in &word.parts {
            let Part::Text { text, quoted } = part else {
                return None;
            };
            literal |= quoted;
            end.push_str(text);
        }
        let body = Rc::new(OnceCell::new());
        self.pending.push(Pending {
            end,
            tabs,
            literal,
            body: body.clone(),
        });
        Some(Redirect::Document(body))
    }
}

fn named(name: &str, quoted: bool) -> Part {
    let param = super::ast::Param {
        name: name.to_owned(),
        index: None,
        op: super::ast::Op::Plain,
    };
    Part::Param { param, quoted }
}

fn pattern_ends(word: &Word) -> bool {
    match word.parts.last() {
        Some(Part::Text {
            text,
            quoted: false,
        }) => text.ends_with(['@', '?', '*', '+', '!']),
        _ => false,
    }
}

fn push(word: &mut Word, more: &str, more_quoted: bool) {
    if let Some(Part::Text { text, quoted }) = word.parts.last_mut()
        && *quoted == more_quoted
    {
        text.push_str(more);
        return;
    }
    word.parts.push(Part::Text {
        text: more.to_owned(),
        quoted: more_quoted,
    });
}

/// A whole script.
pub(super) fn script_of(text: &str, line: u32, depth: u32) -> Option<Script> {
    let mut lexer = Lexer::new(text, line, depth)?;
    let script = lexer.list()?;
    lexer.rest.is_empty().then_some(script)
}

/// The text of a here-document: expanded, without quotes.
pub(super) fn template(text: &str, line: u32, depth: u32) -> Option<Word> {
    let mut lexer = Lexer::new(text, line, depth)?;
    let mut word = Word::default();
    push(&mut word, "", true);
    while let Some(c) = lexer.bump() {
        match c {
            '\\' => lexer.escape(&mut word, &['$', '`', '\\']),
            '$' => lexer.dollar(&mut word, true)?,
            '`' => lexer.backtick(&mut word, true)?,
            c => push(&mut word, c.encode_utf8(&mut [0; 4]), true),
        }
    }
    Some(word)
}

/// What stands behind an operator in `${...}`.
pub(super) fn operand(text: &str, line: u32, depth: u32) -> Option<Word> {
    let mut lexer = Lexer::new(text, line, depth)?;
    let mut word = Word::default();
    while !lexer.rest.is_empty() {
        lexer.piece(&mut word, true)?;
    }
    Some(word)
}
