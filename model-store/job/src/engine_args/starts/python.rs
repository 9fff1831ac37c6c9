//! Programs in Python: an engine's module, a file that can be read, or an unknown start.

use super::super::bash::Follows;
use super::super::bash::{Field, Host, Piece, Shell, State, Text};
use super::super::{engines, tools};
use super::way::Way;
use super::{Own, Reader, reading};

/// Words of a program that starts others, or the same one several times.
const STARTERS: [&str; 17] = [
    "subprocess",
    "os.system",
    "popen",
    "os.exec",
    "os.spawn",
    "os.fork",
    "multiprocessing",
    "Process(",
    "PoolExecutor",
    "exec(",
    "eval(",
    "__import__",
    "importlib",
    "create_subprocess",
    "ray.",
    "pty.spawn",
    "runpy",
];

/// `python ...`
pub(super) fn command(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    input: Option<&Text>,
    way: &Way,
) {
    let mut at = 1;
    while let Some(field) = words.get(at) {
        let code = field.text.code();
        let rest = words.get(at..).unwrap_or_default();
        match code.as_str() {
            "-m" => return module(shell, state, rest, way),
            "-c" => {
                let text = words.get(at + 1).map(|f| f.text.code()).unwrap_or_default();
                return script(shell, state, &text, way);
            }
            "-X" | "-W" => at += 2,
            "-V" | "--version" | "-h" | "--help" => return,
            "-" => break,
            flag if flag.starts_with('-') => at += 1,
            _ => return file(shell, state, rest, way),
        }
    }
    match input.and_then(Text::text) {
        Some(text) => script(shell, state, &text, way),
        None => shell.host.keep_unknown(state, "python".into(), way),
    }
}

/// `-m MODULE ...`
fn module(shell: &mut Shell<Reader>, state: &mut State, words: &[Field], way: &Way) {
    let texts: Vec<String> = words.iter().map(|w| w.text.code()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    if let Some((engine, taken)) = engines::at_start(&texts, false) {
        return reading::engine(
            shell,
            state,
            engine,
            words.get(taken..).unwrap_or_default(),
            way,
        );
    }
    let name = texts.get(1).copied().unwrap_or_default();
    if !tools::is_quiet_module(name) {
        shell
            .host
            .keep_unknown(state, format!("python -m {name}"), way);
    }
}

/// `FILE ...`
fn file(shell: &mut Shell<Reader>, state: &mut State, words: &[Field], way: &Way) {
    let Some(first) = words.first() else { return };
    match shell.file(state, &first.text).map(|t| t.code()) {
        Some(text) => {
            let from = shell.host.starts();
            script(shell, state, &text, way);
            name_them(shell, from, &first.text.code());
        }
        None => {
            let named = [&[Field::known("python")], words].concat();
            shell.host.keep_told(state, &named, way);
        }
    }
}

fn name_them(shell: &mut Shell<Reader>, from: usize, name: &str) {
    for start in shell.host.found.list.iter_mut().skip(from) {
        if let super::Program::Unknown(program) = &mut start.program {
            *program = format!("python {name}");
        }
    }
}

/// A Python program: no start where it needs nothing but libraries that start nothing, vLLM's where
/// it makes one `LLM`, and an unknown one else.
pub(super) fn script(shell: &mut Shell<Reader>, state: &State, text: &str, way: &Way) {
    looks(shell, text);
    let needs: Vec<&str> = text.split(['\n', ';']).flat_map(needed).collect();
    let other = |name: &&str| !tools::is_library(name);
    let starts = STARTERS.iter().any(|w| text.contains(w));
    if !starts && only_asks(text, &needs) {
        return;
    }
    if !starts && !needs.iter().any(other) {
        return;
    }
    let harmless =
        |name: &&str| tools::is_library(name) || ["vllm", "torch", "transformers"].contains(name);
    let one = text.matches("LLM(").count() == 1 && !text.contains("class ");
    let known = !starts && one && needs.contains(&"vllm") && needs.iter().all(harmless);
    let sets = text.contains("VISIBLE_DEVICES");
    match arguments(text).filter(|_| known) {
        Some(args) => {
            let mut way = way.clone();
            if sets {
                way.own = Own::Unknown;
            }
            if let Some(engine) = engines::of_kind(super::EngineKind::Vllm) {
                reading::engine(
                    shell,
                    &mut state.clone(),
                    engine,
                    &args,
                    &Way {
                        under_run: None,
                        ..way
                    },
                );
            }
        }
        None => shell.host.keep_unknown(state, "python".into(), way),
    }
}

/// What a program says of the job's GPUs: that it compares their number, or looks at what they are.
fn looks(shell: &mut Shell<Reader>, text: &str) {
    const COUNT: &str = "device_count()";
    const KINDS: [&str; 3] = [
        "get_device_name",
        "get_device_capability",
        "get_device_properties",
    ];
    let compared = |rest: &&str| {
        let rest = rest.trim_start();
        ["==", "!=", "<", ">"].iter().any(|op| rest.starts_with(op))
    };
    if text.split(COUNT).skip(1).any(|rest| compared(&rest)) {
        shell.host.counts_gpus();
    }
    if KINDS.iter().any(|word| text.contains(word)) {
        shell.host.looks_at_gpus();
    }
}

/// True for a line that asks libraries about themselves, such as their version.
fn only_asks(text: &str, needs: &[&str]) -> bool {
    const MAKES: [&str; 6] = [
        "LLM(",
        "Engine",
        "from_pretrained",
        "pipeline(",
        ".to(",
        ".cuda(",
    ];
    let known = |name: &&str| {
        tools::is_library(name) || ["vllm", "sglang", "torch", "transformers"].contains(name)
    };
    let short = text.len() < 300 && text.contains("print(");
    short && needs.iter().all(known) && !MAKES.iter().any(|w| text.contains(w))
}

/// The libraries that a line needs, by the first part of their names.
fn needed(line: &str) -> Vec<&str> {
    let line = line.trim().split('#').next().unwrap_or_default();
    let top = |name: &str| -> Option<usize> { name.find(['.', ' ', ',', ';']) };
    if let Some(rest) = line.strip_prefix("from ") {
        return vec![
            rest.get(..top(rest).unwrap_or(rest.len()))
                .unwrap_or_default(),
        ];
    }
    let Some(rest) = line.strip_prefix("import ") else {
        return Vec::new();
    };
    rest.split(',')
        .map(str::trim)
        .map(|name| {
            name.get(..top(name).unwrap_or(name.len()))
                .unwrap_or_default()
        })
        .collect()
}

/// The arguments of the one `LLM(...)` as those of vLLM's command; `None` where they cannot be
/// taken apart.
fn arguments(text: &str) -> Option<Vec<Field>> {
    let at = text.find("LLM(")?;
    let before = text.get(..at)?.chars().last();
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let inside = bracketed(text.get(at + 3..)?)?;
    let mut out = Vec::new();
    for (n, part) in split(inside)?.into_iter().enumerate() {
        let part = part.trim();
        if part.is_empty() {
            continue;
        }
        let named = part.split_once('=').filter(|(name, rest)| {
            let plain = name.trim().chars().all(|c| c == '_' || c.is_alphanumeric());
            plain && !rest.starts_with('=')
        });
        let (flag, value) = match named {
            Some((name, value)) => (name.trim().to_owned(), value.trim()),
            None if n == 0 && !part.starts_with('*') => ("model".to_owned(), part),
            None => return None,
        };
        let mut word = Text::known(format!("--{flag}="));
        match value_of(text, value) {
            Some(text) => word.append(text),
            None => continue,
        }
        out.push(Field {
            text: word,
            splits: false,
        });
    }
    Some(out)
}

/// The text between a bracket and the one that closes it.
fn bracketed(text: &str) -> Option<&str> {
    let (mut depth, mut quote) = (0_u32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return text.get(1..at);
        }
    }
    None
}

/// Parts between commas that stand in no bracket.
fn split(text: &str) -> Option<Vec<&str>> {
    let (mut out, mut from, mut depth, mut quote) = (Vec::new(), 0, 0_u32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(q), _) if q == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '#') => return None,
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.checked_sub(1)?,
            (None, ',') if depth == 0 => {
                out.push(text.get(from..at)?);
                from = at + 1;
            }
            _ => {}
        }
    }
    out.push(text.get(from..)?);
    Some(out)
}

/// The value of an expression; `None` where it stands for nothing said.
fn value_of(text: &str, value: &str) -> Option<Text> {
    let follows = |what| Some(Text(vec![Piece::Follows(what)]));
    let plain =
        !value.contains(['+', '*', '/', '%']) && !value.contains(" - ") && !value.contains(" if ");
    if value == "None" {
        return None;
    }
    if let Some(known) = literal(value) {
        return Some(Text::known(known));
    }
    if value == "torch.cuda.device_count()" || (plain && value.contains("SLURM_GPUS_ON_NODE")) {
        return follows(Follows::Gpus);
    }
    if plain && value.contains("SLURM_LLM_TP") {
        return follows(Follows::Degree);
    }
    // A name that the program sets once, to a literal.
    let sets = |line: &str| {
        line.trim_start()
            .strip_prefix(value)
            .map(str::trim_start)
            .and_then(|l| l.strip_prefix('=').map(str::to_owned))
    };
    let mut all = text.lines().filter_map(sets);
    let one = all
        .next()
        .filter(|_| all.next().is_none() && !value.is_empty());
    let known = one.and_then(|l| literal(l.split('#').next().unwrap_or_default().trim()));
    // Loops and functions may set it too.
    let elsewhere = [
        format!("for {value} "),
        format!("{value} +="),
        format!("global {value}"),
        format!("{value} :="),
    ];
    let once = !elsewhere.iter().any(|w| text.contains(w.as_str()));
    Some(
        known
            .filter(|_| once)
            .map_or_else(|| Text::unknown("python"), Text::known),
    )
}

fn literal(value: &str) -> Option<String> {
    if value.parse::<f64>().is_ok() {
        return Some(value.to_owned());
    }
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = value.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inner.contains([quote, '\\'])).then(|| inner.to_owned())
}
