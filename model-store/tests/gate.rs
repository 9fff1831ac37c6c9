//! The gate between training and publishing.

#![cfg(feature = "train")]
#![allow(clippy::unwrap_used)] // helpers of tests

use model_store::advisor::{Catalogue, Run};
use model_store::store::published_figures;
use model_store::train::gate::{fit_for_gate, judge};

/// Every second figure: training is what takes the time.
fn figures() -> Vec<Run> {
    published_figures()
        .unwrap()
        .into_iter()
        .step_by(2)
        .collect()
}

/// A number between 0 and 1 that looks random.
fn dice(seed: u64, n: usize) -> f64 {
    let mut x = (seed << 32) ^ (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    for _ in 0..4 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    (x >> 11) as f64 / (1u64 << 53) as f64
}

/// The figures without a tenth of them, and with the rates of some runs off by a factor.
fn spoilt(seed: u64, factor: f64, hits: impl Fn(&Run) -> bool) -> Vec<Run> {
    let mut runs: Vec<Run> = figures()
        .into_iter()
        .enumerate()
        .filter(|(n, _)| dice(seed, *n) < 0.9)
        .map(|(_, run)| run)
        .collect();
    for run in runs.iter_mut().filter(|run| hits(run)) {
        run.measured.output_tok_s = run.measured.output_tok_s.map(|x| x * factor);
    }
    runs
}

/// Where a challenger is worse, and nowhere else.
type Place = fn(&Run) -> bool;

#[test]
fn a_challenger_that_is_worse_in_one_place_alone_is_refused_in_each_of_twenty_trials() {
    let (runs, catalogue) = (figures(), Catalogue::built_in());
    let champion = fit_for_gate(&runs, &catalogue);
    let of = |challenger: &[Run]| {
        let challenger = fit_for_gate(challenger, &catalogue);
        judge(&runs, &catalogue, &challenger, Some(&champion), &|_| true)
    };
    let same = judge(&runs, &catalogue, &champion, Some(&champion), &|_| true);
    assert!(same.passes() && same.cells >= 10, "{same:?}");
    let places: [Place; 4] = [
        |run| run.case.gpu == "H100-SXM",
        |run| run.case.gpu == "H200",
        |run| run.case.gpu == "L40S",
        |run| run.case.model.contains("70B"),
    ];
    for seed in 0..20 {
        let place = places[seed as usize % places.len()];
        let judgement = of(&spoilt(seed, 0.7, place));
        let worse = |r: &String| r.starts_with("output_tok_s of ");
        assert!(
            judgement.reasons.iter().any(worse),
            "trial {seed}: {judgement:?}"
        );
    }
    // One that lacks another tenth of the runs is as good, and passes.
    for seed in 20..25 {
        let judgement = of(&spoilt(seed, 1.0, |_| false));
        assert!(judgement.passes(), "trial {seed}: {:?}", judgement.reasons);
    }
}

#[test]
fn a_challenger_with_more_runs_passes_and_its_order_does_not_matter() {
    let (all, catalogue) = (figures(), Catalogue::built_in());
    let fewer: Vec<Run> = all
        .iter()
        .enumerate()
        .filter(|(n, _)| n % 5 != 0)
        .map(|(_, run)| run.clone())
        .collect();
    let champion = fit_for_gate(&fewer, &catalogue);
    let challenger = fit_for_gate(&all, &catalogue);
    let judgement = judge(&all, &catalogue, &challenger, Some(&champion), &|_| true);
    assert!(judgement.passes(), "{:?}", judgement.reasons);
    let mut turned = all;
    turned.reverse();
    assert_eq!(
        judge(&turned, &catalogue, &challenger, Some(&champion), &|_| true),
        judgement
    );
}

#[test]
fn without_a_champion_coverage_alone_decides() {
    let (runs, catalogue) = (figures(), Catalogue::built_in());
    let first = fit_for_gate(&runs, &catalogue);
    let judgement = judge(&runs, &catalogue, &first, None, &|_| true);
    assert!(judgement.passes(), "{:?}", judgement.reasons);
    assert!(judgement.targets.iter().all(|t| t.champion_error.is_none()));
}

/// The figures again, as their own sources might tell them: all rates times a factor that depends on the run.
fn more(factor: impl Fn(usize) -> f64) -> Vec<Run> {
    let again = |(n, run): (usize, Run)| {
        let mut run = run;
        run.run_id.push_str(" again");
        run.measured.output_tok_s = run.measured.output_tok_s.map(|x| x * factor(n));
        run
    };
    figures().into_iter().enumerate().map(again).collect()
}

#[test]
fn what_is_new_and_wrong_in_the_held_out_cells_too_does_not_pass() {
    let (known, catalogue) = (figures(), Catalogue::built_in());
    let champion = fit_for_gate(&known, &catalogue);
    let is_old = |run: &Run| !run.run_id.ends_with(" again");
    let with = |new: Vec<Run>| {
        let all: Vec<Run> = known.iter().cloned().chain(new).collect();
        let challenger = fit_for_gate(&all, &catalogue);
        judge(&all, &catalogue, &challenger, Some(&champion), &is_old)
    };
    // A client that counts some tokens twentyfold.
    let judgement = with(more(|n| if dice(7, n) < 0.6 { 20.0 } else { 1.0 }));
    assert!(
        judgement
            .reasons
            .iter()
            .any(|r| r.starts_with("output_tok_s of all groups")),
        "{judgement:?}"
    );
    // Told alike, nothing is worse.
    let judgement = with(more(|n| 1.0 + 0.02 * dice(3, n)));
    assert!(judgement.passes(), "{:?}", judgement.reasons);
}
