//! JSON as Python writes it: bare `NaN` and `Infinity` are no JSON, and Python's own module writes them.

use std::borrow::Cow;

use serde_json::Value;

/// The value of a text; `NaN` and the infinities outside of texts are null.
///
/// # Errors
/// Where it is no JSON, and where.
pub fn parse(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(&plain(text))
}

/// The text with null in place of what Python adds to JSON.
pub fn plain(text: &str) -> Cow<'_, str> {
    with_infinity_as(text, "null")
}

/// The text with this JSON in place of `Infinity`, and null in place of `-Infinity` and `NaN`.
pub fn with_infinity_as<'a>(text: &'a str, infinity: &str) -> Cow<'a, str> {
    if !text.contains("NaN") && !text.contains("Infinity") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let (mut inside, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        // Longest first: the minus belongs to the word.
        let word = ["-Infinity", "Infinity", "NaN"]
            .into_iter()
            .find(|w| !inside && rest.starts_with(w));
        if let Some(word) = word {
            out.push_str(if word == "Infinity" { infinity } else { "null" });
            rest = rest.get(word.len()..).unwrap_or_default();
            continue;
        }
        match c {
            _ if escaped => escaped = false,
            '\\' if inside => escaped = true,
            '"' => inside = !inside,
            _ => {}
        }
        out.push(c);
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn pythons_words_are_null_outside_of_texts() {
        let read = parse(r#"{"a": [0.0, Infinity], "b": -Infinity, "NaN": "NaN \" Infinity"}"#);
        let expected = json!({ "a": [0.0, null], "b": null, "NaN": "NaN \" Infinity" });
        assert_eq!(read.unwrap(), expected);
    }

    proptest! {
        #[test]
        fn what_is_json_stays_what_it_is(text in any::<String>(), n in any::<i64>()) {
            let value = json!({ "NaN": text, "x": [n, "Infinity", { text.clone(): "-Infinity" }] });
            prop_assert_eq!(parse(&value.to_string()).unwrap(), value);
        }
    }
}
