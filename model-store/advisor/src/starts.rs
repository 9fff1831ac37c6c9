//! What engines said of their own starts on this cluster, and how that corrects memory.

use serde::{Deserialize, Serialize};

use super::case::Precision;
use super::setup::Setup;

/// One start as the engine's log tells it; GiB and seconds are of its first process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartLog {
    /// Tokens of the KV cache of one replica.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_tokens: Option<f64>,
    /// Blocks of the KV cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu_blocks: Option<f64>,
    /// KV cache, GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kv_gib: Option<f64>,
    /// Weights, GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_gib: Option<f64>,
    /// Peak of the activations while memory was measured, GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation_gib: Option<f64>,
    /// CUDA context, libraries and communication, GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub non_torch_gib: Option<f64>,
    /// CUDA graphs, GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_gib: Option<f64>,
    /// Reading the weights, s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_s: Option<f64>,
    /// Compiling, s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compile_s: Option<f64>,
    /// Capturing CUDA graphs, s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_s: Option<f64>,
    /// Share of the memory that the engine was told to take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_share: Option<f64>,
    /// File system that the weights lie on: its kind and where it is mounted (`lustre:/scratch`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub storage: String,
}

/// A figure of a start: its name in notes, the largest that some machine could have, and its place.
type Figure = (&'static str, f64, fn(&mut StartLog) -> &mut Option<f64>);

const FIGURES: [Figure; 11] = [
    ("kv_tokens", 1e11, |s| &mut s.kv_tokens),
    ("gpu_blocks", 1e10, |s| &mut s.gpu_blocks),
    ("kv_gib", 4096.0, |s| &mut s.kv_gib),
    ("weights_gib", 4096.0, |s| &mut s.weights_gib),
    ("activation_gib", 4096.0, |s| &mut s.activation_gib),
    ("non_torch_gib", 4096.0, |s| &mut s.non_torch_gib),
    ("graph_gib", 4096.0, |s| &mut s.graph_gib),
    ("load_s", 1e6, |s| &mut s.load_s),
    ("compile_s", 1e6, |s| &mut s.compile_s),
    ("graph_s", 1e6, |s| &mut s.graph_s),
    ("gpu_memory_utilization", 1.0, |s| &mut s.memory_share),
];

impl StartLog {
    /// True where nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The first figure that no machine could have, by name.
    pub fn unsound(&self) -> Option<&'static str> {
        let mut copy = self.clone();
        for (name, most, place) in FIGURES {
            if place(&mut copy).is_some_and(|x| !(-most..=most).contains(&x)) {
                return Some(name);
            }
        }
        None
    }

    /// As `name=value` pairs for the notes of a run.
    pub fn in_words(&self) -> String {
        let mut copy = self.clone();
        let mut pairs: Vec<String> = FIGURES
            .iter()
            .filter_map(|(name, _, place)| Some(format!("{name}={}", (*place(&mut copy))?)))
            .collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
        if !self.storage.is_empty() && self.storage.chars().all(plain) {
            pairs.push(format!("storage={}", self.storage));
        }
        pairs.join("; ")
    }

    /// Reads [`Self::in_words`] out of notes.
    pub fn in_notes(notes: &str) -> Self {
        let mut out = Self::default();
        for (name, value) in notes.split(';').filter_map(|p| p.trim().split_once('=')) {
            if name == "storage" {
                out.storage = value.to_owned();
            }
            if let Some((_, most, place)) = FIGURES.iter().find(|f| f.0 == name) {
                let number = value.parse().ok();
                *place(&mut out) = number.filter(|x: &f64| x.abs() <= *most);
            }
        }
        out
    }
}

/// By how much what is left for the KV cache differs here from what is reckoned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolShift {
    /// Engine, then model, GPU, degree and format; an empty model stands for every configuration.
    pub engine: String,
    /// See [`Self::engine`].
    pub model: String,
    /// See [`Self::engine`].
    pub gpu: String,
    /// See [`Self::engine`].
    pub tp: u32,
    /// See [`Self::engine`].
    pub precision: Precision,
    /// Users whose starts say it. Fewer than three decide nothing: see [`Starts::pool`].
    pub users: u32,
    /// Mean difference of one GPU, GiB, shrunk towards nothing.
    pub shift_gib: f64,
    /// Deviation about it, GiB.
    pub spread_gib: f64,
}

/// Users from whom on their starts decide what fits.
const ENOUGH_USERS: u32 = 3;

impl PoolShift {
    /// True where so many users' starts say it that one of them alone cannot move it far.
    pub const fn is_agreed(&self) -> bool {
        self.users >= ENOUGH_USERS
    }
}

/// How fast one file system gave the weights of first loads. No estimate uses it: cold starts are learnt
/// relative to the rate of unknown storage, so a rate beside that would count twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReadRate {
    /// Its kind and where it is mounted.
    pub storage: String,
    /// Loads.
    pub n: u32,
    /// GB/s of a node, median over users of each user's median.
    pub gb_s: f64,
}

/// What this cluster's own starts say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Starts {
    /// Of configurations, and of engines as a whole.
    pub pools: Vec<PoolShift>,
    /// Of file systems.
    pub rates: Vec<ReadRate>,
}

impl Starts {
    /// How far what is left for the KV cache of a setup is off: its own configuration's, else its
    /// engine's; what `ENOUGH_USERS` agree on first.
    pub fn pool(&self, s: &Setup) -> Option<&PoolShift> {
        let of = |p: &&PoolShift, model: &str| p.engine == s.engine && p.model == model;
        let own = self.pools.iter().find(|p| {
            of(p, &s.card.name)
                && (p.gpu.as_str(), p.tp, p.precision) == (s.gpu.name, s.tp, s.precision.pooled())
        });
        let engine = self.pools.iter().find(|p| of(p, ""));
        let agreed = [own, engine].into_iter().flatten().find(|p| p.is_agreed());
        agreed.or(own).or(engine)
    }

    /// True where every figure is one that a machine could have.
    pub(super) fn is_sound(&self) -> bool {
        let pools = self
            .pools
            .iter()
            .all(|p| p.shift_gib.is_finite() && p.spread_gib.is_finite() && p.spread_gib > 0.0);
        pools
            && self
                .rates
                .iter()
                .all(|r| r.gb_s.is_finite() && r.gb_s > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_start_goes_through_notes_and_no_notes_are_unsound(
            tokens in prop::option::of(0.0..1e10f64), weights in prop::option::of(0.0..1000.0f64),
            load in prop::option::of(0.0..1e5f64), text in ".{0,60}",
        ) {
            let start = StartLog {
                kv_tokens: tokens, weights_gib: weights, load_s: load,
                storage: "lustre:/scratch/models".into(),
                ..StartLog::default()
            };
            let notes = format!("state COMPLETED; {}", start.in_words());
            prop_assert_eq!(&StartLog::in_notes(&notes), &start);
            prop_assert_eq!(StartLog::in_notes(&text).unsound(), None);
        }
    }
}
