//! The `sbatch` that is to be started, or printed.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use model_store::job_rewrite::Edit;
use model_store::reading::Component;
use model_store::sbatch_line::{SbatchLine, script_without};
use model_store::sbatch_options::variable_of;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::script::Script;
use crate::exit;
use model_store::quoting::quoted;
use model_store::test_only::{Word, ask};

/// True inside a job.
pub(super) fn inside_job() -> bool {
    std::env::var_os("SLURM_JOB_ID").is_some()
}

/// What one component's part of the command line becomes.
struct Part {
    line: SbatchLine,
    edits: Vec<Edit>,
}

/// A submission under way.
pub(super) struct Launch {
    parts: Vec<Part>,
    /// The script's name and its arguments.
    tail: Vec<String>,
    /// The script.
    pub(super) script: Script,
    /// True where the script or anybody names the job.
    is_named: bool,
    environment: Vec<(String, String)>,
    /// Directives of the script that are left out, each with its component.
    without: Vec<(u32, String)>,
    dry_run: bool,
    json: bool,
}

impl Launch {
    pub(super) fn new(
        all: &[Component],
        last: &SbatchLine,
        script: Script,
        dry_run: bool,
        json: bool,
    ) -> Self {
        let first = all.first();
        let named = |c: &Component| c.typed.has("job-name") || c.directives.has("job-name");
        let part = |c: &Component| Part {
            line: c.typed.clone(),
            edits: Vec::new(),
        };
        Self {
            parts: all.iter().map(part).collect(),
            tail: last.split_without(&[]).1,
            script,
            is_named: first.is_some_and(named) || std::env::var_os("SBATCH_JOB_NAME").is_some(),
            environment: Vec::new(),
            without: Vec::new(),
            dry_run,
            json,
        }
    }

    pub(super) fn edit(&mut self, number: u32, edits: Vec<Edit>) {
        if let Some(part) = self.parts.get_mut(number as usize) {
            part.edits.extend(edits);
        }
    }

    /// Leaves directives of a component out of the script.
    pub(super) fn leave_out_directives(&mut self, number: u32, names: Vec<String>) {
        self.without
            .extend(names.into_iter().map(|name| (number, name)));
    }

    pub(super) fn comment(&mut self, number: u32, comment: String) {
        let edit = Edit {
            name: "comment".into(),
            value: Some(comment),
        };
        self.edit(number, vec![edit]);
    }

    pub(super) fn has_several(&self) -> bool {
        self.parts.len() > 1
    }

    pub(super) fn set(&mut self, name: String, value: String) {
        self.environment.push((name, value));
    }

    /// The job goes as it was written.
    pub(super) fn forget_all(&mut self) {
        self.parts.iter_mut().for_each(|part| part.edits.clear());
        self.environment.clear();
        self.without.clear();
    }

    /// Every option of ours is left out: an `sbatch` without the plugin knows none, and one with it
    /// would ask again.
    fn words(&self) -> Vec<String> {
        let mut out = Vec::new();
        for (number, part) in self.parts.iter().enumerate() {
            if number > 0 {
                out.push(":".to_owned());
            }
            // An empty constraint takes one in the script away.
            let set = |e: &Edit| match (&e.value, e.name.as_str()) {
                (Some(value), name) => Some(format!("--{name}={value}")),
                (None, "constraint") => Some("--constraint=".into()),
                (None, _) => None,
            };
            out.extend(part.edits.iter().filter_map(set));
            let names: Vec<&str> = part.edits.iter().map(|e| e.name.as_str()).collect();
            out.extend(part.line.split_without(&names).0);
        }
        out
    }

    /// What slurmctld says of the form as it stands now.
    pub(super) fn shown(&self) -> Word {
        let mut words = self.words();
        words.insert(0, "--test-only".to_owned());
        match self.command(words) {
            Ok((mut command, _held)) => ask(&mut command),
            Err(_) => Word::Silent,
        }
    }

    /// True where something is to be changed in what the job asks for.
    pub(super) fn changes_options(&self) -> bool {
        let option = |e: &Edit| e.name != "comment";
        self.parts.iter().any(|part| part.edits.iter().any(option))
    }

    /// Prints the command, or becomes it. Names that begin with `SLURM_` reach the job under every
    /// form of `--export`.
    pub(super) fn start(self) -> anyhow::Result<ExitCode> {
        let mut words = self.words();
        if self.dry_run {
            let stripped = self.without_ours();
            words.extend(self.tail.iter().cloned());
            self.print(&words, stripped.is_some())?;
            return Ok(ExitCode::SUCCESS);
        }
        let (mut command, held) = self.command(words)?;
        let error = command.exec();
        drop(held);
        Err(exit::fail(
            format!("cannot start sbatch: {error}"),
            "Slurm's client commands must be in PATH",
        ))
    }

    /// The script without what is left out of it; `None` where that is nothing.
    fn without_ours(&self) -> Option<String> {
        script_without(self.script.text()?, &self.without)
    }

    /// `sbatch` with these options, ready to be run, and the file that must stay open until then.
    fn command(&self, mut words: Vec<String>) -> anyhow::Result<(Command, Option<File>)> {
        let stripped = self.without_ours();
        let mut command = Command::new("sbatch");
        let mut tail = self.tail.clone();
        // The file must stay open until `sbatch` has read it.
        let mut held = None;
        match (&self.script, stripped) {
            (Script::Stdin(text), stripped) => {
                let file = in_memory(&stripped.unwrap_or_else(|| text.clone()))?;
                command.stdin(Stdio::from(file));
            }
            (Script::File(_), Some(text)) => {
                let file = in_memory(&text)?;
                if let Some(name) = tail.iter_mut().find(|word| *word != "--") {
                    if !self.is_named {
                        let base = Path::new(name.as_str()).file_name().unwrap_or_default();
                        words.insert(0, format!("--job-name={}", base.to_string_lossy()));
                    }
                    *name = format!("/proc/self/fd/{}", file.as_raw_fd());
                }
                held = Some(file);
            }
            _ => {}
        }
        self.leave_out(&mut command);
        command
            .args(words)
            .args(tail)
            .envs(self.environment.iter().map(|(n, v)| (n, v)));
        Ok((command, held))
    }

    /// Variables that would undo an edit, and the advice of the job around this command.
    fn leave_out(&self, command: &mut Command) {
        let edits = self.parts.iter().flat_map(|part| &part.edits);
        for variable in edits.filter_map(|edit| variable_of(&edit.name)) {
            command.env_remove(variable);
        }
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for name in names.filter(|name| inside_job() && name.starts_with("SLURM_LLM_")) {
            command.env_remove(name);
        }
    }

    fn print(&self, words: &[String], stripped: bool) -> std::io::Result<()> {
        if stripped {
            let mut names = vec!["--llm-*".to_owned()];
            names.extend(self.without.iter().map(|(_, name)| format!("--{name}")));
            eprintln!(
                "omnipilot: the script's own {} options are left out when it is submitted",
                names.join(", ")
            );
        }
        if self.json {
            let environment: std::collections::BTreeMap<_, _> =
                self.environment.iter().cloned().collect();
            let object = serde_json::json!({ "sbatch": words, "environment": environment });
            return crate::json::print("submit", object);
        }
        for (name, value) in &self.environment {
            println!("export {name}={}", quoted(value));
        }
        let all: Vec<String> = std::iter::once("sbatch".to_owned())
            .chain(words.iter().map(|w| quoted(w)))
            .collect();
        println!("{}", all.join(" "));
        Ok(())
    }
}

/// A file without a name, which the started command inherits.
fn in_memory(text: &str) -> anyhow::Result<File> {
    let mut file = File::from(memfd_create(c"omnipilot-script", MFdFlags::empty())?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}
