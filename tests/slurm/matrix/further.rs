//! The same on another cluster: the type that advice likes best has the largest node, a node has two types, one has none, one
//! is cut into slices; partitions close themselves in further ways, and what a job takes depends on its node.

use super::{LARGE, SMALL, Stage, site_of, stage, try_all};

const NODES: &str =
    "a1:A100:8 a2:A100:4+h200=2 h1:H100:8 h2:h200:8:128:1000000 g1:1g.10gb:7 u1:-:4";

/// In each of them the node of the liked type is closed to the job in one way, `anode` has another.
const CONF: &str = "AccountingStorageEnforce=associations,limits,qos
Licenses=tool:2
NodeName=f1 NodeHostname=localhost NodeAddr=127.0.0.1 Port=19999 CPUs=64 RealMemory=512000 Gres=gpu:b200:8 State=FUTURE
PartitionName=anode Nodes=a1 State=UP
PartitionName=mixed Nodes=a2 State=UP
PartitionName=hidden Nodes=a1,h2 State=UP Hidden=YES
PartitionName=denied Nodes=h2 State=UP DenyAccounts=poor
PartitionName=noqos Nodes=h2 State=UP DenyQos=normal
PartitionName=big Nodes=h1,h2 State=UP MinNodes=2
PartitionName=few Nodes=h2 State=UP MaxCPUsPerNode=4
PartitionName=small Nodes=h2 State=UP MaxMemPerNode=8192
PartitionName=thin Nodes=a1,h2 State=UP MaxMemPerCPU=4096
PartitionName=elsewhere Nodes=h2 State=UP AllocNodes=nowhere
PartitionName=rooted Nodes=h2 State=UP RootOnly=YES
PartitionName=booked Nodes=h2 State=UP ReqResv=YES
PartitionName=inactive Nodes=h2 State=INACTIVE
PartitionName=draining Nodes=h2 State=DRAIN
PartitionName=over Nodes=h2 State=UP MaxTime=8 OverTimeLimit=60
PartitionName=pqos Nodes=a1,h2 State=UP
PartitionName=whole Nodes=a1,h2 State=UP OverSubscribe=EXCLUSIVE
PartitionName=sockets Nodes=a1,h2 State=UP SelectTypeParameters=CR_SOCKET_MEMORY
PartitionName=dear Nodes=a1,h2 State=UP TRESBillingWeights=CPU=1.0,GRES/gpu:h200=100,GRES/gpu:A100=1
PartitionName=defaults Nodes=a1,h2 State=UP";

const A100: (&str, &str) = (SMALL, "--gres=gpu:A100:1");

/// Partitions, forms of a request, features; node states, reservations; limits.
const STAGES: [Stage; 22] = [
    stage(
        &["scontrol update partitionname=defaults jobdefaults=DefCpuPerGPU=8,DefMemPerGPU=20000"],
        &[
            (SMALL, "-p hidden --gres=gpu:1"),
            (SMALL, "-p anode,denied --gres=gpu:1"),
            (SMALL, "-p anode,noqos --gres=gpu:1"),
            (SMALL, "-p anode,big --gres=gpu:1"),
            (SMALL, "-p anode,few -c 8 --gres=gpu:1"),
            (SMALL, "-p anode,small --mem=20G --gres=gpu:1"),
            (SMALL, "-p thin -n 1 --mem-per-cpu=8G --gres=gpu:A100:1"),
            (SMALL, "-p anode,elsewhere --gres=gpu:1"),
            (SMALL, "-p anode,rooted --gres=gpu:1"),
            (SMALL, "-p anode,booked --gres=gpu:1"),
            (SMALL, "-p anode,inactive --gres=gpu:1"),
            (SMALL, "-p anode,draining --gres=gpu:1"),
            (SMALL, "-p anode,over --gres=gpu:1"),
            (SMALL, "-p over -t 8 --gres=gpu:1"),
            (SMALL, "-p mixed --gres=gpu:A100:1"),
            (LARGE, "-p mixed --gres=gpu:A100:4"),
            (SMALL, "-p sockets --gres=gpu:A100:1"),
            (SMALL, "-p dear --gres=gpu:A100:1"),
            (SMALL, "-p defaults --gres=gpu:A100:1"),
        ],
        &[],
    ),
    stage(
        &[],
        &[
            (SMALL, "--gres=gpu:1g.10gb:1"),
            (SMALL, "-w u1 --gres=gpu:1"),
            (SMALL, "--gpus=1"),
            (SMALL, "--gres=gpu:h200:2"),
            (SMALL, "--mem-per-gpu=100G --gpus=A100:1"),
            (SMALL, "--cpus-per-gpu=8 --gpus=A100:1"),
            (SMALL, "-n 2 --gpus=2 --gpus-per-task=1"),
            (SMALL, "-n 1 --ntasks-per-gpu=1 --gpus=A100:1"),
            (SMALL, "-n 1 --gpus-per-task=A100:1"),
            (SMALL, "--gpus-per-socket=A100:1 --sockets-per-node=2"),
            (SMALL, "-N 2 --gpus=4 --gpus-per-node=2"),
            (SMALL, "-N 1-2 --gres=gpu:A100:1"),
            (SMALL, "-c 4 --gres=gpu:A100:1 --gres-flags=enforce-binding"),
            (SMALL, "--mem=0 --gres=gpu:A100:1"),
            (SMALL, "--exclusive --mem=0 --gres=gpu:A100:1"),
            (SMALL, "--exclusive=user --gres=gpu:A100:1"),
            (SMALL, "-n 2 --ntasks-per-socket=1 --gres=gpu:A100:1"),
            (SMALL, "--hint=nomultithread --gres=gpu:A100:1"),
        ],
        &[],
    ),
    stage(
        &[],
        &[
            (SMALL, "-C [A100|H100] --gres=gpu:1"),
            (SMALL, "-C (A100|H100)&gpu --gres=gpu:1"),
            (SMALL, "-N 2 -C [A100*1&H100*1] --gres=gpu:1"),
            (SMALL, "--prefer=A100 --gres=gpu:1"),
            (SMALL, "--exclude=h2,a2 --gres=gpu:1"),
            (SMALL, "-w a[1-2] -N 2 --gres=gpu:1"),
            (SMALL, "-a 1-4%1 --gres=gpu:A100:1"),
            (SMALL, "--begin=now+1 --gres=gpu:A100:1"),
            (SMALL, "-d singleton -J one --gres=gpu:A100:1"),
            (SMALL, "-L tool:1 --gres=gpu:A100:1"),
            (SMALL, "--switches=1@1 --gres=gpu:A100:1"),
            (SMALL, "--time-min=1 --gres=gpu:A100:1"),
            (SMALL, "--deadline=now+1hour --gres=gpu:A100:1"),
            (SMALL, "-t 0 --gres=gpu:A100:1"),
            (SMALL, "--gres=gpu:1 : --gres=gpu:1"),
        ],
        &[],
    ),
    stage(
        &["scontrol update node=h2 state=fail reason=fan"],
        &[(SMALL, "-p hidden --gres=gpu:1"), A100],
        &["scontrol update node=h2 state=resume"],
    ),
    stage(
        &["scontrol update node=h2 state=down reason=psu"],
        &[(SMALL, "-p hidden --gres=gpu:1")],
        &["scontrol update node=h2 state=resume"],
    ),
    stage(
        &["scontrol update node=h2 availablefeatures=h200 activefeatures=h200"],
        &[(SMALL, "-C gpu --gres=gpu:1")],
        &["scontrol update node=h2 availablefeatures=h200,gpu activefeatures=h200"],
    ),
    stage(
        &[],
        &[(SMALL, "-C gpu -p hidden --gres=gpu:1")],
        &["scontrol update node=h2 availablefeatures=h200,gpu activefeatures=h200,gpu"],
    ),
    stage(
        &[
            "scontrol create reservation ReservationName=d starttime=now+3minutes duration=60 user=root flags=daily nodes=h2,a2",
        ],
        &[A100],
        &["scontrol delete reservationname=d"],
    ),
    stage(
        &[
            "scontrol create reservation ReservationName=t starttime=now+4minutes duration=60 user=root flags=time_float nodes=h2,a2",
        ],
        &[A100, (SMALL, "-t 2 --gres=gpu:A100:1")],
        &["scontrol delete reservationname=t"],
    ),
    stage(
        &[
            "scontrol create reservation ReservationName=p starttime=now duration=60 user=root flags=part_nodes,ignore_jobs partitionname=denied nodes=all",
        ],
        &[(SMALL, "-p hidden --gres=gpu:1")],
        &["scontrol delete reservationname=p"],
    ),
    stage(
        &[
            "scontrol create reservation ReservationName=c starttime=now duration=60 user=root nodes=h2 corecnt=128",
        ],
        &[(SMALL, "-p hidden --gres=gpu:1")],
        &["scontrol delete reservationname=c"],
    ),
    stage(
        &["sacctmgr modify qos normal set MaxTRESPerJob=cpu=64"],
        &[
            (SMALL, "--exclusive --gres=gpu:A100:1"),
            (SMALL, "-p whole --gres=gpu:A100:1"),
        ],
        &["sacctmgr modify qos normal set MaxTRESPerJob=cpu=-1"],
    ),
    stage(
        &["sacctmgr modify qos normal set MaxTRESPerUser=gres/gpu:h200=2"],
        &[
            (SMALL, "--exclusive --gres=gpu:A100:1"),
            (SMALL, "-p whole --gres=gpu:A100:1"),
        ],
        &["sacctmgr modify qos normal set MaxTRESPerUser=gres/gpu:h200=-1"],
    ),
    stage(
        &["sacctmgr modify qos normal set MaxTRESPerJob=mem=600G"],
        &[(SMALL, "--mem=0 --gres=gpu:A100:1")],
        &["sacctmgr modify qos normal set MaxTRESPerJob=mem=-1"],
    ),
    stage(
        &[
            "sacctmgr add qos narrow",
            "sacctmgr modify qos narrow set MaxTRESPerJob=gres/gpu:h200=0",
            "scontrol update partitionname=pqos qos=narrow",
        ],
        &[(SMALL, "-p pqos --gres=gpu:A100:1")],
        &[],
    ),
    stage(
        &[
            "sacctmgr modify qos narrow set MaxTRESMins=gres/gpu:h200=5 MaxTRESPerJob=gres/gpu:h200=-1",
        ],
        &[(SMALL, "-p pqos --gres=gpu:A100:1")],
        &[],
    ),
    stage(
        &["sacctmgr modify qos normal set MaxTRESPerJob=billing=50"],
        &[(SMALL, "-p dear --gres=gpu:A100:1")],
        &["sacctmgr modify qos normal set MaxTRESPerJob=billing=-1"],
    ),
    stage(
        &["sacctmgr modify account root set GrpTRES=gres/gpu:h200=0"],
        &[A100],
        &["sacctmgr modify account root set GrpTRES=gres/gpu:h200=-1"],
    ),
    stage(
        &["sacctmgr modify account poor set GrpTRESRunMins=gres/gpu:h200=5"],
        &[A100],
        &["sacctmgr modify account poor set GrpTRESRunMins=gres/gpu:h200=-1"],
    ),
    stage(
        &[
            "sacctmgr add account below parent=poor",
            "sacctmgr add user alice account=below",
            "sacctmgr modify account poor set GrpTRES=gres/gpu:h200=0",
        ],
        &[(SMALL, "-A below --gres=gpu:A100:1")],
        &["sacctmgr modify account poor set GrpTRES=gres/gpu:h200=-1"],
    ),
    stage(
        &["sacctmgr modify qos gold set MaxTRESPerJob=gres/gpu:h200=0 Flags=OverPartQOS"],
        &[(SMALL, "-q gold --gres=gpu:A100:1"), A100],
        &["sacctmgr modify qos gold set MaxTRESPerJob=gres/gpu:h200=-1"],
    ),
    stage(
        &["sacctmgr add user alice account=rich partition=anode"],
        &[(SMALL, "-A rich -p anode --gres=gpu:1")],
        &[],
    ),
];

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "slurmdbd and MariaDB are not installed")]
fn so_it_does_where_nodes_and_partitions_differ_more() {
    let (all, acted) = try_all(&site_of(NODES, CONF), "h200", &STAGES);
    assert!(
        all >= 75 && acted * 3 >= all * 2,
        "advice acted in {acted} of {all} set-ups"
    );
}
