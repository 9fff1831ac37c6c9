//! `omnipilot submit`: the plugin's advice for sites without the plugin. Prints or executes the
//! rewritten `sbatch`.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use model_store::advisor::Pins;
use model_store::consult::{Action, Rewrite, consult, exit_code};
use model_store::engine_args::scan_script;
use model_store::job_request::{OTHER_GPU_OPTIONS, mark_comment, replace_gpus};
use model_store::options::AdviceMode;
use model_store::snapshot::read_regular;

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
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "SBATCH ARGUMENTS")]
    sbatch: Vec<String>,
}

/// Runs the verb. A refusal exits with the plugin's code; otherwise the process becomes `sbatch`.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let line = SbatchLine::parse(&args.sbatch);
    let asked = &args.ask.options;
    if asked.model.is_none() || asked.mode == AdviceMode::Off {
        return start(args, &line.words, &[]);
    }
    let config = site.config()?;
    let script = read_script(&line);
    let pins = script.as_deref().map_or_else(Pins::default, |text| scan_script(text).pins());
    let consulted = consult(&config, asked, &pins).map_err(|fault| exit::fail(fault.reason, fault.hint))?;
    match consulted.action {
        Action::Refuse(_) if asked.mode == AdviceMode::Explore => start(args, &line.words, &[]),
        Action::Refuse(refusal) => {
            tell(&refusal.message);
            Ok(ExitCode::from(refusal.code))
        }
        Action::Rewrite(rewrite) => match asked.mode {
            AdviceMode::Check => {
                tell(&rewrite.message);
                start(args, &line.words, &[])
            }
            AdviceMode::Explore => start(args, &line.words, &[]),
            AdviceMode::Rewrite | AdviceMode::Off => submit(args, &line, script.as_deref(), &rewrite),
        },
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

fn submit(args: &Args, line: &SbatchLine, script: Option<&str>, rewrite: &Rewrite) -> anyhow::Result<ExitCode> {
    let directives = script.map(SbatchLine::of_directives).unwrap_or_default();
    if let Some(option) = directives.first_of(&OTHER_GPU_OPTIONS) {
        return Err(exit::with_code(
            exit_code::USAGE,
            format!("the script asks for GPUs with `#SBATCH --{option}`, which would add to those advised"),
            "use `#SBATCH --gres=gpu:N` instead, or no GPU request at all",
        ));
    }
    let gres = line.value_of("gres").or_else(|| directives.value_of("gres"));
    let comment = line.value_of("comment").or_else(|| directives.value_of("comment"));
    let mut dropped = OTHER_GPU_OPTIONS.to_vec();
    dropped.extend(["gres", "comment"]);
    let mut words = vec![
        format!("--gres={}", replace_gpus(gres.as_deref(), &rewrite.gres)),
        format!("--comment={}", mark_comment(comment.as_deref(), &rewrite.comment)),
    ];
    words.extend(line.without(&dropped));
    if std::io::stderr().is_terminal() {
        tell(&rewrite.message);
    }
    start(args, &words, &rewrite.environment)
}

/// Prints the command, or becomes it. Names that begin with `SLURM_` reach the job under every
/// form of `--export`.
fn start(args: &Args, words: &[String], environment: &[(&str, String)]) -> anyhow::Result<ExitCode> {
    if args.dry_run {
        for (name, value) in environment {
            println!("export {name}={}", quoted(value));
        }
        let all: Vec<String> = std::iter::once("sbatch".to_owned()).chain(words.iter().map(|w| quoted(w))).collect();
        println!("{}", all.join(" "));
        return Ok(ExitCode::SUCCESS);
    }
    let error = Command::new("sbatch").args(words).envs(environment.iter().map(|(n, v)| (n, v))).exec();
    Err(exit::fail(format!("cannot start sbatch: {error}"), "Slurm's client commands must be in PATH"))
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=:/.,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}
