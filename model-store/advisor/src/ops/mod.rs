//! Time of a step from measured operations.
//!
//! NVIDIA AIConfigurator 0.12 (Apache-2.0) publishes how long single operations take on A100, H100,
//! H200, L40S and B200: matrix products, attention, experts, all-reduces, by shape and format. Each
//! operation's time here is a roofline times a factor that is interpolated from those tables
//! ([`table`]); a step is their sum over the layers ([`machine`]). The tables themselves are not
//! part of the program, only the factors, in 200 KB.

pub mod grid;
pub mod machine;
pub mod roofline;
pub mod table;

pub use machine::{Machine, Split};
