//! Slurm itself: release, controller, GPUs.

use super::Seen;
use crate::slurm::{cluster, command, conf};
use crate::{clock, prices};
use model_store::advisor::words::count_of;

/// Oldest and newest release on which the plugin is tested, year and month.
const TESTED: [(u32, u32); 2] = [(22, 5), (26, 5)];

pub(super) fn check(seen: &mut Seen) {
    let conf = match conf::ask() {
        Ok(conf) => conf,
        Err(e) => return seen.error("slurm", e.to_string(), e.hint()),
    };
    let words = format!("cluster {}, Slurm {}", conf.cluster(), conf.version());
    match release(conf.version()) {
        Some(release) if release < TESTED[0] => seen.error(
            "slurm",
            format!("{words}, which is older than 22.05"),
            "the plugin needs Slurm 22.05 or newer; `omnipilot submit` advises without it",
        ),
        Some(release) if release > TESTED[1] => seen.warning(
            "slurm",
            format!("{words}, which is newer than 26.05, the newest that was tried"),
            "Slurm declines a plugin that does not fit in one line at each submission: watch the first jobs",
        ),
        _ => seen.ok("slurm", words),
    }
    match command::output("scontrol", &["ping"]) {
        Ok(text) => {
            let line = text.lines().find(|l| !l.trim().is_empty());
            seen.ok("controller", line.unwrap_or("it answers").trim());
        }
        Err(e) => seen.error("controller", e.to_string(), e.hint()),
    }
    seen.slurm = Some(conf);
}

/// `22.05.8` as year and month.
fn release(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Every GPU type must mean a GPU of the catalogue, and have a type at all.
pub(super) fn check_gpus(seen: &mut Seen) {
    if seen.slurm.is_none() {
        return seen.skipped("gpus", "Slurm does not answer");
    }
    let found = match cluster::observe(clock::now()) {
        Ok(found) => found,
        Err(e) => return seen.error("gpus", e.to_string(), e.hint()),
    };
    if found.untyped_nodes > 0 {
        seen.error(
            "gpus",
            format!(
                "GPUs without a type, which cannot be advised, on {}",
                count_of(found.untyped_nodes, "node")
            ),
            "give them one in gres.conf and slurm.conf, as in `Gres=gpu:h100:8`",
        );
    }
    let pools = &found.state.pools;
    if pools.is_empty() && found.untyped_nodes == 0 {
        return seen.error(
            "gpus",
            "no node has GPUs",
            "`GresTypes=gpu` and `Gres=gpu:h100:8` of the nodes in slurm.conf make Slurm count them",
        );
    }
    let Some(config) = seen.config.clone() else {
        return;
    };
    let mut known = Vec::new();
    for pool in pools {
        match prices::gpu_of(&config, &pool.gres) {
            Some(gpu) => known.push(format!("{} x {} = {gpu}", pool.total, pool.gres)),
            None => seen.error(
                "gpus",
                format!(
                    "{} of type `{}` without a meaning: none is ever advised",
                    count_of(pool.total, "GPU"),
                    pool.gres
                ),
                format!(
                    "`[gpu.{}]` with `is = \"A100-80GB\"` or another name of the catalogue in the configuration gives it one",
                    pool.gres
                ),
            ),
        }
    }
    if !known.is_empty() {
        seen.ok("gpus", known.join(", "));
    }
    super::rules::check(seen, &found);
}

#[cfg(test)]
mod tests {
    use super::release;

    #[test]
    fn releases_are_read() {
        assert_eq!(release("22.05.8"), Some((22, 5)));
        assert_eq!(release("26.05-rc1"), Some((26, 5)));
        assert_eq!(release("-"), None);
    }
}
