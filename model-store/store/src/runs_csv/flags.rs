//! Deployments outside plain serving, read from what a source says beside its figures.

use crate::advisor::Variant;

const DISAGGREGATED: &str = "disaggregated";
const SPECULATIVE: &str = "speculative";
const POWER_CAPPED: &str = "power-capped";
const PREFIX_CACHED: &str = "prefix-cached";
const MULTI_TURN: &str = "multi-turn";
const MOE_TP: &str = "moe_tp";
const MOE_EP: &str = "moe_ep";
const SCHED_STEPS: &str = "sched_steps";
const CHUNKED: &str = "chunked";

/// Words that stand for speculative decoding wherever they stand alone.
const DRAFTERS: [&str; 5] = [SPECULATIVE, "mtp", "eagle", "eagle3", "medusa"];
/// Settings of speculative decoding; `spec_decoding=none` and the like switch it off.
const SETTINGS: [&str; 6] = [
    "spec_decoding",
    "speculative",
    "spec_method",
    "mtp",
    "nextn",
    "eagle",
];
const OFF: [&str; 6] = ["", "0", "none", "no", "off", "false"];

/// Words of the column `variant` that mark another deployment.
pub const MARKS: [&str; 5] = [
    DISAGGREGATED,
    SPECULATIVE,
    POWER_CAPPED,
    PREFIX_CACHED,
    MULTI_TURN,
];

/// Reads words of [`MARKS`], separated by blanks; `None` for another word.
pub fn marks(text: &str) -> Option<Variant> {
    let known = text.split_whitespace().all(|word| MARKS.contains(&word));
    known.then(|| parse(text, "", ""))
}

/// Reads the flags from the column `variant`, the notes and the engine's name.
pub(super) fn parse(column: &str, notes: &str, engine: &str) -> Variant {
    let notes = notes.to_ascii_lowercase();
    let listed = |name| column.split_whitespace().any(|word| word == name);
    let engine = engine.to_ascii_lowercase();
    Variant {
        disaggregated: listed(DISAGGREGATED)
            || engine.contains("disagg")
            || words(&notes).any(|w| w.starts_with("mode=disagg") || w == DISAGGREGATED),
        speculative: listed(SPECULATIVE) || words(&notes).any(speculates),
        power_capped: listed(POWER_CAPPED)
            || words(&notes).any(|w| w == POWER_CAPPED || w.split('-').any(|part| part == "pcap")),
        // Notes name data sets of conversations whose requests were sent one by one.
        prefix_cached: listed(PREFIX_CACHED),
        multi_turn: listed(MULTI_TURN),
        moe_tp: number(column, &notes, MOE_TP),
        moe_ep: number(column, &notes, MOE_EP),
        sched_steps: number(column, &notes, SCHED_STEPS),
        chunked: setting(column, &notes, CHUNKED).and_then(|v| v.parse().ok()),
    }
}

/// The value of `name=value`, in the column before the notes.
fn setting<'a>(column: &'a str, notes: &'a str, name: &str) -> Option<&'a str> {
    let in_text = |text: &'a str| {
        words(text)
            .filter_map(|w| w.split_once('='))
            .find(|(key, _)| *key == name)
    };
    in_text(column)
        .or_else(|| in_text(notes))
        .map(|(_, value)| value)
}

fn number(column: &str, notes: &str, name: &str) -> u16 {
    setting(column, notes, name)
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

/// The flags as the column `variant` has them.
pub(super) fn text(variant: Variant) -> String {
    let flags = [
        (variant.disaggregated, DISAGGREGATED),
        (variant.speculative, SPECULATIVE),
        (variant.power_capped, POWER_CAPPED),
        (variant.prefix_cached, PREFIX_CACHED),
        (variant.multi_turn, MULTI_TURN),
    ];
    let mut out: Vec<String> = flags
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| (*name).to_owned())
        .collect();
    let counts = [
        (MOE_TP, variant.moe_tp),
        (MOE_EP, variant.moe_ep),
        (SCHED_STEPS, variant.sched_steps),
    ];
    out.extend(
        counts
            .iter()
            .filter(|(_, n)| *n > 0)
            .map(|(name, n)| format!("{name}={n}")),
    );
    out.extend(variant.chunked.map(|on| format!("{CHUNKED}={on}")));
    out.join(" ")
}

fn words(notes: &str) -> impl Iterator<Item = &str> {
    let apart = |c: char| c.is_whitespace() || ";,()[]".contains(c);
    notes.split(apart).map(|word| word.trim_end_matches('.'))
}

fn speculates(word: &str) -> bool {
    match word.split_once('=') {
        Some((key, value)) => SETTINGS.contains(&key) && !OFF.contains(&value),
        None => DRAFTERS.contains(&word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sources_write_is_understood() {
        assert!(parse("", "mode=disagg; moe_tp=1", "trtllm").disaggregated);
        assert!(parse("", "", "SGLang PD-disagg").disaggregated);
        assert!(!parse("", "mode=agg; moe_tp=1", "trtllm").disaggregated);
        assert!(parse("", "hardware label h100-80gb-pcap; fp16", "vllm").power_capped);
        let tuned = parse(
            "",
            "ShareGPT 5000 prompts; sched_steps=8; chunked=TRUE; moe_tp=1 moe_ep=4; x",
            "vllm",
        );
        assert_eq!(
            (tuned.moe_tp, tuned.moe_ep, tuned.sched_steps, tuned.chunked),
            (1, 4, 8, Some(true))
        );
        assert_eq!(parse("", "moe_tp= moe_ep=;", "vllm"), Variant::default());
        assert!(parse("", "with MTP, 3 tokens", "vllm").speculative);
        assert!(parse("", "spec_decoding=mtp", "vllm").speculative);
        assert!(!parse("", "spec_decoding=none; nextn=0", "vllm").speculative);
        assert!(!parse("", "SUSPECT GPU count", "vllm").speculative);
    }

    #[test]
    fn the_column_round_trips() {
        for bits in 0..32u8 {
            let variant = Variant {
                disaggregated: bits & 1 != 0,
                speculative: bits & 2 != 0,
                power_capped: bits & 4 != 0,
                prefix_cached: bits & 8 != 0,
                multi_turn: bits & 16 != 0,
                moe_tp: u16::from(bits & 1),
                moe_ep: u16::from(bits & 6),
                sched_steps: u16::from(bits) * 2,
                chunked: [None, Some(true), Some(false)][usize::from(bits % 3)],
            };
            assert_eq!(parse(&text(variant), "", "vllm"), variant);
        }
    }
}
