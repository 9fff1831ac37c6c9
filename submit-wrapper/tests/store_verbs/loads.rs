//! `omnipilot advise` with a latency to hold and no load: the highest load at which it holds.

use model_store::store::EVIDENCE;
use serde_json::Value;

use crate::site::Site;

/// A laboratory that states TTFT and TPOT for many loads.
const TABLES: [&str; 1] = ["ibm_llm_pilot"];

fn site() -> Site {
    let site = Site::small();
    let tables = EVIDENCE.iter().filter(|e| TABLES.contains(&e.source));
    for table in tables {
        let runs = table.runs().unwrap().into_iter();
        site.store().insert_runs(runs).unwrap();
    }
    site.observes(&["h100", "h200"]);
    let out = site.run(&["train"]);
    assert!(out.status.success(), "{out:?}");
    site
}

const ASK: [&str; 4] = [
    "advise",
    "--model=meta-llama/Llama-3.1-70B-Instruct",
    "--isl=2000",
    "--osl=300",
];

fn median(candidate: &Value, target: &str) -> f64 {
    candidate["targets"][target]["q50"].as_f64().unwrap()
}

#[test]
fn a_latency_without_a_load_is_answered_with_the_load_at_which_it_holds() {
    let site = site();
    let ask = |slo: &str| site.json(&[&ASK[..], &[slo]].concat());
    let wide = ask("--slo=ttft=4000,tpot=100");
    let open = |c: &&Value| c["fallen"].is_null();
    let all = wide["candidates"].as_array().unwrap();
    assert!(all.iter().any(|c| open(&c)), "{wide}");
    for c in all.iter().filter(open) {
        assert!(c["max_num_seqs"].as_u64().unwrap() >= 1, "{c}");
        assert!(median(c, "ttft_ms") <= 4000.0, "{c}");
        assert!(median(c, "tpot_ms") <= 100.0, "{c}");
    }
    let args = wide["environment"]["SLURM_LLM_ENGINE_ARGS"]
        .as_str()
        .unwrap();
    let most = wide["candidates"][0]["max_num_seqs"].as_u64().unwrap();
    assert!(args.contains(&format!("--max-num-seqs {most}")), "{args}");

    // A tighter latency never allows more load for the same configuration.
    let tight = ask("--slo=ttft=4000,tpot=30");
    for c in tight["candidates"].as_array().unwrap().iter().filter(open) {
        let same = |d: &&Value| ["gpu", "tp", "precision"].iter().all(|k| d[*k] == c[*k]);
        let before = all.iter().find(same).unwrap();
        assert!(
            c["max_num_seqs"].as_u64() <= before["max_num_seqs"].as_u64(),
            "{before} {c}"
        );
    }

    // With a load that is stated nothing is sought.
    let stated = site.json(&[&ASK[..], &["--slo=ttft=4000", "--concurrency=8"]].concat());
    assert!(stated["candidates"][0]["max_num_seqs"].is_null());
}
