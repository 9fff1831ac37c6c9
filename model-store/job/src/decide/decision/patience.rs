//! By how much the advised form of a job may start later than the form as written.

use crate::advisor::Assessed;
use crate::config::Config;
use crate::job_request::asked;
use crate::snapshot::Snapshot;

use super::{Submission, advice_on};

/// Seconds by which two forms of a job may start apart without any of them being later: slurmctld
/// reckons in the steps of its scheduler.
const LEAST_S: f64 = 60.0;

/// Seconds: as long as the advised form's utility is higher with that wait than without. Without end
/// where the form as written is no configuration that could be advised: it does not serve what was
/// asked for.
pub fn patience(snapshot: &Snapshot, config: &Config, known: &Submission) -> f64 {
    let economy = &snapshot.body.economy;
    let utilities = advice_on(snapshot, config, known).and_then(|(consulted, _)| {
        let advice = &consulted.advice;
        let own = asked(known.given)?;
        let is_own = |a: &&Assessed| {
            own.count == Some(a.config.gpus_per_node())
                && own
                    .gpu
                    .as_ref()
                    .is_none_or(|g| g.eq_ignore_ascii_case(&a.config.gres))
        };
        let mut all = advice.candidates.iter().filter(|a| a.fallen.is_none());
        Some((advice.recommended()?.utility?, all.find(is_own)?.utility?))
    });
    let weight = economy.weights.wait.max(1e-3);
    let job_s = economy.job_hours * 3600.0;
    let wait = |(best, own): (f64, f64)| ((best - own).max(0.0) / weight).exp_m1() * job_s;
    LEAST_S + utilities.map_or(f64::INFINITY, wait).min(job_s)
}
