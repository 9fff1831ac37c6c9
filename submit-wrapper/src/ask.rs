//! The `--llm-*` options on the command line, made from the one table that the plugin registers.

use clap::{Arg, ArgMatches, Command, error::ErrorKind};
use model_store::job_request::Given;
use model_store::options::{OPTIONS, RawOptions, aliases};

use crate::exit;

/// The options of one request. Each is spelt as for `sbatch`, without `llm-`, or as engines spell it.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskArgs {
    /// What was given.
    pub(crate) options: RawOptions,
    /// The same as text: long name and value.
    pub(crate) given: Vec<(&'static str, String)>,
}

/// Where the job would run: the site's rules are asked for it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct PlaceArgs {
    /// Partition or partitions of the job, as `sbatch` takes them [default: the cluster's]
    #[arg(long, value_name = "NAMES", help_heading = "Where to serve")]
    partition: Option<String>,
    /// Account of the job [default: the user's]
    #[arg(long, value_name = "NAME", help_heading = "Where to serve")]
    account: Option<String>,
    /// QOS of the job [default: that of the user in the account]
    #[arg(long, value_name = "NAME", help_heading = "Where to serve")]
    qos: Option<String>,
}

impl PlaceArgs {
    /// As options of a job.
    pub(crate) fn given(&self) -> Given {
        Given::of(|name| match name {
            "partition" => self.partition.clone(),
            "account" => self.account.clone(),
            "qos" => self.qos.clone(),
            _ => None,
        })
    }
}

/// A verb that needs a model was given none.
pub(crate) fn no_model() -> anyhow::Error {
    exit::with_code(
        exit::USAGE,
        "no model was named",
        "`--model meta-llama/Llama-3.1-8B-Instruct`, or a directory with config.json; `omnipilot models cards` lists the names",
    )
}

impl clap::Args for AskArgs {
    fn augment_args(command: Command) -> Command {
        OPTIONS.iter().fold(command, |command, spec| {
            command.arg(
                Arg::new(spec.name)
                    .long(spec.name)
                    .visible_aliases(aliases(spec.name))
                    .value_name(spec.metavar)
                    .overrides_with(spec.name) // as for `sbatch`, the last one counts
                    .allow_negative_numbers(true)
                    .help(spec.help)
                    .help_heading("What to serve"),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for AskArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut asked = Self::default();
        asked.update_from_arg_matches(matches)?;
        Ok(asked)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for spec in &OPTIONS {
            if let Some(value) = matches.get_one::<String>(spec.name) {
                self.options.set(spec.name, value).map_err(|e| {
                    let text = format!("{e}\n  hint: {}\n", e.hint);
                    clap::Error::raw(ErrorKind::ValueValidation, text)
                })?;
                self.given.push((spec.name, value.clone()));
            }
        }
        Ok(())
    }
}
