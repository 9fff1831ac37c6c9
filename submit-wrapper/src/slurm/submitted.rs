//! How a job was submitted, from accounting: enough to ask for its advice again.

use std::ops::ControlFlow;
use std::path::Path;

use model_store::job_request::{Asked, Given, advice_in_comment, asked};
use model_store::options::{OPTIONS, OptionError, RawOptions};
use model_store::sbatch_line::SbatchLine;
use model_store::snapshot::read_regular;

use super::command::{self, CommandError};

/// Largest batch script that is read, bytes.
const LARGEST_SCRIPT: u64 = 4 << 20;

/// How far back a job is looked for by its advice.
const SINCE: &str = "now-30days";

/// A submission as accounting has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Submitted {
    /// Advice id in the comment.
    pub(crate) advice: Option<String>,
    /// What stood behind `sbatch`.
    line: SbatchLine,
    /// Directives of the script.
    directives: SbatchLine,
    /// The script, where it is kept or still there.
    pub(crate) script: Option<String>,
}

/// A job by its id; `None` where accounting does not have it.
///
/// # Errors
/// `sacct` is absent, late or fails.
pub(crate) fn job(id: &str) -> Result<Option<Submitted>, CommandError> {
    let format = "--format=SubmitLine,WorkDir,Comment";
    let mut row = None;
    // An array's id is answered with all of its tasks, each with its line.
    command::lines(
        "sacct",
        &["-X", "-P", "-n", "--delimiter=\t", format, "-j", id],
        |line| {
            if line.trim().is_empty() {
                return ControlFlow::Continue(());
            }
            row = Some(line.to_owned());
            ControlFlow::Break(())
        },
    )?;
    let Some(row) = row else {
        return Ok(None);
    };
    let mut cells = row.splitn(3, '\t');
    let mut next = || cells.next().unwrap_or_default().to_owned();
    let (submit, work_dir, comment) = (next(), next(), next());
    let line = SbatchLine::parse(&words(&submit));
    let script = script(id, &line, &work_dir);
    Ok(Some(Submitted {
        advice: advice_in_comment(&comment).map(str::to_owned),
        directives: script
            .as_deref()
            .map(SbatchLine::of_directives)
            .unwrap_or_default(),
        line,
        script,
    }))
}

/// The newest job of the last 30 days whose comment carries an advice.
///
/// # Errors
/// As [`job`].
pub(crate) fn job_with_advice(advice: &str) -> Result<Option<String>, CommandError> {
    let mut found = None;
    let format = "--format=JobIDRaw,Comment";
    let question = [
        "-X",
        "-P",
        "-n",
        "-S",
        SINCE,
        "-E",
        "now",
        "--delimiter=\t",
        format,
    ];
    command::lines("sacct", &question, |row| {
        let id = row
            .split_once('\t')
            .and_then(|(id, comment)| (advice_in_comment(comment) == Some(advice)).then_some(id));
        if let Some(id) = id {
            found = Some(id.to_owned());
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

impl Submitted {
    /// A job by its submit line alone, with this script.
    pub(crate) fn of_line(submit: &str, script: Option<&str>) -> Self {
        let line = SbatchLine::parse(&words(submit));
        Self {
            advice: None,
            directives: script.map(SbatchLine::of_directives).unwrap_or_default(),
            script: script.map(str::to_owned).or_else(|| line.wrap.clone()),
            line,
        }
    }

    /// True where accounting has no submit line.
    pub(crate) fn is_empty(&self) -> bool {
        self.line.words.is_empty()
    }

    /// An option of `sbatch` by its long name.
    pub(crate) fn option(&self, name: &str) -> Option<String> {
        self.line
            .value_of(name)
            .or_else(|| self.directives.value_of(name))
    }

    /// The GPUs that its user asked for.
    pub(crate) fn asked(&self) -> Option<Asked> {
        asked(&Given::of(|name| self.option(name)))
    }

    /// The `--llm-*` options, on the line or in the script.
    ///
    /// # Errors
    /// A value that OmniPilot does not take.
    pub(crate) fn options(&self) -> Result<RawOptions, OptionError> {
        let mut out = RawOptions::default();
        for spec in &OPTIONS {
            if let Some(value) = self.option(spec.name) {
                out.set(spec.name, &value)?;
            }
        }
        Ok(out)
    }
}

/// The words behind `sbatch` in a submit line. Accounting joins them by blanks and keeps no quotes.
fn words(submit: &str) -> Vec<String> {
    submit
        .split_whitespace()
        .skip(1)
        .map(str::to_owned)
        .collect()
}

fn is_script(text: &str) -> bool {
    text.lines().any(|l| l.starts_with("#!"))
}

/// The script as accounting keeps it (`AccountingStoreFlags=job_script`, from 21.08 on).
pub(crate) fn kept_script(id: &str) -> Option<String> {
    let text = command::output("sacct", &["-j", id, "--batch-script"]).ok();
    let text = text.filter(|t| is_script(t))?;
    let at = text.find("#!")?;
    Some(text[at..].to_owned())
}

/// The script: as accounting or the controller keeps it, else the file that was named.
fn script(id: &str, line: &SbatchLine, work_dir: &str) -> Option<String> {
    if let Some(text) = kept_script(id) {
        return Some(text);
    }
    let held = command::output("scontrol", &["write", "batch_script", id, "-"]).ok();
    if let Some(text) = held.filter(|t| is_script(t)) {
        return Some(text);
    }
    if let Some(text) = &line.wrap {
        return Some(text.clone());
    }
    let path = Path::new(work_dir).join(line.script.as_deref()?);
    let bytes = read_regular(&path, LARGEST_SCRIPT).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_come_back_from_line_and_script() {
        let script = "#!/bin/bash\n#SBATCH --llm-isl=2000\n#SBATCH --llm-osl=9\n";
        let line = "sbatch -p gpu --llm-model org/m --llm-osl=300 serve.sh a b";
        let job = Submitted {
            line: SbatchLine::parse(&words(line)),
            directives: SbatchLine::of_directives(script),
            ..Submitted::default()
        };
        let options = job.options().unwrap();
        assert_eq!(options.model.as_deref(), Some("org/m"));
        assert_eq!((options.isl, options.osl), (Some(2000.0), Some(300.0)));
        assert_eq!(job.option("partition").as_deref(), Some("gpu"));
        assert_eq!(job.line.script.as_deref(), Some("serve.sh"));
    }
}
