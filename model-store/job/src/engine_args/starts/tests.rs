use super::*;
use proptest::prelude::*;

fn read(name: &str) -> Option<String> {
    let text = match name {
        "serve.yaml" | "/etc/serve.yaml" => {
            "model: org/m\ntensor-parallel-size: 4\ndtype: bfloat16\n"
        }
        "./serve.sh" => "exec vllm serve m -tp 2 --port $1\n",
        "client.py" => "import json\nfrom openai import OpenAI\nOpenAI()\n",
        "offline.py" => "from vllm import LLM\nllm = LLM('m', tensor_parallel_size=4)\n",
        _ => return None,
    };
    Some(text.to_owned())
}

fn of(script: &str) -> Starts {
    let variable = |name: &str| match name {
        "SLURM_JOB_NUM_NODES" => Variable::Is("2".into()),
        "SLURM_GPUS" => Variable::Gpus,
        name if name.starts_with("SLURM") => Variable::Unknown,
        _ => Variable::Unset,
    };
    starts(
        script,
        &Outside {
            arguments: Some(&[]),
            variable: &variable,
            read: &read,
        },
    )
}

fn one(script: &str) -> Start {
    let found = of(script).list;
    assert_eq!(found.len(), 1, "{script}: {found:?}");
    found.into_iter().next().unwrap()
}

fn known(n: u32) -> Option<u32> {
    Some(n)
}

#[test]
fn programs_that_a_colon_parts_run_at_the_same_time() {
    let found = of("srun --het-group=0 vllm serve a -tp 4 : --het-group=1 vllm serve b -tp 1").list;
    let seen: Vec<_> = found
        .iter()
        .map(|s| (s.tp.known(), s.het_groups.clone(), s.together))
        .collect();
    assert_eq!(
        seen,
        [(known(4), vec![0], false), (known(1), vec![1], false)]
    );
    let found = of("mpirun -np 1 vllm serve a -tp 4 : -np 2 ./own --flag").list;
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].tp.known(), known(4));
    assert!(matches!(found[1].program, Program::Unknown(_)));
    assert!(found.iter().all(|s| s.together));
}

#[test]
fn a_function_that_differs_by_branch_may_have_any_of_its_bodies() {
    let script =
        "if [ -e x ]; then f() { vllm serve m -tp 1; }; else f() { vllm serve m -tp 4; }; fi; f";
    let seen: Vec<_> = of(script).list.iter().map(|s| s.tp.known()).collect();
    assert_eq!(seen, [known(1), known(4)]);
    assert_eq!(one(&script.replace("-tp 1", "-tp 4")).tp.known(), known(4));
}

#[test]
fn the_command_behind_an_image_is_what_runs() {
    let start = one("apptainer run --nv /images/vllm.sif bash ./serve.sh 8000");
    assert_eq!(start.tp.known(), known(2));
    for command in ["python3 own.py", "bash own.sh", "./own.sh"] {
        let start = one(&format!("apptainer run --nv /images/vllm.sif {command}"));
        assert!(matches!(start.program, Program::Unknown(_)), "{start:?}");
    }
    let start = one("apptainer run --nv /images/vllm.sif org/m -tp 4");
    assert_eq!(start.tp.known(), known(4));
}

#[test]
fn a_degree_is_known_where_the_text_tells() {
    for (script, tp) in [
        (
            "srun vllm serve org/m \\\n  --tensor-parallel-size 4 &\nwait",
            4,
        ),
        ("TP=4\nvllm serve m -tp $TP", 4),
        ("export ARGS='-tp 4 --port 1'\nvllm serve m $ARGS", 4),
        ("TP=2\n[ x ] && TP=4\nvllm serve m -tp $TP", 4),
        ("TP=${TP:-4}; vllm serve m -tp $TP", 4),
        ("vllm serve m -tp 2 --tensor-parallel-size 8", 8),
        ("vllm serve m --config serve.yaml", 4),
        ("vllm serve m --config serve.yaml -tp 8", 8),
        ("cd x\nvllm serve --config /etc/serve.yaml", 4),
        ("trtllm-serve m --tp_size 8 --config serve.yaml", 4),
        ("./serve.sh 8000", 2),
        ("bash -e ./serve.sh", 2),
        ("source ./serve.sh", 2),
        ("python offline.py", 4),
        (
            "srun bash -lc \"source activate && exec vllm serve m -tp 4\"",
            4,
        ),
        ("f() { local n=$1; vllm serve m -tp $n; }; f 4", 4),
        ("set -- a 4; shift; vllm serve m -tp $1", 4),
        ("vllm() { printf '%s ' \"$@\"; }\nvllm serve m -tp 4", 4),
        ("alias go='vllm serve m -tp 4'\ngo", 4),
        ("coproc vllm serve m -tp 4", 4),
        ("x=4; y=x; vllm serve m --tensor 4", 4),
        ("docker run --gpus all vllm/vllm-openai --model m -tp 4", 4),
    ] {
        assert_eq!(one(script).tp.known(), known(tp), "{script}");
    }
    for script in [
        "vllm serve m",
        "vllm serve \"$MODEL\" --host=$(hostname)",
        "vllm serve $MODEL --port $PORT",
    ] {
        assert_eq!(one(script).tp, Stated::Unsaid, "{script}");
    }
}

#[test]
fn a_degree_follows_the_advice_or_the_jobs_gpus() {
    for script in [
        "vllm serve m -tp $SLURM_LLM_TP",
        "TP=${SLURM_LLM_TP:-4}; vllm serve m -tp $TP",
        "vllm serve m $SLURM_LLM_ENGINE_ARGS",
        "omnipilot run -- vllm serve m",
        "omnipilot run --engine vllm -- ./own.sh serve m",
        "./own --degree $SLURM_LLM_TP",
    ] {
        assert_eq!(one(script).tp, Stated::Advised, "{script}");
    }
    for script in [
        "vllm serve m --tensor-parallel-size=${SLURM_GPUS_ON_NODE}",
        "vllm serve m -tp ${SLURM_GPUS}",
        "vllm serve m -tp $(nvidia-smi -L | wc -l)",
        "N=$(echo $CUDA_VISIBLE_DEVICES | tr ',' '\\n' | wc -l)\nvllm serve m -tp $N",
        "text-generation-launcher --model-id m",
    ] {
        assert_eq!(one(script).tp, Stated::Gpus, "{script}");
    }
}

#[test]
fn what_only_a_running_shell_knows_is_unknown() {
    for script in [
        "vllm serve m -tp $TP",
        "vllm serve m \"${ARGS[@]}\"",
        "vllm serve m $(cat flags)",
        "vllm serve m -tp $((SLURM_GPUS_ON_NODE / 2))",
        "TP=2\n[ -e big ] && TP=4\nvllm serve m -tp $TP",
        "TP=2\nsource elsewhere.sh\nvllm serve m -tp $TP",
        "vllm serve m --config other.yaml",
        "cd x\nvllm serve m --config serve.yaml",
        "TP=4\nbash -c 'vllm serve m -tp $TP'",
        "while read -r TP; do vllm serve m -tp $TP; done < list",
    ] {
        assert!(
            of(script).list.iter().any(|s| s.tp == Stated::Unknown),
            "{script}"
        );
    }
    for script in [
        "python serve.py",
        "./other.sh",
        "curl -s x | bash",
        "$CMD",
        "lighteval vllm m",
        "srun --multi-prog conf",
        "vllm serve 'm",
    ] {
        assert_eq!(one(script).tp, Stated::Unknown, "{script}");
    }
}

#[test]
fn tools_and_text_about_engines_start_nothing() {
    for script in [
        "# vllm serve m -tp 4",
        "echo vllm serve m -tp 4",
        "cat > go.sh <<EOF\nvllm serve m -tp 4\nEOF",
        "pip install vllm",
        "vllm bench serve --model m",
        "module load cuda && nvidia-smi && export X=1",
        "pkill -f \"vllm serve\"",
        "python client.py",
        "python -m dynamo.frontend",
        "apptainer exec --nv x.sif nvidia-smi",
        "eval \"$(conda shell.bash hook)\"\nconda activate serve",
        "command -v vllm || pip install vllm",
        "python -c 'import vllm; print(vllm.__version__)'",
        "X=a; for i in {0..63}; do X=$X$X; done; echo $X",
        "until curl -s localhost:8000/health; do sleep 5; done",
    ] {
        assert_eq!(of(script).list, [], "{script}");
    }
}

#[test]
fn how_often_and_on_which_gpus() {
    for (script, times) in [
        ("srun -N1 -n1 vllm serve m", Times::Once),
        ("srun -n 4 vllm serve m", Times::Known(4)),
        ("srun vllm serve m", Times::EachTask),
        ("srun -N1 vllm serve m", Times::EachTaskOfANode),
        (
            "srun -A me -p gpu --ntasks-per-node=1 vllm serve m",
            Times::EachNode,
        ),
        ("mpirun -np 4 vllm serve m", Times::Known(4)),
        ("srun $OPTIONS vllm serve m", Times::Unknown),
        ("for x in $LIST; do vllm serve m & done", Times::Unknown),
        ("cat list | xargs -P4 -n1 vllm serve", Times::Unknown),
        ("ssh node1 vllm serve m", Times::Unknown),
    ] {
        assert_eq!(one(script).times, times, "{script}");
    }
    for (script, own) in [
        (
            "CUDA_VISIBLE_DEVICES=0,1 vllm serve m",
            Own::Devices(vec![0, 1]),
        ),
        (
            "export CUDA_VISIBLE_DEVICES=$SLURM_LOCALID\nvllm serve m",
            Own::Unknown,
        ),
        ("srun -n1 --gpus=2 vllm serve m", Own::Count(2)),
        (
            "srun -n1 --gres=gpu:$SLURM_GPUS_ON_NODE vllm serve m",
            Own::All,
        ),
        (
            "docker run --gpus 2 vllm/vllm-openai --model m",
            Own::Count(2),
        ),
    ] {
        assert_eq!(one(script).own, own, "{script}");
    }
    let found = of("vllm serve a &\nvllm serve b");
    assert!(found.list.iter().all(|s| s.together));
    let found = of("vllm serve a &\nwait\nvllm serve b\nvllm serve c");
    assert!(found.list.iter().all(|s| !s.together));
    let eight = of("for g in {0..7}; do CUDA_VISIBLE_DEVICES=$g vllm serve m & done; wait");
    assert_eq!(eight.list.len(), 8);
    assert_eq!(eight.list[7].own, Own::Devices(vec![7]));
}

#[test]
fn stages_replicas_nodes_and_components() {
    assert_eq!(
        one("vllm serve m -pp $SLURM_JOB_NUM_NODES").pp.known(),
        known(2)
    );
    assert_eq!(one("vllm serve m -tp 2 -dp 2").dp.known(), known(2));
    assert_eq!(
        one("python -m sglang.launch_server --nnodes 2")
            .nodes
            .known(),
        known(2)
    );
    let joined = of("srun -N2 ray start --block &\nomnipilot run -- vllm serve m");
    assert!(joined.may_have_stages() && !joined.may_use_all_nodes());
    assert!(of("ray start --head\nvllm serve m").may_use_all_nodes());
    let two = of(
        "srun --het-group=0 vllm serve a -tp 2 &\nsrun --het-group=1 vllm serve b -tp 4 &\nwait",
    );
    let second = two.of_component(1);
    assert_eq!(second.list.len(), 1);
    assert_eq!(second.list[0].tp.known(), known(4));
}

#[test]
fn formats_and_contexts() {
    let format = |script: &str| one(script).format;
    assert_eq!(
        format("vllm serve m --quantization fp8").known(),
        Some(Precision::Fp8)
    );
    assert_eq!(
        format("vllm serve m --dtype bfloat16").known(),
        Some(Precision::Bf16)
    );
    assert_eq!(format("vllm serve m --dtype auto"), Stated::Unsaid);
    assert_eq!(
        format("vllm serve m --dtype bfloat16 $SLURM_LLM_ENGINE_ARGS"),
        Stated::Advised
    );
    assert_eq!(format("llama-server -m x.gguf"), Stated::Unknown);
    assert_eq!(format("vllm serve m --cpu-offload-gb 40"), Stated::Unknown);
    assert!(one("vllm serve org/m-AWQ").own_checkpoint);
    assert!(!one("vllm serve org/m --quantization fp8").own_checkpoint);
    assert_eq!(
        one("vllm serve m --max-model-len 32k").context.known(),
        Some(32_000)
    );
    assert_eq!(one("vllm serve m").context, Stated::Unsaid);
    assert_eq!(
        one("omnipilot run -- vllm serve m").context,
        Stated::Advised
    );
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "vllm serve m ",
            "-tp 4",
            "<<E\n",
            "\nE\n",
            "'",
            "\"",
            "$(",
            ")",
            "${",
            "}",
            "`",
            "\\\n",
            "\\",
            "#",
            ";",
            "\n",
            "bash -c ",
            "TP=4 ",
            "$TP",
            "omnipilot run -- ",
            "&>",
            "2>&1",
            "--config x.yaml ",
            "./x.sh ",
            "srun --het-group=1 ",
            "((",
            "<<<",
            "for x in ",
            "; do ",
            "done",
            "if ",
            "then ",
            "fi",
            "case x in ",
            "esac",
            "f() {",
            "eval ",
            "[[ ",
            " ]]",
            "$((",
            "))",
            "A=(",
            "${A[@]}",
            "{0..3}",
            "python -c ",
            "LLM(",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ]
}

proptest! {
    #[test]
    fn no_script_panics(pieces in prop::collection::vec(piece(), 0..30)) {
        let script = pieces.concat();
        let lines = u32::try_from(script.lines().count()).unwrap() + 1;
        let outside = Outside {
            arguments: None,
            variable: &|_| Variable::Unknown,
            read: &|_| Some(script.clone()),
        };
        for start in starts(&script, &outside).list {
            prop_assert!(start.line >= 1 && start.line <= lines, "{} of {lines}", start.line);
        }
    }
}
