//! What the argument parser refuses, in the one style of all messages. Pure but for printing.

use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::exit;

/// Prints help and version as they are, and a refusal as a reason and a hint.
pub(crate) fn tell(error: &clap::Error) -> ExitCode {
    use ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            let _ = error.print(); // a closed pipe is no error
            ExitCode::SUCCESS
        }
        DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(exit::USAGE)
        }
        ErrorKind::MissingSubcommand => {
            let hint = "`omnipilot --help` lists the verbs";
            exit::tell(&exit::with_code(exit::USAGE, "no verb was given", hint));
            ExitCode::from(exit::USAGE)
        }
        _ => {
            let typed: Vec<String> = std::env::args().skip(1).collect();
            let (reason, hint) = in_style(&error.render().to_string(), &typed);
            let hint = unknown_option(error).and_then(meant).unwrap_or(&hint);
            exit::tell(&exit::with_code(exit::USAGE, reason, hint));
            ExitCode::from(exit::USAGE)
        }
    }
}

/// Words of other tools that are no options here, and what is typed instead. The nearest meaning helps; the nearest spelling may
/// be another thing.
const MEANT: [(&[&str], &str); 9] = [
    (
        &[
            "pp",
            "llm-pp",
            "pp-size",
            "pipeline-parallel-size",
            "pipeline-parallel",
        ],
        "pipeline stages follow by themselves where one node is too small; `--nodes N` says over how many at most",
    ),
    (
        &[
            "dp",
            "dp-size",
            "data-parallel-size",
            "replicas",
            "instances",
        ],
        "replicas follow from the requests that arrive: `--rate 20`",
    ),
    (
        &[
            "gpus",
            "num-gpus",
            "max-gpus",
            "gres",
            "nodes",
            "total-gpus",
        ],
        "`omnipilot advise` takes `--gpus` and `--nodes`; here `--gpu TYPE` and `--tp N` fix what is to be used",
    ),
    (
        &["cheapest", "cheap", "objective", "optimize"],
        "the cheapest comes first by itself: candidates are ranked by tokens and price; prices stand in omnipilot.toml",
    ),
    (
        &["prompts", "num-prompts", "offline", "batch"],
        "without `--concurrency` and `--rate` all requests are there at once; tokens per GPU-hour stand in the table",
    ),
    (
        &["wait", "begin", "cold-start", "time"],
        "wait and start-up are part of the answer where they are known: `omnipilot explain` shows each term",
    ),
    (
        &["lora", "adapter", "enable-lora"],
        "name the base model: an adapter adds little to its memory and time",
    ),
    (
        &[
            "max-model-len",
            "context",
            "context-length",
            "ttft",
            "tpot",
            "users",
        ],
        "`omnipilot advise` takes it; `--slo ttft=500,tpot=50` and the script's own `--max-model-len` count here",
    ),
    (
        &[
            "kv-cache-dtype",
            "gpu-memory-utilization",
            "mem-fraction-static",
            "max-num-seqs",
            "max-num-batched-tokens",
        ],
        "the engine's own options are read from the batch script: `omnipilot submit --dry-run SCRIPT`",
    ),
];

/// The option that was not known, without hyphens in front.
fn unknown_option(error: &clap::Error) -> Option<&str> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(name) => Some(name.trim_start_matches('-')),
        _ => None,
    }
}

/// What is typed instead of a word of another tool.
fn meant(option: &str) -> Option<&'static str> {
    let option = option.split('=').next()?.replace('_', "-");
    MEANT
        .iter()
        .find(|(words, _)| words.contains(&option.as_str()))
        .map(|(_, hint)| *hint)
}

/// Reason and hint of a rendered refusal: the lines up to the usage; a tip is the hint.
fn in_style(rendered: &str, typed: &[String]) -> (String, String) {
    let own = |l: &&str| !l.starts_with("Usage:") && !l.starts_with("For more information");
    let lines = rendered.lines().take_while(own).map(str::trim);
    let (mut reason, mut hint) = (Vec::new(), String::new());
    for line in lines.filter(|l| !l.is_empty()) {
        let line = line.strip_prefix("error: ").unwrap_or(line);
        match line.strip_prefix("tip: ").or(line.strip_prefix("hint: ")) {
            // What nobody meant: a model whose name begins with hyphens.
            Some(tip) if tip.starts_with("to pass") => {}
            Some(tip) => hint = backticks(tip),
            None => reason.push(backticks(line)),
        }
    }
    if hint.is_empty() {
        hint = match verb(typed) {
            Some(verb) => format!("`omnipilot {verb} --help` lists what it takes"),
            None => {
                "`omnipilot --help` lists the verbs, `omnipilot VERB --help` what one takes".into()
            }
        };
    }
    (reason.join(" "), hint)
}

/// The verb that was typed, with its own verb where it has them.
fn verb(typed: &[String]) -> Option<String> {
    let cli = crate::Cli::command();
    let mut words = typed.iter();
    let verb = words.find_map(|w| cli.find_subcommand(w))?;
    let inner = words.find_map(|w| verb.find_subcommand(w));
    Some(match inner {
        Some(inner) => format!("{} {}", verb.get_name(), inner.get_name()),
        None => verb.get_name().to_owned(),
    })
}

/// clap quotes words with apostrophes.
fn backticks(line: &str) -> String {
    line.replace('\'', "`")
}

#[cfg(test)]
mod tests {
    use super::{in_style, meant, unknown_option};
    use clap::CommandFactory;

    #[test]
    fn a_word_of_another_tool_gets_its_meaning() {
        for (typed, meaning) in [
            (
                &["omnipilot", "advise", "m", "--pipeline-parallel-size=2"][..],
                "pipeline stages",
            ),
            (&["omnipilot", "explain", "--gpus", "4"], "`--gpu TYPE`"),
            (
                &["omnipilot", "advise", "m", "--num_prompts", "9"],
                "at once",
            ),
        ] {
            let error = crate::Cli::command()
                .try_get_matches_from(typed)
                .unwrap_err();
            let hint = unknown_option(&error).and_then(meant).unwrap();
            assert!(hint.contains(meaning), "{hint}");
        }
        let error = crate::Cli::command().try_get_matches_from(["omnipilot", "advise", "--isle"]);
        assert_eq!(unknown_option(&error.unwrap_err()).and_then(meant), None);
    }

    #[test]
    fn a_refusal_becomes_a_reason_and_a_hint() {
        let (reason, hint) = in_style(
            "error: unexpected argument '--isle' found\n\n  tip: a similar argument exists: '--isl'\n\nUsage: x\n\nFor more information, try '--help'.\n",
            &[],
        );
        assert_eq!(reason, "unexpected argument `--isle` found");
        assert_eq!(hint, "a similar argument exists: `--isl`");
        let typed = ["--store", "x.db", "models", "add"].map(str::to_owned);
        let (_, hint) = in_style("error: no\n\nUsage: x\n", &typed);
        assert_eq!(hint, "`omnipilot models add --help` lists what it takes");
        let (reason, hint) = in_style("error: no\n  [possible values: a, b]\n\nUsage: x\n", &[]);
        assert_eq!(reason, "no [possible values: a, b]");
        assert!(hint.contains("--help"));
    }
}
