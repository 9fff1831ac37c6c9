//! The command line of `sbatch`, as far as an advice must understand it.

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
pub(crate) struct SbatchLine {
    /// All words as given.
    pub(crate) words: Vec<String>,
    /// Path of the batch script; `None` for standard input or `--wrap`.
    pub(crate) script: Option<String>,
    /// Text of `--wrap`.
    pub(crate) wrap: Option<String>,
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
    pub(crate) fn parse(words: &[String]) -> Self {
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

    /// Reads the `#SBATCH` lines at the head of a script.
    pub(crate) fn of_directives(script: &str) -> Self {
        let head = script
            .lines()
            .map(str::trim_start)
            .take_while(|l| l.is_empty() || l.starts_with('#'));
        let words: Vec<String> = head
            .filter_map(|l| l.strip_prefix("#SBATCH"))
            .flat_map(words_of_directive)
            .collect();
        let mut out = Self {
            words: words.clone(),
            ..Self::default()
        };
        let mut at = 0;
        while words.get(at).is_some_and(|w| w.starts_with('-')) {
            let given = one(&words, at);
            at += given.words;
            out.options.push(given);
        }
        out
    }

    /// The last value of a long option.
    pub(crate) fn value_of(&self, name: &str) -> Option<String> {
        self.options
            .iter()
            .rev()
            .find(|o| o.name == name)
            .and_then(|o| o.value.clone())
    }

    /// The first of these long options that is given.
    pub(crate) fn first_of<'a>(&self, names: &[&'a str]) -> Option<&'a str> {
        names
            .iter()
            .copied()
            .find(|name| self.options.iter().any(|o| o.name == *name))
    }

    /// The words without these long options.
    pub(crate) fn without(&self, names: &[&str]) -> Vec<String> {
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
        'C' => "constraint".to_owned(),
        'G' => "gpus".to_owned(),
        'N' => "nodes".to_owned(),
        'n' => "ntasks".to_owned(),
        'p' => "partition".to_owned(),
        'w' => "nodelist".to_owned(),
        'F' => "nodefile".to_owned(),
        'x' => "exclude".to_owned(),
        other => other.to_string(),
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

    proptest! {
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
