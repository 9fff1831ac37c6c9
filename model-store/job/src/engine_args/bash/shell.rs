//! A shell that walks through a script, and what it needs from its caller.

use super::state::State;
use super::value::{Field, Text};

/// Most commands that are looked at.
const MOST_STEPS: u32 = 20_000;

/// What the walk needs from its caller, and tells it.
pub(in super::super) trait Host: Sized {
    /// A variable that the script was started with: its text, `Some(None)` where it has none, and
    /// `None` where that is not known.
    fn variable(&self, name: &str) -> Option<Option<Text>>;
    /// The text of a file, named as from the job's folder.
    fn read(&mut self, name: &str) -> Option<String>;
    /// A command that is no part of the shell itself. Gives its status, where that is known.
    fn command(shell: &mut Shell<Self>, state: &mut State, call: &Call) -> Option<bool>;
    /// True for words that are to be looked at by [`Self::command`] even where a function has their
    /// name and starts nothing.
    fn is_known(&self, words: &[Field]) -> bool;
    /// How many starts there are so far.
    fn starts(&self) -> usize;
    /// Forgets those behind the first `len`.
    fn forget(&mut self, len: usize);
    /// Those from `from` on which still run may run any number of times at once.
    fn repeated(&mut self, from: usize, running: &[usize]);
    /// A file is sourced that cannot be read. True where it may have set variables.
    fn source_unread(&mut self, name: &Text, line: u32) -> bool;
    /// Text that is not understood.
    fn not_understood(&mut self, line: u32);
    /// The number of the job's GPUs is compared, or counted with.
    fn counts_gpus(&mut self);
    /// What the job's GPUs are is looked at.
    fn looks_at_gpus(&mut self);
}

/// A command that is started.
#[derive(Clone, Debug)]
pub(in super::super) struct Call {
    /// Line on which it begins, from 1.
    pub(in super::super) line: u32,
    pub(in super::super) words: Vec<Field>,
    /// What it reads, where that is known.
    pub(in super::super) input: Option<Text>,
}

/// Where the walk goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    Next,
    Break,
    Continue,
    Return,
    Exit,
}

/// A shell that walks.
pub(in super::super) struct Shell<H> {
    pub(in super::super) host: H,
    /// Status of the last command.
    pub(super) status: Option<bool>,
    /// What the last command printed.
    pub(super) out: Option<Text>,
    /// What the next command reads.
    pub(super) piped: Option<Text>,
    /// Variables to be brought back at the end of each function.
    pub(super) locals: Vec<Vec<(String, Option<super::state::Var>)>>,
    /// States that may have left a loop or a function early.
    pub(super) escapes: Vec<(Flow, State)>,
    pub(super) steps: u32,
    /// Line that stands for every line of a text inside the script.
    pub(super) line: Option<u32>,
}

impl<H> Shell<H> {
    pub(in super::super) fn new(host: H) -> Self {
        Self {
            host,
            status: Some(true),
            out: None,
            piped: None,
            locals: Vec::new(),
            escapes: Vec::new(),
            steps: MOST_STEPS,
            line: None,
        }
    }
}

/// Words as the arguments of a function or script; `None` where it is not known how many they are.
pub(in super::super) fn arguments(words: Option<&[Field]>) -> Option<Vec<Text>> {
    let words = words.unwrap_or_default();
    let whole = words.iter().all(|w| !w.splits);
    whole.then(|| words.iter().map(|w| w.text.clone()).collect())
}

/// Under what name a file is remembered.
pub(super) fn key(name: &Text) -> String {
    let code = name.code();
    code.strip_prefix("./").map_or(code.clone(), str::to_owned)
}
