//! What the SPANK plugin, its advisor library and the rest of OmniPilot agree on: the table of `--llm-*` options, the names of
//! variables, and how the plugin asks the library. Plain data without std, so that the plugin is a few kilobytes.

#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::panic,
        clippy::unreachable,
        clippy::unwrap_used,
        clippy::expect_used
    )
)]
#![deny(clippy::undocumented_unsafe_blocks)]

pub mod environment;
pub mod options;
pub mod question;
