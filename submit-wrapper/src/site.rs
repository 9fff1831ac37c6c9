//! Which store, snapshot and spool a command works on.

use std::path::PathBuf;

use model_store::config::{Config, ConfigError, DEFAULT_PATH};

use crate::exit;
use model_store::quoting::quoted;

/// Options that every verb takes.
#[derive(clap::Args)]
pub(crate) struct SiteArgs {
    /// Configuration file [env: OMNIPILOT_CONFIG, where `--store` is not given] [default:
    /// /etc/omnipilot/omnipilot.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Store of past runs; without `--config` no configuration is read, and the snapshot lies beside the store
    #[arg(long, global = true, value_name = "DB")]
    pub(crate) store: Option<PathBuf>,
}

impl SiteArgs {
    /// The configuration: the file given, else `--store` alone, else the file that the environment
    /// names, else the default file. An environment made for the site's own store must not turn
    /// `--store scratch.db` into a command that publishes over the site's snapshot.
    ///
    /// # Errors
    /// A file that cannot be read or is not a configuration.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        if let (None, Some(store)) = (&self.config, &self.store) {
            return Ok(Config::beside_store(store));
        }
        let path = self.file().unwrap_or_else(|| DEFAULT_PATH.into());
        let mut config = Config::read(&path).map_err(|e| {
            let hint = match &e {
                ConfigError::Read { .. } => {
                    "`omnipilot setup` writes one; `--config FILE` names another one; `--store DB` alone needs none"
                }
                ConfigError::Parse { .. } => "omnipilot.toml(5) explains every key",
            };
            exit::with_code(exit::USAGE, e.to_string(), hint)
        })?;
        if let Some(store) = &self.store {
            config.store.clone_from(store);
        }
        Ok(config)
    }

    /// The configuration file that was named, by `--config` or by the environment.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        let named = std::env::var_os("OMNIPILOT_CONFIG").filter(|name| !name.is_empty());
        self.config.clone().or_else(|| named.map(PathBuf::from))
    }

    /// The options that name the site, as they would be typed behind `omnipilot`; empty where none was given.
    pub(crate) fn options(&self) -> String {
        match (&self.config, &self.store) {
            (Some(file), _) => format!(" --config {}", quoted(&file.display().to_string())),
            (None, Some(store)) => format!(" --store {}", quoted(&store.display().to_string())),
            (None, None) => String::new(),
        }
    }
}
