//! `omnipilot generate DIR`, not shown in the help: man pages and completions, made from the same tables
//! that the commands are parsed from and the plugin registers. `make install` and the packages call it.

mod examples;
mod pages;
mod surfaces;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use crate::exit;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder below which `man` and `completions` are made
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Instead: the surfaces of operations, fitted to the tables of this folder, as `ops.bin`
    #[arg(long, value_name = "TABLES")]
    operations: Option<PathBuf>,
}

/// Writes everything, and prints the name of each file.
pub(crate) fn run(command: Command, args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(tables) = &args.operations {
        return operations(tables, &args.folder.join("ops.bin"));
    }
    // `help` needs no page of its own, and what it prints is in all of them.
    let command = command.disable_help_subcommand(true);
    let files = [pages(&command)?, completions(&command)].concat();
    for (name, text) in files {
        let path = args.folder.join(name);
        write(&path, &text).map_err(|e| {
            exit::fail(
                format!("cannot write {}: {e}", path.display()),
                "name a folder that you may write to",
            )
        })?;
        println!("{}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Fits the surfaces, and prints how each foretells operations that it was not fitted to.
fn operations(tables: &Path, to: &Path) -> anyhow::Result<ExitCode> {
    let (found, told) = surfaces::of_folder(tables).map_err(|e| {
        exit::fail(
            format!("cannot read {}: {e}", tables.display()),
            "name a folder of `SYSTEM.FAMILY.SOURCE.TABLE.parquet`, compressed by Snappy or not at all",
        )
    })?;
    for (key, held) in told {
        let Some(held) = held else { continue };
        println!(
            "{:?} {:?} {}: {:.1} % median, {:.1} % mean of {} held out",
            key.system,
            key.op,
            key.format,
            held.median * 100.0,
            held.mean * 100.0,
            held.n
        );
    }
    write(to, &found.write()).map_err(|e| {
        exit::fail(
            format!("cannot write {}: {e}", to.display()),
            "name a folder that you may write to",
        )
    })?;
    println!("{}", to.display());
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
    fs::write(path, text)
}

/// A file below the folder, and its bytes.
type Files = Vec<(String, Vec<u8>)>;

/// A page for the command and one for each verb; the configuration's and the plugin's.
fn pages(command: &Command) -> std::io::Result<Files> {
    let mut files = vec![
        ("man/man5/omnipilot.toml.5".into(), pages::configuration()),
        ("man/man8/spank_omnipilot.8".into(), pages::plugin()),
        ("man/man1/omnipilot.1".into(), pages::command(command)?),
    ];
    let globals: Vec<_> = command
        .get_arguments()
        .filter(|a| a.is_global_set())
        .collect();
    for verb in command.get_subcommands().filter(|v| !v.is_hide_set()) {
        let mut verb = verb.clone().args(globals.iter().copied());
        let short = verb.get_name().to_owned();
        let name = format!("omnipilot-{short}");
        verb = verb
            .bin_name(name.replace('-', " "))
            .name(name.clone())
            .version(env!("CARGO_PKG_VERSION"));
        files.push((format!("man/man1/{name}.1"), pages::verb(&verb, &short)?));
    }
    Ok(files)
}

fn completions(command: &Command) -> Files {
    let shells = [
        (Shell::Bash, "completions/bash/omnipilot"),
        (Shell::Zsh, "completions/zsh/_omnipilot"),
        (Shell::Fish, "completions/fish/omnipilot.fish"),
    ];
    let one = |(shell, name): (Shell, &str)| {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut command.clone(), "omnipilot", &mut text);
        (name.to_owned(), text)
    };
    shells.into_iter().map(one).collect()
}
