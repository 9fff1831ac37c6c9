//! The decision on one submission: what its options, its script and the published snapshot together
//! ask for. Plugin and `omnipilot submit` both carry out what [`decide`] says, so that a site with
//! the plugin and one without it treat a job alike.

use serde::{Deserialize, Serialize};

use crate::advisor::{Advice, ClusterState, GpuPool, Layout, Pins, Precision, words};
use crate::config::Config;
use crate::consult::{Action, Consulted, Fault, Refusal, Rewrite, consult_snapshot, exit_code};
use crate::engine_args::{Fixed, ScriptPins, scan_script};
use crate::job_request::Asked;
use crate::options::{AdviceMode, RawOptions, shorten};
use crate::outcome::env;
use crate::snapshot::Snapshot;

/// What is known of a submission.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The `--llm-*` options.
    pub options: &'a RawOptions,
    /// The job's own GPU request.
    pub asked: Option<&'a Asked>,
    /// Where the job may run.
    pub place: &'a Place,
    /// Text of the batch script, or of the command that will start the engine; `None` where it
    /// cannot be read.
    pub script: Option<&'a str>,
}

/// What is to be done with the job. Messages have at most four lines and no prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Decision {
    /// Change it.
    Rewrite {
        /// The GPU entry of `--gres`, such as `gpu:h100:4`.
        gpus: String,
        /// Text for the comment.
        comment: String,
        /// GPU types of the cluster: features of these names in `--constraint` choose a GPU.
        gpu_types: Vec<String>,
        /// Variables for the job.
        environment: Vec<(String, String)>,
        /// What to tell.
        message: Vec<String>,
    },
    /// Leave its GPUs; only note what it is, so that its outcome can be learnt from.
    Explore {
        /// Text for the comment; empty for none.
        comment: String,
        /// Variables for the job.
        environment: Vec<(String, String)>,
    },
    /// Only tell.
    Check {
        /// What to tell.
        message: Vec<String>,
    },
    /// Refuse it.
    Refuse {
        /// Exit code.
        code: u8,
        /// What to tell.
        message: Vec<String>,
    },
    /// There is no advice because something is broken.
    Fault {
        /// What.
        reason: String,
        /// What to do about it; empty where nothing is known.
        hint: String,
    },
}

impl Decision {
    /// A fault without a hint.
    pub fn fault(reason: impl Into<String>) -> Self {
        Self::Fault {
            reason: reason.into(),
            hint: String::new(),
        }
    }
}

impl From<Fault> for Decision {
    fn from(Fault { reason, hint }: Fault) -> Self {
        Self::Fault { reason, hint }
    }
}

/// Where a job may run, from its own options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Partitions that it names; none = the default one.
    pub partitions: Vec<String>,
    /// Nodes that it needs.
    pub nodes: u32,
    /// True where it names its nodes itself.
    pub names_nodes: bool,
    /// True where it keeps off some.
    pub excludes_nodes: bool,
}

impl Place {
    /// From a job's options by long name.
    pub fn of(option: &dyn Fn(&str) -> Option<String>) -> Self {
        let list = option("partition").unwrap_or_default();
        let least = |text: String| {
            text.split(['-', ',', ':'])
                .next()
                .and_then(|n| n.trim().parse().ok())
        };
        Self {
            partitions: list
                .split(',')
                .map(str::trim)
                .filter(|p| !p.is_empty())
                .map(str::to_owned)
                .collect(),
            nodes: option("nodes").and_then(least).unwrap_or(1).max(1),
            names_nodes: option("nodelist").or_else(|| option("nodefile")).is_some(),
            excludes_nodes: option("exclude").is_some(),
        }
    }

    /// The GPU types that the job can reach, by its partitions or else the cluster's default one. A type whose partitions were not observed is taken to
    /// be in reach; with nodes excluded, one more must be there than is needed.
    fn within(&self, cluster: &ClusterState) -> ClusterState {
        let needed = self.nodes + u32::from(self.excludes_nodes);
        let default = cluster.default_partition.as_slice();
        let wanted = if self.partitions.is_empty() {
            default
        } else {
            &self.partitions
        };
        let named = |p: &GpuPool| {
            p.partitions.is_empty()
                || wanted.is_empty()
                || wanted.iter().any(|n| p.partitions.contains(n))
        };
        let mut reached = cluster.clone();
        reached
            .pools
            .retain(|p| named(p) && (p.nodes >= needed || needed == 1));
        reached
    }

    /// Why nothing can be advised here, where that is so.
    fn unreachable(&self, cluster: &ClusterState, reached: &ClusterState) -> Option<Decision> {
        if self.names_nodes {
            return Some(Decision::fault(
                "the job names its nodes, so their GPUs are left as asked",
            ));
        }
        if cluster.pools.is_empty() || !reached.pools.is_empty() {
            return None;
        }
        let place = if self.partitions.is_empty() {
            String::new()
        } else {
            format!(" in partition {}", self.partitions.join(","))
        };
        Some(Decision::Fault {
            reason: shorten(&format!(
                "no GPU type on {} node{}{place} is known",
                self.nodes,
                if self.nodes == 1 { "" } else { "s" }
            )),
            hint: "`omnipilot observe` asks Slurm again which GPUs are where".into(),
        })
    }
}

/// What is said of a job that is submitted as written.
pub const EXPLORED: &str =
    "submitted as written; its outcome will be learnt from where `omnipilot run` starts the engine";

/// Decides. Mode `off` and a submission without a model are the caller's: nothing is to be done.
pub fn decide(snapshot: &Snapshot, config: &Config, submission: &Submission) -> Decision {
    let reached = submission.place.within(&snapshot.body.cluster);
    if let Some(decision) = submission
        .place
        .unreachable(&snapshot.body.cluster, &reached)
    {
        return decision;
    }
    let site = Site {
        config,
        snapshot,
        reached,
    };
    if submission.options.mode == AdviceMode::Explore {
        return site.explore(submission);
    }
    let script = submission.script.map(scan_script);
    match script_pins(submission, script.as_ref()) {
        Ok(pins) => site.advise(
            submission,
            &pins,
            script.is_some_and(|s| s.takes_checkpoint_format()),
        ),
        Err(decision) => decision,
    }
}

/// The advice behind what [`decide`] says, to be shown again; `None` where there is none behind it.
pub fn advice_on(
    snapshot: &Snapshot,
    config: &Config,
    submission: &Submission,
) -> Option<(Consulted, ClusterState)> {
    let reached = submission.place.within(&snapshot.body.cluster);
    let site = Site {
        config,
        snapshot,
        reached,
    };
    let consulted = if submission.options.mode == AdviceMode::Explore {
        site.consult(submission, &Pins::default())
    } else {
        let script = submission.script.map(scan_script);
        let pins = script_pins(submission, script.as_ref()).ok()?;
        let own_format = script.is_some_and(|s| s.takes_checkpoint_format());
        site.consult_for(submission, &pins, own_format)
    };
    Some((consulted.ok()?, site.reached))
}

/// What the script fixes. Where it cannot be read, the number of GPUs stays as it was asked for: an engine command in it may
/// count on them.
fn script_pins(submission: &Submission, script: Option<&ScriptPins>) -> Result<Pins, Decision> {
    let Some(script) = script else {
        let tp = submission.asked.and_then(|asked| asked.count);
        return Ok(Pins {
            tp,
            layout: Layout::OneInstance,
            ..Pins::default()
        });
    };
    if script.differ() {
        return Err(Decision::fault(
            "the script starts engines of different tensor-parallel degree or precision",
        ));
    }
    let staged = |n: &Fixed<u32>| matches!(n, Fixed::Literal(n) if *n > 1);
    if script.outside_run().any(|engine| staged(&engine.pp)) {
        return Err(Decision::fault(
            "the script's engine has pipeline stages of its own, so its GPUs are left as asked",
        ));
    }
    let pins = script.pins();
    contradiction(submission, &pins).map_or(Ok(pins), Err)
}

/// An option that contradicts the script's own text: neither can be kept without breaking the other.
fn contradiction(submission: &Submission, script: &Pins) -> Option<Decision> {
    let typed = &submission.options.pins;
    let tp = typed
        .tp
        .zip(script.tp)
        .filter(|(typed, script)| typed != script);
    let precision = typed
        .precision
        .zip(script.precision)
        .filter(|(typed, script)| typed != script);
    let reason = match (tp, precision) {
        (Some((typed, script)), _) => {
            format!("--llm-tp={typed}, but the script's engine command has degree {script}")
        }
        (_, Some((typed, script))) => {
            format!(
                "--llm-precision={}, but the script's engine command has {}",
                typed.name(),
                script.name()
            )
        }
        (None, None) => return None,
    };
    let hint = "hint: start the engine by `omnipilot run -- COMMAND`, which puts both in, or leave the option away";
    Some(Decision::Refuse {
        code: exit_code::USAGE,
        message: vec![reason, hint.into()],
    })
}

/// What the site published.
struct Site<'a> {
    config: &'a Config,
    snapshot: &'a Snapshot,
    /// What of the cluster the job can reach.
    reached: ClusterState,
}

impl Site<'_> {
    fn consult(&self, submission: &Submission, pins: &Pins) -> Result<Consulted, Fault> {
        consult_snapshot(
            self.snapshot,
            &self.reached,
            self.config,
            submission.options,
            pins,
        )
    }

    fn advise(&self, submission: &Submission, pins: &Pins, own_format: bool) -> Decision {
        match self.consult_for(submission, pins, own_format) {
            Ok(consulted) => self.in_mode(submission, consulted),
            Err(fault) => fault.into(),
        }
    }

    /// `own_format` is true where the script starts an engine that takes its checkpoint as it is.
    fn consult_for(
        &self,
        submission: &Submission,
        pins: &Pins,
        own_format: bool,
    ) -> Result<Consulted, Fault> {
        match self.consult(submission, pins) {
            Ok(first) if own_format && changes_format(&first) => {
                let precision = first.request.checkpoint_precision.or(Some(Precision::Bf16));
                self.consult(
                    submission,
                    &Pins {
                        precision,
                        ..pins.clone()
                    },
                )
            }
            other => other,
        }
    }

    fn in_mode(&self, submission: &Submission, consulted: Consulted) -> Decision {
        let checked = submission.options.mode == AdviceMode::Check;
        match consulted.action {
            Action::Rewrite(rewrite) if checked => {
                check(rewrite.message, &format!("--gres={}", rewrite.gres))
            }
            Action::Refuse(refusal) if checked => check(refusal.message, "refused"),
            Action::Rewrite(rewrite) => self.rewritten(submission, &consulted.advice, rewrite),
            Action::Refuse(Refusal { code, message }) => Decision::Refuse { code, message },
        }
    }

    fn rewritten(&self, submission: &Submission, advice: &Advice, rewrite: Rewrite) -> Decision {
        let mut message = rewrite.message;
        if let Some(asked) = submission.asked.filter(|asked| asked.text != rewrite.gres) {
            message.truncate(3);
            message.push(words::instead_of(advice, &asked.text));
        }
        let environment = rewrite.environment.into_iter();
        Decision::Rewrite {
            gpus: rewrite.gres,
            comment: rewrite.comment,
            gpu_types: self.gpu_types(),
            environment: environment
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            message,
        }
    }

    /// GPU types of the cluster, as it was last observed and as the configuration names them.
    fn gpu_types(&self) -> Vec<String> {
        let observed = self
            .snapshot
            .body
            .cluster
            .pools
            .iter()
            .map(|pool| &pool.gres);
        observed.chain(self.config.gpu.keys()).cloned().collect()
    }

    /// What the job is said to be, without a choice: `omnipilot run` measures it as it runs.
    fn explore(&self, submission: &Submission) -> Decision {
        let advice = match self.consult(submission, &Pins::default()) {
            Ok(consulted) => consulted.advice.id,
            Err(fault) => return fault.into(),
        };
        let comment = if advice.is_empty() {
            String::new()
        } else {
            format!("omnipilot:{advice}")
        };
        Decision::Explore {
            comment,
            environment: stated(submission, advice, &self.config.spool),
        }
    }
}

/// The variables of a job that runs as it was written: what was said of it, and where its outcome goes.
fn stated(
    submission: &Submission,
    advice: String,
    spool: &std::path::Path,
) -> Vec<(String, String)> {
    let options = submission.options;
    let number = |value: Option<f64>| value.map(|value| value.to_string());
    let pairs = [
        (env::ADVICE, Some(advice)),
        (env::MODEL, options.model.clone()),
        (env::ISL, number(options.isl)),
        (env::OSL, number(options.osl)),
        (env::CONCURRENCY, number(options.concurrency)),
        (
            env::GPU,
            submission.asked.and_then(|asked| asked.gpu.clone()),
        ),
        (env::SPOOL, spool.to_str().map(str::to_owned)),
    ];
    let known = |value: Option<String>| value.filter(|text| !text.is_empty());
    pairs
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), known(value)?)))
        .collect()
}

/// True where the advice needs an engine argument or a checkpoint that a script which starts the engine by itself does not
/// have.
fn changes_format(consulted: &Consulted) -> bool {
    consulted.request.pins.precision.is_none()
        && consulted
            .advice
            .recommended()
            .is_some_and(|best| best.config.quantise_at_load || best.config.checkpoint.is_some())
}

fn check(mut message: Vec<String>, would_be: &str) -> Decision {
    message.truncate(3);
    message.push(format!(
        "submitted as written; without `--llm-advice=check` it would be {would_be}"
    ));
    Decision::Check { message }
}
