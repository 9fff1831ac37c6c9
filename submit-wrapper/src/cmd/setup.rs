//! `omnipilot setup`: from an installed command to advice on this cluster, by one call that can be
//! repeated: configuration, folders, store, observation, first snapshot; and the one line that
//! switches the plugin on.

mod services;
mod switch;
mod text;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use model_store::config::{Config, DEFAULT_PATH};
use model_store::snapshot::Snapshot;
use serde_json::{Value, json};

pub(crate) use self::switch::find as find_plugin;
use self::text::Paths;
pub(crate) use self::text::toml_string;
use crate::account::Account;
use crate::folders::make_parent;
use crate::progress::Progress;
use crate::site::SiteArgs;
use crate::slurm::cluster::{self, Observed};
use crate::slurm::conf::{self, SlurmConf};
use crate::{clock, draft, exit, json, prices, shared_folder};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Account that owns store, snapshot and spool [default: `omnipilot` for root, else yourself]
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Folder of store and snapshot, for a new configuration
    #[arg(long, value_name = "DIR", default_value = "/var/lib/omnipilot")]
    state: PathBuf,
    /// Folder into which jobs write their outcome, for a new configuration
    #[arg(long, value_name = "DIR", default_value = "/var/spool/omnipilot")]
    spool: PathBuf,
    /// Snapshot, on a file system that all submitting machines see [default: in `--state`]
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// The plugin [default: looked for in Slurm's plugin folders and beside this command]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Begin with the figures of product documentation alone: the first training then takes seconds
    #[arg(long)]
    figures_only: bool,
    /// Switch the plugin on too: write the entry in Slurm's plugstack
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Switch the plugin off: take its entry out of Slurm's plugstack, and do nothing else
    #[arg(long)]
    disable: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// What was done, told as it is done.
struct Told {
    steps: Vec<Value>,
    dry: bool,
    quiet: bool,
}

impl Told {
    /// One step: what it was about, whether anything had to be done, and the words.
    fn step(&mut self, step: &str, changed: bool, words: &str) -> anyhow::Result<()> {
        let (state, verb) = match (changed, self.dry) {
            (false, _) => ("found", "found"),
            (true, false) => ("made", "made"),
            (true, true) => ("would", "would be made"),
        };
        self.steps
            .push(json!({ "step": step, "state": state, "what": words }));
        if !self.quiet {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{step:<13} {verb:<13} {words}")?;
            out.flush()?;
        }
        Ok(())
    }
}

/// Runs the verb.
pub(crate) fn run(site: &SiteArgs, args: &Args) -> anyhow::Result<ExitCode> {
    let mut told = Told {
        steps: Vec::new(),
        dry: args.dry_run,
        quiet: args.json,
    };
    if args.disable {
        switch::off(&mut told)?;
        return finish(told, None, false);
    }
    let progress = Progress::start("asking Slurm what the cluster has");
    let slurm = conf::ask().map_err(|e| exit::fail(e.to_string(), e.hint()))?;
    let seen = cluster::observe(clock::now()).map_err(|e| exit::fail(e.to_string(), e.hint()))?;
    drop(progress);
    let account = Account::find(args.account.as_deref())?;
    tell_cluster(&mut told, &slurm, &seen)?;
    let (path, config) = configuration(site, args, &slurm, &seen, &mut told)?;
    folders(&config, &account, &mut told)?;
    store_and_snapshot(&path, &config, &account, args.figures_only, &mut told)?;
    services::open(&config, &mut told)?;
    let line = switch::on(args, &slurm, &path, &mut told)?;
    finish(told, line, true)
}

fn tell_cluster(told: &mut Told, slurm: &SlurmConf, seen: &Observed) -> anyhow::Result<()> {
    let gpus = |p: &model_store::advisor::GpuPool| format!("{} x {}", p.total, p.gres);
    let gpus: Vec<String> = seen.state.pools.iter().map(gpus).collect();
    let gpus = if gpus.is_empty() {
        "no GPUs with a type".to_owned()
    } else {
        gpus.join(", ")
    };
    let words = format!("{}, Slurm {}: {gpus}", slurm.cluster(), slurm.version());
    told.step("cluster", false, &words)
}

/// The configuration that is there, or a new one.
fn configuration(
    site: &SiteArgs,
    args: &Args,
    slurm: &SlurmConf,
    seen: &Observed,
    told: &mut Told,
) -> anyhow::Result<(PathBuf, Config)> {
    let path = site.file().unwrap_or_else(|| DEFAULT_PATH.into());
    if path.exists() {
        let config = site.config()?;
        told.step(
            "configuration",
            false,
            &format!("{}, left as it is", path.display()),
        )?;
        let missing = |gres: &&str| prices::gpu_of(&config, gres).is_none();
        let types = seen.state.pools.iter().map(|p| p.gres.as_str());
        for gres in types.filter(missing) {
            eprintln!("warning: GPU type `{gres}` has no meaning here, so it is never advised");
            eprintln!(
                "hint: `[gpu.\"{gres}\"]` with `is = \"A100-80GB\"` or another name of the catalogue gives it one"
            );
        }
        return Ok((path, config));
    }
    let store = site.store.clone().unwrap_or(args.state.join("store.db"));
    let snapshot = args.snapshot.clone();
    let paths = Paths {
        store: &absolute(&store)?,
        snapshot: &absolute(&snapshot.unwrap_or(args.state.join("model.snapshot")))?,
        spool: &absolute(&args.spool)?,
    };
    let text = text::configuration(slurm.cluster(), paths, &seen.state.pools);
    let config =
        Config::parse(&text).map_err(|e| exit::fail(format!("{}: {e}", path.display()), ""))?;
    if !told.dry {
        write_new(&path, &text)?;
    }
    told.step("configuration", true, &path.display().to_string())?;
    Ok((path, config))
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    Ok(std::path::absolute(path)?)
}

/// By a rename, readable by every user whatever the umask.
fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let cannot = |e: std::io::Error| {
        exit::fail(
            format!("cannot write {}: {e}", path.display()),
            "run it as a user who may, or name another place with `--config FILE`",
        )
    };
    make_parent(path)?;
    draft::replace(path, text, 0o644).map_err(cannot)
}

/// Folders of store, snapshot and spool, of the account and with the modes that they need.
fn folders(config: &Config, account: &Account, told: &mut Told) -> anyhow::Result<()> {
    let parent = |file: &Path| file.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut state = vec![parent(&config.store), parent(&config.snapshot)];
    state.dedup();
    let all = state.into_iter().map(|folder| (folder, 0o755));
    for (folder, mode) in all.chain([(config.spool.clone(), shared_folder::MODE)]) {
        let changed = if told.dry {
            !folder.exists()
        } else {
            account
                .folder(&folder, mode)
                .map_err(|e| cannot_make(&folder, &e))?
        };
        if mode == shared_folder::MODE && !told.dry {
            shared_folder::adopt_path(&folder).map_err(|e| cannot_make(&folder, &e))?;
        }
        let words = format!("{} (mode {mode:o}, of {})", folder.display(), account.name);
        told.step("folder", changed, &words)?;
    }
    Ok(())
}

fn cannot_make(folder: &Path, error: &std::io::Error) -> anyhow::Error {
    exit::fail(
        format!("cannot make {}: {error}", folder.display()),
        "run it as root, or choose another place with `--state` and `--spool`",
    )
}

/// Store, observation and snapshot, made by the verbs that the timers run, as the account that they run as.
fn store_and_snapshot(
    path: &Path,
    config: &Config,
    account: &Account,
    figures_only: bool,
    told: &mut Told,
) -> anyhow::Result<()> {
    let file = path.display().to_string();
    let dry = told.dry;
    let verb = |verb: &str| match dry {
        true => Ok(()),
        false => account.run(&["--config", &file, verb], verb == "train"),
    };
    let (store, snapshot) = (config.store.display(), config.snapshot.display());
    let new = !config.store.exists();
    // What a store holds is not changed: it may have been begun with less.
    if new && !dry {
        let whole: &[&str] = &["--config", &file, "init"];
        let words = [whole, &["--figures-only"][..usize::from(figures_only)]].concat();
        account.run(&words, false)?;
    }
    told.step("store", new, &format!("{store}, with published figures"))?;
    verb("observe")?;
    told.step("observation", true, "nodes, GPUs and load, from Slurm")?;
    if verb("ingest").is_ok() {
        told.step(
            "accounting",
            true,
            "how long jobs waited, from Slurm's accounting",
        )?;
    } else {
        eprintln!(
            "warning: without Slurm's accounting nothing is learnt from jobs; advice rests on published figures"
        );
    }
    let new = Snapshot::read(&config.snapshot).is_err();
    if new {
        verb("train")?;
    }
    told.step("snapshot", new, &snapshot.to_string())
}

/// Prints what is left to do.
/// What is left to do by hand, where `more` is to be done: who switches it off is not told how to go on.
fn finish(told: Told, line: Option<switch::Line>, more: bool) -> anyhow::Result<ExitCode> {
    if told.quiet {
        let line = line.as_ref().map(|l| l.command.clone());
        let object = json!({ "dry_run": told.dry, "steps": told.steps, "switch_on": line });
        json::print("setup", object)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !more {
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(line) = line {
        println!(
            "\nthe plugin is off; this one line switches it on, on each machine where jobs are submitted:"
        );
        println!("  {}", line.command);
    }
    if !told.dry && Path::new("/run/systemd/system").exists() {
        println!(
            "and this one starts the timers that bring in outcomes and train, on one machine:"
        );
        println!(
            "  systemctl enable --now omnipilot-ingest.timer omnipilot-observe.timer omnipilot-train.timer"
        );
    }
    if !told.dry && !told.steps.is_empty() {
        exit::hint("`omnipilot doctor` checks all of it");
    }
    Ok(ExitCode::SUCCESS)
}
