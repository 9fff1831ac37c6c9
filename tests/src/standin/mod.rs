//! A stand-in for a serving engine: no model, no GPU, only what OmniPilot sees of one.
//!
//! It takes the arguments of `vllm serve`, refuses connections until it is ready, then answers `/health` and `/metrics` as vLLM
//! does (names and text format as captured from vLLM 0.32.0), counts a steady made-up load, and ends like vLLM: exit code 0
//! on SIGTERM. On demand it fails in the ways that were captured from vLLM. None of its figures is a measurement.
//!
//! Parts: [`Settings`] (what to pretend), [`Load`] (the figures at a moment, pure), [`metrics()`] (their text), and the binary
//! `standin-engine` with the sockets and signals.

mod args;
mod fail;
mod load;
mod metrics;
mod server;
mod speed;

pub use args::{Settings, UsageError};
pub use fail::Failure;
pub use load::Load;
pub use metrics::metrics;
pub use server::serve;
pub use speed::{Speed, parameters_of};
