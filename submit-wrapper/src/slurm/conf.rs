//! What the controller says of its own configuration, from `scontrol show config`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::command::{self, CommandError};

/// Keys of `slurm.conf` as the controller has them, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlurmConf {
    keys: BTreeMap<String, String>,
}

/// Asks the controller.
///
/// # Errors
/// `scontrol` is absent, late or fails.
pub(crate) fn ask() -> Result<SlurmConf, CommandError> {
    command::output("scontrol", &["show", "config"]).map(|text| parse(&text))
}

/// `KEY = VALUE` lines; `(null)` is no value.
fn parse(text: &str) -> SlurmConf {
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim();
        (value != "(null)").then(|| (key.trim().to_ascii_lowercase(), value.to_owned()))
    };
    SlurmConf {
        keys: text.lines().filter_map(pair).collect(),
    }
}

impl SlurmConf {
    /// The value of a key as `slurm.conf` spells it.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.keys.get(&key.to_ascii_lowercase()).map(String::as_str)
    }

    /// A comma-separated value.
    fn list(&self, key: &str) -> Vec<&str> {
        let text = self.get(key).unwrap_or_default();
        text.split(',').map(str::trim).collect()
    }

    /// Whether a comma-separated value has this word, whatever the case.
    pub(crate) fn has(&self, key: &str, word: &str) -> bool {
        self.list(key).iter().any(|w| w.eq_ignore_ascii_case(word))
    }

    /// The cluster's name; `-` where it has none.
    pub(crate) fn cluster(&self) -> &str {
        self.get("ClusterName").unwrap_or("-")
    }

    /// The release, as in `22.05.8`.
    pub(crate) fn version(&self) -> &str {
        self.get("SLURM_VERSION").unwrap_or("-")
    }

    /// Where SPANK plugins are listed: what is configured, else beside `slurm.conf`.
    pub(crate) fn plugstack(&self) -> PathBuf {
        let configured = self.get("PlugStackConfig").filter(|p| p.starts_with('/'));
        configured.map_or_else(|| self.folder().join("plugstack.conf"), PathBuf::from)
    }

    fn folder(&self) -> &Path {
        let conf = Path::new(self.get("SLURM_CONF").unwrap_or("/etc/slurm/slurm.conf"));
        conf.parent().unwrap_or(Path::new("/etc/slurm"))
    }

    /// Folders in which Slurm looks for plugins.
    pub(crate) fn plugin_folders(&self) -> Vec<PathBuf> {
        let text = self.get("PluginDir").unwrap_or_default();
        let folders = text.split(':').filter(|f| f.starts_with('/'));
        folders.map(PathBuf::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Configuration data as of 2026-11-23T13:31:05\n\
        AccountingStoreFlags    = job_comment,job_env\n\
        PlugStackConfig         = /etc/slurm/plugstack.conf\n\
        JobSubmitPlugins        = (null)\n\
        PluginDir               = /usr/lib/a:/usr/lib/b\n\
        SLURM_VERSION           = 22.05.8\n";

    #[test]
    fn keys_are_found_whatever_their_case() {
        let conf = parse(TEXT);
        assert_eq!(conf.version(), "22.05.8");
        assert_eq!(conf.get("jobsubmitplugins"), None);
        assert!(conf.has("accountingstoreflags", "JOB_COMMENT"));
        assert!(!conf.has("AccountingStoreFlags", "job"));
        assert_eq!(conf.plugin_folders().len(), 2);
    }

    #[test]
    fn a_plugstack_that_is_not_named_lies_beside_slurm_conf() {
        let conf = parse("SLURM_CONF = /opt/slurm/etc/slurm.conf\n");
        assert_eq!(conf.plugstack(), Path::new("/opt/slurm/etc/plugstack.conf"));
        assert_eq!(
            parse(TEXT).plugstack(),
            Path::new("/etc/slurm/plugstack.conf")
        );
    }
}
