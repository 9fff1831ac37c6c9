//! Every page and log of `tests/fixtures/engine`, by engine and version, read as `omnipilot run` reads it.

use std::fs;
use std::path::PathBuf;

use model_store::advisor::RunOutcome;
use model_store::outcome::Window;

use super::log::LogNotes;
use super::reading::Reading;
use super::verdict::{End, Exit, verdict};
use super::window::{Cut, Windows};

/// An engine that failed to start.
const ENDED: End = End {
    exit: Some(Exit::Code(1)),
    elapsed_s: 60.0,
    ready_s: None,
    asked_s: None,
    gave_up_s: None,
    is_server: true,
};

fn folder() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/fixtures/engine"
    ))
}

fn page(kind: &str, name: &str) -> String {
    let path = folder().join(kind).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The window between two pages that were read ten seconds apart.
fn window(before: &str, after: &str) -> Option<Window> {
    let cut = Cut {
        warmup_s: 0.0,
        shortest_s: 5.0,
        started_at: 0.0,
    };
    let mut windows = Windows::new(cut);
    windows.push(Reading::of_page(before, 100.0));
    windows.push(Reading::of_page(after, 110.0));
    windows.so_far().pop()
}

/// What an engine and version does not say of the ten seconds, which are the same for all.
#[derive(Clone, Copy, PartialEq)]
enum Lacks {
    Ttft,
    KvUsage,
    Preemptions,
    /// Input lengths by request; where there is no count of prompt tokens either, nothing tells them.
    Histograms,
}
use Lacks::{Histograms, KvUsage, Preemptions, Ttft};

/// The versions whose pages were written after their sources, and what they lack.
const WRITTEN: [(&str, &[Lacks]); 8] = [
    ("vllm/0.6", &[]),
    ("vllm/0.10", &[]),
    ("vllm/0.33.0", &[]),
    ("sglang/0.4", &[Preemptions, Histograms]),
    ("sglang/0.5.23", &[Histograms]),
    ("tensorrt-llm/main", &[Preemptions, Histograms]),
    ("tgi/3", &[Ttft, KvUsage, Preemptions]),
    ("dynamo/1.6.1", &[KvUsage, Preemptions]),
];
/// Says how long requests took, and neither load nor tokens: nothing is made of it.
const TELLS_TOO_LITTLE: &str = "tensorrt-llm/1.1.0rc5";
const CAPTURED: &str = "vllm/0.32.0";

#[test]
fn the_same_ten_seconds_are_told_alike_in_the_words_of_every_engine() {
    for (kind, lacks) in WRITTEN {
        let [before, after] = ["before.txt", "after.txt"].map(|name| page(kind, name));
        let w = window(&before, &after).unwrap_or_else(|| panic!("{kind}: no window"));
        let has = |what| !lacks.contains(&what);
        let near = |value: Option<f64>, truth: f64, there: bool| match value {
            Some(value) => there && (value - truth).abs() < 1e-6 * truth,
            None => !there,
        };
        assert!(
            near(Some(w.output_tok_s), 500.0, true) && near(Some(w.req_s), 2.0, true),
            "{kind}: {w:?}"
        );
        assert!(near(w.concurrency, 8.0, true), "{kind}: {w:?}");
        assert!(
            near(w.isl, 1000.0, true) && near(w.osl, 250.0, true),
            "{kind}: {w:?}"
        );
        assert!(
            near(w.ttft_ms, 250.0, has(Ttft)) && near(w.tpot_ms, 20.0, true),
            "{kind}: {w:?}"
        );
        assert!(near(w.e2e_ms, 5250.0, true), "{kind}: {w:?}");
        assert!(near(w.kv_usage, 0.42, has(KvUsage)), "{kind}: {w:?}");
        assert!(near(w.preemptions, 3.0, has(Preemptions)), "{kind}: {w:?}");
        assert_eq!(
            Reading::of_page(&after, 0.0).isl.is_some(),
            has(Histograms),
            "{kind}"
        );
    }
    let [before, after] = ["before.txt", "after.txt"].map(|name| page(TELLS_TOO_LITTLE, name));
    assert_eq!(window(&before, &after), None);
}

/// Whoever exports the counters, with `prometheus_client`'s ending or without, they count.
#[test]
fn counters_count_with_their_ending_and_without() {
    for (kind, _) in WRITTEN {
        let [before, after] = ["before.txt", "after.txt"].map(|name| page(kind, name));
        let [bare_before, bare_after] =
            [&before, &after].map(|p| p.replace("_total{", "{").replace("_total ", " "));
        assert_eq!(
            window(&bare_before, &bare_after),
            window(&before, &after),
            "{kind}"
        );
    }
}

/// `_created` gauges hold times and must not be summed; unknown names and comments are passed over.
#[test]
fn what_stands_beside_the_known_names_changes_nothing() {
    for (kind, _) in WRITTEN {
        let [before, after] = ["before.txt", "after.txt"].map(|name| page(kind, name));
        let dressed = |p: &str| {
            format!(
                "# EOF\nunknown_metric{{a=\"b\"}} 7\nnot a sample\n{p}\nprocess_cpu_seconds_total 9\n"
            )
        };
        let plain = |p: &str| {
            p.lines()
                .filter(|l| !l.contains("_created"))
                .map(|l| format!("{l}\n"))
                .collect::<String>()
        };
        let told = window(&before, &after);
        assert_eq!(window(&dressed(&before), &dressed(&after)), told, "{kind}");
        assert_eq!(window(&plain(&before), &plain(&after)), told, "{kind}");
    }
}

#[test]
fn lines_of_failures_have_their_class() {
    let mut seen = 0;
    for kind in ["vllm/0.6", "vllm/0.33.0", "sglang/0.5.23"] {
        for line in page(kind, "texts.txt").lines() {
            let (class, text) = line.split_once('\t').unwrap();
            let mut notes = LogNotes::default();
            notes.line(text, 1.0);
            let (outcome, evidence) = notes.cause().unwrap_or_else(|| panic!("{kind}: {text}"));
            assert_eq!(outcome.name(), class, "{kind}: {text}");
            assert!(!evidence.is_empty());
            // The same words in a prompt that is logged decide nothing.
            let mut notes = LogNotes::default();
            notes.line(
                &format!("INFO 11-23 04:40:00 [logger.py:1] Received request: prompt: '{text}'"),
                1.0,
            );
            assert_eq!(notes.cause(), None, "{kind}: {text}");
            seen += 1;
        }
    }
    assert!(seen >= 15);
}

/// Logs of failures, whole, as an engine that ended by itself leaves them.
#[test]
fn logs_of_failures_have_their_class_and_its_line() {
    let text = fs::read_to_string(folder().join("faults.txt")).unwrap();
    let mut seen = 0;
    for block in text.split("\n## ").skip(1) {
        let (head, log) = block.split_once('\n').unwrap();
        let [name, engine, class, words] =
            head.split(" | ").collect::<Vec<_>>().try_into().unwrap();
        let mut notes = LogNotes::default();
        log.lines().for_each(|line| notes.line(line, 1.0));
        let (outcome, evidence) = verdict(&ENDED, &notes);
        assert_eq!(outcome.name(), class, "{name} of {engine}: {evidence}");
        assert!(evidence.contains(words), "{name}: {evidence}");
        seen += 1;
    }
    assert!(seen >= 30, "{seen}");
}

#[test]
fn two_whole_starts_tell_version_and_readiness() {
    for name in ["start.log", "start-slim.log"] {
        let mut notes = LogNotes::default();
        for (n, line) in page(CAPTURED, name).lines().enumerate() {
            notes.line(line, n as f64);
        }
        assert_eq!(notes.version.as_deref(), Some("0.32.0"), "{name}");
        assert!(
            notes.ready.is_some() && notes.death.is_none(),
            "{name}: {notes:?}"
        );
        assert!(
            !matches!(
                notes.cause(),
                Some((RunOutcome::OutOfMemory | RunOutcome::Incompatible, _))
            ),
            "{name}"
        );
    }
}

#[test]
fn every_folder_of_the_fixtures_is_read() {
    let mut known: Vec<&str> = WRITTEN.iter().map(|(kind, _)| *kind).collect();
    known.extend([TELLS_TOO_LITTLE, CAPTURED]);
    let below = |dir: PathBuf| {
        fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .filter(|p| p.is_dir())
    };
    for engine in below(folder()) {
        for version in below(engine) {
            let kind = version
                .strip_prefix(folder())
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            assert!(known.contains(&kind.as_str()), "nothing reads {kind}");
        }
    }
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/run.md");
    let text = fs::read_to_string(document).unwrap();
    for kind in known {
        let (engine, version) = kind.split_once('/').unwrap();
        assert!(
            text.contains(&format!("| {engine} | {version} |")),
            "docs/run.md says nothing of {kind}"
        );
    }
}
