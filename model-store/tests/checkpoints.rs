//! Folders of checkpoints as users name them, through the road that plugin and command share.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::fs;
use std::path::{Path, PathBuf};

use model_store::advisor::{Catalogue, ClusterState, GpuPool, Pins, Precision, SiteGpu};
use model_store::config::Config;
use model_store::consult::{Consulted, consult_snapshot};
use model_store::options::RawOptions;
use model_store::snapshot::{Body, Snapshot};
use serde_json::{Value, json};

const LLAMA: &str = include_str!("configs/Llama-3.1-8B.json");

fn consult(model: &str) -> Consulted {
    let pool = GpuPool {
        gres: "h100".into(),
        nodes: 1,
        per_node: 8,
        total: 8,
        free: 8,
        ..GpuPool::default()
    };
    let cluster = ClusterState {
        pools: vec![pool],
        ..ClusterState::default()
    };
    let body = Body {
        catalogue: Catalogue::built_in(),
        engine: "vllm".into(),
        gpus: vec![SiteGpu {
            gres: "h100".into(),
            gpu: "H100-SXM".into(),
            price_per_hour: 1.0,
        }],
        cluster: cluster.clone(),
        ..Body::default()
    };
    let options = RawOptions {
        model: Some(model.into()),
        isl: Some(1000.0),
        osl: Some(200.0),
        ..RawOptions::default()
    };
    let config = Config::beside_store(Path::new("/nowhere/s.db"));
    consult_snapshot(
        &Snapshot::new(body, 1),
        &cluster,
        &config,
        &options,
        &Pins::default(),
    )
    .unwrap()
}

fn told(consulted: &Consulted) -> String {
    match &consulted.answer {
        Err(refusal) => refusal.message.join("\n"),
        Ok(rewrite) => rewrite.message.join("\n"),
    }
}

/// A folder below `name` with this `config.json`.
fn folder(root: &Path, name: &str, more: Value) -> PathBuf {
    let mut config: Value = serde_json::from_str(LLAMA).unwrap();
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let path = root.join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("config.json"), config.to_string()).unwrap();
    path
}

#[test]
fn an_unknown_format_or_key_is_named_and_nothing_is_reckoned() {
    let root = tempfile::tempdir().unwrap();
    let hqq = json!({ "quantization_config": { "quant_method": "hqq" } });
    let mamba = json!({ "mamba_d_state": 128 });
    for (name, more, word) in [
        ("hqq", hqq, "config.json says hqq"),
        ("hybrid", mamba, "`mamba_d_state`"),
    ] {
        let path = folder(root.path(), name, more);
        let consulted = consult(path.to_str().unwrap());
        assert!(consulted.advice.candidates.is_empty(), "{name}");
        assert!(consulted.answer.is_err(), "{name}");
        assert!(told(&consulted).contains(word), "{}", told(&consulted));
    }
}

#[test]
fn the_format_is_that_of_the_files_and_no_folders_above() {
    let root = tempfile::tempdir().unwrap();
    let formats = |path: &Path| {
        let consulted = consult(path.to_str().unwrap());
        let candidates = consulted.advice.candidates.iter();
        let all = candidates.map(|c| (c.config.precision, c.config.quantise_at_load));
        let mut found: Vec<_> = all.collect();
        found.dedup();
        (consulted.request.checkpoint_precision, found)
    };
    let plain = folder(root.path(), "awq-study/plain", json!({}));
    let (own, offered) = formats(&plain);
    assert_eq!(own, None);
    assert!(offered.contains(&(Precision::Bf16, false)), "{offered:?}");
    let modelopt = folder(root.path(), "modelopt", json!({}));
    let says = json!({ "producer": { "name": "modelopt" }, "quantization": { "quant_algo": "NVFP4", "exclude_modules": ["lm_head"] } });
    fs::write(modelopt.join("hf_quant_config.json"), says.to_string()).unwrap();
    assert_eq!(
        formats(&modelopt),
        (Some(Precision::Nvfp4), vec![(Precision::Nvfp4, false)])
    );
    // A header of a safetensors file, whose weights are never read.
    let header =
        json!({ "w": { "dtype": "F8_E4M3", "shape": [8], "data_offsets": [0, 8_030_000_000u64] } })
            .to_string();
    let stored = folder(root.path(), "stored", json!({}));
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
    fs::write(stored.join("model.safetensors"), bytes).unwrap();
    assert_eq!(formats(&stored).0, Some(Precision::Fp8));
}

#[test]
fn what_is_no_model_of_its_own_is_told_in_words() {
    let root = tempfile::tempdir().unwrap();
    let adapter = root.path().join("adapter");
    fs::create_dir(&adapter).unwrap();
    fs::write(
        adapter.join("adapter_config.json"),
        r#"{"base_model_name_or_path": "org/base"}"#,
    )
    .unwrap();
    let gguf = root.path().join("gguf");
    fs::create_dir(&gguf).unwrap();
    fs::write(gguf.join("model-Q4_K_M.gguf"), "").unwrap();
    let embedding = folder(root.path(), "embedding", json!({}));
    fs::write(embedding.join("modules.json"), "[]").unwrap();
    for (path, word) in [
        (adapter, "org/base"),
        (gguf, "GGUF"),
        (embedding, "embedding model"),
    ] {
        let told = told(&consult(path.to_str().unwrap()));
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn names_in_the_wild_are_asked_for_or_answered() {
    let asked = |name: &str| consult(name).request.card.name;
    assert_eq!(
        asked("meta-llama3-8b-instruct"),
        "meta-llama/Meta-Llama-3-8B"
    );
    let cached =
        "/scratch/hub/models--Qwen--Qwen3-32B/snapshots/9216db5781bf21249d130ec9da846c4624c16137";
    assert_eq!(asked(cached), "Qwen/Qwen3-32B");
    let fp8 = consult("llama-3.1-70b-fp8").request;
    assert_eq!(
        (fp8.card.name.as_str(), fp8.checkpoint_precision),
        ("meta-llama/Llama-3.1-70B", Some(Precision::Fp8))
    );
    let two = told(&consult("llama-70b"));
    assert!(
        two.contains("the name could be ") && two.contains(" or "),
        "{two}"
    );
    let packed = told(&consult("Qwen3-32B-GGUF"));
    assert!(packed.contains("unknown weight format"), "{packed}");
}
