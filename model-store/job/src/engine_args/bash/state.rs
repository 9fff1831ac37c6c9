//! What a shell knows while it runs.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::ast::Node;
use super::value::Text;

/// The value of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Value {
    Scalar(Text),
    Array(Vec<Text>),
    /// The script took it away.
    Unset,
    /// Some value, or none.
    Unknown,
}

/// A variable that the script has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Var {
    pub(in super::super) value: Value,
    /// Programs that are started see it.
    pub(in super::super) exported: bool,
}

/// The state of one shell.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct State {
    pub(in super::super) vars: BTreeMap<String, Var>,
    /// Bodies of functions; several where it depends on a branch which one counts.
    pub(super) functions: BTreeMap<String, Vec<Rc<Node>>>,
    /// `$1` and so on; `None` where they are not known.
    pub(in super::super) arguments: Option<Vec<Text>>,
    /// Something that cannot be read may have set any variable.
    pub(in super::super) lost: bool,
    /// `set -a`
    pub(super) exports_all: bool,
    /// The folder from which names of files count, from the job's own on; `None` where it is not
    /// known.
    pub(in super::super) folder: Option<String>,
    /// Files that the script wrote.
    pub(in super::super) files: BTreeMap<String, Option<Text>>,
    /// Starts that may still run in the background.
    pub(in super::super) running: Vec<usize>,
    /// How deep functions and shells are nested.
    pub(in super::super) depth: u32,
}

impl State {
    /// The state of a script at its beginning.
    pub(in super::super) fn new(arguments: Option<Vec<Text>>) -> Self {
        Self {
            arguments,
            folder: Some(String::new()),
            ..Self::default()
        }
    }

    pub(in super::super) fn set(&mut self, name: &str, value: Value) {
        let exported = self.exports_all || self.vars.get(name).is_some_and(|v| v.exported);
        self.vars.insert(name.to_owned(), Var { value, exported });
    }

    pub(in super::super) fn export(&mut self, name: &str) {
        if let Some(var) = self.vars.get_mut(name) {
            var.exported = true;
        }
    }

    /// What a shell that is started as a program gets.
    pub(in super::super) fn child(&self, arguments: Option<Vec<Text>>) -> Self {
        let mut child = self.clone();
        child.vars.retain(|_, var| var.exported);
        child.functions.clear();
        child.exports_all = false;
        child.arguments = arguments;
        child.depth += 1;
        child
    }

    /// What another shell left in the background runs on.
    pub(in super::super) fn also_running(&mut self, other: &Self) {
        for start in &other.running {
            if !self.running.contains(start) {
                self.running.push(*start);
            }
        }
    }

    /// Whatever a variable was, it is not known any more.
    pub(in super::super) fn lose_all(&mut self) {
        self.lost = true;
        for var in self.vars.values_mut() {
            var.value = Value::Unknown;
        }
    }

    /// What is true in both.
    pub(super) fn merge(&mut self, other: &Self) {
        for (name, var) in &other.vars {
            self.vars.entry(name.clone()).or_insert(Var {
                value: Value::Unknown,
                exported: var.exported,
            });
        }
        for (name, var) in &mut self.vars {
            let same = other.vars.get(name).is_some_and(|o| o.value == var.value);
            if !same {
                var.value = Value::Unknown;
            }
            var.exported |= other.vars.get(name).is_some_and(|o| o.exported);
        }
        for (name, bodies) in &other.functions {
            let mine = self.functions.entry(name.clone()).or_default();
            for body in bodies {
                if !mine.iter().any(|m| Rc::ptr_eq(m, body) || m == body) {
                    mine.push(body.clone());
                }
            }
        }
        if self.arguments != other.arguments {
            self.arguments = None;
        }
        if self.folder != other.folder {
            self.folder = None;
        }
        self.lost |= other.lost;
        self.exports_all |= other.exports_all;
        for (name, text) in &other.files {
            let mine = self
                .files
                .entry(name.clone())
                .or_insert_with(|| text.clone());
            if mine != text {
                *mine = None;
            }
        }
        self.also_running(other);
    }

    /// True where both know the same of variables and arguments.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        self.vars == other.vars && self.arguments == other.arguments && self.lost == other.lost
    }
}
