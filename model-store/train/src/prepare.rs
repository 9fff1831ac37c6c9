//! Rows for fitting: features, log residuals against the physics, cells, sources, weights.

use crate::advisor::conformal::GroupKey;
use crate::advisor::features::{Categories, Codebook, Row, row};
use crate::advisor::model::group_key;
use crate::advisor::physics::{Physics, physics};
use crate::advisor::{Catalogue, Origin, Run, RunOutcome, Setup, Target, Workload};
use crate::hashing::fnv1a;

/// One run, ready to be fitted.
pub(super) struct Sample<'a> {
    pub(super) run: &'a Run,
    pub(super) setup: Setup<'a>,
    pub(super) physics: Physics,
    /// Model x context x concurrency: held out as a whole, since a configuration beside it in the
    /// same cell would give the answer away.
    pub(super) cell: u64,
    pub(super) group: GroupKey,
    /// Its throughput, latencies and concurrency contradict each other: none of them is learnt
    /// from, but its launch and its power are.
    pub(super) contradicts: bool,
}

impl Sample<'_> {
    /// `ln(measured / estimated)` of one target, where it was measured.
    pub(super) fn residual(&self, target: Target) -> Option<f64> {
        if self.contradicts && target.is_of_load() {
            return None;
        }
        let stated = self.run.measured.target(target);
        let implied = || match target {
            Target::OutputTokS => self.implied_tok_s(),
            _ => None,
        };
        let value = stated
            .or_else(implied)
            .filter(|v| v.is_finite() && *v > 0.0)?;
        Some((value / self.physics.estimate(&self.setup, target)).ln())
    }

    /// Throughput that TTFT and TPOT imply at a fixed number in flight (Little's law): a run that
    /// states latencies alone teaches throughput too.
    fn implied_tok_s(&self) -> Option<f64> {
        let (m, case) = (&self.run.measured, &self.run.case);
        let fixed = matches!(case.workload, Workload::ClosedLoop | Workload::Static);
        let in_flight = case.concurrency.filter(|_| fixed)?;
        let osl = case.osl?.max(1.0);
        let latency_s = (m.ttft_ms? + (osl - 1.0) * m.tpot_ms?) / 1e3;
        Some(in_flight * osl / latency_s)
    }

    pub(super) fn is_home(&self) -> bool {
        self.run.origin == Origin::ThisCluster
    }
}

/// Runs that were taken, and how many were not, by reason.
pub(super) struct Prepared<'a> {
    pub(super) samples: Vec<Sample<'a>>,
    pub(super) left_out: Vec<(String, u32)>,
}

/// Looks every run up. Runs are sorted by their own content, so that the order of the store does
/// not reach the fit.
pub(super) fn prepare<'a>(runs: &'a [Run], catalogue: &'a Catalogue) -> Prepared<'a> {
    let mut left_out: std::collections::BTreeMap<String, u32> = std::collections::BTreeMap::new();
    let mut samples = Vec::new();
    for run in runs {
        match sample(run, catalogue) {
            Ok(sample) => {
                if sample.contradicts {
                    let reason =
                        "figures of load of runs that contradict themselves (Little's law)";
                    *left_out.entry(reason.into()).or_default() += 1;
                }
                samples.push(sample);
            }
            Err(reason) => *left_out.entry(reason).or_default() += 1,
        }
    }
    samples.sort_by(|a, b| by_content(a.run, b.run));
    Prepared {
        samples,
        left_out: left_out.into_iter().collect(),
    }
}

pub(super) fn by_content(a: &Run, b: &Run) -> std::cmp::Ordering {
    (a.origin, &a.source, &a.run_id, &a.source_ref)
        .cmp(&(b.origin, &b.source, &b.run_id, &b.source_ref))
        .then_with(|| format!("{a:?}").cmp(&format!("{b:?}")))
}

pub(super) fn sample<'a>(run: &'a Run, catalogue: &'a Catalogue) -> Result<Sample<'a>, String> {
    if run.notes.starts_with("SUSPECT") {
        return Err("its own source doubts it (`SUSPECT` in the notes)".into());
    }
    let setup = Setup::of_case(&run.case, &run.source, catalogue).map_err(|axis| match axis {
        "family" => format!(
            "no card for model {}",
            crate::advisor::plain::shorten(&run.case.model)
        ),
        "gpu" => format!(
            "GPU {} is not in the catalogue",
            crate::advisor::plain::shorten(&run.case.gpu)
        ),
        _ => "tensor-parallel degree not recorded".to_owned(),
    })?;
    if setup.variant.is_another_deployment() {
        return Err("disaggregated, speculative, prefix-cached or multi-turn serving".into());
    }
    let physics = physics(&setup);
    let cell = cell(run, &setup);
    let group = group_key(&setup);
    Ok(Sample {
        contradicts: run.contradicts_itself(),
        run,
        cell,
        group,
        setup,
        physics,
    })
}

/// FNV-1a over model, context and concurrency. Where lengths or concurrency were measured rather
/// than set (a mean of real requests, no whole number), no two runs share them; what was set there
/// is the task, and the load to about half an octave.
fn cell(run: &Run, s: &Setup) -> u64 {
    let load = s.concurrency.or(s.rate).unwrap_or(-1.0);
    let whole = |x: Option<f64>| x.is_some_and(|x| x.fract().abs() < 1e-9);
    let set = whole(run.case.isl)
        && whole(run.case.osl)
        && (s.concurrency.is_none() || whole(s.concurrency));
    let asked = if set || run.case.concurrency.is_none() {
        format!("{:.0}|{:.0}|{load:.3}", s.isl, s.osl)
    } else {
        format!(
            "{}|{:.0}",
            task(&run.notes),
            (2.0 * load.max(1.0).log2()).round()
        )
    };
    fnv1a(format!("{}|{asked}", s.card.name).bytes())
}

/// What the notes begin with where that is words alone: benchmarks name their task there.
fn task(notes: &str) -> &str {
    let first = notes.split(';').next().unwrap_or_default().trim();
    let words = first.len() <= 24 && first.chars().all(|c| c.is_alphabetic() || c == ' ');
    if words { first } else { "" }
}

impl<'a> Prepared<'a> {
    /// Category names of all samples.
    pub(super) fn codes(&self) -> Codebook {
        Codebook::of(self.samples.iter().map(|s| &s.setup))
    }

    /// Categories of all samples.
    pub(super) fn categories(&self, codes: &Codebook) -> Vec<Categories> {
        self.samples
            .iter()
            .map(|s| codes.categories(&s.setup))
            .collect()
    }

    /// Features of all samples.
    pub(super) fn rows(&self, codes: &Codebook) -> Vec<Row> {
        self.samples
            .iter()
            .map(|s| row(&s.setup, &s.physics, codes))
            .collect()
    }
}

/// Lowest compute capability that is learnt from: what older GPUs and those of other makers deliver
/// says little about the ones that advice is given for.
const LEAST_CAPABILITY: u32 = 80;

/// True for a GPU of a kind that advice is given for.
pub(super) fn is_advised_on(s: &Sample) -> bool {
    s.setup.gpu.capability >= LEAST_CAPABILITY
}

/// True where a run tells what plain serving on a GPU of such a kind is like.
pub(super) fn is_served(s: &Sample) -> bool {
    s.setup.variant.is_plain()
        && is_advised_on(s)
        && !s.contradicts
        && s.run.measured.outcome == RunOutcome::Ok
}

/// True where a run shows what its configuration delivers, so that it extends the envelope.
pub(super) fn shows_performance(s: &Sample) -> bool {
    let m = &s.run.measured;
    is_served(s)
        && [m.output_tok_s, m.ttft_ms, m.tpot_ms]
            .iter()
            .any(Option::is_some)
}
