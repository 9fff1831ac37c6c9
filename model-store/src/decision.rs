//! The decision on one submission: what its options, its script and the published snapshot together
//! ask for. Plugin and `omnipilot submit` both carry out what [`decide`] says, so that a site with
//! the plugin and one without it treat a job alike.

mod as_asked;
mod place;
mod policy;

use serde::{Deserialize, Serialize};

use crate::advisor::{Advice, ClusterState, Layout, Pins, Precision, SiteGpu, Startable, words};
use crate::config::Config;
use crate::consult::{Action, Consulted, Fault, Here, Refusal, Rewrite, consult_here, exit_code};
use crate::engine_args::{Fixed, ScriptPins, scan_script_with};
use crate::job_request::{Asked, Given, asked, nodes_asked};
use crate::job_rewrite::{Edit, plan};
use crate::options::{AdviceMode, RawOptions};
use crate::outcome::env;
use crate::policy::PolicyMode;
use crate::prices::{PriceSource, for_job};
use crate::snapshot::Snapshot;
use crate::startable::{Ground, Job, Who, rules};
use place::Place;

/// What is known of a submission.
#[derive(Clone, Copy)]
pub struct Submission<'a> {
    /// The `--llm-*` options.
    pub options: &'a RawOptions,
    /// The job's own options.
    pub given: &'a Given,
    /// Text of the batch script, or of the command that will start the engine; `None` where it
    /// cannot be read.
    pub script: Option<&'a str>,
    /// Reads a file that the script names, as it names it; `None` where that cannot be.
    pub read: &'a dyn Fn(&str) -> Option<String>,
    /// Which component of a heterogeneous job this is; 0 for any other job.
    pub component: u32,
    /// Who submits it.
    pub who: &'a Who,
}

/// True where a submission in this mode needs no decision at all: nothing is to be read then but
/// the configuration.
pub fn is_left_alone(config: &Config, mode: AdviceMode) -> bool {
    mode == AdviceMode::Off && config.policies().never(PolicyMode::Enforce)
}

/// What is to be done with the job. Messages have at most four lines and no prefix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Decision {
    /// Nothing, and nothing is said.
    Leave,
    /// Change it.
    Rewrite {
        /// Changes of its options, all of them or none.
        edits: Vec<Edit>,
        /// Text for the comment.
        comment: String,
        /// Variables for the job.
        environment: Vec<(String, String)>,
        /// What to tell.
        message: Vec<String>,
    },
    /// Leave its options; only note what it is, so that its outcome can be learnt from.
    Explore {
        /// Text for the comment; empty for none.
        comment: String,
        /// Variables for the job.
        environment: Vec<(String, String)>,
        /// What to tell.
        message: Vec<String>,
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
    /// Something in the job itself stands in the way of an advice: it goes as written.
    Left {
        /// What.
        reason: String,
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

    fn left(reason: &str) -> Self {
        Self::Left {
            reason: reason.into(),
        }
    }
}

impl From<Fault> for Decision {
    fn from(Fault { reason, hint }: Fault) -> Self {
        Self::Fault { reason, hint }
    }
}

/// What is said of a job that is submitted as written.
pub const EXPLORED: &str =
    "submitted as written; its outcome will be learnt from where `omnipilot run` starts the engine";

/// Decides on a submission that names a model, under the site's policy for it.
pub fn decide(snapshot: &Snapshot, config: &Config, submission: &Submission) -> Decision {
    let cluster = &snapshot.body.cluster;
    let place = Place::of(submission.given, cluster);
    let policy = config.policies().of(place.member(submission.given));
    if let Some(decision) = policy::first(&policy, submission) {
        return decision;
    }
    let (site, script) = Site::of(snapshot, config, submission, &place);
    let decision = if place.names_nodes {
        Decision::left("the job names its nodes, so their GPUs are left as asked")
    } else if let Some(fault) = place.unreachable(cluster, &site.reached, site.nodes) {
        fault
    } else {
        site.decide(submission, script.as_ref())
    };
    policy::last(&policy, decision, |message| {
        site.explore(submission, message)
    })
}

/// The advice behind what [`decide`] says, to be shown again; `None` where there is none behind it.
pub fn advice_on(
    snapshot: &Snapshot,
    config: &Config,
    submission: &Submission,
) -> Option<(Consulted, ClusterState)> {
    let place = Place::of(submission.given, &snapshot.body.cluster);
    let (site, script) = Site::of(snapshot, config, submission, &place);
    let consulted = if submission.options.mode == AdviceMode::Explore {
        site.consult(submission, &Pins::default())
    } else {
        let mut pins = script_pins(submission, script.as_ref(), site.asked.as_ref()).ok()?;
        if let Ground::Unknown(reason) = &site.ground {
            pins = site.pins_as_asked(submission, &pins, reason).ok()?;
        }
        let own_format = script.is_some_and(|s| s.takes_checkpoint_format());
        site.consult_for(submission, &pins, own_format, true)
    };
    Some((consulted.ok()?, site.reached))
}

/// What GPU types cost for a job with these options; `None` for what they cost anywhere.
pub fn prices_of(snapshot: &Snapshot, config: &Config, given: &Given) -> Option<Vec<SiteGpu>> {
    let body = &snapshot.body;
    if body.prices != PriceSource::Slurm && config.price.is_empty() {
        return None;
    }
    let place = Place::of(given, &body.cluster);
    let first = place.partitions.first();
    let partition = first.and_then(|name| body.slurm.as_ref()?.partition(name));
    let of = (given.get("account"), given.get("qos"));
    let partition = partition.map(|(_, partition)| partition);
    Some(for_job(
        &body.gpus,
        body.prices,
        partition,
        &config.price,
        of,
    ))
}

/// What the script fixes. Where it cannot be read, the number of GPUs stays as it was asked for: an engine command in it may
/// count on them.
fn script_pins(
    submission: &Submission,
    script: Option<&ScriptPins>,
    asked: Option<&Asked>,
) -> Result<Pins, Decision> {
    let as_asked = asked.and_then(|asked| asked.count);
    let Some(script) = script else {
        return Ok(Pins {
            tp: as_asked,
            layout: Layout::OneInstance,
            ..Pins::default()
        });
    };
    if script.differ() {
        return Err(Decision::left(
            "the script starts engines of different tensor-parallel degree or precision",
        ));
    }
    let several = |n: &Fixed<u32>| matches!(n, Fixed::Literal(n) if *n > 1);
    for engine in script.outside_run() {
        if several(&engine.pp) {
            return Err(Decision::left(
                "the script's engine has pipeline stages of its own, so its GPUs are left as asked",
            ));
        }
        if several(&engine.dp) {
            return Err(Decision::left(
                "the script's engine has data-parallel replicas of its own, so its GPUs are left as asked",
            ));
        }
    }
    let mut pins = script.pins();
    if script.hides_degree() {
        pins.tp = as_asked;
    }
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
    /// The job's own GPU request.
    asked: Option<Asked>,
    /// Nodes that it keeps.
    nodes: u32,
    /// True where its engines may run one on each of its nodes.
    spread: bool,
    /// What of the cluster it could be started on.
    ground: Ground<'a>,
    /// What GPU types cost where it may run; `None` for what they cost anywhere.
    gpus: Option<Vec<SiteGpu>>,
}

impl<'a> Site<'a> {
    /// The site as the job sees it, and what its script says.
    fn of(
        snapshot: &'a Snapshot,
        config: &'a Config,
        submission: &Submission<'a>,
        place: &'a Place,
    ) -> (Self, Option<ScriptPins>) {
        let read = |text| scan_script_with(text, submission.read);
        let script = submission
            .script
            .map(|text| read(text).of_component(submission.component));
        // Engines that start once a node keep the nodes that were asked for, as does what is not
        // seen, and a job that counts its tasks by node.
        let counted = submission.given.get("ntasks-per-node").is_some();
        let spread = counted || script.as_ref().is_none_or(ScriptPins::is_spread);
        let asked_nodes = nodes_asked(submission.given).filter(|_| spread);
        let nodes = asked_nodes.unwrap_or(1);
        let body = &snapshot.body;
        let job = Job {
            given: submission.given,
            partitions: &place.partitions,
            spread,
            who: submission.who,
        };
        let now = snapshot.knowledge().now;
        let ground = Ground::of(body.slurm.as_ref(), &body.cluster, config, now, job);
        let site = Self {
            config,
            snapshot,
            reached: place.within(&body.cluster, nodes, matches!(ground, Ground::Seen(_))),
            asked: asked(submission.given),
            nodes,
            spread,
            ground,
            gpus: prices_of(snapshot, config, submission.given),
        };
        (site, script)
    }

    fn decide(&self, submission: &Submission, script: Option<&ScriptPins>) -> Decision {
        if submission.options.mode == AdviceMode::Explore {
            return self.explore(submission, vec![EXPLORED.into()]);
        }
        let own_format = script.is_some_and(ScriptPins::takes_checkpoint_format);
        match (
            script_pins(submission, script, self.asked.as_ref()),
            &self.ground,
        ) {
            (Ok(pins), Ground::Unknown(reason)) => {
                self.as_asked(submission, &pins, own_format, reason)
            }
            (Ok(pins), _) => self.advise(submission, &pins, own_format),
            (Err(decision), _) => decision,
        }
    }

    fn consult(&self, submission: &Submission, pins: &Pins) -> Result<Consulted, Fault> {
        self.consult_on(submission, pins, true)
    }

    /// `looks` is false where the GPUs stay as they were asked for: nothing is looked at then.
    fn consult_on(
        &self,
        submission: &Submission,
        pins: &Pins,
        looks: bool,
    ) -> Result<Consulted, Fault> {
        let startable = match &self.ground {
            Ground::Seen(checker) if looks => Some(&**checker as &dyn Startable),
            _ => None,
        };
        let gpus = self.gpus.as_deref();
        consult_here(
            self.snapshot,
            &self.reached,
            self.config,
            submission.options,
            pins,
            Here { startable, gpus },
        )
    }

    fn advise(&self, submission: &Submission, pins: &Pins, own_format: bool) -> Decision {
        match self.consult_for(submission, pins, own_format, true) {
            Ok(consulted)
                if as_asked::is_barred(&consulted.advice)
                    && consulted.advice.recommended().is_none()
                    && !submission.who.others.is_empty() =>
            {
                let why = as_asked::why_barred(&consulted.advice);
                self.as_asked(submission, pins, own_format, &why)
            }
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
        looks: bool,
    ) -> Result<Consulted, Fault> {
        match self.consult_on(submission, pins, looks) {
            Ok(first) if own_format && changes_format(&first) => {
                let precision = first.request.checkpoint_precision.or(Some(Precision::Bf16));
                let pins = Pins {
                    precision,
                    ..pins.clone()
                };
                self.consult_on(submission, &pins, looks)
            }
            other => other,
        }
    }

    fn in_mode(&self, submission: &Submission, consulted: Consulted) -> Decision {
        let checked = submission.options.mode == AdviceMode::Check;
        match consulted.action {
            Action::Rewrite(rewrite) => {
                self.rewritten(submission, &consulted.advice, rewrite, checked)
            }
            Action::Refuse(_) if as_asked::is_barred(&consulted.advice) => Decision::Left {
                reason: as_asked::why_barred(&consulted.advice),
            },
            Action::Refuse(refusal) if checked => check(refusal.message, "refused"),
            Action::Refuse(Refusal { code, message }) => Decision::Refuse { code, message },
        }
    }

    fn rewritten(
        &self,
        submission: &Submission,
        advice: &Advice,
        rewrite: Rewrite,
        checked: bool,
    ) -> Decision {
        let view = self.snapshot.body.slurm.as_ref();
        let rules = rules(
            self.config,
            view,
            &rewrite.allocation.gpu,
            &self.gpu_types(),
        );
        let plan = match plan(submission.given, &rewrite.allocation, &rules, self.spread) {
            Ok(plan) => plan,
            Err(reason) => return Decision::Left { reason },
        };
        if checked {
            return check(rewrite.message, &plan.shown());
        }
        let mut message = rewrite.message;
        if let Some(asked) = self.asked.as_ref().filter(|a| a.text != rewrite.gres) {
            message.truncate(3);
            message.push(words::instead_of(advice, &asked.text));
        }
        let own = rewrite.environment.into_iter();
        Decision::Rewrite {
            edits: plan.edits,
            comment: rewrite.comment,
            environment: own
                .map(|(name, value)| (name.to_owned(), value))
                .chain(plan.environment)
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
    fn explore(&self, submission: &Submission, message: Vec<String>) -> Decision {
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
            environment: stated(submission, self.asked.as_ref(), advice, &self.config.spool),
            message,
        }
    }
}

/// The variables of a job that runs as it was written: what was said of it, and where its outcome goes.
fn stated(
    submission: &Submission,
    asked: Option<&Asked>,
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
        (env::GPU, asked.and_then(|asked| asked.gpu.clone())),
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
