//! Whether a request lies inside what was measured: an envelope over seven axes. Support is kept
//! apart from interval width on purpose; a model can be narrow and wrong where it never saw data.

use serde::{Deserialize, Serialize};

use super::advice::AxisOut;
use super::case::Precision;
use super::landmarks::{Landmark, Landmarks, Measured};
use super::numbers::grouped;
use super::physics::Physics;
use super::run::Origin;
use super::setup::Setup;

/// How far below and above all measured runs a number may lie, as factors: parameters, context,
/// sequences in flight. A shorter context and a smaller load are no reason to refuse.
const BEYOND: [[f64; 2]; 3] = [[4.0, 3.0], [f64::INFINITY, 2.0], [f64::INFINITY, 2.0]];

/// Tensor-parallel degrees that every engine serves and whose communication was measured.
const USUAL_TPS: [u32; 4] = [1, 2, 4, 8];

/// GPUs of which single operations were measured, or that differ from one in memory alone.
const WITH_OPERATIONS: [&str; 7] = [
    "A100-40GB",
    "A100-80GB",
    "H100-SXM",
    "H200",
    "GH200",
    "L40S",
    "B200",
];

fn has_operations(gpu: &str) -> bool {
    WITH_OPERATIONS.contains(&gpu)
}

fn is_usual_tp(tp: u32) -> bool {
    USUAL_TPS.contains(&tp)
}

/// True for a format whose products run there as measured ones do, or as measured 16-bit products
/// that read fewer bytes.
fn runs_as_known(s: &Setup) -> bool {
    has_operations(s.gpu.name)
        && match s.precision {
            Precision::Fp16
            | Precision::Bf16
            | Precision::Fp8
            | Precision::W8a8
            | Precision::Int4 => true,
            Precision::Mxfp4 => s.card.is_moe(),
            Precision::Nvfp4 => s.gpu.tflops_fp4 > 0.0,
            _ => false,
        }
}

/// Gap of a name that was never measured; beyond any factor that a request would have.
const UNNAMED: f64 = 3.0;

/// Closed range; empty while `lo > hi`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Smallest measured value.
    pub lo: f64,
    /// Largest measured value.
    pub hi: f64,
}

impl Default for Range {
    fn default() -> Self {
        Self {
            lo: f64::INFINITY,
            hi: f64::NEG_INFINITY,
        }
    }
}

impl Range {
    fn add(&mut self, x: f64) {
        self.lo = self.lo.min(x);
        self.hi = self.hi.max(x);
    }

    /// Logarithm of the factor by which a number lies outside of the range, where that is more than
    /// `below` or `above`; 0 else, and where nothing was measured.
    fn gap_beyond(&self, x: f64, [below, above]: [f64; 2]) -> f64 {
        if self.lo > self.hi || x * below >= self.lo && x <= self.hi * above {
            return 0.0;
        }
        (self.lo / x).max(x / self.hi).ln().max(0.0)
    }
}

/// What was measured on one GPU at one precision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Patch {
    /// GPU of the catalogue.
    pub gpu: String,
    /// Pooled weight format's name.
    pub precision: String,
    /// Measured runs.
    pub runs: u32,
    /// Total parameters, billions.
    pub params_b: Range,
    /// Input plus output tokens.
    pub context: Range,
    /// Sequences in flight that load and memory allowed.
    pub in_flight: Range,
    /// Tensor-parallel degrees, sorted.
    pub tps: Vec<u32>,
    /// Pipeline stages, sorted.
    pub pps: Vec<u32>,
}

/// The envelope of all measured runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Where runs were measured.
    pub sources: Vec<(String, Origin)>,
    /// Measured families.
    pub families: Vec<String>,
    /// Measured engines: what one delivers says little of another that was never measured.
    pub engines: Vec<String>,
    /// Measured pairs of GPU and precision.
    pub patches: Vec<Patch>,
    /// One run of each distinct configuration and cell.
    pub landmarks: Landmarks,
}

fn place(s: &Setup, p: &Physics) -> [f64; 3] {
    [s.card.params / 1e9, s.context(), p.in_flight]
}

impl Envelope {
    /// Adds one measured run.
    pub fn add(&mut self, run_id: &str, origin: Origin, s: &Setup, p: &Physics) {
        let family = match self.families.iter().position(|f| *f == s.card.family) {
            Some(i) => i,
            None => {
                self.families.push(s.card.family.clone());
                self.families.len() - 1
            }
        };
        if !self.engines.iter().any(|e| e == s.engine) {
            self.engines.push(s.engine.to_owned());
        }
        let patch = self.patch_index(s.gpu.name, s.precision.pooled());
        let at = place(s, p);
        if let Some(measured) = self.patches.get_mut(patch) {
            measured.take(s.tp, s.pp, at);
        }
        let source = self.source_index(s.source, origin);
        self.landmarks.add(Measured {
            run_id,
            source,
            model: &s.card.name,
            family,
            patch,
            tp: s.tp,
            at,
        });
    }

    /// The axis `engine` where a setup's was never measured.
    pub fn engine_out(&self, s: &Setup) -> Option<AxisOut> {
        let measured = self.engines.iter().any(|e| e == s.engine);
        (!measured && !super::stack::is_known(s.engine))
            .then(|| axis("engine", s.engine, &list(self.engines.iter().cloned())))
    }

    fn source_index(&mut self, source: &str, origin: Origin) -> usize {
        let same = |(name, from): &(String, Origin)| name == source && *from == origin;
        self.sources.iter().position(same).unwrap_or_else(|| {
            self.sources.push((source.into(), origin));
            self.sources.len() - 1
        })
    }

    fn patch_index(&mut self, gpu: &str, precision: Precision) -> usize {
        let same = |p: &Patch| p.gpu == gpu && p.precision == precision.name();
        self.patches.iter().position(same).unwrap_or_else(|| {
            self.patches.push(Patch {
                gpu: gpu.into(),
                precision: precision.name().into(),
                ..Patch::default()
            });
            self.patches.len() - 1
        })
    }

    /// The axes on which a setup leaves what can be foretold; none = in support. What each axis
    /// tolerates is what leaving it out showed (`docs/accuracy.md`): a decoder of a family that
    /// nobody measured errs no more than others, and so do a smaller load or a shorter context; what
    /// no operation was measured for, and what lies far above every run, does.
    pub fn axes_out(&self, s: &Setup, p: &Physics) -> Vec<AxisOut> {
        let mut out = Vec::new();
        if !s.variant.is_plain() {
            out.push(axis(
                "gpu",
                "another deployment than aggregated serving at full power",
                "aggregated serving",
            ));
        }
        if !self.knows_family(s) {
            out.push(axis("family", &s.card.family, &self.families.join(", ")));
        }
        let on_gpu: Vec<&Patch> = self
            .patches
            .iter()
            .filter(|m| m.gpu == s.gpu.name)
            .collect();
        if on_gpu.is_empty() && !has_operations(s.gpu.name) {
            out.push(axis(
                "gpu",
                s.gpu.name,
                &list(self.patches.iter().map(|m| m.gpu.clone())),
            ));
            return out;
        }
        let format = s.precision.pooled();
        if !on_gpu.iter().any(|m| m.precision == format.name()) && !runs_as_known(s) {
            let formats = list(on_gpu.iter().map(|m| m.precision.clone()));
            out.push(axis(
                "precision",
                format.name(),
                &format!("{formats} on {}", s.gpu.name),
            ));
            return out;
        }
        out.extend(self.numbers_out(place(s, p)));
        if !on_gpu.iter().any(|m| m.tps.contains(&s.tp)) && !is_usual_tp(s.tp) {
            let measured = list(on_gpu.iter().flat_map(|m| &m.tps).map(u32::to_string));
            let measured = format!("{measured} on {}", s.gpu.name);
            out.push(axis("tp", &s.tp.to_string(), &measured));
        }
        if !on_gpu.iter().any(|m| m.has_stages(s.pp)) && s.pp > 1 {
            let measured = list(on_gpu.iter().flat_map(|m| &m.pps).map(u32::to_string));
            let measured = format!("{measured} on {}", s.gpu.name);
            out.push(axis("pp", &s.pp.to_string(), &measured));
        }
        out
    }

    /// Parameters, context and load beyond what was measured anywhere.
    fn numbers_out(&self, at: [f64; 3]) -> Vec<AxisOut> {
        let mut ranges = [Range::default(); 3];
        for m in &self.patches {
            for (all, own) in ranges
                .iter_mut()
                .zip([&m.params_b, &m.context, &m.in_flight])
            {
                all.lo = all.lo.min(own.lo);
                all.hi = all.hi.max(own.hi);
            }
        }
        let named = [
            ("parameters", "B"),
            ("context", "tokens"),
            ("concurrency", "in flight"),
        ];
        let mut out = Vec::new();
        for (((name, unit), range), (x, beyond)) in named
            .into_iter()
            .zip(ranges)
            .zip(at.into_iter().zip(BEYOND))
        {
            let gap = range.gap_beyond(x, beyond);
            if gap > 0.0 {
                let (lo, hi) = (grouped(range.lo), grouped(range.hi));
                out.push(AxisOut {
                    gap,
                    ..axis(
                        name,
                        &format!("{} {unit}", grouped(x)),
                        &format!("{lo} to {hi} {unit}"),
                    )
                });
            }
        }
        out
    }

    fn knows_family(&self, s: &Setup) -> bool {
        self.families.contains(&s.card.family) || s.card.encoder_layers == 0 && s.card.heads > 0
    }

    /// Whether no axis is out, without a word about which.
    pub fn holds(&self, s: &Setup, p: &Physics) -> bool {
        self.axes_out(s, p).is_empty()
    }

    /// The measured run nearest to a setup, by distance over parameters, context and load, with
    /// steps for another GPU, precision, family or TP.
    pub fn nearest(&self, s: &Setup, p: &Physics) -> Option<Landmark> {
        self.distances(s, p)
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(l, _)| l)
    }

    /// The `most` measured runs nearest to a setup, nearest first, with the squared distance that
    /// [`Self::nearest`] goes by.
    pub fn nearest_runs(&self, s: &Setup, p: &Physics, most: usize) -> Vec<(Landmark, f32)> {
        let mut all: Vec<(Landmark, f32)> = self.distances(s, p).collect();
        all.sort_by(|a, b| a.1.total_cmp(&b.1));
        all.truncate(most);
        all
    }

    /// The source of a measured run, and where that is.
    pub fn source(&self, l: &Landmark) -> Option<(&str, Origin)> {
        let (name, origin) = self.sources.get(usize::from(l.source))?;
        Some((name, *origin))
    }

    fn distances(&self, s: &Setup, p: &Physics) -> impl Iterator<Item = (Landmark, f32)> {
        let at = place(s, p).map(|x| x.ln() as f32);
        let family = self.families.iter().position(|f| *f == s.card.family);
        let here = |m: &Patch| m.gpu == s.gpu.name && m.precision == s.precision.pooled().name();
        let patch = self.patches.iter().position(here);
        let tp_asked = (s.tp as f32).log2();
        let distance = move |l: &Landmark| {
            let gaps: f32 = l.at.iter().zip(at).map(|(a, b)| (a - b).powi(2)).sum();
            let tp = (f32::from(l.tp).log2() - tp_asked).powi(2) * 0.25;
            let other = |same: bool, step: f32| if same { 0.0 } else { step };
            gaps + tp
                + other(family == Some(l.family.into()), 1.0)
                + other(patch == Some(l.patch.into()), 2.0)
        };
        self.landmarks.iter().map(move |l| (l, distance(&l)))
    }

    /// A measured run in words: `Mixtral-8x7B on H100-SXM x 2, fp8`.
    pub fn describe(&self, l: &Landmark) -> String {
        let model = self.landmarks.model(l);
        let model = model.rsplit('/').next().unwrap_or(model);
        match self.patches.get(usize::from(l.patch)) {
            Some(m) => format!("{model} on {} x {}, {}", m.gpu, l.tp, m.precision),
            None => model.to_owned(),
        }
    }

    /// True where every index points somewhere and every number is finite.
    pub fn is_sound(&self) -> bool {
        self.landmarks
            .is_sound([self.sources.len(), self.families.len(), self.patches.len()])
    }
}

impl Patch {
    fn take(&mut self, tp: u32, pp: u32, [params_b, context, in_flight]: [f64; 3]) {
        self.runs += 1;
        self.params_b.add(params_b);
        self.context.add(context);
        self.in_flight.add(in_flight);
        if let Err(at) = self.tps.binary_search(&tp) {
            self.tps.insert(at, tp);
        }
        if let Err(at) = self.pps.binary_search(&pp) {
            self.pps.insert(at, pp);
        }
    }

    /// Stages over nodes are another machine: what one node did says nothing of the link.
    fn has_stages(&self, pp: u32) -> bool {
        pp <= 1 || self.pps.contains(&pp)
    }
}

fn axis(name: &str, asked: &str, measured: &str) -> AxisOut {
    AxisOut {
        axis: name.into(),
        asked: asked.into(),
        measured: measured.into(),
        gap: UNNAMED,
    }
}

fn list(names: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = names.collect();
    all.sort();
    all.dedup();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::physics::physics;
    use crate::{Case, Catalogue, Variant, Workload};

    fn case(of: (usize, usize, u32, u32, usize, f64, f64)) -> Case {
        let (model, gpu, tp, pp, precision, isl, concurrency) = of;
        let models = [
            "meta-llama/Llama-3.1-8B-Instruct",
            "meta-llama/Llama-3.1-70B-Instruct",
            "openai/gpt-oss-120b",
        ];
        let formats = [Precision::Bf16, Precision::Fp8, Precision::W8a8];
        Case {
            model: models[model].into(),
            params_b: None,
            active_params_b: None,
            gpu: ["H100-SXM", "H200", "A100-80GB"][gpu].into(),
            gpu_mem_gb: None,
            tp: Some(tp),
            pp,
            dp: 1,
            precision: Some(formats[precision]),
            kv_precision: None,
            isl: Some(isl),
            osl: Some(256.0),
            workload: Workload::ClosedLoop,
            concurrency: Some(concurrency),
            request_rate: None,
            engine: "vllm".into(),
            engine_version: String::new(),
            variant: Variant::default(),
        }
    }

    fn drawn() -> impl Strategy<Value = Case> {
        let tp = prop::sample::select(vec![1u32, 2, 4, 8]);
        let load = prop::sample::select(vec![1.0, 8.0, 64.0, 512.0]);
        let isl = prop::sample::select(vec![128.0, 2048.0, 16_384.0]);
        (0..3usize, 0..3usize, tp, 1..3u32, 0..3usize, isl, load).prop_map(case)
    }

    proptest! {
        #[test]
        fn what_holds_has_no_axis_out_and_the_other_way_round(
            measured in prop::collection::vec(drawn(), 0..12), asked in prop::collection::vec(drawn(), 1..24)
        ) {
            let catalogue = Catalogue::built_in();
            let mut envelope = Envelope::default();
            for case in &measured {
                let s = Setup::of_case(case, "", &catalogue).unwrap();
                envelope.add("run", Origin::ThisCluster, &s, &physics(&s));
            }
            for case in asked.iter().chain(&measured) {
                let s = Setup::of_case(case, "", &catalogue).unwrap();
                let p = physics(&s);
                prop_assert_eq!(envelope.holds(&s, &p), envelope.axes_out(&s, &p).is_empty());
            }
            for case in &measured {
                let s = Setup::of_case(case, "", &catalogue).unwrap();
                prop_assert!(envelope.holds(&s, &physics(&s)), "what was measured is held");
            }
        }
    }
}
