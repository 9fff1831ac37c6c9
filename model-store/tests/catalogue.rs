//! The cards that the product knows by itself, held against what was published.
#![allow(clippy::unwrap_used)] // helpers of tests

use model_store::advisor::{Catalogue, Lookup, ModelCard};
use serde_json::Value;

const DATA: &str = include_str!("../advisor/data/cards.json");

fn entries() -> Vec<Value> {
    serde_json::from_str(DATA).unwrap()
}

/// Parameters in all as published, or none where a publication has the shape alone; and layers, width, heads, KV heads. Typed apart from
/// the catalogue, from the sources that it names.
const PUBLISHED: &str = include_str!("cards/catalogue.json");

/// Parameters of an encoder-decoder with gated feed-forward layers: three attentions in two layers. Of a plain decoder where there is no
/// encoder.
fn reckoned(card: &ModelCard) -> f64 {
    let f = f64::from;
    let width = f(card.heads) * f(card.head_dim);
    let grouped = f(card.hidden) * (2.0 * width + 2.0 * f(card.kv_heads) * f(card.head_dim));
    let feed = 3.0 * f(card.hidden) * f(card.intermediate);
    let tables = 2.0 * f(card.vocab) * f(card.hidden);
    match card.encoder_layers {
        0 => f(card.layers) * (grouped + feed) + tables,
        n => (f(n) + 2.0 * f(card.layers)) * grouped + (f(n) + f(card.layers)) * feed + tables,
    }
}

/// What the shape makes is what was published, to 1 %, whatever the card says itself.
#[test]
fn every_card_is_what_its_source_published() {
    let published: Vec<Value> = serde_json::from_str(PUBLISHED).unwrap();
    let entries = entries();
    assert_eq!(published.len(), entries.len());
    let mut wrong = Vec::new();
    for (entry, row) in entries.iter().zip(&published) {
        let name = entry["name"].as_str().unwrap();
        assert_eq!(row["model"].as_str(), Some(name));
        let source = entry["source"].as_str().unwrap();
        assert!(
            !source.is_empty() && !source.contains("memory"),
            "{name}: {source}"
        );
        let card = match entry.get("config") {
            Some(config) => {
                ModelCard::from_hf_config(name, &config.to_string())
                    .unwrap_or_else(|e| panic!("{name}: {e}"))
                    .0
            }
            None => {
                let card: ModelCard = serde_json::from_value(entry["card"].clone()).unwrap();
                ModelCard {
                    params: reckoned(&card),
                    ..card
                }
            }
        };
        let shape = [card.layers, card.hidden, card.heads, card.kv_heads];
        if serde_json::json!(shape) != row["shape"] {
            wrong.push(format!("{name}: {shape:?}, published {}", row["shape"]));
        }
        for (of, total) in [
            ("published", &row["params"]),
            ("in the catalogue", &entry["params"]),
        ] {
            let off = total.as_f64().map_or(0.0, |t| card.params / t - 1.0);
            if off.abs() > 0.01 {
                wrong.push(format!(
                    "{name}: {:.4} B, {of} {:.2} % off",
                    card.params / 1e9,
                    off * 100.0
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_in_the_wild_are_found_or_said_to_be_several() {
    let catalogue = Catalogue::built_in();
    let found = |name: &str| match catalogue.look_up(name) {
        Lookup::Found(card) => card.name.clone(),
        Lookup::Several(cards) => format!("{} several", cards.len()),
        Lookup::Unknown => "unknown".into(),
    };
    let mut wrong = Vec::new();
    for (name, model) in [
        ("meta-llama3-8b-instruct", "meta-llama/Meta-Llama-3-8B"),
        ("llama-3.1-70b-fp8", "meta-llama/Llama-3.1-70B"),
        ("Qwen3-32B-AWQ", "Qwen/Qwen3-32B"),
        (
            "/scratch/hub/models--Qwen--Qwen3-32B/snapshots/9216db5781bf21249d130ec9da846c4624c16137",
            "Qwen/Qwen3-32B",
        ),
        (
            "/home/me/models--meta-llama--Llama-3.1-8B-Instruct/snapshots/0e9e39f249a16976918f6564b8830bc894c89659/",
            "meta-llama/Llama-3.1-8B",
        ),
        ("llama3.1:8b", "meta-llama/Llama-3.1-8B"),
        ("prod-llama-3.3-70b-instruct", "meta-llama/Llama-3.1-70B"),
        ("our-qwen2.5-72b-support-bot", "Qwen/Qwen2.5-72B"),
        ("deepseek-r1-distill-llama-70b", "meta-llama/Llama-3.1-70B"),
        ("gpt-oss-120b", "openai/gpt-oss-120b"),
        ("mixtral-8x7b-instruct", "mistralai/Mixtral-8x7B-v0.1"),
        ("deepseek-r1:671b", "deepseek-ai/DeepSeek-V3"),
        ("phi4:14b", "microsoft/phi-4"),
        ("command-r:35b", "CohereForAI/c4ai-command-r-v01"),
        ("mixtral", "2 several"),
        ("phi4:3b", "unknown"),
    ] {
        wrong.extend((found(name) != model).then(|| format!("{name}: {}", found(name))));
    }
    for name in ["llama-70b", "llama-3.1", "qwen3"] {
        let told = found(name);
        assert!(
            told.ends_with("several") || told == "unknown",
            "{name}: {told}"
        );
    }
    assert!(found("llama-70b").ends_with("several"));
    for name in [
        "llama-3.1-8b-eagle3",
        "qwen3-embedding-8b",
        "my-model",
        "llama-3.1-9b",
    ] {
        wrong.extend((found(name) != "unknown").then(|| format!("{name}: {}", found(name))));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Two names that meet under one key are of one architecture, or evidence would go to the wrong one.
#[test]
fn no_key_means_two_architectures() {
    let catalogue = Catalogue::built_in();
    for card in catalogue.cards() {
        for name in std::iter::once(&card.name).chain(&card.aliases) {
            let found = catalogue.find(name).unwrap();
            assert!(
                found.is_same_architecture(card),
                "{name}: {} and {}",
                found.name,
                card.name
            );
        }
    }
}

/// A tuning for longer texts, or one that was made before they were stretched, has the longest context of its own file.
#[test]
fn a_tuning_has_its_own_longest_context() {
    let catalogue = Catalogue::built_in();
    let context = |name: &str| {
        let card = catalogue.find(name).unwrap();
        Catalogue::as_named(card, name).max_context
    };
    for (name, tokens) in [
        ("Qwen/Qwen2.5-7B", 131_072),
        ("Qwen/Qwen2.5-7B-Instruct", 32_768),
        ("qwen2.5-7b-instruct", 32_768),
        ("Qwen2.5-7B-Instruct-AWQ", 32_768),
        ("Qwen/Qwen3-30B-A3B", 40_960),
        ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", 262_144),
        ("microsoft/Phi-3-medium-128k-instruct", 131_072),
    ] {
        assert_eq!(context(name), tokens, "{name}");
    }
}
