//! From a command to the program that it comes to: through wrappers, launchers, containers, shells
//! and files.

use super::super::bash::{Field, Host, Shell, State, Text, arguments};
use super::super::{container, engines, tools};
use super::{
    Interpreter, Own, Program, Reader, Start, Stated, Times, interpreter, python, reading, srun,
};
use crate::advisor::Limits;

/// Deepest chain of wrappers that is followed.
const DEEPEST: u32 = 12;

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

/// A program that starts another one.
struct Wrapper {
    name: &'static str,
    /// Options whose value is the next word.
    takes: &'static [&'static str],
    /// Words before the command that are no options.
    words: usize,
}

const fn wrapper(name: &'static str, takes: &'static [&'static str], words: usize) -> Wrapper {
    Wrapper { name, takes, words }
}

/// Programs that start the rest of their words, once.
const WRAPPERS: [Wrapper; 38] = [
    wrapper("env", &["-u", "--unset", "-C", "--chdir"], 0),
    wrapper("exec", &["-a"], 0),
    wrapper("command", &[], 0),
    wrapper("builtin", &[], 0),
    wrapper("time", &["-f", "-o", "--format", "--output"], 0),
    wrapper("nohup", &[], 0),
    wrapper("setsid", &[], 0),
    wrapper("nice", &["-n", "--adjustment"], 0),
    wrapper("ionice", &["-c", "-n", "--class", "--classdata"], 0),
    wrapper("chrt", &[], 1),
    wrapper("stdbuf", &["-i", "-o", "-e"], 0),
    wrapper("unbuffer", &[], 0),
    wrapper("timeout", &["-k", "-s", "--kill-after", "--signal"], 1),
    wrapper("numactl", &["-N", "-m", "-i", "-C", "-p", "-l"], 0),
    wrapper("taskset", &["-c", "--cpu-list", "-p"], 0),
    wrapper("sudo", &["-u", "-g", "-h", "-p"], 0),
    wrapper("flock", &["-w", "-E", "--timeout"], 1),
    wrapper("catchsegv", &[], 0),
    wrapper("strace", &["-o", "-e", "-p", "-s"], 0),
    wrapper("nsys", &["-o", "-t", "--trace", "--output"], 1),
    wrapper("ncu", &["-o", "--set"], 0),
    wrapper("tini", &[], 0),
    wrapper("dumb-init", &[], 0),
    wrapper(
        "uv",
        &[
            "--with",
            "--python",
            "-p",
            "--project",
            "--extra",
            "--directory",
            "--group",
            "--env-file",
        ],
        1,
    ),
    wrapper("uvx", &["--with", "--python", "-p", "--from"], 0),
    wrapper("conda", &["-n", "-p", "--name", "--prefix", "--cwd"], 1),
    wrapper("mamba", &["-n", "-p", "--name", "--prefix"], 1),
    wrapper("micromamba", &["-n", "-p", "-r", "--name", "--prefix"], 1),
    wrapper("poetry", &["-C", "-P"], 1),
    wrapper("pipenv", &[], 1),
    wrapper("pixi", &["-e", "--environment", "--manifest-path"], 1),
    wrapper("pdm", &["-p"], 1),
    wrapper("hatch", &["-e"], 1),
    wrapper("rye", &[], 1),
    wrapper("trtllm-llmapi-launch", &[], 0),
    wrapper("watch", &["-n", "-d"], 0),
    wrapper("prlimit", &[], 0),
    wrapper("systemd-run", &["-p", "-u", "--unit"], 0),
];

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
    let name = super::super::command::base(texts[0]);
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
            let launched = srun::read(name, words, &way);
            let rest = words.get(launched.taken..).unwrap_or_default();
            // A file of programs, or what an image starts.
            if rest.is_empty() {
                shell
                    .host
                    .keep_unknown(state, name.to_owned(), &launched.way);
            }
            command(shell, state, rest, input, &launched.way);
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
        | "shifter" | "sarus" | "ch-run" => contained(shell, state, words, &texts, input, &way),
        _ => match WRAPPERS.iter().find(|w| w.name == name) {
            Some(wrapper) => wrapped(shell, state, wrapper, words, input, &way),
            None => program(shell, state, words, &texts, input, &way),
        },
    }
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

/// How many words of a wrapper come before its command.
fn skip(
    words: &[Field],
    takes: &[&str],
    mut values: usize,
    mut set: impl FnMut(&str, Text),
) -> usize {
    let mut at = 1;
    while let Some(field) = words.get(at) {
        let code = field.text.code();
        if code == "--" {
            return at + 1;
        }
        if code.starts_with('-') && code.len() > 1 {
            at += 1 + usize::from(takes.contains(&code.as_str()));
        } else if let Some((name, value)) = assignment(&field.text) {
            set(&name, value);
            at += 1;
        } else if values > 0 {
            values -= 1;
            at += 1;
        } else {
            return at;
        }
    }
    at
}

/// `NAME=value` as an argument.
pub(super) fn assignment(text: &Text) -> Option<(String, Text)> {
    let super::super::bash::Piece::Known(first) = text.0.first()? else {
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

/// True for `omnipilot run`, under whatever path or variable it is named.
fn runs_engine(texts: &[&str]) -> bool {
    let named = texts.first().is_some_and(|w| {
        super::super::command::base(w)
            .to_ascii_lowercase()
            .contains("omnipilot")
    });
    named && texts.iter().skip(1).take(6).any(|w| *w == "run")
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
        let name = super::super::command::base(texts[*at]);
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

/// How many words come before a text: the program, so many others, and options.
fn options_end(words: &[Field], takes: &[&str], others: usize) -> usize {
    let mut at = 1 + others;
    while let Some(field) = words.get(at) {
        let code = field.text.code();
        if code == "--" {
            return at + 1;
        }
        if !code.starts_with('-') || code.len() < 2 {
            return at;
        }
        at += 1 + usize::from(takes.contains(&code.as_str()));
    }
    at
}

/// An image that starts an engine by itself, or a command in a container.
fn contained(
    shell: &mut Shell<Reader>,
    state: &mut State,
    words: &[Field],
    texts: &[&str],
    input: Option<&Text>,
    way: &Way,
) {
    let own = container_gpus(texts).unwrap_or_else(|| way.own.clone());
    let docker = !matches!(
        super::super::command::base(texts[0]),
        "apptainer" | "singularity"
    );
    let clean = ["-e", "--cleanenv", "-C", "--contain-all", "--containall"];
    let has = |all: &[&str]| texts.iter().any(|w| all.contains(w));
    let named = has(&["--env-host"]) || texts.iter().any(|w| w.contains("SLURM_LLM_"));
    let way = Way {
        own,
        apart: way.apart || docker || has(&clean),
        passes_advice: way.passes_advice || named,
        ..way.clone()
    };
    let from = shell.host.starts();
    if let Some((kind, first)) = container::by_image(texts)
        && let Some(engine) = engines::of_kind(kind)
    {
        reading::engine(
            shell,
            state,
            engine,
            words.get(first..).unwrap_or_default(),
            &way,
        );
    } else {
        let begins = (2..texts.len()).find(|at| {
            let rest = texts.get(*at..).unwrap_or_default();
            let name = super::super::command::base(texts[*at]);
            let before = texts[at - 1];
            let value =
                before.starts_with("--") && !before.contains('=') && TAKES_VALUE.contains(&before);
            !value
                && (engines::at_start(rest, false).is_some()
                    || matches!(
                        name,
                        "bash"
                            | "sh"
                            | "python"
                            | "python3"
                            | "env"
                            | "trtllm-llmapi-launch"
                            | "mpirun"
                            | "torchrun"
                            | "ray"
                    )
                    || runs_engine(rest)
                    || (texts[*at].ends_with(".sh") && !texts[*at].contains(':')))
        });
        match begins {
            Some(at) => command(
                shell,
                state,
                words.get(at..).unwrap_or_default(),
                input,
                &way,
            ),
            None if only_a_tool(texts) => {}
            None => {
                let shown = texts.iter().take(2).copied().collect::<Vec<_>>().join(" ");
                shell.host.keep_unknown(state, shown, &way);
            }
        }
    }
    let detached = texts
        .iter()
        .any(|w| matches!(*w, "-d" | "--detach" | "-dit" | "-itd" | "-td"));
    if detached {
        shell.in_background(state, from);
    }
}

/// Options of containers that take a program's name or a path as their value.
const TAKES_VALUE: [&str; 6] = [
    "--entrypoint",
    "--name",
    "--hostname",
    "--env",
    "--volume",
    "--bind",
];

/// True where the last words are a tool in a container, such as `apptainer exec x.sif nvidia-smi`.
fn only_a_tool(texts: &[&str]) -> bool {
    let image = texts
        .iter()
        .position(|w| w.ends_with(".sif") || w.contains("://"));
    let program = image.and_then(|at| texts.get(at + 1));
    program.is_some_and(|w| tools::is_tool(super::super::command::base(w)))
}

/// The GPUs that a container is given for itself.
fn container_gpus(texts: &[&str]) -> Option<Own> {
    let value = |flag: &str| {
        texts
            .iter()
            .enumerate()
            .find_map(|(i, w)| match w.strip_prefix(flag) {
                Some("") => texts.get(i + 1).copied(),
                Some(rest) => rest.strip_prefix('='),
                None => None,
            })
    };
    if let Some(gpus) = value("--gpus") {
        return match gpus.trim_matches('"') {
            "all" => None,
            n => Some(n.parse().map_or(Own::Unknown, Own::Count)),
        };
    }
    let named = texts.iter().any(|w| {
        w.contains("CUDA_VISIBLE_DEVICES=")
            || w.contains("NVIDIA_VISIBLE_DEVICES=")
            || w.contains("nvidia.com/gpu=")
    });
    let all = texts
        .iter()
        .any(|w| w.contains("VISIBLE_DEVICES=all") || w.contains("nvidia.com/gpu=all"));
    (named && !all).then_some(Own::Unknown)
}
