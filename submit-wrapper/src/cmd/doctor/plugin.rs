//! The plugin and its entry in Slurm's plugstack.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use model_store::config::DEFAULT_PATH;

use super::Seen;
use crate::cmd::setup::find_plugin;
use crate::plugstack::{self, Entry};
use crate::site::SiteArgs;

pub(super) fn check(site: &SiteArgs, seen: &mut Seen) {
    let Some(slurm) = seen.slurm.clone() else {
        return seen.skipped("plugstack", "Slurm does not answer");
    };
    let list = slurm.plugstack();
    let found = plugstack::read(&list);
    for (file, reason) in &found.unreadable {
        let words = format!("{}: {reason}", file.display());
        seen.error("plugstack", words, "every user's `sbatch` has to read it");
    }
    match &found.entries[..] {
        [] => {
            let hint = match find_plugin(None, &slurm) {
                Some(_) => "`omnipilot setup` prints the line that switches it on".to_owned(),
                None => format!("`make install` or the package brings {}", plugstack::PLUGIN),
            };
            let words = format!(
                "{} does not load the plugin, so `--llm-model` is no option of sbatch",
                list.display()
            );
            seen.warning("plugstack", words, hint);
        }
        [entry] => one(site, seen, &slurm, entry),
        several => seen.error(
            "plugstack",
            format!(
                "the plugin is loaded {} times, in {}",
                several.len(),
                files(several)
            ),
            "leave one of the lines",
        ),
    }
}

fn files(entries: &[Entry]) -> String {
    let names: Vec<String> = entries
        .iter()
        .map(|e| e.file.display().to_string())
        .collect();
    names.join(" and ")
}

fn one(site: &SiteArgs, seen: &mut Seen, slurm: &crate::slurm::conf::SlurmConf, entry: &Entry) {
    let folders = slurm.plugin_folders();
    let below = |folder: &std::path::PathBuf| folder.join(&entry.plugin);
    let absolute = entry.plugin.is_absolute().then(|| entry.plugin.clone());
    let plugin = absolute.or_else(|| folders.iter().map(below).find(|p| p.exists()));
    let Some(plugin) = plugin.filter(|p| p.exists()) else {
        return seen.error(
            "plugstack",
            format!("{} loads {}, which is not there", entry.file.display(), entry.plugin.display()),
            "`omnipilot setup --disable` takes the line out; `make install` or the package brings the plugin",
        );
    };
    seen.loaded = true;
    // The plugin loads the library beside it for a tagged job.
    for file in [plugin.clone(), plugin.with_file_name(plugstack::ADVISOR)] {
        let Ok(data) = fs::metadata(&file) else {
            let words = format!("{} is not there, so no job is advised", file.display());
            let hint = "`make install` or the package brings it together with the plugin";
            return seen.error("plugstack", words, hint);
        };
        if data.mode() & 0o022 != 0 {
            let words = format!("{} can be written by more than its owner", file.display());
            let hint = format!(
                "`chmod go-w {}`: it runs in every user's sbatch",
                file.display()
            );
            return seen.error("plugstack", words, hint);
        }
    }
    if entry.required {
        seen.warning(
            "plugstack",
            "the plugin is `required`: should it not load, every sbatch and srun of the cluster fails",
            format!("write `optional` in {}", entry.file.display()),
        );
    }
    let given = entry.config.clone().unwrap_or_else(|| DEFAULT_PATH.into());
    let ours = site.file().unwrap_or_else(|| DEFAULT_PATH.into());
    let same = |a: &Path, b: &Path| fs::canonicalize(a).ok() == fs::canonicalize(b).ok();
    if !same(&given, &ours) {
        return seen.warning(
            "plugstack",
            format!(
                "the plugin reads {}, this command {}",
                given.display(),
                ours.display()
            ),
            format!(
                "`omnipilot --config {} doctor` checks what the plugin reads",
                given.display()
            ),
        );
    }
    let words = format!("{} loads {}", entry.file.display(), plugin.display());
    seen.ok("plugstack", words);
}
