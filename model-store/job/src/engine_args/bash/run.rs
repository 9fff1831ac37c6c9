//! The walk through a script.

use std::rc::Rc;

use super::ast::{Assign, Assigned, Item, Node, Redirect, Script, Simple};
use super::parse::parse;
use super::shell::{Call, Flow, Host, Shell, arguments, key};
use super::state::{State, Value};
use super::test;
use super::value::{Field, Text};

/// Most rounds of a loop that are gone through one by one.
const MOST_ROUNDS: usize = 64;

/// How often a loop of unknown length is gone through until nothing new is learnt.
const MOST_PASSES: usize = 6;

/// Deepest nesting of functions, shells and files.
const DEEPEST: u32 = 24;

impl<H: Host> Shell<H> {
    /// Walks through a text. What is not understood is told to the host.
    pub(in super::super) fn run(&mut self, state: &mut State, text: &str) {
        match parse(text, 1) {
            Some(script) => drop(self.script(state, &script)),
            None => self.host.not_understood(self.line.unwrap_or(1)),
        }
    }

    /// Walks through a text that stands in the command at `line`, in the same shell.
    pub(in super::super) fn inner(&mut self, state: &mut State, text: &str, line: u32) {
        self.inner_flow(state, text, line);
    }

    pub(super) fn inner_flow(&mut self, state: &mut State, text: &str, line: u32) -> Flow {
        let line = self.line.unwrap_or(line);
        if state.depth >= DEEPEST {
            self.host.not_understood(line);
            return Flow::Next;
        }
        let Some(script) = parse(text, line) else {
            self.host.not_understood(line);
            state.lose_all();
            return Flow::Next;
        };
        let former = self.line.replace(line);
        state.depth += 1;
        let flow = self.script(state, &script);
        state.depth = state.depth.saturating_sub(1);
        self.line = former;
        flow
    }

    /// Walks through a script in a shell of its own, for what it starts.
    pub(super) fn aside(&mut self, state: &mut State, script: &Script) {
        let mut inner = state.clone();
        self.script(&mut inner, script);
        state.also_running(&inner);
    }

    pub(super) fn script(&mut self, state: &mut State, script: &Script) -> Flow {
        for item in script {
            let flow = self.item(state, item);
            if flow != Flow::Next {
                return flow;
            }
        }
        Flow::Next
    }

    pub(super) fn item(&mut self, state: &mut State, item: &Item) -> Flow {
        if !item.background {
            return self.node(state, &item.node);
        }
        let from = self.host.starts();
        let mut inner = state.clone();
        self.node(&mut inner, &item.node);
        state.also_running(&inner);
        self.in_background(state, from);
        self.status = Some(true);
        Flow::Next
    }

    /// What was started since `from` goes on running.
    pub(in super::super) fn in_background(&self, state: &mut State, from: usize) {
        for start in from..self.host.starts() {
            if !state.running.contains(&start) {
                state.running.push(start);
            }
        }
    }

    pub(super) fn node(&mut self, state: &mut State, node: &Node) -> Flow {
        self.steps = self.steps.saturating_sub(1);
        if self.steps == 0 || state.depth > DEEPEST {
            self.host.not_understood(self.line.unwrap_or(1));
            return Flow::Exit;
        }
        self.out = None;
        match node {
            Node::Simple(simple) => self.simple(state, simple),
            Node::Pipe(parts) => self.pipe(state, parts),
            Node::And(left, right) => self.joined(state, left, right, true),
            Node::Or(left, right) => self.joined(state, left, right, false),
            Node::Not(inner) => {
                let flow = self.node(state, inner);
                self.status = self.status.map(|s| !s);
                flow
            }
            Node::Group(body) => self.script(state, body),
            Node::Subshell(body) => {
                self.aside(state, body);
                Flow::Next
            }
            Node::If(arms, other) => self.if_(state, arms, other.as_ref()),
            Node::For { name, words, body } => self.for_(state, name, words.as_deref(), body),
            Node::ForArith {
                start,
                condition,
                step,
                body,
            } => {
                self.number(state, start);
                self.counted(state, condition, step, body)
            }
            Node::While {
                until,
                condition,
                body,
            } => self.while_(state, *until, condition, body),
            Node::Case { word, arms } => self.case(state, word, arms),
            Node::Function { name, body } => {
                state.functions.insert(name.clone(), vec![body.clone()]);
                Flow::Next
            }
            Node::Test(words) => {
                let texts: Vec<Text> = words.iter().map(|w| self.text(state, w)).collect();
                self.looks(&texts);
                self.status = test::holds(&texts, true);
                Flow::Next
            }
            Node::Arith(text) => {
                self.status = self.arith(state, text).text().map(|t| t != "0");
                Flow::Next
            }
            Node::With(node, redirects) => {
                let (input, _) = self.redirects(state, redirects);
                self.piped = input;
                let flow = self.node(state, node);
                self.piped = None;
                flow
            }
        }
    }

    fn pipe(&mut self, state: &mut State, parts: &[Node]) -> Flow {
        let mut input = None;
        for (n, part) in parts.iter().enumerate() {
            self.piped = input.take();
            let mut inner = state.clone();
            self.node(&mut inner, part);
            state.also_running(&inner);
            let last = n + 1 == parts.len();
            if !last {
                input = Some(self.out.take().unwrap_or_else(|| Text::unknown("pipe")));
                self.status = None;
            }
        }
        self.piped = None;
        Flow::Next
    }

    /// What a script prints; `None` where that is not known.
    pub(super) fn printed(&mut self, state: &mut State, script: &Script) -> Option<Text> {
        let (mut out, mut known) = (Text::default(), true);
        for item in script {
            let flow = self.item(state, item);
            match self.out.take() {
                Some(text) => out.append(text),
                None => known = false,
            }
            if flow != Flow::Next {
                break;
            }
        }
        known.then_some(out)
    }

    fn joined(&mut self, state: &mut State, left: &Node, right: &Node, and: bool) -> Flow {
        let flow = self.node(state, left);
        if flow != Flow::Next {
            return flow;
        }
        match self.status {
            Some(status) if status == and => self.node(state, right),
            Some(_) => Flow::Next,
            None => {
                let mut inner = state.clone();
                let flow = self.node(&mut inner, right);
                self.either(state, vec![(inner, flow), (state.clone(), Flow::Next)])
            }
        }
    }

    /// Goes on from any of these states.
    fn either(&mut self, state: &mut State, ways: Vec<(State, Flow)>) -> Flow {
        self.status = None;
        self.out = None;
        let (on, off): (Vec<_>, Vec<_>) = ways.into_iter().partition(|(_, f)| *f == Flow::Next);
        let mut on = on.into_iter().map(|(state, _)| state);
        let Some(mut merged) = on.next() else {
            let mut off = off.into_iter();
            let Some((mut merged, flow)) = off.next() else {
                return Flow::Next;
            };
            off.for_each(|(other, _)| merged.merge(&other));
            *state = merged;
            return flow;
        };
        on.for_each(|other| merged.merge(&other));
        for (other, flow) in off {
            // A script that ends there starts nothing more.
            if flow != Flow::Exit {
                self.escapes.push((flow, other));
            }
        }
        *state = merged;
        Flow::Next
    }

    /// States that left early come back at the end of what they left.
    fn come_back(&mut self, state: &mut State, since: usize, flows: &[Flow]) {
        let mut kept = Vec::new();
        for (flow, other) in self.escapes.drain(since.min(self.escapes.len())..) {
            if flows.contains(&flow) {
                state.merge(&other);
            } else {
                kept.push((flow, other));
            }
        }
        self.escapes.extend(kept);
    }

    /// What a condition says of the job's GPUs.
    pub(super) fn looks(&mut self, condition: &[Text]) {
        if test::compares_count(condition) {
            self.host.counts_gpus();
        }
        if condition.iter().any(Text::tells_type) {
            self.host.looks_at_gpus();
        }
    }

    fn if_(
        &mut self,
        state: &mut State,
        arms: &[(Script, Script)],
        other: Option<&Script>,
    ) -> Flow {
        let mut ways = Vec::new();
        for (condition, body) in arms {
            let flow = self.script(state, condition);
            if flow != Flow::Next {
                return flow;
            }
            match self.status {
                Some(false) => {}
                Some(true) => return self.last_way(state, ways, Some(body)),
                None => {
                    let mut inner = state.clone();
                    let flow = self.script(&mut inner, body);
                    ways.push((inner, flow));
                }
            }
        }
        self.status = Some(true);
        self.last_way(state, ways, other)
    }

    /// The way that is taken where none of those before is.
    fn last_way(
        &mut self,
        state: &mut State,
        mut ways: Vec<(State, Flow)>,
        body: Option<&Script>,
    ) -> Flow {
        if ways.is_empty() {
            return body.map_or(Flow::Next, |body| self.script(state, body));
        }
        let mut inner = state.clone();
        let flow = body.map_or(Flow::Next, |body| self.script(&mut inner, body));
        ways.push((inner, flow));
        self.either(state, ways)
    }

    fn case(
        &mut self,
        state: &mut State,
        word: &super::ast::Word,
        arms: &[(Vec<super::ast::Word>, Script)],
    ) -> Flow {
        let text = self.text(state, word);
        if text.counts() {
            self.host.counts_gpus();
        }
        if text.tells_type() {
            self.host.looks_at_gpus();
        }
        let text = text.text();
        let mut ways = Vec::new();
        for (patterns, body) in arms {
            let patterns: Vec<Text> = patterns.iter().map(|p| self.text(state, p)).collect();
            let hit = |pattern: &Text| -> Option<bool> {
                let pattern = pattern.text()?;
                if pattern == "*" {
                    return Some(true);
                }
                test::matches(&pattern, text.as_deref()?)
            };
            let hits: Vec<Option<bool>> = patterns.iter().map(hit).collect();
            if hits.contains(&Some(true)) {
                return self.last_way(state, ways, Some(body));
            }
            if hits.contains(&None) {
                let mut inner = state.clone();
                let flow = self.script(&mut inner, body);
                ways.push((inner, flow));
            }
        }
        self.last_way(state, ways, None)
    }

    fn for_(
        &mut self,
        state: &mut State,
        name: &str,
        words: Option<&[super::ast::Word]>,
        body: &Script,
    ) -> Flow {
        let values: Option<Vec<Text>> = match words {
            None => state.arguments.clone(),
            Some(words) => {
                let fields: Vec<Field> = words.iter().flat_map(|w| self.fields(state, w)).collect();
                let whole = fields.iter().all(|f| !f.splits);
                whole.then(|| fields.into_iter().map(|f| f.text).collect())
            }
        };
        let Some(values) = values.filter(|v| v.len() <= MOST_ROUNDS) else {
            self.any_rounds(state, None, Some(name), body);
            return Flow::Next;
        };
        let since = self.escapes.len();
        for value in values {
            state.set(name, Value::Scalar(value));
            match self.script(state, body) {
                Flow::Next | Flow::Continue => {}
                Flow::Break => break,
                flow => return flow,
            }
        }
        self.come_back(state, since, &[Flow::Break, Flow::Continue]);
        self.status = None;
        Flow::Next
    }

    fn counted(&mut self, state: &mut State, condition: &str, step: &str, body: &Script) -> Flow {
        let since = self.escapes.len();
        for _ in 0..MOST_ROUNDS {
            let go = if condition.is_empty() {
                Some(1)
            } else {
                self.number(state, condition)
            };
            match go {
                Some(0) => {
                    self.come_back(state, since, &[Flow::Break, Flow::Continue]);
                    return Flow::Next;
                }
                Some(_) => {}
                None => break,
            }
            match self.script(state, body) {
                Flow::Next | Flow::Continue => {}
                Flow::Break => return Flow::Next,
                flow => return flow,
            }
            self.number(state, step);
        }
        for name in super::arith::changed(step) {
            state.set(&name, Value::Unknown);
        }
        self.any_rounds(state, None, None, body);
        Flow::Next
    }

    fn while_(
        &mut self,
        state: &mut State,
        until: bool,
        condition: &Script,
        body: &Script,
    ) -> Flow {
        let (since, from) = (self.escapes.len(), self.host.starts());
        let input = self.piped.take();
        for _ in 0..MOST_ROUNDS {
            self.piped.clone_from(&input);
            self.script(state, condition);
            match self.status.map(|s| s != until) {
                Some(false) => {
                    self.come_back(state, since, &[Flow::Break, Flow::Continue]);
                    self.status = Some(true);
                    return Flow::Next;
                }
                Some(true) if self.host.starts() < from + MOST_PASSES => {}
                _ => break,
            }
            match self.script(state, body) {
                Flow::Next | Flow::Continue => {}
                Flow::Break => return Flow::Next,
                flow => return flow,
            }
        }
        self.any_rounds(state, Some(condition), None, body);
        self.come_back(state, since, &[Flow::Break, Flow::Continue]);
        Flow::Next
    }

    /// A loop that may have any number of rounds: it is gone through until no variable changes any
    /// more, and what it starts counts from the last time alone.
    fn any_rounds(
        &mut self,
        state: &mut State,
        condition: Option<&Script>,
        name: Option<&str>,
        body: &Script,
    ) {
        for pass in 0..=MOST_PASSES {
            let (from, since) = (self.host.starts(), self.escapes.len());
            if pass == MOST_PASSES {
                state.lose_all();
            }
            let mut inner = state.clone();
            if let Some(name) = name {
                inner.set(name, Value::Unknown);
            }
            if let Some(condition) = condition {
                self.script(&mut inner, condition);
            }
            self.script(&mut inner, body);
            self.come_back(&mut inner, since, &[Flow::Break, Flow::Continue]);
            let mut merged = state.clone();
            merged.merge(&inner);
            let settled = merged.agrees(state) || pass == MOST_PASSES;
            if !settled {
                self.host.forget(from);
                merged.running.retain(|start| *start < from);
            } else {
                self.host.repeated(from, &merged.running);
            }
            *state = merged;
            if settled {
                break;
            }
        }
        self.status = None;
    }

    /// The input that redirections give, and the file that they write.
    pub(super) fn redirects(
        &mut self,
        state: &mut State,
        all: &[Redirect],
    ) -> (Option<Text>, Option<(Text, bool)>) {
        let (mut input, mut output) = (None, None);
        for redirect in all {
            match redirect {
                Redirect::Document(body) => {
                    input = body.get().map(|word| self.text(state, word));
                }
                Redirect::String(word) => {
                    let mut text = self.text(state, word);
                    text.append(Text::known("\n"));
                    input = Some(text);
                }
                Redirect::In(word) => {
                    let name = self.text(state, word);
                    input = Some(
                        self.file(state, &name)
                            .unwrap_or_else(|| Text::unknown("file")),
                    );
                }
                Redirect::Out { target, append } => {
                    output = Some((self.text(state, target), *append));
                }
                Redirect::Other => {}
            }
        }
        (input, output)
    }

    /// The text of a file that the script wrote, or that is there.
    pub(in super::super) fn file(&mut self, state: &State, name: &Text) -> Option<Text> {
        if let Some(text) = state.files.get(&key(name)) {
            return text.clone();
        }
        let known = name.text().filter(|n| !n.is_empty())?;
        let place = match (known.starts_with(['/', '~']), state.folder.as_deref()?) {
            (true, _) | (_, "") => known,
            (_, folder) => format!("{folder}/{known}"),
        };
        self.host.read(&place).map(Text::known)
    }

    pub(super) fn assign(&mut self, state: &mut State, assign: &Assign) {
        let value = match &assign.value {
            Assigned::Word(word) => Value::Scalar(self.text(state, word)),
            Assigned::Array(words) => {
                let fields: Vec<Field> = words.iter().flat_map(|w| self.fields(state, w)).collect();
                // Entries that name their place are not counted one by one.
                let placed = |f: &Field| f.text.code().starts_with('[');
                if fields
                    .iter()
                    .any(|f| f.splits && f.text.follows().is_none() || placed(f))
                {
                    Value::Unknown
                } else {
                    Value::Array(fields.into_iter().map(|f| f.text).collect())
                }
            }
        };
        let former = state.vars.get(&assign.name).map(|v| v.value.clone());
        // What the job began with goes on to its programs whatever its new value is.
        let began = former.is_none() && matches!(self.host.variable(&assign.name), Some(Some(_)));
        let value = match (assign.append, &assign.index, former, value) {
            (_, Some(index), former, Value::Scalar(text)) => {
                let at = self
                    .arith(state, index)
                    .text()
                    .and_then(|t| t.parse::<usize>().ok());
                put_at(former, at, text)
            }
            (false, None, _, value) => value,
            (true, None, None | Some(Value::Unset), value) if !state.lost => value,
            (true, None, Some(Value::Scalar(mut old)), Value::Scalar(more)) => {
                old.append(more);
                Value::Scalar(old)
            }
            (true, None, Some(Value::Array(mut old)), Value::Array(more)) => {
                old.extend(more);
                Value::Array(old)
            }
            _ => Value::Unknown,
        };
        state.set(&assign.name, value);
        if began {
            state.export(&assign.name);
        }
    }

    fn simple(&mut self, state: &mut State, simple: &Simple) -> Flow {
        let piped = self.piped.take();
        let words = self.words(state, simple);
        let declares = words
            .first()
            .and_then(Field::word)
            .is_some_and(|w| super::builtin::declares(&w));
        if words.is_empty() || declares {
            simple.assigns.iter().for_each(|a| self.assign(state, a));
            self.status = Some(true);
            self.out = Some(Text::default());
        }
        let (input, output) = self.redirects(state, &simple.redirects);
        if words.is_empty() {
            return Flow::Next;
        }
        let call = Call {
            line: self.line.unwrap_or(simple.line),
            words,
            input: input.or(piped),
        };
        let flow = if declares || simple.assigns.is_empty() {
            self.call(state, &call)
        } else {
            self.with_variables(state, &simple.assigns, &call)
        };
        if let Some((target, append)) = output {
            self.write(state, &target, append);
        }
        flow
    }

    fn words(&mut self, state: &mut State, simple: &Simple) -> Vec<Field> {
        let mut out = Vec::new();
        let declares = simple
            .words
            .first()
            .and_then(|w| w.bare())
            .is_some_and(super::builtin::declares);
        for word in &simple.words {
            if declares {
                let text = self.text(state, word);
                out.push(Field {
                    text,
                    splits: false,
                });
            } else {
                out.extend(self.fields(state, word));
            }
        }
        out
    }

    /// `A=b COMMAND`
    fn with_variables(&mut self, state: &mut State, assigns: &[Assign], call: &Call) -> Flow {
        let former: Vec<_> = assigns
            .iter()
            .map(|a| (a.name.clone(), state.vars.get(&a.name).cloned()))
            .collect();
        for assign in assigns {
            self.assign(state, assign);
            state.export(&assign.name);
        }
        let flow = self.call(state, call);
        for (name, var) in former {
            match var {
                Some(var) => drop(state.vars.insert(name, var)),
                None => drop(state.vars.remove(&name)),
            }
        }
        flow
    }

    /// What the last command printed goes into a file.
    fn write(&mut self, state: &mut State, target: &Text, append: bool) {
        let printed = self.out.replace(Text::default());
        let key = key(target);
        let text = match (append, state.files.get(&key), printed) {
            (false, _, printed) => printed,
            (true, Some(Some(old)), Some(more)) => {
                let mut all = old.clone();
                all.append(more);
                Some(all)
            }
            _ => None,
        };
        state.files.insert(key, text);
    }

    /// Starts a command: one of the shell's own, a function, or a program.
    pub(super) fn call(&mut self, state: &mut State, call: &Call) -> Flow {
        self.status = None;
        self.out = None;
        let name = call.words.first().and_then(Field::word).unwrap_or_default();
        if let Some(bodies) = state.functions.get(&name).cloned() {
            let from = self.host.starts();
            let flow = self.any_of(state, &bodies, call);
            // A function that stands in for an engine counts as the engine.
            if self.host.starts() == from && self.host.is_known(&call.words) {
                self.status = H::command(self, state, call);
            }
            return flow;
        }
        if let Some(flow) = self.builtin(state, &name, call) {
            return flow;
        }
        self.out = self.filtered(state, &name, call);
        let out = self.out.take();
        self.status = H::command(self, state, call);
        self.out = out;
        Flow::Next
    }

    /// A function of which one of these bodies counts.
    fn any_of(&mut self, state: &mut State, bodies: &[Rc<Node>], call: &Call) -> Flow {
        if let [body] = bodies {
            return self.function(state, body, call);
        }
        let mut ways = Vec::new();
        for body in bodies {
            let mut inner = state.clone();
            let flow = self.function(&mut inner, body, call);
            ways.push((inner, flow));
        }
        self.either(state, ways)
    }

    fn function(&mut self, state: &mut State, body: &Node, call: &Call) -> Flow {
        if state.depth >= DEEPEST {
            self.host.not_understood(call.line);
            return Flow::Next;
        }
        let former = std::mem::replace(&mut state.arguments, arguments(call.words.get(1..)));
        let since = self.escapes.len();
        self.locals.push(Vec::new());
        state.depth += 1;
        self.piped.clone_from(&call.input);
        let flow = self.node(state, body);
        state.depth = state.depth.saturating_sub(1);
        self.come_back(state, since, &[Flow::Return]);
        for (name, var) in self.locals.pop().unwrap_or_default().into_iter().rev() {
            match var {
                Some(var) => drop(state.vars.insert(name, var)),
                None => drop(state.vars.remove(&name)),
            }
        }
        state.arguments = former;
        if flow == Flow::Exit { flow } else { Flow::Next }
    }
}

/// An array with one element set.
fn put_at(former: Option<Value>, at: Option<usize>, text: Text) -> Value {
    let Some(at) = at else { return Value::Unknown };
    let mut all = match former {
        None | Some(Value::Unset) => Vec::new(),
        Some(Value::Array(all)) => all,
        _ => return Value::Unknown,
    };
    match at.cmp(&all.len()) {
        std::cmp::Ordering::Less => {
            if let Some(old) = all.get_mut(at) {
                *old = text;
            }
            Value::Array(all)
        }
        std::cmp::Ordering::Equal => {
            all.push(text);
            Value::Array(all)
        }
        std::cmp::Ordering::Greater => Value::Unknown,
    }
}
