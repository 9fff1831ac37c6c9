//! The man pages: those of the command from its table, that of the configuration from the example,
//! that of the plugin from the options that it registers.

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};
use model_store::options::OPTIONS;

use super::examples;
use crate::exit;

/// The example configuration, whose comments explain every key.
const EXAMPLE: &str = include_str!("../../../../etc/omnipilot.toml");

/// Of the last change to these pages' own words.
const DATE: &str = "2026-11-30";

/// `omnipilot(1)`.
pub(super) fn command(command: &Command) -> std::io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).manual("OmniPilot").date(DATE);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    man.render_subcommands_section(&mut text)?;
    exit_status().to_writer(&mut text)?;
    let mut more = Roff::new();
    more.control("SH", ["FILES"]);
    entry(
        &mut more,
        "/etc/omnipilot/omnipilot.toml",
        "the configuration, see omnipilot.toml(5)",
    );
    more.control("SH", ["ENVIRONMENT"]);
    entry(
        &mut more,
        "OMNIPILOT_CONFIG",
        "configuration file, where neither --config nor --store is given",
    );
    entry(&mut more, "NO_COLOR", "no colours, whatever its value");
    see_also(
        &mut more,
        "omnipilot.toml(5), spank_omnipilot(8), sbatch(1)",
    );
    more.to_writer(&mut text)?;
    Ok(text)
}

/// `omnipilot-VERB(1)`; `name` is the verb.
pub(super) fn verb(verb: &Command, name: &str) -> std::io::Result<Vec<u8>> {
    let man = Man::new(verb.clone()).manual("OmniPilot").date(DATE);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    synopsis(verb, name).to_writer(&mut text)?;
    man.render_options_section(&mut text)?;
    let mut more = Roff::new();
    also_spelt(&mut more, verb);
    if verb.has_subcommands() {
        more.control("SH", ["COMMANDS"]);
        let shown = verb
            .get_subcommands()
            .filter(|c| !c.is_hide_set() && c.get_name() != "help");
        shown.for_each(|inner| inner_verb(&mut more, inner));
    }
    more.control("SH", ["EXAMPLES"]);
    for (typed, meaning) in examples::of(name) {
        entry(&mut more, typed, meaning);
    }
    more.to_writer(&mut text)?;
    exit_status().to_writer(&mut text)?;
    let mut more = Roff::new();
    see_also(&mut more, "omnipilot(1), omnipilot.toml(5)");
    more.to_writer(&mut text)?;
    Ok(text)
}

/// How the verb is typed. Its options follow below, each with its value.
fn synopsis(verb: &Command, name: &str) -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["SYNOPSIS"]);
    let mut built = verb.clone();
    built.build();
    let words: Vec<String> = built.get_positionals().map(ToString::to_string).collect();
    let verbs = if verb.has_subcommands() {
        " COMMAND"
    } else {
        ""
    };
    page.text([
        bold(format!("omnipilot {name}")),
        roman(format!("{verbs} [OPTIONS] {}", words.join(" "))),
    ]);
    page
}

/// Other names of options, as engines and their clients spell them.
fn also_spelt(page: &mut Roff, verb: &Command) {
    let all: Vec<(String, Vec<String>)> = verb
        .get_arguments()
        .filter_map(|a| {
            let also = a.get_visible_aliases()?;
            let also: Vec<String> = also.iter().map(|name| format!("--{name}")).collect();
            Some((format!("--{}", a.get_long()?), also)).filter(|(_, also)| !also.is_empty())
        })
        .collect();
    if all.is_empty() {
        return;
    }
    page.control("SH", ["OTHER NAMES OF OPTIONS"]);
    for (name, also) in &all {
        entry(page, name, &also.join(", "));
    }
}

/// A verb of a verb, with what it takes beside what all of its kind take.
fn inner_verb(page: &mut Roff, inner: &Command) {
    // What an argument shows of itself is settled when its command is built.
    let mut inner = inner.clone();
    inner.build();
    let own = |a: &&clap::Arg| !a.is_global_set() && !a.is_hide_set() && a.get_id() != "help";
    let words: Vec<String> = inner
        .get_positionals()
        .filter(own)
        .map(ToString::to_string)
        .collect();
    page.control(
        "SS",
        [[&[inner.get_name().to_owned()], &words[..]]
            .concat()
            .join(" ")
            .as_str()],
    );
    if let Some(about) = inner.get_about() {
        page.text([roman(about.to_string())]);
    }
    for argument in inner.get_arguments().filter(own) {
        let Some(help) = argument.get_help() else {
            continue;
        };
        let default: Vec<_> = argument
            .get_default_values()
            .iter()
            .map(|v| v.to_string_lossy())
            .collect();
        let default = match default.is_empty() || !argument.get_action().takes_values() {
            true => String::new(),
            false => format!(" [default: {}]", default.join(" ")),
        };
        entry(page, &argument.to_string(), &format!("{help}{default}"));
    }
}

fn entry(page: &mut Roff, term: &str, text: &str) {
    page.control("TP", []);
    page.text([bold(term)]);
    page.text([roman(text)]);
}

fn see_also(page: &mut Roff, text: &str) {
    page.control("SH", ["SEE ALSO"]);
    page.text([roman(text)]);
}

fn exit_status() -> Roff {
    let mut page = Roff::new();
    page.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in exit::CODES {
        entry(&mut page, &code.to_string(), meaning);
    }
    page
}

fn head(name: &str, section: &str, what: &str) -> Roff {
    let mut page = Roff::new();
    let version = concat!("omnipilot ", env!("CARGO_PKG_VERSION"));
    page.control("TH", [name, section, DATE, version, "OmniPilot"]);
    page.control("SH", ["NAME"]);
    page.text([roman(format!("{name} - {what}"))]);
    page
}

/// `omnipilot.toml(5)`: each block of comments in front of the keys that it explains.
pub(super) fn configuration() -> Vec<u8> {
    let mut page = head(
        "omnipilot.toml",
        "5",
        "configuration of OmniPilot for Slurm",
    );
    page.control("SH", ["KEYS"]);
    let mut words: Vec<&str> = Vec::new();
    for line in EXAMPLE.lines() {
        let commented = line.strip_prefix('#').unwrap_or(line);
        match (line.strip_prefix("# "), commented) {
            (Some(text), _) => words.push(text),
            (None, "") => flush(&mut page, &mut words),
            (None, setting) if setting.starts_with('[') => {
                page.control("SS", [setting]);
                flush(&mut page, &mut words);
            }
            (None, setting) => {
                page.control("TP", []);
                page.text([bold(setting)]);
                page.text([roman(words.join(" "))]);
                words.clear();
            }
        }
    }
    see_also(&mut page, "omnipilot(1), spank_omnipilot(8)");
    page.render().into_bytes()
}

fn flush(page: &mut Roff, words: &mut Vec<&str>) {
    if !words.is_empty() {
        page.control("PP", []);
        page.text([roman(words.join(" "))]);
        words.clear();
    }
}

/// `spank_omnipilot(8)`.
pub(super) fn plugin() -> Vec<u8> {
    let mut page = head(
        "spank_omnipilot",
        "8",
        "advises GPU type, tensor parallel and precision at submission",
    );
    page.control("SH", ["SYNOPSIS"]);
    page.text([
        roman("optional "),
        italic("/usr/lib/slurm/spank_omnipilot.so"),
        roman(" [config="),
        italic("FILE"),
        roman("]"),
    ]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "A SPANK plugin for sbatch, srun and salloc, loaded by a line in plugstack.conf. A job with --llm-model is given \
         the GPU type, the tensor-parallel degree and the precision that past runs recommend, or is refused with the \
         reason in numbers. A job without it is not touched. A fault lets the job go as it was written, unless on_fault \
         in the configuration says otherwise.",
    )]);
    page.control("PP", []);
    page.text([roman(
        "`omnipilot setup` prints the line that switches the plugin on; `omnipilot setup --disable` takes it out; \
         `omnipilot doctor` checks it.",
    )]);
    page.control("SH", ["OPTIONS OF SBATCH, SRUN AND SALLOC"]);
    for option in OPTIONS {
        page.control("TP", []);
        page.text([bold(format!("--{}=", option.name)), italic(option.metavar)]);
        let text = format!("{}; environment variable {}", option.help, option.variable);
        page.text([roman(text)]);
    }
    page.control("SH", ["EXIT STATUS"]);
    page.text([roman(
        "A job that is refused ends sbatch with one of these:",
    )]);
    for (code, meaning) in exit::CODES
        .iter()
        .filter(|(code, _)| *code == exit::USAGE || *code >= 64)
    {
        entry(&mut page, &code.to_string(), meaning);
    }
    see_also(
        &mut page,
        "omnipilot(1), omnipilot.toml(5), spank(7), sbatch(1)",
    );
    page.render().into_bytes()
}
