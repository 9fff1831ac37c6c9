//! What is to be done with a submission.
//!
//! * [`consult`]: options and snapshot -> request -> advice -> rewrite or refuse.
//! * [`decision`]: that, the script and the mode -> one decision, for plugin and command alike.
//! * [`startable`]: what the job could be started on here (pure).

pub mod consult;
pub mod decision;
pub mod startable;
