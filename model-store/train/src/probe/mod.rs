//! Which measurements are worth their GPU-hours: from requests (wishes and past ones) and the published knowledge to a list of
//! probes, best first. Pure.
//!
//! The value of a probe is the expected gain, in the logarithm of tokens for the price, of the advice on each request after
//! its outcome is known (R. A. Howard, Information Value Theory, 1966), with beliefs that a run at one configuration moves at its
//! neighbours (P. Frazier, W. Powell, S. Dayanik, The Knowledge-Gradient Policy for Correlated Normal Beliefs, 2009). Probes
//! are picked greedily by value for a GPU-hour (S. Khuller, A. Moss, J. Naor, The Budgeted Maximum Coverage Problem, 1999). `docs/probes.md` has
//! the formula and its constants.

mod belief;
mod plan;

pub use belief::{OUT_OF_SUPPORT_SD, WORTH_OF_AN_ANSWER};
pub use plan::{Asked, Budget, Plan, PlannedProbe, Taken, plan};

/// Votes of one user for one request that was made so often: `1 + log10(n)`, at most 2.
pub fn vote(times: u32) -> f64 {
    (1.0 + f64::from(times.max(1)).log10()).min(2.0)
}

/// Most votes that the requests of one user have together.
pub const MOST_VOTES: f64 = 10.0;
