//! What the timers' services may write to: the folders of the package, and by a drop-in of each those where the configuration has
//! store, snapshot and spool elsewhere.

use std::fs;
use std::path::Path;

use model_store::config::Config;

use super::Told;
use crate::slurm::command;
use crate::{draft, exit};

/// Where an administrator's own units and drop-ins lie.
const UNITS: &str = "/etc/systemd/system";
/// File of the drop-in, in the folder of its service.
const DROP_IN: &str = "folders.conf";
const VERBS: [&str; 4] = ["ingest", "observe", "train", "metrics"];
/// What the units of the package open themselves.
const OPEN: [&str; 2] = ["/var/lib/omnipilot", "/var/spool/omnipilot"];

/// Opens the folders of this configuration to the services, where systemd runs and this is root.
pub(super) fn open(config: &Config, told: &mut Told) -> anyhow::Result<()> {
    let here = Path::new("/run/systemd/system").exists() && nix::unistd::geteuid().is_root();
    let folders = elsewhere(config);
    if !here || folders.is_empty() {
        return Ok(());
    }
    let text = drop_in(&folders);
    let mut changed = false;
    for verb in VERBS {
        let file = format!("{UNITS}/omnipilot-{verb}.service.d/{DROP_IN}");
        let file = Path::new(&file);
        if fs::read_to_string(file).is_ok_and(|there| there == text) {
            continue;
        }
        changed = true;
        if !told.dry {
            write(file, &text).map_err(|e| {
                exit::fail(
                    format!("cannot write {}: {e}", file.display()),
                    "`systemctl edit` of each service does the same by hand",
                )
            })?;
        }
    }
    if changed && !told.dry {
        command::output("systemctl", &["daemon-reload"])
            .map_err(|e| exit::fail(e.to_string(), "`systemctl daemon-reload` by hand"))?;
    }
    let words = format!("may write to {}, by {DROP_IN} of each", folders.join(", "));
    told.step("services", changed, &words)
}

/// Folders of this configuration that the package's units do not open, each once.
fn elsewhere(config: &Config) -> Vec<String> {
    let parent = |file: &Path| file.parent().unwrap_or(file).to_path_buf();
    let all = [
        parent(&config.store),
        parent(&config.snapshot),
        config.spool.clone(),
    ];
    let mut folders: Vec<String> = Vec::new();
    for folder in all {
        let words = folder.display().to_string();
        if !OPEN.iter().any(|open| folder.starts_with(open)) && !folders.contains(&words) {
            folders.push(words);
        }
    }
    folders
}

/// A line for each folder. One that is not there is no reason for a service to fail, and none of its letters has a meaning.
fn drop_in(folders: &[String]) -> String {
    let quoted = |folder: &String| {
        let plain = folder
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('%', "%%");
        format!("ReadWritePaths=\"-{plain}\"\n")
    };
    let lines: String = folders.iter().map(quoted).collect();
    format!(
        "# By `omnipilot setup`: where the configuration has store, snapshot and spool.\n[Service]\n{lines}"
    )
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    fs::create_dir_all(file.parent().unwrap_or(file))?;
    draft::replace(file, text, 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(store: &str, snapshot: &str, spool: &str) -> Vec<String> {
        let text = format!("store = \"{store}\"\nsnapshot = \"{snapshot}\"\nspool = \"{spool}\"\n");
        elsewhere(&Config::parse(&text).unwrap())
    }

    #[test]
    fn only_folders_that_the_package_does_not_open_are_opened_and_each_once() {
        let store = "/var/lib/omnipilot/store.db";
        let none = site(
            store,
            "/var/lib/omnipilot/m.snapshot",
            "/var/spool/omnipilot",
        );
        assert_eq!(none, Vec::<String>::new());
        let shared = site(store, "/shared/pilot/m.snapshot", "/shared/pilot/spool");
        assert_eq!(shared, ["/shared/pilot", "/shared/pilot/spool"]);
        let one = site(
            "/shared/pilot/s.db",
            "/shared/pilot/m.snapshot",
            "/shared/pilot",
        );
        assert_eq!(one, ["/shared/pilot"]);
        let neighbour = site(
            "/var/lib/omnipilot-2/s.db",
            "/var/lib/omnipilot/m.snapshot",
            "/var/spool/omnipilot",
        );
        assert_eq!(neighbour, ["/var/lib/omnipilot-2"]);
    }

    #[test]
    fn no_letter_of_a_folder_has_a_meaning_to_systemd() {
        let text = drop_in(&["/a b".into(), "/100%\"x".into()]);
        assert!(
            text.ends_with(
                "[Service]\nReadWritePaths=\"-/a b\"\nReadWritePaths=\"-/100%%\\\"x\"\n"
            ),
            "{text}"
        );
    }
}
