//! Which runs are trained on, and how little one user can move what others are told.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // helpers of tests

use model_store::advisor::model::Step;
use model_store::advisor::{
    Case, Catalogue, Measured, Origin, Precision, Run, RunOutcome, Setup, Target, Variant, Workload,
};
use model_store::store::published_figures;
use model_store::train::select::{Measurement, Policy, Selection, select};
use model_store::train::train;

const DAY: i64 = 86_400;
const NOW: i64 = 1_795_000_000;

/// A run of a user of this cluster: so many tokens/s with so many requests in flight.
fn measured(user: &str, n: u32, model: &str, gpu: &str, in_flight: f64, rate: f64) -> Measurement {
    let run = Run {
        run_id: format!("{user}-{model}-{gpu}-{in_flight}-{n}"),
        origin: Origin::ThisCluster,
        source: "cluster:c".into(),
        source_ref: format!("job {n} window 0"),
        case: Case {
            model: model.into(),
            params_b: None,
            active_params_b: None,
            gpu: gpu.into(),
            gpu_mem_gb: None,
            tp: Some(2),
            pp: 1,
            dp: 1,
            precision: Some(Precision::Bf16),
            kv_precision: None,
            isl: Some(1000.0),
            osl: Some(500.0),
            workload: Workload::ClosedLoop,
            concurrency: Some(in_flight),
            request_rate: None,
            engine: "vllm".into(),
            engine_version: "0.11.0".into(),
            variant: Variant::default(),
        },
        measured: Measured {
            outcome: RunOutcome::Ok,
            output_tok_s: Some(rate),
            ..Measured::default()
        },
        notes: String::new(),
    };
    Measurement {
        run,
        user: Some(user.into()),
        ended: Some(NOW - i64::from(n)),
    }
}

const LLAMA: &str = "meta-llama/Llama-3.1-8B-Instruct";
const BIG: &str = "Qwen/Qwen2.5-32B-Instruct";
const LOADS: [f64; 5] = [4.0, 8.0, 16.0, 32.0, 64.0];

/// What this engine delivers here; nothing else than a shape that grows with load and levels off.
fn truth(model: &str, gpu: &str, in_flight: f64) -> f64 {
    let size = if model == BIG { 4.2 } else { 1.0 };
    let speed = if gpu == "H100-SXM" { 1.7 } else { 1.0 };
    speed / size * 5200.0 * in_flight / (in_flight + 40.0)
}

/// Three users who measure two models on two GPUs and agree to a few percent.
fn honest() -> Vec<Measurement> {
    let mut out = Vec::new();
    for (u, user) in ["alice", "bob", "carol"].iter().enumerate() {
        for (k, in_flight) in LOADS.iter().enumerate() {
            for (model, gpu) in [(LLAMA, "H100-SXM"), (BIG, "H100-SXM"), (LLAMA, "A100-80GB")] {
                let wobble = 1.0 + 0.03 * ((u * 7 + k * 3) % 5) as f64 - 0.06;
                let rate = truth(model, gpu, *in_flight) * wobble;
                out.push(measured(
                    user,
                    (u * 10 + k) as u32,
                    model,
                    gpu,
                    *in_flight,
                    rate,
                ));
            }
        }
    }
    out
}

fn selected(all: Vec<Measurement>) -> Selection {
    select(all, &Catalogue::built_in(), &Policy::at(NOW))
}

#[test]
fn honest_users_who_agree_lose_nothing() {
    let all = honest();
    let selection = selected(all.clone());
    assert_eq!(selection.runs.len(), all.len(), "{:?}", selection.left_out);
}

#[test]
fn one_user_says_the_same_a_few_times_and_the_newest_count() {
    let all: Vec<Measurement> = (0..20)
        .map(|n| measured("alice", n, LLAMA, "H100-SXM", 16.0, 2000.0 + f64::from(n)))
        .collect();
    let selection = selected(all);
    let refs: Vec<&str> = selection
        .runs
        .iter()
        .map(|r| r.source_ref.as_str())
        .collect();
    assert_eq!(
        refs,
        [
            "job 0 window 0",
            "job 1 window 0",
            "job 2 window 0",
            "job 3 window 0"
        ]
    );
    assert_eq!(
        selection.left_out,
        [("more runs of one user in one cell than 4".to_owned(), 16)]
    );
}

#[test]
fn what_all_others_contradict_is_set_aside_and_what_nobody_else_measured_is_not() {
    let mut all = honest();
    let honest_runs = all.len();
    for (n, in_flight) in LOADS.iter().enumerate() {
        let lie = 10.0 * truth(LLAMA, "H100-SXM", *in_flight);
        all.push(measured(
            "mallory",
            100 + n as u32,
            LLAMA,
            "H100-SXM",
            *in_flight,
            lie,
        ));
    }
    let selection = selected(all);
    assert_eq!(selection.runs.len(), honest_runs);
    assert_eq!(
        selection.left_out,
        [(
            "it differs from what all other users measured".to_owned(),
            5
        )]
    );
    // Two users have nobody to decide between them.
    let two: Vec<Measurement> = honest()
        .into_iter()
        .filter(|m| m.user.as_deref() != Some("bob"))
        .collect();
    assert_eq!(selected(two.clone()).runs.len(), two.len());
}

#[test]
fn trusted_users_are_exempt_and_named_ones_left_out() {
    let mut all: Vec<Measurement> = (0..20)
        .map(|n| measured("bench", n, LLAMA, "H100-SXM", 16.0, 2000.0))
        .collect();
    all.push(measured("mallory", 1, LLAMA, "H100-SXM", 16.0, 2000.0));
    let mut policy = Policy::at(NOW);
    policy.trusted.insert("bench".into());
    policy.left_out.insert("mallory".into());
    let selection = select(all, &Catalogue::built_in(), &policy);
    assert_eq!(selection.runs.len(), 20);
    assert_eq!(
        selection.left_out,
        [("its user is left out by the configuration".to_owned(), 1)]
    );
}

#[test]
fn old_runs_of_this_cluster_and_of_replaced_engines_are_left_out_and_published_ones_stay() {
    let mut old = measured("alice", 1, LLAMA, "H100-SXM", 16.0, 2000.0);
    old.ended = Some(NOW - 731 * DAY);
    let mut published = old.clone();
    (published.run.origin, published.user) = (Origin::Published, None);
    let selection = selected(vec![old, published]);
    assert_eq!(selection.left_out, [("older than 730 d".to_owned(), 1)]);
    assert_eq!(selection.runs[0].origin, Origin::Published);

    let of_version = |user: String, version: &str, days: i64| {
        let mut m = measured(&user, 1, LLAMA, "H100-SXM", 16.0, 2000.0);
        m.run.case.engine_version = version.into();
        m.ended = Some(NOW - days * DAY);
        m
    };
    let versions = [("0.8", 90), ("0.9", 60), ("0.10", 30), ("0.11", 1)];
    let all: Vec<Measurement> = versions
        .iter()
        .flat_map(|(v, days)| (0..40).map(move |u| (format!("user{u}"), *v, *days)))
        .map(|(user, v, days)| of_version(user, v, days))
        .collect();
    let selection = selected(all);
    assert_eq!(
        selection.left_out,
        [(
            "an engine version that 3 newer ones have replaced".to_owned(),
            40
        )]
    );
    assert!(
        selection
            .runs
            .iter()
            .all(|r| r.case.engine_version != "0.8")
    );
}

#[test]
fn of_too_many_every_cell_keeps_its_newest_whatever_their_order() {
    let mut all: Vec<Measurement> = Vec::new();
    for (k, in_flight) in LOADS.iter().enumerate() {
        // Of the first cell as many as of all others together, and older ones.
        let each = if k == 0 { 8 } else { 2 };
        for n in 0..each {
            for (u, user) in ["alice", "bob", "carol", "dave"].iter().enumerate() {
                let n = (10 * n + u + 1000 * usize::from(k == 0)) as u32;
                let rate = truth(LLAMA, "H100-SXM", *in_flight);
                all.push(measured(user, n, LLAMA, "H100-SXM", *in_flight, rate));
            }
        }
    }
    let policy = Policy {
        runs_per_cell: 8,
        most_runs: 20,
        ..Policy::at(NOW)
    };
    let ids = |all: Vec<Measurement>| {
        let selection = select(all, &Catalogue::built_in(), &policy);
        let mut ids: Vec<String> = selection.runs.into_iter().map(|r| r.run_id).collect();
        ids.sort();
        (ids, selection.left_out)
    };
    let (kept, left_out) = ids(all.clone());
    assert_eq!(
        left_out,
        [(
            "more than 20 runs: older ones of their cells".to_owned(),
            44
        )]
    );
    for in_flight in LOADS {
        let of_cell = format!("-{in_flight}-");
        let here: Vec<&String> = kept.iter().filter(|id| id.contains(&of_cell)).collect();
        // Four of each, one of each user, and the newest.
        let newest = if in_flight == 4.0 { 1003 } else { 3 };
        let last = |id: &&String| id.rsplit('-').next().unwrap().parse::<u32>().unwrap();
        assert_eq!(here.len(), 4, "{kept:?}");
        assert!(here.iter().all(|id| last(id) <= newest), "{here:?}");
    }
    let turned: Vec<Measurement> = all.iter().rev().cloned().collect();
    assert_eq!(ids(turned), (kept.clone(), left_out.clone()));
    all.rotate_left(17);
    assert_eq!(ids(all), (kept, left_out));
}

/// Predicted tokens/s of what the victim asks.
fn predicted(all: Vec<Measurement>, model: &str, gpu: &str) -> f64 {
    let catalogue = Catalogue::built_in();
    // A third of the figures: training is what takes the time.
    let mut runs: Vec<Run> = published_figures()
        .unwrap()
        .into_iter()
        .step_by(3)
        .collect();
    runs.extend(select(all, &catalogue, &Policy::at(NOW)).runs);
    let (trained, _) = train(&runs, &catalogue, &|_, _| {});
    let asked = measured("victim", 0, model, gpu, 24.0, 1.0).run.case;
    let setup = Setup::of_case(&asked, "", &catalogue).unwrap();
    trained.predict(&setup, Step::ThisCluster)[Target::OutputTokS as usize]
        .unwrap()
        .q50
}

/// The limit that `SECURITY.md` states: with three others who measured, nothing that one user
/// reports moves the throughput that another is told by more than this factor.
const LIMIT: f64 = 1.3;

/// 400 jobs of one user in as many cells as he likes, each report as false as passes.
fn lies(factor: f64, models: &[(&str, &str)]) -> Vec<Measurement> {
    (0..400)
        .map(|n| {
            let (model, gpu) = models[n as usize % models.len()];
            let in_flight = 1.0 + f64::from(n % 97);
            let rate = factor * truth(model, gpu, in_flight);
            measured("mallory", 1000 + n, model, gpu, in_flight, rate)
        })
        .collect()
}

#[test]
fn one_user_moves_what_another_is_told_within_the_stated_limit() {
    let before = predicted(honest(), LLAMA, "H100-SXM");
    let everywhere = [(LLAMA, "H100-SXM"), (BIG, "H100-SXM"), (LLAMA, "A100-80GB")];
    let mut worst = 1.0f64;
    for factor in [0.68, 1.35, 1.9] {
        for models in [&everywhere[..1], &everywhere[..]] {
            let all = honest().into_iter().chain(lies(factor, models)).collect();
            let after = predicted(all, LLAMA, "H100-SXM");
            let moved = (after / before).max(before / after);
            eprintln!(
                "{factor} in {} places: {before:.0} -> {after:.0}, {moved:.3}",
                models.len()
            );
            worst = worst.max(moved);
        }
    }
    assert!(worst <= LIMIT, "{worst}");
}
