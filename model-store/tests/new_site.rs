//! A new site: the built-in published figures and a cluster, nothing measured. What the advisor
//! answers, through the same road as plugin and command.

#![allow(clippy::unwrap_used)] // a test may

use std::sync::LazyLock;

use model_store::advisor::{
    Assessed, Case, Catalogue, ClusterState, Fallen, GpuPool, Measured, Origin, Pins, QueueWait,
    QueueWaits, Run, SiteGpu, Target, Term, Verdict, Workload, gpu_name_of_gres,
};
use model_store::config::Config;
use model_store::consult::{Consulted, consult_snapshot, exit_code};
use model_store::decision::{Decision, Submission, advice_on, decide};
use model_store::job_request::Given;
use model_store::options::RawOptions;
use model_store::snapshot::{Body, Snapshot};
use model_store::startable::Who;
use model_store::store::published_figures;
use model_store::train::train;

fn cluster() -> ClusterState {
    let pool = |gres: &str| GpuPool {
        gres: gres.into(),
        nodes: 1,
        per_node: 8,
        total: 8,
        free: 8,
        ..GpuPool::default()
    };
    ClusterState {
        pools: ["a100", "h100", "h200"].map(pool).to_vec(),
        observed_at: None,
        ..ClusterState::default()
    }
}

fn snapshot_of(runs: &[Run]) -> Snapshot {
    let (model, _) = train(runs, &Catalogue::built_in(), &|_, _| {});
    let cluster = cluster();
    let gpus = cluster
        .pools
        .iter()
        .map(|p| SiteGpu {
            gres: p.gres.clone(),
            gpu: gpu_name_of_gres(&p.gres).unwrap().into(),
            price_per_hour: 1.0,
        })
        .collect();
    let body = Body {
        model,
        cluster,
        gpus,
        catalogue: Catalogue::built_in(),
        models: Vec::new(),
        engine: "vllm".into(),
        ..Body::default()
    };
    Snapshot::new(body, 0)
}

static PUBLISHED: LazyLock<Vec<Run>> = LazyLock::new(|| published_figures().unwrap());
static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| snapshot_of(&PUBLISHED));

fn ask_of(snapshot: &Snapshot, options: &[(&str, &str)]) -> Consulted {
    let mut raw = RawOptions::default();
    for (name, value) in options {
        raw.set(name, value).unwrap();
    }
    let config = Config::beside_store("/nowhere/store.db".as_ref());
    consult_snapshot(
        snapshot,
        &snapshot.body.cluster,
        &config,
        &raw,
        &Pins::default(),
    )
    .unwrap()
}

fn ask(options: &[(&str, &str)]) -> Consulted {
    ask_of(&SNAPSHOT, options)
}

const LLAMA_70B: [(&str, &str); 4] = [
    ("llm-model", "meta-llama/Llama-3.1-70B-Instruct"),
    ("llm-isl", "2000"),
    ("llm-osl", "300"),
    ("llm-concurrency", "64"),
];

#[test]
fn a_known_model_gets_a_configuration_with_an_interval_and_says_what_it_rests_on() {
    let consulted = ask(&LLAMA_70B);
    let best = consulted
        .advice
        .recommended()
        .unwrap_or_else(|| panic!("{:#?}", consulted.advice.verdict));
    let p = best.prediction(Target::OutputTokS).unwrap();
    assert!(p.lo < p.q50 && p.q50 < p.hi && p.lo > 0.0, "{p:?}");
    let Ok(rewrite) = &consulted.answer else {
        panic!("{:?}", consulted.answer)
    };
    assert!(
        rewrite.message[0].ends_with("(from 717 published figures alone)"),
        "{:?}",
        rewrite.message
    );
    assert_eq!(
        rewrite.gres,
        format!("gpu:{}:{}", best.config.gres, best.config.tp)
    );
    let of = |name: &str| {
        rewrite
            .environment
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| v.as_str())
    };
    assert_eq!(
        of("SLURM_LLM_TP"),
        Some(best.config.tp.to_string().as_str())
    );
    assert_eq!(of("SLURM_LLM_ADVICE"), Some(consulted.advice.id.as_str()));
    assert_eq!(
        rewrite.comment,
        format!("omnipilot:{}", consulted.advice.id)
    );
}

#[test]
fn an_unmeasured_family_is_refused_with_the_axis_the_range_and_the_nearest_run() {
    let consulted = ask(&[
        ("llm-model", "google/flan-ul2"),
        ("llm-isl", "512"),
        ("llm-osl", "128"),
    ]);
    let Err(refusal) = &consulted.answer else {
        panic!("{:?}", consulted.answer)
    };
    assert_eq!(refusal.code, exit_code::OUT_OF_SUPPORT);
    assert!(refusal.message.len() <= 4, "{:?}", refusal.message);
    assert!(
        refusal.message.iter().any(|l| l.contains(", measured ")),
        "{:?}",
        refusal.message
    );
    assert!(
        refusal.message.iter().any(|l| l.contains("nearest run ")),
        "{:?}",
        refusal.message
    );
    assert!(refusal.message.last().unwrap().starts_with("hint: "));
}

#[test]
fn a_model_that_does_not_fit_anywhere_is_infeasible_in_numbers() {
    let consulted = ask(&[
        ("llm-model", "deepseek-ai/DeepSeek-V3"),
        ("llm-gpu", "a100"),
    ]);
    let Err(refusal) = &consulted.answer else {
        panic!("{:?}", consulted.answer)
    };
    assert_eq!(refusal.code, exit_code::INFEASIBLE, "{:?}", refusal.message);
    assert!(
        refusal.message[1].contains("GiB usable"),
        "{:?}",
        refusal.message
    );
}

#[test]
fn pins_are_kept() {
    for (name, value) in [
        ("llm-gpu", "h200"),
        ("llm-tp", "8"),
        ("llm-precision", "bf16"),
    ] {
        let mut options = LLAMA_70B.to_vec();
        options.push((name, value));
        for a in &ask(&options).advice.candidates {
            let c = &a.config;
            assert!(
                c.gres == value || c.tp.to_string() == value || c.precision.name() == value,
                "{name}: {c:?}"
            );
        }
    }
}

#[test]
fn what_physics_says_on_the_first_day_has_a_range_and_is_a_share_where_it_is_one() {
    let consulted = ask(&LLAMA_70B);
    let best = consulted.advice.recommended().unwrap();
    for target in [
        Target::KvUsage,
        Target::ColdStartS,
        Target::PowerW,
        Target::LaunchSuccess,
    ] {
        let p = best.prediction(target).unwrap();
        assert!(
            p.lo < p.hi && (p.lo..=p.hi).contains(&p.q50),
            "{target:?} {p:?}"
        );
        let share = matches!(target, Target::KvUsage | Target::LaunchSuccess);
        assert!(!share || p.hi <= 1.0, "{target:?} {p:?}");
    }
}

#[test]
fn a_stated_rate_that_nothing_serves_is_infeasible_and_one_that_all_serve_goes_to_the_cheapest() {
    let with_rate = |rate: &'static str| {
        let mut options = LLAMA_70B.to_vec();
        options.push(("llm-rate", rate));
        ask(&options)
    };
    assert!(matches!(
        with_rate("100000").advice.verdict,
        Verdict::Infeasible(_)
    ));
    let consulted = with_rate("0.01");
    let cheapest = consulted.advice.recommended().unwrap().price_per_hour;
    let all = consulted
        .advice
        .candidates
        .iter()
        .filter(|a| a.fallen.is_none());
    assert!(all.into_iter().all(|a| a.price_per_hour >= cheapest));
}

/// A rate beyond one instance, of which nodes hold several.
fn beyond_one_instance(pins: &[(&str, &str)]) -> (Consulted, f64) {
    let base = [
        ("llm-model", "meta-llama/Llama-3.1-8B-Instruct"),
        ("llm-isl", "1000"),
        ("llm-osl", "200"),
    ];
    let one = ask(&[&base, pins].concat());
    let serves = |a: &Assessed| a.prediction(Target::OutputTokS).map_or(0.0, |p| p.q50);
    let most = one.advice.candidates.iter().map(serves).fold(0.0, f64::max);
    let rate = most / 200.0 * 2.5;
    let text = rate.to_string();
    (ask(&[&base, pins, &[("llm-rate", &text)]].concat()), rate)
}

#[test]
fn a_rate_beyond_one_instance_gets_replicas_inside_the_node() {
    let (consulted, rate) = beyond_one_instance(&[("llm-gpu", "h200"), ("llm-tp", "1")]);
    let best = consulted.advice.recommended().unwrap();
    assert!(
        best.config.dp >= 3 && best.config.tp == 1,
        "{:?}",
        best.config
    );
    let throughput = best.prediction(Target::OutputTokS).unwrap();
    assert!(throughput.q50 >= rate * 200.0);
    let of = |dp: u32| {
        let same = |a: &&Assessed| a.config.dp == dp && a.config.precision == best.config.precision;
        let a = consulted.advice.candidates.iter().find(same).unwrap();
        (
            a.prediction(Target::OutputTokS).unwrap().q50,
            a.price_per_hour,
        )
    };
    let (one, all) = (of(1), of(best.config.dp));
    let n = f64::from(best.config.dp);
    assert!((all.0 / one.0 - n).abs() < 1e-9 && (all.1 / one.1 - n).abs() < 1e-9);
    let Ok(rewrite) = &consulted.answer else {
        panic!("{:?}", consulted.answer)
    };
    assert_eq!(rewrite.gres, format!("gpu:h200:{}", best.config.dp));
    let args = rewrite
        .environment
        .iter()
        .find(|(name, _)| *name == "SLURM_LLM_ENGINE_ARGS");
    let wanted = format!("--data-parallel-size {}", best.config.dp);
    assert!(args.unwrap().1.contains(&wanted), "{args:?}");
}

/// The advice behind the decision on a job that asks for nothing itself.
fn advice_for(options: &RawOptions, script: &str) -> Consulted {
    let config = Config::beside_store("/nowhere/store.db".as_ref());
    let submission = Submission {
        options,
        given: &Given::default(),
        script: Some(script),
        arguments: None,
        read: &|_| None,
        environment: &|_| None,
        component: 0,
        who: &Who::default(),
    };
    advice_on(&SNAPSHOT, &config, &submission).unwrap().0
}

#[test]
fn an_engine_that_is_started_without_omnipilot_run_gets_no_replicas() {
    let rate = |options: &mut RawOptions| options.set("llm-rate", "1000").unwrap();
    for (script, replicas) in [
        (RUN, true),
        ("vllm serve m -tp 1", false),
        ("./serve", false),
    ] {
        let mut options = RawOptions::default();
        for (name, value) in LLAMA_70B {
            options.set(name, value).unwrap();
        }
        rate(&mut options);
        let consulted = advice_for(&options, script);
        let any = consulted.advice.candidates.iter().any(|a| a.config.dp > 1);
        assert_eq!(any, replicas, "{script}");
    }
}

#[test]
fn one_question_has_one_id_wherever_it_is_asked() {
    let mut options = RawOptions::default();
    for (name, value) in LLAMA_70B {
        options.set(name, value).unwrap();
    }
    let id = |options: &RawOptions, script: &str| advice_for(options, script).advice.id;
    let typed = ask(&LLAMA_70B).advice.id;
    assert_eq!(id(&options, RUN), typed);
    // Replicas reach an engine under `omnipilot run` alone: then it is another question.
    options.set("llm-rate", "3").unwrap();
    assert_ne!(id(&options, "vllm serve m -tp 1"), id(&options, RUN));
}

#[test]
fn a_model_too_large_for_a_node_is_tried_over_nodes_and_stages_need_measured_runs() {
    let mut snapshot = SNAPSHOT.clone();
    for pool in &mut snapshot.body.cluster.pools {
        pool.nodes = 4;
    }
    let options = [
        ("llm-model", "deepseek-ai/DeepSeek-V3"),
        ("llm-gpu", "h100"),
    ];
    let consulted = ask_of(&snapshot, &options);
    let staged: Vec<&Assessed> = consulted
        .advice
        .candidates
        .iter()
        .filter(|a| a.config.pp > 1)
        .collect();
    assert_eq!(staged.len(), 1, "{:?}", consulted.advice.candidates);
    let c = &staged[0].config;
    assert_eq!((c.tp, c.pp, c.gpus(), c.nodes()), (8, 2, 16, 2));
    assert!(
        matches!(&staged[0].fallen, Some(Fallen::OutOfSupport(_))),
        "{:?}",
        staged[0].fallen
    );
    let one_node = ask(&options).advice.candidates;
    assert!(one_node.iter().all(|a| a.config.pp == 1));
}

#[test]
fn a_wait_in_the_queue_counts_where_it_is_known_of_all_and_fresh() {
    let mut snapshot = SNAPSHOT.clone();
    let best = |s: &Snapshot| {
        let advice = ask_of(s, &LLAMA_70B).advice;
        (
            advice.recommended().unwrap().config.clone(),
            advice.ranking,
            advice.id,
        )
    };
    let (before, ranking, id) = best(&snapshot);
    let first_day = [Term::Tokens, Term::Price, Term::Relaunch, Term::Saturation];
    assert_eq!(ranking.counted, first_day);
    let wait = |gres: &str, hours: f64| QueueWait {
        gres: gres.into(),
        gpus: 8,
        quantiles_s: [0.0, hours * 3600.0, hours * 7200.0],
        jobs: 50,
    };
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let waits = |as_of: u64, missing: &str| QueueWaits {
        as_of: i64::try_from(as_of).unwrap(),
        waits: ["a100", "h100", "h200"]
            .into_iter()
            .filter(|g| *g != missing)
            .map(|g| wait(g, if g == before.gres { 200.0 } else { 0.1 }))
            .collect(),
    };
    snapshot.body.cluster.waits = Some(waits(now, ""));
    let (known, ranking, _) = best(&snapshot);
    assert_ne!(known.gres, before.gres);
    assert!(ranking.counted.contains(&Term::Wait), "{ranking:?}");
    snapshot.body.cluster.waits = Some(waits(now, "a100"));
    let (partly, ranking, _) = best(&snapshot);
    assert_eq!(partly, before);
    let said = ranking.left_out.iter().find(|l| l.term == Term::Wait);
    assert!(said.is_some_and(|l| l.wanted), "{ranking:?}");
    snapshot.body.cluster.waits = Some(waits(now - 100_000, ""));
    let (stale, ranking, stale_id) = best(&snapshot);
    assert_eq!(stale, before);
    let said = ranking.left_out.iter().find(|l| l.term == Term::Wait);
    assert!(said.unwrap().reason.contains("27 h old"), "{ranking:?}");
    assert_ne!(stale_id, id);
}

#[test]
fn every_published_configuration_is_feasible() {
    let catalogue = Catalogue::built_in();
    let mut wrong: Vec<String> = PUBLISHED
        .iter()
        .filter_map(|run| {
            let setup =
                model_store::advisor::Setup::of_case(&run.case, &run.source, &catalogue).ok()?;
            let reason = model_store::advisor::feasible::infeasible(&setup, false)?;
            Some(format!(
                "{} on {} x {}: {reason}",
                run.case.model, run.case.gpu, setup.tp
            ))
        })
        .collect();
    wrong.sort();
    wrong.dedup();
    assert!(
        wrong.is_empty(),
        "measured, and called infeasible:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn training_does_not_depend_on_the_order_of_the_runs() {
    let few: Vec<Run> = PUBLISHED.iter().take(120).cloned().collect();
    let turned: Vec<Run> = few.iter().rev().cloned().collect();
    assert_eq!(snapshot_of(&few).encode(), snapshot_of(&turned).encode());
}

/// What a job of this cluster reports, at a share of what was predicted for it.
fn home_run(consulted: &Consulted, share: f64, n: usize) -> Run {
    let best = consulted.advice.recommended().unwrap();
    let predicted = best.prediction(Target::OutputTokS).unwrap().q50;
    let load = consulted.request.load;
    Run {
        run_id: format!("job {n}"),
        origin: Origin::ThisCluster,
        source: "cluster:test".into(),
        source_ref: format!("job {n}"),
        case: Case {
            model: consulted.advice.model.clone(),
            params_b: None,
            active_params_b: None,
            gpu: best.config.gpu.clone(),
            gpu_mem_gb: None,
            tp: Some(best.config.tp),
            pp: 1,
            dp: 1,
            precision: Some(best.config.precision),
            kv_precision: None,
            isl: Some(load.isl),
            osl: Some(load.osl),
            workload: Workload::ClosedLoop,
            concurrency: load.concurrency,
            request_rate: None,
            engine: "vllm".into(),
            engine_version: "0.11.2".into(),
            variant: model_store::advisor::Variant::default(),
        },
        measured: Measured {
            output_tok_s: Some(predicted * share),
            ..Measured::default()
        },
        notes: String::new(),
    }
}

#[test]
fn a_site_that_measures_less_than_was_promised_gets_another_advice() {
    let before = ask(&LLAMA_70B);
    let mut runs = PUBLISHED.clone();
    runs.extend((0..2).map(|n| home_run(&before, 0.3, n)));
    let snapshot = snapshot_of(&runs);
    let after = ask_of(&snapshot, &LLAMA_70B);
    let of = |c: &Consulted| c.advice.recommended().unwrap().config.clone();
    assert_ne!(of(&before), of(&after));
    let again = after
        .advice
        .candidates
        .iter()
        .find(|a| a.config == of(&before))
        .unwrap();
    let first = before
        .advice
        .recommended()
        .unwrap()
        .prediction(Target::OutputTokS)
        .unwrap()
        .q50;
    let second = again.prediction(Target::OutputTokS).unwrap().q50;
    assert!(second < 0.6 * first, "{first} -> {second}");
    assert!(!matches!(again.fallen, Some(Fallen::NotKnown)));
}

/// A decision on a job with these options, on the published snapshot where each GPU type has a
/// partition of its own name and `all` reaches them all.
fn decide_with(job: &[(&str, &str)], script: &str, change: impl Fn(&mut Snapshot)) -> Decision {
    let mut snapshot = SNAPSHOT.clone();
    for pool in &mut snapshot.body.cluster.pools {
        pool.partitions = vec![pool.gres.clone(), "all".into()];
    }
    change(&mut snapshot);
    let mut options = RawOptions::default();
    let typed = job.iter().filter(|(name, _)| name.starts_with("llm-"));
    for (name, value) in LLAMA_70B.iter().chain(typed) {
        options.set(name, value).unwrap();
    }
    let option = |name: &str| {
        job.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    };
    let given = Given::of(option);
    let submission = Submission {
        options: &options,
        given: &given,
        script: Some(script),
        arguments: None,
        read: &|_| None,
        environment: &|_| None,
        component: 0,
        who: &Who::default(),
    };
    decide(
        &snapshot,
        &Config::beside_store("/nowhere/store.db".as_ref()),
        &submission,
    )
}

fn gpus_of(decision: &Decision) -> &str {
    match decision {
        Decision::Rewrite { edits, .. } => edits
            .iter()
            .find(|edit| edit.name == "gres")
            .and_then(|edit| edit.value.as_deref())
            .unwrap(),
        other => panic!("{other:?}"),
    }
}

fn reason_of(decision: &Decision) -> &str {
    match decision {
        Decision::Fault { reason, .. } | Decision::Left { reason } => reason,
        other => panic!("{other:?}"),
    }
}

const RUN: &str = "omnipilot run -- vllm serve m";

#[test]
fn only_gpus_in_reach_of_the_job_are_advised() {
    let keep = |_: &mut Snapshot| {};
    assert!(gpus_of(&decide_with(&[("partition", "a100")], RUN, keep)).starts_with("gpu:a100:"));
    assert!(
        gpus_of(&decide_with(&[("partition", "h100,a100")], RUN, keep)).starts_with("gpu:h100:")
    );
    assert!(gpus_of(&decide_with(&[("partition", "all")], RUN, keep)).starts_with("gpu:h200:"));
    let default = |s: &mut Snapshot| s.body.cluster.default_partition = Some("h100".into());
    assert!(gpus_of(&decide_with(&[], RUN, default)).starts_with("gpu:h100:"));
    let two = |s: &mut Snapshot| s.body.cluster.pools[1].nodes = 2;
    let on_each = "srun omnipilot run -- vllm serve m";
    assert!(gpus_of(&decide_with(&[("nodes", "2")], on_each, two)).starts_with("gpu:h100:"));
    assert!(gpus_of(&decide_with(&[("nodes", "2")], RUN, two)).starts_with("gpu:h200:"));
    assert!(gpus_of(&decide_with(&[("exclude", "h2")], RUN, two)).starts_with("gpu:h100:"));
}

#[test]
fn what_is_not_known_leaves_the_job_as_it_is() {
    let keep = |_: &mut Snapshot| {};
    assert_eq!(
        reason_of(&decide_with(&[("partition", "cpu")], RUN, keep)),
        "no GPU type on 1 node in partition cpu is known"
    );
    assert!(reason_of(&decide_with(&[("nodelist", "a1")], RUN, keep)).contains("names its nodes"));
    let unseen = |s: &mut Snapshot| s.body.cluster.pools.clear();
    assert_eq!(
        reason_of(&decide_with(&[], RUN, unseen)),
        "the cluster's GPUs are not known"
    );
    let unnamed = |s: &mut Snapshot| s.body.gpus.clear();
    assert!(reason_of(&decide_with(&[], RUN, unnamed)).ends_with("a100, h100, h200"));
}

/// Under each policy, for each mode that a user can ask for.
#[test]
fn a_policy_decides_what_advice_may_do() {
    const PATHS: &str = "store = \"a\"\nsnapshot = \"b\"\nspool = \"/spool\"\n";
    let told = |policy: &str, mode: &str, job: &[(&str, &str)], script: &str| {
        let text = format!("{PATHS}[[policy]]\nmode = \"{policy}\"\n");
        let mut options = RawOptions::default();
        for (name, value) in LLAMA_70B.into_iter().chain([("llm-advice", mode)]) {
            options.set(name, value).unwrap();
        }
        let given = Given::of(|name| {
            let pair = job.iter().find(|(n, _)| *n == name);
            pair.map(|(_, value)| (*value).to_owned())
        });
        let submission = Submission {
            options: &options,
            given: &given,
            script: Some(script),
            arguments: None,
            read: &|_| None,
            environment: &|_| None,
            component: 0,
            who: &Who::default(),
        };
        let decision = decide(&SNAPSHOT, &Config::parse(&text).unwrap(), &submission);
        let (word, message) = match decision {
            Decision::Leave => ("leave".to_owned(), Vec::new()),
            Decision::Rewrite { message, .. } => ("rewrite".into(), message),
            Decision::Explore { message, .. } => ("explore".into(), message),
            Decision::Check { message } => ("check".into(), message),
            Decision::Refuse { code, message } => (format!("refuse {code}"), message),
            Decision::Left { reason } => ("left".into(), vec![reason]),
            Decision::Fault { reason, hint } => ("fault".into(), vec![reason, hint]),
        };
        assert!(message.len() <= 4, "{message:?}");
        (word, message.join("\n"))
    };
    for (policy, mode, expected) in [
        ("off", "rewrite", "leave"),
        ("off", "check", "leave"),
        ("advise", "rewrite", "explore"),
        ("advise", "check", "check"),
        ("advise", "off", "leave"),
        ("rewrite", "rewrite", "rewrite"),
        ("rewrite", "explore", "explore"),
        ("rewrite", "off", "leave"),
        ("enforce", "rewrite", "rewrite"),
        ("enforce", "check", "refuse 67"),
        ("enforce", "explore", "refuse 67"),
        ("enforce", "off", "refuse 67"),
    ] {
        let (word, message) = told(policy, mode, &[], RUN);
        assert_eq!(word, expected, "{policy} {mode}: {message}");
        assert_eq!(
            word == "refuse 67",
            message.contains("enforces advice"),
            "{message}"
        );
    }
    assert_eq!(
        told("enforce", "check", &[("test-only", "set")], RUN).0,
        "check"
    );
    let (_, advised) = told("advise", "rewrite", &[], RUN);
    assert!(
        advised.contains("the site only advises; else it would be --gres=gpu:"),
        "{advised}"
    );

    let (word, message) = told("rewrite", "rewrite", &[("nodelist", "a1")], RUN);
    assert_eq!(word, "left", "{message}");
    let (word, message) = told("enforce", "rewrite", &[("nodelist", "a1")], RUN);
    assert_eq!(word, "refuse 67", "{message}");
    assert!(
        message.contains("names its nodes") && message.contains("hint: "),
        "{message}"
    );
}

#[test]
fn where_an_answer_alone_is_asked_for_a_contradiction_refuses_nothing() {
    let other = "vllm serve Qwen/Qwen2.5-7B-Instruct -tp 2";
    for script in ["vllm serve m -tp 4", other] {
        let job = [("llm-advice", "check"), ("llm-tp", "2")];
        let decision = decide_with(&job, script, |_| {});
        let Decision::Check { message } = &decision else {
            panic!("{decision:?}");
        };
        let told = message.join("\n");
        assert!(told.contains("but the script's engine"), "{told}");
        assert!(told.contains("it would be refused"), "{told}");
    }
}

#[test]
fn on_the_gpus_asked_for_a_job_beside_an_unknown_program_hears_of_no_degree() {
    let seen = |snapshot: &mut Snapshot| snapshot.body.cluster.observed_at = Some(0);
    let degree = |script: &str| {
        let decision = decide_with(&[("gres", "gpu:h200:4")], script, seen);
        let Decision::Rewrite {
            edits, environment, ..
        } = decision
        else {
            panic!("{decision:?}");
        };
        assert!(edits.is_empty(), "{edits:?}");
        let of = |name: &str| {
            let pair = environment.iter().find(|(n, _)| n == name);
            pair.map(|(_, value)| value.clone())
        };
        assert_eq!(of("SLURM_LLM_GPU").as_deref(), Some("h200"));
        of("SLURM_LLM_TP")
    };
    let engine = "omnipilot run -- vllm serve m";
    assert_eq!(degree(engine).as_deref(), Some("4"));
    let beside =
        format!("CUDA_VISIBLE_DEVICES=1,2,3 python train.py &\nCUDA_VISIBLE_DEVICES=0 {engine}");
    assert_eq!(degree(&beside), None);
}

#[test]
fn what_the_script_fixes_beyond_one_engine_on_one_node_is_left_alone() {
    let staged = decide_with(&[], "vllm serve m -tp 4 --pipeline-parallel-size 2", |_| {});
    assert!(reason_of(&staged).contains("pipeline stages"), "{staged:?}");
    let replicas = decide_with(&[], "vllm serve m --data-parallel-size=2", |_| {});
    assert!(
        reason_of(&replicas).contains("data-parallel replicas"),
        "{replicas:?}"
    );
    assert!(
        gpus_of(&decide_with(
            &[],
            "vllm serve m --tensor-parallel-size 8",
            |_| {}
        ))
        .ends_with(":8")
    );
}

#[test]
fn rules_that_engines_enforce_are_hard() {
    let reasons = |options: &[(&str, &str)]| -> Vec<String> {
        let candidates = ask(options).advice.candidates;
        candidates
            .iter()
            .filter_map(|a| {
                if let Some(Fallen::Infeasible(r)) = &a.fallen {
                    Some(r.clone())
                } else {
                    None
                }
            })
            .collect()
    };
    let phi = reasons(&[
        ("llm-model", "microsoft/phi-4"),
        ("llm-tp", "4"),
        ("llm-gpu", "h100"),
    ]);
    assert!(
        phi.iter().all(|r| r.starts_with("10 KV heads")) && !phi.is_empty(),
        "{phi:?}"
    );
    let moe = reasons(&[
        ("llm-model", "Qwen/Qwen3-235B-A22B-FP8"),
        ("llm-tp", "8"),
        ("llm-gpu", "h200"),
    ]);
    assert!(
        moe.iter().all(|r| r.contains("width 1536 over tp 8")) && !moe.is_empty(),
        "{moe:?}"
    );
}

#[test]
fn runs_on_one_gpu_type_do_not_speak_for_another() {
    let mut h100 = LLAMA_70B.to_vec();
    h100.push(("llm-gpu", "h100"));
    let mut runs = PUBLISHED.clone();
    runs.push(home_run(&ask(&h100), 1.0, 0));
    let snapshot = snapshot_of(&runs);
    let first_line = |options: &[(&str, &str)]| match ask_of(&snapshot, options).answer {
        Ok(rewrite) => rewrite.message[0].clone(),
        other => panic!("{other:?}"),
    };
    assert!(
        first_line(&h100).ends_with("(from 717 published figures and 1 run here on h100)"),
        "{}",
        first_line(&h100)
    );
    let mut h200 = LLAMA_70B.to_vec();
    h200.push(("llm-gpu", "h200"));
    assert!(
        first_line(&h200).ends_with("(from 717 published figures; nothing measured here on h200)"),
        "{}",
        first_line(&h200)
    );
}

/// A start is a start, whatever the figures of load beside it are worth.
#[test]
fn a_run_that_contradicts_itself_still_counts_as_a_launch() {
    let published = published_figures().unwrap().remove(0);
    let odd = |n: u32| Run {
        run_id: format!("job {n}"),
        origin: Origin::ThisCluster,
        source: "cluster:c".into(),
        source_ref: format!("job {n} window 1"),
        case: Case {
            model: "meta-llama/Llama-3.1-8B-Instruct".into(),
            gpu: "H200".into(),
            tp: Some(2),
            isl: Some(512.0),
            osl: Some(100.0),
            workload: Workload::ClosedLoop,
            concurrency: Some(64.0),
            engine: "vllm".into(),
            ..published.case.clone()
        },
        measured: Measured {
            output_tok_s: Some(64.0),
            ttft_ms: Some(100.0),
            tpot_ms: Some(9.0),
            ..Measured::default()
        },
        notes: String::new(),
    };
    let runs: Vec<Run> = (0..60).map(odd).collect();
    assert!(runs.iter().all(Run::contradicts_itself));
    let (model, report) = train(&runs, &Catalogue::built_in(), &|_, _| {});
    let launches: u32 = model.launch.groups.iter().map(|(_, rate)| rate.n).sum();
    assert_eq!(launches, 60);
    assert_eq!(report.evidence.this_cluster, 0);
    assert!(model.targets[Target::OutputTokS as usize].runs == 0);
}
