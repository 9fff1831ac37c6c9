//! What a few tools print, as far as scripts work out a degree or a list by them.

use super::shell::{Call, Host, Shell};
use super::state::State;
use super::value::{Field, Follows, OF_GPUS, Piece, Text};

/// What a text follows when blanks around it are left away.
pub(super) fn just(text: &Text) -> Option<Follows> {
    let mut out = None;
    for piece in &text.0 {
        match piece {
            Piece::Known(text) if text.trim().is_empty() => {}
            Piece::Follows(what) if out.is_none() => out = Some(*what),
            _ => return None,
        }
    }
    out
}

fn follows(what: Follows) -> Option<Text> {
    Some(Text(vec![Piece::Follows(what)]))
}

impl<H: Host> Shell<H> {
    /// What a program prints; `None` where that is not known.
    pub(super) fn filtered(&mut self, state: &mut State, name: &str, call: &Call) -> Option<Text> {
        let args = call.words.get(1..).unwrap_or_default();
        let words: Vec<String> = args.iter().map(|a| a.text.code()).collect();
        let has = |flag: &str| words.iter().any(|w| w == flag);
        let input = call.input.as_ref();
        let list = input.and_then(just).filter(|f| f.lists());
        let gpus = list.is_some();
        match crate::engine_args::words::base(name) {
            "echo" => Some(echoed(args)),
            "printf" => formatted(args),
            "cat" if args.is_empty() || has("-") => input.cloned(),
            "cat" => args.first().and_then(|a| self.file(state, &a.text)),
            "tee" => {
                let target = args.iter().find(|a| !a.text.code().starts_with('-'));
                if let Some(target) = target {
                    let text = input.cloned().filter(|_| !has("-a"));
                    state.files.insert(super::shell::key(&target.text), text);
                }
                input.cloned()
            }
            "seq" => sequence(args),
            "basename" => {
                let known = args.first()?.word()?;
                let name = known.trim_end_matches('/').rsplit('/').next()?.to_owned();
                (args.len() == 1).then(|| Text::known(name))
            }
            "nvidia-smi" => Some(of_gpus(&words)),
            "tr" | "sort" if gpus => list.and_then(follows),
            "sed" if gpus && words.iter().any(|w| w.contains("s/,/")) => list.and_then(follows),
            "wc" if has("-l") && gpus => follows(Follows::Gpus),
            "wc" if has("-l") => {
                let text = input?.text()?;
                Some(Text::known(text.matches('\n').count().to_string()))
            }
            "grep" if gpus && (has("-c") && (has(".") || has("GPU") || has("^GPU"))) => {
                follows(Follows::Gpus)
            }
            "awk" if gpus && words.iter().any(|w| w.contains("print NF")) => follows(Follows::Gpus),
            "xargs" | "head" | "tail" | "uniq" if input.and_then(just) == Some(Follows::Gpus) => {
                follows(Follows::Gpus)
            }
            "grep" | "egrep" | "fgrep" | "rg" if input.is_some_and(Text::tells_type) => {
                self.host.looks_at_gpus();
                None
            }
            "head" | "tail" | "uniq" | "sort" | "sed" | "awk" | "gawk" | "cut" | "tr" | "xargs"
                if input.is_some_and(Text::tells_type) =>
            {
                Some(Text::unknown(OF_GPUS))
            }
            // What sets a shell up is no text of the script's.
            "conda" | "mamba" | "micromamba" | "pyenv" | "brew" | "direnv" | "ssh-agent"
            | "modulecmd" | "spack" | "dircolors" => Some(Text::default()),
            "expr" => Some(self.arith(state, &words.join(" "))),
            "python" | "python3" => {
                let code = words
                    .get(1)
                    .filter(|_| words.first().is_some_and(|w| w == "-c"))?;
                let counts = code.contains("print(torch.cuda.device_count())") && code.len() < 80;
                counts.then(|| follows(Follows::Gpus))?
            }
            _ => None,
        }
    }
}

/// What `nvidia-smi` prints: one line for each GPU, or text that says what they are, or figures.
fn of_gpus(words: &[String]) -> Text {
    let any = |wanted: &dyn Fn(&str) -> bool| words.iter().any(|w| wanted(w));
    let query = words.iter().find_map(|w| w.strip_prefix("--query-gpu="));
    let kind = ["name", "compute_cap", "memory.total"];
    let named = query.is_none_or(|q| q.split(',').any(|f| kind.iter().any(|k| f.contains(k))));
    let of_some = any(&|w| w.starts_with("-i") || w.starts_with("--id"));
    let listed = any(&|w| w == "-L" || w == "--list-gpus");
    let lines = query.is_some_and(|q| !q.contains("count")) && any(&|w| w.contains("noheader"));
    match (named, (listed || lines) && !of_some) {
        (true, true) => Text(vec![Piece::Follows(Follows::GpuNames)]),
        (false, true) => Text(vec![Piece::Follows(Follows::GpuList)]),
        (true, false) => Text::unknown(OF_GPUS),
        (false, false) => Text::unknown("nvidia-smi"),
    }
}

fn echoed(args: &[Field]) -> Text {
    let mut out = Text::default();
    let flag = |a: &Field| {
        a.word()
            .is_some_and(|w| ["-e", "-n", "-en", "-ne", "-E"].contains(&w.as_str()))
    };
    for (n, arg) in args.iter().skip_while(|a| flag(a)).enumerate() {
        if n > 0 {
            out.push(Piece::Known(" ".into()));
        }
        out.append(arg.text.clone());
    }
    out.push(Piece::Known("\n".into()));
    out
}

/// The text of `printf FORMAT ARGUMENTS`, where the format has nothing but `%s`, `%d` and escapes.
pub(super) fn formatted(args: &[Field]) -> Option<Text> {
    let format = args.first()?.word()?;
    let mut values = args.get(1..)?.iter();
    let many = args.len() > 2;
    let mut out = Text::default();
    let mut used = 0_usize;
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => match chars.next()? {
                '%' => out.push(Piece::Known("%".into())),
                's' | 'd' => {
                    let value = values.next()?;
                    if value.splits {
                        return None;
                    }
                    used += 1;
                    out.append(value.text.clone());
                }
                _ => return None,
            },
            '\\' => out.push(Piece::Known(match chars.next()? {
                'n' => "\n".into(),
                't' => "\t".into(),
                '\\' => "\\".into(),
                _ => return None,
            })),
            c => out.push(Piece::Known(c.into())),
        }
    }
    // A format that is used again for the values that are left is not followed.
    (values.len() == 0 && (used > 0 || !many)).then_some(out)
}

fn sequence(args: &[Field]) -> Option<Text> {
    let numbers: Vec<i64> = args
        .iter()
        .map(|a| a.word()?.parse().ok())
        .collect::<Option<_>>()?;
    let (from, step, to) = match numbers.as_slice() {
        [to] => (1, 1, *to),
        [from, to] => (*from, 1, *to),
        [from, step, to] => (*from, *step, *to),
        _ => return None,
    };
    if step == 0 || to.abs_diff(from) > 512 {
        return None;
    }
    let mut out = String::new();
    let mut at = from;
    while (step > 0 && at <= to) || (step < 0 && at >= to) {
        out.push_str(&format!("{at}\n"));
        at += step;
    }
    Some(Text::known(out))
}
