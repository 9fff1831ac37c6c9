//! Programs that start the rest of their words, and how many words are their own.

use super::super::bash::{Field, Text};
use super::way::assignment;

/// A program that starts another one.
pub(super) struct Wrapper {
    pub(super) name: &'static str,
    /// Options whose value is the next word.
    pub(super) takes: &'static [&'static str],
    /// Words before the command that are no options.
    pub(super) words: usize,
}

const fn wrapper(name: &'static str, takes: &'static [&'static str], words: usize) -> Wrapper {
    Wrapper { name, takes, words }
}

/// Programs that start the rest of their words, once.
pub(super) const WRAPPERS: [Wrapper; 38] = [
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

/// How many words of a wrapper come before its command.
pub(super) fn skip(
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

/// How many words come before a text: the program, so many others, and options.
pub(super) fn options_end(words: &[Field], takes: &[&str], others: usize) -> usize {
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

/// True for `omnipilot run`, under whatever path or variable it is named.
pub(super) fn runs_engine(texts: &[&str]) -> bool {
    let named = texts.first().is_some_and(|w| {
        super::super::words::base(w)
            .to_ascii_lowercase()
            .contains("omnipilot")
    });
    named && texts.iter().skip(1).take(6).any(|w| *w == "run")
}
