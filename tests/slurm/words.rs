//! What verbs print for programs, held against docs/json.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use e2e::{OPERATOR, Setup};
use serde_json::Value;

use crate::site::{REQUEST, Site, submitted};

const PAGE: &str = include_str!("../../docs/json.md");

/// Documented keys by kind; of a kind with several tables one set each.
fn documented() -> BTreeMap<&'static str, Vec<BTreeSet<&'static str>>> {
    let mut kinds: BTreeMap<&str, Vec<BTreeSet<&str>>> = BTreeMap::new();
    let mut kind = "";
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            kind = heading
                .strip_prefix('`')
                .map_or("", |k| k.trim_end_matches('`'));
        } else if line == "| key | what |" && !kind.is_empty() {
            kinds.entry(kind).or_default().push(BTreeSet::new());
        } else if let Some(row) = line.strip_prefix("| `")
            && let Some(keys) = kinds.get_mut(kind).and_then(|k| k.last_mut())
        {
            let cell = row.split(" | ").next().unwrap();
            keys.extend(cell.split(", ").map(|k| k.trim_matches('`')));
        }
    }
    kinds
}

/// Asserts that the document has the keys of its kind and no others, and gives the kind.
fn hold(document: &Value, kinds: &BTreeMap<&str, Vec<BTreeSet<&str>>>) -> String {
    let kind = document["kind"].as_str().unwrap_or_default().to_owned();
    assert_eq!(document["schema"], 1, "{document}");
    let own: BTreeSet<&str> = document
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let own: BTreeSet<&str> = own
        .into_iter()
        .filter(|k| !["schema", "kind"].contains(k))
        .collect();
    let known = &kinds[kind.as_str()];
    assert!(
        known.contains(&own),
        "{kind}: {own:?}, documented {known:?}"
    );
    kind
}

#[test]
#[cfg_attr(not(e2e_accounting), ignore = "Slurm's accounting is not installed")]
fn every_document_has_the_keys_that_are_written_down() {
    let site = Site::trained(&Setup::default().accounting());
    let kinds = documented();
    let path = |name: &str| site.path(name).display().to_string();
    let figures = include_str!("../../model-store/store/data/published-figures.csv");
    let few: Vec<&str> = figures.lines().take(40).collect();
    fs::write(site.path("cases.csv"), few.join("\n") + "\n").unwrap();
    // The same runs give the same model, and one is not compared with itself.
    let one = "model,gpu,tp,precision,workload,output_tok_s,isl,osl,engine\n\
               meta-llama/Llama-3.1-8B,H100-SXM,1,fp8,offline,4321,1000,1000,vllm\n";
    fs::write(site.path("one.csv"), one).unwrap();
    let more = path("one.csv");
    fs::write(site.path("serve.sh"), "#!/bin/sh\ntrue\n").unwrap();
    let (cases, predictions, script) = (path("cases.csv"), path("out.csv"), path("serve.sh"));
    let me = OPERATOR.name();
    let mut held = BTreeSet::new();
    for words in [
        &["setup", "--figures-only", "--account", &me] as &[&str],
        &["doctor"],
        &["init", "--figures-only"],
        &["observe"],
        &["ingest"],
        &["train", "--if-needed"],
        &[
            "import",
            "--format",
            "runs-csv",
            "--origin",
            "published",
            &more,
        ],
        &["train", "--force"],
        &["models"],
        &["models", "cards", "llama-3"],
        &["models", "rollback"],
        &["probe", "plan"],
        &["probe", "run"],
        &[&["advise"], &REQUEST[..]].concat(),
        &[&["explain"], &REQUEST[..]].concat(),
        &["import", "--format", "runs-csv", &cases],
        &["status"],
        &["predict", "--input", &cases, "--output", &predictions],
        &["evaluate", "--only", "leakage", "--data", &cases],
    ] {
        let output = site.omnipilot(OPERATOR, &[words, &["--json"]].concat());
        let document =
            serde_json::from_str(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output}"));
        held.insert(hold(&document, &kinds));
    }
    let (copy, table) = (path("copy.db"), path("runs.jsonl"));
    for words in [
        &["store", "backup", &copy] as &[&str],
        &["store", "restore", &copy],
        &["export", "runs", "--output", &table],
    ] {
        held.insert(hold(&site.json(words), &kinds));
    }
    let page = path("report.html");
    held.insert(hold(&site.json(&["report", "--output", &page]), &kinds));
    let config = "{\"model_type\": \"llama\", \"hidden_size\": 4096, \"num_hidden_layers\": 32, \"num_attention_heads\": 32, \
                  \"num_key_value_heads\": 8, \"intermediate_size\": 14336, \"vocab_size\": 128256}";
    fs::create_dir(site.path("ours")).unwrap();
    fs::write(site.path("ours/config.json"), config).unwrap();
    fs::write(site.path("ours/model.safetensors"), "").unwrap();
    held.insert(hold(
        &site.json(&["models", "add", &path("ours"), "--name", "our/8B"]),
        &kinds,
    ));
    site.omnipilot(OPERATOR, &["observe"]).success().unwrap();
    let advised = site.json(&[
        "advise",
        "--model=our/8B",
        "--isl=1000",
        "--osl=500",
        "--concurrency=32",
    ]);
    assert_eq!(advised["decision"], "rewrite", "{advised}");
    let again = site.omnipilot(
        OPERATOR,
        &["models", "add", &path("ours"), "--name", "our/8B"],
    );
    assert!(
        again.code == Some(2) && again.stderr.contains("already"),
        "{again}"
    );

    let models = site.json(&["models"]);
    let id = models["models"][0]["id"].as_str().unwrap();
    held.insert(hold(&site.json(&["models", "compare", id]), &kinds));
    let words = [&["submit", "--dry-run", "--json"], &REQUEST[..], &[&script]].concat();
    let output = site.omnipilot(OPERATOR, &words).success().unwrap();
    held.insert(hold(&serde_json::from_str(&output.stdout).unwrap(), &kinds));
    let waiting = site.cluster.sbatch(OPERATOR, &["--hold"], "true").unwrap();
    let job = submitted(&waiting).to_string();
    held.insert(hold(&site.json(&["stop", &job]), &kinds));
    let all: BTreeSet<String> = kinds.keys().map(|k| (*k).to_owned()).collect();
    assert_eq!(held, all, "every kind on the page was printed here");
}
