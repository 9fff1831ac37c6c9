//! The tree of a shell script.

use std::cell::OnceCell;
use std::rc::Rc;

/// Commands in the order in which they are started.
pub(in super::super) type Script = Vec<Item>;

/// One list entry.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Item {
    pub(in super::super) node: Node,
    /// It ends in `&`.
    pub(in super::super) background: bool,
}

/// A command.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Node {
    Simple(Simple),
    Pipe(Vec<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Group(Script),
    Subshell(Script),
    /// Conditions with what they guard, and what is done else.
    If(Vec<(Script, Script)>, Option<Script>),
    For {
        name: String,
        /// `None` goes through the arguments.
        words: Option<Vec<Word>>,
        body: Script,
    },
    ForArith {
        start: String,
        condition: String,
        step: String,
        body: Script,
    },
    While {
        until: bool,
        condition: Script,
        body: Script,
    },
    Case {
        word: Word,
        arms: Vec<(Vec<Word>, Script)>,
    },
    Function {
        name: String,
        body: Rc<Node>,
    },
    /// `[[ ... ]]`
    Test(Vec<Word>),
    /// `(( ... ))`
    Arith(String),
    /// A compound command with redirections.
    With(Box<Node>, Vec<Redirect>),
}

/// Assignments, words and redirections.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Simple {
    /// Line on which it begins, from 1.
    pub(in super::super) line: u32,
    pub(in super::super) assigns: Vec<Assign>,
    pub(in super::super) words: Vec<Word>,
    pub(in super::super) redirects: Vec<Redirect>,
}

/// `NAME=value`, `NAME+=value`, `NAME[index]=value`, `NAME=(values)`.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Assign {
    pub(in super::super) name: String,
    pub(in super::super) index: Option<String>,
    pub(in super::super) append: bool,
    pub(in super::super) value: Assigned,
}

#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Assigned {
    Word(Word),
    Array(Vec<Word>),
}

/// What a redirection does.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Redirect {
    /// `< FILE`
    In(Word),
    /// `> FILE`, and `>>` where `append` is true.
    Out { target: Word, append: bool },
    /// `<< END`
    Document(Rc<OnceCell<Word>>),
    /// `<<< WORD`
    String(Word),
    /// Descriptors only.
    Other,
}

/// One word.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Word {
    pub(in super::super) parts: Vec<Part>,
}

impl Word {
    /// The text of a word without any expansion or quote, such as a reserved word.
    pub(in super::super) fn bare(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [
                Part::Text {
                    text,
                    quoted: false,
                },
            ] => Some(text),
            _ => None,
        }
    }

    pub(in super::super) fn plain(text: &str) -> Self {
        let text = text.to_owned();
        Self {
            parts: vec![Part::Text {
                text,
                quoted: false,
            }],
        }
    }
}

/// Part of a word. `quoted` keeps what it becomes in one field.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Part {
    Text {
        text: String,
        quoted: bool,
    },
    Param {
        param: Param,
        quoted: bool,
    },
    Command {
        script: Rc<Script>,
        quoted: bool,
    },
    Arith {
        text: String,
    },
    /// `<(...)` or `>(...)`.
    Process {
        script: Rc<Script>,
    },
}

/// `$NAME`, `${NAME...}`.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) struct Param {
    pub(in super::super) name: String,
    /// `[@]`, `[*]` or `[index]`.
    pub(in super::super) index: Option<String>,
    pub(in super::super) op: Op,
}

/// What becomes of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(in super::super) enum Op {
    Plain,
    /// `${#NAME}`
    Length,
    /// `:-`, `-` and `:=`, `=` (which set it too); `colon` counts an empty value as unset.
    Default {
        word: Word,
        colon: bool,
        set: bool,
    },
    /// `:+`, `+`
    Alternative {
        word: Word,
        colon: bool,
    },
    /// `:?`, `?`
    Must,
    /// `%`, `%%`, `#`, `##` and a pattern.
    Trim {
        end: bool,
        longest: bool,
        pattern: Word,
    },
    /// `/`, `//` and two texts.
    Replace {
        all: bool,
        from: Word,
        to: Word,
    },
    /// `^^` and `,,`
    Case {
        upper: bool,
    },
    /// Anything else.
    Other,
}

/// True for a name of a variable.
pub(super) fn is_name(text: &str) -> bool {
    let plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(plain)
}
