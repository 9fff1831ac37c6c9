//! From what a script starts to the row of [`rules`] that holds for it, and to what the
//! advisor is to be asked.

use crate::advisor::{Layout, Pins, Precision};
use crate::engine_args::{Own, Program, Start, Starts, Stated};
use crate::job_request::{Asked, Given, JobOption, nodes_asked};
use crate::options::RawOptions;

use super::known::{by_task, on_node, tasks_on_node};
use super::rules::{self, Cell, Rule};

/// A context that no model has: the model's own counts.
const MODELS_OWN: u32 = u32::MAX;

/// What may be changed of a job, and what the advice has to respect.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judged {
    pub(super) rule: Rule,
    /// GPUs on a node, where their number stays.
    pub(super) number: Option<u32>,
    /// What the advisor is asked with.
    pub(super) pins: Pins,
    /// Engines take their checkpoint as it is.
    pub(super) own_format: bool,
    /// The format of a checkpoint that the script itself names, and its name.
    pub(super) checkpoint: Option<(Precision, Option<String>)>,
    /// Why something stays, for a line to the user; empty for nothing.
    pub(super) reason: String,
}

/// What is known around a script.
pub(super) struct Around<'a> {
    pub(super) given: &'a Given,
    pub(super) asked: Option<&'a Asked>,
    pub(super) options: &'a RawOptions,
    /// The most GPUs that a node has where the job may run; `None` where that is not known.
    pub(super) largest: Option<u32>,
}

/// Judges what a script starts; `None` for a script that cannot be read.
///
/// # Errors
/// Why the job goes as it is written, in one line.
pub(super) fn judge(starts: Option<&Starts>, around: &Around) -> Result<Judged, String> {
    let mut judged = of_starts(starts, around)?;
    if starts.is_some_and(|s| s.looks_at_gpus) {
        judged.rule.kind = Cell::Asked;
    } else if starts.is_some_and(|s| s.needs_features) {
        judged.rule.kind = Cell::Larger;
    }
    Ok(judged)
}

fn of_starts(starts: Option<&Starts>, around: &Around) -> Result<Judged, String> {
    let Some(starts) = starts else {
        return as_asked(rules::UNKNOWN, around, "the script cannot be read", true);
    };
    let Some(first) = starts.list.first() else {
        if starts.reads_advice {
            return Ok(reads_advice());
        }
        let why = "nothing in the script is known to start an engine";
        return as_asked(rules::NOTHING, around, why, true);
    };
    if starts.reads_task_gpus && by_task(around.given) && tasks_on_node(around.given) != Some(1) {
        return Err("the script counts on the GPUs of each task, so they are left as asked".into());
    }
    for start in &starts.list {
        own_layout(start, starts, around)?;
    }
    if let Some(start) = starts.list.iter().find(|s| is_unknown(s)) {
        let engines = starts
            .list
            .iter()
            .any(|s| matches!(s.program, Program::Engine { .. }));
        let why = unknown(start);
        return as_asked(rules::UNKNOWN, around, &why, !engines);
    }
    let judged = match is_single(starts, around) {
        true => single(first, starts),
        false => several(starts, around)?,
    };
    as_the_script_counts(judged, starts, around)
}

/// A script that compares the number of its GPUs with another keeps it.
fn as_the_script_counts(
    mut judged: Judged,
    starts: &Starts,
    around: &Around,
) -> Result<Judged, String> {
    const WHY: &str = "the script compares the number of its GPUs with another";
    if !starts.counts_gpus || judged.number.is_some() {
        return Ok(judged);
    }
    let asked = around.asked.and_then(|asked| asked.count);
    match (asked, judged.pins.tp) {
        (Some(asked), None) => judged.pins.tp = Some(asked),
        (Some(asked), Some(degree)) if asked == degree => {}
        _ => return Err(format!("{WHY}, so they are left as asked")),
    }
    Ok(judged)
}

/// A script that reads the advice for itself, as far as one can see for no engine.
fn reads_advice() -> Judged {
    Judged {
        rule: rules::ADVISED,
        number: None,
        pins: Pins {
            layout: Layout::OneInstance,
            ..Pins::default()
        },
        own_format: false,
        checkpoint: None,
        reason: String::new(),
    }
}

/// What is not known of a start.
fn is_unknown(start: &Start) -> bool {
    start.tp == Stated::Unknown || start.format == Stated::Unknown
}

fn unknown(start: &Start) -> String {
    let shown = start.program.shown();
    let line = start.line;
    match &start.program {
        Program::Unknown(_) => format!("{shown} (line {line}) may be an engine"),
        Program::Engine { .. } if start.tp == Stated::Unknown => {
            format!("the degree of {shown} (line {line}) is not known")
        }
        Program::Engine { .. } => {
            format!("the memory that {shown} (line {line}) needs is not known")
        }
    }
}

/// Pipeline stages, replicas and nodes that a script gives its engine.
fn own_layout(start: &Start, starts: &Starts, around: &Around) -> Result<(), String> {
    // Where nothing of an engine's arguments is known, neither is this.
    if start.tp == Stated::Unknown && start.pp == Stated::Unknown {
        return Ok(());
    }
    let own = |stated: &Stated<u32>| match stated {
        Stated::Known { value, .. } => *value > 1,
        Stated::Unsaid => false,
        Stated::Advised | Stated::Gpus | Stated::Unknown => true,
    };
    for (stated, what) in [
        (&start.pp, "pipeline stages"),
        (&start.dp, "data-parallel replicas"),
    ] {
        if own(stated) {
            let has = if *stated == Stated::Unknown {
                "may have"
            } else {
                "has"
            };
            return Err(format!(
                "the script's engine {has} {what} of its own, so its GPUs are left as asked"
            ));
        }
    }
    let wider = start
        .tp
        .known()
        .is_some_and(|tp| is_wider(tp, start, starts, around));
    if own(&start.nodes) || wider {
        return Err(
            "the script's engine runs over several nodes, so its GPUs are left as asked".into(),
        );
    }
    Ok(())
}

/// True where an engine of this degree runs over several nodes.
fn is_wider(tp: u32, start: &Start, starts: &Starts, around: &Around) -> bool {
    let beyond_a_node = around.largest.is_some_and(|largest| tp > largest);
    let given = around.given;
    let nodes = nodes_asked(given).unwrap_or(1);
    match around.asked.and_then(|a| a.count) {
        Some(asked) if nodes > 1 => tp > asked,
        None if nodes > 1 => starts.joins_nodes && (!start.under_run || beyond_a_node),
        // Slurm chooses the nodes.
        _ => {
            let one = given.get(JobOption::Nodes).is_some_and(|n| n.trim() == "1");
            let whole = given.get(JobOption::Gpus).is_some() || tasks_on_node(given) != Some(1);
            !one && whole && starts.joins_nodes && beyond_a_node
        }
    }
}

/// True where one engine at a time uses the GPUs of a node, and all that are started one after
/// another are alike.
fn is_single(starts: &Starts, around: &Around) -> bool {
    let alone =
        |s: &Start| !s.together && s.own == Own::All && on_node(s.times, around.given) == Some(1);
    let Some(first) = starts.list.first() else {
        return false;
    };
    let alike = |s: &Start| {
        s.under_run == first.under_run
            && value(&s.tp) == value(&first.tp)
            && value(&s.format) == value(&first.format)
            && value(&s.context) == value(&first.context)
            && value(&s.model) == value(&first.model)
    };
    starts.list.iter().all(|s| alone(s) && alike(s))
}

/// What is said, whatever the line.
fn value<T: Clone>(stated: &Stated<T>) -> (Option<T>, u8) {
    let kind = match stated {
        Stated::Known { .. } => 0,
        Stated::Unsaid => 1,
        Stated::Advised => 2,
        Stated::Gpus => 3,
        Stated::Unknown => 4,
    };
    (stated.known(), kind)
}

/// One engine.
fn single(start: &Start, starts: &Starts) -> Judged {
    let (rule, tp) = match &start.tp {
        Stated::Known { value, .. } => (rules::WRITTEN, Some(*value)),
        Stated::Advised => (rules::ADVISED, None),
        Stated::Gpus => (rules::FOLLOWS, None),
        Stated::Unsaid | Stated::Unknown => (rules::WRITTEN, Some(1)),
    };
    let layout = if !start.under_run {
        Layout::OneInstance
    } else if starts.may_have_stages() {
        Layout::Any
    } else {
        Layout::OneNode
    };
    let pins = Pins {
        tp,
        precision: start.format.known(),
        layout,
        context: context(start),
        limits: start.limits,
        ..Pins::default()
    };
    Judged {
        rule,
        number: None,
        pins,
        own_format: start.format == Stated::Unsaid,
        checkpoint: checkpoint(start),
        reason: String::new(),
    }
}

/// The context that an engine must hold; `None` where it takes what it is told.
fn context(start: &Start) -> Option<u32> {
    match &start.context {
        Stated::Known { value, .. } => Some(u32::try_from(*value).unwrap_or(MODELS_OWN)),
        Stated::Advised => None,
        Stated::Unsaid | Stated::Gpus | Stated::Unknown => Some(MODELS_OWN),
    }
}

fn checkpoint(start: &Start) -> Option<(Precision, Option<String>)> {
    let format = start.format.known().filter(|_| start.own_checkpoint)?;
    Some((format, start.model.known()))
}

/// Degree, format, context and model of one of several engines.
type Needs = (u32, Option<Precision>, Option<u32>, Option<String>);

/// Several engines at once: alike, as each has to fit.
fn several(starts: &Starts, around: &Around) -> Result<Judged, String> {
    const WHY: &str = "the script starts several engines, so its GPUs are left as asked";
    if by_task(around.given) {
        return Err("each task gets GPUs of its own, so they are left as asked".into());
    }
    let number = around.asked.and_then(|a| a.count).ok_or(WHY)?;
    let needs = |s: &Start| -> Option<Needs> {
        let tp = match &s.tp {
            Stated::Known { value, .. } => *value,
            Stated::Unsaid => 1,
            // Nothing is told to several: each starts as it is written.
            Stated::Advised if s.under_run && !s.takes_all() => 1,
            Stated::Advised if s.under_run => number,
            Stated::Gpus => number,
            Stated::Advised | Stated::Unknown => return None,
        };
        let context = match &s.context {
            Stated::Known { value, .. } => u32::try_from(*value).unwrap_or(MODELS_OWN),
            _ => MODELS_OWN,
        };
        Some((tp, s.format.known(), Some(context), s.model.known()))
    };
    let first = starts.list.first().ok_or(WHY)?;
    let all = needs(first).filter(|wanted| {
        starts
            .list
            .iter()
            .all(|s| needs(s).as_ref() == Some(wanted))
    });
    let (tp, precision, context, _) = all.ok_or(WHY)?;
    let pins = Pins {
        tp: Some(tp),
        precision,
        layout: Layout::OneInstance,
        context,
        ..Pins::default()
    };
    Ok(Judged {
        rule: rules::SEVERAL,
        number: Some(number),
        pins,
        own_format: precision.is_none(),
        checkpoint: checkpoint(first),
        reason: "the script starts several engines".into(),
    })
}

/// The number of GPUs stays. `told` is true where no engine is seen that the variables could change.
fn as_asked(rule: Rule, around: &Around, why: &str, told: bool) -> Result<Judged, String> {
    let rule = if told {
        Rule {
            variables: Cell::All,
            ..rule
        }
    } else {
        rule
    };
    // Whoever states a degree states the GPUs; who asks for none cannot lose any.
    let stated = around.options.pins.tp;
    let number = match (stated, around.asked) {
        (Some(_), _) if told => None,
        (_, None) => None,
        (_, Some(asked)) => {
            let count = asked.count;
            Some(count.ok_or_else(|| format!("{why}, so its GPUs are left as asked"))?)
        }
    };
    let tasks = around.given.get(JobOption::Ntasks).is_some()
        || tasks_on_node(around.given).is_none_or(|n| n > 1);
    if number.is_some() && by_task(around.given) && tasks {
        return Err(format!("{why}, so the GPUs of each task are left as asked"));
    }
    let pins = Pins {
        tp: stated.or(number),
        layout: Layout::OneInstance,
        context: number.map(|_| MODELS_OWN),
        ..Pins::default()
    };
    Ok(Judged {
        rule,
        number,
        pins,
        own_format: true,
        checkpoint: None,
        reason: why.to_owned(),
    })
}
