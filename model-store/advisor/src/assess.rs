//! One configuration: what it is predicted to do, and why it cannot be advised.

use super::advice::{Assessed, Configuration, Fallen, Prediction};
use super::candidates::setup;
use super::case::Workload;
use super::feasible::infeasible;
use super::knowledge::Knowledge;
use super::memory::{agreed, memory};
use super::model::{Model, Step};
use super::physics::physics;
use super::rank::{Limit, limits};
use super::request::Request;
use super::run::Target;
use super::setup::Setup;
use super::startable::Startable;
use super::utility::{Outlook, Terms};

/// Predicts a configuration under a request; with the reason where it falls.
pub(super) fn assess(known: Knowledge, request: &Request, mut config: Configuration) -> Assessed {
    let site = known.gpus.iter().find(|g| g.gres == config.gres);
    let price = site.map_or(1.0, |g| g.price_per_hour) * f64::from(config.gpus());
    let blank = |config: Configuration, fallen: Fallen| Assessed {
        config,
        predictions: vec![None; Target::ALL.len()],
        tokens_per_gpu_hour: None,
        tokens_per_price: None,
        price_per_hour: price,
        outlook: Outlook {
            price_per_hour: price,
            ..Outlook::default()
        },
        terms: Terms::default(),
        utility: None,
        fallen: Some(fallen),
    };
    let Some(s) = setup(request, &config) else {
        let reason = format!("{} is not in the GPU catalogue", config.gpu);
        return blank(config, Fallen::Infeasible(reason));
    };
    if let Some(reason) = infeasible(&s, config.quantise_at_load) {
        return blank(config, Fallen::Infeasible(reason));
    }
    let bar = |at: &dyn Startable| at.bar(&config.gres, config.gpus_per_node(), config.nodes());
    if let Some(reason) = known.startable.and_then(bar) {
        return blank(config, Fallen::NotStartable(reason));
    }
    let longest = longest_context(&s);
    if let Some(reason) = short_of_context(request, longest) {
        return blank(config, Fallen::Infeasible(reason));
    }
    let axes = known.model.axes_out(&s, &physics(&s));
    if !axes.is_empty() {
        return blank(config, Fallen::OutOfSupport(axes));
    }
    let predictions = predict(known.model, request, &config, &s);
    // An engine that states its context is told none.
    config.max_len = longest.filter(|_| request.pins.context.is_none());
    valued(request, config, price, predictions)
}

/// Predictions of the whole configuration. Throughput is what the instance can do; where a rate
/// is stated and no concurrency, the other targets are those at the concurrency that the rate
/// keeps in flight, by Little's law.
fn predict(
    model: &Model,
    request: &Request,
    c: &Configuration,
    s: &Setup,
) -> Vec<Option<Prediction>> {
    let mut out = model.predict(s, step(model));
    if let (Some(rate), None) = (request.load.rate, request.load.concurrency) {
        let loaded = at_rate(s, rate / f64::from(c.dp));
        let at_load = if model.axes_out(&loaded, &physics(&loaded)).is_empty() {
            model.predict(&loaded, step(model))
        } else {
            vec![None; Target::ALL.len()]
        };
        let of_load = [
            Target::TtftMs,
            Target::TpotMs,
            Target::KvUsage,
            Target::PowerW,
        ];
        for target in of_load.map(|t| t as usize) {
            if let (Some(slot), Some(p)) = (out.get_mut(target), at_load.get(target)) {
                *slot = *p;
            }
        }
    }
    of_replicas(&mut out, c.dp);
    out
}

/// The setup with as many requests in flight as such a rate of arrivals keeps there.
fn at_rate<'a>(s: &Setup<'a>, rate: f64) -> Setup<'a> {
    let arriving = Setup {
        workload: Workload::Poisson,
        rate: Some(rate),
        ..s.clone()
    };
    Setup {
        workload: Workload::ClosedLoop,
        concurrency: Some(physics(&arriving).asked),
        ..s.clone()
    }
}

/// Replicas work side by side, each under its share of the load: throughput and power add up,
/// with errors that move together, and the instance has started when each of them has.
fn of_replicas(predictions: &mut [Option<Prediction>], dp: u32) {
    let n = f64::from(dp.max(1));
    for target in [Target::OutputTokS, Target::ReqS, Target::PowerW] {
        if let Some(slot) = predictions.get_mut(target as usize) {
            *slot = slot.map(|p| p.times(n));
        }
    }
    // Starts that fail for one cause fail together, so the upper end stays that of one.
    if let Some(slot) = predictions.get_mut(Target::LaunchSuccess as usize) {
        *slot = slot.map(|p| Prediction {
            q10: p.q10.powf(n),
            q50: p.q50.powf(n),
            lo: p.lo.powf(n),
            ..p
        });
    }
}

/// What a feasible candidate in support delivers for its price, and whether it misses what was
/// stated. Above the stated arrivals an instance earns nothing.
fn valued(
    request: &Request,
    config: Configuration,
    price_per_hour: f64,
    predictions: Vec<Option<Prediction>>,
) -> Assessed {
    let median = |t: Target| {
        let p = predictions.get(t as usize).and_then(Option::as_ref);
        p.map(|p| p.q50)
    };
    let demand = request
        .load
        .rate
        .map_or(f64::INFINITY, |rate| rate * request.load.osl);
    let per_hour = median(Target::OutputTokS).map(|t| t.min(demand) * 3600.0);
    let mut out = Assessed {
        tokens_per_gpu_hour: per_hour.map(|t| t / f64::from(config.gpus())),
        tokens_per_price: per_hour.map(|t| t / price_per_hour.max(1e-9)),
        outlook: Outlook {
            tokens_per_hour: per_hour,
            price_per_hour,
            power_w: median(Target::PowerW),
            launch: median(Target::LaunchSuccess),
            cold_start_s: median(Target::ColdStartS),
            kv_usage: median(Target::KvUsage),
            ..Outlook::default()
        },
        config,
        predictions,
        price_per_hour,
        terms: Terms::default(),
        utility: None,
        fallen: None,
    };
    out.fallen = fallen(request, &out);
    out
}

fn fallen(request: &Request, a: &Assessed) -> Option<Fallen> {
    let Some(throughput) = a.prediction(Target::OutputTokS) else {
        return Some(Fallen::NotKnown);
    };
    let serves = throughput.q50 / request.load.osl;
    if let Some(rate) = request.load.rate.filter(|rate| serves < *rate) {
        return Some(Fallen::MissesTarget(format!(
            "serves {serves:.2} requests/s, {rate} will arrive"
        )));
    }
    let latencies = limits(request).into_iter().filter(Limit::is_latency);
    latencies.into_iter().find_map(|limit| {
        let p = limit.prediction(a).filter(|p| p.q50 > limit.at)?;
        Some(Fallen::MissesTarget(format!(
            "has a {} of {:.0} ms [{:.0}-{:.0}], {:.0} ms were asked for",
            limit.name, p.q50, p.lo, p.hi, limit.at
        )))
    })
}

/// Why the context that the engine will ask for does not fit; `None` where it does.
fn short_of_context(request: &Request, longest: Option<u32>) -> Option<String> {
    let (wanted, most) = (request.pins.context?, longest?);
    (most < wanted).then(|| {
        format!(
            "a context of {wanted} tokens, which the engine takes; beside the weights {most} fit"
        )
    })
}

/// The context that fits in thousands of tokens, where the model's own does not. vLLM checks at its
/// start that one request of full length fits into the KV cache.
pub fn longest_context(s: &Setup) -> Option<u32> {
    const GRAIN: f64 = 1024.0;
    let fits = memory(&agreed(s)).kv_tokens * 0.9;
    let short = fits < f64::from(s.card.max_context);
    short.then(|| ((fits / GRAIN).floor() * GRAIN).max(s.context().ceil()) as u32)
}

fn step(model: &Model) -> Step {
    if model.evidence.this_cluster > 0 {
        Step::ThisCluster
    } else {
        Step::Elsewhere
    }
}
