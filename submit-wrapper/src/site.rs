//! Which store, snapshot and spool a command works on.

use std::path::PathBuf;

use model_store::config::{Config, DEFAULT_PATH};

use crate::exit;

/// Options that every verb takes.
#[derive(clap::Args)]
pub(crate) struct SiteArgs {
    /// Configuration file [default: /etc/omnipilot/omnipilot.toml]
    #[arg(long, global = true, value_name = "FILE", env = "OMNIPILOT_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Store of past runs; with it alone no configuration is needed
    #[arg(long, global = true, value_name = "DB", env = "OMNIPILOT_STORE")]
    pub(crate) store: Option<PathBuf>,
}

impl SiteArgs {
    /// The configuration: the file given, else `--store` alone, else the default file.
    ///
    /// # Errors
    /// A file that cannot be read or is not a configuration.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        if let (None, Some(store)) = (&self.config, &self.store) {
            return Ok(Config::beside_store(store));
        }
        let path = self.config.clone().unwrap_or_else(|| DEFAULT_PATH.into());
        let mut config = Config::read(&path).map_err(|e| {
            exit::with_code(
                exit::USAGE,
                e.to_string(),
                "`--config FILE` names another one; `--store DB` alone needs none",
            )
        })?;
        if let Some(store) = &self.store {
            config.store.clone_from(store);
        }
        Ok(config)
    }

    /// Another verb with the options that this one was given, to be told to the user.
    pub(crate) fn command(&self, verb: &str) -> String {
        match (&self.config, &self.store) {
            (Some(file), _) => format!("omnipilot --config {} {verb}", file.display()),
            (None, Some(store)) => format!("omnipilot --store {} {verb}", store.display()),
            (None, None) => format!("omnipilot {verb}"),
        }
    }
}
