//! A reading of shell scripts: what their commands would be given, as far as the text tells.
//!
//! [`parse`] makes a tree of a script. [`Shell`] walks through it as bash would: it keeps
//! variables, arrays, functions and arguments, goes through loops whose rounds are known, and calls
//! back for each command that is started. What only a running shell could know is
//! [`Piece::Unknown`]; what takes its value from the advice or from the job's GPUs is
//! [`Piece::Follows`].
//!
//! Architecture invariant: pure, bounded, and no text makes it panic.

mod arith;
mod ast;
mod builtin;
mod expand;
mod lex;
mod param;
mod parse;
mod print;
mod run;
mod shell;
mod state;
mod test;
mod value;

pub(super) use shell::{Call, Host, Shell, arguments};
pub(super) use state::{State, Value};
pub(super) use value::{Field, Follows, Piece, Text};
