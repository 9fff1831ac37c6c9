//! `omnipilot submit`: the plugin's advice for sites without the plugin. Prints or executes the
//! rewritten `sbatch`.

mod launch;
mod script;

use std::io::IsTerminal;
use std::process::ExitCode;

use model_store::carry_out::{Job, MOST_LINES, Part, Then, Tone, VERBOSE, carry_out, no_advice};
use model_store::config::{Config, OnFault};
use model_store::consult::{Fault, exit_code};
use model_store::decision::{self, Decision, decide, is_enforced, is_left_alone};
use model_store::job_request::{GPU_OPTIONS, JobOption, JobRequest, mark_comment, without_gpus};
use model_store::job_rewrite::{Edit, GpuForm};
use model_store::options::OPTIONS;
use model_store::reading::{Component, Variables, components, parts};
use model_store::sbatch_line::SbatchLine;
use model_store::snapshot::Snapshot;
use model_store::startable::Other;
use model_store::test_only::against;
use model_store::wish;

use crate::ask::AskArgs;
use crate::clock::now;
use crate::exit;
use crate::site::SiteArgs;
use crate::who;
use launch::Launch;

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
    let arguments = last.arguments().to_vec();
    let all = components(parts, script.text());
    let mut launch = Launch::new(&all, &last, script, args.dry_run, args.json);
    let requests = (0_u32..)
        .zip(&all)
        .map(|(number, component)| request_of(args, component, number))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let tagged = || {
        requests
            .iter()
            .filter(|asked| asked.options.model.is_some())
    };
    if tagged().next().is_none() {
        return launch.start();
    }
    let config = site.config()?;
    if tagged().all(|asked| is_left_alone(&config, asked.options.mode)) {
        return launch.start();
    }
    let snapshot = match Snapshot::read(&config.snapshot) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            let fault = Decision::from(Fault::from(error));
            let first = all.first().cloned().unwrap_or_default();
            return match on_line(&mut launch, &first, 0, &config, fault) {
                Then::End(code) => Ok(ExitCode::from(code)),
                Then::Submit | Then::AsWritten => launch.start(),
            };
        }
    };
    let (mut patience_s, mut enforced) = (f64::INFINITY, false);
    for (component, asked) in all.iter().zip(&requests) {
        let (number, options) = (asked.component, &asked.options);
        if options.model.is_none() {
            continue;
        }
        let config = in_form_of(&config, &component.directives);
        let folder = component.value("chdir", VARIABLES);
        let text = launch.script.text().map(str::to_owned);
        let known = decision::Submission {
            options,
            given: &asked.given,
            script: text.as_deref(),
            arguments: Some(&arguments),
            read: &|name| script::read_named(name, folder.as_deref()),
            environment: &environment,
            component: number,
            who: &who::me(&config, others(&requests, number)),
        };
        let decision = decide(&snapshot, &config, &known);
        enforced |= is_enforced(&snapshot, &config, known.given);
        if !args.dry_run {
            wish::leave(&config.spool, options, &decision);
        }
        if let Decision::Rewrite { edits, .. } = &decision
            && !edits.is_empty()
            && !args.dry_run
        {
            patience_s = patience_s.min(decision::patience(&snapshot, &config, &known));
        }
        match on_line(&mut launch, component, number, &config, decision) {
            Then::Submit => {}
            Then::AsWritten => {
                launch.forget_all();
                return launch.start();
            }
            Then::End(code) => return Ok(ExitCode::from(code)),
        }
    }
    if !args.dry_run && !enforced && launch.changes_options() {
        let mut as_written = Launch::new(&all, &last, launch.script.clone(), false, false);
        let written = || as_written.shown();
        if let Some(why) = against(&launch.shown(), written, patience_s, now()) {
            say(Tone::Info, &[no_advice(&why)]);
            as_written.forget_all();
            return as_written.start();
        }
    }
    launch.start()
}

/// What this process's environment says of a submission.
const VARIABLES: Variables<'static> = Variables {
    sbatch: &environment,
    ours: &of_the_user,
};

/// What the other components take.
fn others(requests: &[JobRequest], number: u32) -> Vec<Other> {
    let others = requests.iter().filter(|asked| asked.component != number);
    others
        .filter_map(|asked| Other::of(&asked.given, Some(&asked.options)))
        .collect()
}

/// What one component asks for: options of ours before `sbatch`'s own are the first one's and count
/// most, as on one command line.
fn request_of(args: &Args, component: &Component, number: u32) -> anyhow::Result<JobRequest> {
    let own: &[_] = if number == 0 { &args.ask.given } else { &[] };
    component
        .request_and(number, own, VARIABLES)
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

/// A directive of the same name is replaced from the command line: a script that asks for its GPUs in
/// one other form, with a type, gets them in that form. A plain number stays a plain number, which
/// takes the plugin's form.
fn in_form_of(config: &Config, directives: &SbatchLine) -> Config {
    let gres = directives
        .value_of("gres")
        .and_then(|gres| without_gpus(&gres));
    let given: Vec<&str> = GPU_OPTIONS
        .into_iter()
        .map(JobOption::name)
        .filter(|name| directives.has(name))
        .collect();
    let typed = |name: &str| directives.value_of(name).is_some_and(|v| v.contains(':'));
    let form = match (given.as_slice(), gres) {
        ([name], None) if !typed(name) => config.rewrite.gpus,
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

/// Directives that an edit takes away. The command line cannot do so, but for a constraint.
fn taken_back(edits: &[Edit], directives: &SbatchLine) -> Vec<String> {
    let gone = |edit: &&Edit| edit.value.is_none() && edit.name != "constraint";
    let lost = edits.iter().filter(gone).map(|edit| edit.name.clone());
    lost.filter(|name| directives.has(name)).collect()
}

/// Does to the command line what was decided of one component.
fn on_line(
    launch: &mut Launch,
    component: &Component,
    number: u32,
    config: &Config,
    decision: Decision,
) -> Then {
    let part = Part {
        component: number,
        several: launch.has_several(),
    };
    let mut job = OnLine {
        launch,
        component,
        number,
    };
    let refuse = config.on_fault == OnFault::Refuse;
    carry_out(&mut job, decision, part, refuse)
}

/// One component's part of the command line.
struct OnLine<'a> {
    launch: &'a mut Launch,
    component: &'a Component,
    number: u32,
}

impl Job for OnLine<'_> {
    fn change(&mut self, edits: &[Edit], note: &str) -> Result<(), Fault> {
        let lost = taken_back(edits, &self.component.directives);
        self.launch.leave_out_directives(self.number, lost);
        self.launch.edit(self.number, edits.to_vec());
        if !note.is_empty() {
            let former = self.component.value("comment", VARIABLES);
            let comment = mark_comment(former.as_deref(), note);
            self.launch.comment(self.number, comment);
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.launch.set(name.to_owned(), value.to_owned());
    }

    /// `sbatch` is yet to begin: it has set nothing that would have to be taken back.
    fn remove(&mut self, _: &str) {}

    fn tell(&mut self, tone: Tone, lines: &[String]) {
        say(tone, lines);
    }
}

fn say(tone: Tone, message: &[String]) {
    let verbose = environment(VERBOSE);
    if tone.is_heard(std::io::stderr().is_terminal(), verbose.as_deref()) {
        tell(message);
    }
}

fn tell(message: &[String]) {
    for line in message.iter().take(MOST_LINES) {
        let line = match line.starts_with("hint: ") {
            true => exit::here(line),
            false => line.clone(),
        };
        eprintln!("omnipilot: {line}");
    }
}
