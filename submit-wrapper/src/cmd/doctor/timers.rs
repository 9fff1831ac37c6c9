//! The timers that keep store and snapshot fresh.

use std::collections::BTreeMap;
use std::path::Path;

use super::Seen;
use crate::slurm::command;

const TIMERS: [&str; 3] = [
    "omnipilot-ingest.timer",
    "omnipilot-observe.timer",
    "omnipilot-train.timer",
];

pub(super) fn check(seen: &mut Seen) {
    if !Path::new("/run/systemd/system").exists() {
        return seen.skipped(
            "timers",
            "systemd does not run here; cron or scrontab may start `ingest`, `observe` and `train --if-needed`",
        );
    }
    for timer in TIMERS {
        let properties = "--property=LoadState,ActiveState,UnitFileState";
        match command::output("systemctl", &["show", properties, timer]) {
            Ok(text) => one(seen, timer, &text),
            Err(e) => return seen.skipped("timers", e.to_string()),
        }
    }
}

fn one(seen: &mut Seen, timer: &str, text: &str) {
    let keys: BTreeMap<&str, &str> = text.lines().filter_map(|l| l.split_once('=')).collect();
    let key = |name| keys.get(name).copied().unwrap_or_default();
    match (key("LoadState"), key("ActiveState")) {
        ("loaded", "active") => seen.ok("timers", format!("{timer} is active")),
        ("loaded", state) => seen.warning(
            "timers",
            format!("{timer} is {state}"),
            format!("`systemctl enable --now {timer}` on one machine"),
        ),
        (state, _) => seen.warning(
            "timers",
            format!("{timer} is {state}"),
            "the package brings it; else copy it from /usr/share/doc/omnipilot/examples/systemd to /etc/systemd/system",
        ),
    }
}
