//! `omnipilot doctor`: everything that an administrator would have to look at, each with what was
//! found, in numbers, and what to do about it.

mod accounting;
mod disk;
mod files;
mod plugin;
mod rules;
mod slurm;
mod submission;
mod timers;

use std::io::Write;
use std::process::ExitCode;

use model_store::advisor::words::count_of;
use model_store::config::Config;
use model_store::consult::without_number;
use model_store::snapshot::Snapshot;
use serde_json::{Value, json};

use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::slurm::conf::SlurmConf;
use crate::{exit, json, publish};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it should be.
    Ok,
    /// Advice is given, but less well than it could be, or less safely.
    Warning,
    /// Something does not work.
    Error,
    /// It could not be looked at from here.
    Skipped,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Skipped => "skipped",
        }
    }
}

/// One finding.
#[derive(Clone, Debug)]
struct Finding {
    check: &'static str,
    state: State,
    finding: String,
    hint: Option<String>,
}

/// What the checks share; a part is absent where an earlier check could not get it.
#[derive(Default)]
struct Seen {
    slurm: Option<SlurmConf>,
    config: Option<Config>,
    snapshot: Option<Snapshot>,
    /// Whether the plugstack loads the plugin.
    loaded: bool,
    findings: Vec<Finding>,
}

impl Seen {
    fn ok(&mut self, check: &'static str, finding: impl Into<String>) {
        self.push(check, State::Ok, finding.into(), None);
    }

    fn warning(
        &mut self,
        check: &'static str,
        finding: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(check, State::Warning, finding.into(), Some(hint.into()));
    }

    /// A finding by its age, s, which the words tell: a warning where it is older than `most`, or dated ahead of this machine's clock.
    fn aged(&mut self, check: &'static str, words: String, age: i64, most: i64, hint: &str) {
        match age {
            age if is_ahead(age) => self.warning(check, words, CLOCK),
            age if age > most => self.warning(check, words, hint),
            _ => self.ok(check, words),
        }
    }

    fn error(&mut self, check: &'static str, finding: impl Into<String>, hint: impl Into<String>) {
        self.push(check, State::Error, finding.into(), Some(hint.into()));
    }

    fn skipped(&mut self, check: &'static str, why: impl Into<String>) {
        self.push(check, State::Skipped, why.into(), None);
    }

    fn push(&mut self, check: &'static str, state: State, finding: String, hint: Option<String>) {
        self.findings.push(Finding {
            check,
            state,
            finding: without_number(&finding),
            hint,
        });
    }

    fn count(&self, state: State) -> usize {
        self.findings.iter().filter(|f| f.state == state).count()
    }
}

/// Checks all of it. Exit code 1 where something does not work; warnings alone leave it 0.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let mut seen = Seen::default();
    let progress = Progress::start("asking Slurm");
    slurm::check(&mut seen);
    progress.say("looking at files and modes");
    files::check(site, &mut seen);
    slurm::check_gpus(&mut seen);
    progress.say("asking Slurm's accounting");
    accounting::check(&mut seen);
    timers::check(&mut seen);
    progress.say("looking at the plugin");
    plugin::check(site, &mut seen);
    progress.say("trying a submission without one");
    submission::check(&mut seen);
    drop(progress);
    if args.json {
        json::print("doctor", as_json(&seen))?;
    } else {
        print(&seen)?;
    }
    Ok(match seen.count(State::Error) {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(exit::FAILED),
    })
}

fn as_json(seen: &Seen) -> Value {
    let one = |f: &Finding| json!({ "check": f.check, "state": f.state.name(), "finding": f.finding, "hint": f.hint });
    json!({
        "checks": seen.findings.iter().map(one).collect::<Vec<_>>(),
        "errors": seen.count(State::Error),
        "warnings": seen.count(State::Warning),
        "skipped": seen.count(State::Skipped),
    })
}

fn print(seen: &Seen) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for f in &seen.findings {
        writeln!(out, "{:<8} {:<14} {}", f.state.name(), f.check, f.finding)?;
        if let Some(hint) = &f.hint {
            writeln!(out, "{:<8} {:<14} hint: {}", "", "", exit::here(hint))?;
        }
    }
    let (errors, warnings) = (seen.count(State::Error), seen.count(State::Warning));
    writeln!(
        out,
        "{}: {}, {}, {} skipped",
        count_of(seen.findings.len(), "check"),
        count_of(errors, "error"),
        count_of(warnings, "warning"),
        seen.count(State::Skipped)
    )
}

/// What to do about a date in the future.
const CLOCK: &str = "`date -u` here and on the service host shows which clock is wrong; `omnipilot ingest`, `observe` and `train --force` then write new dates";

/// Whether an age, s, is of something that is dated ahead of this machine's clock.
const fn is_ahead(age: i64) -> bool {
    age < -publish::SKEW
}

/// How long ago something was, with what is to be told of a clock that is wrong.
fn ago(age: i64) -> String {
    if is_ahead(age) {
        return format!("{} ahead of this machine's clock", span(-age));
    }
    format!("{} ago", span(age))
}

/// A span of time in words: `4 min`, `7.5 h`, `12 days`.
fn span(seconds: i64) -> String {
    #[allow(clippy::cast_precision_loss)] // seconds
    let s = seconds.max(0) as f64;
    match s {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}
