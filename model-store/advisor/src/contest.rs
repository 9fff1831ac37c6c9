//! What it would take for a candidate to win: how far one number would have to change, with all
//! else as it is.

use serde::Serialize;

use super::advice::{Assessed, Configuration};
use super::economy::{Economy, Term};
use super::utility::{Outlook, terms, utility};

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Lever {
    /// What changes.
    pub what: What,
    /// What it is now; `None` = not known.
    pub now: Option<f64>,
    /// What it has to pass.
    pub needed: f64,
}

/// What could change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Price of one GPU of the candidate for an hour: below.
    PricePerGpuHour,
    /// Output throughput of the candidate, tokens/s: above.
    Throughput,
    /// Expected queue wait of the candidate, h: below.
    Wait,
    /// Expected queue wait of the advised one, h: above.
    WaitOfAdvised,
    /// Launch success of the candidate: above.
    LaunchSuccess,
    /// The stated TTFT limit, ms: above.
    TtftLimit,
    /// The stated TPOT limit, ms: above.
    TpotLimit,
    /// The stated end-to-end limit, ms: above.
    EndToEndLimit,
    /// The stated rate, requests/s: below.
    Rate,
}

/// A candidate as far as it competes.
#[derive(Clone, Copy)]
pub(super) struct Rival<'a> {
    config: &'a Configuration,
    outlook: Outlook,
}

impl<'a> Rival<'a> {
    pub(super) const fn of(a: &'a Assessed) -> Self {
        Self {
            config: &a.config,
            outlook: a.outlook,
        }
    }

    /// True where both wait in the queue for as many GPUs of one type.
    fn waits_with(&self, other: &Self) -> bool {
        (&self.config.gres, self.config.gpus()) == (&other.config.gres, other.config.gpus())
    }
}

/// One candidate against the advised one and all others that could be advised.
pub(super) struct Contest<'a> {
    pub(super) economy: &'a Economy,
    /// Terms that are known of all.
    pub(super) counted: &'a [Term],
    /// Output tokens/h that the stated rate brings, where one is stated.
    pub(super) demand: Option<f64>,
    pub(super) own: Rival<'a>,
    pub(super) best: Rival<'a>,
    /// All others that could be advised, the best among them.
    pub(super) rivals: Vec<Rival<'a>>,
}

impl Contest<'_> {
    /// The changes of which each would be enough by itself.
    pub(super) fn levers(&self) -> Vec<Lever> {
        let levers = [
            self.price(),
            self.throughput(),
            self.wait(),
            self.wait_of_best(),
            self.launch(),
        ];
        levers.into_iter().flatten().collect()
    }

    fn worth(&self, o: &Outlook) -> f64 {
        let all = terms(o, self.economy);
        utility(&all, self.counted, &self.economy.weights).unwrap_or(f64::NEG_INFINITY)
    }

    fn counts(&self, term: Term) -> bool {
        self.counted.contains(&term) && self.economy.weights.of(term) > 0.0
    }

    /// How far a number has to go from `now` towards `extreme` for the candidate to win, where
    /// `with` says what it makes of each candidate. What brings it ahead of the advised one may
    /// bring yet another farther ahead; then it is none.
    fn needed(&self, now: f64, extreme: f64, with: impl Fn(&Rival, f64) -> Outlook) -> Option<f64> {
        let worth = |r: &Rival, x: f64| self.worth(&with(r, x));
        let needed = solve(now, extreme, |x| worth(&self.own, x) - worth(&self.best, x))?;
        let own = worth(&self.own, needed) + 1e-9;
        self.rivals
            .iter()
            .all(|r| worth(r, needed) <= own)
            .then_some(needed)
    }

    /// One type has one price: where the advised one is of it too, both would become cheaper.
    fn price(&self) -> Option<Lever> {
        let gres = &self.own.config.gres;
        if !self.counts(Term::Price) || *gres == self.best.config.gres {
            return None;
        }
        let gpus = f64::from(self.own.config.gpus());
        let now = self.own.outlook.price_per_hour / gpus;
        let with = |r: &Rival, price: f64| Outlook {
            price_per_hour: if r.config.gres == *gres {
                r.outlook.price_per_hour / now * price
            } else {
                r.outlook.price_per_hour
            },
            ..r.outlook
        };
        Some(Lever {
            what: What::PricePerGpuHour,
            now: Some(now),
            needed: self.needed(now, now * 1e-3, with)?,
        })
    }

    fn throughput(&self) -> Option<Lever> {
        let now = self.own.outlook.tokens_per_hour?;
        if !self.counts(Term::Tokens) {
            return None;
        }
        // What the stated rate lets it serve is the most that counts.
        let most = self.demand.unwrap_or(now * 1e3).max(now);
        let with = |r: &Rival, x: f64| Outlook {
            tokens_per_hour: if self.is_own(r) {
                Some(x)
            } else {
                r.outlook.tokens_per_hour
            },
            ..r.outlook
        };
        Some(Lever {
            what: What::Throughput,
            now: Some(now / 3600.0),
            needed: self.needed(now, most, with)? / 3600.0,
        })
    }

    fn launch(&self) -> Option<Lever> {
        let now = self.own.outlook.launch?;
        if !self.counts(Term::Relaunch) {
            return None;
        }
        let with = |r: &Rival, x: f64| Outlook {
            launch: if self.is_own(r) {
                Some(x)
            } else {
                r.outlook.launch
            },
            ..r.outlook
        };
        Some(Lever {
            what: What::LaunchSuccess,
            now: Some(now),
            needed: self.needed(now, 1.0, with)?,
        })
    }

    fn wait(&self) -> Option<Lever> {
        let now = self.own.outlook.wait_h?;
        Some(Lever {
            what: What::Wait,
            now: Some(now),
            needed: self.waiting(&self.own, now, 0.0)?,
        })
    }

    fn wait_of_best(&self) -> Option<Lever> {
        let now = self.best.outlook.wait_h?;
        let most = (now + self.economy.job_hours) * 1e3;
        Some(Lever {
            what: What::WaitOfAdvised,
            now: Some(now),
            needed: self.waiting(&self.best, now, most)?,
        })
    }

    /// The wait of all that wait with `whose`, where the candidate and the advised one do not.
    fn waiting(&self, whose: &Rival, now: f64, extreme: f64) -> Option<f64> {
        if !self.counts(Term::Wait) || self.own.waits_with(&self.best) {
            return None;
        }
        let with = |r: &Rival, x: f64| Outlook {
            wait_h: if r.waits_with(whose) {
                Some(x)
            } else {
                r.outlook.wait_h
            },
            ..r.outlook
        };
        self.needed(now, extreme, with)
    }

    fn is_own(&self, r: &Rival) -> bool {
        r.config == self.own.config
    }
}

/// Where `lead` reaches 0 on the way from `now`, where it is below, to `extreme`; `None` where it
/// does not. `lead` never falls on that way. Bisection, to a part in 1e9 of the way.
fn solve(now: f64, extreme: f64, lead: impl Fn(f64) -> f64) -> Option<f64> {
    if lead(now) >= 0.0 {
        return Some(now);
    }
    if lead(extreme).is_nan() || lead(extreme) < 0.0 {
        return None;
    }
    let (mut below, mut above) = (now, extreme);
    for _ in 0..60 {
        let middle = f64::midpoint(below, above);
        if lead(middle) >= 0.0 {
            above = middle;
        } else {
            below = middle;
        }
    }
    Some(above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use proptest::prelude::*;

    fn config(gres: usize, tp: u32) -> Configuration {
        Configuration {
            gpu: ["A", "B", "C"][gres].into(),
            gres: ["a", "b", "c"][gres].into(),
            tp,
            pp: 1,
            dp: 1,
            precision: Precision::Bf16,
            checkpoint: None,
            quantise_at_load: false,
            max_len: None,
            max_num_seqs: None,
        }
    }

    /// Tokens/h of one GPU, power of one, wait, launch success.
    type Drawn = (f64, f64, f64, f64);

    fn outlook(config: &Configuration, price: f64, drawn: Drawn) -> Outlook {
        let gpus = f64::from(config.gpus());
        Outlook {
            tokens_per_hour: Some(drawn.0 * gpus.powf(0.9)),
            price_per_hour: price * gpus,
            power_w: Some(drawn.1 * gpus),
            wait_h: Some(drawn.2),
            launch: Some(drawn.3),
            ..Outlook::default()
        }
    }

    proptest! {
        /// What is named is enough: with it, no other candidate is worth more.
        #[test]
        fn with_a_change_that_is_named_the_candidate_wins(
            prices in prop::array::uniform3(0.5..5.0f64),
            drawn in prop::collection::vec((1e5..1e6f64, 100.0..700.0f64, 0.0..48.0f64, 0.3..1.0f64), 9),
            kwh in prop::option::of(0.05..2.0f64),
        ) {
            let configs: Vec<Configuration> = (0..9).map(|i| config(i / 3, 1 << (i % 3))).collect();
            let outlooks: Vec<Outlook> = (0..9).map(|i| outlook(&configs[i], prices[i / 3], drawn[i])).collect();
            let economy = Economy { price_per_kwh: kwh, ..Economy::default() };
            let counted: Vec<Term> = Term::ALL.into_iter().filter(|t| match t {
                Term::Slo | Term::Saturation => false,
                Term::Energy => kwh.is_some(),
                _ => true,
            }).collect();
            let worth = |o: &Outlook| utility(&terms(o, &economy), &counted, &economy.weights).unwrap();
            let best = (0..9).max_by(|a, b| worth(&outlooks[*a]).total_cmp(&worth(&outlooks[*b]))).unwrap();
            let rival = |i: usize| Rival { config: &configs[i], outlook: outlooks[i] };
            for own in (0..9).filter(|i| *i != best) {
                let contest = Contest {
                    economy: &economy, counted: &counted, demand: None, own: rival(own), best: rival(best),
                    rivals: (0..9).filter(|i| *i != own).map(rival).collect(),
                };
                for lever in contest.levers() {
                    let changed: Vec<f64> = (0..9).map(|i| {
                        let mut o = outlooks[i];
                        let gpus = f64::from(configs[i].gpus());
                        match lever.what {
                            What::PricePerGpuHour if i / 3 == own / 3 => o.price_per_hour = lever.needed * gpus,
                            What::Throughput if i == own => o.tokens_per_hour = Some(lever.needed * 3600.0),
                            What::LaunchSuccess if i == own => o.launch = Some(lever.needed),
                            What::Wait if i == own => o.wait_h = Some(lever.needed),
                            What::WaitOfAdvised if i == best => o.wait_h = Some(lever.needed),
                            _ => {}
                        }
                        worth(&o)
                    }).collect();
                    let most = changed.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    prop_assert!(changed[own] >= most - 1e-6, "{:?}: {} of {}", lever, changed[own], most);
                    prop_assert!(lever.now.is_some_and(|now| now != lever.needed));
                }
            }
        }

        #[test]
        fn what_is_needed_is_just_enough(now in 0.1..10.0f64, extreme in 20.0..1e6f64, at in 0.0..2.0f64) {
            let aim = now + (extreme - now) * at;
            let found = solve(now, extreme, |x| x - aim);
            if aim > extreme {
                prop_assert_eq!(found, None);
            } else {
                let x = found.unwrap();
                prop_assert!((x - aim).abs() <= 1e-9 * extreme, "{} {}", x, aim);
            }
        }
    }

    #[test]
    fn a_way_down_is_searched_as_well() {
        let found = solve(8.0, 0.0, |x| 3.0 - x).unwrap();
        assert!((found - 3.0).abs() < 1e-9);
    }
}
