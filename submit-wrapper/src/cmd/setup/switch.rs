//! The plugin's entry in Slurm's plugstack: the line that switches it on, written on request and
//! taken away again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Args, Told};
use crate::plugstack::{self, Plugstack};
use crate::slurm::conf::{self, SlurmConf};
use crate::{draft, exit};

/// What switches the plugin on.
pub(super) struct Line {
    /// A command of the shell.
    pub(super) command: String,
}

/// The line where the plugin is off; with `--enable` it is switched on instead.
pub(super) fn on(
    args: &Args,
    slurm: &SlurmConf,
    config: &Path,
    told: &mut Told,
) -> anyhow::Result<Option<Line>> {
    let list = slurm.plugstack();
    let found = plugstack::read(&list);
    if let Some(entry) = found.entries.first() {
        let words = format!("{}, in {}", entry.plugin.display(), entry.file.display());
        told.step("plugin", false, &words)?;
        return Ok(None);
    }
    let Some(plugin) = find(args.plugin.as_deref(), slurm) else {
        let reason = format!("{} is in none of Slurm's plugin folders", plugstack::PLUGIN);
        let hint = "`make install` or the package brings it; `--plugin FILE` names it";
        if args.enable || args.plugin.is_some() {
            return Err(exit::fail(reason, hint));
        }
        eprintln!("warning: {reason}");
        eprintln!("hint: {hint}; `omnipilot submit` advises without it");
        return Ok(None);
    };
    let place = plugstack::place(&list, &found);
    let line = plugstack::line(&plugin, &std::path::absolute(config)?);
    if args.enable {
        if !told.dry {
            write(&place, &line)?;
        }
        let words = format!("{}, by {}", plugin.display(), place.display());
        told.step("plugin", true, &words)?;
        return Ok(None);
    }
    told.step(
        "plugin",
        false,
        &format!("{}, switched off", plugin.display()),
    )?;
    Ok(Some(Line {
        command: command(&place, &line),
    }))
}

/// What switches it on, to be typed. A list that a strict umask hid from users would fail each of their commands, and so would
/// a line that goes on where the last one had no end.
fn command(place: &Path, line: &str) -> String {
    let file = place.display();
    match place.exists() {
        false => format!("(umask 022; echo '{line}' >> {file})"),
        true if lacks_end(place) => format!("(echo; echo '{line}') >> {file}"),
        true => format!("echo '{line}' >> {file}"),
    }
}

/// Whether a file's last line has no end.
fn lacks_end(file: &Path) -> bool {
    fs::read(file).is_ok_and(|text| text.last().is_some_and(|byte| *byte != b'\n'))
}

/// The plugin: the one named, else the first one in Slurm's plugin folders or beside this command.
pub(crate) fn find(named: Option<&Path>, slurm: &SlurmConf) -> Option<PathBuf> {
    if let Some(named) = named {
        return named.exists().then(|| named.to_path_buf());
    }
    let mut folders = slurm.plugin_folders();
    let command = std::env::current_exe().ok();
    let prefix = command.as_deref().and_then(|c| c.parent()?.parent());
    let beside = ["lib", "lib64"].map(|lib| Some(prefix?.join(lib).join("slurm")));
    folders.extend(beside.into_iter().flatten());
    folders.extend(["/usr/lib/slurm", "/usr/lib64/slurm"].map(PathBuf::from));
    let all = folders.into_iter().map(|f| f.join(plugstack::PLUGIN));
    all.into_iter().find(|p| p.exists())
}

/// A file of its own where it is ours, whole or not there; else a further line of the list.
fn write(place: &Path, line: &str) -> anyhow::Result<()> {
    let written = match place.exists() {
        false => draft::replace(place, &format!("{line}\n"), 0o644),
        true => {
            let end = if lacks_end(place) { "\n" } else { "" };
            let list = fs::OpenOptions::new().append(true).open(place);
            list.and_then(|mut list| list.write_all(format!("{end}{line}\n").as_bytes()))
        }
    };
    written.map_err(|e| {
        exit::fail(
            format!("cannot write {}: {e}", place.display()),
            "run it as root, or write the line that `omnipilot setup` prints",
        )
    })
}

/// Takes the entry away: the file that is ours, or the lines in another one.
pub(super) fn off(told: &mut Told) -> anyhow::Result<()> {
    // A controller that does not answer is no reason to leave a plugin switched on.
    let slurm = conf::ask().unwrap_or_default();
    let found = plugstack::read(&slurm.plugstack());
    if found.entries.is_empty() {
        return told.step("plugin", false, "switched off already");
    }
    let mut files: Vec<&PathBuf> = found.entries.iter().map(|e| &e.file).collect();
    files.dedup();
    for file in files {
        if !told.dry {
            remove(file, &found).map_err(|e| {
                exit::fail(
                    format!("cannot change {}: {e}", file.display()),
                    "run it as root, or take the line out by hand",
                )
            })?;
        }
        told.step(
            "plugin",
            true,
            &format!("switched off in {}", file.display()),
        )?;
    }
    Ok(())
}

fn remove(file: &Path, found: &Plugstack) -> std::io::Result<()> {
    let text = fs::read_to_string(file)?;
    let plugins: Vec<String> = found
        .entries
        .iter()
        .map(|e| e.plugin.display().to_string())
        .collect();
    let loads = |line: &&str| {
        let mut words = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        matches!(words.next(), Some("required" | "optional"))
            && words.next().is_some_and(|w| plugins.iter().any(|p| p == w))
    };
    let kept: Vec<&str> = text.lines().filter(|l| !loads(l)).collect();
    let own = file.file_name().is_some_and(|n| n == plugstack::ENTRY);
    if own
        && kept
            .iter()
            .all(|l| l.trim().is_empty() || l.starts_with('#'))
    {
        return fs::remove_file(file);
    }
    let mode = draft::mode_of(&fs::metadata(file)?);
    let text: String = kept.iter().map(|line| format!("{line}\n")).collect();
    draft::replace(file, &text, mode)
}
