//! What the argument parser refuses, in the one style of all messages. Pure but for printing.

use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;

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
            let (reason, hint) = in_style(
                &error.render().to_string(),
                &std::env::args().skip(1).collect::<Vec<_>>(),
            );
            exit::tell(&exit::with_code(exit::USAGE, reason, hint));
            ExitCode::from(exit::USAGE)
        }
    }
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
    use super::in_style;

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
