//! The decision on one submission: what its options, its script and the published snapshot together
//! ask for. Plugin and `omnipilot submit` both carry out what [`decide`] says, so that a site with
//! the plugin and one without it treat a job alike.

mod as_asked;
mod bare;
mod judge;
mod known;
mod patience;
mod place;
mod policy;
pub mod rules;

use serde::{Deserialize, Serialize};

use super::time_left::warning;
use crate::advisor::{
    Advice, ClusterState, GpuSpec, Pins, Precision, SiteGpu, Startable, Verdict, words,
};
use crate::config::Config;
use crate::constraint::{Adapted, adapt};
use crate::consult::{Consulted, Fault, Here, Refusal, Rewrite, consult_here, exit_code};
use crate::engine_args::Starts;
use crate::job_request::{Asked, Given, JobOption, asked, nodes_asked};
use crate::job_rewrite::{Edit, plan};
use crate::options::{AdviceMode, RawOptions, shorten};
use crate::outcome::env;
use crate::policy::PolicyMode;
use crate::prices::{PriceSource, for_job};
use crate::snapshot::Snapshot;
use crate::startable::{Ground, Job, Who, rules as site_rules};
pub use bare::{Bare, bare};
use judge::{Around, Judged, judge};
pub use patience::patience;
use place::Place;
use rules::Cell;

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
    /// The script's arguments; `None` where they are not known.
    pub arguments: Option<&'a [String]>,
    /// Reads a file that the script names, as it names it; `None` where that cannot be.
    pub read: &'a dyn Fn(&str) -> Option<String>,
    /// Looks a variable of the submitting user up, which the job may begin with.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
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

/// True where a policy enforces the advice on a submission: Slurm is not asked then whether it
/// would rather have the job as written.
pub fn is_enforced(snapshot: &Snapshot, config: &Config, given: &Given) -> bool {
    let place = Place::of(given, &snapshot.body.cluster);
    config.policies().of(place.member(given)).mode == PolicyMode::Enforce
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

/// A job that is refused can be submitted all the same: the hint says how.
fn with_way_out(mut message: Vec<String>) -> Vec<String> {
    if let Some(hint) = message.last_mut().filter(|line| line.starts_with("hint: ")) {
        hint.push_str("; `--llm-advice=off` submits it as you wrote it");
    }
    message
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
    let (site, starts) = Site::of(snapshot, config, submission, &place);
    let decision = if place.names_nodes {
        Decision::left("the job names its nodes, so their GPUs are left as asked")
    } else if let Some(fault) = place.unreachable(cluster, &site.reached, site.nodes) {
        fault
    } else {
        site.decide(submission, starts.as_ref())
    };
    policy::last(&policy, decision, |message| {
        site.explore(submission, message)
    })
}

/// What may be changed of a job, before anybody is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The row of the table that holds.
    pub rule: rules::Rule,
    /// GPUs on a node, where they do not follow the advice.
    pub number: Option<u32>,
}

/// What may be changed of a job.
///
/// # Errors
/// Why it goes as it is written, in one line.
pub fn may_change(submission: &Submission) -> Result<Change, String> {
    let starts = known::of(submission);
    let asked = asked(submission.given);
    let around = Around {
        given: submission.given,
        asked: asked.as_ref(),
        options: submission.options,
        largest: None,
    };
    let judged = judge(starts.as_ref(), &around)?;
    Ok(Change {
        rule: judged.rule,
        number: judged.number.or(judged.pins.tp),
    })
}

/// The advice behind what [`decide`] says, to be shown again; `None` where there is none behind it.
pub fn advice_on(
    snapshot: &Snapshot,
    config: &Config,
    submission: &Submission,
) -> Option<(Consulted, ClusterState)> {
    let place = Place::of(submission.given, &snapshot.body.cluster);
    let (site, starts) = Site::of(snapshot, config, submission, &place);
    if submission.options.mode == AdviceMode::Explore {
        let consulted = site.consult(submission, &Pins::default(), None);
        return Some((consulted.ok()?, site.reached));
    }
    let mut judged = site.judged(submission, starts.as_ref()).ok()?;
    if let Ground::Unknown(reason) = &site.ground {
        judged.pins = site.pins_as_asked(submission, &judged.pins, reason).ok()?;
    }
    let reached = site.within(submission, &judged);
    let looks = matches!(site.ground, Ground::Seen(_));
    let consulted = site.consult_for(submission, &judged, &reached, looks);
    Some((consulted.ok()?, reached))
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
    let of = (given.get(JobOption::Account), given.get(JobOption::Qos));
    let partition = partition.map(|(_, partition)| partition);
    Some(for_job(
        &body.gpus,
        body.prices,
        partition,
        &config.price,
        of,
    ))
}

/// Two names of the catalogue that differ: the tag's, and that of every engine in the script.
fn other_model(
    snapshot: &Snapshot,
    submission: &Submission,
    starts: &Starts,
) -> Option<Vec<String>> {
    let tag = submission.options.model.as_deref()?;
    let catalogue = &snapshot.body.catalogue;
    let site = |name: &str| {
        snapshot
            .body
            .models
            .iter()
            .any(|m| m.name.eq_ignore_ascii_case(name))
    };
    let tagged = catalogue.find(tag).filter(|_| !site(tag))?;
    // One whose model is not known may serve the tag's.
    let names: Option<Vec<String>> = starts.list.iter().map(|s| s.model.known()).collect();
    let names = names?;
    let other = |name: &String| {
        catalogue
            .find(name)
            .is_some_and(|card| card.name != tagged.name)
    };
    let first = names.first()?;
    if !names.iter().all(other) {
        return None;
    }
    Some(vec![
        format!(
            "--llm-model={}, but the script's engine serves {}",
            shorten(tag),
            shorten(first)
        ),
        "hint: name the model that the script serves, or leave the tag away".into(),
    ])
}

/// An option that contradicts the script's own text: neither can be kept without breaking the other.
fn contradiction(submission: &Submission, script: &Pins) -> Option<Vec<String>> {
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
    let hint = "hint: leave it out of the command and start that by `omnipilot run -- COMMAND`, or leave the option away";
    Some(vec![reason, hint.into()])
}

/// A job whose options and script contradict each other: refused, or told so where only that was
/// asked for.
fn contradicted(submission: &Submission, message: Vec<String>) -> Decision {
    if submission.options.mode == AdviceMode::Check {
        return check(message, "refused");
    }
    Decision::Refuse {
        code: exit_code::USAGE,
        message,
    }
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
    /// The site as the job sees it, and what its script starts.
    fn of(
        snapshot: &'a Snapshot,
        config: &'a Config,
        submission: &Submission<'a>,
        place: &'a Place,
    ) -> (Self, Option<Starts>) {
        let starts = known::of(submission);
        // Engines that start once a node keep the nodes that were asked for, as does what is not
        // seen, and a job that counts its tasks by node.
        let counted = submission.given.get(JobOption::NtasksPerNode).is_some();
        let spread = counted || starts.as_ref().is_none_or(Starts::may_use_all_nodes);
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
        (site, starts)
    }

    fn decide(&self, submission: &Submission, starts: Option<&Starts>) -> Decision {
        if submission.options.mode == AdviceMode::Explore {
            return self.explore(submission, vec![EXPLORED.into()]);
        }
        if let Some(message) = starts.and_then(|s| other_model(self.snapshot, submission, s)) {
            return contradicted(submission, message);
        }
        let judged = match self.judged(submission, starts) {
            Ok(judged) => judged,
            Err(reason) => return Decision::left(&reason),
        };
        if let Some(message) = contradiction(submission, &judged.pins) {
            return contradicted(submission, message);
        }
        let reached = self.within(submission, &judged);
        if let Some(left) = self.held_by_constraint(submission) {
            return left;
        }
        if let Ground::Unknown(reason) = &self.ground {
            return self.as_asked(submission, judged, reason);
        }
        match self.consult_for(submission, &judged, &reached, true) {
            Ok(consulted) if self.is_held_by_others(submission, &consulted.advice) => {
                let why = as_asked::why_barred(&consulted.advice);
                self.as_asked(submission, judged, &why)
            }
            Ok(consulted) => self.in_mode(submission, consulted, &judged),
            Err(fault) => fault.into(),
        }
    }

    fn judged(&self, submission: &Submission, starts: Option<&Starts>) -> Result<Judged, String> {
        let around = Around {
            given: submission.given,
            asked: self.asked.as_ref(),
            options: submission.options,
            largest: self.reached.pools.iter().map(|pool| pool.per_node).max(),
        };
        judge(starts, &around)
    }

    /// The GPU types from which one may be chosen.
    fn within(&self, submission: &Submission, judged: &Judged) -> ClusterState {
        let mut reached = self.reached.clone();
        if let Some(number) = judged.number {
            reached.pools.retain(|pool| pool.per_node >= number);
        }
        let asked = self.asked.as_ref().and_then(|asked| asked.gpu.clone());
        let stated = submission.options.pins.gpu.is_some();
        if self.asked.is_some() && asked.is_none() && !stated {
            self.keep_constrained(submission, judged.rule.kind, &mut reached);
        }
        let same = judged.rule.kind == Cell::Asked || self.features_are_asked(submission);
        if let (true, Some(asked), false) = (same, &asked, stated) {
            reached
                .pools
                .retain(|pool| pool.gres.eq_ignore_ascii_case(asked));
        }
        if let (Cell::Larger, Some(asked), false) = (judged.rule.kind, asked, stated) {
            reached
                .pools
                .retain(|pool| self.no_smaller(&pool.gres, &asked));
        }
        reached
    }

    /// Where a type stays and the request names none, it is one that the constraint allows.
    fn keep_constrained(&self, submission: &Submission, kind: Cell, reached: &mut ClusterState) {
        let Some(constraint) = submission.given.get(JobOption::Constraint) else {
            return;
        };
        let types = self.config.rules("", &self.gpu_types()).types;
        let allows = |gres: &str| adapt(constraint, gres, &types) == Adapted::Same;
        let all = reached.pools.iter().map(|pool| pool.gres.clone());
        let allowed: Vec<String> = all.filter(|gres| allows(gres)).collect();
        reached.pools.retain(|pool| match kind {
            Cell::Asked => allowed.contains(&pool.gres),
            Cell::Larger => {
                !allowed.is_empty() && allowed.iter().all(|old| self.no_smaller(&pool.gres, old))
            }
            _ => true,
        });
    }

    /// True where the job's constraint names features that are no GPU types, and which nodes have
    /// them is not known.
    fn features_are_asked(&self, submission: &Submission) -> bool {
        if matches!(self.ground, Ground::Seen(_)) {
            return false;
        }
        let types = self.config.rules("", &self.gpu_types()).types;
        let constraint = submission
            .given
            .get(JobOption::Constraint)
            .unwrap_or_default();
        crate::constraint::asks_for_more(constraint, &types)
    }

    /// A type cannot be chosen where such a feature stays and the request names none.
    fn held_by_constraint(&self, submission: &Submission) -> Option<Decision> {
        let typed = self.asked.as_ref().is_none_or(|asked| asked.gpu.is_some());
        let stated = submission.options.pins.gpu.is_some();
        if typed || stated || !self.features_are_asked(submission) {
            return None;
        }
        let constraint = shorten(
            submission
                .given
                .get(JobOption::Constraint)
                .unwrap_or_default(),
        );
        Some(Decision::left(&format!(
            "which GPU types have nodes with --constraint={constraint} is not known, so they are left as asked"
        )))
    }

    /// True where whatever runs on a GPU type of this name runs on that one too.
    fn no_smaller(&self, gres: &str, than: &str) -> bool {
        let spec = |gres: &str| -> Option<&GpuSpec> {
            let named = |g: &&crate::advisor::SiteGpu| g.gres.eq_ignore_ascii_case(gres);
            GpuSpec::by_name(&self.snapshot.body.gpus.iter().find(named)?.gpu)
        };
        let larger = |(new, old): (&GpuSpec, &GpuSpec)| {
            new.memory_gib >= old.memory_gib
                && new.capability >= old.capability
                && old.capability > 0
        };
        gres.eq_ignore_ascii_case(than) || spec(gres).zip(spec(than)).is_some_and(larger)
    }

    fn consult(
        &self,
        submission: &Submission,
        pins: &Pins,
        checkpoint: Option<Precision>,
    ) -> Result<Consulted, Fault> {
        let kept = Kept {
            number: None,
            checkpoint,
            looks: true,
        };
        self.ask(submission.options, &self.reached, pins, kept)
    }

    /// Asks the advisor, with what stays of the job.
    fn ask(
        &self,
        options: &RawOptions,
        reached: &ClusterState,
        pins: &Pins,
        kept: Kept,
    ) -> Result<Consulted, Fault> {
        let seen = match &self.ground {
            Ground::Seen(checker) if kept.looks => Some(&**checker as &dyn Startable),
            _ => None,
        };
        let keeping = seen.zip(kept.number).map(|(inner, number)| Keeping {
            inner,
            number,
            nodes: self.nodes,
        });
        let startable = keeping.as_ref().map(|k| k as &dyn Startable).or(seen);
        let here = Here {
            startable,
            gpus: self.gpus.as_deref(),
            checkpoint: kept.checkpoint,
        };
        consult_here(self.snapshot, reached, self.config, options, pins, here)
    }

    /// True where nothing is left beside what the other components of the job take.
    fn is_held_by_others(&self, submission: &Submission, advice: &Advice) -> bool {
        let none = advice.recommended().is_none() && as_asked::is_barred(advice);
        none && !submission.who.others.is_empty()
    }

    /// Asks with what is judged. An engine that takes its checkpoint as it is gets no other format.
    fn consult_for(
        &self,
        submission: &Submission,
        judged: &Judged,
        reached: &ClusterState,
        looks: bool,
    ) -> Result<Consulted, Fault> {
        let (options, checkpoint) = self.own_checkpoint(submission.options, judged);
        let kept = Kept {
            number: judged.number,
            checkpoint,
            looks,
        };
        let ask = |pins: &Pins| self.ask(&options, reached, pins, kept);
        match ask(&judged.pins) {
            Ok(first) if judged.own_format && first.request.pins.precision.is_none() => {
                let own = first
                    .request
                    .checkpoint_precision
                    .unwrap_or(Precision::Bf16);
                if !changes_format(&first) {
                    return Ok(first);
                }
                ask(&Pins {
                    precision: Some(own),
                    ..judged.pins.clone()
                })
            }
            other => other,
        }
    }

    /// A checkpoint that the script names itself: by its own name where the catalogue has it, else
    /// by its format.
    fn own_checkpoint(
        &self,
        options: &RawOptions,
        judged: &Judged,
    ) -> (RawOptions, Option<Precision>) {
        let mut options = options.clone();
        let Some((format, name)) = &judged.checkpoint else {
            return (options, None);
        };
        let catalogue = &self.snapshot.body.catalogue;
        let tagged = options.model.as_deref().and_then(|tag| catalogue.find(tag));
        let named = name.as_deref().and_then(|name| catalogue.find(name));
        if let (Some(tagged), Some(named)) = (tagged, named)
            && tagged.name == named.name
        {
            options.model.clone_from(name);
        }
        (options, Some(*format))
    }

    fn in_mode(&self, submission: &Submission, consulted: Consulted, judged: &Judged) -> Decision {
        let checked = submission.options.mode == AdviceMode::Check;
        match consulted.answer {
            Ok(rewrite) => self.rewritten(submission, &consulted.advice, rewrite, judged),
            // Nobody knows that the job cannot run as it is written.
            Err(refusal) if self.is_in_doubt(submission, judged, &consulted.advice) => {
                let why = refusal.message.get(1).or(refusal.message.first());
                let why = shorten(why.map_or("", String::as_str));
                Decision::left(&match judged.reason.as_str() {
                    "" => format!("no GPU type is known to hold what the script starts ({why})"),
                    reason => format!("{reason}, and no GPU type is known to hold it ({why})"),
                })
            }
            Err(_) if as_asked::is_barred(&consulted.advice) => Decision::Left {
                reason: as_asked::why_barred(&consulted.advice),
            },
            Err(refusal) if checked => check(refusal.message, "refused"),
            Err(Refusal { code, message }) => Decision::Refuse {
                code,
                message: with_way_out(message),
            },
        }
    }

    /// True where a refusal would rest on what is not known: of the script, or whether an engine
    /// that asks for its own context runs on what the job asks for. A model that nobody knows is
    /// refused whatever the script is.
    fn is_in_doubt(&self, submission: &Submission, judged: &Judged, advice: &Advice) -> bool {
        if advice.id.is_empty() || judged.number.is_some() {
            return !advice.id.is_empty();
        }
        let asked = self.asked.as_ref().and_then(|asked| asked.count);
        let enough = asked
            .zip(judged.pins.tp)
            .is_some_and(|(has, needs)| has >= needs);
        if judged.pins.context.is_none() || !enough {
            return false;
        }
        if matches!(advice.verdict, Verdict::Abstain(_)) {
            return true;
        }
        // Where a shorter context would do, the estimate of what fits is all that stands against it.
        let pins = Pins {
            context: None,
            ..judged.pins.clone()
        };
        let shorter = self.consult(submission, &pins, None);
        shorter.is_ok_and(|consulted| consulted.answer.is_ok())
    }

    fn rewritten(
        &self,
        submission: &Submission,
        advice: &Advice,
        mut rewrite: Rewrite,
        judged: &Judged,
    ) -> Decision {
        if let Some(number) = judged.number {
            rewrite.allocation.per_node = number;
            rewrite.allocation.nodes = self.nodes;
            rewrite.gres = format!("gpu:{}:{number}", rewrite.allocation.gpu);
        }
        let view = self.snapshot.body.slurm.as_ref();
        let (gpu, types) = (&rewrite.allocation.gpu, self.gpu_types());
        let rules = site_rules(self.config, view, gpu, &types);
        let plan = match plan(submission.given, &rewrite.allocation, &rules, self.spread) {
            Ok(plan) => plan,
            Err(reason) => return Decision::Left { reason },
        };
        let mut message = rewrite.message;
        if judged.number.is_some() {
            message.truncate(2);
            message.push(format!(
                "{}, so the number of GPUs stays as asked",
                judged.reason
            ));
        }
        if submission.options.mode == AdviceMode::Check {
            return check(message, &plan.shown());
        }
        let to = &rewrite.allocation;
        let same = |asked: &Asked| {
            let gpu = asked.gpu.as_ref();
            let kind = gpu.is_some_and(|gpu| gpu.eq_ignore_ascii_case(&to.gpu));
            let number = asked.count == Some(to.per_node) && asked.nodes == to.nodes;
            (kind && number) || asked.text == rewrite.gres
        };
        if let Some(asked) = self.asked.as_ref().filter(|asked| !same(asked)) {
            message.truncate(3);
            message.push(words::instead_of(advice, &asked.text));
        }
        let time = submission.given.get(JobOption::Time);
        let least = self.config.least_serving_minutes;
        let late = advice
            .recommended()
            .and_then(|best| warning(time, best, least));
        if let Some(line) = late {
            message.truncate(3);
            message.push(line);
        }
        let gpu = rewrite.allocation.gpu;
        let own = self.told(submission, judged, advice, gpu, rewrite.environment);
        Decision::Rewrite {
            edits: plan.edits,
            comment: rewrite.comment,
            environment: own.into_iter().chain(plan.environment).collect(),
            message,
        }
    }

    /// The job's variables: those of the advice, or where these could change an engine what was
    /// asked for and the GPU type.
    fn told(
        &self,
        submission: &Submission,
        judged: &Judged,
        advice: &Advice,
        gpu: String,
        advised: Vec<(&'static str, String)>,
    ) -> Vec<(String, String)> {
        if judged.rule.variables != Cell::Request {
            let own = advised.into_iter();
            return own.map(|(name, value)| (name.to_owned(), value)).collect();
        }
        let mut own = stated(submission, None, advice.id.clone(), &self.config.spool);
        own.push((env::GPU.to_owned(), gpu));
        own
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
        let advice = match self.consult(submission, &Pins::default(), None) {
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

/// What of a job stays, whatever is advised.
#[derive(Clone, Copy, Debug)]
struct Kept {
    /// Its GPUs on a node, where their number stays.
    number: Option<u32>,
    /// The format of a checkpoint that the script brings.
    checkpoint: Option<Precision>,
    /// False where all its GPUs stay as they were asked for: nothing is looked at then.
    looks: bool,
}

/// What a job could be started on that keeps its number of GPUs, whatever an engine of it takes.
#[derive(Debug)]
struct Keeping<'a> {
    inner: &'a dyn Startable,
    number: u32,
    nodes: u32,
}

impl Startable for Keeping<'_> {
    fn bar(&self, gres: &str, _: u32, _: u32) -> Option<String> {
        self.inner.bar(gres, self.number, self.nodes)
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
    let pairs = [
        (env::ADVICE, Some(advice)),
        (env::GPU, asked.and_then(|asked| asked.gpu.clone())),
        (env::SPOOL, spool.to_str().map(str::to_owned)),
    ];
    let known = |value: Option<String>| value.filter(|text| !text.is_empty());
    let asked = options.in_job().map(|(name, value)| (name, Some(value)));
    pairs
        .into_iter()
        .chain(asked)
        .filter_map(|(name, value)| Some((name.to_owned(), known(value)?)))
        .collect()
}

/// True where the advice needs an engine argument or a checkpoint that a script which starts the engine by itself does not
/// have.
fn changes_format(consulted: &Consulted) -> bool {
    let best = consulted.advice.recommended();
    best.is_some_and(|best| best.config.quantise_at_load || best.config.checkpoint.is_some())
}

fn check(mut message: Vec<String>, would_be: &str) -> Decision {
    message.truncate(3);
    message.push(format!(
        "submitted as written; without `--llm-advice=check` it would be {would_be}"
    ));
    Decision::Check { message }
}
