//! Commands of the shell itself.

use std::rc::Rc;

use super::ast::Node;
use super::parse::parse;
use super::shell::{Call, Flow, Host, Shell, arguments};
use super::state::{State, Value};
use super::test;
use super::value::{Field, Follows, Piece, Text};

/// True for commands whose arguments are assignments.
pub(super) fn declares(name: &str) -> bool {
    ["export", "declare", "typeset", "local", "readonly"].contains(&name)
}

impl<H: Host> Shell<H> {
    /// Carries out a command of the shell's own; `None` where it is none.
    pub(super) fn builtin(&mut self, state: &mut State, name: &str, call: &Call) -> Option<Flow> {
        let args = call.words.get(1..).unwrap_or_default();
        let mut flow = Flow::Next;
        match name {
            ":" | "true" => {
                self.status = Some(true);
                self.out = Some(Text::default());
            }
            "false" => self.status = Some(false),
            "[" | "test" => {
                let bracket = usize::from(name == "[");
                let args = args
                    .get(..args.len().saturating_sub(bracket))
                    .unwrap_or_default();
                let texts: Vec<Text> = args.iter().map(|a| a.text.clone()).collect();
                self.looks(&texts);
                // Words that may be several, or none, are no condition that could be told.
                self.status = match args.iter().any(|a| a.splits) {
                    true => None,
                    false => test::holds(&texts, false),
                };
            }
            "cd" | "pushd" => self.folder(state, args),
            "popd" => state.folder = None,
            name if declares(name) => self.declare(state, name, args),
            "unset" => {
                for arg in args.iter().filter_map(Field::word) {
                    if !arg.starts_with('-') {
                        state.set(&arg, Value::Unset);
                        state.functions.remove(&arg);
                    }
                }
            }
            "set" => set(state, args),
            "shift" => shift(state, args),
            "read" | "mapfile" | "readarray" | "getopts" => {
                read(state, name, args, call.input.as_ref());
                let parts =
                    name == "getopts" && state.arguments.as_ref().is_some_and(Vec::is_empty);
                self.status = parts.then_some(false);
            }
            "eval" => return Some(self.eval(state, args, call.line)),
            "source" | "." => return Some(self.source(state, args, call.line)),
            "return" => flow = Flow::Return,
            "exit" => flow = Flow::Exit,
            "break" => flow = Flow::Break,
            "continue" => flow = Flow::Continue,
            "let" => {
                for arg in args {
                    match arg.word() {
                        Some(text) => drop(self.number(state, &text)),
                        None => state.lose_all(),
                    }
                }
            }
            "printf" if args.first().and_then(Field::word).as_deref() == Some("-v") => {
                let name = args.get(1).and_then(Field::word).unwrap_or_default();
                let text = super::print::formatted(args.get(2..).unwrap_or_default());
                state.set(&name, text.map_or(Value::Unknown, Value::Scalar));
            }
            "wait" => {
                let all = args
                    .iter()
                    .all(|a| a.word().is_some_and(|w| w.starts_with('-')));
                if all {
                    state.running.clear();
                }
            }
            "alias" => alias(state, args),
            "trap" => self.trap(state, args, call.line),
            "coproc" => self.coproc(state, args, call),
            "exec" => return self.exec(state, args, call),
            "shopt" | "ulimit" | "umask" | "hash" | "type" | "jobs" | "disown" | "kill"
            | "times" | "history" | "enable" | "dirs" | "bg" | "caller" | "compgen"
            | "complete" => {}
            _ => return None,
        }
        Some(flow)
    }

    fn folder(&mut self, state: &mut State, args: &[Field]) {
        let target = args
            .iter()
            .find(|a| !a.word().is_some_and(|w| w.starts_with('-')));
        let Some(target) = target else {
            state.folder = None;
            return;
        };
        state.folder = match (target.word(), state.folder.take()) {
            (Some(path), _) if path.starts_with('/') => Some(path),
            (Some(path), Some(folder)) if folder.is_empty() && path != "-" => Some(path),
            (Some(path), Some(folder)) if path != "-" => Some(format!("{folder}/{path}")),
            // The job begins in the folder from which it was submitted.
            (None, folder) if target.text == Text::unknown("SLURM_SUBMIT_DIR") => {
                folder.filter(String::is_empty)
            }
            _ => None,
        };
    }

    fn declare(&mut self, state: &mut State, name: &str, args: &[Field]) {
        let (mut exports, mut odd) = (name == "export", false);
        self.status = Some(true);
        for arg in args {
            let (head, value) = split_assignment(&arg.text);
            let Some(head) = head else {
                // A name that is not known may be any.
                state.lose_all();
                continue;
            };
            if value.is_none() && head.starts_with(['-', '+']) {
                exports |= head.contains('x') && !head.starts_with('+');
                // References, numbers and letters of one size change what is assigned.
                odd |= head.contains(['n', 'i', 'u', 'l']);
                continue;
            }
            let append = head.ends_with('+');
            let head = head.trim_end_matches('+').to_owned();
            if name == "local" || (name != "export" && name != "readonly") {
                let former = state.vars.get(&head).cloned();
                if let Some(locals) = self.locals.last_mut() {
                    locals.push((head.clone(), former));
                }
            }
            match value {
                Some(value) if !odd && !append => state.set(&head, Value::Scalar(value)),
                Some(_) => state.set(&head, Value::Unknown),
                None if name == "local" && !state.vars.contains_key(&head) => {
                    state.set(&head, Value::Unset);
                }
                None if exports && !state.vars.contains_key(&head) => {}
                None => {}
            }
            if exports {
                state.export(&head);
            }
        }
    }

    fn eval(&mut self, state: &mut State, args: &[Field], line: u32) -> Flow {
        let texts: Vec<String> = args.iter().map(|a| a.text.code()).collect();
        self.inner_flow(state, &texts.join(" "), line)
    }

    fn source(&mut self, state: &mut State, args: &[Field], line: u32) -> Flow {
        let Some(name) = args.first() else {
            return Flow::Next;
        };
        let Some(text) = self.file(state, &name.text) else {
            if self.host.source_unread(&name.text, line) {
                state.lose_all();
            }
            return Flow::Next;
        };
        let former = state.arguments.clone();
        if args.len() > 1 {
            state.arguments = arguments(args.get(1..));
        }
        let flow = self.inner_flow(state, &text.code(), line);
        if args.len() > 1 {
            state.arguments = former;
        }
        if flow == Flow::Return {
            Flow::Next
        } else {
            flow
        }
    }

    /// The command of a trap may run at any time.
    fn trap(&mut self, state: &mut State, args: &[Field], line: u32) {
        let first = args.first().map(|a| a.text.code()).unwrap_or_default();
        if args.len() > 1 && !first.is_empty() && !first.starts_with('-') {
            let mut inner = state.clone();
            self.inner_flow(&mut inner, &first, line);
        }
    }

    fn coproc(&mut self, state: &mut State, args: &[Field], call: &Call) {
        let from = self.host.starts();
        let inner = Call {
            words: args.to_vec(),
            ..call.clone()
        };
        self.call(&mut state.clone(), &inner);
        self.in_background(state, from);
    }

    /// `exec COMMAND` never comes back; `exec >FILE` does.
    fn exec(&mut self, state: &mut State, args: &[Field], call: &Call) -> Option<Flow> {
        if args.is_empty() {
            return Some(Flow::Next);
        }
        self.status = H::command(self, state, call);
        Some(Flow::Exit)
    }
}

/// `NAME=value` in a text; the name is `None` where it is not known.
fn split_assignment(text: &Text) -> (Option<String>, Option<Text>) {
    let Some(Piece::Known(first)) = text.0.first() else {
        return (text.text(), None);
    };
    let Some((name, value)) = first.split_once('=') else {
        return (text.text(), None);
    };
    let mut rest = Text::default();
    if !value.is_empty() {
        rest.push(Piece::Known(value.to_owned()));
    }
    text.0
        .iter()
        .skip(1)
        .for_each(|piece| rest.push(piece.clone()));
    (Some(name.to_owned()), Some(rest))
}

fn set(state: &mut State, args: &[Field]) {
    let mut words = args.iter();
    while let Some(arg) = words.next() {
        match arg.word().as_deref() {
            Some("--") => {
                state.arguments = arguments(Some(words.as_slice()));
                return;
            }
            Some("-o") => {
                state.exports_all |=
                    words.next().and_then(Field::word).as_deref() == Some("allexport")
            }
            Some("+o") => {
                if words.next().and_then(Field::word).as_deref() == Some("allexport") {
                    state.exports_all = false;
                }
            }
            Some(flags) if flags.starts_with('-') => state.exports_all |= flags.contains('a'),
            Some(flags) if flags.starts_with('+') => state.exports_all &= !flags.contains('a'),
            _ => {
                state.arguments = None;
                return;
            }
        }
    }
}

fn shift(state: &mut State, args: &[Field]) {
    let by = args
        .first()
        .map_or(Some(1), |a| a.word()?.parse::<usize>().ok());
    state.arguments = match (state.arguments.take(), by) {
        (Some(all), Some(by)) if by <= all.len() => Some(all.into_iter().skip(by).collect()),
        (Some(all), Some(_)) => Some(all),
        _ => None,
    };
}

/// Variables that take what a command reads: not known, but for the list of the job's GPUs.
fn read(state: &mut State, name: &str, args: &[Field], input: Option<&Text>) {
    let gpus = input.is_some_and(|i| super::print::just(i).is_some_and(Follows::lists));
    let array = args.iter().any(|a| {
        a.word()
            .is_some_and(|w| w.starts_with('-') && w.contains('a'))
    });
    let value = if gpus && (array || name != "read") {
        Value::Scalar(Text(vec![Piece::Follows(Follows::GpuList)]))
    } else {
        Value::Unknown
    };
    for arg in args {
        match arg.word() {
            Some(name) if super::ast::is_name(&name) => state.set(&name, value.clone()),
            Some(_) => {}
            None => state.lose_all(),
        }
    }
    for name in ["REPLY", "MAPFILE", "OPTARG", "OPTIND"] {
        if state.vars.contains_key(name) || name == "OPTARG" {
            state.set(name, Value::Unknown);
        }
    }
}

/// An alias is taken for a function that hands its arguments on.
fn alias(state: &mut State, args: &[Field]) {
    for arg in args {
        let (Some(name), Some(value)) = split_assignment(&arg.text) else {
            continue;
        };
        let text = format!("{} \"$@\"", value.code());
        if let Some(script) = parse(&text, 1) {
            let body = Rc::new(Node::Group(script));
            state.functions.insert(name, vec![body]);
        }
    }
}
