//! `omnipilot probe`: what was asked for and is not known, measured where it is worth most.

mod ask;
mod script;
mod submit;

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use model_store::advisor::words::count_of;
use model_store::config::Config;
use model_store::options::shorten;
use model_store::probe::{Budget, Plan, PlannedProbe, Taken, plan};
use model_store::snapshot::Snapshot;
use model_store::store::Store;
use serde_json::{Value, json};

use crate::json::document;

use self::ask::Requests;
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::{clock, exit};

/// A probe is not submitted again within this, s.
const NOT_AGAIN: i64 = 30 * 86_400;
/// A probe that was submitted within this, s, counts as if its outcome were there.
const UNDER_WAY: i64 = 2 * 86_400;
/// Probes of one call, unless it says otherwise.
const MOST: usize = 16;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// Rank the probes that are worth their GPU-hours; changes nothing
    Plan(PlanArgs),
    /// Submit them as Slurm arrays, one for each GPU type and number of GPUs
    Run(RunArgs),
}

#[derive(clap::Args)]
struct PlanArgs {
    /// GPU-hours of all probes together [default: `gpu_hours` of `[probe]`]
    #[arg(long, value_name = "HOURS", value_parser = hours, allow_negative_numbers = true)]
    gpu_hours: Option<f64>,
    /// Most probes
    #[arg(long, value_name = "N", default_value_t = MOST)]
    most: usize,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args)]
struct RunArgs {
    #[command(flatten)]
    plan: PlanArgs,
    /// Print the scripts and submit nothing
    #[arg(long)]
    dry_run: bool,
}

fn hours(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    number
        .filter(|h| (0.0..=1e6).contains(h))
        .ok_or_else(|| "not a number of GPU-hours".into())
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.what {
        What::Plan(args) => {
            let work = Work::new(site, args)?;
            work.print(args.json)?;
        }
        What::Run(args) => {
            let mut work = Work::new(site, &args.plan)?;
            let arrays = script::arrays(&work.config, &work.requests, &work.plan.probes)?;
            if args.dry_run {
                for array in &arrays {
                    println!("{}", array.script);
                }
            } else {
                let jobs = submit::submit(&mut work.store, &arrays)?;
                report(&jobs, args.plan.json)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything that a plan is made of.
struct Work {
    config: Config,
    store: Store,
    requests: Requests,
    plan: Plan,
}

impl Work {
    fn new(site: &SiteArgs, args: &PlanArgs) -> anyhow::Result<Self> {
        let config = site.config()?;
        let progress = Progress::start("weighing what could be measured");
        let mut store = Store::open(&config.store).map_err(exit::store)?;
        submit::settle(&mut store)?;
        let snapshot = Snapshot::read(&config.snapshot)
            .map_err(|e| exit::fail(e.to_string(), "`omnipilot train` publishes it"))?;
        let requests = ask::requests(&config, &snapshot, &store)?;
        let now = clock::now();
        let submitted = store.probes(now - NOT_AGAIN).map_err(exit::store)?;
        let taken = |since: i64| -> BTreeSet<Taken> {
            let recent = submitted.iter().filter(|p| p.submitted_at >= since);
            let one = |p: &model_store::store::Probe| Taken {
                key: p.key.clone(),
                gres: p.gres.clone(),
                tp: p.tp,
                precision: p.precision.clone(),
            };
            recent.map(one).collect()
        };
        let budget = Budget {
            gpu_hours: args.gpu_hours.unwrap_or(config.probe.gpu_hours),
            most: args.most,
            hours_each: f64::from(config.probe.minutes) / 60.0,
        };
        let (all, under_way) = (taken(0), taken(now - UNDER_WAY));
        let plan = plan(
            snapshot.knowledge(),
            &requests.asked,
            &all,
            &under_way,
            &budget,
        );
        drop(progress);
        Ok(Self {
            config,
            store,
            requests,
            plan,
        })
    }

    fn print(&self, as_json: bool) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if as_json {
            return writeln!(out, "{}", document("probe.plan", self.json()));
        }
        let Plan {
            probes,
            hopeless,
            under_way,
        } = &self.plan;
        writeln!(
            out,
            "{} of the last {} days: {} refused or explored, {} served",
            count_of(self.requests.asked.len(), "request"),
            ask::WINDOW / 86_400,
            self.requests.wishes,
            self.requests
                .asked
                .len()
                .saturating_sub(self.requests.wishes)
        )?;
        if probes.is_empty() {
            writeln!(out, "no probe is worth its GPU-hours")?;
        } else {
            writeln!(
                out,
                "{:<44} {:<24} {:>6} {:>9} {:>8} {:>6}",
                "model and load", "on", "GPU-h", "gain", "gain/h", "opens"
            )?;
        }
        for probe in probes {
            writeln!(out, "{}", self.line(probe))?;
        }
        for (list, word) in [
            (under_way, "that probes under way may answer"),
            (hopeless, "that no probe on one node here can answer"),
        ] {
            if !list.is_empty() {
                writeln!(
                    out,
                    "{} {word}: {}",
                    count_of(list.len(), "request"),
                    self.names(list)
                )?;
            }
        }
        if !self.requests.unknown.is_empty() {
            let names: Vec<&str> = self.requests.unknown.iter().map(String::as_str).collect();
            writeln!(
                out,
                "{} not known, and never run as others name them: {}",
                count_of(names.len(), "model"),
                shorten(&names.join(", "))
            )?;
            eprintln!("hint: a section `[model.\"NAME\"]` in the configuration lets one be probed");
        }
        Ok(())
    }

    fn line(&self, p: &PlannedProbe) -> String {
        format!(
            "{:<44} {:<24} {:>6.1} {:>9.3} {:>8.3} {:>6}",
            self.load(p.asked),
            p.config,
            p.gpu_hours,
            p.gain,
            p.gain / p.gpu_hours,
            p.opens.len()
        )
    }

    /// `gemma-2-27b-it 1000+200, 64 in flight`.
    fn load(&self, index: usize) -> String {
        let Some(asked) = self.requests.asked.get(index) else {
            return String::new();
        };
        let (name, load) = (&asked.request.card.name, &asked.request.load);
        let name = shorten(name.rsplit('/').next().unwrap_or(name));
        let in_flight = load
            .concurrency
            .map_or_else(|| "saturated".into(), |c| format!("{c:.0} in flight"));
        format!("{name} {:.0}+{:.0}, {in_flight}", load.isl, load.osl)
    }

    fn names(&self, list: &[usize]) -> String {
        let names: Vec<String> = list.iter().take(5).map(|i| self.load(*i)).collect();
        names.join("; ")
    }

    fn json(&self) -> Value {
        let probes: Vec<Value> = self
            .plan
            .probes
            .iter()
            .map(|p| self.probe_json(p))
            .collect();
        let list = |of: &[usize]| -> Vec<String> { of.iter().map(|i| self.load(*i)).collect() };
        json!({
            "requests": self.requests.asked.len(),
            "wishes": self.requests.wishes,
            "probes": probes,
            "gpu_hours": self.plan.probes.iter().map(|p| p.gpu_hours).sum::<f64>(),
            "under_way": list(&self.plan.under_way),
            "hopeless": list(&self.plan.hopeless),
            "unknown": self.requests.unknown,
        })
    }

    fn probe_json(&self, p: &PlannedProbe) -> Value {
        let asked = self.requests.asked.get(p.asked);
        let c = &p.config;
        json!({
            "model": asked.map(|a| &a.request.card.name),
            "load": asked.map(|a| a.request.load),
            "gpu": c.gres, "tp": c.tp, "precision": c.precision.name(), "checkpoint": c.checkpoint,
            "gpu_hours": p.gpu_hours, "gain": p.gain, "gain_per_gpu_hour": p.gain / p.gpu_hours,
            "opens": p.opens.iter().map(|i| self.load(*i)).collect::<Vec<_>>(),
        })
    }
}

fn report(jobs: &[submit::Submitted], as_json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if as_json {
        let all: Vec<Value> = jobs
            .iter()
            .map(|j| json!({ "job": j.id, "probes": j.probes, "gpu_hours": j.gpu_hours }))
            .collect();
        return writeln!(out, "{}", document("probe.run", json!({ "jobs": all })));
    }
    if jobs.is_empty() {
        writeln!(out, "nothing to submit")?;
    }
    for job in jobs {
        writeln!(
            out,
            "submitted array {}: {}, at most {:.1} GPU-hours",
            job.id,
            count_of(job.probes, "probe"),
            job.gpu_hours
        )?;
    }
    Ok(())
}
