//! Whether requests reused what the engine had computed for earlier ones: a shared prefix, or turns of a conversation.
//! Clients tell it by how they made their requests; one table of the words that they use.

use serde_json::Value;

use super::bag::{as_flag, as_number};

/// Settings that give a shared prefix its length, in tokens.
const PREFIX: [&str; 12] = [
    "prefix_tokens",
    "prefix_len",
    "prefix_length",
    "random_prefix_len",
    "prefix_repetition_prefix_len",
    "gsp_system_prompt_len",
    "gen_system_prompt_len",
    "system_prompt_len",
    "shared_prefix_len",
    "shared_system_prompt_length",
    "user_context_prompt_length",
    "prefix_prompt_length",
];
/// Settings that give the turns of a conversation.
const TURNS: [&str; 8] = [
    "turns",
    "turn",
    "num_turns",
    "max_turns",
    "gsp_num_turns",
    "gen_num_turns",
    "multi_turn_num_turns",
    "session_turns",
];
/// Shares of prompts that were found in the cache.
const HIT_RATES: [&str; 3] = [
    "cache_hit_rate",
    "prefix_cache_hit_rate",
    "kv_cache_hit_rate",
];
/// From this share on the cache counts: below it lies what every request begins with.
const HITS: f64 = 0.01;
/// Settings that name a set or kind of requests.
const DATASETS: [&str; 5] = [
    "dataset_name",
    "dataset",
    "benchmark_type",
    "scenario_type",
    "type",
];
/// Sets whose requests share prefixes, and those that are conversations: how their names begin.
const SHARING: [&str; 5] = [
    "generated-shared-prefix",
    "prefix-repetition",
    "shared-prefix",
    "mooncake",
    "toolagent",
];
const TALKING: [&str; 6] = [
    "multi-turn",
    "multiturn",
    "agentic",
    "conversation-replay",
    "otel-trace-replay",
    "weka-trace",
];

/// What of a run's requests was reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reuse {
    pub(super) prefix: bool,
    pub(super) turns: bool,
}

/// Keys under which requests are described in one text, `prompt_tokens=256,turns=3`.
const DESCRIBED: [&str; 2] = ["data", "dataset"];

/// What this part of a document tells, but for what lies under the keys of `besides`.
pub(super) fn reuse(part: &Value, besides: &[&str]) -> Reuse {
    let mut found = Reuse::default();
    look(part, "", besides, &mut found);
    found
}

/// Looks at what stands under a key. Texts are looked into only where they describe requests: others may be what somebody
/// asked or was answered.
fn look(part: &Value, under: &str, besides: &[&str], found: &mut Reuse) {
    match part {
        Value::Object(map) => {
            for (key, value) in map {
                let name = key.trim_start_matches('-');
                let name = name.to_ascii_lowercase().replace('-', "_");
                let off = value.get("enabled").and_then(as_flag) == Some(false);
                if besides.contains(&key.as_str()) || off {
                    continue;
                }
                setting(&name, value, found);
                look(value, &name, besides, found);
            }
        }
        Value::Array(all) => all.iter().for_each(|v| look(v, under, besides, found)),
        Value::String(text) if DESCRIBED.contains(&under) => {
            let pairs = text.split([',', ' ']);
            for (name, value) in pairs.filter_map(|pair| pair.split_once('=')) {
                setting(name.trim(), &Value::String(value.trim().to_owned()), found);
            }
        }
        _ => {}
    }
}

fn setting(name: &str, value: &Value, found: &mut Reuse) {
    let number = || mean(value).unwrap_or(0.0);
    if PREFIX.contains(&name) {
        found.prefix |= number() > 0.0;
    } else if TURNS.contains(&name) {
        found.turns |= number() > 1.0;
    } else if HIT_RATES.contains(&name) {
        found.prefix |= number() >= HITS;
    } else if name == "multi_turn" {
        found.turns |= value.get("enabled").or(Some(value)).and_then(as_flag) == Some(true);
    } else if DATASETS.contains(&name) {
        let text = value
            .as_str()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .replace('_', "-");
        found.prefix |= SHARING.iter().any(|set| text.starts_with(set));
        found.turns |= TALKING.iter().any(|set| text.starts_with(set));
    }
}

/// A number, or the middle of a distribution.
fn mean(value: &Value) -> Option<f64> {
    let of = ["mean", "value", "avg"]
        .iter()
        .find_map(|key| value.get(key));
    of.map_or_else(|| as_number(value), mean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn clients_tell_it_in_their_own_words() {
        let of = |value: Value| {
            let found = reuse(&value, &[]);
            (found.prefix, found.turns)
        };
        for plain in [
            json!({"dataset_name": "random", "random_input_len": 512}),
            json!({"data": ["prompt_tokens=256,output_tokens=128"]}),
            json!({"turns": 1, "prefix_buckets": null}),
            json!({"multi_turn": {"enabled": false, "max_turns": {"value": 20}}}),
            json!({"cache_hit_rate": 0.0}),
            json!({"generated_texts": ["turns=3 prefix_tokens=9"], "errors": ["turns=3"]}),
            json!({"datasets": [{"type": "synthetic", "turns": {"value": 1.0}}]}),
        ] {
            assert_eq!(of(plain.clone()), (false, false), "{plain}");
        }
        for prefix in [
            json!({"dataset_name": "generated-shared-prefix"}),
            json!({"dataset_name": "prefix_repetition"}),
            json!({"prefix": {"prefix_len": {"value": 1000}}}),
            json!({"data": "prompt_tokens=256,prefix_tokens=100"}),
            json!({"data": [{"prefix_buckets": [{"prefix_tokens": 100}]}]}),
            json!({"cache_hit_rate": 0.42}),
        ] {
            assert_eq!(of(prefix.clone()), (true, false), "{prefix}");
        }
        for turns in [
            json!({"multi_turn": {"enabled": true, "max_turns": 20}}),
            json!({"conversation": {"turn": {"mean": 4}}}),
            json!({"data": ["turns=3"]}),
            json!({"benchmark_type": "agentic_traces"}),
        ] {
            assert_eq!(of(turns.clone()), (false, true), "{turns}");
        }
        assert_eq!(
            reuse(&json!({"requests": [{"turns": 9}]}), &["requests"]),
            Reuse::default()
        );
    }
}
