//! The SPANK plugin.
