//! The operator's preferences as past choices reveal them: a conditional logit.
//!
//! Of the alternatives that were feasible, an operator chose one; with utilities `U = w . x`, the
//! chance of alternative `i` is `exp(U_i) / sum_j exp(U_j)` (D. McFadden, Conditional logit analysis
//! of qualitative choice behavior, 1974). The weights `w` have a Gaussian prior about the configured
//! ones. The posterior's logarithm is concave, so Newton's method with step halving finds its one
//! maximum; the inverse of its curvature there gives the standard errors. Only differences
//! between alternatives enter, so adding a constant to a term of all of them changes nothing.

use crate::advisor::explain::same_configuration;
use crate::advisor::utility::Terms;
use crate::advisor::{
    Case, Economy, Estimate, Fallen, Knowledge, Layout, Load, ModelCard, Pins, Preferences,
    Request, Slo, Term, Weights, advise, precision_in_name,
};

use super::linalg::Square;

/// Fewest choices from which weights are taken: five for each of them.
pub const NEEDED: u32 = 30;

/// Standard deviation of the prior about each configured weight.
const PRIOR_DEVIATION: f64 = 1.0;

/// Below this scale choices are as good as drawn by lot and say nothing of what is valued.
const SMALLEST_SCALE: f64 = 0.01;

/// The terms that have a weight of their own; energy goes with the price.
const FREE: [Term; 6] = [
    Term::Tokens,
    Term::Price,
    Term::Wait,
    Term::Relaunch,
    Term::Slo,
    Term::Saturation,
];
const N: usize = FREE.len();

/// Newton steps; a dozen are enough.
const MOST_STEPS: usize = 100;

/// One choice: what could be chosen, by term, and which of it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Terms of each alternative, in the order of `tokens, price with energy, wait, relaunch, slo,
    /// saturation`; 0 for all where one of them is not known.
    alternatives: Vec<[f64; N]>,
    /// Index of the chosen one.
    chosen: usize,
}

impl Choice {
    /// A choice among alternatives with these terms; `None` where there is nothing to choose or
    /// the chosen one is not among them. A term that is not known of all counts for none.
    pub fn new(terms: &[Terms], chosen: usize) -> Option<Self> {
        if terms.len() < 2 || chosen >= terms.len() {
            return None;
        }
        let value = |t: &Terms, term: Term| t.get(term as usize).copied().flatten();
        let known = |term: Term| {
            terms
                .iter()
                .all(|t| value(t, term).is_some_and(f64::is_finite))
        };
        let known = FREE.map(known);
        let energy = terms.iter().all(|t| value(t, Term::Energy).is_some());
        let row = |t: &Terms| {
            std::array::from_fn(|i| {
                let own = value(t, FREE[i]).filter(|_| known[i]).unwrap_or(0.0);
                let more = FREE[i] == Term::Price && energy;
                own + value(t, Term::Energy).filter(|_| more).unwrap_or(0.0)
            })
        };
        Some(Self {
            alternatives: terms.iter().map(row).collect(),
            chosen,
        })
    }
}

/// A past job as far as it shows a choice.
#[derive(Clone, Debug, PartialEq)]
pub struct PastChoice {
    /// What ran.
    pub case: Case,
    /// Unix seconds at which it was submitted.
    pub submitted_at: i64,
}

/// The choice behind a past job: the configuration that it ran in, against all that could have
/// been recommended for its model and load then. `None` where that cannot be told: a model that is
/// not known, a configuration outside of what is measured, or no alternative.
pub fn reconstruct(known: Knowledge, card: &ModelCard, past: &PastChoice) -> Option<Choice> {
    let case = &past.case;
    let request = Request {
        card: card.clone(),
        checkpoint_precision: precision_in_name(&case.model),
        checkpoints: Vec::new(),
        load: Load {
            isl: case.isl?,
            osl: case.osl?,
            concurrency: case.concurrency,
            rate: None,
        },
        slo: Slo::default(),
        pins: Pins {
            layout: Layout::OneInstance,
            ..Pins::default()
        },
        engine: case.engine.clone(),
        starts: None,
    };
    let advice = advise(known, &request);
    let open = advice.candidates.iter().filter(|a| {
        !matches!(
            a.fallen,
            Some(
                Fallen::Infeasible(_)
                    | Fallen::OutOfSupport(_)
                    | Fallen::NotKnown
                    | Fallen::NotStartable(_)
            )
        )
    });
    let open: Vec<_> = open.collect();
    let chosen = open
        .iter()
        .position(|a| same_configuration(&a.config, case))?;
    Choice::new(&open.iter().map(|a| a.terms).collect::<Vec<_>>(), chosen)
}

/// What choices say of the weights, and the weights to rank by: the configured ones where there
/// are too few choices or the site wants no others. A weight that comes out negative counts as 0:
/// nothing ranks higher for being dearer.
pub fn preferences(choices: &[Choice], economy: &Economy) -> (Preferences, Weights) {
    let n = u32::try_from(choices.len()).unwrap_or(u32::MAX);
    let mut out = Preferences {
        choices: n,
        needed: NEEDED,
        ..Preferences::default()
    };
    let prior = FREE.map(|t| economy.weights.of(t));
    let Some((found, errors)) = fit(choices, &prior).filter(|_| n >= NEEDED) else {
        return (out, economy.weights);
    };
    let informed = informed(choices);
    let Some(scale) = scale(&informed, &found, &prior) else {
        return (out, economy.weights);
    };
    let scaled = |i: usize| if informed[i] { scale } else { 1.0 };
    out.estimates = (0..N)
        .map(|i| Estimate {
            term: FREE[i],
            prior: prior[i],
            estimate: found[i] / scaled(i),
            standard_error: errors[i] / scaled(i),
        })
        .collect();
    let mut weights = Weights::default();
    for e in &out.estimates {
        weights.set(e.term, e.estimate.max(0.0));
    }
    let usable = Economy {
        weights,
        ..*economy
    }
    .check()
    .is_ok();
    out.used = economy.learn && usable;
    let used = if out.used { weights } else { economy.weights };
    (out, used)
}

/// The terms in which some choice had alternatives that differed.
fn informed(choices: &[Choice]) -> [bool; N] {
    let differs = |c: &Choice, i: usize| {
        let values = c.alternatives.iter().map(|x| x[i]);
        let (least, most) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), x| {
            (a.min(x), b.max(x))
        });
        most > least
    };
    std::array::from_fn(|i| choices.iter().any(|c| differs(c, i)))
}

/// How consistently was chosen: the factor that takes the configured weights of the informed terms
/// nearest to those found (least squares). A logit's weights are in units of the noise of
/// choosing; a term that no choice informs keeps its configured weight, and the two compare only
/// once that unit is taken out. `None` where the choices agree with no configured weight.
fn scale(informed: &[bool; N], found: &[f64; N], prior: &[f64; N]) -> Option<f64> {
    let (mut both, mut own) = (0.0, 0.0);
    for i in (0..N).filter(|i| informed[*i]) {
        both += prior[i] * found[i].max(0.0);
        own += prior[i] * prior[i];
    }
    Some(both / own).filter(|s| s.is_finite() && *s > SMALLEST_SCALE)
}

/// Most probable weights and their standard errors; `None` without choices.
fn fit(choices: &[Choice], prior: &[f64; N]) -> Option<([f64; N], [f64; N])> {
    if choices.is_empty() {
        return None;
    }
    let mut at = *prior;
    let mut here = Posterior::at(choices, prior, &at);
    for _ in 0..MOST_STEPS {
        let step = here.newton()?;
        let mut size = 1.0;
        let next = loop {
            let tried = std::array::from_fn(|i| at[i] + size * step[i]);
            let there = Posterior::at(choices, prior, &tried);
            if there.log >= here.log || size < 1e-6 {
                break (tried, there);
            }
            size /= 2.0;
        };
        let moved = (0..N)
            .map(|i| (next.0[i] - at[i]).abs())
            .fold(0.0, f64::max);
        (at, here) = next;
        if moved < 1e-10 {
            break;
        }
    }
    let errors = here.standard_errors()?;
    let sound = at.iter().chain(&errors).all(|x| x.is_finite());
    sound.then_some((at, errors))
}

/// The posterior at one point: its logarithm, slope, and curvature (negative Hessian).
struct Posterior {
    log: f64,
    slope: [f64; N],
    curvature: Square,
}

impl Posterior {
    fn at(choices: &[Choice], prior: &[f64; N], w: &[f64; N]) -> Self {
        let precision = 1.0 / (PRIOR_DEVIATION * PRIOR_DEVIATION);
        let mut out = Self {
            log: 0.0,
            slope: [0.0; N],
            curvature: Square::zeros(N),
        };
        for i in 0..N {
            let away = w[i] - prior[i];
            out.log -= precision * away * away / 2.0;
            out.slope[i] -= precision * away;
            out.curvature.at[i * N + i] += precision;
        }
        choices.iter().for_each(|c| out.add(c, w));
        out
    }

    fn add(&mut self, choice: &Choice, w: &[f64; N]) {
        let Some(chosen) = choice.alternatives.get(choice.chosen) else {
            return;
        };
        // Differences from the chosen one: a constant on all of them leaves no trace, not even in
        // the last digit of the exponentials.
        let gaps: Vec<[f64; N]> = choice
            .alternatives
            .iter()
            .map(|x| std::array::from_fn(|i| x[i] - chosen[i]))
            .collect();
        let utilities: Vec<f64> = gaps
            .iter()
            .map(|x| x.iter().zip(w).map(|(x, w)| x * w).sum())
            .collect();
        let most = utilities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let odds: Vec<f64> = utilities.iter().map(|u| (u - most).exp()).collect();
        let sum: f64 = odds.iter().sum();
        self.log -= most + sum.ln();
        let mut mean = [0.0; N];
        for (x, odds) in gaps.iter().zip(&odds) {
            for (mean, x) in mean.iter_mut().zip(x) {
                *mean += odds / sum * x;
            }
        }
        for (x, odds) in gaps.iter().zip(&odds) {
            for i in 0..N {
                for j in 0..N {
                    self.curvature.at[i * N + j] +=
                        odds / sum * (x[i] - mean[i]) * (x[j] - mean[j]);
                }
            }
        }
        for (slope, mean) in self.slope.iter_mut().zip(mean) {
            *slope -= mean;
        }
    }

    fn newton(&self) -> Option<Vec<f64>> {
        let mut factor = self.curvature.clone();
        factor.cholesky().then(|| factor.solve(&self.slope))
    }

    fn standard_errors(&self) -> Option<[f64; N]> {
        let mut factor = self.curvature.clone();
        if !factor.cholesky() {
            return None;
        }
        let mut out = [0.0; N];
        for (i, error) in out.iter_mut().enumerate() {
            let unit: Vec<f64> = (0..N).map(|j| f64::from(u8::from(i == j))).collect();
            *error = factor.solve(&unit)[i].sqrt();
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reproducible numbers from 0 to 1.
    struct Draws(u64);

    impl Draws {
        fn next(&mut self) -> f64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1u64 << 53) as f64
        }

        /// Noise under which the best of `U + noise` is a draw of the logit (Gumbel's).
        fn gumbel(&mut self) -> f64 {
            -(-self.next().max(1e-12).ln()).ln()
        }
    }

    /// Choices of somebody with these weights.
    fn simulated(weights: &[f64; N], n: usize, seed: u64) -> Vec<Choice> {
        let mut draws = Draws(seed);
        (0..n)
            .map(|_| {
                let terms: Vec<Terms> = (0..5)
                    .map(|_| {
                        let mut t: Terms = [None; 7];
                        for term in FREE {
                            t[term as usize] = Some(2.0 * draws.next() - 1.0);
                        }
                        t
                    })
                    .collect();
                let worth = |t: &Terms| -> f64 {
                    let all = FREE.iter().zip(weights);
                    all.map(|(term, w)| w * t[*term as usize].unwrap()).sum()
                };
                let scores: Vec<f64> = terms.iter().map(|t| worth(t) + draws.gumbel()).collect();
                let best = (0..5).max_by(|a, b| scores[*a].total_cmp(&scores[*b]));
                Choice::new(&terms, best.unwrap()).unwrap()
            })
            .collect()
    }

    fn configured() -> [f64; N] {
        FREE.map(|t| Weights::default().of(t))
    }

    #[test]
    fn known_weights_are_recovered_within_their_standard_errors() {
        let truth = [1.5, 2.0, 0.3, 0.0, 1.0, 0.8];
        // Over many simulations, the squared errors in units of their standard errors average to
        // one: neither too proud nor too humble.
        let (mut squares, mut inside, mut all) = (0.0, 0, 0);
        for seed in 0..40 {
            let (found, errors) = fit(&simulated(&truth, 400, seed), &configured()).unwrap();
            for i in 0..N {
                let z = (found[i] - truth[i]) / errors[i];
                squares += z * z;
                inside += usize::from(z.abs() < 2.0);
                all += 1;
            }
        }
        let mean = squares / all as f64;
        assert!((0.7..1.4).contains(&mean), "{mean}");
        assert!(inside as f64 > 0.9 * all as f64, "{inside} of {all}");
    }

    #[test]
    fn what_never_differs_keeps_the_configured_weight_and_the_priors_deviation() {
        let mut choices = simulated(&[1.0; N], 50, 3);
        for c in &mut choices {
            for x in &mut c.alternatives {
                x[2] = 7.0;
            }
        }
        let (found, errors) = fit(&choices, &configured()).unwrap();
        assert!((found[2] - 1.0).abs() < 1e-9 && (errors[2] - PRIOR_DEVIATION).abs() < 1e-9);
        assert!(errors[0] < errors[2]);
    }

    #[test]
    fn too_few_choices_leave_the_configured_weights_and_say_so() {
        let economy = Economy::default();
        let few = simulated(&[3.0; N], NEEDED as usize - 1, 1);
        let (said, weights) = preferences(&few, &economy);
        assert_eq!((said.choices, said.needed, said.used), (29, 30, false));
        assert!(said.estimates.is_empty());
        assert_eq!(weights, economy.weights);
        let eager = [4.0, 1.0, 1.0, 1.0, 1.0, 0.5];
        let (said, weights) = preferences(&simulated(&eager, 200, 1), &economy);
        assert!(
            said.used && weights.tokens > 2.0 * weights.price,
            "{said:?}"
        );
        let fixed = Economy {
            learn: false,
            ..economy
        };
        let (said, weights) = preferences(&simulated(&[3.0; N], 200, 1), &fixed);
        assert!(!said.used && said.estimates.len() == N);
        assert_eq!(weights, economy.weights);
    }

    /// Who always takes the best of the configured utility shows that they choose with care, not
    /// that tokens weigh more than a target that was never stated in a choice.
    #[test]
    fn careful_choices_do_not_outweigh_what_no_choice_shows() {
        let slo = 4;
        let mut choices = simulated(&configured().map(|w| 6.0 * w), 1000, 11);
        for c in &mut choices {
            c.alternatives.iter_mut().for_each(|x| x[slo] = 0.0);
        }
        let (said, weights) = preferences(&choices, &Economy::default());
        assert!(said.used && weights.slo == 1.0, "{said:?}");
        for (i, term) in FREE.into_iter().enumerate().filter(|(i, _)| *i != slo) {
            let off = weights.of(term) - configured()[i];
            assert!(
                off.abs() < 4.0 * said.estimates[i].standard_error,
                "{term}: {said:?}"
            );
            assert!(off.abs() < 0.2, "{term}: {said:?}");
        }
    }

    #[test]
    fn who_prefers_what_is_dearer_is_told_and_not_followed() {
        let truth = [1.0, -3.0, 1.0, 1.0, 1.0, 0.5];
        let (said, weights) = preferences(&simulated(&truth, 400, 5), &Economy::default());
        assert!(said.estimates[1].estimate < -1.0, "{said:?}");
        assert_eq!(weights.price, 0.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_constant_on_a_term_of_all_changes_nothing(seed in any::<u64>(), which in 0..N, by in -50.0..50.0f64) {
            let choices = simulated(&[1.0; N], 60, seed);
            let mut moved = choices.clone();
            for c in &mut moved {
                for x in &mut c.alternatives {
                    x[which] += by;
                }
            }
            let (a, e) = fit(&choices, &configured()).unwrap();
            let (b, f) = fit(&moved, &configured()).unwrap();
            for i in 0..N {
                prop_assert!((a[i] - b[i]).abs() < 1e-6 && (e[i] - f[i]).abs() < 1e-6);
            }
        }

        #[test]
        fn the_same_choices_give_the_same_bits(seed in any::<u64>()) {
            let choices = simulated(&[0.5; N], 40, seed);
            prop_assert_eq!(fit(&choices, &configured()), fit(&choices, &configured()));
        }

        #[test]
        fn clear_cut_choices_stay_finite(seed in any::<u64>(), scale in 1.0..1e6f64) {
            let mut choices = simulated(&[20.0; N], 40, seed);
            for c in &mut choices {
                for x in &mut c.alternatives {
                    x.iter_mut().for_each(|x| *x *= scale);
                }
            }
            let (found, errors) = fit(&choices, &configured()).unwrap();
            prop_assert!(found.iter().chain(&errors).all(|x| x.is_finite()));
        }
    }
}
