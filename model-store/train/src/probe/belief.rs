//! What is believed of one request's configurations before and after a probe.

use crate::advisor::advise::longest_context;
use crate::advisor::model::Step;
use crate::advisor::physics::physics;
use crate::advisor::support::Envelope;
use crate::advisor::{
    Assessed, Configuration, Fallen, Knowledge, Prediction, Request, Setup, Target, advise,
    setup_of,
};

/// Standard deviation of the logarithm of throughput outside what was measured: the error where a model family is left out (24 % of mean
/// absolute error, docs/accuracy.md) is that of a normal one with 0.3.
pub const OUT_OF_SUPPORT_SD: f64 = 0.3;
/// What an answer is worth beside the better configuration: as much as 10 % more tokens for the price. A stated value, no measured one.
pub const WORTH_OF_AN_ANSWER: f64 = 0.1;
/// Standard deviation of the logarithm of throughput between two runs of one configuration.
const NOISE_SD: f64 = 0.05;
/// Quantile 0.9 of the standard normal distribution.
const Z90: f64 = 1.281_551_565_544_600_5;
/// Below this correlation a probe says nothing.
const LEAST_CORRELATION: f64 = 0.01;

/// One configuration that could serve a request.
#[derive(Clone, Debug)]
pub(super) struct Option_ {
    pub(super) config: Configuration,
    /// Expected output tokens/s.
    pub(super) tokens_s: f64,
    /// Expected `ln(tokens per price)`.
    pub(super) mean: f64,
    /// Its standard deviation.
    pub(super) sd: f64,
    /// True where the advisor may offer it.
    pub(super) offered: bool,
    /// True where it lies inside all measured ranges, and yet far from every run.
    far: bool,
    place: Place,
}

/// Where a configuration under a load lies, for how much one tells of another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    family: String,
    gpu: String,
    precision: String,
    /// ln of parameters, context and requests in flight; half the binary logarithm of TP.
    at: [f64; 4],
}

impl Place {
    fn of(s: &Setup) -> Self {
        let in_flight = physics(s).in_flight;
        Self {
            family: s.card.family.clone(),
            gpu: s.gpu.name.into(),
            precision: s.precision.pooled().name().into(),
            at: [
                (s.card.params / 1e9).ln(),
                s.context().ln(),
                in_flight.max(1e-9).ln(),
                f64::from(s.tp).log2() / 2.0,
            ],
        }
    }

    /// Correlation of what is not known there and here, `exp(-2 d^2)`: `d` is the distance by which the advisor finds the nearest run.
    pub(super) fn correlation(&self, other: &Self) -> f64 {
        let gaps = self.at.iter().zip(other.at);
        let d2: f64 = gaps.map(|(a, b)| (a - b).powi(2)).sum();
        let family = f64::from(self.family != other.family);
        let patch = f64::from(self.gpu != other.gpu || self.precision != other.precision) * 2.0;
        (-2.0 * (d2 + family + patch)).exp()
    }
}

/// A request with what is believed of its configurations.
#[derive(Clone, Debug)]
pub(super) struct Beliefs {
    pub(super) options: Vec<Option_>,
    /// True where it has an answer.
    pub(super) answered: bool,
    pub(super) weight: f64,
}

impl Beliefs {
    pub(super) fn of(known: Knowledge, request: &Request, weight: f64) -> Self {
        let advice = advise(known, request);
        let options: Vec<Option_> = advice
            .candidates
            .iter()
            .filter(|a| a.config.pp == 1 && a.config.dp == 1)
            .filter_map(|a| option(known, request, a))
            .collect();
        Self {
            answered: advice.recommended().is_some(),
            options,
            weight,
        }
    }

    /// Expected gain of the advice when the probe's outcome is known. `reached` is the envelope with the probe in it.
    pub(super) fn gain(&self, request: &Request, probe: &Tried, reached: &Envelope) -> f64 {
        if self.options.is_empty() {
            return 0.0;
        }
        let after: Vec<(f64, f64)> = self
            .options
            .iter()
            .filter(|o| self.is_offered_after(o, request, probe, reached))
            .map(|o| (o.mean, o.moved_by(probe)))
            .collect();
        if after.is_empty() {
            return 0.0;
        }
        let best_before = self.best_offered();
        let base = best_before.unwrap_or_else(|| self.habit());
        let answer = if self.answered {
            0.0
        } else {
            WORTH_OF_AN_ANSWER
        };
        let gain = expected_best(&after) - base + answer;
        self.weight * gain.max(0.0)
    }

    /// True where the probe turns a request without an answer into one with an answer.
    pub(super) fn opens(&self, request: &Request, probe: &Tried, reached: &Envelope) -> bool {
        !self.answered
            && self
                .options
                .iter()
                .any(|o| self.is_offered_after(o, request, probe, reached))
    }

    /// What is believed once the probe is under way.
    pub(super) fn learn(&mut self, request: &Request, probe: &Tried, reached: &Envelope) {
        let offered: Vec<bool> = self
            .options
            .iter()
            .map(|o| self.is_offered_after(o, request, probe, reached))
            .collect();
        for (option, offered) in self.options.iter_mut().zip(offered) {
            let moved = option.moved_by(probe);
            option.sd = (option.sd.powi(2) - moved.powi(2)).max(0.0).sqrt();
            option.offered = offered;
        }
        self.answered |= self.options.iter().any(|o| o.offered);
    }

    fn is_offered_after(
        &self,
        option: &Option_,
        request: &Request,
        probe: &Tried,
        reached: &Envelope,
    ) -> bool {
        if option.offered {
            return true;
        }
        if option.far {
            return option.place.correlation(&probe.place) > 0.5;
        }
        setup_of(request, &option.config).is_some_and(|s| reached.holds(&s, &physics(&s)))
    }

    fn best_offered(&self) -> Option<f64> {
        let offered = self.options.iter().filter(|o| o.offered);
        offered.map(|o| o.mean).max_by(f64::total_cmp)
    }

    /// Without an advice a user takes any configuration that runs.
    fn habit(&self) -> f64 {
        #[allow(clippy::cast_precision_loss)] // a handful
        let n = self.options.len() as f64;
        self.options.iter().map(|o| o.mean).sum::<f64>() / n
    }
}

impl Option_ {
    /// Standard deviation of the change in its expectation that the probe will bring.
    fn moved_by(&self, probe: &Tried) -> f64 {
        let rho = self.place.correlation(&probe.place);
        if rho < LEAST_CORRELATION {
            return 0.0;
        }
        rho * self.sd * probe.sd / (probe.sd.powi(2) + NOISE_SD.powi(2)).sqrt()
    }
}

/// A probe as beliefs see it.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) place: Place,
    /// Standard deviation of the logarithm of what it will measure.
    pub(super) sd: f64,
}

impl Option_ {
    pub(super) fn tried(&self) -> Tried {
        Tried {
            place: self.place.clone(),
            sd: self.sd,
        }
    }
}

fn option(known: Knowledge, request: &Request, a: &Assessed) -> Option<Option_> {
    let s = setup_of(request, &a.config)?;
    let (offered, far) = match &a.fallen {
        None => (true, false),
        Some(Fallen::OutOfSupport(axes)) => (
            false,
            axes.iter()
                .all(|x| x.axis == "distance" || x.axis == "engine"),
        ),
        // Neither memory nor a missed target is a matter of more runs.
        Some(_) => return None,
    };
    let index = Target::OutputTokS as usize;
    let predicted: Option<Prediction> = if offered {
        a.predictions.get(index).copied().flatten()
    } else {
        known
            .model
            .predict(&s, Step::Elsewhere)
            .get(index)
            .copied()
            .flatten()
    };
    let spread = predicted.map_or(OUT_OF_SUPPORT_SD, |p| (p.hi / p.lo).ln() / (2.0 * Z90));
    let tokens = predicted.map_or_else(|| physics(&s).estimate(&s, Target::OutputTokS), |p| p.q50);
    let served = request
        .load
        .rate
        .map_or(tokens, |r| tokens.min(r * request.load.osl));
    let mean = (served.max(1e-9) * 3600.0 / a.price_per_hour.max(1e-9)).ln();
    let least = if offered { NOISE_SD } else { OUT_OF_SUPPORT_SD };
    Some(Option_ {
        config: Configuration {
            max_len: a.config.max_len.or_else(|| longest_context(&s)),
            ..a.config.clone()
        },
        tokens_s: tokens,
        mean,
        sd: if spread.is_finite() {
            spread.max(least)
        } else {
            least
        },
        offered,
        far,
        place: Place::of(&s),
    })
}

/// `E max_j (a_j + b_j Z)` of lines `(a, b)` over one standard normal `Z`: the midpoint rule over 121 cells of [-6, 6], an error below 1e-4
/// of the largest `b`.
fn expected_best(lines: &[(f64, f64)]) -> f64 {
    const CELLS: i32 = 121;
    const REACH: f64 = 6.0;
    let step = 2.0 * REACH / f64::from(CELLS);
    let (mut sum, mut weights) = (0.0, 0.0);
    for k in 0..CELLS {
        let z = -REACH + (f64::from(k) + 0.5) * step;
        let weight = (-z * z / 2.0).exp();
        let best = lines
            .iter()
            .map(|(a, b)| a + b * z)
            .fold(f64::NEG_INFINITY, f64::max);
        sum += weight * best;
        weights += weight;
    }
    sum / weights
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Two independent lines against the closed form of one that moves: `s (z Phi(z) + phi(z))` with `z = -|gap| / s`.
    #[test]
    fn the_expected_best_of_two_is_the_known_one() {
        for (gap, s) in [(0.0, 0.3), (0.2, 0.3), (-0.5, 0.25)] {
            let found = expected_best(&[(0.0, 0.0), (gap, s)]) - f64::max(0.0, gap);
            let z = -f64::abs(gap) / s;
            let density = (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
            let below = Prediction {
                q10: 0.9,
                q50: 1.0,
                q90: 1.1,
                lo: (-Z90).exp(),
                hi: Z90.exp(),
            }
            .chance_below(z.exp());
            let wanted = s * (z * below + density);
            assert!((found - wanted).abs() < 3e-4, "{found} {wanted}");
        }
    }

    proptest! {
        #[test]
        fn knowing_more_is_never_worth_less_than_nothing(
            lines in prop::collection::vec((-5.0..5.0f64, 0.0..1.0f64), 1..12),
        ) {
            let best = lines.iter().map(|l| l.0).fold(f64::NEG_INFINITY, f64::max);
            prop_assert!(expected_best(&lines) >= best - 1e-9);
        }
    }
}
