//! Intervals after the world has shifted, by replay of real rows.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // helpers of tests

use model_store::advisor::drift::{Tracker, drifts, widen};
use model_store::advisor::model::{Model, Step};
use model_store::advisor::{Catalogue, Origin, Run, Setup, Target, Workload};
use model_store::store::published_figures;
use model_store::train::train;

/// A model of two thirds of the figures, and the others as runs of this cluster in some order.
fn replay() -> (Model, Vec<Run>) {
    let (mut kept, mut replayed) = (Vec::new(), Vec::new());
    for (n, run) in published_figures().unwrap().into_iter().enumerate() {
        if n % 3 == 0 {
            replayed.push(Run {
                origin: Origin::ThisCluster,
                ..run
            });
        } else {
            kept.push(run);
        }
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
fn stream(runs: &[Run], seed: usize, factor: f64) -> Vec<Run> {
    let mut out: Vec<Run> = runs
        .iter()
        .filter(|r| r.case.gpu == "H200")
        .cloned()
        .collect();
    let n = out.len();
    for i in (1..n).rev() {
        out.swap(i, (i * 7919 + seed * 104_729 + 13) % (i + 1));
    }
    for run in &mut out {
        run.measured.output_tok_s = run.measured.output_tok_s.map(|x| x * factor);
    }
    out
}

#[test]
fn coverage_is_back_within_fifty_runs_of_a_shift_by_thirty_percent() {
    let (model, runs) = replay();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for seed in 0..10 {
        let shifted = stream(&runs, seed, 0.7);
        let scores: Vec<f64> = shifted
            .iter()
            .filter_map(|run| told(&model, run))
            .map(|(lo, hi, y)| (lo / y).ln().max((y / hi).ln()))
            .collect();
        assert!(scores.len() >= 60, "{}", scores.len());
        // The interval of a site that knows itself: as wide as four fifths of unshifted runs need.
        let mut own: Vec<f64> = stream(&runs, seed, 1.0)
            .iter()
            .filter_map(|run| told(&model, run))
            .map(|(lo, hi, y)| (lo / y).ln().max((y / hi).ln()))
            .collect();
        own.sort_by(f64::total_cmp);
        let narrowed = own[own.len() * 4 / 5];
        let mut tracker = Tracker::default();
        let held: Vec<bool> = scores.iter().map(|s| tracker.push(s - narrowed)).collect();
        let share = |hits: &[bool]| hits.iter().filter(|h| **h).count() as f64 / hits.len() as f64;
        let published: Vec<bool> = scores.iter().map(|s| *s <= narrowed).collect();
        before.push(share(&published));
        after.push(share(&held[held.len().min(50) - 25..held.len().min(50)]));
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    eprintln!("as published {before:.2?}, runs 26 to 50 widened {after:.2?}");
    assert!(mean(&before) < 0.7, "{before:?}");
    assert!(mean(&after) >= 0.75, "{after:?}");
}

#[test]
fn a_group_that_drifted_is_told_and_widened_and_the_others_are_not() {
    let (model, runs) = replay();
    let catalogue = Catalogue::built_in();
    let shifted = stream(&runs, 1, 0.1);
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
    let quiet = drifts(&model, &catalogue, &stream(&runs, 1, 1.0));
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
    let (model, runs) = replay();
    let mut recent = stream(&runs, 1, 0.3);
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
