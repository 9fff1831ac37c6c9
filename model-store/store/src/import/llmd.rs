//! The llm-d benchmark report 0.1, 0.2 and 0.2.1, as YAML or JSON: every statistic has its `units`, which
//! are obeyed. TPOT leaves the first token out; `normalized_time_per_output_token` does not and is
//! not used.
//!
//! 0.1 lists accelerators, one an engine, with roles and engines in lists beside it; 0.2 has a component for each kind of
//! engine, with its replicas.

use serde_json::Value;

use super::bag::{Bag, as_count, as_number, as_text, find, find_text};
use super::deployment::{Deployment, Engines, Role};
use super::reuse::reuse;
use super::{Load, Reading};
use crate::advisor::{Measured, Variant};

/// Latencies and rates that are read; of the others the means are kept.
const READ: [&str; 10] = [
    "output_token_rate",
    "output_tokens_per_sec",
    "request_latency",
    "request_rate",
    "requests_rate",
    "requests_per_sec",
    "time_per_output_token",
    "time_to_first_token",
    "total_token_rate",
    "total_tokens_per_sec",
];

pub(super) fn read(document: &Value) -> Result<Reading, String> {
    let scenario = &document["scenario"];
    // 0.2 and later; 0.1.
    let aggregate = &document["results"]["request_performance"]["aggregate"];
    let figures = if aggregate.is_object() {
        aggregate
    } else {
        &document["metrics"]
    };
    let stack = Stack::of(scenario);
    let number = |keys: [&str; 2]| {
        let found = keys
            .iter()
            .find_map(|key| find(&scenario["load"], &[key]).and_then(as_number));
        found.filter(|x| *x > 0.0)
    };
    let found = reuse(&scenario["load"], &[]);
    let reading = Reading {
        model: stack.model(scenario),
        precision: find_text(scenario, &["model", "quantization"]),
        engine: stack.first("name", "tool"),
        engine_version: stack.first("version", "tool_version"),
        isl: plain(&figures["requests"]["input_length"]),
        osl: plain(&figures["requests"]["output_length"]),
        load: Load::asked(
            number(["rate_qps", "qps"]),
            number(["concurrency", "max_concurrency"]),
            None,
        ),
        variant: Variant {
            speculative: stack.speculates(),
            prefix_cached: found.prefix,
            multi_turn: found.turns,
            ..Variant::default()
        },
        measured: measured(figures, document),
        notes: notes(scenario, figures, document),
        ..Reading::default()
    };
    Ok(reading.deployed(Deployment::of(&stack.engines()?)?))
}

fn measured(figures: &Value, document: &Value) -> Measured {
    let (latency, through) = (&figures["latency"], &figures["throughput"]);
    let (ttft, e2e) = (&latency["time_to_first_token"], &latency["request_latency"]);
    let tpot = [
        &latency["time_per_output_token"],
        &latency["inter_token_latency"],
    ];
    let tpot = tpot
        .into_iter()
        .find(|v| v.is_object())
        .unwrap_or(&Value::Null);
    Measured {
        output_tok_s: either(through, &["output_token_rate", "output_tokens_per_sec"]),
        total_tok_s: either(through, &["total_token_rate", "total_tokens_per_sec"]),
        req_s: either(
            through,
            &["request_rate", "requests_rate", "requests_per_sec"],
        ),
        ttft_ms: ms(ttft, "mean"),
        ttft_p50_ms: ms(ttft, "p50"),
        ttft_p99_ms: ms(ttft, "p99"),
        tpot_ms: ms(tpot, "mean"),
        tpot_p99_ms: ms(tpot, "p99"),
        e2e_ms: ms(e2e, "mean"),
        e2e_p99_ms: ms(e2e, "p99"),
        // The highest, of the fullest engine; a mean is another figure.
        kv_usage: kv_usage(document, "max"),
        ..Measured::default()
    }
}

fn notes(scenario: &Value, figures: &Value, document: &Value) -> Vec<String> {
    let load = &scenario["load"];
    let harness = load["name"]
        .as_str()
        .or_else(|| load["standardized"]["tool"].as_str());
    let mut notes = vec![format!("harness={}", harness.unwrap_or("?"))];
    notes.extend(kv_usage(document, "mean").map(|mean| format!("kv_usage_mean={mean}")));
    let others = ["latency", "throughput"].map(|of| Bag::of(&figures[of]).without(&READ).rest());
    [notes, others.concat()].concat()
}

/// What serves, as either version lists it.
struct Stack<'a> {
    /// Of 0.2: the components that are engines; of 0.1 none.
    components: Vec<&'a Value>,
    /// Of 0.1: accelerators, roles, engines.
    accelerators: Vec<&'a Value>,
    roles: Vec<&'a Value>,
    engines: Vec<&'a Value>,
}

impl<'a> Stack<'a> {
    fn of(scenario: &'a Value) -> Self {
        let list = |v: &'a Value| match v {
            Value::Array(all) => all.iter().collect(),
            Value::Null => Vec::new(),
            one => vec![one],
        };
        let is_engine = |c: &&Value| {
            let kind = [&c["standardized"]["kind"], &c["metadata"]["kind"]];
            let kind = kind.iter().find_map(|k| k.as_str());
            kind.map_or(c["standardized"]["accelerator"].is_object(), |k| {
                k == "inference_engine"
            })
        };
        Self {
            components: list(&scenario["stack"])
                .into_iter()
                .filter(is_engine)
                .collect(),
            accelerators: list(&scenario["host"]["accelerator"]),
            roles: list(&scenario["host"]["type"]),
            engines: list(&scenario["platform"]["engine"]),
        }
    }

    /// The kinds of engines, with their roles and replicas.
    fn engines(&self) -> Result<Vec<Engines>, String> {
        if !self.components.is_empty() {
            return self
                .components
                .iter()
                .map(|c| component(&c["standardized"]))
                .collect();
        }
        let n = self.accelerators.len();
        if self.roles.len() != n && !(self.roles.len() == 1 && n > 0) {
            return Err(format!(
                "it lists {n} accelerators and {} roles (`scenario.host.type`)",
                self.roles.len()
            ));
        }
        let one = |(at, accelerator): (usize, &&Value)| {
            let role = self.roles.get(at).or(self.roles.first()).copied();
            engines(accelerator, role.unwrap_or(&Value::Null), Some(1))
        };
        self.accelerators.iter().enumerate().map(one).collect()
    }

    fn model(&self, scenario: &Value) -> String {
        let of = |c: &&Value| {
            c["standardized"]["model"]["name"]
                .as_str()
                .map(str::to_owned)
        };
        self.components
            .iter()
            .find_map(of)
            .unwrap_or_else(|| find_text(scenario, &["model", "name"]))
    }

    /// A field of the first engine that has it: in 0.1 under the first name, in 0.2 under the second.
    fn first(&self, listed: &str, standardized: &str) -> String {
        let of = |v: &&Value| as_text(&v[listed]);
        let in_component = |c: &&Value| as_text(&c["standardized"][standardized]);
        let found = self.components.iter().find_map(in_component);
        found
            .or_else(|| self.engines.iter().find_map(of))
            .unwrap_or_default()
    }

    /// True where an engine's arguments ask for speculative decoding.
    fn speculates(&self) -> bool {
        let args = |v: &'a Value| v.as_object().into_iter().flatten();
        let of_components = self
            .components
            .iter()
            .flat_map(|c| args(&c["native"]["args"]));
        let of_engines = self.engines.iter().flat_map(|e| args(&e["args"]));
        let mut all = of_components.chain(of_engines);
        all.any(|(key, value)| key.contains("speculative") && !value.is_null())
    }
}

fn component(standardized: &Value) -> Result<Engines, String> {
    let replicas = standardized.get("replicas").and_then(as_count);
    engines(
        &standardized["accelerator"],
        &standardized["role"],
        replicas,
    )
}

fn engines(accelerator: &Value, role: &Value, replicas: Option<u32>) -> Result<Engines, String> {
    let word = role.as_str().unwrap_or_default();
    let role = Role::parse(word).ok_or_else(|| {
        format!(
            "the role `{}` of an engine is not known",
            crate::advisor::plain::shorten(word)
        )
    })?;
    // Where prefill or decode is told, the run is no model of one engine however many there are.
    let replicas = match replicas {
        Some(n) => n,
        None if role != Role::Whole => 1,
        None => return Err("it does not tell how many replicas there are (`replicas`)".into()),
    };
    let degree = |name: &str| accelerator["parallelism"].get(name).and_then(as_count);
    Ok(Engines {
        role,
        tp: degree("tp"),
        pp: degree("pp"),
        dp: degree("dp"),
        dp_shares_gpus: false,
        replicas,
        gpus: accelerator.get("count").and_then(as_count),
        gpu: accelerator["model"].as_str().unwrap_or_default().to_owned(),
    })
}

fn plain(statistic: &Value) -> Option<f64> {
    as_number(&statistic["mean"]).filter(|x| *x > 0.0)
}

/// A rate as a statistic (0.2) or as a number (0.1).
fn either(through: &Value, names: &[&str]) -> Option<f64> {
    let of = |name: &&str| {
        plain(&through[*name]).or_else(|| as_number(&through[*name]).filter(|x| *x > 0.0))
    };
    names.iter().find_map(of)
}

fn ms(statistic: &Value, which: &str) -> Option<f64> {
    let factor = match statistic["units"].as_str().unwrap_or_default() {
        "ms" | "ms/token" => 1.0,
        "s" | "s/token" => 1e3,
        "us" | "us/token" => 1e-3,
        _ => return None,
    };
    as_number(&statistic[which])
        .filter(|x| *x > 0.0)
        .map(|x| x * factor)
}

/// KV usage, 0 to 1, of the fullest engine; told in percent by some versions.
fn kv_usage(document: &Value, which: &str) -> Option<f64> {
    let mut all = Vec::new();
    collect(&document["results"], "kv_cache_usage", &mut all);
    let share = |usage: &&Value| {
        let value = as_number(&usage[which])?;
        let share = match usage["units"].as_str()? {
            "percent" | "%" => value / 100.0,
            "fraction" | "ratio" | "share" | "" => value,
            _ => return None,
        };
        Some(share).filter(|s| (0.0..=1.0).contains(s))
    };
    all.iter().filter_map(share).reduce(f64::max)
}

fn collect<'a>(value: &'a Value, key: &str, all: &mut Vec<&'a Value>) {
    match value {
        Value::Object(map) => {
            all.extend(map.get(key));
            map.values().for_each(|v| collect(v, key, all));
        }
        Value::Array(list) => list.iter().for_each(|v| collect(v, key, all)),
        _ => {}
    }
}
