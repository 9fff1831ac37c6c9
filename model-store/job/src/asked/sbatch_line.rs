//! The command line of `sbatch`, as far as an advice must understand it. Pure.
//!
//! [`components`] is what a whole submission says: its command line and the directives of its
//! script, taken apart by the components of a heterogeneous job, an ordinary job being one
//! component.

use crate::options::{OPTIONS, OptionError, RawOptions};

/// Short options of `sbatch` that take a value (22.05 to 26.05), and the long name of those that
/// matter here.
const SHORT_WITH_VALUE: &str = "AaBbCcDdeFGiJLMmNnopqPStUwx";

/// Long options that never take the next word: those without a value, and those whose value is
/// optional and so only follows `=`. Any other long option without `=` takes the next word.
const LONG_FLAGS: [&str; 30] = [
    "contiguous",
    "consolidate-segments",
    "exclusive",
    "get-user-env",
    "help",
    "hold",
    "ignore-pbs",
    "nice",
    "no-kill",
    "no-requeue",
    "oom-kill-step",
    "overcommit",
    "oversubscribe",
    "parsable",
    "propagate",
    "quiet",
    "reboot",
    "requeue",
    "resv-ports",
    "share",
    "spread-job",
    "spread-segments",
    "stepmgr",
    "test-only",
    "usage",
    "use-min-nodes",
    "verbose",
    "version",
    "wait",
    "x11",
];

/// A parsed command line: its words, its options, and the script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SbatchLine {
    /// All words as given.
    pub words: Vec<String>,
    /// Path of the batch script; `None` for standard input or `--wrap`.
    pub script: Option<String>,
    /// Text of `--wrap`.
    pub wrap: Option<String>,
    options: Vec<Given>,
}

/// One option: its long name, value, and the words that it occupies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    name: String,
    value: Option<String>,
    at: usize,
    words: usize,
}

impl SbatchLine {
    /// Reads the words behind `sbatch`.
    pub fn parse(words: &[String]) -> Self {
        let mut out = Self {
            words: words.to_vec(),
            ..Self::default()
        };
        let mut at = 0;
        while let Some(word) = words.get(at) {
            if word == "--" || !word.starts_with('-') || word == "-" {
                out.script = words.get(at + usize::from(word == "--")).cloned();
                break;
            }
            let given = one(words, at);
            at += given.words;
            out.options.push(given);
        }
        out.wrap = out.value_of("wrap");
        out
    }

    /// Reads the `#SBATCH` lines at the head of a script, the first component's alone.
    pub fn of_directives(script: &str) -> Self {
        directives(script).into_iter().next().unwrap_or_default()
    }

    fn of_options(words: Vec<String>) -> Self {
        let mut out = Self {
            words,
            ..Self::default()
        };
        let mut at = 0;
        while out.words.get(at).is_some_and(|w| w.starts_with('-')) {
            let given = one(&out.words, at);
            at += given.words;
            out.options.push(given);
        }
        out
    }

    /// The `--llm-*` options, in the order in which they stand: long name and value.
    pub fn llm_options(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.options
            .iter()
            .filter_map(|o| Some((llm_name(&o.name)?, o.value.as_deref().unwrap_or_default())))
    }

    /// True where a long option is given, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.options.iter().any(|o| o.name == name)
    }

    /// The words of the options without these and without the `--llm-*` ones, and the words behind
    /// them: the script and its arguments.
    pub fn split_without(&self, names: &[&str]) -> (Vec<String>, Vec<String>) {
        let kept = |o: &&Given| !names.contains(&o.name.as_str()) && llm_name(&o.name).is_none();
        let words = self.options.iter().filter(kept).flat_map(|o| {
            self.words
                .get(o.at..o.at + o.words)
                .unwrap_or_else(|| self.words.get(o.at..).unwrap_or_default())
        });
        let tail = self.words.get(self.used()..).unwrap_or_default();
        (words.cloned().collect(), tail.to_vec())
    }

    /// How many words the options take.
    fn used(&self) -> usize {
        self.options.last().map_or(0, |o| o.at + o.words)
    }

    /// The words behind the script's name, which are the script's own.
    pub fn arguments(&self) -> &[String] {
        let used = self.used();
        let script = used
            + usize::from(self.words.get(used).is_some_and(|w| w == "--"))
            + usize::from(self.script.is_some());
        self.words.get(script..).unwrap_or_default()
    }

    /// The last value of a long option.
    pub fn value_of(&self, name: &str) -> Option<String> {
        self.options
            .iter()
            .rev()
            .find(|o| o.name == name)
            .and_then(|o| o.value.clone())
    }

    /// The first of these long options that is given.
    pub fn first_of<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        names
            .iter()
            .copied()
            .find(|name| self.options.iter().any(|o| o.name == *name))
    }

    /// The words without these long options.
    pub fn without(&self, names: &[&str]) -> Vec<String> {
        let dropped = |at: usize| {
            let covers = |o: &&Given| (o.at..o.at + o.words).contains(&at);
            self.options
                .iter()
                .find(covers)
                .is_some_and(|o| names.contains(&o.name.as_str()))
        };
        self.words
            .iter()
            .enumerate()
            .filter(|(at, _)| !dropped(*at))
            .map(|(_, w)| w.clone())
            .collect()
    }
}

/// The option of the table that a long name means: as `getopt_long` has it, an unambiguous
/// beginning is enough.
fn llm_name(name: &str) -> Option<&'static str> {
    let mut fit = OPTIONS
        .iter()
        .map(|spec| spec.name)
        .filter(|full| name.len() > "llm-".len() && full.starts_with(name));
    let first = fit.next()?;
    (first == name || fit.next().is_none()).then_some(first)
}

/// The directives of a script by component: `#SBATCH hetjob` begins the next.
pub fn directives(script: &str) -> Vec<SbatchLine> {
    let head = script
        .lines()
        .map(str::trim_start)
        .take_while(|l| l.is_empty() || l.starts_with('#'));
    let mut groups: Vec<Vec<String>> = vec![Vec::new()];
    for words in head
        .filter_map(|l| l.strip_prefix("#SBATCH"))
        .map(words_of_directive)
    {
        if matches!(
            words.first().map(String::as_str),
            Some("hetjob" | "packjob")
        ) {
            groups.push(Vec::new());
        } else if let Some(group) = groups.last_mut() {
            group.extend(words);
        }
    }
    groups.into_iter().map(SbatchLine::of_options).collect()
}

/// The script without its `--llm-*` options: an `sbatch` without the plugin takes none. `None` where
/// there are none. Every line stays where it is.
pub fn script_without_llm(script: &str) -> Option<String> {
    script_without(script, &[])
}

/// The script without its `--llm-*` options and, of each component, these further ones. `None` where
/// there are none.
pub fn script_without(script: &str, names: &[(u32, String)]) -> Option<String> {
    let mut changed = false;
    let mut component = 0;
    let mut in_head = true;
    let mut out = String::with_capacity(script.len());
    for line in script.split_inclusive('\n') {
        let text = line.trim_start().trim_end_matches('\n');
        in_head &= text.trim().is_empty() || text.starts_with('#');
        let words = text
            .strip_prefix("#SBATCH")
            .filter(|_| in_head)
            .map(words_of_directive);
        let begins = |words: &Vec<String>| {
            words
                .first()
                .is_some_and(|w| w == "hetjob" || w == "packjob")
        };
        component += u32::from(words.as_ref().is_some_and(begins));
        let of_it = names.iter().filter(|(n, _)| *n == component);
        let of_it: Vec<&str> = of_it.map(|(_, name)| name.as_str()).collect();
        let group = words.map(SbatchLine::of_options);
        let loses = |group: &SbatchLine| {
            group.llm_options().next().is_some() || of_it.iter().any(|name| group.has(name))
        };
        match group.filter(loses) {
            None => out.push_str(line),
            Some(group) => {
                changed = true;
                let (kept, rest) = group.split_without(&of_it);
                let kept: Vec<String> = kept
                    .iter()
                    .chain(&rest)
                    .map(|word| in_quotes(word))
                    .collect();
                out.push_str(if kept.is_empty() { "#" } else { "#SBATCH " });
                out.push_str(&kept.join(" "));
                out.push_str(if line.ends_with('\n') { "\n" } else { "" });
            }
        }
    }
    changed.then_some(out)
}

/// A word as a directive reads it back.
fn in_quotes(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=:/.,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""))
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
    let mut rest = words;
    loop {
        let line = SbatchLine::parse(rest);
        if line.script.as_deref() != Some(":") || out.len() + 1 >= MOST_COMPONENTS {
            out.push(line);
            return out;
        }
        let (mine, after) = rest.split_at(line.used().min(rest.len()));
        out.push(SbatchLine::parse(mine));
        rest = after.get(1..).unwrap_or_default();
    }
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

impl Component {
    /// An option's value as `sbatch` takes it: typed, else from its `SBATCH_*` variable, else a
    /// directive.
    pub fn value(&self, name: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let flag = |line: &SbatchLine| line.has(name).then(|| "set".to_owned());
        let of = |line: &SbatchLine| line.value_of(name).or_else(|| flag(line));
        let variable = format!("SBATCH_{}", name.replace('-', "_").to_ascii_uppercase());
        of(&self.typed)
            .or_else(|| env(&variable))
            .or_else(|| of(&self.directives))
    }

    /// Its `--llm-*` options in the same precedence, the variables being `OMNIPILOT_*`. `env` gives
    /// what the user set of these.
    ///
    /// # Errors
    /// The first value that is not taken.
    pub fn llm_options(
        &self,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<RawOptions, OptionError> {
        self.llm_options_and(&[], env)
    }

    /// As [`Self::llm_options`], with options that count more than any other.
    ///
    /// # Errors
    /// The first value that is not taken.
    pub fn llm_options_and(
        &self,
        more: &[(&'static str, String)],
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<RawOptions, OptionError> {
        let mut last: Vec<(&'static str, String)> = Vec::new();
        let of = |line: &SbatchLine| -> Vec<(&'static str, String)> {
            line.llm_options().map(|(n, v)| (n, v.to_owned())).collect()
        };
        last.extend(of(&self.directives));
        for spec in &OPTIONS {
            last.extend(env(spec.variable).map(|value| (spec.name, value)));
        }
        last.extend(of(&self.typed));
        last.extend_from_slice(more);
        let mut options = RawOptions::default();
        for spec in &OPTIONS {
            if let Some((name, value)) = last.iter().rev().find(|(name, _)| *name == spec.name) {
                options.set(name, value)?;
            }
        }
        Ok(options)
    }
}

/// The words of one `#SBATCH` line as `sbatch` takes it apart: quotes hold a word together, a
/// backslash takes a quote's meaning away, and outside of quotes `#` begins a comment.
fn words_of_directive(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = line.chars().peekable();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('#', None) => break,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            ('\\', _) => word
                .get_or_insert_default()
                .extend(rest.next_if(|next| !next.is_whitespace())),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The option that begins at a word.
fn one(words: &[String], at: usize) -> Given {
    let word = words.get(at).map_or("", String::as_str);
    let next = || words.get(at + 1).cloned();
    if let Some(long) = word.strip_prefix("--") {
        return match long.split_once('=') {
            Some((name, value)) => Given {
                name: name.into(),
                value: Some(value.into()),
                at,
                words: 1,
            },
            None if LONG_FLAGS.contains(&long) => Given {
                name: long.into(),
                value: None,
                at,
                words: 1,
            },
            None => Given {
                name: long.into(),
                value: next(),
                at,
                words: 2,
            },
        };
    }
    let mut letters = word.chars().skip(1);
    let letter = letters.next().unwrap_or(' ');
    let glued: String = letters.collect();
    let name = match letter {
        'A' => "account",
        'C' => "constraint",
        'c' => "cpus-per-task",
        'D' => "chdir",
        'F' => "nodefile",
        'G' => "gpus",
        'J' => "job-name",
        'N' => "nodes",
        'n' => "ntasks",
        'p' => "partition",
        'q' => "qos",
        'w' => "nodelist",
        'x' => "exclude",
        _ => "",
    };
    let name = if name.is_empty() {
        letter.to_string()
    } else {
        name.to_owned()
    };
    if !SHORT_WITH_VALUE.contains(letter) {
        return Given {
            name,
            value: None,
            at,
            words: 1,
        };
    }
    match glued.as_str() {
        "" => Given {
            name,
            value: next(),
            at,
            words: 2,
        },
        _ => Given {
            name,
            value: Some(glued),
            at,
            words: 1,
        },
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
    fn gpu_options_are_found_in_every_spelling_and_taken_out() {
        let line = SbatchLine::parse(&words(
            "-J x --gres gpu:a100:2 -G4 --parsable --gpus-per-node=2 job.sh --gres=mine",
        ));
        assert_eq!(line.script.as_deref(), Some("job.sh"));
        assert_eq!(line.value_of("gres").as_deref(), Some("gpu:a100:2"));
        assert_eq!(line.value_of("gpus").as_deref(), Some("4"));
        let left = line.without(&["gres", "gpus", "gpus-per-node"]);
        assert_eq!(left, words("-J x --parsable job.sh --gres=mine"));
    }

    #[test]
    fn directives_end_where_the_script_begins() {
        let script = "#!/bin/bash\n#SBATCH --comment=hello -p serve\n\n#SBATCH --gres=gpu:1\necho\n#SBATCH --gpus=3\n";
        let line = SbatchLine::of_directives(script);
        assert_eq!(line.value_of("comment").as_deref(), Some("hello"));
        assert_eq!(line.value_of("gres").as_deref(), Some("gpu:1"));
        assert_eq!(line.first_of(&["gpus"]), None);
    }

    #[test]
    fn quotes_and_comments_in_directives_hide_no_option() {
        let head = |lines: &str| {
            SbatchLine::of_directives(&format!("#!/bin/bash\n  # indented\n{lines}\necho\n"))
        };
        for (line, comment) in [
            (r#"--comment="my job""#, "my job"),
            ("--comment='a  \"b'", "a  \"b"),
            (r#"--comment="x\"y""#, "x\"y"),
            (r#"--comment=a" b"c"#, "a bc"),
            (r#"--comment="a # b""#, "a # b"),
            ("--comment=a#b", "a"),
        ] {
            let read = head(&format!(
                "#SBATCH {line} # rest --gres=gpu:9\n\n#SBATCH --gpus=4"
            ));
            assert_eq!(read.value_of("comment").as_deref(), Some(comment), "{line}");
            assert_eq!(read.first_of(&["gpus", "gres"]), Some("gpus"), "{line}");
        }
    }

    #[test]
    fn flags_and_optional_values_do_not_swallow_the_script() {
        for flags in [
            "--wait",
            "-W",
            "--nice",
            "--propagate",
            "--get-user-env",
            "--exclusive",
            "-N 2 -C ib",
        ] {
            let line = SbatchLine::parse(&words(&format!("{flags} job.sh -G4")));
            assert_eq!(line.script.as_deref(), Some("job.sh"), "{flags}");
            assert_eq!(line.value_of("gpus"), None, "{flags}");
        }
        let line = SbatchLine::parse(&words("-N 2 -n4 -C ib --kill-on-invalid-dep yes job.sh"));
        assert_eq!(line.script.as_deref(), Some("job.sh"));
        for (name, value) in [("nodes", "2"), ("ntasks", "4"), ("constraint", "ib")] {
            assert_eq!(line.value_of(name).as_deref(), Some(value));
        }
    }

    #[test]
    fn options_of_ours_are_taken_out_of_a_script_and_nothing_else() {
        let script = "#!/bin/bash\n#SBATCH --llm-model=m --comment=\"a \\\"b\" -N 2 --llm-tp 4 # x\n#SBATCH --llm-isl=1\n\
                      #SBATCH --gres=gpu:1\necho #SBATCH --llm-osl=1\n#SBATCH --llm-osl=1\n";
        let expected = "#!/bin/bash\n#SBATCH \"--comment=a \\\"b\" -N 2\n#\n\
                        #SBATCH --gres=gpu:1\necho #SBATCH --llm-osl=1\n#SBATCH --llm-osl=1\n";
        assert_eq!(script_without_llm(script).as_deref(), Some(expected));
        let read = SbatchLine::of_directives(expected);
        assert_eq!(read.value_of("comment").as_deref(), Some("a \"b"));
        assert_eq!(script_without_llm("#!/bin/sh\n#SBATCH -N1\ntrue"), None);
    }

    #[test]
    fn the_words_of_a_script_are_its_own() {
        let line = SbatchLine::parse(&words("-N 2 --wait job.sh -G4 --llm-model=x"));
        assert_eq!(line.arguments(), words("-G4 --llm-model=x"));
        assert_eq!(line.llm_options().count(), 0);
        assert_eq!(SbatchLine::parse(&words("-N 2")).arguments(), [""; 0]);
        let line = SbatchLine::parse(&words("-N2 -- job.sh a"));
        assert_eq!(line.arguments(), ["a"]);
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
        let options = all[0].llm_options(&env).unwrap();
        assert_eq!(options.pins.tp, Some(4));
        assert_eq!((options.isl, options.osl), (Some(8.0), Some(10.0)));
        assert_eq!(options.model.as_deref(), Some("m"));
        assert_eq!(all[0].value("gres", &env).as_deref(), Some("gpu:2"));
        assert_eq!(all[0].value("gres", &|_| None).as_deref(), Some("gpu:1"));
        let (kept, tail) = all[0].typed.split_without(&[]);
        assert_eq!((kept, tail), (words("--hold"), words("job.sh")));
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
            .map(|c| c.llm_options(&|_| None).unwrap())
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

    proptest! {
        #[test]
        fn no_components_panic(words in prop::collection::vec("(:|--llm-[a-z]{0,3}(=[ -~]{0,6})?|[ -~]{0,8})", 0..12), script in "(#SBATCH (hetjob|[ -~]{0,20})\n){0,4}") {
            let all = components(parts(&words), Some(&script));
            prop_assert!((1..=MOST_COMPONENTS).contains(&all.len()));
            for component in &all {
                drop(component.llm_options(&|_| None));
                drop(component.value("gres", &|_| None));
                let _ = component.typed.arguments();
            }
        }

        #[test]
        fn a_script_without_ours_has_none_and_the_same_others(script in "(#SBATCH (--llm-tp=[1-9] |--comment=[ab'\"\\\\ ]{0,6} |-N[1-9] ){0,3}\n){0,3}") {
            let before = SbatchLine::of_directives(&script);
            if let Some(after) = script_without_llm(&script) {
                let read = SbatchLine::of_directives(&after);
                prop_assert_eq!(read.llm_options().count(), 0);
                for name in ["comment", "nodes"] {
                    prop_assert_eq!(read.value_of(name), before.value_of(name), "{:?} {:?}", script, after);
                }
            }
        }

        #[test]
        fn no_script_panics(script in "(#SBATCH [-#'\"\\\\ a-z=\\PC]{0,30}\n){0,3}") {
            drop(SbatchLine::of_directives(&script));
        }

        #[test]
        fn no_words_panic_and_none_is_lost(words in prop::collection::vec("[ -~]{0,12}", 0..12)) {
            let line = SbatchLine::parse(&words);
            prop_assert_eq!(line.without(&[]), words);
        }
    }
}
