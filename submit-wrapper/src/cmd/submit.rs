//! `omnipilot submit`: the plugin's advice for sites without the plugin. Prints or executes the
//! rewritten `sbatch`.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use model_store::config::{Config, OnFault};
use model_store::consult::{Fault, exit_code};
use model_store::decision::{Decision, EXPLORED, Place, Submission, decide};
use model_store::job_request::{GPU_OPTIONS, TRES_PER_TASK, asked, mark_comment, replace_gpus};
use model_store::options::AdviceMode;
use model_store::snapshot::{Snapshot, read_regular};

use crate::ask::AskArgs;
use crate::exit;
use crate::site::SiteArgs;
use crate::slurm::sbatch_line::SbatchLine;

/// Largest batch script that is read for what it fixes, bytes.
const LARGEST_SCRIPT: u64 = 4 << 20;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: AskArgs,
    /// Print the rewritten command line and submit nothing
    #[arg(long)]
    dry_run: bool,
    /// Arguments of `sbatch`, as for `sbatch` itself; OmniPilot's own come before them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required = true,
        value_name = "SBATCH ARGUMENTS"
    )]
    sbatch: Vec<String>,
}

/// Runs the verb. A refusal exits with the plugin's code; otherwise the process becomes `sbatch`.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let line = SbatchLine::parse(&args.sbatch);
    let options = &args.ask.options;
    if options.model.is_none() || options.mode == AdviceMode::Off {
        return start(args, &line.words, &[]);
    }
    let config = site.config()?;
    let script = read_script(&line);
    let directives = script
        .as_deref()
        .map(SbatchLine::of_directives)
        .unwrap_or_default();
    let option = |name: &str| line.value_of(name).or_else(|| directives.value_of(name));
    let snapshot = match Snapshot::read(&config.snapshot) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let Fault { reason, hint } = error.into();
            return broken(args, &config, &line, &reason, &hint);
        }
    };
    let asked = asked(&option);
    let place = Place::of(&option);
    let submission = Submission {
        options,
        asked: asked.as_ref(),
        place: &place,
        script: script.as_deref(),
    };
    match decide(&snapshot, &config, &submission) {
        Decision::Rewrite {
            gpus,
            comment,
            environment,
            message,
            ..
        } => {
            refuse_directives(&directives)?;
            let gres = replace_gpus(&option("gres").unwrap_or_default(), &gpus);
            let comment = mark_comment(option("comment").as_deref(), &comment);
            let mut dropped = GPU_OPTIONS.to_vec();
            dropped.extend([TRES_PER_TASK, "gres", "comment"]);
            let mut words = vec![format!("--gres={gres}"), format!("--comment={comment}")];
            words.extend(line.without(&dropped));
            tell_on_terminal(&message);
            start(args, &words, &environment)
        }
        Decision::Explore {
            comment,
            environment,
        } => {
            let comment = mark_comment(option("comment").as_deref(), &comment);
            let mut words = vec![format!("--comment={comment}")];
            words.extend(line.without(&["comment"]));
            tell_on_terminal(&[EXPLORED.to_owned()]);
            start(args, &words, &environment)
        }
        Decision::Check { message } => {
            tell(&message);
            start(args, &line.words, &[])
        }
        Decision::Refuse { code, message } => {
            tell(&message);
            Ok(ExitCode::from(code))
        }
        Decision::Fault { reason, hint } => broken(args, &config, &line, &reason, &hint),
    }
}

/// Something is broken: the job goes as written with one warning line, as with the plugin, unless
/// the site wants otherwise.
fn broken(
    args: &Args,
    config: &Config,
    line: &SbatchLine,
    reason: &str,
    hint: &str,
) -> anyhow::Result<ExitCode> {
    if config.on_fault == OnFault::Refuse {
        return Err(exit::with_code(
            exit_code::FAULT,
            format!("no advice: {reason}"),
            hint,
        ));
    }
    tell(&[format!("no advice: {reason}; the job goes as written")]);
    start(args, &line.words, &[])
}

/// A directive cannot be taken back from the command line, so one that adds GPUs ends it.
fn refuse_directives(directives: &SbatchLine) -> anyhow::Result<()> {
    let mut adding = GPU_OPTIONS.to_vec();
    adding.push(TRES_PER_TASK);
    let Some(option) = directives.first_of(&adding) else {
        return Ok(());
    };
    Err(exit::with_code(
        exit_code::USAGE,
        format!(
            "the script asks for GPUs with `#SBATCH --{option}`, which would add to those advised"
        ),
        "use `#SBATCH --gres=gpu:N` instead, or no GPU request at all",
    ))
}

fn tell_on_terminal(message: &[String]) {
    if std::io::stderr().is_terminal() {
        tell(message);
    }
}

fn tell(message: &[String]) {
    for line in message {
        eprintln!("omnipilot: {line}");
    }
}

/// The batch script where it is a readable file; standard input is left to `sbatch`.
fn read_script(line: &SbatchLine) -> Option<String> {
    let bytes = match &line.wrap {
        Some(text) => return Some(text.clone()),
        None => read_regular(line.script.as_deref()?.as_ref(), LARGEST_SCRIPT).ok()?,
    };
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Prints the command, or becomes it. Names that begin with `SLURM_` reach the job under every
/// form of `--export`.
fn start(
    args: &Args,
    words: &[String],
    environment: &[(String, String)],
) -> anyhow::Result<ExitCode> {
    if args.dry_run {
        for (name, value) in environment {
            println!("export {name}={}", quoted(value));
        }
        let all: Vec<String> = std::iter::once("sbatch".to_owned())
            .chain(words.iter().map(|w| quoted(w)))
            .collect();
        println!("{}", all.join(" "));
        return Ok(ExitCode::SUCCESS);
    }
    let error = Command::new("sbatch")
        .args(words)
        .envs(environment.iter().map(|(n, v)| (n, v)))
        .exec();
    Err(exit::fail(
        format!("cannot start sbatch: {error}"),
        "Slurm's client commands must be in PATH",
    ))
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:/.,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
