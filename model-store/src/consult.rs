//! From the options of one submission to what is to be done with the job. The plugin and
//! `omnipilot submit` and `advise` all go through here, so that the three cannot differ.

use crate::advisor::Advice;
use crate::config::Config;
use crate::options::RawOptions;

/// Exit codes of a refusal, the same for plugin and command.
pub mod exit_code {
    /// The request lies outside what was measured.
    pub const OUT_OF_SUPPORT: u8 = 64;
    /// Nothing that the cluster has can run it.
    pub const INFEASIBLE: u8 = 65;
    /// An option value was wrong.
    pub const USAGE: u8 = 2;
}

/// What is to be done with the job.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Change the job so.
    Rewrite(Rewrite),
    /// Refuse it.
    Refuse(Refusal),
}

/// The changes to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// Value of `--gres`, such as `gpu:h100:4`.
    pub gres: String,
    /// `SLURM_LLM_*` names and values for the job's environment.
    pub environment: Vec<(&'static str, String)>,
    /// Text to append to the job's comment: `omnipilot:<advice id>`.
    pub comment: String,
    /// What to tell the user, at most four lines, without prefix.
    pub message: Vec<String>,
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of [`exit_code`].
    pub code: u8,
    /// The reason in numbers and a `hint:`; at most four lines, without prefix.
    pub message: Vec<String>,
}

/// An advice and what follows from it.
#[derive(Clone, Debug, PartialEq)]
pub struct Consulted {
    /// The advice.
    pub advice: Advice,
    /// What is to be done.
    pub action: Action,
}

/// A fault: there is no advice because something is broken, which is no decision against the job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Fault {
    /// What is broken, on one line.
    pub reason: String,
    /// What to do about it.
    pub hint: String,
}

/// Reads the published snapshot and asks the advisor. `script_pins` are what the batch script
/// fixes in text; an option given by the user wins over them.
///
/// # Errors
/// A [`Fault`]: no snapshot, a corrupt one, or one of another format.
pub fn consult(config: &Config, options: &RawOptions, script_pins: &crate::advisor::Pins) -> Result<Consulted, Fault> {
    let _ = (config, options, script_pins);
    Err(Fault { reason: "not written yet".into(), hint: String::new() })
}
