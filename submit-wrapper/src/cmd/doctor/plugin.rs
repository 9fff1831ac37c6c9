//! The plugin and its entry in Slurm's plugstack.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use model_store::config::DEFAULT_PATH;

use super::Seen;
use super::files::unreachable;
use crate::cmd::setup::find_plugin;
use crate::plugstack::{self, Entry, Plugstack};
use crate::site::SiteArgs;
use crate::slurm::conf::SlurmConf;

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
    breaks_every_command(seen, &slurm, &found);
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

/// What disturbs or fails the commands of all, tagged or not.
fn breaks_every_command(seen: &mut Seen, slurm: &SlurmConf, found: &Plugstack) {
    for (file, number, word) in &found.wrong {
        let words = format!(
            "{}:{number} begins with `{word}`, where Slurm knows `required PLUGIN`, `optional PLUGIN` and `include FILES`: it is skipped, as every `sbatch` says",
            file.display()
        );
        seen.error("plugstack", words, "write that line anew, or take it out");
    }
    for file in &found.files {
        if let Some((why, hint)) = unreachable(file) {
            let words = format!("{why}, so their `sbatch` and `srun` fail, with a tag or without");
            seen.error("plugstack", words, hint);
        }
    }
    for entry in found.entries.iter().chain(&found.others) {
        if plugin_of(slurm, entry).is_none() {
            seen.error("plugstack", absent(entry), "take the line out (`omnipilot setup --disable` does so with ours), or bring the plugin: `make install`, the package");
        }
    }
}

/// The file that Slurm loads for a line, where there is one.
fn plugin_of(slurm: &SlurmConf, entry: &Entry) -> Option<PathBuf> {
    if entry.plugin.is_absolute() {
        return entry.plugin.exists().then(|| entry.plugin.clone());
    }
    let below = |folder: &PathBuf| folder.join(&entry.plugin);
    slurm
        .plugin_folders()
        .iter()
        .map(below)
        .find(|p| p.exists())
}

fn absent(entry: &Entry) -> String {
    let then = match entry.required {
        true => "so every `sbatch` and `srun` of the cluster fails",
        false => "as every `sbatch` says",
    };
    format!(
        "{}:{} loads {}, which is not there, {then}",
        entry.file.display(),
        entry.number,
        entry.plugin.display()
    )
}

fn one(site: &SiteArgs, seen: &mut Seen, slurm: &SlurmConf, entry: &Entry) {
    let Some(plugin) = plugin_of(slurm, entry) else {
        return; // said of all lines
    };
    seen.loaded = true;
    // The plugin loads the library beside it for a tagged job.
    for file in [plugin.clone(), plugin.with_file_name(plugstack::ADVISOR)] {
        let Ok(data) = fs::metadata(&file) else {
            let words = format!("{} is not there, so no job is advised", file.display());
            let hint = "`make install` or the package brings it together with the plugin";
            return seen.error("plugstack", words, hint);
        };
        if let Some((why, hint)) = unreachable(&file) {
            let words = format!("{why}, so no job of theirs is advised");
            return seen.error("plugstack", words, hint);
        }
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
