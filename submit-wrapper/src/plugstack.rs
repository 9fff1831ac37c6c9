//! Slurm's list of SPANK plugins: where our entry stands, or would stand.

use std::fs;
use std::path::{Path, PathBuf};

/// File name of the plugin.
pub(crate) const PLUGIN: &str = "spank_omnipilot.so";
/// File name of the library that it loads from its own folder.
pub(crate) const ADVISOR: &str = "omnipilot_advisor.so";
/// File of the entry in a folder that the list includes.
pub(crate) const ENTRY: &str = "omnipilot.conf";
/// How deep files may include others.
const DEEPEST: u32 = 4;

/// A line that loads a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// File in which it stands.
    pub(crate) file: PathBuf,
    /// Which line of it, from 1.
    pub(crate) number: usize,
    /// Whether a plugin that fails to load fails every command (`required`).
    pub(crate) required: bool,
    /// The plugin as the line names it.
    pub(crate) plugin: PathBuf,
    /// The configuration that it is given, where it is given one.
    pub(crate) config: Option<PathBuf>,
}

/// What the list and the files that it includes say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plugstack {
    /// Lines that load our plugin.
    pub(crate) entries: Vec<Entry>,
    /// Lines that load another one, which may be ours with a typing error.
    pub(crate) others: Vec<Entry>,
    /// Lines that Slurm skips with an error in each command: file, number, first word.
    pub(crate) wrong: Vec<(PathBuf, usize, String)>,
    /// Every file that was read: where a user cannot read one, no command of that user works.
    pub(crate) files: Vec<PathBuf>,
    /// Folders from which every `*.conf` is read.
    pub(crate) folders: Vec<PathBuf>,
    /// Files that cannot be read, with the reason.
    pub(crate) unreadable: Vec<(PathBuf, String)>,
}

/// Reads the list. One that is not there is an empty one.
pub(crate) fn read(path: &Path) -> Plugstack {
    let mut found = Plugstack::default();
    if path.exists() {
        read_into(path, DEEPEST, &mut found);
    }
    found
}

/// Where the entry goes: into the folder that the list includes, else into the list itself.
pub(crate) fn place(list: &Path, found: &Plugstack) -> PathBuf {
    let folder = found.folders.first();
    folder.map_or_else(|| list.to_path_buf(), |folder| folder.join(ENTRY))
}

/// The line that loads this plugin with this configuration.
pub(crate) fn line(plugin: &Path, config: &Path) -> String {
    format!("optional {} config={}", plugin.display(), config.display())
}

fn read_into(path: &Path, depth: u32, found: &mut Plugstack) {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => return found.unreadable.push((path.into(), e.to_string())),
    };
    found.files.push(path.into());
    for (at, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("include"), Some(pattern)) if depth > 0 => {
                include(path, pattern, depth - 1, found);
            }
            (Some(kind @ ("required" | "optional")), Some(plugin)) => {
                let config = words.find_map(|w| w.strip_prefix("config="));
                let entry = Entry {
                    file: path.into(),
                    number: at + 1,
                    required: kind == "required",
                    plugin: plugin.into(),
                    config: config.map(PathBuf::from),
                };
                match is_ours(plugin) {
                    true => found.entries.push(entry),
                    false => found.others.push(entry),
                }
            }
            (Some("include"), Some(_)) | (None, _) => {}
            (Some(word), _) => found.wrong.push((path.into(), at + 1, word.into())),
        }
    }
}

fn is_ours(plugin: &str) -> bool {
    Path::new(plugin).file_name().is_some_and(|n| n == PLUGIN)
}

/// A pattern without a folder is taken beside the file, as Slurm does.
fn include(from: &Path, pattern: &str, depth: u32, found: &mut Plugstack) {
    let path = from.parent().unwrap_or(Path::new("/")).join(pattern);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return;
    };
    let name = name.to_string_lossy();
    if fits(&name, ENTRY) {
        found.folders.push(folder.into());
    }
    let listed = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = listed
        .filter(|e| fits(&name, &e.file_name().to_string_lossy()))
        .map(|e| e.path())
        .collect();
    files.sort();
    files.iter().for_each(|f| read_into(f, depth, found));
}

/// A file name against a pattern with `*` and `?`.
fn fits(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let tails = name.char_indices().map(|(at, _)| &name[at..]);
            tails.chain([""]).any(|tail| fits(rest.as_str(), tail))
        }
        Some(c) => {
            let mut letters = name.chars();
            let first = letters.next();
            first.is_some_and(|n| c == '?' || c == n) && fits(rest.as_str(), letters.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_in_an_included_folder_and_comments_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("plugstack.conf");
        assert_eq!(read(&list), Plugstack::default());
        let parts = dir.path().join("plugstack.conf.d");
        fs::create_dir(&parts).unwrap();
        fs::write(&list, "# required x.so\ninclude plugstack.conf.d/*.conf\n").unwrap();
        fs::write(parts.join("other.conf"), "required /lib/other.so\n").unwrap();
        assert_eq!(place(&list, &read(&list)), parts.join(ENTRY));
        let entry = line(
            Path::new("/lib/spank_omnipilot.so"),
            Path::new("/etc/o.toml"),
        );
        fs::write(parts.join(ENTRY), format!("#{entry}\n")).unwrap();
        assert!(read(&list).entries.is_empty());
        fs::write(parts.join(ENTRY), entry).unwrap();
        let [found] = &read(&list).entries[..] else {
            panic!("one entry")
        };
        assert!(!found.required && found.file == parts.join(ENTRY));
        assert_eq!(found.config.as_deref(), Some(Path::new("/etc/o.toml")));
        assert_eq!(found.number, 1);
        let [other] = &read(&list).others[..] else {
            panic!("one other entry")
        };
        assert!(other.required && other.plugin == Path::new("/lib/other.so"));
        assert_eq!(read(&list).files.len(), 3);
        fs::write(parts.join(ENTRY), "\noptionall x.so\nrequired\n").unwrap();
        let wrong = |at, word: &str| (parts.join(ENTRY), at, word.to_owned());
        assert_eq!(
            read(&list).wrong,
            [wrong(2, "optionall"), wrong(3, "required")]
        );
    }

    #[test]
    fn a_list_that_includes_itself_ends() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("plugstack.conf");
        fs::write(&list, "include *.conf\n").unwrap();
        assert!(read(&list).entries.is_empty());
    }

    #[test]
    fn patterns_are_the_shells() {
        for (pattern, name, fit) in [
            ("*.conf", "omnipilot.conf", true),
            ("*.conf", "omnipilot.conf.bak", false),
            ("o?nipilot.*", "omnipilot.conf", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
    }
}
