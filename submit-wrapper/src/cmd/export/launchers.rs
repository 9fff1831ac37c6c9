//! The forms of other launchers: a batch script, a model of vec-inf, a recipe of srtctl.

use std::fmt::Write;

use model_store::engine_args::{Advised as Advice, EngineKind, Setting, apply};
use model_store::options::is_hidden;
use model_store::outcome::env;

use super::Advised;
use crate::exit;
use model_store::quoting::quoted;

/// A batch script that starts the engine as advised, under `omnipilot run` where that is there.
pub(super) fn sbatch(a: &Advised) -> anyhow::Result<String> {
    one_node(a, "a batch script")?;
    let command: Vec<String> = command(a)?.iter().map(|w| quoted(w)).collect();
    let command = command.join(" ");
    let mut out = String::new();
    line(&mut out, "#!/bin/bash");
    for text in about(a) {
        line(&mut out, &format!("# {text}"));
    }
    line(
        &mut out,
        &format!("#SBATCH --job-name={}", short_name(a.model)),
    );
    line(&mut out, &format!("#SBATCH --gres={}", a.rewrite.gres));
    line(&mut out, "#SBATCH --nodes=1");
    line(
        &mut out,
        &format!("#SBATCH --comment={}", a.rewrite.comment),
    );
    line(&mut out, "");
    for (name, value) in &a.rewrite.environment {
        line(&mut out, &format!("export {name}={}", quoted(value)));
    }
    line(&mut out, "");
    line(&mut out, "if command -v omnipilot >/dev/null; then");
    line(&mut out, &format!("  exec omnipilot run -- {command}"));
    line(&mut out, "fi");
    line(&mut out, &format!("exec {command}"));
    Ok(out)
}

/// A model of vec-inf 0.9: what `VEC_INF_MODEL_CONFIG` or `vec-inf launch --config` names.
pub(super) fn vec_inf(a: &Advised) -> anyhow::Result<String> {
    let c = a.config;
    let name = short_name(a.model);
    let (family, variant) = name.split_once('-').unwrap_or((&name, ""));
    let section = match a.engine {
        EngineKind::Vllm => "vllm_args",
        EngineKind::Sglang => "sglang_args",
        other => {
            return Err(exit::with_code(
                exit::USAGE,
                format!(
                    "vec-inf starts vLLM and SGLang, the site's engine is {}",
                    other.name()
                ),
                "`omnipilot export sbatch` writes a script for any engine",
            ));
        }
    };
    if c.dp > 1 {
        return Err(exit::fail(
            format!(
                "{} replicas were advised, and vec-inf starts one a job",
                c.dp
            ),
            "ask without `--llm-rate`, and launch it as often",
        ));
    }
    let mut out = String::new();
    for text in about(a) {
        line(&mut out, &format!("# {text}"));
    }
    line(&mut out, "models:");
    line(&mut out, &format!("  {name}:"));
    let mut put = |text: String| line(&mut out, &format!("    {text}"));
    put(format!("model_family: {}", scalar(family)));
    if !variant.is_empty() {
        put(format!("model_variant: {}", scalar(variant)));
    }
    put("model_type: LLM".into());
    if let Some(repository) = c
        .checkpoint
        .as_deref()
        .or(Some(a.model))
        .filter(|m| m.contains('/'))
    {
        put(format!("hf_model: {}", scalar(repository)));
    }
    put(format!("engine: {}", a.engine.name()));
    put(format!("resource_type: {}", scalar(&c.gres)));
    put(format!("gpus_per_node: {}", c.gpus_per_node()));
    put(format!("num_nodes: {}", c.nodes()));
    put(format!("vocab_size: {}", a.consulted.request.card.vocab));
    put(format!("{section}:"));
    for (flag, value) in flags(a) {
        put(format!("  {flag}: {}", scalar(&value)));
    }
    Ok(out)
}

/// A recipe of srtctl: schema 2, one aggregated role.
pub(super) fn srtctl(a: &Advised) -> anyhow::Result<String> {
    let c = a.config;
    let (engine, direct, router) = match a.engine {
        EngineKind::Vllm => ("vllm", "vllm", "vllm-router"),
        EngineKind::Sglang => ("sglang", "sglang", "sglang-router"),
        EngineKind::TensorRtLlm => ("trtllm", "trtllm_serve", "dynamo"),
        other @ EngineKind::Tgi => {
            return Err(exit::with_code(
                exit::USAGE,
                format!("srtctl has no engine {}", other.name()),
                "`omnipilot export sbatch` writes a script for any engine",
            ));
        }
    };
    let load = &a.consulted.request.load;
    let mut out = String::new();
    for text in about(a) {
        line(&mut out, &format!("# {text}"));
    }
    line(
        &mut out,
        "# `container` is an alias of srtslurm.yaml or a path: set it to yours.",
    );
    let path = c.checkpoint.as_deref().unwrap_or(a.model);
    let mut put = |text: String| line(&mut out, &text);
    put("schema: 2".into());
    put(format!("name: {}", scalar(&short_name(a.model))));
    put("model:".into());
    put(format!("  path: {}", scalar(path)));
    put(format!("  container: {engine}"));
    put(format!(
        "  precision: {}",
        c.precision
            .name()
            .trim_start_matches("nv")
            .trim_start_matches("mx")
    ));
    put("resources:".into());
    put(format!("  gpu_type: {}", scalar(&c.gres)));
    put(format!("  gpus_per_node: {}", a.per_node));
    put(format!("engine: {engine}"));
    put(format!(
        "frontend:\n  type: {}",
        if c.dp > 1 { router } else { direct }
    ));
    put("roles:".into());
    put("  agg:".into());
    put(format!("    nodes: {}", c.nodes()));
    put(format!("    workers: {}", c.dp));
    put(format!("    gpus: {}", c.tp * c.pp));
    put("    args:".into());
    // Replicas are workers of their own here.
    let replicas = a.engine.spelling(Setting::Dp);
    for (flag, value) in flags(a)
        .into_iter()
        .filter(|(f, _)| Some(f.as_str()) != replicas)
    {
        put(format!(
            "      {}: {}",
            flag.trim_start_matches('-'),
            scalar(&value)
        ));
    }
    put("benchmark:".into());
    put("  type: sa-bench".into());
    put(format!("  isl: {:.0}\n  osl: {:.0}", load.isl, load.osl));
    put(format!(
        "  concurrencies: [{:.0}]",
        load.concurrency.unwrap_or(1.0)
    ));
    Ok(out)
}

/// What was advised, in words for a comment: on what it rests, and that it is a snapshot of today.
fn about(a: &Advised) -> Vec<String> {
    let said = a.rewrite.message.iter().filter(|l| !l.starts_with("hint:"));
    said.map(|l| l.replace(is_hidden, " ")).collect()
}

/// The engine's command as advised.
fn command(a: &Advised) -> anyhow::Result<Vec<String>> {
    let plain: Vec<&str> = match a.engine {
        EngineKind::Vllm => vec!["vllm", "serve", a.model],
        EngineKind::Sglang => vec![
            "python3",
            "-m",
            "sglang.launch_server",
            "--model-path",
            a.model,
        ],
        EngineKind::TensorRtLlm => vec!["trtllm-serve", a.model],
        EngineKind::Tgi => vec!["text-generation-launcher", "--model-id", a.model],
    };
    let of = |name: &str| {
        let value = a.rewrite.environment.iter().find(|(n, _)| *n == name);
        value.map(|(_, v)| v.as_str())
    };
    let advice = Advice::from_texts(of(env::TP), of(env::PRECISION), of(env::ENGINE_ARGS));
    apply(&plain, &advice).map_err(|e| exit::fail(e.to_string(), e.hint()))
}

/// The advised arguments as flags with their values, but for the checkpoint.
fn flags(a: &Advised) -> Vec<(String, String)> {
    let args = a
        .rewrite
        .environment
        .iter()
        .find(|(n, _)| *n == env::ENGINE_ARGS);
    let words: Vec<&str> = args
        .map(|(_, v)| v.split(' ').collect())
        .unwrap_or_default();
    let model = a.engine.spelling(Setting::Model);
    words
        .chunks_exact(2)
        .filter_map(|pair| Some((pair.first()?, pair.get(1)?)))
        .filter(|(flag, _)| Some(**flag) != model)
        .map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned()))
        .collect()
}

fn one_node(a: &Advised, what: &str) -> anyhow::Result<()> {
    let nodes = a.config.nodes();
    if nodes == 1 {
        return Ok(());
    }
    Err(exit::fail(
        format!("{nodes} nodes were advised, and {what} that joins them depends on the site"),
        "write one with `ray start` on each node and `omnipilot run`, and submit it with `--llm-model`",
    ))
}

/// The last part of a model's name, of letters that every launcher takes.
fn short_name(model: &str) -> String {
    let last = model
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(model);
    last.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// A scalar of YAML: plain where nothing in it means anything, else quoted as in JSON, which is
/// YAML too.
fn scalar(text: &str) -> String {
    let number = text.parse::<u64>().is_ok_and(|n| n.to_string() == text);
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    let rest = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    if number || (first && rest && !word) {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

fn line(out: &mut String, text: &str) {
    // Writing to a string has no way to fail.
    let _ = writeln!(out, "{text}");
}
