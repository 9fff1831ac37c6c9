//! What the learnt model sees of a setup: a fixed row of numbers, most of them logarithms of
//! physical quantities, and a few categories.

use serde::{Deserialize, Serialize};

use super::case::{Precision, Workload};
use super::physics::Physics;
use super::setup::Setup;
use super::version::version;

/// Number of features.
pub const FEATURES: usize = 69;

/// Slots of a row that are filled only where the spread is predicted, all as logarithms: the
/// process's doubt, how far forest and process are apart, and how far local and common process are.
pub const DOUBT: usize = FEATURES - 3;
/// See [`DOUBT`].
pub const DISPUTE: usize = FEATURES - 2;
/// See [`DOUBT`].
pub const SPLIT: usize = FEATURES - 1;

/// One row; what is not known is not a number.
pub type Row = [f32; FEATURES];

/// Features that span the space of the Gaussian processes.
pub const PLACE: [usize; 32] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
    26, 27, 28, 29, 30, 31,
];

/// Number of categories.
pub const CATEGORIES: usize = 8;

/// Category codes of a setup; [`u16::MAX`] for a name that was never measured.
pub type Categories = [u16; CATEGORIES];

/// Names of categories, in the order of their codes, by category.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Codebook {
    /// GPU, format, engine with version, workload, model, settings, engine, family.
    pub names: Vec<Vec<String>>,
    /// The newest version of each engine, taken where a request states none.
    pub newest: Vec<(String, String)>,
}

impl Codebook {
    /// The names that occur in these setups, sorted.
    pub fn of<'a, 'b: 'a>(setups: impl Iterator<Item = &'a Setup<'b>> + Clone) -> Self {
        let column = |i: usize| {
            let mut all: Vec<String> = setups
                .clone()
                .filter_map(|s| names(s, s.engine_version).into_iter().nth(i))
                .collect();
            all.sort();
            all.dedup();
            all.truncate(usize::from(u16::MAX));
            all
        };
        let mut newest: Vec<(String, String)> = Vec::new();
        for s in setups
            .clone()
            .filter(|s| version(s.engine_version).is_finite())
        {
            match newest.iter_mut().find(|(e, _)| e == s.engine) {
                Some((_, v)) if by_version(s.engine_version, v).is_gt() => {
                    *v = s.engine_version.to_owned()
                }
                Some(_) => {}
                None => newest.push((s.engine.to_owned(), s.engine_version.to_owned())),
            }
        }
        newest.sort();
        Self {
            names: (0..CATEGORIES).map(column).collect(),
            newest,
        }
    }

    /// The version that counts: the stated one, or the newest measured one of that engine where a
    /// request of this site states none.
    fn version_of<'a>(&'a self, s: &Setup<'a>) -> &'a str {
        let ours = s.source.is_empty() && s.engine_version.is_empty();
        let newest = self
            .newest
            .iter()
            .find(|(engine, _)| engine == s.engine)
            .filter(|_| ours);
        newest.map_or(s.engine_version, |(_, v)| v)
    }

    /// The codes of a setup.
    pub fn categories(&self, s: &Setup) -> Categories {
        let mut out = [u16::MAX; CATEGORIES];
        let all = names(s, self.version_of(s));
        for ((code, name), known) in out.iter_mut().zip(all).zip(&self.names) {
            *code = known
                .binary_search(&name)
                .ok()
                .and_then(|i| u16::try_from(i).ok())
                .unwrap_or(u16::MAX);
        }
        out
    }
}

fn by_version(a: &str, b: &str) -> std::cmp::Ordering {
    version(a).total_cmp(&version(b)).then_with(|| a.cmp(b))
}

/// Category names of a setup.
fn names(s: &Setup, version: &str) -> [String; CATEGORIES] {
    let v = s.variant;
    let format = if s.assumed[2] { "" } else { s.precision.name() };
    let settings = match (v.sched_steps, v.chunked) {
        (0, None) => String::new(),
        (steps, chunked) => format!("{steps} {chunked:?}"),
    };
    [
        format!(
            "{}{}",
            s.gpu.name,
            if v.power_capped { " capped" } else { "" }
        ),
        format.into(),
        format!("{} {version}", s.engine),
        s.workload.name().into(),
        s.card.name.clone(),
        settings,
        s.engine.into(),
        s.card.family.clone(),
    ]
}

fn log(x: f64) -> f64 {
    x.max(1e-12).ln()
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// What says how an engine is driven: two setups of one stack differ in size alone.
pub fn stack(categories: Categories) -> [u16; 2] {
    let [_, _, _, workload, _, _, engine, _] = categories;
    [engine, workload]
}

/// The features of a setup. The first 32 are also the space of the Gaussian processes.
pub fn row(s: &Setup, p: &Physics, codes: &Codebook) -> Row {
    let c = s.card;
    let f = f64::from;
    let waves = p.asked / p.capacity;
    let decode_s = s.osl * p.step_s;
    let prefill_share =
        p.in_flight * p.shared_prefill_s / (p.in_flight * p.shared_prefill_s + decode_s);
    let arrivals = s
        .rate
        .map_or(f64::NAN, |r| log(r * s.osl / p.saturated_tok_s));
    let queue_s = p.queue_s();
    let categories = codes.categories(s);
    let code = |i: usize| {
        categories
            .get(i)
            .filter(|c| **c != u16::MAX)
            .map_or(-1.0, |c| f64::from(*c))
    };
    let stage = f(s.tp * s.pp);
    let values: [f64; FEATURES] = [
        // the space of the processes
        log(c.params),
        log(c.active_params),
        log(p.kv_token_bytes),
        log(f(c.layers)),
        log(f(c.hidden)),
        log(f(c.heads) / f(c.kv_heads.max(1))),
        f(s.tp).log2(),
        f(s.pp).log2(),
        p.replicas.log2(),
        log(s.gpu.bandwidth_gb_s),
        log(s.gpu.tflops(s.precision)),
        log(s.gpu.memory_gib),
        log(s.precision.bits()),
        log(s.kv_bytes),
        log(s.isl),
        log(s.osl),
        log(p.asked),
        version(codes.version_of(s)),
        log(p.capacity),
        log(waves),
        log(p.step_s),
        log(p.shared_prefill_s),
        p.kv_s / p.step_s,
        p.compute_s / p.step_s,
        prefill_share,
        arrivals,
        flag(s.concurrency.is_none()),
        log(p.shared_prefill_s * p.asked),
        f64::from(s.variant.moe_ep.max(1)).log2(),
        (2.0 * log(waves)).tanh(),
        (2.0 * log(p.asked / 256.0)).tanh(),
        (queue_s / p.prefill_s).ln_1p(),
        // trees alone
        f(c.kv_heads),
        f(c.head_dim),
        f(c.vocab),
        f(c.experts),
        f(c.intermediate) / f(c.hidden.max(1)),
        f(c.sliding_layers) / f(c.layers.max(1)),
        flag(c.kv_lora_rank > 0) + 2.0 * flag(c.encoder_layers > 0),
        f(s.num_gpus()).log2(),
        log(s.isl + s.osl),
        log(s.isl / s.osl),
        s.rate.map_or(f64::NAN, log),
        arrivals,
        log(p.in_flight),
        log(p.weight_share),
        log(p.weights_s),
        log(p.kv_s),
        log(p.compute_s),
        log(p.link_s.max(1e-7)),
        p.weights_s / p.step_s,
        p.link_s / p.step_s,
        log(p.prefill_s),
        log(p.saturated_tok_s),
        log(f(c.heads) / stage),
        log(f(c.hidden) / stage),
        log(queue_s + 1e-4),
        log(p.step_s + p.shared_prefill_s * p.in_flight / s.osl),
        flag(s.assumed[0]),
        flag(s.assumed[2]),
        code(0),
        s.precision as u8 as f64,
        code(2),
        s.workload as u8 as f64,
        code(4),
        code(7),
        // the spread alone
        0.0,
        0.0,
        0.0,
    ];
    values.map(|v| v as f32)
}

/// What a row lacks for a tree: nothing may be unordered there.
pub fn for_trees(mut row: Row) -> Row {
    row.iter_mut()
        .filter(|x| !x.is_finite())
        .for_each(|x| *x = -50.0);
    row
}

const _: () = assert!(Precision::ALL.len() < 256 && Workload::ALL.len() < 256);
