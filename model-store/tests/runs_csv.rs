//! The table of runs: what is read, what is refused, and that nothing makes it fall over.

#![cfg(feature = "store")]
#![allow(clippy::unwrap_used)] // helpers of tests

use model_store::advisor::{Case, Measured, Origin, Precision, Run, RunOutcome, Variant, Workload};
use model_store::store::runs_csv::{
    Defaults, HeaderError, RowError, read_cases, read_runs, write_runs,
};
use proptest::prelude::*;

fn defaults() -> Defaults {
    Defaults {
        origin: Origin::ThisCluster,
        source: "file".into(),
    }
}

fn read(text: &str) -> Vec<Result<Run, RowError>> {
    read_runs(text.as_bytes(), defaults()).unwrap().collect()
}

fn one(text: &str) -> Run {
    let mut rows = read(text);
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.remove(0).unwrap()
}

/// The reason and the value of the only row, which is refused.
fn refused(text: &str) -> (String, String) {
    let mut rows = read(text);
    assert_eq!(rows.len(), 1, "{rows:?}");
    let error = rows.remove(0).unwrap_err();
    (error.reason, error.value)
}

const HEAD: &str = "run_id,model,gpu,tp,precision,workload,osl,output_tok_s,notes";

#[test]
fn columns_are_found_by_name_in_any_order_with_line_ends_of_any_kind() {
    let text = "\u{feff}workload,precision,TP,gpu,notes,model\r\noffline,fp8,8.0,H200,\"two\nlines\",\"a \"\"b\"\",c\"\r\n\r\n";
    let run = one(text);
    assert_eq!(
        (run.case.model.as_str(), run.case.tp, run.case.gpu.as_str()),
        ("a \"b\",c", Some(8), "H200")
    );
    assert!(run.notes.contains("two\nlines"), "{}", run.notes);
    assert_eq!(
        (run.case.workload, run.case.precision),
        (Workload::Offline, Some(Precision::Fp8))
    );
    assert_eq!(
        (
            run.source.as_str(),
            run.run_id.len(),
            run.case.pp,
            run.case.dp
        ),
        ("file", 12, 1, 1)
    );
}

#[test]
fn a_table_of_something_else_is_refused_by_its_header() {
    for (text, missing) in [("", 5), ("a,b\n1,2\n", 5), ("model,gpu,tp,workload\n", 1)] {
        match read_runs(text.as_bytes(), defaults()).unwrap_err() {
            HeaderError::Missing(names) => assert_eq!(names.len(), missing, "{text}"),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_bad_cell_costs_its_row_and_is_named_with_its_line() {
    let text = format!(
        "{HEAD}\na,m,g,1,fp8,offline,,5,\nb,m,g,one,fp8,offline,,5,\nc,m,g,2,fp8,offline,,6,\n"
    );
    let rows = read(&text);
    assert!(rows[0].is_ok() && rows[2].is_ok());
    let error = rows[1].as_ref().unwrap_err();
    assert_eq!(
        (error.line, error.run_id.as_str(), error.value.as_str()),
        (3, "b", "one")
    );
    assert_eq!(error.to_string(), "line 3: `tp` is not a number: `one`");
}

#[test]
fn each_kind_of_junk_has_its_reason() {
    for (row, reason) in [
        ("a,,g,1,fp8,offline,,,", "`model` is empty"),
        ("a,m,,1,fp8,offline,,,", "`gpu` is empty"),
        ("a,m,g,0,fp8,offline,,,", "`tp` is 0"),
        (
            "a,m,g,1.5,fp8,offline,,,",
            "`tp` is no whole number up to 65536",
        ),
        ("a,m,g,1,fp3,offline,,,", "`precision` is no known format"),
        (
            "a,m,g,1,fp8,sometimes,,,",
            "`workload` is none of offline, static, closed-loop, poisson",
        ),
        ("a,m,g,1,fp8,offline,-1,,", "`osl` is negative"),
        ("a,m,g,1,fp8,offline,,inf,", "`output_tok_s` is infinite"),
        (
            "a,m,g,1,fp8,offline,,NaN,",
            "`output_tok_s` is not a number",
        ),
        ("a,m,g,1,fp8,offline,,1e999,", "`output_tok_s` is infinite"),
        (
            "a,m,g,1,fp8,offline",
            "the row has another number of cells than the header's 9",
        ),
    ] {
        assert_eq!(refused(&format!("{HEAD}\n{row}\n")).0, reason, "{row}");
    }
    let long = format!("{HEAD}\na,{},g,1,fp8,offline,,,\n", "m".repeat(600));
    assert_eq!(refused(&long).0, "`model` is longer than 512 bytes");
}

#[test]
fn what_is_not_recorded_stays_unknown() {
    let run = one(&format!(
        "{HEAD}\na,m,g,,,closed-loop,,,SUSPECT GPU count\n"
    ));
    assert_eq!(
        (run.case.tp, run.case.precision, run.case.num_gpus()),
        (None, None, None)
    );
    assert_eq!(run.case.variant, Variant::default());
    assert_eq!(run.measured, Measured::default());
}

#[test]
fn flags_stand_in_the_notes() {
    let flags = |notes: &str| {
        one(&format!("{HEAD}\na,m,g,1,fp8,offline,,,{notes}\n"))
            .case
            .variant
    };
    assert!(flags("mode=disagg; x=1").disaggregated);
    assert!(flags("label h100-80gb-pcap; y").power_capped);
    assert!(flags("spec_decoding=mtp").speculative);
    assert!(flags("mode=agg").is_plain());
}

#[test]
fn two_identities_are_used_and_said() {
    let head = "model,gpu,tp,precision,workload,osl,output_tok_s,req_s,power_w,energy_j_per_tok";
    let run = one(&format!("{head}\nm,g,1,fp8,offline,100,500,,,0.5\n"));
    assert_eq!(
        (run.measured.req_s, run.measured.power_w),
        (Some(5.0), Some(250.0))
    );
    assert_eq!(run.notes, "req_s derived; power_w derived");
    let run = one(&format!("{head}\nm,g,1,fp8,offline,100,500,4,300,0.5\n"));
    assert_eq!(
        (run.measured.req_s, run.measured.power_w, run.notes.as_str()),
        (Some(4.0), Some(300.0), "")
    );
    let run = one(&format!("{head}\nm,g,1,fp8,offline,,500,,,\n"));
    assert_eq!((run.measured.req_s, run.measured.power_w), (None, None));
}

#[test]
fn replicas_follow_from_the_number_of_gpus() {
    let head = "model,gpu,tp,pp,dp,num_gpus,precision,workload";
    let dp = |cells: &str| one(&format!("{head}\nm,g,{cells},fp8,offline\n")).case.dp;
    assert_eq!(
        (
            dp("2,1,,8"),
            dp("2,1,0,2"),
            dp("2,1,3,6"),
            dp("4,1,,6"),
            dp(",,,8")
        ),
        (4, 1, 3, 1, 1)
    );
}

#[test]
fn outcomes_and_unlimited_rates_are_read() {
    let head = "model,gpu,tp,precision,workload,request_rate,outcome";
    let run = one(&format!("{head}\nm,g,1,fp8,offline,inf,oom\n"));
    assert_eq!(
        (run.case.request_rate, run.measured.outcome),
        (Some(f64::INFINITY), RunOutcome::OutOfMemory)
    );
    assert_eq!(
        refused(&format!("{head}\nm,g,1,fp8,offline,,maybe\n")),
        ("`outcome` is not known".into(), "maybe".into())
    );
}

#[test]
fn columns_that_are_not_known_go_into_the_notes() {
    let text = format!("{HEAD},colour\na,m,g,1,fp8,offline,,,n,red\n");
    let mut rows = read_runs(text.as_bytes(), defaults()).unwrap();
    assert_eq!(rows.unknown_columns().collect::<Vec<_>>(), ["colour"]);
    assert_eq!(rows.next().unwrap().unwrap().notes, "n; colour=red");
}

#[test]
fn a_farther_origin_in_the_file_is_kept() {
    let head = "model,gpu,tp,precision,workload,origin";
    let origin = |named: &str, given| {
        let text = format!("{head}\nm,g,1,fp8,offline,{named}\n");
        let defaults = Defaults {
            origin: given,
            source: String::new(),
        };
        read_runs(text.as_bytes(), defaults)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .origin
    };
    assert_eq!(origin("published", Origin::OtherCluster), Origin::Published);
    assert_eq!(
        origin("this-cluster", Origin::OtherCluster),
        Origin::OtherCluster
    );
    assert_eq!(origin("", Origin::ThisCluster), Origin::ThisCluster);
}

#[test]
fn cases_do_not_see_outcomes() {
    let head = "run_id,model,gpu,tp,precision,workload,output_tok_s,ttft_mean_ms,outcome";
    let case = |row: &str| {
        let text = format!("{head}\n{row}\n");
        read_cases(text.as_bytes())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
    };
    assert_eq!(
        case("a,m,g,1,fp8,offline,5,6,ok"),
        case("a,m,g,1,fp8,offline,junk,-1,nonsense")
    );
    assert_eq!(case(",m,g,1,fp8,offline,,,").run_id, "row 2");
}

/// What a spreadsheet would take for a formula among them.
fn name() -> impl Strategy<Value = String> {
    "[A-D=+@'-][A-D ,\"='.-]{0,10}[A-D]"
}

/// Notes alone may have several lines.
fn note() -> impl Strategy<Value = String> {
    "[A-D=+@'-][A-D ,\"\n.-]{0,10}[A-D]"
}

fn number() -> impl Strategy<Value = Option<f64>> {
    proptest::option::of(prop_oneof![
        0.0..1e9f64,
        0.0..1.0f64,
        Just(1e-300),
        Just(f64::MAX)
    ])
}

prop_compose! {
    fn any_case()(
        names in proptest::array::uniform2(name()),
        engine in "[abc][abc ]{0,5}[abc]",
        version in proptest::option::of(name()),
        numbers in proptest::array::uniform6(number()),
        rate in proptest::option::of(prop_oneof![0.0..100.0f64, Just(f64::INFINITY)]),
        degrees in (proptest::option::of(1..=64u32), 1..=8u32, 1..=8u32),
        formats in proptest::array::uniform2(proptest::option::of(proptest::sample::select(&Precision::ALL[..]))),
        workload in proptest::sample::select(&Workload::ALL[..]),
        flags in proptest::array::uniform3(any::<bool>()),
    ) -> Case {
        let [model, gpu] = names;
        let [params_b, active_params_b, gpu_mem_gb, isl, osl, concurrency] = numbers;
        let [disaggregated, speculative, power_capped] = flags;
        Case {
            model, params_b, active_params_b, gpu, gpu_mem_gb, tp: degrees.0, pp: degrees.1, dp: degrees.2,
            precision: formats[0], kv_precision: formats[1], isl, osl, workload, concurrency, request_rate: rate,
            engine, engine_version: version.unwrap_or_default(),
            variant: Variant {
                disaggregated,
                speculative,
                power_capped,
                prefix_cached: degrees.1 % 2 == 0,
                multi_turn: degrees.2 % 2 == 0,
                moe_tp: degrees.1 as u16,
                moe_ep: degrees.2 as u16,
                sched_steps: if disaggregated { 8 } else { 0 },
                chunked: speculative.then_some(power_capped),
            },
        }
    }
}

prop_compose! {
    fn any_run()(
        names in proptest::array::uniform3(name()),
        notes in note(),
        origin in proptest::sample::select(&Origin::ALL[..]),
        case in any_case(),
        outcome in proptest::sample::select(&RunOutcome::ALL[..]),
        m in proptest::array::uniform14(number()),
        kv_usage in proptest::option::of(0.0..=1.0f64),
    ) -> Run {
        let [run_id, source, source_ref] = names;
        let mut measured = Measured {
            outcome, output_tok_s: m[0], total_tok_s: m[1], req_s: m[2], ttft_ms: m[3], ttft_p50_ms: m[4],
            ttft_p99_ms: m[5], tpot_ms: m[6], tpot_p99_ms: m[7], e2e_ms: m[8], e2e_p99_ms: m[9], kv_usage,
            power_w: m[10], peak_mem_gb: m[11], energy_j_per_tok: m[12], cold_start_s: m[13],
        };
        // Where these are missing the reader derives them.
        measured.req_s = measured.req_s.or(Some(1.0));
        measured.power_w = measured.power_w.or(Some(1.0));
        Run { run_id, origin, source, source_ref, case, measured, notes }
    }
}

proptest! {
    #[test]
    fn what_was_written_reads_back(runs in proptest::collection::vec(any_run(), 0..6)) {
        let mut bytes = Vec::new();
        write_runs(&mut bytes, runs.iter()).unwrap();
        let back: Vec<Run> = read_runs(&bytes[..], defaults()).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(back, runs);
    }

    #[test]
    fn no_bytes_make_it_fall_over(head in any::<bool>(), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut text = if head { format!("{HEAD}\n").into_bytes() } else { Vec::new() };
        text.extend(bytes);
        if let Ok(rows) = read_runs(&text[..], defaults()) {
            rows.for_each(drop);
        }
        if let Ok(rows) = read_cases(&text[..]) {
            rows.for_each(drop);
        }
    }

    #[test]
    fn no_cells_make_it_fall_over(rows in proptest::collection::vec("(inf|-?[0-9]{1,30}|[a-z\"]{0,4}|nan|1e400|fp8|offline)(,(inf|-?[0-9]{1,30}|[a-z\"]{0,4}|1e400|fp8|offline)){5,9}", 0..5)) {
        let text = format!("{HEAD}\n{}\n", rows.join("\n"));
        read(&text).into_iter().for_each(drop);
    }
}
