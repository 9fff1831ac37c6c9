//! How far a place that was never seen lies from what is said of it: measured by leaving out each
//! campaign (one source's runs of one engine) in turn.
//!
//! Kinds of place are told apart by what can be known before anything is measured there: how load
//! reaches the engine, whether the stack is recent, whether the model has experts. A kind of which
//! too few campaigns are known takes the figures of a wider one.

use serde::{Deserialize, Serialize};

use super::case::Workload;
use super::conformal::quantile_over_sources;
use super::run::Target;
use super::setup::Setup;
use super::stack::{is_known, released};

/// Stacks of this year and later count as recent, and so do those of unknown date.
const RECENT: f64 = 2025.2;

/// Stands for every code, and for every one but [`ASSUMED`] or [`STRANGE`].
const ANY: u8 = u8::MAX;
const USUAL: u8 = u8::MAX - 1;

/// Level at which what is known of a few campaigns holds [`LEVEL`](super::conformal::LEVEL) of the next one: a quantile over few
/// campaigns lies too near. Measured by leaving campaigns out (`docs/accuracy.md`).
const NEW_PLACE: f64 = 0.86;

/// Fewest campaigns from which a kind is measured, and fewest rows of one that counts.
const FEWEST_CAMPAIGNS: usize = 3;
const FEWEST_ROWS: usize = 5;

/// A relative error that a user would call wrong.
pub const WRONG: f64 = 0.25;

/// Load, age of the stack, experts.
pub type Kind = [u8; 3];

/// Code of the age of an engine that is not known by itself.
const STRANGE: u8 = 2;

/// Code of the load where lengths, or the number in flight, were not stated and had to be assumed.
const ASSUMED: u8 = 4;

/// The kind of a setup.
pub fn kind(s: &Setup) -> Kind {
    let load = match s.workload {
        _ if s.assumed[0] || s.assumed[1] => ASSUMED,
        Workload::ClosedLoop | Workload::Static if s.concurrency.is_none() => ASSUMED,
        Workload::ClosedLoop => 0,
        Workload::Static => 1,
        Workload::Offline => 2,
        Workload::Poisson => 3,
    };
    let recent = released(s.engine, s.engine_version).is_none_or(|year| year >= RECENT);
    let age = match is_known(s.engine) {
        false => STRANGE,
        true => u8::from(!recent),
    };
    [load, age, u8::from(s.card.is_moe())]
}

/// True for a stack that is not recent, and for an engine that is not known by itself.
pub const fn is_old(kind: Kind) -> bool {
    kind[1] != 0
}

/// A kind and the wider ones that it belongs to, narrowest first.
///
/// Stacks of one age are nearer than all that are known. What was assumed and engines that are not known by
/// themselves widen only what is said of everything.
fn widening(kind: Kind) -> impl Iterator<Item = Kind> {
    let [load, age, experts] = kind;
    let wider = [
        [load, age, experts],
        [load, age, ANY],
        [load, USUAL, ANY],
        [USUAL, age, ANY],
        [USUAL, USUAL, ANY],
        [ANY; 3],
    ];
    wider
        .into_iter()
        .filter(move |wanted| belongs(kind, *wanted))
}

/// What leaving out showed of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Band {
    /// How far (log) measured values lie below and above what was said, each side exceeded by half
    /// of what the nominal level leaves over.
    pub sides: [f64; 2],
    /// Share of rows that were wrong by more than [`WRONG`], every campaign weighing the same.
    pub wrong: f64,
    /// Campaigns that it rests on.
    pub campaigns: u32,
}

/// Bands by kind, sorted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Elsewhere {
    bands: Vec<(Kind, Band)>,
}

impl Elsewhere {
    /// From the residuals (log) of each left-out campaign; nothing below three campaigns.
    pub fn from_campaigns(campaigns: &[Vec<(Kind, f64)>]) -> Self {
        let mut kinds: Vec<Kind> = campaigns
            .iter()
            .flatten()
            .flat_map(|(kind, _)| widening(*kind))
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        let of = |wanted: Kind| Some((wanted, band(campaigns, wanted)?));
        Self {
            bands: kinds.into_iter().filter_map(of).collect(),
        }
    }

    /// Before three campaigns are known: what leaving out each of the public sources gave
    /// (`docs/accuracy.md`); `None` for targets of which the physics says too little.
    pub fn of_public_sources(target: Target) -> Option<Self> {
        let (sides, wrong) = match target {
            Target::OutputTokS | Target::ReqS => ([0.50, 0.40], 0.4),
            Target::TtftMs => ([0.80, 1.10], 0.7),
            Target::TpotMs => ([0.40, 0.50], 0.4),
            Target::PowerW => ([0.40, 0.35], 0.2),
            _ => return None,
        };
        let band = Band {
            sides,
            wrong,
            campaigns: 0,
        };
        Some(Self {
            bands: vec![([ANY; 3], band)],
        })
    }

    /// True where nothing is known.
    pub fn is_empty(&self) -> bool {
        self.bands.is_empty()
    }

    /// The band of a kind: its own, or that of the narrowest wider one which is known.
    pub fn band(&self, kind: Kind) -> Option<&Band> {
        widening(kind).find_map(|wanted| {
            let at = self.bands.binary_search_by_key(&wanted, |(k, _)| *k).ok()?;
            self.bands.get(at).map(|(_, band)| band)
        })
    }

    /// The widest kind's band: over everything that was left out.
    pub fn all(&self) -> Option<&Band> {
        self.band([ANY; 3])
    }

    /// True where every number is one.
    pub fn is_sound(&self) -> bool {
        self.bands.iter().all(|(_, band)| {
            band.sides.iter().all(|side| side.is_finite()) && (0.0..=1.0).contains(&band.wrong)
        })
    }
}

fn belongs(kind: Kind, wanted: Kind) -> bool {
    let unusual = [ASSUMED, STRANGE, ANY];
    kind.into_iter()
        .zip(wanted)
        .zip(unusual)
        .all(|((own, wanted), unusual)| match wanted {
            ANY => true,
            USUAL => own != unusual,
            _ => own == wanted,
        })
}

fn band(campaigns: &[Vec<(Kind, f64)>], wanted: Kind) -> Option<Band> {
    let own = |campaign: &Vec<(Kind, f64)>| -> Vec<f64> {
        let rows = campaign.iter().filter(|(kind, _)| belongs(*kind, wanted));
        rows.map(|(_, remains)| *remains).collect()
    };
    let own: Vec<Vec<f64>> = campaigns
        .iter()
        .map(own)
        .filter(|rows| rows.len() >= FEWEST_ROWS)
        .collect();
    if own.len() < FEWEST_CAMPAIGNS {
        return None;
    }
    let each = NEW_PLACE + (1.0 - NEW_PLACE) / 2.0;
    let below: Vec<Vec<f64>> = own
        .iter()
        .map(|rows| rows.iter().map(|r| -r).collect())
        .collect();
    let is_wrong = |r: &f64| ((-r).exp() - 1.0).abs() > WRONG;
    let share =
        |rows: &Vec<f64>| rows.iter().filter(|r| is_wrong(r)).count() as f64 / rows.len() as f64;
    Some(Band {
        sides: [
            quantile_over_sources(&below, each)?.max(0.0),
            quantile_over_sources(&own, each)?.max(0.0),
        ],
        wrong: own.iter().map(share).sum::<f64>() / own.len() as f64,
        campaigns: u32::try_from(own.len()).unwrap_or(u32::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(kind: Kind, spread: f64) -> Vec<(Kind, f64)> {
        (0..100)
            .map(|i| (kind, spread * (f64::from(i) / 49.5 - 1.0)))
            .collect()
    }

    #[test]
    fn a_kind_of_which_little_is_known_takes_the_figures_of_a_wider_one() {
        let steady = [0, 0, 0];
        let campaigns = [
            rows(steady, 0.1),
            rows(steady, 0.1),
            rows(steady, 0.1),
            rows([2, 0, 0], 1.0),
        ];
        let elsewhere = Elsewhere::from_campaigns(&campaigns);
        let narrow = elsewhere.band(steady).unwrap();
        assert!((0.07..0.1).contains(&narrow.sides[0]), "{narrow:?}");
        assert_eq!((narrow.campaigns, narrow.wrong), (3, 0.0));
        let wide = elsewhere.band([2, 0, 0]).unwrap();
        assert_eq!(wide.campaigns, 4);
        assert!(wide.sides[0] > narrow.sides[0]);
        assert_eq!(elsewhere.band([0, 1, 1]).unwrap().campaigns, 3);
    }

    #[test]
    fn what_was_assumed_and_strange_engines_widen_nothing_but_everything() {
        let usual = [[0, 0, 0], [1, 0, 0], [2, 0, 0]];
        let unusual = [[ASSUMED, 0, 0], [0, STRANGE, 0], [ASSUMED, STRANGE, 0]];
        let campaigns: Vec<_> = usual
            .map(|k| rows(k, 0.1))
            .into_iter()
            .chain(unusual.map(|k| rows(k, 2.0)))
            .collect();
        let elsewhere = Elsewhere::from_campaigns(&campaigns);
        assert!(elsewhere.band([3, 0, 0]).unwrap().sides[0] < 0.1);
        assert!(elsewhere.band([3, 1, 0]).unwrap().sides[0] < 0.1);
        assert!(elsewhere.band([ASSUMED, 1, 0]).unwrap().sides[0] > 0.5);
        assert!(elsewhere.band([0, STRANGE, 0]).unwrap().sides[0] > 0.5);
    }

    #[test]
    fn two_campaigns_are_too_few() {
        let campaigns = [rows([0; 3], 0.1), rows([0; 3], 0.2)];
        assert!(Elsewhere::from_campaigns(&campaigns).is_empty());
    }
}
