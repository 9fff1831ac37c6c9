//! The store through its public surface.

#![cfg(feature = "store")]
#![allow(clippy::unwrap_used)] // helpers of tests

use std::path::Path;

use model_store::advisor::{
    Case, ClusterState, GpuPool, Measured, Origin, Precision, Run, RunOutcome, Variant, Workload,
};
use model_store::store::{
    AccountedJob, EVIDENCE, FileFate, Ingested, ModelState, NewWish, Probe, PublishedModel,
    Quarantined, Store, StoreError, Wait, content_hash, published_figures,
};
use model_store::wish::WishWhy;
use proptest::prelude::*;
use tempfile::TempDir;

fn place() -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    (dir, path)
}

fn a_run(name: &str) -> Run {
    Run {
        run_id: name.into(),
        origin: Origin::OtherCluster,
        source: "lab".into(),
        source_ref: "page 1".into(),
        case: Case {
            model: "m".into(),
            params_b: Some(8.0),
            active_params_b: None,
            gpu: "H100-SXM".into(),
            gpu_mem_gb: Some(80.0),
            tp: Some(1),
            pp: 1,
            dp: 1,
            precision: Some(Precision::Bf16),
            kv_precision: None,
            isl: Some(128.0),
            osl: Some(128.0),
            workload: Workload::Offline,
            concurrency: None,
            request_rate: Some(f64::INFINITY),
            engine: "vllm".into(),
            engine_version: "0.11".into(),
            variant: Variant::default(),
        },
        measured: Measured {
            output_tok_s: Some(1000.0),
            ..Measured::default()
        },
        notes: String::new(),
    }
}

/// A finite number, or none.
fn number() -> impl Strategy<Value = Option<f64>> {
    proptest::option::of(prop_oneof![
        (0.0..1e12f64),
        Just(0.0),
        Just(f64::MIN_POSITIVE),
        Just(f64::MAX)
    ])
}

fn precision() -> impl Strategy<Value = Option<Precision>> {
    proptest::option::of(proptest::sample::select(&Precision::ALL[..]))
}

prop_compose! {
    fn any_case()(
        texts in proptest::array::uniform4(any::<String>()),
        numbers in proptest::array::uniform7(number()),
        degrees in (proptest::option::of(1..=u32::MAX), 1..=u32::MAX, 1..=u32::MAX),
        formats in (precision(), precision()),
        workload in proptest::sample::select(&Workload::ALL[..]),
        flags in proptest::array::uniform3(any::<bool>()),
    ) -> Case {
        let [model, gpu, engine, engine_version] = texts;
        let [params_b, active_params_b, gpu_mem_gb, isl, osl, concurrency, request_rate] = numbers;
        let [disaggregated, speculative, power_capped] = flags;
        Case {
            model, params_b, active_params_b, gpu, gpu_mem_gb, tp: degrees.0, pp: degrees.1, dp: degrees.2,
            precision: formats.0, kv_precision: formats.1, isl, osl, workload, concurrency, request_rate,
            engine, engine_version, variant: Variant {
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
        texts in proptest::array::uniform4(any::<String>()),
        origin in proptest::sample::select(&Origin::ALL[..]),
        case in any_case(),
        outcome in proptest::sample::select(&RunOutcome::ALL[..]),
        m in proptest::array::uniform15(number()),
    ) -> Run {
        let [run_id, source, source_ref, notes] = texts;
        let measured = Measured {
            outcome, output_tok_s: m[0], total_tok_s: m[1], req_s: m[2], ttft_ms: m[3], ttft_p50_ms: m[4],
            ttft_p99_ms: m[5], tpot_ms: m[6], tpot_p99_ms: m[7], e2e_ms: m[8], e2e_p99_ms: m[9], kv_usage: m[10],
            power_w: m[11], peak_mem_gb: m[12], energy_j_per_tok: m[13], cold_start_s: m[14],
        };
        Run { run_id, origin, source, source_ref, case, measured, notes }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn runs_come_back_as_they_went_in_whatever_the_order(runs in proptest::collection::vec(any_run(), 1..8)) {
        let (_dir, path) = place();
        let mut store = Store::create(&path).unwrap();
        store.insert_runs(runs.iter().cloned()).unwrap();
        let mut expected = runs.clone();
        expected.sort_by_key(content_hash);
        expected.dedup_by_key(|r| content_hash(r));
        prop_assert_eq!(&store.runs().unwrap(), &expected);

        let (_dir, path) = place();
        let mut other = Store::create(&path).unwrap();
        for run in runs.into_iter().rev() {
            other.insert_runs(std::iter::once(run)).unwrap();
        }
        prop_assert_eq!(other.runs().unwrap(), expected);
    }

    #[test]
    fn runs_that_differ_in_a_figure_have_different_hashes(run in any_run(), more in 1.0..2.0f64) {
        let mut other = run.clone();
        other.measured.cold_start_s = Some(run.measured.cold_start_s.map_or(more, |s| s / 2.0 + more));
        prop_assert_ne!(content_hash(&run), content_hash(&other));
        other = run.clone();
        other.case.model.push('x');
        prop_assert_ne!(content_hash(&run), content_hash(&other));
    }

    #[test]
    fn a_damaged_store_is_an_error_and_never_a_panic(at in 0usize..8192, byte in any::<u8>(), cut in 0usize..8192) {
        let (_dir, path) = place();
        let mut store = Store::create(&path).unwrap();
        store.insert_runs((0..20).map(|n| a_run(&n.to_string()))).unwrap();
        drop(store);
        let mut bytes = std::fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(bytes.len() - cut % bytes.len());
        std::fs::write(&path, bytes).unwrap();
        if let Ok(mut store) = Store::open(&path) {
            let _ = store.runs();
            let _ = store.counts();
            let _ = store.insert_runs(std::iter::once(a_run("more")));
        }
    }
}

#[test]
fn a_run_counts_once_under_whatever_origin_it_comes() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    let first = store
        .insert_runs([a_run("a"), a_run("b"), a_run("a")].into_iter())
        .unwrap();
    assert_eq!((first.new, first.known), (2, 1));
    let mut again = a_run("a");
    again.origin = Origin::Published;
    again.notes = "told with other words".into();
    let second = store.insert_runs(std::iter::once(again)).unwrap();
    assert_eq!((second.new, second.known), (0, 1));
    assert_eq!(store.count().unwrap(), 2);
    assert_eq!(store.counts().unwrap()[0].runs, 2);
}

#[test]
fn a_figure_that_two_sources_report_counts_once_and_repeats_of_one_source_count() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    let mut elsewhere = a_run("x");
    elsewhere.source = "another lab".into();
    elsewhere.measured.req_s = Some(7.8);
    let report = store
        .insert_runs([a_run("a"), a_run("b"), elsewhere].into_iter())
        .unwrap();
    assert_eq!((report.new, report.known), (2, 1));
    // Failures have no figure: each of them happened.
    let failure = |source: &str| {
        let mut run = a_run("f");
        run.source = source.into();
        run.measured = Measured {
            outcome: RunOutcome::OutOfMemory,
            ..Measured::default()
        };
        run
    };
    let report = store
        .insert_runs([failure("lab"), failure("another lab")].into_iter())
        .unwrap();
    assert_eq!((report.new, report.known), (2, 0));
}

#[test]
fn all_or_none_of_a_call_is_kept() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    let mut bad = a_run("bad");
    bad.measured.ttft_ms = Some(f64::NAN);
    let result = store.insert_runs([a_run("good"), bad].into_iter());
    assert!(matches!(result, Err(StoreError::Run { .. })), "{result:?}");
    assert_eq!(store.count().unwrap(), 0);
}

#[test]
fn the_published_figures_are_whole_and_name_their_documents() {
    let figures = published_figures().unwrap();
    assert_eq!(figures.len(), 717);
    assert!(
        figures
            .iter()
            .all(|f| f.origin == Origin::Published && f.source_ref.contains("documentation"))
    );
    assert!(
        figures
            .iter()
            .all(|f| f.measured.output_tok_s.is_some() && f.case.precision.is_some())
    );
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    assert_eq!(store.insert_runs(figures.into_iter()).unwrap().new, 717);
}

#[test]
fn a_file_that_is_no_store_is_reported_and_left_alone() {
    let (dir, path) = place();
    for content in ["hello", "SQLite format 3", &"x".repeat(5000)] {
        std::fs::write(&path, content).unwrap();
        let error = Store::create(&path).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
    }
    assert!(matches!(
        Store::open(dir.path()),
        Err(StoreError::NotAStore { .. })
    ));
    let absent = Store::open(&dir.path().join("none.db")).unwrap_err();
    assert!(absent.hint().contains("omnipilot init"));
}

fn sqlite(path: &Path, sql: &str) {
    rusqlite::Connection::open(path)
        .unwrap()
        .execute_batch(sql)
        .unwrap();
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let (_dir, path) = place();
    sqlite(
        &path,
        "CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)",
    );
    let before = std::fs::read(&path).unwrap();
    let error = Store::create(&path).unwrap_err();
    assert!(
        error.to_string().contains("another program, with 1 tables"),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_store_of_a_newer_version_is_not_opened() {
    let (_dir, path) = place();
    drop(Store::create(&path).unwrap());
    sqlite(&path, "PRAGMA user_version = 99");
    let error = Store::open(&path).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 99, .. }),
        "{error}"
    );
    assert!(error.hint().contains("newer"));
}

#[test]
fn a_word_of_a_newer_version_is_named() {
    let (_dir, path) = place();
    Store::create(&path)
        .unwrap()
        .insert_runs(std::iter::once(a_run("a")))
        .unwrap();
    sqlite(&path, "UPDATE runs SET precision = 'fp2'");
    let error = Store::open(&path).unwrap().runs().unwrap_err();
    assert!(
        error.to_string().contains("unknown precision `fp2`"),
        "{error}"
    );
}

#[test]
fn an_empty_file_becomes_a_store_and_the_store_is_readable_by_all() {
    use std::os::unix::fs::PermissionsExt;
    let (_dir, path) = place();
    drop(Store::create(&path).unwrap());
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o644
    );
    std::fs::write(&path, "").unwrap();
    assert_eq!(Store::create(&path).unwrap().count().unwrap(), 0);
}

#[test]
fn many_commands_may_make_and_fill_one_store_at_once() {
    let (_dir, path) = place();
    std::thread::scope(|scope| {
        for n in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let mut store = Store::create(path).unwrap();
                store
                    .insert_runs((0..50).map(|k| a_run(&format!("{}", n * 25 + k))))
                    .unwrap();
            });
        }
    });
    assert_eq!(Store::open(&path).unwrap().count().unwrap(), 225);
}

#[test]
fn the_latest_observation_of_the_cluster_comes_back() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    assert_eq!(store.cluster().unwrap(), None);
    let pool = |gres: &str, free| GpuPool {
        gres: gres.into(),
        nodes: 2,
        per_node: 8,
        total: 16,
        free,
        pending: 3,
        partitions: vec!["p".into(), "q".into()],
    };
    let first = ClusterState {
        pools: vec![pool("a100", 1), pool("h100", 2)],
        observed_at: Some(5),
        default_partition: Some("serve".into()),
        waits: None,
    };
    let second = ClusterState {
        pools: vec![pool("h100", 0)],
        observed_at: None,
        default_partition: None,
        waits: None,
    };
    for state in [first, second, ClusterState::default()] {
        store.save_cluster(&state).unwrap();
        assert_eq!(store.cluster().unwrap(), Some(state));
    }
}

/// Every schema that was ever in use, in order.
const SCHEMAS: [&str; 8] = [
    include_str!("../store/src/schema/001-first.sql"),
    include_str!("../store/src/schema/002-settings.sql"),
    include_str!("../store/src/schema/003-default-partition.sql"),
    include_str!("../store/src/schema/004-learning-loop.sql"),
    include_str!("../store/src/schema/005-probes.sql"),
    include_str!("../store/src/schema/006-other-deployments.sql"),
    include_str!("../store/src/schema/007-slurm-view.sql"),
    include_str!("../store/src/schema/008-of-each-user.sql"),
];

/// What a store of the first schema may hold: a run of a job, a run from elsewhere, an observation.
const HELD: &str = "
    INSERT INTO sources VALUES (1, 'cluster:c'), (2, 'lab');
    INSERT INTO jobs (id, cluster, job_id, submit, state, exit_code, elapsed_s, start, ended, user, uid, nodes, comment)
      VALUES (5, 'c', 7, 1, 'COMPLETED', '0:0', 9, 2, 11, 'alice', 1001, 'n', '');
    INSERT INTO runs (hash, added_at, run_id, origin, source, source_ref, model, gpu, pp, dp, workload, engine,
      engine_version, disaggregated, speculative, power_capped, outcome, output_tok_s, notes)
      VALUES (zeroblob(16), 3, '7-2000-window-0', 'this-cluster', 1, 'job 7 window 0', 'm', 'H200', 1, 1, 'closed-loop',
      'vllm', '', 0, 0, 0, 'ok', 10, ''),
      (randomblob(16), 4, 'x', 'other-cluster', 2, 'page 1', 'm', 'H200', 1, 1, 'offline', 'vllm', '', 0, 0, 0, 'ok', 11, '');
    INSERT INTO observations (id, observed_at) VALUES (1, 5);
    INSERT INTO imports (file, format, origin, imported_at, added, known, skipped) VALUES ('f', 'runs-csv', 'published', 1, 1, 0, 0);
    INSERT INTO models (id, created_at, runs, path, bytes, metrics) VALUES ('abc', 1, 2, '/p', 3, '{}');";

#[test]
fn a_store_of_every_older_schema_is_brought_up_to_date_and_keeps_what_it_holds() {
    for version in 1..SCHEMAS.len() {
        let (_dir, path) = place();
        SCHEMAS[..version]
            .iter()
            .for_each(|schema| sqlite(&path, schema));
        sqlite(&path, HELD);
        if version >= 4 {
            // From then on a run names its job itself.
            sqlite(&path, "UPDATE runs SET job = 5 WHERE source = 1");
        }
        sqlite(&path, &format!("PRAGMA user_version = {version}"));
        let mut store = Store::open(&path).unwrap();
        let mut ids = Vec::new();
        store.each_run(|id, _| ids.push(id)).unwrap();
        let runs = store.runs_of(&ids).unwrap();
        assert_eq!(runs.len(), 2, "schema {version}");
        assert_eq!(store.runs_of(&ids[1..]).unwrap().len(), 1);
        assert_eq!(store.count_since(i64::MAX).unwrap(), 0);
        let here = runs
            .iter()
            .find(|r| r.run.origin == Origin::ThisCluster)
            .unwrap();
        assert_eq!(
            (here.uid, here.user.as_deref(), here.ended, here.added_at),
            (Some(1001), Some("alice"), Some(11), 3)
        );
        let seen = ClusterState {
            observed_at: Some(5),
            ..ClusterState::default()
        };
        assert_eq!(store.cluster().unwrap(), Some(seen.clone()));
        assert_eq!(store.models().unwrap()[0].state, ModelState::Published);
        let named = ClusterState {
            default_partition: Some("serve".into()),
            ..seen
        };
        store.save_cluster(&named).unwrap();
        assert_eq!(store.cluster().unwrap(), Some(named));
        store.insert_runs(std::iter::once(a_run("new"))).unwrap();
        assert_eq!(store.count().unwrap(), 3);
    }
}

/// What older releases kept of refused files goes, from rows and from what is free in the file.
#[test]
fn nothing_of_a_refused_file_is_left_in_a_store_that_was_brought_up_to_date() {
    for version in 1..SCHEMAS.len() {
        let (_dir, path) = place();
        SCHEMAS[..version]
            .iter()
            .for_each(|schema| sqlite(&path, schema));
        sqlite(
            &path,
            "INSERT INTO quarantine (hash, file, uid, bytes, reason, head, quarantined_at) VALUES
               (zeroblob(32), 'a', 1, 9, 'no outcome file: invalid type: string \"SECRET-1\"', CAST('SECRET-2' AS BLOB), 1),
               (randomblob(32), 'b', 1, 9, 'no wish: --llm-isl=SECRET-3 is not a number', CAST('SECRET-4' AS BLOB), 2),
               (randomblob(32), 'c', 1, 9, 'its job never ran', CAST(replace(hex(zeroblob(500)), '00', 'SECRET-5') AS BLOB), 3);
             DELETE FROM quarantine WHERE file = 'c'",
        );
        let kept = |path: &Path| {
            let bytes = std::fs::read(path).unwrap();
            bytes.windows(6).filter(|w| w == b"SECRET").count()
        };
        assert!(kept(&path) > 100, "what was deleted is still in the file");
        sqlite(&path, &format!("PRAGMA user_version = {version}"));
        let store = Store::open(&path).unwrap();
        let told = store.quarantined().unwrap();
        assert_eq!(told[0], ("a".into(), "no outcome file".into()));
        assert_eq!(told[1], ("b".into(), "no wish".into()));
        assert_eq!(kept(&path), 0, "schema {version}");
    }
}

#[test]
fn a_store_that_is_new_has_the_same_schema_as_one_that_was_brought_up_to_date() {
    let schema = |path: &Path| -> Vec<String> {
        let db = rusqlite::Connection::open(path).unwrap();
        let mut all = db
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
            .unwrap();
        all.query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    let (_dir, new) = place();
    drop(Store::create(&new).unwrap());
    let (_dir, old) = place();
    sqlite(&old, SCHEMAS[0]);
    sqlite(&old, "PRAGMA user_version = 1");
    drop(Store::open(&old).unwrap());
    assert_eq!(schema(&old), schema(&new));
}

#[test]
fn published_models_are_listed_newest_first_and_can_be_brought_back() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    let model = |id: &str, created_at| PublishedModel {
        id: id.into(),
        created_at,
        runs: 7,
        path: "/p".into(),
        bytes: 3,
        metrics: "{}".into(),
        state: ModelState::Published,
    };
    store
        .record_model(&model("old", 1), Some(b"abc"), Some(b"gate"))
        .unwrap();
    store.record_model(&model("new", 2), None, None).unwrap();
    let ids: Vec<_> = store.models().unwrap().into_iter().map(|m| m.id).collect();
    assert_eq!(ids, ["new", "old"]);
    assert_eq!(
        store.model_snapshot("old").unwrap().as_deref(),
        Some(&b"abc"[..])
    );
    assert_eq!(store.model_snapshot("new").unwrap(), None);
    assert_eq!(store.model("old").unwrap(), Some(model("old", 1)));
    assert_eq!(store.model("none").unwrap(), None);
    // Recorded again by somebody who has no bytes: they stay.
    store.record_model(&model("old", 1), None, None).unwrap();
    store.set_model_state("old", ModelState::Refused).unwrap();
    assert_eq!(
        store.model_gate("old").unwrap().as_deref(),
        Some(&b"gate"[..])
    );
    assert_eq!(
        store.model("old").unwrap().unwrap().state,
        ModelState::Refused
    );
}

#[test]
fn old_snapshots_go_but_for_the_newest_and_the_one_in_use() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    let model = |id: &str, created_at, metrics: &str| PublishedModel {
        id: id.into(),
        created_at,
        runs: 7,
        path: "/p".into(),
        bytes: 3,
        metrics: metrics.into(),
        state: ModelState::Published,
    };
    for (at, id) in (1..).zip(["a", "b", "c", "d", "e"]) {
        let entry = model(id, at, "{}");
        store
            .record_model(&entry, Some(b"abc"), Some(b"g"))
            .unwrap();
    }
    let seen = model("seen", 1, r#"{"republished_from":"a"}"#);
    store.record_model(&seen, None, None).unwrap();
    // Before 4: a, b, c. Of the newest two neither is among them; a is in use.
    assert_eq!(store.prune_models(2, 4, "a").unwrap(), 2);
    let whole = |id: &str| store.model_snapshot(id).unwrap().is_some();
    assert_eq!(
        ["a", "b", "c", "d", "e"].map(whole),
        [true, false, false, true, true]
    );
    assert_eq!(store.models().unwrap().len(), 5);
}

fn a_file(hash: u8, started_at_ms: i64) -> Ingested {
    let job = AccountedJob {
        cluster: "c".into(),
        job_id: 7,
        submit: 1,
        start: 2,
        ended: Some(9),
        state: "COMPLETED".into(),
        gpus: vec![("h100".into(), 4)],
        ..AccountedJob::default()
    };
    let runs = vec![a_run(&format!("{hash}-{started_at_ms}"))];
    Ingested {
        hash: [hash; 32],
        file: format!("{hash}.json"),
        started_at_ms,
        advice_id: None,
        job,
        runs,
    }
}

#[test]
fn an_outcome_file_is_taken_once_and_another_tale_of_the_same_start_is_not() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    let fates = store
        .ingest(&[a_file(1, 10), a_file(1, 10), a_file(2, 10), a_file(3, 11)])
        .unwrap();
    assert_eq!(
        fates,
        [
            FileFate::Added(1),
            FileFate::Known,
            FileFate::Contradicted,
            FileFate::Added(1)
        ]
    );
    let known = store.known_outcome_files([[1; 32], [2; 32]].into_iter());
    assert_eq!(known.unwrap().into_iter().collect::<Vec<_>>(), [[1; 32]]);
    let many: Vec<_> = (4..=70).map(|n| a_file(n, 100 + i64::from(n))).collect();
    let fates = store.ingest(&many).unwrap();
    assert_eq!(
        fates.iter().filter(|f| **f == FileFate::TooMany).count(),
        67 - 62
    );
    assert_eq!(store.count().unwrap(), 64);
}

#[test]
fn refused_files_and_read_accounting_are_remembered() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    let refused = Quarantined {
        hash: [1; 32],
        file: "x.json".into(),
        uid: Some(1),
        bytes: 9000,
        reason: "junk".into(),
    };
    store.quarantine(&[refused.clone(), refused]).unwrap();
    assert_eq!(
        store.quarantined().unwrap(),
        [("x.json".to_owned(), "junk".to_owned())]
    );
    assert_eq!(store.watermark("sacct").unwrap(), None);
    let wait = |job_id| Wait {
        cluster: "c".into(),
        job_id,
        eligible: 5,
        wait_s: 60,
        gres: "h100".into(),
        gpus: 4,
        backlog: Some(3),
        uid: Some(1001),
    };
    for (read_to, waits) in [(50, vec![wait(1), wait(2)]), (40, vec![wait(2), wait(3)])] {
        store
            .save_accounting(&[a_file(1, 1).job], &waits, &[], ("sacct", read_to))
            .unwrap();
    }
    assert_eq!(store.waits(0).unwrap(), [wait(1), wait(2), wait(3)]);
    assert!(store.waits(6).unwrap().is_empty());
    assert_eq!(store.watermark("sacct").unwrap(), Some(50));
}

#[test]
fn a_type_is_idle_between_two_observations_that_both_saw_it_so() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    for (at, free) in [(100, 8), (200, 8), (300, 2), (400, 8), (450, 8)] {
        let pool = GpuPool {
            gres: "h100".into(),
            total: 8,
            free,
            ..GpuPool::default()
        };
        let state = ClusterState {
            pools: vec![pool],
            observed_at: Some(at),
            ..ClusterState::default()
        };
        store.save_cluster(&state).unwrap();
    }
    let idle = |from, to| store.idle_seconds("h100", from, to).unwrap();
    assert_eq!([idle(0, 500), idle(150, 400), idle(0, 200)], [150, 0, 100]);
    assert_eq!(store.idle_seconds("a100", 0, 500).unwrap(), 0);
}

fn a_wish(key: &str, uid: u32, why: WishWhy, at: i64) -> NewWish {
    NewWish {
        key: key.into(),
        uid,
        request: "{}".into(),
        why,
        at,
    }
}

#[test]
fn a_wish_counts_by_users_and_one_user_has_so_many() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    // The file and accounting may both tell of one and the same submission.
    for (uid, at) in [(1, 10), (1, 70), (1, 131), (2, 12)] {
        store
            .wish(&[a_wish("k", uid, WishWhy::Refused, at)])
            .unwrap();
    }
    let flood: Vec<NewWish> = (0..300)
        .map(|n| a_wish(&format!("flood {n:03}"), 3, WishWhy::Explored, 100 + n))
        .collect();
    store.wish(&flood).unwrap();
    let wishes = store.wishes(0).unwrap();
    assert_eq!(wishes.len(), 201);
    let k = wishes.last().unwrap();
    assert_eq!(
        (k.key.as_str(), &k.asked, k.last_at),
        ("k", &[(1, 2), (2, 1)].into(), 131)
    );
    assert!(wishes.iter().all(|w| w.key != "flood 099"));
}

#[test]
fn a_probe_is_recorded_once_and_finds_its_job() {
    let (_dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    let probe = |tp, job: &str, at| Probe {
        key: "k".into(),
        request: "{}".into(),
        gres: "h100".into(),
        tp,
        precision: "fp8".into(),
        gpu_hours: 0.5,
        job: job.into(),
        submitted_at: at,
    };
    let first = [probe(1, "a-1_0", 10), probe(2, "a-1_1", 10)];
    assert_eq!(store.record_probes(&first, 0).unwrap().len(), 2);
    let again = [probe(2, "a-2_0", 20), probe(4, "a-2_1", 20)];
    assert_eq!(store.record_probes(&again, 0).unwrap(), [again[1].clone()]);
    store.settle_probes("a-1", Some(4711)).unwrap();
    store.settle_probes("a-2", None).unwrap();
    let jobs: Vec<String> = store
        .probes(0)
        .unwrap()
        .into_iter()
        .map(|p| p.job)
        .collect();
    assert_eq!(jobs, ["4711_0", "4711_1"]);
    // Long enough ago it may be done again.
    assert_eq!(
        store
            .record_probes(&[probe(2, "a-3_0", 30)], 11)
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_backup_is_whole_while_the_store_is_written_and_brings_back_what_it_held() {
    let (dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    store
        .insert_runs((0..10).map(|n| a_run(&format!("first {n}"))))
        .unwrap();
    let writer = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut store = Store::open(&path).unwrap();
            for batch in 0..40 {
                let runs = (0..10).map(|n| a_run(&format!("{batch} {n}")));
                store.insert_runs(runs).unwrap();
            }
        }
    });
    let mut counts = Vec::new();
    for n in 0..8 {
        let copy = dir.path().join(format!("copy-{n}.db"));
        store.backup(&copy).unwrap();
        counts.push(Store::open(&copy).unwrap().count().unwrap());
    }
    writer.join().unwrap();
    // Each batch is in it whole or not at all, and none is lost again.
    assert!(
        counts.iter().all(|n| n % 10 == 0) && counts.is_sorted(),
        "{counts:?}"
    );
    assert_eq!(store.count().unwrap(), 410);
    let copy = dir.path().join("copy-0.db");
    assert!(
        matches!(store.backup(&copy), Err(StoreError::Io { .. })),
        "never over another file"
    );
    drop(Store::restore(&path, &copy).unwrap());
    // A command that had the store open sees what is there now.
    assert_eq!(store.count().unwrap(), counts[0]);
    let parts = std::fs::read_dir(dir.path()).unwrap();
    assert!(
        parts
            .flatten()
            .all(|e| !e.file_name().to_string_lossy().ends_with(".part"))
    );
}

/// In a folder where others may write, they may have put links under names that they guess.
#[test]
fn a_backup_is_written_through_no_link() {
    let (dir, path) = place();
    let store = Store::create(&path).unwrap();
    let folder = dir.path().join("backups");
    std::fs::create_dir(&folder).unwrap();
    let precious = dir.path().join("precious");
    std::fs::write(&precious, "precious").unwrap();
    let guessed = format!(".copy.db.{}.part", std::process::id());
    std::os::unix::fs::symlink(&precious, folder.join(&guessed)).unwrap();
    // The way to the folder may be a link of one's own.
    std::os::unix::fs::symlink(&folder, dir.path().join("way")).unwrap();
    store.backup(&dir.path().join("way/copy.db")).unwrap();
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "precious");
    assert!(folder.join(&guessed).is_symlink(), "left alone");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    Store::open(&folder.join("copy.db")).unwrap();
}

#[test]
fn what_is_no_sound_backup_is_not_restored() {
    let (dir, path) = place();
    let mut store = Store::create(&path).unwrap();
    store
        .insert_runs((0..300).map(|n| a_run(&format!("{n}"))))
        .unwrap();
    let copy = dir.path().join("copy.db");
    store.backup(&copy).unwrap();
    let mut bytes = std::fs::read(&copy).unwrap();
    let size = bytes.len();
    bytes[size / 2..size / 2 + 8192].fill(0xa5);
    std::fs::write(&copy, &bytes).unwrap();
    assert!(Store::restore(&path, &copy).is_err());
    std::fs::write(&copy, b"a letter").unwrap();
    assert!(matches!(
        Store::restore(&path, &copy),
        Err(StoreError::NotAStore { .. })
    ));
    std::fs::write(&copy, b"").unwrap();
    assert!(matches!(
        Store::restore(&path, &copy),
        Err(StoreError::NotAStore { .. })
    ));
    assert_eq!(store.count().unwrap(), 300);
}

#[test]
fn every_table_of_evidence_is_whole_and_named_in_its_list() {
    let list = include_str!("../store/data/evidence/README.md");
    let mut rows = 0;
    for table in EVIDENCE {
        let runs = table.runs().unwrap();
        let line = list
            .lines()
            .find(|l| l.starts_with(&format!("| {} |", table.source)))
            .unwrap_or_else(|| panic!("{} is not in the list", table.source));
        for told in [table.reference, table.licence] {
            assert!(line.contains(told), "{line}: {told}");
        }
        assert!(
            line.replace(',', "")
                .contains(&format!("| {} |", runs.len())),
            "{line}"
        );
        for run in &runs {
            assert_eq!(run.source, table.source);
            assert!(!run.source_ref.is_empty(), "{}", run.run_id);
        }
        rows += runs.len();
    }
    assert_eq!(rows, 10_585);
}
