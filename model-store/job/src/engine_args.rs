//! What an advice means in an engine's own arguments, and what a command or a batch script
//! already fixes in them.
//!
//! * [`Advised`] + a command -> the command with the advice in it, each flag once ([`apply()`]), or the
//!   [`ApplyError`] that names the literal which contradicts the advice;
//! * a [`Choice`] -> the arguments that carry it out ([`Choice::args`]), the text of
//!   `SLURM_LLM_ENGINE_ARGS`;
//! * a command -> what it says ([`EngineCommand`]);
//! * a script -> what it starts, and what is said of each ([`starts()`]).
//!
//! Architecture invariant: pure. No file, environment or process is touched, and no text makes
//! these functions panic: the plugin calls them on users' scripts.

mod apply;
mod bash;
mod choice;
mod command;
mod config_file;
mod container;
mod engines;
mod flags;
mod launcher;
mod starts;
mod tools;
mod words;

pub use apply::{Advised, ApplyError, apply, apply_to};
pub use choice::{Choice, made_at_load};
pub use command::{EngineCommand, precision_of};
pub use flags::{EngineKind, Setting};
pub use starts::{Outside, Own, Program, Start, Starts, Stated, Times, Variable, starts};
