//! The command `omnipilot`: advises, submits, wraps the engine inside the job, brings outcomes
//! into the store, trains and publishes.
//!
//! Each verb is one module under [`cmd`]: it parses nothing itself, takes its arguments and the
//! [`SiteArgs`](site::SiteArgs), and prints data on standard output and everything else on standard error.

mod account;
mod ask;
mod board;
mod clock;
mod cmd;
mod draft;
mod drift;
mod engine;
mod exit;
mod folders;
mod holder;
mod input;
mod json;
mod kept;
mod plugstack;
mod preferences;
mod prices;
mod progress;
mod publish;
mod shared_folder;
mod site;
mod slurm;
mod stated;
mod tables;
mod usage;
mod waits;
mod wants;
mod who;

use clap::{CommandFactory, Parser, Subcommand};

/// Chooses GPU type, tensor parallel and precision for LLM serving jobs on Slurm
#[derive(Parser)]
#[command(
    name = "omnipilot",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    site: site::SiteArgs,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Set OmniPilot up on this cluster, and print the line that switches the plugin on
    Setup(cmd::setup::Args),
    /// Check everything that advice depends on, and say what to do about each finding
    Doctor(cmd::doctor::Args),
    /// Make a store of past runs from the built-in published figures
    Init(cmd::init::Args),
    /// Ask Slurm for the cluster's nodes, GPUs and load
    Observe(cmd::observe::Args),
    /// Fit, calibrate and publish a model from the store
    Train(cmd::train::Args),
    /// List trained models, compare two, or publish an earlier one again
    Models(cmd::models::Args),
    /// Show what would be chosen for a model and a load, and why
    Advise(cmd::advise::Args),
    /// Say why an advice is what it is, and what it would take for another configuration to win
    Explain(cmd::explain::Args),
    /// Submit a batch script under an advice, without the plugin
    Submit(cmd::submit::Args),
    /// Inside a job: start the engine as advised, and report its outcome
    Run(cmd::run::Args),
    /// Show my jobs that serve a model: where they answer, and how fast against what was expected
    Status(cmd::status::Args),
    /// End a job of mine once its engine has no request in flight
    Stop(cmd::stop::Args),
    /// Bring outcome files and Slurm's accounting into the store
    Ingest(cmd::ingest::Args),
    /// Import measured runs from files
    Import(cmd::import::Args),
    /// Copy the store while it is in use, or put a copy back
    Store(cmd::store::Args),
    /// Predict the eight targets for cases from a CSV file
    Predict(cmd::predict::Args),
    /// Measure what was asked for and is not known, where it is worth most
    Probe(cmd::probe::Args),
    /// Write an advice for other launchers, or past runs as a table
    Export(cmd::export::Args),
    /// Hold runs out, predict them, and say how far to trust predictions and decisions
    Evaluate(cmd::evaluate::Args),
    /// Write what was advised and what came of it as one HTML file
    Report(cmd::report::Args),
    /// Write man pages and completions
    #[command(hide = true)]
    Generate(cmd::generate::Args),
}

fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage::tell(&error),
    };
    exit::on_site(cli.site.options());
    let result = match cli.verb {
        Verb::Setup(args) => cmd::setup::run(&cli.site, &args),
        Verb::Doctor(args) => cmd::doctor::run(&cli.site, &args),
        Verb::Init(args) => cmd::init::run(&cli.site, &args),
        Verb::Observe(args) => cmd::observe::run(&cli.site, &args),
        Verb::Train(args) => cmd::train::run(&cli.site, &args),
        Verb::Models(args) => cmd::models::run(&cli.site, &args),
        Verb::Advise(args) => cmd::advise::run(&cli.site, &args),
        Verb::Explain(args) => cmd::explain::run(&cli.site, &args),
        Verb::Submit(args) => cmd::submit::run(&cli.site, &args),
        Verb::Run(args) => cmd::run::run(&cli.site, &args),
        Verb::Status(args) => cmd::status::run(&cli.site, &args),
        Verb::Stop(args) => cmd::stop::run(&args),
        Verb::Ingest(args) => cmd::ingest::run(&cli.site, &args),
        Verb::Import(args) => cmd::import::run(&cli.site, &args),
        Verb::Store(args) => cmd::store::run(&cli.site, &args),
        Verb::Predict(args) => cmd::predict::run(&cli.site, &args),
        Verb::Probe(args) => cmd::probe::run(&cli.site, &args),
        Verb::Export(args) => cmd::export::run(&cli.site, &args),
        Verb::Evaluate(args) => cmd::evaluate::run(&cli.site, &args),
        Verb::Report(args) => cmd::report::run(&cli.site, &args),
        Verb::Generate(args) => cmd::generate::run(Cli::command(), &args),
    };
    exit::finish(result)
}
