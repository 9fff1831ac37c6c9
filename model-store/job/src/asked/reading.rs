//! The one reading of a submission: its command line, its script's directives and its variables,
//! by the components of a heterogeneous job, an ordinary job being one component. Pure.
//!
//! The precedence is Slurm's: what is typed, else the variable, else the directive; of what stands
//! twice the last.

use super::job_request::{Given, JobRequest};
use super::sbatch_line::{SbatchLine, directives};
use super::sbatch_options::{is_free_text, variable_of};
use crate::options::{AdviceMode, OPTIONS, OptionError, RawOptions};
use plugin_contract::options::MODEL;

/// The variables of whoever submits.
#[derive(Clone, Copy)]
pub struct Variables<'a> {
    /// What stands for options of `sbatch`, as `SBATCH_GRES`.
    pub sbatch: &'a dyn Fn(&str) -> Option<String>,
    /// What the user set of ours, as `OMNIPILOT_TP`.
    pub ours: &'a dyn Fn(&str) -> Option<String>,
}

impl Variables<'_> {
    /// None are known: accounting keeps none.
    pub const UNKNOWN: Variables<'static> = Variables {
        sbatch: &|_| None,
        ours: &|_| None,
    };
}

/// What a submission says of one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// Its part of the command line.
    pub typed: SbatchLine,
    /// Its part of the script's directives.
    pub directives: SbatchLine,
}

/// Most components that are looked at: Slurm's own limit.
const MOST_COMPONENTS: usize = 128;

/// The command line taken apart at each `:` before the script. The script, `--wrap` and their
/// arguments stand in the last part.
pub fn parts(words: &[String]) -> Vec<SbatchLine> {
    let mut out = Vec::new();
    let mut line = SbatchLine::parse(words);
    while line.script.as_deref() == Some(":") && out.len() + 1 < MOST_COMPONENTS {
        let (mine, after) = line.words.split_at(line.used().min(line.words.len()));
        let rest = SbatchLine::parse(after.get(1..).unwrap_or_default());
        out.push(SbatchLine::parse(mine));
        line = rest;
    }
    out.push(line);
    out
}

/// Every component of a submission, from the parts of its command line and its script.
pub fn components(parts: Vec<SbatchLine>, script: Option<&str>) -> Vec<Component> {
    let mut directives = script.map(directives).unwrap_or_default();
    directives.truncate(MOST_COMPONENTS);
    let many = parts.len().max(directives.len()).max(1);
    let (mut parts, mut directives) = (parts.into_iter(), directives.into_iter());
    (0..many)
        .map(|_| Component {
            typed: parts.next().unwrap_or_default(),
            directives: directives.next().unwrap_or_default(),
        })
        .collect()
}

/// A submission as accounting has it: words joined by blanks, without quotes, and no variables.
/// `None` where options of ours stand behind a value that may have had blanks: the line then does
/// not say whether they are `sbatch`'s or the script's.
pub fn of_accounting(submit_line: &str, script: Option<&str>) -> Option<Vec<Component>> {
    let words: Vec<String> = submit_line
        .split_whitespace()
        .skip(1)
        .map(str::to_owned)
        .collect();
    let mut parts = parts(&words);
    let last = parts.last_mut()?;
    let ours = |word: &String| word.starts_with("--llm-");
    let open = last.last_name().is_some_and(is_free_text);
    if open && last.behind().iter().any(ours) {
        return None;
    }
    // `sbatch` takes no script beside `--wrap`, so what seems to be one is the rest of its text.
    if last.last_name() == Some("wrap") {
        let text = last.wrap.iter().chain(last.behind()).cloned();
        last.wrap = Some(text.collect::<Vec<_>>().join(" "));
        last.script = None;
    }
    Some(components(parts, script))
}

/// The one component of a submission that has no other.
pub fn only(components: &[Component]) -> Option<&Component> {
    match components {
        [component] => Some(component),
        _ => None,
    }
}

impl Component {
    /// An option's value as `sbatch` takes it; `set` for one without a value.
    pub fn value(&self, name: &str, variables: Variables) -> Option<String> {
        let flag = |line: &SbatchLine| line.has(name).then(|| "set".to_owned());
        let of = |line: &SbatchLine| line.value_of(name).or_else(|| flag(line));
        let variable = || (variables.sbatch)(variable_of(name)?);
        of(&self.typed)
            .or_else(variable)
            .or_else(|| of(&self.directives))
    }

    /// What it asks for.
    ///
    /// # Errors
    /// The first value of an option of ours that is not taken, in the order of the table, where a
    /// model is named and the advice is not off.
    pub fn request(&self, number: u32, variables: Variables) -> Result<JobRequest, OptionError> {
        self.request_and(number, &[], variables)
    }

    /// As [`Self::request`], with options of ours that count more than any other.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub fn request_and(
        &self,
        number: u32,
        more: &[(&'static str, String)],
        variables: Variables,
    ) -> Result<JobRequest, OptionError> {
        Ok(JobRequest {
            component: number,
            options: self.options(more, variables)?,
            given: Given::of(|name| self.value(name, variables)),
        })
    }

    fn options(
        &self,
        more: &[(&'static str, String)],
        variables: Variables,
    ) -> Result<RawOptions, OptionError> {
        let (mut options, mut wrong, mut tagged) = (RawOptions::default(), None, false);
        for spec in &OPTIONS {
            let more = more.iter().rev().find(|(name, _)| *name == spec.name);
            let value = more
                .map(|(_, value)| value.clone())
                .or_else(|| self.typed.value_of(spec.name))
                .or_else(|| (variables.ours)(spec.variable))
                .or_else(|| self.directives.value_of(spec.name));
            let Some(value) = value else { continue };
            tagged |= spec.name == OPTIONS[MODEL].name;
            if let Err(error) = options.set(spec.name, &value) {
                wrong.get_or_insert(error);
            }
        }
        match wrong {
            Some(error) if tagged && options.mode != AdviceMode::Off => Err(error),
            _ => Ok(options),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_of_ours_come_from_the_line_then_the_environment_then_the_script() {
        let parts = parts(&words("--llm-tp=4 --llm-mod m --hold job.sh"));
        let script = "#SBATCH --llm-tp=2 --llm-osl=10\n#SBATCH --llm-isl=10 --gres=gpu:1\necho\n";
        let all = components(parts, Some(script));
        let env = |name: &str| match name {
            "OMNIPILOT_TP" | "OMNIPILOT_ISL" => Some("8".to_owned()),
            "SBATCH_GRES" => Some("gpu:2".to_owned()),
            _ => None,
        };
        let variables = Variables {
            sbatch: &env,
            ours: &env,
        };
        let asked = all[0].request(0, variables).unwrap();
        let options = asked.options;
        assert_eq!(options.pins.tp, Some(4));
        assert_eq!((options.isl, options.osl), (Some(8.0), Some(10.0)));
        assert_eq!(options.model.as_deref(), Some("m"));
        assert_eq!(
            asked.given.get(crate::job_request::JobOption::Gres),
            Some("gpu:2")
        );
        assert_eq!(all[0].value("gres", variables).as_deref(), Some("gpu:2"));
        assert_eq!(
            all[0].value("gres", Variables::UNKNOWN).as_deref(),
            Some("gpu:1")
        );
        let (kept, tail) = all[0].typed.split_without(&[]);
        assert_eq!((kept, tail), (words("--hold"), words("job.sh")));
    }

    #[test]
    fn a_wrong_value_counts_where_advice_is_asked_for() {
        let refused = |line: &str| {
            let all = components(parts(&words(line)), None);
            all[0].request(0, Variables::UNKNOWN).is_err()
        };
        assert!(refused("--llm-model=m --llm-gpu=a100:4 job.sh"));
        assert!(refused("--llm-model=m --llm-advice=of --llm-tp=2 job.sh"));
        assert!(!refused("--llm-gpu=a100:4 job.sh"));
        assert!(!refused(
            "--llm-model=m --llm-slo=600,50 --llm-advice=off job.sh"
        ));
    }

    #[test]
    fn a_heterogeneous_job_is_taken_apart() {
        let line = words("-N1 --llm-tp=1 : --llm-tp=2 -w : --llm-tp=3 job.sh : x");
        let script = "#SBATCH --llm-isl=1\n#SBATCH hetjob\n#SBATCH --llm-isl=2\n#SBATCH packjob\n\
                      #SBATCH hetjob\n#SBATCH --llm-isl=4\necho\n";
        let parts = parts(&line);
        assert_eq!(parts.last().unwrap().script.as_deref(), Some("job.sh"));
        assert_eq!(parts.last().unwrap().arguments(), words(": x"));
        let all = components(parts, Some(script));
        let seen: Vec<_> = all
            .iter()
            .map(|c| c.request(0, Variables::UNKNOWN).unwrap().options)
            .map(|o| (o.pins.tp, o.isl))
            .collect();
        // `-w :` takes the colon for its value, as getopt does.
        assert_eq!(
            seen,
            [
                (Some(1), Some(1.0)),
                (Some(3), Some(2.0)),
                (None, None),
                (None, Some(4.0))
            ]
        );
    }

    #[test]
    fn accounting_is_read_as_the_command_line_was() {
        let tp = |line: &str| {
            let all = of_accounting(line, None)?;
            only(&all)?
                .request(0, Variables::UNKNOWN)
                .ok()?
                .options
                .pins
                .tp
        };
        assert_eq!(tp("sbatch --llm-tp=2 --llm-tp=4 serve.sh"), Some(4));
        assert_eq!(tp("sbatch --llm-t 4 serve.sh --llm-tp=2"), Some(4));
        assert_eq!(tp("sbatch --llm-tp=4 --comment=two words"), Some(4));
        // Whose option the second is cannot be told: `words` may be the comment's or the script.
        assert_eq!(
            tp("sbatch --llm-tp=4 --comment two words --llm-tp=2 serve.sh"),
            None
        );
        assert_eq!(tp("sbatch --llm-tp=4 : --llm-tp=2 serve.sh"), None);
        assert_eq!(tp(""), None);
    }

    proptest! {
        #[test]
        fn no_components_panic(words in prop::collection::vec("(:|--llm-[a-z]{0,3}(=[ -~]{0,6})?|[ -~]{0,8})", 0..12), script in "(#SBATCH (hetjob|[ -~]{0,20})\n){0,4}") {
            let all = components(parts(&words), Some(&script));
            prop_assert!((1..=MOST_COMPONENTS).contains(&all.len()));
            for component in &all {
                drop(component.request(0, Variables::UNKNOWN));
                let _ = component.typed.arguments();
            }
        }

        #[test]
        fn no_line_of_accounting_panics(line in "(sbatch |: |-[a-zA-Z]{1,3} |--[a-z-]{1,8}=? |[ -~]{0,6} ){0,9}") {
            for component in of_accounting(&line, None).unwrap_or_default() {
                drop(component.request(0, Variables::UNKNOWN));
            }
        }
    }
}
