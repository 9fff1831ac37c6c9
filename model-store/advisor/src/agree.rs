//! Answers about one load that agree with each other.
//!
//! With N requests in flight, throughput x (TTFT + (OSL - 1) x TPOT) = N x OSL (J. Little, 1961).
//! Throughput, TTFT and TPOT are learnt apart; where they contradict each other each gives way by
//! as much as it is in doubt: the least sum of squared moves, each in its own standard deviations,
//! after which the law holds.

use super::advice::Prediction;
use super::run::Target;

/// Standard deviations between the ends of an interval that holds 80 % of a normal distribution.
const DEVIATIONS: f64 = 2.563;

/// Least standard deviation (log).
const LEAST: f64 = 0.005;

/// Rounds of the search; the law is nearly linear in logarithms.
const ROUNDS: usize = 12;

const LOAD: [Target; 3] = [Target::OutputTokS, Target::TtftMs, Target::TpotMs];

/// Moves the three predictions of the load until they agree on `in_flight` requests of `osl` output
/// tokens. Does nothing where one of them is not known.
pub(super) fn agree(predictions: &mut [Option<Prediction>], in_flight: f64, osl: f64) {
    let of = |t: Target| predictions.get(t as usize).copied().flatten();
    let [Some(tokens), Some(ttft), Some(tpot)] = LOAD.map(of) else {
        return;
    };
    let said = [tokens, ttft, tpot];
    let moved = least_moves(said.map(|p| p.q50.ln()), said.map(variance), in_flight, osl);
    for ((target, p), new) in LOAD.into_iter().zip(said).zip(moved) {
        let by = (new - p.q50.ln()).exp();
        if let Some(slot) = predictions
            .get_mut(target as usize)
            .filter(|_| by.is_finite())
        {
            *slot = Some(p.times(by));
        }
    }
}

fn variance(p: Prediction) -> f64 {
    let deviation = (p.hi.ln() - p.lo.ln()) / DEVIATIONS;
    if deviation.is_finite() {
        deviation.max(LEAST).powi(2)
    } else {
        LEAST * LEAST
    }
}

/// Logarithm of a request's latency, ms, and the share of its TTFT in it.
fn latency(ttft: f64, tpot: f64, osl: f64) -> (f64, f64) {
    let (first, later) = (ttft.exp(), (osl - 1.0).max(0.0) * tpot.exp());
    ((first + later).ln(), first / (first + later))
}

/// The nearest logarithms at which the law holds.
fn least_moves(from: [f64; 3], variances: [f64; 3], in_flight: f64, osl: f64) -> [f64; 3] {
    let [vx, vy, vz] = variances;
    // Tokens a second of so many in flight with a latency of one ms.
    let wanted = (in_flight * osl * 1e3).ln();
    let [mut x, mut y, mut z] = from;
    for _ in 0..ROUNDS {
        let (whole, first) = latency(y, z, osl);
        let slopes = [1.0, first, 1.0 - first];
        let off = x + whole - wanted;
        let gone =
            slopes[0] * (x - from[0]) + slopes[1] * (y - from[1]) + slopes[2] * (z - from[2]);
        let pull = (gone - off) / (vx + vy * slopes[1] * slopes[1] + vz * slopes[2] * slopes[2]);
        x = from[0] + vx * slopes[0] * pull;
        y = from[1] + vy * slopes[1] * pull;
        z = from[2] + vz * slopes[2] * pull;
    }
    [wanted - latency(y, z, osl).0, y, z]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(q50: f64, width: f64) -> Option<Prediction> {
        let (lo, hi) = (q50 / width, q50 * width);
        Some(Prediction {
            q10: lo,
            q50,
            q90: hi,
            lo,
            hi,
        })
    }

    proptest! {
        #[test]
        fn what_is_moved_agrees_and_what_is_sure_moves_least(
            tokens in 1.0..1e5f64, ttft in 1.0..1e5f64, tpot in 1.0..300.0f64, osl in 1.0..4000.0f64, in_flight in 1.0..2000.0f64,
            widths in prop::array::uniform3(1.05..4.0f64),
        ) {
            let mut p = vec![None; 8];
            p[Target::OutputTokS as usize] = said(tokens, widths[0]);
            p[Target::TtftMs as usize] = said(ttft, widths[1]);
            p[Target::TpotMs as usize] = said(tpot, widths[2]);
            agree(&mut p, in_flight, osl);
            let of = |t: Target| p[t as usize].unwrap().q50;
            let latency_s = (of(Target::TtftMs) + (osl - 1.0) * of(Target::TpotMs)) / 1e3;
            let counted = of(Target::OutputTokS) / osl * latency_s;
            prop_assert!((counted / in_flight - 1.0).abs() < 1e-6, "{counted} {in_flight}");
        }
    }

    #[test]
    fn a_figure_that_is_known_well_teaches_the_others() {
        let mut p = vec![None; 8];
        p[Target::OutputTokS as usize] = said(2450.0, 3.0);
        p[Target::TtftMs as usize] = said(100.0, 1.1);
        p[Target::TpotMs as usize] = said(6.5, 1.05);
        agree(&mut p, 64.0, 1000.0);
        let tokens = p[Target::OutputTokS as usize].unwrap().q50;
        assert!((9500.0..9900.0).contains(&tokens), "{tokens}");
        let tpot = p[Target::TpotMs as usize].unwrap().q50;
        assert!((tpot - 6.5).abs() < 0.15, "{tpot}");
    }
}
