//! Which options of a job an advice changes: the GPUs in the site's form, what they exclude taken
//! away, CPUs, memory and nodes by the site's rules. Pure; plugin and `omnipilot submit` carry out
//! the same edits.
//!
//! Slurm adds the forms of a GPU request up (`--gpus=2 --gres=gpu:2` asks for four), so one is set
//! and every other taken away.

use serde::{Deserialize, Serialize};

pub use crate::constraint::TypeNames;
use crate::constraint::{Adapted, adapt, with_feature};
use crate::job_request::{
    GPU_OPTIONS, Given, JobOption, nodes_asked, number_of, replace_gpus, without_gpus,
};

/// The form of the GPU request that a rewrite leaves in a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuForm {
    /// `--gres=gpu:TYPE:N`
    #[default]
    Gres,
    /// `--gpus-per-node=TYPE:N`
    GpusPerNode,
    /// `--gpus=TYPE:N` in all, and the number of nodes.
    Gpus,
    /// `--gpus-per-task=TYPE:N`, one task a node: where a script's directive of that name is replaced
    /// from the command line. The plugin comes too late for it, as newer releases have counted by then.
    #[serde(skip)]
    GpusPerTask,
    /// `--gres=gpu:N` and the type's feature in `--constraint`.
    Feature,
}

/// What an advice gives a job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocation {
    /// Slurm GPU type (gres).
    pub gpu: String,
    /// GPUs on each node.
    pub per_node: u32,
    /// Nodes.
    pub nodes: u32,
}

/// What the site says of rewritten jobs on one GPU type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The form of the request.
    pub form: GpuForm,
    /// The GPU types of the cluster.
    pub types: Vec<TypeNames>,
    /// CPUs for each GPU; `None` leaves CPUs as they are.
    pub cpus_per_gpu: Option<u32>,
    /// Memory for each GPU, MiB; `None` leaves memory as it is.
    pub mib_per_gpu: Option<u64>,
}

/// A change of one option, by its long name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edit {
    /// The option.
    pub name: String,
    /// Its new value; `None` takes it away.
    pub value: Option<String>,
}

/// All the changes of one job.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which they are to be made.
    pub edits: Vec<Edit>,
    /// Variables of the job that follow from them, where Slurm has set its own before; an empty value
    /// takes one away.
    pub environment: Vec<(String, String)>,
}

impl Plan {
    /// The options that the job will have, as one would type them.
    pub fn shown(&self) -> String {
        let set = |e: &Edit| Some(format!("--{}={}", e.name, e.value.as_ref()?));
        let all: Vec<String> = self.edits.iter().filter_map(set).collect();
        all.join(" ")
    }

    fn set(&mut self, option: JobOption, value: impl ToString) {
        self.edits.push(Edit {
            name: option.name().into(),
            value: Some(value.to_string()),
        });
    }

    fn take_away(&mut self, given: &Given, option: JobOption) {
        if given.get(option).is_some() {
            self.edits.push(Edit {
                name: option.name().into(),
                value: None,
            });
        }
    }

    fn forget(&mut self, variable: &str) {
        self.environment.push((variable.into(), String::new()));
    }

    fn set_or_take_away(&mut self, option: JobOption, value: String) {
        self.edits.push(Edit {
            name: option.name().into(),
            value: Some(value).filter(|v| !v.is_empty()),
        });
    }
}

/// Plans the changes of a job. `spread` is true where the job's engines may run one on each of its
/// nodes: their number then stays as it was asked for.
///
/// # Errors
/// What of the job's own request stands in the way, on one line.
pub fn plan(
    given: &Given,
    allocation: &Allocation,
    rules: &Rules,
    spread: bool,
) -> Result<Plan, String> {
    if given.get(JobOption::NtasksPerGpu).is_some() {
        // Slurm keeps it in the job's environment, where `srun` would split the GPUs by it.
        return Err(
            "--ntasks-per-gpu gives each task GPUs of its own, so they are left as asked".into(),
        );
    }
    let mut plan = Plan::default();
    let constraint = constraint(given, allocation, rules)?;
    // GPUs for each task are those of a node only where there is one task on it.
    let many = number_of(given, JobOption::Ntasks).is_some_and(|n| n != allocation.nodes.max(1));
    let form = match rules.form {
        GpuForm::GpusPerTask if many || spread => GpuForm::GpusPerNode,
        form => form,
    };
    let form = plain_numbers(given, form);
    let shape = Shape::of(given, allocation, form, spread)?;
    let new_cpus = rules.cpus_per_gpu.is_some() && given.get(JobOption::Exclusive).is_none();
    per_task(&mut plan, given, new_cpus);
    gpus(&mut plan, given, allocation, form, &shape);
    told(&mut plan, given, allocation, form, &shape);
    if let Some(constraint) = constraint {
        plan.set_or_take_away(JobOption::Constraint, constraint);
    }
    shape.put(&mut plan);
    if new_cpus {
        cpus(&mut plan, given, allocation, rules, &shape);
    }
    memory(&mut plan, given, allocation, rules);
    Ok(plan)
}

/// Nodes and tasks.
struct Shape {
    nodes: u32,
    tasks_per_node: u32,
    /// True where nodes are to be named in the job.
    name_nodes: bool,
    /// True where tasks are: Slurm has counted them by the nodes that were asked for.
    name_tasks: bool,
}

impl Shape {
    fn of(
        given: &Given,
        allocation: &Allocation,
        form: GpuForm,
        spread: bool,
    ) -> Result<Self, String> {
        let asked = nodes_asked(given);
        let wanted = allocation.nodes.max(1);
        if spread && asked.unwrap_or(1) != wanted && wanted > 1 {
            return Err(format!(
                "the script may start an engine on each node, and one alone needs {wanted} nodes"
            ));
        }
        let nodes = if spread {
            asked.unwrap_or(wanted)
        } else {
            wanted
        };
        let several = asked.is_some_and(|n| n != nodes)
            || given
                .get(JobOption::Nodes)
                .is_some_and(|n| n.contains(['-', ',']))
                && !spread;
        let whole = matches!(form, GpuForm::Gpus | GpuForm::GpusPerTask);
        let name_nodes = several || (asked.is_none() && (nodes > 1 || whole));
        // A number of tasks that was typed stays: Slurm has put it into the job's environment
        // already, for `srun` to read there.
        let tasks = number_of(given, JobOption::Ntasks);
        let per_node = tasks
            .map(|n| n.div_ceil(nodes))
            .or_else(|| number_of(given, JobOption::NtasksPerNode));
        let one_a_node = form == GpuForm::GpusPerTask;
        Ok(Self {
            nodes,
            tasks_per_node: if one_a_node {
                1
            } else {
                per_node.unwrap_or(1).max(1)
            },
            name_nodes,
            name_tasks: tasks.is_none() && (several || one_a_node),
        })
    }

    fn put(&self, plan: &mut Plan) {
        if self.name_nodes {
            plan.set(JobOption::Nodes, self.nodes);
        }
        if self.name_tasks {
            let tasks = self.nodes.saturating_mul(self.tasks_per_node);
            plan.set(JobOption::Ntasks, tasks);
            // Slurm has put the number that was asked for into the job's environment already.
            for name in ["SLURM_NTASKS", "SLURM_NPROCS"] {
                plan.environment.push((name.into(), tasks.to_string()));
            }
        }
    }
}

/// Takes GPUs out of what a task asks for, and CPUs where they are counted anew.
fn per_task(plan: &mut Plan, given: &Given, new_cpus: bool) {
    let Some(asked) = given.get(JobOption::TresPerTask) else {
        return;
    };
    let mut rest = without_gpus(asked).unwrap_or_else(|| asked.to_owned());
    if new_cpus {
        let is_cpu = |entry: &&str| !matches!(entry.trim().split([':', '=']).next(), Some("cpu"));
        rest = rest.split(',').filter(is_cpu).collect::<Vec<_>>().join(",");
    }
    if rest != asked {
        plan.set_or_take_away(JobOption::TresPerTask, rest);
    }
    unbind(plan, given);
}

/// GPUs that are no longer a task's own must not be bound to one: a step would see a part of them.
fn unbind(plan: &mut Plan, given: &Given) {
    if given
        .get(JobOption::TresBind)
        .is_some_and(|bind| bind.contains("per_task"))
    {
        plan.take_away(given, JobOption::TresBind);
        plan.forget("SLURM_TRES_BIND");
    }
}

fn gpus(plan: &mut Plan, given: &Given, wanted: &Allocation, form: GpuForm, shape: &Shape) {
    let (kept, count) = match form {
        GpuForm::Gres | GpuForm::Feature => (JobOption::Gres, wanted.per_node),
        GpuForm::GpusPerNode => (JobOption::GpusPerNode, wanted.per_node),
        GpuForm::Gpus => (JobOption::Gpus, wanted.per_node.saturating_mul(shape.nodes)),
        GpuForm::GpusPerTask => (JobOption::GpusPerTask, wanted.per_node),
    };
    for one in GPU_OPTIONS.into_iter().filter(|one| *one != kept) {
        plan.take_away(given, one);
    }
    let gres = given.get(JobOption::Gres).unwrap_or_default();
    if kept == JobOption::Gres {
        let entry = match form {
            GpuForm::Feature => format!("gpu:{count}"),
            _ => format!("gpu:{}:{count}", wanted.gpu),
        };
        plan.set(JobOption::Gres, replace_gpus(gres, &entry));
        return;
    }
    if let Some(rest) = without_gpus(gres) {
        plan.set_or_take_away(JobOption::Gres, crate::job_request::plain_gres(&rest));
    }
    plan.set(kept, format!("{}:{count}", wanted.gpu));
}

/// The option of a form.
fn option_of(form: GpuForm) -> JobOption {
    match form {
        GpuForm::Gres | GpuForm::Feature => JobOption::Gres,
        GpuForm::GpusPerNode => JobOption::GpusPerNode,
        GpuForm::Gpus => JobOption::Gpus,
        GpuForm::GpusPerTask => JobOption::GpusPerTask,
    }
}

/// A form in which a type would come into a variable that scripts read as a number: Slurm makes
/// `SLURM_GPUS_PER_NODE` of what `--gpus-per-node` says. `--gres` leaves it to [`told`].
fn plain_numbers(given: &Given, form: GpuForm) -> GpuForm {
    let plain = |value: &str| value.trim().parse::<u32>().is_ok();
    let option = option_of(form);
    if option != JobOption::Gres && given.get(option).is_some_and(plain) {
        return GpuForm::Gres;
    }
    form
}

/// Variables that told of the old request tell of the new one, with a type only where one was
/// given. Slurm sets none for `--gres`.
fn told(plan: &mut Plan, given: &Given, wanted: &Allocation, form: GpuForm, shape: &Shape) {
    let of_a_task = (shape.tasks_per_node == 1).then_some(wanted.per_node);
    let rows = [
        (
            JobOption::GpusPerNode,
            "SLURM_GPUS_PER_NODE",
            Some(wanted.per_node),
        ),
        (
            JobOption::Gpus,
            "SLURM_GPUS",
            wanted.per_node.checked_mul(shape.nodes),
        ),
        (JobOption::GpusPerTask, "SLURM_GPUS_PER_TASK", of_a_task),
    ];
    for (option, variable, number) in rows {
        let (Some(value), Some(number)) = (given.get(option), number) else {
            continue;
        };
        if option == option_of(form) {
            continue;
        }
        // GPUs that a feature chooses have no type of their own, and steps read the variable too.
        let text = if value.contains(':') && form != GpuForm::Feature {
            format!("{}:{number}", wanted.gpu)
        } else {
            number.to_string()
        };
        plan.environment.push((variable.into(), text));
    }
}

/// The new constraint; `None` where it stays.
fn constraint(given: &Given, wanted: &Allocation, rules: &Rules) -> Result<Option<String>, String> {
    let asked = given.get(JobOption::Constraint).unwrap_or_default();
    let rest = match adapt(asked, &wanted.gpu, &rules.types) {
        Adapted::Same => None,
        Adapted::Rest(rest) => Some(rest),
        Adapted::Conflict => {
            return Err(format!(
                "--constraint={} excludes the advised {}",
                crate::options::shorten(asked),
                wanted.gpu
            ));
        }
    };
    if rules.form != GpuForm::Feature {
        return Ok(rest);
    }
    let named = rules
        .types
        .iter()
        .find(|t| t.name.eq_ignore_ascii_case(&wanted.gpu));
    let feature = named
        .and_then(|t| t.features.first())
        .map_or(wanted.gpu.as_str(), String::as_str);
    match with_feature(rest.as_deref().unwrap_or(asked), feature) {
        Some(joined) => Ok(Some(joined).filter(|j| j != asked)),
        None => Err(format!(
            "--constraint={} cannot be joined with the feature {feature}",
            crate::options::shorten(asked)
        )),
    }
}

fn cpus(plan: &mut Plan, given: &Given, wanted: &Allocation, rules: &Rules, shape: &Shape) {
    let Some(per_gpu) = rules.cpus_per_gpu else {
        return;
    };
    let on_node = per_gpu.saturating_mul(wanted.per_node);
    let per_task = on_node.div_ceil(shape.tasks_per_node);
    plan.take_away(given, JobOption::CpusPerGpu);
    plan.set(JobOption::CpusPerTask, per_task);
    if given.get(JobOption::CpusPerTask).is_some() {
        // Slurm has raised this one to what a task was to get.
        plan.set(JobOption::Mincpus, per_task);
    }
    // As with the tasks.
    plan.environment
        .push(("SLURM_CPUS_PER_TASK".into(), per_task.to_string()));
}

fn memory(plan: &mut Plan, given: &Given, wanted: &Allocation, rules: &Rules) {
    let Some(per_gpu) = rules.mib_per_gpu else {
        return;
    };
    plan.take_away(given, JobOption::MemPerCpu);
    plan.take_away(given, JobOption::MemPerGpu);
    let all = per_gpu.saturating_mul(u64::from(wanted.per_node));
    plan.set(JobOption::Mem, format!("{all}M"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn given(pairs: &[(&str, &str)]) -> Given {
        Given::of(|name| {
            let pair = pairs.iter().find(|(n, _)| *n == name);
            pair.map(|(_, value)| (*value).to_owned())
        })
    }

    fn rules(form: GpuForm) -> Rules {
        let types = ["a100", "h100"].map(|name| TypeNames {
            name: name.into(),
            features: Vec::new(),
        });
        Rules {
            form,
            types: types.into(),
            ..Rules::default()
        }
    }

    fn two(nodes: u32) -> Allocation {
        Allocation {
            gpu: "h100".into(),
            per_node: 2,
            nodes,
        }
    }

    fn edits(pairs: &[(&str, &str)], rules: &Rules, wanted: &Allocation) -> String {
        let plan = plan(&given(pairs), wanted, rules, false).unwrap();
        let text = |e: &Edit| {
            e.value
                .as_ref()
                .map_or(format!("!{}", e.name), |v| format!("{}={v}", e.name))
        };
        plan.edits.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn one_form_is_left_and_the_rest_stays() {
        let asked = [
            ("gpus", "a100:2"),
            ("gpus-per-task", "1"),
            ("gres", "gres:lustre:1,gres:gpu:a100:1"),
            ("tres-per-task", "cpu=4,gres/gpu:a100:1"),
            ("constraint", "ib&a100"),
            ("mem", "4G"),
        ];
        let gone = "tres-per-task=cpu=4";
        for (form, expected) in [
            (
                GpuForm::Gres,
                format!("{gone} !gpus !gpus-per-task gres=lustre:1,gpu:h100:2 constraint=ib"),
            ),
            (
                GpuForm::GpusPerNode,
                format!(
                    "{gone} !gpus !gpus-per-task gres=lustre:1 gpus-per-node=h100:2 constraint=ib"
                ),
            ),
            (
                GpuForm::Gpus,
                format!("{gone} !gpus-per-task gres=lustre:1 gpus=h100:2 constraint=ib nodes=1"),
            ),
            (
                GpuForm::Feature,
                format!("{gone} !gpus !gpus-per-task gres=lustre:1,gpu:2 constraint=ib&h100"),
            ),
        ] {
            assert_eq!(edits(&asked, &rules(form), &two(1)), expected);
        }
    }

    #[test]
    fn a_job_that_asked_for_nothing_gets_its_gpus_and_nothing_else() {
        assert_eq!(
            edits(&[], &rules(GpuForm::Gres), &two(1)),
            "gres=gpu:h100:2"
        );
        assert_eq!(
            edits(&[], &rules(GpuForm::GpusPerTask), &two(1)),
            "gpus-per-task=h100:2 nodes=1 ntasks=1"
        );
    }

    #[test]
    fn nodes_are_as_many_as_the_model_needs() {
        let gres = rules(GpuForm::Gres);
        assert_eq!(
            edits(&[("nodes", "2")], &gres, &two(1)),
            "gres=gpu:h100:2 nodes=1 ntasks=1"
        );
        assert_eq!(
            edits(&[("nodes", "2"), ("ntasks", "8")], &gres, &two(1)),
            "gres=gpu:h100:2 nodes=1"
        );
        assert_eq!(
            edits(&[("nodes", "1-4")], &gres, &two(1)),
            "gres=gpu:h100:2 nodes=1 ntasks=1"
        );
        assert_eq!(edits(&[("nodes", "1")], &gres, &two(1)), "gres=gpu:h100:2");
        assert_eq!(edits(&[], &gres, &two(2)), "gres=gpu:h100:2 nodes=2");
        assert_eq!(
            edits(&[], &rules(GpuForm::Gpus), &two(2)),
            "gpus=h100:4 nodes=2"
        );
    }

    #[test]
    fn engines_on_every_node_keep_the_nodes() {
        let both = given(&[("nodes", "2"), ("ntasks", "2")]);
        let kept = plan(&both, &two(1), &rules(GpuForm::Gres), true).unwrap();
        assert_eq!(kept.shown(), "--gres=gpu:h100:2");
        let reason = plan(&given(&[]), &two(2), &rules(GpuForm::Gres), true).unwrap_err();
        assert!(reason.contains("needs 2 nodes"), "{reason}");
    }

    #[test]
    fn cpus_and_memory_follow_the_gpus_by_the_sites_rules() {
        let mut site = rules(GpuForm::Gres);
        (site.cpus_per_gpu, site.mib_per_gpu) = (Some(12), Some(61440));
        assert_eq!(
            edits(
                &[
                    ("cpus-per-gpu", "4"),
                    ("mem-per-cpu", "2G"),
                    ("ntasks-per-node", "2")
                ],
                &site,
                &two(1)
            ),
            "gres=gpu:h100:2 !cpus-per-gpu cpus-per-task=12 !mem-per-cpu mem=122880M"
        );
        assert_eq!(
            edits(&[("exclusive", "exclusive")], &site, &two(1)),
            "gres=gpu:h100:2 mem=122880M"
        );
    }

    #[test]
    fn cpus_that_stand_in_what_a_task_asks_for_are_not_counted_twice() {
        let mut site = rules(GpuForm::Gres);
        site.cpus_per_gpu = Some(4);
        assert_eq!(
            edits(
                &[
                    ("tres-per-task", "cpu=2,gres/gpu:1"),
                    ("cpus-per-task", "2")
                ],
                &site,
                &two(1)
            ),
            "!tres-per-task gres=gpu:h100:2 cpus-per-task=8 mincpus=8"
        );
    }

    #[test]
    fn gpus_are_not_bound_to_tasks_that_no_longer_own_them() {
        let asked = [
            ("gpus-per-task", "a100:1"),
            ("tres-per-task", "gres/gpu:a100=1"),
            ("tres-bind", "gres/gpu:per_task:1"),
        ];
        let plan = plan(&given(&asked), &two(1), &rules(GpuForm::Gres), false).unwrap();
        let gone: Vec<&str> = plan
            .edits
            .iter()
            .filter(|e| e.value.is_none())
            .map(|e| e.name.as_str())
            .collect();
        assert_eq!(gone, ["tres-per-task", "tres-bind", "gpus-per-task"]);
        assert_eq!(
            plan.environment,
            [
                ("SLURM_TRES_BIND".into(), String::new()),
                ("SLURM_GPUS_PER_TASK".into(), "h100:2".into())
            ]
        );
    }

    #[test]
    fn what_told_of_the_old_request_tells_of_the_new_one() {
        for (asked, form, told) in [
            (
                &[("gpus-per-node", "4")][..],
                GpuForm::Gres,
                "SLURM_GPUS_PER_NODE=2",
            ),
            (
                &[("gpus-per-node", "4")],
                GpuForm::GpusPerNode,
                "SLURM_GPUS_PER_NODE=2",
            ),
            (
                &[("gpus", "4"), ("nodes", "1")],
                GpuForm::Gres,
                "SLURM_GPUS=2",
            ),
            (&[("gpus", "a100:4")], GpuForm::Gres, "SLURM_GPUS=h100:2"),
            (&[("gpus", "a100:4")], GpuForm::Feature, "SLURM_GPUS=2"),
            (
                &[("gpus-per-task", "4")],
                GpuForm::Gres,
                "SLURM_GPUS_PER_TASK=2",
            ),
            (
                &[("gpus-per-task", "1"), ("ntasks", "4")],
                GpuForm::Gres,
                "",
            ),
            (&[("gres", "gpu:4")], GpuForm::Gres, ""),
        ] {
            let plan = plan(&given(asked), &two(1), &rules(form), false).unwrap();
            let all: Vec<String> = plan
                .environment
                .iter()
                .map(|(n, v)| format!("{n}={v}"))
                .collect();
            assert_eq!(all.join(" "), told, "{asked:?}");
            assert!(plan.edits.iter().any(|e| e.name == "gres"), "{asked:?}");
        }
    }

    #[test]
    fn a_job_whose_tasks_own_gpus_is_left() {
        let job = given(&[("gpus", "8"), ("ntasks-per-gpu", "2")]);
        let reason = plan(&job, &two(1), &rules(GpuForm::Gres), false).unwrap_err();
        assert!(reason.contains("--ntasks-per-gpu"), "{reason}");
    }

    #[test]
    fn a_constraint_in_the_way_is_told() {
        let job = given(&[("gres", "gpu:a100:1"), ("constraint", "[a100*2&ib*1]")]);
        let reason = plan(&job, &two(1), &rules(GpuForm::Gres), false).unwrap_err();
        assert_eq!(
            reason,
            "--constraint=[a100*2&ib*1] excludes the advised h100"
        );
        let job = given(&[("constraint", "ib|ssd")]);
        let reason = plan(&job, &two(1), &rules(GpuForm::Feature), false).unwrap_err();
        assert_eq!(
            reason,
            "--constraint=ib|ssd cannot be joined with the feature h100"
        );
    }

    proptest! {
        /// After the edits exactly one option asks for GPUs, and for the advised number.
        #[test]
        fn gpus_never_add_up(
            asked in prop::collection::vec((prop::sample::select(JobOption::ALL.to_vec()), "[a-z0-9:=/,]{0,12}|gpu:a100:8|[1-8]|a100:2"), 0..6),
            form in prop::sample::select(vec![GpuForm::Gres, GpuForm::GpusPerNode, GpuForm::Gpus, GpuForm::GpusPerTask, GpuForm::Feature]),
            spread in any::<bool>(),
        ) {
            let mut job: std::collections::BTreeMap<JobOption, String> = asked.into_iter().collect();
            let before = Given::default().with(|option| Some(job.get(&option).cloned()));
            if let Ok(plan) = plan(&before, &two(1), &rules(form), spread) {
                for edit in &plan.edits {
                    let Some(option) = JobOption::ALL.iter().find(|one| one.name() == edit.name) else {
                        continue;
                    };
                    match &edit.value {
                        Some(value) => job.insert(*option, value.clone()),
                        None => job.remove(option),
                    };
                }
                let asks = |one: JobOption| job.get(&one).is_some_and(|value| one != JobOption::Gres || without_gpus(value).is_some());
                let all = GPU_OPTIONS.into_iter().chain([JobOption::Gres]);
                prop_assert_eq!(all.filter(|one| asks(*one)).count(), 1, "{:?}", job);
                prop_assert!(job.get(&JobOption::TresPerTask).is_none_or(|value| without_gpus(value).is_none()));
            }
        }
    }
}
