//! What is to be run and where it can be asked, from the command and the job's environment. Pure
//! but for the environment, which comes as a function.

use model_store::engine_args::{
    Advised, ApplyError, EngineCommand, EngineKind, Outside, Stated, apply_to, starts,
};
use model_store::outcome::{Asked, env as names};

/// Looks a variable up; empty values count as absent.
pub(crate) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the user said about the engine besides its command.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    /// Engine behind a command that is not recognised.
    pub(crate) engine: Option<EngineKind>,
    /// Where readiness is asked.
    pub(crate) ready_url: Option<String>,
    /// Where metrics are fetched.
    pub(crate) metrics_url: Option<String>,
}

/// Addresses of one engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Urls {
    /// Answers with a success once the engine serves.
    pub(crate) ready: String,
    /// Metrics in Prometheus text.
    pub(crate) metrics: String,
    /// The engine's version as JSON.
    pub(crate) version: String,
    /// `http://host:port` of the server.
    pub(crate) origin: String,
}

/// What is to be run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    /// The command, the advice in it.
    pub(crate) command: Vec<String>,
    /// Engine name; empty where not known.
    pub(crate) engine: String,
    /// Where to ask; `None` for a command of which nothing is known.
    pub(crate) urls: Option<Urls>,
    /// What the job was to serve and on what.
    pub(crate) asked: Asked,
    /// The folder or name that the engine was given.
    pub(crate) weights: Option<String>,
    /// The advice that was not put into the command, as text, because the engine is not known.
    pub(crate) not_applied: Option<String>,
}

/// Makes the plan.
///
/// # Errors
/// A literal in the command that contradicts the advice.
pub(crate) fn plan(command: &[String], wishes: &Wishes, env: Env) -> Result<Plan, ApplyError> {
    let advised = advised(env);
    let engine = read(command, wishes);
    let applied = match &engine {
        Some(engine) => apply_to(engine, command, &advised)?,
        None => unreachable_engine(command, &advised).map_or_else(|| Ok(command.to_vec()), Err)?,
    };
    let given = read(&applied, wishes);
    Ok(Plan {
        engine: given
            .as_ref()
            .map(|e| e.kind.name().to_owned())
            .unwrap_or_default(),
        urls: urls(given.as_ref(), wishes),
        asked: asked(given.as_ref(), engine.as_ref(), env),
        weights: given.as_ref().and_then(|e| e.model.clone()),
        not_applied: (given.is_none() && !advised.is_empty()).then(|| in_words(&advised)),
        command: applied,
    })
}

fn read(command: &[String], wishes: &Wishes) -> Option<EngineCommand> {
    match wishes.engine {
        Some(kind) => Some(EngineCommand::parse_as(kind, command)),
        None => EngineCommand::parse(command),
    }
}

fn advised(env: Env) -> Advised {
    let [tp, precision, args] = [names::TP, names::PRECISION, names::ENGINE_ARGS].map(env);
    Advised::from_texts(tp.as_deref(), precision.as_deref(), args.as_deref())
}

/// An engine inside `bash -c '...'` takes no arguments from here: what its text fixes, an engine's
/// default degree included, must be the advice already.
fn unreachable_engine(command: &[String], advised: &Advised) -> Option<ApplyError> {
    let tp = advised.tp?;
    let degree = |word: &String| {
        let found = starts(word, &Outside::NOTHING).list;
        found.iter().find_map(|start| match &start.tp {
            Stated::Known { value, .. } => Some(*value),
            Stated::Unsaid => Some(1),
            _ => None,
        })
    };
    let fixed = command.iter().find_map(degree)?;
    (fixed != tp).then(|| ApplyError::Contradiction {
        flag: "--tensor-parallel-size".into(),
        asked: fixed.to_string(),
        advised: tp.to_string(),
    })
}

/// A degree in a file of settings that overrules the command line, where it is not the advised one.
/// `read` gives the text of a file.
pub(crate) fn overruled(
    command: &[String],
    wishes: &Wishes,
    env: Env,
    read_file: &dyn Fn(&str) -> Option<String>,
) -> Option<ApplyError> {
    let tp = advised(env).tp?;
    let engine = read(command, wishes)?;
    let file = engine.file_that_wins(command)?;
    let fixed = EngineCommand::of_settings(engine.kind, &read_file(&file)?).tp?;
    (fixed != tp).then(|| ApplyError::Contradiction {
        flag: format!("tensor_parallel_size in {file}:"),
        asked: fixed.to_string(),
        advised: tp.to_string(),
    })
}

fn in_words(advised: &Advised) -> String {
    let tp = advised.tp.map(|tp| format!("TP {tp}"));
    let precision = advised.precision.map(|p| p.name().to_owned());
    let parts: Vec<String> = [tp, precision].into_iter().flatten().collect();
    if parts.is_empty() {
        advised.args.join(" ")
    } else {
        parts.join(", ")
    }
}

fn urls(engine: Option<&EngineCommand>, wishes: &Wishes) -> Option<Urls> {
    let origin = match (&wishes.ready_url, engine) {
        (Some(url), _) => origin(url),
        (None, Some(engine)) => address(engine),
        (None, None) => return None,
    };
    let (ready, metrics) = engine.map_or(("/health", "/metrics"), |e| {
        (e.kind.ready_path(), e.kind.metrics_path())
    });
    Some(Urls {
        ready: wishes
            .ready_url
            .clone()
            .unwrap_or_else(|| format!("{origin}{ready}")),
        metrics: wishes
            .metrics_url
            .clone()
            .unwrap_or_else(|| format!("{origin}{metrics}")),
        version: format!("{origin}/version"),
        origin,
    })
}

/// `http://host:port` of a URL.
fn origin(url: &str) -> String {
    let after = url.find("://").map_or(0, |i| i + 3);
    let end = url[after..].find('/').map_or(url.len(), |i| after + i);
    url[..end].to_owned()
}

/// An engine that listens on every address is asked on loopback.
fn address(engine: &EngineCommand) -> String {
    let host = match engine.host.as_deref() {
        None | Some("" | "0.0.0.0" | "::" | "*" | "localhost") => "127.0.0.1".to_owned(),
        Some(v6) if v6.contains(':') && !v6.starts_with('[') => format!("[{v6}]"),
        Some(host) => host.to_owned(),
    };
    format!(
        "http://{host}:{}",
        engine.port.unwrap_or(engine.kind.default_port())
    )
}

/// `given` is the command as it runs, `written` as the user wrote it.
fn asked(given: Option<&EngineCommand>, written: Option<&EngineCommand>, env: Env) -> Asked {
    let number = |name| {
        env(name)
            .and_then(|t| t.trim().parse::<f64>().ok())
            .filter(|v| v.is_finite() && *v > 0.0)
    };
    let count = |name| env(name).and_then(|t| t.trim().parse::<u32>().ok());
    // Without a degree in its arguments the engine takes one GPU.
    let tp = given
        .map(|e| e.tp.unwrap_or(1))
        .or_else(|| count(names::TP));
    Asked {
        model: env(names::MODEL)
            .or_else(|| written.and_then(|e| e.model.clone()))
            .unwrap_or_default(),
        gpu: env(names::GPU)
            .or_else(|| gpu_type(env))
            .unwrap_or_default(),
        num_gpus: gpus(env).or_else(|| given.and_then(size)),
        tp,
        pp: given.and_then(|e| e.pp).filter(|n| *n > 1),
        dp: given.and_then(|e| e.dp).filter(|n| *n > 1),
        precision: given
            .filter(|e| e.quantization.is_some())
            .and_then(EngineCommand::precision)
            .map(|p| p.name().to_owned())
            .or_else(|| env(names::PRECISION))
            .or_else(|| {
                given
                    .and_then(EngineCommand::precision)
                    .map(|p| p.name().to_owned())
            }),
        isl: number(names::ISL),
        osl: number(names::OSL),
        concurrency: number(names::CONCURRENCY),
        card: None,
        // A job that is left as it is gets the id, and nothing that could change it.
        as_written: env(names::ADVICE).is_some() && env(names::TP).is_none(),
    }
}

/// GPUs that Slurm gave the job on this node.
fn gpus(env: Env) -> Option<u32> {
    let listed =
        env("SLURM_JOB_GPUS").map(|ids| ids.split(',').filter(|id| !id.trim().is_empty()).count());
    let listed = listed
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| *n > 0);
    listed.or_else(|| env("SLURM_GPUS_ON_NODE").and_then(|n| n.trim().parse().ok()))
}

/// GPUs that the arguments make.
fn size(engine: &EngineCommand) -> Option<u32> {
    let of = |n: Option<u32>| n.unwrap_or(1).max(1);
    of(engine.tp)
        .checked_mul(of(engine.pp))?
        .checked_mul(of(engine.dp))
}

/// The type in `h100:4`, as Slurm repeats what was asked.
fn gpu_type(env: Env) -> Option<String> {
    let asked = env("SLURM_GPUS_PER_NODE")
        .or_else(|| env("SLURM_GPUS"))
        .or_else(|| env("SLURM_JOB_GRES"))?;
    let text = asked.strip_prefix("gres/").unwrap_or(&asked);
    let text = text
        .strip_prefix("gres:")
        .unwrap_or(text)
        .strip_prefix("gpu:")
        .unwrap_or(text);
    let name = text.split([':', ',', '(']).next().unwrap_or_default();
    (!name.is_empty() && name.parse::<u32>().is_err()).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(line: &str, env: &[(&str, &str)], wishes: &Wishes) -> Result<Plan, ApplyError> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let look = |name: &str| {
            env.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        };
        plan(&words, wishes, &look)
    }

    const ADVICE: &[(&str, &str)] = &[
        ("SLURM_LLM_TP", "4"),
        ("SLURM_LLM_PRECISION", "fp8"),
        (
            "SLURM_LLM_ENGINE_ARGS",
            "--tensor-parallel-size 4 --quantization fp8",
        ),
        ("SLURM_LLM_GPU", "h100"),
        ("SLURM_LLM_MODEL", "org/m"),
        ("SLURM_LLM_ISL", "2000"),
        ("SLURM_JOB_GPUS", "0,1,2,3"),
    ];

    #[test]
    fn a_file_that_overrules_the_command_must_agree_with_the_advice() {
        let of = |line: &str, text: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let env = |name: &str| (name == "SLURM_LLM_TP").then(|| "1".to_owned());
            let file = |name: &str| (name == "x.yaml").then(|| text.to_owned());
            overruled(&words, &Wishes::default(), &env, &file).map(|e| e.to_string())
        };
        let four = "tensor_parallel_size: 4\n";
        let told = of("trtllm-serve m --extra_llm_api_options x.yaml", four).unwrap();
        assert!(told.contains("tensor_parallel_size in x.yaml: 4"), "{told}");
        for (line, text) in [
            (
                "trtllm-serve m --config=x.yaml",
                "tensor_parallel_size: 1\n",
            ),
            ("trtllm-serve m --config=x.yaml", "dtype: auto\n"),
            ("trtllm-serve m --config other.yaml", four),
            ("vllm serve m --config x.yaml", four),
        ] {
            assert_eq!(of(line, text), None, "{line} {text}");
        }
    }

    #[test]
    fn the_advice_goes_into_the_command_and_the_record() {
        let plan = make("vllm serve m --port 8123", ADVICE, &Wishes::default()).unwrap();
        assert_eq!(
            plan.command.join(" "),
            "vllm serve m --port 8123 --tensor-parallel-size 4 --quantization fp8"
        );
        assert_eq!(plan.urls.unwrap().ready, "http://127.0.0.1:8123/health");
        let asked = plan.asked;
        assert_eq!(
            (asked.model.as_str(), asked.gpu.as_str(), asked.num_gpus),
            ("org/m", "h100", Some(4))
        );
        assert_eq!(
            (asked.tp, asked.precision.as_deref(), asked.isl),
            (Some(4), Some("fp8"), Some(2000.0))
        );
    }

    #[test]
    fn without_advice_the_command_tells() {
        let env = &[
            ("SLURM_GPUS_PER_NODE", "A100:2"),
            ("SLURM_GPUS_ON_NODE", "2"),
        ];
        let plan = make(
            "vllm serve org/m -tp 2 --dtype bfloat16 --host 0.0.0.0",
            env,
            &Wishes::default(),
        )
        .unwrap();
        assert_eq!(plan.command.len(), 9);
        let asked = plan.asked;
        assert_eq!(
            (asked.model.as_str(), asked.gpu.as_str(), asked.num_gpus),
            ("org/m", "a100", Some(2))
        );
        assert_eq!(
            (asked.tp, asked.precision.as_deref()),
            (Some(2), Some("bf16"))
        );
        assert_eq!(plan.urls.unwrap().metrics, "http://127.0.0.1:8000/metrics");
    }

    #[test]
    fn gpu_types_are_found_in_every_form() {
        for (text, wanted) in [
            ("gpu:h100:4", Some("h100")),
            ("gres/gpu:h200:8", Some("h200")),
            ("H100:2", Some("h100")),
            ("4", None),
            ("gpu:4", None),
        ] {
            assert_eq!(
                gpu_type(&|n| (n == "SLURM_GPUS").then(|| text.into())).as_deref(),
                wanted,
                "{text}"
            );
        }
    }

    #[test]
    fn a_command_that_is_not_known_runs_as_it_is() {
        let plan = make("./my-server --fast", ADVICE, &Wishes::default()).unwrap();
        assert_eq!((plan.command.len(), plan.urls.as_ref()), (2, None));
        assert_eq!(plan.not_applied.as_deref(), Some("TP 4, fp8"));
        let wishes = Wishes {
            ready_url: Some("http://[::1]:9/up".into()),
            ..Wishes::default()
        };
        let urls = make("./my-server", &[], &wishes).unwrap().urls.unwrap();
        assert_eq!(
            (urls.ready.as_str(), urls.metrics.as_str()),
            ("http://[::1]:9/up", "http://[::1]:9/metrics")
        );
        let named = Wishes {
            engine: Some(EngineKind::Vllm),
            ..Wishes::default()
        };
        let plan = make("./my-server serve m", ADVICE, &named).unwrap();
        assert_eq!((plan.command.len(), plan.engine.as_str()), (7, "vllm"));
    }

    #[test]
    fn an_engine_out_of_reach_must_agree_already() {
        let line = |text: &str| vec!["bash".to_owned(), "-c".into(), text.into()];
        let env = |n: &str| (n == "SLURM_LLM_TP").then(|| "4".to_owned());
        let of = |text: &str| plan(&line(text), &Wishes::default(), &env);
        assert!(of("vllm serve m -tp 8").is_err());
        assert!(of("vllm serve m").is_err(), "it would take one GPU of four");
        assert!(of("vllm serve m -tp 4").is_ok());
        assert!(of("vllm serve m $SLURM_LLM_ENGINE_ARGS").is_ok());
    }
}
