//! From a command to the program that it comes to: through wrappers, launchers, containers, shells
//! and files.

use super::super::bash::{Field, Host, Shell, State, Text, arguments};
use super::super::words::base;
use super::super::{engines, tools};
use super::contained::{self, Inside};
use super::way::Way;
use super::wrappers::{WRAPPERS, Wrapper, options_end, runs_engine, skip};
use super::{Interpreter, Own, Reader, Times, interpreter, python, reading, srun};

/// Deepest chain of wrappers that is followed.
const DEEPEST: u32 = 12;

/// Follows a command to what it starts.
pub(super) fn command(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    input: Option<&Text>,
    way: &Way,
) {
    let Some(first) = words.first() else { return };
    let texts: Vec<String> = words.iter().map(|w| w.text.code()).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let name = base(texts[0]);
    let mut way = way.clone();
    way.depth += 1;
    if way.depth > DEEPEST {
        shell.host.keep_unknown(state, name.to_owned(), &way);
        return;
    }
    if runs_engine(&texts) {
        return under_run(shell, state, words, &texts, input, &way);
    }
    if let Some((engine, taken)) = engines::at_start(&texts, false) {
        return reading::engine(
            shell,
            state,
            engine,
            words.get(taken..).unwrap_or_default(),
            &way,
        );
    }
    if first.word().is_none() {
        return scanned(shell, state, words, &texts, input, &way);
    }
    if name == "ray" {
        return ray(shell, &texts, &way, state);
    }
    if tools::is_tool(name) || tools::is_quiet(&texts) {
        return;
    }
    match name {
        "srun" | "mpirun" | "mpiexec" | "prun" | "orterun" | "mpiexec.hydra" => {
            launchers(shell, state, words, input, &way);
        }
        "bash" | "sh" | "zsh" | "dash" | "ksh" => self_shell(shell, state, words, input, &way),
        "python" | "python3" => python::command(shell, state, words, input, &way),
        _ if name.starts_with("python3.") => python::command(shell, state, words, input, &way),
        "ssh" | "pdsh" | "clush" => remote(shell, state, words, &texts, &way),
        "tmux" | "screen" => terminal(shell, state, words, &texts, &way),
        "xargs" | "parallel" => scanned(
            shell,
            state,
            words.get(1..).unwrap_or_default(),
            texts.get(1..).unwrap_or_default(),
            input,
            &way.any_number(),
        ),
        "docker" | "podman" | "nerdctl" | "podman-hpc" | "apptainer" | "singularity" | "enroot"
        | "shifter" | "sarus" | "ch-run" => in_container(shell, state, words, &texts, input, &way),
        _ => match WRAPPERS.iter().find(|w| w.name == name) {
            Some(wrapper) => wrapped(shell, state, wrapper, words, input, &way),
            None => program(shell, state, words, &texts, input, &way),
        },
    }
}

/// `srun A : B`, `mpirun A : B`: programs that run at the same time.
fn launchers(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    input: Option<&Text>,
    way: &Way,
) {
    let Some((launcher, rest)) = words.split_first() else {
        return;
    };
    let from = shell.host.starts();
    let parts = rest.split(|w| w.word().as_deref() == Some(":"));
    for (component, part) in (0..).zip(parts) {
        if component > 0 {
            shell.in_background(state, from);
        }
        let words = [std::slice::from_ref(launcher), part].concat();
        launched(shell, state, &words, input, way, component);
    }
}

/// One program behind its launcher's options; `component` counts those that `:` parts.
fn launched(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    input: Option<&Text>,
    way: &Way,
    component: u32,
) {
    let code = words.first().map_or_else(String::new, |w| w.text.code());
    let name = base(&code);
    let mut launched = srun::read(name, words, way);
    // Without a word of the component, nobody knows whether it is the first or this one.
    if name == "srun" && component > 0 && launched.way.het_groups == [0] {
        launched.way.het_groups.push(component);
    }
    let rest = words.get(launched.taken..).unwrap_or_default();
    // A file of programs, or what an image starts.
    if rest.is_empty() {
        shell
            .host
            .keep_unknown(state, name.to_owned(), &launched.way);
    }
    command(shell, state, rest, input, &launched.way);
}

/// The rest of a wrapper's words.
fn wrapped(
    shell: &mut Shell<Reader>,
    state: &mut State,
    wrapper: &Wrapper,
    words: &[Field],
    input: Option<&Text>,
    way: &Way,
) {
    let outer = state;
    let mut state = outer.clone();
    let taken = skip(words, wrapper.takes, wrapper.words, |name, value| {
        state.set(name, super::super::bash::Value::Scalar(value));
        state.export(name);
    });
    let options: Vec<String> = words.iter().take(taken).map(|w| w.text.code()).collect();
    let has = |all: &[&str]| options.iter().any(|w| all.contains(&w.as_str()));
    let mut way = way.clone();
    match wrapper.name {
        "env" => way.apart |= has(&["-i", "-", "--ignore-environment"]),
        "sudo" => way.apart |= !has(&["-E", "--preserve-env"]),
        // The tasks of a step are one engine's ranks.
        "trtllm-llmapi-launch" if way.times != Times::Unknown => way.times = Times::Once,
        _ => {}
    }
    let from = shell.host.starts();
    let rest = words.get(taken..).unwrap_or_default();
    if !rest.is_empty() {
        command(shell, &mut state, rest, input, &way);
    }
    let detaches = match wrapper.name {
        "setsid" => has(&["-f", "--fork"]),
        "systemd-run" => !has(&["--scope", "--wait", "-P", "--pipe", "-t", "--pty"]),
        _ => false,
    };
    if detaches {
        shell.in_background(outer, from);
    }
}

fn under_run(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    texts: &[&str],
    input: Option<&Text>,
    way: &Way,
) {
    const TAKES: [&str; 13] = [
        "--engine",
        "--interval",
        "--warmup",
        "--ready-url",
        "--metrics-url",
        "--ready-timeout",
        "--stop-grace",
        "--outcome",
        "--store",
        "--config",
        "--spool",
        "--note",
        "--run",
    ];
    let run = texts.iter().position(|w| *w == "run").unwrap_or(0);
    let options = words.get(run..).unwrap_or_default();
    let taken = skip(options, &TAKES, 0, |_, _| {});
    let named = texts
        .iter()
        .enumerate()
        .find_map(|(i, w)| match w.strip_prefix("--engine") {
            Some("") => texts.get(i + 1).map(|w| (*w).to_owned()),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        });
    let lost = way.apart && !way.passes_advice;
    let way = Way {
        under_run: (!lost).then(|| named.clone()),
        lost_advice: lost,
        ..way.clone()
    };
    let rest = options.get(taken..).unwrap_or_default();
    let kind = named.as_deref().and_then(super::super::EngineKind::parse);
    let own: Vec<String> = rest.iter().map(|w| w.text.code()).collect();
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    match kind.and_then(engines::of_kind) {
        // It is said which engine a program hands its arguments to.
        Some(engine) if super::super::EngineCommand::parse(&own).is_none() => {
            let serve = own.iter().position(|w| *w == "serve").unwrap_or(0);
            let args = rest.get(serve + 1..).unwrap_or_default();
            reading::engine(shell, state, engine, args, &way);
        }
        _ => command(shell, state, rest, input, &way),
    }
}

/// A shell: its `-c` text, its file, or what it reads.
fn self_shell(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    input: Option<&Text>,
    way: &Way,
) {
    let mut at = 1;
    let mut text = None;
    while let Some(field) = words.get(at) {
        let code = field.text.code();
        // It may bring options, a text or a file, unless it names what the script wrote.
        if field.splits && field.word().is_none() && shell.file(state, &field.text).is_none() {
            return shell.host.keep_unknown(state, "bash".into(), way);
        }
        if !code.starts_with(['-', '+']) || code == "-" {
            break;
        }
        at += 1;
        if code == "-s" || code == "--" {
            break;
        }
        if code == "-o"
            || code == "+o"
            || code == "-O"
            || code == "--rcfile"
            || code == "--init-file"
        {
            at += 1;
        } else if !code.starts_with("--") && code.contains('c') {
            text = words.get(at).map(|w| w.text.clone());
            at += 1;
            break;
        }
    }
    let rest = words.get(at..).unwrap_or_default();
    if let Some(text) = text {
        // The first word behind the text is `$0`.
        return shell_text(shell, state, &text, arguments(rest.get(1..)), way);
    }
    match (rest.first(), input) {
        (Some(file), _) => match shell.file(state, &file.text) {
            Some(text) => script_text(shell, state, &text, arguments(rest.get(1..)), way),
            None => shell.host.keep_unknown(state, file.text.code(), way),
        },
        (None, Some(text)) if !text.has_unknown() || text.0.len() > 1 => {
            shell_text(shell, state, text, Some(Vec::new()), way);
        }
        _ => shell.host.keep_unknown(state, "bash".into(), way),
    }
}

/// Shell text that is run by a shell of its own on this way.
fn shell_text(
    shell: &mut Shell<Reader>,
    state: &mut State,
    text: &Text,
    arguments: Option<Vec<Text>>,
    way: &Way,
) {
    let from = shell.host.starts();
    let mut inner = state.child(arguments);
    if way.apart {
        inner.vars.clear();
        inner.lost = true;
    }
    shell.inner(&mut inner, &text.code(), way.line);
    state.also_running(&inner);
    on_the_way(shell, from, way);
}

/// What was started since `from` was come to on this way.
fn on_the_way(shell: &mut Shell<Reader>, from: usize, way: &Way) {
    for start in shell.host.found.list.iter_mut().skip(from) {
        start.times = way.times.times(start.times);
        if start.het_groups == [0] {
            start.het_groups.clone_from(&way.het_groups);
        }
        if start.own == Own::All {
            start.own = way.own.clone();
        }
        if start.under_run && way.apart && !way.passes_advice {
            start.lose_advice();
        }
    }
}

/// A file that is run.
fn script_text(
    shell: &mut Shell<Reader>,
    state: &mut State,
    text: &Text,
    arguments: Option<Vec<Text>>,
    way: &Way,
) {
    match interpreter(&text.code()) {
        Interpreter::Shell => shell_text(shell, state, text, arguments, way),
        Interpreter::Python => python::script(shell, state, &text.code(), way),
        Interpreter::Other => shell.host.keep_unknown(state, "script".into(), way),
    }
}

/// A program that is in no table: a script that can be read, or an unknown start.
fn program(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    texts: &[&str],
    input: Option<&Text>,
    way: &Way,
) {
    let Some(first) = words.first() else { return };
    let name = texts.first().copied().unwrap_or_default();
    let plain = name.ends_with(".sh") || name.ends_with(".bash") || name.ends_with(".py");
    if (name.contains('/') || plain)
        && let Some(text) = shell.file(state, &first.text)
    {
        let code = text.code();
        if code.starts_with("#!") || name.ends_with(".sh") || name.ends_with(".bash") {
            return script_text(shell, state, &text, arguments(words.get(1..)), way);
        }
        if name.ends_with(".py") {
            return python::script(shell, state, &code, way);
        }
    }
    scanned(shell, state, words, texts, input, way);
}

/// A program that is not known, and may hand its words on: an engine among them is seen, but not
/// how often it is started.
fn scanned(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    texts: &[&str],
    input: Option<&Text>,
    way: &Way,
) {
    let hit = (0..texts.len()).find_map(|at| {
        let (engine, taken) = engines::at_start(texts.get(at..)?, false)?;
        Some((at, engine, taken))
    });
    if let Some((at, engine, taken)) = hit {
        // `$PYTHON -m vllm...` is the one launcher that is plain enough.
        let once = texts.get(at) == Some(&"-m") && at == 1;
        let way = if once {
            way.clone()
        } else {
            way.clone().any_number()
        };
        return reading::engine(
            shell,
            state,
            engine,
            words.get(at + taken..).unwrap_or_default(),
            &way,
        );
    }
    let inner = (1..texts.len()).find(|at| {
        let name = base(texts[*at]);
        matches!(
            name,
            "bash" | "sh" | "python" | "python3" | "srun" | "mpirun" | "torchrun"
        ) || runs_engine(texts.get(*at..).unwrap_or_default())
    });
    if let Some(at) = inner {
        return command(
            shell,
            state,
            words.get(at..).unwrap_or_default(),
            input,
            &way.clone().any_number(),
        );
    }
    shell.host.keep_told(state, words, way);
}

fn ray(shell: &mut Shell<Reader>, texts: &[&str], way: &Way, state: &State) {
    if texts.get(1) == Some(&"start") {
        shell.host.found.joins_nodes = true;
    } else if !tools::is_quiet(texts) {
        let shown = texts.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        shell.host.keep_unknown(state, shown, way);
    }
}

/// `ssh HOST COMMAND`: how many of them is not known, and neither is what it begins with.
fn remote(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    texts: &[&str],
    way: &Way,
) {
    const TAKES: [&str; 14] = [
        "-i", "-l", "-o", "-p", "-L", "-R", "-D", "-F", "-J", "-w", "-b", "-g", "-c", "-S",
    ];
    let tunnel = texts
        .iter()
        .any(|w| w.starts_with('-') && w.contains('N') && w.len() < 6);
    let taken = skip(words, &TAKES, 1, |_, _| {});
    let rest = words.get(taken..).unwrap_or_default();
    if rest.is_empty() && tunnel {
        return;
    }
    let texts: Vec<String> = rest.iter().map(|w| w.text.code()).collect();
    let way = Way {
        apart: true,
        ..way.clone()
    }
    .any_number();
    let input = Text::known(texts.join(" "));
    if rest.is_empty() {
        return shell.host.keep_unknown(state, "ssh".into(), &way);
    }
    shell_text(shell, state, &input, None, &way);
}

/// `tmux new-session ... COMMAND`, `tmux send-keys ... COMMAND Enter`, `screen -dm COMMAND`: a text
/// that a shell runs beside the script.
fn terminal(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    texts: &[&str],
    way: &Way,
) {
    const TAKES: [&str; 14] = [
        "-s", "-n", "-t", "-c", "-e", "-x", "-y", "-F", "-S", "-L", "-f", "-dmS", "-Logfile", "-p",
    ];
    let screen = texts.first().is_some_and(|w| w.ends_with("screen"));
    let taken = options_end(words, &TAKES, usize::from(!screen));
    let mut rest = words.get(taken..).unwrap_or_default().to_vec();
    let keys = ["Enter", "C-m", "ENTER"];
    rest.retain(|w| !w.word().is_some_and(|w| keys.contains(&w.as_str())));
    let from = shell.host.starts();
    match rest.as_slice() {
        [] => {}
        // Several words are the program itself, unless they are typed.
        [_, _, ..] if screen || texts.get(1).is_some_and(|w| w.starts_with("new")) => {
            command(shell, state, &rest, None, way);
        }
        words => {
            let text: Vec<String> = words.iter().map(|w| w.text.code()).collect();
            shell_text(shell, state, &Text::known(text.join(" ")), None, way);
        }
    }
    shell.in_background(state, from);
}

/// An image that starts an engine by itself, or a command in a container.
fn in_container(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    texts: &[&str],
    input: Option<&Text>,
    way: &Way,
) {
    let found = contained::contained(texts);
    let way = Way {
        own: found.own.unwrap_or_else(|| way.own.clone()),
        apart: way.apart || found.apart,
        passes_advice: way.passes_advice || found.passes_advice,
        ..way.clone()
    };
    let from = shell.host.starts();
    let rest = |at: usize| words.get(at..).unwrap_or_default();
    match found.starts {
        Inside::Engine(engine, first) => reading::engine(shell, state, engine, rest(first), &way),
        Inside::Command(at) => command(shell, state, rest(at), input, &way),
        Inside::Tool => {}
        Inside::Unknown => {
            let shown = texts.iter().take(2).copied().collect::<Vec<_>>().join(" ");
            shell.host.keep_unknown(state, shown, &way);
        }
    }
    if found.detached {
        shell.in_background(state, from);
    }
}
