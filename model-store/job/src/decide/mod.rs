//! What is to be done with a submission.
//!
//! * [`consult`]: options and snapshot -> request -> advice -> rewrite or refuse.
//! * [`decision`]: that, the script and the mode -> one decision, for plugin and command alike.

pub mod consult;
pub mod decision;
