//! The batch scripts of probes: one array for each GPU type and number of GPUs.

use std::collections::BTreeMap;
use std::fmt::Write;

use model_store::advisor::Configuration;
use model_store::config::Config;
use model_store::engine_args::{Choice, EngineKind};
use model_store::job_rewrite::GpuForm;
use model_store::outcome::env as names;
use model_store::probe::PlannedProbe;
use model_store::store::Probe;

use super::ask::Requests;
use crate::{clock, exit};
use model_store::quoting::in_quotes;

/// How the names of arrays begin.
pub(super) const NAME: &str = "omnipilot-probe-";

/// Waits until the engine answers, loads it, and stops it.
const COURSE: &str = r#"
ready() {
  exec 3<>"/dev/tcp/127.0.0.1/$PROBE_PORT" || return 1
  printf 'GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n' "$PROBE_READY" >&3
  read -r -t 10 answer <&3
  exec 3>&-
  [[ $answer == *" 200"* ]]
} 2>/dev/null

until ready; do
  kill -0 "$engine" 2>/dev/null || { wait "$engine"; exit; }
  sleep 1
done
end=$((SECONDS + PROBE_SECONDS))
while ((SECONDS < end)); do
  load || break
done
kill -TERM "$engine"
wait "$engine"
"#;

/// One array.
pub(super) struct Array {
    /// Its name, by which it is found again.
    pub(super) name: String,
    /// Its script.
    pub(super) script: String,
    /// What it measures, in the order of its tasks.
    pub(super) probes: Vec<Probe>,
}

/// The arrays of a plan.
///
/// # Errors
/// An engine without usual commands, where the configuration says none.
pub(super) fn arrays(
    config: &Config,
    requests: &Requests,
    probes: &[PlannedProbe],
) -> anyhow::Result<Vec<Array>> {
    let mut groups: BTreeMap<(String, u32), Vec<&PlannedProbe>> = BTreeMap::new();
    for p in probes {
        let place = (p.config.gres.clone(), p.config.gpus());
        groups.entry(place).or_default().push(p);
    }
    let groups = groups.into_iter().enumerate();
    groups
        .map(|(n, ((gres, gpus), probes))| array(config, requests, n, (&gres, gpus), &probes))
        .collect()
}

fn array(
    config: &Config,
    requests: &Requests,
    number: usize,
    (gres, gpus): (&str, u32),
    probes: &[&PlannedProbe],
) -> anyhow::Result<Array> {
    let now = clock::now();
    let name = format!("{NAME}{now:x}-{:x}-{number}", std::process::id());
    let (kind, commands) = commands(config)?;
    let mut script = String::from("#!/bin/bash\n");
    for option in options(config, &name, (gres, gpus), probes.len()) {
        let _ = writeln!(script, "#SBATCH {option}");
    }
    let _ = writeln!(
        script,
        "# Probes of `omnipilot probe run`: an engine, a load, and an outcome file for each."
    );
    let _ = writeln!(script, "case $SLURM_ARRAY_TASK_ID in");
    let mut recorded = Vec::new();
    for (task, probe) in probes.iter().enumerate() {
        let Some(asked) = requests.asked.get(probe.asked) else {
            continue;
        };
        let model = requests.served.get(&asked.key).map_or("", String::as_str);
        let _ = writeln!(script, "{task})");
        for (name, value) in variables(config, kind, &asked.request.load, probe, model) {
            let _ = writeln!(script, "  export {name}={}", in_quotes(&value));
        }
        let _ = writeln!(script, "  ;;");
        recorded.push(Probe {
            key: asked.key.clone(),
            request: requests.texts.get(&asked.key).cloned().unwrap_or_default(),
            gres: gres.to_owned(),
            tp: probe.config.tp,
            precision: probe.config.precision.name().to_owned(),
            gpu_hours: probe.gpu_hours,
            job: format!("{name}_{task}"),
            submitted_at: now,
        });
    }
    let _ = writeln!(
        script,
        "esac\nexport PROBE_PORT=$((20000 + SLURM_JOB_ID % 12000)) PROBE_READY={}",
        kind.ready_path()
    );
    let setup = config.probe.setup.trim();
    if !setup.is_empty() {
        let _ = writeln!(script, "{setup}");
    }
    let _ = writeln!(script, "load() {{\n  {}\n}}", commands.load);
    let start = config.probe.minutes * 60 - config.probe.load_seconds;
    let _ = writeln!(
        script,
        "{} run --ready-timeout {start} -- {} &\nengine=$!",
        in_quotes(&own_path()),
        commands.serve
    );
    script.push_str(COURSE.trim_start_matches('\n'));
    Ok(Array {
        name,
        script,
        probes: recorded,
    })
}

/// The commands of one engine.
struct Commands<'a> {
    serve: &'a str,
    load: &'a str,
}

/// The configured commands, or the engine's usual ones.
fn commands(config: &Config) -> anyhow::Result<(EngineKind, Commands<'_>)> {
    let kind = EngineKind::parse(&config.engine).unwrap_or(EngineKind::Vllm);
    let usual = match kind.name() {
        "vllm" => Some((
            r#"vllm serve "$PROBE_MODEL" --port "$PROBE_PORT""#,
            r#"vllm bench serve --port "$PROBE_PORT" --model "$PROBE_MODEL" --dataset-name random --random-input-len "$PROBE_ISL" --random-output-len "$PROBE_OSL" --max-concurrency "$PROBE_CONCURRENCY" --num-prompts "$PROBE_PROMPTS" --ignore-eos"#,
        )),
        "sglang" => Some((
            r#"python3 -m sglang.launch_server --model-path "$PROBE_MODEL" --port "$PROBE_PORT" --enable-metrics"#,
            r#"python3 -m sglang.bench_serving --backend sglang --port "$PROBE_PORT" --model "$PROBE_MODEL" --dataset-name random --random-range-ratio 1 --random-input-len "$PROBE_ISL" --random-output-len "$PROBE_OSL" --max-concurrency "$PROBE_CONCURRENCY" --num-prompts "$PROBE_PROMPTS""#,
        )),
        _ => None,
    };
    let serve = config.probe.serve.as_deref().or(usual.map(|u| u.0));
    let load = config.probe.load.as_deref().or(usual.map(|u| u.1));
    match (serve, load) {
        (Some(serve), Some(load)) => Ok((kind, Commands { serve, load })),
        _ => Err(exit::with_code(
            exit::USAGE,
            format!(
                "no commands are known that start {} and load it",
                kind.name()
            ),
            "`serve` and `load` of `[probe]` in the configuration name them",
        )),
    }
}

fn options(config: &Config, name: &str, (gres, gpus): (&str, u32), tasks: usize) -> Vec<String> {
    let rules = config.rules(gres, &[]);
    let last = tasks.saturating_sub(1);
    let mut out = vec![
        format!("--job-name={name}"),
        format!("--array=0-{last}%{}", config.probe.at_once),
        "--nodes=1".into(),
        "--ntasks=1".into(),
        format!("--time={}", config.probe.minutes),
        "--output=/dev/null".into(),
    ];
    match rules.form {
        GpuForm::Gres => out.push(format!("--gres=gpu:{gres}:{gpus}")),
        GpuForm::GpusPerNode | GpuForm::GpusPerTask => {
            out.push(format!("--gpus-per-node={gres}:{gpus}"));
        }
        GpuForm::Gpus => out.push(format!("--gpus={gres}:{gpus}")),
        GpuForm::Feature => {
            let own = rules.types.iter().find(|t| t.name == gres);
            let feature = own
                .and_then(|t| t.features.first())
                .map_or(gres, String::as_str);
            out.extend([
                format!("--gres=gpu:{gpus}"),
                format!("--constraint={feature}"),
            ]);
        }
    }
    out.extend(
        rules
            .cpus_per_gpu
            .map(|n| format!("--cpus-per-task={}", n * gpus)),
    );
    out.extend(
        rules
            .mib_per_gpu
            .map(|mib| format!("--mem={}M", mib * u64::from(gpus))),
    );
    out.extend(config.probe.sbatch.iter().cloned());
    out
}

fn variables(
    config: &Config,
    kind: EngineKind,
    load: &model_store::advisor::Load,
    probe: &PlannedProbe,
    model: &str,
) -> Vec<(&'static str, String)> {
    let c: &Configuration = &probe.config;
    let in_flight = load
        .concurrency
        .unwrap_or(config.probe.concurrency)
        .max(1.0);
    // As many requests as should take the time of the load, and enough for a steady state.
    let seconds = f64::from(config.probe.load_seconds);
    let prompts = (probe.tokens_s * seconds / load.osl).clamp(in_flight * 4.0, in_flight * 1000.0);
    let choice = Choice::of(c);
    let whole = |x: f64| format!("{:.0}", x.max(1.0));
    vec![
        ("PROBE_MODEL", model.to_owned()),
        ("PROBE_ISL", whole(load.isl)),
        ("PROBE_OSL", whole(load.osl)),
        ("PROBE_CONCURRENCY", whole(in_flight)),
        ("PROBE_PROMPTS", whole(prompts)),
        ("PROBE_SECONDS", config.probe.load_seconds.to_string()),
        (names::MODEL, model.to_owned()),
        (names::GPU, c.gres.clone()),
        (names::TP, c.tp.to_string()),
        (names::PRECISION, c.precision.name().to_owned()),
        (names::ENGINE_ARGS, choice.line(kind)),
        (names::ISL, whole(load.isl)),
        (names::OSL, whole(load.osl)),
        (names::CONCURRENCY, whole(in_flight)),
        (names::SPOOL, config.spool.display().to_string()),
    ]
}

/// This command, as compute nodes find it too where it is installed alike.
fn own_path() -> String {
    let path = std::env::current_exe().ok();
    path.and_then(|p| p.to_str().map(str::to_owned))
        .unwrap_or_else(|| "omnipilot".into())
}
