//! How a job was submitted, from accounting: enough to ask for its advice again.

use std::ops::ControlFlow;
use std::path::Path;

use model_store::job_request::{JobRequest, advice_in_comment};
use model_store::options::OptionError;
use model_store::reading::{Component, Variables, of_accounting, only};
use model_store::snapshot::read_regular;
use nix::unistd::{User, getuid};

use super::command::{self, CommandError};

/// Largest batch script that is read, bytes.
const LARGEST_SCRIPT: u64 = 4 << 20;

/// How far back a job is looked for by its advice.
const SINCE: &str = "now-30days";

/// A submission as accounting has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Submitted {
    /// Who submitted it; empty where that is not known.
    pub(crate) user: String,
    /// Advice id in the comment.
    pub(crate) advice: Option<String>,
    /// What it asked for; `None` where accounting does not tell, or not in one way alone.
    pub(crate) asked: Option<Result<JobRequest, OptionError>>,
    /// The script, where it is kept or still there.
    pub(crate) script: Option<String>,
}

/// A job by its id; `None` where accounting does not have it.
///
/// # Errors
/// `sacct` is absent, late or fails.
pub(crate) fn job(id: &str) -> Result<Option<Submitted>, CommandError> {
    let format = "--format=JobID,User,SubmitLine,WorkDir,Comment";
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
    let mut cells = row.splitn(5, '\t');
    let mut next = || cells.next().unwrap_or_default().to_owned();
    let (shown, user, submit) = (next(), next(), next());
    let (work_dir, comment) = (next(), next());
    // `123+1` is the second component of a heterogeneous job.
    let component = shown.split_once('+').and_then(|(_, n)| n.parse().ok());
    let script = script(id, &submit, &work_dir);
    let all = of_accounting(&submit, script.as_deref()).unwrap_or_default();
    Ok(Some(Submitted {
        advice: advice_in_comment(&comment).map(str::to_owned),
        asked: request(&all, component.unwrap_or(0)),
        script,
        user,
    }))
}

/// The newest job of the last 30 days whose comment carries an advice: of the caller where he has
/// one, for anybody may write the same into a comment of his own.
///
/// # Errors
/// As [`job`].
pub(crate) fn job_with_advice(advice: &str) -> Result<Option<String>, CommandError> {
    let me = User::from_uid(getuid()).ok().flatten().map(|u| u.name);
    let (mut own, mut others) = (None, None);
    let format = "--format=JobIDRaw,User,Comment";
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
        let mut cells = row.splitn(3, '\t');
        let (id, user, comment) = (cells.next(), cells.next(), cells.next());
        if let (Some(id), Some(advice_in)) = (id, comment.and_then(advice_in_comment))
            && advice_in == advice
        {
            let found = if user == me.as_deref() {
                &mut own
            } else {
                &mut others
            };
            *found = Some(id.to_owned());
        }
        ControlFlow::Continue(())
    })?;
    Ok(own.or(others))
}

/// What a job asked for by its submit line alone, with this script. `None` where the line does not
/// tell which of several components the job is, or can be read in two ways.
pub(crate) fn request_of_line(
    submit: &str,
    script: Option<&str>,
) -> Option<Result<JobRequest, OptionError>> {
    let all = of_accounting(submit, script)?;
    only(&all)?;
    request(&all, 0)
}

fn request(all: &[Component], number: u32) -> Option<Result<JobRequest, OptionError>> {
    let component = all.get(number as usize)?;
    Some(component.request(number, Variables::UNKNOWN))
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
fn script(id: &str, submit: &str, work_dir: &str) -> Option<String> {
    if let Some(text) = kept_script(id) {
        return Some(text);
    }
    let held = command::output("scontrol", &["write", "batch_script", id, "-"]).ok();
    if let Some(text) = held.filter(|t| is_script(t)) {
        return Some(text);
    }
    let line = of_accounting(submit, None)?.pop()?.typed;
    if line.wrap.is_some() {
        return line.wrap;
    }
    let path = Path::new(work_dir).join(line.script.as_deref()?);
    let bytes = read_regular(&path, LARGEST_SCRIPT).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_comes_back_from_line_and_script() {
        let script = "#!/bin/bash\n#SBATCH --llm-isl=2000\n#SBATCH --llm-osl=9\n";
        let line = "sbatch -p gpu --llm-model org/m --llm-osl=300 serve.sh a b";
        let asked = request_of_line(line, Some(script)).unwrap().unwrap();
        let options = asked.options;
        assert_eq!(options.model.as_deref(), Some("org/m"));
        assert_eq!((options.isl, options.osl), (Some(2000.0), Some(300.0)));
        assert_eq!(
            asked
                .given
                .get(model_store::job_request::JobOption::Partition),
            Some("gpu")
        );
    }
}
