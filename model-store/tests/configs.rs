//! Cards of the most served architectures from their `config.json`, written from the published parameters,
//! and what is refused by the key that is not understood.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeMap;
use std::fs;

use model_store::advisor::{CardError, ModelCard, Precision};
use serde_json::{Value, json};

fn fixtures() -> BTreeMap<String, String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/configs");
    let files = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let named = |p: std::path::PathBuf| {
        let name = p.file_stem().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(p).unwrap())
    };
    files.map(named).collect()
}

/// Within 2 % of what was published: norms and biases are not counted.
#[test]
fn parameters_and_cache_are_those_that_were_published() {
    let all = fixtures();
    assert!(all.len() >= 20, "{}", all.len());
    for (name, text) in &all {
        ModelCard::check_hf_config(text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let (card, _) = ModelCard::from_hf_config(name, text).unwrap();
        let published = &serde_json::from_str::<Value>(text).unwrap()["_published"];
        let near = |key: &str, found: f64, within: f64| {
            let expected = published[key].as_f64().unwrap();
            let off = (found / expected - 1.0).abs();
            assert!(
                off < within,
                "{name}: {key} {found:.4e}, published {expected:.4e}"
            );
        };
        near("params", card.params, 0.02);
        // What counts as active differs from one publisher to another by the embeddings.
        near("active_params", card.active_params, 0.12);
        near(
            "kv_values_per_token",
            card.kv_bytes_per_token(1.0, 1.0),
            1e-9,
        );
    }
}

#[test]
fn formats_and_windows_are_read() {
    let all = fixtures();
    let read = |name: &str| ModelCard::from_hf_config(name, &all[name]).unwrap();
    assert_eq!(read("Qwen2.5-72B-AWQ").1, Some(Precision::Int4));
    assert_eq!(read("Qwen3-32B-FP8").1, Some(Precision::Fp8));
    assert_eq!(read("gpt-oss-120b").1, Some(Precision::Mxfp4));
    assert_eq!(read("Llama-3.1-8B").1, None);
    let window = |name: &str| {
        let card = read(name).0;
        (card.sliding_window, card.sliding_layers)
    };
    assert_eq!(window("gpt-oss-120b"), (128, 18));
    assert_eq!(window("gemma-3-27b"), (1024, 52));
    assert_eq!(window("Qwen2.5-7B"), (0, 0));
}

#[test]
fn what_is_not_understood_is_refused_by_its_key() {
    let with = |more: Value| {
        let mut config: Value = serde_json::from_str(&fixtures()["Llama-3.1-8B"]).unwrap();
        let keys = more.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(keys);
        ModelCard::check_hf_config(&config.to_string())
    };
    assert_eq!(
        with(json!({ "rope_theta": 5e5, "some_new_flag": true })),
        Ok(())
    );
    for (key, more) in [
        (
            "quantization_config.quant_method",
            json!({ "quantization_config": { "quant_method": "magic" } }),
        ),
        (
            "layer_types",
            json!({ "layer_types": ["linear_attention", "full_attention"] }),
        ),
        ("mamba_d_state", json!({ "mamba_d_state": 128 })),
        (
            "linear_num_value_heads",
            json!({ "linear_num_value_heads": 32 }),
        ),
        ("is_encoder_decoder", json!({ "is_encoder_decoder": true })),
        (
            "ffn_config",
            json!({ "ffn_config": { "moe_num_experts": 16 } }),
        ),
        ("moe_num_experts", json!({ "moe_num_experts": 16 })),
        ("moe_layer_freq", json!({ "moe_layer_freq": 2 })),
    ] {
        assert_eq!(
            with(more),
            Err(CardError::NotUnderstood(key.into())),
            "{key}"
        );
    }
    let missing = ModelCard::check_hf_config("{\"num_attention_heads\": 8}").unwrap_err();
    assert_eq!(
        missing.to_string(),
        "config.json has no usable `hidden_size`"
    );
}
