//! Cards from `config.json` files, written from published parameters, and what is refused by the key that is not understood.
#![allow(clippy::unwrap_used)] // helpers of tests

use std::collections::BTreeMap;
use std::fs;

use model_store::advisor::checkpoint::{Files, read};
use model_store::advisor::{CardError, ModelCard, Precision};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Configurations of models that are served, with the parameters that their makers state (the counts of the hub's files where there are
/// some), and the values of the cache by the shape that they state.
const PUBLISHED: &str = include_str!("cards/published.json");
/// Files that were misread once, with what is right.
const CASES: &str = include_str!("cards/cases.json");

fn list(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

fn fixtures() -> BTreeMap<String, String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/configs");
    let files = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    let named = |p: std::path::PathBuf| {
        let name = p.file_stem().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(p).unwrap())
    };
    files.map(named).collect()
}

fn near(name: &str, key: &str, found: f64, expected: Option<f64>, within: f64) {
    let Some(expected) = expected else { return };
    let off = (found / expected - 1.0).abs();
    assert!(
        off < within,
        "{name}: {key} {found:.4e}, published {expected:.4e}"
    );
}

/// Within 2 % of what was published: norms and biases are not counted.
#[test]
fn parameters_and_cache_are_those_that_were_published() {
    let all = fixtures();
    assert!(all.len() >= 20, "{}", all.len());
    for (name, text) in &all {
        let (card, _) =
            ModelCard::from_hf_config(name, text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let published = &serde_json::from_str::<Value>(text).unwrap()["_published"];
        let of = |key: &str| published[key].as_f64();
        near(name, "params", card.params, of("params"), 0.02);
        // What counts as active differs from one publisher to another by the embeddings.
        near(
            name,
            "active_params",
            card.active_params,
            of("active_params"),
            0.12,
        );
        let values = card.kv_bytes_per_token(1.0, 1.0);
        near(name, "kv_values", values, of("kv_values_per_token"), 1e-9);
    }
}

#[test]
fn models_that_are_served_are_read_as_published() {
    let all = list(PUBLISHED);
    assert!(all.len() >= 50, "{}", all.len());
    for entry in &all {
        let name = entry["name"].as_str().unwrap();
        let (card, format) = ModelCard::from_hf_config(name, &entry["config"].to_string())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        near(name, "params", card.params, entry["params"].as_f64(), 0.02);
        near(
            name,
            "active",
            card.active_params,
            entry["active"].as_f64(),
            0.17,
        );
        let indexed = entry["indexed_bytes"].as_f64().unwrap_or(0.0);
        let values = (card.kv_bytes_per_token(2.0, 1.0) - indexed) / 2.0;
        near(name, "kv_values", values, entry["kv_values"].as_f64(), 1e-9);
        let expected = entry["format"].as_str().and_then(Precision::parse);
        assert_eq!(format, expected, "{name}");
    }
}

#[test]
fn files_that_were_misread_are_read_right_or_said_to_be_unknown() {
    for case in list(CASES) {
        let name = case["case"].as_str().unwrap();
        let file = |of: &str| case["files"][of].as_str().map(str::to_owned);
        let files = Files {
            config: file("config.json"),
            hf_quant_config: file("hf_quant_config.json"),
            ..Files::default()
        };
        let found = read(name, &files);
        if let Some(word) = case["unknown"].as_str() {
            let told = found.unwrap_err().to_string();
            assert!(told.contains(word), "{name}: {told}");
            continue;
        }
        let (card, format) = found.unwrap_or_else(|e| panic!("{name}: {e}"));
        let of = |key: &str| case[key].as_f64();
        near(name, "params", card.params, of("params"), 0.02);
        near(name, "active", card.active_params, of("active"), 0.05);
        near(
            name,
            "cache",
            card.kv_bytes_per_token(2.0, 1.0) / 1024.0,
            of("kv_kib"),
            1e-9,
        );
        let growing = card.kv_bytes_per_token(2.0, f64::INFINITY) / 1024.0;
        near(name, "growing cache", growing, of("growing_kib"), 1e-9);
        near(
            name,
            "context",
            f64::from(card.max_context),
            of("context"),
            1e-9,
        );
        let weights = card.weight_bytes(format.unwrap_or(Precision::Bf16)) / f64::from(1 << 30);
        near(name, "weights", weights, of("weight_gib"), 0.03);
        if let Some(family) = case["family"].as_str() {
            assert_eq!(card.family, family, "{name}");
        }
        if let Some(expected) = case.get("format") {
            let expected = expected.as_str().and_then(Precision::parse);
            assert_eq!(format, expected, "{name}");
        }
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
    assert_eq!(window("Llama-4-Scout"), (8192, 36));
}

fn llama(more: &Value) -> String {
    let mut config: Value = serde_json::from_str(&fixtures()["Llama-3.1-8B"]).unwrap();
    let keys = more.as_object().unwrap().clone();
    config.as_object_mut().unwrap().extend(keys);
    config.to_string()
}

#[test]
fn what_is_not_understood_is_refused_by_its_key() {
    let with = |more: Value| ModelCard::from_hf_config("", &llama(&more)).map(|_| ());
    let harmless = json!({ "rope_theta": 5e5, "some_new_flag": true, "mamba_d_state": null });
    assert_eq!(with(harmless), Ok(()));
    for (key, more) in [
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
        ("hidden_size", json!({ "hidden_size": [4096, 2048] })),
        (
            "rope_scaling.type",
            json!({ "rope_scaling": { "type": "spiral", "factor": 2 } }),
        ),
    ] {
        assert_eq!(
            with(more),
            Err(CardError::NotUnderstood(key.into())),
            "{key}"
        );
    }
    let missing = ModelCard::from_hf_config("", "{\"model_type\": \"qwen3_next\"}").unwrap_err();
    assert_eq!(
        missing.to_string(),
        "config.json has no usable `hidden_size`"
    );
}

#[test]
fn what_generates_no_text_is_told_apart_in_words() {
    for (more, word) in [
        (json!({ "architectures": ["LlamaModel"] }), "embedding"),
        (
            json!({ "architectures": ["LlamaForSequenceClassification"] }),
            "classifier",
        ),
        (
            json!({ "architectures": ["LlamaForCausalLMEagle3"] }),
            "draft",
        ),
        (
            json!({ "architectures": ["SomethingForCausalLM"] }),
            "SomethingForCausalLM",
        ),
        (json!({ "model_type": "t5" }), "encoder-decoder"),
        (json!({ "model_type": "mamba2" }), "states alone"),
        (json!({ "model_type": "newest" }), "newest"),
    ] {
        let told = ModelCard::from_hf_config("", &llama(&more))
            .unwrap_err()
            .to_string();
        assert!(told.contains(word), "{told}");
    }
    let adapter = Files {
        adapter: Some(r#"{"base_model_name_or_path": "org/base", "r": 16}"#.into()),
        ..Files::default()
    };
    assert!(
        read("", &adapter)
            .unwrap_err()
            .to_string()
            .contains("org/base")
    );
    let gguf = Files {
        gguf: true,
        ..Files::default()
    };
    assert!(read("", &gguf).unwrap_err().to_string().contains("GGUF"));
}

#[test]
fn the_first_file_that_says_a_format_counts_and_counted_bytes_win() {
    let plain = |files: Files| {
        read(
            "",
            &Files {
                config: Some(llama(&json!({}))),
                ..files
            },
        )
        .map(|(card, format)| (format, card.weight_bytes(format.unwrap_or(Precision::Bf16))))
    };
    let text = |value: Value| Some(value.to_string());
    let gptq = text(json!({ "bits": 4, "group_size": 128 }));
    let fp8 = text(json!({ "quantization": { "quant_algo": "FP8" } }));
    let both = Files {
        hf_quant_config: fp8.clone(),
        quantize_config: gptq.clone(),
        ..Files::default()
    };
    assert_eq!(plain(both).unwrap().0, Some(Precision::Fp8));
    let second = Files {
        quantize_config: gptq,
        ..Files::default()
    };
    assert_eq!(plain(second).unwrap().0, Some(Precision::Int4));
    let index = |bytes: f64| text(json!({ "metadata": { "total_size": bytes }, "weight_map": {} }));
    let counted = Files {
        hf_quant_config: fp8,
        index: index(9.1e9),
        ..Files::default()
    };
    assert_eq!(plain(counted).unwrap(), (Some(Precision::Fp8), 9.1e9));
    // A third of what 16 bits would take, and no file says why.
    let torn = Files {
        index: index(5.4e9),
        ..Files::default()
    };
    assert!(matches!(plain(torn), Err(CardError::Contradiction { .. })));
}

#[test]
fn headers_tell_the_format_where_no_file_does() {
    let of = |dtype: &str| {
        let header = json!({ "__metadata__": {}, "w": { "dtype": dtype, "shape": [8], "data_offsets": [0, 1000] } });
        let files = Files {
            config: Some(llama(&json!({}))),
            headers: vec![header.to_string()],
            own_name: Some("/models/Llama-FP8".into()),
            ..Files::default()
        };
        read("", &files).map(|(_, format)| format)
    };
    assert_eq!(of("BF16"), Ok(None));
    assert_eq!(of("F8_E4M3"), Ok(Some(Precision::Fp8)));
    assert!(of("I32").unwrap_err().to_string().contains("I32"));
    // The folder's own name alone is a hint that there is more to know.
    let named = Files {
        config: Some(llama(&json!({}))),
        own_name: Some("/models/Llama-FP8".into()),
        ..Files::default()
    };
    assert!(read("", &named).is_err());
    let above = Files {
        own_name: Some("/models/fp8/Llama".into()),
        ..named
    };
    assert_eq!(read("", &above).unwrap().1, None);
}

/// The map of a file that describes the language model.
fn parts(config: &mut Value) -> Vec<&mut Map<String, Value>> {
    let whole = config.as_object_mut().unwrap();
    let inner = ["text_config", "llm_config"]
        .into_iter()
        .find(|k| whole.contains_key(*k));
    match inner {
        Some(inner) => vec![whole.get_mut(inner).unwrap().as_object_mut().unwrap()],
        None => vec![whole],
    }
}

fn base() -> impl Strategy<Value = Value> {
    prop::sample::select(list(PUBLISHED)).prop_map(|entry| entry["config"].clone())
}

fn anything() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0u32..5000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,8}".prop_map(Value::from),
        prop::collection::vec(0u32..200, 0..70).prop_map(Value::from),
        Just(json!({ "a": 1 })),
    ]
}

proptest! {
    /// A key that nobody knows is refused or changes nothing, wherever it stands.
    #[test]
    fn an_unknown_key_never_makes_another_card(
        config in base(), key in "[a-z]{2,6}_[a-z_]{3,18}", value in anything(),
    ) {
        let read = |c: &Value| ModelCard::from_hf_config("m", &c.to_string());
        let before = read(&config).unwrap();
        let mut with = config.clone();
        let mut fresh = true;
        for part in parts(&mut with) {
            fresh &= part.insert(key.clone(), value.clone()).is_none();
        }
        if let (true, Ok(after)) = (fresh, read(&with)) {
            prop_assert_eq!(after, before);
        }
    }

    /// A key that counts layers or what they are made of is refused where it says something.
    #[test]
    fn an_unknown_count_of_parts_is_refused_by_its_name(
        config in base(), n in 2u32..500,
        key in "(num|n|zz)_[a-z]{3,5}(_layers|_heads|_experts|_dim|_size|_window|_states|_pattern_layers)",
    ) {
        let mut with = config;
        for part in parts(&mut with) {
            part.insert(key.clone(), n.into());
        }
        let told = ModelCard::from_hf_config("m", &with.to_string());
        prop_assert_eq!(told, Err(CardError::NotUnderstood(key)));
    }

    /// A method that is not in the table is never 16 bits.
    #[test]
    fn an_unknown_method_is_never_a_plain_format(config in base(), method in "[a-z][a-z0-9]{2,9}(-[a-z]{2,5})?", bits in 1u32..16) {
        const KNOWN: [&str; 9] = ["fp8", "mxfp4", "awq", "gptq", "eetq", "modelopt", "quark", "bitsandbytes", "compressed-tensors"];
        prop_assume!(!KNOWN.contains(&method.as_str()));
        for whole in [true, false] {
            let mut with = config.clone();
            let q = json!({ "quant_method": method, "bits": bits });
            match whole {
                true => drop(with.as_object_mut().unwrap().insert("quantization_config".into(), q)),
                false => for part in parts(&mut with) {
                    part.insert("quantization_config".into(), q.clone());
                },
            }
            let told = ModelCard::from_hf_config("m", &with.to_string());
            let is_unknown = matches!(told, Err(CardError::Format { .. }));
            prop_assert!(is_unknown, "{:?}", told);
        }
    }

    /// Whatever stands under a known key: a card, or an error, and no panic.
    #[test]
    fn damaged_values_never_panic(config in base(), at in any::<prop::sample::Index>(), value in anything()) {
        let mut with = config;
        for part in parts(&mut with) {
            let key = at.get(&part.keys().cloned().collect::<Vec<_>>()).clone();
            part.insert(key, value.clone());
        }
        let _ = ModelCard::from_hf_config("m", &with.to_string());
    }

    #[test]
    fn damaged_texts_never_panic(text in any::<String>()) {
        let _ = ModelCard::from_hf_config("m", &text);
        let files = Files { config: Some(llama(&json!({}))), index: Some(text.clone()), headers: vec![text.clone()], hf_quant_config: Some(text), ..Files::default() };
        let _ = read("m", &files);
    }
}
