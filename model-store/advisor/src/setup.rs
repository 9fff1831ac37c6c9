//! A configuration under a load with everything looked up: what the physics and the model work on.

use super::card::ModelCard;
use super::case::{Case, Precision, Variant, Workload};
use super::catalogue::Catalogue;
use super::formats::precision_in_name;
use super::gpu::{GpuSpec, gpu_name_of_gres};
use super::limits::Limits;
use super::starts::Starts;

/// Input tokens assumed where a source does not state them; the features say that they were
/// assumed.
const ASSUMED_ISL: f64 = 256.0;
/// See [`ASSUMED_ISL`].
const ASSUMED_OSL: f64 = 128.0;

/// A resolved case. Lengths in tokens, memory in GiB.
#[derive(Clone, Debug)]
pub struct Setup<'a> {
    /// Model architecture.
    pub card: &'a ModelCard,
    /// GPU data sheet.
    pub gpu: &'static GpuSpec,
    /// Tensor-parallel degree.
    pub tp: u32,
    /// Pipeline stages.
    pub pp: u32,
    /// Data-parallel replicas inside the instance.
    pub dp: u32,
    /// Weight format.
    pub precision: Precision,
    /// Bytes of one KV value.
    pub kv_bytes: f64,
    /// Input tokens of a request.
    pub isl: f64,
    /// Output tokens of a request.
    pub osl: f64,
    /// How load reaches the engine.
    pub workload: Workload,
    /// Requests in flight; `None` = as many as the engine takes.
    pub concurrency: Option<f64>,
    /// Arrivals per second, where finite.
    pub rate: Option<f64>,
    /// Engine, lower case.
    pub engine: &'a str,
    /// Engine version; empty where not known.
    pub engine_version: &'a str,
    /// Laboratory, document or cluster; empty where not known.
    pub source: &'a str,
    /// Deployment beside plain serving.
    pub variant: Variant,
    /// What the engine is started with.
    pub limits: Limits,
    /// What this cluster's own starts say.
    pub starts: Option<&'a Starts>,
    /// Input length, output length, format: true where it was not stated.
    pub assumed: [bool; 3],
}

impl<'a> Setup<'a> {
    /// Looks up model and GPU of a case.
    ///
    /// # Errors
    /// The name of the support axis on which the case cannot be placed: `family` for a model
    /// without a card, `gpu` for a GPU outside the catalogue, `tp` where it is not recorded.
    pub fn of_case(
        case: &'a Case,
        source: &'a str,
        catalogue: &'a Catalogue,
    ) -> Result<Self, &'static str> {
        let card = catalogue.find(&case.model).ok_or("family")?;
        let usual = || gpu_name_of_gres(&case.gpu).and_then(GpuSpec::by_name);
        let gpu = GpuSpec::by_name(&case.gpu).or_else(usual).ok_or("gpu")?;
        let tp = case.tp.filter(|tp| *tp > 0).ok_or("tp")?;
        let format = case.precision.or_else(|| precision_in_name(&case.model));
        Ok(Self {
            card,
            gpu,
            tp,
            pp: case.pp.max(1),
            dp: case.dp.max(1),
            precision: format.unwrap_or(Precision::Bf16),
            // An engine keeps its values in the type of its weights, or in 16 bits.
            kv_bytes: case
                .kv_precision
                .or(format.filter(|f| *f == Precision::Fp32))
                .map_or(2.0, |p| p.bits() / 8.0),
            isl: case.isl.unwrap_or(ASSUMED_ISL).max(1.0),
            osl: case.osl.unwrap_or(ASSUMED_OSL).max(1.0),
            workload: case.workload,
            concurrency: case.concurrency.filter(|c| *c > 0.0),
            rate: case.request_rate.filter(|r| r.is_finite() && *r > 0.0),
            engine: &case.engine,
            engine_version: &case.engine_version,
            source,
            variant: case.variant,
            limits: Limits::default(),
            starts: None,
            assumed: [case.isl.is_none(), case.osl.is_none(), format.is_none()],
        })
    }

    /// GPUs of the instance.
    pub const fn num_gpus(&self) -> u32 {
        self.tp * self.pp * self.dp
    }

    /// Longest context of a request, tokens.
    pub fn context(&self) -> f64 {
        self.isl + self.osl
    }
}
