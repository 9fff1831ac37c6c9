//! From a script to its tree.

use std::rc::Rc;

use super::ast::{Assign, Assigned, Item, Node, Redirect, Script, Simple, Word, is_name};
use super::lex::{Lexer, script_of};

/// The tree of a script whose first line is `line`; `None` where it is not understood.
pub(in super::super) fn parse(text: &str, line: u32) -> Option<Script> {
    script_of(text, line, 0)
}

/// Words that end a list.
const CLOSERS: [&str; 8] = ["then", "else", "elif", "fi", "do", "done", "esac", "}"];

impl Lexer<'_> {
    /// Commands up to a word or character that ends the list.
    pub(super) fn list(&mut self) -> Option<Script> {
        let mut out = Script::new();
        loop {
            self.newlines()?;
            if self.at_end() {
                return Some(out);
            }
            let node = self.and_or()?;
            self.blanks();
            let mut background = false;
            if self.rest.starts_with('&') && !self.rest.starts_with("&&") {
                self.bump();
                background = true;
            } else if self.rest.starts_with(';') && !self.rest.starts_with(";;") {
                self.bump();
            } else if !self.rest.starts_with('\n') && !self.at_end() {
                return None;
            }
            out.push(Item { node, background });
        }
    }

    /// Commands up to a bracket, which is taken too.
    pub(super) fn list_to(&mut self, close: char) -> Option<Script> {
        let out = self.list()?;
        (self.bump()? == close).then_some(out)
    }

    fn at_end(&self) -> bool {
        self.rest.is_empty()
            || self.rest.starts_with(')')
            || self.rest.starts_with(";;")
            || self.rest.starts_with(";&")
            || CLOSERS.contains(&self.peek_word())
    }

    fn and_or(&mut self) -> Option<Node> {
        let mut left = self.pipeline()?;
        loop {
            self.blanks();
            let and = self.eat("&&");
            if !and && !self.eat("||") {
                return Some(left);
            }
            self.newlines()?;
            let (l, r) = (Box::new(left), Box::new(self.pipeline()?));
            left = if and { Node::And(l, r) } else { Node::Or(l, r) };
        }
    }

    fn pipeline(&mut self) -> Option<Node> {
        self.blanks();
        if self.keyword("!") {
            return Some(Node::Not(Box::new(self.deeper(Self::pipeline)?)));
        }
        let mut parts = vec![self.deeper(Self::command)?];
        loop {
            self.blanks();
            if self.rest.starts_with("||") || !self.eat("|") {
                break;
            }
            self.eat("&");
            self.newlines()?;
            parts.push(self.deeper(Self::command)?);
        }
        match parts.len() {
            1 => parts.pop(),
            _ => Some(Node::Pipe(parts)),
        }
    }

    /// Takes a reserved word.
    fn keyword(&mut self, word: &str) -> bool {
        let there = self.peek_word() == word;
        if there {
            self.eat(word);
        }
        there
    }

    fn must(&mut self, word: &str) -> Option<()> {
        self.newlines()?;
        self.keyword(word).then_some(())
    }

    fn command(&mut self) -> Option<Node> {
        self.blanks();
        let Some(node) = self.compound()? else {
            return self.simple();
        };
        let mut redirects = Vec::new();
        loop {
            self.blanks();
            match self.redirect()? {
                Some(redirect) => redirects.push(redirect),
                None if redirects.is_empty() => return Some(node),
                None => return Some(Node::With(Box::new(node), redirects)),
            }
        }
    }

    /// A compound command; `Some(None)` where none begins here.
    fn compound(&mut self) -> Option<Option<Node>> {
        if self.rest.starts_with("((") {
            let (rest, line) = (self.rest, self.line);
            self.eat("((");
            if let Some(text) = self.arithmetic() {
                return Some(Some(Node::Arith(text)));
            }
            (self.rest, self.line) = (rest, line);
        }
        if self.eat("(") {
            return Some(Some(Node::Subshell(self.list_to(')')?)));
        }
        let word = self.peek_word();
        let node = match word {
            "{" => {
                self.eat("{");
                let body = self.list()?;
                self.must("}")?;
                Node::Group(body)
            }
            "if" => self.if_()?,
            "for" | "select" => self.for_()?,
            "while" | "until" => self.while_()?,
            "case" => self.case()?,
            "[[" => self.test()?,
            "function" => {
                self.eat(word);
                self.blanks();
                let name = self.peek_word().to_owned();
                self.eat(&name);
                self.blanks();
                if self.eat("(") {
                    self.blanks();
                    self.eat(")").then_some(())?;
                }
                self.function(name)?
            }
            _ => match self.function_name() {
                Some(name) => self.function(name)?,
                None => return Some(None),
            },
        };
        Some(Some(node))
    }

    /// `NAME ()`, which is taken where it stands here.
    fn function_name(&mut self) -> Option<String> {
        let name = self.peek_word();
        let rest = self.rest.get(name.len()..)?.trim_start_matches([' ', '\t']);
        let rest = rest.strip_prefix('(')?.trim_start_matches([' ', '\t']);
        let rest = rest.strip_prefix(')')?;
        let plain = |c: char| c.is_alphanumeric() || "_-.:".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return None;
        }
        self.rest = rest;
        Some(name.to_owned())
    }

    fn function(&mut self, name: String) -> Option<Node> {
        self.newlines()?;
        let body = Rc::new(self.deeper(Self::command)?);
        Some(Node::Function { name, body })
    }

    fn if_(&mut self) -> Option<Node> {
        self.eat("if");
        let mut arms = Vec::new();
        loop {
            let condition = self.list()?;
            self.must("then")?;
            arms.push((condition, self.list()?));
            if self.keyword("elif") {
                continue;
            }
            let other = if self.keyword("else") {
                Some(self.list()?)
            } else {
                None
            };
            self.must("fi")?;
            return Some(Node::If(arms, other));
        }
    }

    fn body(&mut self) -> Option<Script> {
        self.newlines()?;
        if self.keyword("{") {
            let body = self.list()?;
            self.must("}")?;
            return Some(body);
        }
        self.must("do")?;
        let body = self.list()?;
        self.must("done")?;
        Some(body)
    }

    fn for_(&mut self) -> Option<Node> {
        let word = self.peek_word();
        self.eat(word);
        self.blanks();
        if self.eat("((") {
            let text = self.arithmetic()?;
            let mut parts = text.splitn(3, ';').map(|t| t.trim().to_owned());
            let (start, condition, step) = (parts.next()?, parts.next()?, parts.next()?);
            self.blanks();
            self.eat(";");
            let body = self.body()?;
            return Some(Node::ForArith {
                start,
                condition,
                step,
                body,
            });
        }
        let name = self.peek_word().to_owned();
        self.eat(&name);
        self.newlines()?;
        let words = if self.keyword("in") {
            let mut words = Vec::new();
            loop {
                self.blanks();
                if self.rest.starts_with([';', '\n']) {
                    break;
                }
                words.push(self.word()?);
            }
            Some(words)
        } else {
            None
        };
        self.blanks();
        self.eat(";");
        let body = self.body()?;
        Some(Node::For { name, words, body })
    }

    fn while_(&mut self) -> Option<Node> {
        let until = self.keyword("until");
        if !until {
            self.eat("while");
        }
        let condition = self.list()?;
        let body = self.body()?;
        Some(Node::While {
            until,
            condition,
            body,
        })
    }

    fn case(&mut self) -> Option<Node> {
        self.eat("case");
        self.blanks();
        let word = self.word()?;
        self.must("in")?;
        let mut arms = Vec::new();
        loop {
            self.newlines()?;
            if self.keyword("esac") {
                return Some(Node::Case { word, arms });
            }
            self.eat("(");
            let mut patterns = Vec::new();
            loop {
                self.blanks();
                patterns.push(self.word()?);
                self.blanks();
                if !self.eat("|") {
                    break;
                }
            }
            self.eat(")").then_some(())?;
            arms.push((patterns, self.list()?));
            self.newlines()?;
            let more = self.eat(";;&") || self.eat(";;") || self.eat(";&");
            if !more && self.peek_word() != "esac" {
                return None;
            }
        }
    }

    fn test(&mut self) -> Option<Node> {
        self.eat("[[");
        let mut words: Vec<Word> = Vec::new();
        loop {
            self.newlines()?;
            if self.keyword("]]") {
                return Some(Node::Test(words));
            }
            let regex = words.last().is_some_and(|w| w.bare() == Some("=~"));
            if regex {
                let end = self.rest.find([' ', '\t', '\n'])?;
                let (text, rest) = self.rest.split_at_checked(end)?;
                self.rest = rest;
                words.push(Word::plain(text));
                continue;
            }
            let op = ["&&", "||", "(", ")", "<", ">"];
            match op.into_iter().find(|op| self.rest.starts_with(op)) {
                Some(op) => {
                    self.eat(op);
                    words.push(Word::plain(op));
                }
                None => words.push(self.word()?),
            }
        }
    }

    fn simple(&mut self) -> Option<Node> {
        let mut simple = Simple {
            line: self.line,
            ..Simple::default()
        };
        loop {
            self.blanks();
            let redirect: Option<Redirect> = self.redirect()?;
            if let Some(redirect) = redirect {
                simple.redirects.push(redirect);
                continue;
            }
            match self.peek() {
                None | Some('\n' | ';' | '&' | '|' | ')') => break,
                Some('(') => return None,
                Some(_) => {}
            }
            if simple.words.is_empty()
                && let Some(assign) = self.assignment()?
            {
                simple.assigns.push(assign);
                continue;
            }
            // `declare -a X=(1 2)` and its like take an array as an argument.
            if let Some(assign) = self.array_argument(&simple)? {
                simple.assigns.push(assign);
                continue;
            }
            simple.words.push(self.word()?);
        }
        let nothing = simple.assigns.is_empty() && simple.words.is_empty();
        (!nothing || !simple.redirects.is_empty()).then_some(Node::Simple(simple))
    }

    fn array_argument(&mut self, simple: &Simple) -> Option<Option<Assign>> {
        const DECLARE: [&str; 5] = ["declare", "typeset", "local", "readonly", "export"];
        let first = simple.words.first().and_then(Word::bare);
        let array = self.peek_word().ends_with('=')
            && self.rest.get(self.peek_word().len()..)?.starts_with('(');
        if array && first.is_some_and(|w| DECLARE.contains(&w)) {
            return self.assignment();
        }
        Some(None)
    }

    /// An assignment; `Some(None)` where none begins here.
    fn assignment(&mut self) -> Option<Option<Assign>> {
        let Some((name, index, append, len)) = assigned_name(self.rest) else {
            return Some(None);
        };
        self.rest = self.rest.get(len..)?;
        let value = if self.eat("(") {
            let mut words = Vec::new();
            loop {
                self.newlines()?;
                if self.eat(")") {
                    break;
                }
                words.push(self.word()?);
            }
            Assigned::Array(words)
        } else {
            Assigned::Word(self.word_or_nothing()?)
        };
        Some(Some(Assign {
            name,
            index,
            append,
            value,
        }))
    }
}

/// The name, index and `+` before a `=`, and how long they are with it.
fn assigned_name(text: &str) -> Option<(String, Option<String>, bool, usize)> {
    let other = |c: char| c != '_' && !c.is_ascii_alphanumeric();
    let end = text.find(other)?;
    let (name, rest) = text.split_at_checked(end)?;
    if !is_name(name) {
        return None;
    }
    let (index, rest) = match rest.strip_prefix('[') {
        Some(inner) => {
            let (index, rest) = inner.split_once(']')?;
            if index.contains(['\n', ' ']) {
                return None;
            }
            (Some(index.to_owned()), rest)
        }
        None => (None, rest),
    };
    let append = rest.starts_with("+=");
    let rest = rest.strip_prefix("+=").or_else(|| rest.strip_prefix('='))?;
    Some((name.to_owned(), index, append, text.len() - rest.len()))
}
