//! `omnipilot submit`: the plugin's advice for sites without the plugin. Prints or executes the
//! rewritten `sbatch`.

mod launch;
mod script;
mod shown;

use std::io::IsTerminal;
use std::process::ExitCode;

use model_store::advisor::Assessed;
use model_store::component::name_for;
use model_store::config::{Config, OnFault};
use model_store::consult::{Fault, exit_code};
use model_store::decision::{self, Decision, decide, is_left_alone};
use model_store::job_request::{GPU_OPTIONS, Given, asked, mark_comment, without_gpus};
use model_store::job_rewrite::{Edit, GpuForm};
use model_store::options::{OPTIONS, RawOptions};
use model_store::sbatch_line::{Component, SbatchLine, components, parts};
use model_store::snapshot::Snapshot;
use model_store::startable::Other;
use model_store::wish;

use crate::ask::AskArgs;
use crate::exit;
use crate::site::SiteArgs;
use crate::who;
use launch::Launch;

/// Most lines of one message.
const MOST_LINES: usize = 4;
/// Seconds by which two forms of a job may start apart without any of them being later: slurmctld
/// reckons in the steps of its scheduler.
const LEAST_PATIENCE_S: f64 = 60.0;
/// What to do about a directive that stands in the way.
const STUCK_HINT: &str =
    "one GPU request in the script, such as `#SBATCH --gres=gpu:N`, or none at all";

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: AskArgs,
    /// Print the rewritten command line and submit nothing
    #[arg(long)]
    dry_run: bool,
    /// With `--dry-run`: print it as JSON
    #[arg(long, requires = "dry_run")]
    json: bool,
    /// Arguments of `sbatch`, as for `sbatch` itself, `--llm-*` options among them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "SBATCH ARGUMENTS"
    )]
    sbatch: Vec<String>,
}

/// Runs the verb. A refusal exits with the plugin's code; otherwise the process becomes `sbatch`.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let parts = parts(&args.sbatch);
    let last = parts.last().cloned().unwrap_or_default();
    let script = script::find(&last)?;
    let all = components(parts, script.text());
    let mut launch = Launch::new(&all, &last, script, args.dry_run, args.json);
    let options = all
        .iter()
        .enumerate()
        .map(|(number, component)| options_of(args, component, number))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if options.iter().all(|o| o.model.is_none()) {
        return launch.start();
    }
    let config = site.config()?;
    let tagged = || options.iter().filter(|o| o.model.is_some());
    if tagged().all(|o| is_left_alone(&config, o.mode)) {
        return launch.start();
    }
    let snapshot = match Snapshot::read(&config.snapshot) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let Fault { reason, hint } = error.into();
            return broken(launch, &config, &reason, &hint);
        }
    };
    let mut patience_s = f64::INFINITY;
    for (number, (component, own)) in (0_u32..).zip(all.iter().zip(&options)) {
        let beside = others(&all, &options, number);
        let options = own;
        if options.model.is_none() {
            continue;
        }
        let config = in_form_of(&config, &component.directives);
        let folder = component.value("chdir", &environment);
        let text = launch.script.text().map(str::to_owned);
        let known = decision::Submission {
            options,
            given: &Given::of(|name| component.value(name, &environment)),
            script: text.as_deref(),
            read: &|name| script::read_named(name, folder.as_deref()),
            component: number,
            who: &who::me(&config, beside),
        };
        let decision = decide(&snapshot, &config, &known);
        if !args.dry_run {
            wish::leave(&config.spool, options, &decision);
        }
        match decision {
            Decision::Leave => {}
            Decision::Rewrite {
                edits,
                comment,
                environment,
                message,
            } => {
                if let Some(why) = stuck(&edits, &component.directives) {
                    return broken(launch, &config, &why, STUCK_HINT);
                }
                if !edits.is_empty() && !args.dry_run {
                    patience_s = patience_s.min(patience(&snapshot, &config, &known));
                }
                launch.edit(number, edits);
                note(&mut launch, number, component, &comment);
                put(&mut launch, &environment, number, all.len() > 1);
                tell_on_terminal(&message);
            }
            Decision::Explore {
                comment,
                environment,
                message,
            } => {
                note(&mut launch, number, component, &comment);
                put(&mut launch, &environment, number, all.len() > 1);
                tell_on_terminal(&message);
            }
            Decision::Check { message } => tell(&message),
            Decision::Refuse { code, message } => {
                tell(&message);
                return Ok(ExitCode::from(code));
            }
            Decision::Left { reason } => {
                tell(&[format!("no advice: {reason}; the job goes as written")]);
            }
            Decision::Fault { reason, hint } => return broken(launch, &config, &reason, &hint),
        }
    }
    if !args.dry_run && launch.changes_options() {
        let mut as_written = Launch::new(&all, &last, launch.script.clone(), false, false);
        let written = || as_written.shown();
        if let Some(why) = shown::against(&launch.shown(), written, patience_s) {
            tell(&[format!("no advice: {why}; the job goes as written")]);
            as_written.forget_all();
            return as_written.start();
        }
    }
    launch.start()
}

/// By how many seconds the advised form may start later than the form as written: as long as its
/// utility is higher with that wait than without. Without end where the form as written is no
/// configuration that could be advised: it does not serve what was asked for.
fn patience(snapshot: &Snapshot, config: &Config, known: &decision::Submission) -> f64 {
    let economy = &snapshot.body.economy;
    let utilities = decision::advice_on(snapshot, config, known).and_then(|(consulted, _)| {
        let advice = &consulted.advice;
        let own = asked(known.given)?;
        let is_own = |a: &&Assessed| {
            own.count == Some(a.config.gpus_per_node())
                && own
                    .gpu
                    .as_ref()
                    .is_none_or(|g| g.eq_ignore_ascii_case(&a.config.gres))
        };
        let mut all = advice.candidates.iter().filter(|a| a.fallen.is_none());
        Some((advice.recommended()?.utility?, all.find(is_own)?.utility?))
    });
    let weight = economy.weights.wait.max(1e-3);
    let job_s = economy.job_hours * 3600.0;
    let wait = |(best, own): (f64, f64)| ((best - own).max(0.0) / weight).exp_m1() * job_s;
    LEAST_PATIENCE_S + utilities.map_or(f64::INFINITY, wait).min(job_s)
}

/// What the other components take.
fn others(all: &[Component], options: &[RawOptions], number: u32) -> Vec<Other> {
    let one = |(n, (component, tag)): (u32, (&Component, &RawOptions))| {
        let given = Given::of(|name| component.value(name, &environment));
        (n != number).then(|| Other::of(&given, Some(tag)))?
    };
    (0_u32..)
        .zip(all.iter().zip(options))
        .filter_map(one)
        .collect()
}

/// The `--llm-*` options of one component: those before `sbatch`'s own are the first one's and
/// count most, as on one command line.
fn options_of(args: &Args, component: &Component, number: usize) -> anyhow::Result<RawOptions> {
    let own: &[_] = if number == 0 { &args.ask.given } else { &[] };
    component
        .llm_options_and(own, &of_the_user)
        .map_err(|error| exit::with_code(exit_code::USAGE, error.reason, error.hint))
}

/// Inside a job the variables count for nothing: its environment is a copy of its submitter's.
fn of_the_user(name: &str) -> Option<String> {
    let known = OPTIONS.iter().any(|spec| spec.variable == name);
    environment(name).filter(|_| known && !launch::inside_job())
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A directive cannot be taken back from the command line, but one of the same name replaces it: a
/// script that asks for its GPUs in one other form gets them in that form.
fn in_form_of(config: &Config, directives: &SbatchLine) -> Config {
    let gres = directives
        .value_of("gres")
        .and_then(|gres| without_gpus(&gres));
    let given: Vec<&str> = GPU_OPTIONS
        .into_iter()
        .filter(|name| directives.has(name))
        .collect();
    let form = match (given.as_slice(), gres) {
        (["gpus"], None) => GpuForm::Gpus,
        (["gpus-per-node"], None) => GpuForm::GpusPerNode,
        (["gpus-per-task"], None) => GpuForm::GpusPerTask,
        ([], Some(_)) if config.rewrite.gpus != GpuForm::Feature => GpuForm::Gres,
        _ => config.rewrite.gpus,
    };
    let mut config = config.clone();
    config.rewrite.gpus = form;
    config
}

/// A directive that only the plugin could take back.
fn stuck(edits: &[Edit], directives: &SbatchLine) -> Option<String> {
    let lost = |edit: &&Edit| edit.value.is_none() && directives.has(&edit.name);
    edits.iter().find(lost).map(|edit| {
        format!(
            "the script has `#SBATCH --{}`, which cannot be taken back from outside of it and would add to what is advised",
            edit.name
        )
    })
}

fn note(launch: &mut Launch, number: u32, component: &Component, comment: &str) {
    if !comment.is_empty() {
        let former = component.value("comment", &environment);
        launch.comment(number, mark_comment(former.as_deref(), comment));
    }
}

/// Gives the job its variables: the first component's under their own names, and each one's under
/// names that say whose they are, where there are several.
fn put(launch: &mut Launch, environment: &[(String, String)], number: u32, several: bool) {
    for (name, value) in environment {
        // `sbatch` is yet to begin: it has set nothing that would have to be taken back.
        if value.is_empty() {
            continue;
        }
        if number == 0 {
            launch.set(name.clone(), value.clone());
        }
        if several && name.starts_with("SLURM_LLM_") {
            launch.set(name_for(name, number), value.clone());
        }
    }
}

/// Something is broken: the job goes as written with one warning line, as with the plugin, unless
/// the site wants otherwise.
fn broken(
    mut launch: Launch,
    config: &Config,
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
    launch.forget_all();
    launch.start()
}

fn tell_on_terminal(message: &[String]) {
    let asked = environment("OMNIPILOT_VERBOSE").is_some();
    if asked || std::io::stderr().is_terminal() {
        tell(message);
    }
}

fn tell(message: &[String]) {
    for line in message.iter().take(MOST_LINES) {
        eprintln!("omnipilot: {line}");
    }
}
