//! What is to be done with a submission.
//!
//! * [`checkpoint_files`]: the files of a checkpoint that say what it is.
//! * [`consult`]: options and snapshot -> request -> advice -> rewrite or refuse.
//! * [`decision`]: that, the script and the mode -> one decision, for plugin and command alike.
//! * [`test_only`]: what slurmctld itself says of a form of a job.
//! * [`startable`]: what the job could be started on here (pure).

pub mod checkpoint_files;
pub mod consult;
pub mod decision;
pub mod startable;
pub mod test_only;
mod time_left;
