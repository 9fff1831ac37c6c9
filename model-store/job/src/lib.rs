//! One submission: what it asks for, what is decided about it, and how it is changed.
//!
//! * [`asked`] reads it: the `--llm-*` options, the command line of `sbatch`, a script's
//!   directives, the job's own request.
//! * [`engine_args`] says what an advice means in an engine's own arguments, and what a script
//!   fixes.
//! * [`site`] holds what an administrator publishes: configuration, policy, snapshot.
//! * [`decide`] asks the advisor and says what is to be done.
//! * [`change`] says which of the job's options an advice changes.
//! * [`carry_out`] does what was decided, for plugin and command alike.
//! * [`spool`] is what jobs and requests without an answer leave behind.

#![forbid(unsafe_code)]

extern crate advisor; // so that `crate::advisor` names it

use advisor::hashing;

pub mod asked;
pub mod carry_out;
pub mod change;
pub mod decide;
pub mod engine_args;
pub mod quantity;
pub mod site;
pub mod spool;

pub use advisor::slurm_view;
pub use asked::{component, job_request, options, quoting, reading, sbatch_line, sbatch_options};
pub use change::{constraint, job_rewrite};
pub use decide::{checkpoint_files, consult, decision, startable, test_only};
pub(crate) use site::site_limit;
pub use site::{config, hostlist, policy, prices, snapshot};
pub use spool::{outcome, wish};
