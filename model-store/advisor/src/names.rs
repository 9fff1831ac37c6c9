//! Names of models as people, hubs and servers write them.

use super::hub::{of_hub_cache, tail};

/// Words of a name that say how a model was tuned, not what it is.
const TUNINGS: [&str; 8] = [
    "instruct", "chat", "hf", "it", "base", "pt", "meta", "latest",
];
/// Words that go with a format of weights, beside those of the table of formats.
const BESIDE_FORMATS: [&str; 9] = [
    "dynamic",
    "quantized",
    "bf16",
    "fp16",
    "fp32",
    "kv",
    "auto",
    "round",
    "g128",
];

/// The parts of a name in lower case, without marks between them; a dot between digits is no mark.
fn parts(name: &str) -> Vec<String> {
    let text: Vec<char> = tail(name).to_ascii_lowercase().chars().collect();
    let is_digit = |at: Option<usize>| {
        at.and_then(|i| text.get(i))
            .is_some_and(char::is_ascii_digit)
    };
    let kept = |i: usize, c: char| {
        c.is_alphanumeric() || c == '.' && is_digit(i.checked_sub(1)) && is_digit(Some(i + 1))
    };
    let mut out = vec![String::new()];
    for (i, c) in text.iter().enumerate() {
        match out.last_mut() {
            Some(part) if kept(i, *c) => part.push(*c),
            _ => out.push(String::new()),
        }
    }
    out.retain(|part| !part.is_empty());
    out
}

/// Letters and numbers of a part apart: `llama3` is `llama` and `3`; a unit stays with its number
/// (`8b`), a version keeps its dots (`3.1`).
fn split(part: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut last_is_digit = true;
    for c in part.chars() {
        let digit = c.is_ascii_digit() || c == '.';
        match out.last_mut() {
            Some(word) if !digit || last_is_digit => word.push(c),
            _ => out.push(c.to_string()),
        }
        last_is_digit = digit;
    }
    out
}

/// The words of a name.
pub(super) fn words(name: &str) -> Vec<String> {
    parts(name).iter().flat_map(|p| split(p)).collect()
}

/// The words by which a model is known: without those of tuning and of format.
pub(super) fn own_words(name: &str) -> Vec<String> {
    let said = |part: &String| {
        let p = part.as_str();
        TUNINGS.contains(&p) || BESIDE_FORMATS.contains(&p) || super::formats::is_mark(p)
    };
    let own: Vec<String> = parts(name).into_iter().filter(|p| !said(p)).collect();
    if own.is_empty() {
        words(name)
    } else {
        own.iter().flat_map(|p| split(p)).collect()
    }
}

/// The words of a name without those of format: a tuning keeps its own.
pub(super) fn tuned_words(name: &str) -> Vec<String> {
    let of_format = |p: &String| {
        BESIDE_FORMATS.contains(&p.as_str()) || p == "meta" || super::formats::is_mark(p)
    };
    let kept = parts(name).into_iter().filter(|p| !of_format(p));
    kept.flat_map(|p| split(&p)).collect()
}

/// The key under which names of one model meet.
pub fn name_key(name: &str) -> String {
    own_words(name).join("-")
}

/// Lower case, blanks at the ends taken off.
pub(super) fn exact_key(name: &str) -> String {
    of_hub_cache(name.trim()).to_ascii_lowercase()
}

/// The known word that is nearest to an unknown one, or begins with it; `None` where none is near
/// enough to have been meant (more than half of its letters differ).
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |k: &str| match k.starts_with(word) {
        true => 1,
        false => edit_distance(word, k),
    };
    let (distance, found) = known.map(|k| (distance(k), k)).min()?;
    (distance * 2 <= word.chars().count()).then_some(found)
}

/// Levenshtein distance over at most the first 64 characters of each.
pub(super) fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, cb) in row.iter_mut().skip(1).zip(&b) {
            let step = diagonal + usize::from(ca != *cb);
            diagonal = *cell;
            left = step.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_model_has_one_key_however_it_is_written() {
        for name in [
            "meta-llama/Meta-Llama-3-8B-Instruct",
            "meta-llama3-8b-instruct",
            "Llama 3 8B",
            "llama-3-8b-fp8",
            "/hub/models--meta-llama--Meta-Llama-3-8B/snapshots/0123abcd/",
            "llama3:8b",
        ] {
            assert_eq!(name_key(name), "llama-3-8b", "{name}");
        }
        assert_eq!(name_key("Qwen/Qwen3-32B-AWQ"), name_key("qwen3-32b"));
        assert_ne!(name_key("Qwen2-57B"), name_key("Qwen2.5-7B"));
        assert_eq!(name_key("Mixtral-8x7B-v0.1"), "mixtral-8x-7b-v-0.1");
        assert_eq!(name_key("Instruct"), "instruct");
    }
}
