//! Intervals after the world has shifted, by replay of real rows.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // helpers of tests

use model_store::advisor::drift::{Tracker, drifts, widen};
use model_store::advisor::model::{Model, Step};
use model_store::advisor::{Catalogue, Origin, Precision, Run, Setup, Target, Workload};
use model_store::store::published_figures;
use model_store::train::train;

/// A model of two thirds of the figures, measured here or elsewhere, and the others as runs of this cluster.
fn replay(kept_as: Origin) -> (Model, Vec<Run>) {
    let (mut kept, mut replayed) = (Vec::new(), Vec::new());
    for (n, run) in published_figures().unwrap().into_iter().enumerate() {
        let (origin, of) = match n % 3 {
            0 => (Origin::ThisCluster, &mut replayed),
            _ => (kept_as, &mut kept),
        };
        of.push(Run { origin, ..run });
    }
    (train(&kept, &Catalogue::built_in(), &|_, _| {}).0, replayed)
}

/// `lo`, `hi` and measured tokens/s of a run.
fn told(model: &Model, run: &Run) -> Option<(f64, f64, f64)> {
    let catalogue = Catalogue::built_in();
    let setup = Setup::of_case(&run.case, "", &catalogue).ok()?;
    let p = model.predict(&setup, Step::ThisCluster)[Target::OutputTokS as usize]?;
    Some((p.lo, p.hi, run.measured.output_tok_s?))
}

/// Runs on one GPU in an order that depends on the seed, all rates times `factor`.
fn stream(runs: &[Run], gpu: &str, seed: usize, factor: f64) -> Vec<Run> {
    let mut out: Vec<Run> = runs.iter().filter(|r| r.case.gpu == gpu).cloned().collect();
    let n = out.len();
    for i in (1..n).rev() {
        out.swap(i, (i * 7919 + seed * 104_729 + 13) % (i + 1));
    }
    for run in &mut out {
        run.measured.output_tok_s = run.measured.output_tok_s.map(|x| x * factor);
    }
    out
}

/// What is published after these runs.
fn widened(model: &Model, runs: &[Run]) -> Model {
    let mut out = model.clone();
    widen(&mut out, &drifts(model, &Catalogue::built_in(), runs));
    out
}

/// One group at a time, as `ingest` follows it: each run meets the intervals that those before it left.
#[test]
fn coverage_is_back_within_fifty_runs_of_a_shift_by_thirty_percent() {
    let (model, runs) = replay(Origin::ThisCluster);
    let fp8: Vec<Run> = runs
        .into_iter()
        .filter(|r| r.case.precision == Some(Precision::Fp8))
        .collect();
    let holds = |model: &Model, run: &Run| {
        let (lo, hi, y) = told(model, run).unwrap();
        lo <= y && y <= hi
    };
    let share = |hits: &[bool]| hits.iter().filter(|h| **h).count() as f64 / hits.len() as f64;
    for (gpu, factor) in [
        ("H200", 0.7),
        ("H200", 1.3),
        ("H100-SXM", 0.7),
        ("H100-SXM", 1.3),
    ] {
        let (mut published, mut followed) = (Vec::new(), Vec::new());
        for seed in 0..4 {
            let mut shifted = stream(&fp8, gpu, seed, factor);
            shifted.truncate(50);
            assert!(shifted.len() >= 40, "{}", shifted.len());
            for run in &mut shifted {
                run.case.engine_version = "after the upgrade".into();
            }
            let met = |i: usize| holds(&widened(&model, &shifted[..i]), &shifted[i]);
            let last = shifted.len() - 25..shifted.len();
            followed.push(share(&last.map(met).collect::<Vec<_>>()));
            published.push(share(
                &shifted.iter().map(|r| holds(&model, r)).collect::<Vec<_>>(),
            ));
            // Once the runs are as they were, so are the intervals.
            let back = stream(&fp8, gpu, seed, 1.0);
            shifted.extend(back.into_iter().take(40));
            assert_eq!(widened(&model, &shifted), model, "{gpu} {seed}");
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        eprintln!("{gpu} x {factor}: as published {published:.2?}, followed {followed:.2?}");
        assert!(mean(&published) < 0.2, "{published:?}");
        assert!(mean(&followed) >= 0.75, "{followed:?}");
    }
}

#[test]
fn a_group_that_drifted_is_told_and_widened_and_the_others_are_not() {
    let (model, runs) = replay(Origin::Published);
    let catalogue = Catalogue::built_in();
    let shifted = stream(&runs, "H200", 1, 0.1);
    let told_of = drifts(&model, &catalogue, &shifted);
    let of_rate = |d: &&model_store::advisor::drift::Drift| d.target == "output_tok_s";
    assert!(
        told_of
            .iter()
            .filter(of_rate)
            .all(|d| d.group.starts_with("H200"))
    );
    let drifted: Vec<_> = told_of
        .iter()
        .filter(of_rate)
        .filter(|d| d.drifted)
        .collect();
    assert!(!drifted.is_empty(), "{told_of:?}");
    let mut wider = model.clone();
    assert!(widen(&mut wider, &told_of));
    let width = |model: &Model, run: &Run| told(model, run).map(|(lo, hi, _)| (hi / lo).ln());
    let elsewhere = runs
        .iter()
        .find(|r| r.case.gpu == "H100-SXM" && told(&model, r).is_some())
        .unwrap();
    assert_eq!(width(&wider, elsewhere), width(&model, elsewhere));
    assert!(shifted.iter().any(|r| width(&wider, r) > width(&model, r)));

    // As they were measured, nothing is told and nothing changes.
    let quiet = drifts(&model, &catalogue, &stream(&runs, "H200", 1, 1.0));
    assert!(
        quiet.iter().filter(of_rate).all(|d| !d.drifted),
        "{quiet:?}"
    );
    let mut same = model.clone();
    assert!(!widen(
        &mut same,
        &quiet
            .into_iter()
            .filter(|d| d.target == "output_tok_s")
            .collect::<Vec<_>>()
    ));
    assert_eq!(same, model);
}

#[test]
fn too_few_runs_widen_nothing() {
    let mut tracker = Tracker::default();
    for _ in 0..4 {
        tracker.push(1.0);
        assert_eq!(tracker.widening(), 0.0);
    }
    tracker.push(1.0);
    assert!(tracker.widening() >= 1.0);
}

/// What a run that contradicts itself says of load moves no interval; what it drew in power does.
#[test]
fn runs_that_contradict_themselves_are_no_drift() {
    let (model, runs) = replay(Origin::Published);
    let mut recent = stream(&runs, "H200", 1, 0.3);
    let told_of = |recent: &[Run]| {
        let all = drifts(&model, &Catalogue::built_in(), recent);
        all.iter().map(|d| d.runs).sum::<usize>()
    };
    assert!(told_of(&recent) > 0);
    for run in &mut recent {
        run.case.workload = Workload::ClosedLoop;
        run.case.concurrency = Some(64.0);
        let osl = run.case.osl.unwrap();
        // Sixty-four requests of a second each, and a hundredth of the tokens that they made.
        (run.measured.ttft_ms, run.measured.tpot_ms) = (Some(100.0), Some(900.0 / osl));
        run.measured.output_tok_s = Some(0.64 * osl);
        assert!(run.contradicts_itself());
    }
    assert_eq!(told_of(&recent), 0);
}
