//! Enough of a shell's grammar to find commands and their words in a batch script: quotes,
//! comments, continuations, here-documents, separators. Nothing is expanded or run; what only a
//! shell could know stays a variable part of its word.

/// Part of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Text as the program would get it.
    Text(String),
    /// `$NAME` or `${NAME}`.
    Name(String),
    /// Any other expansion, as written.
    Other(String),
}

/// One word of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) parts: Vec<Part>,
    /// True where any of it was quoted: it then stays one word.
    pub(super) quoted: bool,
}

impl Word {
    /// The word as written, quotes aside.
    pub(super) fn raw(&self) -> String {
        let part = |p: &Part| match p {
            Part::Text(text) | Part::Other(text) => text.clone(),
            Part::Name(name) => format!("${{{name}}}"),
        };
        self.parts.iter().map(part).collect()
    }

    fn push(&mut self, c: char) {
        if let Some(Part::Text(text)) = self.parts.last_mut() {
            text.push(c);
        } else {
            self.parts.push(Part::Text(c.into()));
        }
    }
}

/// One simple command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// Line of its first word, from 1.
    pub(super) line: u32,
    pub(super) words: Vec<Word>,
}

/// Splits a script into its simple commands.
pub(super) fn commands(script: &str) -> Vec<Command> {
    let mut lexer = Lexer {
        rest: script,
        line: 1,
        ..Lexer::default()
    };
    while lexer.step() {}
    lexer.end_command();
    lexer.done
}

#[derive(Default)]
struct Lexer<'a> {
    rest: &'a str,
    line: u32,
    word: Option<Word>,
    command: Command,
    /// The next word is the target of a redirection, not an argument.
    redirect: bool,
    /// The next word names the end of a here-document.
    heredoc: Option<bool>,
    /// Here-documents that begin after this line: their ends, and whether tabs are stripped.
    pending: Vec<(String, bool)>,
    done: Vec<Command>,
}

impl Lexer<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.line += u32::from(c == '\n');
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let there = self.rest.starts_with(text);
        if there {
            self.rest = &self.rest[text.len()..];
        }
        there
    }

    /// One step at the level of a command line; false at the end of the script.
    fn step(&mut self) -> bool {
        let Some(c) = self.bump() else { return false };
        match c {
            '\n' => self.newline(),
            '#' if self.word.is_none() => self.skip_comment(),
            ' ' | '\t' | '\r' => self.end_word(),
            ';' | '&' | '|' | '(' | ')' => self.separator(c),
            '<' | '>' => self.redirection(c),
            '\\' => self.escape(),
            '\'' => self.single(),
            '"' => self.double(),
            '$' => self.dollar(),
            '`' => self.backtick(),
            other => self.open().push(other),
        }
        true
    }

    fn open(&mut self) -> &mut Word {
        self.word.get_or_insert_default()
    }

    fn quoted(&mut self) -> &mut Word {
        let word = self.open();
        word.quoted = true;
        word
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        if let Some(tabs) = self.heredoc.take() {
            self.pending.push((word.raw(), tabs));
        } else if std::mem::take(&mut self.redirect) {
            // The target of a redirection.
        } else {
            if self.command.words.is_empty() {
                self.command.line = self.line;
            }
            self.command.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        (self.redirect, self.heredoc) = (false, None);
        let command = std::mem::take(&mut self.command);
        if !command.words.is_empty() {
            self.done.push(command);
        }
    }

    fn newline(&mut self) {
        // The line was counted with its end; a command's line is the one it began on.
        self.line -= 1;
        self.end_command();
        self.line += 1;
        for (end, tabs) in std::mem::take(&mut self.pending) {
            self.skip_heredoc(&end, tabs);
        }
    }

    /// Passes over a here-document. Where its end never comes it was none (a shift in arithmetic).
    fn skip_heredoc(&mut self, end: &str, tabs: bool) {
        let mut taken = 0;
        for (n, line) in (1..).zip(self.rest.split_inclusive('\n')) {
            taken += line.len();
            let text = line.trim_end_matches(['\n', '\r']);
            if end
                == if tabs {
                    text.trim_start_matches('\t')
                } else {
                    text
                }
            {
                self.rest = &self.rest[taken..];
                self.line += n;
                return;
            }
        }
    }

    fn skip_comment(&mut self) {
        let end = self.rest.find('\n').unwrap_or(self.rest.len());
        self.rest = &self.rest[end..];
    }

    fn separator(&mut self, c: char) {
        // `&>file` redirects; `>&2` was taken with its `>`.
        if c == '&' && self.eat(">") {
            self.eat(">");
            self.end_word();
            self.redirect = true;
        } else {
            self.end_command();
        }
    }

    fn redirection(&mut self, c: char) {
        // The number before it is the descriptor.
        let descriptor = |w: &Word| matches!(w.parts.as_slice(), [Part::Text(t)] if t.bytes().all(|b| b.is_ascii_digit()));
        if self
            .word
            .as_ref()
            .is_some_and(|w| !w.quoted && descriptor(w))
        {
            self.word = None;
        }
        self.end_word();
        if c == '<' && self.rest.starts_with("<") && !self.rest.starts_with("<<") {
            self.eat("<");
            self.heredoc = Some(self.eat("-"));
            return;
        }
        for more in [">", "<<", "&", "|"] {
            self.eat(more);
        }
        // Process substitution: its command is looked at like any other.
        self.redirect = self.peek() != Some('(');
    }

    fn escape(&mut self) {
        match self.bump() {
            Some('\n') | None => {}
            Some(c) => self.quoted().push(c),
        }
    }

    fn single(&mut self) {
        self.quoted();
        while let Some(c) = self.bump().filter(|c| *c != '\'') {
            self.open().push(c);
        }
    }

    fn double(&mut self) {
        self.quoted();
        while let Some(c) = self.bump().filter(|c| *c != '"') {
            match c {
                '$' => self.dollar(),
                '`' => self.backtick(),
                '\\' => self.escape_in_double(),
                other => self.open().push(other),
            }
        }
    }

    fn escape_in_double(&mut self) {
        match self.peek() {
            Some('\n') => {
                self.bump();
            }
            Some(c @ ('$' | '`' | '"' | '\\')) => {
                self.bump();
                self.open().push(c);
            }
            _ => self.open().push('\\'),
        }
    }

    fn dollar(&mut self) {
        let part = match self.peek() {
            Some('(') => Part::Other(format!("${}", self.balanced('(', ')'))),
            Some('{') => braced(self.balanced('{', '}')),
            Some(c) if c == '_' || c.is_ascii_alphabetic() => Part::Name(self.name()),
            Some(c) if c.is_ascii_digit() || "@*#?$!-".contains(c) => {
                self.bump();
                Part::Other(format!("${c}"))
            }
            _ => {
                self.open().push('$');
                return;
            }
        };
        self.open().parts.push(part);
    }

    fn name(&mut self) -> String {
        let end = self
            .rest
            .find(|c: char| c != '_' && !c.is_ascii_alphanumeric())
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        let name = name.to_owned();
        self.rest = rest;
        name
    }

    /// From an opening bracket to its closing one, both included; quotes hide brackets.
    fn balanced(&mut self, open: char, close: char) -> String {
        let (mut text, mut depth, mut quote) = (String::new(), 0_u32, None);
        while let Some(c) = self.bump() {
            text.push(c);
            match (quote, c) {
                (_, '\\') if quote != Some('\'') => text.extend(self.bump()),
                (Some(q), _) if q == c => quote = None,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, _) if c == open => depth += 1,
                (None, _) if c == close => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        text
    }

    fn backtick(&mut self) {
        let mut text = String::from("`");
        while let Some(c) = self.bump() {
            text.push(c);
            if c == '`' {
                break;
            }
        }
        self.open().parts.push(Part::Other(text));
    }
}

/// `{NAME}` is a plain variable, anything else in braces needs a shell.
fn braced(text: String) -> Part {
    let inner = text
        .strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'))
        .unwrap_or_default();
    let plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if !inner.is_empty() && inner.chars().all(plain) {
        return Part::Name(inner.to_owned());
    }
    Part::Other(format!("${text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(script: &str) -> Vec<String> {
        let line = |c: Command| {
            let words: Vec<String> = c.words.iter().map(Word::raw).collect();
            format!("{}: {}", c.line, words.join("|"))
        };
        commands(script).into_iter().map(line).collect()
    }

    #[test]
    fn commands_end_where_a_shell_ends_them() {
        assert_eq!(
            lines("a b; c && d | e &\n(f)\n"),
            ["1: a|b", "1: c", "1: d", "1: e", "2: f"]
        );
        assert_eq!(
            lines("a \\\n  b\nc"),
            ["2: a|b", "3: c"].map(|s| s.replace("2: a", "1: a"))
        );
    }

    #[test]
    fn quotes_comments_and_redirections() {
        assert_eq!(
            lines("a 'b # c' \"d $x\" e#f # g h"),
            ["1: a|b # c|d ${x}|e#f"]
        );
        assert_eq!(
            lines("a >out 2>&1 b &>all <in c <<<\"x y\" d"),
            ["1: a|b|c|d"]
        );
        assert_eq!(lines(r#"a "q\"r" \"s"#), [r#"1: a|q"r|"s"#]);
    }

    #[test]
    fn here_documents_are_passed_over() {
        assert_eq!(lines("cat <<EOF >f\nx -tp 4\nEOF\nb"), ["1: cat", "4: b"]);
        assert_eq!(lines("cat <<-'E F'\n\tx\n\tE F\nb"), ["1: cat", "4: b"]);
        assert_eq!(lines("i=$((1 << 2))\nb"), ["1: i=$((1 << 2))", "2: b"]);
        assert_eq!(lines("((i << 2))\nb"), ["1: i", "2: b"]);
    }

    #[test]
    fn expansions_stay_in_their_word() {
        assert_eq!(
            lines("a $(b \"(\" c) ${d:-e f} `g h` ${i}"),
            ["1: a|$(b \"(\" c)|${d:-e f}|`g h`|${i}"]
        );
        assert_eq!(commands("$x")[0].words[0].parts, [Part::Name("x".into())]);
    }
}
