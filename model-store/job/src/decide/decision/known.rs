//! What a job's own request says of what its script starts: variables, tasks on a node.

use crate::engine_args::{Outside, Starts, Times, Variable, starts};
use crate::job_request::{Given, JobOption, nodes_asked, number_of};

use super::Submission;

/// Reads what a submission's script starts; `None` where the script cannot be read.
pub(super) fn of(submission: &Submission) -> Option<Starts> {
    let variable = |name: &str| variable(submission, name);
    let outside = Outside {
        arguments: submission.arguments,
        variable: &variable,
        read: submission.read,
    };
    let found = starts(submission.script?, &outside);
    Some(found.of_component(submission.component))
}

/// A variable as the job begins with it, once it is changed as advised.
fn variable(submission: &Submission, name: &str) -> Variable {
    let given = submission.given;
    let is = |n: u32| Variable::Is(n.to_string());
    match name {
        "SLURM_NNODES" | "SLURM_JOB_NUM_NODES" => {
            let plain = given
                .get(JobOption::Nodes)
                .is_none_or(|n| n.trim().parse::<u32>().is_ok());
            let alone =
                given.get(JobOption::Nodes).is_some() || tasks(given).is_none_or(|n| n == 1);
            if plain && alone {
                is(nodes_asked(given).unwrap_or(1))
            } else {
                Variable::Unknown
            }
        }
        "SLURM_NTASKS" | "SLURM_NPROCS" => tasks(given).map_or(Variable::Unknown, is),
        "SLURM_NTASKS_PER_NODE" => {
            number_of(given, JobOption::NtasksPerNode).map_or(Variable::Unset, is)
        }
        // As many as asked for, which a rewrite keeps told.
        "SLURM_GPUS_PER_NODE" => counts(given, JobOption::GpusPerNode, true),
        "SLURM_GPUS" => counts(given, JobOption::Gpus, nodes_asked(given).unwrap_or(1) == 1),
        "SLURM_GPUS_PER_TASK" => counts(
            given,
            JobOption::GpusPerTask,
            tasks_on_node(given) == Some(1),
        ),
        "SLURM_LLM_MODEL" => submission
            .options
            .model
            .clone()
            .map_or(Variable::Unknown, Variable::Is),
        _ if own_of_a_node(name) => Variable::Unknown,
        _ => of_the_user(submission, name),
    }
}

/// Variables that a node, Slurm or the shell itself sets.
fn own_of_a_node(name: &str) -> bool {
    const NAMES: [&str; 22] = [
        "PATH",
        "PWD",
        "OLDPWD",
        "HOSTNAME",
        "HOST",
        "TMPDIR",
        "TMP",
        "TEMP",
        "RANDOM",
        "SECONDS",
        "LINENO",
        "UID",
        "EUID",
        "PPID",
        "IFS",
        "OPTARG",
        "OPTIND",
        "REPLY",
        "FUNCNAME",
        "PIPESTATUS",
        "BASHPID",
        "SHLVL",
    ];
    let begins = [
        "SLURM", "SBATCH", "BASH_", "LD_", "CUDA", "NVIDIA", "ROCR", "PMI", "OMPI",
    ];
    NAMES.contains(&name) || begins.iter().any(|b| name.starts_with(b))
}

/// What the user's own environment brings into the job, as `--export` has it.
fn of_the_user(submission: &Submission, name: &str) -> Variable {
    let listed = |list: &str| -> Option<Variable> {
        let entry = |part: &str| {
            let (key, value) = part.split_once('=')?;
            (key.trim() == name).then(|| Variable::Is(value.to_owned()))
        };
        list.split(',').find_map(entry)
    };
    let all = |list: &str| {
        list.split(',')
            .any(|part| part.trim().eq_ignore_ascii_case("all"))
    };
    match submission.given.get(JobOption::Export) {
        Some(list) => match listed(list) {
            Some(found) => found,
            None if all(list) => looked_up(submission, name),
            None => Variable::Unknown,
        },
        None => looked_up(submission, name),
    }
}

fn looked_up(submission: &Submission, name: &str) -> Variable {
    match (submission.environment)(name) {
        // The file's variables come to the job alone.
        _ if submission.given.get(JobOption::ExportFile).is_some() => Variable::Unknown,
        Some(value) => Variable::Is(value),
        None => Variable::Unset,
    }
}

/// A request for GPUs in this form, where `all` says that it is the node's.
fn counts(given: &Given, option: JobOption, all: bool) -> Variable {
    match given.get(option) {
        None => Variable::Unset,
        // A type in it stands in the variable too.
        Some(value) if value.trim().parse::<u32>().is_ok() && all => Variable::Gpus,
        Some(_) => Variable::Unknown,
    }
}

/// True where GPUs are asked for by task, which binds them to tasks.
pub(super) fn by_task(given: &Given) -> bool {
    let task = given
        .get(JobOption::TresPerTask)
        .is_some_and(|t| t.contains("gpu"));
    given.get(JobOption::GpusPerTask).is_some()
        || given.get(JobOption::NtasksPerGpu).is_some()
        || task
}

/// Tasks of the job, where its request tells.
fn tasks(given: &Given) -> Option<u32> {
    number_of(given, JobOption::Ntasks).or_else(|| {
        number_of(given, JobOption::NtasksPerNode)?.checked_mul(nodes_asked(given).unwrap_or(1))
    })
}

/// Tasks on one of its nodes, where its request tells; one is Slurm's own default.
pub(super) fn tasks_on_node(given: &Given) -> Option<u32> {
    let nodes = nodes_asked(given).unwrap_or(1).max(1);
    if let Some(n) = number_of(given, JobOption::NtasksPerNode) {
        return Some(n);
    }
    match (
        given.get(JobOption::Ntasks),
        given
            .get(JobOption::GpusPerTask)
            .or(given.get(JobOption::NtasksPerGpu)),
    ) {
        (Some(_), _) => number_of(given, JobOption::Ntasks).map(|n| n.div_ceil(nodes)),
        (None, Some(_)) if given.get(JobOption::NtasksPerGpu).is_some() => None,
        // Slurm makes as many tasks as all GPUs are enough for.
        (None, _) if by_task(given) && given.get(JobOption::Gpus).is_some() => None,
        (None, _) => Some(1),
    }
}

/// How many of a start run on one node at once; `None` where that is not known.
pub(super) fn on_node(times: Times, given: &Given) -> Option<u32> {
    match times {
        Times::Once | Times::EachNode => Some(1),
        Times::Known(n) => Some(n),
        Times::EachTask | Times::EachTaskOfANode => tasks_on_node(given),
        Times::Unknown => None,
    }
}
