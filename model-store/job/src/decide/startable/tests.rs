use super::*;
use crate::slurm_view::{Allow, Cap, Membership, NodeGroup, Per, Reservation, Standing};
use proptest::prelude::*;

const NOW: i64 = 1_796_000_000;

fn node(gpu: &str, count: u32, partitions: &[u32]) -> NodeGroup {
    NodeGroup {
        names: format!("{gpu}-1"),
        count: 1,
        gpus: vec![(gpu.into(), count)],
        cpus: 64,
        threads: 1,
        sockets: 2,
        mib: 512_000,
        features: vec![gpu.into(), "gpu".into()],
        partitions: partitions.into(),
        ..NodeGroup::default()
    }
}

fn partition(name: &str) -> Partition {
    Partition {
        name: name.into(),
        is_up: true,
        ..Partition::default()
    }
}

/// Two partitions; A100 in both, H100 in the first, eight H200 in the second and two in the first.
fn view() -> SlurmView {
    SlurmView {
        nodes: vec![
            node("A100", 8, &[0, 1]),
            node("h100", 8, &[0]),
            node("h200", 2, &[0]),
            node("h200", 8, &[1]),
        ],
        partitions: vec![partition("serve"), partition("big")],
        defaults: Defaults {
            mib_per_cpu: Some(1024),
            ..Defaults::default()
        },
        ..SlurmView::default()
    }
}

fn limits(caps: Vec<Cap>, own_limits: bool) -> Accounting {
    let named = |name: &str, caps| Named {
        name: name.into(),
        caps,
        factor: 1.0,
    };
    Accounting::Read(Accounts {
        accounts: vec![named("poor", caps)],
        qos: vec![named("normal", Vec::new())],
        users: Accounts::pack(vec![("alice".into(), 0)]),
        standings: vec![Standing {
            default: Some(0),
            memberships: vec![Membership {
                account: 0,
                own_limits,
                qos: Some(0),
            }],
        }],
    })
}

fn cap(tres: &str, most: u64, per: Per) -> Cap {
    Cap {
        tres: tres.into(),
        most,
        per,
        limit: "GrpTRES".into(),
    }
}

struct Asked<'a> {
    view: SlurmView,
    options: &'a [(&'a str, &'a str)],
    config: &'a str,
    others: Vec<Other>,
}

fn asked<'a>(options: &'a [(&'a str, &'a str)]) -> Asked<'a> {
    Asked {
        view: view(),
        options,
        config: "",
        others: Vec::new(),
    }
}

impl Asked<'_> {
    fn with(mut self, change: impl FnOnce(&mut SlurmView)) -> Self {
        change(&mut self.view);
        self
    }

    /// Why so many GPUs of a type could not be had; `Err` where nothing can be known.
    fn of(&self, gpu: &str, per_node: u32, nodes: u32) -> Result<Option<String>, String> {
        let option = |name: &str| {
            let found = self.options.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let given = Given::of(option);
        let partitions: Vec<String> = given
            .get(JobOption::Partition)
            .unwrap_or("serve")
            .split(',')
            .map(str::to_owned)
            .collect();
        let paths = "store = \"/s\"\nsnapshot = \"/m\"\nspool = \"/p\"\n";
        let config = Config::parse(&format!("{paths}{}", self.config)).unwrap();
        let cluster = ClusterState {
            observed_at: Some(NOW - 60),
            ..ClusterState::default()
        };
        let who = Who {
            user: Some("alice".into()),
            gids: vec![1001],
            groups: vec!["students".into()],
            others: self.others.clone(),
        };
        let job = Job {
            given: &given,
            partitions: &partitions,
            spread: false,
            who: &who,
        };
        match Ground::of(Some(&self.view), &cluster, &config, Some(NOW), job) {
            Ground::Seen(checker) => Ok(checker.bar(gpu, per_node, nodes)),
            Ground::Unknown(reason) => Err(reason),
            Ground::Stated => panic!("it was observed"),
        }
    }

    fn bars(&self, gpu: &str, per_node: u32) -> String {
        self.of(gpu, per_node, 1)
            .unwrap()
            .unwrap_or_else(|| "-".into())
    }
}

#[test]
fn a_count_counts_on_nodes_of_the_jobs_own_partition() {
    let in_serve = asked(&[]);
    assert_eq!(in_serve.bars("h200", 2), "-");
    assert_eq!(
        in_serve.bars("h200", 4),
        "partition serve has 4 x h200 on 0 nodes, this takes 1"
    );
    assert_eq!(asked(&[("partition", "serve,big")]).bars("h200", 4), "-");
    // Slurm tells types apart letter by letter.
    assert_eq!(in_serve.bars("A100", 1), "-");
    assert_ne!(in_serve.bars("a100", 1), "-");
    assert!(
        in_serve
            .of("h100", 8, 2)
            .unwrap()
            .unwrap()
            .contains("this takes 2")
    );
}

#[test]
fn what_the_nodes_lack_is_told() {
    let smaller = |v: &mut SlurmView| v.nodes[1].features.clear();
    for (options, words) in [
        (
            &[("constraint", "ib")][..],
            "0 with the features that are asked for",
        ),
        (&[("mem", "800G")], "0 with the memory"),
        (&[("mem-per-gpu", "300G")], "0 with the memory"),
        (
            &[("cpus-per-task", "100"), ("mem", "1G")],
            "0 with the CPUs",
        ),
        (&[("cpus-per-gpu", "33"), ("mem", "1G")], "0 with the CPUs"),
        (
            &[("cpus-per-task", "2"), ("mem-per-cpu", "400G")],
            "0 with the memory",
        ),
        (&[("gres", "lustre:1")], "0 with the other resources"),
        (&[("tmp", "1G")], "0 with the temporary disk"),
        (
            &[("exclude", "h100-1")],
            "partition serve has 2 x h100 on 0 nodes",
        ),
    ] {
        let told = asked(options).with(smaller).bars("h100", 2);
        assert!(told.contains(words), "{options:?}: {told}");
    }
    for options in [
        &[("constraint", "gpu")][..],
        &[("mem", "0")],
        &[("mem", "500G")],
        &[("cpus-per-task", "64"), ("mem", "1G")],
        &[("exclude", "h100-[2-9]")],
    ] {
        assert_eq!(asked(options).bars("h100", 2), "-", "{options:?}");
    }
}

#[test]
fn nodes_that_cannot_run_jobs_and_those_of_others_do_not_count() {
    let drained = |v: &mut SlurmView| v.nodes[1].down = Some("IDLE+DRAIN".into());
    let told = asked(&[]).with(drained).bars("h100", 1);
    assert_eq!(
        told,
        "of 1 node with 1 x h100 in partition serve, 0 that can run jobs"
    );
    let reserve = |v: &mut SlurmView| {
        v.reservations = vec![Reservation {
            name: "m".into(),
            start: NOW + 3600,
            end: NOW + 7200,
        }];
        v.nodes[1].reservations = vec![0];
    };
    assert_eq!(asked(&[("time", "59")]).with(reserve).bars("h100", 1), "-");
    for time in ["61", "1-0", "UNLIMITED"] {
        let told = asked(&[("time", time)]).with(reserve).bars("h100", 1);
        assert!(
            told.contains("without another reservation"),
            "{time}: {told}"
        );
    }
    let beside = |gpu: Option<&str>| Asked {
        others: vec![Other {
            gpu: gpu.map(str::to_owned),
            nodes: 1,
        }],
        ..asked(&[])
    };
    assert!(beside(None).bars("h100", 1).contains("this takes 2"));
    assert!(
        beside(Some("H100"))
            .bars("h100", 1)
            .contains("this takes 2")
    );
    assert_eq!(beside(Some("h200")).bars("h100", 1), "-");
}

#[test]
fn a_partition_that_is_closed_to_the_job_does_not_count() {
    type Change = fn(&mut Partition);
    let changes: [(&str, Change); 5] = [
        ("starts no jobs", |p| p.is_up = false),
        ("closed to the job's account", |p| {
            p.allow.accounts = Some(vec!["rich".into()])
        }),
        ("closed to the user's groups", |p| {
            p.allow.groups = Some(vec![7])
        }),
        ("jobs of 30 minutes at most", |p| p.max_minutes = Some(30)),
        ("closed to the job's QOS", |p| {
            p.allow = Allow {
                no_qos: vec!["normal".into()],
                ..Allow::default()
            }
        }),
    ];
    for (words, change) in changes {
        let job = asked(&[("partition", "serve,big"), ("time", "40")]).with(|v| {
            v.accounting = limits(Vec::new(), false);
            change(&mut v.partitions[1]);
        });
        let told = job.bars("h200", 8);
        assert!(
            told.contains(words) || told.contains("partition serve has"),
            "{told}"
        );
        assert_ne!(told, "-", "{words}");
        assert_eq!(job.bars("h100", 8), "-", "{words}");
        // Where every partition of the list counts, one that is closed closes all.
        let all = asked(&[("partition", "serve,big"), ("time", "40")]).with(|v| {
            v.accounting = limits(Vec::new(), false);
            v.all_partitions_count = true;
            change(&mut v.partitions[1]);
        });
        assert!(all.bars("h100", 8).contains(words), "{words}");
    }
}

#[test]
fn limits_count_where_slurm_holds_jobs_to_them() {
    let limited = |caps: Vec<Cap>, enforced| {
        asked(&[("time", "60")]).with(move |v| {
            v.limits_enforced = enforced;
            v.accounting = limits(caps, false);
        })
    };
    let none = || vec![cap("gres/gpu:h100", 0, Per::Job)];
    assert_eq!(
        limited(none(), true).bars("h100", 1),
        "GrpTRES of account poor allows at most 0 of gres/gpu:h100, this takes 1"
    );
    assert_eq!(limited(none(), false).bars("h100", 1), "-");
    assert_eq!(limited(none(), true).bars("A100", 1), "-");
    let bar = |tres, most, per, count| {
        limited(vec![cap(tres, most, per)], true).bars("h100", count) != "-"
    };
    assert!(bar("gres/gpu", 1, Per::Job, 2) && !bar("gres/gpu", 1, Per::Job, 1));
    assert!(bar("gres/gpu", 100, Per::Minutes, 2) && !bar("gres/gpu", 60, Per::Minutes, 1));
    assert!(bar("gres/gpu", 4, Per::Least, 2) && !bar("gres/gpu", 4, Per::Least, 4));
    assert!(bar("mem", 1000, Per::Node, 1) && !bar("node", 1, Per::Job, 8));
}

#[test]
fn a_job_that_gets_whole_nodes_is_held_to_all_that_they_have() {
    let limited = |options: &'static [(&str, &str)], caps: Vec<Cap>| {
        asked(options).with(move |v| {
            v.limits_enforced = true;
            v.accounting = limits(caps, false);
        })
    };
    let whole = &[("exclusive", ""), ("time", "60")];
    for (tres, most) in [
        ("cpu", 32),
        ("gres/gpu", 4),
        ("gres/gpu:h100", 4),
        ("mem", 1000),
    ] {
        let caps = || vec![cap(tres, most, Per::Job)];
        let told = limited(whole, caps()).bars("h100", 1);
        assert!(told.contains(tres), "{tres}: {told}");
        assert_eq!(
            limited(&[("mem", "900M")], caps()).bars("h100", 1),
            "-",
            "{tres}"
        );
    }
    let all_memory = limited(&[("mem", "0")], vec![cap("mem", 1000, Per::Node)]);
    assert!(all_memory.bars("h100", 1).contains("this takes 512000"));
}

#[test]
fn a_job_that_starts_nobody_knows_when_is_kept_off_by_every_reservation() {
    let reserve = |v: &mut SlurmView| {
        v.reservations = vec![Reservation {
            name: "m".into(),
            start: NOW + 7200,
            end: NOW + 9000,
        }];
        v.nodes[1].reservations = vec![0];
    };
    let bar = |name: &'static str, value: &'static str| {
        let options = [("time", "30"), (name, value)];
        let told = asked(&options).with(reserve).bars("h100", 1);
        told.contains("without another reservation")
    };
    assert!(bar("begin", "now+2hours") && bar("dependency", "afterok:1") && bar("hold", ""));
    assert!(bar("array", "0-9%2") && !bar("array", "0-9") && !bar("mem", "1G"));
}

#[test]
fn a_partition_may_ask_for_more_nodes_or_for_other_submitters() {
    let both = || asked(&[("partition", "serve,big")]);
    let least = both().with(|v| v.partitions[1].min_nodes = 2);
    assert_ne!(least.bars("h200", 8), "-");
    assert_eq!(least.bars("h100", 8), "-");
    let special = |v: &mut SlurmView| v.partitions[1].is_special = true;
    assert_ne!(both().with(special).bars("h200", 8), "-");
    // Alone it closes itself to the form as written, too.
    let alone = asked(&[("partition", "big")]).with(special);
    assert_eq!(alone.bars("h200", 8), "-");
    let unseen = asked(&[]).with(|v| {
        v.limits_enforced = true;
        v.accounting = limits(Vec::new(), false);
        v.partitions[0].qos = Some("narrow".into());
    });
    assert!(
        unseen
            .bars("h100", 1)
            .contains("QOS narrow of partition serve")
    );
}

#[test]
fn what_cannot_be_known_is_said() {
    let enforced = |accounting: Accounting| {
        asked(&[]).with(move |v| {
            v.limits_enforced = true;
            v.accounting = accounting;
        })
    };
    let unknown = |job: Asked, words: &str| {
        let told = job.of("h100", 1, 1).unwrap_err();
        assert!(told.contains(words), "{told}");
    };
    unknown(
        enforced(Accounting::Unreadable("x".into())),
        "limits cannot be read: x",
    );
    unknown(enforced(limits(Vec::new(), true)), "limits of his own");
    unknown(
        enforced(limits(vec![cap("billing", 10, Per::Job)], false)),
        "billing",
    );
    unknown(asked(&[("reservation", "r1")]), "--reservation");
    unknown(asked(&[("exclude", "/a/file")]), "--exclude");
    let others = asked(&[("account", "other")]).with(|v| {
        v.limits_enforced = true;
        v.accounting = limits(Vec::new(), false);
    });
    unknown(others, "account was not observed");
}

#[test]
fn the_configurations_own_limits_count_too() {
    let limited = Asked {
        config: "[[limit]]\ngroup = \"students\"\nmost_gpus = 2\n[[limit]]\npartition = \"big\"\ntypes = \"h200\"\n",
        ..asked(&[("partition", "serve,big")])
    };
    assert_eq!(limited.bars("h100", 2), "-");
    assert!(limited.bars("h100", 4).contains("allows 2 GPUs at most"));
    // In the other partition.
    assert_eq!(limited.bars("A100", 1), "-");
    let alone = Asked {
        config: limited.config,
        ..asked(&[("partition", "big")])
    };
    assert!(alone.bars("A100", 1).contains("allows h200 here"));
}

#[test]
fn a_rule_that_no_node_can_meet_is_a_reason() {
    let ruled = Asked {
        config: "[rewrite]\ncpus_per_gpu = 16\nmem_per_gpu = \"200G\"\n",
        ..asked(&[])
    };
    assert_eq!(ruled.bars("h100", 2), "-");
    assert!(ruled.bars("h100", 4).contains("0 with the memory"));
}

#[test]
fn times_are_read_as_slurm_reads_them() {
    for (text, read) in [
        ("10", Some(10)),
        ("10:30", Some(11)),
        ("01:10:00", Some(70)),
        ("1-0", Some(1440)),
        ("1-12:30", Some(2190)),
        ("2-00:00:01", Some(2881)),
        ("UNLIMITED", Some(u64::MAX)),
        ("soon", None),
        ("1:2:3:4", None),
    ] {
        assert_eq!(minutes(text), read, "{text}");
    }
}

proptest! {
    #[test]
    fn no_job_panics_and_more_gpus_are_never_easier(
        option in prop::sample::select(JobOption::ALL.to_vec()), value in "[a-z0-9:,=\\[\\]-]{0,12}",
        gpu in prop::sample::select(vec!["A100", "h100", "h200"]), count in 1u32..9,
    ) {
        let options = [(option.name(), value.as_str())];
        let job = asked(&options);
        if let (Ok(few), Ok(many)) = (job.of(gpu, count, 1), job.of(gpu, count + 1, 1)) {
            prop_assert!(few.is_none() || many.is_some());
        }
    }
}
