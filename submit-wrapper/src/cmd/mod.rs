//! One module a verb.

pub(crate) mod advise;
pub(crate) mod doctor;
pub(crate) mod evaluate;
pub(crate) mod explain;
pub(crate) mod export;
pub(crate) mod generate;
pub(crate) mod import;
pub(crate) mod ingest;
pub(crate) mod init;
pub(crate) mod models;
pub(crate) mod observe;
pub(crate) mod predict;
pub(crate) mod probe;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod setup;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod store;
pub(crate) mod submit;
pub(crate) mod train;
