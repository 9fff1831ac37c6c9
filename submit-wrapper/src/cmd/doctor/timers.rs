//! The timers that keep store and snapshot fresh, and the services that they start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model_store::config::Config;

use super::Seen;
use crate::slurm::command;

const VERBS: [&str; 3] = ["ingest", "observe", "train"];

pub(super) fn check(seen: &mut Seen) {
    if !Path::new("/run/systemd/system").exists() {
        return seen.skipped(
            "timers",
            "systemd does not run here; cron or scrontab may start `ingest`, `observe` and `train --if-needed`",
        );
    }
    for verb in VERBS {
        let shown = |unit: &str, properties: &str| {
            command::output("systemctl", &["show", properties, unit])
        };
        let timer = shown(
            &format!("omnipilot-{verb}.timer"),
            "--property=LoadState,ActiveState",
        );
        let service = shown(
            &format!("omnipilot-{verb}.service"),
            "--property=Result,ExecMainStatus,ProtectSystem,ReadWritePaths",
        );
        match (timer, service) {
            (Ok(timer), Ok(service)) => one(seen, verb, &keys(&timer), &keys(&service)),
            (Err(e), _) | (_, Err(e)) => return seen.skipped("timers", e.to_string()),
        }
    }
}

/// What `systemctl show` printed. A property that it does not print is empty.
type Keys<'a> = BTreeMap<&'a str, &'a str>;

fn keys(text: &str) -> Keys<'_> {
    text.lines().filter_map(|l| l.split_once('=')).collect()
}

fn one(seen: &mut Seen, verb: &str, timer: &Keys, service: &Keys) {
    let key = |keys: &Keys, name| keys.get(name).copied().unwrap_or_default().to_owned();
    match (&*key(timer, "LoadState"), &*key(timer, "ActiveState")) {
        ("loaded", "active") => {}
        ("loaded", state) => {
            return seen.warning(
                "timers",
                format!("omnipilot-{verb}.timer is {state}"),
                format!("`systemctl enable --now omnipilot-{verb}.timer` on one machine"),
            );
        }
        (state, _) => {
            return seen.warning(
                "timers",
                format!("omnipilot-{verb}.timer is {state}"),
                "the package brings it; else copy it from /usr/share/doc/omnipilot/examples/systemd to /etc/systemd/system",
            );
        }
    }
    let unit = format!("omnipilot-{verb}.service");
    let strict = key(service, "ProtectSystem") == "strict";
    let writable = key(service, "ReadWritePaths");
    let closed = seen.config.as_ref().filter(|_| strict);
    if let Some(folder) = closed.and_then(|config| closed_to(config, &writable)) {
        return seen.error(
            "timers",
            format!("{unit} may not write to {}", folder.display()),
            format!(
                "`systemctl edit {unit}` with `[Service]` and `ReadWritePaths={}`",
                folder.display()
            ),
        );
    }
    match (&*key(service, "Result"), &*key(service, "ExecMainStatus")) {
        ("success" | "", _) => seen.ok("timers", format!("omnipilot-{verb}.timer is active")),
        (result, status) => seen.error(
            "timers",
            format!("{unit} failed when it ran last: {result}, status {status}"),
            format!("`journalctl --unit {unit}` says why"),
        ),
    }
}

/// The first folder of the site's that a service with these `ReadWritePaths` may not write to.
fn closed_to(config: &Config, writable: &str) -> Option<PathBuf> {
    let open: Vec<&str> = writable
        .split_whitespace()
        .map(|path| path.trim_start_matches(['-', '+']))
        .collect();
    let folder = |file: &Path| file.parent().unwrap_or(file).to_path_buf();
    let all = [
        folder(&config.store),
        folder(&config.snapshot),
        config.spool.clone(),
    ];
    all.into_iter()
        .find(|folder| !open.iter().any(|path| folder.starts_with(path)))
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    const ACTIVE: &str = "LoadState=loaded\nActiveState=active\n";

    /// State and words for a timer, a service and the folder of the site's store.
    fn found(timer: &str, service: &str, folder: &str) -> (State, String, String) {
        let text = format!(
            "store = \"{folder}/store.db\"\nsnapshot = \"{folder}/model.snapshot\"\nspool = \"/var/spool/omnipilot\"\n"
        );
        let mut seen = Seen {
            config: Some(Config::parse(&text).unwrap()),
            ..Seen::default()
        };
        one(&mut seen, "ingest", &keys(timer), &keys(service));
        let found = seen.findings.pop().unwrap();
        (found.state, found.finding, found.hint.unwrap_or_default())
    }

    #[test]
    fn a_timer_is_as_good_as_what_its_service_did_last() {
        let paths =
            "ProtectSystem=strict\nReadWritePaths=-/var/lib/omnipilot -/var/spool/omnipilot\n";
        let done = format!("Result=success\nExecMainStatus=0\n{paths}");
        let died = format!("Result=exit-code\nExecMainStatus=1\n{paths}");
        let home = "/var/lib/omnipilot";
        assert_eq!(found(ACTIVE, &done, home).0, State::Ok);
        let (state, words, _) = found("LoadState=loaded\nActiveState=inactive\n", &done, home);
        assert_eq!(
            (state, &*words),
            (State::Warning, "omnipilot-ingest.timer is inactive")
        );
        let (state, words, hint) = found(ACTIVE, &died, home);
        assert_eq!(state, State::Error);
        assert!(
            words.contains("exit-code, status 1") && hint.contains("journalctl"),
            "{words} {hint}"
        );
    }

    #[test]
    fn a_store_that_the_service_may_not_write_to_is_found_before_it_fails() {
        let service = "Result=success\nProtectSystem=strict\nReadWritePaths=-/var/lib/omnipilot -/var/spool/omnipilot\n";
        let (state, words, hint) = found(ACTIVE, service, "/shared/pilot");
        assert_eq!(state, State::Error);
        assert!(words.ends_with("may not write to /shared/pilot"), "{words}");
        assert!(hint.contains("ReadWritePaths=/shared/pilot"), "{hint}");
        let edited = format!("{} /shared\n", service.trim_end());
        assert_eq!(found(ACTIVE, &edited, "/shared/pilot").0, State::Ok);
        // A neighbour of the same beginning is another folder; and a unit of the site's own need not be strict.
        assert_eq!(
            found(ACTIVE, service, "/var/lib/omnipilot-2").0,
            State::Error
        );
        assert_eq!(
            found(
                ACTIVE,
                "Result=success\nProtectSystem=no\n",
                "/shared/pilot"
            )
            .0,
            State::Ok
        );
    }
}
