//! The SQLite store of past runs.
