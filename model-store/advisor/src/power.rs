//! Power of a GPU from how busy the engine's state keeps it.
//!
//! A GPU that serves draws a base, and more for reading memory and for arithmetic. The shares were
//! fitted to measured rows of ML.ENERGY and Argonne (`docs/model.md`, "Power"). What engines of two
//! years ago leave idle between steps is in the width.

use super::advice::Prediction;
use super::physics::Physics;
use super::setup::Setup;

/// Share of the board's limit that a serving GPU draws, whatever it does; what full reading and full
/// arithmetic add.
const BASE: f64 = 0.30;
const READING: f64 = 0.30;
const ARITHMETIC: f64 = 0.35;
/// Half of an interval that holds four in five, as a factor.
const WIDTH: f64 = 1.45;

/// Power of all GPUs of the instance, W.
pub(crate) fn power(s: &Setup, p: &Physics) -> Prediction {
    let step = p.step_s.max(1e-9);
    let reading = ((p.weights_s + p.kv_s) / step).clamp(0.0, 1.0);
    let decoding = (p.compute_s / step).clamp(0.0, 1.0);
    // Time that requests spend in prefill, which is arithmetic.
    let prefill = p.shared_prefill_s.max(0.0);
    let decode = s.osl * step / p.in_flight.max(1.0);
    let share = prefill / (prefill + decode).max(1e-9);
    let busy = share + (1.0 - share) * decoding;
    let of_limit = BASE + READING * reading * (1.0 - share) + ARITHMETIC * busy;
    let all = s.gpu.tdp_w * f64::from(s.num_gpus());
    let at = |factor: f64| all * (of_limit * factor).min(1.0);
    Prediction {
        q10: at(1.0 / WIDTH),
        q50: at(1.0),
        q90: at(WIDTH),
        lo: at(1.0 / WIDTH),
        hi: at(WIDTH),
    }
}
