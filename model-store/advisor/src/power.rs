//! Power of a GPU from how busy the engine's state keeps it.
//!
//! A GPU that serves draws a base, and more for reading memory and for arithmetic. The shares were
//! fitted to measured rows of ML.ENERGY and Argonne (`docs/model.md`, "Power"). What engines of two
//! years ago leave idle between steps is in the width.

use super::advice::Prediction;
use super::physics::Physics;
use super::setup::Setup;

/// Shares of the board's limit: idle, and added by reading memory, by arithmetic of decode steps and by
/// prefills, each at its full rate. Fitted to 356 measured runs on A100-40GB and H100 (least squares, each
/// source and GPU weighing the same).
const SHARES: [f64; 4] = [0.23, 0.57, 0.45, 0.48];
/// Half of an interval that holds four in five, as a factor.
const WIDTH: f64 = 1.45;

/// Power of all GPUs of the instance, W.
pub(crate) fn power(s: &Setup, p: &Physics) -> Prediction {
    let [idle, reading, arithmetic, prefilling] = SHARES;
    let state = &p.state;
    let prefills = state.running * state.prefill_s;
    let prefill = prefills / (prefills + s.osl * state.step_s);
    let of_step = |time: f64| (1.0 - prefill) * (time / state.step_s).min(1.0);
    let latency = state.ttft_s - state.queue_s + (s.osl - 1.0) * state.tpot_s;
    let busy = (state.req_s * latency / state.running).clamp(0.0, 1.0);
    let at_work = reading * of_step(p.weights_s + p.kv_s)
        + arithmetic * of_step(p.compute_s)
        + prefilling * prefill;
    let of_limit = idle + busy * at_work;
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
