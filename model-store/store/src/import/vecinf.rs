//! The folder of a vec-inf job: what was asked in its JSON file, what came out in the engine's log
//! beside it. vLLM logs its rates every ten seconds; stretches with the same number of requests
//! running are one run each. Without a log only the start is told, and only if it served.

use std::collections::BTreeMap;

use serde_json::Value;

use super::bag::{Bag, as_number};
use super::{Load, Reading};
use crate::advisor::{Measured, RunOutcome};

/// Lines of one load from which its rate is taken.
const FEWEST_LINES: usize = 3;

pub(super) fn read(document: &Value, log: &str) -> Vec<Result<Reading, String>> {
    let base = asked(document);
    let served = log.contains("Application startup complete");
    if !served {
        let failed = [
            "Engine core initialization failed",
            "Traceback (most recent call last)",
        ];
        if !failed.iter().any(|text| log.contains(text)) {
            return vec![Err("its log tells neither a start nor a failure".into())];
        }
        let memory = [
            "out of memory",
            "No available memory for the cache blocks",
            "KV cache is needed",
        ];
        let outcome = match memory.iter().any(|text| log.contains(text)) {
            true => RunOutcome::OutOfMemory,
            false => RunOutcome::Crash,
        };
        let measured = Measured {
            outcome,
            ..Measured::default()
        };
        return vec![Ok(Reading { measured, ..base })];
    }
    let loads = loads(log);
    if loads.is_empty() {
        return vec![Err(
            "its engine served, but no steady load is in its log".into()
        )];
    }
    let one = |(running, rate, usage): (f64, f64, f64)| Reading {
        load: Load::asked(None, Some(running), None),
        measured: Measured {
            output_tok_s: Some(rate),
            kv_usage: Some(usage),
            ..Measured::default()
        },
        ..base.clone()
    };
    loads.into_iter().map(|load| Ok(one(load))).collect()
}

fn asked(document: &Value) -> Reading {
    let mut bag = Bag::of(document);
    let args = bag
        .take(&["vllm_args", "engine_args"])
        .unwrap_or(&Value::Null);
    let argument = |name: &str| args.get(name).and_then(as_number);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // filtered
    let count = |name: &str| {
        argument(name)
            .filter(|x| (1.0..=65_536.0).contains(x))
            .map(|x| x as u32)
    };
    let text = |name: &str| args.get(name).and_then(Value::as_str).unwrap_or_default();
    let gpus = bag.count(&["gpus_per_node"]);
    let dtype = match text("--quantization") {
        "" => text("--dtype"),
        quantised => quantised,
    };
    Reading {
        model: bag.text(&["model_name", "model"]),
        gpu: bag.text(&["resource_type"]),
        tp: count("--tensor-parallel-size").or(gpus),
        pp: count("--pipeline-parallel-size"),
        dp: count("--data-parallel-size"),
        precision: dtype.to_owned(),
        engine: "vllm".to_owned(),
        notes: bag.rest(),
        ..Reading::default()
    }
}

/// Requests running, median output tokens/s and largest KV usage of each load that lasted.
fn loads(log: &str) -> Vec<(f64, f64, f64)> {
    let mut by_load: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for line in log
        .lines()
        .filter(|l| l.contains("Avg generation throughput:"))
    {
        let after = |mark: &str| -> Option<f64> {
            let rest = line.split(mark).nth(1)?.trim_start();
            let end = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            rest[..end].parse().ok()
        };
        let found = (
            after("Avg generation throughput:"),
            after("Running:"),
            after("KV cache usage:"),
        );
        if let (Some(rate), Some(running), usage) = found
            && rate > 0.0
            && running >= 1.0
        {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 1 up
            by_load
                .entry(running as u64)
                .or_default()
                .push((rate, usage.unwrap_or(0.0) / 100.0));
        }
    }
    by_load.retain(|_, lines| lines.len() >= FEWEST_LINES);
    let median = |lines: &[(f64, f64)]| {
        let mut rates: Vec<f64> = lines.iter().map(|l| l.0).collect();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    #[allow(clippy::cast_precision_loss)] // requests in flight
    by_load
        .into_iter()
        .map(|(running, lines)| {
            let usage = lines.iter().map(|l| l.1).fold(0.0, f64::max);
            (running as f64, median(&lines), usage.min(1.0))
        })
        .collect()
}
