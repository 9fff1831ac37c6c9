//! What is answered of targets on which too little was measured to learn from: from memory, from the
//! engine's state, and from the phases of a start. Each interval is the spread of measured starts or
//! rows about the physics, not a learnt one.

use super::advice::Prediction;
use super::cold::start;
use super::memory::{GIB, memory, request_bytes};
use super::physics::Physics;
use super::power::power;
use super::run::Target;
use super::setup::Setup;

/// By how much the fullest moment of a window is above the mean of a steady load, and how far both
/// may be off.
const PEAK: f64 = 1.1;
const USAGE_WIDTH: f64 = 1.4;

/// Fills what is not known and can be reckoned.
pub(super) fn fill(out: &mut [Option<Prediction>], s: &Setup, p: &Physics) {
    let reckoned = [
        (Target::KvUsage, kv_usage(s, p)),
        (Target::PowerW, power(s, p)),
        (Target::ColdStartS, start(s).seconds),
    ];
    for (target, prediction) in reckoned {
        if let Some(slot) = out.get_mut(target as usize) {
            let sound = prediction.q50.is_finite() && prediction.q50 > 0.0;
            *slot = slot.or(sound.then_some(prediction));
        }
    }
}

/// Peak use of the KV cache: what the sequences in flight keep at the middle of their output, over
/// what memory leaves.
pub(crate) fn kv_usage(s: &Setup, p: &Physics) -> Prediction {
    let m = memory(s);
    let one = request_bytes(s, s.isl + s.osl / 2.0);
    let asked = p.asked.max(1.0);
    let least = request_bytes(s, s.context());
    let bytes = (asked * one * PEAK).max(least);
    let left = |z: f64| (m.left() + z * m.spread).max(0.05 * m.usable) * GIB;
    let at = |z: f64, factor: f64| (bytes * factor / left(z)).clamp(1e-4, 1.0);
    let (lo, hi) = (at(1.0, 1.0 / USAGE_WIDTH), at(-1.0, USAGE_WIDTH));
    Prediction {
        q10: lo,
        q50: at(0.0, 1.0),
        q90: hi,
        lo,
        hi,
    }
}
