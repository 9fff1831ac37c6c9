//! How a program is come to.

use super::super::bash::{Piece, Text};
use super::{Own, Program, Start, Stated, Times};
use crate::advisor::Limits;

/// How a program is come to.
#[derive(Clone, Debug)]
pub(in super::super) struct Way {
    pub(super) line: u32,
    pub(super) times: Times,
    pub(super) own: Own,
    pub(super) het_groups: Vec<u32>,
    /// Under `omnipilot run`; the text names the engine where the command says which.
    pub(super) under_run: Option<Option<String>>,
    /// In a container or on another machine: variables of the job do not reach it.
    pub(super) apart: bool,
    /// The variables of the advice are handed on there all the same.
    pub(super) passes_advice: bool,
    /// Under `omnipilot run`, which no variable of the advice reaches.
    pub(super) lost_advice: bool,
    pub(super) depth: u32,
}

impl Way {
    pub(super) fn plain(line: u32) -> Self {
        Self {
            line,
            times: Times::Once,
            own: Own::All,
            het_groups: vec![0],
            under_run: None,
            apart: false,
            passes_advice: false,
            lost_advice: false,
            depth: 0,
        }
    }

    pub(super) fn any_number(mut self) -> Self {
        self.times = Times::Unknown;
        self
    }

    /// A start on this way of which nothing else is known.
    pub(super) fn start(&self, program: Program) -> Start {
        Start {
            line: self.line,
            program,
            times: self.times,
            own: self.own.clone(),
            together: false,
            het_groups: self.het_groups.clone(),
            under_run: false,
            tp: Stated::Unknown,
            pp: Stated::Unknown,
            dp: Stated::Unknown,
            nodes: Stated::Unknown,
            format: Stated::Unknown,
            own_checkpoint: false,
            context: Stated::Unknown,
            limits: Limits::default(),
            model: Stated::Unknown,
        }
    }
}

/// `NAME=value` as an argument.
pub(super) fn assignment(text: &Text) -> Option<(String, Text)> {
    let Piece::Known(first) = text.0.first()? else {
        return None;
    };
    let (name, value) = first.split_once('=')?;
    let plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
    if name.is_empty() || !name.chars().all(plain) {
        return None;
    }
    let mut rest = Text::default();
    if !value.is_empty() {
        rest.append(Text::known(value));
    }
    rest.append(Text(text.0.iter().skip(1).cloned().collect()));
    Some((name.to_owned(), rest))
}
