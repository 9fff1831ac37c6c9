//! From an engine's arguments to what they say of its settings.

use std::collections::BTreeMap;

use crate::advisor::{Limits, Precision};
use crate::quantity::tokens;

use super::super::bash::{Field, Follows, Piece, Shell, State, Text, Value};
use super::super::command::{precision_of, values_of};
use super::super::config_file;
use super::super::engines::{self, Engine, Untold};
use super::super::flags::Setting;
use super::way::Way;
use super::{Own, Program, Reader, Start, Stated};

/// The smallest share of the memory with which what fits is worked out; an engine that takes less
/// may not hold it.
const SMALLEST_SHARE: f64 = 0.85;

/// Keeps the start of an engine with these arguments.
pub(super) fn engine(
    shell: &mut Shell<Reader>,
    state: &mut State,
    engine: &'static Engine,
    args: &[Field],
    way: &Way,
) {
    let mut args = args.to_vec();
    let hidden = put_file_in(shell, state, engine, &mut args);
    let mut said = Said::of(engine, &args);
    said.hidden = hidden;
    for (setting, name) in engine.variables {
        if !said.last.contains_key(setting) && state.vars.contains_key(*name) {
            let value = shell
                .variable(state, name)
                .unwrap_or_else(|| Text::unknown(name));
            said.last.insert(*setting, (Some(value), 0));
        }
    }
    let told = way.under_run.is_some() && engine.kind.is_some();
    let own = match said.placed {
        true => Own::Unknown,
        false => visible(shell, state).unwrap_or_else(|| way.own.clone()),
    };
    let line = way.line;
    let mut start = Start {
        own,
        under_run: told,
        tp: said.number(Setting::Tp, line),
        pp: said.number(Setting::Pp, line),
        dp: said.number(Setting::Dp, line),
        nodes: said.number(Setting::Nodes, line),
        context: said.context(line),
        model: said.model(line),
        limits: said.limits,
        ..way.start(Program::of(engine))
    };
    (start.format, start.own_checkpoint) = said.format(engine, &start.model, line);
    if way.lost_advice {
        start.tp = or_unknown(start.tp);
    }
    if told {
        start.tp = or_advised(start.tp);
        start.context = or_advised(start.context);
        start.format = or_advised(start.format);
    }
    match (engine.untold, &start.tp) {
        (Untold::All, Stated::Unsaid) => start.tp = Stated::Gpus,
        (Untold::Itself, Stated::Unsaid) => start.tp = Stated::Unknown,
        _ => {}
    }
    if said.odd_memory() || engine.own_files {
        start.format = Stated::Unknown;
    }
    shell.host.keep(state, start);
}

fn or_advised<T>(stated: Stated<T>) -> Stated<T> {
    match stated {
        Stated::Unsaid => Stated::Advised,
        other => other,
    }
}

/// For `omnipilot run` where no variable of the job reaches it.
fn or_unknown<T>(stated: Stated<T>) -> Stated<T> {
    match stated {
        Stated::Unsaid => Stated::Unknown,
        other => other,
    }
}

/// The GPUs that variables leave an engine to see; `None` for all.
fn visible(shell: &mut Shell<Reader>, state: &State) -> Option<Own> {
    const NAMES: [&str; 6] = [
        "CUDA_VISIBLE_DEVICES",
        "NVIDIA_VISIBLE_DEVICES",
        "HIP_VISIBLE_DEVICES",
        "ROCR_VISIBLE_DEVICES",
        "APPTAINERENV_CUDA_VISIBLE_DEVICES",
        "SINGULARITYENV_CUDA_VISIBLE_DEVICES",
    ];
    let set = NAMES
        .into_iter()
        .find(|n| state.vars.get(*n).is_some_and(|v| v.value != Value::Unset))?;
    let Some(text) = shell.variable(state, set) else {
        return Some(Own::Unknown);
    };
    if text.follows().is_some_and(Follows::lists) {
        return None;
    }
    let known = text.text().unwrap_or_default();
    if known == "all" {
        return None;
    }
    let list: Option<Vec<u32>> = known.split(',').map(|n| n.trim().parse().ok()).collect();
    Some(
        list.filter(|l| !l.is_empty())
            .map_or(Own::Unknown, Own::Devices),
    )
}

/// Puts the settings of a file where they count: before the other arguments, which overrule them,
/// or behind them, where the file wins. True where there is such a file and it cannot be read.
fn put_file_in(
    shell: &mut Shell<Reader>,
    state: &State,
    engine: &Engine,
    args: &mut Vec<Field>,
) -> bool {
    let Some(file) = engine.file else {
        return false;
    };
    let found = args.iter().enumerate().find_map(|(i, field)| {
        let (flag, inline) = flag_of(&field.text)?;
        if !file.flags.contains(&flag.as_str()) {
            return None;
        }
        match inline {
            Some(name) => Some((i, 1, name)),
            None => Some((i, 2, args.get(i + 1)?.text.clone())),
        }
    });
    let Some((at, taken, name)) = found else {
        return false;
    };
    let text = shell.file(state, &name).and_then(|t| t.text());
    args.drain(at..(at + taken).min(args.len()));
    let Some(text) = text else { return true };
    let settings: Vec<Field> = config_file::arguments(&text)
        .into_iter()
        .map(Field::known)
        .collect();
    let by_place = args
        .first()
        .is_some_and(|f| !f.text.code().starts_with('-'));
    let place = if file.wins {
        args.len()
    } else {
        usize::from(by_place && at > 0)
    };
    args.splice(place..place, settings);
    false
}

/// A flag, and its value where it stands in the same word.
fn flag_of(text: &Text) -> Option<(String, Option<Text>)> {
    let Piece::Known(first) = text.0.first()? else {
        return None;
    };
    if !first.starts_with('-') {
        return None;
    }
    let Some((flag, value)) = first.split_once('=') else {
        return (text.0.len() == 1).then(|| (first.clone(), None));
    };
    let mut rest = Text::default();
    if !value.is_empty() {
        rest.append(Text::known(value));
    }
    rest.append(Text(text.0.iter().skip(1).cloned().collect()));
    Some((flag.to_owned(), Some(rest)))
}

/// What the arguments say.
struct Said {
    /// The last value of each setting, and where it stands; no value where the command ends.
    last: BTreeMap<Setting, (Option<Text>, usize)>,
    /// The last place at which a variable may bring any arguments.
    loose: Option<usize>,
    /// The last place at which the advised arguments stand.
    told: Option<usize>,
    /// Options that change what fits.
    memory: bool,
    /// Options that say on which GPU it begins.
    placed: bool,
    /// What it is started with beside its settings.
    limits: Limits,
    /// The engine's file of settings could not be read.
    hidden: bool,
    wins: bool,
}

impl Said {
    fn of(engine: &Engine, args: &[Field]) -> Self {
        let mut said = Self {
            last: BTreeMap::new(),
            loose: None,
            told: None,
            memory: false,
            placed: false,
            limits: Limits::default(),
            hidden: false,
            wins: engine.file.is_some_and(|f| f.wins),
        };
        let mut at = 0;
        while let Some(field) = args.get(at) {
            at += said.word(engine, args, field, at);
        }
        said
    }

    /// Takes the word at a place; gives how many words that are.
    fn word(&mut self, engine: &Engine, args: &[Field], field: &Field, at: usize) -> usize {
        if field.text.follows() == Some(Follows::Args) {
            self.told = Some(at);
            return 1;
        }
        if let Some((flag, inline)) = flag_of(&field.text) {
            return self.flag(engine, args, &flag, inline, at);
        }
        let known = field.word();
        if known.is_none() && field.splits {
            // A variable in the place of the model is the model, unless its name says otherwise.
            let name = field.text.code().to_ascii_uppercase();
            let list = ["ARG", "OPT", "FLAG", "PARAM", "EXTRA", "CONFIG", "CMD"]
                .iter()
                .any(|w| name.contains(w));
            let whole =
                !matches!(field.text.0.as_slice(), [Piece::Unknown(n)] if n == "@" || n == "*");
            if at > 0 || list || !whole || !engine.model_by_place {
                self.loose = Some(at);
                return 1;
            }
        }
        if engine.model_by_place && !self.last.contains_key(&Setting::Model) {
            self.last
                .insert(Setting::Model, (Some(field.text.clone()), at));
        }
        1
    }

    fn flag(
        &mut self,
        engine: &Engine,
        args: &[Field],
        flag: &str,
        inline: Option<Text>,
        at: usize,
    ) -> usize {
        let plain = engines::plain(flag);
        self.memory |= engines::MEMORY.contains(&plain.as_str());
        self.placed |= engines::PLACE.contains(&plain.as_str());
        let next = args
            .get(at + 1)
            .filter(|f| !f.word().is_some_and(|w| w.starts_with("--")));
        let value = inline.clone().or_else(|| next.map(|f| f.text.clone()));
        if engines::SHARE.iter().any(|s| engines::plain(s) == plain) {
            let share = value
                .as_ref()
                .and_then(Text::text)
                .and_then(|t| t.parse::<f64>().ok());
            self.memory |= share.is_none_or(|s| s < SMALLEST_SHARE);
            self.limits.memory_share = share.filter(|s| (SMALLEST_SHARE..=1.0).contains(s));
        }
        self.numbers(&plain, value.as_ref());
        if let Some(setting) = engine.setting_or_beginning(flag) {
            let two = inline.is_none() && value.is_some();
            self.last.insert(setting, (value, at));
            return 1 + usize::from(two);
        }
        if inline.is_some() {
            return 1;
        }
        // The values of other flags are nobody's business, be they what they may.
        let is_value = |f: &&Field| !f.word().is_some_and(|w| w.starts_with('-'));
        let values = args
            .iter()
            .skip(at + 1)
            .take(values_of(flag))
            .take_while(is_value)
            .count();
        1 + values
    }

    /// Takes what else decides about memory at the start.
    fn numbers(&mut self, plain: &str, value: Option<&Text>) {
        let stands = |options: &[&str]| options.iter().any(|o| engines::plain(o) == plain);
        let Some((name, _)) = engines::NUMBERS.iter().find(|(_, o)| stands(o)) else {
            return;
        };
        let text = match *name {
            "enforce_eager" => "yes".into(),
            _ => value.and_then(Text::text).unwrap_or_default(),
        };
        let read = Limits::in_notes(&format!("{name}={text}"));
        self.limits = Limits {
            sequences: read.sequences.or(self.limits.sequences),
            batched_tokens: read.batched_tokens.or(self.limits.batched_tokens),
            eager: read.eager.or(self.limits.eager),
            ..self.limits
        };
    }

    /// What it means that a setting stands at a place, or nowhere: a variable behind it may say
    /// something else, and so may a file that was not read.
    fn silence<T>(&self, at: Option<usize>) -> Option<Stated<T>> {
        if self
            .loose
            .is_some_and(|loose| at.is_none_or(|at| loose > at))
            || (self.hidden && (at.is_none() || self.wins))
        {
            return Some(Stated::Unknown);
        }
        None
    }

    fn number(&self, setting: Setting, line: u32) -> Stated<u32> {
        let entry = self.last.get(&setting);
        let at = entry.map(|(_, at)| *at);
        if let Some(stated) = self.silence(at) {
            return stated;
        }
        let advised =
            setting == Setting::Tp && self.told.is_some_and(|told| at.is_none_or(|at| told > at));
        if advised {
            return Stated::Advised;
        }
        match entry {
            None => Stated::Unsaid,
            Some((None, _)) => Stated::Unknown,
            Some((Some(text), _)) => {
                match (text.follows(), text.text().map(|t| t.trim().parse())) {
                    (Some(Follows::Degree), _) if setting == Setting::Tp => Stated::Advised,
                    (Some(Follows::Gpus), _) if setting == Setting::Tp => Stated::Gpus,
                    (_, Some(Ok(value))) if value > 0 => Stated::Known { value, line },
                    _ => Stated::Unknown,
                }
            }
        }
    }

    fn context(&self, line: u32) -> Stated<u64> {
        let entry = self.last.get(&Setting::MaxLen);
        let at = entry.map(|(_, at)| *at);
        if let Some(stated) = self.silence(at) {
            return stated;
        }
        if self.told.is_some_and(|told| at.is_none_or(|at| told > at)) {
            return Stated::Advised;
        }
        let Some((text, _)) = entry else {
            return Stated::Unsaid;
        };
        match text.as_ref().and_then(Text::text).as_deref().map(str::trim) {
            // The engine takes what fits.
            Some("auto" | "-1") => Stated::Advised,
            Some(text) => {
                let whole = tokens(text).filter(|value| value.fract() == 0.0);
                whole.map_or(Stated::Unknown, |value| Stated::Known {
                    value: value as u64,
                    line,
                })
            }
            None => Stated::Unknown,
        }
    }

    fn model(&self, line: u32) -> Stated<String> {
        match self.last.get(&Setting::Model) {
            None if self.loose.is_some() || self.hidden => Stated::Unknown,
            None => Stated::Unsaid,
            Some((text, _)) => match text.as_ref().and_then(Text::text) {
                Some(value) if !value.is_empty() => Stated::Known { value, line },
                _ => Stated::Unknown,
            },
        }
    }

    /// The weight format, and whether it is that of a checkpoint which the script names.
    fn format(
        &self,
        engine: &Engine,
        model: &Stated<String>,
        line: u32,
    ) -> (Stated<Precision>, bool) {
        let entry = |setting| self.last.get(&setting);
        let quantization = entry(Setting::Quantization);
        let dtype = entry(Setting::Dtype);
        let at = quantization.or(dtype).map(|(_, at)| *at);
        if let Some(stated) = self.silence(at) {
            return (stated, false);
        }
        let text = |entry: Option<&(Option<Text>, usize)>| {
            entry.map(|(text, _)| text.as_ref().and_then(Text::text))
        };
        if let Some((Some(value), _)) = quantization
            && value.follows() == Some(Follows::Format)
        {
            return (Stated::Advised, false);
        }
        let (method, kind) = (text(quantization), text(dtype));
        if method == Some(None) || (method.is_none() && kind == Some(None)) {
            return (Stated::Unknown, false);
        }
        let method = method.flatten();
        let name = model.known();
        if name.as_deref().is_some_and(|n| n.ends_with(".gguf")) {
            return (Stated::Unknown, false);
        }
        let stated = precision_of(
            method.as_deref(),
            name.as_deref(),
            kind.flatten().as_deref(),
        );
        let by_name = precision_of(None, name.as_deref(), None).is_some();
        let made = method.as_deref().is_some_and(|m| made_from_any(engine, m));
        match stated {
            // A type alone leaves the quantisation to what the advice brings.
            Some(_) if method.is_none() && !by_name && self.told.is_some() => {
                (Stated::Advised, false)
            }
            Some(value) => (
                Stated::Known { value, line },
                by_name || (method.is_some() && !made),
            ),
            None if method.is_some() => (Stated::Unknown, false),
            None if self.told.is_some() => (Stated::Advised, false),
            None => (Stated::Unsaid, false),
        }
    }

    fn odd_memory(&self) -> bool {
        self.memory
    }
}

/// True for a method that the engine carries out on an ordinary checkpoint while it loads.
fn made_from_any(engine: &Engine, method: &str) -> bool {
    let Some(kind) = engine.kind else {
        return false;
    };
    let format = precision_of(Some(method), None, None);
    format.is_some_and(|f| super::super::made_at_load(kind, f))
}
