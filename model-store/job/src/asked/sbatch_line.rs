//! The command line of `sbatch` and the directives of a script, as far as an advice must understand
//! them. Pure.

use super::sbatch_options::{Takes, meant, of_letter, takes};
use crate::options::OPTIONS;

/// A parsed command line: its words, its options, and the script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SbatchLine {
    /// All words, letters that were given in one (`-HG4`) each in its own.
    pub words: Vec<String>,
    /// Path of the batch script; `None` for standard input or `--wrap`.
    pub script: Option<String>,
    /// Text of `--wrap`.
    pub wrap: Option<String>,
    options: Vec<Typed>,
}

/// One option: its whole long name, value, and the words that it occupies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Typed {
    name: String,
    value: Option<String>,
    at: usize,
    words: usize,
}

impl SbatchLine {
    /// Reads the words behind `sbatch`.
    pub fn parse(words: &[String]) -> Self {
        let mut out = Self::of_options(words.to_vec());
        let used = out.used();
        let next = |at: usize| out.words.get(at).cloned();
        out.script = match next(used) {
            Some(word) if word == "--" => next(used + 1),
            word => word,
        };
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
        while let Some(word) = out.words.get(at) {
            if word == "--" || word == "-" || !word.starts_with('-') {
                break;
            }
            if let Some(two) = taken_apart(word) {
                out.words.splice(at..=at, two);
            }
            let typed = one(&out.words, at);
            at += typed.words;
            out.options.push(typed);
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
        let kept = |o: &&Typed| !names.contains(&o.name.as_str()) && llm_name(&o.name).is_none();
        let words = self.options.iter().filter(kept).flat_map(|o| {
            self.words
                .get(o.at..o.at + o.words)
                .unwrap_or_else(|| self.words.get(o.at..).unwrap_or_default())
        });
        (words.cloned().collect(), self.behind().to_vec())
    }

    /// How many words the options take.
    pub(super) fn used(&self) -> usize {
        self.options.last().map_or(0, |o| o.at + o.words)
    }

    /// The long name of the option before the script.
    pub(super) fn last_name(&self) -> Option<&str> {
        self.options.last().map(|o| o.name.as_str())
    }

    /// The words behind the options: the script and its arguments.
    pub(super) fn behind(&self) -> &[String] {
        self.words.get(self.used()..).unwrap_or_default()
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
            let covers = |o: &&Typed| (o.at..o.at + o.words).contains(&at);
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

/// The option of ours with this name.
fn llm_name(name: &str) -> Option<&'static str> {
    OPTIONS
        .iter()
        .map(|spec| spec.name)
        .find(|full| *full == name)
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

/// The first letter of several and the rest, where that option has no value: `-HG4` is `-H -G4`.
fn taken_apart(word: &str) -> Option<[String; 2]> {
    let mut rest = word.strip_prefix('-')?.chars();
    let (_, takes) = of_letter(rest.next()?)?;
    let more = rest.as_str();
    let first = word.strip_suffix(more)?;
    (takes == Takes::Nothing && !more.is_empty()).then(|| [first.to_owned(), format!("-{more}")])
}

/// The option that begins at a word.
fn one(words: &[String], at: usize) -> Typed {
    let word = words.get(at).map_or("", String::as_str);
    let typed = |name: &str, value: Option<&str>, takes: Takes| {
        let next = value.is_none() && takes == Takes::Value;
        let value = value.or_else(|| words.get(at + 1).filter(|_| next).map(String::as_str));
        Typed {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            at,
            words: 1 + usize::from(next),
        }
    };
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = long
            .split_once('=')
            .map_or((long, None), |(name, value)| (name, Some(value)));
        let name = meant(name);
        return typed(name, value, takes(name));
    }
    let mut rest = word.chars();
    rest.next();
    let letter = rest.next().unwrap_or(' ');
    let glued = Some(rest.as_str()).filter(|text| !text.is_empty());
    match of_letter(letter) {
        Some((name, takes)) => typed(name, glued, takes),
        None => typed(&letter.to_string(), None, Takes::Nothing),
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
    fn beginnings_of_names_and_letters_in_one_word_are_whole_options() {
        let line = SbatchLine::parse(&words("-HQG4 --part=gpu --gpus-per-n 2 --exclu job.sh"));
        assert_eq!(line.value_of("gpus").as_deref(), Some("4"));
        assert_eq!(line.value_of("partition").as_deref(), Some("gpu"));
        assert_eq!(line.value_of("gpus-per-node").as_deref(), Some("2"));
        assert!(line.has("hold") && line.has("quiet"));
        // It may be --exclude or --exclusive, and `sbatch` takes it for neither.
        assert!(!line.has("exclusive") && !line.has("exclude"));
        assert_eq!(line.without(&["gpus"])[..2], words("-H -Q"));
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

    proptest! {
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
            // Letters that were given in one word may stand in several.
            let text = |words: &[String]| words.concat().replace('-', "");
            prop_assert_eq!(text(&line.without(&[])), text(&words));
        }
    }
}
